/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/config/param_value.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

/* Room for a field of any type. */
union field {
	bool on;
	int choice;
	uint64_t number;
	char *text;
	struct addr_list addrs;
	struct netset nets;
	struct text_list texts;
};

static const struct param_row number_row = { "n", PARAM_COUNT, 0, NULL, 0, UINT64_MAX };
static const struct param_row mark_row = { "m", PARAM_MARK, 0, NULL, 0, UINT32_MAX };
static const struct param_row workers_row = { "w", PARAM_WORKERS, 0, NULL, 1, 64 };
static const struct param_row percent_row = { "p", PARAM_PERCENT, 0, NULL, 0, 100 };
static const struct param_row duration_row = { "d", PARAM_DURATION, 0, NULL, 0, UINT64_MAX };
static const struct param_row size_row = { "s", PARAM_SIZE, 0, NULL, 0, UINT64_MAX };

static const struct {
	const struct param_row *row;
	const char *text;
	uint64_t value;
	const char *formatted;
} number_cases[] = {
	{ &number_row, "0", 0, "0" },
	{ &number_row, "007", 7, "7" },
	{ &number_row, "18446744073709551615", UINT64_MAX, "18446744073709551615" },
	{ &mark_row, "0", 0, "0" },
	{ &mark_row, "0x0", 0, "0" },
	{ &mark_row, "7", 7, "0x7" },
	{ &mark_row, "0x1F", 31, "0x1f" },
	{ &mark_row, "0Xff", 255, "0xff" },
	{ &mark_row, "0x000000001", 1, "0x1" },
	{ &mark_row, "4294967295", UINT32_MAX, "0xffffffff" },
	{ &mark_row, "0xffffffff", UINT32_MAX, "0xffffffff" },
	{ &workers_row, "auto", 0, "auto" },
	{ &workers_row, "64", 64, "64" },
	{ &percent_row, "0%", 0, "0%" },
	{ &percent_row, "100%", 100, "100%" },
	{ &duration_row, "0", 0, "0" },
	{ &duration_row, "0s", 0, "0" },
	{ &duration_row, "250ms", 250, "250ms" },
	{ &duration_row, "1000ms", 1000, "1s" },
	{ &duration_row, "90s", 90000, "90s" },
	{ &duration_row, "120s", 120000, "2m" },
	{ &duration_row, "60m", 3600000, "1h" },
	{ &duration_row, "36h", 129600000, "36h" },
	{ &duration_row, "48h", 172800000, "2d" },
	{ &duration_row, "213503982334d", 18446744073657600000u, "213503982334d" },
	{ &size_row, "0", 0, "0" },
	{ &size_row, "1023", 1023, "1023" },
	{ &size_row, "1024", 1024, "1K" },
	{ &size_row, "1536K", 1572864, "1536K" },
	{ &size_row, "2048K", 2097152, "2M" },
	{ &size_row, "17179869183G", 18446744072635809792u, "17179869183G" },
};

START_TEST(test_numbers)
{
	for (size_t i = 0; i < ARRAY_SIZE(number_cases); i++) {
		const struct param_row *row = number_cases[i].row;
		struct param_problem problem;
		char buf[PARAM_ITEM_TEXT_MAX];
		uint64_t value = 1;

		ck_assert_msg(param_value_parse(row, number_cases[i].text, &value, &problem) == 0,
			      "%s", number_cases[i].text);
		ck_assert_uint_eq(value, number_cases[i].value);
		ck_assert_uint_eq(param_value_count(row, &value), 1);
		ck_assert_str_eq(param_value_format(row, &value, 0, buf),
				 number_cases[i].formatted);
	}
}
END_TEST

static const struct {
	const struct param_row *row;
	const char *text;
} bad_numbers[] = {
	{ &number_row, "" },      { &number_row, "-1" },
	{ &number_row, "+1" },    { &number_row, "0x10" },
	{ &number_row, "1.5" },   { &number_row, "18446744073709551616" },
	{ &number_row, "1 2" },   { &number_row, "99999999999999999999999999999999999999" },
	{ &workers_row, "Auto" }, { &workers_row, "0" },
	{ &workers_row, "65" },   { &percent_row, "10" },
	{ &percent_row, "101%" }, { &percent_row, "%" },
	{ &duration_row, "1" },   { &duration_row, "1w" },
	{ &duration_row, "1 s" }, { &duration_row, "1h30m" },
	{ &duration_row, "s" },   { &duration_row, "213503982335d" },
	{ &size_row, "1k" },      { &size_row, "1KB" },
	{ &size_row, "M" },       { &size_row, "17179869184G" },
	{ &mark_row, "0x" },      { &mark_row, "0x1g" },
	{ &mark_row, "010" },     { &mark_row, "0x100000000" },
	{ &mark_row, "1f" },      { &mark_row, "0x1/0xff" },
	{ &mark_row, "-0x1" },    { &mark_row, "0x10000000000000001" },
};

START_TEST(test_bad_numbers)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_numbers); i++) {
		struct param_problem problem = { "", "" };
		uint64_t value = 12345;

		ck_assert_msg(param_value_parse(bad_numbers[i].row, bad_numbers[i].text, &value,
						&problem) == -EINVAL,
			      "%s", bad_numbers[i].text);
		ck_assert_uint_eq(value, 12345);
		ck_assert_str_ne(problem.what, "");
		ck_assert_str_ne(problem.expected, "");
	}
}
END_TEST

START_TEST(test_words)
{
	static const char *const bools[] = { "off", "on", "no", "yes", "false", "true" };
	const struct param_row bool_row = { "b", PARAM_BOOL };
	const struct param_row choice_row = { .key = "c",
					      .type = PARAM_CHOICE,
					      .choices = "a|bb|c" };
	static const char *const words[] = { "a", "bb", "c" };
	static const char *const bad_words[] = { "b", "a|bb", "bbb", "|", "A" };
	struct param_problem problem;
	char buf[PARAM_ITEM_TEXT_MAX];
	union field f;

	for (size_t i = 0; i < ARRAY_SIZE(bools); i++) {
		ck_assert_int_eq(param_value_parse(&bool_row, bools[i], &f.on, &problem), 0);
		ck_assert_int_eq(f.on, i % 2 == 1);
		ck_assert_str_eq(param_value_format(&bool_row, &f.on, 0, buf), f.on ? "on" : "off");
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		ck_assert_int_eq(param_value_parse(&choice_row, words[i], &f.choice, &problem), 0);
		ck_assert_int_eq(f.choice, (int)i);
		ck_assert_str_eq(param_value_format(&choice_row, &f.choice, 0, buf), words[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_words); i++) {
		ck_assert_int_eq(param_value_parse(&choice_row, bad_words[i], &f.choice, &problem),
				 -EINVAL);
	}
}
END_TEST

static const struct {
	enum param_type type;
	uint64_t port;
	const char *text;
	const char *items; /* NULL: refused */
} list_cases[] = {
	{ PARAM_ADDRS, 0, "127.0.0.1:80,[::1]:81", "127.0.0.1:80 [::1]:81" },
	{ PARAM_ADDRS, 53, " 127.0.0.1 , ::1\t,\t[::1]:54", "127.0.0.1:53 [::1]:53 [::1]:54" },
	{ PARAM_ADDRS, 0, "127.0.0.1", NULL },
	{ PARAM_IPS, 0, "192.0.2.1, 2001:db8::1", "192.0.2.1 2001:db8::1" },
	{ PARAM_IPS, 0, "192.0.2.1:80", NULL },
	{ PARAM_IPS, 0, "[::1]", NULL },
	{ PARAM_ADDRS, 53, "0.0.0.0, ::, 240.0.0.1", NULL },
	{ PARAM_ADDRS, 53, "0.0.0.0, ::", "0.0.0.0:53 [::]:53" },
	{ PARAM_ADDRS, 53, "[::ffff:192.0.2.1]:54, [::ffff:0.0.0.0]", "192.0.2.1:54 0.0.0.0:53" },
	{ PARAM_ADDRS, 53, "224.0.0.1", NULL },
	{ PARAM_ADDRS, 53, "::ffff:239.255.255.255", NULL },
	{ PARAM_ADDRS, 53, "255.255.255.255", NULL },
	{ PARAM_ADDRS, 53, "[ff02::1%lo]:54", NULL },
	{ PARAM_IPS, 0, "::ffff:192.0.2.1", "192.0.2.1" },
	{ PARAM_IPS, 0, "ff0e::1", NULL },
	{ PARAM_IPS, 0, "::ffff:255.255.255.255", NULL },
	{ PARAM_NETS, 0, "224.0.0.0/4, ff02::1", "224.0.0.0/4 ff02::1/128" },
	{ PARAM_NETS, 0, "10.0.0.0/8, local, 192.0.2.1, any", "any local 10.0.0.0/8 192.0.2.1/32" },
	{ PARAM_NETS, 0, "local, all", NULL },
	{ PARAM_TEXTS, 0, "a b, c#d,e;f", "a b c#d e;f" },
	{ PARAM_TEXTS, 0, "a,;b", NULL },
	{ PARAM_TEXTS, 0, "a,b ;c", NULL },
	{ PARAM_TEXTS, 0, "a,,b", NULL },
	{ PARAM_TEXTS, 0, "a,", NULL },
	{ PARAM_TEXTS, 0, ",a", NULL },
	{ PARAM_TEXTS, 0, " , ", NULL },
};

START_TEST(test_lists)
{
	for (size_t i = 0; i < ARRAY_SIZE(list_cases); i++) {
		const struct param_row row = { "k", list_cases[i].type, 0, NULL,
					       list_cases[i].port };
		struct param_problem problem;
		char buf[PARAM_ITEM_TEXT_MAX];
		char items[200] = "";
		union field f = { .nets = { 0 } };
		int r = param_value_parse(&row, list_cases[i].text, &f, &problem);

		ck_assert_msg(r == (list_cases[i].items ? 0 : -EINVAL), "%s", list_cases[i].text);
		for (size_t k = 0; r == 0 && k < param_value_count(&row, &f); k++) {
			strcat(strcat(items, k ? " " : ""), param_value_format(&row, &f, k, buf));
		}
		ck_assert_str_eq(items, r == 0 ? list_cases[i].items : "");
		param_value_done(&row, &f);
		ck_assert_uint_eq(param_value_count(&row, &f), 0);
		ck_assert(param_value_is_none(&row, &f));
	}
}
END_TEST

START_TEST(test_text)
{
	const struct param_row row = { "key", PARAM_TEXT };
	const struct param_row path_row = { "key", PARAM_PATH };
	struct param_problem problem;
	char longest[4096] = "/";
	char *text = NULL;
	size_t max = ini_line_max() - strlen("key = ");

	memset(longest + 1, 'x', max);
	ck_assert_int_eq(param_value_parse(&row, longest, &text, &problem), -EINVAL);
	longest[max] = '\0';
	ck_assert_int_eq(param_value_parse(&path_row, longest, &text, &problem), 0);
	ck_assert_str_eq(text, longest);
	ck_assert_int_eq(param_value_parse(&path_row, "x/y", &text, &problem), -EINVAL);
	ck_assert_str_eq(text, longest);
	ck_assert_int_eq(param_value_parse(&row, "a, b", &text, &problem), 0);
	ck_assert_str_eq(text, "a, b");
	ck_assert_int_eq(param_value_parse(&row, "a\nb", &text, &problem), -EINVAL);
	param_value_done(&row, &text);
	ck_assert_ptr_null(text);
}
END_TEST

START_TEST(test_equal)
{
	const struct param_row row = { "k", PARAM_TEXTS };
	struct param_problem problem;
	struct text_list a = { 0 };
	struct text_list b = { 0 };

	ck_assert(param_value_equal(&row, &a, &b));
	ck_assert_int_eq(param_value_parse(&row, "x, y", &a, &problem), 0);
	ck_assert(!param_value_equal(&row, &a, &b));
	ck_assert_int_eq(param_value_parse(&row, "x", &b, &problem), 0);
	ck_assert(!param_value_equal(&row, &a, &b));
	ck_assert_int_eq(param_value_parse(&row, "y", &b, &problem), 0);
	ck_assert(param_value_equal(&row, &a, &b));
	param_value_done(&row, &b);
	ck_assert_int_eq(param_value_parse(&row, "x, z", &b, &problem), 0);
	ck_assert(!param_value_equal(&row, &a, &b));
	param_value_done(&row, &a);
	param_value_done(&row, &b);
}
END_TEST

START_TEST(test_strip)
{
	char text[] = " \t a b\t ";
	char blank[] = "  ";

	ck_assert_str_eq(param_strip(text), "a b");
	ck_assert_str_eq(param_strip(blank), "");
}
END_TEST

SUITE_MAIN("param_value", test_numbers, test_bad_numbers, test_words, test_lists, test_text,
	   test_equal, test_strip)
