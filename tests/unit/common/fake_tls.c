/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/fake_tls.h"

#include "common/container.h"

#include "tests/unit/common/certificates.h"

#include <check.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fake_tls_conn *conn_of(struct stream *stream)
{
	return container_of(stream, struct fake_tls_conn, stream);
}

static void on_open(struct stream *stream)
{
	struct fake_tls *server = conn_of(stream)->server;

	server->handshake_count++;
	server->resumed_count += tls_resumed(tls_of(stream->layer));
}

static void on_readable(struct stream *stream)
{
	struct fake_tls_conn *conn = conn_of(stream);
	uint8_t bytes[FAKE_TLS_READ_BYTES];
	ssize_t n = stream_read(stream, bytes, sizeof bytes);

	if (n == -EAGAIN || (n > 0 && conn->server->on_bytes(conn, bytes, (size_t)n))) {
		return;
	}
	conn->ended = true;
	stream_set_reading(stream, false);
}

static void on_failed(struct stream *stream, int error)
{
	(void)error;
	conn_of(stream)->ended = true;
	stream_close(stream);
}

static const struct stream_user user = {
	.on_open = on_open,
	.on_readable = on_readable,
	.on_failed = on_failed,
};

static void on_accept(struct watch *watch, uint32_t events)
{
	struct fake_tls *server = container_of(watch, struct fake_tls, watch);
	struct fake_tls_conn *conn = &server->conns[server->conn_count++];
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	ck_assert_uint_le(server->conn_count, FAKE_TLS_CONNS_MAX);
	conn->server = server;
	ck_assert_int_eq(stream_accept(&conn->stream, server->loop, fd,
				       tls_layer(tls_accept(server->tls)), &user),
			 0);
}

void fake_tls_start(struct fake_tls *server, struct loop *loop, const char *alpn,
		    bool (*on_bytes)(struct fake_tls_conn *conn, const uint8_t *bytes, size_t len))
{
	struct addr addr;
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*server = (struct fake_tls){ .on_bytes = on_bytes, .loop = loop };
	server->tls = certificates_server("good", alpn);
	ck_assert_int_eq(addr_parse_ip("127.0.0.1", &addr), 0);
	ck_assert_int_eq(bind(fd, &addr.sa, addr_len(&addr)), 0);
	ck_assert_int_eq(listen(fd, FAKE_TLS_CONNS_MAX), 0);
	ck_assert_int_eq(getsockname(fd, &addr.sa, &len), 0);
	server->addr = addr;
	ck_assert_int_eq(watch_start(&server->watch, loop, fd, LOOP_READ, on_accept), 0);
}

void fake_tls_stop(struct fake_tls *server)
{
	for (unsigned i = 0; i < server->conn_count; i++) {
		stream_close(&server->conns[i].stream);
	}
	watch_close(&server->watch);
	tls_server_free(server->tls);
}

size_t fake_tls_index(const struct fake_tls_conn *conn)
{
	return (size_t)(conn - conn->server->conns);
}
