/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/front_tcp.h"

#include "common/container.h"
#include "common/daemon/listener.h"
#include "common/log.h"
#include "common/stream/stream.h"

#include "dnsproxyd/front/front_https.h"
#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LENGTH_BYTES = 2,
	IN_BYTES = 2048, /* longest question taken */
	READS_PER_EVENT = 16,
	OPEN_MAX_PER_CLIENT = 128, /* questions waiting; more stay unread in the socket */
	/* Replies that wait for the client to read them, and those expected to its open questions;
	 * what would make them more stays unread in the socket. Only when replies get larger than
	 * those before they are more, at most OPEN_MAX_PER_CLIENT times DNSMSG_MAX. */
	OUT_HIGH_BYTES = 256 * 1024,
	REPLY_MIN_BYTES = OUT_HIGH_BYTES / OPEN_MAX_PER_CLIENT, /* expected at least */
	SLOW_BYTES = 16 * 1024,   /* in tcp-idle-timeout: who reads less is closed */
	UNSENT_BYTES = 64 * 1024, /* that the kernel takes before the client has room for them */
	FIRST_QUESTION_MS = 500,  /* how long a stopped front waits for one that is on its way */
};

struct tcp_client;

/* A question that waits for an upstream server. */
struct tcp_query {
	struct query query;
	struct tcp_client *client;
	struct tcp_query *next;
	struct tcp_query *prev;
};

struct tcp_client {
	struct front_tcp *front;
	struct tcp_client *next;
	struct tcp_client *prev;
	struct addr peer;
	struct stream stream;
	bool is_encrypted;
	struct timer idle;
	bool fin_seen; /* it asks no more; what is open is answered */
	bool asked;    /* a whole question has come */
	bool awaited; /* the front has stopped, but for its first question; counts as an open one */
	bool closed;
	unsigned open_count;
	struct tcp_query open; /* ring head */
	size_t reply_bytes;    /* that are expected of a reply: as many as the largest lately */
	uint64_t out_total;    /* bytes of replies so far */
	uint64_t sent_before;  /* of them, when the idle timer was started */
	uint8_t in[LENGTH_BYTES + IN_BYTES];
	size_t in_len;
	struct deferred deferred;
};

struct front_tcp {
	struct query_context *context;
	const struct netset *clients;
	struct tls_server *tls; /* NULL: clear text */
	bool is_https;          /* what is accepted goes to `https` */
	struct front_https *https;
	struct addr addr;
	struct listener *listener; /* NULL once stopped */
	struct tcp_client *first;
	struct log_limit log;
};

static void count(struct front_tcp *f, enum dnsproxyd_metric metric, int64_t amount)
{
	metrics_add(f->context->metrics, metric, amount);
}

/* --- the end of a connection ----------------------------------------------------------------- */

static void free_client(struct deferred *deferred)
{
	free(container_of(deferred, struct tcp_client, deferred));
}

static void drop_query(struct tcp_query *q)
{
	q->prev->next = q->next;
	q->next->prev = q->prev;
	q->client->open_count--;
	free(q);
}

/* Any connection, also one by HTTPS. */
static void on_connection_closed(void *arg, const struct addr *peer)
{
	struct front_tcp *f = arg;

	client_counts_remove(f->context->tcp_clients, peer);
	count(f, METRIC_tcp_now, -1);
	if (f->listener) {
		listener_fd_freed(f->listener);
	}
}

/* The first question is there, or will not come. */
static void await_no_more(struct tcp_client *c)
{
	if (c->awaited) {
		c->awaited = false;
		query_context_release(c->front->context);
	}
}

static void close_client(struct tcp_client *c)
{
	struct front_tcp *f = c->front;

	if (c->closed) {
		return;
	}
	c->closed = true;
	while (c->open.next != &c->open) {
		struct tcp_query *q = c->open.next;

		query_cancel(&q->query);
		drop_query(q);
	}
	await_no_more(c);
	timer_stop(&c->idle);
	stream_close(&c->stream);
	if (c->prev) {
		c->prev->next = c->next;
	} else {
		f->first = c->next;
	}
	if (c->next) {
		c->next->prev = c->prev;
	}
	loop_free_later(f->context->loop, &c->deferred, free_client);
	on_connection_closed(f, &c->peer);
}

/* --- replies --------------------------------------------------------------------------------- */

/* Whether there is room for the reply to one more question. */
static bool has_reply_room(const struct tcp_client *c)
{
	return stream_unsent_bytes(&c->stream) + (c->open_count + 1) * c->reply_bytes <=
	       OUT_HIGH_BYTES;
}

/* Whether more questions are welcome. */
static bool is_welcome(struct tcp_client *c)
{
	if (!has_reply_room(c)) {
		stream_flush(&c->stream);
	}
	return c->open_count < OPEN_MAX_PER_CLIENT && !stream_is_blocked(&c->stream) &&
	       has_reply_room(c);
}

/* What has left. */
static uint64_t sent_bytes(const struct tcp_client *c)
{
	return c->out_total - stream_unsent_bytes(&c->stream);
}

/* Whether the connection has nothing left to do. */
static bool is_over(const struct tcp_client *c)
{
	return (c->fin_seen || !(c->front->listener || c->awaited)) && c->open_count == 0 &&
	       stream_unsent_bytes(&c->stream) == 0;
}

/* Send the replies there are, and read on if questions are welcome. */
static void settle(struct tcp_client *c)
{
	if (c->closed) {
		return;
	}
	stream_flush(&c->stream);
	if (is_over(c)) {
		close_client(c);
	} else {
		stream_set_reading(&c->stream, !c->fin_seen && is_welcome(c) &&
						       (c->front->listener || c->awaited));
	}
}

/* Length and message together (RFC 7766 section 8); they leave with settle(). */
static void send_reply(struct tcp_client *c, const uint8_t *msg, size_t len)
{
	const uint8_t prefix[LENGTH_BYTES] = { (uint8_t)(len >> 8), (uint8_t)len };

	/* An eighth less with each smaller one. */
	c->reply_bytes -= (c->reply_bytes - REPLY_MIN_BYTES) / 8;
	c->reply_bytes = LENGTH_BYTES + len > c->reply_bytes ? LENGTH_BYTES + len : c->reply_bytes;
	c->out_total += LENGTH_BYTES + len;
	if (stream_reserve(&c->stream, LENGTH_BYTES + len) < 0) {
		close_client(c);
		return;
	}
	(void)stream_write(&c->stream, prefix, LENGTH_BYTES);
	(void)stream_write(&c->stream, msg, len);
}

/* --- questions ------------------------------------------------------------------------------- */

static void take_messages(struct tcp_client *c);
static void start_idle_timer(struct tcp_client *c);

static void on_done(struct query *query, const uint8_t *reply, size_t len)
{
	struct tcp_query *q = container_of(query, struct tcp_query, query);
	struct tcp_client *c = q->client;

	drop_query(q);
	send_reply(c, reply, len);
	if (!c->closed && !stream_is_blocked(&c->stream)) {
		start_idle_timer(c);
	}
	/* Questions that were held back may go on. */
	take_messages(c);
	settle(c);
}

static void start_query(struct tcp_client *c, const struct query_draft *draft)
{
	struct query_context *context = c->front->context;
	const struct query_origin origin = { &c->peer, false, c->is_encrypted };
	struct tcp_query *q = malloc(sizeof *q);
	size_t len;

	if (!q) {
		close_client(c);
		return;
	}
	q->client = c;
	q->prev = c->open.prev;
	q->next = &c->open;
	c->open.prev->next = q;
	c->open.prev = q;
	c->open_count++;
	len = query_start(&q->query, context, &origin, draft, on_done, context->message,
			  DNSMSG_MAX);
	if (len > 0) {
		drop_query(q);
		send_reply(c, context->message, len);
	}
}

static void take_message(struct tcp_client *c, const uint8_t *msg, size_t len)
{
	struct query_context *context = c->front->context;
	const struct query_origin origin = { &c->peer, false, c->is_encrypted };
	struct query_draft draft;
	size_t reply_len;

	count(c->front, METRIC_queries_tcp, 1);
	switch (query_try(context, &origin, msg, len, &draft, context->message, DNSMSG_MAX,
			  &reply_len)) {
	case QUERY_DROPPED:
		close_client(c);
		break;
	case QUERY_ANSWERED:
		send_reply(c, context->message, reply_len);
		break;
	case QUERY_PENDING:
		start_query(c, &draft);
		break;
	}
}

static void on_idle(struct timer *timer);

static void start_idle_timer(struct tcp_client *c)
{
	struct query_context *context = c->front->context;

	c->sent_before = sent_bytes(c);
	timer_start(&c->idle, context->loop,
		    loop_now_ms(context->loop) + context->config->limits->tcp_idle_timeout_ms,
		    on_idle);
}

static void on_idle(struct timer *timer)
{
	struct tcp_client *c = container_of(timer, struct tcp_client, idle);

	bool is_reading = sent_bytes(c) - c->sent_before >= SLOW_BYTES;

	if (stream_is_blocked(&c->stream) ? is_reading : c->open_count > 0) {
		/* It reads, or waits for us. */
		start_idle_timer(c);
		return;
	}
	count(c->front, stream_is_blocked(&c->stream) ? METRIC_tcp_slow : METRIC_tcp_idle, 1);
	close_client(c);
}

/* Take the complete messages out of the buffer, as far as more questions are welcome. */
static void take_messages(struct tcp_client *c)
{
	size_t taken = 0;

	while (!c->closed && c->in_len - taken >= LENGTH_BYTES && is_welcome(c)) {
		const uint8_t *p = c->in + taken;
		size_t len = (size_t)(p[0] << 8 | p[1]);

		if (len > IN_BYTES) {
			count(c->front, METRIC_queries_dropped, 1);
			close_client(c);
			return;
		}
		if (c->in_len - taken - LENGTH_BYTES < len) {
			break;
		}
		take_message(c, p + LENGTH_BYTES, len);
		taken += LENGTH_BYTES + len;
	}
	/* Only whole questions earn more time. */
	if (!c->closed && taken > 0) {
		c->asked = true;
		await_no_more(c);
		start_idle_timer(c);
		memmove(c->in, c->in + taken, c->in_len - taken);
		c->in_len -= taken;
	}
}

/* Whether there may be more to read. */
static bool read_some(struct tcp_client *c)
{
	ssize_t n = stream_read(&c->stream, c->in + c->in_len, sizeof c->in - c->in_len);

	if (n > 0) {
		c->in_len += (size_t)n;
		take_messages(c);
		return !c->closed && is_welcome(c);
	}
	if (n == 0) {
		c->fin_seen = true;
	} else if (n != -EAGAIN) {
		close_client(c);
	}
	return false;
}

static void on_readable(struct stream *stream)
{
	struct tcp_client *c = container_of(stream, struct tcp_client, stream);

	for (unsigned i = 0; i < READS_PER_EVENT && read_some(c); i++) {
	}
	settle(c);
}

/* The client has read its replies. */
static void on_drained(struct stream *stream)
{
	struct tcp_client *c = container_of(stream, struct tcp_client, stream);

	start_idle_timer(c);
	take_messages(c);
	settle(c);
}

static void on_failed(struct stream *stream, int error)
{
	struct tcp_client *c = container_of(stream, struct tcp_client, stream);

	if (error == EPROTO && c->is_encrypted) {
		count(c->front, METRIC_tls_failed, 1);
	}
	close_client(c);
}

static void on_open(struct stream *stream)
{
	struct tcp_client *c = container_of(stream, struct tcp_client, stream);

	if (c->is_encrypted) {
		count(c->front, METRIC_tls_handshakes, 1);
	}
}

static const struct stream_user stream_user = {
	.on_open = on_open,
	.on_readable = on_readable,
	.on_drained = on_drained,
	.on_failed = on_failed,
};

/* --- accepting ------------------------------------------------------------------------------- */

/* Takes ownership of fd. False: there is no client. */
static bool new_client(struct front_tcp *f, int fd, const struct addr *peer)
{
	struct tcp_client *c = calloc(1, sizeof *c);
	struct tls *tls = c && f->tls ? tls_accept(f->tls) : NULL;

	if (!c || (f->tls && !tls)) {
		close(fd);
		free(c);
		return false;
	}
	c->front = f;
	c->peer = *peer;
	c->is_encrypted = tls != NULL;
	c->reply_bytes = REPLY_MIN_BYTES;
	c->open.next = &c->open;
	c->open.prev = &c->open;
	if (stream_accept(&c->stream, f->context->loop, fd, tls ? tls_layer(tls) : NULL,
			  &stream_user) < 0) {
		free(c);
		return false;
	}
	c->next = f->first;
	if (c->next) {
		c->next->prev = c;
	}
	f->first = c;
	start_idle_timer(c);
	return true;
}

/* Count one more connection of this client, if it may have it. */
static bool has_room(struct front_tcp *f, const struct addr *peer)
{
	const struct limits_params *limits = f->context->config->limits;
	struct client_counts *counts = f->context->tcp_clients;

	return client_counts_total(counts) < limits->max_tcp_clients &&
	       client_counts_add(counts, peer, limits->max_tcp_per_client);
}

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct front_tcp *f = arg;
	const int unsent_bytes = UNSENT_BYTES;
	const int on = 1;
	bool accepted;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	/* So that we see soon how fast the client reads. */
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
	if (!f->clients || !netset_contains(f->clients, peer) || !has_room(f, peer)) {
		close(fd);
		count(f, METRIC_tcp_refused, 1);
		return;
	}
	if (f->is_https) {
		accepted = front_https_accept(f->https, fd, peer, f->tls);
	} else {
		accepted = new_client(f, fd, peer);
	}
	if (!accepted) {
		client_counts_remove(f->context->tcp_clients, peer);
		count(f, METRIC_tcp_refused, 1);
		return;
	}
	count(f, METRIC_tcp_accepted, 1);
	count(f, METRIC_tcp_now, 1);
}

static void on_event(void *arg, enum listener_event event, int error)
{
	struct front_tcp *f = arg;
	uint32_t suppressed;

	if (event != LISTENER_PAUSED) {
		return;
	}
	count(f, METRIC_accept_paused, 1);
	if (log_limit_ok(&f->log, loop_now_ms(f->context->loop), &suppressed)) {
		log_event(LOG_LEVEL_WARNING, "accept-paused", KV_ADDR("address", &f->addr),
			  KV_ERRNO("error", error), KV_UINT("suppressed", suppressed));
	}
}

/* --- life ------------------------------------------------------------------------------------ */

struct front_tcp *front_tcp_new(struct query_context *context, int fd, const struct addr *addr)
{
	static const struct listener_ops ops = { .on_accept = on_accept, .on_event = on_event };
	struct front_tcp *f = calloc(1, sizeof *f);

	if (!f) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	f->context = context;
	f->addr = *addr;
	f->https = front_https_new(context, on_connection_closed, f);
	f->listener = listener_start(context->loop, fd, &ops, f);
	if (!f->listener || !f->https) {
		int saved = errno;

		listener_free(f->listener);
		front_https_free(f->https);
		free(f);
		errno = saved;
		return NULL;
	}
	return f;
}

void front_tcp_set_clients(struct front_tcp *f, const struct netset *clients,
			   struct tls_server *tls, bool is_https)
{
	struct tls_server *old = f->tls;

	f->clients = clients;
	f->is_https = is_https && tls;
	f->tls = tls ? tls_server_ref(tls) : NULL;
	tls_server_free(old);
}

/* What has arrived is still answered, and so is the first question of a connection that was
 * accepted a moment ago: closed now, it would end in a reset. */
static void stop_client(struct tcp_client *c)
{
	struct query_context *context = c->front->context;

	if (c->closed) {
		return;
	}
	if (!c->fin_seen && is_welcome(c)) {
		(void)read_some(c);
	}
	if (!c->closed && !c->fin_seen && !c->asked) {
		c->awaited = true;
		query_context_hold(context);
		timer_start(&c->idle, context->loop, loop_now_ms(context->loop) + FIRST_QUESTION_MS,
			    on_idle);
	}
	settle(c);
}

void front_tcp_stop(struct front_tcp *f)
{
	struct tcp_client *c = f->first;

	listener_free(f->listener);
	f->listener = NULL;
	while (c) {
		struct tcp_client *next = c->next;

		stop_client(c);
		c = next;
	}
	front_https_stop(f->https);
}

void front_tcp_free(struct front_tcp *f)
{
	if (!f) {
		return;
	}
	while (f->first) {
		close_client(f->first);
	}
	front_https_free(f->https);
	listener_free(f->listener);
	tls_server_free(f->tls);
	free(f);
}
