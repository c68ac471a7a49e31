/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_stream.h"

#include "common/container.h"
#include "common/dns/asked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	MESSAGE_MAX = 65535,
	PREFIX_LEN = 2,       /* the length before each message, RFC 1035 section 4.2.2 */
	IN_FIRST_CAP = 16384, /* grows to one message of any size */
	IN_MAX = PREFIX_LEN + MESSAGE_MAX,
	OUT_MAX = 1024 * 1024, /* more than that waiting for a slow server is refused */
	READS_PER_EVENT = 16,
	/* With a question open and not a byte for so long the peer is gone: sooner than the
	 * question is given up, so that what comes next finds another connection. */
	SILENCE_MAX_MS = 1500,
	BUCKET_COUNT = 256,
};

/* One message sent and not answered. */
struct open_query {
	struct open_query *next; /* sent later */
	struct open_query *prev;
	struct open_query *bucket_next;
	uint64_t sent_ms;
	struct asked asked;
};

struct stream_transport {
	struct transport transport;
	struct transport_config config;
	const struct stream_kind *kind;
	const struct transport_user *user_ops;
	void *user;
	struct deferred deferred;

	struct stream stream;
	struct timer timer; /* of the oldest query, or of idleness */
	bool dead;          /* on_closed was called */
	bool closed;        /* by the user */
	uint64_t heard_ms;  /* when the peer gave a sign of life last */

	uint8_t *in; /* an incomplete message */
	size_t in_len;
	size_t in_cap;

	struct open_query *oldest;
	struct open_query *newest;
	uint32_t open_count;
	struct open_query *buckets[BUCKET_COUNT]; /* by id */
};

static struct stream_transport *transport_of(struct transport *transport)
{
	return container_of(transport, struct stream_transport, transport);
}

/* --- queries --------------------------------------------------------------------------------- */

static struct open_query **conn_bucket(struct stream_transport *conn, unsigned id)
{
	return &conn->buckets[id % BUCKET_COUNT];
}

static void open_query_add(struct stream_transport *conn, struct open_query *query)
{
	struct open_query **bucket = conn_bucket(conn, asked_id(&query->asked));

	query->bucket_next = *bucket;
	*bucket = query;
	query->next = NULL;
	query->prev = conn->newest;
	*(conn->newest ? &conn->newest->next : &conn->oldest) = query;
	conn->newest = query;
	conn->open_count++;
}

static void open_query_remove(struct stream_transport *conn, struct open_query *query)
{
	struct open_query **slot = conn_bucket(conn, asked_id(&query->asked));

	while (*slot != query) {
		slot = &(*slot)->bucket_next;
	}
	*slot = query->bucket_next;
	*(query->prev ? &query->prev->next : &conn->oldest) = query->next;
	*(query->next ? &query->next->prev : &conn->newest) = query->prev;
	conn->open_count--;
}

/* The query that msg answers, and how; NULL when it answers none. */
static struct open_query *open_query_find(struct stream_transport *conn, const uint8_t *msg,
					  size_t len, enum asked_fit *ret_fit)
{
	struct open_query *query;

	if (len < ASKED_HEADER_LEN) {
		return NULL;
	}
	for (query = *conn_bucket(conn, (unsigned)(msg[0] << 8 | msg[1])); query;
	     query = query->bucket_next) {
		*ret_fit = asked_fit(&query->asked, msg, len);
		if (*ret_fit == ASKED_ANSWERED || *ret_fit == ASKED_BARE) {
			return query;
		}
	}
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

static void conn_die(struct stream_transport *conn, int error)
{
	conn->dead = true;
	timer_stop(&conn->timer);
	conn->user_ops->on_closed(conn->user, error);
}

static uint64_t conn_idle_ms(const struct stream_transport *conn)
{
	return conn->kind->idle_ms(&conn->config);
}

static void conn_on_timer(struct timer *timer);

/* Have the timer run at due_ms or before. It is never put off: when it comes early it is set again.
 */
static int conn_arm(struct stream_transport *conn, uint64_t due_ms)
{
	if (timer_active(&conn->timer) && conn->timer.due_ms <= due_ms) {
		return 0;
	}
	return timer_start(&conn->timer, conn->config.loop, due_ms, conn_on_timer);
}

static uint32_t conn_silence_ms(const struct stream_transport *conn)
{
	uint32_t ms = conn->config.timeout_ms / 4 * 3;

	if (conn->config.route && !conn->stream.open) {
		return conn->config.timeout_ms; /* proxies take their time to get there */
	}
	return ms < SILENCE_MAX_MS ? ms : SILENCE_MAX_MS;
}

/* The first query since which nothing was heard; NULL: none. There are few behind it, unless the
 * peer is gone. */
static struct open_query *conn_find_unheard(const struct stream_transport *conn)
{
	struct open_query *unheard = NULL;

	for (struct open_query *query = conn->newest; query && query->sent_ms >= conn->heard_ms;
	     query = query->prev) {
		unheard = query;
	}
	return unheard;
}

/* Give up the queries whose time is over. */
static void conn_drop_late(struct stream_transport *conn, uint64_t now_ms)
{
	while (conn->oldest && conn->oldest->sent_ms + conn->config.timeout_ms <= now_ms) {
		struct open_query *query = conn->oldest;

		open_query_remove(conn, query);
		free(query);
	}
}

/* The watchdog. When a query has waited and not a byte has come since it was sent, the connection
 * is dead, as after a route change; if others were answered meanwhile, only that query is given up,
 * at the end of its time. */
static void conn_on_timer(struct timer *timer)
{
	struct stream_transport *conn = container_of(timer, struct stream_transport, timer);
	uint64_t now_ms = loop_now_ms(conn->config.loop);
	uint64_t idle_due_ms = conn->heard_ms + conn_idle_ms(conn);
	struct open_query *unheard = conn_find_unheard(conn);

	if (unheard && unheard->sent_ms + conn_silence_ms(conn) <= now_ms) {
		conn_die(conn, ETIMEDOUT);
		return;
	}
	conn_drop_late(conn, now_ms);
	if (unheard) {
		conn_arm(conn, unheard->sent_ms + conn_silence_ms(conn));
	}
	if (conn->oldest) {
		conn_arm(conn, conn->oldest->sent_ms + conn->config.timeout_ms);
	} else if (idle_due_ms > now_ms) {
		conn_arm(conn, idle_due_ms);
	} else {
		conn_die(conn, 0);
	}
}

/* --- reading --------------------------------------------------------------------------------- */

static void conn_take_message(struct stream_transport *conn, const uint8_t *msg, size_t len)
{
	uint8_t restored[ASKED_RESTORED_MAX];
	enum asked_fit fit;
	struct open_query *query = open_query_find(conn, msg, len, &fit);

	if (!query) {
		conn->transport.dropped_count++;
		return;
	}
	if (fit == ASKED_BARE) {
		len = asked_restore(&query->asked, msg, len, restored);
		msg = restored;
	}
	open_query_remove(conn, query);
	free(query);
	conn->user_ops->on_message(conn->user, msg, len);
}

/* Pass on the whole messages of the buffer and keep the rest. */
static void conn_take_input(struct stream_transport *conn)
{
	size_t pos = 0;

	while (!conn->closed && conn->in_len - pos >= PREFIX_LEN) {
		size_t len = (size_t)(conn->in[pos] << 8 | conn->in[pos + 1]);

		if (conn->in_len - pos - PREFIX_LEN < len) {
			break;
		}
		pos += PREFIX_LEN + len;
		conn_take_message(conn, conn->in + pos - len, len);
	}
	if (pos > 0) {
		memmove(conn->in, conn->in + pos, conn->in_len - pos);
		conn->in_len -= pos;
	}
}

/* Room to read; the buffer grows once, when one message fills it. */
static int conn_in_reserve(struct stream_transport *conn)
{
	size_t cap = conn->in_cap ? IN_MAX : IN_FIRST_CAP;
	uint8_t *in;

	if (conn->in_len < conn->in_cap) {
		return 0;
	}
	in = realloc(conn->in, cap);
	if (!in) {
		return -ENOMEM;
	}
	conn->in = in;
	conn->in_cap = cap;
	return 0;
}

static void conn_on_readable(struct stream *stream)
{
	struct stream_transport *conn = container_of(stream, struct stream_transport, stream);

	for (unsigned i = 0; i < READS_PER_EVENT && !conn->closed; i++) {
		size_t room;
		ssize_t n;

		if (conn_in_reserve(conn) < 0) {
			conn_die(conn, ENOMEM);
			return;
		}
		room = conn->in_cap - conn->in_len;
		n = stream_read(stream, conn->in + conn->in_len, room);
		if (n == -EAGAIN) {
			break;
		}
		if (n <= 0) {
			conn_die(conn, (int)-n);
			return;
		}
		conn->heard_ms = loop_now_ms(conn->config.loop);
		conn->in_len += (size_t)n;
		conn_take_input(conn);
	}
	if (!conn->closed && conn->open_count == 0) {
		/* The server may have shortened the time. */
		conn_arm(conn, conn->heard_ms + conn_idle_ms(conn));
	}
}

static void conn_on_open(struct stream *stream)
{
	struct stream_transport *conn = container_of(stream, struct stream_transport, stream);

	conn->heard_ms = loop_now_ms(conn->config.loop);
	if (conn->kind->on_open) {
		conn->kind->on_open(&conn->config, stream->layer);
	}
}

static void conn_on_failed(struct stream *stream, int error)
{
	struct stream_transport *conn = container_of(stream, struct stream_transport, stream);

	if (conn->kind->on_failed) {
		conn->kind->on_failed(&conn->config, stream->layer);
	}
	conn_die(conn, error);
}

static const struct stream_user conn_stream_user = {
	.on_open = conn_on_open,
	.on_readable = conn_on_readable,
	.on_failed = conn_on_failed,
};

/* --- the interface --------------------------------------------------------------------------- */

struct transport *stream_transport_open(const struct stream_kind *kind,
					const struct transport_config *config,
					const struct transport_user *user_ops, void *user)
{
	struct stream_transport *conn = calloc(1, sizeof *conn);
	struct stream_layer *layer = NULL;
	int r = conn ? 0 : -ENOMEM;

	if (r == 0 && kind->make_layer) {
		layer = kind->make_layer(config);
		r = layer ? 0 : -errno;
	}
	if (r == 0) {
		conn->transport.ops = kind->ops;
		conn->kind = kind;
		conn->config = *config;
		conn->user_ops = user_ops;
		conn->user = user;
		conn->heard_ms = loop_now_ms(config->loop);
		r = stream_connect(&conn->stream, config->loop, &config->server, config->route,
				   layer, &conn_stream_user);
	}
	if (r == 0) {
		r = conn_arm(conn, conn->heard_ms + conn_idle_ms(conn));
	}
	if (r < 0) {
		if (conn) {
			stream_close(&conn->stream);
		}
		free(conn);
		errno = -r;
		return NULL;
	}
	return &conn->transport;
}

int stream_transport_send(struct transport *transport, const uint8_t *msg, size_t len)
{
	struct stream_transport *conn = transport_of(transport);
	uint64_t now_ms = loop_now_ms(conn->config.loop);
	const uint8_t prefix[PREFIX_LEN] = { (uint8_t)(len >> 8), (uint8_t)len };
	struct open_query *query;
	int r;

	if (conn->dead) {
		return -EPIPE;
	}
	if (len > MESSAGE_MAX) {
		return -EMSGSIZE;
	}
	if (conn->open_count >= conn->config.max_open ||
	    stream_unsent_bytes(&conn->stream) + PREFIX_LEN + len > OUT_MAX) {
		return -ENOBUFS;
	}
	query = malloc(sizeof *query);
	r = query ? asked_set(&query->asked, msg, len) : -ENOMEM;
	if (r == 0) {
		r = conn_arm(conn, now_ms + conn_silence_ms(conn));
	}
	if (r == 0) {
		r = stream_reserve(&conn->stream, PREFIX_LEN + len);
	}
	if (r < 0) {
		free(query);
		return r;
	}
	query->sent_ms = now_ms;
	open_query_add(conn, query);
	(void)stream_write(&conn->stream, prefix, PREFIX_LEN);
	(void)stream_write(&conn->stream, msg, len);
	return 0;
}

void stream_transport_flush(struct transport *transport)
{
	struct stream_transport *conn = transport_of(transport);

	stream_flush(&conn->stream);
}

static void conn_free(struct deferred *deferred)
{
	struct stream_transport *conn = container_of(deferred, struct stream_transport, deferred);

	while (conn->oldest) {
		struct open_query *query = conn->oldest;

		conn->oldest = query->next;
		free(query);
	}
	free(conn->in);
	free(conn);
}

void stream_transport_close(struct transport *transport)
{
	struct stream_transport *conn = transport_of(transport);

	conn->closed = true;
	conn->dead = true;
	timer_stop(&conn->timer);
	stream_close(&conn->stream);
	loop_free_later(conn->config.loop, &conn->deferred, conn_free);
}
