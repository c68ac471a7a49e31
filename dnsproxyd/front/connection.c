/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/connection.h"

#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct open_query {
	struct query query;
	struct connection *connection;
	void *tag;
	struct open_query *next;
	struct open_query *prev;
};

/* --- questions ------------------------------------------------------------------------------- */

static struct open_query *new_query(struct connection *c, void *tag)
{
	struct open_query *q = malloc(sizeof *q);

	if (!q) {
		return NULL;
	}
	q->connection = c;
	q->tag = tag;
	q->prev = NULL;
	q->next = c->open;
	if (q->next) {
		q->next->prev = q;
	}
	c->open = q;
	c->open_count++;
	return q;
}

static void drop_query(struct open_query *q)
{
	struct connection *c = q->connection;

	*(q->prev ? &q->prev->next : &c->open) = q->next;
	if (q->next) {
		q->next->prev = q->prev;
	}
	c->open_count--;
	free(q);
}

void open_query_cancel(struct open_query *q)
{
	query_cancel(&q->query);
	drop_query(q);
}

static void on_done(struct query *query, const uint8_t *reply, size_t len)
{
	struct open_query *q = container_of(query, struct open_query, query);
	struct connection *c = q->connection;
	void *tag = q->tag;

	drop_query(q);
	c->ops->reply(c, tag, reply, len);
}

/* Whether the reply is at hand after all, its length in *ret_len. */
static bool start_query(struct open_query *q, const struct query_origin *origin,
			const struct query_draft *draft, size_t *ret_len)
{
	struct query_context *context = q->connection->all->context;

	*ret_len = query_start(&q->query, context, origin, draft, on_done, context->message,
			       DNSMSG_MAX);
	if (*ret_len > 0) {
		drop_query(q);
	}
	return *ret_len > 0;
}

enum connection_step connection_ask(struct connection *c, const uint8_t *msg, size_t len, void *tag,
				    size_t *ret_len, struct open_query **ret_open)
{
	struct query_context *context = c->all->context;
	const struct query_origin origin = { &c->peer, c->way };
	struct query_draft draft;

	switch (query_try(context, &origin, msg, len, &draft, context->message, DNSMSG_MAX,
			  ret_len)) {
	case QUERY_DROPPED:
		return CONNECTION_DROPPED;
	case QUERY_ANSWERED:
		return CONNECTION_ANSWERED;
	case QUERY_PENDING:
		break;
	}
	*ret_open = new_query(c, tag);
	if (!*ret_open) {
		connection_close(c);
		return CONNECTION_CLOSED;
	}
	return start_query(*ret_open, &origin, &draft, ret_len) ? CONNECTION_ANSWERED
								: CONNECTION_WAITING;
}

/* --- the idle time --------------------------------------------------------------------------- */

static void on_idle(struct timer *timer)
{
	struct connection *c = container_of(timer, struct connection, idle);

	c->ops->idle(c);
}

void connection_wait_idle_ms(struct connection *c, uint64_t ms)
{
	struct loop *loop = c->all->context->loop;

	timer_start(&c->idle, loop, loop_now_ms(loop) + ms, on_idle);
}

void connection_wait_idle(struct connection *c)
{
	connection_wait_idle_ms(c, c->all->context->config->limits->tcp_idle_timeout_ms);
}

/* --- life ------------------------------------------------------------------------------------ */

bool connection_open(struct connection *c, struct connections *all, int fd, const struct addr *peer,
		     enum query_way way, struct tls_server *server,
		     const struct connection_ops *ops)
{
	struct tls *tls = server ? tls_accept(server) : NULL;

	if (server && !tls) {
		close(fd);
		return false;
	}
	c->all = all;
	c->ops = ops;
	c->peer = *peer;
	c->way = way;
	if (stream_accept(&c->stream, all->context->loop, fd, tls ? tls_layer(tls) : NULL,
			  &ops->stream) < 0) {
		return false;
	}
	c->next = all->first;
	if (c->next) {
		c->next->prev = c;
	}
	all->first = c;
	connection_wait_idle(c);
	return true;
}

static void free_connection(struct deferred *deferred)
{
	struct connection *c = container_of(deferred, struct connection, deferred);

	c->ops->free(c);
}

void connection_close(struct connection *c)
{
	struct connections *all = c->all;

	if (c->closed) {
		return;
	}
	c->closed = true;
	while (c->open) {
		open_query_cancel(c->open);
	}
	if (c->ops->end) {
		c->ops->end(c);
	}
	timer_stop(&c->idle);
	stream_close(&c->stream);
	*(c->prev ? &c->prev->next : &all->first) = c->next;
	if (c->next) {
		c->next->prev = c->prev;
	}
	loop_free_later(all->context->loop, &c->deferred, free_connection);
	all->on_closed(all->arg, &c->peer);
}

void connection_opened(struct connection *c)
{
	c->is_open = true;
	if (query_way_is_encrypted(c->way)) {
		metrics_add(c->all->context->metrics, METRIC_tls_handshakes, 1);
	}
}

/* Who hangs up before the handshake is done, as who looks for open ports does, has not failed at
 * it.
 */
void connection_failed(struct connection *c, int error)
{
	if (query_way_is_encrypted(c->way) && !c->is_open && error == EPROTO) {
		metrics_add(c->all->context->metrics, METRIC_tls_failed, 1);
	}
	connection_close(c);
}

void connections_stop(struct connections *all)
{
	struct connection *c = all->first;

	all->stopped = true;
	while (c) {
		struct connection *next = c->next;

		c->ops->stop(c);
		c = next;
	}
}

void connections_close(struct connections *all)
{
	while (all->first) {
		connection_close(all->first);
	}
}
