/* SPDX-License-Identifier: ISC */
/*
 * Counters and gauges. A daemon declares its own once, in an X-macro that becomes an enum and a
 * table of rows; each worker has a block of values that only it writes, and readers sum over the
 * blocks, so counting is one relaxed store and never a locked instruction. A gauge is raised and
 * lowered; its sum is what counts.
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct metric_row {
	const char *name; /* as in the log, e.g. "sessions_accepted" */
	const char *help;
};

/* X-macro helpers: METRICS(X) with X(name, "help"). */
#define METRIC_ENUM(name, help) METRIC_##name,
#define METRIC_ROW(name, help)  { #name, help },

/* One worker's values. */
struct metrics {
	size_t count;
	_Atomic int64_t values[];
};

/* All zero; count as in the row table. Returns owned or NULL (out of memory); free() it. */
struct metrics *metrics_new(size_t count);

/* Thread: the owner of the block only. */
static inline void metrics_add(struct metrics *m, unsigned index, int64_t amount)
{
	int64_t now = atomic_load_explicit(&m->values[index], memory_order_relaxed);

	atomic_store_explicit(&m->values[index], now + amount, memory_order_relaxed);
}

/* Any thread. */
static inline int64_t metrics_get(const struct metrics *m, unsigned index)
{
	return atomic_load_explicit(&m->values[index], memory_order_relaxed);
}

#endif
