/* SPDX-License-Identifier: ISC */
#include "common/dns/ares_io.h"
#include "common/clock.h"
#include "common/container.h"

#include "tests/unit/common/ares_bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- raw exchanges by UDP -------------------------------------------------------------------- */

static unsigned count_set(const bool *flags)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 65536; i++) {
		count += flags[i];
	}
	return count;
}

START_TEST(test_200_concurrent_queries_have_many_ports_and_keep_their_ids)
{
	enum {
		MANY = 200
	};
	struct bench *bench = bench_start(bench_hold, (struct ares_io_config){ 0 });
	static struct outcome outcomes[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		char name[64];

		snprintf(name, sizeof name, "n%u.example", i);
		bench_exchange(bench, &outcomes[i], (uint16_t)(i * 317 + 11), name);
	}
	ck_assert_uint_eq(ares_io_open_count(bench->io), MANY);
	ck_assert(run_until(bench->loop, &bench->held.count, MANY, 1000));
	ck_assert_uint_gt(count_set(bench->held_ports), 150);
	ck_assert_uint_eq(count_set(bench->held_ids), MANY);
	for (unsigned i = MANY; i-- > 0;) {
		fake_dns_reply(&bench->held.queries[i], 0);
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, MANY, 1000));
	for (unsigned i = 0; i < MANY; i++) {
		char name[64];

		snprintf(name, sizeof name, "n%u.example", i);
		outcome_check(&outcomes[i], name, 0);
		ck_assert(!outcomes[i].via_tcp);
		outcome_done(&outcomes[i]);
	}
	ck_assert_uint_eq(ares_io_open_count(bench->io), 0);
	bench_stop(bench);
}
END_TEST

static const uint8_t rcodes[] = { 0, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, 9, 15 };
static uint8_t reply_rcode;
static bool reply_with_opt;

static void reply_with_rcode(const struct fake_query *query)
{
	static const uint8_t opt[] = { 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 22 };
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, reply_rcode, buf);

	if (reply_with_opt) {
		memcpy(buf + len, opt, sizeof opt);
		buf[11] = 1;
		len += sizeof opt;
	}
	fake_dns_send(query, buf, len);
}

/* c-ares by itself asks four times after SERVFAIL, and again with the last eleven bytes cut off
 * after FORMERR. */
START_TEST(test_every_rcode_is_an_answer_and_one_query_is_sent)
{
	struct bench *bench = bench_start(reply_with_rcode, (struct ares_io_config){ 0 });
	unsigned sent = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rcodes); i++) {
		for (unsigned with_opt = 0; with_opt <= 1; with_opt++) {
			struct outcome outcome;

			reply_rcode = rcodes[i];
			reply_with_opt = with_opt;
			bench_exchange(bench, &outcome, (uint16_t)sent, "wWw.example");
			sent++;
			ck_assert(run_until(bench->loop, &bench->answer_count, sent, 1000));
			ck_assert_int_eq(outcome.status, ARES_IO_OK);
			ck_assert_uint_eq(outcome.bytes[3], 0x80 | rcodes[i]);
			ck_assert_uint_eq(outcome.len, 12 + 13 + 4 + (with_opt ? 17 : 0));
			if (with_opt) {
				ck_assert_uint_eq(outcome.bytes[outcome.len - 1], 22);
			} else {
				outcome_check(&outcome, "wWw.example", rcodes[i]);
			}
			outcome_done(&outcome);
			ck_assert_uint_eq(bench->servers[0].udp_count, sent);
		}
	}
	run_for(bench->loop, 60);
	ck_assert_uint_eq(bench->servers[0].udp_count, sent);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	ck_assert_uint_eq(bench->servers[1].udp_count, 0);
	bench_stop(bench);
}
END_TEST

START_TEST(test_header_only_formerr_is_an_answer)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench =
			bench_start(fake_dns_reply_header_only,
				    (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcome;

		bench_exchange(bench, &outcome, 4711, "wWw.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
		outcome_check(&outcome, "wWw.example", FORMERR);
		ck_assert(outcome.via_tcp == (bool)stream_only);
		ck_assert_uint_eq(bench->servers[0].udp_count + bench->servers[0].tcp_count, 1);
		outcome_done(&outcome);
		bench_stop(bench);
	}
}
END_TEST

static void reply_badly_then_well(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	fake_dns_send_bad(query);
	fake_dns_send(query, buf, len - 2); /* cut */
	fake_dns_send(query, buf, len);
}

START_TEST(test_wrong_answers_are_dropped_and_counted)
{
	struct bench *bench = bench_start(reply_badly_then_well, (struct ares_io_config){ 0 });
	struct outcome outcome;

	bench_exchange(bench, &outcome, 99, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	outcome_check(&outcome, "www.example", 0);
	ck_assert_uint_eq(ares_io_dropped_count(bench->io), FAKE_DNS_BAD_ANSWERS + 1);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

START_TEST(test_silent_server_is_a_timeout)
{
	struct bench *bench = bench_start(NULL, (struct ares_io_config){ .timeout_ms = 150 });
	struct outcome outcome;
	uint64_t begin_ms = clock_mono_ms();

	bench_exchange(bench, &outcome, 99, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 2000));
	ck_assert_int_eq(outcome.status, ARES_IO_TIMEOUT);
	ck_assert_uint_ge(clock_mono_ms() - begin_ms, 140);
	ck_assert_uint_lt(clock_mono_ms() - begin_ms, 600);
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	bench_stop(bench);
}
END_TEST

/* From 1.32 on c-ares by itself waits only 250 ms for a server that was fast before. */
START_TEST(test_slow_answer_after_fast_ones)
{
	struct bench *bench =
		bench_start(bench_hold, (struct ares_io_config){ .timeout_ms = 2000 });
	struct outcome outcomes[20];

	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++) {
		bench_exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
		ck_assert(run_until(bench->loop, &bench->held.count, i + 1, 1000));
		run_for(bench->loop, i + 1 == ARRAY_SIZE(outcomes) ? 500 : 0);
		fake_dns_reply(&bench->held.queries[i], 0);
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		outcome_check(&outcomes[i], "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	bench_stop(bench);
}
END_TEST

START_TEST(test_icmp_error_is_unreachable_at_once_and_harms_no_other)
{
	struct bench *bench = bench_new(bench_hold);
	struct outcome outcomes[2];
	uint64_t begin_ms = clock_mono_ms();

	bench_open(bench, (struct ares_io_config){ .timeout_ms = 3000 });
	bench_exchange(bench, &outcomes[0], 1, "one.example");
	ck_assert(run_until(bench->loop, &bench->held.count, 1, 1000));
	/* The server's port closes for a moment: the query sent then is refused, the one before
	 * stays open. */
	watch_stop(&bench->servers[0].udp_watch);
	close(bench->servers[0].udp_fd);
	bench_exchange(bench, &outcomes[1], 2, "two.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcomes[1].status, ARES_IO_UNREACHABLE);
	ck_assert_uint_lt(clock_mono_ms() - begin_ms, 500);
	ck_assert_uint_eq(ares_io_open_count(bench->io), 1);
	bench->servers[0].udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
		bind(bench->servers[0].udp_fd, &bench->addrs[0].sa, addr_len(&bench->addrs[0])), 0);
	bench->held.queries[0].server = &bench->servers[0];
	fake_dns_reply(&bench->held.queries[0], 0);
	ck_assert(run_until(bench->loop, &bench->answer_count, 2, 1000));
	outcome_check(&outcomes[0], "one.example", 0);
	outcome_done(&outcomes[0]);
	bench_stop(bench);
}
END_TEST

START_TEST(test_too_many_open_requests_are_refused)
{
	struct bench *bench = bench_start(bench_hold, (struct ares_io_config){ .max_open = 3 });
	struct outcome outcomes[5];

	for (uint16_t i = 0; i < 5; i++) {
		bench_exchange(bench, &outcomes[i], i, "www.example");
	}
	ck_assert_uint_eq(bench->status_count[ARES_IO_REFUSED], 2);
	ck_assert_int_eq(outcomes[4].status, ARES_IO_REFUSED);
	ck_assert_uint_eq(ares_io_open_count(bench->io), 3);
	ck_assert(run_until(bench->loop, &bench->held.count, 3, 1000));
	fake_dns_reply(&bench->held.queries[0], 0);
	ck_assert(run_until(bench->loop, &bench->status_count[ARES_IO_OK], 1, 1000));
	bench_exchange(bench, &outcomes[4], 4, "www.example");
	ck_assert(run_until(bench->loop, &bench->held.count, 4, 1000));
	ares_io_free(bench->io);
	bench->io = NULL;
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 3);
	outcome_done(&outcomes[0]);
	bench_stop(bench);
}
END_TEST

START_TEST(test_open_requests_with_equal_ids)
{
	struct bench *bench = bench_start(bench_hold, (struct ares_io_config){ 0 });
	struct outcome outcomes[4];

	bench_exchange(bench, &outcomes[0], 7, "one.example");
	bench_exchange(bench, &outcomes[1], 7, "two.example");
	bench_exchange(bench, &outcomes[2], 7, "two.example");
	bench_exchange(bench, &outcomes[3], 7, "six.example");
	ck_assert(run_until(bench->loop, &bench->held.count, 4, 1000));
	for (unsigned i = 4; i-- > 0;) {
		fake_dns_reply(&bench->held.queries[i], 0);
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, 4, 1000));
	outcome_check(&outcomes[0], "one.example", 0);
	outcome_check(&outcomes[1], "two.example", 0);
	outcome_check(&outcomes[2], "two.example", 0);
	outcome_check(&outcomes[3], "six.example", 0);
	for (unsigned i = 0; i < 4; i++) {
		outcome_done(&outcomes[i]);
	}
	bench_stop(bench);
}
END_TEST

START_TEST(test_what_is_no_query_is_not_sent)
{
	struct bench *bench = bench_start(fake_dns_reply_ok, (struct ares_io_config){ 0 });
	struct outcome outcome = { .bench = bench };
	static uint8_t query[70000];
	size_t len = fake_dns_query(query, 1, "www.example", TYPE_A, false);

	ares_io_send(bench->io, query, 11, outcome_on_answer, &outcome);
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	outcome = (struct outcome){ .bench = bench };
	ares_io_send(bench->io, query, len - 1, outcome_on_answer, &outcome);
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	outcome = (struct outcome){ .bench = bench };
	ares_io_send(bench->io, query, sizeof query, outcome_on_answer, &outcome);
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	run_for(bench->loop, 30);
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	bench_stop(bench);
}
END_TEST

/* --- life ------------------------------------------------------------------------------------ */

/* ares_destroy() within a callback of c-ares 1.18 frees a list that is being walked. */
START_TEST(test_free_within_a_callback_cancels_the_rest)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench = bench_start(
			bench_hold, (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcomes[10];

		for (uint16_t i = 0; i < 10; i++) {
			bench_exchange(bench, &outcomes[i], i, "www.example");
		}
		ck_assert(run_until(bench->loop, &bench->held.count, 10, 1000));
		bench->free_in_callback = true;
		for (unsigned i = 0; i < 10; i++) {
			fake_dns_reply(&bench->held.queries[i], 0);
		}
		ck_assert(run_until(bench->loop, &bench->answer_count, 10, 1000));
		ck_assert_uint_eq(bench->status_count[ARES_IO_OK], 1);
		ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 9);
		for (unsigned i = 0; i < 10; i++) {
			outcome_done(&outcomes[i]);
		}
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_free_within_a_timeout_callback)
{
	struct bench *bench = bench_start(NULL, (struct ares_io_config){ .timeout_ms = 60 });
	struct outcome outcomes[10];

	for (uint16_t i = 0; i < 10; i++) {
		bench_exchange(bench, &outcomes[i], i, "www.example");
	}
	bench->free_in_callback = true;
	ck_assert(run_until(bench->loop, &bench->answer_count, 10, 1000));
	ck_assert_uint_eq(bench->status_count[ARES_IO_TIMEOUT], 1);
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 9);
	bench_stop(bench);
}
END_TEST

START_TEST(test_free_with_open_requests_cancels_them_at_once)
{
	struct bench *bench = bench_start(bench_hold, (struct ares_io_config){ 0 });
	struct outcome outcomes[10];

	for (uint16_t i = 0; i < 10; i++) {
		bench_exchange(bench, &outcomes[i], i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->held.count, 10, 1000));
	ares_io_free(bench->io);
	bench->io = NULL;
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 10);
	run_for(bench->loop, 20);
	bench_stop(bench);
}
END_TEST

START_TEST(test_requests_begun_by_callbacks)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench = bench_start(
			fake_dns_reply_ok, (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcome;

		bench->send_in_callback = 50;
		bench_exchange(bench, &outcome, 100, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 51, 2000));
		ck_assert_uint_eq(bench->status_count[ARES_IO_OK], 51);
		outcome_done(&outcome);
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_config_is_checked)
{
	struct bench *bench = bench_start(NULL, (struct ares_io_config){ 0 });
	struct ares_io_config config = { .loop = bench->loop,
					 .servers = bench->addrs,
					 .timeout_ms = 1 };

	ck_assert_ptr_null(ares_io_new(&config));
	ck_assert_int_eq(errno, EINVAL);
	config.server_count = 1;
	config.timeout_ms = 0;
	ck_assert_ptr_null(ares_io_new(&config));
	ck_assert_str_eq(ares_io_status_text(ARES_IO_NO_NAME), "nxdomain");
	ck_assert_str_eq(ares_io_status_text(ARES_IO_CANCELLED), "cancelled");
	ares_io_free(NULL);
	bench_stop(bench);
}
END_TEST

/* --- system configuration -------------------------------------------------------------------- */

START_TEST(test_system_servers)
{
	static const char text[] = "# nameserver 192.0.2.9\n"
				   "; nameserver 192.0.2.9\n"
				   "search example\n"
				   "nameserver 192.0.2.1\n"
				   "nameserver\t2001:db8::1  # comment\n"
				   "nameserver fe80::1%lo\n"
				   "nameserver\n"
				   "nameserver   \n"
				   "nameservers 192.0.2.9\n"
				   " nameserver 192.0.2.9\n"
				   "nameserver 192.0.2.9:53\n"
				   "nameserver example.com\n"
				   "nameserver 224.0.0.1\n"
				   "nameserver ff02::1%lo\n"
				   "nameserver 255.255.255.255\n"
				   "nameserver ::ffff:192.0.2.4\n"
				   "nameserver 192.0.2.2\r\n"
				   "nameserver 192.0.2.3";
	static const char *const expected[] = { "192.0.2.1:53",   "[2001:db8::1]:53",
						"[fe80::1%1]:53", "192.0.2.4:53",
						"192.0.2.2:53",   "192.0.2.3:53" };
	char path[] = "/tmp/stile-resolv-XXXXXX";
	struct addr servers[8];
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, sizeof text - 1), sizeof text - 1);
	close(fd);
	ck_assert_uint_eq(ares_io_system_servers(path, servers, 8), ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		char buf[ADDR_TEXT_MAX];

		ck_assert_str_eq(addr_format(&servers[i], buf, sizeof buf), expected[i]);
	}
	ck_assert_uint_eq(ares_io_system_servers(path, servers, 2), 2);
	unlink(path);
	ck_assert_uint_eq(ares_io_system_servers(path, servers, 8), 0);
}
END_TEST

SUITE_MAIN("ares_io", test_200_concurrent_queries_have_many_ports_and_keep_their_ids,
	   test_every_rcode_is_an_answer_and_one_query_is_sent,
	   test_header_only_formerr_is_an_answer, test_wrong_answers_are_dropped_and_counted,
	   test_silent_server_is_a_timeout, test_slow_answer_after_fast_ones,
	   test_icmp_error_is_unreachable_at_once_and_harms_no_other,
	   test_too_many_open_requests_are_refused, test_open_requests_with_equal_ids,
	   test_what_is_no_query_is_not_sent, test_free_within_a_callback_cancels_the_rest,
	   test_free_within_a_timeout_callback, test_free_with_open_requests_cancels_them_at_once,
	   test_requests_begun_by_callbacks, test_config_is_checked, test_system_servers)
