/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/endpoint.h"

#include "common/container.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	DNS_PORT = 53,
};

static const struct scheme {
	const char *prefix;
	enum endpoint_protocol protocol;
	uint16_t port;
} schemes[] = {
	{ "tcp://", ENDPOINT_TCP, DNS_PORT },
};

int endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
	*ret_endpoint = (struct endpoint){ .protocol = ENDPOINT_UDP };
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t len = strlen(schemes[i].prefix);

		if (strncmp(text, schemes[i].prefix, len) == 0) {
			ret_endpoint->protocol = schemes[i].protocol;
			return addr_parse(text + len, schemes[i].port, &ret_endpoint->addr);
		}
	}
	if (strstr(text, "://")) {
		return -EPROTONOSUPPORT;
	}
	return addr_parse(text, DNS_PORT, &ret_endpoint->addr);
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->protocol == b->protocol && addr_equal(&a->addr, &b->addr);
}

const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX])
{
	const char *prefix = "";
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (schemes[i].protocol == endpoint->protocol) {
			prefix = schemes[i].prefix;
		}
	}
	snprintf(buf, ENDPOINT_TEXT_MAX, "%s%s", prefix,
		 addr_format(&endpoint->addr, text, sizeof text));
	return buf;
}
