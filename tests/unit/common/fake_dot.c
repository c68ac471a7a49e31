/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/fake_dot.h"

#include "common/container.h"

#include "tests/unit/common/certificates.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 16,
	PREFIX_LEN = 2,
};

static void answer(struct fake_dot_conn *conn, const uint8_t *msg, size_t len)
{
	struct fake_dot *server = conn->server;
	const struct fake_query query = { .bytes = msg, .len = len };
	uint8_t frame[PREFIX_LEN + FAKE_DOT_BUFFER_MAX];
	size_t answer_len;

	server->query_count++;
	answer_len = server->on_query ? server->on_query(&query, frame + PREFIX_LEN) : 0;
	if (answer_len > 0) {
		frame[0] = (uint8_t)(answer_len >> 8);
		frame[1] = (uint8_t)answer_len;
		stream_write(&conn->stream, frame, PREFIX_LEN + answer_len);
	}
}

static void take_input(struct fake_dot_conn *conn)
{
	size_t pos = 0;

	while (conn->in_len - pos >= PREFIX_LEN) {
		size_t len = (size_t)(conn->in[pos] << 8 | conn->in[pos + 1]);

		if (conn->in_len - pos - PREFIX_LEN < len) {
			break;
		}
		pos += PREFIX_LEN + len;
		answer(conn, conn->in + pos - len, len);
	}
	memmove(conn->in, conn->in + pos, conn->in_len - pos);
	conn->in_len -= pos;
	stream_flush(&conn->stream);
}

static void on_open(struct stream *stream)
{
	struct fake_dot_conn *conn = container_of(stream, struct fake_dot_conn, stream);

	conn->server->handshake_count++;
	conn->server->resumed_count += tls_resumed(tls_of(stream->layer));
}

static void on_readable(struct stream *stream)
{
	struct fake_dot_conn *conn = container_of(stream, struct fake_dot_conn, stream);
	ssize_t n = stream_read(stream, conn->in + conn->in_len, sizeof conn->in - conn->in_len);

	if (n > 0) {
		conn->in_len += (size_t)n;
		take_input(conn);
	} else if (n != -EAGAIN) {
		conn->server->end_count++;
		stream_set_reading(stream, false);
	}
}

static void on_failed(struct stream *stream, int error)
{
	struct fake_dot_conn *conn = container_of(stream, struct fake_dot_conn, stream);

	(void)error;
	conn->server->end_count++;
	stream_close(stream);
}

static const struct stream_user conn_user = {
	.on_open = on_open,
	.on_readable = on_readable,
	.on_failed = on_failed,
};

static void on_connection(struct watch *watch, uint32_t events)
{
	struct fake_dot *server = container_of(watch, struct fake_dot, watch);
	struct fake_dot_conn *conn = &server->conns[server->conn_count];
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	ck_assert_uint_lt(server->conn_count, FAKE_DOT_CONNS_MAX);
	server->conn_count++;
	conn->server = server;
	ck_assert_int_eq(stream_accept(&conn->stream, server->loop, fd,
				       tls_layer(tls_accept(server->tls)), &conn_user),
			 0);
}

void fake_dot_show(struct fake_dot *server, const char *name)
{
	static const char *const alpn[] = { "dot" };
	char file[64];
	char certificate[CERTIFICATES_PATH_MAX];
	char key[CERTIFICATES_PATH_MAX];
	const char *path;
	const char *why;

	tls_server_free(server->tls);
	snprintf(file, sizeof file, "%s.pem", name);
	certificates_path(file, certificate);
	snprintf(file, sizeof file, "%s.key", name);
	certificates_path(file, key);
	server->tls =
		tls_server_load(certificate, key, alpn, server->has_no_alpn ? 0 : 1, &path, &why);
	ck_assert_ptr_nonnull(server->tls);
}

void fake_dot_start(struct fake_dot *server, struct loop *loop, const char *name,
		    size_t (*on_query)(const struct fake_query *query, uint8_t *buf))
{
	socklen_t len = sizeof server->addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*server = (struct fake_dot){ .loop = loop, .on_query = on_query };
	fake_dot_show(server, name);
	ck_assert_int_eq(addr_parse_ip("127.0.0.1", &server->addr), 0);
	ck_assert_int_eq(bind(fd, &server->addr.sa, addr_len(&server->addr)), 0);
	ck_assert_int_eq(listen(fd, BACKLOG), 0);
	ck_assert_int_eq(getsockname(fd, &server->addr.sa, &len), 0);
	ck_assert_int_eq(watch_start(&server->watch, loop, fd, LOOP_READ, on_connection), 0);
}

void fake_dot_stop(struct fake_dot *server)
{
	for (unsigned i = 0; i < server->conn_count; i++) {
		stream_close(&server->conns[i].stream);
	}
	watch_close(&server->watch);
	tls_server_free(server->tls);
}
