/* SPDX-License-Identifier: ISC */
#include "common/dns/transport.h"

#include "tests/unit/common/heard.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

enum {
	TYPE_A = 1,
	FORMERR = 1,
	MANY = 2000,
	/* However busy the machine: what a clock says is tested in test_transport_tcp_timers. */
	PATIENCE_MS = 30000,
};

static bool open_stream(struct heard *heard, uint32_t timeout_ms)
{
	const struct transport_config config = { .timeout_ms = timeout_ms, .max_open = MANY };

	return heard_open(heard, &transport_tcp, config);
}

static struct heard *start(uint32_t timeout_ms, void (*on_query)(const struct fake_query *query))
{
	struct heard *heard = heard_new();

	heard_serve(heard, "127.0.0.1", on_query);
	ck_assert(open_stream(heard, timeout_ms));
	return heard;
}

/* No query of a stream fails alone. */
static void stop(struct heard *heard)
{
	ck_assert_uint_eq(heard->failure_count, 0);
	heard_free(heard);
}

static int queue(struct heard *heard, uint16_t id)
{
	return heard_send(heard, id, "www.example");
}

START_TEST(test_2000_queries_on_one_connection)
{
	struct heard *heard = start(PATIENCE_MS, fake_dns_reply_ok);

	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(queue(heard, (uint16_t)(i * 31)), 0);
	}
	ck_assert_int_eq(queue(heard, 9), -ENOBUFS);
	heard_flush(heard);
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

static struct heard *start_with_held(uint32_t timeout_ms)
{
	struct heard *heard = start(timeout_ms, heard_hold);

	for (uint16_t id = 0; id < FEW; id++) {
		ck_assert_int_eq(queue(heard, id), 0);
	}
	heard_flush(heard);
	ck_assert(run_until(heard->loop, &heard->held.count, FEW, PATIENCE_MS));
	return heard;
}

START_TEST(test_answers_in_any_order)
{
	struct heard *heard = start_with_held(PATIENCE_MS);

	for (unsigned i = FEW; i-- > 0;) {
		fake_dns_reply(&heard->held.queries[i], 0);
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
		size_t len = fake_dns_answer(&heard->held.queries[i], 0, frame + 2);

		frame[0] = (uint8_t)(len >> 8);
		frame[1] = (uint8_t)len;
		for (size_t pos = 0; pos < 2 + len; pos++) {
			ck_assert_uint_eq(heard->message_count, i);
			fake_dns_send_raw(&heard->held.queries[i], frame + pos, 1);
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
		heard_flush(heard);
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

	fake_dns_send_bad(query);
	fake_dns_send(query, buf, len);
	fake_dns_send(query, buf, len); /* again */
}

START_TEST(test_unsolicited_messages_are_dropped)
{
	struct heard *heard = start(PATIENCE_MS, reply_badly_then_well);

	ck_assert_int_eq(queue(heard, 77), 0);
	heard_flush(heard);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, PATIENCE_MS));
	run_for(heard->loop, 30);
	ck_assert_uint_eq(heard->message_count, 1);
	ck_assert_uint_eq(heard->bytes[1], 77);
	ck_assert_uint_eq(heard->transport->dropped_count, FAKE_DNS_BAD_ANSWERS + 1);
	stop(heard);
}
END_TEST

START_TEST(test_header_only_error_gets_its_question_back)
{
	struct heard *heard = start(PATIENCE_MS, fake_dns_reply_header_only);

	ck_assert_int_eq(queue(heard, 7), 0);
	heard_flush(heard);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, PATIENCE_MS));
	heard_expect(heard, 7, "www.example", FORMERR);
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
		heard_flush(heard);
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
	heard_flush(heard);
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
	heard_flush(heard);
	ck_assert(run_until(heard->loop, &heard->closed_count, 1, PATIENCE_MS));
	ck_assert_int_eq(heard->error, ECONNRESET);
	stop(heard);
}
END_TEST

START_TEST(test_refused)
{
	struct heard *heard = start(PATIENCE_MS, reset);

	heard_close(heard);
	heard_stop_server(heard);
	if (open_stream(heard, PATIENCE_MS)) {
		ck_assert_int_eq(queue(heard, 1), 0);
		ck_assert(run_until(heard->loop, &heard->closed_count, 1, PATIENCE_MS));
		ck_assert_int_eq(heard->error, ECONNREFUSED);
	}
	stop(heard);
}
END_TEST

START_TEST(test_close_within_an_upcall_with_more_answers_read)
{
	struct heard *heard = start_with_held(PATIENCE_MS);

	heard->close_at_once = true;
	for (unsigned i = 0; i < FEW; i++) {
		fake_dns_reply(&heard->held.queries[i], 0);
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
