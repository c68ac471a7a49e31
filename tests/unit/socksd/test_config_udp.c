/* SPDX-License-Identifier: ISC */
#include "socksd/config_udp.h"

#include "tests/unit/suite.h"

#include <string.h>

/* A section's keys, and what comes of them: the addresses ("" for none) and ports, or an error. */
static const struct {
	const char *keys;
	const char *ipv4;
	const char *ipv6;
	uint16_t first;
	uint16_t last;
	const char *error; /* how it begins; NULL: none */
} table[] = {
	{ "", "", "", 0, 0, NULL },
	{ "udp-public-address = 203.0.113.7\n", "203.0.113.7", "", 0, 0, NULL },
	{ "udp-public-address = ::ffff:203.0.113.7\n", "203.0.113.7", "", 0, 0, NULL },
	{ "udp-public-address = 2001:db8::7\n", "", "2001:db8::7", 0, 0, NULL },
	{ "udp-public-address = 2001:db8::7, 203.0.113.7\n", "203.0.113.7", "2001:db8::7", 0, 0,
	  NULL },
	/* Behind a NAT within a NAT it may be a private one. */
	{ "udp-public-address = 192.168.1.1\n", "192.168.1.1", "", 0, 0, NULL },
	{ "udp-public-address = 2001:db8::7, 2001:db8::8\n", "", "", 0, 0,
	  "test:3: second address 2001:db8::8" },
	{ "udp-public-address = 203.0.113.7, ::ffff:203.0.113.7\n", "", "", 0, 0,
	  "test:3: second address 203.0.113.7" },
	{ "udp-public-address = ::\n", "", "", 0, 0, "test:3: nothing can be sent to ::" },
	{ "udp-public-address = ::ffff:0.0.0.0\n", "", "", 0, 0,
	  "test:3: nothing can be sent to 0.0.0.0" },
	{ "udp-port-range = 40000-40010\n", "", "", 40000, 40010, NULL },
	{ "udp-port-range = 40000\n", "", "", 40000, 40000, NULL },
	{ "udp-port-range = 1-65535\n", "", "", 1, 65535, NULL },
	{ "udp-port-range = 0-5\n", "", "", 0, 0, "test:3: a port from 1" },
	{ "udp-port-range = 6-5\n", "", "", 0, 0, "test:3: the lower port first" },
	{ "udp-port-range = 1-2-3\n", "", "", 0, 0, "test:3: " },
	{ "udp-port-range = -5\n", "", "", 0, 0, "test:3: " },
};

static void check_addr(const struct addr *a, const char *expected)
{
	char text[ADDR_TEXT_MAX] = "";

	if (a->sa.sa_family != AF_UNSPEC) {
		addr_format_ip(a, text, sizeof text);
		ck_assert_uint_eq(addr_port(a), 0);
	}
	ck_assert_str_eq(text, expected);
}

START_TEST(test_keys)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct params *params = params_new(&config_schema);
		struct listen_config listen = { .name = "a" };
		const struct section *section;
		struct ini_error error = { "" };
		char text[256] = "[listen a]\naddress = 127.0.0.1\n";
		int r;

		strcat(text, table[i].keys);
		ck_assert_int_eq(params_read_bytes(params, "test", text, strlen(text), &error), 0);
		ck_assert_msg(params_finish(params, &error) == 0, "%s", error.text);
		section = params_next(params, "listen", NULL);
		listen.params = section->values;
		r = config_load_udp(&listen, section, &error);
		ck_assert_msg((r < 0) == (table[i].error != NULL), "%s: %s", table[i].keys,
			      error.text);
		if (r < 0) {
			ck_assert_msg(strncmp(error.text, table[i].error, strlen(table[i].error)) ==
					      0,
				      "%s", error.text);
		} else {
			check_addr(&listen.udp_public_ipv4, table[i].ipv4);
			check_addr(&listen.udp_public_ipv6, table[i].ipv6);
			ck_assert_uint_eq(listen.udp_ports.first, table[i].first);
			ck_assert_uint_eq(listen.udp_ports.last, table[i].last);
		}
		params_free(params);
	}
}
END_TEST

SUITE_MAIN("config_udp", test_keys)
