/* SPDX-License-Identifier: ISC */
/*
 * Choosing one of several servers that can all do the same. Those that are down come last, whatever
 * the strategy: they are chosen when no other is left.
 *
 * Pure. Thread: any.
 */
#ifndef COMMON_DNS_BALANCE_H
#define COMMON_DNS_BALANCE_H

#include "common/dns/health.h"

#include <stddef.h>
#include <stdint.h>

/* X(NAME, "word"), in the order of the words in configurations. */
#define BALANCE_STRATEGIES(X)                                                 \
	X(FASTEST, "fastest")       /* least round-trip time */               \
	X(FAILOVER, "failover")     /* the first that is up */                \
	X(ROUNDROBIN, "roundrobin") /* in turn */                             \
	X(LEASTCONN, "leastconn")   /* fewest open questions, then in turn */ \
	X(RACE, "race")             /* several at once, fastest first */

enum balance_strategy {
#define X(name, word) BALANCE_##name,
	BALANCE_STRATEGIES(X)
#undef X
};

#define BALANCE_SERVERS_MAX 32 /* what a mask can hold */

/* For the strategies that go by speed, how often a server that is not chosen is measured. */
#define BALANCE_SAMPLE_MS   30000

struct balance_entry {
	const struct health *health;
	uint32_t open_count; /* questions it has not answered yet */
};

/* The index of the server to ask, or -1 when all are in `skip` (a mask of indices). `turn` counts
 * the choices, so that they go round. */
int balance_choose(enum balance_strategy strategy, const struct balance_entry *entries,
		   size_t count, uint32_t skip, uint32_t turn, uint64_t now_ms);

/* The index of a server that one question should be spent on besides the chosen one, to learn
 * whether it is back or how fast it is; or -1. Never one in `skip`. */
int balance_trial(enum balance_strategy strategy, const struct balance_entry *entries, size_t count,
		  uint32_t skip, uint64_t now_ms);

#endif
