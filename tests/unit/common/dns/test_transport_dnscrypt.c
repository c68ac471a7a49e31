/* SPDX-License-Identifier: ISC */
#include "common/dns/dnscrypt_peer.h"
#include "common/dns/transport.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/common/fake_dnscrypt.h"
#include "tests/unit/common/heard.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	NOW_S = 1000000,
	TYPE_TXT = 16,
	MANY = 200,
	FLAG_TC = 0x02,
};

/* What the server does with a query. */
enum trick {
	HONEST,
	SILENT,
	CLEAR,    /* answers without a box */
	OTHER,    /* answers another question */
	DAMAGED,  /* a box that is broken, then a good one */
	REPLAYED, /* the box of the query before, then a good one */
	TRUNCATED,
	HANG_UP,
	TWO_PIECES, /* on a stream */
};

struct bench {
	struct heard *heard;
	struct fake_provider provider;
	struct dnscrypt_peer *peer;
	enum trick trick;
	bool no_certs;
	unsigned cert_count;
	unsigned sealed_count;
	size_t padded_len; /* of the last query */
	uint8_t last_box[4096];
	size_t last_box_len;
};

static struct bench bench;

/* --- the server ------------------------------------------------------------------------------ */

static void answer_certs(const struct fake_query *query)
{
	uint8_t msg[4096];
	uint8_t cert[DNSCRYPT_CERT_BYTES];
	size_t len;

	bench.cert_count++;
	if (bench.no_certs) {
		return;
	}
	len = fake_dns_answer(query, 0, msg);
	fake_provider_sign(&bench.provider, cert);
	fake_dns_send(query, msg, fake_add_txt(msg, len, cert, sizeof cert));
}

static void send_box(const struct fake_query *query, const uint8_t *box, size_t len)
{
	uint8_t prefix[2] = { (uint8_t)(len >> 8), (uint8_t)len };

	if (bench.trick == TWO_PIECES) {
		fake_dns_send_raw(query, prefix, 1);
		fake_dns_send_raw(query, prefix + 1, 1);
		fake_dns_send_raw(query, box, len);
		return;
	}
	fake_dns_send(query, box, len);
}

static void answer_sealed(const struct fake_query *query, const struct fake_query *inner)
{
	uint8_t msg[4096];
	uint8_t box[8192];
	size_t len = fake_dns_answer(inner, 0, msg);
	size_t box_len;

	if (bench.trick == TRUNCATED && !query->conn) {
		msg[2] |= FLAG_TC;
	}
	if (bench.trick == OTHER) {
		msg[13] ^= 1;
	}
	if (bench.trick == REPLAYED && bench.last_box_len > 0) {
		fake_dns_send(query, bench.last_box, bench.last_box_len);
	}
	box_len = fake_provider_seal(&bench.provider, msg, len, box);
	memcpy(bench.last_box, box, box_len);
	bench.last_box_len = box_len;
	if (bench.trick == DAMAGED) {
		box[40] ^= 1;
		fake_dns_send(query, box, box_len);
		box[40] ^= 1;
	}
	send_box(query, box, box_len);
}

static void on_query(const struct fake_query *query)
{
	uint8_t bytes[FAKE_DNS_MESSAGE_MAX];
	struct fake_query inner = *query;

	memcpy(bytes, query->bytes, query->len);
	bench.padded_len = fake_provider_open(&bench.provider, bytes, query->len, &inner.len);
	if (bench.padded_len == 0) {
		/* Not the magic of keys that are out of use, eight 3s. A question for certificates
		 * may begin so, with a random id, but its flags are others. */
		if (query->bytes[2] != 3) {
			answer_certs(query);
		}
		return;
	}
	bench.sealed_count++;
	inner.bytes = bytes + DNSCRYPT_QUERY_HEADER_BYTES;
	if (bench.trick == HANG_UP) {
		fake_dns_hang_up(query);
	} else if (bench.trick == CLEAR) {
		uint8_t msg[4096];

		fake_dns_send(query, msg, fake_dns_answer(&inner, 0, msg));
	} else if (bench.trick != SILENT) {
		answer_sealed(query, &inner);
	}
}

/* --- the client ------------------------------------------------------------------------------ */

static struct tls_time time_of(void *arg)
{
	(void)arg;
	return (struct tls_time){ .unix_s = NOW_S };
}

static void start(const struct transport_ops *ops, uint32_t timeout_ms)
{
	struct dnscrypt_peer_config config = { .provider_name = FAKE_PROVIDER,
					       .timeout_ms = timeout_ms,
					       .time = time_of };
	struct transport_config transport_config = { .timeout_ms = timeout_ms, .max_open = MANY };

	memset(&bench, 0, sizeof bench);
	bench.heard = heard_new();
	fake_provider_init(&bench.provider, 3, NOW_S - 100, NOW_S + 100);
	heard_serve(bench.heard, "127.0.0.1", on_query);
	config.loop = bench.heard->loop;
	config.server = bench.heard->server.addr;
	memcpy(config.provider_key, bench.provider.provider_key, sizeof config.provider_key);
	bench.peer = dnscrypt_peer_new(&config);
	ck_assert_ptr_nonnull(bench.peer);
	transport_config.peer = bench.peer;
	ck_assert(heard_open(bench.heard, ops, transport_config));
}

/* Neither kind closes by itself. */
static void stop(void)
{
	ck_assert_uint_eq(bench.heard->closed_count, 0);
	heard_close(bench.heard);
	dnscrypt_peer_free(bench.peer);
	heard_free(bench.heard);
}

static int ask(uint16_t id)
{
	return heard_send(bench.heard, id, "www.example");
}

static void ask_and_wait(uint16_t id)
{
	unsigned count = bench.heard->message_count;

	ck_assert_int_eq(ask(id), 0);
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, count + 1, 3000));
	ck_assert_uint_eq(bench.heard->bytes[0] << 8 | bench.heard->bytes[1], id);
}

static const struct transport_ops *const both[] = { &transport_dnscrypt_udp,
						    &transport_dnscrypt_tcp };

/* Many at once, before there are keys: one fetch, and each is answered. */
START_TEST(test_many)
{
	start(both[_i], 3000);
	for (uint16_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(ask(i), 0);
	}
	ck_assert_int_eq(ask(MANY), -ENOBUFS);
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, MANY, 5000));
	ck_assert_uint_eq(bench.cert_count, 1);
	ck_assert_uint_eq(bench.sealed_count, MANY);
	ck_assert_uint_eq(bench.heard->failure_count, 0);
	ck_assert_uint_eq(bench.heard->server.connection_count, _i == 1 ? MANY : 0);
	ask_and_wait(MANY);
	stop();
}
END_TEST

START_TEST(test_padding)
{
	start(&transport_dnscrypt_udp, 3000);
	ask_and_wait(1);
	ck_assert_uint_eq(bench.padded_len, 256);
	bench.trick = TRUNCATED;
	ask_and_wait(2);
	ck_assert_uint_ne(bench.heard->bytes[2] & FLAG_TC, 0);
	ask_and_wait(3);
	ck_assert_uint_eq(bench.padded_len, 320);
	stop();
}
END_TEST

/* What is not from the server, or not about this query, does not end the wait. */
START_TEST(test_hostile_datagrams)
{
	start(&transport_dnscrypt_udp, 3000);
	ask_and_wait(1);
	bench.trick = DAMAGED;
	ask_and_wait(2);
	ck_assert_uint_eq(bench.heard->transport->dropped_count, 1);
	bench.trick = REPLAYED;
	ask_and_wait(3);
	ck_assert_uint_eq(bench.heard->transport->dropped_count, 2);
	bench.trick = CLEAR;
	ck_assert_int_eq(ask(4), 0);
	run_for(bench.heard->loop, 50);
	ck_assert_uint_eq(bench.heard->transport->dropped_count, 3);
	bench.trick = OTHER;
	ck_assert_int_eq(ask(5), 0);
	run_for(bench.heard->loop, 50);
	ck_assert_uint_eq(bench.heard->transport->dropped_count, 4);
	ck_assert_uint_eq(bench.heard->message_count, 3);
	ck_assert_uint_eq(bench.heard->failure_count, 0);
	stop();
}
END_TEST

START_TEST(test_hostile_streams)
{
	static const struct {
		enum trick trick;
		int error;
	} cases[] = { { HANG_UP, ECONNRESET },
		      { CLEAR, EBADMSG },
		      { OTHER, EBADMSG },
		      { DAMAGED, EBADMSG } };

	start(&transport_dnscrypt_tcp, 3000);
	ask_and_wait(1);
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bench.trick = cases[i].trick;
		ck_assert_int_eq(ask(2), 0);
		ck_assert(run_until(bench.heard->loop, &bench.heard->failure_count, i + 1, 3000));
		ck_assert_int_eq(bench.heard->error, cases[i].error);
	}
	bench.trick = TWO_PIECES;
	ask_and_wait(3);
	stop();
}
END_TEST

/* The two below are replayed with a clock that stands still while something has to arrive. */

static void ask_and_reach(uint16_t id)
{
	unsigned count = bench.heard->message_count;

	ck_assert_int_eq(ask(id), 0);
	ck_assert(clock_reach(bench.heard->loop, &bench.heard->message_count, count + 1));
	ck_assert_uint_eq(bench.heard->bytes[0] << 8 | bench.heard->bytes[1], id);
}

/* Without certificates every query fails, now and for a second. */
START_TEST(test_no_certs)
{
	clock_stop();
	start(both[_i], 200);
	bench.no_certs = true;
	ck_assert_int_eq(ask(1), 0);
	ck_assert(clock_reach(bench.heard->loop, &bench.cert_count, 1));
	clock_pass(bench.heard->loop, 100);
	ck_assert_int_eq(ask(2), 0);
	clock_pass(bench.heard->loop, 99);
	ck_assert_uint_eq(bench.heard->failure_count, 0);
	clock_pass(bench.heard->loop, 1);
	ck_assert_uint_eq(bench.heard->failure_count, 1);
	ck_assert_int_eq(bench.heard->error, ETIMEDOUT);
	ck_assert_int_eq(ask(3), -ETIMEDOUT);
	ck_assert_uint_eq(bench.sealed_count, 0);
	stop();
	clock_go_on();
}
END_TEST

/* A query that nobody answers makes room again. */
START_TEST(test_silence)
{
	clock_stop();
	start(both[_i], 200);
	ask_and_reach(1);
	bench.trick = SILENT;
	for (uint16_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(ask(i), 0);
	}
	ck_assert(clock_reach(bench.heard->loop, &bench.sealed_count, 1 + MANY));
	clock_pass(bench.heard->loop, 199);
	ck_assert_int_eq(ask(MANY), -ENOBUFS);
	clock_pass(bench.heard->loop, 1);
	ck_assert_uint_eq(bench.heard->message_count, 1);
	bench.trick = HONEST;
	ask_and_reach(7);
	stop();
	clock_go_on();
}
END_TEST

/* Nobody is there any more: the query fails at once. */
START_TEST(test_refused)
{
	start(&transport_dnscrypt_udp, 1000);
	ask_and_wait(1);
	heard_stop_server(bench.heard);
	ck_assert_int_eq(ask(2), 0);
	ck_assert(run_until(bench.heard->loop, &bench.heard->failure_count, 1, 3000));
	ck_assert_int_eq(bench.heard->error, ECONNREFUSED);
	stop();
}
END_TEST

START_TEST(test_close_at_once)
{
	start(both[_i], 1000);
	bench.heard->close_at_once = true;
	for (uint16_t i = 0; i < 10; i++) {
		ck_assert_int_eq(ask(i), 0);
	}
	ck_assert(run_until(bench.heard->loop, &bench.heard->message_count, 1, 3000));
	run_for(bench.heard->loop, 50);
	ck_assert_uint_eq(bench.heard->message_count, 1);
	stop();
}
END_TEST

START_TEST(test_close_while_waiting)
{
	start(both[_i], 1000);
	ck_assert_int_eq(ask(1), 0);
	heard_close(bench.heard);
	run_for(bench.heard->loop, 20);
	ck_assert_uint_eq(bench.heard->message_count + bench.heard->failure_count, 0);
	stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transport_dnscrypt");
	TCase *tcase = tcase_create("transport_dnscrypt");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_many, 0, 2);
	tcase_add_test(tcase, test_padding);
	tcase_add_test(tcase, test_hostile_datagrams);
	tcase_add_test(tcase, test_hostile_streams);
	tcase_add_loop_test(tcase, test_no_certs, 0, 2);
	tcase_add_loop_test(tcase, test_silence, 0, 2);
	tcase_add_test(tcase, test_refused);
	tcase_add_loop_test(tcase, test_close_at_once, 0, 2);
	tcase_add_loop_test(tcase, test_close_while_waiting, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
