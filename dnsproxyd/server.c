/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/server.h"

#include "common/container.h"
#include "common/crypto.h"
#include "common/daemon/ports.h"
#include "common/netwatch.h"

#include "dnsproxyd/cache/cache.h"
#include "dnsproxyd/cache/cachekeeper.h"
#include "dnsproxyd/cache/cachestore.h"
#include "dnsproxyd/cache/failures.h"
#include "dnsproxyd/config.h"
#include "dnsproxyd/front/certwatch.h"
#include "dnsproxyd/front/front_tcp.h"
#include "dnsproxyd/front/front_udp.h"
#include "dnsproxyd/metrics.h"
#include "dnsproxyd/query/client_counts.h"
#include "dnsproxyd/query/inflight.h"
#include "dnsproxyd/query/query.h"
#include "dnsproxyd/query/ratelimit.h"
#include "dnsproxyd/upstream/group.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* What all workers share. */
struct shared {
	struct cache *cache;
	struct inflight *inflight;
	struct failures *failures;
	struct ratelimit *ratelimit;
	struct crypto_key trail_key;
	struct cachekeeper *keeper; /* NULL: the cache is not saved */
};

/* One worker's part. */
struct server {
	struct query_context context;
	struct service *service;
	struct worker *worker;
	struct ports ports;
	struct groups *old_groups;
	struct shared *shared;
	struct netwatch *netwatch;   /* NULL: changes of the network are not seen */
	struct certwatch *certwatch; /* the first worker's */
	bool draining;
	uint8_t message[DNSMSG_MAX];
};

/* --- ports ----------------------------------------------------------------------------------- */

static void *open_port(struct port *port, int fd)
{
	struct server *server = port->owner;

	return port->want.type == SOCK_STREAM
		       ? (void *)front_tcp_new(&server->context, fd, &port->want.addr)
		       : (void *)front_udp_new(&server->context, fd, &port->want.addr);
}

static void close_port(struct port *port)
{
	if (port->want.type == SOCK_STREAM) {
		front_tcp_free(port->front);
	} else {
		front_udp_free(port->front);
	}
}

static const struct ports_ops ports_ops = { .open = open_port, .close = close_port };

/* Tell every front who may ask it. */
static void set_clients(struct server *server)
{
	for (const struct port *port = server->ports.first; port; port = port->next) {
		const struct listen_config *listen =
			config_find_listen(server->context.config, &port->want.addr);
		const struct netset *clients = listen ? &listen->params->clients : NULL;

		if (port->want.type == SOCK_STREAM) {
			front_tcp_set_clients(port->front, clients, listen ? listen->tls : NULL,
					      listen && listen->params->protocol == LISTEN_HTTPS);
		} else {
			front_udp_set_clients(port->front, clients);
		}
	}
}

static int update_ports(struct server *server)
{
	int r = ports_update(&server->ports, service_sockets(server->service),
			     server->worker->index);

	set_clients(server);
	return r;
}

/* --- upstream servers ------------------------------------------------------------------------ */

/* Those of the configuration before the last stay for the queries that wait for them; two reloads
 * in quick succession end these. */
static void drop_old_groups(struct server *server)
{
	if (server->old_groups) {
		fetch_cancel_old(&server->context.fetcher);
		groups_free(server->old_groups);
		server->old_groups = NULL;
	}
}

/* Ask the servers of this configuration from now on. */
static int update_groups(struct server *server, const struct config *config)
{
	struct fetcher *f = &server->context.fetcher;
	struct groups *groups;

	if (f->groups && groups_adopt(f->groups, config)) {
		return 0;
	}
	groups = groups_new(f->loop, f->metrics, config, &server->shared->trail_key, f->groups);
	if (!groups) {
		return -errno;
	}
	drop_old_groups(server);
	server->old_groups = f->groups;
	f->groups = groups;
	f->generation++;
	return 0;
}

/* --- the network ----------------------------------------------------------------------------- */

/* Each worker takes care of its own connections, the first one of what all share. */
static void on_network(void *arg)
{
	struct server *server = arg;
	const struct fetcher *f = &server->context.fetcher;

	groups_note_network(f->groups);
	if (server->worker->index != 0) {
		return;
	}
	metrics_add(f->metrics, METRIC_network_changes, 1);
	log_event(LOG_LEVEL_INFO, "network-changed", KV_TEXT("cache", "expired"));
	for (unsigned group = 0; group <= UINT8_MAX; group++) {
		cache_expire_group(f->cache, (uint8_t)group, loop_now_ms(f->loop));
	}
	failures_forgive(f->failures, loop_now_ms(f->loop));
}

/* As the configuration wants it. One can do without. */
static void update_netwatch(struct server *server)
{
	bool is_wanted = server->context.config->server->watch_network;

	if (!is_wanted) {
		netwatch_free(server->netwatch);
		server->netwatch = NULL;
	} else if (!server->netwatch) {
		server->netwatch = netwatch_new(server->worker->loop, on_network, server);
		if (!server->netwatch && server->worker->index == 0) {
			log_event(LOG_LEVEL_WARNING, "network-not-watched",
				  KV_ERRNO("error", errno));
		}
	}
}

/* --- keeping the cache ----------------------------------------------------------------------- */

/* The first worker does it. */
static struct cachekeeper *keeper_of(const struct server *server)
{
	return server->worker->index == 0 ? server->shared->keeper : NULL;
}

static int start_keeping(struct server *server)
{
	struct cachekeeper *keeper = keeper_of(server);

	return keeper ? cachekeeper_start(keeper, server->worker->loop,
					  service_helpers(server->service))
		      : 0;
}

/* --- a worker's life ------------------------------------------------------------------------- */

static void on_idle(struct query_context *context)
{
	struct server *server = container_of(context, struct server, context);

	if (server->draining) {
		service_worker_drained(server->service, server->worker);
	}
}

static void worker_end(struct worker *worker)
{
	struct server *server = worker->state;

	if (keeper_of(server)) {
		cachekeeper_stop(keeper_of(server));
	}
	netwatch_free(server->netwatch);
	certwatch_free(server->certwatch);
	ports_done(&server->ports);
	fetch_cancel_all(&server->context.fetcher);
	client_counts_free(server->context.tcp_clients);
	drop_old_groups(server);
	groups_free(server->context.fetcher.groups);
	fetcher_done(&server->context.fetcher);
	free(server);
	worker->state = NULL;
}

/* By the first worker: have the certificates of this configuration loaded when they change. */
static void watch_certificates(struct server *server, const struct config *config)
{
	if (server->worker->index != 0) {
		return;
	}
	if (!server->certwatch) {
		server->certwatch =
			certwatch_new(server->worker->loop, service_helpers(server->service));
	}
	if (!server->certwatch || certwatch_set(server->certwatch, config) < 0) {
		log_event(LOG_LEVEL_WARNING, "certificates-not-watched", KV_ERRNO("error", ENOMEM));
	}
}

static void set_config(struct server *server, const struct config *config)
{
	server->context.config = config;
	server->context.fetcher.config = config;
}

/* What the worker's queries need. 0 or -ENOMEM. */
static int init_context(struct server *server, const struct shared *shared)
{
	struct worker *worker = server->worker;
	struct crypto_key key;

	crypto_random(&key, sizeof key);
	server->context.tcp_clients = client_counts_new(&key);
	server->context.fetcher = (struct fetcher){
		.loop = worker->loop,
		.metrics = worker->metrics,
		.cache = shared->cache,
		.inflight = shared->inflight,
		.failures = shared->failures,
		.port = inflight_port_new(shared->inflight, worker->loop),
		.message = server->message,
	};
	fetcher_init(&server->context.fetcher);
	return server->context.fetcher.port && server->context.tcp_clients ? 0 : -ENOMEM;
}

static int worker_begin(struct service *service, struct worker *worker, void *state,
			const void *config)
{
	struct server *server = calloc(1, sizeof *server);
	struct shared *shared = state;
	int r;

	if (!server) {
		return -ENOMEM;
	}
	worker->state = server;
	server->service = service;
	server->shared = shared;
	server->worker = worker;
	server->context = (struct query_context){
		.loop = worker->loop,
		.metrics = worker->metrics,
		.cache = shared->cache,
		.keeper = shared->keeper,
		.ratelimit = shared->ratelimit,
		.trail_key = &shared->trail_key,
		.message = server->message,
		.on_idle = on_idle,
	};
	ports_init(&server->ports, &ports_ops, server);
	r = init_context(server, shared);
	r = r < 0 ? r : update_groups(server, config);
	set_config(server, config);
	r = r < 0 ? r : update_ports(server);
	r = r < 0 ? r : start_keeping(server);
	if (r < 0) {
		worker_end(worker);
	} else {
		update_netwatch(server);
		watch_certificates(server, config);
	}
	return r;
}

static void worker_reload(struct worker *worker, const void *config)
{
	struct server *server = worker->state;
	int r = update_groups(server, config);

	/* First: a save that begins in between has the new names with the old numbers, and sees
	 * that the cache was emptied meanwhile. */
	if (keeper_of(server)) {
		cachekeeper_update(keeper_of(server), config);
	}
	/* The groups' numbers are part of the keys. */
	if (!config_same_upstreams(server->context.config, config)) {
		cache_flush(server->context.cache);
		failures_clear(server->context.fetcher.failures);
	}
	set_config(server, config);
	update_netwatch(server);
	watch_certificates(server, config);
	if (r == 0) {
		r = update_ports(server);
	} else {
		set_clients(server);
	}
	if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "reload-incomplete", KV_UINT("worker", worker->index),
			  KV_ERRNO("error", -r));
	}
}

static void worker_report(struct worker *worker)
{
	const struct server *server = worker->state;

	groups_report(server->context.fetcher.groups, worker->index);
}

static void worker_drain(struct worker *worker)
{
	struct server *server = worker->state;

	server->draining = true;
	for (const struct port *port = server->ports.first; port; port = port->next) {
		if (port->want.type == SOCK_STREAM) {
			front_tcp_stop(port->front);
		} else {
			front_udp_stop(port->front);
		}
	}
	if (server->context.open_count == 0) {
		service_worker_drained(server->service, worker);
	}
}

/* --- the daemon's life ----------------------------------------------------------------------- */

static int list_sockets(const void *arg, struct listen_want **ret_wants, size_t *ret_count)
{
	const struct config *config = arg;
	return listens_sockets(&config->listens, ret_wants, ret_count);
}

static void state_free(void *state)
{
	struct shared *shared = state;

	cachekeeper_free(shared->keeper);
	cache_free(shared->cache);
	inflight_free(shared->inflight);
	failures_free(shared->failures);
	ratelimit_free(shared->ratelimit);
	free(shared);
}

/* Returns owned, or NULL with errno. */
static struct shared *shared_new(const struct config *config)
{
	const struct cache_ttls ttls = fetch_cache_ttls(config->cache);
	struct shared *shared = calloc(1, sizeof *shared);
	const char *file = config->cache->file;
	struct crypto_key cache_key;
	struct crypto_key key;

	if (!shared) {
		return NULL;
	}
	/* Answers are put into the cache on one thread and freed on another. With an arena of
	 * malloc() for each, what one frees would be of no use to the others, and resident memory
	 * outgrow the cache's bound. */
	mallopt(M_ARENA_MAX, 1);
	crypto_random(&key, sizeof key);
	crypto_random(&shared->trail_key, sizeof shared->trail_key);
	crypto_random(&cache_key, sizeof cache_key);
	if (file) {
		cache_key = cachestore_hash_key(file);
	}
	shared->cache = cache_new(config->cache->size_bytes, crypto_siphash, &cache_key);
	shared->inflight = inflight_new();
	shared->failures = failures_new();
	shared->ratelimit = ratelimit_new(crypto_siphash, &key);
	if (shared->cache && file) {
		shared->keeper = cachekeeper_new(shared->cache, config, &ttls);
	}
	if (!shared->cache || !shared->inflight || !shared->failures || !shared->ratelimit ||
	    (file && !shared->keeper)) {
		state_free(shared);
		errno = ENOMEM;
		return NULL;
	}
	return shared;
}

static void log_servers(const struct config *config)
{
	if (config->groups[0].server_count == 0) {
		log_event(LOG_LEVEL_WARNING, "no-upstream",
			  KV_TEXT("why", "no server is configured, and no file of resolv-conf "
					 "names one but us"));
	}
	for (size_t i = 0; i < config->group_count; i++) {
		const struct group_config *group = &config->groups[i];

		for (size_t k = 0; k < group->server_count; k++) {
			char text[ENDPOINT_TEXT_MAX];

			log_event(LOG_LEVEL_NOTICE, "upstream", KV_TEXT("group", group->name),
				  KV_TEXT("server", endpoint_format(&group->servers[k], text)));
		}
	}
}

static void *state_new(const void *arg)
{
	const struct config *config = arg;

	log_servers(config);
	return shared_new(config);
}

static void *config_make(const struct params *params, struct ini_error *reterr)
{
	return config_new(params, reterr);
}

static void config_drop(void *config)
{
	config_free(config);
}

static struct service_settings settings_of(const void *arg)
{
	const struct config *config = arg;

	return (struct service_settings){
		.workers = (unsigned)config->server->workers,
		.user = config->server->user,
		.default_user = "dnsproxyd",
		.log_level = service_log_level(config->log->level),
		.drain_timeout_ms = config->limits->drain_timeout_ms,
	};
}

static const struct metric_row metric_rows[] = { DNSPROXYD_METRICS(METRIC_ROW) };

const struct service_ops server_ops = {
	.name = "dnsproxyd",
	.summary = "DNS forwarder with a cache.",
	.default_config = SYSCONFDIR "/dnsproxyd/dnsproxyd.conf",
	.schema = &config_schema,
	.metrics = metric_rows,
	.metric_count = METRIC_COUNT,
	.config_new = config_make,
	.config_free = config_drop,
	.settings = settings_of,
	.list_sockets = list_sockets,
	.state_new = state_new,
	.state_free = state_free,
	.worker_start = worker_begin,
	.worker_reload = worker_reload,
	.worker_report = worker_report,
	.worker_drain = worker_drain,
	.worker_stop = worker_end,
};
