/* SPDX-License-Identifier: ISC */
#include "common/ares_io.h"
#include "common/clock.h"
#include "common/container.h"

#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TYPE_A = 1,
	TYPE_CNAME = 5,
	TYPE_TXT = 16,
	TYPE_AAAA = 28,
	FORMERR = 1,
	SERVFAIL = 2,
	NXDOMAIN = 3,
	NOTIMP = 4,
	REFUSED = 5,
	FLAG_TC = 0x02,
	SERVERS = 2,
};

/* --- the bench ------------------------------------------------------------------------------- */

struct bench {
	struct loop *loop;
	struct fake_dns servers[SERVERS];
	struct addr addrs[SERVERS];
	struct ares_io *io;
	unsigned answer_count;
	unsigned status_count[ARES_IO_CANCELLED + 1];
	bool free_in_callback;
	unsigned send_in_callback;
};

/* One exchange or lookup and how it ended. */
struct outcome {
	struct bench *bench;
	unsigned calls;
	enum ares_io_status status;
	uint8_t *bytes;
	size_t len;
	bool via_tcp;
	struct ares_io_address addresses[ARES_IO_ADDRESSES_MAX];
	size_t count;
};

static struct bench *bench_new(void (*on_query)(const struct fake_query *query))
{
	struct bench *bench = calloc(1, sizeof *bench);

	ck_assert_ptr_nonnull(bench);
	bench->loop = loop_new();
	for (unsigned i = 0; i < SERVERS; i++) {
		fake_dns_start(&bench->servers[i], bench->loop, "127.0.0.1", on_query);
		bench->servers[i].arg = bench;
		bench->addrs[i] = bench->servers[i].addr;
	}
	return bench;
}

static void bench_open(struct bench *bench, struct ares_io_config config)
{
	config.loop = bench->loop;
	config.servers = bench->addrs;
	config.server_count = config.server_count ? config.server_count : 1;
	config.timeout_ms = config.timeout_ms ? config.timeout_ms : 1000;
	config.tries = config.tries ? config.tries : 1;
	bench->io = ares_io_new(&config);
	ck_assert_ptr_nonnull(bench->io);
}

static struct bench *start(void (*on_query)(const struct fake_query *query),
			   struct ares_io_config config)
{
	struct bench *bench = bench_new(on_query);

	bench_open(bench, config);
	return bench;
}

static void stop(struct bench *bench)
{
	ares_io_free(bench->io);
	for (unsigned i = 0; i < SERVERS; i++) {
		fake_dns_stop(&bench->servers[i]);
	}
	loop_free(bench->loop);
	free(bench);
}

static void outcome_count(struct outcome *outcome, enum ares_io_status status)
{
	struct bench *bench = outcome->bench;

	ck_assert_uint_eq(++outcome->calls, 1);
	outcome->status = status;
	bench->answer_count++;
	bench->status_count[status]++;
}

static void on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		      bool via_tcp);

static void exchange(struct bench *bench, struct outcome *outcome, uint16_t id, const char *name)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, id, name, TYPE_A, true);

	*outcome = (struct outcome){ .bench = bench };
	ares_io_send(bench->io, query, len, on_answer, outcome);
}

static void on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		      bool via_tcp)
{
	struct outcome *outcome = arg;
	struct bench *bench = outcome->bench;

	outcome_count(outcome, status);
	ck_assert((status == ARES_IO_OK) == (answer != NULL));
	ck_assert(answer || len == 0);
	outcome->len = len;
	outcome->via_tcp = via_tcp;
	if (answer) {
		outcome->bytes = malloc(len);
		ck_assert_ptr_nonnull(outcome->bytes);
		memcpy(outcome->bytes, answer, len);
	}
	if (bench->free_in_callback) {
		bench->free_in_callback = false;
		ares_io_free(bench->io);
		bench->io = NULL;
	}
	if (bench->send_in_callback > 0) {
		bench->send_in_callback--;
		free(outcome->bytes);
		exchange(bench, outcome, (uint16_t)bench->send_in_callback, "again.example");
	}
}

static void outcome_done(struct outcome *outcome)
{
	free(outcome->bytes);
	outcome->bytes = NULL;
}

/* The answer to an exchange as the server makes it: header and question, and this flag byte. */
static void check_answer(struct outcome *outcome, uint16_t id, const char *name, uint8_t rcode)
{
	uint8_t expected[512];
	size_t len = fake_dns_query(expected, id, name, TYPE_A, false);

	expected[2] |= 0x80;
	expected[3] = (uint8_t)(0x80 | rcode);
	ck_assert_int_eq(outcome->status, ARES_IO_OK);
	ck_assert_uint_eq(outcome->len, len);
	/* From c-ares 1.28 on the id is its own. */
	ck_assert_mem_eq(outcome->bytes + 2, expected + 2, len - 2);
}

static void reply_ok(const struct fake_query *query)
{
	fake_dns_reply(query, 0);
}

/* --- raw exchanges by UDP -------------------------------------------------------------------- */

static struct {
	unsigned count;
	bool ports[65536];
	bool ids[65536];
	struct fake_query queries[2048];
	uint8_t bytes[2048][64];
} held;

static void hold(const struct fake_query *query)
{
	ck_assert_uint_lt(held.count, ARRAY_SIZE(held.queries));
	ck_assert_uint_le(query->len, sizeof held.bytes[0]);
	held.queries[held.count] = *query;
	memcpy(held.bytes[held.count], query->bytes, query->len);
	held.queries[held.count].bytes = held.bytes[held.count];
	held.ids[query->bytes[0] << 8 | query->bytes[1]] = true;
	if (!query->conn) {
		held.ports[addr_port(&query->client)] = true;
	}
	held.count++;
}

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
	struct bench *bench = start(hold, (struct ares_io_config){ 0 });
	static struct outcome outcomes[MANY];

	memset(&held, 0, sizeof held);
	for (unsigned i = 0; i < MANY; i++) {
		char name[64];

		snprintf(name, sizeof name, "n%u.example", i);
		exchange(bench, &outcomes[i], (uint16_t)(i * 317 + 11), name);
	}
	ck_assert_uint_eq(ares_io_open_count(bench->io), MANY);
	ck_assert(run_until(bench->loop, &held.count, MANY, 1000));
	ck_assert_uint_gt(count_set(held.ports), 150);
	ck_assert_uint_eq(count_set(held.ids), MANY);
	for (unsigned i = MANY; i-- > 0;) {
		fake_dns_reply(&held.queries[i], 0);
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, MANY, 1000));
	for (unsigned i = 0; i < MANY; i++) {
		char name[64];

		snprintf(name, sizeof name, "n%u.example", i);
		check_answer(&outcomes[i], 0, name, 0);
		ck_assert(!outcomes[i].via_tcp);
		outcome_done(&outcomes[i]);
	}
	ck_assert_uint_eq(ares_io_open_count(bench->io), 0);
	stop(bench);
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
	struct bench *bench = start(reply_with_rcode, (struct ares_io_config){ 0 });
	unsigned sent = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rcodes); i++) {
		for (unsigned with_opt = 0; with_opt <= 1; with_opt++) {
			struct outcome outcome;

			reply_rcode = rcodes[i];
			reply_with_opt = with_opt;
			exchange(bench, &outcome, (uint16_t)sent, "wWw.example");
			sent++;
			ck_assert(run_until(bench->loop, &bench->answer_count, sent, 1000));
			ck_assert_int_eq(outcome.status, ARES_IO_OK);
			ck_assert_uint_eq(outcome.bytes[3], 0x80 | rcodes[i]);
			ck_assert_uint_eq(outcome.len, 12 + 13 + 4 + (with_opt ? 17 : 0));
			if (with_opt) {
				ck_assert_uint_eq(outcome.bytes[outcome.len - 1], 22);
			} else {
				check_answer(&outcome, 0, "wWw.example", rcodes[i]);
			}
			outcome_done(&outcome);
			ck_assert_uint_eq(bench->servers[0].udp_count, sent);
		}
	}
	run_for(bench->loop, 60);
	ck_assert_uint_eq(bench->servers[0].udp_count, sent);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	ck_assert_uint_eq(bench->servers[1].udp_count, 0);
	stop(bench);
}
END_TEST

static void reply_header_only(const struct fake_query *query)
{
	uint8_t buf[512];

	fake_dns_answer(query, FORMERR, buf);
	buf[5] = 0;
	fake_dns_send(query, buf, 12);
}

START_TEST(test_header_only_formerr_is_an_answer)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench = start(reply_header_only,
					    (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcome;

		exchange(bench, &outcome, 4711, "wWw.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
		check_answer(&outcome, 4711, "wWw.example", FORMERR);
		ck_assert(outcome.via_tcp == (bool)stream_only);
		ck_assert_uint_eq(bench->servers[0].udp_count + bench->servers[0].tcp_count, 1);
		outcome_done(&outcome);
		stop(bench);
	}
}
END_TEST

static void reply_badly_then_well(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	fake_dns_send(query, "", 0);
	fake_dns_send(query, "garbage", 7);
	buf[1] ^= 1; /* wrong id */
	fake_dns_send(query, buf, len);
	buf[1] ^= 1;
	buf[13] ^= 0x20; /* wrong case */
	fake_dns_send(query, buf, len);
	buf[13] ^= 0x20;
	fake_dns_send(query, buf, len - 2); /* cut */
	fake_dns_send(query, buf, len);
}

START_TEST(test_wrong_answers_are_dropped_and_counted)
{
	struct bench *bench = start(reply_badly_then_well, (struct ares_io_config){ 0 });
	struct outcome outcome;

	exchange(bench, &outcome, 99, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	check_answer(&outcome, 99, "www.example", 0);
	ck_assert_uint_eq(ares_io_dropped_count(bench->io), 5);
	outcome_done(&outcome);
	stop(bench);
}
END_TEST

START_TEST(test_silent_server_is_a_timeout)
{
	struct bench *bench = start(NULL, (struct ares_io_config){ .timeout_ms = 150 });
	struct outcome outcome;
	uint64_t begin_ms = clock_mono_ms();

	exchange(bench, &outcome, 99, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 2000));
	ck_assert_int_eq(outcome.status, ARES_IO_TIMEOUT);
	ck_assert_uint_ge(clock_mono_ms() - begin_ms, 140);
	ck_assert_uint_lt(clock_mono_ms() - begin_ms, 600);
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	stop(bench);
}
END_TEST

/* From 1.32 on c-ares by itself waits only 250 ms for a server that was fast before. */
START_TEST(test_slow_answer_after_fast_ones)
{
	struct bench *bench = start(hold, (struct ares_io_config){ .timeout_ms = 2000 });
	struct outcome outcomes[20];

	memset(&held, 0, sizeof held);
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++) {
		exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
		ck_assert(run_until(bench->loop, &held.count, i + 1, 1000));
		run_for(bench->loop, i + 1 == ARRAY_SIZE(outcomes) ? 500 : 0);
		fake_dns_reply(&held.queries[i], 0);
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		check_answer(&outcomes[i], (uint16_t)i, "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	stop(bench);
}
END_TEST

START_TEST(test_icmp_error_is_unreachable_at_once_and_harms_no_other)
{
	struct bench *bench = bench_new(hold);
	struct outcome outcomes[2];
	uint64_t begin_ms = clock_mono_ms();

	memset(&held, 0, sizeof held);
	bench_open(bench, (struct ares_io_config){ .timeout_ms = 3000 });
	exchange(bench, &outcomes[0], 1, "one.example");
	ck_assert(run_until(bench->loop, &held.count, 1, 1000));
	/* The server's port closes for a moment: the query sent then is refused, the one before
	 * stays open. */
	watch_stop(&bench->servers[0].udp_watch);
	close(bench->servers[0].udp_fd);
	exchange(bench, &outcomes[1], 2, "two.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcomes[1].status, ARES_IO_UNREACHABLE);
	ck_assert_uint_lt(clock_mono_ms() - begin_ms, 500);
	ck_assert_uint_eq(ares_io_open_count(bench->io), 1);
	bench->servers[0].udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
		bind(bench->servers[0].udp_fd, &bench->addrs[0].sa, addr_len(&bench->addrs[0])), 0);
	held.queries[0].server = &bench->servers[0];
	fake_dns_reply(&held.queries[0], 0);
	ck_assert(run_until(bench->loop, &bench->answer_count, 2, 1000));
	check_answer(&outcomes[0], 1, "one.example", 0);
	outcome_done(&outcomes[0]);
	stop(bench);
}
END_TEST

START_TEST(test_too_many_open_requests_are_refused)
{
	struct bench *bench = start(hold, (struct ares_io_config){ .max_open = 3 });
	struct outcome outcomes[5];

	memset(&held, 0, sizeof held);
	for (uint16_t i = 0; i < 5; i++) {
		exchange(bench, &outcomes[i], i, "www.example");
	}
	ck_assert_uint_eq(bench->status_count[ARES_IO_REFUSED], 2);
	ck_assert_int_eq(outcomes[4].status, ARES_IO_REFUSED);
	ck_assert_uint_eq(ares_io_open_count(bench->io), 3);
	ck_assert(run_until(bench->loop, &held.count, 3, 1000));
	fake_dns_reply(&held.queries[0], 0);
	ck_assert(run_until(bench->loop, &bench->status_count[ARES_IO_OK], 1, 1000));
	exchange(bench, &outcomes[4], 4, "www.example");
	ck_assert(run_until(bench->loop, &held.count, 4, 1000));
	ares_io_free(bench->io);
	bench->io = NULL;
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 3);
	outcome_done(&outcomes[0]);
	stop(bench);
}
END_TEST

START_TEST(test_open_requests_with_equal_ids)
{
	struct bench *bench = start(hold, (struct ares_io_config){ 0 });
	struct outcome outcomes[4];

	memset(&held, 0, sizeof held);
	exchange(bench, &outcomes[0], 7, "one.example");
	exchange(bench, &outcomes[1], 7, "two.example");
	exchange(bench, &outcomes[2], 7, "two.example");
	exchange(bench, &outcomes[3], 7, "six.example");
	ck_assert(run_until(bench->loop, &held.count, 4, 1000));
	for (unsigned i = 4; i-- > 0;) {
		fake_dns_reply(&held.queries[i], 0);
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, 4, 1000));
	check_answer(&outcomes[0], 7, "one.example", 0);
	check_answer(&outcomes[1], 7, "two.example", 0);
	check_answer(&outcomes[2], 7, "two.example", 0);
	check_answer(&outcomes[3], 7, "six.example", 0);
	for (unsigned i = 0; i < 4; i++) {
		outcome_done(&outcomes[i]);
	}
	stop(bench);
}
END_TEST

START_TEST(test_what_is_no_query_is_not_sent)
{
	struct bench *bench = start(reply_ok, (struct ares_io_config){ 0 });
	struct outcome outcome = { .bench = bench };
	static uint8_t query[70000];
	size_t len = fake_dns_query(query, 1, "www.example", TYPE_A, false);

	ares_io_send(bench->io, query, 11, on_answer, &outcome);
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	outcome = (struct outcome){ .bench = bench };
	ares_io_send(bench->io, query, len - 1, on_answer, &outcome);
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	outcome = (struct outcome){ .bench = bench };
	ares_io_send(bench->io, query, sizeof query, on_answer, &outcome);
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	run_for(bench->loop, 30);
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	stop(bench);
}
END_TEST

/* --- raw exchanges by TCP -------------------------------------------------------------------- */

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
	struct bench *bench = start(reply_tc_then_long, (struct ares_io_config){ 0 });
	struct outcome outcome;

	for (unsigned i = 1; i <= 3; i++) {
		exchange(bench, &outcome, (uint16_t)(i * 1000), "www.example");
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
	stop(bench);
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
	struct bench *bench = start(reply_8000, (struct ares_io_config){ 0 });
	struct outcome outcome;

	exchange(bench, &outcome, 1, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_uint_eq(outcome.len, 12 + 13 + 4 + 12 + 8000);
	ck_assert(!outcome.via_tcp);
	ck_assert_uint_eq(bench->servers[0].tcp_count, 0);
	outcome_done(&outcome);
	stop(bench);
}
END_TEST

/* c-ares 1.18 with its own sockets fails all beyond 1024 (IOV_MAX). */
START_TEST(test_2000_queries_on_one_tcp_connection)
{
	enum {
		MANY = 2000
	};
	struct bench *bench = start(reply_ok, (struct ares_io_config){ .stream_only = true });
	static struct outcome outcomes[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, MANY, 5000));
	ck_assert_uint_eq(bench->status_count[ARES_IO_OK], MANY);
	ck_assert_uint_eq(bench->servers[0].tcp_count, MANY);
	ck_assert_uint_eq(bench->servers[0].connection_count, 1);
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	for (unsigned i = 0; i < MANY; i++) {
		check_answer(&outcomes[i], 0, "www.example", 0);
		ck_assert(outcomes[i].via_tcp);
		outcome_done(&outcomes[i]);
	}
	stop(bench);
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
		start(reply_on_second_connection,
		      (struct ares_io_config){ .stream_only = true, .timeout_ms = 200 });
	struct outcome outcomes[3];

	exchange(bench, &outcomes[0], 1, "one.example");
	run_for(bench->loop, 120);
	exchange(bench, &outcomes[1], 2, "two.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 2, 1000));
	/* The watchdog and the timeout of the first are due at the same time. */
	ck_assert(outcomes[0].status == ARES_IO_OK || outcomes[0].status == ARES_IO_TIMEOUT);
	check_answer(&outcomes[1], 2, "two.example", 0);
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	exchange(bench, &outcomes[2], 3, "six.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 3, 100));
	check_answer(&outcomes[2], 3, "six.example", 0);
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	for (unsigned i = 0; i < 3; i++) {
		outcome_done(&outcomes[i]);
	}
	stop(bench);
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
		start(reply_and_hang_up, (struct ares_io_config){ .stream_only = true });
	struct outcome outcomes[5];

	for (unsigned i = 0; i < 5; i++) {
		exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 1000));
		check_answer(&outcomes[i], (uint16_t)i, "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	ck_assert_uint_ge(bench->servers[0].connection_count, 2);
	stop(bench);
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
		start(reset_first_connection, (struct ares_io_config){ .stream_only = true });
	struct outcome outcomes[5];

	for (unsigned i = 0; i < 5; i++) {
		exchange(bench, &outcomes[i], (uint16_t)i, "www.example");
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, 5, 1000));
	for (unsigned i = 0; i < 5; i++) {
		check_answer(&outcomes[i], (uint16_t)i, "www.example", 0);
		outcome_done(&outcomes[i]);
	}
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	stop(bench);
}
END_TEST

static void always_reset(const struct fake_query *query)
{
	fake_dns_reset(query);
}

START_TEST(test_server_that_always_resets_is_unreachable)
{
	struct bench *bench = start(always_reset, (struct ares_io_config){ .stream_only = true });
	struct outcome outcome;

	exchange(bench, &outcome, 1, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(bench->servers[0].connection_count, 2);
	stop(bench);
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
		exchange(bench, &outcome, 1, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
		ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
		ck_assert_uint_lt(clock_mono_ms() - begin_ms, 500);
		ck_assert_uint_eq(bench->servers[0].udp_count, !stream_only);
		stop(bench);
	}
}
END_TEST

START_TEST(test_tcp_timeout)
{
	struct bench *bench =
		start(NULL, (struct ares_io_config){ .stream_only = true, .timeout_ms = 100 });
	struct outcome outcome;

	exchange(bench, &outcome, 1, "www.example");
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 2000));
	ck_assert(outcome.status == ARES_IO_TIMEOUT || outcome.status == ARES_IO_UNREACHABLE);
	stop(bench);
}
END_TEST

/* --- life ------------------------------------------------------------------------------------ */

/* ares_destroy() within a callback of c-ares 1.18 frees a list that is being walked. */
START_TEST(test_free_within_a_callback_cancels_the_rest)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench =
			start(hold, (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcomes[10];

		memset(&held, 0, sizeof held);
		for (uint16_t i = 0; i < 10; i++) {
			exchange(bench, &outcomes[i], i, "www.example");
		}
		ck_assert(run_until(bench->loop, &held.count, 10, 1000));
		bench->free_in_callback = true;
		for (unsigned i = 0; i < 10; i++) {
			fake_dns_reply(&held.queries[i], 0);
		}
		ck_assert(run_until(bench->loop, &bench->answer_count, 10, 1000));
		ck_assert_uint_eq(bench->status_count[ARES_IO_OK], 1);
		ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 9);
		for (unsigned i = 0; i < 10; i++) {
			outcome_done(&outcomes[i]);
		}
		stop(bench);
	}
}
END_TEST

START_TEST(test_free_within_a_timeout_callback)
{
	struct bench *bench = start(NULL, (struct ares_io_config){ .timeout_ms = 60 });
	struct outcome outcomes[10];

	for (uint16_t i = 0; i < 10; i++) {
		exchange(bench, &outcomes[i], i, "www.example");
	}
	bench->free_in_callback = true;
	ck_assert(run_until(bench->loop, &bench->answer_count, 10, 1000));
	ck_assert_uint_eq(bench->status_count[ARES_IO_TIMEOUT], 1);
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 9);
	stop(bench);
}
END_TEST

START_TEST(test_free_with_open_requests_cancels_them_at_once)
{
	struct bench *bench = start(hold, (struct ares_io_config){ 0 });
	struct outcome outcomes[10];

	memset(&held, 0, sizeof held);
	for (uint16_t i = 0; i < 10; i++) {
		exchange(bench, &outcomes[i], i, "www.example");
	}
	ck_assert(run_until(bench->loop, &held.count, 10, 1000));
	ares_io_free(bench->io);
	bench->io = NULL;
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 10);
	run_for(bench->loop, 20);
	stop(bench);
}
END_TEST

START_TEST(test_requests_begun_by_callbacks)
{
	for (unsigned stream_only = 0; stream_only <= 1; stream_only++) {
		struct bench *bench =
			start(reply_ok, (struct ares_io_config){ .stream_only = stream_only });
		struct outcome outcome;

		bench->send_in_callback = 50;
		exchange(bench, &outcome, 100, "www.example");
		ck_assert(run_until(bench->loop, &bench->answer_count, 51, 2000));
		ck_assert_uint_eq(bench->status_count[ARES_IO_OK], 51);
		outcome_done(&outcome);
		stop(bench);
	}
}
END_TEST

START_TEST(test_config_is_checked)
{
	struct bench *bench = start(NULL, (struct ares_io_config){ 0 });
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
	stop(bench);
}
END_TEST

/* --- lookups --------------------------------------------------------------------------------- */

static void on_lookup(void *arg, enum ares_io_status status,
		      const struct ares_io_address *addresses, size_t count)
{
	struct outcome *outcome = arg;

	outcome_count(outcome, status);
	ck_assert((status == ARES_IO_OK) == (count > 0));
	ck_assert_uint_le(count, ARES_IO_ADDRESSES_MAX);
	outcome->count = count;
	for (size_t i = 0; i < count; i++) {
		outcome->addresses[i] = addresses[i];
	}
	if (outcome->bench->free_in_callback) {
		outcome->bench->free_in_callback = false;
		ares_io_free(outcome->bench->io);
		outcome->bench->io = NULL;
	}
}

static void lookup(struct bench *bench, struct outcome *outcome, const char *name, int family)
{
	*outcome = (struct outcome){ .bench = bench };
	ares_io_lookup(bench->io, name, family, on_lookup, outcome);
}

/* "192.0.2.1=300" */
static const char *address_text(const struct ares_io_address *address)
{
	static char text[ADDR_TEXT_MAX + 16];
	char ip[ADDR_TEXT_MAX];

	ck_assert_uint_eq(addr_port(&address->addr), 0);
	snprintf(text, sizeof text, "%s=%u", addr_format_ip(&address->addr, ip, sizeof ip),
		 address->ttl_s);
	return text;
}

static bool outcome_has(const struct outcome *outcome, const char *text)
{
	for (size_t i = 0; i < outcome->count; i++) {
		if (strcmp(address_text(&outcome->addresses[i]), text) == 0) {
			return true;
		}
	}
	return false;
}

/* What the server of a case does with one type of query. */
enum behaviour {
	GIVE,
	GIVE_NOTHING,
	GIVE_MAPPED,
	GIVE_MANY,
	GARBLED,
	SILENT,
	RCODE_BASE = 100
};

static enum behaviour reply_a;
static enum behaviour reply_aaaa;

static void reply_address(const struct fake_query *query)
{
	static const uint8_t ipv4[4] = { 192, 0, 2, 1 };
	static const uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };
	enum behaviour behaviour = fake_dns_type(query) == TYPE_A ? reply_a : reply_aaaa;
	uint8_t buf[2048];
	size_t len = fake_dns_answer(
		query, behaviour >= RCODE_BASE ? (uint8_t)(behaviour - RCODE_BASE) : 0, buf);
	uint16_t type = fake_dns_type(query);

	switch (behaviour) {
	case SILENT:
		return;
	case GIVE:
		len = fake_dns_add_record(buf, len, type, 300, type == TYPE_A ? ipv4 : ipv6,
					  type == TYPE_A ? 4 : 16);
		break;
	case GIVE_MAPPED:
		len = fake_dns_add_record(buf, len, type, 0x80000001u, mapped, 16);
		break;
	case GIVE_MANY:
		for (uint8_t i = 0; i < 24; i++) {
			const uint8_t one[4] = { 192, 0, 2, i };

			len = fake_dns_add_record(buf, len, type, 5, type == TYPE_A ? one : ipv6,
						  type == TYPE_A ? 4 : 16);
		}
		break;
	case GARBLED:
		buf[7] = 1; /* an answer that is not there */
		break;
	default:
		break;
	}
	if (len > 512 && !query->conn) {
		len = fake_dns_answer(query, 0, buf);
		buf[2] |= FLAG_TC;
	}
	fake_dns_send(query, buf, len);
}

static const struct {
	int family;
	enum behaviour a;
	enum behaviour aaaa;
	enum ares_io_status status;
	const char *addresses[3];
	unsigned queries; /* exactly so many */
} lookup_cases[] = {
	{ AF_INET, GIVE, GIVE, ARES_IO_OK, { "192.0.2.1=300" }, 1 },
	{ AF_INET6, GIVE, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 1 },
	{ AF_UNSPEC, GIVE, GIVE, ARES_IO_OK, { "192.0.2.1=300", "2001:db8::1=300" }, 2 },
	{ AF_UNSPEC, GIVE, GIVE_NOTHING, ARES_IO_OK, { "192.0.2.1=300" }, 2 },
	{ AF_UNSPEC, GIVE_NOTHING, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 2 },
	{ AF_UNSPEC, GIVE, RCODE_BASE + SERVFAIL, ARES_IO_OK, { "192.0.2.1=300" }, 2 },
	{ AF_UNSPEC, RCODE_BASE + SERVFAIL, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 2 },
	{ AF_UNSPEC, GIVE, SILENT, ARES_IO_OK, { "192.0.2.1=300" }, 2 },
	{ AF_UNSPEC, SILENT, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 2 },
	{ AF_INET6, GIVE, GIVE_MAPPED, ARES_IO_OK, { "192.0.2.7=0" }, 1 },
	{ AF_UNSPEC, RCODE_BASE + NXDOMAIN, RCODE_BASE + NXDOMAIN, ARES_IO_NO_NAME, { NULL }, 2 },
	{ AF_INET, GIVE_NOTHING, GIVE, ARES_IO_NO_DATA, { NULL }, 1 },
	{ AF_UNSPEC, GIVE_NOTHING, GIVE_NOTHING, ARES_IO_NO_DATA, { NULL }, 2 },
	{ AF_UNSPEC, GIVE_NOTHING, RCODE_BASE + SERVFAIL, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_UNSPEC, RCODE_BASE + SERVFAIL, GIVE_NOTHING, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_UNSPEC, RCODE_BASE + REFUSED, RCODE_BASE + REFUSED, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_UNSPEC, RCODE_BASE + FORMERR, RCODE_BASE + NOTIMP, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_INET, GARBLED, GIVE, ARES_IO_SERVFAIL, { NULL }, 1 },
	{ AF_UNSPEC, SILENT, GIVE_NOTHING, ARES_IO_TIMEOUT, { NULL }, 2 },
	{ AF_UNSPEC, GIVE_NOTHING, SILENT, ARES_IO_TIMEOUT, { NULL }, 2 },
};

START_TEST(test_lookup)
{
	for (size_t i = 0; i < ARRAY_SIZE(lookup_cases); i++) {
		struct bench *bench =
			start(reply_address, (struct ares_io_config){ .timeout_ms = 150 });
		struct outcome outcome;
		size_t count = 0;

		reply_a = lookup_cases[i].a;
		reply_aaaa = lookup_cases[i].aaaa;
		lookup(bench, &outcome, "www.example", lookup_cases[i].family);
		ck_assert_uint_eq(ares_io_open_count(bench->io), 1);
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 2000));
		ck_assert_msg(outcome.status == lookup_cases[i].status, "case %zu: %s", i,
			      ares_io_status_text(outcome.status));
		for (; lookup_cases[i].addresses[count]; count++) {
			ck_assert_msg(outcome_has(&outcome, lookup_cases[i].addresses[count]),
				      "case %zu: no %s", i, lookup_cases[i].addresses[count]);
		}
		ck_assert_uint_eq(outcome.count, count);
		ck_assert_msg(bench->servers[0].udp_count == lookup_cases[i].queries,
			      "case %zu: %u queries", i, bench->servers[0].udp_count);
		ck_assert_uint_eq(ares_io_open_count(bench->io), 0);
		stop(bench);
	}
}
END_TEST

/* c-ares 1.18 combines the families so that one garbled answer spoils both, hence they are asked
 * for one by one. From 1.28 on it hangs up on a server that sends such things, which may cost the
 * other answer. */
START_TEST(test_lookup_with_one_answer_garbled)
{
	for (unsigned a_garbled = 0; a_garbled <= 1; a_garbled++) {
		struct bench *bench = start(reply_address, (struct ares_io_config){ 0 });
		struct outcome outcome;

		reply_a = a_garbled ? GARBLED : GIVE;
		reply_aaaa = a_garbled ? GIVE : GARBLED;
		lookup(bench, &outcome, "www.example", AF_UNSPEC);
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
		if (outcome.status == ARES_IO_OK) {
			ck_assert(outcome_has(&outcome,
					      a_garbled ? "2001:db8::1=300" : "192.0.2.1=300"));
			ck_assert_uint_eq(outcome.count, 1);
		} else {
			ck_assert_int_eq(outcome.status, ARES_IO_SERVFAIL);
		}
		stop(bench);
	}
}
END_TEST

START_TEST(test_lookup_returns_so_many_addresses)
{
	struct bench *bench = start(reply_address, (struct ares_io_config){ 0 });
	struct outcome outcome;

	reply_a = GIVE_MANY;
	reply_aaaa = GIVE_MANY;
	lookup(bench, &outcome, "www.example", AF_UNSPEC);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_uint_eq(outcome.count, ARES_IO_ADDRESSES_MAX);
	ck_assert_uint_gt(bench->servers[0].tcp_count, 0); /* the datagram was truncated */
	stop(bench);
}
END_TEST

/* www.example -> x.example with 20 s, x.example A with 300 s */
static void reply_cname(const struct fake_query *query)
{
	static const uint8_t target[] = "\1x\7example";
	static const uint8_t address[] = "\1x\7example\0\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1";
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	len = fake_dns_add_record(buf, len, TYPE_CNAME, 20, target, sizeof target);
	memcpy(buf + len, address, sizeof address - 1);
	buf[7]++;
	fake_dns_send(query, buf, len + sizeof address - 1);
}

START_TEST(test_lookup_follows_cname_with_its_ttl)
{
	struct bench *bench = start(reply_cname, (struct ares_io_config){ 0 });
	struct outcome outcome;

	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_uint_eq(outcome.count, 1);
	ck_assert(outcome_has(&outcome, "192.0.2.1=20"));
	stop(bench);
}
END_TEST

static void first_fails_second_gives(const struct fake_query *query)
{
	struct bench *bench = query->server->arg;

	if (query->server == &bench->servers[0]) {
		fake_dns_reply(query, SERVFAIL);
	} else {
		reply_address(query);
	}
}

START_TEST(test_lookup_asks_the_next_server_after_servfail)
{
	struct bench *bench =
		start(first_fails_second_gives, (struct ares_io_config){ .server_count = 2 });
	struct outcome outcome;

	reply_a = GIVE;
	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	ck_assert_uint_eq(bench->servers[1].udp_count, 1);
	stop(bench);
}
END_TEST

START_TEST(test_lookup_asks_the_next_server_after_an_icmp_error)
{
	struct bench *bench = bench_new(reply_address);
	struct outcome outcome;

	close(bench->servers[0].udp_fd);
	bench->servers[0].udp_fd = -1;
	bench->servers[0].udp_watch.loop = NULL;
	bench_open(bench, (struct ares_io_config){ .server_count = 2 });
	reply_a = GIVE;
	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	stop(bench);
}
END_TEST

static void first_is_silent(const struct fake_query *query)
{
	struct bench *bench = query->server->arg;

	if (query->server != &bench->servers[0]) {
		reply_address(query);
	}
}

START_TEST(test_lookup_asks_the_next_server_after_silence)
{
	struct bench *bench = start(
		first_is_silent, (struct ares_io_config){ .server_count = 2, .timeout_ms = 100 });
	struct outcome outcome;

	reply_a = GIVE;
	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	stop(bench);
}
END_TEST

static void always_servfail(const struct fake_query *query)
{
	fake_dns_reply(query, SERVFAIL);
}

START_TEST(test_lookup_that_fails_everywhere)
{
	struct bench *bench =
		start(always_servfail, (struct ares_io_config){ .server_count = 2, .tries = 3 });
	struct outcome outcome;

	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert_int_eq(outcome.status, ARES_IO_SERVFAIL);
	ck_assert_uint_le(bench->servers[0].udp_count, 3);
	ck_assert_uint_le(bench->servers[1].udp_count, 3);
	stop(bench);
}
END_TEST

/* c-ares by itself asks its only server again at once, as often as `tries` says. */
START_TEST(test_lookup_asks_an_only_server_once_that_fails)
{
	struct bench *bench = start(always_servfail, (struct ares_io_config){ .tries = 3 });
	struct outcome outcome;

	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert_int_eq(outcome.status, ARES_IO_SERVFAIL);
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	stop(bench);
}
END_TEST

START_TEST(test_lookup_with_no_server_there)
{
	struct bench *bench = bench_new(NULL);
	struct outcome outcome;

	for (unsigned i = 0; i < SERVERS; i++) {
		close(bench->servers[i].udp_fd);
		bench->servers[i].udp_fd = -1;
		bench->servers[i].udp_watch.loop = NULL;
	}
	for (size_t server_count = 1; server_count <= SERVERS; server_count++) {
		bench_open(bench, (struct ares_io_config){ .server_count = server_count });
		lookup(bench, &outcome, "www.example", AF_INET);
		ck_assert(
			run_until(bench->loop, &bench->answer_count, (unsigned)server_count, 500));
		ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
		ares_io_free(bench->io);
		bench->io = NULL;
	}
	stop(bench);
}
END_TEST

START_TEST(test_lookup_tries_again_after_silence)
{
	struct bench *bench = start(NULL, (struct ares_io_config){ .timeout_ms = 60, .tries = 3 });
	struct outcome outcome;

	lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 3000));
	ck_assert_int_eq(outcome.status, ARES_IO_TIMEOUT);
	ck_assert_uint_eq(bench->servers[0].udp_count, 3);
	stop(bench);
}
END_TEST

START_TEST(test_lookup_in_the_hosts_file)
{
	struct bench *bench = start(reply_address, (struct ares_io_config){ .hosts_file = true });
	struct outcome outcome;

	reply_a = GIVE;
	lookup(bench, &outcome, "localhost", AF_INET);
	ck_assert_uint_eq(outcome.calls, 1);
	ck_assert(outcome_has(&outcome, "127.0.0.1=0"));
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	lookup(bench, &outcome, "www.example", AF_INET); /* not in the file */
	ck_assert(run_until(bench->loop, &bench->answer_count, 2, 500));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	stop(bench);
}
END_TEST

START_TEST(test_localhost_is_never_asked_of_a_server)
{
	struct bench *bench = start(reply_address, (struct ares_io_config){ 0 });
	struct outcome outcome;

	lookup(bench, &outcome, "localhost", AF_UNSPEC);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	stop(bench);
}
END_TEST

START_TEST(test_lookup_of_a_name_that_cannot_be)
{
	static const char *const names[] = { "a..example", "", "x.onion" };
	struct bench *bench = start(reply_address, (struct ares_io_config){ 0 });
	char longest[400];

	for (size_t i = 0; i <= ARRAY_SIZE(names); i++) {
		struct outcome outcome;

		memset(longest, 'x', sizeof longest - 1);
		longest[sizeof longest - 1] = '\0';
		reply_a = RCODE_BASE + NXDOMAIN; /* the root may be asked for */
		lookup(bench, &outcome, i < ARRAY_SIZE(names) ? names[i] : longest, AF_INET);
		ck_assert(run_until(bench->loop, &bench->answer_count, (unsigned)i + 1, 500));
		ck_assert_msg(outcome.status == ARES_IO_NO_NAME, "case %zu: %s", i,
			      ares_io_status_text(outcome.status));
	}
	stop(bench);
}
END_TEST

START_TEST(test_free_within_a_lookup_callback)
{
	struct bench *bench = start(reply_address, (struct ares_io_config){ 0 });
	struct outcome outcomes[5];

	reply_a = GIVE;
	reply_aaaa = GIVE;
	bench->free_in_callback = true;
	for (unsigned i = 0; i < 5; i++) {
		lookup(bench, &outcomes[i], "www.example", AF_UNSPEC);
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, 5, 1000));
	ck_assert_uint_eq(bench->status_count[ARES_IO_OK], 1);
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 4);
	stop(bench);
}
END_TEST

START_TEST(test_free_with_open_lookups)
{
	struct bench *bench = start(NULL, (struct ares_io_config){ 0 });
	struct outcome outcomes[5];

	for (unsigned i = 0; i < 5; i++) {
		lookup(bench, &outcomes[i], "www.example", AF_UNSPEC);
	}
	run_for(bench->loop, 20);
	ares_io_free(bench->io);
	bench->io = NULL;
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 5);
	stop(bench);
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
				   "nameserver 192.0.2.2\r\n"
				   "nameserver 192.0.2.3";
	static const char *const expected[] = { "192.0.2.1:53", "[2001:db8::1]:53",
						"[fe80::1%1]:53", "192.0.2.2:53", "192.0.2.3:53" };
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

int main(void)
{
	const TTest *const exchanges[] = {
		test_200_concurrent_queries_have_many_ports_and_keep_their_ids,
		test_every_rcode_is_an_answer_and_one_query_is_sent,
		test_header_only_formerr_is_an_answer,
		test_wrong_answers_are_dropped_and_counted,
		test_silent_server_is_a_timeout,
		test_slow_answer_after_fast_ones,
		test_icmp_error_is_unreachable_at_once_and_harms_no_other,
		test_too_many_open_requests_are_refused,
		test_open_requests_with_equal_ids,
		test_what_is_no_query_is_not_sent,
		test_truncated_answer_is_fetched_by_tcp,
		test_long_datagram_comes_whole,
		test_2000_queries_on_one_tcp_connection,
		test_dead_tcp_peer_is_replaced,
		test_server_that_closes_after_each_answer,
		test_queries_survive_a_reset,
		test_server_that_always_resets_is_unreachable,
		test_refused_tcp_is_unreachable,
		test_tcp_timeout,
		test_free_within_a_callback_cancels_the_rest,
		test_free_within_a_timeout_callback,
		test_free_with_open_requests_cancels_them_at_once,
		test_requests_begun_by_callbacks,
		test_config_is_checked,
	};
	const TTest *const lookups[] = {
		test_lookup,
		test_lookup_with_one_answer_garbled,
		test_lookup_returns_so_many_addresses,
		test_lookup_follows_cname_with_its_ttl,
		test_lookup_asks_the_next_server_after_servfail,
		test_lookup_asks_the_next_server_after_an_icmp_error,
		test_lookup_asks_the_next_server_after_silence,
		test_lookup_that_fails_everywhere,
		test_lookup_asks_an_only_server_once_that_fails,
		test_lookup_with_no_server_there,
		test_lookup_tries_again_after_silence,
		test_lookup_in_the_hosts_file,
		test_localhost_is_never_asked_of_a_server,
		test_lookup_of_a_name_that_cannot_be,
		test_free_within_a_lookup_callback,
		test_free_with_open_lookups,
		test_system_servers,
	};
	Suite *suite = suite_create("ares_io");
	TCase *tcase = tcase_create("exchanges");
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(exchanges); i++) {
		tcase_add_test(tcase, exchanges[i]);
	}
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("lookups");
	for (size_t i = 0; i < ARRAY_SIZE(lookups); i++) {
		tcase_add_test(tcase, lookups[i]);
	}
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	if (ares_io_global_init() < 0) {
		return EXIT_FAILURE;
	}
	r = suite_run(suite);
	ares_io_global_done();
	return r;
}
