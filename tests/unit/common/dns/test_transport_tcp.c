/* SPDX-License-Identifier: ISC */
#include "common/dns/transport.h"

#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TYPE_A = 1,
	FORMERR = 1,
	MANY = 2000,
	/* However busy the machine: what a clock says is tested in test_transport_tcp_timers. */
	PATIENCE_MS = 30000,
};

/* What came up from the transport. */
struct heard {
	struct loop *loop;
	struct fake_dns server;
	struct transport *transport;
	unsigned message_count;
	unsigned closed_count;
	int error;
	uint8_t bytes[FAKE_DNS_MESSAGE_MAX];
	size_t len;
	bool ids[65536];
	bool close_at_once;
};

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	struct heard *heard = user;

	heard->message_count++;
	memcpy(heard->bytes, msg, len);
	heard->len = len;
	heard->ids[msg[0] << 8 | msg[1]] = true;
	if (heard->close_at_once) {
		heard->transport->ops->close(heard->transport);
		heard->transport = NULL;
	}
}

static void on_failed(void *user, const uint8_t *query, size_t len, int error)
{
	(void)user;
	(void)query;
	(void)len;
	ck_abort_msg("a query has failed alone: %d", error);
}

static void on_closed(void *user, int error)
{
	struct heard *heard = user;

	heard->closed_count++;
	heard->error = error;
	heard->transport->ops->close(heard->transport);
	heard->transport = NULL;
}

static const struct transport_user upcalls = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_closed = on_closed,
};

static void heard_open(struct heard *heard, uint32_t timeout_ms)
{
	struct transport_config config = { .timeout_ms = timeout_ms, .max_open = MANY };

	config.loop = heard->loop;
	config.server = heard->server.addr;
	heard->transport = transport_tcp.open(&config, &upcalls, heard);
}

static struct heard *start(uint32_t timeout_ms, void (*on_query)(const struct fake_query *query))
{
	struct heard *heard = calloc(1, sizeof *heard);

	ck_assert_ptr_nonnull(heard);
	heard->loop = loop_new();
	fake_dns_start(&heard->server, heard->loop, "127.0.0.1", on_query);
	heard->server.arg = heard;
	heard_open(heard, timeout_ms);
	ck_assert_ptr_nonnull(heard->transport);
	return heard;
}

static void stop(struct heard *heard)
{
	if (heard->transport) {
		heard->transport->ops->close(heard->transport);
	}
	fake_dns_stop(&heard->server);
	loop_free(heard->loop);
	free(heard);
}

static int queue(struct heard *heard, uint16_t id)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, id, "www.example", TYPE_A, true);

	return heard->transport->ops->send(heard->transport, query, len);
}

static void flush(struct heard *heard)
{
	heard->transport->ops->flush(heard->transport);
}

static void reply_ok(const struct fake_query *query)
{
	fake_dns_reply(query, 0);
}

START_TEST(test_2000_queries_on_one_connection)
{
	struct heard *heard = start(PATIENCE_MS, reply_ok);

	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(queue(heard, (uint16_t)(i * 31)), 0);
	}
	ck_assert_int_eq(queue(heard, 9), -ENOBUFS);
	flush(heard);
	ck_assert(run_until(heard->loop, &heard->message_count, MANY, PATIENCE_MS));
	ck_assert_uint_eq(heard->server.tcp_count, MANY);
	ck_assert_uint_eq(heard->server.connection_count, 1);
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert(heard->ids[(uint16_t)(i * 31)]);
	}
	ck_assert_int_eq(queue(heard, 9), 0);
	stop(heard);
}
END_TEST

/* --- order and framing ----------------------------------------------------------------------- */

enum {
	FEW = 5
};

static struct {
	unsigned count;
	struct fake_query queries[FEW];
	uint8_t bytes[FEW][64];
} held;

static void hold(const struct fake_query *query)
{
	ck_assert_uint_lt(held.count, FEW);
	ck_assert_uint_le(query->len, sizeof held.bytes[0]);
	held.queries[held.count] = *query;
	memcpy(held.bytes[held.count], query->bytes, query->len);
	held.queries[held.count].bytes = held.bytes[held.count];
	held.count++;
}

static struct heard *start_with_held(uint32_t timeout_ms)
{
	struct heard *heard = start(timeout_ms, hold);

	held.count = 0;
	for (uint16_t id = 0; id < FEW; id++) {
		ck_assert_int_eq(queue(heard, id), 0);
	}
	flush(heard);
	ck_assert(run_until(heard->loop, &held.count, FEW, PATIENCE_MS));
	return heard;
}

START_TEST(test_answers_in_any_order)
{
	struct heard *heard = start_with_held(PATIENCE_MS);

	for (unsigned i = FEW; i-- > 0;) {
		fake_dns_reply(&held.queries[i], 0);
		ck_assert(run_until(heard->loop, &heard->message_count, FEW - i, PATIENCE_MS));
		ck_assert_uint_eq(heard->bytes[1], i);
	}
	stop(heard);
}
END_TEST

START_TEST(test_answers_byte_by_byte)
{
	struct heard *heard = start_with_held(PATIENCE_MS);

	for (unsigned i = 0; i < FEW; i++) {
		uint8_t frame[514];
		size_t len = fake_dns_answer(&held.queries[i], 0, frame + 2);

		frame[0] = (uint8_t)(len >> 8);
		frame[1] = (uint8_t)len;
		for (size_t pos = 0; pos < 2 + len; pos++) {
			ck_assert_uint_eq(heard->message_count, i);
			fake_dns_send_raw(&held.queries[i], frame + pos, 1);
			ck_assert_int_eq(loop_turn(heard->loop, 20), 0);
		}
		ck_assert(run_until(heard->loop, &heard->message_count, i + 1, PATIENCE_MS));
		ck_assert_uint_eq(heard->len, len);
		ck_assert_mem_eq(heard->bytes, frame + 2, len);
	}
	stop(heard);
}
END_TEST

static void reply_longest(const struct fake_query *query)
{
	static uint8_t buf[FAKE_DNS_MESSAGE_MAX];
	static uint8_t rdata[FAKE_DNS_MESSAGE_MAX];
	size_t len = fake_dns_answer(query, 0, buf);

	memset(rdata, 'x', sizeof rdata);
	fake_dns_send(
		query, buf,
		fake_dns_add_record(buf, len, 16, 60, rdata, FAKE_DNS_MESSAGE_MAX - len - 12));
}

START_TEST(test_longest_message)
{
	struct heard *heard = start(PATIENCE_MS, reply_longest);

	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(queue(heard, (uint16_t)i), 0);
		flush(heard);
		ck_assert(run_until(heard->loop, &heard->message_count, i, PATIENCE_MS));
		ck_assert_uint_eq(heard->len, FAKE_DNS_MESSAGE_MAX);
		ck_assert_uint_eq(heard->bytes[FAKE_DNS_MESSAGE_MAX - 1], 'x');
	}
	stop(heard);
}
END_TEST

static void reply_badly_then_well(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	fake_dns_send(query, "", 0);
	fake_dns_send(query, "garbage", 7);
	buf[0] ^= 0xff; /* nobody asked */
	fake_dns_send(query, buf, len);
	buf[0] ^= 0xff;
	buf[13] ^= 0x20; /* wrong case */
	fake_dns_send(query, buf, len);
	buf[13] ^= 0x20;
	fake_dns_send(query, buf, len);
	fake_dns_send(query, buf, len); /* again */
}

START_TEST(test_unsolicited_messages_are_dropped)
{
	struct heard *heard = start(PATIENCE_MS, reply_badly_then_well);

	ck_assert_int_eq(queue(heard, 77), 0);
	flush(heard);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, PATIENCE_MS));
	run_for(heard->loop, 30);
	ck_assert_uint_eq(heard->message_count, 1);
	ck_assert_uint_eq(heard->bytes[1], 77);
	ck_assert_uint_eq(heard->transport->dropped_count, 5);
	stop(heard);
}
END_TEST

static void reply_header_only(const struct fake_query *query)
{
	uint8_t buf[512];

	fake_dns_answer(query, FORMERR, buf);
	buf[5] = 0;
	fake_dns_send(query, buf, 12);
}

START_TEST(test_header_only_error_gets_its_question_back)
{
	struct heard *heard = start(PATIENCE_MS, reply_header_only);
	uint8_t expected[512];
	size_t len = fake_dns_query(expected, 7, "www.example", TYPE_A, false);

	expected[2] |= 0x80;
	expected[3] = 0x80 | FORMERR;
	ck_assert_int_eq(queue(heard, 7), 0);
	flush(heard);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, PATIENCE_MS));
	ck_assert_uint_eq(heard->len, len);
	ck_assert_mem_eq(heard->bytes, expected, len);
	stop(heard);
}
END_TEST

/* More than the kernel takes at once, while the server does not read. */
START_TEST(test_slow_server_gets_everything)
{
	enum {
		LONG = 60000,
		COUNT = 16
	};
	static uint8_t query[LONG];
	struct heard *heard = start(PATIENCE_MS, NULL);
	unsigned sent = 0;

	fake_dns_query(query, 0, "long.example", TYPE_A, false);
	ck_assert(run_until(heard->loop, &heard->server.connection_count, 1, PATIENCE_MS));
	fake_dns_pause(&heard->server, true);
	ck_assert_int_eq(heard->transport->ops->send(heard->transport, query, 65536), -EMSGSIZE);
	for (; sent < 1000; sent++) {
		query[1] = (uint8_t)sent;
		if (heard->transport->ops->send(heard->transport, query, LONG) < 0) {
			break;
		}
		flush(heard);
	}
	ck_assert_uint_gt(sent, COUNT);
	ck_assert_uint_lt(sent, 1000);
	fake_dns_pause(&heard->server, false);
	ck_assert(run_until(heard->loop, &heard->server.tcp_count, sent, PATIENCE_MS));
	stop(heard);
}
END_TEST

/* --- the end --------------------------------------------------------------------------------- */

static void reply_and_hang_up(const struct fake_query *query)
{
	fake_dns_reply(query, 0);
	fake_dns_hang_up(query);
}

START_TEST(test_answers_before_the_end_are_delivered)
{
	struct heard *heard = start(PATIENCE_MS, reply_and_hang_up);

	ck_assert_int_eq(queue(heard, 1), 0);
	ck_assert_int_eq(queue(heard, 2), 0);
	flush(heard);
	ck_assert(run_until(heard->loop, &heard->closed_count, 1, PATIENCE_MS));
	ck_assert_uint_ge(heard->message_count, 1);
	ck_assert_int_eq(heard->error, 0);
	stop(heard);
}
END_TEST

static void reset(const struct fake_query *query)
{
	fake_dns_reset(query);
}

START_TEST(test_reset)
{
	struct heard *heard = start(PATIENCE_MS, reset);

	ck_assert_int_eq(queue(heard, 1), 0);
	flush(heard);
	ck_assert(run_until(heard->loop, &heard->closed_count, 1, PATIENCE_MS));
	ck_assert_int_eq(heard->error, ECONNRESET);
	stop(heard);
}
END_TEST

START_TEST(test_refused)
{
	struct heard *heard = start(PATIENCE_MS, reset);

	heard->transport->ops->close(heard->transport);
	fake_dns_stop(&heard->server);
	heard_open(heard, PATIENCE_MS);
	if (heard->transport) {
		ck_assert_int_eq(queue(heard, 1), 0);
		ck_assert(run_until(heard->loop, &heard->closed_count, 1, PATIENCE_MS));
		ck_assert_int_eq(heard->error, ECONNREFUSED);
	}
	loop_free(heard->loop);
	free(heard);
}
END_TEST

START_TEST(test_close_within_an_upcall_with_more_answers_read)
{
	struct heard *heard = start_with_held(PATIENCE_MS);

	heard->close_at_once = true;
	for (unsigned i = 0; i < FEW; i++) {
		fake_dns_reply(&held.queries[i], 0);
	}
	run_for(heard->loop, 50);
	ck_assert_uint_eq(heard->message_count, 1);
	ck_assert_uint_eq(heard->closed_count, 0);
	stop(heard);
}
END_TEST

SUITE_MAIN("transport_tcp", test_2000_queries_on_one_connection, test_answers_in_any_order,
	   test_answers_byte_by_byte, test_longest_message, test_unsolicited_messages_are_dropped,
	   test_header_only_error_gets_its_question_back, test_slow_server_gets_everything,
	   test_answers_before_the_end_are_delivered, test_reset, test_refused,
	   test_close_within_an_upcall_with_more_answers_read)
