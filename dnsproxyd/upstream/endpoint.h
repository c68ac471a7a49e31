/* SPDX-License-Identifier: ISC */
/*
 * A server to ask, as configurations write it: an address and how it is reached.
 *
 *	9.9.9.9                       by UDP, and by TCP what does not fit
 *	tcp://9.9.9.9:53              by TCP only
 *	tls://9.9.9.9                 by TLS; its certificate is for the address
 *	tls://9.9.9.9#dns.quad9.net   the certificate is for that name
 *	tls://dns.quad9.net:853       and somebody has to be asked for its address
 *	https://9.9.9.9/dns-query#dns.quad9.net
 *	                              by HTTPS; the rest as with TLS, the path is /dns-query if none
 *	sdns://AQcAAAAAAAAA...        a DNS stamp (common/dns/stamp.h): DNSCrypt, HTTPS or TLS
 *
 * Pure (but for interface names in addresses, see common/addr.h). Thread: any.
 */
#ifndef DNSPROXYD_UPSTREAM_ENDPOINT_H
#define DNSPROXYD_UPSTREAM_ENDPOINT_H

#include "common/addr.h"
#include "common/dns/stamp.h"

#include <stdbool.h>

/* Longest name of a server, with the final NUL. */
#define ENDPOINT_NAME_MAX 254
/* Longest text of endpoint_format(), with the final NUL. */
#define ENDPOINT_TEXT_MAX (ADDR_TEXT_MAX + ENDPOINT_NAME_MAX + STAMP_TEXT_MAX + 16)

enum endpoint_protocol {
	ENDPOINT_UDP, /* and TCP when need be */
	ENDPOINT_TCP,
	ENDPOINT_TLS,
	ENDPOINT_HTTPS,
	ENDPOINT_DNSCRYPT, /* by UDP, and by TCP when need be */
};

struct endpoint {
	enum endpoint_protocol protocol;
	struct addr addr; /* AF_UNSPEC: that of the name */
	uint16_t port;
	/* For certificates and, without address, to be looked up; "" when none was given. DNSCrypt:
	 * of the provider. */
	char name[ENDPOINT_NAME_MAX];
	char path[STAMP_TEXT_MAX];    /* HTTPS */
	uint8_t key[STAMP_KEY_BYTES]; /* DNSCrypt: the provider's */
	/* TLS and HTTPS, of a stamp: certificates, one of which must be in the server's chain. */
	uint8_t hashes[STAMP_HASHES_MAX][STAMP_KEY_BYTES];
	size_t hash_count;
};

/* An IPv4 address that is written as an IPv6 one becomes what it is. 0, -EINVAL (no such form),
 * -EPROTONOSUPPORT (another scheme or kind of stamp), -ENODEV (no such interface) or -EADDRNOTAVAIL
 * (a multicast or reserved address). */
int endpoint_parse(const char *text, struct endpoint *ret_endpoint);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* Whether the server is given by its name alone. */
static inline bool endpoint_needs_address(const struct endpoint *endpoint)
{
	return endpoint->addr.sa.sa_family == AF_UNSPEC;
}

/* Whether everything goes by stream, which loses nothing. */
static inline bool endpoint_is_stream(const struct endpoint *endpoint)
{
	return endpoint->protocol != ENDPOINT_UDP && endpoint->protocol != ENDPOINT_DNSCRYPT;
}

/* Whether it shows certificates as TLS has them. */
static inline bool endpoint_has_tls(const struct endpoint *endpoint)
{
	return endpoint->protocol == ENDPOINT_TLS || endpoint->protocol == ENDPOINT_HTTPS;
}

/* Whether nobody on the way can read along. */
static inline bool endpoint_is_encrypted(const struct endpoint *endpoint)
{
	return endpoint_has_tls(endpoint) || endpoint->protocol == ENDPOINT_DNSCRYPT;
}

/* Returns buf. A DNSCrypt server has no such form; it becomes dnscrypt://ADDRESS:PORT#PROVIDER. */
const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX]);

#endif
