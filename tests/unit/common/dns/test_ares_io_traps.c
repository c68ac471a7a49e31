/* SPDX-License-Identifier: ISC */
/*
 * What c-ares does behind one's back, version by version, and the test that it does not do it to
 * us. Run these programs against c-ares 1.18.1 and 1.34.8 or later after touching ares_io, vsock or
 * a transport.
 *
 *	one source port for all queries               ports_of_concurrent_exchanges and
 *	                                               ports_of_sequential_exchanges, here;
 *	                                               transport_udp: no_port_serves_two_messages
 *	datagrams over 512 octets asked again by TCP   ares_io_tcp: long_datagram_comes_whole
 *	FORMERR cuts the query, and ends EDNS for all  formerr_leaves_later_queries_alone
 *	SERVFAIL and the like are asked four times     ares_io: every_rcode_is_an_answer_...
 *	dead TCP connections are kept                  ares_io_tcp: dead_tcp_peer_is_replaced
 *	1024 queries on one connection fail            ares_io_tcp: 2000_queries_on_one_...
 *	freeing from within a callback                 ares_io: free_within_a_callback_...,
 *	                                               free_within_a_timeout_callback
 *	other case of letters, no question             ares_io: wrong_answers_are_dropped_...,
 *	                                               header_only_formerr_is_an_answer
 *	an ICMP error ends all queries                 ares_io: icmp_error_..._harms_no_other
 *	empty datagrams                                empty_datagram_is_ignored
 *	a connection that ends loses its queries       ares_io_tcp: server_that_closes_...,
 *	                                               queries_survive_a_reset, one_try_is_one_send
 *	busy loop while a connection is being made     waiting_costs_no_turns
 *	answers that were read but not shown           64_answers_in_one_segment
 *	files and environment                          no_file_matters
 *	an id of its own (1.28)                        the_id_is_told; ares_io: open_requests_...
 *	answers are written anew (1.28)                answer_is_passed_on_octet_by_octet
 *	a cache (1.31)                                 nothing_is_cached
 *	timeouts of its own (1.32)                     silence_is_one_datagram
 */
#include "common/clock.h"

#include "tests/unit/common/ares_bench.h"
#include "tests/unit/suite.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- ports ----------------------------------------------------------------------------------- */

enum {
	CONCURRENT = 250,
	SEQUENTIAL = 100,
};

static unsigned count_ports(const struct bench *bench)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 65536; i++) {
		count += bench->held_ports[i];
	}
	return count;
}

START_TEST(test_ports_of_concurrent_exchanges)
{
	struct bench *bench = bench_start(bench_hold, (struct ares_io_config){ 0 });
	static struct outcome outcomes[CONCURRENT];

	for (unsigned i = 0; i < CONCURRENT; i++) {
		bench_exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->held.count, CONCURRENT, 2000));
	/* They are all open, so no two can share one. */
	ck_assert_uint_eq(count_ports(bench), CONCURRENT);
	bench_stop(bench);
}
END_TEST

static void hold_and_reply(const struct fake_query *query)
{
	bench_hold(query);
	fake_dns_reply(query, 0);
}

START_TEST(test_ports_of_sequential_exchanges)
{
	struct bench *bench = bench_start(hold_and_reply, (struct ares_io_config){ 0 });

	for (unsigned i = 0; i < SEQUENTIAL; i++) {
		struct outcome outcome;

		bench_exchange(bench, &outcome, (uint16_t)i, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		outcome_done(&outcome);
	}
	/* A hundred of 28,000 or more: by chance one is used twice, hardly four. */
	ck_assert_uint_ge(count_ports(bench), SEQUENTIAL - 3);
	bench_stop(bench);
}
END_TEST

/* --- what is sent ---------------------------------------------------------------------------- */

static unsigned formerr_count;

static void reply_formerr_first(const struct fake_query *query)
{
	bench_hold(query);
	if (formerr_count-- > 0) {
		fake_dns_reply(query, FORMERR);
	} else {
		formerr_count = 0;
		fake_dns_reply(query, 0);
	}
}

/* Question and OPT record, and nothing but a COOKIE option that c-ares may have added. */
static void check_query(const uint8_t *bytes)
{
	uint8_t expected[512];
	size_t len = fake_dns_query(expected, 0, "www.example", TYPE_A, true);

	/* Up to the length of the options. */
	ck_assert_mem_eq(bytes + 2, expected + 2, len - 2 - 2);
}

START_TEST(test_formerr_leaves_later_queries_alone)
{
	struct bench *bench = bench_start(reply_formerr_first, (struct ares_io_config){ 0 });

	formerr_count = 3;
	for (unsigned i = 0; i < 6; i++) {
		struct outcome outcome;

		bench_exchange(bench, &outcome, (uint16_t)i, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		outcome_check(&outcome, "www.example", i < 3 ? FORMERR : 0);
		outcome_done(&outcome);
		ck_assert_uint_eq(bench->held.count, i + 1);
		check_query(bench->held.bytes[i]);
	}
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	bench_stop(bench);
}
END_TEST

static unsigned id_of(const uint8_t *msg)
{
	return (unsigned)msg[0] << 8 | msg[1];
}

START_TEST(test_the_id_is_told)
{
	for (unsigned by_stream = 0; by_stream <= 1; by_stream++) {
		struct bench *bench = bench_start(hold_and_reply, (struct ares_io_config){ 0 });

		for (unsigned i = 0; i < 20; i++) {
			struct outcome outcome = { .bench = bench };
			uint8_t query[512];
			size_t len = fake_dns_query(query, (uint16_t)(i * 3001), "www.example",
						    TYPE_A, true);
			uint16_t id = ares_io_send_via(
				bench->io, by_stream ? ARES_IO_VIA_STREAM : ARES_IO_VIA_DATAGRAM,
				query, len, outcome_on_answer, &outcome);

			ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
			ck_assert_uint_eq(id_of(bench->held.bytes[i]), id);
			ck_assert_uint_eq(id_of(outcome.bytes), id);
			outcome_done(&outcome);
		}
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_nothing_is_cached)
{
	struct bench *bench = bench_start(fake_dns_reply_ok, (struct ares_io_config){ 0 });

	for (unsigned i = 0; i < 5; i++) {
		struct outcome outcome;

		bench_exchange(bench, &outcome, 7, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		outcome_done(&outcome);
		ck_assert_uint_eq(bench->servers[0].udp_count, i + 1);
	}
	bench_stop(bench);
}
END_TEST

/* Neither again nor to another server, and not given up early because others were quick. */
START_TEST(test_silence_is_one_datagram)
{
	struct bench *bench =
		bench_start(fake_dns_reply_ok, (struct ares_io_config){ .timeout_ms = 400 });
	struct outcome outcome;

	for (unsigned i = 0; i < 20; i++) {
		bench_exchange(bench, &outcome, 7, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		outcome_done(&outcome);
	}
	bench->servers[0].on_query = NULL;
	bench_exchange(bench, &outcome, 7, "www.example");
	run_for(bench->loop, 300);
	ck_assert_uint_eq(bench->answer_count, 20);
	ck_assert(run_until(bench->loop, &bench->answer_count, 21, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_TIMEOUT);
	ck_assert_uint_eq(bench->servers[0].udp_count, 21);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	ck_assert_uint_eq(bench->servers[1].udp_count, 0);
	bench_stop(bench);
}
END_TEST

/* --- what comes ------------------------------------------------------------------------------ */

static void reply_empty_first(const struct fake_query *query)
{
	fake_dns_send(query, "", 0);
	fake_dns_send(query, "", 0);
	fake_dns_reply(query, 0);
}

START_TEST(test_empty_datagram_is_ignored)
{
	struct bench *bench = bench_start(reply_empty_first, (struct ares_io_config){ 0 });
	struct outcome outcome;

	bench_exchange(bench, &outcome, 7, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	outcome_check(&outcome, "www.example", 0);
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	outcome_done(&outcome);
	bench_stop(bench);
}
END_TEST

/* What no parser of c-ares would leave as it is: an RCODE and a type that nobody knows, pointers in
 * odd places, a record with another class, an OPT with options, octets behind the end. */
static size_t odd_answer(const struct fake_query *query, uint8_t *buf)
{
	static const uint8_t
		records[] = {
			0xc0, 12,   0xff, 0x42, 0,    3,    0, 0, 0, 60, 0, 4, 0xc0, 12,
			0xff, 0xff, /* type 65346 */
			0xc0, 16,   0,    5,    0,    1,    0, 0, 0, 60, 0, 2, 0xc0, 12, /* CNAME */
			0,    0,    41,   0x04, 0xd0, 0x10, 0, 0, 0, 0,  8, 0, 15,   0,
			4,    0,    22,   'h',  'i',
		};
	size_t len = fake_dns_answer(query, 11, buf);

	buf[7] = 2;
	buf[11] = 1;
	memcpy(buf + len, records, sizeof records);
	memcpy(buf + len + sizeof records, "tail", 4);
	return len + sizeof records + 4;
}

static uint8_t odd_bytes[512];
static size_t odd_len;

static void reply_odd(const struct fake_query *query)
{
	odd_len = odd_answer(query, odd_bytes);
	fake_dns_send(query, odd_bytes, odd_len);
}

START_TEST(test_answer_is_passed_on_octet_by_octet)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench = bench_start(
			reply_odd, (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcome;

		bench_exchange(bench, &outcome, 7, "wWw.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
		ck_assert_int_eq(outcome.status, ARES_IO_OK);
		ck_assert_uint_eq(outcome.len, odd_len);
		ck_assert_mem_eq(outcome.bytes, odd_bytes, odd_len);
		ck_assert_uint_eq(bench->servers[0].udp_count + bench->servers[0].tcp_count, 1);
		outcome_done(&outcome);
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_64_answers_in_one_segment)
{
	enum {
		MANY = 64,
		FRAME_MAX = 128
	};
	struct bench *bench =
		bench_start(bench_hold, (struct ares_io_config){ .stream_only = true });
	static struct outcome outcomes[MANY];
	static uint8_t frames[MANY * FRAME_MAX];
	size_t len = 0;

	for (unsigned i = 0; i < MANY; i++) {
		bench_exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->held.count, MANY, 1000));
	for (unsigned i = 0; i < MANY; i++) {
		size_t answer_len = fake_dns_answer(&bench->held.queries[i], 0, frames + len + 2);

		frames[len] = 0;
		frames[len + 1] = (uint8_t)answer_len;
		len += 2 + answer_len;
	}
	fake_dns_send_raw(&bench->held.queries[0], frames, len);
	ck_assert(run_until(bench->loop, &bench->answer_count, MANY, 500));
	for (unsigned i = 0; i < MANY; i++) {
		outcome_check(&outcomes[i], "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	bench_stop(bench);
}
END_TEST

/* --- what it costs --------------------------------------------------------------------------- */

/* While a connection is being made, and while an answer is waited for, the loop sleeps: c-ares is
 * looked after 20 times a second, and each turn here ends after 20 ms. */
START_TEST(test_waiting_costs_no_turns)
{
	enum {
		WAIT_MS = 400,
		TURNS_MAX = WAIT_MS / 20 + WAIT_MS / 50 + 10,
		FILLERS = 4
	};

	for (unsigned full = 0; full <= 1; full++) {
		struct bench *bench = bench_new(NULL);
		struct outcome outcome;
		int fillers[FILLERS];
		unsigned turns = 0;
		uint64_t end_ms;

		if (full) {
			/* Nobody accepts, and after some nobody can connect. */
			watch_stop(&bench->servers[0].tcp_watch);
			ck_assert_int_eq(listen(bench->servers[0].tcp_fd, 0), 0);
		}
		for (unsigned i = 0; i < FILLERS; i++) {
			fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			connect(fillers[i], &bench->addrs[0].sa, addr_len(&bench->addrs[0]));
		}
		bench_open(bench,
			   (struct ares_io_config){ .stream_only = true, .timeout_ms = 4000 });
		bench_exchange(bench, &outcome, 7, "www.example");
		run_for(bench->loop, 20);
		for (end_ms = clock_mono_ms() + WAIT_MS; clock_mono_ms() < end_ms; turns++) {
			ck_assert_int_eq(loop_turn(bench->loop, 20), 0);
		}
		ck_assert_uint_le(turns, TURNS_MAX);
		ck_assert_uint_eq(bench->answer_count, 0);
		ck_assert_uint_eq(bench->servers[0].tcp_count, !full);
		for (unsigned i = 0; i < FILLERS; i++) {
			close(fillers[i]);
		}
		bench_stop(bench);
	}
}
END_TEST

/* --- files ----------------------------------------------------------------------------------- */

static unsigned hosts_count;
static unsigned other_count;
static char last_other[256];

/* c-ares 1.18 reads none of these; later versions do, and then use what they were told instead. */
static bool is_configuration(const char *path)
{
	static const char *const names[] = { "/etc/resolv.conf", "/etc/nsswitch.conf",
					     "/etc/host.conf",   "/etc/svc.conf",
					     "/etc/netsvc.conf", "/dev/urandom" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(path, names[i]) == 0) {
			return true;
		}
	}
	return false;
}

/* Whoever opens a file by name in this program, c-ares too, comes through here. */
FILE *fopen(const char *path, const char *mode)
{
	FILE *(*next)(const char *, const char *);
	void *symbol = dlsym(RTLD_NEXT, "fopen");

	memcpy(&next, &symbol, sizeof next);
	if (strcmp(path, "/etc/hosts") == 0) {
		hosts_count++;
	} else if (!is_configuration(path)) {
		other_count++;
		snprintf(last_other, sizeof last_other, "%s", path);
	}
	return next(path, mode);
}

static uint8_t last_question[64];

static void keep_question(const struct fake_query *query)
{
	memcpy(last_question, query->bytes + 12, 10);
	fake_dns_reply(query, SERVFAIL);
}

/* Neither files nor the environment change whom is asked, how often, and for what. */
START_TEST(test_no_file_matters)
{
	struct bench *bench;
	struct outcome outcome;

	setenv("RES_OPTIONS", "ndots:15 attempts:9 timeout:1", 1);
	setenv("LOCALDOMAIN", "evil.example", 1);
	bench = bench_start(keep_question, (struct ares_io_config){ 0 });
	hosts_count = 0;
	other_count = 0;
	bench_exchange(bench, &outcome, 7, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	outcome_check(&outcome, "www.example", SERVFAIL);
	outcome_done(&outcome);
	bench_lookup(bench, &outcome, "shorty", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 2, 1000));
	outcome_done(&outcome);
	ck_assert_mem_eq(last_question, "\6shorty\0\0\1", 10);
	run_for(bench->loop, 60);
	ck_assert_uint_eq(bench->servers[0].udp_count, 2);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	ck_assert_uint_eq(hosts_count, 0);
	ck_assert_msg(other_count == 0, "%s was opened", last_other);
	bench_stop(bench);
}
END_TEST

SUITE_MAIN("ares_io_traps", test_ports_of_concurrent_exchanges, test_ports_of_sequential_exchanges,
	   test_formerr_leaves_later_queries_alone, test_the_id_is_told, test_nothing_is_cached,
	   test_silence_is_one_datagram, test_empty_datagram_is_ignored,
	   test_answer_is_passed_on_octet_by_octet, test_64_answers_in_one_segment,
	   test_waiting_costs_no_turns, test_no_file_matters)
