/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/helpers.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

enum {
	JOBS = 100
};

struct counted {
	struct helper_job job;
	pthread_t submitter;
	sem_t *gate; /* run() waits for it, when set */
	bool ran;
	int *done;
	int *cancelled;
};

static void counted_run(struct helper_job *job)
{
	struct counted *c = container_of(job, struct counted, job);

	ck_assert(!pthread_equal(pthread_self(), c->submitter));
	if (c->gate) {
		sem_wait(c->gate);
	}
	c->ran = true;
}

static void counted_done(struct helper_job *job)
{
	struct counted *c = container_of(job, struct counted, job);

	ck_assert(pthread_equal(pthread_self(), c->submitter));
	ck_assert_int_ne(c->ran, job->cancelled);
	*(job->cancelled ? c->cancelled : c->done) += 1;
}

START_TEST(test_every_job_is_run_and_done_once)
{
	struct loop *loop = loop_new();
	struct helpers *h = helpers_new(3, JOBS);
	struct counted jobs[JOBS] = { 0 };
	int done = 0;
	int cancelled = 0;

	for (int i = 0; i < JOBS; i++) {
		jobs[i] = (struct counted){ .submitter = pthread_self(),
					    .done = &done,
					    .cancelled = &cancelled };
		ck_assert_int_eq(helpers_submit(h, &jobs[i].job, loop, counted_run, counted_done),
				 0);
	}
	while (done < JOBS) {
		loop_turn(loop, 1000);
	}
	ck_assert_int_eq(cancelled, 0);
	helpers_free(h);
	loop_free(loop);
}
END_TEST

START_TEST(test_full_queue_refuses_and_the_end_cancels)
{
	struct loop *loop = loop_new();
	struct helpers *h = helpers_new(1, 4);
	struct counted jobs[10] = { 0 };
	sem_t gate;
	int done = 0;
	int cancelled = 0;
	int accepted = 0;

	sem_init(&gate, 0, 0);
	for (int i = 0; i < 10; i++) {
		int r;

		jobs[i] = (struct counted){ .submitter = pthread_self(),
					    .gate = &gate,
					    .done = &done,
					    .cancelled = &cancelled };
		r = helpers_submit(h, &jobs[i].job, loop, counted_run, counted_done);
		ck_assert(r == 0 || r == -EAGAIN);
		accepted += r == 0;
	}
	/* Four wait, and one may have been taken already. */
	ck_assert_int_ge(accepted, 4);
	ck_assert_int_le(accepted, 5);
	sem_post(&gate);
	while (done == 0) {
		loop_turn(loop, 1000);
	}
	for (int i = 0; i < 10; i++) {
		sem_post(&gate);
	}
	helpers_stop(h);
	ck_assert_msg(helpers_submit(h, &jobs[0].job, loop, counted_run, counted_done) == -EAGAIN,
		      "a pool that ended takes nothing");
	loop_turn(loop, 0);
	ck_assert_int_eq(done + cancelled, accepted);
	helpers_free(h);
	loop_free(loop);
	sem_destroy(&gate);
}
END_TEST

SUITE_MAIN("helpers", test_every_job_is_run_and_done_once,
	   test_full_queue_refuses_and_the_end_cancels)
