/* SPDX-License-Identifier: ISC */
#include "socksd/privacy.h"

#include <stdio.h>
#include <string.h>

enum {
	NETWORK_BITS_IPV4 = 24,
	NETWORK_BITS_IPV6 = 48,
};

/* The network of a folded address, with all that is below it zero. */
static const char *network_text(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
	struct prefix p = { .base = { .sa = { .sa_family = a->sa.sa_family } } };

	if (a->sa.sa_family == AF_INET) {
		p.bits = NETWORK_BITS_IPV4;
		memcpy(&p.base.in4.sin_addr, &a->in4.sin_addr, NETWORK_BITS_IPV4 / 8);
	} else {
		p.bits = NETWORK_BITS_IPV6;
		memcpy(&p.base.in6.sin6_addr, &a->in6.sin6_addr, NETWORK_BITS_IPV6 / 8);
	}
	return prefix_format(&p, buf, ADDR_TEXT_MAX);
}

/* Text that tells less than the whole address, or NULL when that may be shown. */
static const char *reduced(enum privacy_clients level, const struct addr *a,
			   char buf[ADDR_TEXT_MAX])
{
	if (level == PRIVACY_CLIENTS_FULL) {
		return NULL;
	}
	if (level == PRIVACY_CLIENTS_NETWORK && a->sa.sa_family != AF_UNSPEC) {
		return network_text(a, buf);
	}
	snprintf(buf, ADDR_TEXT_MAX, "-");
	return buf;
}

const char *privacy_client(enum privacy_clients level, const struct addr *client,
			   char buf[ADDR_TEXT_MAX])
{
	struct addr a = addr_unmap(client);

	return reduced(level, &a, buf) ? buf : addr_format(&a, buf, ADDR_TEXT_MAX);
}

const char *privacy_client_ip(enum privacy_clients level, const struct addr *client,
			      char buf[ADDR_TEXT_MAX])
{
	struct addr a = addr_unmap(client);

	return reduced(level, &a, buf) ? buf : addr_format_ip(&a, buf, ADDR_TEXT_MAX);
}

const char *privacy_culprit(enum privacy_clients level, const struct addr *client,
			    char buf[ADDR_TEXT_MAX])
{
	return privacy_client_ip(level == PRIVACY_CLIENTS_NONE ? level : PRIVACY_CLIENTS_FULL,
				 client, buf);
}

const char *privacy_destination(enum privacy_destinations level, const char *text)
{
	return level == PRIVACY_DESTINATIONS_FULL ? text : NULL;
}
