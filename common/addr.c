/* SPDX-License-Identifier: ISC */
#include "common/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_port(const char *text, uint16_t *ret_port)
{
	char *end;
	unsigned long value;

	if (text[0] < '0' || text[0] > '9') {
		return -EINVAL;
	}
	value = strtoul(text, &end, 10);
	if (*end != '\0' || value < 1 || value > 65535 || end - text > 5) {
		return -EINVAL;
	}
	*ret_port = (uint16_t)value;
	return 0;
}

/* "%eth0" or "%2" after a link-local address. */
static int parse_scope_id(const char *zone, uint32_t *ret_scope_id)
{
	unsigned index = if_nametoindex(zone);
	char *end;
	unsigned long value;

	if (index > 0) {
		*ret_scope_id = index;
		return 0;
	}
	if (zone[0] < '0' || zone[0] > '9') {
		return zone[0] == '\0' ? -EINVAL : -ENODEV;
	}
	value = strtoul(zone, &end, 10);
	if (*end != '\0' || value == 0 || value > UINT32_MAX) {
		return -EINVAL;
	}
	*ret_scope_id = (uint32_t)value;
	return 0;
}

static int parse_ipv6(const char *text, struct addr *ret_addr)
{
	char host[INET6_ADDRSTRLEN];
	const char *zone = strchr(text, '%');
	size_t len = zone ? (size_t)(zone - text) : strlen(text);
	struct addr a = { .in6 = { .sin6_family = AF_INET6 } };
	int r;

	if (len >= sizeof host) {
		return -EINVAL;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) != 1) {
		return -EINVAL;
	}
	if (zone) {
		if (!IN6_IS_ADDR_LINKLOCAL(&a.in6.sin6_addr) &&
		    !IN6_IS_ADDR_MULTICAST(&a.in6.sin6_addr)) {
			return -EINVAL;
		}
		r = parse_scope_id(zone + 1, &a.in6.sin6_scope_id);
		if (r < 0) {
			return r;
		}
	}
	*ret_addr = a;
	return 0;
}

int addr_parse_ip(const char *text, struct addr *ret_addr)
{
	struct addr a = { .in4 = { .sin_family = AF_INET } };

	if (inet_pton(AF_INET, text, &a.in4.sin_addr) == 1) {
		*ret_addr = a;
		return 0;
	}
	return parse_ipv6(text, ret_addr);
}

int addr_parse(const char *text, uint16_t default_port, struct addr *ret_addr)
{
	char host[ADDR_TEXT_MAX];
	const char *host_start = text;
	const char *host_end;
	const char *port_text = NULL;
	const char *colon = strchr(text, ':');
	uint16_t port = default_port;
	struct addr a;
	int r;

	if (text[0] == '[') {
		host_start = text + 1;
		host_end = strchr(text, ']');
		if (!host_end || (host_end[1] != '\0' && host_end[1] != ':')) {
			return -EINVAL;
		}
		port_text = host_end[1] == ':' ? host_end + 2 : NULL;
	} else if (colon && !strchr(colon + 1, ':')) {
		host_end = colon;
		port_text = colon + 1;
	} else {
		host_end = text + strlen(text);
	}
	if (port_text) {
		r = parse_port(port_text, &port);
		if (r < 0) {
			return r;
		}
	}
	if (port == 0 || (size_t)(host_end - host_start) >= sizeof host) {
		return -EINVAL;
	}
	memcpy(host, host_start, (size_t)(host_end - host_start));
	host[host_end - host_start] = '\0';
	r = text[0] == '[' ? parse_ipv6(host, &a) : addr_parse_ip(host, &a);
	if (r < 0) {
		return r;
	}
	addr_set_port(&a, port);
	*ret_addr = a;
	return 0;
}

struct addr addr_from_ipv4(const uint8_t bytes[4], uint16_t port)
{
	struct addr a = { .in4 = { .sin_family = AF_INET, .sin_port = htons(port) } };

	memcpy(&a.in4.sin_addr, bytes, 4);
	return a;
}

struct addr addr_from_ipv6(const uint8_t bytes[16], uint16_t port)
{
	struct addr a = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) } };

	memcpy(&a.in6.sin6_addr, bytes, 16);
	return a;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa)
{
	struct addr a = { .in6 = { .sin6_family = AF_UNSPEC } };

	if (sa->sa_family == AF_INET) {
		memcpy(&a.in4, sa, sizeof a.in4);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&a.in6, sa, sizeof a.in6);
	}
	return a;
}

socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof a->in6 : sizeof a->in4;
}

uint16_t addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in4.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET6) {
		a->in6.sin6_port = htons(port);
	} else {
		a->in4.sin_port = htons(port);
	}
}

struct addr addr_unmap(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		return addr_from_ipv4(a->in6.sin6_addr.s6_addr + 12, ntohs(a->in6.sin6_port));
	}
	return *a;
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family) {
		return false;
	}
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
	case AF_INET6:
		return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0 &&
		       a->in6.sin6_scope_id == b->in6.sin6_scope_id;
	default:
		return true;
	}
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_same_ip(a, b) && (a->sa.sa_family == AF_UNSPEC || addr_port(a) == addr_port(b));
}

static enum addr_scope scope_of_ipv4(uint32_t ip)
{
	if (ip >> 24 == 0) {
		return ADDR_UNSPECIFIED;
	}
	if (ip >> 24 == 127) {
		return ADDR_LOOPBACK;
	}
	if (ip >> 16 == 0xa9fe) {
		return ADDR_LINK_LOCAL;
	}
	if (ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8) {
		return ADDR_PRIVATE;
	}
	if (ip >> 22 == 0x6440 >> 6) {
		return ADDR_CGNAT;
	}
	if (ip >> 28 == 0xe) {
		return ADDR_MULTICAST;
	}
	return ip >> 28 == 0xf ? ADDR_RESERVED : ADDR_GLOBAL;
}

static enum addr_scope scope_of_ipv6(const struct in6_addr *ip)
{
	if (IN6_IS_ADDR_UNSPECIFIED(ip)) {
		return ADDR_UNSPECIFIED;
	}
	if (IN6_IS_ADDR_LOOPBACK(ip)) {
		return ADDR_LOOPBACK;
	}
	if (IN6_IS_ADDR_LINKLOCAL(ip)) {
		return ADDR_LINK_LOCAL;
	}
	if (IN6_IS_ADDR_MULTICAST(ip)) {
		return ADDR_MULTICAST;
	}
	return (ip->s6_addr[0] & 0xfe) == 0xfc ? ADDR_PRIVATE : ADDR_GLOBAL;
}

enum addr_scope addr_scope(const struct addr *a)
{
	struct addr folded = addr_unmap(a);

	switch (folded.sa.sa_family) {
	case AF_INET:
		return scope_of_ipv4(ntohl(folded.in4.sin_addr.s_addr));
	case AF_INET6:
		return scope_of_ipv6(&folded.in6.sin6_addr);
	default:
		return ADDR_UNSPECIFIED;
	}
}

bool addr_is_unicast(const struct addr *a)
{
	enum addr_scope scope = addr_scope(a);

	return scope != ADDR_MULTICAST && scope != ADDR_RESERVED;
}

const char *addr_format_ip(const struct addr *a, char *buf, size_t cap)
{
	char ip[INET6_ADDRSTRLEN];

	switch (a->sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->in4.sin_addr, buf, (socklen_t)cap);
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
		if (a->in6.sin6_scope_id) {
			snprintf(buf, cap, "%s%%%u", ip, a->in6.sin6_scope_id);
		} else {
			snprintf(buf, cap, "%s", ip);
		}
		break;
	default:
		snprintf(buf, cap, "-");
	}
	return buf;
}

const char *addr_format(const struct addr *a, char *buf, size_t cap)
{
	char ip[ADDR_TEXT_MAX];

	addr_format_ip(a, ip, sizeof ip);
	switch (a->sa.sa_family) {
	case AF_INET:
		snprintf(buf, cap, "%s:%u", ip, addr_port(a));
		break;
	case AF_INET6:
		snprintf(buf, cap, "[%s]:%u", ip, addr_port(a));
		break;
	default:
		snprintf(buf, cap, "-");
	}
	return buf;
}

/* The address bytes in network order and their number. */
static const uint8_t *ip_bytes(const struct addr *a, size_t *ret_len)
{
	if (a->sa.sa_family == AF_INET6) {
		*ret_len = 16;
		return a->in6.sin6_addr.s6_addr;
	}
	*ret_len = 4;
	return (const uint8_t *)&a->in4.sin_addr;
}

/* Whether the first `bits` bits of both byte strings agree. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	uint8_t mask = (uint8_t)(0xff00u >> (bits % 8));

	if (memcmp(a, b, bits / 8) != 0) {
		return false;
	}
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & mask) == 0;
}

/* Whether all bits from `bits` on are zero. */
static bool host_bits_zero(const uint8_t *ip, size_t len, unsigned bits)
{
	for (unsigned i = bits; i < len * 8; i++) {
		if (ip[i / 8] & (0x80u >> (i % 8))) {
			return false;
		}
	}
	return true;
}

int prefix_parse(const char *text, struct prefix *ret_prefix, const char **reterr_why)
{
	char host[ADDR_TEXT_MAX];
	const char *slash = strchr(text, '/');
	size_t host_len = slash ? (size_t)(slash - text) : strlen(text);
	struct prefix p;
	size_t ip_len;
	const uint8_t *ip;

	*reterr_why = "not an address or prefix";
	if (host_len >= sizeof host) {
		return -EINVAL;
	}
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	if (addr_parse_ip(host, &p.base) < 0 ||
	    (p.base.sa.sa_family == AF_INET6 && p.base.in6.sin6_scope_id)) {
		return -EINVAL;
	}
	ip = ip_bytes(&p.base, &ip_len);
	p.bits = (uint8_t)(ip_len * 8);
	if (slash) {
		char *end;
		unsigned long bits = strtoul(slash + 1, &end, 10);

		if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > ip_len * 8) {
			*reterr_why = "prefix length out of range";
			return -EINVAL;
		}
		p.bits = (uint8_t)bits;
	}
	if (!host_bits_zero(ip, ip_len, p.bits)) {
		*reterr_why = "address has bits set beyond the prefix length";
		return -EINVAL;
	}
	*ret_prefix = p;
	return 0;
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
	struct addr folded = addr_unmap(a);
	size_t len;

	if (folded.sa.sa_family != p->base.sa.sa_family) {
		return false;
	}
	return same_bits(ip_bytes(&p->base, &len), ip_bytes(&folded, &len), p->bits);
}

const char *prefix_format(const struct prefix *p, char *buf, size_t cap)
{
	char ip[ADDR_TEXT_MAX];

	snprintf(buf, cap, "%s/%u", addr_format_ip(&p->base, ip, sizeof ip), p->bits);
	return buf;
}
