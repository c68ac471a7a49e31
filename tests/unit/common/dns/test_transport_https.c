/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_https.h"

#include "common/container.h"
#include "common/dns/doh.h"
#include "common/stream/h2.h"

#include "tests/unit/common/certificates.h"
#include "tests/unit/common/fake_tls.h"
#include "tests/unit/common/heard.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

enum {
	MANY = 1000,
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
	struct h2 *h2;
	struct h2_stream *held;
};

struct bench {
	struct heard *heard;
	struct fake_tls server;
	struct web_conn web[FAKE_TLS_CONNS_MAX]; /* the server's side of its connections */
	enum trick trick;
	bool is_deaf; /* the server: it takes no notice of what it reads */
	unsigned request_count;
	uint8_t last_id; /* of a message: both bytes, joined */
	struct tls_peer tls_peer;
	struct https_peer peer;
	unsigned refused_count;
	enum tls_error why;
	unsigned status;
};

static struct bench bench;
static uint32_t timeout_ms = TIMEOUT_MS;

/* --- the server ------------------------------------------------------------------------------ */

static void web_push(size_t i)
{
	struct stream *stream = &bench.server.conns[i].stream;
	const uint8_t *bytes;
	size_t len;

	while (h2_pull(bench.web[i].h2, &bytes, &len) == 0 && len > 0) {
		stream_write(stream, bytes, len);
	}
	stream_flush(stream);
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
	struct web_conn *web = user;
	uint8_t msg[512];

	bench.request_count++;
	ck_assert_str_eq(request->method, "POST");
	ck_assert_str_eq(request->path, "/dns-query");
	ck_assert_str_eq(request->content_type, DOH_CONTENT_TYPE);
	ck_assert_uint_le(request->body_len, sizeof msg);
	bench.last_id |= request->body[0] | request->body[1];
	memcpy(msg, request->body, request->body_len);
	switch (bench.trick) {
	case HOLD:
		web->held = stream;
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
		if (bench.trick == GOAWAY_AFTER) {
			h2_goaway(web->h2);
		}
		break;
	}
}

static const struct h2_user web_upcalls = { .on_request = web_on_request };

static bool on_bytes(struct fake_tls_conn *conn, const uint8_t *bytes, size_t len)
{
	size_t i = fake_tls_index(conn);
	struct web_conn *web = &bench.web[i];

	if (bench.is_deaf) {
		return true;
	}
	if (!web->h2) {
		web->h2 = h2_new(true, &web_upcalls, web);
		ck_assert_ptr_nonnull(web->h2);
	}
	if (h2_receive(web->h2, bytes, len) < 0) {
		return false;
	}
	web_push(i);
	return true;
}

/* --- our side -------------------------------------------------------------------------------- */

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
	const struct transport_config config = { .server = bench.server.addr,
						 .timeout_ms = timeout_ms,
						 .max_open = MANY,
						 .peer = &bench.peer };

	ck_assert(heard_open(bench.heard, &transport_https, config));
}

static void start_with(const char *name, const char *protocol)
{
	struct tls_trust *trust = certificates_trust("ca.pem");
	const struct tls_client_config client = {
		.trust = trust, .name = name, .alpn = "h2", .alpn_required = true
	};

	memset(&bench, 0, sizeof bench);
	bench.heard = heard_new();
	bench.heard->ids_differ = true;
	fake_tls_start(&bench.server, bench.heard->loop, protocol, on_bytes);
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
	heard_close(bench.heard);
	tls_client_free(bench.tls_peer.client);
	fake_tls_stop(&bench.server);
	for (size_t i = 0; i < FAKE_TLS_CONNS_MAX; i++) {
		h2_free(bench.web[i].h2);
	}
	heard_free(bench.heard);
}

static int queue(uint16_t id)
{
	return heard_send(bench.heard, id, "www.example");
}

static void ask(uint16_t id)
{
	ck_assert_int_eq(queue(id), 0);
	heard_flush(bench.heard);
}

static void ask_and_wait(uint16_t id)
{
	unsigned count = bench.heard->message_count;

	ask(id);
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, count + 1, 2000));
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
	heard_flush(bench.heard);
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, MANY, 20000));
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert(bench.heard->ids[(uint16_t)(i * 31 + 1)]);
	}
	ck_assert_uint_eq(bench.last_id, 0);
	ck_assert_uint_eq(bench.server.handshake_count, 1);
	ck_assert_uint_eq(bench.heard->failure_count + bench.heard->closed_count, 0);
	stop();
}
END_TEST

START_TEST(test_wrong_name)
{
	start_with("elsewhere.example", "h2");
	ask(1);
	ck_assert(run_until(bench.heard->loop, &bench.heard->closed_count, 1, 2000));
	ck_assert_int_eq(bench.why, TLS_WRONG_NAME);
	ck_assert_uint_eq(bench.request_count, 0);
	stop();
}
END_TEST

/* A server without HTTP/2 gets no question. */
START_TEST(test_no_h2)
{
	start_with("dns.example", "http/1.1");
	ask(1);
	ck_assert(run_until(bench.heard->loop, &bench.heard->closed_count, 1, 2000));
	ck_assert_uint_eq(bench.refused_count, 1);
	ck_assert_uint_eq(bench.request_count, 0);
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
		bench.trick = cases[i].trick;
		bench.status = 0;
		ask(1);
		ck_assert(run_until(bench.heard->loop, &bench.heard->failure_count, i + 1, 2000));
		ck_assert_int_eq(bench.heard->error, cases[i].error);
		ck_assert_uint_eq(bench.status, cases[i].status);
	}
	bench.trick = BARE_FORMERR;
	ask_and_wait(2);
	ck_assert_uint_eq(bench.heard->bytes[5], 1); /* the question is back */
	bench.trick = ANSWER;
	ask_and_wait(3);
	ck_assert_uint_eq(bench.server.handshake_count, 1);
	stop();
}
END_TEST

/* The server ends the connection while questions are on their way: none is lost, and the one that
 * it has is still answered. */
START_TEST(test_goaway)
{
	struct web_conn *first = &bench.web[0];

	start();
	bench.trick = HOLD;
	ask(1);
	ck_assert(run_until(bench.heard->loop, &bench.request_count, 1, 2000));
	h2_goaway(first->h2);
	web_push(0);
	bench.trick = ANSWER;
	for (uint16_t id = 2; id < 12; id++) {
		ask(id);
	}
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, 10, 2000));
	ck_assert_uint_eq(bench.server.handshake_count, 2);
	ck_assert(!bench.server.conns[0].ended);
	h2_respond(first->held, 200, DOH_CONTENT_TYPE,
		   (const uint8_t *)"\0\0\x81\x80\0\1\0\0\0\0\0\0\3www\7example\0\0\1\0\1", 29, 0);
	web_push(0);
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, 11, 2000));
	run_for(bench.heard->loop, 20);
	ck_assert(bench.server.conns[0].ended);
	ck_assert(bench.heard->ids[1]);
	ck_assert_uint_eq(bench.heard->failure_count + bench.heard->closed_count, 0);
	stop();
}
END_TEST

/* A server that takes no more, but owes an answer for ever and does not hang up: the connection
 * goes when the question is given up. */
START_TEST(test_goaway_without_answer)
{
	struct web_conn *first = &bench.web[0];

	start();
	ask_and_wait(1);
	bench.trick = HOLD;
	run_for(bench.heard->loop, 5);
	ask(2);
	ck_assert(run_until(bench.heard->loop, &bench.request_count, 2, 2000));
	h2_goaway(first->h2);
	web_push(0);
	bench.trick = ANSWER;
	for (uint16_t id = 3; id < 12; id++) {
		run_for(bench.heard->loop, TIMEOUT_MS / 6);
		ask_and_wait(id);
	}
	ck_assert(bench.server.conns[0].ended);
	ck_assert(!bench.server.conns[1].ended);
	ck_assert_uint_eq(bench.heard->closed_count, 0);
	stop();
}
END_TEST

/* A server that takes one question for each connection: all are answered, each end is in order. */
START_TEST(test_goaway_each_time)
{
	start();
	bench.trick = GOAWAY_AFTER;
	for (uint16_t id = 1; id <= 5; id++) {
		ask_and_wait(id);
		ck_assert(run_until(bench.heard->loop, &bench.heard->closed_count, id, 2000));
		ck_assert_int_eq(bench.heard->error, 0);
		connect_bench();
	}
	ck_assert_uint_eq(bench.heard->failure_count, 0);
	stop();
}
END_TEST

/* Half-open: found out in three quarters of a timeout. */
START_TEST(test_silence)
{
	uint64_t asked_ms;

	start();
	ask_and_wait(1);
	bench.is_deaf = true;
	run_for(bench.heard->loop, 20);
	asked_ms = loop_now_ms(bench.heard->loop);
	ask(2);
	ck_assert(run_until(bench.heard->loop, &bench.heard->closed_count, 1, 2000));
	ck_assert_int_eq(bench.heard->error, ETIMEDOUT);
	ck_assert_uint_ge(loop_now_ms(bench.heard->loop) - asked_ms, TIMEOUT_MS / 4 * 3);
	ck_assert_uint_lt(loop_now_ms(bench.heard->loop) - asked_ms, TIMEOUT_MS * 2);
	stop();
}
END_TEST

/* A question that is never answered does not hide it. */
START_TEST(test_silence_behind_a_lost_answer)
{
	uint64_t asked_ms;

	timeout_ms = 4000;
	start();
	bench.trick = HOLD;
	ask(1);
	ck_assert(run_until(bench.heard->loop, &bench.request_count, 1, 2000));
	run_for(bench.heard->loop, 20);
	bench.trick = ANSWER;
	ask_and_wait(2);
	bench.is_deaf = true;
	run_for(bench.heard->loop, 20);
	asked_ms = loop_now_ms(bench.heard->loop);
	ask(3);
	ck_assert(run_until(bench.heard->loop, &bench.heard->closed_count, 1, 6000));
	ck_assert_int_eq(bench.heard->error, ETIMEDOUT);
	ck_assert_uint_ge(loop_now_ms(bench.heard->loop) - asked_ms, 1500);
	ck_assert_uint_lt(loop_now_ms(bench.heard->loop) - asked_ms, 2500);
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
	bench.trick = HOLD;
	run_for(bench.heard->loop, 20);
	ask(2);
	run_for(bench.heard->loop, TIMEOUT_MS + 100);
	ck_assert_uint_eq(bench.heard->closed_count, 0);
	bench.trick = ANSWER;
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
	ck_assert(run_until(bench.heard->loop, &bench.heard->closed_count, 1, 1000));
	ck_assert_int_eq(bench.heard->error, 0);
	stop();
}
END_TEST

START_TEST(test_close_at_once)
{
	start();
	bench.heard->close_at_once = true;
	for (uint16_t id = 1; id < 20; id++) {
		ck_assert_int_eq(queue(id), 0);
	}
	heard_flush(bench.heard);
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, 1, 2000));
	run_for(bench.heard->loop, 50);
	ck_assert_uint_eq(bench.heard->message_count, 1);
	stop();
}
END_TEST

CERTIFICATES_MAIN("transport_https", NULL, test_many, test_wrong_name, test_no_h2,
		  test_bad_responses, test_goaway, test_goaway_without_answer,
		  test_goaway_each_time, test_silence, test_silence_behind_a_lost_answer, test_slow,
		  test_idle, test_close_at_once)
