/* SPDX-License-Identifier: ISC */
#include "common/container.h"

#include "dnsproxyd/message/dnsname.h"
#include "dnsproxyd/upstream/suffixes.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>

static int add(struct suffixes *s, const char *text, unsigned value)
{
	uint8_t name[DNSNAME_MAX];
	size_t len;

	ck_assert_int_eq(dnsname_parse(text, name, &len), 0);
	return suffixes_add(s, name, len, value);
}

static unsigned find(const struct suffixes *s, const char *text)
{
	uint8_t name[DNSNAME_MAX];
	size_t len;

	ck_assert_int_eq(dnsname_parse(text, name, &len), 0);
	return suffixes_find(s, name, len, 99);
}

START_TEST(test_longest_wins)
{
	static const struct {
		const char *name;
		unsigned value;
	} cases[] = {
		{ "corp.example", 1 },
		{ "www.corp.example", 1 },
		{ "CORP.Example", 1 },
		{ "a.b.c.corp.example", 1 },
		{ "lab.corp.example", 2 },
		{ "x.LAB.corp.example", 2 },
		{ "slab.corp.example", 1 },
		{ "notcorp.example", 99 },
		{ "example", 99 },
		{ ".", 99 },
		{ "corp.example.com", 99 },
		{ "1.2.0.10.in-addr.arpa", 3 },
		{ "1.2.1.10.in-addr.arpa", 99 },
		{ "0.10.in-addr.arpa", 3 },
	};
	struct suffixes *s = suffixes_new();

	ck_assert_int_eq(add(s, "corp.example", 1), 0);
	ck_assert_int_eq(add(s, "Lab.Corp.Example", 2), 0);
	ck_assert_int_eq(add(s, "0.10.in-addr.arpa", 3), 0);
	ck_assert_int_eq(add(s, "CORP.example", 4), -EEXIST);
	ck_assert_uint_eq(suffixes_count(s), 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned value = find(s, cases[i].name);

		ck_assert_msg(value == cases[i].value, "%s: %u", cases[i].name, value);
	}
	ck_assert_int_eq(add(s, ".", 5), 0);
	ck_assert_uint_eq(find(s, "example"), 5);
	ck_assert_uint_eq(find(s, "."), 5);
	ck_assert_uint_eq(find(s, "www.corp.example"), 1);
	suffixes_free(s);
}
END_TEST

START_TEST(test_empty)
{
	struct suffixes *s = suffixes_new();

	ck_assert_uint_eq(find(s, "www.example"), 99);
	suffixes_free(s);
	suffixes_free(NULL);
}
END_TEST

START_TEST(test_many)
{
	struct suffixes *s = suffixes_new();
	char text[64];

	for (unsigned i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "n%u.d%u.example", i, i % 7);
		ck_assert_int_eq(add(s, text, i), 0);
	}
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "deep.n%u.d%u.example", i, i % 7);
		ck_assert_uint_eq(find(s, text), i);
		snprintf(text, sizeof text, "n%u.d%u.example", i, (i + 1) % 7);
		ck_assert_uint_eq(find(s, text), 99);
	}
	suffixes_free(s);
}
END_TEST

/* 127 labels of one letter. */
START_TEST(test_deepest_name)
{
	struct suffixes *s = suffixes_new();
	uint8_t name[DNSNAME_MAX];

	for (size_t i = 0; i + 1 < sizeof name; i += 2) {
		name[i] = 1;
		name[i + 1] = 'a';
	}
	name[sizeof name - 1] = 0;
	ck_assert_uint_eq(dnsname_len(name, sizeof name), sizeof name);
	ck_assert_int_eq(suffixes_add(s, name + 2, sizeof name - 2, 7), 0);
	ck_assert_uint_eq(suffixes_find(s, name, sizeof name, 99), 7);
	ck_assert_uint_eq(suffixes_find(s, name + 2, sizeof name - 2, 99), 7);
	ck_assert_uint_eq(suffixes_find(s, name + 4, sizeof name - 4, 99), 99);
	suffixes_free(s);
}
END_TEST

SUITE_MAIN("suffixes", test_longest_wins, test_empty, test_many, test_deepest_name)
