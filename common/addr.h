/* SPDX-License-Identifier: ISC */
/*
 * IPv4 and IPv6 addresses with port: parse, format, compare, classify, match against a prefix. Pure
 * (but for the lookup of an interface name in "%eth0", and only in addr_parse_*). Parsing is
 * strict: an IPv4 address is four decimal numbers, as inet_pton() has it, so "127.1" or "0x7f.1"
 * are no addresses.
 */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* One address; sa.sa_family is AF_INET, AF_INET6, or AF_UNSPEC for "none" (all zero bytes). */
struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	};
};

/* Longest text of addr_format(): "[v6%interface]:65535" and the final NUL. */
#define ADDR_TEXT_MAX 80

/* What an address may be used for; names follow the IANA special-purpose registries (RFC 6890). */
enum addr_scope {
	ADDR_UNSPECIFIED, /* 0.0.0.0/8, :: */
	ADDR_LOOPBACK,    /* 127/8, ::1 */
	ADDR_LINK_LOCAL,  /* 169.254/16, fe80::/10 */
	ADDR_PRIVATE,     /* RFC 1918, fc00::/7 */
	ADDR_CGNAT,       /* 100.64/10, RFC 6598 */
	ADDR_MULTICAST,   /* 224/4, ff00::/8 */
	ADDR_RESERVED,    /* 240/4 and the limited broadcast address */
	ADDR_GLOBAL,      /* all others */
};

/* Parse an address without port or brackets ("192.0.2.1", "fe80::1%eth0"). The port becomes 0.
 * 0, or -EINVAL (no address), -ENODEV (unknown interface). */
int addr_parse_ip(const char *text, struct addr *ret_addr);

/* Parse "1.2.3.4:53", "[::1]:53", "1.2.3.4", "::1" or "[::1]". Without a port, default_port is
 * used; when default_port is 0 a port is required. 0, -EINVAL or -ENODEV. */
int addr_parse(const char *text, uint16_t default_port, struct addr *ret_addr);

/* Addresses from wire bytes, network order; the port in host order. */
struct addr addr_from_ipv4(const uint8_t bytes[4], uint16_t port);
struct addr addr_from_ipv6(const uint8_t bytes[16], uint16_t port);

/* Copy of a socket address of either family; anything else gives AF_UNSPEC. */
struct addr addr_from_sockaddr(const struct sockaddr *sa);

/* Length to pass to bind(), connect() and sendto(). */
socklen_t addr_len(const struct addr *a);

uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);

/* Fold ::ffff:a.b.c.d to a.b.c.d, so that rules and logs see one form only; others are unchanged.
 */
struct addr addr_unmap(const struct addr *a);

/* Same family, address, scope id and (in addr_equal) port. */
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_same_ip(const struct addr *a, const struct addr *b);

enum addr_scope addr_scope(const struct addr *a);

/* Whether one host can have it: it is neither multicast nor reserved, as the limited broadcast
 * address is. That 0.0.0.0 and :: stand for all addresses of a host is the caller's business. */
bool addr_is_unicast(const struct addr *a);

/* Write "192.0.2.1" / "fe80::1%2" or, with port, "192.0.2.1:80" / "[::1]:80"; "-" for none. Both
 * return buf, whose cap must be at least ADDR_TEXT_MAX. */
const char *addr_format_ip(const struct addr *a, char *buf, size_t cap);
const char *addr_format(const struct addr *a, char *buf, size_t cap);

/* A prefix; host bits are zero, the port is 0. */
struct prefix {
	struct addr base;
	uint8_t bits;
};

/* Parse "192.168.0.0/16", "fd00::/8" or a bare address (all bits). Host bits must be zero, so that
 * a typing error is found. 0 or -EINVAL; *reterr_why then says what was wrong (static string). */
int prefix_parse(const char *text, struct prefix *ret_prefix, const char **reterr_why);

/* Whether `a` (folded first) lies in the prefix; families never match each other. */
bool prefix_contains(const struct prefix *p, const struct addr *a);

/* Write "192.168.0.0/16"; returns buf. */
const char *prefix_format(const struct prefix *p, char *buf, size_t cap);

#endif
