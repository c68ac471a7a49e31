/* SPDX-License-Identifier: ISC */
/* When connections of clients are closed for want of questions. The rest of this front is seen in
 * tests/integration/test_dns.py. */
#include "dnsproxyd/front/front_tcp.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/client.h"
#include "tests/unit/suite.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IDLE_MS = 10000, /* the default */
	QUERY_MAX = 512,
};

#define ONE "[upstream default]\nserver = $0\n"

struct peer {
	struct client client;
	struct client_counts *counts;
	struct front_tcp *front;
	int fd; /* the client's end */
};

static const struct netset everybody = { .any = true };

static void start(struct peer *peer, const char *config)
{
	static const struct crypto_key key;
	struct addr addr;
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	client_start(&peer->client, config);
	peer->counts = client_counts_new(&key);
	peer->client.context.tcp_clients = peer->counts;
	ck_assert_int_eq(addr_parse_ip("127.0.0.1", &addr), 0);
	ck_assert_int_eq(bind(fd, &addr.sa, addr_len(&addr)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, &addr.sa, &len), 0);
	peer->front = front_tcp_new(&peer->client.context, fd, &addr);
	ck_assert_ptr_nonnull(peer->front);
	front_tcp_set_clients(peer->front, &everybody, NULL, false);
	peer->fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(peer->fd, &addr.sa, addr_len(&addr)), 0);
	for (unsigned i = 0; i < 1000 && client_counts_total(peer->counts) == 0; i++) {
		loop_turn(peer->client.bench.loop, 1);
	}
	ck_assert_uint_eq(client_counts_total(peer->counts), 1);
}

static void stop(struct peer *peer)
{
	close(peer->fd);
	front_tcp_free(peer->front);
	clock_settle(peer->client.bench.loop);
	client_counts_free(peer->counts);
	client_stop(&peer->client);
}

static void send_query(struct peer *peer, const char *name)
{
	uint8_t frame[2 + QUERY_MAX];
	size_t len = fake_dns_query(frame + 2, 7, name, DNS_TYPE_A, true);

	frame[0] = (uint8_t)(len >> 8);
	frame[1] = (uint8_t)len;
	ck_assert_int_eq(send(peer->fd, frame, 2 + len, 0), (ssize_t)(2 + len));
}

/* Wait for the reply, while the clock stands still. */
static void take_reply(struct peer *peer)
{
	uint8_t buf[QUERY_MAX];
	ssize_t n = -1;

	for (unsigned i = 0; i < 1000 && n <= 0; i++) {
		ck_assert_int_eq(loop_turn(peer->client.bench.loop, 1), 0);
		n = recv(peer->fd, buf, sizeof buf, MSG_DONTWAIT);
	}
	ck_assert_int_gt(n, 2);
}

/* The connection lives for so long, and no longer. */
static void expect_end(struct peer *peer, unsigned in_ms, unsigned metric)
{
	clock_pass(peer->client.bench.loop, in_ms - 1);
	ck_assert_uint_eq(client_counts_total(peer->counts), 1);
	clock_pass(peer->client.bench.loop, 1);
	ck_assert_uint_eq(client_counts_total(peer->counts), 0);
	ck_assert_int_eq(bench_counter(&peer->client.bench, metric), 1);
}

START_TEST(test_idle_from_the_start)
{
	struct peer peer;

	start(&peer, ONE);
	expect_end(&peer, IDLE_MS, METRIC_tcp_idle);
	stop(&peer);
}
END_TEST

START_TEST(test_idle_after_questions)
{
	struct peer peer;

	start(&peer, ONE "[limits]\ntcp-idle-timeout = 3s\n");
	for (unsigned i = 0; i < 4; i++) {
		clock_pass(peer.client.bench.loop, 2999);
		send_query(&peer, "www.example");
		take_reply(&peer);
	}
	expect_end(&peer, 3000, METRIC_tcp_idle);
	stop(&peer);
}
END_TEST

/* An octet now and then earns no time. */
START_TEST(test_dribble)
{
	struct peer peer;

	start(&peer, ONE);
	for (unsigned i = 0; i < 9; i++) {
		clock_pass(peer.client.bench.loop, 1000);
		ck_assert_int_eq(send(peer.fd, "\1", 1, 0), 1);
		clock_settle(peer.client.bench.loop);
	}
	expect_end(&peer, IDLE_MS - 9000, METRIC_tcp_idle);
	stop(&peer);
}
END_TEST

/* Who waits for an answer is not idle; the time runs from its end. */
START_TEST(test_waiting_is_not_idle)
{
	struct peer peer;

	start(&peer, ONE "[limits]\ntcp-idle-timeout = 1s\n");
	peer.client.bench.servers[0].mode = BENCH_SILENT;
	send_query(&peer, "www.example");
	bench_expect_seen(&peer.client.bench, 0, 1);
	clock_pass(peer.client.bench.loop, 3999);
	ck_assert_uint_eq(client_counts_total(peer.counts), 1);
	clock_pass(peer.client.bench.loop, 500);
	take_reply(&peer);
	clock_pass(peer.client.bench.loop, 1000);
	ck_assert_uint_eq(client_counts_total(peer.counts), 0);
	ck_assert_int_eq(bench_counter(&peer.client.bench, METRIC_tcp_idle), 1);
	stop(&peer);
}
END_TEST

SUITE_MAIN("front_tcp", test_idle_from_the_start, test_idle_after_questions, test_dribble,
	   test_waiting_is_not_idle)
