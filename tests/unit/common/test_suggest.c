/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/suggest.h"

#include "tests/unit/suite.h"

#include <string.h>

static const char *const names[] = { "workers", "user", "idle-timeout", "connect-timeout", "any" };

static const struct {
	const char *word;
	const char *text;
} cases[] = {
	{ "idle-timout", "did you mean \"idle-timeout\"?" },
	{ "idel-timeout", "did you mean \"idle-timeout\"?" },
	{ "idle_timeout", "did you mean \"idle-timeout\"?" },
	{ "IDLE-TIMEOUT", "did you mean \"idle-timeout\"?" },
	{ "worker", "did you mean \"workers\"?" },
	{ "users", "did you mean \"user\"?" },
	{ "yna", "known: workers, user, idle-timeout, connect-timeout, any." },
	{ "nay", "did you mean \"any\"?" },
	{ "zzz", "known: workers, user, idle-timeout, connect-timeout, any." },
	{ "", "known: workers, user, idle-timeout, connect-timeout, any." },
	{ "a-word-so-long-that-it-is-not-compared-with-any",
	  "known: workers, user, idle-timeout, connect-timeout, any." },
};

START_TEST(test_text)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct suggest s;

		suggest_init(&s, cases[i].word);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			suggest_offer(&s, names[k], strlen(names[k]));
		}
		ck_assert_str_eq(suggest_text(&s, "known:", "."), cases[i].text);
	}
}
END_TEST

START_TEST(test_single_letters)
{
	struct suggest s;

	suggest_init(&s, "x");
	suggest_offer(&s, "y", 1);
	ck_assert_ptr_null(s.best);
	suggest_offer(&s, "X", 1);
	ck_assert_ptr_nonnull(s.best);
}
END_TEST

START_TEST(test_list_is_cut)
{
	struct suggest s;
	const char *text;

	suggest_init(&s, "zzz");
	for (size_t i = 0; i < 100; i++) {
		suggest_offer(&s, "a-name", 6);
	}
	text = suggest_text(&s, "", "");
	ck_assert_uint_lt(strlen(text), 165);
	ck_assert_str_eq(text + strlen(text) - 11, "a-name, ...");
}
END_TEST

SUITE_MAIN("suggest", test_text, test_single_letters, test_list_is_cut)
