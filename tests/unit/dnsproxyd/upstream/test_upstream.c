/* SPDX-License-Identifier: ISC */
/* One server, its clock standing still: what is sent, what is made of what comes, and for how long
 * it is believed. */
#include "dnsproxyd/upstream/upstream.h"

#include "dnsproxyd/upstream/defence.h"
#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/bench.h"
#include "tests/unit/suite.h"

enum {
	TIMEOUT_MS = 400,
	TICK_MS = 50, /* how exactly c-ares tells of a timeout */
};

#define NAME "abcdefghijklmnopqrstuvwxyz.example"

struct asker {
	struct bench bench;
	struct upstream *upstream;
	struct dnsmsg_query query;
	unsigned done_count;
	unsigned doubt_count;
	enum upstream_outcome outcome;
	unsigned rcode;
	struct exchange *exchange;
};

static void on_done(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		    const struct dnsreply *reply)
{
	struct asker *asker = arg;

	asker->exchange = NULL;
	asker->done_count++;
	asker->outcome = outcome;
	asker->rcode = reply ? reply->rcode : 0;
	ck_assert_int_eq(msg != NULL, outcome == UPSTREAM_ANSWER);
}

static void on_doubtful(void *arg)
{
	struct asker *asker = arg;

	asker->doubt_count++;
}

static void start_with(struct asker *asker, enum bench_mode mode, const char *server, bool random)
{
	struct upstream_config config = {
		.timeout_ms = TIMEOUT_MS,
		.max_open = 100,
		.randomize_case = random,
	};

	*asker = (struct asker){ .doubt_count = 0 };
	bench_start(&asker->bench, server);
	asker->bench.servers[0].mode = mode;
	config.loop = asker->bench.loop;
	config.metrics = asker->bench.metrics;
	config.endpoint = asker->bench.config->groups[0].servers[0];
	asker->upstream = upstream_new(&config);
	ck_assert_ptr_nonnull(asker->upstream);
	bench_query(&asker->query, NAME);
}

static void start(struct asker *asker, enum bench_mode mode)
{
	start_with(asker, mode, "[upstream default]\nserver = $0\n", true);
}

static void stop(struct asker *asker)
{
	upstream_free(asker->upstream);
	bench_stop(&asker->bench);
}

static void send_one(struct asker *asker, bool again, bool by_stream)
{
	const struct upstream_question question = {
		.query = &asker->query,
		.again = again,
		.by_stream = by_stream,
		.done = on_done,
		.doubtful = on_doubtful,
		.arg = asker,
	};
	unsigned before = asker->bench.servers[0].count;

	asker->exchange = upstream_ask(asker->upstream, &question);
	ck_assert_ptr_nonnull(asker->exchange);
	bench_expect_seen(&asker->bench, 0, before + 1);
}

/* Send one message, and see what comes of it at once. */
static void ask(struct asker *asker, bool again, bool by_stream, enum upstream_outcome outcome)
{
	unsigned before = asker->done_count;

	send_one(asker, again, by_stream);
	ck_assert(clock_reach(asker->bench.loop, &asker->done_count, before + 1));
	ck_assert_str_eq(upstream_outcome_name(asker->outcome), upstream_outcome_name(outcome));
}

/* The query that came last. */
static const struct bench_seen *last_seen(const struct asker *asker)
{
	return &asker->bench.servers[0].seen[asker->bench.servers[0].count - 1];
}

/* Send one message that is not answered; it ends in time. */
static void ask_in_vain(struct asker *asker, bool again)
{
	unsigned before = asker->done_count;

	send_one(asker, again, false);
	clock_pass(asker->bench.loop, TIMEOUT_MS - 1);
	ck_assert_uint_eq(asker->done_count, before);
	clock_pass(asker->bench.loop, 1 + 2 * TICK_MS);
	ck_assert_uint_eq(asker->done_count, before + 1);
	ck_assert_int_eq(asker->outcome, UPSTREAM_TIMEOUT);
}

static const struct {
	enum bench_mode mode;
	bool by_stream;
	enum upstream_outcome outcome;
	unsigned rcode;
} outcomes[] = {
	{ BENCH_GOOD, false, UPSTREAM_ANSWER, 0 },
	{ BENCH_GOOD, true, UPSTREAM_ANSWER, 0 },
	{ BENCH_SERVFAIL, false, UPSTREAM_ERROR, DNS_RCODE_SERVFAIL },
	{ BENCH_SERVFAIL, true, UPSTREAM_ERROR, DNS_RCODE_SERVFAIL },
	{ BENCH_REFUSED, false, UPSTREAM_ERROR, DNS_RCODE_REFUSED },
	{ BENCH_TRUNCATED, false, UPSTREAM_BY_STREAM, 0 },
	{ BENCH_TRUNCATED, true, UPSTREAM_ANSWER, 0 },
	{ BENCH_TRUNCATED_ALWAYS, true, UPSTREAM_MALFORMED, 0 },
	{ BENCH_NO_EDNS, false, UPSTREAM_NO_EDNS, 0 },
	{ BENCH_WRONG_IDS, false, UPSTREAM_BY_STREAM, 0 },
	{ BENCH_RESET, true, UPSTREAM_UNREACHABLE, 0 },
	{ BENCH_GARBAGE, false, UPSTREAM_MALFORMED, 0 },
	{ BENCH_GARBAGE, true, UPSTREAM_MALFORMED, 0 },
};

START_TEST(test_outcomes)
{
	struct asker asker;

	start(&asker, outcomes[_i].mode);
	ask(&asker, false, outcomes[_i].by_stream, outcomes[_i].outcome);
	ck_assert_uint_eq(asker.rcode, outcomes[_i].rcode);
	ck_assert_uint_eq(asker.bench.servers[0].count, 1);
	ck_assert_int_eq(last_seen(&asker)->by_tcp, outcomes[_i].by_stream);
	ck_assert_int_eq(last_seen(&asker)->mixed_case, !outcomes[_i].by_stream);
	ck_assert_uint_eq(upstream_stats(asker.upstream)->sends, 1);
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_sends), 1);
	stop(&asker);
}
END_TEST

START_TEST(test_timeout)
{
	struct asker asker;

	start(&asker, BENCH_SILENT);
	ask_in_vain(&asker, false);
	ck_assert_uint_eq(asker.bench.servers[0].count, 1);
	ck_assert_uint_eq(upstream_stats(asker.upstream)->failures, 1);
	ck_assert_uint_eq(upstream_open_count(asker.upstream), 0);
	stop(&asker);
}
END_TEST

/* That a server cannot do EDNS is believed for five minutes, then it is tried again. */
START_TEST(test_no_edns_for_five_minutes)
{
	struct asker asker;

	start(&asker, BENCH_NO_EDNS);
	ask(&asker, false, false, UPSTREAM_NO_EDNS);
	ck_assert(last_seen(&asker)->has_opt);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert(!last_seen(&asker)->has_opt);
	clock_jump(asker.bench.loop, UPSTREAM_NO_EDNS_MS - 1);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert(!last_seen(&asker)->has_opt);
	clock_jump(asker.bench.loop, 1);
	ask(&asker, false, false, UPSTREAM_NO_EDNS);
	ck_assert(last_seen(&asker)->has_opt);
	/* And for five more. */
	clock_jump(asker.bench.loop, UPSTREAM_NO_EDNS_MS - 1);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	clock_jump(asker.bench.loop, 1);
	asker.bench.servers[0].mode = BENCH_GOOD;
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert(last_seen(&asker)->has_opt);
	stop(&asker);
}
END_TEST

/* --- random case ----------------------------------------------------------------------------- */

/* A server that folds case: its answer is dropped, one plain question later random case is off, for
 * five minutes; then it is tried anew, and stays on if the server copes by then. */
START_TEST(test_random_case_comes_back)
{
	struct asker asker;

	start(&asker, BENCH_LOWER_CASE);
	for (unsigned round = 0; round < 3; round++) {
		send_one(&asker, false, false);
		ck_assert(last_seen(&asker)->mixed_case);
		ck_assert(clock_reach(asker.bench.loop, &asker.doubt_count, round + 1));
		ck_assert_uint_eq(asker.done_count, round * 3);
		exchange_forget(asker.exchange, true);
		ask(&asker, true, false, UPSTREAM_ANSWER);
		ck_assert(!last_seen(&asker)->mixed_case);
		ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_case_off), round + 1);
		ask(&asker, false, false, UPSTREAM_ANSWER);
		ck_assert(!last_seen(&asker)->mixed_case);
		clock_jump(asker.bench.loop, DEFENCE_CASE_OFF_MS - 1);
		ask(&asker, false, false, UPSTREAM_ANSWER);
		ck_assert(!last_seen(&asker)->mixed_case);
		clock_jump(asker.bench.loop, 1);
	}
	asker.bench.servers[0].mode = BENCH_GOOD;
	for (unsigned i = 0; i < 5; i++) {
		ask(&asker, i % 2 == 1, false, UPSTREAM_ANSWER);
		ck_assert(last_seen(&asker)->mixed_case);
		clock_jump(asker.bench.loop, DEFENCE_CASE_OFF_MS);
	}
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_case_off), 3);
	stop(&asker);
}
END_TEST

/* One that does not answer random case at all: found out after two questions of which the second,
 * plain, send was answered. */
START_TEST(test_server_deaf_to_case)
{
	struct asker asker;

	start(&asker, BENCH_DEAF_TO_CASE);
	for (unsigned i = 0; i < DEFENCE_CASE_STRIKES; i++) {
		ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_case_off), 0);
		ask_in_vain(&asker, false);
		ck_assert(last_seen(&asker)->mixed_case);
		ask(&asker, true, false, UPSTREAM_ANSWER);
		ck_assert(!last_seen(&asker)->mixed_case);
	}
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_case_off), 1);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	clock_jump(asker.bench.loop, DEFENCE_CASE_OFF_MS);
	ask_in_vain(&asker, false);
	stop(&asker);
}
END_TEST

/* One that copes is never asked plainly, however often it loses a question. */
START_TEST(test_no_plain_question_to_one_that_copes)
{
	struct asker asker;

	start(&asker, BENCH_GOOD);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	asker.bench.servers[0].mode = BENCH_SILENT;
	ask_in_vain(&asker, false);
	ask_in_vain(&asker, true);
	ck_assert(last_seen(&asker)->mixed_case);
	/* But after three in a row it has to prove itself anew. */
	ask_in_vain(&asker, false);
	asker.bench.servers[0].mode = BENCH_GOOD;
	ask(&asker, true, false, UPSTREAM_ANSWER);
	ck_assert(!last_seen(&asker)->mixed_case);
	stop(&asker);
}
END_TEST

/* --- forgers --------------------------------------------------------------------------------- */

/* After a burst of wrong ids the server is asked by TCP for a minute. */
START_TEST(test_stream_for_a_minute)
{
	struct asker asker;

	start(&asker, BENCH_WRONG_IDS);
	ask(&asker, false, false, UPSTREAM_BY_STREAM);
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_bursts), 1);
	ask(&asker, false, true, UPSTREAM_ANSWER);
	clock_jump(asker.bench.loop, DEFENCE_STREAM_MS - 1);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert(last_seen(&asker)->by_tcp);
	clock_jump(asker.bench.loop, 1);
	asker.bench.servers[0].mode = BENCH_GOOD;
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert(!last_seen(&asker)->by_tcp);
	stop(&asker);
}
END_TEST

/* A server that does no TCP is excused from that for five minutes. */
START_TEST(test_no_stream_for_five_minutes)
{
	struct asker asker;

	start(&asker, BENCH_WRONG_IDS);
	ask(&asker, false, false, UPSTREAM_BY_STREAM);
	asker.bench.servers[0].mode = BENCH_RESET;
	ask(&asker, false, false, UPSTREAM_UNREACHABLE);
	ck_assert(last_seen(&asker)->by_tcp);
	asker.bench.servers[0].mode = BENCH_WRONG_IDS;
	for (unsigned i = 0; i < 2; i++) {
		send_one(&asker, false, false);
		ck_assert(!last_seen(&asker)->by_tcp);
		clock_settle(asker.bench.loop);
		exchange_forget(asker.exchange, false);
		clock_jump(asker.bench.loop, DEFENCE_NO_STREAM_MS / 2 - 1);
	}
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_bursts), 1);
	clock_jump(asker.bench.loop, 2);
	ask(&asker, false, false, UPSTREAM_BY_STREAM);
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_bursts), 2);
	stop(&asker);
}
END_TEST

/* --- health ---------------------------------------------------------------------------------- */

static enum health_state state_of(const struct asker *asker)
{
	return health_state(upstream_health(asker->upstream), loop_now_ms(asker->bench.loop));
}

/* Two timeouts and a server is down; due for a question after 1 s, 2 s, 4 s ... 30 s; an answer
 * brings it back. */
START_TEST(test_back_off)
{
	static const unsigned backoffs_ms[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	struct asker asker;

	start_with(&asker, BENCH_SILENT, "[upstream default]\nserver = $0\n", false);
	ask_in_vain(&asker, false);
	ck_assert_int_eq(state_of(&asker), HEALTH_UP);
	ask_in_vain(&asker, false);
	for (size_t i = 0; i < sizeof backoffs_ms / sizeof backoffs_ms[0]; i++) {
		uint64_t down_ms = loop_now_ms(asker.bench.loop);
		uint64_t until_ms = upstream_health(asker.upstream)->down_until_ms;

		/* The timeout was told of up to two ticks ago. */
		ck_assert_int_eq(state_of(&asker), HEALTH_DOWN);
		ck_assert_uint_le(until_ms, down_ms + backoffs_ms[i]);
		ck_assert_uint_ge(until_ms + 2 * TICK_MS, down_ms + backoffs_ms[i]);
		clock_jump(asker.bench.loop, (unsigned)(until_ms - down_ms - 1));
		ck_assert_int_eq(state_of(&asker), HEALTH_DOWN);
		clock_jump(asker.bench.loop, 1);
		ck_assert_int_eq(state_of(&asker), HEALTH_DUE);
		upstream_begin_trial(asker.upstream);
		ck_assert_int_eq(state_of(&asker), HEALTH_DOWN);
		ask_in_vain(&asker, false);
	}
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_down), 1);
	clock_jump(asker.bench.loop, HEALTH_BACKOFF_MAX_MS);
	asker.bench.servers[0].mode = BENCH_GOOD;
	upstream_begin_trial(asker.upstream);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert_int_eq(state_of(&asker), HEALTH_UP);
	stop(&asker);
}
END_TEST

/* A trial of which nothing is heard, not even its end, is over after 5 s. */
START_TEST(test_trial_without_end)
{
	struct asker asker;

	start_with(&asker, BENCH_SILENT, "[upstream default]\nserver = $0\n", false);
	ask_in_vain(&asker, false);
	ask_in_vain(&asker, false);
	clock_jump(asker.bench.loop, HEALTH_BACKOFF_FIRST_MS);
	upstream_begin_trial(asker.upstream);
	clock_jump(asker.bench.loop, HEALTH_TRIAL_MS - 1);
	ck_assert_int_eq(state_of(&asker), HEALTH_DOWN);
	clock_jump(asker.bench.loop, 1);
	ck_assert_int_eq(state_of(&asker), HEALTH_DUE);
	stop(&asker);
}
END_TEST

/* --- streams --------------------------------------------------------------------------------- */

/* A connection that falls silent fails its questions after three quarters of the timeout, and the
 * next goes by another one. */
START_TEST(test_silent_stream_is_replaced)
{
	struct asker asker;

	start_with(&asker, BENCH_GOOD, "[upstream default]\nserver = tcp://$0\n", true);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert_uint_eq(asker.bench.servers[0].dns.connection_count, 1);
	asker.bench.servers[0].mode = BENCH_SILENT;
	send_one(&asker, false, false);
	clock_pass(asker.bench.loop, TIMEOUT_MS / 4 * 3 - 1);
	ck_assert_uint_eq(asker.done_count, 2);
	clock_pass(asker.bench.loop, 1);
	ck_assert_uint_eq(asker.done_count, 3);
	ck_assert_int_eq(asker.outcome, UPSTREAM_UNREACHABLE);
	asker.bench.servers[0].mode = BENCH_GOOD;
	ask(&asker, false, false, UPSTREAM_ANSWER);
	ck_assert_uint_eq(asker.bench.servers[0].dns.connection_count, 2);
	ck_assert_uint_eq(asker.bench.servers[0].count, 4);
	stop(&asker);
}
END_TEST

/* --- loops ----------------------------------------------------------------------------------- */

START_TEST(test_own_question)
{
	struct asker asker;
	struct dnsmsg_query back;

	start_with(&asker, BENCH_SILENT, "[upstream default]\nserver = $0\n", false);
	ck_assert(!upstream_is_asking(asker.upstream, &asker.query));
	send_one(&asker, false, false);
	back = asker.query;
	back.id = last_seen(&asker)->id;
	ck_assert(upstream_is_asking(asker.upstream, &back));
	back.id ^= 1;
	ck_assert(!upstream_is_asking(asker.upstream, &back));
	clock_pass(asker.bench.loop, TIMEOUT_MS + 2 * TICK_MS);
	back.id ^= 1;
	ck_assert(!upstream_is_asking(asker.upstream, &back));
	stop(&asker);
}
END_TEST

START_TEST(test_free_with_questions_open)
{
	struct asker asker;

	start(&asker, BENCH_SILENT);
	send_one(&asker, false, false);
	upstream_free(asker.upstream);
	asker.upstream = NULL;
	ck_assert_uint_eq(asker.done_count, 1);
	ck_assert_int_eq(asker.outcome, UPSTREAM_CANCELLED);
	stop(&asker);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_timeout,
		test_no_edns_for_five_minutes,
		test_random_case_comes_back,
		test_server_deaf_to_case,
		test_no_plain_question_to_one_that_copes,
		test_stream_for_a_minute,
		test_no_stream_for_five_minutes,
		test_back_off,
		test_trial_without_end,
		test_silent_stream_is_replaced,
		test_own_question,
		test_free_with_questions_open,
	};
	Suite *suite = suite_create("upstream");
	TCase *tcase = tcase_create("upstream");

	tcase_add_loop_test(tcase, test_outcomes, 0, sizeof outcomes / sizeof outcomes[0]);
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		tcase_add_test(tcase, tests[i]);
	}
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
