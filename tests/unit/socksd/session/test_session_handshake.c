/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/log.h"

#include "tests/unit/common/log_seen.h"
#include "tests/unit/socksd/fake_names.h"
#include "tests/unit/socksd/session_bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS  "127.0.0.1:1080"
#define OPEN     "[listen a]\naddress = " ADDRESS "\n"
#define DENYING  OPEN "[rule no]\naction = deny\nport = 80\n"

/* All of a string but its NUL, and how long that is. */
#define BYTES(s) s, sizeof(s) - 1
#define NO       "\x05\xff"
#define YES      "\x05\x00"
#define REP(x)   "\x05" x "\0\x01\0\0\0\0\0\0"
#define GREETING "\x05\x01\x00"

/* What a client says, what it is told, and how that counts. */
static const struct {
	const char *config;
	const char *in;
	size_t in_len;
	const char *out;
	size_t out_len;
	enum socksd_metric counter;
} refusals[] = {
	{ OPEN, BYTES("\x05\x01\x01"), BYTES(NO), METRIC_handshake_invalid },
	{ OPEN, BYTES("\x05\x00"), BYTES(NO), METRIC_handshake_invalid },
	{ OPEN, BYTES("\x05\x02\x02\x80"), BYTES(NO), METRIC_handshake_invalid },
	{ OPEN, BYTES("\x16\x03\x01\x02"), BYTES(""), METRIC_handshake_invalid },
	{ OPEN, BYTES(GREETING "\x04\x01\x00\x01"), BYTES(YES REP("\x01")),
	  METRIC_handshake_invalid },
	{ OPEN, BYTES(GREETING "\x05\xf0\x00\x01\x7f\0\0\x01\0\x50"), BYTES(YES REP("\x07")),
	  METRIC_handshake_invalid },
	{ OPEN, BYTES(GREETING "\x05\x01\x00\x02"), BYTES(YES REP("\x08")),
	  METRIC_handshake_invalid },
	{ OPEN, BYTES(GREETING "\x05\x01\x00\x03\x00"), BYTES(YES REP("\x01")),
	  METRIC_handshake_invalid },
	{ OPEN, BYTES(GREETING "\x05\x01\x00\x01\x7f\0\0\x01\0\0"), BYTES(YES REP("\x01")),
	  METRIC_handshake_invalid },
	{ OPEN, BYTES(GREETING "\x05\x01\x00\x01\0\0\0\0\0\x50"), BYTES(YES REP("\x02")),
	  METRIC_dial_denied },
	{ OPEN, BYTES(GREETING "\x05\x01\x00\x01\xe0\0\0\x01\0\x50"), BYTES(YES REP("\x02")),
	  METRIC_dial_denied },
	{ DENYING, BYTES(GREETING "\x05\x01\x00\x01\x7f\0\0\x01\0\x50"), BYTES(YES REP("\x02")),
	  METRIC_dial_denied },
	{ DENYING,
	  BYTES(GREETING "\x05\x01\x00\x03\x01"
			 "a\0\x50"),
	  BYTES(YES REP("\x02")), METRIC_dial_denied },
};

static void expect_end(struct session_bench *b)
{
	ssize_t n = -1;
	char c;

	for (int i = 0; i < 100 && n < 0; i++) {
		n = recv(b->client, &c, 1, MSG_DONTWAIT);
		loop_turn(b->context.loop, 5);
	}
	ck_assert_int_eq(n, 0);
}

START_TEST(test_refusals)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct session_bench b;

		session_bench_start(&b, refusals[i].config);
		session_bench_accept(&b, ADDRESS);
		session_bench_send(&b, refusals[i].in, refusals[i].in_len);
		session_bench_expect(&b, refusals[i].out, refusals[i].out_len);
		expect_end(&b);
		/* A refused client has a moment to read it, and then its FIN ends the session. */
		close(b.client);
		b.client = -1;
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		ck_assert_msg(session_bench_metric(&b, refusals[i].counter) == 1, "case %zu", i);
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_a_handshake_may_come_in_any_pieces)
{
	uint8_t bytes[3 + 10];
	size_t len;

	for (size_t cut = 0; cut <= sizeof bytes; cut++) {
		struct session_bench b;

		session_bench_start(&b, OPEN);
		session_bench_accept(&b, ADDRESS);
		memcpy(bytes, GREETING, 3);
		len = 3 + session_bench_request(&b, bytes + 3);
		if (cut > 0) {
			session_bench_send(&b, bytes, cut);
		}
		ck_assert_int_eq(session_bench_metric(&b, METRIC_sessions_established), cut == len);
		if (cut < len) {
			session_bench_send(&b, bytes + cut, len - cut);
		}
		session_bench_expect(&b, "\x05\x00\x05\x00\x00\x01", 6);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_sessions_established), 1);
		ck_assert_uint_eq(b.ended, 0);
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_early_data_and_fin_reach_the_target)
{
	struct session_bench b;
	uint8_t bytes[64];
	size_t len;
	int target;

	session_bench_start(&b, OPEN);
	session_bench_accept(&b, ADDRESS);
	memcpy(bytes, GREETING, 3);
	len = 3 + session_bench_request(&b, bytes + 3);
	memcpy(bytes + len, "early", 5);
	ck_assert_int_eq(send(b.client, bytes, len + 5, 0), (ssize_t)len + 5);
	shutdown(b.client, SHUT_WR);
	session_bench_turns(&b);
	target = accept(b.target_fd, NULL, NULL);
	ck_assert_int_ge(target, 0);
	ck_assert_int_eq(recv(target, bytes, sizeof bytes, MSG_DONTWAIT), 5);
	ck_assert_mem_eq(bytes, "early", 5);
	ck_assert_int_eq(recv(target, bytes, sizeof bytes, MSG_DONTWAIT), 0);
	ck_assert_int_eq(send(target, "answer", 6, 0), 6);
	close(target);
	session_bench_expect(&b, "\x05\x00\x05\x00\x00\x01\x7f\0\0\x01", 10);
	recv(b.client, bytes, 2, MSG_WAITALL);
	session_bench_expect(&b, "answer", 6);
	expect_end(&b);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bytes_up), 5);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bytes_down), 6);
	session_bench_stop(&b);
}
END_TEST

START_TEST(test_a_client_that_leaves_early)
{
	static const char *const said[] = { "", "\x05", "\x05\x01", GREETING, GREETING "\x05\x01" };

	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		struct session_bench b;
		size_t len = i == 3 ? 3 : i == 4 ? 5 : strlen(said[i]);

		session_bench_start(&b, OPEN);
		session_bench_accept(&b, ADDRESS);
		if (len > 0) {
			session_bench_send(&b, said[i], len);
		}
		close(b.client);
		b.client = -1;
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_handshake_gone), 1);
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_a_refused_target)
{
	struct session_bench b;
	uint8_t request[10];
	size_t len;

	session_bench_start(&b, OPEN);
	close(b.target_fd);
	b.target_fd = dup(0);
	session_bench_accept(&b, ADDRESS);
	len = session_bench_request(&b, request);
	session_bench_send(&b, BYTES(GREETING));
	session_bench_send(&b, request, len);
	session_bench_expect(&b, BYTES(YES REP("\x05")));
	expect_end(&b);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_sessions_established), 0);
	session_bench_stop(&b);
}
END_TEST

/* --- the rule in the log --------------------------------------------------------------------- */

/* What becomes of a connection to 127.0.0.3. */
enum second {
	CONNECTS,
	REFUSES,
	HANGS,
};

/* The target, on 127.0.0.3. One that hangs has its queue full, so that further SYNs are lost. */
static void target_start(struct session_bench *b, enum second second, int fillers[2])
{
	static const uint8_t ip[4] = { 127, 0, 0, 3 };
	struct addr a = addr_from_ipv4(ip, 0);
	socklen_t len = sizeof a;

	close(b->target_fd);
	b->target_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(b->target_fd, &a.sa, addr_len(&a)), 0);
	ck_assert_int_eq(getsockname(b->target_fd, &a.sa, &len), 0);
	b->target_port = addr_port(&a);
	if (second != REFUSES) {
		ck_assert_int_eq(listen(b->target_fd, second == HANGS ? 0 : 10), 0);
	}
	for (int i = 0; i < 2; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (second == HANGS) {
			(void)connect(fillers[i], &a.sa, addr_len(&a));
		}
	}
}

/* A session that asks for a name with the addresses 127.0.0.2 and 127.0.0.3. */
static void ask_for_name(struct session_bench *b)
{
	const uint8_t request[] = {
		5, 1, 0, 5, 1, 0, 3, 1, 'a', (uint8_t)(b->target_port >> 8), (uint8_t)b->target_port
	};

	session_bench_accept(b, ADDRESS);
	ck_assert_int_eq(send(b->client, request, sizeof request, 0), sizeof request);
}

static void turn_until_end(struct session_bench *b)
{
	for (int i = 0; i < 400 && b->ended == 0; i++) {
		loop_turn(b->context.loop, 5);
	}
	ck_assert_uint_eq(b->ended, 1);
}

#define DENY_FIRST "[rule first]\naction = deny\ndestination = 127.0.0.2\n"
#define DENY_BOTH  "[rule both]\naction = deny\ndestination = 127.0.0.2/31\n"

/* A rule that denied one address is no reason for how a session with another one ends. */
START_TEST(test_the_rule_in_the_log_is_the_one_it_ends_by)
{
	static const struct {
		const char *rules;
		enum second second;
		bool leaves; /* the client, while the second is connected to */
		const char *end;
		const char *rule;
	} table[] = {
		{ DENY_BOTH, CONNECTS, false, "end=denied why=rule", "rule=both" },
		{ DENY_FIRST, CONNECTS, false, "end=finished", "rule=-" },
		{ DENY_FIRST, REFUSES, false, "end=unreachable", "rule=-" },
		{ DENY_FIRST, HANGS, false, "end=connect_timeout", "rule=-" },
		{ DENY_FIRST, HANGS, true, "end=gone", "rule=-" },
		{ "", CONNECTS, false, "end=finished", "rule=-" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct session_bench b;
		struct fake_names names;
		int fillers[2];
		char text[512];

		session_bench_start(&b, OPEN);
		fake_names_start(&names, b.context.loop);
		names.a = (struct fake_names_say){ .count = 2, .first = 2 };
		snprintf(text, sizeof text,
			 OPEN "[limits]\nconnect-timeout = 500ms\n"
			      "[dns]\nfamily = ipv4\nserver = 127.0.0.1:%u\n%s",
			 addr_port(&names.dns.addr), table[i].rules);
		session_bench_reload(&b, text);
		target_start(&b, table[i].second, fillers);
		log_seen_forget();
		log_set_level(LOG_LEVEL_INFO);
		ask_for_name(&b);
		session_bench_turns(&b);
		if (table[i].leaves) {
			close(b.client);
			b.client = -1;
		} else {
			shutdown(b.client, SHUT_WR);
			if (table[i].second == CONNECTS) {
				close(accept(b.target_fd, NULL, NULL));
			}
		}
		turn_until_end(&b);
		log_seen_expect(table[i].end);
		log_seen_expect(table[i].rule);
		close(fillers[0]);
		close(fillers[1]);
		fake_names_stop(&names);
		session_bench_stop(&b);
	}
}
END_TEST

SUITE_MAIN("session_handshake", test_refusals, test_a_handshake_may_come_in_any_pieces,
	   test_early_data_and_fin_reach_the_target, test_a_client_that_leaves_early,
	   test_a_refused_target, test_the_rule_in_the_log_is_the_one_it_ends_by)
