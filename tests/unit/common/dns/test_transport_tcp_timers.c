/* SPDX-License-Identifier: ISC */
/* The watchdog of a stream, to the millisecond. */
#include "common/dns/transport.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/common/heard.h"
#include "tests/unit/suite.h"

#include <errno.h>

enum {
	MANY = 100,
};

static struct heard *start(uint32_t timeout_ms, void (*on_query)(const struct fake_query *query))
{
	const struct transport_config config = { .timeout_ms = timeout_ms, .max_open = MANY };
	struct heard *heard;

	clock_stop();
	heard = heard_new();
	heard_serve(heard, "127.0.0.1", on_query);
	ck_assert(heard_open(heard, &transport_tcp, config));
	ck_assert(clock_reach(heard->loop, &heard->server.connection_count, 1));
	return heard;
}

/* No query of a stream fails alone. */
static void stop(struct heard *heard)
{
	ck_assert_uint_eq(heard->failure_count, 0);
	heard_free(heard);
	clock_go_on();
}

/* Send a query and see it arrive. */
static void ask(struct heard *heard, uint16_t id)
{
	unsigned before = heard->server.tcp_count;

	ck_assert_int_eq(heard_send(heard, id, "www.example"), 0);
	heard_flush(heard);
	ck_assert(clock_reach(heard->loop, &heard->server.tcp_count, before + 1));
}

static void reply_to_odd_ids(const struct fake_query *query)
{
	if (query->bytes[1] % 2 == 1) {
		fake_dns_reply(query, 0);
	}
}

/* The connection lives for so long and then ends with this. */
static void expect_end(struct heard *heard, unsigned in_ms, int error)
{
	clock_pass(heard->loop, in_ms - 1);
	ck_assert_uint_eq(heard->closed_count, 0);
	clock_pass(heard->loop, 1);
	ck_assert_uint_eq(heard->closed_count, 1);
	ck_assert_int_eq(heard->error, error);
}

static const struct {
	uint32_t timeout_ms;
	unsigned silence_ms; /* three quarters of it, at most 1.5 s: below the 2 s promised */
} silences[] = { { 100, 75 }, { 1000, 750 }, { 2000, 1500 }, { 2001, 1500 }, { 4000, 1500 } };

START_TEST(test_silence)
{
	struct heard *heard = start(silences[_i].timeout_ms, NULL);

	clock_pass(heard->loop, 10);
	ask(heard, 2);
	expect_end(heard, silences[_i].silence_ms, ETIMEDOUT);
	stop(heard);
}
END_TEST

/* A connection that was alive and falls silent: the time runs from the first question that gets no
 * answer, those after it gain nothing. */
START_TEST(test_silence_after_life)
{
	struct heard *heard = start(2000, reply_to_odd_ids);

	for (unsigned i = 1; i <= 3; i++) {
		ask(heard, 1);
		ck_assert(clock_reach(heard->loop, &heard->message_count, i));
		clock_pass(heard->loop, 500);
	}
	ask(heard, 2);
	clock_pass(heard->loop, 700);
	ask(heard, 4);
	expect_end(heard, 800, ETIMEDOUT);
	stop(heard);
}
END_TEST

/* A question to which an answer never comes does not hide that silence. */
START_TEST(test_silence_behind_a_lost_answer)
{
	struct heard *heard = start(4000, reply_to_odd_ids);

	ask(heard, 2);
	clock_pass(heard->loop, 500);
	ask(heard, 1);
	ck_assert(clock_reach(heard->loop, &heard->message_count, 1));
	clock_pass(heard->loop, 100);
	ask(heard, 4);
	clock_pass(heard->loop, 200);
	ask(heard, 6);
	expect_end(heard, 1300, ETIMEDOUT);
	stop(heard);
}
END_TEST

/* One question that is never answered, on a connection that answers others, is given up alone, and
 * is no reason to close. Then the connection is idle like any other. */
START_TEST(test_one_lost_answer)
{
	struct heard *heard = start(1000, reply_to_odd_ids);

	ask(heard, 2);
	for (unsigned i = 1; i <= 4; i++) {
		clock_pass(heard->loop, 500);
		ask(heard, 1);
		ck_assert(clock_reach(heard->loop, &heard->message_count, i));
	}
	ck_assert_uint_eq(heard->closed_count, 0);
	expect_end(heard, 5000, 0);
	stop(heard);
}
END_TEST

static const uint32_t idle_timeouts_ms[] = { 50, 100, 2000 };

/* An idle connection is closed after five timeouts, counted from the last answer. */
START_TEST(test_idle)
{
	uint32_t timeout_ms = idle_timeouts_ms[_i];
	struct heard *heard = start(timeout_ms, reply_to_odd_ids);

	clock_pass(heard->loop, 5 * timeout_ms - 1);
	ask(heard, 1);
	ck_assert(clock_reach(heard->loop, &heard->message_count, 1));
	clock_pass(heard->loop, timeout_ms);
	ask(heard, 3);
	ck_assert(clock_reach(heard->loop, &heard->message_count, 2));
	expect_end(heard, 5 * timeout_ms, 0);
	stop(heard);
}
END_TEST

/* One that was never used as well. */
START_TEST(test_idle_from_the_start)
{
	struct heard *heard = start(100, NULL);

	expect_end(heard, 500, 0);
	stop(heard);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transport_tcp_timers");
	TCase *tcase = tcase_create("timers");

	tcase_add_loop_test(tcase, test_silence, 0, sizeof silences / sizeof silences[0]);
	tcase_add_test(tcase, test_silence_after_life);
	tcase_add_test(tcase, test_silence_behind_a_lost_answer);
	tcase_add_test(tcase, test_one_lost_answer);
	tcase_add_loop_test(tcase, test_idle, 0,
			    sizeof idle_timeouts_ms / sizeof idle_timeouts_ms[0]);
	tcase_add_test(tcase, test_idle_from_the_start);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
