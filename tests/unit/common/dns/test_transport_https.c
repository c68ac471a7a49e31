/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_https.h"

#include "common/container.h"
#include "common/dns/doh.h"
#include "common/stream/h2.h"

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
	MANY = 1000,
	CONNS_MAX = 8,
	TIMEOUT_MS = 400, /* of a message; the watchdog pings after 150 and looks after 300 */
};

/* What the server does with a request. */
enum trick {
	ANSWER,
	HOLD,      /* keeps the last one open */
	NOT_FOUND, /* as HTTP has it */
	REDIRECT,
	WRONG_TYPE,
	OTHER_QUESTION,
	RUBBISH,
	BARE_FORMERR,
	GOAWAY_AFTER, /* answers, and takes no more */
};

struct web_conn {
	struct stream stream;
	struct web_server *server;
	struct h2 *h2;
	struct h2_stream *held;
	bool ended;
};

struct web_server {
	struct loop *loop;
	struct tls_server *tls;
	struct watch watch;
	struct addr addr;
	enum trick trick;
	bool is_deaf; /* reads nothing */
	unsigned handshake_count;
	unsigned request_count;
	unsigned conn_count;
	uint8_t last_id; /* of a message: both bytes, joined */
	struct web_conn conns[CONNS_MAX];
};

static void web_push(struct web_conn *conn)
{
	const uint8_t *bytes;
	size_t len;

	while (h2_pull(conn->h2, &bytes, &len) == 0 && len > 0) {
		stream_write(&conn->stream, bytes, len);
	}
	stream_flush(&conn->stream);
}

static void web_answer(struct h2_stream *stream, const uint8_t *body, size_t len)
{
	uint8_t msg[512];

	memcpy(msg, body, len);
	msg[2] |= 0x80; /* QR */
	ck_assert_int_eq(h2_respond(stream, 200, DOH_CONTENT_TYPE, msg, len, 0), 0);
}

static void web_on_request(void *user, struct h2_stream *stream, const struct h2_request *request)
{
	struct web_conn *conn = user;
	struct web_server *server = conn->server;
	uint8_t msg[512];

	server->request_count++;
	ck_assert_str_eq(request->method, "POST");
	ck_assert_str_eq(request->path, "/dns-query");
	ck_assert_str_eq(request->content_type, DOH_CONTENT_TYPE);
	ck_assert_uint_le(request->body_len, sizeof msg);
	server->last_id |= request->body[0] | request->body[1];
	memcpy(msg, request->body, request->body_len);
	switch (server->trick) {
	case HOLD:
		conn->held = stream;
		break;
	case NOT_FOUND:
		h2_respond(stream, 404, NULL, NULL, 0, 0);
		break;
	case REDIRECT:
		h2_respond(stream, 302, DOH_CONTENT_TYPE, msg, request->body_len, 0);
		break;
	case WRONG_TYPE:
		msg[2] |= 0x80;
		h2_respond(stream, 200, "text/html", msg, request->body_len, 0);
		break;
	case OTHER_QUESTION:
		msg[14] ^= 1;
		web_answer(stream, msg, request->body_len);
		break;
	case RUBBISH:
		h2_respond(stream, 200, DOH_CONTENT_TYPE, msg, 5, 0);
		break;
	case BARE_FORMERR:
		memcpy(msg, "\0\0\x81\x81\0\0\0\0\0\0\0\0", 12);
		h2_respond(stream, 200, DOH_CONTENT_TYPE, msg, 12, 0);
		break;
	case ANSWER:
	case GOAWAY_AFTER:
		web_answer(stream, msg, request->body_len);
		if (server->trick == GOAWAY_AFTER) {
			h2_goaway(conn->h2);
		}
		break;
	}
}

static const struct h2_user web_upcalls = { .on_request = web_on_request };

static void web_on_open(struct stream *stream)
{
	container_of(stream, struct web_conn, stream)->server->handshake_count++;
}

static void web_on_readable(struct stream *stream)
{
	struct web_conn *conn = container_of(stream, struct web_conn, stream);
	uint8_t bytes[16384];
	ssize_t n = stream_read(stream, bytes, sizeof bytes);

	if (n > 0 && conn->server->is_deaf) {
		return;
	}
	if (n > 0 && h2_receive(conn->h2, bytes, (size_t)n) == 0) {
		web_push(conn);
	} else if (n != -EAGAIN) {
		conn->ended = true;
		stream_set_reading(stream, false);
	}
}

static void web_on_failed(struct stream *stream, int error)
{
	(void)error;
	container_of(stream, struct web_conn, stream)->ended = true;
	stream_close(stream);
}

static const struct stream_user web_user = {
	.on_open = web_on_open,
	.on_readable = web_on_readable,
	.on_failed = web_on_failed,
};

static void web_on_accept(struct watch *watch, uint32_t events)
{
	struct web_server *server = container_of(watch, struct web_server, watch);
	struct web_conn *conn = &server->conns[server->conn_count++];
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	ck_assert_uint_le(server->conn_count, CONNS_MAX);
	conn->server = server;
	conn->h2 = h2_new(true, &web_upcalls, conn);
	ck_assert_int_eq(stream_accept(&conn->stream, server->loop, fd,
				       tls_layer(tls_accept(server->tls)), &web_user),
			 0);
}

static void web_start(struct web_server *server, struct loop *loop, const char *protocol)
{
	const char *const alpn[] = { protocol };
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
	ck_assert_int_eq(watch_start(&server->watch, loop, fd, LOOP_READ, web_on_accept), 0);
}

static void web_stop(struct web_server *server)
{
	for (unsigned i = 0; i < server->conn_count; i++) {
		stream_close(&server->conns[i].stream);
		h2_free(server->conns[i].h2);
	}
	watch_close(&server->watch);
	tls_server_free(server->tls);
}

/* --- our side -------------------------------------------------------------------------------- */

struct bench {
	struct loop *loop;
	struct web_server server;
	struct tls_peer tls_peer;
	struct https_peer peer;
	struct transport *transport;
	unsigned message_count;
	unsigned failure_count;
	unsigned closed_count;
	unsigned refused_count;
	int error;
	enum tls_error why;
	unsigned status;
	bool close_at_once;
	bool ids[65536];
	uint8_t bytes[512];
	size_t len;
};

static struct bench bench;
static uint32_t timeout_ms = TIMEOUT_MS;

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	ck_assert_ptr_eq(user, &bench);
	ck_assert(!bench.ids[msg[0] << 8 | msg[1]]);
	bench.ids[msg[0] << 8 | msg[1]] = true;
	bench.message_count++;
	memcpy(bench.bytes, msg, len);
	bench.len = len;
	if (bench.close_at_once) {
		bench.transport->ops->close(bench.transport);
		bench.transport = NULL;
	}
}

static void on_failed(void *user, const uint8_t *query, size_t len, int error)
{
	(void)user;
	(void)query;
	ck_assert_uint_gt(len, 12);
	bench.failure_count++;
	bench.error = error;
}

static void on_closed(void *user, int error)
{
	(void)user;
	bench.closed_count++;
	bench.error = error;
	bench.transport->ops->close(bench.transport);
	bench.transport = NULL;
}

static const struct transport_user upcalls = { .on_message = on_message,
					       .on_failed = on_failed,
					       .on_closed = on_closed };

static void on_refused(void *arg, enum tls_error error, const char *detail)
{
	(void)arg;
	(void)detail;
	bench.refused_count++;
	bench.why = error;
}

static void on_http_error(void *arg, unsigned status)
{
	ck_assert_ptr_eq(arg, &bench);
	bench.status = status;
}

static void connect_bench(void)
{
	struct transport_config config = { .timeout_ms = timeout_ms,
					   .max_open = MANY,
					   .peer = &bench.peer };

	config.loop = bench.loop;
	config.server = bench.server.addr;
	bench.transport = transport_https.open(&config, &upcalls, &bench);
	ck_assert_ptr_nonnull(bench.transport);
}

static void start_with(const char *name, const char *protocol)
{
	char path[CERTIFICATES_PATH_MAX];
	struct tls_trust *trust = tls_trust_load(certificates_path("ca.pem", path));
	const struct tls_client_config client = {
		.trust = trust, .name = name, .alpn = "h2", .alpn_required = true
	};

	memset(&bench, 0, sizeof bench);
	bench.loop = loop_new();
	web_start(&bench.server, bench.loop, protocol);
	bench.tls_peer = (struct tls_peer){ .client = tls_client_new(&client),
					    .idle_ms = TLS_PEER_IDLE_UNKNOWN,
					    .on_refused = on_refused,
					    .arg = &bench };
	bench.peer = (struct https_peer){
		.tls = &bench.tls_peer,
		.arg = &bench,
		.authority = "dns.example",
		.path = "/dns-query",
		.on_http_error = on_http_error,
	};
	tls_trust_free(trust);
	connect_bench();
}

static void start(void)
{
	start_with("dns.example", "h2");
}

static void stop(void)
{
	if (bench.transport) {
		bench.transport->ops->close(bench.transport);
	}
	tls_client_free(bench.tls_peer.client);
	web_stop(&bench.server);
	loop_turn(bench.loop, 0);
	loop_free(bench.loop);
}

static int queue(uint16_t id)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, id, "www.example", TYPE_A, true);

	return bench.transport->ops->send(bench.transport, query, len);
}

static void ask(uint16_t id)
{
	ck_assert_int_eq(queue(id), 0);
	bench.transport->ops->flush(bench.transport);
}

static void ask_and_wait(uint16_t id)
{
	unsigned count = bench.message_count;

	ask(id);
	ck_assert(run_until(bench.loop, &bench.message_count, count + 1, 2000));
}

/* More than the server takes at a time, on one connection; ids stay at home. */
START_TEST(test_many)
{
	timeout_ms = 20000;
	start();
	timeout_ms = TIMEOUT_MS;
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(queue((uint16_t)(i * 31 + 1)), 0);
	}
	ck_assert_int_eq(queue(9), -ENOBUFS);
	bench.transport->ops->flush(bench.transport);
	ck_assert(run_until(bench.loop, &bench.message_count, MANY, 20000));
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert(bench.ids[(uint16_t)(i * 31 + 1)]);
	}
	ck_assert_uint_eq(bench.server.last_id, 0);
	ck_assert_uint_eq(bench.server.handshake_count, 1);
	ck_assert_uint_eq(bench.failure_count + bench.closed_count, 0);
	stop();
}
END_TEST

START_TEST(test_wrong_name)
{
	start_with("elsewhere.example", "h2");
	ask(1);
	ck_assert(run_until(bench.loop, &bench.closed_count, 1, 2000));
	ck_assert_int_eq(bench.why, TLS_WRONG_NAME);
	ck_assert_uint_eq(bench.server.request_count, 0);
	stop();
}
END_TEST

/* A server without HTTP/2 gets no question. */
START_TEST(test_no_h2)
{
	start_with("dns.example", "http/1.1");
	ask(1);
	ck_assert(run_until(bench.loop, &bench.closed_count, 1, 2000));
	ck_assert_uint_eq(bench.refused_count, 1);
	ck_assert_uint_eq(bench.server.request_count, 0);
	stop();
}
END_TEST

/* Each fails its message alone. */
START_TEST(test_bad_responses)
{
	static const struct {
		enum trick trick;
		int error;
		unsigned status;
	} cases[] = {
		{ NOT_FOUND, EPROTO, 404 }, { REDIRECT, EPROTO, 302 },
		{ WRONG_TYPE, EBADMSG, 0 }, { OTHER_QUESTION, EBADMSG, 0 },
		{ RUBBISH, EBADMSG, 0 },
	};

	start();
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bench.server.trick = cases[i].trick;
		bench.status = 0;
		ask(1);
		ck_assert(run_until(bench.loop, &bench.failure_count, i + 1, 2000));
		ck_assert_int_eq(bench.error, cases[i].error);
		ck_assert_uint_eq(bench.status, cases[i].status);
	}
	bench.server.trick = BARE_FORMERR;
	ask_and_wait(2);
	ck_assert_uint_eq(bench.bytes[5], 1); /* the question is back */
	bench.server.trick = ANSWER;
	ask_and_wait(3);
	ck_assert_uint_eq(bench.server.handshake_count, 1);
	stop();
}
END_TEST

/* The server ends the connection while questions are on their way: none is lost, and the one that
 * it has is still answered. */
START_TEST(test_goaway)
{
	struct web_conn *first = &bench.server.conns[0];

	start();
	bench.server.trick = HOLD;
	ask(1);
	ck_assert(run_until(bench.loop, &bench.server.request_count, 1, 2000));
	h2_goaway(first->h2);
	web_push(first);
	bench.server.trick = ANSWER;
	for (uint16_t id = 2; id < 12; id++) {
		ask(id);
	}
	ck_assert(run_until(bench.loop, &bench.message_count, 10, 2000));
	ck_assert_uint_eq(bench.server.handshake_count, 2);
	ck_assert(!first->ended);
	h2_respond(first->held, 200, DOH_CONTENT_TYPE,
		   (const uint8_t *)"\0\0\x81\x80\0\1\0\0\0\0\0\0\3www\7example\0\0\1\0\1", 29, 0);
	web_push(first);
	ck_assert(run_until(bench.loop, &bench.message_count, 11, 2000));
	run_for(bench.loop, 20);
	ck_assert(first->ended);
	ck_assert(bench.ids[1]);
	ck_assert_uint_eq(bench.failure_count + bench.closed_count, 0);
	stop();
}
END_TEST

/* A server that takes no more, but owes an answer for ever and does not hang up: the connection
 * goes when the question is given up. */
START_TEST(test_goaway_without_answer)
{
	struct web_conn *first = &bench.server.conns[0];

	start();
	ask_and_wait(1);
	bench.server.trick = HOLD;
	run_for(bench.loop, 5);
	ask(2);
	ck_assert(run_until(bench.loop, &bench.server.request_count, 2, 2000));
	h2_goaway(first->h2);
	web_push(first);
	bench.server.trick = ANSWER;
	for (uint16_t id = 3; id < 12; id++) {
		run_for(bench.loop, TIMEOUT_MS / 6);
		ask_and_wait(id);
	}
	ck_assert(first->ended);
	ck_assert(!bench.server.conns[1].ended);
	ck_assert_uint_eq(bench.closed_count, 0);
	stop();
}
END_TEST

/* A server that takes one question for each connection: all are answered, each end is in order. */
START_TEST(test_goaway_each_time)
{
	start();
	bench.server.trick = GOAWAY_AFTER;
	for (uint16_t id = 1; id <= 5; id++) {
		ask_and_wait(id);
		ck_assert(run_until(bench.loop, &bench.closed_count, id, 2000));
		ck_assert_int_eq(bench.error, 0);
		connect_bench();
	}
	ck_assert_uint_eq(bench.failure_count, 0);
	stop();
}
END_TEST

/* Half-open: found out in three quarters of a timeout. */
START_TEST(test_silence)
{
	uint64_t asked_ms;

	start();
	ask_and_wait(1);
	bench.server.is_deaf = true;
	run_for(bench.loop, 20);
	asked_ms = loop_now_ms(bench.loop);
	ask(2);
	ck_assert(run_until(bench.loop, &bench.closed_count, 1, 2000));
	ck_assert_int_eq(bench.error, ETIMEDOUT);
	ck_assert_uint_ge(loop_now_ms(bench.loop) - asked_ms, TIMEOUT_MS / 4 * 3);
	ck_assert_uint_lt(loop_now_ms(bench.loop) - asked_ms, TIMEOUT_MS * 2);
	stop();
}
END_TEST

/* A question that is never answered does not hide it. */
START_TEST(test_silence_behind_a_lost_answer)
{
	uint64_t asked_ms;

	timeout_ms = 4000;
	start();
	bench.server.trick = HOLD;
	ask(1);
	ck_assert(run_until(bench.loop, &bench.server.request_count, 1, 2000));
	run_for(bench.loop, 20);
	bench.server.trick = ANSWER;
	ask_and_wait(2);
	bench.server.is_deaf = true;
	run_for(bench.loop, 20);
	asked_ms = loop_now_ms(bench.loop);
	ask(3);
	ck_assert(run_until(bench.loop, &bench.closed_count, 1, 6000));
	ck_assert_int_eq(bench.error, ETIMEDOUT);
	ck_assert_uint_ge(loop_now_ms(bench.loop) - asked_ms, 1500);
	ck_assert_uint_lt(loop_now_ms(bench.loop) - asked_ms, 2500);
	stop();
	timeout_ms = TIMEOUT_MS;
}
END_TEST

/* A slow server shows by its answer to a PING that it is there; the connection stays, the message
 * is given up in the end. */
START_TEST(test_slow)
{
	start();
	ask_and_wait(1);
	bench.server.trick = HOLD;
	run_for(bench.loop, 20);
	ask(2);
	run_for(bench.loop, TIMEOUT_MS + 100);
	ck_assert_uint_eq(bench.closed_count, 0);
	bench.server.trick = ANSWER;
	ask_and_wait(3);
	ck_assert_uint_eq(bench.server.handshake_count, 1);
	stop();
}
END_TEST

START_TEST(test_idle)
{
	start();
	ask_and_wait(1);
	bench.tls_peer.idle_ms = 200;
	ask_and_wait(2);
	ck_assert(run_until(bench.loop, &bench.closed_count, 1, 1000));
	ck_assert_int_eq(bench.error, 0);
	stop();
}
END_TEST

START_TEST(test_close_at_once)
{
	start();
	bench.close_at_once = true;
	for (uint16_t id = 1; id < 20; id++) {
		ck_assert_int_eq(queue(id), 0);
	}
	bench.transport->ops->flush(bench.transport);
	ck_assert(run_until(bench.loop, &bench.message_count, 1, 2000));
	run_for(bench.loop, 50);
	ck_assert_uint_eq(bench.message_count, 1);
	stop();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_many,
				       test_wrong_name,
				       test_no_h2,
				       test_bad_responses,
				       test_goaway,
				       test_goaway_without_answer,
				       test_goaway_each_time,
				       test_silence,
				       test_silence_behind_a_lost_answer,
				       test_slow,
				       test_idle,
				       test_close_at_once };
	Suite *suite = suite_create("transport_https");
	TCase *tcase = tcase_create("transport_https");
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
