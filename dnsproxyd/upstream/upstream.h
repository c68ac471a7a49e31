/* SPDX-License-Identifier: ISC */
/*
 * One server that we ask, as one worker sees it: sends a client's question to it under an id of our
 * own and judges what comes back. Keeps what is known of the server: its health
 * (common/dns/health.h), what it returns of our forgery defences (defence.h), for some minutes that
 * it cannot do EDNS, and counters.
 *
 * Every call of upstream_ask() sends one message; what must be sent again, because the answer was
 * truncated or the server choked on EDNS, is for the caller to send.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_UPSTREAM_H
#define DNSPROXYD_UPSTREAM_UPSTREAM_H

#include "common/dns/health.h"
#include "common/loop.h"
#include "common/metrics.h"

#include "dnsproxyd/config.h"
#include "dnsproxyd/message/dnsmsg.h"
#include "dnsproxyd/message/dnsreply.h"
#include "dnsproxyd/upstream/endpoint.h"
#include "dnsproxyd/upstream/outcome.h"

/* How long it is believed that a server cannot do EDNS. */
#define UPSTREAM_NO_EDNS_MS  300000

/* A connection that ends with a question open for so long ends because nothing comes. */
#define UPSTREAM_SILENCE_MS  500

/* How often it is logged that a server brings questions back. */
#define UPSTREAM_LOOP_LOG_MS 60000

const char *upstream_outcome_name(enum upstream_outcome outcome);

struct upstream;
struct exchange;

struct upstream_config {
	struct loop *loop;
	struct metrics *metrics;
	struct endpoint endpoint;
	uint32_t timeout_ms;
	uint32_t max_open;
	bool randomize_case;
	bool padding;                     /* of queries to an encrypted server */
	const struct group_config *group; /* that it belongs to; borrowed by upstream_new(), and may
					     be NULL, unless the server is encrypted */
	const struct crypto_key *trail_key; /* borrowed; NULL: questions get no marks (trail.h) */
	struct trail_place place;           /* which server this is, for marks */
	/* A connection on which nothing was heard since then was given up. Those who waited for
	 * answers on it are told at the end of the turn. Called from within anything. May be NULL.
	 */
	void (*on_silence)(void *arg, uint64_t since_ms);
	void *on_silence_arg;
};

/* This server's share of the counters. */
struct upstream_stats {
	uint64_t sends;
	uint64_t answers;
	uint64_t errors;
	uint64_t failures; /* timeouts, unreachable, malformed */
	uint64_t by_tcp;   /* answers */
};

/* Returns owned, or NULL with errno. */
struct upstream *upstream_new(const struct upstream_config *config);

/* Take over what another one knows of the same server: health, defences, EDNS, counters. */
void upstream_inherit(struct upstream *upstream, const struct upstream *from);

/* Open exchanges end with CANCELLED, at once. Not from within a done callback. NULL is fine. */
void upstream_free(struct upstream *upstream);

/* --- asking ---------------------------------------------------------------------------------- */

/* Longest message that is sent as it is. */
#define UPSTREAM_VERBATIM_MAX 4096

struct upstream_question {
	const struct dnsmsg_query *query; /* copied */
	/* Not NULL: a signed message, of which query is the question. It is sent as it is, with its
	 * own id if no open exchange has that one, and any message that comes for it is an ANSWER,
	 * of reply->end octets. */
	const uint8_t *verbatim;
	size_t verbatim_len;
	bool again; /* this server was asked the same before, and has not answered */
	bool by_stream;
	/* msg is set for ANSWER, reply for ANSWER and ERROR; both are valid during the call. Called
	 * once, never from within upstream_ask(), unless the exchange is forgotten first. */
	void (*done)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		     const struct dnsreply *reply);
	/* It may be wise not to wait: what came was dropped because the letters' case was wrong. */
	void (*doubtful)(void *arg);
	void *arg;
};

/* Send one message. Returns NULL when out of memory or ids. */
struct exchange *upstream_ask(struct upstream *upstream, const struct upstream_question *question);

/* The answer is not wanted any more; done is not called. Its effect on the server's health stays:
 * `answered` tells that another server has answered the question. NULL is fine. */
void exchange_forget(struct exchange *exchange, bool answered);

/* Give up its connections, unless something was heard on them since then: what waits for answers on
 * them ends with UNREACHABLE. From a task or timer only. */
void upstream_doubt_streams(struct upstream *upstream, uint64_t since_ms);

/* A server's ERROR was no fault of the question: another server has answered it. */
void upstream_note_refusal(struct upstream *upstream, const struct dnsmsg_query *query);

/* --- what is known of it --------------------------------------------------------------------- */

/* Borrowed; changes with time. */
const struct health *upstream_health(const struct upstream *upstream);

/* The question about to be asked is the trial of a server that was down, or a measurement. */
void upstream_begin_trial(struct upstream *upstream);

/* The network has changed: connections are closed, and what was known of the server's health is
 * forgotten, so that it is asked again at once. Not from within a done callback. */
void upstream_note_network(struct upstream *upstream);

/* Questions that it has not answered yet. */
uint32_t upstream_open_count(const struct upstream *upstream);

/* Whether a client's query is one of our own that has come back to us: the very question, letter
 * by letter, is open here, with the same id or in a random case that nobody hits by chance. */
bool upstream_is_asking(const struct upstream *upstream, const struct dnsmsg_query *query);

/* Borrowed. */
const struct endpoint *upstream_endpoint(const struct upstream *upstream);

/* Whether to log, now, that questions to this server come back: at most once in
 * UPSTREAM_LOOP_LOG_MS. */
bool upstream_should_log_loop(struct upstream *upstream);

/* Borrowed; changes with time. */
const struct upstream_stats *upstream_stats(const struct upstream *upstream);

/* Datagrams that came in the place of answers. */
uint64_t upstream_dropped_count(const struct upstream *upstream);

#endif
