/* SPDX-License-Identifier: ISC */
#include "socksd/protocol/udp_header.h"

#include <string.h>

enum {
	FRAGMENT_OFFSET = 2,
	TARGET_OFFSET = 3,
};

/* A link-local address without its interface leads nowhere. */
static bool has_scope(const struct addr *a)
{
	return a->sa.sa_family != AF_INET6 || addr_scope(a) != ADDR_LINK_LOCAL;
}

bool udp_header_parse(const uint8_t *bytes, size_t len, struct udp_header *ret_header)
{
	struct socks5_target target;
	enum socks5_fault fault;
	size_t consumed;

	if (len <= TARGET_OFFSET || bytes[0] != 0 || bytes[1] != 0 ||
	    socks5_parse_target(bytes + TARGET_OFFSET, len - TARGET_OFFSET, &target, &consumed,
				&fault) != PARSE_DONE ||
	    target.port == 0 || !has_scope(&target.addr)) {
		return false;
	}
	ret_header->fragment = bytes[FRAGMENT_OFFSET];
	ret_header->len = TARGET_OFFSET + consumed;
	ret_header->addr = target.addr;
	ret_header->port = target.port;
	memcpy(ret_header->name, target.name, strlen(target.name) + 1);
	return true;
}

size_t udp_header_encode(const struct addr *from, uint8_t ret_bytes[UDP_HEADER_BYTES_MAX])
{
	memset(ret_bytes, 0, TARGET_OFFSET);
	return TARGET_OFFSET + socks5_encode_address(from, ret_bytes + TARGET_OFFSET);
}
