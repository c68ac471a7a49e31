/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/crypto.h"
#include "socksd/auth/auth.h"
#include "socksd/metrics.h"

#include "tests/unit/suite.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* alice has "open sesame", bob "open says me"; cheap hashes, so that many fit into a test. */
#define USERS                                                      \
	"alice:$argon2id$v=19$m=8,t=1,p=1$xQIRKcPtzhyBAgtIVM/9bw$" \
	"miXxu4TB3ZUGIol1NHPKSaBTr1UHCUDx+L0qT8leu+Q\n"            \
	"bob:$argon2id$v=19$m=8,t=1,p=1$2LEQoAtf1DZFK7UFM+DMvw$"   \
	"qgePaDU8/OY0QYvojwXlzpJ8BnEzEOXGVrHpsl46xAg\n"

enum {
	HELPERS = 2,
	FAILURES = 4,
	INTERVAL_MS = 600000,
	QUEUE_MAX = 256,
	QUEUE_PER_SOURCE_MAX = 128,
	QUEUE_WAIT_MS = 5000,
	ASKED_MAX = 512,
};

/* A job that keeps a helper busy until the gate opens. */
struct blocker {
	struct helper_job job;
	sem_t *gate;
	bool done;
};

/* One check and what came of it. */
struct asked {
	struct auth_check *check;
	enum auth_outcome outcome;
};

static struct helpers *helpers;
static struct auth_worker workers[2];
static struct users *users;
static struct auth *auth;
static sem_t gate;
static struct blocker blockers[HELPERS];
static struct asked asked[ASKED_MAX];
static size_t asked_count;

static void setup(void)
{
	struct ini_error error;

	ck_assert_int_eq(crypto_init(), 0);
	helpers = helpers_new(HELPERS, 16);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
		workers[i] = (struct auth_worker){ helpers, loop_new(), metrics_new(METRIC_COUNT) };
		/* takes the time */
		loop_turn(workers[i].loop, 0);
	}
	ck_assert_int_eq(users_parse("users", USERS, strlen(USERS), &users, &error), 0);
	auth = auth_new();
	auth_configure(auth, FAILURES, INTERVAL_MS);
	asked_count = 0;
	memset(asked, 0, sizeof asked);
}

static void teardown(void)
{
	/* As service.c does it. */
	helpers_stop(helpers);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
		loop_turn(workers[i].loop, 0);
		loop_turn(workers[i].loop, 0);
	}
	helpers_free(helpers);
	auth_free(auth);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
		loop_free(workers[i].loop);
		free(workers[i].metrics);
	}
	users_free(users);
}

static void on_done(void *arg, enum auth_outcome outcome)
{
	struct asked *a = arg;

	ck_assert_int_eq(a->outcome, AUTH_PENDING);
	ck_assert_int_ne(outcome, AUTH_PENDING);
	a->outcome = outcome;
}

static struct asked *ask_worker(size_t worker, uint32_t from, const char *name,
				const char *password)
{
	struct addr client = addr_from_ipv4(
		(const uint8_t[]){ 10, 0, (uint8_t)(from >> 8), (uint8_t)from }, 1000);
	struct source source = source_of(&client);
	struct socks5_credentials credentials = { (const uint8_t *)name, (const uint8_t *)password,
						  (uint8_t)strlen(name),
						  (uint8_t)strlen(password) };
	struct asked *a = &asked[asked_count++];

	ck_assert_uint_le(asked_count, ASKED_MAX);
	a->outcome = auth_start(auth, &workers[worker], users, &source, &credentials, on_done, a,
				&a->check);
	return a;
}

static struct asked *ask(uint32_t from, const char *name, const char *password)
{
	return ask_worker(0, from, name, password);
}

static void wait_for(const struct asked *a)
{
	while (a->outcome == AUTH_PENDING) {
		for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
			loop_turn(workers[i].loop, 1);
		}
	}
}

/* Ask, wait if need be, and tell. */
static enum auth_outcome outcome_of(uint32_t from, const char *name, const char *password)
{
	struct asked *a = ask(from, name, password);

	wait_for(a);
	asked_count--;
	return a->outcome;
}

static int64_t counted(enum socksd_metric metric)
{
	return metrics_get(workers[0].metrics, metric) + metrics_get(workers[1].metrics, metric);
}

static void blocker_run(struct helper_job *job)
{
	sem_wait(container_of(job, struct blocker, job)->gate);
}

static void blocker_done(struct helper_job *job)
{
	container_of(job, struct blocker, job)->done = true;
}

/* Keep the helpers busy, so that hashes wait. */
static void close_gate(void)
{
	sem_init(&gate, 0, 0);
	for (int i = 0; i < HELPERS; i++) {
		blockers[i] = (struct blocker){ .gate = &gate };
		ck_assert_int_eq(helpers_submit(helpers, &blockers[i].job, workers[0].loop,
						blocker_run, blocker_done),
				 0);
	}
}

static void open_gate(void)
{
	for (int i = 0; i < HELPERS; i++) {
		sem_post(&gate);
	}
	while (!blockers[0].done || !blockers[1].done) {
		loop_turn(workers[0].loop, 10);
	}
}

START_TEST(test_outcomes)
{
	ck_assert_int_eq(outcome_of(1, "alice", "open sesame"), AUTH_OK);
	ck_assert_int_eq(outcome_of(1, "alice", "open says me"), AUTH_WRONG);
	ck_assert_int_eq(outcome_of(2, "bob", "open says me"), AUTH_OK);
	ck_assert_int_eq(outcome_of(2, "bob", ""), AUTH_WRONG);
	/* whatever hash an unknown user is tried on, he does not get in */
	ck_assert_int_eq(outcome_of(3, "carol", "open sesame"), AUTH_WRONG);
	ck_assert_int_eq(outcome_of(3, "carol", "open says me"), AUTH_WRONG);
	ck_assert_int_eq(outcome_of(4, "", "open sesame"), AUTH_WRONG);
	ck_assert_int_eq(outcome_of(4, "", "open says me"), AUTH_WRONG);
	ck_assert_int_eq(counted(METRIC_auth_hashes), 8);
}
END_TEST

START_TEST(test_single_flight)
{
	for (uint32_t i = 0; i < 64; i++) {
		ck_assert_int_eq(ask_worker(i % 2, i / 8, "alice", "open sesame")->outcome,
				 AUTH_PENDING);
	}
	for (uint32_t i = 0; i < 64; i++) {
		wait_for(&asked[i]);
		ck_assert_int_eq(asked[i].outcome, AUTH_OK);
	}
	ck_assert_int_eq(counted(METRIC_auth_hashes), 1);
	ck_assert_int_eq(counted(METRIC_auth_remembered), 0);
	/* and from now on none at all, on any worker */
	ck_assert_int_eq(ask_worker(1, 99, "alice", "open sesame")->outcome, AUTH_OK);
	ck_assert_int_eq(ask_worker(0, 98, "alice", "open sesame")->outcome, AUTH_OK);
	ck_assert_int_eq(counted(METRIC_auth_hashes), 1);
	ck_assert_int_eq(counted(METRIC_auth_remembered), 2);
}
END_TEST

/* However many connections make it, a wrong guess is one guess. */
START_TEST(test_single_flight_wrong)
{
	unsigned wrong = 0;

	for (int i = 0; i < 64; i++) {
		ask(1, "alice", "x");
	}
	for (int i = 0; i < 64; i++) {
		wait_for(&asked[i]);
		ck_assert(asked[i].outcome == AUTH_WRONG || asked[i].outcome == AUTH_REPEATED);
		wrong += asked[i].outcome == AUTH_WRONG;
	}
	ck_assert_uint_eq(wrong, 1);
	ck_assert_int_eq(counted(METRIC_auth_hashes), 1);
	/* and takes one token */
	for (int i = 1; i < FAILURES; i++) {
		ck_assert_int_eq(outcome_of(1, "alice", (char[]){ (char)('a' + i), '\0' }),
				 AUTH_WRONG);
	}
	ck_assert_int_eq(ask(1, "alice", "y")->outcome, AUTH_THROTTLED);
}
END_TEST

/* A wrong guess is remembered for its name only, also when there is no such user: else names that
 * share a hash would be told from others by their time. */
START_TEST(test_wrong_is_remembered)
{
	static const char *const names[] = { "alice", "bob", "carol", "dave" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ck_assert_int_eq(ask(1, names[i], "x")->outcome, AUTH_PENDING);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		wait_for(&asked[i]);
		ck_assert_int_eq(asked[i].outcome, AUTH_WRONG);
	}
	ck_assert_int_eq(counted(METRIC_auth_hashes), 4);
	/* no token is left, and none is needed */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ck_assert_int_eq(ask(1, names[i], "x")->outcome, AUTH_REPEATED);
	}
	ck_assert_int_eq(counted(METRIC_auth_hashes), 4);
}
END_TEST

START_TEST(test_forgotten_at_reload)
{
	ck_assert_int_eq(outcome_of(1, "alice", "open sesame"), AUTH_OK);
	ck_assert_int_eq(outcome_of(1, "alice", "wrong"), AUTH_WRONG);
	auth_configure(auth, FAILURES, INTERVAL_MS);
	ck_assert_int_eq(outcome_of(1, "alice", "open sesame"), AUTH_OK);
	ck_assert_int_eq(outcome_of(1, "alice", "wrong"), AUTH_WRONG);
	ck_assert_int_eq(counted(METRIC_auth_hashes), 4);
}
END_TEST

/* A hash that was changed is another question, whatever is remembered. */
START_TEST(test_changed_hash)
{
	static const char changed[] = "alice:$argon2id$v=19$m=8,t=1,p=1$2LEQoAtf1DZFK7UFM+DMvw$"
				      "qgePaDU8/OY0QYvojwXlzpJ8BnEzEOXGVrHpsl46xAg\n";
	struct users *old = users;
	struct ini_error error;

	ck_assert_int_eq(outcome_of(1, "alice", "open sesame"), AUTH_OK);
	ck_assert_int_eq(outcome_of(1, "alice", "open says me"), AUTH_WRONG);
	ck_assert_int_eq(users_parse("users", changed, strlen(changed), &users, &error), 0);
	ck_assert_int_eq(outcome_of(1, "alice", "open sesame"), AUTH_WRONG);
	ck_assert_int_eq(outcome_of(1, "alice", "open says me"), AUTH_OK);
	users_free(old);
}
END_TEST

START_TEST(test_throttle)
{
	char guess[16];

	ck_assert_int_eq(outcome_of(1, "alice", "open sesame"), AUTH_OK);
	for (int i = 0; i < FAILURES; i++) {
		snprintf(guess, sizeof guess, "guess %d", i);
		ck_assert_int_eq(outcome_of(2, i % 2 ? "bob" : "carol", guess), AUTH_WRONG);
	}
	ck_assert_int_eq(counted(METRIC_auth_hashes), 1 + FAILURES);
	/* not hashed for any more, right or wrong, known or not */
	ck_assert_int_eq(ask(2, "bob", "one more")->outcome, AUTH_THROTTLED);
	ck_assert_int_eq(ask(2, "carol", "one more")->outcome, AUTH_THROTTLED);
	ck_assert_int_eq(ask(2, "bob", "open says me")->outcome, AUTH_THROTTLED);
	ck_assert_int_eq(outcome_of(3, "bob", "open says me"), AUTH_OK);
	/* alice is remembered, and works from there */
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(outcome_of(2, "alice", "open sesame"), AUTH_OK);
	}
	/* until her guesses are used up too: what is remembered is not to be guessed at either */
	for (int i = 0; i < FAILURES; i++) {
		snprintf(guess, sizeof guess, "guess %d", i);
		ck_assert_int_eq(ask(2, "alice", guess)->outcome, AUTH_THROTTLED);
	}
	ck_assert_int_eq(ask(2, "alice", "open sesame")->outcome, AUTH_THROTTLED);
	ck_assert_int_eq(outcome_of(3, "alice", "open sesame"), AUTH_OK);
	ck_assert_int_eq(counted(METRIC_auth_hashes), 2 + FAILURES);
}
END_TEST

/* Guesses that wait when the tokens run out are not hashed; what others ask is. */
START_TEST(test_throttled_in_the_queue)
{
	unsigned wrong = 0;
	char guess[16];

	close_gate();
	for (int i = 0; i < 50; i++) {
		snprintf(guess, sizeof guess, "guess %d", i);
		ck_assert_int_eq(ask(2, "alice", guess)->outcome, AUTH_PENDING);
	}
	/* the same guess, from somebody else: his is hashed */
	ck_assert_int_eq(ask(3, "alice", "guess 49")->outcome, AUTH_PENDING);
	ck_assert_int_eq(ask(4, "alice", "open sesame")->outcome, AUTH_PENDING);
	open_gate();
	for (int i = 0; i < 50; i++) {
		wait_for(&asked[i]);
		ck_assert(asked[i].outcome == AUTH_WRONG || asked[i].outcome == AUTH_THROTTLED);
		wrong += asked[i].outcome == AUTH_WRONG;
	}
	/* two could run at once before the first had failed */
	ck_assert_uint_ge(wrong, FAILURES);
	ck_assert_uint_le(wrong, FAILURES + 1);
	wait_for(&asked[50]);
	wait_for(&asked[51]);
	ck_assert_int_eq(asked[50].outcome, AUTH_WRONG);
	ck_assert_int_eq(asked[51].outcome, AUTH_OK);
}
END_TEST

START_TEST(test_cancel)
{
	close_gate();
	for (int i = 0; i < 20; i++) {
		char guess[16];

		snprintf(guess, sizeof guess, "guess %d", i / 2);
		ck_assert_int_eq(ask_worker((size_t)i % 2, 1, "alice", guess)->outcome,
				 AUTH_PENDING);
	}
	ask(1, "alice", "open sesame");
	for (int i = 0; i < 20; i++) {
		auth_cancel(asked[i].check);
	}
	open_gate();
	wait_for(&asked[20]);
	ck_assert_int_eq(asked[20].outcome, AUTH_OK);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(asked[i].outcome, AUTH_PENDING);
	}
	ck_assert_int_eq(counted(METRIC_auth_hashes), 1);
	auth_cancel(NULL);
}
END_TEST

/* The outcome is on its way already. */
START_TEST(test_cancel_late)
{
	ask_worker(1, 1, "alice", "open sesame");
	ask(1, "alice", "open sesame");
	/* only the first worker's loop turns, and tells its own */
	while (counted(METRIC_auth_hashes) == 0) {
		for (size_t i = 2; i-- > 0;) {
			if (counted(METRIC_auth_hashes) == 0) {
				loop_turn(workers[i].loop, 1);
			}
		}
	}
	auth_cancel(asked[0].check);
	wait_for(&asked[1]);
	loop_turn(workers[1].loop, 1);
	ck_assert_int_eq(asked[0].outcome, AUTH_PENDING);
	ck_assert_int_eq(asked[1].outcome, AUTH_OK);
}
END_TEST

START_TEST(test_queue_is_bounded)
{
	char guess[16];

	close_gate();
	for (uint32_t i = 0; i < HELPERS + QUEUE_MAX; i++) {
		snprintf(guess, sizeof guess, "guess %u", i);
		ck_assert_int_eq(ask(i, "alice", guess)->outcome, AUTH_PENDING);
	}
	ck_assert_int_eq(ask(9999, "alice", "open sesame")->outcome, AUTH_OVERLOAD);
	/* joining costs no place */
	ck_assert_int_eq(ask(9999, "alice", "guess 7")->outcome, AUTH_PENDING);
	open_gate();
	wait_for(&asked[HELPERS + QUEUE_MAX - 1]);
	ck_assert_int_eq(asked[HELPERS + QUEUE_MAX - 1].outcome, AUTH_WRONG);
}
END_TEST

START_TEST(test_queue_is_shared)
{
	char guess[16];

	close_gate();
	for (uint32_t i = 0; i < HELPERS + QUEUE_PER_SOURCE_MAX; i++) {
		snprintf(guess, sizeof guess, "guess %u", i);
		ck_assert_int_eq(ask(1, "alice", guess)->outcome, AUTH_PENDING);
	}
	ck_assert_int_eq(ask(1, "alice", "open sesame")->outcome, AUTH_OVERLOAD);
	ck_assert_int_eq(ask(2, "alice", "open sesame")->outcome, AUTH_PENDING);
	open_gate();
	wait_for(&asked[asked_count - 1]);
	ck_assert_int_eq(asked[asked_count - 1].outcome, AUTH_OK);
}
END_TEST

START_TEST(test_waiting_is_bounded)
{
	char guess[16];

	close_gate();
	for (uint32_t i = 0; i < 10; i++) {
		snprintf(guess, sizeof guess, "guess %u", i);
		ck_assert_int_eq(ask(i, "alice", guess)->outcome, AUTH_PENDING);
	}
	usleep((QUEUE_WAIT_MS + 100) * 1000);
	open_gate();
	for (uint32_t i = 0; i < 10; i++) {
		wait_for(&asked[i]);
		ck_assert_int_eq(asked[i].outcome, i < HELPERS ? AUTH_WRONG : AUTH_OVERLOAD);
	}
	ck_assert_int_eq(counted(METRIC_auth_hashes), HELPERS);
}
END_TEST

START_TEST(test_log_allowance)
{
	struct addr a = addr_from_ipv4((const uint8_t[]){ 10, 0, 0, 1 }, 1);
	struct addr b = addr_from_ipv4((const uint8_t[]){ 10, 0, 0, 2 }, 1);
	struct source loud = source_of(&a);
	struct source quiet = source_of(&b);
	uint32_t suppressed;
	unsigned lines = 0;

	for (int i = 0; i < 1000; i++) {
		lines += auth_log_wanted(auth, &loud, AUTH_REPEATED, 1000000, &suppressed);
	}
	ck_assert_uint_eq(lines, 20);
	ck_assert(auth_log_wanted(auth, &quiet, AUTH_REPEATED, 1000000, &suppressed));
	ck_assert_uint_eq(suppressed, 0);
	ck_assert(auth_log_wanted(auth, &loud, AUTH_REPEATED, 1006000, &suppressed));
	ck_assert_uint_eq(suppressed, 980);
	/* new guesses are not hidden behind them */
	ck_assert(auth_log_wanted(auth, &loud, AUTH_WRONG, 1000000, &suppressed));
	ck_assert_uint_eq(suppressed, 0);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = { &test_outcomes,
						     &test_single_flight,
						     &test_single_flight_wrong,
						     &test_wrong_is_remembered,
						     &test_forgotten_at_reload,
						     &test_changed_hash,
						     &test_throttle,
						     &test_throttled_in_the_queue,
						     &test_cancel,
						     &test_cancel_late,
						     &test_queue_is_bounded,
						     &test_queue_is_shared,
						     &test_waiting_is_bounded,
						     &test_log_allowance };
	Suite *suite = suite_create("auth");
	TCase *tcase = tcase_create("auth");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		tcase_add_test(tcase, *tests[i]);
	}
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
