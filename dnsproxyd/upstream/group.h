/* SPDX-License-Identifier: ISC */
/*
 * The upstream servers of one worker: groups of servers that can stand for each other, each with a
 * strategy (common/dns/balance.h), and which group is asked about which names.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_GROUP_H
#define DNSPROXYD_UPSTREAM_GROUP_H

#include "dnsproxyd/config.h"
#include "dnsproxyd/upstream/pool.h"
#include "dnsproxyd/upstream/upstream.h"

#include <stdbool.h>

/* When one connection was silent for too long, the others of the group are given up with it, but at
 * most once in this time. */
#define GROUP_DOUBT_MS 1000

/* One [upstream NAME]. */
struct group {
	struct loop *loop;
	struct metrics *metrics;
	const char *name; /* of the configuration; for logs */
	bool has_proxy;
	struct socks_proxy proxy;
	struct upstream *upstreams[CONFIG_SERVERS_MAX];
	struct task doubt_task;
	uint64_t silent_since_ms;
	uint64_t doubted_ms; /* when connections were last given up so; 0: never */
	struct pool pool;    /* of these upstreams; group_pool() brings it up to date */
};

struct groups {
	struct group *items; /* at least one; the first is for what no [forward] names */
	size_t count;
	uint32_t max_open; /* of each server */
	bool randomize_case;
	bool padding;
};

/* The servers of this configuration. Borrows config until groups_adopt() or groups_free(). What
 * `old` (may be NULL) knows of servers that stay is known here too; its open questions are not
 * touched. trail_key (trail.h) is borrowed for ever; NULL: no marks. Returns owned, or NULL with
 * errno. */
struct groups *groups_new(struct loop *loop, struct metrics *metrics, const struct config *config,
			  const struct crypto_key *trail_key, const struct groups *old);

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

/* The servers as they are now, for decisions. */
struct pool *group_pool(struct group *group);

/* Which server was sent this query, if it is one of our own that came back (upstream_is_asking());
 * -1: it is not. */
int group_find_asking(const struct group *group, const struct dnsmsg_query *query);

/* A question that was sent to this server has come back from a client, whose name for the log is
 * given: count it, and log it now and then. */
void group_note_loop(struct group *group, unsigned server, const char *client);

#endif
