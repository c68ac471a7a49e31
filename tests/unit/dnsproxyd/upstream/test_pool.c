/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/pool.h"

#include "tests/unit/suite.h"

START_TEST(test_hedges_are_few)
{
	struct pool pool;
	unsigned taken = 0;

	pool_init(&pool);
	while (pool_take_hedge(&pool)) {
		taken++;
	}
	ck_assert_uint_eq(taken, POOL_HEDGES_MAX);
	/* One for ten questions from then on. */
	for (unsigned question = 1; question <= 50; question++) {
		pool_begin_question(&pool);
		ck_assert_int_eq(pool_take_hedge(&pool), question % POOL_HEDGE_COST == 0);
	}
	/* An idle time, or a busy one without hedges, saves up no more than there were first. */
	for (unsigned question = 0; question < 1000; question++) {
		pool_begin_question(&pool);
	}
	for (taken = 0; pool_take_hedge(&pool); taken++) {
	}
	ck_assert_uint_eq(taken, POOL_HEDGES_MAX);
}
END_TEST

START_TEST(test_turns)
{
	struct health healths[3] = { 0 };
	struct pool pool;

	pool_init(&pool);
	ck_assert_int_eq(pool_choose(&pool, 0, 1), -1);
	ck_assert_int_eq(pool_choose_trial(&pool, 0, 1), -1);
	pool.strategy = BALANCE_ROUNDROBIN;
	pool.count = 3;
	for (unsigned i = 0; i < 3; i++) {
		pool.entries[i].health = &healths[i];
	}
	for (unsigned i = 0; i < 9; i++) {
		pool_begin_question(&pool);
		ck_assert_int_eq(pool_choose(&pool, 0, 1), (int)(pool.turn % 3));
		ck_assert_int_ne(pool_choose(&pool, 1U << pool.turn % 3, 1), (int)(pool.turn % 3));
	}
	ck_assert_uint_eq(pool.turn, 9);
	ck_assert_int_eq(pool_choose(&pool, 7, 1), -1);
}
END_TEST

START_TEST(test_streams)
{
	struct pool pool;

	pool_init(&pool);
	pool.streams = 0x80000002;
	for (unsigned i = 0; i < BALANCE_SERVERS_MAX; i++) {
		ck_assert_int_eq(pool_is_stream(&pool, i), i == 1 || i == 31);
	}
}
END_TEST

SUITE_MAIN("pool", test_hedges_are_few, test_turns, test_streams)
