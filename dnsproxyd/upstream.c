/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream.h"

#include "common/ares_io.h"
#include "common/container.h"
#include "common/crypto.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	NO_EDNS_MS = 300000,  /* how long "this server cannot do EDNS" is believed */
	DOWN_FIRST_MS = 1000, /* out of service after the second failure in a row, then doubling */
	DOWN_MAX_MS = 30000,
	DOWN_AFTER_FAILURES = 2,
	ID_WORDS = 65536 / 64,
	ID_TRIES = 64,
};

struct upstream {
	struct loop *loop;
	struct metrics *metrics;
	struct addr server;
	struct ares_io *io;
	uint64_t no_edns_until_ms;
	uint64_t down_until_ms;
	unsigned failures;           /* in a row */
	uint64_t ids_used[ID_WORDS]; /* ids of open exchanges */
};

/* One query on its way. */
struct exchange {
	struct upstream *upstream;
	upstream_done_fn done; /* NULL once forgotten */
	void *arg;
	uint16_t id;
	uint16_t question_len;
	uint8_t question[DNSMSG_QUESTION_MAX]; /* as sent */
	uint16_t flags;
	bool with_edns;
	/* an answer that came while still being sent waits for the end of the turn */
	bool sending;
	enum upstream_outcome early_outcome;
	struct task early_task;
};

static const char *const outcome_names[] = {
#define X(name, token) [UPSTREAM_##name] = token,
	UPSTREAM_OUTCOMES(X)
#undef X
};

const char *upstream_outcome_name(enum upstream_outcome outcome)
{
	return outcome_names[outcome];
}

static void count(struct upstream *u, enum dnsproxyd_metric metric)
{
	metrics_add(u->metrics, metric, 1);
}

/* --- ids ------------------------------------------------------------------------------------- */

/* A random id that no open exchange of this server has (RFC 5452 section 9.2). False when that many
 * are open. */
static bool take_id(struct upstream *u, uint16_t *ret_id)
{
	for (int i = 0; i < ID_TRIES; i++) {
		uint16_t id;

		crypto_random(&id, sizeof id);
		if (!(u->ids_used[id / 64] & (UINT64_C(1) << (id % 64)))) {
			u->ids_used[id / 64] |= UINT64_C(1) << (id % 64);
			*ret_id = id;
			return true;
		}
	}
	return false;
}

static void give_id(struct upstream *u, uint16_t id)
{
	u->ids_used[id / 64] &= ~(UINT64_C(1) << (id % 64));
}

/* --- health ---------------------------------------------------------------------------------- */

static void note_success(struct upstream *u)
{
	u->failures = 0;
	u->down_until_ms = 0;
}

static void note_failure(struct upstream *u)
{
	uint64_t down_ms;

	if (u->failures < 16) {
		u->failures++;
	}
	if (u->failures < DOWN_AFTER_FAILURES) {
		return;
	}
	down_ms = (uint64_t)DOWN_FIRST_MS << (u->failures - DOWN_AFTER_FAILURES);
	u->down_until_ms = loop_now_ms(u->loop) + (down_ms < DOWN_MAX_MS ? down_ms : DOWN_MAX_MS);
}

bool upstream_is_down(const struct upstream *u, uint64_t now_ms)
{
	return now_ms < u->down_until_ms;
}

const struct addr *upstream_addr(const struct upstream *u)
{
	return &u->server;
}

static void count_outcome(struct upstream *u, enum upstream_outcome outcome)
{
	switch (outcome) {
	case UPSTREAM_ANSWER:
		count(u, METRIC_upstream_answers);
		note_success(u);
		break;
	case UPSTREAM_ERROR:
		count(u, METRIC_upstream_errors);
		/* It lives; that it cannot answer this question says nothing about the next. */
		note_success(u);
		break;
	case UPSTREAM_MALFORMED:
		count(u, METRIC_upstream_malformed);
		note_failure(u);
		break;
	case UPSTREAM_TIMEOUT:
		count(u, METRIC_upstream_timeouts);
		note_failure(u);
		break;
	case UPSTREAM_UNREACHABLE:
		count(u, METRIC_upstream_unreachable);
		note_failure(u);
		break;
	case UPSTREAM_OVERLOAD:
	case UPSTREAM_CANCELLED:
		break;
	}
}

/* --- exchanges ------------------------------------------------------------------------------- */

static void finish(struct exchange *e, enum upstream_outcome outcome, const uint8_t *msg,
		   const struct dnsreply *reply)
{
	if (e->done) {
		e->done(e->arg, outcome, msg, reply);
	}
	free(e);
}

/* rcodes after which another server may do better. */
static bool is_refusal(const struct dnsreply *reply)
{
	switch (reply->rcode) {
	case DNS_RCODE_NOERROR:
	case DNS_RCODE_NXDOMAIN:
		return false;
	default:
		return true;
	}
}

static void send_exchange(struct exchange *e, const struct dnsmsg_query *query);

/* The server choked on our OPT record (RFC 6891 section 7): once more without. The question is
 * rebuilt from what was sent. */
static void ask_without_edns(struct exchange *e)
{
	struct upstream *u = e->upstream;
	struct dnsmsg_query query = { .flags = e->flags, .question_len = e->question_len };

	u->no_edns_until_ms = loop_now_ms(u->loop) + NO_EDNS_MS;
	memcpy(query.question, e->question, e->question_len);
	if (!take_id(u, &e->id)) {
		finish(e, UPSTREAM_OVERLOAD, NULL, NULL);
		return;
	}
	send_exchange(e, &query);
}

static bool is_about_edns(const struct exchange *e, enum dnsreply_status status,
			  const struct dnsreply *reply)
{
	bool complains = reply->rcode == DNS_RCODE_FORMERR || reply->rcode == DNS_RCODE_NOTIMP;

	return e->with_edns && complains &&
	       (status == DNSREPLY_BARE || (status == DNSREPLY_OK && !reply->has_opt));
}

static void take_answer(struct exchange *e, const uint8_t *msg, size_t len)
{
	struct dnsreply reply;
	enum dnsreply_status status =
		dnsreply_check(msg, len, e->id, e->question, e->question_len, &reply);
	enum upstream_outcome outcome = UPSTREAM_MALFORMED;

	if ((status == DNSREPLY_OK || status == DNSREPLY_BARE) &&
	    is_about_edns(e, status, &reply)) {
		ask_without_edns(e);
		return;
	}
	if (status == DNSREPLY_OK && reply.kind != DNSREPLY_TRUNCATED) {
		outcome = is_refusal(&reply) ? UPSTREAM_ERROR : UPSTREAM_ANSWER;
	}
	count_outcome(e->upstream, outcome);
	finish(e, outcome, outcome == UPSTREAM_MALFORMED ? NULL : msg,
	       outcome == UPSTREAM_MALFORMED ? NULL : &reply);
}

static void on_early(struct task *task)
{
	struct exchange *e = container_of(task, struct exchange, early_task);

	finish(e, e->early_outcome, NULL, NULL);
}

static void on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		      bool via_tcp)
{
	struct exchange *e = arg;
	struct upstream *u = e->upstream;
	enum upstream_outcome outcome;

	give_id(u, e->id);
	if (status == ARES_IO_OK) {
		if (via_tcp) {
			count(u, METRIC_upstream_tcp);
		}
		take_answer(e, answer, len);
		return;
	}
	outcome = status == ARES_IO_TIMEOUT     ? UPSTREAM_TIMEOUT
		  : status == ARES_IO_REFUSED   ? UPSTREAM_OVERLOAD
		  : status == ARES_IO_CANCELLED ? UPSTREAM_CANCELLED
						: UPSTREAM_UNREACHABLE;
	count_outcome(u, outcome);
	if (e->sending) {
		e->early_outcome = outcome;
		loop_run_task(u->loop, &e->early_task, on_early);
	} else {
		finish(e, outcome, NULL, NULL);
	}
}

static void send_exchange(struct exchange *e, const struct dnsmsg_query *query)
{
	struct upstream *u = e->upstream;
	uint8_t buf[DNSMSG_QUERY_MAX];
	unsigned flags = query->flags & DNSMSG_CD ? DNSMSG_SEND_CD : 0;
	size_t len;

	e->with_edns = loop_now_ms(u->loop) >= u->no_edns_until_ms;
	if (e->with_edns) {
		flags |= DNSMSG_SEND_EDNS | (query->dnssec_ok ? DNSMSG_SEND_DO : 0u);
	}
	len = dnsmsg_build_query(query, e->id, flags, buf);
	count(u, METRIC_upstream_sends);
	e->sending = true;
	ares_io_send(u->io, buf, len, on_answer, e);
	e->sending = false;
}

struct exchange *upstream_ask(struct upstream *u, const struct dnsmsg_query *query,
			      upstream_done_fn done, void *arg)
{
	struct exchange *e = calloc(1, sizeof *e);

	if (!e) {
		return NULL;
	}
	if (!take_id(u, &e->id)) {
		free(e);
		return NULL;
	}
	e->upstream = u;
	e->done = done;
	e->arg = arg;
	e->question_len = query->question_len;
	memcpy(e->question, query->question, query->question_len);
	e->flags = query->flags;
	send_exchange(e, query);
	return e;
}

void exchange_forget(struct exchange *e)
{
	if (e) {
		e->done = NULL;
	}
}

/* --- life ------------------------------------------------------------------------------------ */

struct upstream *upstream_new(struct loop *loop, struct metrics *metrics, const struct addr *server,
			      uint32_t timeout_ms, uint32_t max_open)
{
	const struct ares_io_config config = {
		.loop = loop,
		.servers = server,
		.server_count = 1,
		.timeout_ms = timeout_ms,
		.tries = 1,
		.max_open = max_open,
	};
	struct upstream *u = calloc(1, sizeof *u);

	if (!u) {
		return NULL;
	}
	u->loop = loop;
	u->metrics = metrics;
	u->server = *server;
	u->io = ares_io_new(&config);
	if (!u->io) {
		int saved = errno;

		free(u);
		errno = saved;
		return NULL;
	}
	return u;
}

void upstream_free(struct upstream *u)
{
	if (u) {
		ares_io_free(u->io);
		free(u);
	}
}
