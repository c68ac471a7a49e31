/* SPDX-License-Identifier: ISC */
#include "common/daemon/service.h"

#include "common/container.h"
#include "common/crypto.h"
#include "common/daemon/options.h"
#include "common/daemon/privileges.h"
#include "common/daemon/systemd.h"
#include "common/daemon/unserved.h"
#include "common/daemon/watchdog.h"
#include "common/dns/ares_io.h"

#include "build_config.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	EXIT_OK = 0,
	EXIT_RUNTIME = 1,
	EXIT_CONFIG = 2,

	HELPER_THREADS = 2,
	HELPER_QUEUE_MAX = 256,
	WORKERS_MAX = 256,
	METRICS_MAX = 128,
};

/* A configuration in both forms; the typed one borrows from the parameters. */
struct loaded {
	struct params *params;
	void *config;
};

/* A worker's word to the main thread that it has drained. */
struct drained_post {
	struct post post;
	struct service *service;
	bool sent; /* worker thread only */
};

struct service {
	const struct service_ops *ops;
	struct options options;
	struct loaded loaded;
	struct listen_set sockets;
	struct unserved *unserved;
	void *state;
	struct helpers *helpers;
	struct worker **workers;
	unsigned worker_count;

	struct loop *loop; /* the main thread's */
	struct watch signal_watch;
	struct timer drain_timer;
	bool draining;
	unsigned drained_count;
	struct drained_post *drained_posts; /* one per worker */

	struct watchdog *watchdog; /* NULL: nobody watches */
};

/* --- configuration --------------------------------------------------------------------------- */

static void unload(const struct service_ops *ops, struct loaded *loaded)
{
	if (loaded->config) {
		ops->config_free(loaded->config);
	}
	params_free(loaded->params);
	*loaded = (struct loaded){ 0 };
}

static int read_sources(const struct service_ops *ops, const struct options *options,
			struct params *params, struct ini_error *reterr)
{
	const char *file = options->config_file;

	if (!file && access(ops->default_config, F_OK) == 0) {
		file = ops->default_config;
	}
	if (file && params_read_file(params, file, reterr) < 0) {
		return -1;
	}
	for (size_t i = 0; i < options->override_count; i++) {
		if (params_override(params, options->overrides[i], reterr) < 0) {
			return -1;
		}
	}
	return params_finish(params, reterr);
}

/* Read, check and build. 0, or -1 with *reterr; then nothing is kept. */
static int load(const struct service_ops *ops, const struct options *options,
		struct loaded *ret_loaded, struct ini_error *reterr)
{
	struct loaded loaded = { .params = params_new(ops->schema) };

	if (!loaded.params) {
		ini_fail(reterr, ops->name, 0, "free memory", "cannot allocate memory");
		return -1;
	}
	if (read_sources(ops, options, loaded.params, reterr) < 0) {
		unload(ops, &loaded);
		return -1;
	}
	loaded.config = ops->config_new(loaded.params, reterr);
	if (!loaded.config) {
		unload(ops, &loaded);
		return -1;
	}
	*ret_loaded = loaded;
	return 0;
}

/* --- sockets --------------------------------------------------------------------------------- */

/* Bind what the configuration wants and the set does not have. 0, or -errno after logging; then
 * nothing has changed. */
static int bind_sockets(struct service *s, const void *config)
{
	struct listen_want *wants = NULL;
	struct addr failed = { 0 };
	size_t count = 0;
	int r = s->ops->list_sockets(config, &wants, &count);

	if (r == 0) {
		r = listen_set_update(&s->sockets, wants, count, &failed);
	}
	free(wants);
	if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "cannot-listen", KV_ADDR("address", &failed),
			  KV_ERRNO("error", -r));
	}
	return r;
}

static void log_sockets(const struct listen_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct listen_socket *socket = &set->sockets[i];

		log_event(LOG_LEVEL_NOTICE, "listening", KV_ADDR("address", &socket->want.addr),
			  KV_TEXT("protocol", socket->want.type == SOCK_STREAM ? "tcp" : "udp"),
			  KV_TEXT("state", socket->late ? "waiting-for-interface" : "ready"));
	}
}

struct listen_set *service_sockets(struct service *s)
{
	return &s->sockets;
}

/* What the configuration asks for and the kernel will refuse. */
static void log_missing_capabilities(const struct service_settings *settings)
{
	unsigned missing = privileges_missing(settings->capabilities);

	if (missing != 0) {
		log_event(LOG_LEVEL_WARNING, "capabilities-missing",
			  KV_TEXT("names", privileges_names(missing)));
	}
}

/* --- reload ---------------------------------------------------------------------------------- */

static void log_needs_restart(void *arg, const char *name)
{
	(void)arg;
	log_event(LOG_LEVEL_WARNING, "needs-restart", KV_TEXT("key", name));
}

static void reload_worker(struct worker *worker, void *arg)
{
	struct service *s = arg;

	s->ops->worker_reload(worker, s->loaded.config);
}

static void reload(struct service *s)
{
	struct ini_error why;
	struct loaded old = s->loaded;
	struct loaded new;
	struct service_settings settings;

	if (load(s->ops, &s->options, &new, &why) < 0) {
		log_event(LOG_LEVEL_ERROR, "reload-failed", KV_TEXT("error", why.text));
		return;
	}
	if (bind_sockets(s, new.config) < 0) {
		log_event(LOG_LEVEL_ERROR, "reload-failed", KV_TEXT("error", "cannot listen"));
		unload(s->ops, &new);
		return;
	}
	params_diff_restart(old.params, new.params, log_needs_restart, NULL);
	s->loaded = new;
	settings = s->ops->settings(new.config);
	log_set_level(settings.log_level);
	log_missing_capabilities(&settings);
	for (unsigned i = 0; i < s->worker_count; i++) {
		worker_call(s->workers[i], reload_worker, s);
	}
	listen_set_sweep(&s->sockets);
	unserved_update(s->unserved);
	unload(s->ops, &old);
	log_event(LOG_LEVEL_NOTICE, "reloaded", KV_TEXT("name", s->ops->name));
}

/* --- counters -------------------------------------------------------------------------------- */

static void log_counters(const struct service *s)
{
	struct log_field fields[METRICS_MAX + 1];

	for (size_t i = 0; i < s->ops->metric_count; i++) {
		int64_t sum = 0;

		for (unsigned w = 0; w < s->worker_count; w++) {
			sum += metrics_get(s->workers[w]->metrics, (unsigned)i);
		}
		fields[i] = (struct log_field)KV_INT(s->ops->metrics[i].name, sum);
	}
	fields[s->ops->metric_count] =
		(struct log_field)KV_UINT("passed_refused", unserved_count(s->unserved));
	log_write(LOG_LEVEL_NOTICE, "counters", fields, s->ops->metric_count + 1);
}

static void report_worker(struct worker *worker, void *arg)
{
	const struct service *s = arg;

	s->ops->worker_report(worker);
}

static void log_reports(struct service *s)
{
	for (unsigned i = 0; s->ops->worker_report && i < s->worker_count; i++) {
		worker_call(s->workers[i], report_worker, s);
	}
}

/* --- drain and end --------------------------------------------------------------------------- */

static void drain_worker(struct worker *worker, void *arg)
{
	struct service *s = arg;

	s->ops->worker_drain(worker);
}

static void on_drain_timeout(struct timer *timer)
{
	struct service *s = container_of(timer, struct service, drain_timer);

	log_event(LOG_LEVEL_NOTICE, "drain-timeout", KV_TEXT("name", s->ops->name));
	loop_stop(s->loop);
}

static void drain(struct service *s)
{
	uint64_t timeout_ms = s->ops->settings(s->loaded.config).drain_timeout_ms;

	s->draining = true;
	systemd_notify("STOPPING=1");
	log_event(LOG_LEVEL_NOTICE, "draining", KV_UINT("timeout_ms", timeout_ms));
	timer_start(&s->drain_timer, s->loop, loop_now_ms(s->loop) + timeout_ms, on_drain_timeout);
	for (unsigned i = 0; i < s->worker_count; i++) {
		worker_call(s->workers[i], drain_worker, s);
	}
}

static void on_drained(struct post *post)
{
	struct drained_post *drained = container_of(post, struct drained_post, post);
	struct service *s = drained->service;

	if (++s->drained_count == s->worker_count) {
		loop_stop(s->loop);
	}
}

void service_worker_drained(struct service *s, struct worker *worker)
{
	struct drained_post *drained = &s->drained_posts[worker->index];

	if (!drained->sent) {
		drained->sent = true;
		loop_post(s->loop, &drained->post, on_drained);
	}
}

struct helpers *service_helpers(struct service *s)
{
	return s->helpers;
}

/* --- signals --------------------------------------------------------------------------------- */

static void take_signal(struct service *s, uint32_t signo)
{
	switch (signo) {
	case SIGHUP:
		if (!s->draining) {
			systemd_notify_reloading();
			reload(s);
			systemd_notify("READY=1");
		}
		break;
	case SIGUSR1:
		log_reports(s);
		log_counters(s);
		break;
	case SIGTERM:
		if (!s->draining) {
			drain(s);
			break;
		}
		/* the second one does not wait */
		loop_stop(s->loop);
		break;
	default:
		loop_stop(s->loop);
	}
}

static void on_signal(struct watch *watch, uint32_t events)
{
	struct service *s = container_of(watch, struct service, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	while (read(watch->fd, &info, sizeof info) == (ssize_t)sizeof info) {
		take_signal(s, info.ssi_signo);
	}
}

static int catch_signals(struct service *s)
{
	sigset_t set;
	int fd;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
		return -errno;
	}
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	r = watch_start(&s->signal_watch, s->loop, fd, LOOP_READ, on_signal);
	if (r < 0) {
		close(fd);
	}
	return r;
}

/* --- start ----------------------------------------------------------------------------------- */

/* How many workers: as configured, or one per CPU this process may use. */
static unsigned count_workers(unsigned configured)
{
	cpu_set_t cpus;
	int available;

	if (configured > 0) {
		return configured;
	}
	available = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	return available > WORKERS_MAX ? WORKERS_MAX : (unsigned)available;
}

/* What the user that we are now may not read, a reload could not read either: better said now. */
static void warn_unreadable(const struct service *s)
{
	struct ini_error why;
	struct loaded again;

	if (load(s->ops, &s->options, &again, &why) < 0) {
		log_event(LOG_LEVEL_WARNING, "reload-will-fail", KV_TEXT("error", why.text));
	} else {
		unload(s->ops, &again);
	}
}

static int drop_privileges(const struct service *s, const struct service_settings *settings)
{
	const char *user;

	switch (privileges_drop(settings->user, settings->default_user, settings->capabilities,
				&user)) {
	case PRIVILEGES_NOT_ROOT:
		return EXIT_OK;
	case PRIVILEGES_DROPPED:
		log_event(LOG_LEVEL_INFO, "privileges-dropped", KV_TEXT("user", user));
		warn_unreadable(s);
		return EXIT_OK;
	case PRIVILEGES_KEPT:
		log_event(LOG_LEVEL_WARNING, "running-as-root", KV_TEXT("user", user));
		return EXIT_OK;
	case PRIVILEGES_NO_USER:
		log_event(LOG_LEVEL_ERROR, "no-such-user", KV_TEXT("user", user));
		return EXIT_RUNTIME;
	case PRIVILEGES_FAILED:
		break;
	}
	log_event(LOG_LEVEL_ERROR, "cannot-drop-privileges", KV_TEXT("user", user),
		  KV_ERRNO("error", errno));
	return EXIT_RUNTIME;
}

struct worker_start_call {
	struct service *service;
	int result;
};

static void start_worker(struct worker *worker, void *arg)
{
	struct worker_start_call *call = arg;
	struct service *s = call->service;

	call->result = s->ops->worker_start(s, worker, s->state, s->loaded.config);
}

static int start_workers(struct service *s, unsigned count)
{
	s->workers = calloc(count, sizeof(struct worker *));
	s->drained_posts = calloc(count, sizeof(struct drained_post));
	if (!s->workers || !s->drained_posts) {
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		struct worker_start_call call = { .service = s };
		int r;

		s->drained_posts[i].service = s;
		s->workers[i] = worker_new(i, s->ops->metric_count);
		if (!s->workers[i]) {
			return -errno;
		}
		s->worker_count++;
		r = worker_start(s->workers[i], s->ops->name);
		if (r < 0) {
			return r;
		}
		worker_call(s->workers[i], start_worker, &call);
		if (call.result < 0) {
			return call.result;
		}
	}
	return 0;
}

static void stop_worker(struct worker *worker, void *arg)
{
	struct service *s = arg;

	if (worker->state) {
		s->ops->worker_stop(worker);
	}
}

/* From here on no signal is taken: the main loop may still turn, and a reload needs workers. */
static void ignore_signals(struct service *s)
{
	timer_stop(&s->drain_timer);
	if (watch_active(&s->signal_watch)) {
		watch_stop(&s->signal_watch);
		close(s->signal_watch.fd);
	}
}

/* Everything from the end of start_workers() backwards; copes with a half-made service. */
static void stop_all(struct service *s)
{
	ignore_signals(s);
	for (unsigned i = 0; i < s->worker_count; i++) {
		worker_call(s->workers[i], stop_worker, s);
	}
	/* Before the loops stop: what the helpers leave behind is handed back to its owners there.
	 */
	helpers_stop(s->helpers);
	for (unsigned i = 0; i < s->worker_count; i++) {
		worker_stop(s->workers[i]);
	}
	helpers_free(s->helpers);
	if (s->state) {
		s->ops->state_free(s->state);
	}
	unserved_free(s->unserved);
	listen_set_done(&s->sockets);
	watchdog_free(s->watchdog);
	for (unsigned i = 0; i < s->worker_count; i++) {
		worker_free(s->workers[i]);
	}
	free(s->workers);
	free(s->drained_posts);
	loop_free(s->loop);
}

static int fail_start(const char *what, int error)
{
	log_event(LOG_LEVEL_ERROR, what, KV_ERRNO("error", error));
	return EXIT_RUNTIME;
}

/* Take the sockets that were passed; an exit code. Who counts wrongly is told so: without one of
 * them nobody might be served where the manager has clients wait. */
static int take_passed_sockets(struct service *s)
{
	if (systemd_take_sockets(s->sockets.inherited, LISTEN_INHERITED_MAX,
				 &s->sockets.inherited_count) < 0) {
		log_event(LOG_LEVEL_ERROR, "cannot-start",
			  KV_TEXT("error", "LISTEN_FDS counts more sockets than were passed"));
		return EXIT_RUNTIME;
	}
	return EXIT_OK;
}

/* Bind the sockets that were not passed: the last that needs privileges. Returns an exit code. */
static int open_sockets(struct service *s, unsigned workers)
{
	s->sockets.workers = workers;
	if (bind_sockets(s, s->loaded.config) < 0) {
		return EXIT_RUNTIME;
	}
	log_sockets(&s->sockets);
	s->unserved = unserved_new(s->loop, &s->sockets);
	if (!s->unserved) {
		return fail_start("cannot-start", errno);
	}
	unserved_update(s->unserved);
	return EXIT_OK;
}

/* Start everything; an exit code, EXIT_OK when the daemon is up. */
static int start_all(struct service *s)
{
	struct service_settings settings = s->ops->settings(s->loaded.config);
	unsigned workers = count_workers(settings.workers);
	int r;

	s->loop = loop_new();
	if (!s->loop) {
		return fail_start("cannot-start", errno);
	}
	r = catch_signals(s);
	if (r < 0) {
		return fail_start("cannot-start", -r);
	}
	r = open_sockets(s, workers);
	r = r == EXIT_OK ? drop_privileges(s, &settings) : r;
	if (r != EXIT_OK) {
		return r;
	}
	log_missing_capabilities(&settings);
	s->state = s->ops->state_new(s->loaded.config);
	if (!s->state) {
		return fail_start("cannot-start", errno);
	}
	s->helpers = helpers_new(HELPER_THREADS, HELPER_QUEUE_MAX);
	if (!s->helpers) {
		return fail_start("cannot-start", errno);
	}
	r = start_workers(s, workers);
	if (r == 0 && systemd_watchdog_ms() > 0) {
		s->watchdog =
			watchdog_new(s->loop, s->workers, s->worker_count, systemd_watchdog_ms());
		r = s->watchdog ? 0 : -ENOMEM;
	}
	return r < 0 ? fail_start("cannot-start", -r) : EXIT_OK;
}

static int run(struct service *s)
{
	int exit_code;
	int r;

	log_set_level(s->ops->settings(s->loaded.config).log_level);
	/* Before anything else is opened (systemd.h). */
	exit_code = take_passed_sockets(s);
	if (exit_code != EXIT_OK) {
		return exit_code;
	}
	privileges_raise_files();
	if (crypto_init() < 0 || ares_io_global_init() < 0) {
		return fail_start("cannot-start", EIO);
	}
	exit_code = start_all(s);
	if (exit_code == EXIT_OK) {
		log_event(LOG_LEVEL_NOTICE, "ready", KV_TEXT("version", PACKAGE_VERSION),
			  KV_UINT("workers", s->worker_count), KV_INT("pid", getpid()));
		systemd_notify("READY=1");
		r = loop_run(s->loop);
		if (r < 0) {
			exit_code = fail_start("main-loop-failed", -r);
		}
		if (log_wanted(LOG_LEVEL_NOTICE)) {
			log_counters(s);
		}
		log_event(LOG_LEVEL_NOTICE, "stopped", KV_INT("exit_code", exit_code));
	}
	systemd_notify("STOPPING=1");
	stop_all(s);
	ares_io_global_done();
	return exit_code;
}

enum log_level service_log_level(int choice)
{
	static const enum log_level levels[] = { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING,
						 LOG_LEVEL_NOTICE, LOG_LEVEL_INFO,
						 LOG_LEVEL_DEBUG };

	return levels[choice];
}

int service_main(const struct service_ops *ops, int argc, char **argv)
{
	const struct service_command *command = ops->command;
	const struct options_program program = {
		.name = ops->name,
		.summary = ops->summary,
		.default_config = ops->default_config,
		.command = command ? command->name : NULL,
		.command_words = command ? command->words : NULL,
		.command_help = command ? command->help : NULL,
	};
	struct service s = { .ops = ops };
	struct ini_error error;
	int exit_code = EXIT_OK;

	assert(ops->metric_count <= METRICS_MAX);
	log_init();
	s.options = options_parse(&program, argc, argv);
	if (s.options.action == OPTIONS_EXIT || s.options.action == OPTIONS_USAGE) {
		exit_code = s.options.action == OPTIONS_EXIT ? EXIT_OK : EXIT_CONFIG;
		goto out;
	}
	if (load(ops, &s.options, &s.loaded, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		exit_code = EXIT_CONFIG;
		goto out;
	}
	if (s.options.action == OPTIONS_PRINT) {
		params_print(s.loaded.params, stdout);
	} else if (s.options.action == OPTIONS_COMMAND) {
		exit_code = command->run(s.loaded.config, s.options.words, s.options.word_count);
	} else if (s.options.action == OPTIONS_RUN) {
		exit_code = run(&s);
	}
out:
	unload(ops, &s.loaded);
	options_done(&s.options);
	return exit_code;
}
