/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/netset.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>

static const struct {
	const char *items[4];
	const char *inside[4];
	const char *outside[4];
} cases[] = {
	{ { NULL }, { NULL }, { "127.0.0.1", "::1", "192.0.2.1" } },
	{ { "any" }, { "192.0.2.1", "2001:db8::1", "0.0.0.0" }, { NULL } },
	{ { "local" }, { "127.0.0.1", "169.254.1.1", "10.0.0.1" }, { "192.0.2.1", "0.0.0.0" } },
	{ { "local" }, { "100.64.0.1", "::1", "fe80::1" }, { "224.0.0.1", "2001:db8::1" } },
	{ { "local" }, { "fd00::1", "::ffff:10.0.0.1" }, { "ff02::1", "::ffff:192.0.2.1", "::" } },
	{ { "192.0.2.0/24", "198.51.100.7" },
	  { "192.0.2.255", "198.51.100.7", "::ffff:192.0.2.9" },
	  { "192.0.3.0", "198.51.100.8", "2001:db8::1" } },
	{ { "2001:db8::/32", "local" }, { "2001:db8::1", "10.1.2.3" }, { "2001:db9::1" } },
	{ { "::ffff:192.0.2.0/120" }, { "192.0.2.1", "::ffff:192.0.2.1" }, { "192.0.3.1" } },
	{ { "0.0.0.0/0" }, { "192.0.2.1", "127.0.0.1" }, { "::1", "2001:db8::1" } },
	{ { "::/0" }, { "2001:db8::1" }, { "192.0.2.1" } },
};

static void check_all(const struct netset *set, const char *const *ips, bool inside)
{
	for (size_t i = 0; i < 4 && ips[i]; i++) {
		struct addr a;

		ck_assert_int_eq(addr_parse_ip(ips[i], &a), 0);
		ck_assert_msg(netset_contains(set, &a) == inside, "%s", ips[i]);
	}
}

START_TEST(test_contains)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netset set = { 0 };
		const char *why;
		const struct addr none = { 0 };

		for (size_t k = 0; k < 4 && cases[i].items[k]; k++) {
			ck_assert_int_eq(netset_add(&set, cases[i].items[k], &why), 0);
		}
		check_all(&set, cases[i].inside, true);
		check_all(&set, cases[i].outside, false);
		ck_assert(!netset_contains(&set, &none));
		netset_done(&set);
		ck_assert(!set.any && !set.local && !set.prefixes && set.count == 0);
	}
}
END_TEST

static const struct {
	const char *item;
	const char *why;
} bad_cases[] = {
	{ "", "not an address or prefix" },
	{ "Any", "not an address or prefix" },
	{ "localhost", "not an address or prefix" },
	{ "10.0.0.0/33", "prefix length out of range" },
	{ "10.0.0.1/8", "address has bits set beyond the prefix length" },
};

START_TEST(test_bad)
{
	struct netset set = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		const char *why = NULL;

		ck_assert_int_eq(netset_add(&set, bad_cases[i].item, &why), -EINVAL);
		ck_assert_str_eq(why, bad_cases[i].why);
	}
	ck_assert_uint_eq(set.count, 0);
	netset_done(&set);
}
END_TEST

START_TEST(test_many)
{
	struct netset set = { 0 };
	char text[ADDR_TEXT_MAX];
	const char *why;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof text, "10.%u.%u.0/24", i / 256, i % 256);
		ck_assert_int_eq(netset_add(&set, text, &why), 0);
	}
	ck_assert_uint_eq(set.count, 1000);
	ck_assert_str_eq(prefix_format(&set.prefixes[999], text, sizeof text), "10.3.231.0/24");
	netset_done(&set);
	netset_done(&set);
}
END_TEST

SUITE_MAIN("netset", test_contains, test_bad, test_many)
