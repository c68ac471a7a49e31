/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/session/clients.h"

#include "tests/unit/suite.h"

#include <pthread.h>
#include <string.h>

static const struct crypto_key key = { { 1, 2, 3 } };

static const struct clients_limits roomy = {
	.max_sessions = 1000000,
	.max_sessions_per_client = 1000000,
	.half_open_start = 1000000,
	.half_open_rate_percent = 30,
	.max_half_open = 1000000,
};

static struct source source_number(uint32_t number)
{
	struct source source = { .bytes = { 1 } };

	memcpy(&source.bytes[1], &number, sizeof number);
	return source;
}

static enum clients_verdict enter(struct clients *c, const struct clients_limits *limits,
				  uint32_t number)
{
	struct source source = source_number(number);

	return clients_enter(c, limits, &source);
}

static void handshake_done(struct clients *c, uint32_t number)
{
	struct source source = source_number(number);

	clients_handshake_done(c, &source);
}

static void leave(struct clients *c, uint32_t number, bool half_open)
{
	struct source source = source_number(number);

	clients_leave(c, &source, half_open);
}

START_TEST(test_max_sessions)
{
	struct clients_limits limits = roomy;
	struct clients *c = clients_new(&key);

	limits.max_sessions = 3;
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 3), CLIENTS_MAX_SESSIONS);
	ck_assert_uint_eq(clients_session_count(c), 3);
	ck_assert_uint_eq(clients_source_count(c), 2);
	leave(c, 1, true);
	ck_assert_int_eq(enter(c, &limits, 3), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 3), CLIENTS_MAX_SESSIONS);
	clients_free(c);
}
END_TEST

START_TEST(test_max_per_client)
{
	struct clients_limits limits = roomy;
	struct clients *c = clients_new(&key);

	limits.max_sessions_per_client = 2;
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_MAX_PER_CLIENT);
	ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_ADMITTED);
	leave(c, 1, true);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_MAX_PER_CLIENT);
	clients_free(c);
}
END_TEST

/* One who takes all he gets leaves an eighth; the others share it. */
START_TEST(test_fair_share)
{
	struct clients_limits limits = roomy;
	struct clients *c = clients_new(&key);

	limits.max_sessions = 80;
	for (int i = 0; i < 70; i++) {
		ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	}
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_FAIR_SHARE);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_ADMITTED);
		ck_assert_int_eq(enter(c, &limits, 3), CLIENTS_ADMITTED);
	}
	ck_assert_int_eq(enter(c, &limits, 4), CLIENTS_MAX_SESSIONS);
	leave(c, 1, true);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_FAIR_SHARE);
	ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_ADMITTED);
	clients_free(c);
}
END_TEST

/* With few sessions in all there is no eighth to keep. */
START_TEST(test_fair_share_small)
{
	struct clients_limits limits = roomy;

	for (uint64_t max = 1; max < 8; max++) {
		struct clients *c = clients_new(&key);

		limits.max_sessions = max;
		for (uint64_t i = 0; i < max; i++) {
			ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
		}
		ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_MAX_SESSIONS);
		clients_free(c);
	}
}
END_TEST

/* How many of 1,000 connections of one source are dropped while `half_open` handshakes, some of
 * them its own, are under way. */
static unsigned count_dropped(const struct clients_limits *limits, uint32_t half_open)
{
	struct clients *c = clients_new(&key);
	unsigned dropped = 0;

	ck_assert_int_eq(enter(c, &roomy, 1), CLIENTS_ADMITTED);
	for (uint32_t i = 1; i < half_open; i++) {
		ck_assert_int_eq(enter(c, &roomy, 100 + i), CLIENTS_ADMITTED);
	}
	for (int i = 0; i < 1000; i++) {
		enum clients_verdict verdict = enter(c, limits, 1);

		if (verdict == CLIENTS_ADMITTED) {
			leave(c, 1, true);
		} else {
			ck_assert_int_eq(verdict, CLIENTS_HALF_OPEN);
			dropped++;
		}
	}
	clients_free(c);
	return dropped;
}

START_TEST(test_half_open)
{
	struct clients_limits limits = roomy;

	limits.half_open_start = 10;
	limits.half_open_rate_percent = 30;
	limits.max_half_open = 112;
	ck_assert_uint_eq(count_dropped(&limits, 9), 0);
	ck_assert_uint_ge(count_dropped(&limits, 10), 250);
	ck_assert_uint_le(count_dropped(&limits, 10), 350);
	/* half way: 30 + 70 / 2 */
	ck_assert_uint_ge(count_dropped(&limits, 54), 600);
	ck_assert_uint_le(count_dropped(&limits, 54), 700);
	ck_assert_uint_ge(count_dropped(&limits, 97), 960);
	ck_assert_uint_eq(count_dropped(&limits, 98), 1000);
	/* a start above the maximum is no start */
	limits.half_open_start = 200;
	ck_assert_uint_eq(count_dropped(&limits, 97), 0);
	ck_assert_uint_eq(count_dropped(&limits, 98), 1000);
}
END_TEST

/* Who has no handshake under way gets in, as long as anybody does. */
START_TEST(test_half_open_newcomer)
{
	struct clients_limits limits = roomy;
	struct clients *c = clients_new(&key);

	limits.half_open_start = 1;
	limits.half_open_rate_percent = 100;
	limits.max_half_open = 4;
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 1), CLIENTS_HALF_OPEN);
	ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_ADMITTED);
	handshake_done(c, 2);
	ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 2), CLIENTS_HALF_OPEN);
	ck_assert_int_eq(enter(c, &limits, 3), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 4), CLIENTS_ADMITTED);
	ck_assert_int_eq(enter(c, &limits, 5), CLIENTS_HALF_OPEN);
	leave(c, 2, false);
	ck_assert_int_eq(enter(c, &limits, 5), CLIENTS_HALF_OPEN);
	leave(c, 2, true);
	ck_assert_int_eq(enter(c, &limits, 5), CLIENTS_ADMITTED);
	clients_free(c);
}
END_TEST

/* However many one source opens, others find a place. */
START_TEST(test_half_open_flood)
{
	struct clients_limits limits = roomy;
	struct clients *c = clients_new(&key);
	uint64_t held = 0;

	limits.half_open_start = 10;
	limits.max_half_open = 80;
	for (int i = 0; i < 10000; i++) {
		held += enter(c, &limits, 1) == CLIENTS_ADMITTED;
	}
	ck_assert_uint_eq(held, 70);
	for (uint32_t i = 0; i < 10; i++) {
		ck_assert_int_eq(enter(c, &limits, 100 + i), CLIENTS_ADMITTED);
	}
	ck_assert_int_eq(enter(c, &limits, 200), CLIENTS_HALF_OPEN);
	clients_free(c);
}
END_TEST

/* Against a plain array: many sources come and go in a random order. */
START_TEST(test_counts)
{
	enum {
		SOURCES = 5000,
		STEPS = 200000,
	};
	static uint32_t expected[SOURCES];
	struct clients_limits limits = roomy;
	struct clients *c = clients_new(&key);
	uint64_t sessions = 0;
	uint64_t sources = 0;

	limits.max_sessions_per_client = 3;
	memset(expected, 0, sizeof expected);
	for (int i = 0; i < STEPS; i++) {
		uint32_t n = crypto_random_below(SOURCES);
		/* more come than go, then more go than come */
		bool coming = crypto_random_below(10) < (i < STEPS / 2 ? 7 : 3);

		if (coming) {
			enum clients_verdict verdict = enter(c, &limits, n);

			ck_assert_int_eq(verdict, expected[n] < 3 ? CLIENTS_ADMITTED
								  : CLIENTS_MAX_PER_CLIENT);
			if (verdict == CLIENTS_ADMITTED) {
				sources += expected[n] == 0;
				expected[n]++;
				sessions++;
			}
		} else if (expected[n] > 0) {
			leave(c, n, true);
			expected[n]--;
			sessions--;
			sources -= expected[n] == 0;
		}
		ck_assert_uint_eq(clients_session_count(c), sessions);
		ck_assert_uint_eq(clients_source_count(c), sources);
	}
	clients_free(c);
}
END_TEST

static void *come_and_go(void *arg)
{
	struct clients *c = arg;

	for (uint32_t i = 0; i < 20000; i++) {
		ck_assert_int_eq(enter(c, &roomy, i % 100), CLIENTS_ADMITTED);
		handshake_done(c, i % 100);
		leave(c, i % 100, false);
	}
	return NULL;
}

START_TEST(test_threads)
{
	struct clients *c = clients_new(&key);
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, c), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
	}
	ck_assert_uint_eq(clients_session_count(c), 0);
	ck_assert_uint_eq(clients_source_count(c), 0);
	clients_free(c);
}
END_TEST

START_TEST(test_services)
{
	struct clients *c = clients_new(&key);
	struct source one = source_number(1);
	struct source two = source_number(2);

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(enter(c, &roomy, 1), CLIENTS_ADMITTED);
	}
	ck_assert_int_eq(enter(c, &roomy, 2), CLIENTS_ADMITTED);
	ck_assert(clients_enter_service(c, &one, CLIENTS_UDP, 2));
	ck_assert(clients_enter_service(c, &one, CLIENTS_UDP, 2));
	ck_assert(!clients_enter_service(c, &one, CLIENTS_UDP, 2));
	ck_assert(clients_enter_service(c, &two, CLIENTS_UDP, 2));
	/* each service is counted by itself */
	ck_assert(clients_enter_service(c, &one, CLIENTS_BIND, 1));
	ck_assert(!clients_enter_service(c, &one, CLIENTS_BIND, 1));
	clients_leave_service(c, &one, CLIENTS_BIND);
	clients_leave_service(c, &one, CLIENTS_UDP);
	ck_assert(clients_enter_service(c, &one, CLIENTS_UDP, 2));
	clients_leave_service(c, &one, CLIENTS_UDP);
	clients_leave_service(c, &one, CLIENTS_UDP);
	clients_leave_service(c, &two, CLIENTS_UDP);
	for (int i = 0; i < 3; i++) {
		leave(c, 1, true);
	}
	leave(c, 2, true);
	ck_assert_uint_eq(clients_source_count(c), 0);
	/* Back, it starts anew. */
	ck_assert_int_eq(enter(c, &roomy, 1), CLIENTS_ADMITTED);
	ck_assert(clients_enter_service(c, &one, CLIENTS_UDP, 1));
	ck_assert(!clients_enter_service(c, &one, CLIENTS_UDP, 1));
	clients_leave_service(c, &one, CLIENTS_UDP);
	leave(c, 1, true);
	clients_free(c);
}
END_TEST

SUITE_MAIN("clients", test_max_sessions, test_max_per_client, test_fair_share,
	   test_fair_share_small, test_half_open, test_half_open_newcomer, test_half_open_flood,
	   test_counts, test_threads, test_services)
