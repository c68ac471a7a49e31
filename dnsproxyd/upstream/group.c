/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/group.h"

#include "common/container.h"
#include "common/log.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- one group ------------------------------------------------------------------------------- */

struct pool *group_pool(struct group *g)
{
	for (size_t i = 0; i < g->pool.count; i++) {
		g->pool.entries[i].open_count = upstream_open_count(g->upstreams[i]);
	}
	return &g->pool;
}

int group_find_asking(const struct group *g, const struct dnsmsg_query *query)
{
	for (size_t i = 0; i < g->pool.count; i++) {
		if (upstream_is_asking(g->upstreams[i], query)) {
			return (int)i;
		}
	}
	return -1;
}

void group_note_loop(struct group *g, unsigned server, const char *client)
{
	char text[ENDPOINT_TEXT_MAX];

	metrics_add(g->metrics, METRIC_loops, 1);
	/* A reload may have taken it away meanwhile. */
	if (server < g->pool.count && upstream_should_log_loop(g->upstreams[server])) {
		log_event(LOG_LEVEL_WARNING, "forwarding-loop", KV_TEXT("group", g->name),
			  KV_TEXT("server",
				  endpoint_format(upstream_endpoint(g->upstreams[server]), text)),
			  KV_TEXT("back-from", client));
	}
}

static void group_done(struct group *g)
{
	task_cancel(&g->doubt_task);
	for (size_t i = 0; i < g->pool.count; i++) {
		upstream_free(g->upstreams[i]);
	}
	g->pool.count = 0;
}

/* One connection was silent for too long. When the way to all servers has changed, without a trace
 * on this machine, the others are as dead; waiting for each in turn would take longer than clients
 * wait. So those on which nothing was heard either are given up as well. */
static void doubt_streams(struct task *task)
{
	struct group *g = container_of(task, struct group, doubt_task);

	for (size_t i = 0; i < g->pool.count; i++) {
		upstream_doubt_streams(g->upstreams[i], g->silent_since_ms);
	}
}

static void on_silence(void *arg, uint64_t since_ms)
{
	struct group *g = arg;
	uint64_t now_ms = loop_now_ms(g->loop);

	/* All who waited on it tell; what has been connected since then is new. */
	if (g->doubted_ms != 0 && now_ms - g->doubted_ms < GROUP_DOUBT_MS) {
		return;
	}
	g->doubted_ms = now_ms;
	g->silent_since_ms = since_ms;
	loop_run_task(g->loop, &g->doubt_task, doubt_streams);
}

static void group_add(struct group *g, struct upstream *upstream)
{
	size_t i = g->pool.count++;

	g->upstreams[i] = upstream;
	g->pool.entries[i] = (struct balance_entry){ .health = upstream_health(upstream) };
	if (endpoint_is_stream(upstream_endpoint(upstream))) {
		g->pool.streams |= UINT32_C(1) << i;
	}
}

/* 0 or -errno; the group must be given to group_done() in any case. */
static int group_init(struct group *g, const struct config *config, unsigned index,
		      const struct crypto_key *trail_key)
{
	const struct group_config *group_config = &config->groups[index];

	for (size_t i = 0; i < group_config->server_count; i++) {
		const struct upstream_config upstream_config = {
			.loop = g->loop,
			.metrics = g->metrics,
			.endpoint = group_config->servers[i],
			.timeout_ms = group_config->timeout_ms,
			.max_open = (uint32_t)config->limits->max_outstanding,
			.randomize_case = config->privacy->randomize_case,
			.padding = config->privacy->padding,
			.group = group_config,
			.trail_key = trail_key,
			.place = { (uint8_t)index, (uint8_t)i },
			.on_silence = on_silence,
			.on_silence_arg = g,
		};

		struct upstream *upstream = upstream_new(&upstream_config);

		if (!upstream) {
			return -errno;
		}
		group_add(g, upstream);
	}
	return 0;
}

static bool group_fits(const struct group *g, const struct group_config *group_config)
{
	if (g->has_proxy != group_config->has_proxy ||
	    (g->has_proxy && !socks_proxy_equal(&g->proxy, &group_config->proxy))) {
		return false;
	}
	if (g->pool.count != group_config->server_count ||
	    g->pool.timeout_ms != group_config->timeout_ms) {
		return false;
	}
	for (size_t i = 0; i < g->pool.count; i++) {
		const struct endpoint *server = &group_config->servers[i];

		/* Whom to believe is read from files anew with each configuration. */
		if (!endpoint_equal(upstream_endpoint(g->upstreams[i]), server) ||
		    endpoint_has_tls(server)) {
			return false;
		}
	}
	return true;
}

static void group_report(const struct group *g, unsigned worker_index)
{
	static const char *const states[] = { "up", "due", "down" };

	for (size_t i = 0; i < g->pool.count; i++) {
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
	g->pool.strategy = group_config->strategy;
}

/* The same server in other groups: the one of that name, or else any. NULL when there is none. */
static const struct upstream *find_upstream(const struct groups *groups, const char *name,
					    const struct endpoint *endpoint)
{
	const struct upstream *found = NULL;

	for (size_t i = 0; i < groups->count; i++) {
		const struct group *g = &groups->items[i];
		bool same_name = strcmp(g->name, name) == 0;

		for (size_t k = 0; k < g->pool.count && (same_name || !found); k++) {
			if (endpoint_equal(upstream_endpoint(g->upstreams[k]), endpoint)) {
				found = g->upstreams[k];
				if (same_name) {
					return found;
				}
			}
		}
	}
	return found;
}

static void group_inherit(struct group *g, const struct groups *old)
{
	for (size_t i = 0; i < g->pool.count; i++) {
		const struct upstream *from =
			find_upstream(old, g->name, upstream_endpoint(g->upstreams[i]));

		if (from) {
			upstream_inherit(g->upstreams[i], from);
		}
	}
}

struct groups *groups_new(struct loop *loop, struct metrics *metrics, const struct config *config,
			  const struct crypto_key *trail_key, const struct groups *old)
{
	struct groups *groups = calloc(1, sizeof *groups);
	int r = groups ? 0 : -ENOMEM;

	if (groups) {
		groups->max_open = (uint32_t)config->limits->max_outstanding;
		groups->randomize_case = config->privacy->randomize_case;
		groups->padding = config->privacy->padding;
		groups->items = calloc(config->group_count, sizeof *groups->items);
		r = groups->items ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < config->group_count; i++) {
		struct group *g = &groups->items[groups->count++];

		*g = (struct group){ .loop = loop,
				     .metrics = metrics,
				     .has_proxy = config->groups[i].has_proxy,
				     .proxy = config->groups[i].proxy };
		pool_init(&g->pool);
		g->pool.timeout_ms = config->groups[i].timeout_ms;
		adopt(g, &config->groups[i]);
		r = group_init(g, config, (unsigned)i, trail_key);
		if (old) {
			group_inherit(g, old);
		}
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
	    groups->randomize_case != config->privacy->randomize_case ||
	    groups->padding != config->privacy->padding) {
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

		for (size_t k = 0; k < g->pool.count; k++) {
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
