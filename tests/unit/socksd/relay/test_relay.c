/* SPDX-License-Identifier: ISC */
#include "socksd/relay/relay.h"

#include "common/addr.h"
#include "common/clock.h"
#include "common/container.h"
#include "common/daemon/listener.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode {
	SPLICING,
	COPYING, /* without a pipe */
	MODES,
};

/* A relay between two real TCP connections; the tests hold the far ends. */
struct fixture {
	struct loop *loop;
	struct relay relay;
	uint8_t *scratch;
	struct pipe pipe;
	int client; /* far ends, blocking */
	int target;
	int ends;
	int half_closes;
	enum relay_outcome outcome;
};

static void on_end(struct relay *relay, enum relay_outcome outcome)
{
	struct fixture *f = container_of(relay, struct fixture, relay);
	static const unsigned reset[] = {
		[RELAY_FINISHED] = 0,
		[RELAY_CLIENT_RESET] = 1u << RELAY_TARGET,
		[RELAY_TARGET_RESET] = 1u << RELAY_CLIENT,
		[RELAY_STALLED] = 3,
		[RELAY_NO_MEMORY] = 3,
	};

	f->ends++;
	f->outcome = outcome;
	relay_done(relay, reset[outcome]);
}

static void on_half_close(struct relay *relay)
{
	container_of(relay, struct fixture, relay)->half_closes++;
}

static const struct relay_ops ops = { .on_end = on_end, .on_half_close = on_half_close };

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

static void set_up_with(struct fixture *f, enum mode mode, uint32_t stall_ms)
{
	int client;
	int target;

	signal(SIGPIPE, SIG_IGN);
	memset(f, 0, sizeof *f);
	f->loop = loop_new();
	f->scratch = malloc(RELAY_BULK_BYTES);
	pipe_init(&f->pipe, mode == SPLICING ? PIPE_BYTES_MAX : 0);
	f->relay.loop = f->loop;
	f->relay.scratch = f->scratch;
	f->relay.scratch_bytes = RELAY_BULK_BYTES;
	f->relay.pipe = &f->pipe;
	f->relay.stall_ms = stall_ms;
	tcp_pair(&client, &f->client);
	tcp_pair(&target, &f->target);
	ck_assert_int_eq(watch_start(&f->relay.side[RELAY_CLIENT].watch, f->loop, client,
				     RELAY_EVENTS, NULL),
			 0);
	ck_assert_int_eq(watch_start(&f->relay.side[RELAY_TARGET].watch, f->loop, target,
				     RELAY_EVENTS, NULL),
			 0);
	relay_start(&f->relay, &ops);
}

static void set_up_mode(struct fixture *f, enum mode mode)
{
	set_up_with(f, mode, 0);
}

static void set_up(struct fixture *f)
{
	set_up_mode(f, SPLICING);
}

/* Between moves the pipe is empty. */
static void expect_empty_pipe(const struct fixture *f)
{
	int in_pipe = 0;

	if (f->pipe.open) {
		ck_assert_int_eq(ioctl(f->pipe.read_fd, FIONREAD, &in_pipe), 0);
		ck_assert_int_eq(in_pipe, 0);
	}
}

static void tear_down(struct fixture *f)
{
	expect_empty_pipe(f);
	if (f->ends == 0) {
		relay_done(&f->relay, 0);
	}
	pipe_close(&f->pipe);
	close(f->client);
	close(f->target);
	loop_free(f->loop);
	free(f->scratch);
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

	for (int i = 0; i < 3000 && have < strlen(bytes); i++) {
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

	for (int i = 0; i < 3000 && n == -EAGAIN; i++) {
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

/* --- a stream whose every byte tells its place ----------------------------------------------- */

enum {
	BLOCK = 65536,
	MIB = 1 << 20,
};

/* Send some of the stream from byte `at` on, up to `end`. Returns how many the socket took. */
static size_t send_stream(int fd, size_t at, size_t end)
{
	uint8_t block[BLOCK];
	size_t len = end - at < BLOCK ? end - at : BLOCK;
	ssize_t n;

	for (size_t i = 0; i < len; i++) {
		block[i] = (uint8_t)((at + i) * 31 >> 3);
	}
	n = len > 0 ? send(fd, block, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	return n > 0 ? (size_t)n : 0;
}

/* Receive what is there of the stream, byte `at` first, and compare. Returns how many, or -1 at its
 * end, or -errno but EAGAIN. */
static ssize_t receive_stream(int fd, size_t at)
{
	uint8_t block[BLOCK];
	ssize_t n = recv(fd, block, sizeof block, MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++) {
		if (block[i] != (uint8_t)((at + (size_t)i) * 31 >> 3)) {
			ck_abort_msg("byte %zu is wrong", at + (size_t)i);
		}
	}
	if (n < 0) {
		return errno == EAGAIN ? 0 : -errno;
	}
	return n > 0 ? n : -1;
}

/* Move bytes [at, end) of the stream through the relay. */
static void move_stream(struct fixture *f, int from, int to, size_t at, size_t end)
{
	const uint64_t give_up_ms = clock_mono_ms() + 50000;
	size_t sent = at;
	size_t got = at;

	while (got < end && clock_mono_ms() < give_up_ms) {
		ssize_t n;

		for (size_t more = 1; more > 0;) {
			more = send_stream(from, sent, end);
			sent += more;
		}
		loop_turn(f->loop, 0);
		do {
			n = receive_stream(to, got);
			ck_assert_int_ge(n, 0);
			got += (size_t)n;
		} while (n > 0);
	}
	ck_assert_uint_eq(got, end);
}

/* Send from byte `sent` on until nothing moves any more, and nobody reads. Returns how far that
 * was.
 */
static size_t fill_up(struct fixture *f, int from, size_t sent)
{
	for (int quiet = 0; quiet < 20;) {
		size_t n = send_stream(from, sent, SIZE_MAX);

		sent += n;
		quiet = n > 0 ? 0 : quiet + 1;
		loop_turn(f->loop, 5);
	}
	return sent;
}

/* --- small and faithful ---------------------------------------------------------------------- */

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
	ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].spliced, 0);
	ck_assert(!f.pipe.open);
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
	ck_assert_int_eq(f.half_closes, 1);
	ck_assert(!f.relay.answered);
	ck_assert_int_eq(f.ends, 0);
	ck_assert_int_eq(send(f.target, "late answer", 11, 0), 11);
	expect(&f, f.client, "late answer");
	ck_assert(f.relay.answered);
	close(f.target);
	f.target = -1;
	expect_end(&f, f.client, 0);
	ck_assert_int_eq(f.ends, 1);
	ck_assert_int_eq(f.half_closes, 1);
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

	set_up(&f);
	/* As a session does it, before the start. */
	ck_assert_int_eq(relay_early_data(&f.relay, (const uint8_t *)"early ", 6), 0);
	ck_assert_int_eq(send(f.client, "late", 4, 0), 4);
	expect(&f, f.target, "early late");
	ck_assert_uint_eq(f.relay.flow[RELAY_CLIENT].bytes, 10);
	tear_down(&f);
}
END_TEST

/* --- bulk ------------------------------------------------------------------------------------ */

START_TEST(test_bulk_arrives_whole_whichever_way_it_is_moved)
{
	for (enum mode mode = 0; mode < MODES; mode++) {
		const size_t total = 24 * MIB;
		const struct relay_flow *flow;
		struct fixture f;

		set_up_mode(&f, mode);
		flow = &f.relay.flow[RELAY_TARGET];
		move_stream(&f, f.target, f.client, 0, total);
		ck_assert_uint_eq(flow->bytes, total);
		if (mode == SPLICING && f.pipe.open) {
			ck_assert_uint_gt(flow->spliced, total / 2);
		} else {
			ck_assert_uint_eq(flow->spliced, 0);
			ck_assert_uint_gt(f.relay.pipeless, 0);
		}
		expect_empty_pipe(&f);
		ck_assert_ptr_null(flow->held);
		shutdown(f.target, SHUT_WR);
		expect_end(&f, f.client, 0);
		/* The other way, half closed. */
		move_stream(&f, f.client, f.target, 0, 8 * MIB);
		close(f.client);
		f.client = -1;
		expect_end(&f, f.target, 0);
		ck_assert_int_eq(f.outcome, RELAY_FINISHED);
		ck_assert_uint_eq(f.relay.flow[RELAY_CLIENT].bytes, 8 * MIB);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_a_flow_that_goes_quiet_is_small_again)
{
	struct fixture f;
	uint64_t spliced;

	set_up(&f);
	move_stream(&f, f.target, f.client, 0, 8 * MIB);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(send(f.target, "tick", 4, 0), 4);
		expect(&f, f.client, "tick");
	}
	ck_assert_int_eq(f.relay.flow[RELAY_TARGET].gear, RELAY_SMALL);
	spliced = f.relay.flow[RELAY_TARGET].spliced;
	ck_assert_int_eq(send(f.target, "tock", 4, 0), 4);
	expect(&f, f.client, "tock");
	ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].spliced, spliced);
	/* And bulk again. */
	move_stream(&f, f.target, f.client, 0, 8 * MIB);
	ck_assert(!f.pipe.open || f.relay.flow[RELAY_TARGET].spliced > spliced);
	tear_down(&f);
}
END_TEST

START_TEST(test_a_descriptor_that_cannot_be_spliced_is_copied)
{
	struct fixture f;
	int client;

	set_up(&f);
	client = f.relay.side[RELAY_CLIENT].watch.fd;
	/* splice(2): EINVAL for a receiver in append mode, when the bytes are in the pipe already.
	 */
	ck_assert_int_eq(fcntl(client, F_SETFL, fcntl(client, F_GETFL) | O_APPEND), 0);
	move_stream(&f, f.target, f.client, 0, 8 * MIB);
	ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].bytes, 8 * MIB);
	ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].spliced, 0);
	ck_assert(!pipe_ready(&f.pipe, UINT64_MAX));
	tear_down(&f);
}
END_TEST

START_TEST(test_urgent_data_keeps_its_place)
{
	struct fixture f;

	set_up(&f);
	/* All of it is there at the first read, which stops at the mark. */
	ck_assert_int_eq(send(f.client, "\377", 1, 0), 1);
	ck_assert_int_eq(send(f.client, "\362", 1, MSG_OOB), 1);
	ck_assert_int_eq(send(f.client, "hello", 5, 0), 5);
	expect(&f, f.target, "\377\362hello");
	ck_assert_int_eq(send(f.client, "more", 4, 0), 4);
	expect(&f, f.target, "more");
	tear_down(&f);
}
END_TEST

START_TEST(test_urgent_data_is_no_end)
{
	for (int fin = 0; fin < 2; fin++) {
		const uint64_t give_up_ms = clock_mono_ms() + 50000;
		struct fixture f;
		size_t sent = 8 * MIB;
		size_t got = 8 * MIB;
		ssize_t n = 0;
		uint8_t urgent;

		set_up(&f);
		move_stream(&f, f.target, f.client, 0, got);
		/* splice() comes to the urgent byte, and sees nothing more, or the end. */
		while (sent < 8 * MIB + 900000) {
			sent += send_stream(f.target, sent, 8 * MIB + 900000);
		}
		urgent = (uint8_t)(sent * 31 >> 3);
		ck_assert_int_eq(send(f.target, &urgent, 1, MSG_OOB), 1);
		sent++;
		while (sent < 9 * MIB) {
			sent += send_stream(f.target, sent, 9 * MIB);
		}
		if (fin) {
			shutdown(f.target, SHUT_WR);
		}
		while (n >= 0 && got < sent && clock_mono_ms() < give_up_ms) {
			loop_turn(f.loop, 10);
			n = receive_stream(f.client, got);
			got += n > 0 ? (size_t)n : 0;
		}
		ck_assert_uint_eq(got, sent);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_a_turn_is_bounded)
{
	for (enum mode mode = 0; mode < MODES; mode++) {
		struct fixture f;
		uint64_t bytes = 0;
		size_t sent = 0;

		set_up_mode(&f, mode);
		move_stream(&f, f.target, f.client, 0, 8 * MIB);
		for (size_t n = 1; n > 0;) {
			n = send_stream(f.target, sent, SIZE_MAX);
			sent += n;
		}
		bytes = f.relay.flow[RELAY_TARGET].bytes;
		loop_turn(f.loop, 10);
		bytes = f.relay.flow[RELAY_TARGET].bytes - bytes;
		ck_assert_uint_gt(bytes, 0);
		/* Less than two bulk reads, in the flow's turn. */
		ck_assert_uint_le(bytes, 2 * MIB);
		tear_down(&f);
	}
}
END_TEST

/* --- readers that stall ---------------------------------------------------------------------- */

START_TEST(test_a_reader_that_stalls_stops_the_sender_and_nothing_is_lost)
{
	for (enum mode mode = 0; mode < MODES; mode++) {
		struct fixture f;
		size_t sent;
		size_t got = 0;
		ssize_t n = 0;

		set_up_mode(&f, mode);
		sent = fill_up(&f, f.target, 0);
		ck_assert_uint_gt(sent, 0);
		ck_assert_uint_le(f.relay.flow[RELAY_TARGET].held_len, RELAY_BULK_BYTES);
		expect_empty_pipe(&f);
		/* The other way is not concerned. */
		ck_assert_int_eq(send(f.client, "hello", 5, 0), 5);
		expect(&f, f.target, "hello");
		shutdown(f.target, SHUT_WR);
		/* Then it reads everything, and in order. */
		while (n >= 0) {
			loop_turn(f.loop, 0);
			n = receive_stream(f.client, got);
			got += n > 0 ? (size_t)n : 0;
		}
		ck_assert_int_eq(n, -1);
		ck_assert_uint_eq(got, sent);
		ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].bytes, sent);
		ck_assert_ptr_null(f.relay.flow[RELAY_TARGET].held);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_a_sender_is_not_heard_while_its_reader_stalls)
{
	for (enum mode mode = 0; mode < MODES; mode++) {
		struct fixture f;
		size_t sent;
		size_t got = 8 * MIB;

		set_up_mode(&f, mode);
		move_stream(&f, f.target, f.client, 0, got);
		ck_assert(!f.relay.side[RELAY_TARGET].muted);
		sent = fill_up(&f, f.target, got);
		ck_assert(f.relay.side[RELAY_TARGET].muted);
		ck_assert(!f.relay.side[RELAY_CLIENT].muted);
		while (got < sent) {
			ssize_t n = receive_stream(f.client, got);

			ck_assert_int_ge(n, 0);
			got += (size_t)n;
			loop_turn(f.loop, 0);
		}
		/* It has been empty since, so it is heard: bytes, urgent ones, the end. */
		turns(&f, 2);
		ck_assert(!f.relay.side[RELAY_TARGET].muted);
		ck_assert_int_eq(send(f.target, "x", 1, MSG_OOB), 1);
		ck_assert_int_eq(send(f.target, "yz", 2, 0), 2);
		expect(&f, f.client, "xyz");
		shutdown(f.target, SHUT_WR);
		expect_end(&f, f.client, 0);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_what_a_receiver_refuses_is_held)
{
	for (enum mode mode = 0; mode < MODES; mode++) {
		const unsigned lowat = 16384;
		const unsigned unlimited = 0;
		struct fixture f;
		size_t sent;
		size_t got = 8 * MIB;
		ssize_t n = 0;

		set_up_mode(&f, mode);
		move_stream(&f, f.target, f.client, 0, got);
		/* The socket has room, and yet takes little. */
		ck_assert_int_eq(setsockopt(f.relay.side[RELAY_CLIENT].watch.fd, IPPROTO_TCP,
					    TCP_NOTSENT_LOWAT, &lowat, sizeof lowat),
				 0);
		sent = fill_up(&f, f.target, got);
		ck_assert_uint_gt(f.relay.flow[RELAY_TARGET].held_len, 0);
		expect_empty_pipe(&f);
		ck_assert_int_eq(setsockopt(f.relay.side[RELAY_CLIENT].watch.fd, IPPROTO_TCP,
					    TCP_NOTSENT_LOWAT, &unlimited, sizeof unlimited),
				 0);
		while (got < sent) {
			loop_turn(f.loop, 0);
			n = receive_stream(f.client, got);
			ck_assert_int_ge(n, 0);
			got += (size_t)n;
		}
		ck_assert_uint_eq(f.relay.flow[RELAY_TARGET].bytes, sent);
		ck_assert_ptr_null(f.relay.flow[RELAY_TARGET].held);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_a_reset_amid_bulk_never_looks_like_an_end)
{
	for (enum mode mode = 0; mode < MODES; mode++) {
		struct fixture f;
		size_t sent;
		size_t got = 0;
		ssize_t n = 0;

		set_up_mode(&f, mode);
		sent = fill_up(&f, f.target, 0);
		reset_close(&f.target);
		turns(&f, 3);
		while (n >= 0 && got <= sent) {
			loop_turn(f.loop, 0);
			n = receive_stream(f.client, got);
			got += n > 0 ? (size_t)n : 0;
		}
		ck_assert_int_eq(n, -ECONNRESET);
		ck_assert_int_eq(f.outcome, RELAY_TARGET_RESET);
		tear_down(&f);
		/* And when it is the reader who resets. */
		set_up_mode(&f, mode);
		fill_up(&f, f.target, 0);
		reset_close(&f.client);
		for (int i = 0; i < 3000 && f.ends == 0; i++) {
			loop_turn(f.loop, 10);
		}
		ck_assert_int_eq(f.outcome, RELAY_CLIENT_RESET);
		ck_assert_int_eq(send(f.target, "x", 1, MSG_NOSIGNAL), -1);
		ck_assert_int_eq(errno, ECONNRESET);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_a_reader_that_never_reads_is_given_up)
{
	const uint64_t began_ms = clock_mono_ms();
	struct fixture f;

	set_up_with(&f, SPLICING, 1000);
	fill_up(&f, f.target, 0);
	while (f.ends == 0 && clock_mono_ms() < began_ms + 50000) {
		loop_turn(f.loop, 100);
	}
	ck_assert_int_eq(f.ends, 1);
	ck_assert_int_eq(f.outcome, RELAY_STALLED);
	ck_assert_uint_ge(clock_mono_ms() - began_ms, 900);
	tear_down(&f);
}
END_TEST

SUITE_MAIN("relay", test_bytes_go_both_ways_and_are_counted,
	   test_half_close_keeps_the_other_way_open, test_reset_is_passed_on,
	   test_what_came_before_a_broken_write_is_passed_back, test_early_data_comes_first,
	   test_bulk_arrives_whole_whichever_way_it_is_moved,
	   test_a_flow_that_goes_quiet_is_small_again,
	   test_a_descriptor_that_cannot_be_spliced_is_copied, test_urgent_data_keeps_its_place,
	   test_urgent_data_is_no_end, test_a_turn_is_bounded,
	   test_a_reader_that_stalls_stops_the_sender_and_nothing_is_lost,
	   test_a_sender_is_not_heard_while_its_reader_stalls, test_what_a_receiver_refuses_is_held,
	   test_a_reset_amid_bulk_never_looks_like_an_end,
	   test_a_reader_that_never_reads_is_given_up)
