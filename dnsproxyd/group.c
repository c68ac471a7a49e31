/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/group.h"

#include "common/log.h"

#include <errno.h>
#include <stdlib.h>

enum {
	HEDGE_COST = 10,        /* a hedge for ten questions */
	HEDGE_CREDIT_MAX = 100, /* ten of them in a row */
};

/* --- one group ------------------------------------------------------------------------------- */

static size_t group_entries(const struct group *g, struct balance_entry entries[CONFIG_SERVERS_MAX])
{
	for (size_t i = 0; i < g->count; i++) {
		entries[i].health = upstream_health(g->upstreams[i]);
		entries[i].open_count = upstream_open_count(g->upstreams[i]);
	}
	return g->count;
}

void group_begin_question(struct group *g)
{
	g->turn++;
	if (g->hedge_credit < HEDGE_CREDIT_MAX) {
		g->hedge_credit++;
	}
}

int group_choose(const struct group *g, uint32_t skip)
{
	struct balance_entry entries[CONFIG_SERVERS_MAX];

	return balance_choose(g->strategy, entries, group_entries(g, entries), skip, g->turn,
			      loop_now_ms(g->loop));
}

int group_choose_trial(const struct group *g, uint32_t skip)
{
	struct balance_entry entries[CONFIG_SERVERS_MAX];

	return balance_trial(g->strategy, entries, group_entries(g, entries), skip,
			     loop_now_ms(g->loop));
}

bool group_take_hedge(struct group *g)
{
	if (g->hedge_credit < HEDGE_COST) {
		return false;
	}
	g->hedge_credit -= HEDGE_COST;
	return true;
}

bool group_is_asking(const struct group *g, const struct dnsmsg_query *query)
{
	for (size_t i = 0; i < g->count; i++) {
		if (upstream_is_asking(g->upstreams[i], query)) {
			return true;
		}
	}
	return false;
}

static void group_done(struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		upstream_free(g->upstreams[i]);
	}
	g->count = 0;
}

/* 0 or -errno; the group must be given to group_done() in any case. */
static int group_init(struct group *g, const struct config *config,
		      const struct group_config *group_config)
{
	for (size_t i = 0; i < group_config->server_count; i++) {
		const struct upstream_config upstream_config = {
			.loop = g->loop,
			.metrics = g->metrics,
			.endpoint = group_config->servers[i],
			.timeout_ms = group_config->timeout_ms,
			.max_open = (uint32_t)config->limits->max_outstanding,
			.randomize_case = config->privacy->randomize_case,
		};

		g->upstreams[i] = upstream_new(&upstream_config);
		if (!g->upstreams[i]) {
			return -errno;
		}
		g->count++;
	}
	return 0;
}

static bool group_fits(const struct group *g, const struct group_config *group_config)
{
	if (g->count != group_config->server_count || g->timeout_ms != group_config->timeout_ms) {
		return false;
	}
	for (size_t i = 0; i < g->count; i++) {
		if (!endpoint_equal(upstream_endpoint(g->upstreams[i]),
				    &group_config->servers[i])) {
			return false;
		}
	}
	return true;
}

static void group_report(const struct group *g, unsigned worker_index)
{
	static const char *const states[] = { "up", "due", "down" };

	for (size_t i = 0; i < g->count; i++) {
		const struct upstream *u = g->upstreams[i];
		const struct health *health = upstream_health(u);
		const struct upstream_stats *stats = upstream_stats(u);
		char text[ENDPOINT_TEXT_MAX];

		log_event(LOG_LEVEL_NOTICE, "upstream-counters", KV_UINT("worker", worker_index),
			  KV_TEXT("group", g->name),
			  KV_TEXT("server", endpoint_format(upstream_endpoint(u), text)),
			  KV_TEXT("state", states[health_state(health, loop_now_ms(g->loop))]),
			  KV_UINT("sends", stats->sends), KV_UINT("answers", stats->answers),
			  KV_UINT("errors", stats->errors), KV_UINT("failures", stats->failures),
			  KV_UINT("by-tcp", stats->by_tcp),
			  KV_UINT("dropped", upstream_dropped_count(u)),
			  KV_UINT("open", upstream_open_count(u)),
			  KV_UINT("rtt-ms", health_rtt_ms(health)),
			  KV_UINT("p95-ms", health_p95_ms(health, 0)));
	}
}

/* --- all of them ----------------------------------------------------------------------------- */

/* What may change without the servers being others. */
static void adopt(struct group *g, const struct group_config *group_config)
{
	g->name = group_config->name;
	g->strategy = group_config->strategy;
}

struct groups *groups_new(struct loop *loop, struct metrics *metrics, const struct config *config)
{
	struct groups *groups = calloc(1, sizeof *groups);
	int r = groups ? 0 : -ENOMEM;

	if (groups) {
		groups->max_open = (uint32_t)config->limits->max_outstanding;
		groups->randomize_case = config->privacy->randomize_case;
		groups->items = calloc(config->group_count, sizeof *groups->items);
		r = groups->items ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < config->group_count; i++) {
		struct group *g = &groups->items[groups->count++];

		*g = (struct group){ .loop = loop,
				     .metrics = metrics,
				     .timeout_ms = config->groups[i].timeout_ms,
				     .hedge_credit = HEDGE_CREDIT_MAX };
		adopt(g, &config->groups[i]);
		r = group_init(g, config, &config->groups[i]);
	}
	if (r < 0) {
		groups_free(groups);
		errno = -r;
		return NULL;
	}
	return groups;
}

void groups_free(struct groups *groups)
{
	if (groups) {
		for (size_t i = 0; i < groups->count; i++) {
			group_done(&groups->items[i]);
		}
		free(groups->items);
		free(groups);
	}
}

struct group *groups_get(const struct groups *groups, unsigned index)
{
	/* After a reload for which memory was short these may be fewer. */
	return &groups->items[index < groups->count ? index : 0];
}

bool groups_adopt(struct groups *groups, const struct config *config)
{
	if (groups->count != config->group_count ||
	    groups->max_open != config->limits->max_outstanding ||
	    groups->randomize_case != config->privacy->randomize_case) {
		return false;
	}
	for (size_t i = 0; i < groups->count; i++) {
		if (!group_fits(&groups->items[i], &config->groups[i])) {
			return false;
		}
	}
	for (size_t i = 0; i < groups->count; i++) {
		adopt(&groups->items[i], &config->groups[i]);
	}
	return true;
}

void groups_note_network(struct groups *groups)
{
	for (size_t i = 0; i < groups->count; i++) {
		struct group *g = &groups->items[i];

		for (size_t k = 0; k < g->count; k++) {
			upstream_note_network(g->upstreams[k]);
		}
	}
}

void groups_report(const struct groups *groups, unsigned worker_index)
{
	for (size_t i = 0; i < groups->count; i++) {
		group_report(&groups->items[i], worker_index);
	}
}
