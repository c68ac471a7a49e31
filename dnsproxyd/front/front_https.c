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

struct https_client {
	struct connection base;
	struct h2 *h2;
	bool receiving; /* in h2_receive(): what there is to send goes after it */
};

static void count(struct https_client *c, enum dnsproxyd_metric metric)
{
	metrics_add(c->base.all->context->metrics, metric, 1);
}

static struct https_client *client_of(struct stream *stream)
{
	return container_of(stream, struct https_client, base.stream);
}

/* --- replies --------------------------------------------------------------------------------- */

static size_t unsent_bytes(const struct https_client *c)
{
	return h2_unsent_bytes(c->h2) + stream_unsent_bytes(&c->base.stream);
}

/* Hand what h2 has to say to the stream, until that is all or the socket takes no more: only then
 * does an event come by which to go on. 0 or -errno. */
static int push(struct https_client *c)
{
	const uint8_t *bytes;
	size_t len = 1;
	int r = 0;

	while (r == 0 && len > 0 && stream_unsent_bytes(&c->base.stream) < OUT_PAUSE_BYTES) {
		r = h2_pull(c->h2, &bytes, &len);
		if (r == 0) {
			r = stream_write(&c->base.stream, bytes, len);
		}
		if (r < 0 || len == 0 || stream_unsent_bytes(&c->base.stream) >= OUT_PAUSE_BYTES) {
			stream_flush(&c->base.stream);
		}
	}
	return r;
}

/* Send what there is to send; close the connection if that was all, or too much. */
static void settle(struct https_client *c)
{
	int r;

	if (c->base.closed || c->receiving) {
		return;
	}
	r = push(c);
	if (unsent_bytes(c) > OUT_MAX_BYTES) {
		count(c, METRIC_tcp_slow);
		r = -ENOBUFS;
	}
	if (r < 0 || (h2_is_over(c->h2) && unsent_bytes(c) == 0)) {
		connection_close(&c->base);
	} else {
		stream_set_reading(&c->base.stream,
				   stream_unsent_bytes(&c->base.stream) < OUT_PAUSE_BYTES);
	}
}

/* --- questions ------------------------------------------------------------------------------- */

static void on_idle(struct connection *base)
{
	struct https_client *c = client_of(&base->stream);

	if (base->open_count > 0 && unsent_bytes(c) == 0) {
		/* It waits for us. */
		connection_wait_idle(base);
		return;
	}
	count(c, unsent_bytes(c) > 0 ? METRIC_tcp_slow : METRIC_tcp_idle);
	connection_close(base);
}

static void refuse(struct https_client *c, struct h2_stream *stream, enum doh_status status)
{
	count(c, METRIC_https_refused);
	(void)h2_respond(stream, status, NULL, NULL, 0, 0);
}

static void send_reply(struct h2_stream *stream, const uint8_t *msg, size_t len)
{
	(void)h2_respond(stream, DOH_OK, DOH_CONTENT_TYPE, msg, len, doh_max_age_s(msg, len));
}

static void on_reply(struct connection *base, void *tag, const uint8_t *reply, size_t len)
{
	struct https_client *c = client_of(&base->stream);

	send_reply(tag, reply, len);
	settle(c);
	if (!base->closed && unsent_bytes(c) == 0) {
		connection_wait_idle(base);
	}
}

static void take_message(struct https_client *c, struct h2_stream *stream, const uint8_t *msg,
			 size_t len)
{
	struct open_query *open;
	size_t reply_len;

	count(c, METRIC_queries_https);
	/* Only whole questions, and replies that were read, earn more time. */
	connection_wait_idle(&c->base);
	switch (connection_ask(&c->base, msg, len, stream, &reply_len, &open)) {
	case CONNECTION_DROPPED:
		refuse(c, stream, DOH_BAD_REQUEST);
		break;
	case CONNECTION_ANSWERED:
		send_reply(stream, c->base.all->context->message, reply_len);
		break;
	case CONNECTION_WAITING:
		h2_set_tag(stream, open);
		break;
	case CONNECTION_CLOSED:
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

	if (c->base.closed) {
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

	if (!c->base.closed && tag) {
		open_query_cancel(tag);
	}
}

static const struct h2_user h2_upcalls = {
	.on_request = on_request,
	.on_cancelled = on_cancelled,
};

/* --- the connection -------------------------------------------------------------------------- */

/* A client that did not ask for HTTP/2 would not understand a word. */
static void on_open(struct stream *stream)
{
	struct https_client *c = client_of(stream);

	connection_opened(&c->base);
	if (strcmp(tls_alpn(tls_of(stream->layer)), "h2") != 0) {
		count(c, METRIC_https_refused);
		connection_close(&c->base);
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
	for (unsigned i = 0; i < READS_PER_EVENT && !c->base.closed && r == 0; i++) {
		ssize_t n = stream_read(stream, bytes, sizeof bytes);

		if (n == -EAGAIN) {
			break;
		}
		if (n <= 0) {
			connection_close(&c->base);
			return;
		}
		r = h2_receive(c->h2, bytes, (size_t)n);
	}
	c->receiving = false;
	settle(c);
	if (r < 0) {
		connection_close(&c->base);
	}
}

static void on_drained(struct stream *stream)
{
	struct https_client *c = client_of(stream);

	settle(c);
	if (!c->base.closed && unsent_bytes(c) == 0) {
		connection_wait_idle(&c->base);
	}
}

static void on_failed(struct stream *stream, int error)
{
	connection_failed(&client_of(stream)->base, error);
}

/* Those that are open are still answered. */
static void on_stop(struct connection *base)
{
	struct https_client *c = client_of(&base->stream);

	h2_goaway(c->h2);
	settle(c);
}

static void free_client(struct connection *base)
{
	struct https_client *c = client_of(&base->stream);

	h2_free(c->h2);
	free(c);
}

static const struct connection_ops connection_ops = {
	.stream = {
		.on_open = on_open,
		.on_readable = on_readable,
		.on_drained = on_drained,
		.on_failed = on_failed,
	},
	.idle = on_idle,
	.reply = on_reply,
	.stop = on_stop,
	.free = free_client,
};

bool front_https_accept(struct connections *connections, int fd, const struct addr *peer,
			struct tls_server *tls)
{
	struct https_client *c = calloc(1, sizeof *c);

	if (c) {
		c->h2 = h2_new(true, &h2_upcalls, c);
	}
	if (!c || !c->h2) {
		close(fd);
		free(c);
		return false;
	}
	if (!connection_open(&c->base, connections, fd, peer, QUERY_BY_HTTPS, tls,
			     &connection_ops)) {
		h2_free(c->h2);
		free(c);
		return false;
	}
	return true;
}
