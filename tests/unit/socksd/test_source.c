/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/source.h"

#include "tests/unit/suite.h"

static const struct {
	const char *a;
	const char *b;
	bool same;
} cases[] = {
	{ "192.0.2.1:1000", "192.0.2.1:2000", true },
	{ "192.0.2.1:1000", "192.0.2.2:1000", false },
	{ "192.0.2.1:1000", "[::ffff:192.0.2.1]:1000", true },
	{ "[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:2", true },
	{ "[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", false },
	{ "[2001:db8:1:2::1]:1", "[2001:db9:1:2::1]:1", false },
	/* in one network by nature */
	{ "[fe80::1]:1", "[fe80::1]:2", true },
	{ "[fe80::1]:1", "[fe80::2]:1", false },
	/* the same bytes in another family */
	{ "192.0.2.1:1", "[c000:201::]:1", false },
	{ "[fe80::c000:201:0:0]:1", "[c000:201::]:1", false },
};

START_TEST(test_same)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct source source_a;
		struct source source_b;
		struct addr a;
		struct addr b;

		ck_assert_int_eq(addr_parse(cases[i].a, 0, &a), 0);
		ck_assert_int_eq(addr_parse(cases[i].b, 0, &b), 0);
		source_a = source_of(&a);
		source_b = source_of(&b);
		ck_assert_msg(source_equal(&source_a, &source_b) == cases[i].same, "%s and %s",
			      cases[i].a, cases[i].b);
	}
}
END_TEST

SUITE_MAIN("source", test_same)
