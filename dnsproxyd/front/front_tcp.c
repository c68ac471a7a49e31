/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/front_tcp.h"

#include "common/container.h"
#include "common/daemon/listener.h"
#include "common/log.h"

#include "dnsproxyd/front/connection.h"
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

struct tcp_client {
	struct connection base;
	bool fin_seen; /* it asks no more; what is open is answered */
	bool asked;    /* a whole question has come */
	bool awaited; /* the front has stopped, but for its first question; counts as an open one */
	size_t reply_bytes;   /* that are expected of a reply: as many as the largest lately */
	uint64_t out_total;   /* bytes of replies so far */
	uint64_t sent_before; /* of them, when the idle time began */
	uint8_t in[LENGTH_BYTES + IN_BYTES];
	size_t in_len;
};

struct front_tcp {
	struct query_context *context;
	const struct netset *clients;
	struct tls_server *tls; /* NULL: clear text */
	bool is_https;          /* what is accepted goes to front_https.h */
	struct addr addr;
	struct listener *listener; /* NULL once stopped */
	struct connections connections;
	struct log_limit log;
};

static void count(struct query_context *context, enum dnsproxyd_metric metric, int64_t amount)
{
	metrics_add(context->metrics, metric, amount);
}

static struct tcp_client *client_of(struct stream *stream)
{
	return container_of(stream, struct tcp_client, base.stream);
}

/* The first question is there, or will not come. */
static void await_no_more(struct tcp_client *c)
{
	if (c->awaited) {
		c->awaited = false;
		query_context_release(c->base.all->context);
	}
}

/* Whether it may ask more. */
static bool may_ask(const struct tcp_client *c)
{
	return !c->fin_seen && (!c->base.all->stopped || c->awaited);
}

/* --- replies --------------------------------------------------------------------------------- */

/* Whether there is room for the reply to one more question. */
static bool has_reply_room(const struct tcp_client *c)
{
	return stream_unsent_bytes(&c->base.stream) + (c->base.open_count + 1) * c->reply_bytes <=
	       OUT_HIGH_BYTES;
}

/* Whether more questions are welcome. */
static bool is_welcome(struct tcp_client *c)
{
	if (!has_reply_room(c)) {
		stream_flush(&c->base.stream);
	}
	return c->base.open_count < OPEN_MAX_PER_CLIENT && !stream_is_blocked(&c->base.stream) &&
	       has_reply_room(c);
}

/* What has left. */
static uint64_t sent_bytes(const struct tcp_client *c)
{
	return c->out_total - stream_unsent_bytes(&c->base.stream);
}

/* Send the replies there are, and read on if questions are welcome; close the connection if it has
 * nothing left to do. */
static void settle(struct tcp_client *c)
{
	struct connection *base = &c->base;

	if (base->closed) {
		return;
	}
	stream_flush(&base->stream);
	if (!may_ask(c) && base->open_count == 0 && stream_unsent_bytes(&base->stream) == 0) {
		connection_close(base);
	} else {
		stream_set_reading(&base->stream, may_ask(c) && is_welcome(c));
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
	if (stream_reserve(&c->base.stream, LENGTH_BYTES + len) < 0) {
		connection_close(&c->base);
		return;
	}
	(void)stream_write(&c->base.stream, prefix, LENGTH_BYTES);
	(void)stream_write(&c->base.stream, msg, len);
}

/* --- questions ------------------------------------------------------------------------------- */

static void wait_idle(struct tcp_client *c)
{
	c->sent_before = sent_bytes(c);
	connection_wait_idle(&c->base);
}

static void on_idle(struct connection *base)
{
	struct tcp_client *c = client_of(&base->stream);
	bool is_blocked = stream_is_blocked(&base->stream);
	bool is_reading = sent_bytes(c) - c->sent_before >= SLOW_BYTES;

	if (is_blocked ? is_reading : base->open_count > 0) {
		/* It reads, or waits for us. */
		wait_idle(c);
		return;
	}
	count(base->all->context, is_blocked ? METRIC_tcp_slow : METRIC_tcp_idle, 1);
	connection_close(base);
}

static void take_message(struct tcp_client *c, const uint8_t *msg, size_t len)
{
	struct query_context *context = c->base.all->context;
	struct open_query *open;
	size_t reply_len;

	count(context, METRIC_queries_tcp, 1);
	switch (connection_ask(&c->base, msg, len, NULL, &reply_len, &open)) {
	case CONNECTION_DROPPED:
		connection_close(&c->base);
		break;
	case CONNECTION_ANSWERED:
		send_reply(c, context->message, reply_len);
		break;
	case CONNECTION_WAITING:
	case CONNECTION_CLOSED:
		break;
	}
}

/* Take the complete messages out of the buffer, as far as more questions are welcome. */
static void take_messages(struct tcp_client *c)
{
	size_t taken = 0;

	while (!c->base.closed && c->in_len - taken >= LENGTH_BYTES && is_welcome(c)) {
		const uint8_t *p = c->in + taken;
		size_t len = (size_t)(p[0] << 8 | p[1]);

		if (len > IN_BYTES) {
			count(c->base.all->context, METRIC_queries_dropped, 1);
			connection_close(&c->base);
			return;
		}
		if (c->in_len - taken - LENGTH_BYTES < len) {
			break;
		}
		take_message(c, p + LENGTH_BYTES, len);
		taken += LENGTH_BYTES + len;
	}
	/* Only whole questions earn more time. */
	if (!c->base.closed && taken > 0) {
		c->asked = true;
		await_no_more(c);
		wait_idle(c);
		memmove(c->in, c->in + taken, c->in_len - taken);
		c->in_len -= taken;
	}
}

/* A question that had to wait is answered. */
static void on_reply(struct connection *base, void *tag, const uint8_t *reply, size_t len)
{
	struct tcp_client *c = client_of(&base->stream);

	(void)tag;
	send_reply(c, reply, len);
	if (!base->closed && !stream_is_blocked(&base->stream)) {
		wait_idle(c);
	}
	/* Questions that were held back may go on. */
	take_messages(c);
	settle(c);
}

/* Whether there may be more to read. */
static bool read_some(struct tcp_client *c)
{
	ssize_t n = stream_read(&c->base.stream, c->in + c->in_len, sizeof c->in - c->in_len);

	if (n > 0) {
		c->in_len += (size_t)n;
		take_messages(c);
		return !c->base.closed && is_welcome(c);
	}
	if (n == 0) {
		c->fin_seen = true;
	} else if (n != -EAGAIN) {
		connection_close(&c->base);
	}
	return false;
}

static void on_readable(struct stream *stream)
{
	struct tcp_client *c = client_of(stream);

	for (unsigned i = 0; i < READS_PER_EVENT && read_some(c); i++) {
	}
	settle(c);
}

/* The client has read its replies. */
static void on_drained(struct stream *stream)
{
	struct tcp_client *c = client_of(stream);

	wait_idle(c);
	take_messages(c);
	settle(c);
}

static void on_failed(struct stream *stream, int error)
{
	connection_failed(&client_of(stream)->base, error);
}

static void on_open(struct stream *stream)
{
	connection_opened(&client_of(stream)->base);
}

/* --- the beginning and the end of a connection ----------------------------------------------- */

/* What has arrived is still answered, and so is the first question of a connection that was
 * accepted a moment ago: closed now, it would end in a reset. */
static void on_stop(struct connection *base)
{
	struct tcp_client *c = client_of(&base->stream);

	if (!c->fin_seen && is_welcome(c)) {
		(void)read_some(c);
	}
	if (!base->closed && !c->fin_seen && !c->asked) {
		c->awaited = true;
		query_context_hold(base->all->context);
		connection_wait_idle_ms(base, FIRST_QUESTION_MS);
	}
	settle(c);
}

static void on_end(struct connection *base)
{
	await_no_more(client_of(&base->stream));
}

static void free_client(struct connection *base)
{
	free(client_of(&base->stream));
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
	.end = on_end,
	.free = free_client,
};

/* As front_https_accept(), for what is not HTTPS. */
static bool accept_client(struct front_tcp *f, int fd, const struct addr *peer)
{
	struct tcp_client *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		return false;
	}
	c->reply_bytes = REPLY_MIN_BYTES;
	if (!connection_open(&c->base, &f->connections, fd, peer,
			     f->tls ? QUERY_BY_TLS : QUERY_BY_TCP, f->tls, &connection_ops)) {
		free(c);
		return false;
	}
	return true;
}

/* Any connection, also one by HTTPS. */
static void on_closed(void *arg, const struct addr *peer)
{
	struct front_tcp *f = arg;

	client_counts_remove(f->context->tcp_clients, peer);
	count(f->context, METRIC_tcp_now, -1);
	if (f->listener) {
		listener_fd_freed(f->listener);
	}
}

/* --- accepting ------------------------------------------------------------------------------- */

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
		count(f->context, METRIC_tcp_refused, 1);
		return;
	}
	if (f->is_https) {
		accepted = front_https_accept(&f->connections, fd, peer, f->tls);
	} else {
		accepted = accept_client(f, fd, peer);
	}
	if (!accepted) {
		client_counts_remove(f->context->tcp_clients, peer);
		count(f->context, METRIC_tcp_refused, 1);
		return;
	}
	count(f->context, METRIC_tcp_accepted, 1);
	count(f->context, METRIC_tcp_now, 1);
}

static void on_event(void *arg, enum listener_event event, int error)
{
	struct front_tcp *f = arg;
	uint32_t suppressed;

	if (event != LISTENER_PAUSED) {
		return;
	}
	count(f->context, METRIC_accept_paused, 1);
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
	f->connections =
		(struct connections){ .context = context, .on_closed = on_closed, .arg = f };
	f->listener = listener_start(context->loop, fd, &ops, f);
	if (!f->listener) {
		int saved = errno;

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

void front_tcp_stop(struct front_tcp *f)
{
	listener_free(f->listener);
	f->listener = NULL;
	connections_stop(&f->connections);
}

void front_tcp_free(struct front_tcp *f)
{
	if (!f) {
		return;
	}
	connections_close(&f->connections);
	listener_free(f->listener);
	tls_server_free(f->tls);
	free(f);
}
