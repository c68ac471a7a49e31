/* SPDX-License-Identifier: ISC */
#include "common/transport.h"

#include "common/asked.h"
#include "common/container.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 65535,
	PREFIX_LEN = 2,       /* the length before each message, RFC 1035 section 4.2.2 */
	IN_FIRST_CAP = 16384, /* grows to one message of any size */
	IN_MAX = PREFIX_LEN + MESSAGE_MAX,
	OUT_FIRST_CAP = 4096,
	OUT_MAX = 1024 * 1024, /* more than that waiting for a slow server is refused */
	READS_PER_EVENT = 16,
	/* So many timeouts without traffic, and an idle connection is closed (RFC 7766
	 * section 6.2.3). */
	IDLE_TIMEOUTS = 5,
	/* With a question open and not a byte for so long the peer is gone: sooner than the
	 * question is given up, so that what comes next finds another connection. */
	SILENCE_MAX_MS = 1500,
	BUCKET_COUNT = 256,
};

/* One message sent and not answered. */
struct tcp_query {
	struct tcp_query *next; /* sent later */
	struct tcp_query *prev;
	struct tcp_query *bucket_next;
	uint64_t sent_ms;
	struct asked asked;
};

struct tcp {
	struct transport transport;
	struct transport_config config;
	const struct transport_user *user_ops;
	void *user;
	struct deferred deferred;

	int fd;
	struct watch watch;
	struct timer timer; /* of the oldest query, or of idleness */
	bool connected;
	bool dead;   /* on_closed was called */
	bool closed; /* by the user */
	bool want_write;
	int send_error;    /* of send(); reported when reading ends */
	uint64_t heard_ms; /* when bytes came last */

	uint8_t *out; /* out[out_start..out_len) is to be sent */
	size_t out_start;
	size_t out_len;
	size_t out_cap;
	uint8_t *in; /* an incomplete message */
	size_t in_len;
	size_t in_cap;

	struct tcp_query *oldest;
	struct tcp_query *newest;
	uint32_t open_count;
	struct tcp_query *buckets[BUCKET_COUNT]; /* by id */
};

static struct tcp *tcp_of(struct transport *transport)
{
	return container_of(transport, struct tcp, transport);
}

/* --- queries --------------------------------------------------------------------------------- */

static struct tcp_query **tcp_bucket(struct tcp *tcp, unsigned id)
{
	return &tcp->buckets[id % BUCKET_COUNT];
}

static void tcp_query_add(struct tcp *tcp, struct tcp_query *query)
{
	struct tcp_query **bucket = tcp_bucket(tcp, asked_id(&query->asked));

	query->bucket_next = *bucket;
	*bucket = query;
	query->next = NULL;
	query->prev = tcp->newest;
	*(tcp->newest ? &tcp->newest->next : &tcp->oldest) = query;
	tcp->newest = query;
	tcp->open_count++;
}

static void tcp_query_remove(struct tcp *tcp, struct tcp_query *query)
{
	struct tcp_query **slot = tcp_bucket(tcp, asked_id(&query->asked));

	while (*slot != query) {
		slot = &(*slot)->bucket_next;
	}
	*slot = query->bucket_next;
	*(query->prev ? &query->prev->next : &tcp->oldest) = query->next;
	*(query->next ? &query->next->prev : &tcp->newest) = query->prev;
	tcp->open_count--;
}

/* The query that msg answers, and how; NULL when it answers none. */
static struct tcp_query *tcp_query_find(struct tcp *tcp, const uint8_t *msg, size_t len,
					enum asked_fit *ret_fit)
{
	struct tcp_query *query;

	if (len < ASKED_HEADER_LEN) {
		return NULL;
	}
	for (query = *tcp_bucket(tcp, (unsigned)(msg[0] << 8 | msg[1])); query;
	     query = query->bucket_next) {
		*ret_fit = asked_fit(&query->asked, msg, len);
		if (*ret_fit == ASKED_ANSWERED || *ret_fit == ASKED_BARE) {
			return query;
		}
	}
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

static void tcp_die(struct tcp *tcp, int error)
{
	tcp->dead = true;
	watch_stop(&tcp->watch);
	timer_stop(&tcp->timer);
	tcp->user_ops->on_closed(tcp->user, error);
}

static uint64_t tcp_idle_ms(const struct tcp *tcp)
{
	return (uint64_t)tcp->config.timeout_ms * IDLE_TIMEOUTS;
}

static void tcp_on_timer(struct timer *timer);

/* Have the timer run at due_ms or before. It is never put off: when it comes early it is set again.
 */
static int tcp_arm(struct tcp *tcp, uint64_t due_ms)
{
	if (timer_active(&tcp->timer) && tcp->timer.due_ms <= due_ms) {
		return 0;
	}
	return timer_start(&tcp->timer, tcp->config.loop, due_ms, tcp_on_timer);
}

static uint32_t tcp_silence_ms(const struct tcp *tcp)
{
	uint32_t ms = tcp->config.timeout_ms / 4 * 3;

	return ms < SILENCE_MAX_MS ? ms : SILENCE_MAX_MS;
}

/* When the watchdog looks at a query. */
static uint64_t tcp_due_ms(const struct tcp *tcp, const struct tcp_query *query)
{
	bool heard = tcp->heard_ms > query->sent_ms;

	return query->sent_ms + (heard ? tcp->config.timeout_ms : tcp_silence_ms(tcp));
}

/* The watchdog. When the oldest query has waited and not a byte has come since it was sent, the
 * connection is dead, as after a route change; if others were answered meanwhile, only that query
 * is given up, at the end of its time. */
static void tcp_on_timer(struct timer *timer)
{
	struct tcp *tcp = container_of(timer, struct tcp, timer);
	uint64_t now_ms = loop_now_ms(tcp->config.loop);
	uint64_t idle_due_ms = tcp->heard_ms + tcp_idle_ms(tcp);

	while (tcp->oldest && tcp_due_ms(tcp, tcp->oldest) <= now_ms) {
		struct tcp_query *query = tcp->oldest;

		if (tcp->heard_ms <= query->sent_ms) {
			tcp_die(tcp, ETIMEDOUT);
			return;
		}
		tcp_query_remove(tcp, query);
		free(query);
	}
	if (tcp->oldest) {
		tcp_arm(tcp, tcp_due_ms(tcp, tcp->oldest));
	} else if (idle_due_ms > now_ms) {
		tcp_arm(tcp, idle_due_ms);
	} else {
		tcp_die(tcp, 0);
	}
}

/* --- writing --------------------------------------------------------------------------------- */

static void tcp_update_watch(struct tcp *tcp)
{
	bool want_write = !tcp->connected || tcp->out_start < tcp->out_len;

	if (want_write != tcp->want_write) {
		tcp->want_write = want_write;
		watch_modify(&tcp->watch, want_write ? LOOP_READ | LOOP_WRITE : LOOP_READ);
	}
}

/* Write what the socket takes. An error is not reported from here (the user may be the caller): the
 * socket has become readable by it, and reading ends the connection. */
static void tcp_write(struct tcp *tcp)
{
	while (tcp->out_start < tcp->out_len) {
		ssize_t n = send(tcp->fd, tcp->out + tcp->out_start, tcp->out_len - tcp->out_start,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			if (errno != EAGAIN) {
				tcp->send_error = errno;
				tcp->out_start = tcp->out_len;
			}
			break;
		}
		tcp->out_start += (size_t)n;
	}
	if (tcp->out_start == tcp->out_len) {
		tcp->out_start = 0;
		tcp->out_len = 0;
	}
	tcp_update_watch(tcp);
}

/* Make room for `len` more bytes to send. */
static int tcp_out_reserve(struct tcp *tcp, size_t len)
{
	size_t pending = tcp->out_len - tcp->out_start;
	size_t cap = tcp->out_cap ? tcp->out_cap : OUT_FIRST_CAP;
	uint8_t *out;

	if (tcp->out_len + len <= tcp->out_cap) {
		return 0;
	}
	if (pending + len > OUT_MAX) {
		return -ENOBUFS;
	}
	if (tcp->out_start > 0) {
		memmove(tcp->out, tcp->out + tcp->out_start, pending);
		tcp->out_start = 0;
		tcp->out_len = pending;
	}
	while (cap < pending + len) {
		cap *= 2;
	}
	if (cap == tcp->out_cap) {
		return 0;
	}
	out = realloc(tcp->out, cap);
	if (!out) {
		return -ENOMEM;
	}
	tcp->out = out;
	tcp->out_cap = cap;
	return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

static void tcp_take_message(struct tcp *tcp, const uint8_t *msg, size_t len)
{
	uint8_t restored[ASKED_RESTORED_MAX];
	enum asked_fit fit;
	struct tcp_query *query = tcp_query_find(tcp, msg, len, &fit);

	if (!query) {
		tcp->transport.dropped_count++;
		return;
	}
	if (fit == ASKED_BARE) {
		len = asked_restore(&query->asked, msg, len, restored);
		msg = restored;
	}
	tcp_query_remove(tcp, query);
	free(query);
	tcp->user_ops->on_message(tcp->user, msg, len);
}

/* Pass on the whole messages of the buffer and keep the rest. */
static void tcp_take_input(struct tcp *tcp)
{
	size_t pos = 0;

	while (!tcp->closed && tcp->in_len - pos >= PREFIX_LEN) {
		size_t len = (size_t)(tcp->in[pos] << 8 | tcp->in[pos + 1]);

		if (tcp->in_len - pos - PREFIX_LEN < len) {
			break;
		}
		pos += PREFIX_LEN + len;
		tcp_take_message(tcp, tcp->in + pos - len, len);
	}
	if (pos > 0) {
		memmove(tcp->in, tcp->in + pos, tcp->in_len - pos);
		tcp->in_len -= pos;
	}
}

/* Room to read; the buffer grows once, when one message fills it. */
static int tcp_in_reserve(struct tcp *tcp)
{
	size_t cap = tcp->in_cap ? IN_MAX : IN_FIRST_CAP;
	uint8_t *in;

	if (tcp->in_len < tcp->in_cap) {
		return 0;
	}
	in = realloc(tcp->in, cap);
	if (!in) {
		return -ENOMEM;
	}
	tcp->in = in;
	tcp->in_cap = cap;
	return 0;
}

static void tcp_read(struct tcp *tcp)
{
	for (unsigned i = 0; i < READS_PER_EVENT && !tcp->closed; i++) {
		size_t room;
		ssize_t n;

		if (tcp_in_reserve(tcp) < 0) {
			tcp_die(tcp, ENOMEM);
			return;
		}
		room = tcp->in_cap - tcp->in_len;
		n = recv(tcp->fd, tcp->in + tcp->in_len, room, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			return;
		}
		if (n <= 0) {
			tcp_die(tcp, n < 0 ? errno : tcp->send_error);
			return;
		}
		tcp->heard_ms = loop_now_ms(tcp->config.loop);
		tcp->in_len += (size_t)n;
		tcp_take_input(tcp);
		if ((size_t)n < room) {
			return;
		}
	}
}

static void tcp_on_ready(struct watch *watch, uint32_t events)
{
	struct tcp *tcp = container_of(watch, struct tcp, watch);

	if (!tcp->connected) {
		int error = 0;
		socklen_t len = sizeof error;

		if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
			error = errno;
		}
		if (error) {
			tcp_die(tcp, error);
			return;
		}
		tcp->connected = true;
	}
	if (events & LOOP_WRITE) {
		tcp_write(tcp);
	}
	if (events & (LOOP_READ | LOOP_ERROR | LOOP_HANGUP)) {
		tcp_read(tcp);
	}
}

/* --- the interface --------------------------------------------------------------------------- */

static int tcp_connect(struct tcp *tcp)
{
	const struct addr *server = &tcp->config.server;
	const int one = 1;

	tcp->fd = socket(server->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (tcp->fd < 0) {
		return -errno;
	}
	/* Messages are gathered here, and those that are flushed should not wait for an
	 * acknowledgement. */
	setsockopt(tcp->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(tcp->fd, &server->sa, addr_len(server)) < 0 && errno != EINPROGRESS) {
		return -errno;
	}
	tcp->want_write = true;
	return watch_start(&tcp->watch, tcp->config.loop, tcp->fd, LOOP_READ | LOOP_WRITE,
			   tcp_on_ready);
}

static struct transport *tcp_open(const struct transport_config *config,
				  const struct transport_user *user_ops, void *user)
{
	struct tcp *tcp = calloc(1, sizeof *tcp);
	int r;

	if (!tcp) {
		return NULL;
	}
	tcp->transport.ops = &transport_tcp;
	tcp->config = *config;
	tcp->user_ops = user_ops;
	tcp->user = user;
	tcp->heard_ms = loop_now_ms(config->loop);
	r = tcp_connect(tcp);
	if (r == 0) {
		r = tcp_arm(tcp, tcp->heard_ms + tcp_idle_ms(tcp));
	}
	if (r < 0) {
		watch_stop(&tcp->watch);
		if (tcp->fd >= 0) {
			close(tcp->fd);
		}
		free(tcp);
		errno = -r;
		return NULL;
	}
	return &tcp->transport;
}

static int tcp_send(struct transport *transport, const uint8_t *msg, size_t len)
{
	struct tcp *tcp = tcp_of(transport);
	uint64_t now_ms = loop_now_ms(tcp->config.loop);
	struct tcp_query *query;
	int r;

	if (tcp->dead) {
		return -EPIPE;
	}
	if (len > MESSAGE_MAX) {
		return -EMSGSIZE;
	}
	if (tcp->open_count >= tcp->config.max_open) {
		return -ENOBUFS;
	}
	query = malloc(sizeof *query);
	r = query ? asked_set(&query->asked, msg, len) : -ENOMEM;
	if (r == 0) {
		r = tcp_out_reserve(tcp, PREFIX_LEN + len);
	}
	if (r == 0) {
		r = tcp_arm(tcp, now_ms + tcp_silence_ms(tcp));
	}
	if (r < 0) {
		free(query);
		return r;
	}
	query->sent_ms = now_ms;
	tcp_query_add(tcp, query);
	tcp->out[tcp->out_len] = (uint8_t)(len >> 8);
	tcp->out[tcp->out_len + 1] = (uint8_t)len;
	memcpy(tcp->out + tcp->out_len + PREFIX_LEN, msg, len);
	tcp->out_len += PREFIX_LEN + len;
	return 0;
}

static void tcp_flush(struct transport *transport)
{
	struct tcp *tcp = tcp_of(transport);

	if (tcp->connected && !tcp->dead) {
		tcp_write(tcp);
	}
}

static void tcp_free(struct deferred *deferred)
{
	struct tcp *tcp = container_of(deferred, struct tcp, deferred);

	while (tcp->oldest) {
		struct tcp_query *query = tcp->oldest;

		tcp->oldest = query->next;
		free(query);
	}
	free(tcp->in);
	free(tcp->out);
	free(tcp);
}

static void tcp_close(struct transport *transport)
{
	struct tcp *tcp = tcp_of(transport);

	tcp->closed = true;
	tcp->dead = true;
	watch_stop(&tcp->watch);
	timer_stop(&tcp->timer);
	close(tcp->fd);
	loop_free_later(tcp->config.loop, &tcp->deferred, tcp_free);
}

const struct transport_ops transport_tcp = {
	.name = "tcp",
	.socket_type = SOCK_STREAM,
	.open = tcp_open,
	.send = tcp_send,
	.flush = tcp_flush,
	.close = tcp_close,
};
