/* SPDX-License-Identifier: ISC */
#include "socksd/target/dial.h"

#include "common/container.h"

#include "socksd/relay/relay.h"
#include "socksd/target/eyeballs.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attempt {
	struct watch watch;
	struct dial *dial;
	struct addr addr;
};

struct dial {
	struct dial_config config;
	dial_done_fn done;
	void *arg;
	uint16_t port;
	char name[SOCKS5_NAME_MAX + 1];
	unsigned lookups; /* on their way; they hold the memory */
	/* The worst that lookups said; it is reported when they found no address to try. */
	enum ares_io_status lookup_status;
	bool ended;
	struct eyeballs eyeballs; /* which address next, and when */
	struct attempt attempts[EYEBALLS_AT_ONCE];
	struct timer next_timer; /* when to ask it again */
	struct task start_task;
	bool failed; /* some attempt has: the two below say the most telling result */
	enum socks5_reply reply;
	const char *why;
	struct deferred deferred;
};

/* --- life ------------------------------------------------------------------------------------ */

static void free_dial(struct deferred *deferred)
{
	free(container_of(deferred, struct dial, deferred));
}

/* Stop everything; the memory goes when no lookup refers to it. */
static void end(struct dial *d)
{
	d->ended = true;
	timer_stop(&d->next_timer);
	task_cancel(&d->start_task);
	for (int i = 0; i < EYEBALLS_AT_ONCE; i++) {
		watch_close(&d->attempts[i].watch);
	}
	if (d->lookups == 0) {
		loop_free_later(d->config.loop, &d->deferred, free_dial);
	}
}

void dial_cancel(struct dial *d)
{
	if (d) {
		end(d);
	}
}

/* Remember the most telling of the failures. */
static void note_failure(struct dial *d, enum socks5_reply reply, const char *why)
{
	if (!d->failed || socks5_reply_best(d->reply, reply) != d->reply) {
		d->reply = reply;
		d->why = why;
	}
	d->failed = true;
}

static void report_failed(struct dial *d)
{
	struct dial_result result;

	if (!d->failed) {
		note_failure(d, SOCKS5_HOST_UNREACHABLE, ares_io_status_text(d->lookup_status));
	}
	result = (struct dial_result){ .reply = d->reply, .why = d->why };
	d->done(d->arg, &result);
	end(d);
}

static void go_on(struct dial *d);

/* --- connecting ------------------------------------------------------------------------------ */

static void report_connected(struct attempt *a, const struct addr *local)
{
	struct dial *d = a->dial;
	struct dial_result result = {
		.reply = SOCKS5_SUCCEEDED,
		.why = "connected",
		.watch = &a->watch,
		.remote = a->addr,
		.local = *local,
	};

	d->done(d->arg, &result);
	end(d);
}

static void attempt_failed(struct attempt *a, int error)
{
	enum socks5_reply reply = socks5_reply_from_errno(error);

	watch_close(&a->watch);
	eyeballs_failed(&a->dial->eyeballs);
	note_failure(a->dial, reply, socks5_reply_name(reply));
	go_on(a->dial);
}

static int socket_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof error;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

static void on_attempt(struct watch *watch, uint32_t events)
{
	struct attempt *a = container_of(watch, struct attempt, watch);
	struct addr local = { 0 };
	socklen_t len = sizeof local;
	int error = events & (LOOP_ERROR | LOOP_HANGUP) ? socket_error(watch->fd) : 0;

	if (error == 0 && !(events & LOOP_WRITE)) {
		return;
	}
	if (error == 0 && getsockname(watch->fd, &local.sa, &len) < 0) {
		error = errno;
	}
	/* With nobody listening, a connection to one's own ephemeral port can meet itself (RFC 9293
	 * section 3.5). */
	if (error == 0 && addr_equal(&local, &a->addr)) {
		error = ECONNREFUSED;
	}
	if (error != 0) {
		attempt_failed(a, error);
	} else {
		report_connected(a, &local);
	}
}

static int open_socket(const struct addr *a)
{
	const int on = 1;
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	}
	return fd;
}

static void note_errno(struct dial *d, int error)
{
	enum socks5_reply reply = socks5_reply_from_errno(error);

	note_failure(d, reply, socks5_reply_name(reply));
}

/* Make the socket leave by the egress. False after noting why that cannot be: no fault of the
 * target's, nor of the client's. */
static bool leave_by(struct dial *d, const struct egress *egress, int fd, int family)
{
	int r = egress ? egress_apply(egress, fd, family) : 0;

	if (r == -ENETUNREACH) {
		note_failure(d, SOCKS5_NETWORK_UNREACHABLE, "no_egress_address");
	} else if (r < 0) {
		note_failure(d, SOCKS5_GENERAL_FAILURE, "egress_failed");
		d->config.egress_failed(d->arg, egress, -r);
	} else if (egress && d->config.has_data) {
		egress_fast_open(egress, fd);
	}
	return r == 0;
}

/* Begin to connect. False after noting why that failed at once. */
static bool connect_to(struct attempt *a, const struct egress *egress)
{
	struct dial *d = a->dial;
	int fd = open_socket(&a->addr);
	int error;

	if (fd < 0) {
		note_errno(d, errno);
		return false;
	}
	if (!leave_by(d, egress, fd, a->addr.sa.sa_family)) {
		close(fd);
		return false;
	}
	if (connect(fd, &a->addr.sa, addr_len(&a->addr)) < 0 && errno != EINPROGRESS) {
		note_errno(d, errno);
		close(fd);
		return false;
	}
	error = -watch_start(&a->watch, d->config.loop, fd, RELAY_EVENTS, on_attempt);
	if (error != 0) {
		note_errno(d, error);
		close(fd);
	}
	return error == 0;
}

static struct attempt *free_attempt(struct dial *d)
{
	int i = 0;

	while (watch_active(&d->attempts[i].watch)) {
		i++;
	}
	return &d->attempts[i];
}

/* Begin to connect to an address, if that is allowed and possible. */
static void try_address(struct dial *d, const struct addr *addr)
{
	struct attempt *a = free_attempt(d);
	const struct egress *egress = NULL;
	const char *why = NULL;

	if (!d->config.allowed(d->arg, addr, &egress, &why)) {
		note_failure(d, SOCKS5_NOT_ALLOWED, why);
		return;
	}
	a->dial = d;
	a->addr = *addr;
	if (connect_to(a, egress)) {
		eyeballs_started(&d->eyeballs, loop_now_ms(d->config.loop));
	}
}

static void on_next_timer(struct timer *timer)
{
	go_on(container_of(timer, struct dial, next_timer));
}

/* Something has happened: do what there is to do now. */
static void go_on(struct dial *d)
{
	const uint64_t now_ms = loop_now_ms(d->config.loop);
	enum eyeballs_verdict verdict = EYEBALLS_TRY;
	uint64_t due_ms;

	if (d->ended) {
		return;
	}
	while (verdict == EYEBALLS_TRY) {
		struct addr addr;

		verdict = eyeballs_next(&d->eyeballs, now_ms, &addr, &due_ms);
		if (verdict == EYEBALLS_TRY) {
			try_address(d, &addr);
		}
	}
	if (verdict == EYEBALLS_EXHAUSTED) {
		report_failed(d);
	} else if (due_ms == UINT64_MAX) {
		timer_stop(&d->next_timer);
	} else {
		timer_start(&d->next_timer, d->config.loop, due_ms, on_next_timer);
	}
}

/* --- resolving ------------------------------------------------------------------------------- */

/* An answer has come, for one family or both. */
static void on_lookup(void *arg, enum ares_io_status status, const struct addr *addresses,
		      size_t count)
{
	struct dial *d = arg;

	d->lookups--;
	if (d->ended) {
		if (d->lookups == 0) {
			loop_free_later(d->config.loop, &d->deferred, free_dial);
		}
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct addr addr = addresses[i];

		addr_set_port(&addr, d->port);
		eyeballs_add(&d->eyeballs, &addr);
	}
	d->lookup_status = status > d->lookup_status ? status : d->lookup_status;
	eyeballs_answered(&d->eyeballs, loop_now_ms(d->config.loop));
	go_on(d);
}

static void look_up(struct dial *d, const char *name)
{
	/* Both at once, before any answer: a lookup may be answered from within. */
	d->lookups = d->config.family == AF_UNSPEC ? 2 : 1;
	eyeballs_expect(&d->eyeballs, d->lookups);
	if (d->config.family != AF_INET) {
		resolver_lookup(d->config.resolver, name, AF_INET6, on_lookup, d);
	}
	if (d->config.family != AF_INET6) {
		resolver_lookup(d->config.resolver, name, AF_INET, on_lookup, d);
	}
}

/* --- start ----------------------------------------------------------------------------------- */

static void on_start(struct task *task)
{
	struct dial *d = container_of(task, struct dial, start_task);

	if (d->name[0] != '\0') {
		look_up(d, d->name);
	} else {
		go_on(d);
	}
}

struct dial *dial_start(const struct dial_config *config, const struct socks5_target *target,
			dial_done_fn done, void *arg)
{
	struct dial *d = calloc(1, sizeof *d);

	if (!d) {
		return NULL;
	}
	d->config = *config;
	d->done = done;
	d->arg = arg;
	d->port = target->port;
	if (target->addr.sa.sa_family != AF_UNSPEC) {
		struct addr addr = target->addr;

		addr_set_port(&addr, target->port);
		eyeballs_add(&d->eyeballs, &addr);
	} else {
		memcpy(d->name, target->name, sizeof d->name);
	}
	loop_run_task(config->loop, &d->start_task, on_start);
	return d;
}
