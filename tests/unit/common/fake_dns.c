/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/fake_dns.h"

#include "common/clock.h"
#include "common/container.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BACKLOG = 512, /* a test may connect very often at once */
	PORT_TRIES = 50,
	IN_CAP = 1024 * 1024,
	TYPE_OPT = 41,
};

struct fake_conn {
	unsigned number;
	struct fake_conn *next;
	struct fake_dns *server;
	struct watch watch;
	int fd;
	bool hang_up;
	bool paused;
	bool closed;
	uint8_t *out;
	size_t out_len;
	size_t in_len;
	uint8_t in[IN_CAP];
	struct deferred deferred;
};

/* --- connections ----------------------------------------------------------------------------- */

static void conn_free(struct deferred *deferred)
{
	struct fake_conn *conn = container_of(deferred, struct fake_conn, deferred);

	free(conn->out);
	free(conn);
}

static void conn_close(struct fake_conn *conn)
{
	struct fake_conn **slot = &conn->server->conns;

	while (*slot != conn) {
		slot = &(*slot)->next;
	}
	*slot = conn->next;
	conn->closed = true;
	watch_stop(&conn->watch);
	close(conn->fd);
	loop_free_later(conn->server->loop, &conn->deferred, conn_free);
}

static void conn_update_watch(struct fake_conn *conn)
{
	uint32_t events = (conn->out_len > 0 ? LOOP_WRITE : 0) | (conn->paused ? 0 : LOOP_READ);

	ck_assert_int_eq(watch_modify(&conn->watch, events), 0);
}

static void conn_flush(struct fake_conn *conn)
{
	ssize_t n = 0;

	if (conn->out_len > 0) {
		n = send(conn->fd, conn->out, conn->out_len, MSG_NOSIGNAL);
	}
	if (n < 0 && errno != EAGAIN) {
		conn->out_len = 0; /* the client is gone; reading will tell */
	} else if (n > 0) {
		conn->out_len -= (size_t)n;
		memmove(conn->out, conn->out + n, conn->out_len);
	}
	conn_update_watch(conn);
	if (conn->hang_up && conn->out_len == 0) {
		shutdown(conn->fd, SHUT_WR);
	}
}

static void conn_take_input(struct fake_conn *conn)
{
	size_t pos = 0;

	while (!conn->closed && !conn->paused && conn->in_len - pos >= 2) {
		size_t len = (size_t)(conn->in[pos] << 8 | conn->in[pos + 1]);
		struct fake_query query = { .server = conn->server,
					    .bytes = conn->in + pos + 2,
					    .len = len };

		if (conn->in_len - pos - 2 < len) {
			break;
		}
		query.conn = conn;
		pos += 2 + len;
		conn->server->tcp_count++;
		if (conn->server->on_query) {
			conn->server->on_query(&query);
		}
	}
	conn->in_len -= pos;
	memmove(conn->in, conn->in + pos, conn->in_len);
}

static void conn_on_ready(struct watch *watch, uint32_t events)
{
	struct fake_conn *conn = container_of(watch, struct fake_conn, watch);

	if (events & LOOP_WRITE) {
		conn_flush(conn);
	}
	if (events & (LOOP_READ | LOOP_ERROR | LOOP_HANGUP)) {
		ssize_t n =
			recv(conn->fd, conn->in + conn->in_len, sizeof conn->in - conn->in_len, 0);

		if (n <= 0) {
			conn_close(conn);
			return;
		}
		conn->in_len += (size_t)n;
		conn_take_input(conn);
	}
}

static void server_on_connection(struct watch *watch, uint32_t events)
{
	struct fake_dns *server = container_of(watch, struct fake_dns, tcp_watch);
	struct fake_conn *conn = malloc(sizeof *conn);

	(void)events;
	ck_assert_ptr_nonnull(conn);
	memset(conn, 0, offsetof(struct fake_conn, in));
	memset(&conn->deferred, 0, sizeof conn->deferred);
	conn->server = server;
	conn->fd = accept4(server->tcp_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(conn->fd, 0);
	conn->next = server->conns;
	server->conns = conn;
	conn->number = ++server->connection_count;
	ck_assert_int_eq(
		watch_start(&conn->watch, server->loop, conn->fd, LOOP_READ, conn_on_ready), 0);
}

/* --- datagrams ------------------------------------------------------------------------------- */

static void server_on_datagram(struct watch *watch, uint32_t events)
{
	struct fake_dns *server = container_of(watch, struct fake_dns, udp_watch);
	uint8_t buf[FAKE_DNS_MESSAGE_MAX];

	(void)events;
	for (;;) {
		struct fake_query query = { .server = server, .bytes = buf };
		socklen_t client_len = sizeof query.client;
		ssize_t n =
			recvfrom(server->udp_fd, buf, sizeof buf, 0, &query.client.sa, &client_len);

		if (n < 0) {
			break;
		}
		query.len = (size_t)n;
		server->udp_count++;
		if (server->on_query) {
			server->on_query(&query);
		}
	}
}

/* --- life ------------------------------------------------------------------------------------ */

static bool server_bind(struct fake_dns *server, const char *ip)
{
	const int rcvbuf = 4 * 1024 * 1024;
	socklen_t len = sizeof server->addr;

	ck_assert_int_eq(addr_parse_ip(ip, &server->addr), 0);
	server->udp_fd =
		socket(server->addr.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	server->tcp_fd =
		socket(server->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(server->udp_fd, 0);
	ck_assert_int_ge(server->tcp_fd, 0);
	setsockopt(server->udp_fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
	ck_assert_int_eq(bind(server->udp_fd, &server->addr.sa, addr_len(&server->addr)), 0);
	ck_assert_int_eq(getsockname(server->udp_fd, &server->addr.sa, &len), 0);
	if (bind(server->tcp_fd, &server->addr.sa, len) == 0 &&
	    listen(server->tcp_fd, BACKLOG) == 0) {
		return true;
	}
	close(server->udp_fd);
	close(server->tcp_fd);
	return false;
}

void fake_dns_start(struct fake_dns *server, struct loop *loop, const char *ip,
		    void (*on_query)(const struct fake_query *query))
{
	unsigned tries = 0;

	*server = (struct fake_dns){ .loop = loop, .on_query = on_query };
	while (!server_bind(server, ip)) {
		ck_assert_uint_lt(++tries, PORT_TRIES);
	}
	ck_assert_int_eq(watch_start(&server->udp_watch, loop, server->udp_fd, LOOP_READ,
				     server_on_datagram),
			 0);
	ck_assert_int_eq(watch_start(&server->tcp_watch, loop, server->tcp_fd, LOOP_READ,
				     server_on_connection),
			 0);
}

void fake_dns_stop(struct fake_dns *server)
{
	while (server->conns) {
		conn_close(server->conns);
	}
	watch_stop(&server->udp_watch);
	watch_stop(&server->tcp_watch);
	close(server->udp_fd);
	close(server->tcp_fd);
}

/* --- sending --------------------------------------------------------------------------------- */

void fake_dns_send_raw(const struct fake_query *query, const void *bytes, size_t len)
{
	struct fake_conn *conn = query->conn;

	conn->out = realloc(conn->out, conn->out_len + len);
	ck_assert_ptr_nonnull(conn->out);
	memcpy(conn->out + conn->out_len, bytes, len);
	conn->out_len += len;
	conn_flush(conn);
}

void fake_dns_send(const struct fake_query *query, const void *bytes, size_t len)
{
	uint8_t frame[2 + FAKE_DNS_MESSAGE_MAX];

	if (!query->conn) {
		ck_assert_int_eq(sendto(query->server->udp_fd, bytes, len, 0, &query->client.sa,
					addr_len(&query->client)),
				 (ssize_t)len);
		return;
	}
	frame[0] = (uint8_t)(len >> 8);
	frame[1] = (uint8_t)len;
	memcpy(frame + 2, bytes, len);
	fake_dns_send_raw(query, frame, 2 + len);
}

unsigned fake_dns_connection(const struct fake_query *query)
{
	return query->conn->number;
}

void fake_dns_hang_up(const struct fake_query *query)
{
	query->conn->hang_up = true;
	conn_flush(query->conn);
}

void fake_dns_reset(const struct fake_query *query)
{
	const struct linger now = { .l_onoff = 1 };

	setsockopt(query->conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	conn_close(query->conn);
}

void fake_dns_pause(struct fake_dns *server, bool pause)
{
	for (struct fake_conn *conn = server->conns; conn; conn = conn->next) {
		conn->paused = pause;
		conn_update_watch(conn);
	}
}

/* --- messages -------------------------------------------------------------------------------- */

static void put_u16(uint8_t **pos, unsigned value)
{
	*(*pos)++ = (uint8_t)(value >> 8);
	*(*pos)++ = (uint8_t)value;
}

size_t fake_dns_query(uint8_t *buf, uint16_t id, const char *name, uint16_t type, bool opt)
{
	const uint16_t header[] = { id, 0x0100, 1, 0, 0, opt };
	static const uint8_t record[] = {
		0, 0, TYPE_OPT, 1232 >> 8, 1232 & 0xff, 0, 0, 0, 0, 0, 0
	};
	uint8_t *pos = buf;

	for (size_t i = 0; i < ARRAY_SIZE(header); i++) {
		put_u16(&pos, header[i]);
	}
	while (*name) {
		size_t len = strcspn(name, ".");

		*pos++ = (uint8_t)len;
		memcpy(pos, name, len);
		pos += len;
		name += len + (name[len] == '.');
	}
	*pos++ = 0;
	put_u16(&pos, type);
	put_u16(&pos, 1);
	if (opt) {
		memcpy(pos, record, sizeof record);
		pos += sizeof record;
	}
	return (size_t)(pos - buf);
}

static size_t question_end(const struct fake_query *query)
{
	size_t pos = 12;

	while (pos < query->len && query->bytes[pos] != 0) {
		pos += 1u + query->bytes[pos];
	}
	ck_assert_uint_le(pos + 5, query->len);
	return pos + 5;
}

uint16_t fake_dns_type(const struct fake_query *query)
{
	size_t end = question_end(query);

	return (uint16_t)(query->bytes[end - 4] << 8 | query->bytes[end - 3]);
}

size_t fake_dns_answer(const struct fake_query *query, uint8_t rcode, uint8_t *buf)
{
	static const uint8_t counts[8] = { 0, 1 };
	size_t end = question_end(query);

	memcpy(buf, query->bytes, end);
	buf[2] |= 0x80;
	buf[3] = (uint8_t)(0x80 | rcode);
	memcpy(buf + 4, counts, sizeof counts);
	return end;
}

size_t fake_dns_add_record(uint8_t *buf, size_t len, uint16_t type, uint32_t ttl_s,
			   const void *rdata, size_t rdata_len)
{
	uint8_t *pos = buf + len;

	put_u16(&pos, 0xc00c);
	put_u16(&pos, type);
	put_u16(&pos, 1);
	put_u16(&pos, ttl_s >> 16);
	put_u16(&pos, ttl_s);
	put_u16(&pos, (unsigned)rdata_len);
	memcpy(pos, rdata, rdata_len);
	buf[7]++;
	return (size_t)(pos - buf) + rdata_len;
}

void fake_dns_reply(const struct fake_query *query, uint8_t rcode)
{
	uint8_t buf[512];

	fake_dns_send(query, buf, fake_dns_answer(query, rcode, buf));
}

void fake_dns_reply_ok(const struct fake_query *query)
{
	fake_dns_reply(query, 0);
}

void fake_dns_reply_header_only(const struct fake_query *query)
{
	uint8_t buf[512];

	fake_dns_answer(query, 1, buf);
	buf[5] = 0;
	fake_dns_send(query, buf, 12);
}

void fake_dns_send_bad(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	fake_dns_send(query, "", 0);
	fake_dns_send(query, "garbage", 7);
	buf[1] ^= 1;
	fake_dns_send(query, buf, len);
	buf[1] ^= 1;
	buf[13] ^= 0x20;
	fake_dns_send(query, buf, len);
}

size_t fake_dns_plain_answer(uint8_t *buf, uint16_t id, const char *name, uint16_t type,
			     uint8_t rcode)
{
	size_t len = fake_dns_query(buf, id, name, type, false);

	buf[2] |= 0x80;
	buf[3] = (uint8_t)(0x80 | rcode);
	return len;
}

void fake_dns_hold(struct fake_held *held, const struct fake_query *query)
{
	unsigned i = held->count++;

	ck_assert_uint_lt(i, FAKE_DNS_HELD_MAX);
	ck_assert_uint_le(query->len, sizeof held->bytes[i]);
	memcpy(held->bytes[i], query->bytes, query->len);
	held->queries[i] = *query;
	held->queries[i].bytes = held->bytes[i];
}

/* --- running --------------------------------------------------------------------------------- */

bool run_until(struct loop *loop, const unsigned *counter, unsigned target, unsigned limit_ms)
{
	uint64_t end_ms = clock_mono_ms() + limit_ms;

	while (*counter < target) {
		if (clock_mono_ms() >= end_ms) {
			return false;
		}
		ck_assert_int_eq(loop_turn(loop, 20), 0);
	}
	return true;
}

void run_for(struct loop *loop, unsigned ms)
{
	const unsigned never = 0;

	run_until(loop, &never, 1, ms);
}
