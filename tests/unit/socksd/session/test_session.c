/* SPDX-License-Identifier: ISC */
#include "common/container.h"

#include "socksd/session/session_private.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/socksd/session_bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST   "127.0.0.1:1080"
#define SECOND  "127.0.0.1:1081"
#define SECTION "[listen a]\naddress = "
#define QUICK   "[limits]\nhandshake-timeout = 100ms\nidle-timeout = 1s\n"

static const char *const names[] = {
#define X(name, text, metric) text,
	SESSION_ENDS(X)
#undef X
};

START_TEST(test_ends_have_names)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ck_assert_str_eq(session_end_name((enum session_end_reason)i), names[i]);
		for (size_t k = 0; k < i; k++) {
			ck_assert_str_ne(names[i], names[k]);
		}
	}
}
END_TEST

static const enum socksd_metric metrics[] = {
#define X(name, text, metric) metric,
	SESSION_ENDS(X)
#undef X
};

static const char *const metric_names[] = {
#define X(name, help) #name,
	SOCKSD_METRICS(X)
#undef X
};

/* Each end counts once, in its own counter, and in no other one. */
START_TEST(test_ends_are_counted)
{
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		struct session_bench b;

		/* These are counted for other reasons. */
		ck_assert_int_ne(metrics[i], METRIC_sessions_accepted);
		ck_assert_int_ne(metrics[i], METRIC_sessions_now);
		session_bench_start(&b, SECTION FIRST "\n");
		session_bench_accept(&b, FIRST);
		session_end(b.context.sessions, (enum session_end_reason)i);
		ck_assert_uint_eq(b.ended, 1);
		for (size_t k = 0; k < ARRAY_SIZE(metric_names); k++) {
			int64_t wanted = metrics[i] == (enum socksd_metric)k;

			ck_assert_msg(session_bench_metric(&b, (enum socksd_metric)k) == wanted,
				      "%s and %s", names[i], metric_names[k]);
		}
		session_bench_stop(&b);
	}
}
END_TEST

/* What the next recv() gives: 0 for FIN, or -errno; -EAGAIN for neither. */
static ssize_t end_of(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

START_TEST(test_bytes_and_ends)
{
	struct session_bench b;
	char buf[8];
	int target;

	session_bench_start(&b, SECTION FIRST "\n");
	session_bench_accept(&b, FIRST);
	target = session_bench_connect(&b);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_sessions_relaying_now), 1);
	session_bench_send(&b, "there", 5);
	ck_assert_int_eq(recv(target, buf, sizeof buf, MSG_DONTWAIT), 5);
	ck_assert_int_eq(send(target, "back", 4, 0), 4);
	session_bench_expect(&b, "back", 4);
	/* One end alone ends nothing. */
	shutdown(b.client, SHUT_WR);
	session_bench_turns(&b);
	ck_assert_int_eq(end_of(target), 0);
	ck_assert_uint_eq(b.ended, 0);
	close(target);
	session_bench_turns(&b);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_int_eq(end_of(b.client), 0);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bytes_up), 5);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bytes_down), 4);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_resets_passed), 0);
	session_bench_stop(&b);
}
END_TEST

START_TEST(test_a_reset_is_passed_on)
{
	const struct linger hard = { 1, 0 };

	for (int side = 0; side < 2; side++) {
		struct session_bench b;
		int target;
		int *from = side == 0 ? &b.client : &target;
		int *to = side == 0 ? &target : &b.client;

		session_bench_start(&b, SECTION FIRST "\n");
		session_bench_accept(&b, FIRST);
		target = session_bench_connect(&b);
		setsockopt(*from, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		close(*from);
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		ck_assert_int_eq(end_of(*to), -ECONNRESET);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_resets_passed), 1);
		close(*to);
		b.client = -1;
		session_bench_stop(&b);
	}
}
END_TEST

/* Turn until a session has ended. How long that took. */
/* Let time pass until the session ends; how much it took. */
static uint64_t wait_end(struct session_bench *b)
{
	uint64_t began_ms = clock_passed_ms();

	while (b->ended == 0 && clock_passed_ms() < began_ms + 5000) {
		clock_pass(b->context.loop, 1);
	}
	ck_assert_uint_eq(b->ended, 1);
	return clock_passed_ms() - began_ms;
}

START_TEST(test_a_handshake_has_one_deadline)
{
	struct session_bench b;

	clock_stop();
	session_bench_start(&b, SECTION FIRST "\n" QUICK);
	session_bench_accept(&b, FIRST);
	/* Bytes do not put it off. */
	session_bench_send(&b, "\x05", 1);
	clock_pass(b.context.loop, 60);
	session_bench_send(&b, "\x02", 1);
	ck_assert_uint_eq(wait_end(&b), 40);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_handshake_timeout), 1);
	session_bench_stop(&b);
	clock_go_on();
}
END_TEST

START_TEST(test_an_idle_session_ends)
{
	struct session_bench b;
	uint64_t took_ms;
	int target;

	clock_stop();
	session_bench_start(&b, SECTION FIRST "\n" QUICK);
	session_bench_accept(&b, FIRST);
	target = session_bench_connect(&b);
	/* The deadline of the handshake is over, and bytes put off the other one. */
	for (int i = 0; i < 3; i++) {
		clock_pass(b.context.loop, 500);
		session_bench_send(&b, "tick", 4);
	}
	ck_assert_uint_eq(b.ended, 0);
	took_ms = wait_end(&b);
	ck_assert_uint_ge(took_ms, 800);
	ck_assert_uint_le(took_ms, 2000);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_idle_timeout), 1);
	/* That is no end of file to either. */
	ck_assert_int_eq(end_of(b.client), -ECONNRESET);
	close(target);
	session_bench_stop(&b);
	clock_go_on();
}
END_TEST

/* A reload, with the session in one state or another, and whether it goes on. */
static const struct {
	const char *before;
	const char *after;
	const char *said;
	size_t said_len;
	bool goes_on;
} reloads[] = {
	/* The same. */
	{ SECTION FIRST "\n", SECTION FIRST "\n", "", 0, true },
	{ SECTION FIRST "\n", SECTION FIRST "\n", "\x05\x01\x00", 3, true },
	/* The section under another address, the address in another section. */
	{ SECTION FIRST "\n", SECTION SECOND "\n", "", 0, true },
	{ SECTION FIRST "\n", SECTION SECOND "\n", "\x05\x01\x00", 3, true },
	{ SECTION FIRST "\n", "[listen b]\naddress = " FIRST "\n", "\x05\x01\x00", 3, true },
	/* Neither is left. */
	{ SECTION FIRST "\n", "[listen b]\naddress = " SECOND "\n", "", 0, false },
	{ SECTION FIRST "\n", "[listen b]\naddress = " SECOND "\n", "\x05\x01\x00", 3, false },
};

START_TEST(test_handshakes_at_a_reload)
{
	for (size_t i = 0; i < ARRAY_SIZE(reloads); i++) {
		struct session_bench b;

		session_bench_start(&b, reloads[i].before);
		session_bench_accept(&b, FIRST);
		if (reloads[i].said_len > 0) {
			session_bench_send(&b, reloads[i].said, reloads[i].said_len);
		}
		session_bench_reload(&b, reloads[i].after);
		session_bench_turns(&b);
		ck_assert_msg(b.ended == !reloads[i].goes_on, "case %zu", i);
		if (reloads[i].goes_on) {
			uint8_t request[10];
			size_t len = session_bench_request(&b, request);

			if (reloads[i].said_len == 0) {
				session_bench_send(&b, "\x05\x01\x00", 3);
			}
			session_bench_send(&b, request, len);
			session_bench_expect(&b, "\x05\x00\x05\x00\x00\x01", 6);
		}
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_running_sessions_survive_their_listener)
{
	struct session_bench b;
	char buf[8];
	int target;

	session_bench_start(&b, SECTION FIRST "\n");
	session_bench_accept(&b, FIRST);
	target = session_bench_connect(&b);
	session_bench_reload(&b, "[listen b]\naddress = " SECOND "\n");
	session_bench_reload(&b, "[listen c]\naddress = " SECOND "\n");
	session_bench_send(&b, "there", 5);
	ck_assert_int_eq(recv(target, buf, sizeof buf, MSG_DONTWAIT), 5);
	ck_assert_uint_eq(b.ended, 0);
	/* Only an end of everything ends it. */
	session_end_all(&b.context);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_ptr_null(b.context.sessions);
	close(target);
	session_bench_stop(&b);
}
END_TEST

SUITE_MAIN("session", test_ends_have_names, test_ends_are_counted, test_bytes_and_ends,
	   test_a_reset_is_passed_on, test_a_handshake_has_one_deadline, test_an_idle_session_ends,
	   test_handshakes_at_a_reload, test_running_sessions_survive_their_listener)
