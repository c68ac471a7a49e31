/* SPDX-License-Identifier: ISC */
/* Datagrams of clients and what comes back, who is answered, and what ends with the front. */
#include "dnsproxyd/front/front_udp.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/client.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MANY = 300, /* more than a turn takes */
	QUERY_MAX = 512,
	QUERY_BYTES = 2048, /* the longest that is taken */
	REPLY_MAX = 4096,
};

#define ONE "[upstream default]\nserver = $0\n"

struct peer {
	struct client client;
	struct front_udp *front;
	struct addr addr; /* that the front is bound to */
	int fd;           /* the client's end */
};

/* --- what the kernel makes of replies -------------------------------------------------------- */

/* The next calls fail with these numbers, or take so few datagrams. */
static int send_errors[4];
static unsigned send_at_most;
static unsigned send_calls;

int sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	int error = send_errors[0];

	send_calls++;
	memmove(send_errors, send_errors + 1, sizeof send_errors - sizeof send_errors[0]);
	if (error) {
		errno = error;
		return -1;
	}
	if (send_at_most && count > send_at_most) {
		count = send_at_most;
	}
	return (int)syscall(SYS_sendmmsg, fd, msgs, count, flags);
}

static bool is_from_port_0; /* what is received */

int recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)
{
	int n = (int)syscall(SYS_recvmmsg, fd, msgs, count, flags, timeout);

	for (int i = 0; is_from_port_0 && i < n; i++) {
		addr_set_port(msgs[i].msg_hdr.msg_name, 0);
	}
	return n;
}

/* --- a front and a client -------------------------------------------------------------------- */

static const struct netset everybody = { .any = true };

/* Bound to `ip`, on the loopback interface only, and asked at `target`. */
static void start_at(struct peer *peer, const char *config, const char *ip, const char *target)
{
	static const char interface[] = "lo";
	const int room = 200000; /* for MANY replies */
	socklen_t len = sizeof peer->addr;
	struct addr to;
	int fd;

	memset(send_errors, 0, sizeof send_errors);
	send_at_most = 0;
	send_calls = 0;
	is_from_port_0 = false;
	client_start(&peer->client, config);
	ck_assert_int_eq(addr_parse_ip(ip, &peer->addr), 0);
	ck_assert_int_eq(addr_parse_ip(target, &to), 0);
	fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, sizeof interface),
			 0);
	ck_assert_int_eq(bind(fd, &peer->addr.sa, addr_len(&peer->addr)), 0);
	ck_assert_int_eq(getsockname(fd, &peer->addr.sa, &len), 0);
	addr_set_port(&to, addr_port(&peer->addr));
	peer->front = front_udp_new(&peer->client.context, fd, &peer->addr);
	ck_assert_ptr_nonnull(peer->front);
	front_udp_set_clients(peer->front, &everybody);
	/* Of a connected socket: what comes from elsewhere does not arrive. */
	peer->fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
	ck_assert_int_eq(connect(peer->fd, &to.sa, addr_len(&to)), 0);
}

static void start(struct peer *peer)
{
	start_at(peer, ONE, "127.0.0.1", "127.0.0.1");
}

static void stop(struct peer *peer)
{
	front_udp_free(peer->front);
	close(peer->fd);
	clock_settle(peer->client.bench.loop);
	client_stop(&peer->client);
}

static int64_t counter(const struct peer *peer, unsigned metric)
{
	return bench_counter(&peer->client.bench, metric);
}

static void send_query(struct peer *peer, uint16_t id, const char *name)
{
	uint8_t query[QUERY_MAX];
	size_t len = fake_dns_query(query, id, name, DNS_TYPE_A, true);

	ck_assert_int_eq(send(peer->fd, query, len, 0), (ssize_t)len);
}

/* Take one reply, if there is one; returns its length, else 0. */
static size_t take_reply(struct peer *peer, uint8_t buf[REPLY_MAX])
{
	ssize_t n = recv(peer->fd, buf, REPLY_MAX, 0);

	ck_assert(n > 0 || errno == EAGAIN);
	return n > 0 ? (size_t)n : 0;
}

/* Wait for a reply with this id, while the clock stands still. */
static void expect_reply(struct peer *peer, uint16_t id)
{
	uint8_t buf[REPLY_MAX];
	size_t len = 0;

	for (unsigned i = 0; i < 2000 && len == 0; i++) {
		ck_assert_int_eq(loop_turn(peer->client.bench.loop, 1), 0);
		len = take_reply(peer, buf);
	}
	ck_assert_uint_ge(len, 12);
	ck_assert_uint_eq(buf[0] << 8 | buf[1], id);
	ck_assert_uint_eq(buf[2] & 0x80, 0x80);
}

/* Let time pass until the server, which has seen one message, gets another. */
static void pass_until_asked_again(struct peer *peer)
{
	for (unsigned i = 0; i < 3000 && bench_sends(&peer->client.bench) < 2; i++) {
		clock_pass(peer->client.bench.loop, 1);
	}
	ck_assert_uint_eq(bench_sends(&peer->client.bench), 2);
}

static void expect_nothing(struct peer *peer)
{
	uint8_t buf[REPLY_MAX];

	clock_settle(peer->client.bench.loop);
	ck_assert_uint_eq(take_reply(peer, buf), 0);
}

/* --- questions and replies ------------------------------------------------------------------- */

/* From upstream, then from the cache, in the turn in which it came. */
START_TEST(test_question)
{
	struct peer peer;
	uint8_t buf[REPLY_MAX];

	start(&peer);
	send_query(&peer, 1, "www.example");
	expect_reply(&peer, 1);
	ck_assert_uint_eq(peer.client.context.open_count, 0);
	send_query(&peer, 2, "www.example");
	ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
	ck_assert_uint_gt(take_reply(&peer, buf), 12);
	ck_assert_uint_eq(buf[0] << 8 | buf[1], 2);
	ck_assert_uint_eq(bench_sends(&peer.client.bench), 1);
	ck_assert_int_eq(counter(&peer, METRIC_queries_udp), 2);
	ck_assert_int_eq(counter(&peer, METRIC_cache_hits), 1);
	ck_assert_int_eq(counter(&peer, METRIC_queries_dropped), 0);
	stop(&peer);
}
END_TEST

/* More than one batch, and more than a turn takes: each gets its own reply, and they leave
 * together. */
START_TEST(test_many)
{
	bool seen[MANY] = { false };
	unsigned count = 0;
	struct peer peer;

	start(&peer);
	send_query(&peer, MANY, "www.example");
	expect_reply(&peer, MANY);
	send_calls = 0;
	for (uint16_t i = 0; i < MANY; i++) {
		send_query(&peer, i, "www.example");
	}
	ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
	ck_assert_int_eq(counter(&peer, METRIC_queries_udp), 1 + 256);
	ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
	for (;;) {
		uint8_t buf[REPLY_MAX];
		unsigned id;

		if (take_reply(&peer, buf) == 0) {
			break;
		}
		id = (unsigned)(buf[0] << 8 | buf[1]);
		ck_assert_uint_lt(id, MANY);
		ck_assert(!seen[id]);
		seen[id] = true;
		count++;
	}
	ck_assert_uint_eq(count, MANY);
	ck_assert_uint_eq(send_calls, (MANY + 31) / 32);
	ck_assert_int_eq(counter(&peer, METRIC_udp_send_lost), 0);
	stop(&peer);
}
END_TEST

/* Those that wait for the same answer get it together, each with its id. */
START_TEST(test_many_waiting)
{
	struct peer peer;
	unsigned count = 0;

	start(&peer);
	peer.client.bench.servers[0].mode = BENCH_SILENT;
	for (uint16_t i = 0; i < 100; i++) {
		send_query(&peer, i, "www.example");
	}
	bench_expect_seen(&peer.client.bench, 0, 1);
	while (counter(&peer, METRIC_queries_udp) < 100) {
		ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
	}
	ck_assert_uint_eq(peer.client.context.open_count, 100);
	peer.client.bench.servers[0].mode = BENCH_GOOD;
	pass_until_asked_again(&peer);
	while (count < 100) {
		expect_reply(&peer, (uint16_t)count++);
	}
	ck_assert_uint_eq(peer.client.context.open_count, 0);
	ck_assert_uint_eq(peer.client.idle_count, 1);
	stop(&peer);
}
END_TEST

/* What cannot wait for a server is answered at once, and holds no place. */
START_TEST(test_refused)
{
	struct peer peer;
	uint8_t buf[REPLY_MAX];

	start_at(&peer, ONE "[limits]\nmax-outstanding = 1\n", "127.0.0.1", "127.0.0.1");
	peer.client.bench.servers[0].mode = BENCH_SILENT;
	send_query(&peer, 1, "www.example");
	bench_expect_seen(&peer.client.bench, 0, 1);
	for (uint16_t i = 2; i < 50; i++) {
		send_query(&peer, i, "other.example");
		ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
		ck_assert_uint_ge(take_reply(&peer, buf), 12);
		ck_assert_uint_eq(buf[0] << 8 | buf[1], i);
		ck_assert_uint_eq(buf[3] & 0x0f, DNS_RCODE_SERVFAIL);
	}
	ck_assert_int_eq(counter(&peer, METRIC_queries_overload), 48);
	ck_assert_uint_eq(peer.client.context.open_count, 1);
	front_udp_free(peer.front);
	peer.front = NULL;
	ck_assert_uint_eq(peer.client.context.open_count, 0);
	stop(&peer);
}
END_TEST

/* Nobody but clients is answered, whoever they are. */
START_TEST(test_clients)
{
	const struct netset others = { .any = false };
	struct peer peer;

	start(&peer);
	front_udp_set_clients(peer.front, &others);
	send_query(&peer, 1, "www.example");
	expect_nothing(&peer);
	ck_assert_int_eq(counter(&peer, METRIC_queries_dropped), 1);
	front_udp_set_clients(peer.front, NULL);
	send_query(&peer, 2, "www.example");
	expect_nothing(&peer);
	ck_assert_int_eq(counter(&peer, METRIC_queries_dropped), 2);
	ck_assert_int_eq(counter(&peer, METRIC_queries_udp), 2);
	ck_assert_uint_eq(bench_sends(&peer.client.bench), 0);
	front_udp_set_clients(peer.front, &everybody);
	send_query(&peer, 3, "www.example");
	expect_reply(&peer, 3);
	/* Nobody can be answered there. */
	is_from_port_0 = true;
	send_query(&peer, 4, "www.example");
	expect_nothing(&peer);
	ck_assert_int_eq(counter(&peer, METRIC_queries_dropped), 3);
	ck_assert_int_eq(counter(&peer, METRIC_udp_send_lost), 0);
	stop(&peer);
}
END_TEST

/* What is no question is not answered, and neither is what is longer than any question. */
START_TEST(test_garbage)
{
	uint8_t bytes[QUERY_BYTES + 1] = { 0 };
	struct peer peer;
	size_t len;

	start(&peer);
	ck_assert_int_eq(send(peer.fd, bytes, 0, 0), 0);
	ck_assert_int_eq(send(peer.fd, bytes, 11, 0), 11);
	expect_nothing(&peer);
	ck_assert_int_eq(counter(&peer, METRIC_queries_dropped), 2);
	len = fake_dns_query(bytes, 1, "www.example", DNS_TYPE_A, true);
	ck_assert_uint_lt(len, sizeof bytes);
	ck_assert_int_eq(send(peer.fd, bytes, sizeof bytes, 0), sizeof bytes);
	expect_nothing(&peer);
	ck_assert_int_eq(counter(&peer, METRIC_queries_dropped), 3);
	ck_assert_int_eq(counter(&peer, METRIC_queries_udp), 3);
	/* The next in its place is another one. */
	send_query(&peer, 2, "www.example");
	expect_reply(&peer, 2);
	stop(&peer);
}
END_TEST

/* The reply leaves from where the question went, also on a socket for all addresses, and however
 * long the answer took. */
START_TEST(test_own_address)
{
	static const struct {
		const char *bound;
		const char *asked;
	} rows[] = {
		{ "0.0.0.0", "127.0.0.1" },
		{ "0.0.0.0", "127.7.7.7" },
		{ "127.7.7.7", "127.7.7.7" },
		{ "::", "::1" },
		{ "::1", "::1" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct peer peer;

		start_at(&peer, ONE, rows[i].bound, rows[i].asked);
		send_query(&peer, 1, "www.example");
		expect_reply(&peer, 1);
		send_query(&peer, 2, "www.example");
		expect_reply(&peer, 2);
		ck_assert_int_eq(counter(&peer, METRIC_udp_send_lost), 0);
		stop(&peer);
	}
}
END_TEST

/* A reply that the kernel does not take is lost, and no other. */
START_TEST(test_lost)
{
	static const struct {
		int errors[4];
		unsigned at_most;
		unsigned lost;
	} rows[] = {
		{ { EINTR, EINTR }, 0, 0 },          { { EAGAIN }, 0, 1 },
		{ { ENOBUFS, EINTR, EPERM }, 0, 2 }, { { 0 }, 1, 0 },
		{ { 0, EINVAL, 0, 0 }, 2, 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned count = 0;
		struct peer peer;
		uint8_t buf[REPLY_MAX];

		start(&peer);
		send_query(&peer, 100, "www.example");
		expect_reply(&peer, 100);
		for (uint16_t k = 0; k < 5; k++) {
			send_query(&peer, k, "www.example");
		}
		memcpy(send_errors, rows[i].errors, sizeof send_errors);
		send_at_most = rows[i].at_most;
		ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
		while (take_reply(&peer, buf) > 0) {
			count++;
		}
		ck_assert_uint_eq(count, 5 - rows[i].lost);
		ck_assert_int_eq(counter(&peer, METRIC_udp_send_lost), rows[i].lost);
		stop(&peer);
	}
}
END_TEST

/* --- the end --------------------------------------------------------------------------------- */

/* No more questions; those that are open are still answered. */
START_TEST(test_stop)
{
	struct peer peer;

	start(&peer);
	peer.client.bench.servers[0].mode = BENCH_SILENT;
	send_query(&peer, 1, "www.example");
	bench_expect_seen(&peer.client.bench, 0, 1);
	front_udp_stop(peer.front);
	peer.client.bench.servers[0].mode = BENCH_GOOD;
	send_query(&peer, 2, "other.example");
	pass_until_asked_again(&peer);
	expect_reply(&peer, 1);
	expect_nothing(&peer);
	ck_assert_int_eq(counter(&peer, METRIC_queries_udp), 1);
	stop(&peer);
}
END_TEST

/* Open questions go with the front; replies that are ready leave. */
START_TEST(test_free)
{
	struct peer peer;
	uint8_t buf[REPLY_MAX];

	front_udp_free(NULL);
	start(&peer);
	peer.client.bench.servers[0].mode = BENCH_SILENT;
	for (uint16_t i = 0; i < 40; i++) {
		send_query(&peer, i, "www.example");
	}
	while (counter(&peer, METRIC_queries_udp) < 40) {
		ck_assert_int_eq(loop_turn(peer.client.bench.loop, 100), 0);
	}
	ck_assert_uint_eq(peer.client.context.open_count, 40);
	front_udp_free(peer.front);
	peer.front = NULL;
	ck_assert_uint_eq(peer.client.context.open_count, 0);
	ck_assert_int_eq(counter(&peer, METRIC_queries_open_now), 0);
	peer.client.bench.servers[0].mode = BENCH_GOOD;
	clock_pass(peer.client.bench.loop, 1000);
	ck_assert_int_lt(recv(peer.fd, buf, sizeof buf, 0), 0);
	ck_assert_int_eq(errno, EAGAIN);
	/* Nobody is there any more, says ICMP. */
	send_query(&peer, 1, "www.example");
	ck_assert_int_lt(recv(peer.fd, buf, sizeof buf, 0), 0);
	ck_assert_int_eq(errno, ECONNREFUSED);
	stop(&peer);
}
END_TEST

/* The socket is closed when the front cannot be made. */
START_TEST(test_no_front)
{
	struct client client;
	struct addr addr;
	int fd = dup(STDIN_FILENO);

	client_start(&client, ONE);
	ck_assert_int_eq(addr_parse_ip("0.0.0.0", &addr), 0);
	ck_assert_ptr_null(front_udp_new(&client.context, fd, &addr));
	ck_assert_int_eq(errno, ENOTSOCK);
	ck_assert_int_lt(close(fd), 0);
	client_stop(&client);
}
END_TEST

SUITE_MAIN("front_udp", test_question, test_many, test_many_waiting, test_refused, test_clients,
	   test_garbage, test_own_address, test_lost, test_stop, test_free, test_no_front)
