/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_tls.h"

#include "common/container.h"
#include "tests/unit/common/certificates.h"
#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	TYPE_A = 1,
	MANY = 2000,
	CONNS_MAX = 8,
	IN_MAX = 512 * 1024,
	TIMEOUT_MS = 400, /* of a message; the watchdog looks after 300 */
};

/* A server for DNS over TLS that answers each batch of queries in reverse. */
struct dot_conn {
	struct stream stream;
	struct dot_server *server;
	uint8_t *in;
	size_t in_len;
	bool ended;
};

struct dot_server {
	struct loop *loop;
	struct tls_server *tls;
	struct watch watch;
	struct addr addr;
	bool is_silent; /* reads, and says nothing */
	unsigned handshake_count;
	unsigned resumed_count;
	unsigned query_count;
	unsigned conn_count;
	struct dot_conn conns[CONNS_MAX];
};

static void conn_answer(struct dot_conn *conn)
{
	size_t starts[MANY];
	size_t count = 0;
	size_t pos = 0;

	while (conn->in_len - pos >= 2) {
		size_t len = (size_t)(conn->in[pos] << 8 | conn->in[pos + 1]);

		if (conn->in_len - pos - 2 < len) {
			break;
		}
		ck_assert_uint_lt(count, MANY);
		starts[count++] = pos;
		pos += 2 + len;
	}
	conn->server->query_count += (unsigned)count;
	while (count > 0) {
		uint8_t *msg = conn->in + starts[--count];

		msg[4] |= 0x80; /* QR */
		stream_write(&conn->stream, msg, 2 + (size_t)(msg[0] << 8 | msg[1]));
	}
	memmove(conn->in, conn->in + pos, conn->in_len - pos);
	conn->in_len -= pos;
	stream_flush(&conn->stream);
}

static void conn_on_open(struct stream *stream)
{
	struct dot_conn *conn = container_of(stream, struct dot_conn, stream);

	conn->server->handshake_count++;
	conn->server->resumed_count += tls_resumed(tls_of(stream->layer));
	ck_assert_str_eq(tls_alpn(tls_of(stream->layer)), "dot");
}

static void conn_on_readable(struct stream *stream)
{
	struct dot_conn *conn = container_of(stream, struct dot_conn, stream);
	ssize_t n = stream_read(stream, conn->in + conn->in_len, IN_MAX - conn->in_len);

	if (n > 0) {
		conn->in_len += (size_t)n;
		if (!conn->server->is_silent) {
			conn_answer(conn);
		}
	} else if (n != -EAGAIN) {
		conn->ended = true;
		stream_set_reading(stream, false);
	}
}

static void conn_on_failed(struct stream *stream, int error)
{
	struct dot_conn *conn = container_of(stream, struct dot_conn, stream);

	(void)error;
	conn->ended = true;
	stream_close(stream);
}

static const struct stream_user conn_user = {
	.on_open = conn_on_open,
	.on_readable = conn_on_readable,
	.on_failed = conn_on_failed,
};

static void server_on_ready(struct watch *watch, uint32_t events)
{
	struct dot_server *server = container_of(watch, struct dot_server, watch);
	struct dot_conn *conn = &server->conns[server->conn_count++];
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	ck_assert_uint_le(server->conn_count, CONNS_MAX);
	conn->server = server;
	conn->in = malloc(IN_MAX);
	ck_assert_int_eq(stream_accept(&conn->stream, server->loop, fd,
				       tls_layer(tls_accept(server->tls)), &conn_user),
			 0);
}

static void server_start(struct dot_server *server, struct loop *loop)
{
	static const char *const alpn[] = { "dot" };
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sin;
	char certificate[CERTIFICATES_PATH_MAX];
	char key[CERTIFICATES_PATH_MAX];
	const char *path;
	const char *why;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	certificates_path("good.pem", certificate);
	certificates_path("good.key", key);
	server->loop = loop;
	server->tls = tls_server_load(certificate, key, alpn, 1, &path, &why);
	ck_assert_ptr_nonnull(server->tls);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	server->addr = addr_from_sockaddr((struct sockaddr *)&sin);
	ck_assert_int_eq(watch_start(&server->watch, loop, fd, LOOP_READ, server_on_ready), 0);
}

static void server_stop(struct dot_server *server)
{
	for (unsigned i = 0; i < server->conn_count; i++) {
		stream_close(&server->conns[i].stream);
		free(server->conns[i].in);
	}
	watch_close(&server->watch);
	tls_server_free(server->tls);
}

/* --- our side ----------------------------------------------------------------------------------
 */

struct bench {
	struct loop *loop;
	struct dot_server server;
	struct tls_peer peer;
	struct transport *transport;
	unsigned message_count;
	unsigned closed_count;
	unsigned open_count;
	unsigned refused_count;
	int error;
	enum tls_error why;
	bool ids[65536];
};

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	struct bench *bench = user;

	(void)len;
	ck_assert(!bench->ids[msg[0] << 8 | msg[1]]);
	bench->ids[msg[0] << 8 | msg[1]] = true;
	bench->message_count++;
}

static void on_closed(void *user, int error)
{
	struct bench *bench = user;

	bench->closed_count++;
	bench->error = error;
	bench->transport->ops->close(bench->transport);
	bench->transport = NULL;
}

static const struct transport_user upcalls = { .on_message = on_message, .on_closed = on_closed };

static void on_open(void *arg, const struct tls *tls)
{
	struct bench *bench = arg;

	ck_assert_int_eq(tls_error(tls), TLS_OK);
	bench->open_count++;
}

static void on_refused(void *arg, enum tls_error error, const char *detail)
{
	struct bench *bench = arg;

	ck_assert_ptr_nonnull(detail);
	bench->refused_count++;
	bench->why = error;
}

static void bench_connect(struct bench *bench)
{
	struct transport_config config = { .loop = bench->loop,
					   .server = bench->server.addr,
					   .timeout_ms = TIMEOUT_MS,
					   .max_open = MANY,
					   .peer = &bench->peer };

	bench->transport = transport_tls.open(&config, &upcalls, bench);
	ck_assert_ptr_nonnull(bench->transport);
}

static struct bench *bench_new(const char *name)
{
	struct bench *bench = calloc(1, sizeof *bench);
	char path[CERTIFICATES_PATH_MAX];
	struct tls_trust *trust = tls_trust_load(certificates_path("ca.pem", path));
	const struct tls_client_config config = { .trust = trust, .name = name, .alpn = "dot" };

	bench->loop = loop_new();
	server_start(&bench->server, bench->loop);
	bench->peer = (struct tls_peer){ .client = tls_client_new(&config),
					 .idle_ms = TLS_PEER_IDLE_UNKNOWN,
					 .on_open = on_open,
					 .on_refused = on_refused,
					 .arg = bench };
	tls_trust_free(trust);
	bench_connect(bench);
	return bench;
}

static void bench_free(struct bench *bench)
{
	if (bench->transport) {
		bench->transport->ops->close(bench->transport);
	}
	tls_client_free(bench->peer.client);
	server_stop(&bench->server);
	loop_turn(bench->loop, 0);
	loop_free(bench->loop);
	free(bench);
}

static void ask(struct bench *bench, unsigned first_id, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t query[512];
		size_t len = fake_dns_query(query, (uint16_t)(first_id + i), "www.example", TYPE_A,
					    true);

		ck_assert_int_eq(bench->transport->ops->send(bench->transport, query, len), 0);
	}
	bench->transport->ops->flush(bench->transport);
}

START_TEST(test_many)
{
	struct bench *bench = bench_new("dns.example");

	ask(bench, 0, MANY);
	ck_assert(run_until(bench->loop, &bench->message_count, MANY, 5000));
	for (unsigned i = 1; i <= 50; i++) {
		ask(bench, MANY + i * 20, 20);
		ck_assert(run_until(bench->loop, &bench->message_count, MANY + i * 20, 2000));
	}
	ck_assert_uint_eq(bench->server.handshake_count, 1);
	ck_assert_uint_eq(bench->server.query_count, MANY + 1000);
	ck_assert_uint_eq(bench->open_count, 1);
	ck_assert_uint_eq(bench->closed_count, 0);
	bench_free(bench);
}
END_TEST

/* Not one byte of a question goes to a server that is not who it should be. */
START_TEST(test_refused)
{
	struct bench *bench = bench_new("elsewhere.example");

	ask(bench, 0, 3);
	ck_assert(run_until(bench->loop, &bench->closed_count, 1, 2000));
	ck_assert_int_eq(bench->error, EPROTO);
	ck_assert_int_eq(bench->why, TLS_WRONG_NAME);
	ck_assert_uint_eq(bench->refused_count, 1);
	run_for(bench->loop, 50);
	ck_assert_uint_eq(bench->server.query_count, 0);
	ck_assert(bench->server.conns[0].ended);
	bench_free(bench);
}
END_TEST

START_TEST(test_resumed)
{
	struct bench *bench = bench_new("dns.example");

	for (unsigned i = 1; i <= 3; i++) {
		ask(bench, i, 1);
		ck_assert(run_until(bench->loop, &bench->message_count, i, 2000));
		bench->transport->ops->close(bench->transport);
		bench_connect(bench);
	}
	ck_assert_uint_eq(bench->server.handshake_count, 3);
	ck_assert_uint_eq(bench->server.resumed_count, 2);
	bench_free(bench);
}
END_TEST

/* A peer that has gone silent is found out in three quarters of a timeout. */
START_TEST(test_silence)
{
	struct bench *bench = bench_new("dns.example");
	uint64_t asked_ms;
	uint64_t took_ms;

	ask(bench, 1, 1);
	ck_assert(run_until(bench->loop, &bench->message_count, 1, 2000));
	bench->server.is_silent = true;
	run_for(bench->loop, 20);
	asked_ms = loop_now_ms(bench->loop);
	ask(bench, 2, 1);
	ck_assert(run_until(bench->loop, &bench->closed_count, 1, 2000));
	took_ms = loop_now_ms(bench->loop) - asked_ms;
	ck_assert_int_eq(bench->error, ETIMEDOUT);
	ck_assert_uint_ge(took_ms, TIMEOUT_MS / 4 * 3);
	ck_assert_uint_lt(took_ms, TIMEOUT_MS * 2);
	/* It was no fault of TLS. */
	ck_assert_uint_eq(bench->refused_count, 0);
	bench_free(bench);
}
END_TEST

/* The server says how long it keeps connections, and zero means now (RFC 7828 section 3.2.2). */
START_TEST(test_idle)
{
	static const struct {
		uint32_t idle_ms;
		unsigned least_ms;
		unsigned most_ms;
	} cases[] = { { 0, 0, 200 }, { 300, 250, 800 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *bench = bench_new("dns.example");
		uint64_t answered_ms;

		ask(bench, 1, 1);
		ck_assert(run_until(bench->loop, &bench->message_count, 1, 2000));
		bench->peer.idle_ms = cases[i].idle_ms;
		ask(bench, 2, 1);
		ck_assert(run_until(bench->loop, &bench->message_count, 2, 2000));
		answered_ms = loop_now_ms(bench->loop);
		ck_assert(run_until(bench->loop, &bench->closed_count, 1, cases[i].most_ms));
		ck_assert_uint_ge(loop_now_ms(bench->loop) - answered_ms, cases[i].least_ms);
		ck_assert_int_eq(bench->error, 0);
		run_for(bench->loop, 20);
		ck_assert(bench->server.conns[0].ended);
		bench_free(bench);
	}
}
END_TEST

START_TEST(test_idle_limits)
{
	struct tls_peer peer = { .idle_ms = TLS_PEER_IDLE_UNKNOWN };

	ck_assert_uint_eq(tls_peer_idle_ms(&peer), 30000);
	peer.idle_ms = 6000000;
	ck_assert_uint_eq(tls_peer_idle_ms(&peer), 120000);
	peer.idle_ms = 5000;
	ck_assert_uint_eq(tls_peer_idle_ms(&peer), 5000);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_many,    test_refused, test_resumed,
				       test_silence, test_idle,    test_idle_limits };
	Suite *suite = suite_create("transport_tls");
	TCase *tcase = tcase_create("transport_tls");
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (!certificates_make()) {
		puts("1..0 # SKIP the openssl program is not installed");
		return EXIT_SUCCESS;
	}
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		tcase_add_test(tcase, tests[i]);
	}
	suite_add_tcase(suite, tcase);
	r = suite_run(suite);
	certificates_remove();
	return r;
}
