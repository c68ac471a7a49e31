/* SPDX-License-Identifier: ISC */
#include "common/addr.h"
#include "common/container.h"

#include "tests/unit/suite.h"

static const struct {
	const char *text;
	uint16_t default_port;
	const char *formatted; /* NULL: must be refused */
} parse_cases[] = {
	{ "127.0.0.1:1080", 0, "127.0.0.1:1080" },
	{ "127.0.0.1", 53, "127.0.0.1:53" },
	{ "127.0.0.1", 0, NULL },
	{ "[::1]:1080", 0, "[::1]:1080" },
	{ "[::1]", 53, "[::1]:53" },
	{ "::1", 53, "[::1]:53" },
	{ "fe80::1%1", 53, "[fe80::1%1]:53" },
	{ "fe80::1%lo", 53, "[fe80::1%1]:53" },
	{ "2001:db8::1%lo", 53, NULL },
	{ "fe80::1%no-such-interface", 53, NULL },
	{ "127.1:80", 0, NULL },
	{ "0x7f.0.0.1:80", 0, NULL },
	{ "0177.0.0.1:80", 0, NULL },
	{ "2130706433:80", 0, NULL },
	{ "127.0.0.1:0", 0, NULL },
	{ "127.0.0.1:65536", 0, NULL },
	{ "127.0.0.1:080a", 0, NULL },
	{ "127.0.0.1:+80", 0, NULL },
	{ "127.0.0.1:", 53, NULL },
	{ "[::1]x:80", 0, NULL },
	{ "[::1:80", 0, NULL },
	{ "[127.0.0.1]:80", 0, NULL },
	{ "", 53, NULL },
	{ "localhost:80", 0, NULL },
};

START_TEST(test_parse)
{
	for (size_t i = 0; i < ARRAY_SIZE(parse_cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr a;
		int r = addr_parse(parse_cases[i].text, parse_cases[i].default_port, &a);

		if (!parse_cases[i].formatted) {
			ck_assert_msg(r < 0, "%s was taken", parse_cases[i].text);
			continue;
		}
		ck_assert_msg(r == 0, "%s was refused", parse_cases[i].text);
		ck_assert_str_eq(addr_format(&a, text, sizeof text), parse_cases[i].formatted);
	}
}
END_TEST

static const struct {
	const char *ip;
	enum addr_scope scope;
} scope_cases[] = {
	{ "0.0.0.0", ADDR_UNSPECIFIED },      { "0.1.2.3", ADDR_UNSPECIFIED },
	{ "127.255.0.1", ADDR_LOOPBACK },     { "169.254.169.254", ADDR_LINK_LOCAL },
	{ "10.1.1.1", ADDR_PRIVATE },         { "172.15.255.255", ADDR_GLOBAL },
	{ "172.16.0.0", ADDR_PRIVATE },       { "172.31.255.255", ADDR_PRIVATE },
	{ "172.32.0.0", ADDR_GLOBAL },        { "192.168.1.1", ADDR_PRIVATE },
	{ "100.63.255.255", ADDR_GLOBAL },    { "100.64.0.0", ADDR_CGNAT },
	{ "100.127.255.255", ADDR_CGNAT },    { "100.128.0.0", ADDR_GLOBAL },
	{ "224.0.0.1", ADDR_MULTICAST },      { "240.0.0.1", ADDR_RESERVED },
	{ "255.255.255.255", ADDR_RESERVED }, { "9.9.9.9", ADDR_GLOBAL },
	{ "::", ADDR_UNSPECIFIED },           { "::1", ADDR_LOOPBACK },
	{ "fe80::1", ADDR_LINK_LOCAL },       { "fd00::1", ADDR_PRIVATE },
	{ "fc00::1", ADDR_PRIVATE },          { "ff02::1", ADDR_MULTICAST },
	{ "2001:db8::1", ADDR_GLOBAL },       { "::ffff:127.0.0.1", ADDR_LOOPBACK },
	{ "::ffff:10.0.0.1", ADDR_PRIVATE },  { "::ffff:224.0.0.1", ADDR_MULTICAST },
};

START_TEST(test_scope)
{
	for (size_t i = 0; i < ARRAY_SIZE(scope_cases); i++) {
		struct addr a;

		ck_assert_int_eq(addr_parse_ip(scope_cases[i].ip, &a), 0);
		ck_assert_msg(addr_scope(&a) == scope_cases[i].scope, "%s", scope_cases[i].ip);
		ck_assert_int_eq(addr_is_unicast(&a),
				 scope_cases[i].scope != ADDR_MULTICAST &&
					 scope_cases[i].scope != ADDR_RESERVED);
	}
}
END_TEST

START_TEST(test_unmap_and_compare)
{
	struct addr mapped;
	struct addr plain;
	struct addr folded;

	ck_assert_int_eq(addr_parse("[::ffff:192.0.2.1]:80", 0, &mapped), 0);
	ck_assert_int_eq(addr_parse("192.0.2.1:80", 0, &plain), 0);
	folded = addr_unmap(&mapped);
	ck_assert(addr_equal(&folded, &plain));
	ck_assert(!addr_equal(&mapped, &plain));
	addr_set_port(&folded, 81);
	ck_assert(addr_same_ip(&folded, &plain));
	ck_assert(!addr_equal(&folded, &plain));
}
END_TEST

static const struct {
	const char *prefix;
	const char *inside; /* NULL: the prefix must be refused */
	const char *outside;
} prefix_cases[] = {
	{ "192.168.0.0/16", "192.168.255.255", "192.169.0.0" },
	{ "10.0.0.0/8", "10.255.0.1", "11.0.0.0" },
	{ "0.0.0.0/0", "255.1.2.3", "::1" },
	{ "192.0.2.128/25", "192.0.2.200", "192.0.2.127" },
	{ "192.0.2.7", "192.0.2.7", "192.0.2.8" },
	{ "192.0.2.7", "::ffff:192.0.2.7", "::192.0.2.7" },
	{ "fd00::/8", "fdff::1", "fc00::1" },
	{ "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
	{ "::/0", "::1", "127.0.0.1" },
	{ "192.168.1.1/16", NULL, NULL },
	{ "192.168.0.0/33", NULL, NULL },
	{ "192.168.0.0/", NULL, NULL },
	{ "192.168.0.0/-1", NULL, NULL },
	{ "fd00::1/8", NULL, NULL },
	{ "fe80::1%lo", NULL, NULL },
	{ "x/8", NULL, NULL },
};

START_TEST(test_prefix)
{
	for (size_t i = 0; i < ARRAY_SIZE(prefix_cases); i++) {
		struct prefix p;
		struct addr a;
		const char *why = NULL;
		int r = prefix_parse(prefix_cases[i].prefix, &p, &why);

		if (!prefix_cases[i].inside) {
			ck_assert_msg(r < 0 && why, "%s was taken", prefix_cases[i].prefix);
			continue;
		}
		ck_assert_msg(r == 0, "%s was refused", prefix_cases[i].prefix);
		ck_assert_int_eq(addr_parse_ip(prefix_cases[i].inside, &a), 0);
		ck_assert_msg(prefix_contains(&p, &a), "%s not in %s", prefix_cases[i].inside,
			      prefix_cases[i].prefix);
		ck_assert_int_eq(addr_parse_ip(prefix_cases[i].outside, &a), 0);
		ck_assert_msg(!prefix_contains(&p, &a), "%s in %s", prefix_cases[i].outside,
			      prefix_cases[i].prefix);
	}
}
END_TEST

SUITE_MAIN("addr", test_parse, test_scope, test_unmap_and_compare, test_prefix)
