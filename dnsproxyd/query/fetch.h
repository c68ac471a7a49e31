/* SPDX-License-Identifier: ISC */
/*
 * Getting an answer from upstream for all who wait for it, on whichever worker (see inflight.h).
 * The answer, normalized, goes into the cache, a failure into the memory of failures, and both to
 * those who wait. Once begun a fetch goes on to its end, also when nobody waits any more: what it
 * brings is good for the next who asks.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_QUERY_FETCH_H
#define DNSPROXYD_QUERY_FETCH_H

#include "common/freelist.h"
#include "common/metrics.h"

#include "dnsproxyd/cache/cache.h"
#include "dnsproxyd/cache/failures.h"
#include "dnsproxyd/config.h"
#include "dnsproxyd/query/inflight.h"
#include "dnsproxyd/upstream/forward.h"

struct fetch;

/* What the fetches of one worker share. Made and kept current by server.c. */
struct fetcher {
	struct loop *loop;
	struct metrics *metrics;
	const struct config *config;
	/* shared by all workers */
	struct cache *cache;
	struct inflight *inflight;
	struct failures *failures;
	struct inflight_port *port; /* this worker's */
	struct groups *groups;      /* of servers; the cache key says which */
	unsigned generation;        /* of the groups: goes up when they are others */
	uint8_t *message; /* room for one message, DNSMSG_MAX bytes, for one call at a time */
	struct fetch *first;
	struct fetch *ended; /* this turn */
	size_t count;
	struct freelist spare;
};

/* When the fields above `first` are filled, and after the end of all fetches. */
void fetcher_init(struct fetcher *fetcher);
void fetcher_done(struct fetcher *fetcher);

/* In struct inflight_answer: outcome is an enum upstream_outcome; for ANSWER msg is the normalized
 * message, else rcode is what the client is to be told, and `outcome` why. */

enum fetch_step {
	FETCH_WAITING, /* fn will be called, or inflight_leave() */
	FETCH_CACHED,  /* an answer has come into the cache just now */
	FETCH_REFUSED, /* too many fetches, or too many who wait for this one */
	FETCH_NOBODY,  /* there is no server to ask */
	FETCH_LOOP,    /* the question is one of our own that came back */
};

/* How long answers are kept. */
struct cache_ttls fetch_cache_ttls(const struct cache_params *params);

/* Wait for the answer to a question that is not in the cache; fetch it unless somebody does.
 * question and key are copied. */
enum fetch_step fetch_join(struct fetcher *fetcher, const struct dnsmsg_query *question,
			   const struct cache_key *key, struct inflight_waiter *waiter,
			   inflight_fn fn);

/* Fetch an answer that nobody waits for. */
void fetch_refresh(struct fetcher *fetcher, const struct dnsmsg_query *question,
		   const struct cache_key *key);

/* End all fetches with CANCELLED. */
void fetch_cancel_all(struct fetcher *fetcher);

/* The same, but only those of groups that are not the present ones: before such groups are freed.
 * One that waits to try again has no exchange open that would tell it. */
void fetch_cancel_old(struct fetcher *fetcher);

#endif
