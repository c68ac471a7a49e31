/* SPDX-License-Identifier: ISC */
#include "common/daemon/worker.h"

#include "tests/unit/suite.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

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

static unsigned posts_run;

/* The descriptor that comes next: a loop's epoll, when that is made next. */
static int next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	close(fd);
	return fd;
}

/* Have something else in the place of the epoll, which cannot be waited for. */
static void break_epoll(struct worker *worker, void *arg)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)worker;
	dup2(fd, *(int *)arg);
	close(fd);
}

static void count_post(struct post *post)
{
	(void)post;
	posts_run++;
}

/* Calls right after the failure, while the thread is about to end, and long after it: all of them
 * are made, by whom it may be. */
START_TEST(test_a_loop_that_fails)
{
	for (unsigned i = 0; i < 50; i++) {
		int epoll_fd = next_fd();
		struct worker *w = worker_new(0, 1);
		struct post post;
		pthread_t seen = 0;

		ck_assert_int_eq(worker_start(w, "test"), 0);
		worker_call(w, break_epoll, &epoll_fd);
		posts_run = 0;
		if (i % 2 == 1) {
			usleep(2000);
		}
		if (i % 4 < 2) {
			worker_call(w, note_thread, &seen);
			worker_call(w, note_thread, &seen);
			ck_assert_int_eq(metrics_get(w->metrics, 0), 2);
		}
		loop_post(w->loop, &post, count_post);
		worker_stop(w);
		ck_assert_uint_eq(posts_run, 1);
		worker_call(w, note_thread, &seen);
		ck_assert(pthread_equal(seen, pthread_self()));
		worker_free(w);
	}
}
END_TEST

SUITE_MAIN("worker", test_calls_run_on_the_worker, test_a_loop_that_fails)
