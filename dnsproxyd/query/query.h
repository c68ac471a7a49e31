/* SPDX-License-Identifier: ISC */
/*
 * The life of a client's question: parse, look into the cache, else wait for the answer from
 * upstream, reply. Knows nothing of sockets: the fronts bring messages and take replies.
 *
 * Two steps, so that a cache hit costs no memory: query_try() answers from what is at hand, and
 * only when it cannot does the front set up a struct query of its own and call query_start().
 *
 * Answers that have expired (RFC 8767): while their question fails they are used at once, else
 * after QUERY_STALE_TIMER_MS without an answer, or when there is none.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_QUERY_QUERY_H
#define DNSPROXYD_QUERY_QUERY_H

#include "common/loop.h"
#include "common/metrics.h"

#include "dnsproxyd/cache/cache.h"
#include "dnsproxyd/cache/cachekeeper.h"
#include "dnsproxyd/config.h"
#include "dnsproxyd/message/dnsmsg.h"
#include "dnsproxyd/query/client_counts.h"
#include "dnsproxyd/query/fetch.h"
#include "dnsproxyd/query/ratelimit.h"

/* The client response timer of RFC 8767 section 5. */
#define QUERY_STALE_TIMER_MS   1800

/* How often a question that waits is looked up again while the cache is filling from its file. */
#define QUERY_LOADING_TIMER_MS 50

/* What the queries of one worker share. Made and kept current by server.c. */
struct query_context {
	struct loop *loop;
	struct metrics *metrics;
	struct cache *cache;                /* shared by all workers */
	const struct cachekeeper *keeper;   /* the same; NULL: it has no file */
	struct ratelimit *ratelimit;        /* the same */
	const struct crypto_key *trail_key; /* the same: of our marks, see trail.h */
	const struct config *config;
	struct fetcher fetcher;
	struct client_counts *tcp_clients; /* connections of this worker */
	size_t open_count; /* queries between query_start() and their end, and holds */
	uint8_t *message;  /* room for one message, DNSMSG_MAX bytes, for one call at a time */
	void (*on_idle)(struct query_context *context); /* the last open query has ended */
};

/* By what a question comes, with its word in the query log. */
#define QUERY_WAYS(X) \
	X(UDP, "udp") \
	X(TCP, "tcp") \
	X(TLS, "tls") \
	X(HTTPS, "https")

enum query_way {
#define X(name, token) QUERY_BY_##name,
	QUERY_WAYS(X)
#undef X
};

/* Whether nobody on the way reads along. */
static inline bool query_way_is_encrypted(enum query_way way)
{
	return way == QUERY_BY_TLS || way == QUERY_BY_HTTPS;
}

/* Who asks, and by what. */
struct query_origin {
	const struct addr *client;
	enum query_way way;
};

/* A question, understood. */
struct query_draft {
	struct dnsmsg_query question;
	struct cache_key key;
	bool is_expired; /* the cache has an answer, but too old */
	uint8_t group;   /* whom to ask: index of the configuration's groups */
	/* Of a signed query the message, borrowed until query_start() has returned; else NULL. */
	const uint8_t *verbatim;
	size_t verbatim_len;
};

enum query_step {
	QUERY_DROPPED,  /* deserves no reply */
	QUERY_ANSWERED, /* the reply is in the buffer */
	QUERY_PENDING,  /* go on with query_start(); the draft is filled */
};

/* Answer at once if possible. The reply goes to buf (at least DNSMSG_UDP_MIN bytes) and is at most
 * cap bytes, and for UDP at most what the client takes. */
enum query_step query_try(struct query_context *context, const struct query_origin *origin,
			  const uint8_t *msg, size_t len, struct query_draft *ret_draft,
			  uint8_t *buf, size_t cap, size_t *ret_len);

struct query;

/* The reply, valid during the call; the query has ended and may be freed. Called once, never from
 * within query_start(). */
typedef void (*query_done_fn)(struct query *query, const uint8_t *reply, size_t len);

/* An open question; embedded by the front, which owns it. */
struct query {
	struct query_context *context;
	query_done_fn done;
	struct query_draft draft;
	struct addr client;
	enum query_way way;
	uint64_t started_ms;
	struct inflight_waiter waiter;
	struct timer stale_timer;
	struct exchange *exchange; /* of a signed query; NULL: it is over */
};

/* Wait for the answer from upstream. When there is one at hand after all, or this cannot even begin
 * (too many are open, no server), the reply is written to buf and its length returned, and the
 * query has ended; otherwise 0. */
size_t query_start(struct query *query, struct query_context *context,
		   const struct query_origin *origin, const struct query_draft *draft,
		   query_done_fn done, uint8_t *buf, size_t cap);

/* The client is gone; done is not called. */
void query_cancel(struct query *query);

/* Something else that is to end before the context counts as idle, and its end. */
void query_context_hold(struct query_context *context);
void query_context_release(struct query_context *context);

#endif
