/* SPDX-License-Identifier: ISC */
/*
 * Tells the service manager that the daemon lives, as long as every loop turns: the main thread's,
 * on which this runs, and each worker's, which is asked and has to answer first. A worker that
 * hangs keeps its answer back, and the manager restarts us.
 */
#ifndef COMMON_DAEMON_WATCHDOG_H
#define COMMON_DAEMON_WATCHDOG_H

#include "common/daemon/worker.h"
#include "common/loop.h"

struct watchdog;

/* Send WATCHDOG=1 twice in each period. The workers are borrowed and run. Returns owned, or NULL
 * (out of memory). */
struct watchdog *watchdog_new(struct loop *loop, struct worker **workers, unsigned count,
			      uint64_t period_ms);

/* The workers have stopped, their loops and the main one still exist. NULL is fine. */
void watchdog_free(struct watchdog *watchdog);

#endif
