/* SPDX-License-Identifier: ISC */
#include "common/daemon/watchdog.h"

#include "common/container.h"
#include "common/daemon/systemd.h"

#include <stdlib.h>

/* "Are you there?" to a worker, and back. */
struct ping {
	struct post there;
	struct post back;
	struct watchdog *watchdog;
};

struct watchdog {
	struct loop *loop;
	struct worker **workers;
	uint64_t period_ms;
	struct timer timer;
	unsigned open; /* pings not answered yet */
	unsigned count;
	struct ping pings[]; /* one per worker */
};

static void on_back(struct post *post)
{
	container_of(post, struct ping, back)->watchdog->open--;
}

static void on_there(struct post *post)
{
	struct ping *ping = container_of(post, struct ping, there);

	loop_post(ping->watchdog->loop, &ping->back, on_back);
}

static void on_due(struct timer *timer)
{
	struct watchdog *w = container_of(timer, struct watchdog, timer);

	/* A timer that has just come due restarts without memory. */
	timer_start(timer, w->loop, loop_now_ms(w->loop) + w->period_ms / 2, on_due);
	if (w->open > 0) {
		return;
	}
	systemd_notify("WATCHDOG=1");
	for (unsigned i = 0; i < w->count; i++) {
		w->open++;
		loop_post(w->workers[i]->loop, &w->pings[i].there, on_there);
	}
}

struct watchdog *watchdog_new(struct loop *loop, struct worker **workers, unsigned count,
			      uint64_t period_ms)
{
	struct watchdog *w = calloc(1, sizeof *w + count * sizeof w->pings[0]);

	if (!w) {
		return NULL;
	}
	w->loop = loop;
	w->workers = workers;
	w->count = count;
	w->period_ms = period_ms;
	for (unsigned i = 0; i < count; i++) {
		w->pings[i].watchdog = w;
	}
	if (timer_start(&w->timer, loop, loop_now_ms(loop), on_due) < 0) {
		free(w);
		return NULL;
	}
	return w;
}

static void forget_posts(struct watchdog *w)
{
	/* Answers that have arrived and were not taken yet still point here. */
	loop_turn(w->loop, 0);
}

void watchdog_free(struct watchdog *w)
{
	if (!w) {
		return;
	}
	timer_stop(&w->timer);
	forget_posts(w);
	free(w);
}
