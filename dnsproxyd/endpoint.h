/* SPDX-License-Identifier: ISC */
/*
 * A server to ask, as configurations write it: an address and how it is reached.
 *
 *	9.9.9.9                       by UDP, and by TCP what does not fit
 *	tcp://9.9.9.9:53              by TCP only
 *	tls://9.9.9.9                 by TLS; its certificate is for the address
 *	tls://9.9.9.9#dns.quad9.net   the certificate is for that name
 *	tls://dns.quad9.net:853       and somebody has to be asked for its address
 *
 * Pure (but for interface names in addresses, see common/addr.h). Thread: any.
 */
#ifndef DNSPROXYD_ENDPOINT_H
#define DNSPROXYD_ENDPOINT_H

#include "common/addr.h"

#include <stdbool.h>

/* Longest name of a server, with the final NUL. */
#define ENDPOINT_NAME_MAX 254
/* Longest text of endpoint_format(), with the final NUL. */
#define ENDPOINT_TEXT_MAX (ADDR_TEXT_MAX + ENDPOINT_NAME_MAX + 16)

enum endpoint_protocol {
	ENDPOINT_UDP, /* and TCP when need be */
	ENDPOINT_TCP,
	ENDPOINT_TLS,
};

struct endpoint {
	enum endpoint_protocol protocol;
	struct addr addr; /* AF_UNSPEC: that of the name */
	uint16_t port;
	char name[ENDPOINT_NAME_MAX]; /* for certificates and, without address, to be looked up; ""
					 when none was given */
};

/* 0, -EINVAL (no such form), -EPROTONOSUPPORT (another scheme) or -ENODEV (no such interface). */
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
	return endpoint->protocol != ENDPOINT_UDP;
}

/* Whether nobody on the way can read along. */
static inline bool endpoint_is_encrypted(const struct endpoint *endpoint)
{
	return endpoint->protocol == ENDPOINT_TLS;
}

/* Returns buf. */
const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX]);

#endif
