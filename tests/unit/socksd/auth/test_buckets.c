/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/auth/buckets.h"

#include "tests/unit/suite.h"

enum {
	START_MS = 1000000,
};

START_TEST(test_burst_and_interval)
{
	struct buckets *b = buckets_new(64, 3, 100);
	uint64_t now_ms = START_MS;

	ck_assert_uint_eq(buckets_left(b, 7, now_ms), 3);
	for (int i = 0; i < 3; i++) {
		ck_assert(buckets_take(b, 7, now_ms, NULL));
	}
	ck_assert_uint_eq(buckets_left(b, 7, now_ms), 0);
	ck_assert(!buckets_take(b, 7, now_ms, NULL));
	/* others are not concerned */
	ck_assert_uint_eq(buckets_left(b, 8, now_ms), 3);
	ck_assert(!buckets_take(b, 7, now_ms + 99, NULL));
	ck_assert_uint_eq(buckets_left(b, 7, now_ms + 100), 1);
	ck_assert(buckets_take(b, 7, now_ms + 100, NULL));
	ck_assert(!buckets_take(b, 7, now_ms + 199, NULL));
	/* a refusal costs nothing: the next token comes on time */
	ck_assert(buckets_take(b, 7, now_ms + 200, NULL));
	ck_assert_uint_eq(buckets_left(b, 7, now_ms + 499), 2);
	ck_assert_uint_eq(buckets_left(b, 7, now_ms + 500), 3);
	/* never more than the burst */
	ck_assert_uint_eq(buckets_left(b, 7, now_ms + 100000), 3);
	buckets_free(b);
}
END_TEST

START_TEST(test_refused)
{
	struct buckets *b = buckets_new(64, 1, 100);
	uint32_t refused = 99;

	ck_assert(buckets_take(b, 7, START_MS, &refused));
	ck_assert_uint_eq(refused, 0);
	ck_assert(!buckets_take(b, 7, START_MS, &refused));
	ck_assert(!buckets_take(b, 7, START_MS + 50, &refused));
	ck_assert(buckets_take(b, 7, START_MS + 100, &refused));
	ck_assert_uint_eq(refused, 0); /* forgotten with the bucket that filled up */
	buckets_free(b);
	b = buckets_new(64, 2, 100);
	ck_assert(buckets_take(b, 7, START_MS, NULL));
	ck_assert(buckets_take(b, 7, START_MS, NULL));
	ck_assert(!buckets_take(b, 7, START_MS, NULL));
	ck_assert(!buckets_take(b, 7, START_MS, NULL));
	ck_assert(buckets_take(b, 7, START_MS + 100, &refused));
	ck_assert_uint_eq(refused, 2);
	ck_assert(!buckets_take(b, 7, START_MS + 100, &refused));
	ck_assert(buckets_take(b, 7, START_MS + 200, &refused));
	ck_assert_uint_eq(refused, 1);
	buckets_free(b);
}
END_TEST

/* Workers have clocks of their own. */
START_TEST(test_time_steps_back)
{
	struct buckets *b = buckets_new(8, 2, 100);

	ck_assert(buckets_take(b, 1, START_MS, NULL));
	ck_assert(buckets_take(b, 1, START_MS - 50, NULL));
	ck_assert(!buckets_take(b, 1, START_MS - 1, NULL));
	ck_assert_uint_eq(buckets_left(b, 1, START_MS + 99), 0);
	ck_assert_uint_eq(buckets_left(b, 1, START_MS + 100), 1);
	buckets_free(b);
}
END_TEST

START_TEST(test_configure)
{
	struct buckets *b = buckets_new(8, 10, 100);

	for (int i = 0; i < 10; i++) {
		ck_assert(buckets_take(b, 1, START_MS, NULL));
	}
	buckets_configure(b, 4, 1000);
	ck_assert_uint_eq(buckets_burst(b), 4);
	ck_assert_uint_eq(buckets_left(b, 1, START_MS), 0);
	ck_assert_uint_eq(buckets_left(b, 1, START_MS + 999), 0);
	ck_assert_uint_eq(buckets_left(b, 1, START_MS + 4000), 4);
	buckets_free(b);
}
END_TEST

/* Ten thousand passers-by, one token each, leave the one who has none in his place. */
START_TEST(test_flood_of_keys)
{
	struct buckets *b = buckets_new(64, 5, 1000);

	for (int i = 0; i < 5; i++) {
		ck_assert(buckets_take(b, 1, START_MS, NULL));
	}
	for (uint64_t key = 100; key < 10100; key++) {
		ck_assert(buckets_take(b, key, START_MS, NULL));
	}
	ck_assert_uint_eq(buckets_left(b, 1, START_MS), 0);
	buckets_free(b);
}
END_TEST

SUITE_MAIN("buckets", test_burst_and_interval, test_refused, test_time_steps_back, test_configure,
	   test_flood_of_keys)
