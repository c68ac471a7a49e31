/* SPDX-License-Identifier: ISC */
#include "common/dns/asked.h"
#include "common/container.h"

#include "tests/unit/suite.h"

#include <errno.h>

/* id 0x1234, RD, "Ab.c" A IN */
#define QUESTION       "\2Ab\1c\0\0\1\0\1"
#define QUERY          "\x12\x34\1\0\0\1\0\0\0\0\0\0" QUESTION
#define OPT            "\0\0\x29\4\xd0\0\0\0\0\0\0"

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static const struct {
	const char *what;
	const uint8_t *msg;
	size_t len;
	enum asked_fit fit;
} fit_cases[] = {
	{ "answer", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0" QUESTION), ASKED_ANSWERED },
	{ "answer with more behind", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\1" QUESTION OPT),
	  ASKED_ANSWERED },
	{ "error answer", BYTES("\x12\x34\x81\x85\0\1\0\0\0\0\0\0" QUESTION), ASKED_ANSWERED },
	{ "wrong id", BYTES("\x12\x35\x81\x80\0\1\0\0\0\0\0\0" QUESTION), ASKED_OTHER },
	{ "no answer but a query", BYTES(QUERY), ASKED_OTHER },
	{ "wrong opcode", BYTES("\x12\x34\xa1\x80\0\1\0\0\0\0\0\0" QUESTION), ASKED_OTHER },
	{ "wrong case", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2ab\1c\0\0\1\0\1"),
	  ASKED_OTHER_CASE },
	{ "wrong case and type", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2ab\1c\0\0\2\0\1"),
	  ASKED_OTHER },
	{ "no letter, other by the bit of case",
	  BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2Ab\1C\0\0\1\0\x21"), ASKED_OTHER },
	{ "wrong name", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2Ab\1d\0\0\1\0\1"), ASKED_OTHER },
	{ "wrong type", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2Ab\1c\0\0\2\0\1"), ASKED_OTHER },
	{ "wrong class", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2Ab\1c\0\0\1\0\3"), ASKED_OTHER },
	{ "cut question", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\2Ab\1c\0\0\1\0"), ASKED_OTHER },
	{ "two questions", BYTES("\x12\x34\x81\x80\0\2\0\0\0\0\0\0" QUESTION QUESTION),
	  ASKED_OTHER },
	{ "cut header", BYTES("\x12\x34\x81\x81\0\0\0\0\0\0\0"), ASKED_OTHER },
	{ "nothing", BYTES(""), ASKED_OTHER },
	{ "bare FORMERR", BYTES("\x12\x34\x81\x81\0\0\0\0\0\0\0\0"), ASKED_BARE },
	{ "bare NOTIMP with OPT", BYTES("\x12\x34\x81\x84\0\0\0\0\0\0\0\1" OPT), ASKED_BARE },
	{ "bare NOERROR", BYTES("\x12\x34\x81\x80\0\0\0\0\0\0\0\0"), ASKED_OTHER },
	{ "bare with wrong id", BYTES("\x12\x33\x81\x81\0\0\0\0\0\0\0\0"), ASKED_OTHER },
	{ "bare with rubbish behind", BYTES("\x12\x34\x81\x81\0\0\0\0\0\0\0\0x"), ASKED_OTHER },
	{ "bare with an answer", BYTES("\x12\x34\x81\x81\0\0\0\1\0\0\0\0" OPT), ASKED_OTHER },
	{ "bare with another record", BYTES("\x12\x34\x81\x81\0\0\0\0\0\0\0\1\0\0\1\0\1"),
	  ASKED_OTHER },
};

START_TEST(test_fit)
{
	struct asked asked;

	ck_assert_int_eq(asked_set(&asked, BYTES(QUERY)), 0);
	ck_assert_uint_eq(asked_id(&asked), 0x1234);
	for (size_t i = 0; i < ARRAY_SIZE(fit_cases); i++) {
		ck_assert_msg(asked_fit(&asked, fit_cases[i].msg, fit_cases[i].len) ==
				      fit_cases[i].fit,
			      "%s", fit_cases[i].what);
	}
}
END_TEST

START_TEST(test_restore)
{
	static const char bare[] = "\x12\x34\x81\x81\0\0\0\0\0\0\0\1" OPT;
	static const char whole[] = "\x12\x34\x81\x81\0\1\0\0\0\0\0\1" QUESTION OPT;
	struct asked asked;
	uint8_t buf[ASKED_RESTORED_MAX];

	ck_assert_int_eq(asked_set(&asked, BYTES(QUERY)), 0);
	ck_assert_uint_eq(asked_restore(&asked, BYTES(bare), buf), sizeof whole - 1);
	ck_assert_mem_eq(buf, whole, sizeof whole - 1);
	ck_assert_int_eq(asked_fit(&asked, buf, sizeof whole - 1), ASKED_ANSWERED);
}
END_TEST

START_TEST(test_make_answer)
{
	static const char servfail[] = "\x12\x34\x81\x02\0\1\0\0\0\0\0\0" QUESTION;
	struct asked asked;
	uint8_t buf[ASKED_MAX];

	ck_assert_int_eq(asked_set(&asked, BYTES("\x12\x34\1\0\0\1\0\0\0\0\0\1" QUESTION OPT)), 0);
	ck_assert_uint_eq(asked_make_answer(&asked, 2, buf), sizeof servfail - 1);
	ck_assert_mem_eq(buf, servfail, sizeof servfail - 1);
}
END_TEST

static const struct {
	const char *what;
	const uint8_t *msg;
	size_t len;
	size_t end;
} question_cases[] = {
	{ "plain", BYTES(QUERY), 22 },
	{ "root", BYTES("\0\0\0\0\0\1\0\0\0\0\0\0\0\0\1\0\1"), 17 },
	{ "compressed", BYTES("\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"), 0 },
	{ "label of 64", BYTES("\0\0\0\0\0\1\0\0\0\0\0\0\x40"), 0 },
	{ "name without end", BYTES("\0\0\0\0\0\1\0\0\0\0\0\0\1a\1b"), 0 },
	{ "no type", BYTES("\0\0\0\0\0\1\0\0\0\0\0\0\0\0\1\0"), 0 },
	{ "no question", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1"), 0 },
	{ "two questions", BYTES("\0\0\0\0\0\2\0\0\0\0\0\0\0\0\1\0\1\0\0\1\0\1"), 0 },
	{ "cut header", BYTES("\0\0\0\0\0\1\0\0\0\0\0"), 0 },
	{ "nothing", BYTES(""), 0 },
};

START_TEST(test_question_end)
{
	for (size_t i = 0; i < ARRAY_SIZE(question_cases); i++) {
		ck_assert_msg(asked_question_end(question_cases[i].msg, question_cases[i].len) ==
				      question_cases[i].end,
			      "%s", question_cases[i].what);
	}
}
END_TEST

/* Names of 255 and 256 bytes in wire form: four labels of 62 bytes, then one that fills up. */
START_TEST(test_longest_name)
{
	for (size_t name_len = 255; name_len <= 256; name_len++) {
		uint8_t msg[12 + 256 + 4] = { [5] = 1 };
		struct asked asked;

		for (size_t pos = 0; pos < 252; pos += 63) {
			msg[12 + pos] = 62;
		}
		msg[12 + 252] = (uint8_t)(name_len - 254);
		ck_assert_int_eq(asked_set(&asked, msg, 12 + name_len + 4),
				 name_len <= 255 ? 0 : -EINVAL);
		if (name_len <= 255) {
			ck_assert_uint_eq(asked.len, 12 + name_len + 4);
		}
	}
}
END_TEST

SUITE_MAIN("asked", test_fit, test_restore, test_make_answer, test_question_end, test_longest_name)
