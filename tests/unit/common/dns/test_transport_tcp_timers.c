/* SPDX-License-Identifier: ISC */
/* The watchdog of a stream, to the millisecond. */
#include "common/dns/transport.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <errno.h>

enum {
	TYPE_A = 1,
	MANY = 100,
};

struct bench {
	struct loop *loop;
	struct fake_dns server;
	struct transport *transport;
	unsigned message_count;
	unsigned closed_count;
	int error;
};

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	struct bench *bench = user;

	(void)msg;
	(void)len;
	bench->message_count++;
}

static void on_failed(void *user, const uint8_t *query, size_t len, int error)
{
	(void)user;
	(void)query;
	(void)len;
	ck_abort_msg("a query has failed alone: %d", error);
}

static void on_closed(void *user, int error)
{
	struct bench *bench = user;

	bench->closed_count++;
	bench->error = error;
	bench->transport->ops->close(bench->transport);
	bench->transport = NULL;
}

static const struct transport_user upcalls = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_closed = on_closed,
};

static void open_stream(struct bench *bench, uint32_t timeout_ms)
{
	const struct transport_config config = {
		.loop = bench->loop,
		.server = bench->server.addr,
		.timeout_ms = timeout_ms,
		.max_open = MANY,
	};
	unsigned before = bench->server.connection_count;

	bench->transport = transport_tcp.open(&config, &upcalls, bench);
	ck_assert_ptr_nonnull(bench->transport);
	ck_assert(clock_reach(bench->loop, &bench->server.connection_count, before + 1));
}

static void start(struct bench *bench, uint32_t timeout_ms,
		  void (*on_query)(const struct fake_query *query))
{
	clock_stop();
	*bench = (struct bench){ .loop = loop_new() };
	fake_dns_start(&bench->server, bench->loop, "127.0.0.1", on_query);
	open_stream(bench, timeout_ms);
}

static void stop(struct bench *bench)
{
	if (bench->transport) {
		bench->transport->ops->close(bench->transport);
	}
	fake_dns_stop(&bench->server);
	loop_free(bench->loop);
	clock_go_on();
}

/* Send a query and see it arrive. */
static void ask(struct bench *bench, uint16_t id)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, id, "www.example", TYPE_A, true);
	unsigned before = bench->server.tcp_count;

	ck_assert_int_eq(bench->transport->ops->send(bench->transport, query, len), 0);
	bench->transport->ops->flush(bench->transport);
	ck_assert(clock_reach(bench->loop, &bench->server.tcp_count, before + 1));
}

static void reply_to_odd_ids(const struct fake_query *query)
{
	if (query->bytes[1] % 2 == 1) {
		fake_dns_reply(query, 0);
	}
}

/* The connection lives for so long and then ends with this. */
static void expect_end(struct bench *bench, unsigned in_ms, int error)
{
	clock_pass(bench->loop, in_ms - 1);
	ck_assert_uint_eq(bench->closed_count, 0);
	clock_pass(bench->loop, 1);
	ck_assert_uint_eq(bench->closed_count, 1);
	ck_assert_int_eq(bench->error, error);
}

static const struct {
	uint32_t timeout_ms;
	unsigned silence_ms; /* three quarters of it, at most 1.5 s: below the 2 s promised */
} silences[] = { { 100, 75 }, { 1000, 750 }, { 2000, 1500 }, { 2001, 1500 }, { 4000, 1500 } };

START_TEST(test_silence)
{
	struct bench bench;

	start(&bench, silences[_i].timeout_ms, NULL);
	clock_pass(bench.loop, 10);
	ask(&bench, 2);
	expect_end(&bench, silences[_i].silence_ms, ETIMEDOUT);
	stop(&bench);
}
END_TEST

/* A connection that was alive and falls silent: the time runs from the first question that gets no
 * answer, those after it gain nothing. */
START_TEST(test_silence_after_life)
{
	struct bench bench;

	start(&bench, 2000, reply_to_odd_ids);
	for (unsigned i = 1; i <= 3; i++) {
		ask(&bench, 1);
		ck_assert(clock_reach(bench.loop, &bench.message_count, i));
		clock_pass(bench.loop, 500);
	}
	ask(&bench, 2);
	clock_pass(bench.loop, 700);
	ask(&bench, 4);
	expect_end(&bench, 800, ETIMEDOUT);
	stop(&bench);
}
END_TEST

/* A question to which an answer never comes does not hide that silence. */
START_TEST(test_silence_behind_a_lost_answer)
{
	struct bench bench;

	start(&bench, 4000, reply_to_odd_ids);
	ask(&bench, 2);
	clock_pass(bench.loop, 500);
	ask(&bench, 1);
	ck_assert(clock_reach(bench.loop, &bench.message_count, 1));
	clock_pass(bench.loop, 100);
	ask(&bench, 4);
	clock_pass(bench.loop, 200);
	ask(&bench, 6);
	expect_end(&bench, 1300, ETIMEDOUT);
	stop(&bench);
}
END_TEST

/* One question that is never answered, on a connection that answers others, is given up alone, and
 * is no reason to close. Then the connection is idle like any other. */
START_TEST(test_one_lost_answer)
{
	struct bench bench;

	start(&bench, 1000, reply_to_odd_ids);
	ask(&bench, 2);
	for (unsigned i = 1; i <= 4; i++) {
		clock_pass(bench.loop, 500);
		ask(&bench, 1);
		ck_assert(clock_reach(bench.loop, &bench.message_count, i));
	}
	ck_assert_uint_eq(bench.closed_count, 0);
	expect_end(&bench, 5000, 0);
	stop(&bench);
}
END_TEST

static const uint32_t idle_timeouts_ms[] = { 50, 100, 2000 };

/* An idle connection is closed after five timeouts, counted from the last answer. */
START_TEST(test_idle)
{
	uint32_t timeout_ms = idle_timeouts_ms[_i];
	struct bench bench;

	start(&bench, timeout_ms, reply_to_odd_ids);
	clock_pass(bench.loop, 5 * timeout_ms - 1);
	ask(&bench, 1);
	ck_assert(clock_reach(bench.loop, &bench.message_count, 1));
	clock_pass(bench.loop, timeout_ms);
	ask(&bench, 3);
	ck_assert(clock_reach(bench.loop, &bench.message_count, 2));
	expect_end(&bench, 5 * timeout_ms, 0);
	stop(&bench);
}
END_TEST

/* One that was never used as well. */
START_TEST(test_idle_from_the_start)
{
	struct bench bench;

	start(&bench, 100, NULL);
	expect_end(&bench, 500, 0);
	stop(&bench);
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
