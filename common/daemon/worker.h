/* SPDX-License-Identifier: ISC */
/*
 * A worker: one thread with its loop, its counters and the daemon's per-worker state. A session or
 * a query lives and dies on one worker. No other module creates threads but helpers.
 */
#ifndef COMMON_DAEMON_WORKER_H
#define COMMON_DAEMON_WORKER_H

#include "common/loop.h"
#include "common/metrics.h"

struct worker;
typedef void (*worker_fn)(struct worker *worker, void *arg);

struct worker {
	/* constant after worker_new() */
	unsigned index;
	struct loop *loop;
	struct metrics *metrics;
	/* belongs to the daemon, from its start callback to its stop callback */
	void *state;
};

/* Make a worker that does not run yet. Returns owned or NULL with errno. */
struct worker *worker_new(unsigned index, size_t metric_count);

/* Start its thread, named "NAME/INDEX", with all signals blocked. 0 or -errno. The thread ends by
 * itself, with a line in the log, when its loop fails. */
int worker_start(struct worker *worker, const char *name);

/* Main thread: run fn(worker, arg) on the worker's thread and wait until it has returned. When the
 * thread does not run (yet, or any more), fn is called right here, so this waits for no longer than
 * fn takes. */
void worker_call(struct worker *worker, worker_fn fn, void *arg);

/* Main thread: stop the loop, join; of a loop that has failed, run what was posted to it. Harmless
 * when not started. */
void worker_stop(struct worker *worker);

/* NULL is fine. The worker is stopped. */
void worker_free(struct worker *worker);

#endif
