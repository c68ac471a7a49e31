/* SPDX-License-Identifier: ISC */
#include "common/container.h"

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

enum {
	REPLY_BYTES = 10,
	CONTROL_BYTES_MAX = 65536,
	IDLE_MS = 10000,

	REP_OK = 0,
	REP_FAILURE = 1,
	REP_NOT_ALLOWED = 2,
	REP_COMMAND = 7,
};

static struct addr any_port(const char *ip)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_ip(ip, &a), 0);
	return a;
}

static int udp_socket(const char *ip, struct addr *ret_addr)
{
	socklen_t len = sizeof *ret_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	*ret_addr = any_port(ip);
	ck_assert_int_eq(bind(fd, &ret_addr->sa, addr_len(ret_addr)), 0);
	ck_assert_int_eq(getsockname(fd, &ret_addr->sa, &len), 0);
	return fd;
}

static void request(struct session_bench *b)
{
	session_bench_accept(b, ADDRESS);
	session_bench_send(b, "\x05\x01\x00", 3);
	session_bench_expect(b, "\x05\x00", 2);
	session_bench_send(b, "\x05\x03\x00\x01\0\0\0\0\0\0", REPLY_BYTES);
}

static struct addr expect_reply(struct session_bench *b, uint8_t code)
{
	uint8_t bytes[REPLY_BYTES];
	struct addr a = any_port("127.0.0.1");

	session_bench_turns(b);
	ck_assert_int_eq(recv(b->client, bytes, sizeof bytes, MSG_DONTWAIT), REPLY_BYTES);
	ck_assert_uint_eq(bytes[0], 5);
	ck_assert_uint_eq(bytes[1], code);
	memcpy(&a.in4.sin_addr, bytes + 4, 4);
	memcpy(&a.in4.sin_port, bytes + 8, 2);
	return a;
}

static struct addr associate(struct session_bench *b)
{
	struct addr at;

	request(b);
	at = expect_reply(b, REP_OK);
	ck_assert_uint_ne(addr_port(&at), 0);
	return at;
}

/* Whether a byte gets from the client to a target. */
static bool passes(struct session_bench *b, int fd, const struct addr *at, int target_fd,
		   const struct addr *target)
{
	uint8_t bytes[11] = { 0, 0, 0, 1 };

	memcpy(bytes + 4, &target->in4.sin_addr, 4);
	memcpy(bytes + 8, &target->in4.sin_port, 2);
	ck_assert_int_eq(sendto(fd, bytes, sizeof bytes, 0, &at->sa, addr_len(at)), sizeof bytes);
	session_bench_turns(b);
	return recv(target_fd, bytes, sizeof bytes, MSG_DONTWAIT) == 1;
}

static ssize_t said(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static void check_open(const struct session_bench *b, int64_t count)
{
	ck_assert_int_eq(session_bench_metric(b, METRIC_udp_associations_now), count);
}

/* It lives as long as the connection does, whose end may be an orderly one or a reset. */
START_TEST(test_life)
{
	const struct linger hard = { 1, 0 };

	for (int reset = 0; reset < 2; reset++) {
		struct session_bench b;
		struct addr source;
		struct addr target;
		struct addr at;
		int fd = udp_socket("127.0.0.1", &source);
		int target_fd = udp_socket("127.0.0.2", &target);

		session_bench_start(&b, SECTION);
		at = associate(&b);
		check_open(&b, 1);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_udp_associations), 1);
		ck_assert(passes(&b, fd, &at, target_fd, &target));
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 0);
		if (reset) {
			setsockopt(b.client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
			close(b.client);
			b.client = -1;
		} else {
			shutdown(b.client, SHUT_WR);
		}
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		check_open(&b, 0);
		ck_assert_uint_eq(b.slots_used, 0);
		ck_assert(!passes(&b, fd, &at, target_fd, &target));
		ck_assert_int_eq(session_bench_metric(&b, METRIC_bytes_up), 1);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_handshake_gone), 0);
		ck_assert_int_eq(session_bench_metric(&b, METRIC_resets_passed), reset);
		close(fd);
		close(target_fd);
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_refusals)
{
	static const struct {
		const char *config;
		uint8_t code;
		enum socksd_metric counter;
	} table[] = {
		{ SECTION "udp = no\n", REP_COMMAND, METRIC_handshake_invalid },
		{ SECTION "[rule x]\naction = deny\ncommand = udp\n", REP_NOT_ALLOWED,
		  METRIC_dial_denied },
		{ SECTION "[rule x]\naction = deny\n", REP_NOT_ALLOWED, METRIC_dial_denied },
		/* Some destination may be let through. */
		{ SECTION "[rule x]\naction = deny\ncommand = udp\nport = 80\n", REP_OK,
		  METRIC_udp_associations },
		{ SECTION "[rule x]\naction = deny\ncommand = bind\n", REP_OK,
		  METRIC_udp_associations },
		{ SECTION "udp-public-address = 2001:db8::1\n", REP_FAILURE, METRIC_dial_failed },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct session_bench b;

		session_bench_start(&b, table[i].config);
		request(&b);
		expect_reply(&b, table[i].code);
		check_open(&b, table[i].code == REP_OK);
		close(b.client);
		b.client = -1;
		session_bench_turns(&b);
		ck_assert_uint_eq(b.ended, 1);
		ck_assert_msg(session_bench_metric(&b, table[i].counter) == 1, "%zu", i);
		session_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_bounded)
{
	struct session_bench b;
	int first;

	session_bench_start(&b, SECTION "[limits]\nmax-udp-per-client = 1\n");
	associate(&b);
	first = b.client;
	b.client = -1;
	request(&b);
	expect_reply(&b, REP_NOT_ALLOWED);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_udp_refused_per_client), 1);
	check_open(&b, 1);
	close(first);
	session_bench_turns(&b);
	associate(&b);
	session_bench_stop(&b);
}
END_TEST

/* One that could not begin takes no place, although its session is still there to be read. */
START_TEST(test_a_failure_takes_no_place)
{
	struct session_bench b;
	int first;

	session_bench_start(&b, SECTION "[limits]\nmax-udp-per-client = 1\n");
	b.slots_left = 0;
	request(&b);
	expect_reply(&b, REP_FAILURE);
	first = b.client;
	b.client = -1;
	ck_assert_uint_eq(b.ended, 0);
	check_open(&b, 0);
	b.slots_left = 1;
	associate(&b);
	check_open(&b, 1);
	close(first);
	session_bench_stop(&b);
}
END_TEST

/* What is said on the connection is nothing, up to a limit. */
START_TEST(test_control_bytes)
{
	static const char bytes[CONTROL_BYTES_MAX / 4];
	struct session_bench b;

	session_bench_start(&b, SECTION);
	associate(&b);
	for (int i = 0; i < 4; i++) {
		session_bench_send(&b, bytes, sizeof bytes);
	}
	ck_assert_uint_eq(b.ended, 0);
	ck_assert_int_eq(said(b.client), -EAGAIN);
	session_bench_send(&b, "x", 1);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_handshake_invalid), 1);
	check_open(&b, 0);
	session_bench_stop(&b);
}
END_TEST

START_TEST(test_idle)
{
	struct session_bench b;
	struct addr source;
	struct addr target;
	struct addr at;
	int fd = udp_socket("127.0.0.1", &source);
	int target_fd = udp_socket("127.0.0.2", &target);

	clock_stop();
	session_bench_start(&b, SECTION "[limits]\nudp-idle-timeout = 10s\n");
	at = associate(&b);
	clock_jump(b.context.loop, IDLE_MS - 1);
	ck_assert(passes(&b, fd, &at, target_fd, &target));
	clock_jump(b.context.loop, IDLE_MS - 1);
	ck_assert_uint_eq(b.ended, 0);
	/* Neither the connection nor what is dropped keeps it alive. */
	session_bench_send(&b, "x", 1);
	ck_assert_int_eq(sendto(fd, "x", 1, 0, &at.sa, addr_len(&at)), 1);
	session_bench_turns(&b);
	clock_jump(b.context.loop, 1);
	ck_assert_uint_eq(b.ended, 1);
	ck_assert_int_eq(session_bench_metric(&b, METRIC_idle_timeout), 1);
	close(fd);
	close(target_fd);
	session_bench_stop(&b);
	clock_go_on();
}
END_TEST

/* A reload changes what may pass, and ends nothing, even if the listener goes. */
START_TEST(test_reload)
{
	struct session_bench b;
	struct addr source;
	struct addr target;
	struct addr at;
	int fd = udp_socket("127.0.0.1", &source);
	int target_fd = udp_socket("127.0.0.2", &target);

	session_bench_start(&b, SECTION);
	at = associate(&b);
	ck_assert(passes(&b, fd, &at, target_fd, &target));
	session_bench_reload(&b, SECTION "[rule x]\naction = deny\n");
	ck_assert(!passes(&b, fd, &at, target_fd, &target));
	session_bench_reload(&b, "[listen b]\naddress = 127.0.0.1:1081\n");
	ck_assert(passes(&b, fd, &at, target_fd, &target));
	ck_assert_uint_eq(b.ended, 0);
	session_end_all(&b.context);
	ck_assert(!passes(&b, fd, &at, target_fd, &target));
	close(fd);
	close(target_fd);
	session_bench_stop(&b);
}
END_TEST

SUITE_MAIN("session_associate", test_life, test_refusals, test_bounded,
	   test_a_failure_takes_no_place, test_control_bytes, test_idle, test_reload)
