/* SPDX-License-Identifier: ISC */
#include "socksd/target/resolver.h"

#include "common/container.h"
#include "common/crypto.h"

#include "socksd/metrics.h"
#include "socksd/target/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SERVERS_MAX = 8,
	TIMEOUT_MS = 2000,
	TRIES = 2,
	/* What one name takes at most, addresses and bookkeeping included. */
	CACHE_BYTES_PER_NAME = 640,
};

/* Who waits for a lookup. */
struct waiter {
	struct waiter *next;
	resolver_fn fn;
	void *arg;
};

/* One lookup under way. */
struct flight {
	struct flight *next;
	struct flight *prev;
	struct resolver *resolver;
	const struct ares_io *ares; /* who is asked */
	struct waiter *waiters;     /* first come, first called */
	struct waiter **waiters_end;
	int family;
	char name[];
};

struct resolver {
	struct loop *loop;
	struct metrics *metrics;
	struct ares_io *ares;
	struct names *names;
	struct flight *flights; /* newest first; few enough to be looked through */
	struct addr servers[SERVERS_MAX];
	size_t server_count;
};

/* --- configuration --------------------------------------------------------------------------- */

/* The servers to ask: those configured, or the system's. */
static size_t list_servers(const struct dns_params *dns, struct addr servers[SERVERS_MAX])
{
	size_t count = 0;

	while (count < dns->servers.count && count < SERVERS_MAX) {
		servers[count] = dns->servers.items[count];
		count++;
	}
	if (count == 0) {
		count = ares_io_system_servers("/etc/resolv.conf", servers, SERVERS_MAX);
	}
	if (count == 0) {
		/* As resolv.conf(5) has it for an empty file. */
		addr_parse("127.0.0.1", 53, &servers[0]);
		count = 1;
	}
	return count;
}

static bool same_servers(const struct resolver *r, const struct addr *servers, size_t count)
{
	bool same = count == r->server_count;

	for (size_t i = 0; same && i < count; i++) {
		same = addr_equal(&servers[i], &r->servers[i]);
	}
	return same;
}

/* Ask other servers from now on. 0 or -errno. */
static int change_servers(struct resolver *r, const struct addr *servers, size_t count)
{
	const struct ares_io_config config = {
		.loop = r->loop,
		.servers = servers,
		.server_count = count,
		.timeout_ms = TIMEOUT_MS,
		.tries = TRIES,
		.hosts_file = true,
	};
	struct ares_io *old = r->ares;
	struct ares_io *new = ares_io_new(&config);

	if (!new) {
		return -errno;
	}
	r->ares = new;
	memcpy(r->servers, servers, count * sizeof *servers);
	r->server_count = count;
	/* Those whose lookup is cancelled may ask again at once, and not for what the old ones
	 * said. */
	names_clear(r->names);
	ares_io_free(old);
	return 0;
}

int resolver_configure(struct resolver *r, const struct dns_params *dns)
{
	struct addr servers[SERVERS_MAX];
	size_t count = list_servers(dns, servers);
	int result = same_servers(r, servers, count) ? 0 : change_servers(r, servers, count);

	if (result == 0) {
		names_limit(r->names, dns->cache_names, dns->cache_names * CACHE_BYTES_PER_NAME);
	}
	return result;
}

struct resolver *resolver_new(struct loop *loop, struct metrics *metrics,
			      const struct dns_params *dns)
{
	struct names_config names = { 0 };
	struct resolver *r = calloc(1, sizeof *r);
	int result;

	if (!r) {
		return NULL;
	}
	crypto_random(&names.key, sizeof names.key);
	r->loop = loop;
	r->metrics = metrics;
	r->names = names_new(&names);
	result = r->names ? resolver_configure(r, dns) : -ENOMEM;
	if (result < 0) {
		resolver_free(r);
		errno = -result;
		return NULL;
	}
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r) {
		return;
	}
	ares_io_free(r->ares);
	names_free(r->names);
	free(r);
}

/* --- flights --------------------------------------------------------------------------------- */

static void count(struct resolver *r, enum socksd_metric metric)
{
	if (r->metrics) {
		metrics_add(r->metrics, metric, 1);
	}
}

/* One that can be joined: not one that is about to be cancelled with the servers of before. */
static struct flight *find_flight(const struct resolver *r, const char *name, int family)
{
	struct flight *f = r->flights;

	while (f && (f->ares != r->ares || f->family != family || strcmp(f->name, name) != 0)) {
		f = f->next;
	}
	return f;
}

static struct flight *new_flight(struct resolver *r, const char *name, int family)
{
	size_t len = strlen(name) + 1;
	struct flight *f = calloc(1, sizeof *f + len);

	if (!f) {
		return NULL;
	}
	f->resolver = r;
	f->ares = r->ares;
	f->family = family;
	f->waiters_end = &f->waiters;
	memcpy(f->name, name, len);
	f->next = r->flights;
	if (f->next) {
		f->next->prev = f;
	}
	r->flights = f;
	return f;
}

/* 0 or -ENOMEM. */
static int add_waiter(struct flight *f, resolver_fn fn, void *arg)
{
	struct waiter *w = calloc(1, sizeof *w);

	if (!w) {
		return -ENOMEM;
	}
	w->fn = fn;
	w->arg = arg;
	*f->waiters_end = w;
	f->waiters_end = &w->next;
	return 0;
}

/* From now on nobody else can join it. */
static void unlink_flight(struct flight *f)
{
	*(f->prev ? &f->prev->next : &f->resolver->flights) = f->next;
	if (f->next) {
		f->next->prev = f->prev;
	}
}

/* Tell everybody who waits. A callback may start other lookups. */
static void land(struct flight *f, enum ares_io_status status, const struct addr *addresses,
		 size_t address_count)
{
	while (f->waiters) {
		struct waiter *w = f->waiters;

		f->waiters = w->next;
		w->fn(w->arg, status, addresses, address_count);
		free(w);
	}
	free(f);
}

/* --- answers --------------------------------------------------------------------------------- */

/* What a status is to the cache; NAMES_MISS: nothing. */
static enum names_result result_of(enum ares_io_status status)
{
	switch (status) {
	case ARES_IO_OK:
		return NAMES_FOUND;
	case ARES_IO_NO_NAME:
		return NAMES_NO_NAME;
	case ARES_IO_NO_DATA:
		return NAMES_NO_DATA;
	case ARES_IO_SERVFAIL:
	case ARES_IO_TIMEOUT:
	case ARES_IO_UNREACHABLE:
		return NAMES_FAILED;
	case ARES_IO_REFUSED:
	case ARES_IO_CANCELLED:
		break;
	}
	return NAMES_MISS;
}

static enum ares_io_status status_of(enum names_result result)
{
	switch (result) {
	case NAMES_FOUND:
		return ARES_IO_OK;
	case NAMES_NO_NAME:
		return ARES_IO_NO_NAME;
	case NAMES_NO_DATA:
		return ARES_IO_NO_DATA;
	default:
		return ARES_IO_SERVFAIL;
	}
}

static void on_answer(void *arg, enum ares_io_status status,
		      const struct ares_io_address *addresses, size_t address_count)
{
	struct flight *f = arg;
	struct resolver *r = f->resolver;
	struct addr found[NAMES_ADDRESSES_MAX];
	size_t found_count = 0;
	uint32_t ttl_s = UINT32_MAX;

	while (found_count < address_count && found_count < NAMES_ADDRESSES_MAX) {
		found[found_count] = addresses[found_count].addr;
		ttl_s = addresses[found_count].ttl_s < ttl_s ? addresses[found_count].ttl_s : ttl_s;
		found_count++;
	}
	unlink_flight(f);
	if (result_of(status) != NAMES_MISS) {
		names_put(r->names, f->name, f->family, result_of(status), found, found_count,
			  (uint64_t)ttl_s * 1000, loop_now_ms(r->loop));
	}
	land(f, status, found, found_count);
}

/* Answer from the cache. False when it does not know. */
static bool answer_cached(struct resolver *r, const char *name, int family, resolver_fn fn,
			  void *arg)
{
	struct addr copy[NAMES_ADDRESSES_MAX];
	const struct addr *addresses;
	size_t address_count;
	enum names_result result =
		names_get(r->names, name, family, loop_now_ms(r->loop), &addresses, &address_count);

	if (result == NAMES_MISS) {
		return false;
	}
	/* The callback may change the cache. */
	if (address_count > 0) {
		memcpy(copy, addresses, address_count * sizeof *copy);
	}
	count(r, METRIC_names_cached);
	fn(arg, status_of(result), copy, address_count);
	return true;
}

void resolver_lookup(struct resolver *r, const char *name, int family, resolver_fn fn, void *arg)
{
	struct flight *f;
	bool joined;

	if (answer_cached(r, name, family, fn, arg)) {
		return;
	}
	f = find_flight(r, name, family);
	joined = f != NULL;
	f = joined ? f : new_flight(r, name, family);
	if (!f || add_waiter(f, fn, arg) < 0) {
		if (f && !joined) {
			unlink_flight(f);
			free(f);
		}
		fn(arg, ARES_IO_REFUSED, NULL, 0);
		return;
	}
	count(r, joined ? METRIC_names_joined : METRIC_names_asked);
	if (!joined) {
		ares_io_lookup(r->ares, f->name, family, on_answer, f);
	}
}
