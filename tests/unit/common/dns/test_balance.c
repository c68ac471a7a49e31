/* SPDX-License-Identifier: ISC */
#include "common/dns/balance.h"
#include "common/container.h"

#include "tests/unit/suite.h"

#define T UINT64_C(1000000)
#define N 4

struct servers {
	struct health health[N];
	struct balance_entry entries[N];
};

/* N servers, measured at T to take so many ms; 0: not measured. */
static void set_up(struct servers *s, const uint32_t rtt_ms[N])
{
	*s = (struct servers){ 0 };
	for (size_t i = 0; i < N; i++) {
		s->entries[i].health = &s->health[i];
		if (rtt_ms[i] > 0) {
			health_note_answer(&s->health[i], T - rtt_ms[i], T);
		}
	}
}

/* Down until T + 2000. */
static void take_down(struct servers *s, size_t i)
{
	health_note_failure(&s->health[i], T + 1, T + 500);
	ck_assert(health_note_failure(&s->health[i], T + 1, T + 1000));
}

static const uint32_t four[N] = { 40, 30, 10, 20 };

static const struct choice_case {
	enum balance_strategy strategy;
	unsigned down; /* masks */
	unsigned skip;
	uint32_t turn;
	int chosen;
} choice_cases[] = {
	{ BALANCE_FASTEST, 0, 0, 0, 2 },      { BALANCE_FASTEST, 0, 0, 3, 2 },
	{ BALANCE_FASTEST, 0x4, 0, 0, 3 },    { BALANCE_FASTEST, 0, 0x4, 0, 3 },
	{ BALANCE_FASTEST, 0x4, 0x8, 0, 1 },  { BALANCE_FASTEST, 0xf, 0, 0, 2 },
	{ BALANCE_FASTEST, 0, 0xf, 0, -1 },   { BALANCE_FASTEST, 0x4, 0xb, 0, 2 },
	{ BALANCE_RACE, 0, 0, 0, 2 },         { BALANCE_RACE, 0, 0x4, 0, 3 },
	{ BALANCE_FAILOVER, 0, 0, 7, 0 },     { BALANCE_FAILOVER, 0x1, 0, 7, 1 },
	{ BALANCE_FAILOVER, 0x3, 0x4, 7, 3 }, { BALANCE_FAILOVER, 0xf, 0, 7, 0 },
	{ BALANCE_ROUNDROBIN, 0, 0, 0, 0 },   { BALANCE_ROUNDROBIN, 0, 0, 1, 1 },
	{ BALANCE_ROUNDROBIN, 0, 0, 7, 3 },   { BALANCE_ROUNDROBIN, 0, 0x8, 7, 0 },
	{ BALANCE_ROUNDROBIN, 0x2, 0, 1, 2 }, { BALANCE_LEASTCONN, 0, 0, 0, 1 },
	{ BALANCE_LEASTCONN, 0, 0, 2, 3 },    { BALANCE_LEASTCONN, 0xa, 0, 0, 0 },
	{ BALANCE_LEASTCONN, 0, 0xa, 0, 0 },
};

START_TEST(test_choices)
{
	for (size_t i = 0; i < ARRAY_SIZE(choice_cases); i++) {
		static const uint32_t open_counts[N] = { 3, 1, 5, 1 };
		const struct choice_case *c = &choice_cases[i];
		struct servers s;
		int chosen;

		set_up(&s, four);
		for (size_t k = 0; k < N; k++) {
			s.entries[k].open_count = open_counts[k];
			if (c->down >> k & 1) {
				take_down(&s, k);
			}
		}
		chosen = balance_choose(c->strategy, s.entries, N, c->skip, c->turn, T + 1000);
		ck_assert_msg(chosen == c->chosen, "case %zu: %d", i, chosen);
	}
}
END_TEST

START_TEST(test_none)
{
	ck_assert_int_eq(balance_choose(BALANCE_ROUNDROBIN, NULL, 0, 0, 5, T), -1);
	ck_assert_int_eq(balance_trial(BALANCE_FASTEST, NULL, 0, 0, T), -1);
}
END_TEST

START_TEST(test_one_not_measured_is_tried_besides)
{
	static const uint32_t some[N] = { 0, 30, 0, 20 };
	struct servers s;

	set_up(&s, some);
	ck_assert_int_eq(balance_choose(BALANCE_FASTEST, s.entries, N, 0, 0, T), 3);
	ck_assert_int_eq(balance_trial(BALANCE_FASTEST, s.entries, N, 0x8, T), 0);
	health_begin_trial(&s.health[0], T);
	ck_assert_int_eq(balance_trial(BALANCE_FASTEST, s.entries, N, 0x8, T), 2);
	ck_assert_int_eq(balance_trial(BALANCE_FASTEST, s.entries, N, 0xc, T), -1);
	/* The others do not care for speed. */
	ck_assert_int_eq(balance_trial(BALANCE_FAILOVER, s.entries, N, 0x8, T), -1);
	ck_assert_int_eq(balance_trial(BALANCE_ROUNDROBIN, s.entries, N, 0x8, T), -1);
	ck_assert_int_eq(balance_trial(BALANCE_LEASTCONN, s.entries, N, 0x8, T), -1);
}
END_TEST

/* A slow server that got fast is found within the time between two measurements. */
START_TEST(test_fastest_finds_out)
{
	struct servers s;
	uint64_t now_ms = T;
	unsigned trials = 0;

	set_up(&s, four);
	for (unsigned i = 0; i < 6000; i++) {
		int chosen;
		int trial;

		now_ms += 50;
		chosen = balance_choose(BALANCE_FASTEST, s.entries, N, 0, i, now_ms);
		health_note_answer(&s.health[chosen], now_ms - four[chosen] / (chosen ? 1 : 40),
				   now_ms);
		trial = balance_trial(BALANCE_FASTEST, s.entries, N, 1u << chosen, now_ms);
		if (trial >= 0) {
			trials++;
			health_begin_trial(&s.health[trial], now_ms);
			health_note_answer(&s.health[trial],
					   now_ms - four[trial] / (trial ? 1 : 40), now_ms);
		}
	}
	ck_assert_int_eq(balance_choose(BALANCE_FASTEST, s.entries, N, 0, 0, now_ms), 0);
	/* 300 s, three servers, one measurement in 30 s for each. */
	ck_assert_uint_le(trials, 31);
	ck_assert_uint_ge(trials, 24);
}
END_TEST

/* A simulated outage of the first server: who is asked, and that it is used again when it is back.
 */
START_TEST(test_failover_returns_to_the_first)
{
	struct servers s;
	uint64_t now_ms = T;
	unsigned asked_dead = 0;
	unsigned trials = 0;
	uint64_t first_again_ms = 0;

	set_up(&s, four);
	for (unsigned i = 0; i < 1200; i++) {
		bool dead = now_ms < T + 60000;
		int chosen;
		int trial;

		now_ms += 100;
		chosen = balance_choose(BALANCE_FAILOVER, s.entries, N, 0, i, now_ms);
		trial = balance_trial(BALANCE_FAILOVER, s.entries, N, 1u << chosen, now_ms);
		if (trial == 0) {
			trials++;
			health_begin_trial(&s.health[0], now_ms);
		}
		if (chosen == 0 || trial == 0) {
			if (dead) {
				health_note_failure(&s.health[0], now_ms - 100, now_ms);
			} else {
				health_note_answer(&s.health[0], now_ms - 10, now_ms);
			}
		}
		asked_dead += chosen == 0 && dead;
		if (chosen == 0 && !dead && first_again_ms == 0) {
			first_again_ms = now_ms;
		}
		if (chosen != 0) {
			ck_assert_int_eq(chosen, 1);
		}
	}
	/* The first silence may be the question's fault: the server has just answered another. */
	ck_assert_uint_eq(asked_dead, HEALTH_FAILURES_MAX + 1);
	ck_assert_uint_ge(trials, 5);
	ck_assert_uint_le(trials, 8);
	ck_assert_uint_ge(first_again_ms, T + 60000);
	ck_assert_uint_le(first_again_ms, T + 60000 + HEALTH_BACKOFF_MAX_MS + 200);
}
END_TEST

SUITE_MAIN("balance", test_choices, test_none, test_one_not_measured_is_tried_besides,
	   test_fastest_finds_out, test_failover_returns_to_the_first)
