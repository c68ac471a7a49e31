/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_https.h"

#include "common/container.h"
#include "common/dns/asked.h"
#include "common/dns/doh.h"
#include "common/stream/h2.h"
#include "common/stream/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	OUT_MAX = 1024 * 1024, /* more than that waiting for a slow server is refused */
	READ_BYTES = 16384,
	READS_PER_EVENT = 16,
	SILENCE_MAX_MS = 1500, /* as that of transport_stream.c */
	SENDS_MAX = 3,         /* of one message that servers do not look at */
};

struct conn;

/* One message sent and not answered. */
struct request {
	struct request *next; /* sent later */
	struct request *prev;
	struct conn *conn;        /* NULL: to be sent again */
	struct h2_stream *stream; /* on conn */
	uint64_t sent_ms;
	unsigned send_count;
	struct asked asked;
	size_t len;
	uint8_t msg[]; /* with id 0 */
};

/* One connection: the one that messages are sent on, or an earlier one with messages open. */
struct conn {
	struct conn *next;
	struct https *https;
	struct stream stream;
	struct h2 *h2;
	uint64_t heard_ms; /* when the peer gave a sign of life last */
	uint64_t pinged_ms;
	bool gone;
	struct deferred deferred;
};

struct https {
	struct transport transport;
	struct transport_config config;
	const struct transport_user *user_ops;
	void *user;
	struct https_peer *peer;
	struct deferred deferred;
	struct timer timer; /* of the oldest request, or of idleness */
	struct task task;   /* to send again */
	bool dead;          /* on_closed was called, or is not to be */
	struct conn *conns;
	struct conn *current; /* NULL: none takes messages */
	struct request *oldest;
	struct request *newest;
	uint32_t open_count;
};

static struct https *https_of(struct transport *transport)
{
	return container_of(transport, struct https, transport);
}

static uint64_t now_ms(const struct https *https)
{
	return loop_now_ms(https->config.loop);
}

/* --- requests -------------------------------------------------------------------------------- */

static void request_enlist(struct https *https, struct request *request)
{
	request->next = NULL;
	request->prev = https->newest;
	*(https->newest ? &https->newest->next : &https->oldest) = request;
	https->newest = request;
	https->open_count++;
}

static void request_delist(struct https *https, struct request *request)
{
	*(request->prev ? &request->prev->next : &https->oldest) = request->next;
	*(request->next ? &request->next->prev : &https->newest) = request->prev;
	https->open_count--;
}

/* It is on no connection any more. */
static void request_leave_conn(struct request *request)
{
	request->conn = NULL;
	request->stream = NULL;
}

/* The end of a request; what comes for it is not wanted. */
static void request_free(struct https *https, struct request *request)
{
	if (request->stream) {
		h2_cancel(request->stream);
	}
	request_delist(https, request);
	free(request);
}

static void request_fail(struct https *https, struct request *request, int error)
{
	const struct asked asked = request->asked;

	request_free(https, request);
	https->user_ops->on_failed(https->user, asked.bytes, asked.len, error);
}

/* --- connections ----------------------------------------------------------------------------- */

static void conn_free(struct deferred *deferred)
{
	struct conn *conn = container_of(deferred, struct conn, deferred);

	h2_free(conn->h2);
	free(conn);
}

/* Close it; what is open on it is on none then. */
static void conn_drop(struct conn *conn)
{
	struct https *https = conn->https;
	struct conn **slot = &https->conns;

	while (*slot != conn) {
		slot = &(*slot)->next;
	}
	*slot = conn->next;
	if (https->current == conn) {
		https->current = NULL;
	}
	conn->gone = true;
	stream_close(&conn->stream);
	for (struct request *request = https->oldest; request; request = request->next) {
		if (request->conn == conn) {
			request_leave_conn(request);
		}
	}
	/* It may be in the middle of h2_receive(). */
	loop_free_later(https->config.loop, &conn->deferred, conn_free);
}

static void https_die(struct https *https, int error)
{
	if (!https->dead) {
		https->dead = true;
		timer_stop(&https->timer);
		https->user_ops->on_closed(https->user, error);
	}
}

/* There is no connection any more, or it is of no use. Without the current one this is the end;
 * without an earlier one, that of the messages open on it. */
static void conn_lost(struct conn *conn, int error)
{
	struct https *https = conn->https;
	bool was_current = https->current == conn;
	struct request *request = https->oldest;

	if (was_current) {
		https_die(https, error);
		return;
	}
	while (request && !https->dead) {
		struct request *next = request->next;

		if (request->conn == conn) {
			request_fail(https, request, error ? error : ECONNRESET);
			/* The upcall may have changed the list. */
			next = https->oldest;
		}
		request = next;
	}
	if (!conn->gone) {
		conn_drop(conn);
	}
}

/* Hand what h2 has to say to the stream. 0, or a positive errno: that was the end of it. */
static int conn_push(struct conn *conn)
{
	const uint8_t *bytes;
	size_t len;
	int r;

	while ((r = h2_pull(conn->h2, &bytes, &len)) == 0 && len > 0) {
		r = stream_write(&conn->stream, bytes, len);
		if (r < 0) {
			break;
		}
	}
	stream_flush(&conn->stream);
	return r < 0 ? -r : h2_is_over(conn->h2) ? ECONNRESET : 0;
}

/* The same, and bear the consequences. */
static void conn_push_or_lose(struct conn *conn)
{
	int error = conn->gone ? 0 : conn_push(conn);

	if (error) {
		conn_lost(conn, error);
	}
}

static int conn_post(struct conn *conn, struct request *request)
{
	const struct https_peer *peer = conn->https->peer;
	int r = h2_post(conn->h2, peer->authority, peer->path, DOH_CONTENT_TYPE, request->msg,
			request->len, request, &request->stream);

	if (r == 0) {
		request->conn = conn;
		request->send_count++;
	}
	return r;
}

/* --- upcalls of h2 --------------------------------------------------------------------------- */

/* The answer in a response to this request; 0 or a positive errno. */
static int find_answer(const struct request *request, const struct h2_response *response,
		       uint8_t *msg, enum asked_fit *ret_fit)
{
	if (response->status < 200 || response->status > 299) {
		return EPROTO;
	}
	if (!doh_is_message_type(response->content_type) || response->body_len < ASKED_HEADER_LEN) {
		return EBADMSG;
	}
	memcpy(msg, response->body, response->body_len);
	/* Servers return the id, 0, or anything: HTTP has matched the two. */
	memcpy(msg, request->asked.bytes, 2);
	*ret_fit = asked_fit(&request->asked, msg, response->body_len);
	return *ret_fit == ASKED_ANSWERED || *ret_fit == ASKED_BARE ? 0 : EBADMSG;
}

static void on_response(void *user, void *tag, const struct h2_response *response)
{
	struct conn *conn = user;
	struct https *https = conn->https;
	struct request *request = tag;
	uint8_t *msg;
	uint8_t restored[ASKED_RESTORED_MAX];
	size_t len = response->body_len;
	enum asked_fit fit;
	int error;

	if (conn->gone) {
		return;
	}
	request_leave_conn(request);
	msg = malloc(len ? len : 1);
	error = msg ? find_answer(request, response, msg, &fit) : ENOMEM;
	if (error == EPROTO && https->peer->on_http_error) {
		https->peer->on_http_error(https->peer->arg, response->status);
	}
	if (error) {
		https->transport.dropped_count += error == EBADMSG;
		request_fail(https, request, error);
	} else {
		const uint8_t *answer = msg;

		doh_age(msg, len, response->age_s);
		if (fit == ASKED_BARE) {
			len = asked_restore(&request->asked, msg, len, restored);
			answer = restored;
		}
		request_free(https, request);
		https->user_ops->on_message(https->user, answer, len);
	}
	free(msg);
}

static void https_on_task(struct task *task);

static void on_failed(void *user, void *tag, bool untouched)
{
	struct conn *conn = user;
	struct https *https = conn->https;
	struct request *request = tag;

	if (conn->gone) {
		return;
	}
	request_leave_conn(request);
	if (untouched && request->send_count < SENDS_MAX) {
		loop_run_task(https->config.loop, &https->task, https_on_task);
	} else {
		request_fail(https, request, ECONNRESET);
	}
}

static void on_goaway(void *user)
{
	struct conn *conn = user;

	if (!conn->gone && conn->https->current == conn) {
		conn->https->current = NULL;
	}
}

static const struct h2_user h2_upcalls = {
	.on_response = on_response,
	.on_failed = on_failed,
	.on_goaway = on_goaway,
};

/* --- upcalls of the stream ------------------------------------------------------------------- */

static struct conn *conn_of(struct stream *stream)
{
	return container_of(stream, struct conn, stream);
}

static void conn_on_open(struct stream *stream)
{
	struct conn *conn = conn_of(stream);
	struct tls_peer *peer = conn->https->peer->tls;

	conn->heard_ms = now_ms(conn->https);
	if (peer->on_open) {
		peer->on_open(peer->arg, tls_of(stream->layer));
	}
}

static void conn_on_failed(struct stream *stream, int error)
{
	struct conn *conn = conn_of(stream);

	tls_peer_note_failure(conn->https->peer->tls, tls_of(stream->layer));
	conn_lost(conn, error);
}

/* Nothing is open any more: see to it that the connection ends when it has been idle. */
static void https_arm_idle(struct https *https);

static void conn_on_readable(struct stream *stream)
{
	struct conn *conn = conn_of(stream);
	struct https *https = conn->https;
	uint8_t bytes[READ_BYTES];

	for (unsigned i = 0; i < READS_PER_EVENT && !conn->gone; i++) {
		ssize_t n = stream_read(stream, bytes, sizeof bytes);
		int r;

		if (n == -EAGAIN) {
			break;
		}
		if (n <= 0) {
			conn_lost(conn, (int)-n);
			return;
		}
		conn->heard_ms = now_ms(https);
		r = h2_receive(conn->h2, bytes, (size_t)n);
		if (r < 0 && !conn->gone) {
			(void)conn_push(conn); /* which tells the server what was wrong */
			conn_lost(conn, -r);
			return;
		}
	}
	conn_push_or_lose(conn);
	if (!https->dead && https->open_count == 0) {
		https_arm_idle(https);
	}
}

static const struct stream_user stream_upcalls = {
	.on_open = conn_on_open,
	.on_readable = conn_on_readable,
	.on_failed = conn_on_failed,
};

/* Make a connection the current one. 0 or -errno. */
static int https_connect(struct https *https)
{
	struct conn *conn = calloc(1, sizeof *conn);
	struct tls *tls = NULL;
	int r = -ENOMEM;

	if (!conn) {
		return r;
	}
	conn->https = https;
	conn->heard_ms = now_ms(https);
	conn->h2 = h2_new(false, &h2_upcalls, conn);
	if (conn->h2) {
		tls = tls_peer_connect(https->peer->tls);
		r = tls ? stream_connect(&conn->stream, https->config.loop, &https->config.server,
					 https->config.route, tls_layer(tls), &stream_upcalls)
			: -ENOMEM;
	}
	if (r < 0) {
		h2_free(conn->h2);
		free(conn);
		return r;
	}
	conn->next = https->conns;
	https->conns = conn;
	https->current = conn;
	return 0;
}

/* Send a message over the current connection, or a new one. 0 or -errno. */
static int https_post(struct https *https, struct request *request)
{
	int r = https->current ? 0 : https_connect(https);

	if (r == 0) {
		r = conn_post(https->current, request);
	}
	if (r == -EPIPE) {
		/* It takes no more, for instance since its stream numbers are used up. */
		https->current = NULL;
		r = https_connect(https);
		r = r < 0 ? r : conn_post(https->current, request);
	}
	return r;
}

static struct request *find_unsent(const struct https *https)
{
	struct request *request = https->oldest;

	while (request && request->conn) {
		request = request->next;
	}
	return request;
}

/* Send again what a server has not looked at. */
static void https_on_task(struct task *task)
{
	struct https *https = container_of(task, struct https, task);
	struct request *request;

	while (!https->dead && (request = find_unsent(https)) != NULL) {
		int r = https_post(https, request);

		if (r < 0) {
			request_fail(https, request, -r);
		}
	}
	if (!https->dead && https->current) {
		conn_push_or_lose(https->current);
	}
}

/* --- the watchdog ---------------------------------------------------------------------------- */

static uint32_t silence_ms(const struct https *https)
{
	uint32_t ms = https->config.timeout_ms / 4 * 3;

	if (https->config.route && https->current && !https->current->stream.open) {
		return https->config.timeout_ms; /* proxies take their time to get there */
	}
	return ms < SILENCE_MAX_MS ? ms : SILENCE_MAX_MS;
}

static bool was_heard_since(const struct request *request)
{
	return request->conn && request->conn->heard_ms > request->sent_ms;
}

/* When the watchdog looks at a request: to have the server show that it is there, to find out that
 * it is not, to give up the request. */
static uint64_t due_ms(const struct https *https, const struct request *request)
{
	if (was_heard_since(request)) {
		return request->sent_ms + https->config.timeout_ms;
	}
	if (request->conn && request->conn->pinged_ms <= request->sent_ms) {
		return request->sent_ms + silence_ms(https) / 2;
	}
	return request->sent_ms + silence_ms(https);
}

static void https_on_timer(struct timer *timer);

/* Have the timer run at `at_ms` or before. */
static int https_arm(struct https *https, uint64_t at_ms)
{
	if (timer_active(&https->timer) && https->timer.due_ms <= at_ms) {
		return 0;
	}
	return timer_start(&https->timer, https->config.loop, at_ms, https_on_timer);
}

static uint64_t idle_due_ms(const struct https *https)
{
	uint64_t heard_ms = https->current ? https->current->heard_ms : 0;

	return heard_ms + tls_peer_idle_ms(https->peer->tls);
}

static void https_arm_idle(struct https *https)
{
	(void)https_arm(https, idle_due_ms(https));
}

/* The first request since which its connection was silent; NULL: none. */
static struct request *find_unheard(const struct https *https)
{
	struct request *request = https->oldest;

	while (request && (!request->conn || was_heard_since(request))) {
		request = request->next;
	}
	return request;
}

/* Look at a request that is due. False when the transport is at its end. */
static bool https_check(struct https *https, struct request *request)
{
	struct conn *conn = request->conn;

	if (conn && !was_heard_since(request)) {
		if (now_ms(https) < request->sent_ms + silence_ms(https)) {
			conn->pinged_ms = now_ms(https);
			h2_ping(conn->h2);
			conn_push_or_lose(conn);
		} else {
			conn_lost(conn, ETIMEDOUT);
		}
		return !https->dead;
	}
	/* Whoever asks has given up by now. When that was all on an earlier connection, it is to
	 * end even if the server holds on to it. */
	request_free(https, request);
	if (conn) {
		conn_push_or_lose(conn);
	}
	return !https->dead;
}

static void https_on_timer(struct timer *timer)
{
	struct https *https = container_of(timer, struct https, timer);
	struct request *unheard;

	while (https->oldest && due_ms(https, https->oldest) <= now_ms(https)) {
		if (!https_check(https, https->oldest)) {
			return;
		}
	}
	/* The oldest may wait for an answer that never comes, which says nothing of the rest. */
	while ((unheard = find_unheard(https)) && due_ms(https, unheard) <= now_ms(https)) {
		if (!https_check(https, unheard)) {
			return;
		}
	}
	if (unheard) {
		https_arm(https, due_ms(https, unheard));
	}
	if (https->oldest) {
		https_arm(https, due_ms(https, https->oldest));
	} else if (idle_due_ms(https) > now_ms(https)) {
		https_arm_idle(https);
	} else {
		https_die(https, 0);
	}
}

/* --- the interface --------------------------------------------------------------------------- */

static struct transport *https_open(const struct transport_config *config,
				    const struct transport_user *user_ops, void *user)
{
	struct https *https = calloc(1, sizeof *https);
	int r;

	if (!https) {
		return NULL;
	}
	https->transport.ops = &transport_https;
	https->config = *config;
	https->user_ops = user_ops;
	https->user = user;
	https->peer = config->peer;
	r = https_connect(https);
	if (r == 0) {
		r = https_arm(https, idle_due_ms(https));
	}
	if (r < 0) {
		if (https->current) {
			conn_drop(https->current);
		}
		free(https);
		errno = -r;
		return NULL;
	}
	return &https->transport;
}

static int https_send(struct transport *transport, const uint8_t *msg, size_t len)
{
	struct https *https = https_of(transport);
	struct request *request;
	int r;

	if (https->dead) {
		return -EPIPE;
	}
	if (len > UINT16_MAX) {
		return -EMSGSIZE;
	}
	if (https->open_count >= https->config.max_open ||
	    (https->current && stream_unsent_bytes(&https->current->stream) + len > OUT_MAX)) {
		return -ENOBUFS;
	}
	request = calloc(1, sizeof *request + len);
	if (!request) {
		return -ENOMEM;
	}
	r = asked_set(&request->asked, msg, len);
	if (r == 0) {
		request->sent_ms = now_ms(https);
		request->len = len;
		memcpy(request->msg, msg, len);
		/* So that HTTP caches see equal questions as such (RFC 8484 section 4.1). */
		memset(request->msg, 0, 2);
		r = https_arm(https, request->sent_ms + silence_ms(https) / 2);
	}
	if (r == 0) {
		r = https_post(https, request);
	}
	if (r < 0) {
		free(request);
		return r;
	}
	request_enlist(https, request);
	return 0;
}

static void https_flush(struct transport *transport)
{
	struct https *https = https_of(transport);

	if (!https->dead && https->current && conn_push(https->current) != 0) {
		/* Not from within this call. */
		loop_run_task(https->config.loop, &https->task, https_on_task);
	}
}

static void https_free(struct deferred *deferred)
{
	struct https *https = container_of(deferred, struct https, deferred);

	while (https->oldest) {
		struct request *request = https->oldest;

		https->oldest = request->next;
		free(request);
	}
	free(https);
}

static void https_close(struct transport *transport)
{
	struct https *https = https_of(transport);

	https->dead = true;
	timer_stop(&https->timer);
	task_cancel(&https->task);
	while (https->conns) {
		conn_drop(https->conns);
	}
	loop_free_later(https->config.loop, &https->deferred, https_free);
}

const struct transport_ops transport_https = {
	.name = "https",
	.socket_type = SOCK_STREAM,
	.open = https_open,
	.send = https_send,
	.flush = https_flush,
	.close = https_close,
};
