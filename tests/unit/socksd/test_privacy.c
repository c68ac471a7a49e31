/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/privacy.h"

#include "tests/unit/suite.h"

static const struct {
	const char *client;
	enum privacy_clients level;
	const char *with_port;
	const char *without;
	const char *culprit;
} cases[] = {
	{ "192.168.1.7:5000", PRIVACY_CLIENTS_FULL, "192.168.1.7:5000", "192.168.1.7",
	  "192.168.1.7" },
	{ "192.168.1.7:5000", PRIVACY_CLIENTS_NETWORK, "192.168.1.0/24", "192.168.1.0/24",
	  "192.168.1.7" },
	{ "192.168.1.7:5000", PRIVACY_CLIENTS_NONE, "-", "-", "-" },
	{ "[2001:db8:1:2:3:4:5:6]:5000", PRIVACY_CLIENTS_FULL, "[2001:db8:1:2:3:4:5:6]:5000",
	  "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6" },
	{ "[2001:db8:1:2:3:4:5:6]:5000", PRIVACY_CLIENTS_NETWORK, "2001:db8:1::/48",
	  "2001:db8:1::/48", "2001:db8:1:2:3:4:5:6" },
	{ "[2001:db8:1:2:3:4:5:6]:5000", PRIVACY_CLIENTS_NONE, "-", "-", "-" },
	/* Folded first: /48 of the mapped form would be all of IPv4. */
	{ "[::ffff:192.168.1.7]:5000", PRIVACY_CLIENTS_FULL, "192.168.1.7:5000", "192.168.1.7",
	  "192.168.1.7" },
	{ "[::ffff:192.168.1.7]:5000", PRIVACY_CLIENTS_NETWORK, "192.168.1.0/24", "192.168.1.0/24",
	  "192.168.1.7" },
};

START_TEST(test_clients)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr a;

		ck_assert_int_eq(addr_parse(cases[i].client, 0, &a), 0);
		ck_assert_str_eq(privacy_client(cases[i].level, &a, text), cases[i].with_port);
		ck_assert_str_eq(privacy_client_ip(cases[i].level, &a, text), cases[i].without);
		ck_assert_str_eq(privacy_culprit(cases[i].level, &a, text), cases[i].culprit);
	}
}
END_TEST

START_TEST(test_none)
{
	const struct addr none = { .sa = { .sa_family = AF_UNSPEC } };
	char text[ADDR_TEXT_MAX];

	ck_assert_str_eq(privacy_client(PRIVACY_CLIENTS_FULL, &none, text), "-");
	ck_assert_str_eq(privacy_client(PRIVACY_CLIENTS_NETWORK, &none, text), "-");
}
END_TEST

START_TEST(test_destinations)
{
	ck_assert_str_eq(privacy_destination(PRIVACY_DESTINATIONS_FULL, "a:1"), "a:1");
	ck_assert_ptr_null(privacy_destination(PRIVACY_DESTINATIONS_FULL, NULL));
	ck_assert_ptr_null(privacy_destination(PRIVACY_DESTINATIONS_NONE, "a:1"));
}
END_TEST

SUITE_MAIN("privacy", test_clients, test_none, test_destinations)
