/* SPDX-License-Identifier: ISC */
#include "socksd/udp/udp_names.h"

#include "socksd/target/names.h"

#include <stdlib.h>
#include <string.h>

/* A datagram. */
struct waiting {
	struct waiting *next;
	size_t len;
	uint8_t bytes[];
};

struct udp_name {
	struct udp_names *names; /* NULL: the association is gone, but not the lookup */
	struct udp_name *next;
	enum {
		NAME_UNKNOWN,
		NAME_KNOWN, /* addr */
		NAME_FAILED,
	} state;
	bool asking;
	bool again; /* what is being asked for is outdated */
	int family; /* being asked for */
	uint16_t port;
	enum udp_drop why; /* FAILED */
	struct addr addr;
	uint8_t socket; /* the owner's: by which addr is sent to */
	uint64_t fresh_until_ms;
	struct waiting *first;
	struct waiting **end;
	char name[];
};

struct udp_names {
	struct resolver *resolver;
	struct loop *loop;
	const struct udp_names_ops *ops;
	void *arg;
	int family;
	struct udp_name *list; /* used last, first */
	size_t count;
	size_t waiting_count;
	size_t waiting_bytes;
};

struct udp_names *udp_names_new(struct resolver *resolver, struct loop *loop, int family,
				const struct udp_names_ops *ops, void *arg)
{
	struct udp_names *names = calloc(1, sizeof *names);

	if (names) {
		names->resolver = resolver;
		names->loop = loop;
		names->family = family;
		names->ops = ops;
		names->arg = arg;
	}
	return names;
}

static void free_waiting(struct waiting *w)
{
	while (w) {
		struct waiting *next = w->next;

		free(w);
		w = next;
	}
}

/* One that is being asked for goes when the answer comes. */
static void free_name(struct udp_name *n)
{
	free_waiting(n->first);
	n->first = NULL;
	n->names = NULL;
	if (!n->asking) {
		free(n);
	}
}

void udp_names_free(struct udp_names *names)
{
	while (names && names->list) {
		struct udp_name *n = names->list;

		names->list = n->next;
		free_name(n);
	}
	free(names);
}

void udp_names_reset(struct udp_names *names, int family)
{
	names->family = family;
	for (struct udp_name *n = names->list; n; n = n->next) {
		n->state = NAME_UNKNOWN;
		n->again = n->asking;
		n->fresh_until_ms = 0;
		n->addr = (struct addr){ 0 };
	}
}

/* --- the list -------------------------------------------------------------------------------- */

/* Take an entry out and put it first. */
static void use(struct udp_names *names, struct udp_name **link)
{
	struct udp_name *n = *link;

	*link = n->next;
	n->next = names->list;
	names->list = n;
}

/* Make room for one more by dropping the one unused for longest. False when all are being asked
 * for.
 */
static bool make_room(struct udp_names *names)
{
	struct udp_name **victim = NULL;
	struct udp_name *gone;

	if (names->count < UDP_NAMES_MAX) {
		return true;
	}
	for (struct udp_name **link = &names->list; *link; link = &(*link)->next) {
		victim = (*link)->asking ? victim : link;
	}
	if (!victim) {
		return false;
	}
	gone = *victim;
	*victim = gone->next;
	names->count--;
	free_name(gone);
	return true;
}

static struct udp_name *find(struct udp_names *names, const char *name, uint16_t port)
{
	size_t size = strlen(name) + 1;
	struct udp_name *n;

	for (struct udp_name **link = &names->list; *link; link = &(*link)->next) {
		if ((*link)->port == port && strcmp((*link)->name, name) == 0) {
			use(names, link);
			return names->list;
		}
	}
	n = make_room(names) ? calloc(1, sizeof *n + size) : NULL;
	if (n) {
		n->names = names;
		n->port = port;
		n->end = &n->first;
		memcpy(n->name, name, size);
		n->next = names->list;
		names->list = n;
		names->count++;
	}
	return n;
}

/* --- asking ---------------------------------------------------------------------------------- */

static void on_lookup(void *arg, enum ares_io_status status, const struct addr *addresses,
		      size_t count);

static void settle(struct udp_name *n, enum udp_drop why)
{
	n->asking = false;
	n->fresh_until_ms = loop_now_ms(n->names->loop) + UDP_NAMES_FRESH_MS;
	n->why = why;
	n->state = why == UDP_DROP_COUNT ? NAME_KNOWN : NAME_FAILED;
	if (n->state == NAME_FAILED) {
		n->addr = (struct addr){ 0 };
	}
}

/* Those that have waited, in their order. `ready` may do anything but free the names: the name may
 * be gone when it returns. */
static void release(struct udp_name *n)
{
	struct udp_names *names = n->names;
	struct waiting *w = n->first;
	struct addr to = n->addr;
	uint8_t socket = n->socket;
	bool known = n->state == NAME_KNOWN;
	enum udp_drop why = n->why;

	n->first = NULL;
	n->end = &n->first;
	while (w) {
		struct waiting *next = w->next;

		names->waiting_count--;
		names->waiting_bytes -= w->len;
		names->ops->ready(names->arg, known ? &to : NULL, socket, why, w->bytes, w->len);
		free(w);
		w = next;
	}
}

static void ask(struct udp_name *n, int family)
{
	n->family = family;
	resolver_lookup(n->names->resolver, n->name, family, on_lookup, n);
}

/* The reason that tells more, of two families. */
static enum udp_drop better(enum udp_drop a, enum udp_drop b)
{
	return a == UDP_DROP_unresolved ? b : a;
}

static bool is_temporary(enum ares_io_status status)
{
	return status != ARES_IO_OK && status != ARES_IO_NO_NAME && status != ARES_IO_NO_DATA;
}

static enum udp_drop choose(struct udp_name *n, const struct addr *addresses, size_t count)
{
	struct addr with_port[NAMES_ADDRESSES_MAX];
	struct addr chosen = n->addr;
	uint8_t socket = n->socket;
	enum udp_drop why;

	count = count < NAMES_ADDRESSES_MAX ? count : NAMES_ADDRESSES_MAX;
	for (size_t i = 0; i < count; i++) {
		with_port[i] = addresses[i];
		addr_set_port(&with_port[i], n->port);
	}
	why = n->names->ops->choose(n->names->arg, n->name, with_port, count, &chosen, &socket);
	if (why == UDP_DROP_COUNT) {
		n->addr = chosen;
		n->socket = socket;
	}
	return why;
}

/* False when it has been settled without asking. */
static bool begin(struct udp_name *n)
{
	struct udp_names *names = n->names;

	n->again = false;
	if (!names->ops->may_ask(names->arg, n->name, n->port)) {
		settle(n, UDP_DROP_denied);
		return false;
	}
	n->asking = true;
	n->why = UDP_DROP_unresolved;
	ask(n, names->family == AF_INET6 ? AF_INET6 : AF_INET);
	return true;
}

static void on_lookup(void *arg, enum ares_io_status status, const struct addr *addresses,
		      size_t count)
{
	struct udp_name *n = arg;
	enum udp_drop why = UDP_DROP_unresolved;

	if (!n->names) {
		free(n);
		return;
	}
	if (n->again) {
		if (!begin(n)) {
			release(n);
		}
		return;
	}
	if (status == ARES_IO_OK && count > 0) {
		why = choose(n, addresses, count);
	} else if (is_temporary(status) && n->addr.sa.sa_family == n->family) {
		why = UDP_DROP_COUNT; /* what was chosen stays */
	}
	if (why != UDP_DROP_COUNT) {
		n->why = better(n->why, why);
		why = n->why;
		if (n->names->family == AF_UNSPEC && n->family == AF_INET &&
		    status != ARES_IO_NO_NAME) {
			ask(n, AF_INET6);
			return;
		}
	}
	settle(n, why);
	release(n);
}

/* Keep a copy until the answer is there. */
static bool wait(struct udp_name *n, const uint8_t *bytes, size_t len)
{
	struct udp_names *names = n->names;
	struct waiting *w;

	if (names->waiting_count == UDP_NAMES_WAITING_MAX ||
	    len > UDP_NAMES_WAITING_BYTES_MAX - names->waiting_bytes) {
		return false;
	}
	w = malloc(sizeof *w + len);
	if (!w) {
		return false;
	}
	w->next = NULL;
	w->len = len;
	memcpy(w->bytes, bytes, len);
	*n->end = w;
	n->end = &w->next;
	names->waiting_count++;
	names->waiting_bytes += len;
	return true;
}

enum udp_names_answer udp_names_find(struct udp_names *names, const char *name, uint16_t port,
				     const uint8_t *bytes, size_t len, struct addr *ret_addr,
				     uint8_t *ret_socket, enum udp_drop *ret_why)
{
	struct udp_name *n = find(names, name, port);

	*ret_why = UDP_DROP_queue;
	if (!n) {
		return UDP_NAMES_DROP;
	}
	if (!n->asking && loop_now_ms(names->loop) >= n->fresh_until_ms) {
		begin(n); /* nothing waits for it, so that nothing is released in here */
	}
	switch (n->state) {
	case NAME_KNOWN:
		*ret_addr = n->addr;
		*ret_socket = n->socket;
		return UDP_NAMES_KNOWN;
	case NAME_FAILED:
		if (!n->asking) {
			*ret_why = n->why;
			return UDP_NAMES_DROP;
		}
		break;
	case NAME_UNKNOWN:
		break;
	}
	return wait(n, bytes, len) ? UDP_NAMES_WAIT : UDP_NAMES_DROP;
}
