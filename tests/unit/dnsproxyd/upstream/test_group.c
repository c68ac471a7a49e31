/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/group.h"

#include "dnsproxyd/upstream/defence.h"
#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/bench.h"
#include "tests/unit/suite.h"

/* Two groups; the second has a stream. */
#define TWO                                                            \
	"[upstream default]\nserver = $0, $1\nstrategy = roundrobin\n" \
	"[upstream corp]\nserver = tcp://$2\ntimeout = 1s\n"           \
	"[forward corp]\ndomain = corp.example\nupstream = corp\n"

struct asker {
	struct bench bench;
	struct groups *groups;
	unsigned done_count;
	enum upstream_outcome outcome;
};

static void on_done(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		    const struct dnsreply *reply)
{
	struct asker *asker = arg;

	(void)msg;
	(void)reply;
	asker->done_count++;
	asker->outcome = outcome;
}

static void start(struct asker *asker, const char *text)
{
	*asker = (struct asker){ .groups = NULL };
	bench_start(&asker->bench, text);
	asker->groups = groups_new(asker->bench.loop, asker->bench.metrics, asker->bench.config,
				   NULL, NULL);
	ck_assert_ptr_nonnull(asker->groups);
}

static void stop(struct asker *asker)
{
	groups_free(asker->groups);
	bench_stop(&asker->bench);
}

static void ask(struct asker *asker, struct upstream *upstream)
{
	struct dnsmsg_query query;
	const struct upstream_question question = { .query = &query,
						    .done = on_done,
						    .arg = asker };
	unsigned before = asker->done_count;

	bench_query(&query, "abcdefghijklmnopqrstuvwxyz.example");
	ck_assert_ptr_nonnull(upstream_ask(upstream, &question));
	ck_assert(clock_reach(asker->bench.loop, &asker->done_count, before + 1));
}

START_TEST(test_pool_follows_the_configuration)
{
	struct asker asker;
	struct group *first;
	struct group *second;

	start(&asker, TWO);
	first = groups_get(asker.groups, 0);
	second = groups_get(asker.groups, 1);
	ck_assert_ptr_eq(groups_get(asker.groups, 2), first);
	ck_assert_str_eq(first->name, "default");
	ck_assert_str_eq(second->name, "corp");
	ck_assert_uint_eq(first->pool.count, 2);
	ck_assert_uint_eq(second->pool.count, 1);
	ck_assert_uint_eq(first->pool.streams, 0);
	ck_assert_uint_eq(second->pool.streams, 1);
	ck_assert_uint_eq(first->pool.timeout_ms, 2000);
	ck_assert_uint_eq(second->pool.timeout_ms, 1000);
	ck_assert_int_eq(first->pool.strategy, BALANCE_ROUNDROBIN);
	ck_assert_int_eq(second->pool.strategy, BALANCE_FASTEST);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ptr_eq(pool_health(&first->pool, i),
				 upstream_health(first->upstreams[i]));
	}
	stop(&asker);
}
END_TEST

START_TEST(test_open_questions_are_counted)
{
	struct asker asker;
	struct dnsmsg_query query;
	const struct upstream_question question = { .query = &query,
						    .done = on_done,
						    .arg = &asker };
	struct group *g;

	start(&asker, TWO);
	g = groups_get(asker.groups, 0);
	asker.bench.servers[1].mode = BENCH_SILENT;
	bench_query(&query, "open.example");
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_ptr_nonnull(upstream_ask(g->upstreams[1], &question));
		ck_assert_ptr_eq(group_pool(g), &g->pool);
		ck_assert_uint_eq(g->pool.entries[0].open_count, 0);
		ck_assert_uint_eq(g->pool.entries[1].open_count, i);
	}
	/* Their end is told of when the servers go. */
	groups_free(asker.groups);
	asker.groups = NULL;
	ck_assert_uint_eq(asker.done_count, 3);
	ck_assert_int_eq(asker.outcome, UPSTREAM_CANCELLED);
	stop(&asker);
}
END_TEST

START_TEST(test_own_question)
{
	struct asker asker;
	struct dnsmsg_query query;
	const struct upstream_question question = { .query = &query,
						    .done = on_done,
						    .arg = &asker };

	start(&asker, "[privacy]\nrandomize-case = off\n" TWO);
	asker.bench.servers[1].mode = BENCH_SILENT;
	bench_query(&query, "own.example");
	ck_assert_ptr_nonnull(upstream_ask(groups_get(asker.groups, 0)->upstreams[1], &question));
	bench_expect_seen(&asker.bench, 1, 1);
	query.id = asker.bench.servers[1].seen[0].id;
	ck_assert_int_eq(group_find_asking(groups_get(asker.groups, 0), &query), 1);
	ck_assert_int_eq(group_find_asking(groups_get(asker.groups, 1), &query), -1);
	query.id++;
	ck_assert_int_eq(group_find_asking(groups_get(asker.groups, 0), &query), -1);
	stop(&asker);
}
END_TEST

static const struct {
	const char *text;
	bool adopted; /* without new servers */
} changes[] = {
	{ TWO, true },
	{ TWO "[cache]\nmax-ttl = 1h\n", true },
	{ "[upstream default]\nserver = $0, $1\nstrategy = race\n"
	  "[upstream corp]\nserver = tcp://$2\ntimeout = 1s\n"
	  "[forward corp]\ndomain = other.example\nupstream = corp\n",
	  true },
	{ "[upstream default]\nserver = $0, $1\n", false },
	{ "[upstream default]\nserver = $1, $0\n"
	  "[upstream corp]\nserver = tcp://$2\ntimeout = 1s\n",
	  false },
	{ "[upstream default]\nserver = $0, $1\n"
	  "[upstream corp]\nserver = tcp://$2\ntimeout = 2s\n",
	  false },
	{ "[upstream default]\nserver = $0, $1\n"
	  "[upstream corp]\nserver = $2\ntimeout = 1s\n",
	  false },
	{ "[privacy]\nrandomize-case = off\n" TWO, false },
	{ "[limits]\nmax-outstanding = 7\n" TWO, false },
};

START_TEST(test_adopt)
{
	struct asker asker;
	struct bench_config old;

	start(&asker, TWO);
	old = bench_configure(&asker.bench, changes[_i].text);
	ck_assert_int_eq(groups_adopt(asker.groups, asker.bench.config), changes[_i].adopted);
	if (changes[_i].adopted) {
		ck_assert_int_eq(groups_get(asker.groups, 0)->pool.strategy,
				 asker.bench.config->groups[0].strategy);
		ck_assert_ptr_eq(groups_get(asker.groups, 1)->name,
				 asker.bench.config->groups[1].name);
	} else {
		groups_free(asker.groups);
		asker.groups = NULL;
	}
	bench_forget(old);
	stop(&asker);
}
END_TEST

/* Servers that stay keep health, times, what is known of their ways, and counters, also when their
 * group or others change; servers that are new know nothing. */
START_TEST(test_knowledge_survives)
{
	static const char changed[] = "[privacy]\nrandomize-case = on\n"
				      "[upstream default]\nserver = $3, $1, $0\n"
				      "[upstream lab]\nserver = tcp://$2\n"
				      "[upstream corp]\nserver = $3\n";
	struct asker asker;
	struct bench_config old_config;
	struct groups *old;
	struct group *g;

	start(&asker, TWO);
	g = groups_get(asker.groups, 0);
	/* The first cannot do EDNS; the second answers slowly; the third goes down. */
	asker.bench.servers[0].mode = BENCH_NO_EDNS;
	ask(&asker, g->upstreams[0]);
	ask(&asker, g->upstreams[0]);
	for (unsigned i = 0; i < HEALTH_SAMPLES_MIN; i++) {
		ask(&asker, g->upstreams[1]);
	}
	asker.bench.servers[2].mode = BENCH_RESET;
	for (unsigned i = 0; i < HEALTH_FAILURES_MAX; i++) {
		clock_pass(asker.bench.loop, HEALTH_INCIDENT_MS);
		ask(&asker, groups_get(asker.groups, 1)->upstreams[0]);
	}

	old_config = bench_configure(&asker.bench, changed);
	ck_assert(!groups_adopt(asker.groups, asker.bench.config));
	old = asker.groups;
	asker.groups =
		groups_new(asker.bench.loop, asker.bench.metrics, asker.bench.config, NULL, old);
	ck_assert_ptr_nonnull(asker.groups);
	groups_free(old);
	bench_forget(old_config);

	g = groups_get(asker.groups, 0);
	ck_assert_uint_eq(upstream_stats(g->upstreams[0])->sends, 0);
	ck_assert(!upstream_health(g->upstreams[0])->measured);
	ck_assert_uint_eq(upstream_stats(g->upstreams[1])->sends, HEALTH_SAMPLES_MIN);
	ck_assert_uint_eq(upstream_stats(g->upstreams[1])->answers, HEALTH_SAMPLES_MIN);
	ck_assert_uint_eq(health_p95_ms(upstream_health(g->upstreams[1]), 9999), 1);
	ck_assert_uint_eq(upstream_stats(g->upstreams[2])->sends, 2);
	ask(&asker, g->upstreams[2]);
	ck_assert_int_eq(asker.outcome, UPSTREAM_ANSWER);
	ck_assert(!asker.bench.servers[0].seen[2].has_opt);
	/* Under another name the same server is the same. */
	ck_assert(upstream_health(groups_get(asker.groups, 1)->upstreams[0])->down);
	/* The same address by another protocol is not. */
	ck_assert(!upstream_health(groups_get(asker.groups, 2)->upstreams[0])->down);
	stop(&asker);
}
END_TEST

/* That random case is off, and that forgers are about, is kept as well. */
START_TEST(test_defences_survive)
{
	struct asker asker;
	struct bench_config old_config;
	struct groups *old;
	struct bench_server *server;

	start(&asker, TWO);
	server = &asker.bench.servers[0];
	server->mode = BENCH_WRONG_IDS;
	ask(&asker, groups_get(asker.groups, 0)->upstreams[0]);
	ck_assert_int_eq(asker.outcome, UPSTREAM_BY_STREAM);
	old_config = bench_configure(&asker.bench, "[upstream default]\nserver = $0\n");
	old = asker.groups;
	asker.groups =
		groups_new(asker.bench.loop, asker.bench.metrics, asker.bench.config, NULL, old);
	groups_free(old);
	bench_forget(old_config);
	ask(&asker, groups_get(asker.groups, 0)->upstreams[0]);
	ck_assert_int_eq(asker.outcome, UPSTREAM_ANSWER);
	ck_assert(server->seen[server->count - 1].by_tcp);
	clock_jump(asker.bench.loop, DEFENCE_STREAM_MS);
	server->mode = BENCH_GOOD;
	ask(&asker, groups_get(asker.groups, 0)->upstreams[0]);
	ck_assert(!server->seen[server->count - 1].by_tcp);
	stop(&asker);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("group");
	TCase *tcase = tcase_create("group");

	tcase_add_test(tcase, test_pool_follows_the_configuration);
	tcase_add_test(tcase, test_open_questions_are_counted);
	tcase_add_test(tcase, test_own_question);
	tcase_add_loop_test(tcase, test_adopt, 0, sizeof changes / sizeof changes[0]);
	tcase_add_test(tcase, test_knowledge_survives);
	tcase_add_test(tcase, test_defences_survive);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
