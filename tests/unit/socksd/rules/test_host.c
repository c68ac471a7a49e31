/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/rules/host.h"

#include "tests/unit/suite.h"

#include <string.h>

/* Wildcards on 1081 (IPv4) and 1082 (as a mapped address); 1080 is no wildcard's. */
static const char *const listener_texts[] = { "127.0.0.1:1080", "0.0.0.0:1081",
					      "[::ffff:0.0.0.0]:1082" };

static const struct {
	const char *destination;
	const char *local; /* "-": none */
} cases[] = {
	{ "127.0.0.1:1081", "127.0.0.1" },
	{ "127.9.8.7:1081", "127.9.8.7" },
	{ "[::ffff:127.0.0.1]:1082", "127.0.0.1" },
	{ "[64:ff9b::127.0.0.1]:1081", "127.0.0.1" },
	/* not this host's */
	{ "192.0.2.200:1081", "-" },
	{ "[64:ff9b::192.0.2.200]:1081", "-" },
	/* no wildcard has the port, so nobody asks */
	{ "127.0.0.1:1080", "-" },
	{ "127.0.0.1:80", "-" },
};

START_TEST(test_note_local)
{
	struct addr listeners[ARRAY_SIZE(listener_texts)];
	struct guard_context guard = { .listeners = listeners,
				       .listener_count = ARRAY_SIZE(listeners) };
	const struct addr none = { 0 };
	struct addr local;

	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		ck_assert_int_eq(addr_parse(listener_texts[i], 0, &listeners[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr a;

		ck_assert_int_eq(addr_parse(cases[i].destination, 0, &a), 0);
		host_note_local(&guard, &a, &local);
		ck_assert_ptr_eq(guard.local, &local);
		ck_assert_msg(strcmp(addr_format_ip(&local, text, sizeof text), cases[i].local) ==
				      0,
			      "%s: %s, not %s", cases[i].destination, text, cases[i].local);
	}
	host_note_local(&guard, &none, &local);
	ck_assert_int_eq(local.sa.sa_family, AF_UNSPEC);
}
END_TEST

SUITE_MAIN("host", test_note_local)
