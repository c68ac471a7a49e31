/* SPDX-License-Identifier: ISC */
#include "socksd/rules/guard.h"

#include "common/container.h"

#include <string.h>

/* IPv4 metadata services, host order. Those in 169.254/16 would be denied anyway, but under a
 * vaguer name. */
static const uint32_t metadata_ipv4[] = {
	0xa9fea9fe, /* 169.254.169.254: nearly every cloud */
	0xa9feaa02, /* 169.254.170.2: AWS containers */
	0xa9feaa17, /* 169.254.170.23: AWS pods */
	0x646464c8, /* 100.100.100.200: Alibaba */
	0xa83f8110, /* 168.63.129.16: Azure */
	0xc00000c0, /* 192.0.0.192: Oracle */
};

static const uint8_t metadata_ipv6[][16] = {
	{ 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 }, /* fd00:ec2::254: AWS */
	{ 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x00, [15] = 0x23 }, /* fd00:ec2::23: AWS pods */
	{ 0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54 }, /* fd20:ce::254: Google */
};

/* IPv6 prefixes behind which a translator or tunnel leads to the IPv4 address at that offset. */
static const struct {
	uint8_t prefix[12];
	uint8_t prefix_len;
	uint8_t ipv4_offset;
} embeddings[] = {
	{ { 0 }, 12, 12 },                           /* ::/96, RFC 4291 section 2.5.5.1 */
	{ { 0, 0x64, 0xff, 0x9b }, 12, 12 },         /* 64:ff9b::/96, RFC 6052 */
	{ { 0, 0x64, 0xff, 0x9b, 0, 0x01 }, 6, 12 }, /* 64:ff9b:1::/48 cut to /96s, RFC 8215 */
	{ { 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 12, 12 }, /* ::ffff:0:0:0/96, RFC 2765 */
	{ { 0x20, 0x02 }, 2, 2 },                           /* 2002::/16, RFC 3056 */
};

static bool is_metadata(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET) {
		for (size_t i = 0; i < ARRAY_SIZE(metadata_ipv4); i++) {
			if (ntohl(a->in4.sin_addr.s_addr) == metadata_ipv4[i]) {
				return true;
			}
		}
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(metadata_ipv6); i++) {
		if (memcmp(a->in6.sin6_addr.s6_addr, metadata_ipv6[i], 16) == 0) {
			return true;
		}
	}
	return false;
}

/* Whether a wildcard listener takes connections of that family; :: may be open for both. */
static bool wildcard_covers(const struct addr *wildcard, const struct addr *destination)
{
	return wildcard->sa.sa_family == AF_INET6 || destination->sa.sa_family == AF_INET;
}

/* Both folded. */
static bool is_own_listener(const struct guard_context *context, const struct addr *destination)
{
	struct addr local = addr_unmap(context->local);
	bool here = addr_scope(destination) == ADDR_LOOPBACK || addr_same_ip(destination, &local);

	for (size_t i = 0; i < context->listener_count; i++) {
		struct addr listener = addr_unmap(&context->listeners[i]);

		if (addr_port(&listener) != addr_port(destination)) {
			continue;
		}
		if (addr_same_ip(&listener, destination)) {
			return true;
		}
		if (here && addr_scope(&listener) == ADDR_UNSPECIFIED &&
		    wildcard_covers(&listener, destination)) {
			return true;
		}
	}
	return false;
}

/* The verdict on an address as it stands, embedded ones not considered. */
static enum guard_verdict check_plain(const struct guard_context *context,
				      const struct addr *destination)
{
	if (destination->sa.sa_family != AF_UNSPEC && is_metadata(destination)) {
		return GUARD_METADATA;
	}
	switch (addr_scope(destination)) {
	case ADDR_UNSPECIFIED:
		return GUARD_UNSPECIFIED;
	case ADDR_LOOPBACK:
		if (addr_scope(context->client) != ADDR_LOOPBACK) {
			return GUARD_LOOPBACK;
		}
		break;
	case ADDR_LINK_LOCAL:
		return GUARD_LINK_LOCAL;
	case ADDR_MULTICAST:
		return GUARD_MULTICAST;
	case ADDR_RESERVED:
		return GUARD_RESERVED;
	case ADDR_PRIVATE:
	case ADDR_CGNAT:
	case ADDR_GLOBAL:
		break;
	}
	return is_own_listener(context, destination) ? GUARD_OWN_LISTENER : GUARD_ALLOWED;
}

/* :: and ::1 are none. */
bool guard_embedded_ipv4(const struct addr *a, struct addr *ret_ipv4)
{
	const uint8_t *ip = a->in6.sin6_addr.s6_addr;

	if (a->sa.sa_family != AF_INET6 || addr_scope(a) == ADDR_LOOPBACK) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(embeddings); i++) {
		if (memcmp(ip, embeddings[i].prefix, embeddings[i].prefix_len) == 0) {
			*ret_ipv4 = addr_from_ipv4(ip + embeddings[i].ipv4_offset, addr_port(a));
			return true;
		}
	}
	return false;
}

bool guard_is_own_listener(const struct guard_context *context, const struct addr *destination)
{
	struct addr folded = addr_unmap(destination);

	return is_own_listener(context, &folded);
}

enum guard_verdict guard_check(const struct guard_context *context, const struct addr *destination)
{
	struct addr folded = addr_unmap(destination);
	enum guard_verdict verdict = check_plain(context, &folded);
	struct addr inner;

	if (verdict == GUARD_ALLOWED && guard_embedded_ipv4(&folded, &inner) &&
	    check_plain(context, &inner) != GUARD_ALLOWED) {
		return GUARD_EMBEDDED;
	}
	return verdict;
}

const char *guard_verdict_name(enum guard_verdict verdict)
{
	static const char *const names[] = {
#define GUARD_NAME(name, token) (token),
		GUARD_VERDICTS(GUARD_NAME)
#undef GUARD_NAME
	};

	return names[verdict];
}
