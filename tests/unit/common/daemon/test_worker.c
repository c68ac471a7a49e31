/* SPDX-License-Identifier: ISC */
#include "common/daemon/worker.h"

#include "tests/unit/suite.h"

#include <pthread.h>

static void note_thread(struct worker *worker, void *arg)
{
	metrics_add(worker->metrics, 0, 2);
	metrics_add(worker->metrics, 0, -1);
	*(pthread_t *)arg = pthread_self();
}

START_TEST(test_calls_run_on_the_worker)
{
	struct worker *w = worker_new(7, 1);
	pthread_t seen;

	ck_assert_uint_eq(w->index, 7);
	worker_call(w, note_thread, &seen);
	ck_assert_msg(pthread_equal(seen, pthread_self()), "not started: runs at the caller");
	ck_assert_int_eq(worker_start(w, "test"), 0);
	worker_call(w, note_thread, &seen);
	ck_assert(!pthread_equal(seen, pthread_self()));
	worker_stop(w);
	worker_call(w, note_thread, &seen);
	ck_assert(pthread_equal(seen, pthread_self()));
	ck_assert_int_eq(metrics_get(w->metrics, 0), 3);
	worker_stop(w);
	worker_free(w);
	worker_free(NULL);
}
END_TEST

SUITE_MAIN("worker", test_calls_run_on_the_worker)
