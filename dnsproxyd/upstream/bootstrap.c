/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/bootstrap.h"

#include "common/container.h"
#include "common/dns/ares_io.h"
#include "common/log.h"

#include "dnsproxyd/metrics.h"
#include "dnsproxyd/upstream/encryption.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TIMEOUT_MS = 1000, /* of one attempt; the second waits twice as long */
	TRIES = 2,
	TTL_MIN_S = 60,
	TTL_MAX_S = 86400,
	PAUSE_MIN_MS = 1000,
	PAUSE_MAX_MS = 30000,
};

/* Somebody to ask. */
struct source {
	struct endpoint endpoint;
	struct ares_io *io;
	struct encryption encryption; /* of an encrypted one */
};

struct bootstrap {
	struct loop *loop;
	struct metrics *metrics;
	struct endpoint server;
	void (*on_done)(void *arg);
	void *arg;
	struct source sources[CONFIG_BOOTSTRAP_MAX];
	size_t source_count;

	bool is_busy;
	bool is_overtaken; /* the network has changed since the lookup began */
	size_t source;     /* being asked */
	struct task task;  /* to ask the next source, or to say that it is over */
	bool is_over;
	bool is_stale;     /* an address has failed, or the network has changed */
	bool is_elsewhere; /* the network has changed: any address may work, or not */
	uint32_t pause_ms;
	uint64_t not_before_ms; /* the next lookup */
	uint64_t expires_ms;
	struct addr addresses[ARES_IO_ADDRESSES_MAX];
	size_t count;
	size_t current; /* index of the one to use */
};

static void ask_source(struct bootstrap *b);

static void log_failure(const struct bootstrap *b, enum ares_io_status status)
{
	if (b->pause_ms == 0) {
		log_event(LOG_LEVEL_WARNING, "bootstrap-failed", KV_TEXT("name", b->server.name),
			  KV_TEXT("why", ares_io_status_text(status)));
	}
}

static void on_task(struct task *task)
{
	struct bootstrap *b = container_of(task, struct bootstrap, task);

	if (b->is_over) {
		b->is_busy = false;
		b->on_done(b->arg);
	} else {
		ask_source(b);
	}
}

/* Go on at the end of the turn: a lookup may end from within its beginning. */
static void go_on(struct bootstrap *b, bool is_over)
{
	b->is_over = is_over;
	loop_run_task(b->loop, &b->task, on_task);
}

static void take_addresses(struct bootstrap *b, const struct ares_io_address *found, size_t count)
{
	struct addr before = b->addresses[b->current];
	uint32_t ttl_s = TTL_MAX_S;

	b->count = 0;
	b->current = 0;
	for (size_t i = 0; i < count; i++) {
		struct addr *a = &b->addresses[b->count];

		*a = found[i].addr;
		addr_set_port(a, b->server.port);
		/* Keep to the one in use: those before it may be those that failed. */
		if (!b->is_elsewhere && addr_equal(a, &before)) {
			b->current = b->count;
		}
		b->count++;
		ttl_s = found[i].ttl_s < ttl_s ? found[i].ttl_s : ttl_s;
	}
	ttl_s = ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s;
	b->expires_ms = loop_now_ms(b->loop) + (uint64_t)ttl_s * 1000;
	b->is_stale = false;
	b->is_elsewhere = false;
	b->pause_ms = 0;
	b->not_before_ms = loop_now_ms(b->loop) + PAUSE_MIN_MS;
}

static void on_lookup(void *arg, enum ares_io_status status,
		      const struct ares_io_address *addresses, size_t count)
{
	struct bootstrap *b = arg;

	if (status == ARES_IO_CANCELLED) {
		return; /* by bootstrap_free() */
	}
	if (b->is_overtaken) {
		b->is_overtaken = false;
		b->source = 0;
		go_on(b, false);
		return;
	}
	if (status == ARES_IO_OK && count > 0) {
		take_addresses(b, addresses, count);
		go_on(b, true);
		return;
	}
	if (++b->source < b->source_count) {
		go_on(b, false);
		return;
	}
	metrics_add(b->metrics, METRIC_bootstraps_failed, 1);
	log_failure(b, status);
	b->pause_ms = b->pause_ms ? b->pause_ms * 2 : PAUSE_MIN_MS;
	b->pause_ms = b->pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : b->pause_ms;
	b->not_before_ms = loop_now_ms(b->loop) + b->pause_ms;
	go_on(b, true);
}

static void ask_source(struct bootstrap *b)
{
	ares_io_lookup(b->sources[b->source].io, b->server.name, AF_UNSPEC, on_lookup, b);
}

static void begin_lookup(struct bootstrap *b)
{
	if (b->is_busy || loop_now_ms(b->loop) < b->not_before_ms) {
		return;
	}
	metrics_add(b->metrics, METRIC_bootstraps, 1);
	b->is_busy = true;
	b->source = 0;
	go_on(b, false);
}

const struct addr *bootstrap_address(struct bootstrap *b)
{
	if (b->count == 0 || b->is_stale || loop_now_ms(b->loop) >= b->expires_ms) {
		begin_lookup(b);
	}
	return b->count > 0 ? &b->addresses[b->current] : NULL;
}

bool bootstrap_is_busy(const struct bootstrap *b)
{
	return b->is_busy;
}

void bootstrap_note_failure(struct bootstrap *b, const struct addr *addr)
{
	if (b->count > 0 && addr_equal(addr, &b->addresses[b->current])) {
		b->current = (b->current + 1) % b->count;
		b->is_stale = true;
	}
}

void bootstrap_note_network(struct bootstrap *b)
{
	b->is_stale = true;
	b->is_elsewhere = true;
	b->is_overtaken = b->is_busy && !b->is_over;
	b->not_before_ms = 0;
	b->pause_ms = 0;
	for (size_t i = 0; i < b->source_count; i++) {
		ares_io_break_streams(b->sources[i].io);
	}
}

/* --- life ------------------------------------------------------------------------------------ */

static int source_init(struct source *source, const struct bootstrap_config *config)
{
	bool is_encrypted = endpoint_is_encrypted(&source->endpoint);
	struct ares_io_config io_config = {
		.loop = config->loop,
		.servers = &source->endpoint.addr,
		.server_count = 1,
		.timeout_ms = TIMEOUT_MS,
		.tries = TRIES,
		.stream_only = endpoint_is_stream(&source->endpoint),
	};

	if (is_encrypted) {
		int r = encryption_init(&source->encryption, config->loop, config->metrics,
					&source->endpoint, config->security, "dot", false);

		if (r < 0) {
			return r;
		}
		io_config.stream = &transport_tls;
		io_config.peer = &source->encryption.peer;
	}
	source->io = ares_io_new(&io_config);
	return source->io ? 0 : -errno;
}

struct bootstrap *bootstrap_new(const struct bootstrap_config *config)
{
	struct bootstrap *b = calloc(1, sizeof *b);
	int r = b ? 0 : -ENOMEM;

	if (r == 0) {
		b->loop = config->loop;
		b->metrics = config->metrics;
		b->server = *config->server;
		b->on_done = config->on_done;
		b->arg = config->arg;
	}
	for (size_t i = 0; r == 0 && i < config->source_count; i++) {
		b->sources[i].endpoint = config->sources[i];
		b->source_count++;
		r = source_init(&b->sources[i], config);
	}
	if (r < 0) {
		bootstrap_free(b);
		errno = -r;
		return NULL;
	}
	return b;
}

void bootstrap_free(struct bootstrap *b)
{
	if (!b) {
		return;
	}
	for (size_t i = 0; i < b->source_count; i++) {
		ares_io_free(b->sources[i].io);
		encryption_done(&b->sources[i].encryption);
	}
	task_cancel(&b->task);
	free(b);
}
