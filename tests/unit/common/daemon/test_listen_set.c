/* SPDX-License-Identifier: ISC */
#include "common/daemon/listen_set.h"
#include "common/daemon/listener.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A loopback address whose port nobody uses, on any address and by TCP or UDP; not one of those
 * that the kernel gives to outgoing connections, which may come and go meanwhile. */
static struct addr free_address(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	const uint8_t ip[4] = { 127, 0, 0, 1 };
	const uint8_t any[4] = { 0, 0, 0, 0 };

	for (int i = 0; i < 1000; i++) {
		uint16_t port = (uint16_t)(10000 + arc4random_uniform(20000));
		struct addr wildcard = addr_from_ipv4(any, port);

		if (listener_probe(&wildcard, types[0]) == 0 &&
		    listener_probe(&wildcard, types[1]) == 0) {
			return addr_from_ipv4(ip, port);
		}
	}
	ck_abort_msg("no free port");
}

START_TEST(test_set_keeps_adds_and_drops)
{
	struct listen_set set = { .workers = 2 };
	struct listen_want first[2] = { { free_address(), SOCK_STREAM },
					{ free_address(), SOCK_DGRAM } };
	struct listen_want second[2] = { first[1], { free_address(), SOCK_STREAM } };
	struct addr bad;
	int taken;

	ck_assert_int_eq(listen_set_update(&set, first, 2, &bad), 0);
	ck_assert_uint_eq(set.count, 2);
	taken = listen_set_take(&set, 1, 1);
	ck_assert_int_ge(taken, 0);
	ck_assert_int_eq(listen_set_take(&set, 1, 1), -1);
	ck_assert_int_eq(listen_set_update(&set, second, 2, &bad), 0);
	ck_assert_uint_eq(set.count, 3);
	ck_assert(set.sockets[0].gone && !set.sockets[1].gone && !set.sockets[2].gone);
	listen_set_sweep(&set);
	ck_assert_uint_eq(set.count, 2);
	ck_assert_int_eq(set.sockets[0].fds[1], -1);
	ck_assert_int_eq(listener_probe(&first[0].addr, SOCK_STREAM), 0);
	close(taken);
	listen_set_done(&set);
}
END_TEST

START_TEST(test_set_is_unchanged_when_an_address_is_taken)
{
	struct listen_set set = { .workers = 2 };
	struct listen_want wants[3] = { { free_address(), SOCK_STREAM },
					{ free_address(), SOCK_STREAM } };
	struct addr bad;
	int other;

	ck_assert_int_eq(listen_set_update(&set, wants, 1, &bad), 0);
	wants[2] = (struct listen_want){ free_address(), SOCK_STREAM };
	ck_assert_int_eq(listener_bind_tcp(&wants[2].addr, &other), 0);
	ck_assert_int_eq(listen_set_update(&set, wants + 1, 2, &bad), -EADDRINUSE);
	ck_assert(addr_equal(&bad, &wants[2].addr));
	ck_assert_uint_eq(set.count, 1);
	ck_assert(!set.sockets[0].gone);
	ck_assert_int_eq(listener_probe(&wants[1].addr, SOCK_STREAM), 0);
	close(other);
	listen_set_done(&set);
}
END_TEST

START_TEST(test_set_changes_from_wildcard_and_back)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };

	for (size_t t = 0; t < 2; t++) {
		struct listen_want one = { free_address(), types[t] };
		struct listen_want all = one;
		struct listen_set set = { .workers = 2 };
		struct addr bad;

		all.addr.in4.sin_addr.s_addr = 0;
		ck_assert_int_eq(listen_set_update(&set, &all, 1, &bad), 0);
		for (int i = 0; i < 4; i++) {
			ck_assert_int_eq(listen_set_update(&set, i % 2 ? &all : &one, 1, &bad), 0);
			listen_set_sweep(&set);
			ck_assert_uint_eq(set.count, 1);
		}
		ck_assert(addr_equal(&set.sockets[0].want.addr, &all.addr));
		listen_set_done(&set);
	}
}
END_TEST

static void *close_soon(void *arg)
{
	const struct timespec pause = { .tv_nsec = 150000000 };

	nanosleep(&pause, NULL);
	close(*(int *)arg);
	return NULL;
}

START_TEST(test_set_waits_for_a_udp_port)
{
	struct listen_set set = { .workers = 2 };
	struct listen_want wants[2] = { { free_address(), SOCK_DGRAM },
					{ free_address(), SOCK_DGRAM } };
	int other = socket(AF_INET, SOCK_DGRAM, 0);
	pthread_t thread;
	struct addr bad;

	ck_assert_int_eq(bind(other, &wants[1].addr.sa, addr_len(&wants[1].addr)), 0);
	ck_assert_int_eq(listen_set_update(&set, wants + 1, 1, &bad), -EADDRINUSE);
	ck_assert_int_eq(listen_set_update(&set, wants, 1, &bad), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, close_soon, &other), 0);
	ck_assert_int_eq(listen_set_update(&set, wants, 2, &bad), 0);
	ck_assert_uint_eq(set.count, 2);
	pthread_join(thread, NULL);
	listen_set_done(&set);
}
END_TEST

SUITE_MAIN("listen_set", test_set_keeps_adds_and_drops,
	   test_set_is_unchanged_when_an_address_is_taken, test_set_changes_from_wildcard_and_back,
	   test_set_waits_for_a_udp_port)
