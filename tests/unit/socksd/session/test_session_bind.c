/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/log.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/socksd/session_bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS "127.0.0.1:1080"
#define SECTION "[listen a]\naddress = " ADDRESS "\n"
#define ALLOWED SECTION "[rule b]\naction = allow\ncommand = bind\n"
#define QUICK   "[limits]\nbind-timeout = 10s\n"

enum {
	REPLY_BYTES = 10,
	BIND_TIMEOUT_MS = 10000,
	LINGER_MS_MAX = 60000,

	REP_OK = 0,
	REP_NOT_ALLOWED = 2,
	REP_TTL_EXPIRED = 6,
	REP_COMMAND = 7,
};

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_ip(text, &a), 0);
	addr_set_port(&a, port);
	return a;
}

/* A client that has asked for a BIND, and says more right behind that. */
static void request(struct session_bench *b, const char *expected, const char *more)
{
	const struct addr a = ip(expected, 0);
	uint8_t bytes[64] = "\x05\x02\x00\x01\0\0\0\0\0\x15";

	session_bench_accept(b, ADDRESS);
	session_bench_send(b, "\x05\x01\x00", 3);
	session_bench_expect(b, "\x05\x00", 2);
	memcpy(bytes + 4, &a.in4.sin_addr, 4);
	memcpy(bytes + REPLY_BYTES, more, strlen(more));
	session_bench_send(b, bytes, REPLY_BYTES + strlen(more));
}

/* What the client was told, and where it says. */
static struct addr expect_reply(struct session_bench *b, uint8_t code)
{
	uint8_t bytes[REPLY_BYTES];
	struct addr a = ip("127.0.0.1", 0);

	session_bench_turns(b);
	ck_assert_int_eq(recv(b->client, bytes, sizeof bytes, MSG_DONTWAIT), REPLY_BYTES);
	ck_assert_uint_eq(bytes[0], 5);
	ck_assert_uint_eq(bytes[1], code);
	ck_assert_uint_eq(bytes[3], 1);
	memcpy(&a.in4.sin_addr, bytes + 4, 4);
	memcpy(&a.in4.sin_port, bytes + 8, 2);
	return a;
}

/* A BIND that waits. Returns where. */
static struct addr wait_for(struct session_bench *b, const char *expected)
{
	struct addr at;

	request(b, expected, "");
	at = expect_reply(b, REP_OK);
	ck_assert_uint_ne(addr_port(&at), 0);
	return at;
}

/* A peer that connects from there; -1: nobody listens. */
static int connect_from(struct session_bench *b, const char *from, const struct addr *to)
{
	const struct addr source = ip(from, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, &source.sa, addr_len(&source)), 0);
	if (connect(fd, &to->sa, addr_len(to)) < 0) {
		close(fd);
		return -1;
	}
	session_bench_turns(b);
	return fd;
}

static ssize_t said(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static void check_stranger(struct session_bench *b, const char *from, const struct addr *to)
{
	int64_t before = session_bench_metric(b, METRIC_bind_strangers);
	int fd = connect_from(b, from, to);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(said(fd), -ECONNRESET);
	close(fd);
	ck_assert_int_eq(session_bench_metric(b, METRIC_bind_strangers), before + 1);
	ck_assert_int_eq(said(b->client), -EAGAIN);
}

static void check_waiting(const struct session_bench *b, int64_t count)
{
	ck_assert_int_eq(session_bench_metric(b, METRIC_bind_waiting_now), count);
}

START_TEST(test_peer)
{
	struct session_bench b;
	struct addr at;
	struct addr told;
	struct addr peer;
	socklen_t len = sizeof peer;
	char buf[16];
	int fd;

	session_bench_start(&b, ALLOWED);
	at = wait_for(&b, "127.0.0.2");
	check_waiting(&b, 1);
	/* What the client says meanwhile is for the peer. */
	session_bench_send(&b, "early", 5);
	check_waiting(&b, 1);
	fd = connect_from(&b, "127.0.0.2", &at);
	told = expect_reply(&b, REP_OK);
	ck_assert_int_eq(getsockname(fd, &peer.sa, &len), 0);
	ck_assert(addr_equal(&told, &peer));
	check_waiting(&b, 0);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bind_connected), 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_sessions_relaying_now), 1);
	ck_assert_int_eq(recv(fd, buf, sizeof buf, MSG_DONTWAIT), 5);
	ck_assert_mem_eq(buf, "early", 5);
	ck_assert_int_eq(send(fd, "back", 4, 0), 4);
	session_bench_expect(&b, "back", 4);
	/* One peer only. */
	ck_assert_int_eq(connect_from(&b, "127.0.0.2", &at), -1);
	close(fd);
	close(b.client);
	b.client = -1;
	session_bench_turns(&b);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bytes_up), 5);
	session_bench_stop(&b);
}
END_TEST

START_TEST(test_refusals)
{
	static const struct {
		const char *config;
		const char *expected;
		uint8_t code;
		enum socksd_metric counter;
	} table[] = {
		/* No rule speaks of BIND: the command is not there at all. */
		{ SECTION, "127.0.0.2", REP_COMMAND, METRIC_handshake_invalid },
		{ SECTION "[rule x]\naction = deny\ncommand = bind\n", "127.0.0.2", REP_COMMAND,
		  METRIC_handshake_invalid },
		{ ALLOWED "destination = 127.0.0.3\n", "127.0.0.2", REP_NOT_ALLOWED,
		  METRIC_dial_denied },
		{ SECTION "[rule x]\naction = deny\ndestination = 127.0.0.2\n[rule b]\n"
			  "action = allow\ncommand = bind\n",
		  "127.0.0.2", REP_NOT_ALLOWED, METRIC_dial_denied },
		{ SECTION "[rule x]\naction = deny\ndestination = 0.0.0.0/0\n[rule b]\n"
			  "action = allow\ncommand = bind\n",
		  "0.0.0.0", REP_NOT_ALLOWED, METRIC_dial_denied },
		{ SECTION "bind-needs-connect = yes\n[rule b]\naction = allow\ncommand = bind\n",
		  "127.0.0.2", REP_NOT_ALLOWED, METRIC_dial_denied },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct session_bench b;

		session_bench_start(&b, table[i].config);
		request(&b, table[i].expected, "");
		expect_reply(&b, table[i].code);
		check_waiting(&b, 0);
		close(b.client);
		b.client = -1;
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		ck_assert_msg(session_bench_metric(&b, table[i].counter) == 1, "%zu", i);
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_a_name_that_is_denied)
{
	struct session_bench b;

	session_bench_start(&b, SECTION "[rule x]\naction = deny\ndestination = a.test\n[rule b]\n"
					"action = allow\ncommand = bind\n");
	session_bench_accept(&b, ADDRESS);
	session_bench_send(&b, "\x05\x01\x00", 3);
	session_bench_expect(&b, "\x05\x00", 2);
	session_bench_send(&b,
			   "\x05\x02\x00\x03\x06"
			   "a.test"
			   "\x00\x15",
			   13);
	expect_reply(&b, REP_NOT_ALLOWED);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_names_asked), 0);
	session_bench_stop(&b);
}
END_TEST

/* So many of one client; the place is free as soon as the wait is over, not with the session. */
START_TEST(test_bounded)
{
	struct session_bench b;
	struct addr at;
	int first;
	int peer;

	session_bench_start(&b, ALLOWED "[limits]\nmax-binds-per-client = 1\n");
	at = wait_for(&b, "127.0.0.2");
	first = b.client;
	b.client = -1;
	request(&b, "127.0.0.2", "");
	expect_reply(&b, REP_NOT_ALLOWED);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bind_refused), 1);
	check_waiting(&b, 1);
	peer = connect_from(&b, "127.0.0.2", &at);
	ck_assert_int_ge(peer, 0);
	check_waiting(&b, 0);
	wait_for(&b, "127.0.0.2");
	check_waiting(&b, 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_sessions_relaying_now), 1);
	close(first);
	close(peer);
	session_bench_stop(&b);
}
END_TEST

START_TEST(test_nobody_comes)
{
	struct session_bench b;
	struct addr at;

	clock_stop();
	session_bench_start(&b, ALLOWED QUICK);
	at = wait_for(&b, "127.0.0.2");
	clock_jump(b.context.loop, BIND_TIMEOUT_MS - 1);
	ck_assert_int_eq(said(b.client), -EAGAIN);
	/* Strangers do not put it off. */
	check_stranger(&b, "127.0.0.3", &at);
	clock_jump(b.context.loop, 1);
	expect_reply(&b, REP_TTL_EXPIRED);
	check_waiting(&b, 0);
	ck_assert_int_eq(connect_from(&b, "127.0.0.2", &at), -1);
	ck_assert_uint_eq(b.ended, 0);
	clock_jump(b.context.loop, LINGER_MS_MAX);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_bind_timeout), 1);
	session_bench_stop(&b);
	clock_go_on();
}
END_TEST

START_TEST(test_strangers)
{
	struct session_bench b;
	struct addr at;
	int fd;

	session_bench_start(&b, SECTION "[rule x]\naction = deny\ndestination = 127.0.0.3\n"
					"[rule b]\naction = allow\ncommand = bind\n");
	at = wait_for(&b, "127.0.0.2");
	check_stranger(&b, "127.0.0.3", &at);
	check_stranger(&b, "127.0.0.4", &at);
	check_waiting(&b, 1);
	fd = connect_from(&b, "127.0.0.2", &at);
	expect_reply(&b, REP_OK);
	close(fd);
	/* Anybody whom the rules allow. */
	at = wait_for(&b, "0.0.0.0");
	at = ip("127.0.0.1", addr_port(&at));
	check_stranger(&b, "127.0.0.3", &at);
	fd = connect_from(&b, "127.0.0.4", &at);
	expect_reply(&b, REP_OK);
	close(fd);
	session_bench_stop(&b);
}
END_TEST

/* Whoever is kept out is no reason why the session ends: the log shows no rule for it. */
START_TEST(test_rules_of_strangers_are_not_logged)
{
	struct session_bench b;
	struct addr at;
	char text[2048];
	FILE *file = tmpfile();
	int old = dup(STDERR_FILENO);
	size_t n;

	clock_stop();
	session_bench_start(&b, SECTION "[rule stranger]\naction = deny\n"
					"destination = 127.0.0.3\n[rule b]\naction = allow\n"
					"command = bind\n" QUICK);
	at = wait_for(&b, "0.0.0.0");
	at = ip("127.0.0.1", addr_port(&at));
	check_stranger(&b, "127.0.0.3", &at);
	log_set_level(LOG_LEVEL_INFO);
	ck_assert_int_ge(dup2(fileno(file), STDERR_FILENO), 0);
	clock_jump(b.context.loop, BIND_TIMEOUT_MS);
	clock_jump(b.context.loop, LINGER_MS_MAX);
	dup2(old, STDERR_FILENO);
	close(old);
	log_set_level(LOG_LEVEL_ERROR);
	rewind(file);
	n = fread(text, 1, sizeof text - 1, file);
	text[n] = '\0';
	fclose(file);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_msg(strstr(text, "end=bind_timeout") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "stranger") == NULL, "%s", text);
	session_bench_stop(&b);
	clock_go_on();
}
END_TEST

/* The client leaves: before anybody listens, or while it waits. */
START_TEST(test_the_client_leaves)
{
	struct session_bench b;
	struct addr at;

	for (int early = 0; early < 2; early++) {
		session_bench_start(&b, ALLOWED);
		if (early) {
			session_bench_accept(&b, ADDRESS);
			ck_assert_int_eq(send(b.client, "\5\1\0\5\2\0\1\177\0\0\2\0\25", 13, 0),
					 13);
		} else {
			at = wait_for(&b, "127.0.0.2");
		}
		shutdown(b.client, SHUT_WR);
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		check_waiting(&b, 0);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_handshake_gone), 1);
		if (early) {
			session_bench_expect(&b, "\5\0", 2);
			ck_assert_int_eq(said(b.client), 0);
		} else {
			ck_assert_int_eq(connect_from(&b, "127.0.0.2", &at), -1);
		}
		session_bench_stop(&b);
	}
}
END_TEST

/* With bind-needs-connect: only who the client is connected to, and as long as it is. */
START_TEST(test_needs_connect)
{
	static const char config[] = SECTION "bind-needs-connect = yes\n[rule b]\n"
					     "action = allow\ncommand = connect, bind\n";
	struct session_bench b;
	struct addr at;
	int primary;
	int target;
	int waiting;

	session_bench_start(&b, config);
	session_bench_accept(&b, ADDRESS);
	target = session_bench_connect(&b);
	primary = b.client;
	b.client = -1;
	request(&b, "127.0.0.2", "");
	expect_reply(&b, REP_NOT_ALLOWED);
	at = wait_for(&b, "0.0.0.0");
	at = ip("127.0.0.1", addr_port(&at));
	check_stranger(&b, "127.0.0.2", &at);
	waiting = b.client;
	b.client = -1;
	at = wait_for(&b, "127.0.0.1");
	/* The connection ends: the one who waits is not served any more, */
	close(primary);
	close(target);
	session_bench_turns(&b);
	check_stranger(&b, "127.0.0.1", &at);
	/* unless the key is another one by now. */
	session_bench_reload(&b, config);
	check_stranger(&b, "127.0.0.1", &at);
	session_bench_reload(&b, ALLOWED);
	target = connect_from(&b, "127.0.0.1", &at);
	expect_reply(&b, REP_OK);
	check_waiting(&b, 1);
	close(target);
	close(waiting);
	session_bench_stop(&b);
}
END_TEST

/* A reload takes away the listener: what its key said still holds. */
START_TEST(test_needs_connect_without_a_listener)
{
	static const char other[] = "[listen b]\naddress = 127.0.0.1:1081\n[rule b]\n"
				    "action = allow\ncommand = connect, bind\n";

	for (int key = 0; key < 2; key++) {
		struct session_bench b;
		struct addr at;
		char config[256];
		int primary;
		int fd;

		snprintf(config, sizeof config,
			 "%sbind-needs-connect = %s\n[rule b]\n"
			 "action = allow\ncommand = connect, bind\n",
			 SECTION, key ? "yes" : "no");
		session_bench_start(&b, config);
		session_bench_accept(&b, ADDRESS);
		fd = session_bench_connect(&b);
		primary = b.client;
		b.client = -1;
		at = wait_for(&b, "127.0.0.1");
		session_bench_reload(&b, other);
		session_bench_reload(&b, other);
		close(primary);
		close(fd);
		session_bench_turns(&b);
		if (key) {
			check_stranger(&b, "127.0.0.1", &at);
		} else {
			fd = connect_from(&b, "127.0.0.1", &at);
			expect_reply(&b, REP_OK);
			close(fd);
		}
		session_bench_stop(&b);
	}
}
END_TEST

/* The rules of the moment count, when the peer comes. */
START_TEST(test_reload_while_waiting)
{
	struct session_bench b;
	struct addr at;
	int fd;

	session_bench_start(&b, ALLOWED);
	at = wait_for(&b, "127.0.0.2");
	session_bench_reload(&b, ALLOWED "destination = 127.0.0.3\n");
	check_stranger(&b, "127.0.0.2", &at);
	session_bench_reload(&b, "[listen b]\naddress = 127.0.0.1:1081\n[rule b]\n"
				 "action = allow\ncommand = bind\n");
	fd = connect_from(&b, "127.0.0.2", &at);
	expect_reply(&b, REP_OK);
	close(fd);
	session_bench_stop(&b);
}
END_TEST

/* The daemon ends. */
START_TEST(test_ended)
{
	struct session_bench b;
	struct addr at;

	session_bench_start(&b, ALLOWED);
	at = wait_for(&b, "127.0.0.2");
	session_end_all(&b.context);
	check_waiting(&b, 0);
	ck_assert_int_eq(connect_from(&b, "127.0.0.2", &at), -1);
	session_bench_stop(&b);
}
END_TEST

SUITE_MAIN("session_bind", test_peer, test_refusals, test_a_name_that_is_denied, test_bounded,
	   test_nobody_comes, test_strangers, test_rules_of_strangers_are_not_logged,
	   test_the_client_leaves, test_needs_connect, test_needs_connect_without_a_listener,
	   test_reload_while_waiting, test_ended)
