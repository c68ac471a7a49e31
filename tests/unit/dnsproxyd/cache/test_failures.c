/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/failures.h"

#include "tests/unit/suite.h"

#define MAX_MS 5000

static const struct failure refused = { .group = 1, .outcome = 1, .rcode = 5 };
static const struct failure silent = { .group = 1, .unreached = true, .outcome = 3, .rcode = 2 };

static enum failures_state state_at(struct failures *f, uint64_t hash, uint64_t now_ms)
{
	struct failure failure;

	return failures_find(f, hash, now_ms, &failure);
}

START_TEST(test_waits_grow_to_the_maximum)
{
	static const uint64_t waits_ms[] = { 1000, 2000, 4000, 5000, 5000 };
	struct failures *f = failures_new();
	uint64_t now_ms = 100000;
	struct failure failure;

	ck_assert_int_eq(state_at(f, 42, now_ms), FAILURES_NONE);
	for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
		failures_note(f, 42, &refused, MAX_MS, now_ms);
		ck_assert_int_eq(failures_find(f, 42, now_ms + waits_ms[i] - 1, &failure),
				 FAILURES_FRESH);
		ck_assert_uint_eq(failure.rcode, 5);
		ck_assert_uint_eq(failure.outcome, 1);
		ck_assert_int_eq(state_at(f, 42, now_ms + waits_ms[i]), FAILURES_RECENT);
		ck_assert_int_eq(state_at(f, 43, now_ms), FAILURES_NONE);
		now_ms += waits_ms[i];
	}
	ck_assert_int_eq(state_at(f, 42, now_ms + FAILURES_RECENT_MS), FAILURES_NONE);
	/* After a while without trouble it begins anew. */
	now_ms += FAILURES_RECENT_MS;
	failures_note(f, 42, &refused, MAX_MS, now_ms);
	ck_assert_int_eq(state_at(f, 42, now_ms + 1000), FAILURES_RECENT);
	/* An answer ends it at once. */
	failures_forget(f, 42, 1, now_ms + 10);
	ck_assert_int_eq(state_at(f, 42, now_ms + 11), FAILURES_NONE);
	failures_free(f);
	failures_free(NULL);
}
END_TEST

START_TEST(test_a_group_that_answers_again)
{
	struct failures *f = failures_new();
	const uint64_t t = 50000;

	for (int i = 0; i < 3; i++) {
		failures_note(f, 1, &silent, MAX_MS, t);
		failures_note(f, 2, &refused, MAX_MS, t);
	}
	/* Another group's answer says nothing. */
	failures_forget(f, 3, 2, t + 100);
	ck_assert_int_eq(state_at(f, 1, t + 2000), FAILURES_FRESH);
	/* Its own ends what failed for want of an answer, after the second of RFC 9520. */
	failures_forget(f, 3, 1, t + 100);
	ck_assert_int_eq(state_at(f, 1, t + 999), FAILURES_FRESH);
	ck_assert_int_eq(state_at(f, 1, t + 1000), FAILURES_NONE);
	ck_assert_msg(state_at(f, 2, t + 2000) == FAILURES_FRESH, "it was answered: with an error");
	/* What fails after that answer counts again. */
	failures_note(f, 1, &silent, MAX_MS, t + 3000);
	ck_assert_int_eq(state_at(f, 1, t + 4500), FAILURES_FRESH);
	failures_free(f);
}
END_TEST

START_TEST(test_forgive)
{
	struct failures *f = failures_new();
	uint64_t t = 100000;

	failures_note(f, 1, &silent, MAX_MS, t);
	failures_note(f, 2, &refused, MAX_MS, t);
	failures_note(f, 1, &silent, MAX_MS, t);
	failures_forgive(f, t + 100);
	ck_assert_int_eq(state_at(f, 1, t + 999), FAILURES_FRESH);
	ck_assert_int_eq(state_at(f, 1, t + 1000), FAILURES_NONE);
	ck_assert_int_ne(state_at(f, 2, t + 1000), FAILURES_NONE);
	failures_free(f);
}
END_TEST

START_TEST(test_clear)
{
	struct failures *f = failures_new();

	failures_note(f, 1, &silent, MAX_MS, 5000);
	failures_note(f, UINT64_C(0x123456789abcdef), &refused, MAX_MS, 5000);
	failures_clear(f);
	ck_assert_int_eq(state_at(f, 1, 5000), FAILURES_NONE);
	ck_assert_int_eq(state_at(f, UINT64_C(0x123456789abcdef), 5000), FAILURES_NONE);
	/* It begins with a second again. */
	failures_note(f, 1, &refused, MAX_MS, 5000);
	ck_assert_int_eq(state_at(f, 1, 5000 + FAILURES_FIRST_MS), FAILURES_RECENT);
	failures_free(f);
}
END_TEST

START_TEST(test_many_questions)
{
	struct failures *f = failures_new();
	unsigned known = 0;

	/* 16384 places: 8000 questions hardly get in each other's way, 100000 forget the oldest. */
	for (uint64_t i = 1; i <= 8000; i++) {
		failures_note(f, i * UINT64_C(0x9e3779b97f4a7c15), &refused, MAX_MS, 1000 + i);
	}
	for (uint64_t i = 1; i <= 8000; i++) {
		known += state_at(f, i * UINT64_C(0x9e3779b97f4a7c15), 9001) != FAILURES_NONE;
	}
	ck_assert_uint_gt(known, 7000);
	for (uint64_t i = 8001; i <= 100000; i++) {
		failures_note(f, i * UINT64_C(0x9e3779b97f4a7c15), &refused, MAX_MS, 10000);
		ck_assert_int_eq(state_at(f, i * UINT64_C(0x9e3779b97f4a7c15), 10000),
				 FAILURES_FRESH);
	}
	failures_free(f);
}
END_TEST

SUITE_MAIN("failures", test_waits_grow_to_the_maximum, test_a_group_that_answers_again,
	   test_forgive, test_clear, test_many_questions)
