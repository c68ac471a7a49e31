/* SPDX-License-Identifier: ISC */
#include "common/metrics.h"

#include "tests/unit/suite.h"

#include <pthread.h>

enum {
	COUNT = 7,
	ROUNDS = 200000,
};

#define ROWS(X) X(sessions, "Sessions.") X(bytes, "Bytes.")

enum {
	ROWS(METRIC_ENUM) METRIC_COUNT
};

static const struct metric_row rows[] = { ROWS(METRIC_ROW) };

START_TEST(test_values)
{
	struct metrics *m = metrics_new(COUNT);

	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->count, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_int_eq(metrics_get(m, i), 0);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		metrics_add(m, i, (int64_t)i << 40);
		metrics_add(m, i, -1);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_int_eq(metrics_get(m, i), ((int64_t)i << 40) - 1);
	}
	free(m);
}
END_TEST

START_TEST(test_rows)
{
	ck_assert_uint_eq(METRIC_COUNT, 2);
	ck_assert_str_eq(rows[METRIC_bytes].name, "bytes");
	ck_assert_str_eq(rows[METRIC_sessions].help, "Sessions.");
}
END_TEST

static void *count_up(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		metrics_add(arg, 0, 1);
	}
	return NULL;
}

/* Whoever reads meanwhile sees it grow, and all of it in the end. */
START_TEST(test_reader)
{
	struct metrics *m = metrics_new(1);
	int64_t before = 0;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, count_up, m), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		int64_t now = metrics_get(m, 0);

		ck_assert(now >= before && now <= ROUNDS);
		before = now;
	}
	pthread_join(thread, NULL);
	ck_assert_int_eq(metrics_get(m, 0), ROUNDS);
	free(m);
}
END_TEST

SUITE_MAIN("metrics", test_values, test_rows, test_reader)
