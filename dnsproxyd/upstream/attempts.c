/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/attempts.h"

static uint32_t bit(unsigned server)
{
	return UINT32_C(1) << server;
}

/* --- the end --------------------------------------------------------------------------------- */

static void end(struct attempts *a, enum upstream_outcome outcome)
{
	a->ended = true;
	a->last = outcome;
}

/* With the refusal that came first, or why there is not even that. */
static void end_without_answer(struct attempts *a)
{
	end(a, a->refused ? UPSTREAM_ERROR : a->last);
}

/* --- sending --------------------------------------------------------------------------------- */

static struct attempts_step send_to(struct attempts *a, unsigned server,
				    enum attempts_reason reason, uint64_t now_ms)
{
	unsigned index = a->sends++;
	bool is_due = health_state(pool_health(a->pool, server), now_ms) == HEALTH_DUE;
	bool was_asked = (a->asked & bit(server)) != 0;

	a->servers[index] = (uint8_t)server;
	a->open[index] = true;
	a->open_count++;
	a->asked |= bit(server);
	return (struct attempts_step){
		.action = ATTEMPTS_SEND,
		.reason = reason,
		.index = index,
		.server = server,
		.again = was_asked && reason != ATTEMPTS_RESEND,
		.is_trial = is_due || reason == ATTEMPTS_TRIAL,
	};
}

static bool has_unasked(const struct attempts *a, uint64_t now_ms)
{
	return pool_choose(a->pool, a->asked, now_ms) >= 0;
}

/* Whether a server that is well was not asked yet: one that is down is no help in a hurry. */
static bool has_unasked_up(const struct attempts *a, uint64_t now_ms)
{
	int server = pool_choose(a->pool, a->asked, now_ms);

	return server >= 0 &&
	       health_state(pool_health(a->pool, (unsigned)server), now_ms) == HEALTH_UP;
}

/* A server that was not asked, or else one that may not have heard; -1 when nobody is left. */
static int choose_next(const struct attempts *a, uint64_t now_ms)
{
	int server;

	if (a->sends >= ATTEMPTS_SENDS_MAX) {
		return -1;
	}
	server = pool_choose(a->pool, a->asked, now_ms);
	return server >= 0 ? server : pool_choose(a->pool, a->useless, now_ms);
}

/* Another that is well, or else the first once more; -1 when neither can be. */
static int choose_hedge(const struct attempts *a, uint64_t now_ms)
{
	unsigned first = a->servers[0];

	if (a->sends >= ATTEMPTS_SENDS_MAX) {
		return -1;
	}
	if (has_unasked_up(a, now_ms)) {
		return choose_next(a, now_ms);
	}
	return a->useless & bit(first) || pool_is_stream(a->pool, first) ? -1 : (int)first;
}

/* --- when ------------------------------------------------------------------------------------ */

/* After the end of a send's time there is nothing to wake up for. */
static void wake_after(struct attempts *a, uint64_t delay_ms, bool retry, uint64_t now_ms)
{
	if (delay_ms < a->pool->timeout_ms) {
		a->wake_ms = now_ms + delay_ms;
		a->wake_is_retry = retry;
	}
}

static uint64_t at_least(uint64_t ms, uint64_t least_ms)
{
	return ms > least_ms ? ms : least_ms;
}

/* Another server is asked when the first has taken longer than it nearly ever does; the same one
 * again, when there is no other, not before its answer is likely lost. */
static void plan_hedge(struct attempts *a, uint64_t now_ms)
{
	unsigned first = a->servers[0];
	uint64_t p95_ms = health_p95_ms(pool_health(a->pool, first), ATTEMPTS_HEDGE_UNKNOWN_MS);

	if (has_unasked_up(a, now_ms)) {
		wake_after(a, at_least(p95_ms, ATTEMPTS_HEDGE_MIN_MS), false, now_ms);
	} else if (!pool_is_stream(a->pool, first)) { /* a stream loses nothing */
		wake_after(a, at_least(2 * p95_ms, ATTEMPTS_REPEAT_MIN_MS), false, now_ms);
	}
}

/* --- steps ----------------------------------------------------------------------------------- */

/* Whom the present want is for; -1 when for nobody, and the want is over. */
static int choose(struct attempts *a, enum attempts_reason *ret_reason, uint64_t now_ms)
{
	switch (a->want) {
	case ATTEMPTS_WANT_FIRST:
		*ret_reason = ATTEMPTS_FIRST;
		return pool_choose(a->pool, 0, now_ms);
	case ATTEMPTS_WANT_TRIAL:
		*ret_reason = ATTEMPTS_TRIAL;
		return pool_choose_trial(a->pool, a->asked, now_ms);
	case ATTEMPTS_WANT_RACE:
		*ret_reason = ATTEMPTS_RACE;
		return a->pool->strategy == BALANCE_RACE && has_unasked(a, now_ms)
			       ? choose_next(a, now_ms)
			       : -1;
	case ATTEMPTS_WANT_NEXT:
		*ret_reason = ATTEMPTS_NEXT;
		return choose_next(a, now_ms);
	case ATTEMPTS_WANT_HEDGE:
		*ret_reason = ATTEMPTS_HEDGE;
		return choose_hedge(a, now_ms);
	case ATTEMPTS_WANT_STREAM:
	case ATTEMPTS_WANT_PLAIN:
		*ret_reason = ATTEMPTS_RESEND;
		return (int)a->want_server;
	case ATTEMPTS_WANT_NOTHING:
		break;
	}
	return -1;
}

/* What to want after a want that was acted upon, or could not be. */
static void go_on_from(struct attempts *a, enum attempts_want want, bool acted, uint64_t now_ms)
{
	a->want = ATTEMPTS_WANT_NOTHING;
	switch (want) {
	case ATTEMPTS_WANT_FIRST:
		a->want = ATTEMPTS_WANT_TRIAL;
		break;
	case ATTEMPTS_WANT_TRIAL:
		a->want = ATTEMPTS_WANT_RACE;
		break;
	case ATTEMPTS_WANT_RACE:
		if (acted) {
			a->want = ATTEMPTS_WANT_RACE;
		} else {
			plan_hedge(a, now_ms);
		}
		break;
	default:
		break;
	}
	if (!acted && a->open_count == 0 && a->sends > 0) {
		end_without_answer(a);
	}
}

static struct attempts_step rest(const struct attempts *a)
{
	bool wakes = a->wake_ms != 0 && a->wake_ms < a->deadline_ms;

	if (a->ended) {
		return (struct attempts_step){ .action = ATTEMPTS_END, .outcome = a->last };
	}
	return (struct attempts_step){ .action = ATTEMPTS_WAIT,
				       .wait_ms = wakes ? a->wake_ms : a->deadline_ms };
}

struct attempts_step attempts_step(struct attempts *a, uint64_t now_ms)
{
	while (!a->ended && a->want != ATTEMPTS_WANT_NOTHING) {
		enum attempts_want want = a->want;
		enum attempts_reason reason = ATTEMPTS_FIRST;
		int server = choose(a, &reason, now_ms);
		bool acted =
			server >= 0 && (want != ATTEMPTS_WANT_HEDGE || pool_take_hedge(a->pool));
		struct attempts_step step;

		if (acted) {
			step = send_to(a, (unsigned)server, reason, now_ms);
			step.by_stream = want == ATTEMPTS_WANT_STREAM;
		}
		go_on_from(a, want, acted, now_ms);
		if (acted) {
			return step;
		}
	}
	return rest(a);
}

/* --- events ---------------------------------------------------------------------------------- */

void attempts_start(struct attempts *a, struct pool *pool, uint64_t now_ms)
{
	*a = (struct attempts){
		.pool = pool,
		.deadline_ms = now_ms + ATTEMPTS_DEADLINE_MS,
		.want = ATTEMPTS_WANT_FIRST,
		.last = UPSTREAM_TIMEOUT,
	};
	pool_begin_question(pool);
}

void attempts_take_back(struct attempts *a, unsigned index)
{
	a->open[index] = false;
	a->open_count--;
	a->want = ATTEMPTS_WANT_NOTHING;
	if (a->open_count == 0) {
		a->last = UPSTREAM_OVERLOAD;
		end_without_answer(a);
	}
}

/* After a server could not be reached. A stream that broke may only have been idle for too long,
 * and the next one works (RFC 7766 section 6.2.4). */
static bool may_go_on_at_once(const struct attempts *a, uint64_t now_ms)
{
	return has_unasked(a, now_ms) || a->sends >= ATTEMPTS_SENDS_MAX ||
	       (a->sends == 1 && pool_is_stream(a->pool, a->servers[0]));
}

/* One send has failed. */
static void go_on(struct attempts *a, enum upstream_outcome outcome, uint64_t now_ms)
{
	a->last = outcome;
	if (a->open_count > 0 && outcome != UPSTREAM_TIMEOUT) {
		return; /* somebody may still answer */
	}
	if (outcome == UPSTREAM_UNREACHABLE && !may_go_on_at_once(a, now_ms)) {
		a->wake_ms = 0;
		wake_after(a, ATTEMPTS_REPEAT_AFTER_ERROR_MS, true, now_ms);
		if (a->wake_ms != 0) {
			return;
		}
	}
	a->want = ATTEMPTS_WANT_NEXT;
}

/* Ask the same server in another way, if there is a send left for it. */
static void ask_otherwise(struct attempts *a, unsigned server, enum upstream_outcome outcome,
			  uint64_t now_ms)
{
	if (a->sends >= ATTEMPTS_SENDS_MAX) {
		go_on(a, outcome, now_ms);
		return;
	}
	a->want = outcome == UPSTREAM_BY_STREAM ? ATTEMPTS_WANT_STREAM : ATTEMPTS_WANT_PLAIN;
	a->want_server = server;
}

void attempts_take_outcome(struct attempts *a, unsigned index, enum upstream_outcome outcome,
			   uint64_t now_ms)
{
	unsigned server = a->servers[index];

	if (a->ended || !a->open[index]) {
		return;
	}
	a->open[index] = false;
	a->open_count--;
	switch (outcome) {
	case UPSTREAM_ANSWER:
	case UPSTREAM_CANCELLED:
		end(a, outcome);
		return;
	case UPSTREAM_BY_STREAM:
	case UPSTREAM_NO_EDNS:
		ask_otherwise(a, server, outcome, now_ms);
		return;
	case UPSTREAM_ERROR:
		a->refused |= bit(server);
		a->useless |= bit(server);
		break;
	case UPSTREAM_OVERLOAD:
	case UPSTREAM_MALFORMED:
		a->useless |= bit(server);
		break;
	case UPSTREAM_TIMEOUT:
	case UPSTREAM_UNREACHABLE:
		break;
	}
	go_on(a, outcome, now_ms);
}

void attempts_take_doubt(struct attempts *a)
{
	if (!a->ended) {
		a->want = ATTEMPTS_WANT_NEXT;
	}
}

void attempts_take_time(struct attempts *a, uint64_t now_ms)
{
	if (a->ended) {
		return;
	}
	if (now_ms >= a->deadline_ms) {
		end_without_answer(a);
	} else if (a->wake_ms != 0 && now_ms >= a->wake_ms) {
		a->want = a->wake_is_retry ? ATTEMPTS_WANT_NEXT : ATTEMPTS_WANT_HEDGE;
		a->wake_ms = 0;
	}
}
