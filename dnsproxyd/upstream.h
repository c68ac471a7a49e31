/* SPDX-License-Identifier: ISC */
/*
 * One server that we ask, as one worker sees it: sends a client's question to it under an id of our
 * own and judges what comes back. Remembers for some minutes that a server cannot do EDNS, and for
 * some seconds that it does not answer.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_H
#define DNSPROXYD_UPSTREAM_H

#include "common/addr.h"
#include "common/loop.h"
#include "common/metrics.h"

#include "dnsproxyd/dnsmsg.h"
#include "dnsproxyd/dnsreply.h"

/* What asking a server came to: X(name, "token"). */
#define UPSTREAM_OUTCOMES(X)                                                              \
	X(ANSWER, "answer") /* something a client can use */                              \
	X(ERROR, "error")   /* SERVFAIL, REFUSED and the like: another server may know */ \
	X(MALFORMED, "malformed")                                                         \
	X(TIMEOUT, "timeout")                                                             \
	X(UNREACHABLE, "unreachable")                                                     \
	X(OVERLOAD, "overload") /* too many queries are open: not the server's fault */   \
	X(CANCELLED, "cancelled")

#define UPSTREAM_ENUM(name, token) UPSTREAM_##name,
enum upstream_outcome {
	UPSTREAM_OUTCOMES(UPSTREAM_ENUM)
};
#undef UPSTREAM_ENUM

const char *upstream_outcome_name(enum upstream_outcome outcome);

struct upstream;
struct exchange;

/* msg and reply are set for ANSWER and ERROR only, and valid during the call. */
typedef void (*upstream_done_fn)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
				 const struct dnsreply *reply);

/* Returns owned, or NULL with errno. */
struct upstream *upstream_new(struct loop *loop, struct metrics *metrics, const struct addr *server,
			      uint32_t timeout_ms, uint32_t max_open);

/* Open exchanges end with CANCELLED, at once. Not from within a done callback. NULL is fine. */
void upstream_free(struct upstream *upstream);

/* Ask what the query asks; it is copied. done is called once, never from within this call, unless
 * the exchange is forgotten first. Returns NULL when out of memory or ids. */
struct exchange *upstream_ask(struct upstream *upstream, const struct dnsmsg_query *query,
			      upstream_done_fn done, void *arg);

/* The answer is not wanted any more; done is not called. NULL is fine. */
void exchange_forget(struct exchange *exchange);

/* Whether the server has lately not answered; then others come first. */
bool upstream_is_down(const struct upstream *upstream, uint64_t now_ms);

const struct addr *upstream_addr(const struct upstream *upstream);

#endif
