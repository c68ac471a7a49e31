/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query.h"

#include "common/container.h"

#include "dnsproxyd/dnsreply.h"
#include "dnsproxyd/metrics.h"

#include <errno.h>

static void count(struct query_context *c, enum dnsproxyd_metric metric)
{
	metrics_add(c->metrics, metric, 1);
}

/* Largest reply. */
static size_t reply_limit(const struct dnsmsg_query *question, bool is_udp, size_t cap)
{
	size_t limit = is_udp ? dnsmsg_udp_limit(question, DNSMSG_UDP_PAYLOAD) : DNSMSG_MAX;

	return limit < cap ? limit : cap;
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

/* From the cache. False on a miss. */
static bool answer_from_cache(struct query_context *c, struct query_draft *draft, size_t limit,
			      uint8_t *buf, size_t cap, size_t *ret_len)
{
	struct cache_result result;

	switch (cache_get(c->cache, &draft->key, loop_now_ms(c->loop), buf, cap, &result)) {
	case CACHE_HIT:
		count(c, METRIC_cache_hits);
		*ret_len = dnsmsg_answer(buf, result.len, &draft->question, NULL, limit);
		return true;
	case CACHE_EXPIRED:
		count(c, METRIC_cache_expired);
		return false;
	case CACHE_MISS:
		break;
	}
	count(c, METRIC_cache_misses);
	return false;
}

enum query_step query_try(struct query_context *c, const uint8_t *msg, size_t len, bool is_udp,
			  struct query_draft *ret_draft, uint8_t *buf, size_t cap, size_t *ret_len)
{
	struct dnsmsg_query *q = &ret_draft->question;
	enum dnsmsg_verdict verdict = dnsmsg_parse_query(msg, len, q);
	size_t limit;

	if (verdict == DNSMSG_DROP) {
		count(c, METRIC_queries_dropped);
		return QUERY_DROPPED;
	}
	limit = reply_limit(q, is_udp, cap);
	if (verdict != DNSMSG_OK) {
		count(c, METRIC_queries_malformed);
		*ret_len = dnsmsg_error(q, (unsigned)verdict, NULL, buf, limit);
		return QUERY_ANSWERED;
	}
	if (q->is_signed) {
		/* A signature covers the message; we ask with a message of our own (RFC 5625
		 * section 4.5). */
		static const struct dnsmsg_ede ede = { DNS_EDE_OTHER,
						       "signed queries are not forwarded" };

		count(c, METRIC_queries_malformed);
		*ret_len = dnsmsg_error(q, DNS_RCODE_REFUSED, &ede, buf, limit);
		return QUERY_ANSWERED;
	}
	init_key(c, ret_draft);
	return answer_from_cache(c, ret_draft, limit, buf, cap, ret_len) ? QUERY_ANSWERED
									 : QUERY_PENDING;
}

/* --- upstream -------------------------------------------------------------------------------- */

/* The query is over: out of the count. */
static void close_query(struct query *query)
{
	struct query_context *c = query->context;

	metrics_add(c->metrics, METRIC_queries_open_now, -1);
	if (--c->open_count == 0) {
		c->on_idle(c);
	}
}

static uint32_t seconds(uint64_t ms)
{
	return (uint32_t)(ms / 1000);
}

static void keep(struct query *query, const struct dnsreply *reply,
		 const struct dnsreply_body *body)
{
	struct query_context *c = query->context;
	const struct cache_params *params = c->config->cache;
	const struct cache_ttls ttls = {
		.min_s = seconds(params->min_ttl_ms),
		.max_s = seconds(params->max_ttl_ms),
		.negative_max_s = seconds(params->negative_max_ttl_ms),
	};
	const struct cache_answer answer = {
		.msg = c->message,
		.len = body->len,
		.ttl_offsets = body->ttl_offsets,
		.ttl_count = body->ttl_count,
		.ttl_s = body->ttl_s,
		.negative = reply->kind != DNSREPLY_POSITIVE,
	};

	if (reply->kind != DNSREPLY_OTHER && reply->kind != DNSREPLY_TRUNCATED && body->ttl_s > 0) {
		/* What cannot be kept is asked again next time. */
		(void)cache_put(c->cache, &query->draft.key, &answer, &ttls, loop_now_ms(c->loop));
	}
}

/* Make the client's reply of an upstream's; returns its length, 0 when the message is unusable. */
static size_t reply_with_answer(struct query *query, const uint8_t *msg,
				const struct dnsreply *reply)
{
	struct query_context *c = query->context;
	const struct dnsmsg_query *q = &query->draft.question;
	struct dnsreply_body body;

	if (dnsreply_normalize(msg, reply, q->dnssec_ok, c->message, DNSMSG_MAX, &body) < 0) {
		return 0;
	}
	keep(query, reply, &body);
	return dnsmsg_answer(c->message, body.len, q, NULL,
			     reply_limit(q, query->is_udp, DNSMSG_MAX));
}

static size_t reply_with_failure(struct query *query, enum upstream_outcome outcome, unsigned rcode)
{
	struct query_context *c = query->context;
	const struct dnsmsg_query *q = &query->draft.question;
	const struct dnsmsg_ede ede = {
		.code = outcome == UPSTREAM_MALFORMED ? DNS_EDE_INVALID_DATA
			: outcome == UPSTREAM_ERROR   ? DNS_EDE_OTHER
						      : DNS_EDE_NO_REACHABLE_AUTHORITY,
		.text = upstream_outcome_name(outcome),
	};

	count(c, METRIC_answers_failed);
	return dnsmsg_error(q, rcode, &ede, c->message, reply_limit(q, query->is_udp, DNSMSG_MAX));
}

static void on_forwarded(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			 const struct dnsreply *reply)
{
	struct query *query = arg;
	struct query_context *c = query->context;
	size_t len = 0;

	if (outcome == UPSTREAM_ANSWER) {
		len = reply_with_answer(query, msg, reply);
		if (len > 0) {
			count(c, METRIC_answers);
		}
	}
	if (len == 0) {
		len = reply_with_failure(
			query, outcome == UPSTREAM_ANSWER ? UPSTREAM_MALFORMED : outcome,
			outcome == UPSTREAM_ERROR ? reply->rcode : DNS_RCODE_SERVFAIL);
	}
	close_query(query);
	query->done(query, c->message, len);
}

/* Why an open question could not even be sent. */
static size_t reply_unsent(struct query_context *c, const struct dnsmsg_query *question, int error,
			   uint8_t *buf, size_t limit)
{
	static const struct dnsmsg_ede overload = { DNS_EDE_OTHER, "too many open queries" };
	static const struct dnsmsg_ede nobody = { DNS_EDE_NO_REACHABLE_AUTHORITY, "no upstream" };
	static const struct dnsmsg_ede loop = { DNS_EDE_OTHER, "forwarding loop" };
	const struct dnsmsg_ede *ede = error == -ENOENT  ? &nobody
				       : error == -ELOOP ? &loop
							 : &overload;

	count(c, ede == &overload ? METRIC_queries_overload : METRIC_answers_failed);
	return dnsmsg_error(question, DNS_RCODE_SERVFAIL, ede, buf, limit);
}

size_t query_start(struct query *query, struct query_context *c, const struct query_draft *draft,
		   bool is_udp, query_done_fn done, uint8_t *buf, size_t cap)
{
	int r = -EAGAIN;

	query->context = c;
	query->done = done;
	query->draft = *draft;
	query->is_udp = is_udp;
	if (c->open_count < c->config->limits->max_outstanding) {
		r = forward_start(&query->forward, groups_get(c->groups, draft->group),
				  &query->draft.question, on_forwarded, query);
	}
	if (r < 0) {
		return reply_unsent(c, &draft->question, r, buf,
				    reply_limit(&draft->question, is_udp, cap));
	}
	c->open_count++;
	metrics_add(c->metrics, METRIC_queries_open_now, 1);
	return 0;
}

void query_cancel(struct query *query)
{
	forward_cancel(&query->forward);
	close_query(query);
}
