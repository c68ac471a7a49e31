/* SPDX-License-Identifier: ISC */
/* Fetching for those who wait, and for nobody. When a client hears of it is in test_query.c. */
#include "dnsproxyd/query/fetch.h"

#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/client.h"
#include "tests/unit/suite.h"

#define ONE "[upstream default]\nserver = $0\n"

struct waiting {
	struct inflight_waiter waiter;
	unsigned count;
	int outcome;
	unsigned rcode;
};

static void on_answer(struct inflight_waiter *waiter, const struct inflight_answer *answer)
{
	struct waiting *waiting = container_of(waiter, struct waiting, waiter);

	ck_assert_ptr_nonnull(answer);
	waiting->count++;
	waiting->outcome = answer->outcome;
	waiting->rcode = answer->rcode;
}

static void make_question(struct client *client, const char *name, struct dnsmsg_query *ret_query,
			  struct cache_key *ret_key)
{
	bench_query(ret_query, name);
	cache_key_init(ret_key, client->context.cache, ret_query->question, ret_query->question_len,
		       false, false, 0);
}

static enum fetch_step join(struct client *client, const char *name, struct waiting *waiting)
{
	struct dnsmsg_query query;
	struct cache_key key;

	*waiting = (struct waiting){ .count = 0 };
	make_question(client, name, &query, &key);
	return fetch_join(&client->context.fetcher, &query, &key, &waiting->waiter, on_answer);
}

START_TEST(test_one_fetch_for_all)
{
	struct waiting waiting[20];
	struct client client;

	client_start(&client, ONE);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(join(&client, "www.example", &waiting[i]), FETCH_WAITING);
	}
	ck_assert_uint_eq(client.context.fetcher.count, 1);
	ck_assert(clock_reach(client.bench.loop, &waiting[19].count, 1));
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_uint_eq(waiting[i].count, 1);
		ck_assert_int_eq(waiting[i].outcome, UPSTREAM_ANSWER);
	}
	ck_assert_uint_eq(client.bench.servers[0].count, 1);
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_queries_coalesced), 19);
	/* Another worker's look into the cache came too early. */
	ck_assert_int_eq(join(&client, "www.example", &waiting[0]), FETCH_CACHED);
	client_stop(&client);
}
END_TEST

/* Once begun a fetch goes on, also for nobody, until 4.5 s at most have passed. */
START_TEST(test_all_have_left)
{
	struct waiting waiting;
	struct client client;

	client_start(&client, ONE "timeout = 4s\n");
	client.bench.servers[0].mode = BENCH_SILENT;
	ck_assert_int_eq(join(&client, "www.example", &waiting), FETCH_WAITING);
	inflight_leave(client.context.fetcher.inflight, &waiting.waiter);
	clock_pass(client.bench.loop, ATTEMPTS_DEADLINE_MS - 1);
	ck_assert_uint_eq(client.context.fetcher.count, 1);
	clock_pass(client.bench.loop, 1);
	ck_assert_uint_eq(client.context.fetcher.count, 0);
	ck_assert_uint_eq(waiting.count, 0);
	client_stop(&client);
}
END_TEST

START_TEST(test_deadline)
{
	struct waiting waiting;
	struct client client;

	client_start(&client, ONE "timeout = 4s\n");
	client.bench.servers[0].mode = BENCH_SILENT;
	ck_assert_int_eq(join(&client, "www.example", &waiting), FETCH_WAITING);
	clock_pass(client.bench.loop, ATTEMPTS_DEADLINE_MS - 1);
	ck_assert_uint_eq(waiting.count, 0);
	clock_pass(client.bench.loop, 1);
	ck_assert_uint_eq(waiting.count, 1);
	ck_assert_int_eq(waiting.outcome, UPSTREAM_TIMEOUT);
	ck_assert_uint_eq(waiting.rcode, DNS_RCODE_SERVFAIL);
	client_stop(&client);
}
END_TEST

START_TEST(test_refresh)
{
	struct client client;
	struct dnsmsg_query query;
	struct cache_key key;
	unsigned asked;

	client_start(&client, ONE);
	make_question(&client, "www.example", &query, &key);
	fetch_refresh(&client.context.fetcher, &query, &key);
	fetch_refresh(&client.context.fetcher, &query, &key);
	ck_assert_uint_eq(client.context.fetcher.count, 1);
	bench_expect_seen(&client.bench, 0, 1);
	for (asked = 0; client.context.fetcher.count > 0 && asked < 100; asked++) {
		clock_settle(client.bench.loop);
	}
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_refreshes), 1);
	ck_assert(client_ask(&client, "www.example"));
	client_stop(&client);
}
END_TEST

START_TEST(test_too_many)
{
	struct waiting waiting[4];
	struct client client;

	client_start(&client, ONE "[limits]\nmax-outstanding = 2\nmax-waiting-per-question = 1\n");
	client.bench.servers[0].mode = BENCH_SILENT;
	ck_assert_int_eq(join(&client, "a.example", &waiting[0]), FETCH_WAITING);
	ck_assert_int_eq(join(&client, "a.example", &waiting[1]), FETCH_REFUSED);
	ck_assert_int_eq(join(&client, "b.example", &waiting[2]), FETCH_WAITING);
	ck_assert_int_eq(join(&client, "c.example", &waiting[3]), FETCH_REFUSED);
	fetch_cancel_all(&client.context.fetcher);
	ck_assert_uint_eq(waiting[0].count, 1);
	ck_assert_int_eq(waiting[0].outcome, UPSTREAM_CANCELLED);
	ck_assert_uint_eq(waiting[1].count, 0);
	ck_assert_uint_eq(waiting[2].count, 1);
	client_stop(&client);
}
END_TEST

/* After a reload that changed the servers: an answer of the old ones reaches who waits, but is not
 * kept; at the next such reload what still waits for them is told. */
START_TEST(test_old_servers)
{
	struct waiting waiting[2];
	struct client client;
	struct fetcher *f = &client.context.fetcher;

	client_start(&client, ONE);
	ck_assert_int_eq(join(&client, "a.example", &waiting[0]), FETCH_WAITING);
	f->generation++;
	ck_assert(clock_reach(client.bench.loop, &waiting[0].count, 1));
	ck_assert_int_eq(waiting[0].outcome, UPSTREAM_ANSWER);
	client.bench.servers[0].mode = BENCH_SILENT;
	ck_assert(!client_ask(&client, "a.example"));
	ck_assert_int_eq(join(&client, "b.example", &waiting[0]), FETCH_WAITING);
	f->generation++;
	ck_assert_int_eq(join(&client, "c.example", &waiting[1]), FETCH_WAITING);
	fetch_cancel_old(f);
	ck_assert_uint_eq(waiting[0].count, 1);
	ck_assert_int_eq(waiting[0].outcome, UPSTREAM_CANCELLED);
	ck_assert_uint_eq(waiting[1].count, 0);
	ck_assert_uint_eq(f->count, 1);
	ck_assert_uint_eq(client.rcode, DNS_RCODE_SERVFAIL);
	client_stop(&client);
}
END_TEST

/* Who asks after such a reload does not wait for the old servers, nor are their failures held
 * against the new ones. */
START_TEST(test_nobody_waits_for_old_servers)
{
	struct waiting waiting[2];
	struct client client;
	struct fetcher *f = &client.context.fetcher;

	client_start(&client, ONE);
	client.bench.servers[0].mode = BENCH_SILENT;
	ck_assert_int_eq(join(&client, "a.example", &waiting[0]), FETCH_WAITING);
	bench_expect_seen(&client.bench, 0, 1);
	f->generation++;
	client.bench.servers[0].mode = BENCH_GOOD;
	ck_assert_int_eq(join(&client, "a.example", &waiting[1]), FETCH_WAITING);
	ck_assert_uint_eq(f->count, 2);
	ck_assert(clock_reach(client.bench.loop, &waiting[1].count, 1));
	ck_assert_int_eq(waiting[1].outcome, UPSTREAM_ANSWER);
	client.bench.servers[0].mode = BENCH_SERVFAIL;
	ck_assert_int_eq(join(&client, "b.example", &waiting[1]), FETCH_WAITING);
	f->generation++;
	ck_assert(clock_reach(client.bench.loop, &waiting[1].count, 1));
	ck_assert_int_ne(waiting[1].outcome, UPSTREAM_ANSWER);
	client.bench.servers[0].mode = BENCH_GOOD;
	client_get(&client, "b.example");
	ck_assert_uint_eq(client.rcode, DNS_RCODE_NOERROR);
	client_stop(&client);
}
END_TEST

struct last {
	struct waiting waiting;
	struct fetcher *fetcher;
	struct task task;
};

static void end_fetcher(struct task *task)
{
	struct fetcher *f = container_of(task, struct last, task)->fetcher;

	ck_assert_ptr_nonnull(f->ended);
	fetcher_done(f);
}

static void on_last_answer(struct inflight_waiter *waiter, const struct inflight_answer *answer)
{
	struct last *last = container_of(waiter, struct last, waiting.waiter);

	on_answer(waiter, answer);
	loop_run_task(last->fetcher->loop, &last->task, end_fetcher);
}

/* The worker stops in the turn in which an answer has come: nothing is given back to it any more.
 */
START_TEST(test_end_of_the_fetcher)
{
	struct client client;
	struct last last = { .fetcher = &client.context.fetcher };
	struct dnsmsg_query query;
	struct cache_key key;

	client_start(&client, ONE);
	make_question(&client, "a.example", &query, &key);
	ck_assert_int_eq(
		fetch_join(last.fetcher, &query, &key, &last.waiting.waiter, on_last_answer),
		FETCH_WAITING);
	ck_assert(clock_reach(client.bench.loop, &last.waiting.count, 1));
	ck_assert_uint_eq(last.fetcher->spare.kept, 0);
	last.fetcher->ended = NULL;
	client_stop(&client);
}
END_TEST

/* A question of ours that has come back: neither a client nor a refresh may wait for it. */
START_TEST(test_own_question)
{
	struct waiting waiting;
	struct client client;
	struct dnsmsg_query query;
	struct cache_key key;

	client_start(&client, "[privacy]\nrandomize-case = off\n" ONE);
	client.bench.servers[0].mode = BENCH_SILENT;
	ck_assert_int_eq(join(&client, "www.example", &waiting), FETCH_WAITING);
	bench_expect_seen(&client.bench, 0, 1);
	make_question(&client, "www.example", &query, &key);
	query.id = client.bench.servers[0].seen[0].id;
	ck_assert_int_eq(
		fetch_join(&client.context.fetcher, &query, &key, &waiting.waiter, on_answer),
		FETCH_LOOP);
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_loops), 1);
	fetch_refresh(&client.context.fetcher, &query, &key);
	ck_assert_int_eq(bench_counter(&client.bench, METRIC_loops), 2);
	ck_assert_uint_eq(client.context.fetcher.count, 1);
	client_stop(&client);
}
END_TEST

SUITE_MAIN("fetch", test_one_fetch_for_all, test_all_have_left, test_deadline, test_refresh,
	   test_too_many, test_old_servers, test_nobody_waits_for_old_servers,
	   test_end_of_the_fetcher, test_own_question)
