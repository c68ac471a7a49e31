/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/forward.h"

#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>

enum {
	HEDGE_MIN_MS = 20,      /* to another server; loops have no finer clock than 1 ms */
	HEDGE_UNKNOWN_MS = 300, /* to a server of unknown speed */
	/* To the same server, which may have lost the message, but more likely is slow itself. */
	REPEAT_MIN_MS = 1200,
	REPEAT_AFTER_ERROR_MS = 250, /* to a server that is not there */
};

static void count(const struct forward *f, enum dnsproxyd_metric metric)
{
	metrics_add(f->group->metrics, metric, 1);
}

static uint32_t bit(unsigned server)
{
	return UINT32_C(1) << server;
}

/* --- the end --------------------------------------------------------------------------------- */

static void stop(struct forward *f, bool answered)
{
	timer_stop(&f->deadline);
	timer_stop(&f->hedge);
	for (unsigned i = 0; i < f->sends; i++) {
		exchange_forget(f->tries[i].exchange, answered);
		f->tries[i].exchange = NULL;
	}
	f->open_count = 0;
}

static void finish(struct forward *f, enum upstream_outcome outcome, const uint8_t *msg,
		   const struct dnsreply *reply)
{
	stop(f, outcome == UPSTREAM_ANSWER);
	f->done(f->arg, outcome, msg, reply);
}

static void finish_with_answer(struct forward *f, const uint8_t *msg, const struct dnsreply *reply)
{
	for (unsigned i = 0; i < f->group->count; i++) {
		if (f->refused & bit(i)) {
			upstream_note_refusal(f->group->upstreams[i], f->query);
		}
	}
	finish(f, UPSTREAM_ANSWER, msg, reply);
}

static void finish_without_answer(struct forward *f)
{
	if (f->has_refusal) {
		finish(f, UPSTREAM_ERROR, NULL, &f->refusal);
	} else {
		finish(f, f->last, NULL, NULL);
	}
}

static void on_deadline(struct timer *timer)
{
	finish_without_answer(container_of(timer, struct forward, deadline));
}

/* --- sending --------------------------------------------------------------------------------- */

static void on_exchange(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			const struct dnsreply *reply);
static void on_doubtful(void *arg);
static void on_hedge(struct timer *timer);

/* 0 or -ENOMEM. */
static int send_to(struct forward *f, unsigned server, bool again, bool by_stream)
{
	struct forward_try *try = &f->tries[f->sends];
	struct upstream *u = f->group->upstreams[server];
	const struct upstream_question question = {
		.query = f->query,
		.again = again,
		.by_stream = by_stream,
		.done = on_exchange,
		.doubtful = on_doubtful,
		.arg = try,
	};

	*try = (struct forward_try){ .forward = f, .server = server };
	if (health_state(upstream_health(u), loop_now_ms(f->group->loop)) == HEALTH_DUE) {
		upstream_begin_trial(u);
	}
	try->exchange = upstream_ask(u, &question);
	if (!try->exchange) {
		return -ENOMEM;
	}
	f->sends++;
	f->open_count++;
	f->asked |= bit(server);
	return 0;
}

/* Send once more: to a server that was not asked, or else to one that may not have heard. False
 * when nothing was sent. */
static bool send_next(struct forward *f)
{
	int server = group_choose(f->group, f->asked);

	if (f->sends >= FORWARD_SENDS_MAX) {
		return false;
	}
	if (server < 0) {
		server = group_choose(f->group, f->useless);
	}
	return server >= 0 &&
	       send_to(f, (unsigned)server, (f->asked & bit((unsigned)server)) != 0, false) == 0;
}

/* --- hedging --------------------------------------------------------------------------------- */

static bool has_unasked(const struct forward *f)
{
	return group_choose(f->group, f->asked) >= 0;
}

/* Whether a server that is well was not asked yet: one that is down is no help in a hurry. */
static bool has_unasked_up(const struct forward *f)
{
	int server = group_choose(f->group, f->asked);

	return server >= 0 && health_state(upstream_health(f->group->upstreams[server]),
					   loop_now_ms(f->group->loop)) == HEALTH_UP;
}

static bool is_stream(const struct forward *f, unsigned server)
{
	return upstream_endpoint(f->group->upstreams[server])->protocol == ENDPOINT_TCP;
}

/* Another is asked when this server has taken longer than it nearly ever does; the same one again,
 * when there is no other, not before its answer is likely lost. */
static uint32_t hedge_delay_ms(const struct forward *f, unsigned server)
{
	uint32_t p95_ms =
		health_p95_ms(upstream_health(f->group->upstreams[server]), HEDGE_UNKNOWN_MS);

	if (has_unasked_up(f)) {
		return p95_ms > HEDGE_MIN_MS ? p95_ms : HEDGE_MIN_MS;
	}
	if (is_stream(f, server)) {
		return UINT32_MAX; /* a stream loses nothing */
	}
	return 2 * p95_ms > REPEAT_MIN_MS ? 2 * p95_ms : REPEAT_MIN_MS;
}

static void set_hedge(struct forward *f, uint32_t delay_ms, bool retry)
{
	f->retry = retry;
	if (delay_ms < f->group->timeout_ms) {
		/* Without memory for the timer the next send waits for the timeout. */
		(void)timer_start(&f->hedge, f->group->loop, loop_now_ms(f->group->loop) + delay_ms,
				  on_hedge);
	}
}

/* False when nothing was sent. */
static bool send_hedge(struct forward *f)
{
	unsigned first = f->tries[0].server;

	if (has_unasked_up(f)) {
		return send_next(f);
	}
	return !(f->useless & bit(first)) && send_to(f, first, true, false) == 0;
}

static void on_hedge(struct timer *timer)
{
	struct forward *f = container_of(timer, struct forward, hedge);

	if (f->retry) {
		if (!send_next(f) && f->open_count == 0) {
			finish_without_answer(f);
		}
	} else if (f->sends < FORWARD_SENDS_MAX && group_take_hedge(f->group) && send_hedge(f)) {
		count(f, METRIC_upstream_hedges);
	}
}

/* The answer we got was dropped; a better one may never come. */
static void on_doubtful(void *arg)
{
	struct forward_try *try = arg;

	send_next(try->forward);
}

/* --- outcomes -------------------------------------------------------------------------------- */

/* After a server could not be reached. A stream that broke may only have been idle for too long,
 * and the next one works (RFC 7766 section 6.2.4). */
static bool may_go_on_at_once(const struct forward *f)
{
	return has_unasked(f) || f->sends >= FORWARD_SENDS_MAX ||
	       (f->sends == 1 && is_stream(f, f->tries[0].server));
}

/* One try has failed. */
static void go_on(struct forward *f, enum upstream_outcome outcome)
{
	bool wait = f->open_count > 0 && outcome != UPSTREAM_TIMEOUT;

	if (wait) {
		return; /* somebody may still answer */
	}
	if (outcome == UPSTREAM_UNREACHABLE && !may_go_on_at_once(f)) {
		set_hedge(f, REPEAT_AFTER_ERROR_MS, true);
		if (timer_active(&f->hedge)) {
			return;
		}
	}
	if (!send_next(f) && f->open_count == 0) {
		finish_without_answer(f);
	}
}

static void take_error(struct forward *f, unsigned server, const struct dnsreply *reply)
{
	f->refused |= bit(server);
	f->useless |= bit(server);
	if (!f->has_refusal) {
		f->has_refusal = true;
		f->refusal = *reply;
	}
}

static void on_exchange(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			const struct dnsreply *reply)
{
	struct forward_try *try = arg;
	struct forward *f = try->forward;

	try->exchange = NULL;
	f->open_count--;
	switch (outcome) {
	case UPSTREAM_ANSWER:
		finish_with_answer(f, msg, reply);
		return;
	case UPSTREAM_CANCELLED:
		finish(f, outcome, NULL, NULL);
		return;
	case UPSTREAM_BY_STREAM:
	case UPSTREAM_NO_EDNS:
		if (f->sends < FORWARD_SENDS_MAX &&
		    send_to(f, try->server, false, outcome == UPSTREAM_BY_STREAM) == 0) {
			return;
		}
		break;
	case UPSTREAM_ERROR:
		take_error(f, try->server, reply);
		break;
	case UPSTREAM_OVERLOAD:
	case UPSTREAM_MALFORMED:
		f->useless |= bit(try->server);
		break;
	case UPSTREAM_TIMEOUT:
	case UPSTREAM_UNREACHABLE:
		break;
	}
	f->last = outcome;
	go_on(f, outcome);
}

/* --- the beginning --------------------------------------------------------------------------- */

/* Those to ask at once. 0 or -ENOMEM when not even one could be asked. */
static int send_first(struct forward *f)
{
	int server = group_choose(f->group, 0);
	int trial;

	if (send_to(f, (unsigned)server, false, false) < 0) {
		return -ENOMEM;
	}
	trial = group_choose_trial(f->group, f->asked);
	if (trial >= 0) {
		upstream_begin_trial(f->group->upstreams[trial]);
		(void)send_to(f, (unsigned)trial, false, false);
	}
	while (f->group->strategy == BALANCE_RACE && f->sends < FORWARD_SENDS_MAX &&
	       has_unasked(f) && send_next(f)) {
	}
	set_hedge(f, hedge_delay_ms(f, (unsigned)server), false);
	return 0;
}

int forward_start(struct forward *f, struct group *group, const struct dnsmsg_query *query,
		  forward_done_fn done, void *arg)
{
	*f = (struct forward){ .group = group, .query = query, .done = done, .arg = arg };
	if (group->count == 0) {
		return -ENOENT;
	}
	if (group_is_asking(group, query)) {
		count(f, METRIC_loops);
		return -ELOOP;
	}
	if (timer_start(&f->deadline, group->loop, loop_now_ms(group->loop) + FORWARD_DEADLINE_MS,
			on_deadline) < 0) {
		return -ENOMEM;
	}
	f->last = UPSTREAM_TIMEOUT;
	group_begin_question(group);
	if (send_first(f) < 0) {
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
