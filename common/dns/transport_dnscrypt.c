/* SPDX-License-Identifier: ISC */
#include "common/dns/transport.h"

#include "common/container.h"
#include "common/dns/asked.h"
#include "common/dns/dnscrypt_peer.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 65535,
	PREFIX_LEN = 2,
	/* Longest query: sealed, it must fit the length before it. */
	QUERY_MAX = MESSAGE_MAX - DNSCRYPT_QUERY_HEADER_BYTES - DNSCRYPT_PAD_MAX,
	RECV_PER_EVENT = 16,
	IN_FIRST_CAP = 4096,
	FLAG_TC = 0x02, /* in byte 2 */
};

struct sealed;

/* One query on its way. It has a socket of its own, also by datagram: so what the network says of
 * it is said of it alone, and it leaves from the address that is right at the moment. */
struct flight {
	struct watch watch;
	struct sealed *sealed;
	struct flight *next; /* sent later */
	struct flight *prev;
	struct deferred deferred;
	uint64_t due_ms;
	int fd;                     /* -1: waits for keys */
	struct dnscrypt_keys *keys; /* NULL: the same */
	struct asked asked;
	uint8_t nonce[DNSCRYPT_NONCE_BYTES];
	uint8_t *out; /* the query, while it waits; then, on a stream, what is not sent yet */
	size_t out_start;
	size_t out_len;
	uint8_t *in; /* on a stream: what came so far */
	size_t in_len;
	size_t in_cap;
};

struct sealed {
	struct transport transport;
	struct transport_config config;
	const struct transport_user *user_ops;
	void *user;
	struct dnscrypt_peer *peer;
	struct dnscrypt_waiter waiter;
	struct timer timer; /* of the oldest */
	struct deferred deferred;
	struct flight *oldest;
	struct flight *newest;
	uint32_t open_count;
	bool closed;
	uint8_t *inbox; /* for one datagram */
};

static struct sealed *sealed_of(struct transport *transport)
{
	return container_of(transport, struct sealed, transport);
}

static bool is_stream(const struct sealed *sealed)
{
	return sealed->transport.ops->socket_type == SOCK_STREAM;
}

/* --- flights --------------------------------------------------------------------------------- */

static void flight_free(struct deferred *deferred)
{
	struct flight *flight = container_of(deferred, struct flight, deferred);

	dnscrypt_keys_drop(flight->keys);
	free(flight->out);
	free(flight->in);
	free(flight);
}

static void flight_enlist(struct flight *flight)
{
	struct sealed *sealed = flight->sealed;

	flight->prev = sealed->newest;
	*(sealed->newest ? &sealed->newest->next : &sealed->oldest) = flight;
	sealed->newest = flight;
	sealed->open_count++;
}

static void flight_land(struct flight *flight)
{
	struct sealed *sealed = flight->sealed;

	*(flight->prev ? &flight->prev->next : &sealed->oldest) = flight->next;
	*(flight->next ? &flight->next->prev : &sealed->newest) = flight->prev;
	sealed->open_count--;
	watch_stop(&flight->watch);
	if (flight->fd >= 0) {
		close(flight->fd);
	}
	loop_free_later(sealed->config.loop, &flight->deferred, flight_free);
}

static void flight_fail(struct flight *flight, int error)
{
	struct sealed *sealed = flight->sealed;

	flight_land(flight);
	sealed->user_ops->on_failed(sealed->user, flight->asked.bytes, flight->asked.len, error);
}

/* Pass on what came if it answers; the flight is over then. */
static bool flight_take_answer(struct flight *flight, uint8_t *bytes, size_t len)
{
	struct sealed *sealed = flight->sealed;
	const uint8_t *nonce = dnscrypt_answer_nonce(bytes, len);
	uint8_t restored[ASKED_RESTORED_MAX];
	const uint8_t *msg;
	size_t msg_len;
	enum asked_fit fit = ASKED_OTHER;

	/* What is in a box that the server has made for this query may still answer another. */
	if (nonce && memcmp(nonce, flight->nonce, sizeof flight->nonce) == 0 &&
	    dnscrypt_open(dnscrypt_keys_session(flight->keys), bytes, len, &msg, &msg_len) == 0) {
		fit = asked_fit(&flight->asked, msg, msg_len);
	}
	if (fit != ASKED_ANSWERED && fit != ASKED_BARE) {
		sealed->transport.dropped_count++;
		return false;
	}
	if (fit == ASKED_BARE) {
		msg_len = asked_restore(&flight->asked, msg, msg_len, restored);
		msg = restored;
	}
	if (!is_stream(sealed) && msg[2] & FLAG_TC) {
		dnscrypt_peer_note_truncated(sealed->peer);
	}
	flight_land(flight);
	sealed->user_ops->on_message(sealed->user, msg, msg_len);
	return true;
}

/* --- datagrams ------------------------------------------------------------------------------- */

static void flight_on_datagram(struct watch *watch, uint32_t events)
{
	struct flight *flight = container_of(watch, struct flight, watch);
	struct sealed *sealed = flight->sealed;
	int error = 0;

	(void)events;
	for (unsigned i = 0; i < RECV_PER_EVENT; i++) {
		ssize_t n = recv(flight->fd, sealed->inbox, MESSAGE_MAX, 0);

		if (n >= 0) {
			if (flight_take_answer(flight, sealed->inbox, (size_t)n)) {
				return;
			}
		} else if (errno == EAGAIN || (error && errno != EINTR)) {
			break;
		} else if (errno != EINTR) {
			error = errno; /* an ICMP error; the answer may be queued behind it */
		}
	}
	if (error) {
		flight_fail(flight, error);
	}
}

/* --- streams: a connection for each query ---------------------------------------------------- */

/* 0, or a positive errno that ends the flight. */
static int flight_write(struct flight *flight)
{
	while (flight->out_start < flight->out_len) {
		ssize_t n = send(flight->fd, flight->out + flight->out_start,
				 flight->out_len - flight->out_start, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			return 0;
		}
		if (n < 0 && errno != EINTR) {
			return errno;
		}
		flight->out_start += n > 0 ? (size_t)n : 0;
	}
	return watch_modify(&flight->watch, LOOP_READ) < 0 ? EIO : 0;
}

static int flight_in_reserve(struct flight *flight)
{
	size_t cap = flight->in_cap ? PREFIX_LEN + MESSAGE_MAX : IN_FIRST_CAP;
	uint8_t *in;

	if (flight->in_len < flight->in_cap) {
		return 0;
	}
	in = realloc(flight->in, cap);
	if (!in) {
		return -ENOMEM;
	}
	flight->in = in;
	flight->in_cap = cap;
	return 0;
}

static void flight_read(struct flight *flight)
{
	for (;;) {
		ssize_t n;
		size_t len;

		if (flight_in_reserve(flight) < 0) {
			flight_fail(flight, ENOMEM);
			return;
		}
		n = recv(flight->fd, flight->in + flight->in_len, flight->in_cap - flight->in_len,
			 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			return;
		}
		if (n <= 0) {
			flight_fail(flight, n < 0 ? errno : ECONNRESET);
			return;
		}
		flight->in_len += (size_t)n;
		if (flight->in_len < PREFIX_LEN) {
			continue;
		}
		len = (size_t)(flight->in[0] << 8 | flight->in[1]);
		if (flight->in_len - PREFIX_LEN >= len) {
			/* Nothing else can come on this connection. */
			if (!flight_take_answer(flight, flight->in + PREFIX_LEN, len)) {
				flight_fail(flight, EBADMSG);
			}
			return;
		}
	}
}

static void flight_on_stream(struct watch *watch, uint32_t events)
{
	struct flight *flight = container_of(watch, struct flight, watch);
	int error = 0;

	if (events & LOOP_WRITE) {
		error = flight_write(flight);
	}
	if (error) {
		flight_fail(flight, error);
	} else if (events & (LOOP_READ | LOOP_ERROR | LOOP_HANGUP)) {
		flight_read(flight);
	}
}

/* --- taking off ------------------------------------------------------------------------------ */

static int flight_connect(struct flight *flight)
{
	struct sealed *sealed = flight->sealed;
	const struct addr *server = &sealed->config.server;
	bool stream = is_stream(sealed);
	const int one = 1;
	int type = stream ? SOCK_STREAM : SOCK_DGRAM;

	flight->fd = socket(server->sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (flight->fd < 0) {
		return -errno;
	}
	if (stream) {
		setsockopt(flight->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	}
	if (connect(flight->fd, &server->sa, addr_len(server)) < 0 && errno != EINPROGRESS) {
		return -errno;
	}
	return watch_start(&flight->watch, sealed->config.loop, flight->fd,
			   stream ? LOOP_READ | LOOP_WRITE : LOOP_READ,
			   stream ? flight_on_stream : flight_on_datagram);
}

/* Seal the query and send it, or begin to. Takes over the reference of keys. 0 or -errno. */
static int flight_take_off(struct flight *flight, struct dnscrypt_keys *keys, const uint8_t *msg,
			   size_t len)
{
	struct sealed *sealed = flight->sealed;
	bool stream = is_stream(sealed);
	size_t min_len = stream ? 0 : dnscrypt_peer_min_len(sealed->peer);
	uint8_t *out = malloc(PREFIX_LEN + DNSCRYPT_SEALED_MAX(len, min_len));
	size_t sealed_len;
	int r;

	flight->keys = keys;
	if (!out) {
		return -ENOMEM;
	}
	sealed_len = dnscrypt_seal(dnscrypt_keys_session(keys), msg, len, min_len, flight->nonce,
				   out + PREFIX_LEN);
	r = flight_connect(flight);
	if (r == 0 && stream) {
		out[0] = (uint8_t)(sealed_len >> 8);
		out[1] = (uint8_t)sealed_len;
		free(flight->out);
		flight->out = out;
		flight->out_len = PREFIX_LEN + sealed_len;
		return 0;
	}
	if (r == 0 && send(flight->fd, out + PREFIX_LEN, sealed_len, MSG_NOSIGNAL) < 0) {
		r = -errno;
	}
	free(out);
	return r;
}

/* Keep the query until there are keys. */
static int flight_wait(struct flight *flight, const uint8_t *msg, size_t len)
{
	flight->out = malloc(len);
	if (!flight->out) {
		return -ENOMEM;
	}
	memcpy(flight->out, msg, len);
	flight->out_len = len;
	return 0;
}

static struct flight *find_waiting(const struct sealed *sealed)
{
	struct flight *flight = sealed->oldest;

	while (flight && flight->keys) {
		flight = flight->next;
	}
	return flight;
}

/* A fetch of certificates has ended. */
static void sealed_on_keys(struct dnscrypt_waiter *waiter)
{
	struct sealed *sealed = container_of(waiter, struct sealed, waiter);
	struct flight *flight;

	while (!sealed->closed && (flight = find_waiting(sealed)) != NULL) {
		struct dnscrypt_keys *keys = dnscrypt_peer_keys(sealed->peer);
		int r = keys ? flight_take_off(flight, keys, flight->out, flight->out_len) : -errno;

		if (!keys && r == -EAGAIN) {
			dnscrypt_peer_wait(sealed->peer, waiter, sealed_on_keys);
			return;
		}
		if (r < 0) {
			flight_fail(flight, -r);
		}
	}
}

/* --- the interface --------------------------------------------------------------------------- */

/* Whoever asks has given up by now. */
static void sealed_on_timer(struct timer *timer)
{
	struct sealed *sealed = container_of(timer, struct sealed, timer);
	uint64_t now_ms = loop_now_ms(sealed->config.loop);

	while (sealed->oldest && sealed->oldest->due_ms <= now_ms) {
		if (sealed->oldest->keys) {
			dnscrypt_peer_doubt(sealed->peer);
		}
		flight_land(sealed->oldest);
	}
	/* Starting cannot fail: this timer has just left its place in the heap. */
	if (sealed->oldest) {
		timer_start(timer, sealed->config.loop, sealed->oldest->due_ms, sealed_on_timer);
	}
}

static struct transport *sealed_open(const struct transport_ops *ops,
				     const struct transport_config *config,
				     const struct transport_user *user_ops, void *user)
{
	struct sealed *sealed = calloc(1, sizeof *sealed);

	if (!sealed) {
		return NULL;
	}
	sealed->transport.ops = ops;
	sealed->config = *config;
	sealed->user_ops = user_ops;
	sealed->user = user;
	sealed->peer = config->peer;
	if (ops->socket_type == SOCK_DGRAM) {
		sealed->inbox = malloc(MESSAGE_MAX);
		if (!sealed->inbox) {
			free(sealed);
			return NULL;
		}
	}
	return &sealed->transport;
}

static int sealed_arm(struct sealed *sealed, uint64_t due_ms)
{
	if (timer_active(&sealed->timer)) {
		return 0;
	}
	return timer_start(&sealed->timer, sealed->config.loop, due_ms, sealed_on_timer);
}

static int sealed_send(struct transport *transport, const uint8_t *msg, size_t len)
{
	struct sealed *sealed = sealed_of(transport);
	struct dnscrypt_keys *keys;
	struct flight *flight;
	int r;

	if (sealed->open_count >= sealed->config.max_open) {
		return -ENOBUFS;
	}
	if (len > QUERY_MAX) {
		return -EMSGSIZE;
	}
	flight = calloc(1, sizeof *flight);
	if (!flight) {
		return -ENOMEM;
	}
	flight->sealed = sealed;
	flight->fd = -1;
	flight->due_ms = loop_now_ms(sealed->config.loop) + sealed->config.timeout_ms;
	flight_enlist(flight);
	r = asked_set(&flight->asked, msg, len);
	if (r == 0) {
		r = sealed_arm(sealed, flight->due_ms);
	}
	if (r == 0) {
		keys = dnscrypt_peer_keys(sealed->peer);
		r = keys ? flight_take_off(flight, keys, msg, len) : -errno;
		if (r == -EAGAIN && !keys) {
			r = flight_wait(flight, msg, len);
			dnscrypt_peer_wait(sealed->peer, &sealed->waiter, sealed_on_keys);
		}
	}
	if (r < 0) {
		flight_land(flight);
	}
	return r;
}

static void sealed_free(struct deferred *deferred)
{
	struct sealed *sealed = container_of(deferred, struct sealed, deferred);

	free(sealed->inbox);
	free(sealed);
}

static void sealed_close(struct transport *transport)
{
	struct sealed *sealed = sealed_of(transport);

	sealed->closed = true;
	dnscrypt_waiter_stop(&sealed->waiter);
	timer_stop(&sealed->timer);
	while (sealed->oldest) {
		flight_land(sealed->oldest);
	}
	loop_free_later(sealed->config.loop, &sealed->deferred, sealed_free);
}

static struct transport *open_datagram(const struct transport_config *config,
				       const struct transport_user *user_ops, void *user)
{
	return sealed_open(&transport_dnscrypt_udp, config, user_ops, user);
}

static struct transport *open_stream(const struct transport_config *config,
				     const struct transport_user *user_ops, void *user)
{
	return sealed_open(&transport_dnscrypt_tcp, config, user_ops, user);
}

const struct transport_ops transport_dnscrypt_udp = {
	.name = "dnscrypt-udp",
	.socket_type = SOCK_DGRAM,
	.open = open_datagram,
	.send = sealed_send,
	.close = sealed_close,
};

const struct transport_ops transport_dnscrypt_tcp = {
	.name = "dnscrypt-tcp",
	.socket_type = SOCK_STREAM,
	.open = open_stream,
	.send = sealed_send,
	.close = sealed_close,
};
