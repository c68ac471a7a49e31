/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/fetch.h"

#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <stdlib.h>

enum {
	SPARE_MAX = 256,
};

struct fetch {
	struct fetcher *fetcher;
	struct fetch *next;
	struct fetch *prev;
	struct inflight_question *question;
	const struct cache_key *key; /* the question's */
	unsigned generation;
	struct forward forward;
	struct deferred deferred;
	struct dnsmsg_query query;
};

static void count(struct fetcher *f, enum dnsproxyd_metric metric)
{
	metrics_add(f->metrics, metric, 1);
}

void fetcher_init(struct fetcher *f)
{
	f->spare = (struct freelist){ .object_bytes = sizeof(struct fetch), .keep_max = SPARE_MAX };
}

static void enlist(struct fetch **first, struct fetch *fetch)
{
	fetch->prev = NULL;
	fetch->next = *first;
	if (fetch->next) {
		fetch->next->prev = fetch;
	}
	*first = fetch;
}

static void delist(struct fetch **first, struct fetch *fetch)
{
	*(fetch->prev ? &fetch->prev->next : first) = fetch->next;
	if (fetch->next) {
		fetch->next->prev = fetch->prev;
	}
}

void fetcher_done(struct fetcher *f)
{
	for (struct fetch *fetch = f->ended; fetch; fetch = fetch->next) {
		fetch->fetcher = NULL;
	}
	freelist_clear(&f->spare);
}

/* At the end of the turn, which may have been the fetcher's last. */
static void give_back(struct deferred *deferred)
{
	struct fetch *fetch = container_of(deferred, struct fetch, deferred);
	struct fetcher *f = fetch->fetcher;

	if (!f) {
		free(fetch);
		return;
	}
	delist(&f->ended, fetch);
	freelist_give(&f->spare, fetch);
}

/* Out of the list, told to all who wait. Takes ownership of answer. */
static void end_fetch(struct fetch *fetch, struct inflight_answer *answer)
{
	struct fetcher *f = fetch->fetcher;

	delist(&f->first, fetch);
	f->count--;
	enlist(&f->ended, fetch);
	loop_free_later(f->loop, &fetch->deferred, give_back);
	inflight_finish(f->inflight, fetch->question, f->port, answer);
}

/* Whom to ask. */
static struct group *group_of(const struct fetcher *f, const struct cache_key *key)
{
	return groups_get(f->groups, cache_key_group(key));
}

/* It asks servers that a reload has replaced. What they say is for those who wait; the number of
 * their group may mean others now. */
static bool is_of_the_past(const struct fetch *fetch)
{
	return fetch->generation != fetch->fetcher->generation;
}

/* --- what came ------------------------------------------------------------------------------- */

static uint32_t seconds(uint64_t ms)
{
	return (uint32_t)(ms / 1000);
}

struct cache_ttls fetch_cache_ttls(const struct cache_params *params)
{
	return (struct cache_ttls){
		.min_s = seconds(params->min_ttl_ms),
		.max_s = seconds(params->max_ttl_ms),
		.negative_max_s = seconds(params->negative_max_ttl_ms),
	};
}

static void keep(struct fetch *fetch, const struct dnsreply *reply,
		 const struct dnsreply_body *body)
{
	struct fetcher *f = fetch->fetcher;
	const struct cache_ttls ttls = fetch_cache_ttls(f->config->cache);
	const struct cache_answer answer = {
		.msg = f->message,
		.len = body->len,
		.ttl_offsets = body->ttl_offsets,
		.ttl_count = body->ttl_count,
		.ttl_s = body->ttl_s,
		.negative = reply->kind != DNSREPLY_POSITIVE,
		.reason = &reply->reason,
	};

	if (reply->kind != DNSREPLY_OTHER && reply->kind != DNSREPLY_TRUNCATED && body->ttl_s > 0) {
		/* What cannot be kept is asked again next time. */
		(void)cache_put(f->cache, fetch->key, &answer, &ttls, loop_now_ms(f->loop));
	}
}

/* Whether it was an answer that clients can use. */
static bool take_answer(struct fetch *fetch, const uint8_t *msg, const struct dnsreply *reply)
{
	struct fetcher *f = fetch->fetcher;
	const struct cache_key *key = fetch->key;
	struct inflight_answer *answer;
	struct dnsreply_body body;

	if (dnsreply_normalize(msg, reply, fetch->query.dnssec_ok, f->message, DNSMSG_MAX, &body) <
	    0) {
		return false;
	}
	if (!is_of_the_past(fetch)) {
		keep(fetch, reply, &body);
		failures_forget(f->failures, key->hash, cache_key_group(key), loop_now_ms(f->loop));
	}
	answer = inflight_answer_new(UPSTREAM_ANSWER, reply->rcode, f->message, body.len);
	if (answer) {
		answer->reason = reply->reason;
	}
	end_fetch(fetch, answer);
	return true;
}

/* OVERLOAD and CANCELLED are our own doing and say nothing about the question. */
static void note_failure(struct fetch *fetch, enum upstream_outcome outcome, unsigned rcode)
{
	struct fetcher *f = fetch->fetcher;
	const struct cache_key *key = fetch->key;
	const struct failure failure = {
		.group = cache_key_group(key),
		.unreached = outcome == UPSTREAM_TIMEOUT || outcome == UPSTREAM_UNREACHABLE,
		.outcome = (uint8_t)outcome,
		.rcode = (uint8_t)(rcode & DNSMSG_RCODE),
	};

	if (outcome != UPSTREAM_OVERLOAD && outcome != UPSTREAM_CANCELLED &&
	    !is_of_the_past(fetch)) {
		failures_note(f->failures, key->hash, &failure, f->config->cache->failure_ttl_ms,
			      loop_now_ms(f->loop));
	}
}

static void on_forwarded(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
			 const struct dnsreply *reply)
{
	struct fetch *fetch = arg;
	unsigned rcode = DNS_RCODE_SERVFAIL;
	struct inflight_answer *answer;

	if (outcome == UPSTREAM_ANSWER) {
		if (take_answer(fetch, msg, reply)) {
			return;
		}
		outcome = UPSTREAM_MALFORMED;
	}
	if (outcome == UPSTREAM_ERROR) {
		rcode = reply->rcode;
	}
	note_failure(fetch, outcome, rcode);
	answer = inflight_answer_new((int)outcome, rcode, NULL, 0);
	if (answer && outcome == UPSTREAM_ERROR) {
		answer->reason = reply->reason;
	}
	end_fetch(fetch, answer);
}

/* --- beginning ------------------------------------------------------------------------------- */

/* Close a question that we lead, from within a call that must not call back. */
static void close_question(struct fetcher *f, struct inflight_waiter *waiter,
			   struct inflight_question *question, struct inflight_answer *answer)
{
	inflight_leave(f->inflight, waiter);
	inflight_finish(f->inflight, question, NULL, answer);
}

/* Whether the question is one of our own that came back; whoever asks it would wait for itself. */
static bool is_loop(const struct fetcher *f, const struct dnsmsg_query *query,
		    const struct cache_key *key)
{
	struct group *group = group_of(f, key);
	int server = group_find_asking(group, query);

	if (server < 0) {
		return false;
	}
	group_note_loop(group, (unsigned)server, "-");
	return true;
}

/* Take over a question that we lead. -EAGAIN when too many are open, -ENOENT when there is no
 * server, -ENOMEM; then it is closed again. */
static int start(struct fetcher *f, const struct dnsmsg_query *query, const struct cache_key *key,
		 struct inflight_waiter *waiter, struct inflight_question *question)
{
	struct fetch *fetch = NULL;
	int r = -EAGAIN;

	if (f->count < f->config->limits->max_outstanding) {
		fetch = freelist_take(&f->spare);
		r = -ENOMEM;
	}
	if (fetch) {
		fetch->fetcher = f;
		dnsmsg_query_copy(&fetch->query, query);
		fetch->key = inflight_question_key(question);
		fetch->question = question;
		fetch->generation = f->generation;
		r = forward_start(&fetch->forward, group_of(f, key), &fetch->query, on_forwarded,
				  fetch);
		if (r < 0) {
			freelist_give(&f->spare, fetch);
			fetch = NULL;
		}
	}
	if (!fetch) {
		close_question(f, waiter, question,
			       inflight_answer_new(UPSTREAM_OVERLOAD, DNS_RCODE_SERVFAIL, NULL, 0));
		return r;
	}
	enlist(&f->first, fetch);
	f->count++;
	return 0;
}

/* Between our look into the cache and our taking the lead another worker may have finished the same
 * question. Then the question is closed again, with that answer. */
static bool is_cached_now(struct fetcher *f, const struct cache_key *key,
			  struct inflight_waiter *waiter, struct inflight_question *question)
{
	struct inflight_answer *answer;
	struct cache_result result;

	if (cache_get(f->cache, key, loop_now_ms(f->loop), f->message, DNSMSG_MAX, &result) !=
	    CACHE_HIT) {
		return false;
	}
	answer = inflight_answer_new(UPSTREAM_ANSWER, DNS_RCODE_NOERROR, f->message, result.len);
	if (answer) {
		answer->reason = result.reason;
	}
	close_question(f, waiter, question, answer);
	return true;
}

enum fetch_step fetch_join(struct fetcher *f, const struct dnsmsg_query *query,
			   const struct cache_key *key, struct inflight_waiter *waiter,
			   inflight_fn fn)
{
	struct inflight_question *question;

	if (is_loop(f, query, key)) {
		return FETCH_LOOP;
	}
	switch (inflight_join(f->inflight, key, f->generation, f->port,
			      f->config->limits->max_waiting_per_question, waiter, fn, &question)) {
	case INFLIGHT_FOLLOWS:
		count(f, METRIC_queries_coalesced);
		return FETCH_WAITING;
	case INFLIGHT_CROWDED:
	case INFLIGHT_FAILED:
		return FETCH_REFUSED;
	case INFLIGHT_LEADS:
		break;
	}
	if (is_cached_now(f, key, waiter, question)) {
		return FETCH_CACHED;
	}
	switch (start(f, query, key, waiter, question)) {
	case 0:
		return FETCH_WAITING;
	case -ENOENT:
		return FETCH_NOBODY;
	default:
		return FETCH_REFUSED;
	}
}

void fetch_refresh(struct fetcher *f, const struct dnsmsg_query *query, const struct cache_key *key)
{
	struct inflight_waiter nobody = { .port = NULL };
	struct inflight_question *question;

	if (!is_loop(f, query, key) &&
	    inflight_open(f->inflight, key, f->generation, &question) == INFLIGHT_LEADS &&
	    start(f, query, key, &nobody, question) == 0) {
		count(f, METRIC_refreshes);
	}
}

static void cancel(struct fetch *fetch)
{
	forward_cancel(&fetch->forward);
	end_fetch(fetch, inflight_answer_new(UPSTREAM_CANCELLED, DNS_RCODE_SERVFAIL, NULL, 0));
}

void fetch_cancel_all(struct fetcher *f)
{
	while (f->first) {
		cancel(f->first);
	}
}

void fetch_cancel_old(struct fetcher *f)
{
	struct fetch *fetch = f->first;

	while (fetch) {
		/* Those that begin meanwhile are put before it. */
		struct fetch *next = fetch->next;

		if (is_of_the_past(fetch)) {
			cancel(fetch);
		}
		fetch = next;
	}
}
