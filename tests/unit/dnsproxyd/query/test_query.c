/* SPDX-License-Identifier: ISC */
/* A client's question and its timers: stale answers, failures that are remembered, prefetching.
 * What a client sees otherwise is in tests/integration/test_dns.py. */
#include "dnsproxyd/query/query.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/client.h"
#include "tests/unit/suite.h"

#include <stdio.h>

enum {
	LATE_MS = 3 * 50, /* c-ares tells of timeouts in ticks, here of three sends */
	EDE_STALE = 3,
	EDE_CACHED_ERROR = 13,
	EDE_NO_REACHABLE = 22,
};

#define ONE "[upstream default]\nserver = $0\n"

static void expect_reply(const struct client *client, unsigned rcode, unsigned ede, uint32_t ttl_s)
{
	ck_assert_uint_eq(client->rcode, rcode);
	ck_assert_uint_eq(client->ede, ede);
	ck_assert_uint_eq(client->ttl_s, ttl_s);
}

/* A cache with an answer that has expired, and a server that has gone silent. */
static void start_stale(struct client *client, const char *config)
{
	client_start(client, config);
	client->bench.servers[0].ttl_s = 10;
	client_get(client, "www.example");
	expect_reply(client, 0, CLIENT_NO_EDE, 10);
	clock_jump(client->bench.loop, 10000);
	client->bench.servers[0].mode = BENCH_SILENT;
}

/* --- stale answers (RFC 8767) ---------------------------------------------------------------- */

START_TEST(test_stale_after_1800_ms)
{
	struct client client;

	start_stale(&client, ONE);
	ck_assert(!client_ask(&client, "www.example"));
	clock_pass(client.bench.loop, QUERY_STALE_TIMER_MS - 1);
	ck_assert(client.waiting);
	clock_pass(client.bench.loop, 1);
	ck_assert(!client.waiting);
	expect_reply(&client, 0, EDE_STALE, CACHE_STALE_TTL_S);
	ck_assert_uint_eq(client.answers, 1);
	ck_assert_uint_eq(client.idle_count, 2);
	/* The fetch goes on, to its end: the next who asks does not wait. */
	ck_assert_uint_eq(client.context.fetcher.count, 1);
	clock_pass(client.bench.loop, ATTEMPTS_DEADLINE_MS - QUERY_STALE_TIMER_MS);
	ck_assert_uint_eq(client.context.fetcher.count, 0);
	ck_assert_uint_eq(client.bench.servers[0].count, 1 + ATTEMPTS_SENDS_MAX);
	ck_assert(client_ask(&client, "www.example"));
	expect_reply(&client, 0, EDE_STALE, CACHE_STALE_TTL_S);
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_cache_stale), 2);
	client_stop(&client);
}
END_TEST

START_TEST(test_fresh_before_1800_ms)
{
	struct client client;

	start_stale(&client, ONE "timeout = 500ms\n");
	ck_assert(!client_ask(&client, "www.example"));
	/* It loses the first send, and answers the second. */
	clock_pass(client.bench.loop, 400);
	client.bench.servers[0].mode = BENCH_GOOD;
	ck_assert_uint_le(client_wait(&client), 500 + LATE_MS);
	expect_reply(&client, 0, CLIENT_NO_EDE, 10);
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_cache_stale), 0);
	clock_pass(client.bench.loop, 3000);
	ck_assert_uint_eq(client.reply_count, 2);
	client_stop(&client);
}
END_TEST

START_TEST(test_stale_at_once_when_the_server_fails)
{
	struct client client;

	start_stale(&client, ONE);
	client.bench.servers[0].mode = BENCH_SERVFAIL;
	ck_assert(!client_ask(&client, "www.example"));
	ck_assert_uint_eq(client_wait(&client), 0);
	expect_reply(&client, 0, EDE_STALE, CACHE_STALE_TTL_S);
	client_stop(&client);
}
END_TEST

/* How old a stale answer may be. */
START_TEST(test_end_of_staleness)
{
	struct client client;

	start_stale(&client, ONE "[cache]\nserve-stale = 1h\n");
	client.bench.servers[0].mode = BENCH_SERVFAIL;
	clock_jump(client.bench.loop, 3599000);
	client_get(&client, "www.example");
	expect_reply(&client, 0, EDE_STALE, CACHE_STALE_TTL_S);
	clock_jump(client.bench.loop, 2000);
	client_get(&client, "www.example");
	ck_assert_uint_eq(client.rcode, DNS_RCODE_SERVFAIL);
	client_stop(&client);
}
END_TEST

static const char *const not_stale[] = { ONE "[cache]\nserve-stale = 0\n", ONE };

/* With nothing to fall back on the client waits until all has been tried. */
START_TEST(test_no_stale_answer)
{
	struct client client;
	unsigned took_ms;

	start_stale(&client, not_stale[_i]);
	ck_assert(!client_ask(&client, _i == 0 ? "www.example" : "other.example"));
	clock_pass(client.bench.loop, 3999);
	ck_assert(client.waiting);
	took_ms = client_wait(&client);
	ck_assert_uint_ge(took_ms, 4000);
	ck_assert_uint_le(took_ms, 4000 + LATE_MS);
	expect_reply(&client, DNS_RCODE_SERVFAIL, EDE_NO_REACHABLE, 0);
	client_stop(&client);
}
END_TEST

/* A client that is gone is not answered. */
START_TEST(test_cancel)
{
	struct client client;

	start_stale(&client, ONE);
	ck_assert(!client_ask(&client, "www.example"));
	query_cancel(&client.query);
	client.waiting = false;
	clock_pass(client.bench.loop, 2 * ATTEMPTS_DEADLINE_MS);
	ck_assert_uint_eq(client.reply_count, 1);
	client_stop(&client);
}
END_TEST

/* --- failures (RFC 9520) --------------------------------------------------------------------- */

/* A question that goes on failing is left alone for 1 s, 2 s, 4 s, and not longer than failure-ttl.
 */
START_TEST(test_failures_are_remembered)
{
	static const unsigned waits_ms[] = { 1000, 2000, 4000, 5000, 5000 };
	struct client client;

	client_start(&client, ONE);
	client.bench.servers[0].mode = BENCH_SERVFAIL;
	for (unsigned i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
		client_get(&client, "www.example");
		ck_assert_uint_eq(client.rcode, DNS_RCODE_SERVFAIL);
		ck_assert_uint_ne(client.ede, EDE_CACHED_ERROR);
		ck_assert_uint_eq(client.bench.servers[0].count, i + 1);
		clock_jump(client.bench.loop, waits_ms[i] - 1);
		ck_assert(client_ask(&client, "www.example"));
		expect_reply(&client, DNS_RCODE_SERVFAIL, EDE_CACHED_ERROR, 0);
		clock_jump(client.bench.loop, 1);
	}
	client.bench.servers[0].mode = BENCH_GOOD;
	client_get(&client, "www.example");
	expect_reply(&client, 0, CLIENT_NO_EDE, 300);
	client_stop(&client);
}
END_TEST

/* A server that was silent and is heard again ends the wait for what failed for that, once that is
 * a second old; what it refused is not asked before its time. */
START_TEST(test_return_of_the_server)
{
	struct client client;

	client_start(&client, ONE "timeout = 100ms\n");
	client.bench.servers[0].mode = BENCH_SERVFAIL;
	client_get(&client, "refused.example");
	clock_jump(client.bench.loop, 1000);
	client_get(&client, "refused.example");
	client.bench.servers[0].mode = BENCH_SILENT;
	for (unsigned i = 0; i < 2; i++) {
		client_get(&client, "silent.example");
		expect_reply(&client, DNS_RCODE_SERVFAIL, EDE_NO_REACHABLE, 0);
		clock_jump(client.bench.loop, i == 0 ? 1000 : 900);
	}
	client.bench.servers[0].mode = BENCH_GOOD;
	client_get(&client, "new.example");
	ck_assert_uint_eq(client.rcode, 0);
	ck_assert(client_ask(&client, "silent.example"));
	ck_assert_uint_eq(client.ede, EDE_CACHED_ERROR);
	clock_jump(client.bench.loop, 100);
	ck_assert(!client_ask(&client, "silent.example"));
	ck_assert_uint_eq(client_wait(&client), 0);
	ck_assert_uint_eq(client.rcode, 0);
	client_stop(&client);
}
END_TEST

/* --- prefetching ----------------------------------------------------------------------------- */

START_TEST(test_prefetch_in_the_last_tenth)
{
	struct client client;

	client_start(&client, ONE);
	client.bench.servers[0].ttl_s = 100;
	client_get(&client, "www.example");
	clock_jump(client.bench.loop, 89000);
	ck_assert(client_ask(&client, "www.example"));
	expect_reply(&client, 0, CLIENT_NO_EDE, 11);
	clock_settle(client.bench.loop);
	ck_assert_uint_eq(client.bench.servers[0].count, 1);
	clock_jump(client.bench.loop, 1000);
	/* Once, however many ask. */
	for (unsigned i = 0; i < 5; i++) {
		ck_assert(client_ask(&client, "www.example"));
		ck_assert(client.ttl_s == 10 || client.ttl_s == 100);
	}
	bench_expect_seen(&client.bench, 0, 2);
	clock_settle(client.bench.loop);
	clock_settle(client.bench.loop);
	ck_assert(client_ask(&client, "www.example"));
	expect_reply(&client, 0, CLIENT_NO_EDE, 100);
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_refreshes), 1);
	client_stop(&client);
}
END_TEST

/* What nobody asked for before is let expire. */
START_TEST(test_no_prefetch_of_what_is_asked_once)
{
	struct client client;

	client_start(&client, ONE);
	client.bench.servers[0].ttl_s = 100;
	client_get(&client, "www.example");
	clock_jump(client.bench.loop, 95000);
	ck_assert(client_ask(&client, "www.example"));
	clock_settle(client.bench.loop);
	ck_assert_uint_eq(client.bench.servers[0].count, 1);
	client_stop(&client);
}
END_TEST

/* A prefetch that fails leaves the answer as it is. */
START_TEST(test_prefetch_in_vain)
{
	struct client client;

	client_start(&client, ONE);
	client.bench.servers[0].ttl_s = 100;
	client_get(&client, "www.example");
	clock_jump(client.bench.loop, 91000);
	client.bench.servers[0].mode = BENCH_SERVFAIL;
	ck_assert(client_ask(&client, "www.example"));
	ck_assert(client_ask(&client, "www.example"));
	bench_expect_seen(&client.bench, 0, 2);
	clock_settle(client.bench.loop);
	ck_assert(client_ask(&client, "www.example"));
	expect_reply(&client, 0, CLIENT_NO_EDE, 9);
	client_stop(&client);
}
END_TEST

/* --- an outage, from its beginning to its end ------------------------------------------------ */

static const char *const outage_configs[] = {
	"[upstream default]\nserver = $0\n",
	"[upstream default]\nserver = tcp://$0\n",
	"[upstream default]\nserver = $0, $1\n",
	"[upstream default]\nserver = $0, tcp://$1\nstrategy = failover\n",
	"[upstream default]\nserver = $0, $1, $2\nstrategy = race\n",
	"[upstream default]\nserver = $0, $1, $2\nstrategy = roundrobin\n",
	"[upstream default]\nserver = tcp://$0, tcp://$1, tcp://$2\nstrategy = leastconn\n",
};

static void set_modes(struct client *client, enum bench_mode mode)
{
	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		client->bench.servers[i].mode = mode;
		client->bench.servers[i].count = 0;
	}
}

/* All servers fall silent for a minute: with the cache warm no client sees a failure, nor waits
 * longer than 1.8 s; with it cold SERVFAIL comes with EDE within 5 s, after three sends; when they
 * are back, all is well for whoever asks a second later. */
START_TEST(test_outage)
{
	struct client client;

	client_start(&client, outage_configs[_i]);
	for (unsigned i = 0; i < 3; i++) {
		client.bench.servers[i].ttl_s = 5;
	}
	client_get(&client, "warm.example");
	ck_assert_uint_eq(client.rcode, 0);
	clock_jump(client.bench.loop, 6000);
	for (unsigned round = 0; round < 10; round++) {
		char name[32];
		unsigned took_ms;

		set_modes(&client, BENCH_SILENT);
		client_ask(&client, "warm.example");
		ck_assert_uint_le(client_wait(&client), QUERY_STALE_TIMER_MS);
		expect_reply(&client, 0, EDE_STALE, CACHE_STALE_TTL_S);
		clock_pass(client.bench.loop, ATTEMPTS_DEADLINE_MS);
		ck_assert_uint_le(bench_sends(&client.bench), ATTEMPTS_SENDS_MAX);
		set_modes(&client, BENCH_SILENT);
		snprintf(name, sizeof name, "cold%u.example", round);
		client_ask(&client, name);
		took_ms = client_wait(&client);
		ck_assert_uint_le(took_ms, 5000);
		expect_reply(&client, DNS_RCODE_SERVFAIL, EDE_NO_REACHABLE, 0);
		ck_assert_uint_ge(bench_sends(&client.bench), 1);
		ck_assert_uint_le(bench_sends(&client.bench), ATTEMPTS_SENDS_MAX);
	}
	set_modes(&client, BENCH_GOOD);
	clock_jump(client.bench.loop, 1000);
	client_get(&client, "new.example");
	ck_assert_uint_eq(client.rcode, 0);
	ck_assert_uint_le(client.replied_ms - client.asked_ms, 100);
	client_get(&client, "cold9.example");
	ck_assert_uint_eq(client.rcode, 0);
	ck_assert_uint_le(client.replied_ms - client.asked_ms, 100);
	client_stop(&client);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("query");
	TCase *tcase = tcase_create("query");

	tcase_add_test(tcase, test_stale_after_1800_ms);
	tcase_add_test(tcase, test_fresh_before_1800_ms);
	tcase_add_test(tcase, test_stale_at_once_when_the_server_fails);
	tcase_add_test(tcase, test_end_of_staleness);
	tcase_add_loop_test(tcase, test_no_stale_answer, 0, 2);
	tcase_add_test(tcase, test_cancel);
	tcase_add_test(tcase, test_failures_are_remembered);
	tcase_add_test(tcase, test_return_of_the_server);
	tcase_add_test(tcase, test_prefetch_in_the_last_tenth);
	tcase_add_test(tcase, test_no_prefetch_of_what_is_asked_once);
	tcase_add_test(tcase, test_prefetch_in_vain);
	tcase_add_loop_test(tcase, test_outage, 0,
			    sizeof outage_configs / sizeof outage_configs[0]);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
