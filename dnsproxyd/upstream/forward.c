/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/forward.h"

#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>

static void count(const struct forward *f, enum dnsproxyd_metric metric)
{
	metrics_add(f->group->metrics, metric, 1);
}

static uint64_t now_ms(const struct forward *f)
{
	return loop_now_ms(f->group->loop);
}

/* --- the end --------------------------------------------------------------------------------- */

static void stop(struct forward *f, bool answered)
{
	f->done = NULL;
	timer_stop(&f->timer);
	for (unsigned i = 0; i < f->attempts.sends; i++) {
		exchange_forget(f->tries[i].exchange, answered);
		f->tries[i].exchange = NULL;
	}
}

/* Those who refused what another one has answered. */
static void note_refusals(struct forward *f)
{
	for (unsigned i = 0; i < f->group->pool.count; i++) {
		if (f->attempts.refused >> i & 1) {
			upstream_note_refusal(f->group->upstreams[i], f->query);
		}
	}
}

/* msg and reply are what came last, if anything. */
static void finish(struct forward *f, enum upstream_outcome outcome, const uint8_t *msg,
		   const struct dnsreply *reply)
{
	forward_done_fn done = f->done;

	if (outcome == UPSTREAM_ANSWER) {
		note_refusals(f);
	}
	stop(f, outcome == UPSTREAM_ANSWER);
	switch (outcome) {
	case UPSTREAM_ANSWER:
		done(f->arg, outcome, msg, reply);
		break;
	case UPSTREAM_ERROR:
		done(f->arg, outcome, NULL, &f->refusal);
		break;
	default:
		done(f->arg, outcome, NULL, NULL);
		break;
	}
}

/* --- steps ----------------------------------------------------------------------------------- */

static void on_exchange(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			const struct dnsreply *reply);
static void on_doubtful(void *arg);
static void on_timer(struct timer *timer);

static void send_one(struct forward *f, const struct attempts_step *step)
{
	struct forward_try *try = &f->tries[step->index];
	struct upstream *u = f->group->upstreams[step->server];
	const struct upstream_question question = {
		.query = f->query,
		.again = step->again,
		.by_stream = step->by_stream,
		.done = on_exchange,
		.doubtful = on_doubtful,
		.arg = try,
	};

	if (step->is_trial) {
		upstream_begin_trial(u);
	}
	if (step->reason == ATTEMPTS_HEDGE) {
		count(f, METRIC_upstream_hedges);
	}
	*try = (struct forward_try){ .forward = f };
	try->exchange = upstream_ask(u, &question);
	if (!try->exchange) {
		attempts_take_back(&f->attempts, step->index);
	}
}

/* Send what is to be sent now. Returns what remains: to wait, or the end. */
static struct attempts_step send_all(struct forward *f)
{
	struct attempts_step step;

	for (;;) {
		group_pool(f->group);
		step = attempts_step(&f->attempts, now_ms(f));
		if (step.action != ATTEMPTS_SEND) {
			return step;
		}
		send_one(f, &step);
	}
}

/* 0 or -ENOMEM. */
static int wait_until(struct forward *f, uint64_t wait_ms)
{
	return timer_start(&f->timer, f->group->loop, wait_ms, on_timer);
}

/* After an event; msg and reply are what came with it, if anything. */
static void go_on(struct forward *f, const uint8_t *msg, const struct dnsreply *reply)
{
	struct attempts_step step = send_all(f);

	if (step.action == ATTEMPTS_END) {
		finish(f, step.outcome, msg, reply);
	} else if (wait_until(f, step.wait_ms) < 0) {
		finish(f, UPSTREAM_OVERLOAD, NULL, NULL);
	}
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_timer(struct timer *timer)
{
	struct forward *f = container_of(timer, struct forward, timer);

	attempts_take_time(&f->attempts, now_ms(f));
	go_on(f, NULL, NULL);
}

static void on_doubtful(void *arg)
{
	struct forward_try *try = arg;

	attempts_take_doubt(&try->forward->attempts);
	go_on(try->forward, NULL, NULL);
}

static void on_exchange(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			const struct dnsreply *reply)
{
	struct forward_try *try = arg;
	struct forward *f = try->forward;

	try->exchange = NULL;
	if (outcome == UPSTREAM_ERROR && !f->has_refusal) {
		f->has_refusal = true;
		f->refusal = *reply;
	}
	attempts_take_outcome(&f->attempts, (unsigned)(try - f->tries), outcome, now_ms(f));
	go_on(f, msg, reply);
}

/* --- the beginning --------------------------------------------------------------------------- */

int forward_start(struct forward *f, struct group *group, const struct dnsmsg_query *query,
		  forward_done_fn done, void *arg)
{
	struct attempts_step step;

	f->group = group;
	f->query = query;
	f->done = done;
	f->arg = arg;
	f->timer = (struct timer){ .loop = NULL };
	f->has_refusal = false;
	if (group->pool.count == 0) {
		return -ENOENT;
	}
	attempts_start(&f->attempts, &group->pool, now_ms(f));
	if (wait_until(f, f->attempts.deadline_ms) < 0) {
		return -ENOMEM;
	}
	step = send_all(f);
	if (step.action == ATTEMPTS_END || wait_until(f, step.wait_ms) < 0) {
		stop(f, false);
		return -ENOMEM;
	}
	return 0;
}

void forward_cancel(struct forward *f)
{
	if (f->group) {
		stop(f, false);
	}
}
