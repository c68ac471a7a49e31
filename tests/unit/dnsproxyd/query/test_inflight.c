/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/inflight.h"

#include "common/container.h"
#include "common/crypto.h"

#include "tests/unit/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NO_LIMIT   1000
#define GENERATION 1

struct client {
	struct inflight_waiter waiter;
	unsigned told;
	bool had_answer;
	int outcome;
	unsigned rcode;
	char text[16];
	struct client *leaves; /* whom it takes along when it is told */
};

static struct inflight *table;

static void on_told(struct inflight_waiter *waiter, const struct inflight_answer *answer)
{
	struct client *client = container_of(waiter, struct client, waiter);

	client->told++;
	client->had_answer = answer != NULL;
	if (answer) {
		client->outcome = answer->outcome;
		client->rcode = answer->rcode;
		memcpy(client->text, answer->msg, answer->len);
	}
	if (client->leaves) {
		inflight_leave(table, &client->leaves->waiter);
	}
}

static struct cache_key make_key(unsigned number)
{
	struct cache_key key = { .hash = number * UINT64_C(0x9e3779b97f4a7c15), .len = 8 };

	memcpy(key.bytes, &number, sizeof number);
	return key;
}

static enum inflight_role join(struct client *client, struct inflight_port *port, unsigned number,
			       struct inflight_question **ret_question)
{
	const struct cache_key key = make_key(number);

	return inflight_join(table, &key, GENERATION, port, NO_LIMIT, &client->waiter, on_told,
			     ret_question);
}

static struct inflight_answer *text_answer(const char *text)
{
	return inflight_answer_new(7, 3, (const uint8_t *)text, strlen(text));
}

START_TEST(test_one_leads_and_all_are_told)
{
	struct loop *loops[2] = { loop_new(), loop_new() };
	struct client clients[6] = { { .told = 0 } };
	struct inflight_port *ports[2];
	struct inflight_question *question;
	struct inflight_question *others[2];

	table = inflight_new();
	ports[0] = inflight_port_new(table, loops[0]);
	ports[1] = inflight_port_new(table, loops[1]);
	ck_assert_int_eq(join(&clients[0], ports[0], 1, &question), INFLIGHT_LEADS);
	ck_assert_int_eq(join(&clients[1], ports[0], 1, NULL), INFLIGHT_FOLLOWS);
	ck_assert_int_eq(join(&clients[2], ports[1], 1, NULL), INFLIGHT_FOLLOWS);
	ck_assert_int_eq(join(&clients[3], ports[1], 1, NULL), INFLIGHT_FOLLOWS);
	ck_assert_int_eq(join(&clients[4], ports[1], 2, &others[0]), INFLIGHT_LEADS);
	ck_assert_int_eq(inflight_open(table, &(struct cache_key){ .hash = 5, .len = 1 },
				       GENERATION, &others[1]),
			 INFLIGHT_LEADS);
	inflight_leave(table, &clients[3].waiter);
	inflight_finish(table, question, ports[0], text_answer("ok"));
	ck_assert_uint_eq(clients[0].told, 1);
	ck_assert_uint_eq(clients[1].told, 1);
	ck_assert_msg(clients[2].told == 0, "another worker's: not on this thread");
	loop_turn(loops[1], 0);
	ck_assert_uint_eq(clients[2].told, 1);
	ck_assert_uint_eq(clients[3].told, 0);
	ck_assert_uint_eq(clients[4].told, 0);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_str_eq(clients[i].text, "ok");
		ck_assert_int_eq(clients[i].outcome, 7);
		ck_assert_uint_eq(clients[i].rcode, 3);
	}
	/* It is closed: the next one leads again. */
	ck_assert_int_eq(join(&clients[5], ports[1], 1, &question), INFLIGHT_LEADS);
	inflight_finish(table, question, ports[1], NULL);
	ck_assert_uint_eq(clients[5].told, 1);
	ck_assert_msg(!clients[5].had_answer, "out of memory is told too");
	inflight_leave(table, &clients[4].waiter);
	inflight_finish(table, others[0], ports[1], text_answer("late"));
	inflight_finish(table, others[1], ports[1], text_answer("late"));
	ck_assert_uint_eq(clients[4].told, 0);
	inflight_free(table);
	loop_free(loops[0]);
	loop_free(loops[1]);
}
END_TEST

START_TEST(test_leaving_at_any_time)
{
	struct loop *loop = loop_new();
	struct client a = { .told = 0 };
	struct client b = { .told = 0 };
	struct client c = { .told = 0 };
	struct inflight_question *question;
	struct inflight_port *port;

	table = inflight_new();
	port = inflight_port_new(table, loop);
	/* The leader's own client leaves; those who follow are still told. */
	ck_assert_int_eq(join(&a, port, 1, &question), INFLIGHT_LEADS);
	ck_assert_int_eq(join(&b, port, 1, NULL), INFLIGHT_FOLLOWS);
	inflight_leave(table, &a.waiter);
	inflight_leave(table, &a.waiter);
	/* Finished by another worker, or from where nobody may be called: told later. */
	inflight_finish(table, question, NULL, text_answer("x"));
	ck_assert_uint_eq(b.told, 0);
	/* It leaves while the answer is on its way. */
	ck_assert_int_eq(join(&c, port, 2, &question), INFLIGHT_LEADS);
	inflight_finish(table, question, NULL, text_answer("y"));
	inflight_leave(table, &c.waiter);
	loop_turn(loop, 0);
	ck_assert_uint_eq(a.told, 0);
	ck_assert_uint_eq(b.told, 1);
	ck_assert_uint_eq(c.told, 0);
	/* One who is told makes the next leave. */
	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	ck_assert_int_eq(join(&a, port, 3, &question), INFLIGHT_LEADS);
	ck_assert_int_eq(join(&b, port, 3, NULL), INFLIGHT_FOLLOWS);
	a.leaves = &b;
	inflight_finish(table, question, port, text_answer("z"));
	ck_assert_uint_eq(a.told, 1);
	ck_assert_uint_eq(b.told, 0);
	inflight_free(table);
	loop_free(loop);
}
END_TEST

/* The same question to other servers is another one. */
START_TEST(test_generations)
{
	struct loop *loop = loop_new();
	struct client clients[3] = { { .told = 0 } };
	struct inflight_question *questions[2];
	struct cache_key key = make_key(1);
	struct inflight_port *port;

	table = inflight_new();
	port = inflight_port_new(table, loop);
	ck_assert_int_eq(join(&clients[0], port, 1, &questions[0]), INFLIGHT_LEADS);
	ck_assert_int_eq(inflight_join(table, &key, GENERATION + 1, port, NO_LIMIT,
				       &clients[1].waiter, on_told, &questions[1]),
			 INFLIGHT_LEADS);
	ck_assert_int_eq(inflight_open(table, &key, GENERATION + 1, NULL), INFLIGHT_FOLLOWS);
	ck_assert_int_eq(join(&clients[2], port, 1, NULL), INFLIGHT_FOLLOWS);
	inflight_finish(table, questions[0], port, text_answer("old"));
	ck_assert_str_eq(clients[0].text, "old");
	ck_assert_str_eq(clients[2].text, "old");
	ck_assert_uint_eq(clients[1].told, 0);
	inflight_finish(table, questions[1], port, text_answer("new"));
	ck_assert_str_eq(clients[1].text, "new");
	inflight_free(table);
	loop_free(loop);
}
END_TEST

START_TEST(test_limit)
{
	struct loop *loop = loop_new();
	const struct cache_key key = make_key(1);
	struct client clients[4] = { { .told = 0 } };
	struct inflight_question *question;
	struct inflight_port *port;

	table = inflight_new();
	port = inflight_port_new(table, loop);
	for (unsigned i = 0; i < 4; i++) {
		enum inflight_role role = inflight_join(table, &key, GENERATION, port, 3,
							&clients[i].waiter, on_told, &question);

		ck_assert_int_eq(role, i == 0   ? INFLIGHT_LEADS
				       : i == 3 ? INFLIGHT_CROWDED
						: INFLIGHT_FOLLOWS);
	}
	/* One who was not let in does not wait. */
	inflight_leave(table, &clients[3].waiter);
	inflight_leave(table, &clients[1].waiter);
	ck_assert_int_eq(
		inflight_join(table, &key, GENERATION, port, 3, &clients[3].waiter, on_told, NULL),
		INFLIGHT_FOLLOWS);
	inflight_finish(table, question, port, text_answer("x"));
	ck_assert_uint_eq(clients[0].told + clients[2].told + clients[3].told, 3);
	ck_assert_uint_eq(clients[1].told, 0);
	inflight_free(table);
	loop_free(loop);
}
END_TEST

/* --- threads --------------------------------------------------------------------------------- */

enum {
	THREADS = 3,
	ROUNDS = 4000,
	OPEN = 8,
	QUESTIONS = 5,
};

struct worker_state {
	struct loop *loop;
	struct inflight_port *port;
	unsigned led;
	unsigned expected;
	unsigned told;
};

static void *run_worker(void *arg)
{
	struct worker_state *w = arg;
	struct client clients[OPEN] = { { .told = 0 } };
	struct inflight_question *leads[OPEN] = { NULL };

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned i = crypto_random_below(OPEN);
		struct client *client = &clients[i];

		w->told += client->told;
		client->told = 0;
		if (leads[i]) {
			inflight_finish(table, leads[i], w->port, text_answer("t"));
			leads[i] = NULL;
		} else if (client->waiter.port && crypto_random_below(2)) {
			inflight_leave(table, &client->waiter);
			w->expected--;
		} else if (!client->waiter.port) {
			enum inflight_role role =
				join(client, w->port, crypto_random_below(QUESTIONS), &leads[i]);

			ck_assert(role == INFLIGHT_LEADS || role == INFLIGHT_FOLLOWS);
			w->led += role == INFLIGHT_LEADS;
			w->expected++;
		}
		loop_turn(w->loop, 0);
	}
	for (unsigned i = 0; i < OPEN; i++) {
		if (leads[i]) {
			inflight_finish(table, leads[i], w->port, text_answer("t"));
		}
	}
	/* Others may still lead what these wait for. */
	for (unsigned i = 0; i < OPEN; i++) {
		while (clients[i].waiter.port) {
			loop_turn(w->loop, 10);
		}
		w->told += clients[i].told;
	}
	return NULL;
}

START_TEST(test_many_threads)
{
	struct worker_state workers[THREADS] = { { .led = 0 } };
	pthread_t threads[THREADS];
	unsigned led = 0;

	ck_assert_int_eq(crypto_init(), 0);
	table = inflight_new();
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].loop = loop_new();
		workers[i].port = inflight_port_new(table, workers[i].loop);
		pthread_create(&threads[i], NULL, run_worker, &workers[i]);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		led += workers[i].led;
		ck_assert_msg(workers[i].told == workers[i].expected, "each is told exactly once");
	}
	/* One may find all questions taken by the others throughout; all together may not. */
	ck_assert_uint_gt(led, QUESTIONS);
	inflight_free(table);
	for (unsigned i = 0; i < THREADS; i++) {
		loop_free(workers[i].loop);
	}
}
END_TEST

SUITE_MAIN("inflight", test_one_leads_and_all_are_told, test_leaving_at_any_time, test_generations,
	   test_limit, test_many_threads)
