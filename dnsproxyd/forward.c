/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/forward.h"

#include "common/container.h"

#include <errno.h>

/* The server for the next send: the sends go round the servers in order, those in service before
 * those that are down. */
static struct upstream *choose(const struct forward *f)
{
	uint64_t now_ms = loop_now_ms(f->group->loop);
	size_t up = 0;
	size_t wanted;

	for (size_t i = 0; i < f->group->count; i++) {
		up += !upstream_is_down(f->group->upstreams[i], now_ms);
	}
	wanted = up > 0 ? f->sends % up : f->sends % f->group->count;
	for (size_t i = 0; i < f->group->count; i++) {
		struct upstream *u = f->group->upstreams[i];

		if ((up == 0 || !upstream_is_down(u, now_ms)) && wanted-- == 0) {
			return u;
		}
	}
	return f->group->upstreams[0];
}

static void finish(struct forward *f, enum upstream_outcome outcome, const uint8_t *msg,
		   const struct dnsreply *reply)
{
	timer_stop(&f->deadline);
	exchange_forget(f->exchange);
	f->exchange = NULL;
	f->done(f->arg, outcome, msg, reply);
}

static void on_exchange(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			const struct dnsreply *reply);

/* 0 or -ENOMEM. */
static int send_next(struct forward *f)
{
	f->exchange = upstream_ask(choose(f), f->query, on_exchange, f);
	f->sends++;
	return f->exchange ? 0 : -ENOMEM;
}

static void on_exchange(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			const struct dnsreply *reply)
{
	struct forward *f = arg;
	bool final = outcome == UPSTREAM_ANSWER || outcome == UPSTREAM_OVERLOAD ||
		     outcome == UPSTREAM_CANCELLED;

	f->exchange = NULL;
	/* With one server, asking it again what it refused would only be refused again. */
	if (outcome == UPSTREAM_ERROR && f->sends >= f->group->count) {
		final = true;
	}
	if (final || f->sends >= FORWARD_SENDS_MAX || send_next(f) < 0) {
		finish(f, outcome, msg, reply);
	}
}

static void on_deadline(struct timer *timer)
{
	struct forward *f = container_of(timer, struct forward, deadline);

	finish(f, UPSTREAM_TIMEOUT, NULL, NULL);
}

int forward_start(struct forward *f, const struct forward_group *group,
		  const struct dnsmsg_query *query, forward_done_fn done, void *arg)
{
	*f = (struct forward){ .group = group, .query = query, .done = done, .arg = arg };
	if (group->count == 0) {
		return -ENOENT;
	}
	if (timer_start(&f->deadline, group->loop, loop_now_ms(group->loop) + FORWARD_DEADLINE_MS,
			on_deadline) < 0) {
		return -ENOMEM;
	}
	if (send_next(f) < 0) {
		timer_stop(&f->deadline);
		return -ENOMEM;
	}
	return 0;
}

void forward_cancel(struct forward *f)
{
	timer_stop(&f->deadline);
	exchange_forget(f->exchange);
	f->exchange = NULL;
}
