/* SPDX-License-Identifier: ISC */
#include "socksd/source.h"

#include <string.h>

enum source_kind {
	KIND_NONE,
	KIND_IPV4,
	KIND_IPV6_NETWORK,
	KIND_IPV6_LINK_LOCAL,
};

struct source source_of(const struct addr *a)
{
	struct addr folded = addr_unmap(a);
	struct source source = { .bytes = { KIND_NONE } };

	if (folded.sa.sa_family == AF_INET) {
		source.bytes[0] = KIND_IPV4;
		memcpy(&source.bytes[1], &folded.in4.sin_addr, 4);
	} else if (folded.sa.sa_family == AF_INET6) {
		bool link_local = addr_scope(&folded) == ADDR_LINK_LOCAL;

		source.bytes[0] = link_local ? KIND_IPV6_LINK_LOCAL : KIND_IPV6_NETWORK;
		memcpy(&source.bytes[1], &folded.in6.sin6_addr.s6_addr[link_local ? 8 : 0], 8);
	}
	return source;
}

bool source_equal(const struct source *a, const struct source *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
