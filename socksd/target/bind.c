/* SPDX-License-Identifier: ISC */
#include "socksd/target/bind.h"

#include "common/container.h"
#include "common/crypto.h"

#include "socksd/target/expected_peer.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* Strangers that come faster than they are thrown out must not take the peer's place. */
	BACKLOG = 256,
	ACCEPTS_A_TURN = 16, /* then others have their turn */
	PORT_TRIES = 1024,   /* the most that one bind may try; each costs two system calls */
	PROBE_PORT = 9,      /* discard; nothing is sent to it */
};

struct bind {
	struct bind_config config;
	const struct bind_ops *ops;
	void *arg;
	bool ended;
	unsigned lookups;                     /* on their way; they hold the memory */
	enum ares_io_status lookup_status;    /* the worst so far */
	char name[SOCKS5_NAME_MAX + 1];       /* empty: an address was requested */
	struct addr found[EXPECTED_PEER_MAX]; /* addresses to be judged */
	size_t found_count;
	struct expected_peer expected; /* those that may come */
	int anybody_family;
	struct watch listener;
	struct task start_task;
	struct deferred deferred;
};

const char *bind_outcome_name(enum bind_outcome outcome)
{
	static const char *const names[] = {
#define X(name, token) [BIND_##name] = (token),
		BIND_OUTCOMES(X)
#undef X
	};

	return names[outcome];
}

/* --- life ------------------------------------------------------------------------------------ */

static void free_bind(struct deferred *deferred)
{
	free(container_of(deferred, struct bind, deferred));
}

/* Stop everything; the memory goes when no lookup refers to it. */
static void end(struct bind *b)
{
	if (b->ended) {
		return;
	}
	b->ended = true;
	task_cancel(&b->start_task);
	watch_close(&b->listener);
	if (b->lookups == 0) {
		loop_free_later(b->config.loop, &b->deferred, free_bind);
	}
}

void bind_cancel(struct bind *b)
{
	if (b) {
		end(b);
	}
}

static void fail(struct bind *b, enum bind_outcome outcome, enum socks5_reply reply,
		 const char *why)
{
	const struct bind_result result = {
		.outcome = outcome, .reply = reply, .why = why, .fd = -1
	};

	end(b);
	b->ops->done(b->arg, &result);
}

/* --- accepting ------------------------------------------------------------------------------- */

/* Closing like this sends RST: nobody takes it for an answer. */
static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

/* Whether the peer may be handed to the client. */
static bool is_welcome(struct bind *b, const struct addr *peer, const char **ret_why)
{
	const struct egress *egress = NULL;

	*ret_why = "unexpected";
	return expected_peer_matches(&b->expected, peer) &&
	       b->ops->allowed(b->arg, peer, &egress, ret_why);
}

static void judge(struct bind *b, int fd, const struct addr *from)
{
	const int on = 1;
	struct bind_result result = {
		.outcome = BIND_CONNECTED,
		.reply = SOCKS5_SUCCEEDED,
		.why = bind_outcome_name(BIND_CONNECTED),
		.fd = fd,
		.peer = addr_unmap(from),
	};
	const char *why;

	if (!is_welcome(b, &result.peer, &why)) {
		reset(fd);
		b->ops->stranger(b->arg, &result.peer, why);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	end(b);
	b->ops->done(b->arg, &result);
}

/* Whether accept() failed for a reason that is the connection's, not ours: the next one may be
 * fine (accept(2), "Error handling"). */
static bool is_of_the_connection(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case EPERM: /* the firewall's word */
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

static void on_listener(struct watch *watch, uint32_t events)
{
	struct bind *b = container_of(watch, struct bind, listener);

	(void)events;
	for (int i = 0; i < ACCEPTS_A_TURN && !b->ended; i++) {
		struct addr from = { 0 };
		socklen_t len = sizeof from;
		int fd = accept4(watch->fd, &from.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			judge(b, fd, &from);
		} else if (errno == EAGAIN) {
			return;
		} else if (!is_of_the_connection(errno)) {
			fail(b, BIND_LOST, socks5_reply_from_errno(errno), "accept_failed");
		}
	}
}

/* --- listening ------------------------------------------------------------------------------- */

/* From which address a socket prepared like this one reaches `a`. 0 or -errno. */
static int find_source(const struct egress *egress, const struct addr *a, struct addr *ret_source)
{
	struct addr target = *a;
	socklen_t len = sizeof *ret_source;
	int fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0) {
		return -errno;
	}
	addr_set_port(&target, PROBE_PORT);
	*ret_source = (struct addr){ 0 };
	r = egress ? egress_mark(egress, fd, a->sa.sa_family) : 0;
	if (r == 0 && (connect(fd, &target.sa, addr_len(&target)) < 0 ||
		       getsockname(fd, &ret_source->sa, &len) < 0)) {
		r = -errno;
	}
	close(fd);
	addr_set_port(ret_source, 0);
	return r;
}

/* Where the rest of the world is, as far as routes are concerned: addresses for documentation
 * (RFC 5737, RFC 3849), which nobody has. */
static struct addr far_away(int family)
{
	static const uint8_t ipv4[4] = { 198, 51, 100, 1 };
	static const uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };

	return family == AF_INET ? addr_from_ipv4(ipv4, 0) : addr_from_ipv6(ipv6, 0);
}

/* The address to bind to and the one to tell the client, for a peer that is known. */
static int choose_for_peer(const struct egress *egress, const struct addr *peer,
			   struct addr *ret_bound, struct addr *ret_announced)
{
	const struct addr *named = egress ? egress_address(egress, peer->sa.sa_family) : NULL;
	int r = 0;

	if (named) {
		*ret_bound = *named;
	} else {
		r = find_source(egress, peer, ret_bound);
	}
	*ret_announced = *ret_bound;
	return r;
}

/* The same for whoever comes. */
static int choose_for_anybody(const struct bind *b, const struct egress *egress,
			      struct addr *ret_bound, struct addr *ret_announced)
{
	int family = b->anybody_family;
	const struct addr *named = egress ? egress_address(egress, family) : NULL;
	struct addr far = far_away(family);
	int r;

	if (named) {
		*ret_bound = *ret_announced = *named;
		return 0;
	}
	*ret_bound = (struct addr){ 0 };
	ret_bound->sa.sa_family = (sa_family_t)family;
	r = find_source(egress, &far, ret_announced);
	if (r < 0 && b->config.client_side.sa.sa_family == family) {
		*ret_announced = b->config.client_side;
		return 0;
	}
	return r;
}

/* One attempt at a port. 0 or -errno. */
static int listen_on(int fd, struct addr *a, uint16_t port)
{
	addr_set_port(a, port);
	if (bind(fd, &a->sa, addr_len(a)) < 0 || listen(fd, BACKLOG) < 0) {
		return -errno;
	}
	return 0;
}

static int open_socket(const struct egress *egress, int family)
{
	const int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0) {
		return -errno;
	}
	/* Ports whose last connection is in TIME_WAIT are free; of two that listen, one fails. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	}
	r = egress ? egress_mark(egress, fd, family) : 0;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Open a socket that listens on a free port of the range, beginning anywhere in it so that nobody
 * can tell the next one. Returns it, or -errno: -EADDRINUSE when no free one was found. */
static int open_listener(const struct bind *b, const struct egress *egress, struct addr *bound)
{
	uint32_t first = b->config.first_port;
	uint32_t size = b->config.last_port - first + 1;
	uint32_t tries = size < PORT_TRIES ? size : PORT_TRIES;
	uint32_t offset;
	int r = -EADDRINUSE;

	crypto_random(&offset, sizeof offset);
	for (uint32_t i = 0; i < (first == 0 ? 1 : tries) && r == -EADDRINUSE; i++) {
		/* listen() may fail after bind(), so each try needs a socket of its own. */
		int fd = open_socket(egress, bound->sa.sa_family);

		if (fd < 0) {
			return fd;
		}
		r = listen_on(fd, bound, (uint16_t)(first == 0 ? 0 : first + (offset + i) % size));
		if (r == 0) {
			return fd;
		}
		close(fd);
	}
	return r;
}

/* Watch the listening socket, which is owned, and say where it is. */
static int begin(struct bind *b, int fd, const struct addr *own)
{
	int family = own->sa.sa_family;
	const struct addr *public =
		family == AF_INET ? &b->config.public_ipv4 : &b->config.public_ipv6;
	struct addr announced = public->sa.sa_family == family ? *public : *own;
	struct addr local = { 0 };
	socklen_t len = sizeof local;
	int r = getsockname(fd, &local.sa, &len) < 0 ? -errno : 0;

	if (r == 0) {
		r = watch_start(&b->listener, b->config.loop, fd, LOOP_READ, on_listener);
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	addr_set_port(&announced, addr_port(&local));
	b->ops->listening(b->arg, &announced);
	return 0;
}

/* Listen for one peer, or for anybody (NULL), by its egress. 0, and the client has been told, or
 * -errno. */
static int listen_for(struct bind *b, const struct addr *peer, const struct egress *egress)
{
	int family = peer ? peer->sa.sa_family : b->anybody_family;
	struct addr bound;
	struct addr announced;
	int fd;
	int r;

	if (egress && !egress_has_family(egress, family)) {
		return -ENETUNREACH;
	}
	r = peer ? choose_for_peer(egress, peer, &bound, &announced)
		 : choose_for_anybody(b, egress, &bound, &announced);
	if (r < 0) {
		return r;
	}
	fd = open_listener(b, egress, &bound);
	return fd < 0 ? fd : begin(b, fd, &announced);
}

/* Whether it is the egress that cannot be had: no capability, interface or address. */
static bool is_of_the_egress(int error)
{
	return error == EPERM || error == ENODEV || error == EADDRNOTAVAIL;
}

static void fail_to_listen(struct bind *b, const struct egress *egress, int error)
{
	enum socks5_reply reply = socks5_reply_from_errno(error);
	const char *why = socks5_reply_name(reply);

	if (error == EADDRINUSE) {
		why = "no_port";
	} else if (egress && error == ENETUNREACH) {
		why = "no_egress_address";
	} else if (egress && is_of_the_egress(error)) {
		reply = SOCKS5_GENERAL_FAILURE;
		why = "egress_failed";
		b->ops->egress_failed(b->arg, egress, error);
	}
	fail(b, BIND_NO_SOCKET, reply, why);
}

/* --- whom to expect -------------------------------------------------------------------------- */

/* What was asked for 0.0.0.0 or ::. */
static void wait_for_anybody(struct bind *b)
{
	const struct egress *egress = NULL;
	const char *why = NULL;
	int r;

	if (!b->ops->allowed(b->arg, &b->found[0], &egress, &why)) {
		fail(b, BIND_DENIED, SOCKS5_NOT_ALLOWED, why);
		return;
	}
	b->anybody_family = b->found[0].sa.sa_family;
	expected_peer_add(&b->expected, &b->found[0]);
	r = listen_for(b, NULL, egress);
	if (r < 0 && b->config.client_side.sa.sa_family != b->anybody_family &&
	    !(egress && is_of_the_egress(-r))) {
		/* Either may just stand for "not known"; there is no way for this family. */
		b->anybody_family = b->config.client_side.sa.sa_family;
		r = listen_for(b, NULL, egress);
	}
	if (r < 0) {
		fail_to_listen(b, egress, -r);
	}
}

/* Listen for the first expected peer of a family, by the egress that the rules want for it, which
 * *ret_egress is set to. 0 or -errno. */
static int listen_for_family(struct bind *b, int family, const struct egress **ret_egress)
{
	const struct addr *peer = expected_peer_of(&b->expected, family);
	const char *why;

	*ret_egress = NULL;
	if (!peer) {
		return -EAFNOSUPPORT;
	}
	return b->ops->allowed(b->arg, peer, ret_egress, &why) ? listen_for(b, peer, *ret_egress)
							       : -EACCES;
}

/* Of the addresses found, those that are allowed are expected; one socket listens for all of one
 * family: that of the control connection if there is a choice, the other if that cannot be. */
static void wait_for_known(struct bind *b)
{
	int preferred = b->config.client_side.sa.sa_family == AF_INET6 ? AF_INET6 : AF_INET;
	int other = preferred == AF_INET ? AF_INET6 : AF_INET;
	const struct egress *egress;
	const char *why = NULL;
	int r;

	for (size_t i = 0; i < b->found_count; i++) {
		egress = NULL;
		/* 0.0.0.0 out of DNS is nobody's address. */
		if (!expected_peer_is_anybody(&b->found[i]) &&
		    b->ops->allowed(b->arg, &b->found[i], &egress, &why)) {
			expected_peer_add(&b->expected, &b->found[i]);
		}
	}
	if (b->expected.count == 0) {
		fail(b, BIND_DENIED, SOCKS5_NOT_ALLOWED, why ? why : "unspecified");
		return;
	}
	if (!expected_peer_of(&b->expected, preferred)) {
		preferred = other;
	}
	r = listen_for_family(b, preferred, &egress);
	if (r < 0 && preferred != other && expected_peer_of(&b->expected, other)) {
		r = listen_for_family(b, other, &egress);
	}
	if (r < 0) {
		fail_to_listen(b, egress, -r);
	}
}

static void on_lookup(void *arg, enum ares_io_status status, const struct addr *addresses,
		      size_t count)
{
	struct bind *b = arg;

	b->lookups--;
	for (size_t i = 0; i < count && b->found_count < EXPECTED_PEER_MAX; i++) {
		b->found[b->found_count++] = addr_unmap(&addresses[i]);
	}
	b->lookup_status = status > b->lookup_status ? status : b->lookup_status;
	if (b->lookups > 0) {
		return;
	}
	if (b->ended) {
		loop_free_later(b->config.loop, &b->deferred, free_bind);
	} else if (b->found_count == 0) {
		fail(b, BIND_UNRESOLVED, SOCKS5_HOST_UNREACHABLE,
		     ares_io_status_text(b->lookup_status));
	} else {
		wait_for_known(b);
	}
}

static void look_up(struct bind *b)
{
	int family = b->config.family;

	/* Both at once, before any answer: a lookup may be answered from within. */
	b->lookups = family == AF_UNSPEC ? 2 : 1;
	if (family != AF_INET) {
		resolver_lookup(b->config.resolver, b->name, AF_INET6, on_lookup, b);
	}
	if (family != AF_INET6) {
		resolver_lookup(b->config.resolver, b->name, AF_INET, on_lookup, b);
	}
}

/* --- start ----------------------------------------------------------------------------------- */

static void on_start(struct task *task)
{
	struct bind *b = container_of(task, struct bind, start_task);

	if (b->name[0] != '\0') {
		look_up(b);
	} else if (expected_peer_is_anybody(&b->found[0])) {
		wait_for_anybody(b);
	} else {
		wait_for_known(b);
	}
}

struct bind *bind_start(const struct bind_config *config, const struct socks5_target *target,
			const struct bind_ops *ops, void *arg)
{
	struct bind *b = calloc(1, sizeof *b);

	if (!b) {
		return NULL;
	}
	b->config = *config;
	b->ops = ops;
	b->arg = arg;
	if (target->addr.sa.sa_family != AF_UNSPEC) {
		b->found[b->found_count++] = target->addr;
	} else {
		memcpy(b->name, target->name, sizeof b->name);
	}
	loop_run_task(config->loop, &b->start_task, on_start);
	return b;
}
