/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/front_https.h"

#include "common/container.h"
#include "common/dns/doh.h"
#include "common/stream/h2.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	READ_BYTES = 8192,
	READS_PER_EVENT = 4,
	/* Replies waiting for the client to read; more close the connection. */
	OUT_MAX_BYTES = 512 * 1024,
	/* With so much waiting for the socket no more is read. */
	OUT_PAUSE_BYTES = 64 * 1024,
};

struct https_client;

/* A question that waits for an upstream server. */
struct https_query {
	struct query query;
	struct https_client *client;
	struct h2_stream *stream;
	struct https_query *next;
	struct https_query *prev;
};

struct https_client {
	struct front_https *front;
	struct https_client *next;
	struct https_client *prev;
	struct addr peer;
	struct stream stream;
	struct h2 *h2;
	struct timer idle;
	bool is_open; /* the handshake is done */
	bool closed;
	bool receiving; /* in h2_receive(): what there is to send goes after it */
	unsigned open_count;
	struct https_query open; /* ring head */
	struct deferred deferred;
};

struct front_https {
	struct query_context *context;
	void (*on_closed)(void *arg, const struct addr *peer);
	void *arg;
	struct https_client *first;
};

static void count(struct front_https *f, enum dnsproxyd_metric metric, int64_t amount)
{
	metrics_add(f->context->metrics, metric, amount);
}

/* --- the end of a connection ----------------------------------------------------------------- */

static void free_client(struct deferred *deferred)
{
	struct https_client *c = container_of(deferred, struct https_client, deferred);

	h2_free(c->h2);
	free(c);
}

static void drop_query(struct https_query *q)
{
	q->prev->next = q->next;
	q->next->prev = q->prev;
	q->client->open_count--;
	free(q);
}

static void close_client(struct https_client *c)
{
	struct front_https *f = c->front;

	if (c->closed) {
		return;
	}
	c->closed = true;
	while (c->open.next != &c->open) {
		struct https_query *q = c->open.next;

		query_cancel(&q->query);
		drop_query(q);
	}
	timer_stop(&c->idle);
	stream_close(&c->stream);
	*(c->prev ? &c->prev->next : &f->first) = c->next;
	if (c->next) {
		c->next->prev = c->prev;
	}
	loop_free_later(f->context->loop, &c->deferred, free_client);
	f->on_closed(f->arg, &c->peer);
}

static size_t unsent_bytes(const struct https_client *c)
{
	return h2_unsent_bytes(c->h2) + stream_unsent_bytes(&c->stream);
}

/* Hand what h2 has to say to the stream, until that is all or the socket takes no more: only then
 * does an event come by which to go on. 0 or -errno. */
static int push(struct https_client *c)
{
	const uint8_t *bytes;
	size_t len = 1;
	int r = 0;

	while (r == 0 && len > 0 && stream_unsent_bytes(&c->stream) < OUT_PAUSE_BYTES) {
		r = h2_pull(c->h2, &bytes, &len);
		if (r == 0) {
			r = stream_write(&c->stream, bytes, len);
		}
		if (r < 0 || len == 0 || stream_unsent_bytes(&c->stream) >= OUT_PAUSE_BYTES) {
			stream_flush(&c->stream);
		}
	}
	return r;
}

/* Send what there is to send; close the connection if that was all, or too much. */
static void settle(struct https_client *c)
{
	int r;

	if (c->closed || c->receiving) {
		return;
	}
	r = push(c);
	if (unsent_bytes(c) > OUT_MAX_BYTES) {
		count(c->front, METRIC_tcp_slow, 1);
		r = -ENOBUFS;
	}
	if (r < 0 || (h2_is_over(c->h2) && unsent_bytes(c) == 0)) {
		close_client(c);
	} else {
		stream_set_reading(&c->stream, stream_unsent_bytes(&c->stream) < OUT_PAUSE_BYTES);
	}
}

/* --- questions ------------------------------------------------------------------------------- */

static void on_idle(struct timer *timer);

/* Only whole questions, and replies that were read, earn more time. */
static void start_idle_timer(struct https_client *c)
{
	struct query_context *context = c->front->context;

	timer_start(&c->idle, context->loop,
		    loop_now_ms(context->loop) + context->config->limits->tcp_idle_timeout_ms,
		    on_idle);
}

static void on_idle(struct timer *timer)
{
	struct https_client *c = container_of(timer, struct https_client, idle);

	if (c->open_count > 0 && unsent_bytes(c) == 0) {
		/* It waits for us. */
		start_idle_timer(c);
		return;
	}
	count(c->front, unsent_bytes(c) > 0 ? METRIC_tcp_slow : METRIC_tcp_idle, 1);
	close_client(c);
}

static void refuse(struct https_client *c, struct h2_stream *stream, enum doh_status status)
{
	count(c->front, METRIC_https_refused, 1);
	(void)h2_respond(stream, status, NULL, NULL, 0, 0);
}

static void send_reply(struct h2_stream *stream, const uint8_t *msg, size_t len)
{
	(void)h2_respond(stream, DOH_OK, DOH_CONTENT_TYPE, msg, len, doh_max_age_s(msg, len));
}

static void on_done(struct query *query, const uint8_t *reply, size_t len)
{
	struct https_query *q = container_of(query, struct https_query, query);
	struct https_client *c = q->client;

	send_reply(q->stream, reply, len);
	drop_query(q);
	settle(c);
	if (!c->closed && unsent_bytes(c) == 0) {
		start_idle_timer(c);
	}
}

static void start_query(struct https_client *c, struct h2_stream *stream,
			const struct query_draft *draft)
{
	struct query_context *context = c->front->context;
	const struct query_origin origin = { .client = &c->peer, .is_encrypted = true };
	struct https_query *q = malloc(sizeof *q);
	size_t len;

	if (!q) {
		close_client(c);
		return;
	}
	q->client = c;
	q->stream = stream;
	q->prev = c->open.prev;
	q->next = &c->open;
	c->open.prev->next = q;
	c->open.prev = q;
	c->open_count++;
	h2_set_tag(stream, q);
	len = query_start(&q->query, context, &origin, draft, on_done, context->message,
			  DNSMSG_MAX);
	if (len > 0) {
		drop_query(q);
		send_reply(stream, context->message, len);
	}
}

static void take_message(struct https_client *c, struct h2_stream *stream, const uint8_t *msg,
			 size_t len)
{
	struct query_context *context = c->front->context;
	const struct query_origin origin = { .client = &c->peer, .is_encrypted = true };
	struct query_draft draft;
	size_t reply_len;

	count(c->front, METRIC_queries_https, 1);
	start_idle_timer(c);
	switch (query_try(context, &origin, msg, len, &draft, context->message, DNSMSG_MAX,
			  &reply_len)) {
	case QUERY_DROPPED:
		refuse(c, stream, DOH_BAD_REQUEST);
		break;
	case QUERY_ANSWERED:
		send_reply(stream, context->message, reply_len);
		break;
	case QUERY_PENDING:
		start_query(c, stream, &draft);
		break;
	}
}

static void on_request(void *user, struct h2_stream *stream, const struct h2_request *request)
{
	const struct doh_request doh_request = {
		.method = request->method,
		.path = request->path,
		.content_type = request->content_type,
		.body = request->body,
		.body_len = request->body_len,
	};
	struct https_client *c = user;
	uint8_t buf[DOH_QUERY_MAX];
	const uint8_t *msg;
	size_t len;
	enum doh_status status;

	if (c->closed) {
		return;
	}
	status = doh_find_query(&doh_request, buf, &msg, &len);
	if (request->path_too_long) {
		status = DOH_PATH_TOO_LONG;
	} else if (request->body_too_long && status == DOH_BAD_REQUEST) {
		status = DOH_TOO_LARGE;
	}
	if (status == DOH_OK) {
		take_message(c, stream, msg, len);
	} else {
		refuse(c, stream, status);
	}
}

/* The client does not want the answer any more. */
static void on_cancelled(void *user, void *tag)
{
	struct https_client *c = user;
	struct https_query *q = tag;

	if (!c->closed && q) {
		query_cancel(&q->query);
		drop_query(q);
	}
}

static const struct h2_user h2_upcalls = {
	.on_request = on_request,
	.on_cancelled = on_cancelled,
};

/* --- the connection -------------------------------------------------------------------------- */

static struct https_client *client_of(struct stream *stream)
{
	return container_of(stream, struct https_client, stream);
}

/* A client that did not ask for HTTP/2 would not understand a word. */
static void on_open(struct stream *stream)
{
	struct https_client *c = client_of(stream);

	count(c->front, METRIC_tls_handshakes, 1);
	c->is_open = true;
	if (strcmp(tls_alpn(tls_of(stream->layer)), "h2") != 0) {
		count(c->front, METRIC_https_refused, 1);
		close_client(c);
		return;
	}
	settle(c);
}

static void on_readable(struct stream *stream)
{
	struct https_client *c = client_of(stream);
	uint8_t bytes[READ_BYTES];
	int r = 0;

	c->receiving = true;
	for (unsigned i = 0; i < READS_PER_EVENT && !c->closed && r == 0; i++) {
		ssize_t n = stream_read(stream, bytes, sizeof bytes);

		if (n == -EAGAIN) {
			break;
		}
		if (n <= 0) {
			close_client(c);
			return;
		}
		r = h2_receive(c->h2, bytes, (size_t)n);
	}
	c->receiving = false;
	settle(c);
	if (r < 0) {
		close_client(c);
	}
}

static void on_drained(struct stream *stream)
{
	struct https_client *c = client_of(stream);

	settle(c);
	if (!c->closed && unsent_bytes(c) == 0) {
		start_idle_timer(c);
	}
}

static void on_failed(struct stream *stream, int error)
{
	struct https_client *c = client_of(stream);

	(void)error;
	if (!c->is_open) {
		count(c->front, METRIC_tls_failed, 1);
	}
	close_client(c);
}

static const struct stream_user stream_upcalls = {
	.on_open = on_open,
	.on_readable = on_readable,
	.on_drained = on_drained,
	.on_failed = on_failed,
};

/* --- life ------------------------------------------------------------------------------------ */

bool front_https_accept(struct front_https *f, int fd, const struct addr *peer,
			struct tls_server *server)
{
	struct https_client *c = calloc(1, sizeof *c);
	struct tls *tls = c ? tls_accept(server) : NULL;

	if (!tls) {
		close(fd);
		free(c);
		return false;
	}
	c->front = f;
	c->peer = *peer;
	c->open.next = &c->open;
	c->open.prev = &c->open;
	c->h2 = h2_new(true, &h2_upcalls, c);
	if (stream_accept(&c->stream, f->context->loop, fd, tls_layer(tls), &stream_upcalls) < 0 ||
	    !c->h2) {
		stream_close(&c->stream);
		h2_free(c->h2);
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

struct front_https *front_https_new(struct query_context *context,
				    void (*on_closed)(void *arg, const struct addr *peer),
				    void *arg)
{
	struct front_https *f = calloc(1, sizeof *f);

	if (f) {
		f->context = context;
		f->on_closed = on_closed;
		f->arg = arg;
	}
	return f;
}

void front_https_stop(struct front_https *f)
{
	struct https_client *c = f->first;

	while (c) {
		struct https_client *next = c->next;

		h2_goaway(c->h2);
		settle(c);
		c = next;
	}
}

void front_https_free(struct front_https *f)
{
	while (f && f->first) {
		close_client(f->first);
	}
	free(f);
}
