/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/query.h"

#include "common/container.h"

#include "dnsproxyd/message/special.h"
#include "dnsproxyd/metrics.h"
#include "dnsproxyd/query/querylog.h"

#include <string.h>

enum {
	KEEPALIVE_UNIT = 100, /* ms */
};

static const struct dnsmsg_ede loop_ede = { DNS_EDE_OTHER, "forwarding loop" };

static void count(struct query_context *c, enum dnsproxyd_metric metric)
{
	metrics_add(c->metrics, metric, 1);
}

/* Largest reply. */
static size_t reply_limit(const struct dnsmsg_query *question, enum query_way way, size_t cap)
{
	size_t limit =
		way == QUERY_BY_UDP ? dnsmsg_udp_limit(question, DNSMSG_UDP_PAYLOAD) : DNSMSG_MAX;

	return limit < cap ? limit : cap;
}

static const char *const way_tokens[] = {
#define X(name, token) [QUERY_BY_##name] = token,
	QUERY_WAYS(X)
#undef X
};

static void note_reply(struct query_context *c, const struct query_origin *origin,
		       const struct dnsmsg_query *question, const uint8_t *reply, size_t len,
		       enum query_source source, uint64_t took_ms)
{
	if (querylog_wanted(c->config->log)) {
		querylog_write(c->config->log, origin->client, way_tokens[origin->way], question,
			       reply, len, source, took_ms);
	}
}

/* --- at once --------------------------------------------------------------------------------- */

static void init_key(struct query_context *c, struct query_draft *draft)
{
	const struct dnsmsg_query *q = &draft->question;
	const size_t name_len = q->question_len - 4u; /* type and class follow */

	draft->group = (uint8_t)config_find_group(c->config, q->question, name_len);

	cache_key_init(&draft->key, c->cache, q->question, q->question_len, q->dnssec_ok,
		       (q->flags & DNSMSG_CD) != 0, draft->group);
}

/* Fetch the successor of an answer that is about to expire and was asked for before. */
static void prefetch(struct query_context *c, const struct query_draft *draft,
		     const struct cache_result *result)
{
	uint64_t last_s = result->full_s * c->config->cache->prefetch_pct / 100;

	if (result->ttl_s <= last_s && result->hits >= 2 && cache_claim(c->cache, &draft->key)) {
		fetch_refresh(&c->fetcher, &draft->question, &draft->key);
	}
}

/* From the cache. False on a miss. */
static bool answer_from_cache(struct query_context *c, struct query_draft *draft, size_t limit,
			      uint8_t *buf, size_t cap, size_t *ret_len)
{
	struct dnsmsg_ede ede;
	struct cache_result result;
	enum cache_outcome outcome =
		cache_get(c->cache, &draft->key, loop_now_ms(c->loop), buf, cap, &result);

	draft->is_expired = outcome == CACHE_EXPIRED;
	if (outcome != CACHE_HIT) {
		return false;
	}
	count(c, METRIC_cache_hits);
	*ret_len = dnsmsg_answer(buf, result.len, &draft->question,
				 dnsmsg_reason_ede(&result.reason, &ede), limit);
	prefetch(c, draft, &result);
	return true;
}

/* Names and types that are not for upstream servers. */
static bool answer_special(struct query_context *c, const struct query_draft *draft,
			   enum query_way way, size_t limit, uint8_t *buf, size_t *ret_len)
{
	const struct dnsmsg_query *q = &draft->question;
	struct dnsmsg_ede ede = { DNS_EDE_SYNTHESIZED, NULL };
	/* [forward] overrules what is special in this network only. */
	bool is_local = c->config->server->local_zones && draft->group == 0;
	size_t len = ddr_answer(&c->config->ddr, q, buf);

	if (len == 0) {
		len = special_answer(q, is_local ? SPECIAL_LOCAL : SPECIAL_ALWAYS, buf, &ede);
	}

	if (len == 0 && q->qtype == DNS_TYPE_ANY && way == QUERY_BY_UDP) {
		len = special_answer_any(q, buf);
		ede.text = "RFC 8482";
	}
	if (len == 0) {
		return false;
	}
	count(c, METRIC_queries_local);
	*ret_len = dnsmsg_answer(buf, len, q, &ede, limit);
	return true;
}

/* Whether the client has to be slowed down; then *ret_step and perhaps the reply are made. */
static bool limit_rate(struct query_context *c, const struct query_origin *origin,
		       const struct dnsmsg_query *q, size_t limit, uint8_t *buf, size_t *ret_len,
		       enum query_step *ret_step)
{
	const struct limits_params *limits = c->config->limits;

	if (limits->rate_limit == 0 || origin->way != QUERY_BY_UDP ||
	    netset_contains(&limits->rate_limit_exempt, origin->client)) {
		return false;
	}
	switch (ratelimit_take(c->ratelimit, origin->client, (uint32_t)limits->rate_limit,
			       (uint32_t)limits->rate_limit_burst, loop_now_ms(c->loop))) {
	case RATELIMIT_OK:
		break;
	case RATELIMIT_TRUNCATE:
		count(c, METRIC_queries_truncated);
		*ret_len = dnsmsg_truncated(q, buf, limit);
		*ret_step = QUERY_ANSWERED;
		note_reply(c, origin, q, buf, *ret_len, QUERY_FROM_LIMITED, 0);
		return true;
	case RATELIMIT_DROP:
		count(c, METRIC_queries_limited);
		*ret_step = QUERY_DROPPED;
		return true;
	}
	return false;
}

/* Types that stand for a conversation or a signature, not for records that could be passed on. */
static bool is_meta_type(uint16_t type)
{
	return type == DNS_TYPE_OPT || (type >= DNS_TYPE_TKEY && type <= DNS_TYPE_AXFR);
}

/* Refuse what we do not do. False when there is nothing to refuse. */
static bool refuse(struct query_context *c, enum dnsmsg_verdict verdict,
		   const struct dnsmsg_query *q, size_t limit, uint8_t *buf, size_t *ret_len,
		   enum query_source *ret_source)
{
	static const struct dnsmsg_ede malformed = { DNS_EDE_OTHER, "malformed query" };
	static const struct dnsmsg_ede unsupported = { DNS_EDE_NOT_SUPPORTED, NULL };
	const struct dnsmsg_ede *ede = &unsupported;
	unsigned rcode = (unsigned)verdict;
	enum query_source source = QUERY_FROM_UNSUPPORTED;

	if (verdict == DNSMSG_FORMERR) {
		ede = &malformed;
		source = QUERY_FROM_MALFORMED;
	} else if (verdict == DNSMSG_OK && is_meta_type(q->qtype)) {
		rcode = DNS_RCODE_NOTIMP;
	} else if (verdict == DNSMSG_OK) {
		return false;
	}
	count(c, METRIC_queries_malformed);
	*ret_source = source;
	*ret_len = dnsmsg_error(q, rcode, ede, buf, limit);
	return true;
}

/* RFC 7828: a TCP client that asks how long it may be idle is told. */
static void set_keepalive(const struct query_context *c, const struct query_origin *origin,
			  struct dnsmsg_query *q)
{
	uint64_t units = c->config->limits->tcp_idle_timeout_ms / KEEPALIVE_UNIT;

	if (q->wants_keepalive && (origin->way == QUERY_BY_TCP || origin->way == QUERY_BY_TLS)) {
		q->keepalive = (uint16_t)(units > UINT16_MAX ? UINT16_MAX : units);
	}
}

/* A question of ours that others have brought back goes nowhere: the reply, or 0. */
static size_t answer_loop(struct query_context *c, const struct query_origin *origin,
			  const struct dnsmsg_query *q, size_t limit, uint8_t *buf)
{
	struct trail_place place;
	char client[ADDR_TEXT_MAX];

	if (q->trail.count == 0 ||
	    !trail_find(&q->trail, c->trail_key, q->question, q->question_len, &place)) {
		return 0;
	}
	group_note_loop(groups_get(c->fetcher.groups, place.group), place.server,
			querylog_client(c->config->log, origin->client, client));
	count(c, METRIC_answers_failed);
	return dnsmsg_error(q, DNS_RCODE_SERVFAIL, &loop_ede, buf, limit);
}

static void note_miss(struct query_context *c, const struct query_draft *draft)
{
	if (draft->verbatim) {
		count(c, METRIC_queries_signed);
	} else {
		count(c, draft->is_expired ? METRIC_cache_expired : METRIC_cache_misses);
	}
}

enum query_step query_try(struct query_context *c, const struct query_origin *origin,
			  const uint8_t *msg, size_t len, struct query_draft *ret_draft,
			  uint8_t *buf, size_t cap, size_t *ret_len)
{
	struct dnsmsg_query *q = &ret_draft->question;
	enum dnsmsg_verdict verdict = dnsmsg_parse_query(msg, len, q);
	enum query_source source = QUERY_FROM_CACHE;
	enum query_step step;
	size_t limit;

	if (verdict == DNSMSG_DROP) {
		count(c, METRIC_queries_dropped);
		return QUERY_DROPPED;
	}
	limit = reply_limit(q, origin->way, cap);
	if (limit_rate(c, origin, q, limit, buf, ret_len, &step)) {
		return step;
	}
	set_keepalive(c, origin, q);
	q->pad_reply = q->is_padded && query_way_is_encrypted(origin->way);
	ret_draft->is_expired = false;
	ret_draft->verbatim = q->is_signed ? msg : NULL;
	ret_draft->verbatim_len = len;
	if (!refuse(c, verdict, q, limit, buf, ret_len, &source)) {
		init_key(c, ret_draft);
		if (q->is_signed || !answer_from_cache(c, ret_draft, limit, buf, cap, ret_len)) {
			source = QUERY_FROM_LOCAL;
			if (!answer_special(c, ret_draft, origin->way, limit, buf, ret_len)) {
				note_miss(c, ret_draft);
				*ret_len = answer_loop(c, origin, q, limit, buf);
				if (*ret_len == 0) {
					return QUERY_PENDING;
				}
				source = QUERY_FROM_FAILED;
			}
		}
	}
	note_reply(c, origin, q, buf, *ret_len, source, 0);
	return QUERY_ANSWERED;
}

/* --- open queries ---------------------------------------------------------------------------- */

void query_context_hold(struct query_context *c)
{
	c->open_count++;
}

void query_context_release(struct query_context *c)
{
	if (--c->open_count == 0) {
		c->on_idle(c);
	}
}

static void open_query(struct query *query)
{
	query_context_hold(query->context);
	metrics_add(query->context->metrics, METRIC_queries_open_now, 1);
}

/* The query is over: out of the count. */
static void close_query(struct query *query)
{
	struct query_context *c = query->context;

	timer_stop(&query->stale_timer);
	metrics_add(c->metrics, METRIC_queries_open_now, -1);
	query_context_release(c);
}

static void log_reply(struct query *query, const uint8_t *reply, size_t len,
		      enum query_source source)
{
	struct query_context *c = query->context;
	const struct query_origin origin = { &query->client, query->way };

	note_reply(c, &origin, &query->draft.question, reply, len, source,
		   loop_now_ms(c->loop) - query->started_ms);
}

/* The reply is in the context's message. */
static void finish(struct query *query, size_t len, enum query_source source)
{
	struct query_context *c = query->context;

	log_reply(query, c->message, len, source);
	close_query(query);
	query->done(query, c->message, len);
}

/* --- stale answers, failures ----------------------------------------------------------------- */

/* From what has expired; its length, or 0. */
static size_t answer_stale(struct query *query, uint8_t *buf, size_t cap)
{
	struct query_context *c = query->context;
	const struct dnsmsg_query *q = &query->draft.question;
	struct dnsmsg_ede ede = { DNS_EDE_STALE_ANSWER, "no server answers" };
	const struct dnsmsg_ede *why = &ede;
	struct cache_result result;
	enum cache_outcome outcome;

	if (c->config->cache->serve_stale_ms == 0) {
		return 0;
	}
	outcome = cache_get_stale(c->cache, &query->draft.key, loop_now_ms(c->loop),
				  c->config->cache->serve_stale_ms, buf, cap, &result);
	if (outcome == CACHE_MISS) {
		return 0;
	}
	if (outcome == CACHE_HIT) {
		why = dnsmsg_reason_ede(&result.reason, &ede);
	} else if ((buf[3] & DNSMSG_RCODE) == DNS_RCODE_NXDOMAIN) {
		ede.code = DNS_EDE_STALE_NXDOMAIN;
	}
	count(c, METRIC_cache_stale);
	return dnsmsg_answer(buf, result.len, q, why, reply_limit(q, query->way, cap));
}

/* What the client is told when there is no answer: the server's own reason if it gave one. */
static struct dnsmsg_ede failure_ede(enum upstream_outcome outcome,
				     const struct dnsmsg_reason *reason)
{
	struct dnsmsg_ede own = { .text = upstream_outcome_name(outcome) };

	if (reason && reason->is_set) {
		own.code = reason->code;
		own.text = reason->text[0] ? reason->text : own.text;
		return own;
	}
	switch (outcome) {
	case UPSTREAM_MALFORMED:
		own.code = DNS_EDE_INVALID_DATA;
		break;
	case UPSTREAM_TIMEOUT:
	case UPSTREAM_UNREACHABLE:
		own.code = DNS_EDE_NO_REACHABLE_AUTHORITY;
		break;
	default:
		own.code = DNS_EDE_OTHER;
		break;
	}
	return own;
}

static void on_answer(struct inflight_waiter *waiter, const struct inflight_answer *answer)
{
	struct query *query = container_of(waiter, struct query, waiter);
	struct query_context *c = query->context;
	const struct dnsmsg_query *q = &query->draft.question;
	size_t limit = reply_limit(q, query->way, DNSMSG_MAX);
	enum upstream_outcome outcome =
		answer ? (enum upstream_outcome)answer->outcome : UPSTREAM_OVERLOAD;
	struct dnsmsg_ede ede;
	size_t len;

	if (outcome == UPSTREAM_ANSWER) {
		memcpy(c->message, answer->msg, answer->len);
		count(c, METRIC_answers);
		finish(query,
		       dnsmsg_answer(c->message, answer->len, q,
				     dnsmsg_reason_ede(&answer->reason, &ede), limit),
		       QUERY_FROM_UPSTREAM);
		return;
	}
	len = answer_stale(query, c->message, DNSMSG_MAX);
	if (len > 0) {
		finish(query, len, QUERY_FROM_STALE);
		return;
	}
	ede = failure_ede(outcome, answer ? &answer->reason : NULL);
	count(c, METRIC_answers_failed);
	finish(query,
	       dnsmsg_error(q, answer ? answer->rcode : DNS_RCODE_SERVFAIL, &ede, c->message,
			    limit),
	       QUERY_FROM_FAILED);
}

/* The client has waited long enough; the fetch goes on and serves the next. */
static void on_stale_timer(struct timer *timer)
{
	struct query *query = container_of(timer, struct query, stale_timer);
	struct query_context *c = query->context;
	size_t len = answer_stale(query, c->message, DNSMSG_MAX);

	if (len > 0) {
		inflight_leave(c->fetcher.inflight, &query->waiter);
		finish(query, len, QUERY_FROM_STALE);
	}
}

static void on_loading_timer(struct timer *timer);

/* What a client that waits for a server may be given meanwhile. Without memory for the timer it
 * waits a little longer. */
static void start_timer(struct query *query, bool is_loading)
{
	struct query_context *c = query->context;

	if (query->draft.is_expired && c->config->cache->serve_stale_ms > 0) {
		(void)timer_start(&query->stale_timer, c->loop,
				  query->started_ms + QUERY_STALE_TIMER_MS, on_stale_timer);
	} else if (!query->draft.is_expired && is_loading) {
		(void)timer_start(&query->stale_timer, c->loop,
				  loop_now_ms(c->loop) + QUERY_LOADING_TIMER_MS, on_loading_timer);
	}
}

/* The cache is filling from its file: look again. */
static void on_loading_timer(struct timer *timer)
{
	struct query *query = container_of(timer, struct query, stale_timer);
	struct query_context *c = query->context;
	size_t limit = reply_limit(&query->draft.question, query->way, DNSMSG_MAX);
	/* Asked first, so that the last look is after the end. */
	bool is_loading = cachekeeper_is_loading(c->keeper);
	size_t len;

	if (answer_from_cache(c, &query->draft, limit, c->message, DNSMSG_MAX, &len)) {
		inflight_leave(c->fetcher.inflight, &query->waiter);
		finish(query, len, QUERY_FROM_CACHE);
	} else {
		start_timer(query, is_loading);
	}
}

/* When this question failed a moment ago, the reply to that, or 0: then ask. */
static size_t answer_known_failure(struct query *query, uint8_t *buf, size_t cap)
{
	struct query_context *c = query->context;
	const struct query_draft *draft = &query->draft;
	struct dnsmsg_ede ede = { DNS_EDE_CACHED_ERROR, NULL };
	struct failure failure;
	enum failures_state state =
		failures_find(c->fetcher.failures, draft->key.hash, loop_now_ms(c->loop), &failure);
	size_t len = 0;

	if (state == FAILURES_NONE) {
		return 0;
	}
	if (draft->is_expired) {
		len = answer_stale(query, buf, cap);
	}
	if (len > 0) {
		if (state == FAILURES_RECENT) {
			fetch_refresh(&c->fetcher, &draft->question, &draft->key);
		}
		log_reply(query, buf, len, QUERY_FROM_STALE);
	} else if (state == FAILURES_FRESH) {
		ede.text = upstream_outcome_name((enum upstream_outcome)failure.outcome);
		len = dnsmsg_error(&draft->question, failure.rcode, &ede, buf,
				   reply_limit(&draft->question, query->way, cap));
		log_reply(query, buf, len, QUERY_FROM_LATELY);
	}
	if (len > 0) {
		count(c, METRIC_failures_known);
	}
	return len;
}

/* Why an open question could not even be sent. */
static size_t answer_unsent(struct query *query, enum fetch_step step, uint8_t *buf, size_t cap)
{
	static const struct dnsmsg_ede overload = { DNS_EDE_OTHER, "too many open queries" };
	static const struct dnsmsg_ede nobody = { DNS_EDE_NO_REACHABLE_AUTHORITY, "no upstream" };
	const struct dnsmsg_query *q = &query->draft.question;
	const struct dnsmsg_ede *ede = step == FETCH_NOBODY ? &nobody
				       : step == FETCH_LOOP ? &loop_ede
							    : &overload;
	size_t len;

	count(query->context, ede == &overload ? METRIC_queries_overload : METRIC_answers_failed);
	len = dnsmsg_error(q, DNS_RCODE_SERVFAIL, ede, buf, reply_limit(q, query->way, cap));
	log_reply(query, buf, len, ede == &overload ? QUERY_FROM_OVERLOAD : QUERY_FROM_FAILED);
	return len;
}

/* --- signed queries -------------------------------------------------------------------------- */

/* The message goes to the client as it came; only the id is the client's. Too long a one would have
 * to be cut, which the signature does not survive. */
static size_t copy_signed(struct query *query, const uint8_t *msg, size_t len)
{
	const struct dnsmsg_query *q = &query->draft.question;
	uint8_t *buf = query->context->message;
	size_t limit = reply_limit(q, query->way, DNSMSG_MAX);

	if (len > limit) {
		return dnsmsg_truncated(q, buf, limit);
	}
	memcpy(buf, msg, len);
	dnsmsg_set_id(buf, q->id);
	return len;
}

static void on_signed_answer(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			     const struct dnsreply *reply)
{
	struct query *query = arg;
	struct query_context *c = query->context;
	const struct dnsmsg_query *q = &query->draft.question;
	struct dnsmsg_ede ede;

	query->exchange = NULL;
	if (outcome == UPSTREAM_ANSWER) {
		count(c, METRIC_answers);
		finish(query, copy_signed(query, msg, reply->end), QUERY_FROM_UPSTREAM);
		return;
	}
	ede = failure_ede(outcome, NULL);
	count(c, METRIC_answers_failed);
	finish(query,
	       dnsmsg_error(q, DNS_RCODE_SERVFAIL, &ede, c->message,
			    reply_limit(q, query->way, DNSMSG_MAX)),
	       QUERY_FROM_FAILED);
}

/* A signature covers the message, so nothing of it may change but the id (RFC 5625 section 4.5),
 * and the answer is for nobody else. It is sent once; who signs queries asks again. 0 when an
 * answer is waited for. */
static enum fetch_step pass_signed(struct query *query)
{
	struct query_context *c = query->context;
	const struct query_draft *draft = &query->draft;
	struct group *group = groups_get(c->fetcher.groups, draft->group);
	const struct upstream_question question = {
		.query = &draft->question,
		.verbatim = draft->verbatim,
		.verbatim_len = draft->verbatim_len,
		.by_stream = query->way != QUERY_BY_UDP,
		.done = on_signed_answer,
		.arg = query,
	};
	int server = pool_choose(group_pool(group), 0, loop_now_ms(c->loop));

	if (c->open_count >= c->config->limits->max_outstanding ||
	    draft->verbatim_len > UPSTREAM_VERBATIM_MAX) {
		return FETCH_REFUSED;
	}
	if (group_find_asking(group, &draft->question) >= 0) {
		return FETCH_LOOP;
	}
	if (server < 0) {
		return FETCH_NOBODY;
	}
	query->exchange = upstream_ask(group->upstreams[server], &question);
	return query->exchange ? FETCH_WAITING : FETCH_REFUSED;
}

/* --- beginning and end ----------------------------------------------------------------------- */

/* As query_start(), with the query filled. */
static size_t wait_for_answer(struct query *query, uint8_t *buf, size_t cap)
{
	struct query_context *c = query->context;
	struct query_draft *draft = &query->draft;
	enum fetch_step step = FETCH_REFUSED;
	size_t len;

	if (c->open_count < c->config->limits->max_outstanding) {
		step = fetch_join(&c->fetcher, &draft->question, &draft->key, &query->waiter,
				  on_answer);
	}
	if (step == FETCH_CACHED &&
	    answer_from_cache(c, draft, reply_limit(&draft->question, query->way, cap), buf, cap,
			      &len)) {
		log_reply(query, buf, len, QUERY_FROM_CACHE);
		return len;
	}
	if (step != FETCH_WAITING) {
		len = draft->is_expired ? answer_stale(query, buf, cap) : 0;
		if (len > 0) {
			log_reply(query, buf, len, QUERY_FROM_STALE);
			return len;
		}
		return answer_unsent(query, step, buf, cap);
	}
	open_query(query);
	start_timer(query, cachekeeper_is_loading(c->keeper));
	return 0;
}

static void copy_draft(struct query_draft *to, const struct query_draft *from)
{
	dnsmsg_query_copy(&to->question, &from->question);
	cache_key_copy(&to->key, &from->key);
	to->is_expired = from->is_expired;
	to->group = from->group;
	to->verbatim = from->verbatim;
	to->verbatim_len = from->verbatim_len;
}

size_t query_start(struct query *query, struct query_context *c, const struct query_origin *origin,
		   const struct query_draft *draft, query_done_fn done, uint8_t *buf, size_t cap)
{
	size_t len;

	query->context = c;
	query->done = done;
	copy_draft(&query->draft, draft);
	query->client = *origin->client;
	query->way = origin->way;
	query->started_ms = loop_now_ms(c->loop);
	query->waiter = (struct inflight_waiter){ .port = NULL };
	query->stale_timer = (struct timer){ .loop = NULL };
	query->exchange = NULL;
	if (draft->verbatim) {
		enum fetch_step step = pass_signed(query);

		if (step != FETCH_WAITING) {
			return answer_unsent(query, step, buf, cap);
		}
		open_query(query);
		return 0;
	}
	len = answer_known_failure(query, buf, cap);
	return len > 0 ? len : wait_for_answer(query, buf, cap);
}

void query_cancel(struct query *query)
{
	exchange_forget(query->exchange, false);
	inflight_leave(query->context->fetcher.inflight, &query->waiter);
	close_query(query);
}
