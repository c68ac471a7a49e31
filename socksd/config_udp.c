/* SPDX-License-Identifier: ISC */
#include "socksd/config_udp.h"

#include <stddef.h>

static int set_public_address(struct listen_config *listen, const struct section *section,
			      const struct addr *a, struct ini_error *reterr)
{
	struct addr *slot =
		a->sa.sa_family == AF_INET ? &listen->udp_public_ipv4 : &listen->udp_public_ipv6;
	char text[ADDR_TEXT_MAX];

	addr_format_ip(a, text, sizeof text);
	if (slot->sa.sa_family != AF_UNSPEC) {
		params_fail(reterr, section, offsetof(struct listen_params, udp_public_addresses),
			    "at most one address of each family", "second address %s", text);
		return -1;
	}
	if (addr_scope(a) == ADDR_UNSPECIFIED) {
		params_fail(reterr, section, offsetof(struct listen_params, udp_public_addresses),
			    "an address of one host", "nothing can be sent to %s", text);
		return -1;
	}
	*slot = *a;
	return 0;
}

int config_load_udp(struct listen_config *listen, const struct section *section,
		    struct ini_error *reterr)
{
	const struct listen_params *p = listen->params;
	const char *why;

	for (size_t i = 0; i < p->udp_public_addresses.count; i++) {
		if (set_public_address(listen, section, &p->udp_public_addresses.items[i], reterr) <
		    0) {
			return -1;
		}
	}
	if (p->udp_port_range &&
	    rule_parse_ports(p->udp_port_range, &listen->udp_ports, &why) < 0) {
		params_fail(reterr, section, offsetof(struct listen_params, udp_port_range),
			    "FIRST-LAST", "%s", why);
		return -1;
	}
	return 0;
}
