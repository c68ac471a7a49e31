/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_tls.h"

#include "common/container.h"
#include "tests/unit/common/certificates.h"
#include "tests/unit/common/fake_tls.h"
#include "tests/unit/common/heard.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	MANY = 2000,
	IN_MAX = 512 * 1024,
	TIMEOUT_MS = 400, /* of a message; the watchdog looks after 300 */
};

struct bench {
	struct heard *heard;
	struct fake_tls server;
	bool is_silent; /* the server: it reads, and says nothing */
	unsigned query_count;
	uint8_t *in[FAKE_TLS_CONNS_MAX]; /* what it has read and not answered */
	size_t in_len[FAKE_TLS_CONNS_MAX];
	struct tls_peer peer;
	unsigned open_count;
	unsigned refused_count;
	enum tls_error why;
};

/* --- the server ------------------------------------------------------------------------------ */

/* Answer each batch of queries in reverse. Returns how many bytes that were. */
static size_t answer(struct bench *bench, struct stream *stream, uint8_t *in, size_t in_len)
{
	size_t starts[MANY];
	size_t count = 0;
	size_t pos = 0;

	while (in_len - pos >= 2) {
		size_t len = (size_t)(in[pos] << 8 | in[pos + 1]);

		if (in_len - pos - 2 < len) {
			break;
		}
		ck_assert_uint_lt(count, MANY);
		starts[count++] = pos;
		pos += 2 + len;
	}
	bench->query_count += (unsigned)count;
	while (count > 0) {
		uint8_t *msg = in + starts[--count];

		msg[4] |= 0x80; /* QR */
		stream_write(stream, msg, 2 + (size_t)(msg[0] << 8 | msg[1]));
	}
	stream_flush(stream);
	return pos;
}

static bool on_bytes(struct fake_tls_conn *conn, const uint8_t *bytes, size_t len)
{
	struct bench *bench = container_of(conn->server, struct bench, server);
	size_t i = fake_tls_index(conn);

	ck_assert_str_eq(tls_alpn(tls_of(conn->stream.layer)), "dot");
	ck_assert_uint_le(len, IN_MAX - bench->in_len[i]);
	if (!bench->in[i]) {
		bench->in[i] = malloc(IN_MAX);
		ck_assert_ptr_nonnull(bench->in[i]);
	}
	memcpy(bench->in[i] + bench->in_len[i], bytes, len);
	bench->in_len[i] += len;
	if (!bench->is_silent) {
		size_t done = answer(bench, &conn->stream, bench->in[i], bench->in_len[i]);

		bench->in_len[i] -= done;
		memmove(bench->in[i], bench->in[i] + done, bench->in_len[i]);
	}
	return true;
}

/* --- our side -------------------------------------------------------------------------------- */

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
	const struct transport_config config = { .server = bench->server.addr,
						 .timeout_ms = TIMEOUT_MS,
						 .max_open = MANY,
						 .peer = &bench->peer };

	ck_assert(heard_open(bench->heard, &transport_tls, config));
}

static struct bench *bench_new(const char *name)
{
	struct bench *bench = calloc(1, sizeof *bench);
	struct tls_trust *trust = certificates_trust("ca.pem");
	const struct tls_client_config config = { .trust = trust, .name = name, .alpn = "dot" };

	ck_assert_ptr_nonnull(bench);
	bench->heard = heard_new();
	bench->heard->ids_differ = true;
	fake_tls_start(&bench->server, bench->heard->loop, "dot", on_bytes);
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
	heard_close(bench->heard);
	tls_client_free(bench->peer.client);
	fake_tls_stop(&bench->server);
	for (size_t i = 0; i < FAKE_TLS_CONNS_MAX; i++) {
		free(bench->in[i]);
	}
	heard_free(bench->heard);
	free(bench);
}

static void ask(struct bench *bench, unsigned first_id, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ck_assert_int_eq(heard_send(bench->heard, (uint16_t)(first_id + i), "www.example"),
				 0);
	}
	heard_flush(bench->heard);
}

START_TEST(test_many)
{
	struct bench *bench = bench_new("dns.example");

	ask(bench, 0, MANY);
	ck_assert(run_until(bench->heard->loop, &bench->heard->message_count, MANY, 5000));
	for (unsigned i = 1; i <= 50; i++) {
		ask(bench, MANY + (i - 1) * 20, 20);
		ck_assert(run_until(bench->heard->loop, &bench->heard->message_count, MANY + i * 20,
				    2000));
	}
	ck_assert_uint_eq(bench->server.handshake_count, 1);
	ck_assert_uint_eq(bench->query_count, MANY + 1000);
	for (unsigned i = 0; i < MANY + 1000; i++) {
		ck_assert(bench->heard->ids[i]);
	}
	ck_assert_uint_eq(bench->open_count, 1);
	ck_assert_uint_eq(bench->heard->closed_count, 0);
	bench_free(bench);
}
END_TEST

/* Not one byte of a question goes to a server that is not who it should be. */
START_TEST(test_refused)
{
	struct bench *bench = bench_new("elsewhere.example");

	ask(bench, 0, 3);
	ck_assert(run_until(bench->heard->loop, &bench->heard->closed_count, 1, 2000));
	ck_assert_int_eq(bench->heard->error, EPROTO);
	ck_assert_int_eq(bench->why, TLS_WRONG_NAME);
	ck_assert_uint_eq(bench->refused_count, 1);
	run_for(bench->heard->loop, 50);
	ck_assert_uint_eq(bench->query_count, 0);
	ck_assert(bench->server.conns[0].ended);
	bench_free(bench);
}
END_TEST

START_TEST(test_resumed)
{
	struct bench *bench = bench_new("dns.example");

	for (unsigned i = 1; i <= 3; i++) {
		ask(bench, i, 1);
		ck_assert(run_until(bench->heard->loop, &bench->heard->message_count, i, 2000));
		heard_close(bench->heard);
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
	ck_assert(run_until(bench->heard->loop, &bench->heard->message_count, 1, 2000));
	bench->is_silent = true;
	run_for(bench->heard->loop, 20);
	asked_ms = loop_now_ms(bench->heard->loop);
	ask(bench, 2, 1);
	ck_assert(run_until(bench->heard->loop, &bench->heard->closed_count, 1, 2000));
	took_ms = loop_now_ms(bench->heard->loop) - asked_ms;
	ck_assert_int_eq(bench->heard->error, ETIMEDOUT);
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
		ck_assert(run_until(bench->heard->loop, &bench->heard->message_count, 1, 2000));
		bench->peer.idle_ms = cases[i].idle_ms;
		ask(bench, 2, 1);
		ck_assert(run_until(bench->heard->loop, &bench->heard->message_count, 2, 2000));
		answered_ms = loop_now_ms(bench->heard->loop);
		ck_assert(run_until(bench->heard->loop, &bench->heard->closed_count, 1,
				    cases[i].most_ms));
		ck_assert_uint_ge(loop_now_ms(bench->heard->loop) - answered_ms, cases[i].least_ms);
		ck_assert_int_eq(bench->heard->error, 0);
		run_for(bench->heard->loop, 20);
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

CERTIFICATES_MAIN("transport_tls", NULL, test_many, test_refused, test_resumed, test_silence,
		  test_idle, test_idle_limits)
