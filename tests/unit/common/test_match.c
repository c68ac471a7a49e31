/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/match.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void add_text(struct match *m, const char *text)
{
	struct match_entry entry;
	const char *why = NULL;

	ck_assert_msg(match_parse(text, strlen(text), &entry, &why) == 0, "%s: %s", text, why);
	ck_assert_int_eq(match_add(m, &entry), 0);
}

static struct match *make(const char *const *texts, size_t count)
{
	struct match *m = match_new();

	ck_assert_ptr_nonnull(m);
	for (size_t i = 0; i < count; i++) {
		add_text(m, texts[i]);
	}
	match_seal(m);
	return m;
}

static bool has_addr(const struct match *m, const char *text)
{
	struct addr a;

	ck_assert_msg(addr_parse_ip(text, &a) == 0, "%s", text);
	return match_has_addr(m, &a);
}

/* --- parsing --------------------------------------------------------------------------------- */

static const struct {
	const char *text;
	enum match_kind kind;
	const char *name; /* or the network's text */
} good[] = {
	{ "example.com", MATCH_NAME, "example.com" },
	{ "Example.COM.", MATCH_NAME, "example.com" },
	{ ".Example.com", MATCH_SUFFIX, "example.com" },
	{ ".com", MATCH_SUFFIX, "com" },
	{ "localhost", MATCH_NAME, "localhost" },
	{ "_sip._tcp.example.com", MATCH_NAME, "_sip._tcp.example.com" },
	{ "1.example", MATCH_NAME, "1.example" },
	{ "xn--bcher-kva.example", MATCH_NAME, "xn--bcher-kva.example" },
	{ "dead.beef", MATCH_NAME, "dead.beef" },
	{ "192.0.2.0/24", MATCH_NET, "192.0.2.0/24" },
	{ "192.0.2.1", MATCH_NET, "192.0.2.1/32" },
	{ "0.0.0.0/0", MATCH_NET, "0.0.0.0/0" },
	{ "2001:db8::/32", MATCH_NET, "2001:db8::/32" },
	{ "::1", MATCH_NET, "::1/128" },
	{ "::ffff:192.0.2.0/120", MATCH_NET, "192.0.2.0/24" },
	{ "::ffff:192.0.2.1", MATCH_NET, "192.0.2.1/32" },
};

START_TEST(test_parse)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct match_entry entry;
		const char *why = NULL;
		char text[ADDR_TEXT_MAX];

		ck_assert_msg(match_parse(good[i].text, strlen(good[i].text), &entry, &why) == 0,
			      "%s: %s", good[i].text, why);
		ck_assert_msg(entry.kind == good[i].kind, "%s", good[i].text);
		if (entry.kind == MATCH_NET) {
			ck_assert_str_eq(prefix_format(&entry.net, text, sizeof text),
					 good[i].name);
		} else {
			ck_assert_str_eq(entry.name, good[i].name);
		}
	}
}
END_TEST

#define LABEL_63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

static const struct {
	const char *text;
	const char *why; /* some of it */
} bad[] = {
	{ "", "nothing" },
	{ ".", "not an address" },
	{ "..", "not an address" },
	{ ".a..b", "empty part" },
	{ "a..", "empty part" },
	{ "..a", "empty part" },
	{ "*.example.com", ".example.com" },
	{ "a b", "letters" },
	{ "a/b", "not an address" },
	{ "ex\303\244mple.com", "letters" },
	{ LABEL_63 "x.com", "63" },
	{ LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63, "253" },
	{ "10.0.0", "not an address" },
	{ "10.0.0.256", "not an address" },
	{ "a.0x7f.1", "neither" },
	{ "192.0.2.1/24", "beyond" },
	{ "192.0.2.0/33", "range" },
	{ "192.0.2.0/", "range" },
	{ "fe80::1%lo", "not an address" },
	{ "[::1]", "not an address" },
	{ "192.0.2.1:80", "not an address" },
	{ "http://example.com", "not an address" },
};

START_TEST(test_parse_bad)
{
	struct match_entry entry;
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_msg(match_parse(bad[i].text, strlen(bad[i].text), &entry, &why) ==
				      -EINVAL,
			      "%s", bad[i].text);
		ck_assert_msg(strstr(why, bad[i].why) != NULL, "%s: %s", bad[i].text, why);
	}
	/* What stands behind a NUL is not hidden. */
	ck_assert_int_eq(match_parse("a.b\0c", 5, &entry, &why), -EINVAL);
	ck_assert_int_eq(match_parse("1.2.3.4\0", 8, &entry, &why), -EINVAL);
	/* Only len bytes are looked at. */
	ck_assert_int_eq(match_parse("a.b c", 3, &entry, &why), 0);
}
END_TEST

/* --- names ----------------------------------------------------------------------------------- */

static const char *const names[] = {
	"www.example.com", ".corp.example", ".sub.corp.example", "a.corp.example", ".net",
	"b-c.example",     "b.example",     ".b.example",        "localhost",
};

static const struct {
	const char *name;
	bool there;
} name_cases[] = {
	{ "www.example.com", true },
	{ "WWW.Example.Com", true },
	{ "www.example.com.", true },
	{ "example.com", false },
	{ "x.www.example.com", false },
	{ "ww.example.com", false },
	{ "wwww.example.com", false },
	{ "corp.example", true },
	{ "x.corp.example", true },
	{ "y.x.corp.example", true },
	{ "sub.corp.example", true },
	{ "z.sub.corp.example", true },
	{ "xcorp.example", false },
	{ "corp.example.com", false },
	{ "orp.example", false },
	{ "example", false },
	{ "net", true },
	{ "anything.at.all.net", true },
	{ "netx", false },
	{ "xnet", false },
	{ "b-c.example", true },
	{ "x.b-c.example", false },
	{ "b.example", true },
	{ "x.b.example", true },
	{ "c.example", false },
	{ "localhost", true },
	{ "localhost.localdomain", false },
	{ "", false },
	{ ".", false },
	{ "192.0.2.1", false },
};

START_TEST(test_names)
{
	struct match *m = make(names, ARRAY_SIZE(names));

	for (size_t i = 0; i < ARRAY_SIZE(name_cases); i++) {
		ck_assert_msg(match_has_name(m, name_cases[i].name) == name_cases[i].there, "%s",
			      name_cases[i].name);
	}
	match_free(m);
}
END_TEST

/* --- addresses ------------------------------------------------------------------------------- */

static const char *const nets[] = {
	"10.0.0.0/8",      "10.1.0.0/16",  "10.0.0.0/24",  "192.0.2.0/24",
	"192.0.2.255",     "192.0.3.0/24", "198.51.100.7", "2001:db8::/32",
	"2001:db8:1::/48", "::1",          "fd00::/8",
};

static const struct {
	const char *address;
	bool there;
} address_cases[] = {
	{ "9.255.255.255", false },
	{ "10.0.0.0", true },
	{ "10.1.2.3", true },
	{ "10.255.255.255", true },
	{ "11.0.0.0", false },
	{ "192.0.1.255", false },
	{ "192.0.2.0", true },
	{ "192.0.2.255", true },
	{ "192.0.3.255", true },
	{ "192.0.4.0", false },
	{ "198.51.100.6", false },
	{ "198.51.100.7", true },
	{ "198.51.100.8", false },
	{ "::ffff:10.1.2.3", true },
	{ "::ffff:11.1.2.3", false },
	{ "2001:db7:ffff::", false },
	{ "2001:db8::", true },
	{ "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "2001:db9::", false },
	{ "::1", true },
	{ "::", false },
	{ "::2", false },
	{ "::a00:1", false } /* not 10.0.0.1 */,
	{ "a00::", false },
	{ "fd12::1", true },
	{ "fe00::1", false },
};

START_TEST(test_addresses)
{
	const struct addr none = { .sa = { .sa_family = AF_UNSPEC } };
	struct match *m = make(nets, ARRAY_SIZE(nets));

	for (size_t i = 0; i < ARRAY_SIZE(address_cases); i++) {
		ck_assert_msg(has_addr(m, address_cases[i].address) == address_cases[i].there, "%s",
			      address_cases[i].address);
	}
	ck_assert(!match_has_addr(m, &none));
	ck_assert(!match_has_name(m, "10.1.2.3"));
	match_free(m);
}
END_TEST

START_TEST(test_everything)
{
	static const char *const all4[] = { "0.0.0.0/0" };
	static const char *const all6[] = { "::/0" };
	struct match *ipv4 = make(all4, 1);
	struct match *ipv6 = make(all6, 1);

	ck_assert(has_addr(ipv4, "0.0.0.0") && has_addr(ipv4, "255.255.255.255"));
	ck_assert(has_addr(ipv4, "::ffff:1.2.3.4") && !has_addr(ipv4, "::1"));
	ck_assert(has_addr(ipv6, "::") && has_addr(ipv6, "ffff::ffff"));
	ck_assert(!has_addr(ipv6, "1.2.3.4") && !has_addr(ipv6, "::ffff:1.2.3.4"));
	match_free(ipv4);
	match_free(ipv6);
}
END_TEST

START_TEST(test_empty)
{
	struct match *m = make(NULL, 0);

	ck_assert(!match_has_name(m, "a.example"));
	ck_assert(!match_has_name(m, ""));
	ck_assert(!has_addr(m, "192.0.2.1"));
	ck_assert(!has_addr(m, "::1"));
	match_free(m);
	match_free(NULL);
}
END_TEST

/* --- many ------------------------------------------------------------------------------------ */

/* 100,000 entries of all kinds in a scattered order: each is found, its neighbours are not. */
START_TEST(test_many)
{
	enum {
		COUNT = 25000
	};
	struct match *m = match_new();
	char text[100];

	for (unsigned i = 0; i < COUNT; i++) {
		unsigned n = i * 7919 % COUNT * 2; /* even numbers only */

		snprintf(text, sizeof text, "n%u.host-%u.example", n, n % 10);
		add_text(m, text);
		snprintf(text, sizeof text, ".s%u.tracker.example", n);
		add_text(m, text);
		snprintf(text, sizeof text, "%u.%u.%u.0/24", 11 + n / 65536, n / 256 % 256,
			 n % 256);
		add_text(m, text);
		snprintf(text, sizeof text, "2001:db8:%x::/48", n);
		add_text(m, text);
	}
	match_seal(m);
	ck_assert_uint_lt(match_bytes(m), 16u << 20);
	for (unsigned n = 0; n < 2 * COUNT; n++) {
		bool there = n % 2 == 0;

		snprintf(text, sizeof text, "n%u.host-%u.example", n, n % 10);
		ck_assert_msg(match_has_name(m, text) == there, "%s", text);
		snprintf(text, sizeof text, "a.b.s%u.tracker.example", n);
		ck_assert_msg(match_has_name(m, text) == there, "%s", text);
		snprintf(text, sizeof text, "%u.%u.%u.255", 11 + n / 65536, n / 256 % 256, n % 256);
		ck_assert_msg(has_addr(m, text) == there, "%s", text);
		snprintf(text, sizeof text, "2001:db8:%x:ffff::", n);
		ck_assert_msg(has_addr(m, text) == there, "%s", text);
	}
	match_free(m);
}
END_TEST

START_TEST(test_full)
{
	struct match *m = match_new();
	struct match_entry entry;
	const char *why;

	ck_assert_int_eq(match_parse("10.0.0.0/8", 10, &entry, &why), 0);
	for (unsigned i = 0; i < MATCH_ENTRIES_MAX; i++) {
		ck_assert_int_eq(match_add(m, &entry), 0);
	}
	ck_assert_int_eq(match_add(m, &entry), -E2BIG);
	match_seal(m);
	ck_assert(has_addr(m, "10.2.3.4"));
	/* A million times the same is one. */
	ck_assert_uint_lt(match_bytes(m), 1000);
	match_free(m);
}
END_TEST

/* --- lists ----------------------------------------------------------------------------------- */

START_TEST(test_list)
{
	static const char text[] = "# head\n\n a.example \r\n.b.example#note\n \t \n#\n10.0.0.0/8";
	static const struct {
		const char *item;
		unsigned line;
	} wanted[] = { { "a.example", 3 }, { ".b.example", 4 }, { "10.0.0.0/8", 7 } };
	struct match_list list = { .text = text, .len = sizeof text - 1 };
	const char *item;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		ck_assert(match_list_next(&list, &item, &len));
		ck_assert_uint_eq(len, strlen(wanted[i].item));
		ck_assert_mem_eq(item, wanted[i].item, len);
		ck_assert_uint_eq(list.line, wanted[i].line);
	}
	ck_assert(!match_list_next(&list, &item, &len));
	list = (struct match_list){ .text = NULL };
	ck_assert(!match_list_next(&list, &item, &len));
}
END_TEST

SUITE_MAIN("match", test_parse, test_parse_bad, test_names, test_addresses, test_everything,
	   test_empty, test_many, test_full, test_list)
