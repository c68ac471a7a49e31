/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/dns/health.h"

#include "tests/unit/suite.h"

/* All times below are relative to this. */
#define T UINT64_C(1000000)

static void answer(struct health *h, uint64_t at_ms, uint32_t rtt_ms)
{
	health_note_answer(h, at_ms - rtt_ms, at_ms);
}

static bool fall_silent(struct health *h, uint64_t at_ms, uint32_t waited_ms)
{
	return health_note_failure(h, at_ms - waited_ms, at_ms);
}

START_TEST(test_nothing_known)
{
	const struct health h = { 0 };

	ck_assert_int_eq(health_state(&h, T), HEALTH_UP);
	ck_assert_uint_eq(health_score(&h, T), UINT32_MAX);
	ck_assert_uint_eq(health_p95_ms(&h, 300), 300);
	ck_assert_uint_eq(health_rtt_ms(&h), 0);
}
END_TEST

START_TEST(test_forget)
{
	struct health h = { 0 };

	answer(&h, T, 80);
	fall_silent(&h, T + 1000, 500);
	ck_assert(fall_silent(&h, T + 2000, 500));
	ck_assert_int_eq(health_state(&h, T + 2000), HEALTH_DOWN);
	health_forget(&h, T + 2100);
	ck_assert_int_eq(health_state(&h, T + 2100), HEALTH_UP);
	ck_assert_uint_eq(health_score(&h, T + 2100), UINT32_MAX);
	/* What was sent before went another way. */
	ck_assert(!fall_silent(&h, T + 2500, 500));
	ck_assert(!fall_silent(&h, T + 2600, 500));
	ck_assert_int_eq(health_state(&h, T + 2600), HEALTH_UP);
	ck_assert(!fall_silent(&h, T + 3000, 500));
	ck_assert(fall_silent(&h, T + 3500, 500));
}
END_TEST

START_TEST(test_rtt_is_smoothed)
{
	struct health h = { 0 };

	answer(&h, T, 80);
	ck_assert_uint_eq(health_rtt_ms(&h), 80);
	answer(&h, T + 1, 160);
	ck_assert_uint_eq(health_rtt_ms(&h), 90);
	answer(&h, T + 2, 10);
	ck_assert_uint_eq(health_rtt_ms(&h), 80);
	answer(&h, T + 10000, 20); /* the first after long weighs more */
	ck_assert_uint_eq(health_rtt_ms(&h), 50);
	for (unsigned i = 0; i < 60; i++) {
		answer(&h, T + 10100 + i, 20);
	}
	ck_assert_uint_ge(health_rtt_ms(&h), 20);
	ck_assert_uint_le(health_rtt_ms(&h), 21);
}
END_TEST

START_TEST(test_score_decays)
{
	struct health h = { 0 };

	answer(&h, T, 400);
	ck_assert_uint_eq(health_score(&h, T), 400 * 16);
	ck_assert_uint_eq(health_score(&h, T + HEALTH_HALF_LIFE_MS - 1), 400 * 16);
	ck_assert_uint_eq(health_score(&h, T + HEALTH_HALF_LIFE_MS), 200 * 16);
	ck_assert_uint_eq(health_score(&h, T + 3 * HEALTH_HALF_LIFE_MS), 50 * 16);
	ck_assert_uint_eq(health_score(&h, T + 100 * (uint64_t)HEALTH_HALF_LIFE_MS), 0);
	/* A clock that lags behind is no reason for anything. */
	ck_assert_uint_eq(health_score(&h, T - 5), 400 * 16);
}
END_TEST

START_TEST(test_p95)
{
	struct health h = { 0 };

	for (unsigned i = 0; i < HEALTH_SAMPLES_MIN - 1; i++) {
		answer(&h, T + i, 10);
	}
	ck_assert_uint_eq(health_p95_ms(&h, 777), 777);
	answer(&h, T + 50, 10);
	ck_assert_uint_eq(health_p95_ms(&h, 777), 12);
	/* One slow answer in twenty is what the 95th percentile leaves out, two are not. */
	for (unsigned i = 0; i < 11; i++) {
		answer(&h, T + 100 + i, 10);
	}
	answer(&h, T + 200, 900);
	ck_assert_uint_eq(health_p95_ms(&h, 777), 12);
	answer(&h, T + 201, 900);
	ck_assert_uint_eq(health_p95_ms(&h, 777), 1024);
	/* What was slow once is forgotten. */
	for (unsigned i = 0; i < 400; i++) {
		answer(&h, T + 300 + i, 3);
	}
	ck_assert_uint_eq(health_p95_ms(&h, 777), 3);
}
END_TEST

START_TEST(test_rtt_beyond_all_bounds)
{
	struct health h = { 0 };

	for (unsigned i = 0; i < HEALTH_SAMPLES_MIN; i++) {
		health_note_answer(&h, 1, T);
	}
	ck_assert_uint_eq(health_rtt_ms(&h), 60000);
	ck_assert_uint_eq(health_p95_ms(&h, 1), 60000);
	health_note_answer(&h, T + 10, T);
	ck_assert_uint_lt(health_rtt_ms(&h), 60000);
}
END_TEST

START_TEST(test_two_failures_in_a_row)
{
	struct health h = { 0 };

	answer(&h, T, 10);
	ck_assert(!fall_silent(&h, T + 3000, 2000));
	ck_assert_int_eq(health_state(&h, T + 3000), HEALTH_UP);
	answer(&h, T + 3100, 10);
	ck_assert(!fall_silent(&h, T + 6000, 2000));
	ck_assert_int_eq(health_state(&h, T + 6000), HEALTH_UP);
	ck_assert(fall_silent(&h, T + 6200, 2000));
	ck_assert_int_eq(health_state(&h, T + 6200), HEALTH_DOWN);
	ck_assert(!fall_silent(&h, T + 6300, 2000));
}
END_TEST

START_TEST(test_failures_at_one_time_are_one)
{
	struct health h = { 0 };

	for (unsigned i = 0; i < 50; i++) {
		ck_assert(!fall_silent(&h, T + i, 2000));
	}
	ck_assert_int_eq(health_state(&h, T + 50), HEALTH_UP);
	ck_assert(fall_silent(&h, T + HEALTH_INCIDENT_MS, 2000));
}
END_TEST

/* A name that takes the server for ever, while it answers everything else. */
START_TEST(test_failure_of_what_was_sent_before_an_answer)
{
	struct health h = { 0 };

	for (unsigned i = 0; i < 20; i++) {
		answer(&h, T + i * 1000, 10);
		ck_assert(!fall_silent(&h, T + i * 1000 + 500, 2000));
	}
	ck_assert_int_eq(health_state(&h, T + 20000), HEALTH_UP);
	ck_assert_uint_lt(health_rtt_ms(&h), 20);
}
END_TEST

/* The server dies, is tried again and again, ever more seldom, and comes back. */
START_TEST(test_back_off)
{
	static const uint32_t backoffs_ms[] = {
		1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000
	};
	struct health h = { 0 };
	uint64_t now_ms = T;

	fall_silent(&h, now_ms - 500, 2000);
	ck_assert(fall_silent(&h, now_ms, 2000));
	for (size_t i = 0; i < ARRAY_SIZE(backoffs_ms); i++) {
		ck_assert_int_eq(health_state(&h, now_ms + backoffs_ms[i] - 1), HEALTH_DOWN);
		now_ms += backoffs_ms[i];
		ck_assert_int_eq(health_state(&h, now_ms), HEALTH_DUE);
		health_begin_trial(&h, now_ms);
		ck_assert_int_eq(health_state(&h, now_ms), HEALTH_DOWN);
		now_ms += 2000;
		ck_assert(!fall_silent(&h, now_ms, 2000));
	}
	now_ms += 30000;
	health_begin_trial(&h, now_ms);
	answer(&h, now_ms + 10, 10);
	ck_assert_int_eq(health_state(&h, now_ms + 10), HEALTH_UP);
	/* The next time it starts with the shortest again. */
	fall_silent(&h, now_ms + 5000, 2000);
	ck_assert(fall_silent(&h, now_ms + 6000, 2000));
	ck_assert_int_eq(health_state(&h, now_ms + 7000), HEALTH_DUE);
}
END_TEST

START_TEST(test_trial_that_nobody_concludes)
{
	struct health h = { 0 };

	fall_silent(&h, T, 2000);
	fall_silent(&h, T + 500, 2000);
	health_begin_trial(&h, T + 2000);
	ck_assert_int_eq(health_state(&h, T + 2000 + HEALTH_TRIAL_MS - 1), HEALTH_DOWN);
	ck_assert_int_eq(health_state(&h, T + 2000 + HEALTH_TRIAL_MS), HEALTH_DUE);
}
END_TEST

START_TEST(test_one_domain_takes_no_server_down)
{
	struct health h = { 0 };

	for (unsigned i = 0; i < 1000; i++) {
		ck_assert(!health_note_doubt(&h, 1 + i % (HEALTH_DOUBTS_MAX - 1), T + i * 10));
	}
	ck_assert_int_eq(health_state(&h, T + 10000), HEALTH_UP);
}
END_TEST

START_TEST(test_doubts_about_many_questions)
{
	struct health h = { 0 };

	ck_assert(!health_note_doubt(&h, 1, T));
	ck_assert(!health_note_doubt(&h, 2, T + 1));
	answer(&h, T + 2, 1);
	ck_assert(!health_note_doubt(&h, 3, T + 3));
	ck_assert(!health_note_doubt(&h, 4, T + 4));
	ck_assert(health_note_doubt(&h, 5, T + 5));
	ck_assert_int_eq(health_state(&h, T + 5), HEALTH_DOWN);
	/* That it lives was never the question. */
	health_note_life(&h, T + 6);
	ck_assert_int_eq(health_state(&h, T + 6), HEALTH_DOWN);
	/* Another bad answer, to the trial: down for longer. */
	ck_assert_int_eq(health_state(&h, T + 1005), HEALTH_DUE);
	health_begin_trial(&h, T + 1005);
	ck_assert(!health_note_doubt(&h, 5, T + 1010));
	ck_assert_int_eq(health_state(&h, T + 3009), HEALTH_DOWN);
	ck_assert_int_eq(health_state(&h, T + 3010), HEALTH_DUE);
	answer(&h, T + 3020, 1);
	ck_assert_int_eq(health_state(&h, T + 3020), HEALTH_UP);
}
END_TEST

START_TEST(test_any_sign_of_life_ends_silence)
{
	struct health h = { 0 };

	fall_silent(&h, T, 2000);
	fall_silent(&h, T + 500, 2000);
	ck_assert_int_eq(health_state(&h, T + 500), HEALTH_DOWN);
	health_note_life(&h, T + 600);
	ck_assert_int_eq(health_state(&h, T + 600), HEALTH_UP);
}
END_TEST

SUITE_MAIN("health", test_nothing_known, test_forget, test_rtt_is_smoothed, test_score_decays,
	   test_p95, test_rtt_beyond_all_bounds, test_two_failures_in_a_row,
	   test_failures_at_one_time_are_one, test_failure_of_what_was_sent_before_an_answer,
	   test_back_off, test_trial_that_nobody_concludes, test_one_domain_takes_no_server_down,
	   test_doubts_about_many_questions, test_any_sign_of_life_ends_silence)
