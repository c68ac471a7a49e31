/* SPDX-License-Identifier: ISC */
#include "common/stream/stream.h"

#include "common/container.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OUT_FIRST_CAP = 4096,
};

static struct stream *stream_of_task(struct task *task)
{
	return container_of(task, struct stream, task);
}

static void stream_fail(struct stream *s, int error)
{
	watch_stop(&s->watch);
	task_cancel(&s->task);
	s->open = false;
	s->user->on_failed(s, error);
}

/* --- events ---------------------------------------------------------------------------------- */

/* Before the handshake is over, what it waits for. */
static uint32_t handshake_events(const struct stream *s)
{
	bool wants_write = !s->connected;

	if (s->connected) {
		wants_write =
			s->proxy ? s->proxy->out_len > 0 : s->layer->ops->wants_write(s->layer);
	}
	return wants_write ? LOOP_WRITE : LOOP_READ;
}

/* Ask the loop for what can bring us on. */
static void stream_update_events(struct stream *s)
{
	uint32_t events = 0;

	if (!s->open) {
		events = handshake_events(s);
	} else {
		if ((s->reading && !s->read_wants_write) || s->write_wants_read) {
			events |= LOOP_READ;
		}
		if ((stream_unsent_bytes(s) > 0 && !s->write_wants_read) ||
		    (s->reading && s->read_wants_write)) {
			events |= LOOP_WRITE;
		}
	}
	if (events != s->events && watch_active(&s->watch)) {
		s->events = events;
		watch_modify(&s->watch, events);
	}
}

static void stream_on_task(struct task *task);

static bool stream_has_pending(const struct stream *s)
{
	return s->open && s->reading && s->layer && s->layer->ops->has_pending(s->layer);
}

/* What must go on without an event of the socket. */
static void stream_plan_task(struct stream *s)
{
	if (s->write_error || stream_has_pending(s)) {
		loop_run_task(s->loop, &s->task, stream_on_task);
	}
}

/* --- reading --------------------------------------------------------------------------------- */

/* What came was for the layer alone, such as tickets. Many servers send the first answer only when
 * that is acknowledged (Nagle's algorithm), which the kernel would delay by 40 ms. */
static void stream_acknowledge(struct stream *s)
{
	const int one = 1;

	setsockopt(s->watch.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

ssize_t stream_read(struct stream *s, void *buf, size_t cap)
{
	ssize_t n;

	if (!s->open) {
		return -EAGAIN;
	}
	if (s->layer) {
		n = s->layer->ops->read(s->layer, buf, cap);
		s->read_wants_write = n == -EAGAIN && s->layer->ops->wants_write(s->layer);
		if (n > 0) {
			s->has_read = true;
		} else if (n == -EAGAIN && !s->has_read) {
			stream_acknowledge(s);
		}
	} else {
		do {
			n = recv(s->watch.fd, buf, cap, 0);
		} while (n < 0 && errno == EINTR);
		n = n < 0 ? -errno : n;
	}
	/* What the peer has said before it broke comes first. */
	return s->write_error && (n == 0 || n == -EAGAIN) ? -s->write_error : n;
}

static void stream_offer_reading(struct stream *s)
{
	s->user->on_readable(s);
	if (!stream_is_closed(s)) {
		stream_plan_task(s);
	}
}

void stream_set_reading(struct stream *s, bool reading)
{
	s->reading = reading;
	if (s->open) {
		stream_update_events(s);
		stream_plan_task(s);
	}
}

/* --- writing --------------------------------------------------------------------------------- */

int stream_reserve(struct stream *s, size_t len)
{
	size_t unsent = stream_unsent_bytes(s);
	size_t cap = s->out_cap ? s->out_cap : OUT_FIRST_CAP;
	uint8_t *out;

	if (s->out_len + len <= s->out_cap) {
		return 0;
	}
	if (s->out_start > 0) {
		memmove(s->out, s->out + s->out_start, unsent);
		s->out_start = 0;
		s->out_len = unsent;
	}
	while (cap < unsent + len) {
		cap *= 2;
	}
	if (cap > s->out_cap) {
		out = realloc(s->out, cap);
		if (!out) {
			return -ENOMEM;
		}
		s->out = out;
		s->out_cap = cap;
	}
	return 0;
}

int stream_write(struct stream *s, const void *buf, size_t len)
{
	int r = stream_reserve(s, len);

	if (r == 0 && len > 0) {
		memcpy(s->out + s->out_len, buf, len);
		s->out_len += len;
	}
	return r;
}

static void stream_drop_out(struct stream *s)
{
	free(s->out);
	s->out = NULL;
	s->out_start = 0;
	s->out_len = 0;
	s->out_cap = 0;
}

/* Bytes sent, -EAGAIN or -errno. */
static ssize_t stream_send_some(struct stream *s)
{
	const uint8_t *bytes = s->out + s->out_start;
	size_t len = stream_unsent_bytes(s);
	ssize_t n;

	if (s->layer) {
		n = s->layer->ops->write(s->layer, bytes, len);
		s->write_wants_read = n == -EAGAIN && !s->layer->ops->wants_write(s->layer);
		return n;
	}
	do {
		n = send(s->watch.fd, bytes, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void stream_push(struct stream *s)
{
	ssize_t n = 0;

	while (stream_unsent_bytes(s) > 0) {
		n = stream_send_some(s);
		if (n < 0) {
			break;
		}
		s->out_start += (size_t)n;
	}
	if (n == -EAGAIN) {
		s->was_blocked = true;
	} else {
		stream_drop_out(s);
		s->write_error = n < 0 ? (int)-n : 0;
	}
	stream_update_events(s);
	stream_plan_task(s);
}

void stream_flush(struct stream *s)
{
	if (s->open && stream_unsent_bytes(s) > 0 && !s->was_blocked) {
		stream_push(s);
	}
}

/* --- the loop's calls ------------------------------------------------------------------------ */

/* In the end the stream is open, failed, or waits. */
static void stream_shake_hands(struct stream *s)
{
	int r = s->layer ? s->layer->ops->handshake(s->layer) : 0;

	if (r == -EAGAIN) {
		stream_update_events(s);
		return;
	}
	if (r < 0) {
		stream_fail(s, -r);
		return;
	}
	s->open = true;
	if (s->user->on_open) {
		s->user->on_open(s);
	}
	if (!stream_is_closed(s)) {
		stream_flush(s);
		stream_update_events(s);
		stream_plan_task(s);
	}
}

/* Send and read as far as that goes. 0 when the talk with the proxy is over, -EAGAIN or -errno. */
static int stream_talk(struct stream *s)
{
	struct socks_client *proxy = s->proxy;
	uint8_t bytes[SOCKS_TEXT_MAX + 2];
	int r = 0;

	while (r == 0 && !socks_client_is_done(proxy)) {
		bool sends = proxy->out_len > 0;
		ssize_t n = sends ? send(s->watch.fd, proxy->out, proxy->out_len, MSG_NOSIGNAL)
				  : recv(s->watch.fd, bytes, socks_client_want(proxy), 0);

		if (n < 0) {
			r = errno == EINTR ? 0 : -errno;
		} else if (sends) {
			socks_client_sent(proxy, (size_t)n);
		} else {
			r = n == 0 ? -ECONNRESET : socks_client_take(proxy, bytes, (size_t)n);
		}
	}
	return r;
}

static void stream_talk_to_proxy(struct stream *s)
{
	int r = stream_talk(s);

	if (r == -EAGAIN) {
		stream_update_events(s);
		return;
	}
	if (r < 0) {
		stream_fail(s, -r);
		return;
	}
	free(s->proxy);
	s->proxy = NULL;
	stream_shake_hands(s);
}

static void stream_take_connection(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
		error = errno;
	}
	if (error) {
		stream_fail(s, error);
		return;
	}
	s->connected = true;
	if (s->proxy) {
		stream_talk_to_proxy(s);
	} else {
		stream_shake_hands(s);
	}
}

static void stream_on_drained(struct stream *s)
{
	s->was_blocked = false;
	if (s->user->on_drained) {
		s->user->on_drained(s);
	}
}

/* The peer is gone, and nobody is reading who could find out. */
static void stream_take_error(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof error;

	(void)getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	stream_fail(s, error ? error : ECONNRESET);
}

static void stream_on_ready(struct watch *watch, uint32_t events)
{
	struct stream *s = container_of(watch, struct stream, watch);

	if (!s->connected) {
		stream_take_connection(s);
		return;
	}
	if (s->proxy) {
		stream_talk_to_proxy(s);
		return;
	}
	if (!s->open) {
		stream_shake_hands(s);
		return;
	}
	if (s->was_blocked && ((events & LOOP_WRITE) || s->write_wants_read)) {
		stream_push(s);
		if (stream_unsent_bytes(s) == 0 && !s->write_error) {
			stream_on_drained(s);
		}
	}
	if (stream_is_closed(s)) {
		return;
	}
	if (!s->reading) {
		if (events & (LOOP_ERROR | LOOP_HANGUP)) {
			stream_take_error(s);
		}
		return;
	}
	if ((events & (LOOP_READ | LOOP_ERROR | LOOP_HANGUP)) || s->read_wants_write) {
		stream_offer_reading(s);
		if (!stream_is_closed(s)) {
			stream_update_events(s);
		}
	}
}

static void stream_on_task(struct task *task)
{
	struct stream *s = stream_of_task(task);

	if (stream_has_pending(s)) {
		stream_offer_reading(s);
		if (!stream_is_closed(s)) {
			stream_update_events(s);
		}
		return;
	}
	if (s->write_error && !s->reading) {
		stream_fail(s, s->write_error);
	} else if (s->write_error) {
		/* Reading ends with the error, or with it when there is no more to read. */
		stream_offer_reading(s);
	}
}

/* --- life ------------------------------------------------------------------------------------ */

static void stream_init(struct stream *s, struct loop *loop, struct stream_layer *layer,
			const struct stream_user *user)
{
	*s = (struct stream){ .loop = loop, .user = user, .layer = layer, .reading = true };
	s->watch.fd = -1;
}

/* 0 or -errno; the stream is closed then. */
static int stream_start(struct stream *s, int fd, uint32_t events)
{
	int r = s->layer ? s->layer->ops->attach(s->layer, fd) : 0;

	s->events = events;
	if (r == 0) {
		r = watch_start(&s->watch, s->loop, fd, events, stream_on_ready);
	}
	if (r < 0) {
		s->watch.fd = fd;
		stream_close(s);
	}
	return r;
}

int stream_connect(struct stream *s, struct loop *loop, const struct addr *server,
		   const struct socks_route *route, struct stream_layer *layer,
		   const struct stream_user *user)
{
	const struct addr *peer = route ? &route->proxy.addr : server;
	const int one = 1;
	int fd = socket(peer->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : 0;

	stream_init(s, loop, layer, user);
	if (r == 0 && route) {
		s->proxy = malloc(sizeof *s->proxy);
		r = s->proxy ? 0 : -ENOMEM;
	}
	if (r == 0) {
		if (route) {
			socks_client_init(s->proxy, route);
		}
		/* Messages are gathered here, and those that are flushed should not wait for an
		 * acknowledgement. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (connect(fd, &peer->sa, addr_len(peer)) < 0 && errno != EINPROGRESS) {
			r = -errno;
		}
	}
	if (r < 0) {
		s->watch.fd = fd;
		stream_close(s);
		return r;
	}
	return stream_start(s, fd, LOOP_WRITE);
}

int stream_accept(struct stream *s, struct loop *loop, int fd, struct stream_layer *layer,
		  const struct stream_user *user)
{
	stream_init(s, loop, layer, user);
	s->connected = true;
	s->open = layer == NULL;
	return stream_start(s, fd, LOOP_READ);
}

void stream_close(struct stream *s)
{
	int fd = s->watch.fd;

	if (stream_is_closed(s)) {
		return;
	}
	stream_flush(s);
	if (s->layer) {
		s->layer->ops->close(s->layer);
	}
	task_cancel(&s->task);
	watch_stop(&s->watch);
	if (fd >= 0) {
		close(fd);
	}
	stream_drop_out(s);
	free(s->proxy);
	s->proxy = NULL;
	s->layer = NULL;
	s->open = false;
	s->loop = NULL;
}
