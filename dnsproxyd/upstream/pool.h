/* SPDX-License-Identifier: ISC */
/*
 * The servers of a group, as far as choosing among them goes: how each is doing, the strategy, and
 * what all questions of the group share (whose turn it is, how many may still be sent twice).
 *
 * Pure. Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_POOL_H
#define DNSPROXYD_UPSTREAM_POOL_H

#include "common/dns/balance.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One question in so many may be sent a second time before the first can have failed; after an idle
 * time so many in a row, so that servers which all get slow are not asked twice as much. */
#define POOL_HEDGE_COST 10
#define POOL_HEDGES_MAX 10

/* All-zero but for pool_init() is a group without servers. */
struct pool {
	enum balance_strategy strategy;
	uint32_t timeout_ms; /* of one send */
	size_t count;
	struct balance_entry entries[BALANCE_SERVERS_MAX]; /* open_count is kept by the owner */
	uint32_t streams;      /* a mask: servers that are asked by a stream, which loses nothing */
	uint32_t turn;         /* questions so far */
	uint32_t hedge_credit; /* in parts of a hedge, POOL_HEDGE_COST make one */
};

void pool_init(struct pool *pool);

/* A question begins: it has a turn of its own, and makes room for some hedging. */
void pool_begin_question(struct pool *pool);

/* The index of the server to ask, none of those in the mask `skip`; -1 when none is left. */
int pool_choose(const struct pool *pool, uint32_t skip, uint64_t now_ms);

/* The index of a server that this question should be spent on besides (see balance_trial()), or
 * -1. */
int pool_choose_trial(const struct pool *pool, uint32_t skip, uint64_t now_ms);

/* Whether a question may be sent a second time before the first can have failed; if so, that is
 * counted. */
bool pool_take_hedge(struct pool *pool);

static inline const struct health *pool_health(const struct pool *pool, unsigned server)
{
	return pool->entries[server].health;
}

static inline bool pool_is_stream(const struct pool *pool, unsigned server)
{
	return pool->streams >> server & 1;
}

#endif
