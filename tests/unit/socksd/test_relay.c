/* SPDX-License-Identifier: ISC */
#include "socksd/relay.h"

#include "common/addr.h"
#include "common/container.h"
#include "common/listener.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A relay between two real TCP connections; the tests hold the far ends. */
struct fixture {
	struct loop *loop;
	struct relay relay;
	uint8_t scratch[4096];
	int client; /* far ends, blocking */
	int target;
	int ends;
	enum relay_outcome outcome;
};

static void on_end(struct relay *relay, enum relay_outcome outcome)
{
	struct fixture *f = container_of(relay, struct fixture, relay);
	static const unsigned reset[] = {
		[RELAY_FINISHED] = 0,
		[RELAY_CLIENT_RESET] = 1u << RELAY_TARGET,
		[RELAY_TARGET_RESET] = 1u << RELAY_CLIENT,
		[RELAY_NO_MEMORY] = 3,
	};

	f->ends++;
	f->outcome = outcome;
	relay_done(relay, reset[outcome]);
}

/* A connected pair over loopback TCP: ours (non-blocking) and the far end. */
static void tcp_pair(int *ret_ours, int *ret_far)
{
	const uint8_t ip[4] = { 127, 0, 0, 1 };
	struct addr a = addr_from_ipv4(ip, 0);
	int listening;

	ck_assert_int_ge(listener_bind_tcp(&a, &listening), 0);
	ck_assert_int_eq(listener_local_addr(listening, &a), 0);
	*ret_far = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(*ret_far, &a.sa, addr_len(&a)), 0);
	*ret_ours = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ge(*ret_ours, 0);
	close(listening);
}

static void set_up(struct fixture *f)
{
	int client;
	int target;

	memset(f, 0, sizeof *f);
	f->loop = loop_new();
	f->relay.loop = f->loop;
	f->relay.scratch = f->scratch;
	f->relay.scratch_bytes = sizeof f->scratch;
	tcp_pair(&client, &f->client);
	tcp_pair(&target, &f->target);
	ck_assert_int_eq(watch_start(&f->relay.side[RELAY_CLIENT].watch, f->loop, client,
				     RELAY_EVENTS, NULL),
			 0);
	ck_assert_int_eq(watch_start(&f->relay.side[RELAY_TARGET].watch, f->loop, target,
				     RELAY_EVENTS, NULL),
			 0);
	relay_start(&f->relay, on_end);
}

static void tear_down(struct fixture *f)
{
	if (f->ends == 0) {
		relay_done(&f->relay, 0);
	}
	close(f->client);
	close(f->target);
	loop_free(f->loop);
}

static void turns(struct fixture *f, int count)
{
	for (int i = 0; i < count; i++) {
		loop_turn(f->loop, 10);
	}
}

/* Read exactly what is expected, turning the relay meanwhile. */
static void expect(struct fixture *f, int fd, const char *bytes)
{
	char buf[64];
	size_t have = 0;

	for (int i = 0; i < 100 && have < strlen(bytes); i++) {
		ssize_t n;

		loop_turn(f->loop, 10);
		n = recv(fd, buf + have, sizeof buf - have, MSG_DONTWAIT);
		have += n > 0 ? (size_t)n : 0;
	}
	ck_assert_uint_eq(have, strlen(bytes));
	ck_assert_mem_eq(buf, bytes, have);
}

/* The next recv() gives this: 0 for FIN, -errno. */
static void expect_end(struct fixture *f, int fd, ssize_t end)
{
	ssize_t n = -EAGAIN;
	char c;

	for (int i = 0; i < 100 && n == -EAGAIN; i++) {
		loop_turn(f->loop, 10);
		n = recv(fd, &c, 1, MSG_DONTWAIT);
		n = n < 0 ? -errno : n;
	}
	ck_assert_int_eq(n, end);
}

static void reset_close(int *fd)
{
	const struct linger hard = { 1, 0 };

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(*fd);
	*fd = -1;
}

START_TEST(test_bytes_go_both_ways_and_are_counted)
{
	struct fixture f;

	set_up(&f);
	ck_assert_int_eq(send(f.client, "request", 7, 0), 7);
	expect(&f, f.target, "request");
	ck_assert_int_eq(send(f.target, "response!", 9, 0), 9);
	expect(&f, f.client, "response!");
	ck_assert_uint_eq(f.relay.flow[RELAY_CLIENT].bytes, 7);
	ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].bytes, 9);
	ck_assert_int_eq(f.ends, 0);
	tear_down(&f);
}
END_TEST

START_TEST(test_half_close_keeps_the_other_way_open)
{
	struct fixture f;

	set_up(&f);
	ck_assert_int_eq(send(f.client, "all", 3, 0), 3);
	shutdown(f.client, SHUT_WR);
	expect(&f, f.target, "all");
	expect_end(&f, f.target, 0);
	ck_assert(relay_half_closed(&f.relay));
	ck_assert_int_eq(f.ends, 0);
	ck_assert_int_eq(send(f.target, "late answer", 11, 0), 11);
	expect(&f, f.client, "late answer");
	close(f.target);
	f.target = -1;
	expect_end(&f, f.client, 0);
	ck_assert_int_eq(f.ends, 1);
	ck_assert_int_eq(f.outcome, RELAY_FINISHED);
	tear_down(&f);
}
END_TEST

START_TEST(test_reset_is_passed_on)
{
	for (int side = 0; side < 2; side++) {
		struct fixture f;

		set_up(&f);
		reset_close(side == RELAY_CLIENT ? &f.client : &f.target);
		expect_end(&f, side == RELAY_CLIENT ? f.target : f.client, -ECONNRESET);
		ck_assert_int_eq(f.ends, 1);
		ck_assert_int_eq(f.outcome,
				 side == RELAY_CLIENT ? RELAY_CLIENT_RESET : RELAY_TARGET_RESET);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_what_came_before_a_broken_write_is_passed_back)
{
	struct fixture f;

	set_up(&f);
	/* The target answers and goes away with the client's bytes unread: its kernel resets. */
	ck_assert_int_eq(send(f.client, "unread", 6, 0), 6);
	turns(&f, 3);
	ck_assert_int_eq(send(f.target, "no, thanks", 10, 0), 10);
	close(f.target);
	f.target = -1;
	ck_assert_int_eq(send(f.client, "more", 4, 0), 4);
	expect(&f, f.client, "no, thanks");
	expect_end(&f, f.client, -ECONNRESET);
	ck_assert_int_eq(f.outcome, RELAY_TARGET_RESET);
	tear_down(&f);
}
END_TEST

START_TEST(test_early_data_comes_first)
{
	struct fixture f;

	memset(&f, 0, sizeof f);
	set_up(&f);
	/* As a session does it, before the start. */
	ck_assert_int_eq(relay_early_data(&f.relay, (const uint8_t *)"early ", 6), 0);
	ck_assert_int_eq(send(f.client, "late", 4, 0), 4);
	expect(&f, f.target, "early late");
	ck_assert_uint_eq(f.relay.flow[RELAY_CLIENT].bytes, 10);
	tear_down(&f);
}
END_TEST

START_TEST(test_a_reader_that_stalls_stops_the_sender_and_nothing_is_lost)
{
	enum {
		TOTAL = 32 << 20
	};
	struct fixture f;
	uint8_t block[65536];
	size_t sent = 0;
	size_t got = 0;
	size_t stalled_at;

	set_up(&f);
	fcntl(f.target, F_SETFL, O_NONBLOCK);
	/* Nobody reads at the client: sending stops well before the total. */
	for (int quiet = 0; quiet < 20 && sent < TOTAL;) {
		ssize_t n;

		for (size_t i = 0; i < sizeof block; i++) {
			block[i] = (uint8_t)((sent + i) * 31 >> 3);
		}
		n = send(f.target, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		quiet = n > 0 ? 0 : quiet + 1;
		loop_turn(f.loop, 5);
	}
	ck_assert_uint_lt(sent, TOTAL);
	stalled_at = sent;
	ck_assert_uint_le(f.relay.flow[RELAY_TARGET].held_len, sizeof f.scratch);
	shutdown(f.target, SHUT_WR);
	/* Then it reads everything, and in order. */
	for (;;) {
		ssize_t n;

		loop_turn(f.loop, 0);
		n = recv(f.client, block, sizeof block, MSG_DONTWAIT);
		if (n == 0) {
			break;
		}
		for (ssize_t i = 0; i < n; i++) {
			ck_assert_uint_eq(block[i], (uint8_t)((got + (size_t)i) * 31 >> 3));
		}
		got += n > 0 ? (size_t)n : 0;
	}
	ck_assert_uint_eq(got, stalled_at);
	ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].bytes, stalled_at);
	tear_down(&f);
}
END_TEST

SUITE_MAIN("relay", test_bytes_go_both_ways_and_are_counted,
	   test_half_close_keeps_the_other_way_open, test_reset_is_passed_on,
	   test_what_came_before_a_broken_write_is_passed_back, test_early_data_comes_first,
	   test_a_reader_that_stalls_stops_the_sender_and_nothing_is_lost)
