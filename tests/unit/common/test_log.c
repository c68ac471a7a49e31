/* SPDX-License-Identifier: ISC */
#include "common/addr.h"
#include "common/container.h"
#include "common/log.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(test_fields)
{
	char line[512];
	struct addr a;
	const struct log_field fields[] = {
		KV_TEXT("plain", "a-b.c:1"),
		KV_TEXT("none", NULL),
		KV_TEXT("empty", ""),
		KV_TEXT("blank", "two words"),
		KV_BYTES("raw", "a\0b\n\"\\\xff", 7),
		KV_UINT("u", UINT64_MAX),
		KV_INT("i", -1),
		KV_ADDR("to", &a),
		KV_IP("from", &a),
		KV_ERRNO("error", ECONNREFUSED),
	};

	ck_assert_int_eq(addr_parse("[2001:db8::1]:443", 0, &a), 0);
	log_format(line, sizeof line, "event", fields, ARRAY_SIZE(fields));
	ck_assert_str_eq(line,
			 "event plain=a-b.c:1 none=- empty=\"\" blank=\"two words\" "
			 "raw=\"a\\x00b\\x0a\\\"\\\\\\xff\" u=18446744073709551615 i=-1 "
			 "to=[2001:db8::1]:443 from=2001:db8::1 error=\"Connection refused\"");
}
END_TEST

START_TEST(test_no_peer_can_forge_a_field_or_a_line)
{
	const char *hostile[] = { "x y=z", "x\ny", "x\ry", "a=b", "\x1b[31m", "\x7f", "x\" y=\"z" };

	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		char line[128];
		const struct log_field fields[] = { KV_TEXT("user", hostile[i]) };

		log_format(line, sizeof line, "e", fields, 1);
		ck_assert_msg(strncmp(line, "e user=\"", 8) == 0, "%s", line);
		for (const char *c = line; *c; c++) {
			ck_assert_msg(*c >= ' ' && *c < 0x7f, "%s", line);
		}
	}
}
END_TEST

START_TEST(test_a_long_line_is_cut)
{
	char line[32];
	const struct log_field fields[] = { KV_TEXT("k",
						    "0123456789012345678901234567890123456789") };

	ck_assert_uint_eq(log_format(line, sizeof line, "event", fields, 1), 31);
	ck_assert_str_eq(line, "event k=01234567890123456789012");
}
END_TEST

START_TEST(test_limit)
{
	struct log_limit limit = { 0 };
	uint32_t suppressed = 99;
	int passed = 0;

	for (int i = 0; i < 100; i++) {
		passed += log_limit_ok(&limit, 1000, &suppressed);
	}
	ck_assert_int_eq(passed, 5);
	ck_assert_uint_eq(suppressed, 0);
	ck_assert(!log_limit_ok(&limit, 60999, &suppressed));
	ck_assert(log_limit_ok(&limit, 61000, &suppressed));
	ck_assert_uint_eq(suppressed, 96);
}
END_TEST

SUITE_MAIN("log", test_fields, test_no_peer_can_forge_a_field_or_a_line, test_a_long_line_is_cut,
	   test_limit)
