/* SPDX-License-Identifier: ISC */
/*
 * A few threads for what would block a loop (password hashes, loading files), behind one bounded
 * queue.
 *
 * A job is embedded in the caller's object. Its run() is called on a helper thread and may touch
 * only the job's own data; then done() is called on the loop that submitted it, always and exactly
 * once. Until then the object must stay alive: an owner that goes away early marks itself so and
 * lets done() free it.
 */
#ifndef COMMON_HELPERS_H
#define COMMON_HELPERS_H

#include "common/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct helpers;
struct helper_job;
typedef void (*helper_job_fn)(struct helper_job *job);

struct helper_job {
	struct helper_job *next;
	struct loop *loop; /* where done() runs */
	struct post post;
	helper_job_fn run;
	helper_job_fn done;
	bool cancelled; /* in done(): run() was never called, because the pool ended first */
};

/* Start `threads` helpers with room for `queue_max` waiting jobs. Returns owned, or NULL with errno
 * set. */
struct helpers *helpers_new(unsigned threads, size_t queue_max);

/* Finish the jobs that run, cancel those that wait, join. From now on helpers_submit() refuses. The
 * loops that submitted jobs must still turn afterwards, so that each done() is called. NULL is
 * fine, and so is a second time. */
void helpers_stop(struct helpers *helpers);

/* Stop if that has not been done, and free. Whoever submits from a done() needs the pool until the
 * loops have stopped. NULL is fine. */
void helpers_free(struct helpers *helpers);

/* Any thread. 0, or -EAGAIN when the queue is full (nothing is called then). */
int helpers_submit(struct helpers *helpers, struct helper_job *job, struct loop *loop,
		   helper_job_fn run, helper_job_fn done);

#endif
