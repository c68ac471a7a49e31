/* SPDX-License-Identifier: ISC */
#include "socksd/target/expected_peer.h"

#include <string.h>

bool expected_peer_is_anybody(const struct addr *a)
{
	struct addr folded = addr_unmap(a);

	switch (folded.sa.sa_family) {
	case AF_INET:
		return folded.in4.sin_addr.s_addr == INADDR_ANY;
	case AF_INET6:
		return memcmp(&folded.in6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
	default:
		return false;
	}
}

bool expected_peer_add(struct expected_peer *expected, const struct addr *a)
{
	if (expected_peer_is_anybody(a)) {
		expected->anybody = true;
		return true;
	}
	if (expected->count == EXPECTED_PEER_MAX) {
		return false;
	}
	expected->addresses[expected->count++] = addr_unmap(a);
	return true;
}

const struct addr *expected_peer_of(const struct expected_peer *expected, int family)
{
	for (size_t i = 0; i < expected->count; i++) {
		if (expected->addresses[i].sa.sa_family == family) {
			return &expected->addresses[i];
		}
	}
	return NULL;
}

bool expected_peer_matches(const struct expected_peer *expected, const struct addr *peer)
{
	struct addr folded = addr_unmap(peer);

	for (size_t i = 0; i < expected->count; i++) {
		if (addr_same_ip(&expected->addresses[i], &folded)) {
			return true;
		}
	}
	return expected->anybody && folded.sa.sa_family != AF_UNSPEC;
}
