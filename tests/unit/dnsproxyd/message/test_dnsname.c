/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/dnsname.h"
#include "common/container.h"

#include "tests/unit/suite.h"

#include <string.h>

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static const struct {
	const char *text;
	const char *wire; /* NULL: must be refused */
	size_t len;
	const char *formatted; /* NULL: as text */
} text_cases[] = {
	{ ".", "", 1, NULL },
	{ "com", "\3com", 5, NULL },
	{ "www.Example.COM", "\3www\7Example\3COM", 17, NULL },
	{ "www.example.com.", "\3www\7example\3com", 17, "www.example.com" },
	{ "a\\.b.c", "\3a.b\1c", 7, NULL },
	{ "a\\\\b", "\3a\\b", 5, NULL },
	{ "\\000\\255", "\2\0\377", 4, NULL },
	{ "\\032", "\1 ", 3, NULL },
	{ "\\x\\065", "\2xA", 4, "xA" },
	{ "_dns._udp", "\4_dns\4_udp", 11, NULL },
	{ "", NULL, 0, NULL },
	{ "..", NULL, 0, NULL },
	{ ".com", NULL, 0, NULL },
	{ "a..b", NULL, 0, NULL },
	{ "a\\", NULL, 0, NULL },
	{ "a\\25", NULL, 0, NULL },
	{ "a\\256", NULL, 0, NULL },
	{ "a\\2x6", NULL, 0, NULL },
	{ LABEL_63, "\77" LABEL_63, 65, NULL },
	{ LABEL_63 "h", NULL, 0, NULL },
	/* 3 * 64 + 62 + 1 = 255 */
	{ LABEL_63 "." LABEL_63 "." LABEL_63
		   ".aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffg",
	  "\77" LABEL_63 "\77" LABEL_63 "\77" LABEL_63 "\75"
	  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffg",
	  255, NULL },
	{ LABEL_63 "." LABEL_63 "." LABEL_63
		   ".aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg",
	  NULL, 0, NULL },
};

START_TEST(test_text)
{
	for (size_t i = 0; i < ARRAY_SIZE(text_cases); i++) {
		const char *formatted = text_cases[i].formatted;
		uint8_t name[DNSNAME_MAX];
		char text[DNSNAME_TEXT_MAX];
		size_t len;
		int r = dnsname_parse(text_cases[i].text, name, &len);

		if (!text_cases[i].wire) {
			ck_assert_msg(r < 0, "%s was taken", text_cases[i].text);
			continue;
		}
		ck_assert_msg(r == 0, "%s was refused", text_cases[i].text);
		ck_assert_uint_eq(len, text_cases[i].len);
		ck_assert_mem_eq(name, text_cases[i].wire, len);
		ck_assert_uint_eq(dnsname_len(name, len), len);
		ck_assert_uint_eq(dnsname_len(name, len - 1), 0);
		ck_assert_str_eq(dnsname_format(name, text),
				 formatted ? formatted : text_cases[i].text);
	}
}
END_TEST

START_TEST(test_longest_text_fits)
{
	uint8_t name[DNSNAME_MAX] = { 0 };
	char text[DNSNAME_TEXT_MAX];

	for (size_t i = 0; i < 254; i += 64) {
		name[i] = i < 192 ? 63 : 61;
	}
	ck_assert_uint_eq(dnsname_len(name, sizeof name), DNSNAME_MAX);
	ck_assert_uint_eq(strlen(dnsname_format(name, text)), 250 * 4 + 3);
}
END_TEST

/* Offsets count from the header's start; the bytes given here begin at 12. */
static const struct {
	const char *bytes;
	size_t len;
	size_t start;
	size_t after; /* 0: malformed */
	const char *text;
} expand_cases[] = {
	{ "\1a\0", 3, 12, 15, "a" },
	{ "\1a", 2, 12, 0, NULL },
	{ "\2a", 2, 12, 0, NULL },
	{ "", 0, 12, 0, NULL },
	{ "\0", 1, 12, 13, "." },
	{ "\1a\0\1b\300\14", 7, 15, 19, "b.a" },
	{ "\1a\0\300\14", 5, 15, 17, "a" },
	{ "\1a\0\1b\300\14\1c\300\17", 11, 19, 23, "c.b.a" },
	{ "\1a\0\300", 4, 15, 0, NULL },            /* half a pointer */
	{ "\300\14", 2, 12, 0, NULL },              /* to itself */
	{ "\1a\300\14", 4, 12, 0, NULL },           /* into itself */
	{ "\300\16\0", 3, 12, 0, NULL },            /* forward */
	{ "\300\0", 2, 12, 0, NULL },               /* into the header */
	{ "\300\13", 2, 12, 0, NULL },              /* likewise */
	{ "\5a\300\14\0\1\0", 8, 14, 0, NULL },     /* over itself */
	{ "\1a\1b\300\14\0", 7, 14, 0, NULL },      /* up to itself */
	{ "\1a\300\20\1b\300\14", 8, 16, 0, NULL }, /* each to the other */
	{ "\100a", 2, 12, 0, NULL },                /* label types that were never used */
	{ "\200a", 2, 12, 0, NULL },
};

START_TEST(test_expand)
{
	for (size_t i = 0; i < ARRAY_SIZE(expand_cases); i++) {
		size_t msg_len = 12 + expand_cases[i].len;
		uint8_t *msg = malloc(msg_len); /* exact, for the sanitizer */
		uint8_t name[DNSNAME_MAX];
		char text[DNSNAME_TEXT_MAX];
		size_t len = 0;

		memset(msg, 0, 12);
		memcpy(msg + 12, expand_cases[i].bytes, expand_cases[i].len);
		ck_assert_msg(dnsname_expand(msg, msg_len, expand_cases[i].start, name, &len) ==
				      expand_cases[i].after,
			      "case %zu", i);
		ck_assert_uint_eq(dnsname_skip(msg, msg_len, expand_cases[i].start),
				  expand_cases[i].after);
		if (expand_cases[i].after) {
			ck_assert_str_eq(dnsname_format(name, text), expand_cases[i].text);
			ck_assert_uint_eq(dnsname_len(name, len), len);
		}
		free(msg);
	}
}
END_TEST

/* Each name adds a label to the one before; the 128th would be longer than 255 octets. */
START_TEST(test_expand_bounds_length)
{
	uint8_t msg[12 + 3 + 4 * 200] = { 0 };
	size_t end = 12;
	size_t before;

	memcpy(msg + end, "\1a\0", 3);
	before = end;
	end += 3;
	for (unsigned i = 2; i < 200; i++) {
		msg[end] = 1;
		msg[end + 1] = 'a';
		msg[end + 2] = (uint8_t)(0xc0 | before >> 8);
		msg[end + 3] = (uint8_t)before;
		ck_assert_uint_eq(dnsname_skip(msg, sizeof msg, end), i <= 127 ? end + 4 : 0);
		before = end;
		end += 4;
	}
}
END_TEST

/* Pointers to pointers, without a label between. */
START_TEST(test_expand_bounds_hops)
{
	uint8_t msg[12 + 1 + 2 * 500] = { 0 };
	size_t before = 12;

	for (size_t at = 13, i = 1; at + 2 <= sizeof msg; at += 2, i++) {
		msg[at] = (uint8_t)(0xc0 | before >> 8);
		msg[at + 1] = (uint8_t)before;
		ck_assert_uint_eq(dnsname_skip(msg, sizeof msg, at), i <= 127 ? at + 2 : 0);
		before = at;
	}
}
END_TEST

START_TEST(test_case)
{
	for (unsigned c = 0; c < 256; c++) {
		uint8_t octet = (uint8_t)c;
		unsigned expected = c >= 'A' && c <= 'Z' ? c + 32 : c;

		dnsname_lower(&octet, &octet, 1);
		ck_assert_uint_eq(octet, expected);
	}
	ck_assert(dnsname_equal((const uint8_t *)"\3wWw", (const uint8_t *)"\3WwW", 5));
	ck_assert(!dnsname_equal((const uint8_t *)"\3ww[", (const uint8_t *)"\3ww{", 5));
	ck_assert(!dnsname_equal((const uint8_t *)"\3www", (const uint8_t *)"\3wwx", 5));
}
END_TEST

/* Every octet, at every place of a word and beyond its end. */
START_TEST(test_lower)
{
	for (unsigned place = 0; place < 19; place++) {
		for (unsigned octet = 0; octet < 256; octet++) {
			uint8_t name[19];
			uint8_t wanted[19];

			memset(name, 'M', sizeof name);
			memset(wanted, 'm', sizeof wanted);
			name[place] = (uint8_t)octet;
			wanted[place] =
				(uint8_t)(octet >= 'A' && octet <= 'Z' ? octet + 32 : octet);
			dnsname_lower(name, name, sizeof name);
			ck_assert_mem_eq(name, wanted, sizeof name);
		}
	}
}
END_TEST

SUITE_MAIN("dnsname", test_text, test_longest_text_fits, test_expand, test_expand_bounds_length,
	   test_expand_bounds_hops, test_case, test_lower)
