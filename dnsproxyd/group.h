/* SPDX-License-Identifier: ISC */
/*
 * The upstream servers of one worker: groups of servers that can stand for each other, each with a
 * strategy (common/balance.h), and which group is asked about which names.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_GROUP_H
#define DNSPROXYD_GROUP_H

#include "common/balance.h"

#include "dnsproxyd/config.h"
#include "dnsproxyd/upstream.h"

#include <stdbool.h>

/* One [upstream NAME]. */
struct group {
	struct loop *loop;
	struct metrics *metrics;
	const char *name; /* of the configuration; for logs */
	enum balance_strategy strategy;
	uint32_t timeout_ms;
	size_t count;
	struct upstream *upstreams[CONFIG_SERVERS_MAX];
	uint32_t turn;         /* questions so far */
	uint32_t hedge_credit; /* in tenths of a hedge, see group_take_hedge() */
};

struct groups {
	struct group *items; /* at least one; the first is for what no [forward] names */
	size_t count;
	uint32_t max_open; /* of each server */
	bool randomize_case;
};

/* The servers of this configuration. Borrows config until groups_update() or groups_free(). Returns
 * owned, or NULL with errno. */
struct groups *groups_new(struct loop *loop, struct metrics *metrics, const struct config *config);

/* Open questions end with CANCELLED. Not from within a done callback. NULL is fine. */
void groups_free(struct groups *groups);

/* The group with this index of the configuration. */
struct group *groups_get(const struct groups *groups, unsigned index);

/* Whether these are what the configuration asks for; if so, borrow from it from now on. */
bool groups_adopt(struct groups *groups, const struct config *config);

/* The network has changed: see upstream_note_network(). */
void groups_note_network(struct groups *groups);

/* Log one line about each server. */
void groups_report(const struct groups *groups, unsigned worker_index);

/* --- one group ------------------------------------------------------------------------------- */

/* A question begins: it has a turn of its own, and makes room for some hedging. */
void group_begin_question(struct group *group);

/* The index of the server to ask, none of those in the mask `skip`; -1 when none is left. */
int group_choose(const struct group *group, uint32_t skip);

/* The index of a server that this question should be spent on besides (see balance_trial()), or
 * -1. */
int group_choose_trial(const struct group *group, uint32_t skip);

/* Whether a question may be sent a second time before the first can have failed. One in ten may,
 * after an idle time a few more, so that servers which all get slow are not asked twice as much. */
bool group_take_hedge(struct group *group);

/* Whether the query is one of our own that came back. */
bool group_is_asking(const struct group *group, const struct dnsmsg_query *query);

#endif
