/* SPDX-License-Identifier: ISC */
/*
 * Who waits for which question: one table for all workers, so that a question that many clients
 * ask at once goes upstream once. Two identical questions under way would double a forger's chances
 * (RFC 5452 section 5), and a page that a whole house opens would multiply the traffic.
 *
 * The first to ask leads: it sees to it that the answer is fetched and calls inflight_finish(),
 * come what may. All who asked, the leader's own client included, are waiters; each is told on its
 * own worker's thread. A waiter may leave at any time, and the leader's client too: the question
 * stays open until its leader finishes it.
 *
 * Questions are the same when their keys are, and the generation of the servers that are asked: who
 * asks after a reload does not wait for a server that it has taken away.
 *
 * Thread: any; the table is sharded by the key's hash, each shard behind a mutex. A port and its
 * waiters belong to one worker's thread.
 */
#ifndef DNSPROXYD_QUERY_INFLIGHT_H
#define DNSPROXYD_QUERY_INFLIGHT_H

#include "common/loop.h"

#include "dnsproxyd/cache/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inflight;
struct inflight_question; /* an open one, as its leader holds it */
struct inflight_port;     /* where a worker is told of answers */

/* What came of a question; shared by all who waited for it and not changed any more. */
struct inflight_answer {
	uint32_t references; /* private */
	int outcome;         /* both as the leader wants them understood */
	unsigned rcode;
	struct dnsmsg_reason reason; /* what the server gave as one; set by the leader */
	size_t len;                  /* of msg */
	uint8_t msg[];
};

/* Returns owned or NULL (out of memory). */
struct inflight *inflight_new(void);

/* All workers have ended. NULL is fine. */
void inflight_free(struct inflight *inflight);

/* A worker's place in the table, valid until inflight_free(). NULL when out of memory. */
struct inflight_port *inflight_port_new(struct inflight *inflight, struct loop *loop);

/* An answer to hand over; msg may be NULL with len 0. Returns owned, or NULL. */
struct inflight_answer *inflight_answer_new(int outcome, unsigned rcode, const uint8_t *msg,
					    size_t len);

struct inflight_waiter;

/* The answer, or NULL when there was no memory for one; valid during the call. */
typedef void (*inflight_fn)(struct inflight_waiter *waiter, const struct inflight_answer *answer);

/* One who waits; embedded by its owner. All-zero is one who does not. */
struct inflight_waiter {
	struct inflight_port *port; /* NULL while not waiting */
	struct inflight_waiter *next;
	struct inflight_waiter *prev;
	struct inflight_question *question; /* NULL once the answer is on its way; under the shard's
					       mutex */
	struct inflight_answer *answer;
	uint32_t shard;
	inflight_fn fn;
};

/* What is asked, valid until inflight_finish(). */
const struct cache_key *inflight_question_key(const struct inflight_question *question);

enum inflight_role {
	INFLIGHT_FOLLOWS, /* somebody leads already */
	INFLIGHT_LEADS,   /* *ret_question is the caller's to finish, on this thread */
	INFLIGHT_CROWDED, /* too many wait for this question */
	INFLIGHT_FAILED,  /* out of memory */
};

/* Wait for the answer to a question; unless the result is CROWDED or FAILED, fn is called once on
 * the port's thread, never from within this call, or inflight_leave() is. At most `limit` wait for
 * one question. */
enum inflight_role inflight_join(struct inflight *inflight, const struct cache_key *key,
				 unsigned generation, struct inflight_port *port, size_t limit,
				 struct inflight_waiter *waiter, inflight_fn fn,
				 struct inflight_question **ret_question);

/* Lead a question that nobody waits for yet. FOLLOWS when it is open already: nothing to do. */
enum inflight_role inflight_open(struct inflight *inflight, const struct cache_key *key,
				 unsigned generation, struct inflight_question **ret_question);

/* Wait no longer; fn is not called. Harmless when not waiting. */
void inflight_leave(struct inflight *inflight, struct inflight_waiter *waiter);

/* Close the question and tell all who wait for it: those on `port`, which is the leader's own,
 * before this returns; with NULL, all of them later. Takes ownership of answer, which may be NULL
 * (out of memory). A waiter that asks the same again from within fn finds the question closed. */
void inflight_finish(struct inflight *inflight, struct inflight_question *question,
		     struct inflight_port *port, struct inflight_answer *answer);

#endif
