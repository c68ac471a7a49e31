/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/target/expected_peer.h"

#include "tests/unit/suite.h"

static struct addr parsed(const char *text)
{
	struct addr a;

	ck_assert_msg(addr_parse(text, 1, &a) == 0, "%s", text);
	return a;
}

START_TEST(test_is_anybody)
{
	static const struct {
		const char *text;
		bool anybody;
	} cases[] = {
		{ "0.0.0.0", true },          { "[::]", true },     { "0.0.0.0:21", true },
		{ "[::ffff:0.0.0.0]", true }, { "0.0.0.1", false }, { "0.255.0.0", false },
		{ "127.0.0.1", false },       { "[::1]", false },   { "255.255.255.255", false },
		{ "[::ffff:0:0:0]", false },
	};
	const struct addr none = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = parsed(cases[i].text);

		ck_assert_msg(expected_peer_is_anybody(&a) == cases[i].anybody, "%s",
			      cases[i].text);
	}
	ck_assert(!expected_peer_is_anybody(&none));
}
END_TEST

START_TEST(test_matches)
{
	static const struct {
		const char *expected;
		const char *peer;
		bool matches;
	} cases[] = {
		{ "192.0.2.1:21", "192.0.2.1:20", true },
		{ "192.0.2.1", "192.0.2.1:50000", true },
		{ "192.0.2.1:21", "[::ffff:192.0.2.1]:20", true },
		{ "[::ffff:192.0.2.1]:21", "192.0.2.1:20", true },
		{ "192.0.2.1:21", "192.0.2.2:21", false },
		{ "192.0.2.1:21", "[64:ff9b::192.0.2.1]:21", false },
		{ "[2001:db8::1]:21", "[2001:db8::1]:20", true },
		{ "[2001:db8::1]:21", "[2001:db8::2]:21", false },
		{ "[2001:db8::1]:21", "192.0.2.1:21", false },
		{ "0.0.0.0", "192.0.2.1:20", true },
		{ "0.0.0.0", "[2001:db8::1]:20", true },
		{ "[::]", "[2001:db8::1]:20", true },
		{ "0.0.0.1", "192.0.2.1:20", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct expected_peer expected = { 0 };
		struct addr a = parsed(cases[i].expected);
		struct addr peer = parsed(cases[i].peer);

		ck_assert(expected_peer_add(&expected, &a));
		ck_assert_msg(expected_peer_matches(&expected, &peer) == cases[i].matches, "%s %s",
			      cases[i].expected, cases[i].peer);
	}
}
END_TEST

START_TEST(test_several)
{
	struct expected_peer expected = { 0 };
	const struct addr none = { 0 };
	struct addr first = parsed("[2001:db8::1]");
	struct addr second = parsed("192.0.2.1");
	struct addr other = parsed("192.0.2.9");

	ck_assert(!expected_peer_matches(&expected, &first));
	ck_assert_ptr_null(expected_peer_of(&expected, AF_INET));
	ck_assert(expected_peer_add(&expected, &first));
	ck_assert_ptr_null(expected_peer_of(&expected, AF_INET));
	ck_assert(expected_peer_add(&expected, &second));
	ck_assert(addr_equal(expected_peer_of(&expected, AF_INET), &second));
	ck_assert(addr_equal(expected_peer_of(&expected, AF_INET6), &first));
	ck_assert(expected_peer_matches(&expected, &first));
	ck_assert(expected_peer_matches(&expected, &second));
	ck_assert(!expected_peer_matches(&expected, &other));
	ck_assert(!expected_peer_matches(&expected, &none));
	while (expected.count < EXPECTED_PEER_MAX) {
		ck_assert(expected_peer_add(&expected, &second));
	}
	ck_assert(!expected_peer_add(&expected, &other));
	ck_assert(!expected_peer_matches(&expected, &other));
}
END_TEST

START_TEST(test_anybody_is_somebody)
{
	struct expected_peer expected = { .anybody = true };
	const struct addr none = { 0 };

	ck_assert(!expected_peer_matches(&expected, &none));
}
END_TEST

SUITE_MAIN("expected_peer", test_is_anybody, test_matches, test_several, test_anybody_is_somebody)
