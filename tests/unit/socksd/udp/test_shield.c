/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/udp/shield.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_socket(const char *ip, struct addr *ret_addr)
{
	socklen_t len = sizeof *ret_addr;
	int fd;

	ck_assert_int_eq(addr_parse_ip(ip, ret_addr), 0);
	fd = socket(ret_addr->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, &ret_addr->sa, addr_len(ret_addr)) < 0) {
		return -1;
	}
	ck_assert_int_eq(getsockname(fd, &ret_addr->sa, &len), 0);
	return fd;
}

/* How many datagrams wait there. */
static unsigned drain(int fd)
{
	char byte;
	unsigned n = 0;

	while (recv(fd, &byte, 1, 0) >= 0) {
		n++;
	}
	ck_assert_int_eq(errno, EAGAIN);
	return n;
}

static void send_some(int fd, const struct addr *to, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ck_assert_int_eq(sendto(fd, "x", 1, 0, &to->sa, addr_len(to)), 1);
	}
}

START_TEST(test_shield)
{
	/* The peer, one that differs in the port, one in the address. */
	static const char *const ips[][2] = { { "127.0.0.1", "127.0.0.2" }, { "::1", "::1" } };

	for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
		struct addr here;
		struct addr peer;
		struct addr other;
		struct addr far;
		int fd = open_socket(ips[i][0], &here);
		int peer_fd = open_socket(ips[i][0], &peer);
		int other_fd = open_socket(ips[i][0], &other);
		int far_fd = open_socket(ips[i][1], &far);

		if (fd < 0) {
			continue; /* no IPv6 here */
		}
		send_some(other_fd, &here, 1);
		ck_assert_uint_eq(drain(fd), 1);
		ck_assert_uint_eq(shield_drops(fd), 0);
		ck_assert_int_eq(shield_raise(fd, &peer), 0);
		send_some(other_fd, &here, 5);
		send_some(far_fd, &here, 3);
		ck_assert_uint_eq(drain(fd), 0);
		ck_assert_uint_eq(shield_drops(fd), 8);
		send_some(peer_fd, &here, 4);
		ck_assert_uint_eq(drain(fd), 4);
		ck_assert_uint_eq(shield_drops(fd), 8);
		close(fd);
		close(peer_fd);
		close(other_fd);
		close(far_fd);
	}
}
END_TEST

/* One bit of the address is enough. */
START_TEST(test_each_word)
{
	static const char *const near[] = { "2001:db8::1", "2000:db8::1", "2001:db8:1::1",
					    "2001:db8::1:0:0:1", "2001:db8::1:1" };

	for (size_t i = 0; i < ARRAY_SIZE(near); i++) {
		struct addr here;
		struct addr peer;
		struct addr shown;
		int fd = open_socket("::1", &here);
		int peer_fd = open_socket("::1", &peer);

		if (fd < 0) {
			return;
		}
		/* ::1 is not any of these. */
		ck_assert_int_eq(addr_parse_ip(near[i], &shown), 0);
		addr_set_port(&shown, addr_port(&peer));
		ck_assert_int_eq(shield_raise(fd, &shown), 0);
		send_some(peer_fd, &here, 1);
		ck_assert_uint_eq(drain(fd), 0);
		close(fd);
		close(peer_fd);
	}
}
END_TEST

SUITE_MAIN("shield", test_shield, test_each_word)
