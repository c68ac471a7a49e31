/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/protocol/udp_header.h"

#include "tests/unit/suite.h"

#include <string.h>

/* Text of a literal that holds NUL bytes, and its length. */
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

START_TEST(test_addresses)
{
	static const struct {
		const uint8_t *bytes;
		size_t len;
		const char *text;
		size_t header_len;
		uint8_t fragment;
	} cases[] = {
		{ BYTES("\0\0\0\1\xc0\0\2\1\0\x35"), "192.0.2.1:53", 10, 0 },
		{ BYTES("\0\0\x81\1\xc0\0\2\1\0\x35payload"), "192.0.2.1:53", 10, 0x81 },
		{ BYTES("\0\0\x7f\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\1\xbb"),
		  "[2001:db8::7]:443", 22, 0x7f },
		/* Folded, as in a request. */
		{ BYTES("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1\0\x35"), "192.0.2.1:53", 22,
		  0 },
		/* Addresses as text. */
		{ BYTES("\0\0\0\3\x09"
			"192.0.2.9\0\x35x"),
		  "192.0.2.9:53", 16, 0 },
		{ BYTES("\0\0\0\3\x0d[2001:db8::1]\0\x35"), "[2001:db8::1]:53", 20, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct udp_header h;
		char text[ADDR_TEXT_MAX];

		ck_assert_msg(udp_header_parse(cases[i].bytes, cases[i].len, &h), "case %zu", i);
		ck_assert_str_eq(addr_format(&h.addr, text, sizeof text), cases[i].text);
		ck_assert_uint_eq(h.len, cases[i].header_len);
		ck_assert_uint_eq(h.fragment, cases[i].fragment);
		ck_assert_uint_eq(h.port, addr_port(&h.addr));
		ck_assert_str_eq(h.name, "");
	}
}
END_TEST

START_TEST(test_names)
{
	struct udp_header h;

	ck_assert(udp_header_parse(BYTES("\0\0\0\3\x0e"
					 "WWW.Example.x.\0\x50hello"),
				   &h));
	ck_assert_int_eq(h.addr.sa.sa_family, AF_UNSPEC);
	ck_assert_str_eq(h.name, "www.example.x");
	ck_assert_uint_eq(h.port, 80);
	ck_assert_uint_eq(h.len, 21);
}
END_TEST

START_TEST(test_invalid)
{
	static const struct {
		const uint8_t *bytes;
		size_t len;
	} cases[] = {
		{ BYTES("") },
		{ BYTES("\0\0\0") },
		{ BYTES("\1\0\0\1\xc0\0\2\1\0\x35") }, /* RSV */
		{ BYTES("\0\1\0\1\xc0\0\2\1\0\x35") },
		{ BYTES("\0\0\0\2\xc0\0\2\1\0\x35") }, /* ATYP */
		{ BYTES("\0\0\0\0\xc0\0\2\1\0\x35") },
		{ BYTES("\0\0\0\1\xc0\0\2\1\0\0") }, /* port 0 */
		{ BYTES("\0\0\0\3\0\0\x35") },       /* no name */
		{ BYTES("\0\0\0\3\x03"
			"a b\0\x35") },
		{ BYTES("\0\0\0\3\x03"
			"a\0b\0\x35") },
		{ BYTES("\0\0\0\4\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x35") }, /* no scope */
	};
	struct udp_header h;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_msg(!udp_header_parse(cases[i].bytes, cases[i].len, &h), "case %zu", i);
	}
}
END_TEST

/* A header that is cut short anywhere is none; an empty datagram behind a whole one is one. */
START_TEST(test_cut)
{
	static const uint8_t whole[] = "\0\0\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\1\xbb";
	struct udp_header h;

	for (size_t len = 0; len < sizeof whole - 1; len++) {
		ck_assert(!udp_header_parse(whole, len, &h));
	}
	ck_assert(udp_header_parse(whole, sizeof whole - 1, &h));
	ck_assert_uint_eq(h.len, sizeof whole - 1);
}
END_TEST

START_TEST(test_encode)
{
	uint8_t bytes[UDP_HEADER_BYTES_MAX];
	struct udp_header h;
	struct addr a;

	ck_assert_int_eq(addr_parse("192.0.2.1:53", 0, &a), 0);
	ck_assert_uint_eq(udp_header_encode(&a, bytes), 10);
	ck_assert_mem_eq(bytes, "\0\0\0\1\xc0\0\2\1\0\x35", 10);
	ck_assert_int_eq(addr_parse("[2001:db8::7]:443", 0, &a), 0);
	ck_assert_uint_eq(udp_header_encode(&a, bytes), 22);
	ck_assert_mem_eq(bytes, "\0\0\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\1\xbb", 22);
	ck_assert(udp_header_parse(bytes, 22, &h));
	ck_assert(addr_equal(&h.addr, &a));
}
END_TEST

SUITE_MAIN("udp_header", test_addresses, test_names, test_invalid, test_cut, test_encode)
