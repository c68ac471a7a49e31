/* SPDX-License-Identifier: ISC */
/*
 * One question's way through the servers of a group: whom to ask, when to ask another, when to give
 * up. Decisions only: what is sent and heard is for the caller (forward.c).
 *
 * The strategy names the first server; one that is due for a trial (it was down, or its speed is
 * not known) is asked besides. A server that fails is followed by the next, untried ones first; one
 * that is slower than it was for 95 of 100 questions is followed by another while it may still
 * answer (a hedge). With `race` several are asked at once. The first answer a client can use wins;
 * SERVFAIL, REFUSED and the like are kept until nobody else can do better.
 *
 * Bounded, whatever happens: at most ATTEMPTS_SENDS_MAX messages (RFC 9520 section 3.1), those sent
 * again by TCP, without EDNS or on a new connection included, and ATTEMPTS_DEADLINE_MS in all, so
 * that a client hears from us before it gives up.
 *
 * How to use it: attempts_start(); then, and after each event that is reported, call
 * attempts_step() until it says WAIT or END, and do what it says each time.
 *
 * Pure. Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_ATTEMPTS_H
#define DNSPROXYD_UPSTREAM_ATTEMPTS_H

#include "dnsproxyd/upstream/outcome.h"
#include "dnsproxyd/upstream/pool.h"

#include <stdbool.h>
#include <stdint.h>

#define ATTEMPTS_SENDS_MAX             3
#define ATTEMPTS_DEADLINE_MS           4500

/* The second send, when nothing has come: to another server after the 95th percentile of the first
 * one's times, or this when it is not known; but not sooner than this, for loops have no finer
 * clock than 1 ms. */
#define ATTEMPTS_HEDGE_UNKNOWN_MS      300
#define ATTEMPTS_HEDGE_MIN_MS          20
/* To the same server, when there is no other: twice the percentile, and at least this: it may have
 * lost the message, but more likely it is slow. */
#define ATTEMPTS_REPEAT_MIN_MS         1200
/* To a server that is not there, and no other is. */
#define ATTEMPTS_REPEAT_AFTER_ERROR_MS 250

enum attempts_action {
	ATTEMPTS_SEND, /* to `server`, as number `index`; attempts_take_back() if it cannot be */
	ATTEMPTS_WAIT, /* for what comes, at most until wait_ms; then attempts_take_time() */
	ATTEMPTS_END,  /* with `outcome` */
};

/* Why something is sent; for counters. */
enum attempts_reason {
	ATTEMPTS_FIRST,
	ATTEMPTS_TRIAL, /* besides, to see how the server does */
	ATTEMPTS_RACE,
	ATTEMPTS_NEXT,   /* another has failed */
	ATTEMPTS_HEDGE,  /* another is slow */
	ATTEMPTS_RESEND, /* the same server wants to be asked otherwise */
};

struct attempts_step {
	enum attempts_action action;
	uint64_t wait_ms;
	enum upstream_outcome outcome;
	/* of SEND */
	enum attempts_reason reason;
	unsigned index;
	unsigned server; /* index in the pool */
	bool again;      /* this server was asked the same before, and has not answered */
	bool by_stream;
	bool is_trial; /* the server is down, or its speed is not known */
};

/* What is to be done next. */
enum attempts_want {
	ATTEMPTS_WANT_NOTHING,
	ATTEMPTS_WANT_FIRST,
	ATTEMPTS_WANT_TRIAL,
	ATTEMPTS_WANT_RACE,
	ATTEMPTS_WANT_NEXT,
	ATTEMPTS_WANT_HEDGE,
	ATTEMPTS_WANT_STREAM,
	ATTEMPTS_WANT_PLAIN,
};

struct attempts {
	struct pool *pool;
	uint64_t deadline_ms;
	uint64_t wake_ms;   /* when to send once more though somebody may still answer; 0: never */
	bool wake_is_retry; /* nobody can answer: that is a repetition, not a hedge */
	uint8_t servers[ATTEMPTS_SENDS_MAX]; /* of each send */
	bool open[ATTEMPTS_SENDS_MAX];       /* which may still be answered */
	unsigned sends;
	unsigned open_count;
	uint32_t asked;   /* servers, a mask */
	uint32_t refused; /* those of them that said they will not answer */
	uint32_t useless; /* those of them not to be asked again */
	enum attempts_want want;
	unsigned want_server;       /* of STREAM and PLAIN */
	enum upstream_outcome last; /* why there is no answer */
	bool ended;
};

/* Begin. The pool, of at least one server, is borrowed until the end. */
void attempts_start(struct attempts *attempts, struct pool *pool, uint64_t now_ms);

/* What to do now. */
struct attempts_step attempts_step(struct attempts *attempts, uint64_t now_ms);

/* --- events ---------------------------------------------------------------------------------- */

/* What step `index` said to send could not be sent. */
void attempts_take_back(struct attempts *attempts, unsigned index);

/* What came of send `index`; once for each. */
void attempts_take_outcome(struct attempts *attempts, unsigned index, enum upstream_outcome outcome,
			   uint64_t now_ms);

/* An answer was dropped that may have been meant well; a better one may never come. */
void attempts_take_doubt(struct attempts *attempts);

/* Time has passed. */
void attempts_take_time(struct attempts *attempts, uint64_t now_ms);

#endif
