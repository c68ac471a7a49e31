/* SPDX-License-Identifier: ISC */
/* A question on its way, with real messages and a clock that stands still. The decisions themselves
 * are replayed in test_attempts.c. */
#include "dnsproxyd/upstream/forward.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>

enum {
	/* c-ares tells of a timeout that much late, at each of up to three sends */
	TICKS_MS = 3 * 50,
};

#define ONE   "[upstream default]\nserver = $0\n"
#define TWO   "[upstream default]\nserver = $0, $1\nstrategy = failover\n"
#define TCP   "[upstream default]\nserver = tcp://$0\n"
#define RACE  "[upstream default]\nserver = $0, $1, $2, $3\nstrategy = race\n"
#define QUICK "timeout = 300ms\n"

struct asker {
	struct bench bench;
	struct groups *groups;
	struct group *group;
	struct dnsmsg_query query;
	struct forward forward;
	unsigned done_count;
	uint64_t began_ms;
	uint64_t done_ms;
	enum upstream_outcome outcome;
	unsigned rcode;
};

static void on_done(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		    const struct dnsreply *reply)
{
	struct asker *asker = arg;

	ck_assert_int_eq(msg != NULL, outcome == UPSTREAM_ANSWER);
	ck_assert_int_eq(reply != NULL, outcome == UPSTREAM_ANSWER || outcome == UPSTREAM_ERROR);
	asker->done_count++;
	asker->done_ms = clock_passed_ms();
	asker->outcome = outcome;
	asker->rcode = reply ? reply->rcode : 0;
}

static void start(struct asker *asker, const char *text)
{
	*asker = (struct asker){ .groups = NULL };
	bench_start(&asker->bench, text);
	asker->groups = groups_new(asker->bench.loop, asker->bench.metrics, asker->bench.config,
				   NULL, NULL);
	ck_assert_ptr_nonnull(asker->groups);
	asker->group = groups_get(asker->groups, 0);
	bench_query(&asker->query, "abcdefghijklmnopqrstuvwxyz.example");
}

static void stop(struct asker *asker)
{
	forward_cancel(&asker->forward);
	groups_free(asker->groups);
	bench_stop(&asker->bench);
}

static void ask(struct asker *asker)
{
	asker->began_ms = clock_passed_ms();
	asker->done_count = 0;
	ck_assert_int_eq(
		forward_start(&asker->forward, asker->group, &asker->query, on_done, asker), 0);
	ck_assert_uint_eq(asker->done_count, 0);
}

/* Let time pass until the end. Returns how much it was. */
static unsigned wait_for_end(struct asker *asker)
{
	for (unsigned ms = 0; asker->done_count == 0 && ms <= 2 * ATTEMPTS_DEADLINE_MS; ms++) {
		/* What is there already comes first. */
		for (unsigned i = 0; i < (ms == 0 ? 8 : 1) && asker->done_count == 0; i++) {
			clock_settle(asker->bench.loop);
		}
		if (asker->done_count == 0) {
			clock_pass(asker->bench.loop, 1);
		}
	}
	ck_assert_uint_eq(asker->done_count, 1);
	return (unsigned)(asker->done_ms - asker->began_ms);
}

/* --- one question, from its beginning to its end --------------------------------------------- */

static const struct {
	const char *what;
	const char *config;
	enum bench_mode modes[BENCH_SERVERS_MAX];
	enum upstream_outcome outcome;
	unsigned rcode;
	unsigned sends; /* messages that the servers saw */
	unsigned at_ms; /* when it ended, give or take TICKS_MS */
	unsigned hedges;
} ends[] = {
	{ "good", ONE, { BENCH_GOOD }, UPSTREAM_ANSWER, 0, 1, 0, 0 },
	{ "silent", ONE, { BENCH_SILENT }, UPSTREAM_TIMEOUT, 0, 3, 4000, 1 },
	{ "silent, with a short timeout",
	  ONE QUICK,
	  { BENCH_SILENT },
	  UPSTREAM_TIMEOUT,
	  0,
	  3,
	  900,
	  0 },
	{ "silent, with a long one",
	  ONE "timeout = 4s\n",
	  { BENCH_SILENT },
	  UPSTREAM_TIMEOUT,
	  0,
	  3,
	  ATTEMPTS_DEADLINE_MS,
	  1 },
	{ "SERVFAIL", ONE, { BENCH_SERVFAIL }, UPSTREAM_ERROR, DNS_RCODE_SERVFAIL, 1, 0, 0 },
	{ "truncated", ONE, { BENCH_TRUNCATED }, UPSTREAM_ANSWER, 0, 2, 0, 0 },
	{ "truncated by TCP too", ONE, { BENCH_TRUNCATED_ALWAYS }, UPSTREAM_MALFORMED, 0, 2, 0, 0 },
	{ "no EDNS", ONE, { BENCH_NO_EDNS }, UPSTREAM_ANSWER, 0, 2, 0, 0 },
	{ "FORMERR", ONE, { BENCH_FORMERR }, UPSTREAM_ERROR, DNS_RCODE_FORMERR, 2, 0, 0 },
	{ "folds case", ONE, { BENCH_LOWER_CASE }, UPSTREAM_ANSWER, 0, 2, 0, 0 },
	{ "forgers", ONE, { BENCH_WRONG_IDS }, UPSTREAM_ANSWER, 0, 2, 0, 0 },
	{ "garbage", ONE, { BENCH_GARBAGE }, UPSTREAM_MALFORMED, 0, 1, 0, 0 },
	{ "TCP", TCP, { BENCH_GOOD }, UPSTREAM_ANSWER, 0, 1, 0, 0 },
	{ "resets",
	  TCP,
	  { BENCH_RESET },
	  UPSTREAM_UNREACHABLE,
	  0,
	  3,
	  ATTEMPTS_REPEAT_AFTER_ERROR_MS,
	  0 },
	{ "silent stream", TCP, { BENCH_SILENT }, UPSTREAM_UNREACHABLE, 0, 3, 4500, 0 },
	{ "the first is silent",
	  TWO,
	  { BENCH_SILENT, BENCH_GOOD },
	  UPSTREAM_ANSWER,
	  0,
	  2,
	  ATTEMPTS_HEDGE_UNKNOWN_MS,
	  1 },
	{ "both are silent", TWO, { BENCH_SILENT, BENCH_SILENT }, UPSTREAM_TIMEOUT, 0, 3, 4000, 1 },
	{ "the first refuses", TWO, { BENCH_REFUSED, BENCH_GOOD }, UPSTREAM_ANSWER, 0, 2, 0, 0 },
	{ "both refuse",
	  TWO,
	  { BENCH_REFUSED, BENCH_SERVFAIL },
	  UPSTREAM_ERROR,
	  DNS_RCODE_REFUSED,
	  2,
	  0,
	  0 },
	{ "a refusal, then silence",
	  TWO,
	  { BENCH_SERVFAIL, BENCH_SILENT },
	  UPSTREAM_ERROR,
	  DNS_RCODE_SERVFAIL,
	  3,
	  4000,
	  0 },
	{ "FORMERR, truncated",
	  TWO,
	  { BENCH_NO_EDNS, BENCH_TRUNCATED },
	  UPSTREAM_ANSWER,
	  0,
	  2,
	  0,
	  0 },
	{ "race",
	  RACE,
	  { BENCH_SERVFAIL, BENCH_SILENT, BENCH_GOOD, BENCH_GOOD },
	  UPSTREAM_ANSWER,
	  0,
	  3,
	  0,
	  0 },
	{ "race that all lose",
	  RACE,
	  { BENCH_SERVFAIL, BENCH_SILENT, BENCH_TRUNCATED, BENCH_GOOD },
	  UPSTREAM_ERROR,
	  DNS_RCODE_SERVFAIL,
	  3,
	  2000,
	  0 },
};

START_TEST(test_ends)
{
	struct asker asker;
	unsigned took_ms;

	start(&asker, ends[_i].config);
	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		asker.bench.servers[i].mode = ends[_i].modes[i];
	}
	ask(&asker);
	took_ms = wait_for_end(&asker);
	ck_assert_msg(asker.outcome == ends[_i].outcome, "%s: %s", ends[_i].what,
		      upstream_outcome_name(asker.outcome));
	ck_assert_msg(asker.rcode == ends[_i].rcode, "%s: RCODE %u", ends[_i].what, asker.rcode);
	ck_assert_msg(took_ms + 2 >= ends[_i].at_ms && took_ms <= ends[_i].at_ms + TICKS_MS,
		      "%s: at %u", ends[_i].what, took_ms);
	ck_assert_uint_le(took_ms, ATTEMPTS_DEADLINE_MS);
	/* Nothing is sent after the end either. */
	clock_pass(asker.bench.loop, 5000);
	ck_assert_msg(bench_sends(&asker.bench) == ends[_i].sends, "%s: %u sends", ends[_i].what,
		      bench_sends(&asker.bench));
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_sends), ends[_i].sends);
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_hedges), ends[_i].hedges);
	ck_assert_uint_eq(asker.done_count, 1);
	stop(&asker);
}
END_TEST

/* Every combination of what four servers do, each strategy: never more than three messages, and an
 * end within 4.5 s. */
START_TEST(test_never_more_than_three_sends)
{
	static const char *const strategies[] = { "fastest", "failover", "roundrobin", "leastconn",
						  "race" };
	static const enum bench_mode modes[] = {
		BENCH_SILENT, BENCH_SERVFAIL,  BENCH_TRUNCATED_ALWAYS, BENCH_NO_EDNS,
		BENCH_RESET,  BENCH_WRONG_IDS, BENCH_LOWER_CASE
	};
	enum {
		MODES = sizeof modes / sizeof modes[0]
	};
	char text[256];
	struct asker asker;

	snprintf(text, sizeof text,
		 "[upstream default]\nserver = $0, tcp://$1, $2\nstrategy = %s\ntimeout = 1s\n",
		 strategies[_i]);
	start(&asker, text);
	for (unsigned round = 0; round < MODES * MODES * MODES; round++) {
		unsigned before = bench_sends(&asker.bench);
		unsigned sent;

		for (unsigned i = 0, digits = round; i < 3; i++, digits /= MODES) {
			asker.bench.servers[i].mode = modes[digits % MODES];
		}
		ask(&asker);
		ck_assert_uint_le(wait_for_end(&asker), ATTEMPTS_DEADLINE_MS);
		clock_settle(asker.bench.loop);
		sent = bench_sends(&asker.bench) - before;
		ck_assert_msg(sent >= 1 && sent <= ATTEMPTS_SENDS_MAX, "round %u: %u", round, sent);
		for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
			asker.bench.servers[i].count = 0;
		}
	}
	stop(&asker);
}
END_TEST

/* --- streams that all fall silent ----------------------------------------------------------- */

static const char *const stream_groups[] = {
	"[upstream default]\nserver = tcp://$0, tcp://$1, tcp://$2, tcp://$3\nstrategy = "
	"leastconn\n",
	"[upstream default]\nserver = tcp://$0, tcp://$1, tcp://$2, tcp://$3\nstrategy = "
	"failover\n",
	/* A race among three has no send left. */
	"[upstream default]\nserver = tcp://$0, tcp://$1\nstrategy = race\n",
	"[upstream default]\nserver = tcp://$0, tcp://$1, tcp://$2\nstrategy = fastest\n",
	"[upstream default]\nserver = tcp://$0, $1\nstrategy = failover\n",
};

/* As after a redial of the router: no connection answers any more, and nobody resets them; new ones
 * work. The question is answered within 2 s, though it may be sent only three times. */
START_TEST(test_all_streams_fall_silent)
{
	struct asker asker;
	unsigned took_ms;

	start(&asker, stream_groups[_i]);
	/* Each has a connection, and is known to be quick. */
	for (unsigned round = 0; round < 2 * HEALTH_SAMPLES_MIN; round++) {
		for (unsigned i = 0; i < asker.group->pool.count; i++) {
			const struct upstream_question question = {
				.query = &asker.query,
				.done = on_done,
				.arg = &asker,
			};
			unsigned before = asker.done_count;

			ck_assert_ptr_nonnull(upstream_ask(asker.group->upstreams[i], &question));
			ck_assert(clock_reach(asker.bench.loop, &asker.done_count, before + 1));
		}
	}
	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		asker.bench.servers[i].silent_before =
			asker.bench.servers[i].dns.connection_count + 1;
		asker.bench.servers[i].count = 0;
	}
	clock_pass(asker.bench.loop, 10);
	ask(&asker);
	took_ms = wait_for_end(&asker);
	ck_assert_str_eq(upstream_outcome_name(asker.outcome), "answer");
	ck_assert_uint_le(took_ms, 2000);
	ck_assert_uint_le(bench_sends(&asker.bench), ATTEMPTS_SENDS_MAX);
	/* And the next at once. */
	ask(&asker);
	ck_assert_uint_le(wait_for_end(&asker), ATTEMPTS_HEDGE_MIN_MS);
	ck_assert_str_eq(upstream_outcome_name(asker.outcome), "answer");
	stop(&asker);
}
END_TEST

/* --- the rest -------------------------------------------------------------------------------- */

START_TEST(test_trial_of_a_server_that_was_down)
{
	struct asker asker;

	start(&asker, TWO QUICK);
	asker.bench.servers[0].mode = BENCH_SILENT;
	while (!upstream_health(asker.group->upstreams[0])->down) {
		ask(&asker);
		wait_for_end(&asker);
		ck_assert_int_eq(asker.outcome, UPSTREAM_ANSWER);
		clock_pass(asker.bench.loop, 500);
	}
	/* Down: not asked. */
	asker.bench.servers[0].count = 0;
	ask(&asker);
	ck_assert_uint_le(wait_for_end(&asker), 1);
	ck_assert_uint_eq(asker.bench.servers[0].count, 0);
	/* Due: asked besides, and nobody waits for it. */
	clock_jump(asker.bench.loop, HEALTH_BACKOFF_FIRST_MS);
	ask(&asker);
	ck_assert_uint_le(wait_for_end(&asker), 1);
	bench_expect_seen(&asker.bench, 0, 1);
	/* Once only. */
	ask(&asker);
	ck_assert_uint_le(wait_for_end(&asker), 1);
	ck_assert_uint_eq(asker.bench.servers[0].count, 1);
	ck_assert_int_eq(bench_counter(&asker.bench, METRIC_upstream_trials), 1);
	stop(&asker);
}
END_TEST

/* A server that refuses what another one answers has something wrong with it. */
START_TEST(test_refusals_count_when_another_answers)
{
	struct asker asker;

	start(&asker, TWO);
	asker.bench.servers[0].mode = BENCH_REFUSED;
	asker.bench.servers[1].mode = BENCH_REFUSED;
	for (unsigned i = 0; i < 2 * HEALTH_DOUBTS_MAX; i++) {
		char name[32];

		snprintf(name, sizeof name, "n%u.example", i);
		bench_query(&asker.query, name);
		ask(&asker);
		wait_for_end(&asker);
		ck_assert(!upstream_health(asker.group->upstreams[0])->down);
		if (i >= HEALTH_DOUBTS_MAX) {
			asker.bench.servers[1].mode = BENCH_GOOD;
		}
	}
	for (unsigned i = 0; i < 1; i++) {
		bench_query(&asker.query, "last.example");
		ask(&asker);
		wait_for_end(&asker);
	}
	ck_assert(upstream_health(asker.group->upstreams[0])->down);
	stop(&asker);
}
END_TEST

#define LABEL_61 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdefg"
#define LABEL_63 LABEL_61 "hi"

/* 255 octets, each letter of which may get the other case. */
START_TEST(test_longest_name)
{
	struct asker asker;

	start(&asker, ONE);
	bench_query(&asker.query, LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61);
	ck_assert_uint_eq(asker.query.question_len, DNSMSG_QUESTION_MAX);
	ask(&asker);
	wait_for_end(&asker);
	ck_assert_int_eq(asker.outcome, UPSTREAM_ANSWER);
	stop(&asker);
}
END_TEST

START_TEST(test_cancel)
{
	struct asker asker;

	start(&asker, ONE);
	forward_cancel(&asker.forward);
	asker.bench.servers[0].mode = BENCH_SILENT;
	ask(&asker);
	forward_cancel(&asker.forward);
	forward_cancel(&asker.forward);
	clock_pass(asker.bench.loop, 5000);
	ck_assert_uint_eq(asker.done_count, 0);
	ck_assert_uint_eq(bench_sends(&asker.bench), 1);
	stop(&asker);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("forward");
	TCase *tcase = tcase_create("forward");

	tcase_add_loop_test(tcase, test_ends, 0, sizeof ends / sizeof ends[0]);
	tcase_add_loop_test(tcase, test_never_more_than_three_sends, 0, 5);
	tcase_add_loop_test(tcase, test_all_streams_fall_silent, 0,
			    sizeof stream_groups / sizeof stream_groups[0]);
	tcase_add_test(tcase, test_trial_of_a_server_that_was_down);
	tcase_add_test(tcase, test_refusals_count_when_another_answers);
	tcase_add_test(tcase, test_longest_name);
	tcase_add_test(tcase, test_cancel);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
