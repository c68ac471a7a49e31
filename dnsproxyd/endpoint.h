/* SPDX-License-Identifier: ISC */
/*
 * A server to ask, as configurations write it: an address and how it is reached.
 *
 *	9.9.9.9            by UDP, and by TCP what does not fit
 *	tcp://9.9.9.9:53   by TCP only
 *
 * Pure (but for interface names in addresses, see common/addr.h). Thread: any.
 */
#ifndef DNSPROXYD_ENDPOINT_H
#define DNSPROXYD_ENDPOINT_H

#include "common/addr.h"

#include <stdbool.h>

/* Longest text of endpoint_format(), with the final NUL. */
#define ENDPOINT_TEXT_MAX (ADDR_TEXT_MAX + 8)

enum endpoint_protocol {
	ENDPOINT_UDP, /* and TCP when need be */
	ENDPOINT_TCP,
};

struct endpoint {
	enum endpoint_protocol protocol;
	struct addr addr;
};

/* 0, -EINVAL (no such form), -EPROTONOSUPPORT (another scheme) or -ENODEV (no such interface). */
int endpoint_parse(const char *text, struct endpoint *ret_endpoint);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* Returns buf. */
const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX]);

#endif
