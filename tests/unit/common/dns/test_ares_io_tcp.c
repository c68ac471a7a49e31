/* SPDX-License-Identifier: ISC */
#include "common/dns/ares_io.h"
#include "common/clock.h"

#include "tests/unit/common/ares_bench.h"
#include "tests/unit/suite.h"

#include <string.h>
#include <unistd.h>

static void reply_tc_then_long(const struct fake_query *query)
{
	static uint8_t buf[FAKE_DNS_MESSAGE_MAX];
	static uint8_t rdata[3000];
	size_t len = fake_dns_answer(query, 0, buf);

	if (!query->conn) {
		buf[2] |= FLAG_TC;
		fake_dns_send(query, buf, len);
		return;
	}
	memset(rdata, 'x', sizeof rdata);
	fake_dns_send(query, buf, fake_dns_add_record(buf, len, TYPE_TXT, 60, rdata, sizeof rdata));
}

START_TEST(test_truncated_answer_is_fetched_by_tcp)
{
	struct bench *bench = bench_start(reply_tc_then_long, (struct ares_io_config){ 0 });
	struct outcome outcome;

	for (unsigned i = 1; i <= 3; i++) {
		bench_exchange(bench, &outcome, (uint16_t)(i * 1000), "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i, 1000));
		ck_assert_int_eq(outcome.status, ARES_IO_OK);
		ck_assert(outcome.via_tcp);
		ck_assert_uint_eq(outcome.len, 12 + 13 + 4 + 12 + 3000);
		ck_assert_uint_eq(outcome.bytes[2] & FLAG_TC, 0);
		ck_assert_uint_eq(outcome.bytes[outcome.len - 1], 'x');
		outcome_done(&outcome);
	}
	ck_assert_uint_eq(bench->servers[0].udp_count, 3);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 3);
	ck_assert_uint_eq(bench->servers[0].connection_count, 1);
	bench_stop(bench);
}
END_TEST

/* A datagram of more than 512 bytes is no reason to use TCP, nor is one longer than c-ares' buffer.
 */
static void reply_8000(const struct fake_query *query)
{
	static uint8_t buf[FAKE_DNS_MESSAGE_MAX];
	static const uint8_t rdata[8000];

	fake_dns_send(query, buf,
		      fake_dns_add_record(buf, fake_dns_answer(query, 0, buf), TYPE_TXT, 60, rdata,
					  sizeof rdata));
}

START_TEST(test_long_datagram_comes_whole)
{
	struct bench *bench = bench_start(reply_8000, (struct ares_io_config){ 0 });
	struct outcome outcome;

	bench_exchange(bench, &outcome, 1, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_uint_eq(outcome.len, 12 + 13 + 4 + 12 + 8000);
	ck_assert(!outcome.via_tcp);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

/* c-ares 1.18 with its own sockets fails all beyond 1024 (IOV_MAX). */
START_TEST(test_2000_queries_on_one_tcp_connection)
{
	enum {
		MANY = 2000
	};
	struct bench *bench =
		bench_start(fake_dns_reply_ok, (struct ares_io_config){ .stream_only = true });
	static struct outcome outcomes[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		bench_exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, MANY, 5000));
	ck_assert_uint_eq(bench->status_count[ARES_IO_OK], MANY);
	ck_assert_uint_eq(bench->servers[0].tcp_count, MANY);
	ck_assert_uint_eq(bench->servers[0].connection_count, 1);
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	for (unsigned i = 0; i < MANY; i++) {
		outcome_check(&outcomes[i], "www.example", 0);
		ck_assert(outcomes[i].via_tcp);
		outcome_done(&outcomes[i]);
	}
	bench_stop(bench);
}
END_TEST

static void reply_on_second_connection(const struct fake_query *query)
{
	if (query->server->connection_count > 1) {
		fake_dns_reply(query, 0);
	}
}

/* c-ares 1.18 by itself uses a dead connection for ever. */
START_TEST(test_dead_tcp_peer_is_replaced)
{
	struct bench *bench =
		bench_start(reply_on_second_connection,
			    (struct ares_io_config){ .stream_only = true, .timeout_ms = 200 });
	struct outcome outcomes[3];

	bench_exchange(bench, &outcomes[0], 1, "one.example");
	run_for(bench->loop, 120);
	bench_exchange(bench, &outcomes[1], 2, "two.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 2, 1000));
	/* The watchdog and the timeout of the first are due at the same time. */
	ck_assert(outcomes[0].status == ARES_IO_OK || outcomes[0].status == ARES_IO_TIMEOUT);
	outcome_check(&outcomes[1], "two.example", 0);
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	bench_exchange(bench, &outcomes[2], 3, "six.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 3, 100));
	outcome_check(&outcomes[2], "six.example", 0);
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	for (unsigned i = 0; i < 3; i++) {
		outcome_done(&outcomes[i]);
	}
	bench_stop(bench);
}
END_TEST

static void reply_and_hang_up(const struct fake_query *query)
{
	fake_dns_reply(query, 0);
	fake_dns_hang_up(query);
}

START_TEST(test_server_that_closes_after_each_answer)
{
	struct bench *bench =
		bench_start(reply_and_hang_up, (struct ares_io_config){ .stream_only = true });
	struct outcome outcomes[5];

	for (unsigned i = 0; i < 5; i++) {
		bench_exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		outcome_check(&outcomes[i], "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	ck_assert_uint_ge(bench->servers[0].connection_count, 2);
	bench_stop(bench);
}
END_TEST

static void reset_first_connection(const struct fake_query *query)
{
	if (query->server->connection_count == 1) {
		fake_dns_reset(query);
	} else {
		fake_dns_reply(query, 0);
	}
}

START_TEST(test_queries_survive_a_reset)
{
	struct bench *bench =
		bench_start(reset_first_connection, (struct ares_io_config){ .stream_only = true });
	struct outcome outcomes[5];

	for (unsigned i = 0; i < 5; i++) {
		bench_exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, 5, 1000));
	for (unsigned i = 0; i < 5; i++) {
		outcome_check(&outcomes[i], "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	bench_stop(bench);
}
END_TEST

static void always_reset(const struct fake_query *query)
{
	fake_dns_reset(query);
}

START_TEST(test_server_that_always_resets_is_unreachable)
{
	struct bench *bench =
		bench_start(always_reset, (struct ares_io_config){ .stream_only = true });
	struct outcome outcome;

	bench_exchange(bench, &outcome, 1, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	bench_stop(bench);
}
END_TEST

static void reply_tc(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	buf[2] |= FLAG_TC;
	fake_dns_send(query, buf, len);
}

START_TEST(test_refused_tcp_is_unreachable)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench = bench_new(reply_tc);
		struct outcome outcome;
		uint64_t begin_ms = clock_mono_ms();

		watch_stop(&bench->servers[0].tcp_watch);
		close(bench->servers[0].tcp_fd);
		bench->servers[0].tcp_fd = -1;
		bench_open(bench, (struct ares_io_config){ .stream_only = stream_only });
		bench_exchange(bench, &outcome, 1, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
		ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
		ck_assert_uint_lt(clock_mono_ms() - begin_ms, 500);
		ck_assert_uint_eq(bench->servers[0].udp_count, !stream_only);
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_tcp_timeout)
{
	struct bench *bench = bench_start(
		NULL, (struct ares_io_config){ .stream_only = true, .timeout_ms = 100 });
	struct outcome outcome;

	bench_exchange(bench, &outcome, 1, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 2000));
	ck_assert(outcome.status == ARES_IO_TIMEOUT || outcome.status == ARES_IO_UNREACHABLE);
	bench_stop(bench);
}
END_TEST

static void exchange_via(struct bench *bench, struct outcome *outcome, enum ares_io_via via)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, 7, "www.example", TYPE_A, true);

	*outcome = (struct outcome){ .bench = bench };
	ares_io_send_via(bench->io, via, query, len, outcome_on_answer, outcome);
}

START_TEST(test_datagram_only)
{
	struct bench *bench = bench_start(reply_tc, (struct ares_io_config){ 0 });
	struct outcome outcome;

	exchange_via(bench, &outcome, ARES_IO_VIA_DATAGRAM);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_OK);
	ck_assert(!outcome.via_tcp);
	ck_assert_uint_eq(outcome.bytes[2] & FLAG_TC, FLAG_TC);
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

START_TEST(test_stream_on_demand)
{
	struct bench *bench = bench_start(fake_dns_reply_ok, (struct ares_io_config){ 0 });
	struct outcome outcome;

	exchange_via(bench, &outcome, ARES_IO_VIA_STREAM);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_OK);
	ck_assert(outcome.via_tcp);
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 1);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

/* Who counts what is sent has no use for c-ares sending again. */
START_TEST(test_one_try_is_one_send)
{
	struct bench *bench =
		bench_start(always_reset, (struct ares_io_config){ .stream_tries = 1 });
	struct outcome outcome;

	exchange_via(bench, &outcome, ARES_IO_VIA_STREAM);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(bench->servers[0].connection_count, 1);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 1);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

struct dropped {
	unsigned other_case_count;
	unsigned other_count;
};

static void on_dropped(void *arg, const uint8_t *question, size_t len, bool other_case)
{
	struct dropped *dropped = arg;

	ck_assert_uint_eq(len, 13 + 4);
	ck_assert_mem_eq(question, "\3www\7example\0\0\1\0\1", 17);
	*(other_case ? &dropped->other_case_count : &dropped->other_count) += 1;
}

static void reply_in_other_case_with_other_id_and_well(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	buf[13] ^= 0x20;
	fake_dns_send(query, buf, len);
	buf[13] ^= 0x20;
	buf[1] ^= 1;
	fake_dns_send(query, buf, len);
	fake_dns_send(query, buf, len);
	fake_dns_reply(query, 0);
}

START_TEST(test_what_is_dropped_is_told)
{
	struct dropped dropped = { 0 };
	struct bench *bench = bench_start(
		reply_in_other_case_with_other_id_and_well,
		(struct ares_io_config){ .on_dropped = on_dropped, .on_dropped_arg = &dropped });
	struct outcome outcome;

	exchange_via(bench, &outcome, ARES_IO_VIA_DATAGRAM);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_OK);
	ck_assert_uint_eq(dropped.other_case_count, 1);
	ck_assert_uint_eq(dropped.other_count, 2);
	ck_assert_uint_eq(ares_io_dropped_count(bench->io), 3);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

SUITE_MAIN("ares_io_tcp", test_truncated_answer_is_fetched_by_tcp, test_long_datagram_comes_whole,
	   test_2000_queries_on_one_tcp_connection, test_dead_tcp_peer_is_replaced,
	   test_server_that_closes_after_each_answer, test_queries_survive_a_reset,
	   test_server_that_always_resets_is_unreachable, test_refused_tcp_is_unreachable,
	   test_tcp_timeout, test_datagram_only, test_stream_on_demand, test_one_try_is_one_send,
	   test_what_is_dropped_is_told)
