/* SPDX-License-Identifier: ISC */
/*
 * What every daemon's life has in common: options, configuration, signals, privileges, workers,
 * reload, drain, exit. A daemon describes itself in a struct service_ops and calls service_main().
 *
 * Order at start: options; configuration (exit 2 when it is wrong; -t and --print-config end here);
 * sockets are bound; privileges are dropped; workers start; "ready" is logged. SIGHUP: read and
 * check the configuration again; keep the old one when anything is wrong. SIGTERM: drain, then exit
 * 0; a second SIGTERM, or SIGINT, exits at once. SIGUSR1: log all counters.
 *
 * Exit codes: 0 ok, 1 runtime failure, 2 usage or configuration error.
 */
#ifndef COMMON_DAEMON_SERVICE_H
#define COMMON_DAEMON_SERVICE_H

#include "common/config/params.h"
#include "common/daemon/listen_set.h"
#include "common/daemon/worker.h"
#include "common/helpers.h"
#include "common/log.h"
#include "common/metrics.h"

struct service;

/* The keys of [server] and [log] that every daemon has; its lists begin with them. */
#define SERVICE_SERVER_PARAMS(P, PC, daemon)                        \
	P(WORKERS, workers, "workers", "auto", 1, 256, RESTART,     \
	  "Threads that serve; auto is one per CPU.")               \
	P(TEXT, user, "user", NULL, 0, 0, RESTART,                  \
	  "User to become when started as root; by default " daemon \
	  ", or nobody if there is no such user.")
#define SERVICE_LOG_PARAMS(P, PC)                                             \
	PC(level, "level", "info", "error|warning|notice|info|debug", RELOAD, \
	   "What is logged: lines of this level and of the more serious ones.")

/* Something else the daemon's program can do with a configuration: `NAME [-c FILE] --COMMAND
 * WORD...`. */
struct service_command {
	const char *name;  /* of the long option, without dashes */
	const char *words; /* for --help: what words it takes */
	const char *help;  /* for --help: what it does */
	/* Before anything is started; may print. Words are borrowed. Returns the exit code. */
	int (*run)(const void *config, char *const *words, size_t word_count);
};

struct service_ops {
	const char *name;                      /* "socksd" */
	const char *summary;                   /* one line for --help */
	const char *default_config;            /* read when it exists and -c is not given */
	const struct service_command *command; /* NULL: none */
	const struct params_schema *schema;
	const struct metric_row *metrics;
	size_t metric_count;

	/* Build the daemon's immutable configuration from finished parameters (which it may keep
	 * borrowing: params lives as long as the result) and check it across keys. Returns owned,
	 * or NULL with *reterr. */
	void *(*config_new)(const struct params *params, struct ini_error *reterr);
	void (*config_free)(void *config);
	/* What service itself needs to know of it. */
	struct service_settings (*settings)(const void *config);

	/* The sockets to listen on. *ret_wants is owned by the caller, also when it is empty. 0 or
	 * -ENOMEM. Service binds them while it is still privileged, and again what is new at a
	 * reload. */
	int (*list_sockets)(const void *config, struct listen_want **ret_wants, size_t *ret_count);

	/* What the workers share, if anything; main thread, before they start and after they have
	 * ended. Returns owned, or NULL with errno. */
	void *(*state_new)(const void *config);
	void (*state_free)(void *state);

	/* On the worker's thread. The configuration stays valid until the next worker_reload() has
	 * returned on all workers; sessions that need it longer copy what they need. worker_start:
	 * 0 or -errno. */
	int (*worker_start)(struct service *service, struct worker *worker, void *state,
			    const void *config);
	void (*worker_reload)(struct worker *worker, const void *config);
	/* Log what the worker knows besides its counters, when they are logged. May be NULL. */
	void (*worker_report)(struct worker *worker);
	/* Stop accepting; call service_worker_drained() when the last session has ended (possibly
	 * at once). */
	void (*worker_drain)(struct worker *worker);
	/* End everything now. */
	void (*worker_stop)(struct worker *worker);
};

struct service_settings {
	unsigned workers; /* 0: one per CPU */
	const char
		*user; /* to drop to when started as root; NULL: the default user, or else nobody */
	const char *default_user;
	enum log_level log_level;
	uint64_t drain_timeout_ms;
	unsigned capabilities; /* that the configuration needs: PRIVILEGES_NET_* bits */
};

/* What the choice of SERVICE_LOG_PARAMS' level means. */
enum log_level service_log_level(int choice);

/* Runs the daemon; returns the exit code for main(). */
int service_main(const struct service_ops *ops, int argc, char **argv);

/* The pool for blocking work, shared by all workers. */
struct helpers *service_helpers(struct service *service);

/* The listening sockets; a worker takes its own at start and at reload (see ports.h). */
struct listen_set *service_sockets(struct service *service);

/* Worker thread: this worker has no sessions left after worker_drain(). */
void service_worker_drained(struct service *service, struct worker *worker);

#endif
