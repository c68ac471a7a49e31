/* SPDX-License-Identifier: ISC */
#include "common/daemon/options.h"

#include "tests/unit/suite.h"

#include <string.h>
#include <unistd.h>

static const struct options_program program = {
	.name = "testd",
	.summary = "Tests.",
	.default_config = "/nonexistent",
	.command = "explain",
	.command_words = "WORD...",
	.command_help = "explain the words",
};

/* A line cut into words; the options borrow from it. */
struct line {
	char text[64];
	char *argv[16];
};

static struct options parse(struct line *line, const char *text)
{
	int argc = 0;
	char *save = NULL;

	ck_assert_uint_lt(strlen(text), sizeof line->text);
	strcpy(line->text, text);
	for (char *word = strtok_r(line->text, " ", &save); word;
	     word = strtok_r(NULL, " ", &save)) {
		line->argv[argc++] = word;
	}
	line->argv[argc] = NULL;
	optind = 0; /* getopt_long(3): from the beginning */
	return options_parse(&program, argc, line->argv);
}

START_TEST(test_actions)
{
	static const struct {
		const char *line;
		enum options_action action;
	} table[] = {
		{ "testd", OPTIONS_RUN },
		{ "testd -t", OPTIONS_TEST },
		{ "testd -c file -t", OPTIONS_TEST },
		{ "testd --print-config", OPTIONS_PRINT },
		{ "testd --explain a b", OPTIONS_COMMAND },
		{ "testd -x", OPTIONS_USAGE },
		{ "testd --unknown", OPTIONS_USAGE },
		{ "testd -c", OPTIONS_USAGE },
		{ "testd word", OPTIONS_USAGE },
		{ "testd -t word", OPTIONS_USAGE },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct line line;
		struct options o = parse(&line, table[i].line);

		ck_assert_msg(o.action == table[i].action, "%s: action %d, not %d", table[i].line,
			      (int)o.action, (int)table[i].action);
		options_done(&o);
	}
}
END_TEST

START_TEST(test_values)
{
	struct line line;
	struct options o = parse(&line, "testd -o a.b=1 -c first -o a.c=2 -c second");

	ck_assert_str_eq(o.config_file, "second");
	ck_assert_uint_eq(o.override_count, 2);
	ck_assert_str_eq(o.overrides[0], "a.b=1");
	ck_assert_str_eq(o.overrides[1], "a.c=2");
	options_done(&o);
	o = parse(&line, "testd");
	ck_assert_ptr_null(o.config_file);
	ck_assert_uint_eq(o.override_count, 0);
	options_done(&o);
}
END_TEST

START_TEST(test_words_of_a_command)
{
	struct line line;
	struct options o = parse(&line, "testd one --explain -o a.b=1 two");

	ck_assert_int_eq(o.action, OPTIONS_COMMAND);
	ck_assert_uint_eq(o.override_count, 1);
	ck_assert_uint_eq(o.word_count, 2);
	ck_assert_str_eq(o.words[0], "one");
	ck_assert_str_eq(o.words[1], "two");
	options_done(&o);
}
END_TEST

SUITE_MAIN("options", test_actions, test_values, test_words_of_a_command)
