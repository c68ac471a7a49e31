/* SPDX-License-Identifier: ISC */
#include "socksd/server.h"

#include "common/container.h"
#include "common/daemon/listener.h"
#include "common/daemon/ports.h"

#include "socksd/config.h"
#include "socksd/context.h"
#include "socksd/explain.h"
#include "socksd/privacy.h"
#include "socksd/relay/relay.h"
#include "socksd/session/session.h"
#include "socksd/session/slots.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	SCRATCH_BYTES = RELAY_BULK_BYTES, /* memory that is never touched costs nothing */
};

/* What the workers share. */
struct shared {
	struct clients *clients;
	struct primaries *primaries;
	struct auth *auth;
	size_t open_files; /* before there were workers; the listening sockets are among them */
};

/* How a refused connection is counted and logged, by the verdict of clients.h. */
static const struct refusal {
	enum socksd_metric metric;
	const char *why;
} refusals[] = {
	[CLIENTS_MAX_SESSIONS] = { METRIC_refused_limit, "max-sessions" },
	[CLIENTS_MAX_PER_CLIENT] = { METRIC_refused_per_client, "max-sessions-per-client" },
	[CLIENTS_FAIR_SHARE] = { METRIC_refused_fair_share, "fair-share" },
	[CLIENTS_HALF_OPEN] = { METRIC_refused_half_open, "max-half-open" },
	[CLIENTS_NO_MEMORY] = { METRIC_refused_memory, "memory" },
};

/* One worker's part. */
struct server {
	struct context context;
	struct service *service;
	struct worker *worker;
	struct shared *shared;
	struct ports ports;
	size_t sockets_at_start;
	size_t slots_used;  /* by sessions, and by associations besides */
	size_t session_max; /* by descriptors; then accepting waits */
	bool waiting;       /* for a session to end */
	bool draining;
	struct log_limit accept_log;
	struct pipe pipe;
	struct log_limit waiting_log;
	struct log_limit client_log;
	struct log_limit refusal_logs[ARRAY_SIZE(refusals)];
	uint8_t scratch[SCRATCH_BYTES];
};

/* --- accepting ------------------------------------------------------------------------------- */

static void count(struct server *server, enum socksd_metric metric)
{
	metrics_add(server->worker->metrics, metric, 1);
}

static void log_limited(struct log_limit *limit, struct server *server, const char *event,
			const char *why, const struct addr *client)
{
	uint32_t suppressed;

	if (log_limit_ok(limit, loop_now_ms(server->context.loop), &suppressed)) {
		enum privacy_clients level =
			(enum privacy_clients)server->context.config->log->clients;
		char text[ADDR_TEXT_MAX];

		log_event(LOG_LEVEL_WARNING, event, KV_TEXT("why", why),
			  KV_TEXT("client", privacy_client_ip(level, client, text)),
			  KV_UINT("suppressed", suppressed));
	}
}

static void refuse(struct server *server, enum clients_verdict verdict, const struct addr *client)
{
	count(server, refusals[verdict].metric);
	log_limited(&server->refusal_logs[verdict], server, "refused", refusals[verdict].why,
		    client);
}

/* Accept nobody as long as there are no descriptors for one more session. */
static void update_waiting(struct server *server)
{
	bool waiting = server->slots_used >= server->session_max;
	uint32_t suppressed;

	if (waiting == server->waiting) {
		return;
	}
	server->waiting = waiting;
	for (struct port *port = server->ports.first; port; port = port->next) {
		if (waiting) {
			listener_pause(port->front);
		} else {
			listener_resume(port->front);
		}
	}
	if (!waiting) {
		return;
	}
	count(server, METRIC_accept_waited);
	if (log_limit_ok(&server->waiting_log, loop_now_ms(server->context.loop), &suppressed)) {
		log_event(LOG_LEVEL_WARNING, "accept-waiting", KV_TEXT("why", "descriptors"),
			  KV_UINT("worker", server->worker->index),
			  KV_UINT("slots", server->slots_used), KV_UINT("suppressed", suppressed));
	}
}

static struct clients_limits clients_limits_of(const struct config *config)
{
	return (struct clients_limits){
		.max_sessions = config->limits->max_sessions,
		.max_sessions_per_client = config->limits->max_sessions_per_client,
		.half_open_start = config->limits->half_open_start,
		.half_open_rate_percent = config->limits->half_open_rate,
		.max_half_open = config->limits->max_half_open,
	};
}

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct port *port = arg;
	struct server *server = port->owner;
	struct clients *clients = server->context.clients;
	struct clients_limits limits = clients_limits_of(server->context.config);
	struct source source = source_of(peer);
	enum clients_verdict verdict;
	const struct listen_config *listen =
		config_find_listen(server->context.config, &port->want.addr);

	count(server, METRIC_sessions_accepted);
	if (!listen || !netset_contains(&listen->params->clients, peer)) {
		count(server, METRIC_refused_client);
		log_limited(&server->client_log, server, "refused", "clients", peer);
		close(fd);
		return;
	}
	verdict = clients_enter(clients, &limits, &source);
	if (verdict != CLIENTS_ADMITTED) {
		/* Who sees the end can count on finding it counted. */
		refuse(server, verdict, peer);
		close(fd);
		return;
	}
	server->slots_used++;
	if (session_start(&server->context, fd, peer, listen, &port->want.addr) < 0) {
		server->slots_used--;
		clients_leave(clients, &source, true);
		refuse(server, CLIENTS_NO_MEMORY, peer);
	}
	update_waiting(server);
}

static void on_listener_event(void *arg, enum listener_event event, int error)
{
	struct port *port = arg;
	struct server *server = port->owner;
	uint32_t suppressed;

	switch (event) {
	case LISTENER_PAUSED:
		count(server, METRIC_accept_paused);
		break;
	case LISTENER_SHED:
		count(server, METRIC_accept_shed);
		break;
	case LISTENER_RESUMED:
		return;
	}
	if (log_limit_ok(&server->accept_log, loop_now_ms(server->context.loop), &suppressed)) {
		log_event(LOG_LEVEL_WARNING,
			  event == LISTENER_PAUSED ? "accept-paused" : "accept-shed",
			  KV_ADDR("address", &port->want.addr), KV_ERRNO("error", error),
			  KV_UINT("suppressed", suppressed));
	}
}

static void *open_port(struct port *port, int fd)
{
	static const struct listener_ops ops = { .on_accept = on_accept,
						 .on_event = on_listener_event };
	const struct server *server = port->owner;
	struct listener *listener = listener_start(server->context.loop, fd, &ops, port);

	if (listener && server->waiting) {
		listener_pause(listener);
	}
	return listener;
}

static void close_port(struct port *port)
{
	listener_free(port->front);
}

static const struct ports_ops ports_ops = { .open = open_port, .close = close_port };

static void on_session_end(struct context *context)
{
	struct server *server = container_of(context, struct server, context);

	server->slots_used--;
	update_waiting(server);
	for (struct port *port = server->ports.first; port; port = port->next) {
		listener_fd_freed(port->front);
	}
	if (server->draining && !context->sessions) {
		service_worker_drained(server->service, server->worker);
	}
}

static bool claim_slot(struct context *context)
{
	struct server *server = container_of(context, struct server, context);

	if (server->slots_used >= server->session_max) {
		return false;
	}
	server->slots_used++;
	update_waiting(server);
	return true;
}

static void release_slot(struct context *context)
{
	struct server *server = container_of(context, struct server, context);

	server->slots_used--;
	update_waiting(server);
}

/* The addresses that the guard must not let anybody reach through us. 0 or -ENOMEM. */
static int list_own_addresses(struct server *server)
{
	size_t count_own = 0;
	struct addr *own;

	for (const struct port *port = server->ports.first; port; port = port->next) {
		count_own++;
	}
	own = calloc(count_own + 1, sizeof *own);
	if (!own) {
		return -ENOMEM;
	}
	count_own = 0;
	for (const struct port *port = server->ports.first; port; port = port->next) {
		own[count_own++] = port->want.addr;
	}
	free(server->context.own);
	server->context.own = own;
	server->context.own_count = count_own;
	return 0;
}

static int update_ports(struct server *server)
{
	int r = ports_update(&server->ports, service_sockets(server->service),
			     server->worker->index);
	int r_own = list_own_addresses(server);

	return r < 0 ? r : r_own;
}

/* --- splicing -------------------------------------------------------------------------------- */

/* The first worker says so when the kernel allows smaller pipes than wanted. */
static void prepare_pipe(struct server *server, unsigned workers)
{
	struct pipe_limits limits;
	size_t bytes;

	pipe_limits_read(&limits);
	bytes = pipe_size_for(&limits, workers);
	pipe_init(&server->pipe, bytes);
	if (bytes < PIPE_BYTES_MAX && server->worker->index == 0) {
		log_event(LOG_LEVEL_NOTICE, "pipe-limited", KV_UINT("pipe_bytes", bytes),
			  KV_UINT("wanted_bytes", PIPE_BYTES_MAX), KV_UINT("workers", workers),
			  KV_UINT("pipe_max_size", limits.pipe_bytes),
			  KV_UINT("pipe_user_bytes_soft", limits.user_bytes));
	}
}

/* --- descriptors ----------------------------------------------------------------------------- */

/* How many files the process has open, 0 when that cannot be found out. */
static size_t count_open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count_files = 0;

	if (!dir) {
		return 0;
	}
	while (readdir(dir)) {
		count_files++;
	}
	closedir(dir);
	/* "." and ".." and the directory itself are no files of ours. */
	return count_files > 3 ? count_files - 3 : 0;
}

/* Find out how many sessions there are descriptors for, with the listeners there are now. */
static void update_session_max(struct server *server)
{
	const struct listen_set *sockets = service_sockets(server->service);
	size_t in_use = server->shared->open_files;
	struct rlimit limit = { .rlim_cur = 1024 };

	getrlimit(RLIMIT_NOFILE, &limit);
	/* Sockets that came or went since then; each listener has a reserve besides; each worker
	 * has two for its loop and two for its pipe. */
	in_use += sockets->workers * (2 * sockets->count + 4);
	in_use -= sockets->workers * server->sockets_at_start;
	server->session_max = slots_per_worker(limit.rlim_cur, in_use, sockets->workers);
	update_waiting(server);
	if (server->worker->index == 0 &&
	    server->session_max * sockets->workers < server->context.config->limits->max_sessions) {
		log_event(LOG_LEVEL_NOTICE, "few-descriptors",
			  KV_UINT("limit", limit.rlim_cur == RLIM_INFINITY ? 0 : limit.rlim_cur),
			  KV_UINT("sessions", server->session_max * sockets->workers),
			  KV_UINT("max_sessions", server->context.config->limits->max_sessions));
	}
}

/* --- a worker's life ------------------------------------------------------------------------- */

static void configure_auth(struct auth *auth, const struct config *config)
{
	auth_configure(auth, (uint32_t)config->limits->login_failures,
		       config->limits->login_failure_interval_ms);
}

static void worker_end(struct worker *worker)
{
	struct server *server = worker->state;

	ports_done(&server->ports);
	session_end_all(&server->context);
	resolver_free(server->context.resolver);
	free(server->context.own);
	pipe_close(&server->pipe);
	datagrams_free(server->context.datagrams);
	free(server);
	worker->state = NULL;
}

/* Whoever finds the port of an association first has it: that is to be meant. */
static void warn_of_any_source(const struct config *config)
{
	for (size_t i = 0; i < config->listens.count; i++) {
		const struct listen_config *listen = &config->listen_configs[i];

		if (listen->params->udp && listen->params->udp_source == UDP_SOURCE_ANY) {
			log_event(LOG_LEVEL_WARNING, "udp-source-any",
				  KV_TEXT("listen", listen->name));
		}
	}
}

/* What needs no descriptor; the resolver and the list of own addresses come later. 0 or -ENOMEM. */
static int init_context(struct server *server, const struct config *config)
{
	const struct shared *shared = server->shared;
	struct loop *loop = server->worker->loop;
	struct metrics *metrics = server->worker->metrics;

	server->context = (struct context){
		.loop = loop,
		.metrics = metrics,
		.auth = shared->auth,
		.auth_worker = { service_helpers(server->service), loop, metrics },
		.clients = shared->clients,
		.primaries = shared->primaries,
		.scratch = server->scratch,
		.scratch_bytes = sizeof server->scratch,
		.pipe = &server->pipe,
		.config = config,
		.datagrams = datagrams_new(),
		.on_session_end = on_session_end,
		.claim_slot = claim_slot,
		.release_slot = release_slot,
	};
	crypto_random(&server->context.key, sizeof server->context.key);
	return server->context.datagrams ? 0 : -ENOMEM;
}

static int worker_begin(struct service *service, struct worker *worker, void *state,
			const void *config)
{
	struct server *server = calloc(1, sizeof *server);
	int r;

	if (!server) {
		return -ENOMEM;
	}
	worker->state = server;
	server->service = service;
	server->worker = worker;
	server->shared = state;
	r = init_context(server, config);
	if (worker->index == 0) {
		warn_of_any_source(config);
	}
	prepare_pipe(server, service_sockets(service)->workers);
	ports_init(&server->ports, &ports_ops, server);
	server->sockets_at_start = service_sockets(service)->count;
	update_session_max(server);
	server->context.resolver =
		resolver_new(worker->loop, worker->metrics, server->context.config->dns);
	if (r == 0) {
		r = server->context.resolver ? update_ports(server) : -errno;
	}
	if (r < 0) {
		worker_end(worker);
	}
	return r;
}

static void worker_reload(struct worker *worker, const void *arg)
{
	struct server *server = worker->state;
	const struct config *config = arg;
	int r;

	session_reconfigure_all(&server->context, config);
	/* Lookups that end with this are judged by the new rules. */
	server->context.config = config;
	r = resolver_configure(server->context.resolver, config->dns);
	configure_auth(server->shared->auth, config);
	if (r == 0) {
		r = update_ports(server);
	}
	update_session_max(server);
	if (worker->index == 0) {
		warn_of_any_source(config);
	}
	if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "reload-incomplete", KV_UINT("worker", worker->index),
			  KV_ERRNO("error", -r));
	}
}

static void worker_drain(struct worker *worker)
{
	struct server *server = worker->state;

	ports_done(&server->ports);
	server->draining = true;
	if (!server->context.sessions) {
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

	clients_free(shared->clients);
	primaries_free(shared->primaries);
	auth_free(shared->auth);
	free(shared);
}

static void *state_new(const void *config)
{
	struct shared *shared = calloc(1, sizeof *shared);
	struct crypto_key key;

	if (!shared) {
		return NULL;
	}
	crypto_random(&key, sizeof key);
	shared->clients = clients_new(&key);
	shared->primaries = primaries_new(&key);
	shared->auth = auth_new();
	if (!shared->clients || !shared->primaries || !shared->auth) {
		state_free(shared);
		errno = ENOMEM;
		return NULL;
	}
	configure_auth(shared->auth, config);
	shared->open_files = count_open_files();
	return shared;
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
		.default_user = "socksd",
		.log_level = service_log_level(config->log->level),
		.drain_timeout_ms = config->limits->drain_timeout_ms,
		.capabilities = config_capabilities(config),
	};
}

static const struct metric_row metric_rows[] = { SOCKSD_METRICS(METRIC_ROW) };

const struct service_ops server_ops = {
	.name = "socksd",
	.summary = "SOCKS5 server.",
	.default_config = SYSCONFDIR "/socksd/socksd.conf",
	.schema = &config_schema,
	.metrics = metric_rows,
	.metric_count = METRIC_COUNT,
	.command = &explain_command,
	.config_new = config_make,
	.config_free = config_drop,
	.settings = settings_of,
	.list_sockets = list_sockets,
	.state_new = state_new,
	.state_free = state_free,
	.worker_start = worker_begin,
	.worker_reload = worker_reload,
	.worker_drain = worker_drain,
	.worker_stop = worker_end,
};
