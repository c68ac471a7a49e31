/* SPDX-License-Identifier: ISC */
/* When changes are told, with a clock that stands still and a kernel that is played here; what is a
 * change is seen in test_netfacts.c. */
#include "common/netwatch.h"

#include "common/container.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	struct loop *loop;
	struct netwatch *netwatch;
	int fd; /* the kernel's end */
	unsigned told_count;
	/* What the next system calls come to. */
	int socket_error;
	int bind_error;
	int receive_error;
	uint32_t sender; /* port of who sends; the kernel's is 0 */
	uint32_t groups; /* that were listened to */
} t;

/* --- the kernel ------------------------------------------------------------------------------ */

int socket(int family, int type, int protocol)
{
	int fds[2];

	if (family != AF_NETLINK) {
		return (int)syscall(SYS_socket, family, type, protocol);
	}
	if (t.socket_error) {
		errno = t.socket_error;
		return -1;
	}
	ck_assert_int_eq(protocol, NETLINK_ROUTE);
	ck_assert_int_ne(type & SOCK_NONBLOCK, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	t.fd = fds[0];
	return fds[1];
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_nl nl;

	(void)fd;
	ck_assert_uint_eq(len, sizeof nl);
	memcpy(&nl, addr, sizeof nl);
	t.groups = nl.nl_groups;
	errno = t.bind_error;
	return t.bind_error ? -1 : 0;
}

ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
		 socklen_t *addr_len)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_pid = t.sender };
	ssize_t n;

	if (t.receive_error) {
		errno = t.receive_error;
		t.receive_error = 0;
		return -1;
	}
	n = (ssize_t)syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
	ck_assert_uint_ge(*addr_len, sizeof nl);
	memcpy(addr, &nl, sizeof nl);
	return n;
}

/* Type and flags of the request that has come; 0: none has. */
static uint16_t request(void)
{
	struct nlmsghdr head;
	ssize_t n = recv(t.fd, &head, sizeof head, 0);

	if (n < 0) {
		ck_assert_int_eq(errno, EAGAIN);
		return 0;
	}
	ck_assert_int_eq(n, sizeof head);
	ck_assert_uint_eq(head.nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
	return head.nlmsg_type;
}

static void say(uint16_t type, uint16_t flags, int link, bool works)
{
	const struct {
		struct nlmsghdr head;
		struct ifinfomsg body;
	} message = {
		.head = { .nlmsg_len = sizeof message, .nlmsg_type = type, .nlmsg_flags = flags },
		.body = { .ifi_index = link, .ifi_flags = works ? IFF_UP | IFF_RUNNING : 0 }
	};

	ck_assert_int_eq(send(t.fd, &message, sizeof message, 0), sizeof message);
}

/* An address has gone of which nothing was said before. */
static void say_gone(void)
{
	const struct {
		struct nlmsghdr head;
		struct ifaddrmsg body;
		struct rtattr attribute;
		uint8_t ip[4];
	} message = { .head = { .nlmsg_len = sizeof message, .nlmsg_type = RTM_DELADDR },
		      .body = { .ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 2 },
		      .attribute = { .rta_len = 8, .rta_type = IFA_ADDRESS },
		      .ip = { 192, 0, 2, 1 } };

	ck_assert_int_eq(send(t.fd, &message, sizeof message, 0), sizeof message);
}

/* Something has changed: another link. */
static void change(void)
{
	static int link = 100;

	say(RTM_NEWLINK, 0, ++link, true);
	clock_settle(t.loop);
}

/* --- the bench ------------------------------------------------------------------------------- */

static void on_change(void *arg)
{
	ck_assert_ptr_eq(arg, &t);
	t.told_count++;
}

static void start_bare(void)
{
	memset(&t, 0, sizeof t);
	clock_stop();
	t.loop = loop_new();
}

/* All requests are answered: link 2 works, link 3 does not. */
static void start(void)
{
	static const uint16_t types[] = { RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE };

	start_bare();
	t.netwatch = netwatch_new(t.loop, on_change, &t);
	ck_assert_ptr_nonnull(t.netwatch);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ck_assert_uint_eq(request(), types[i]);
		ck_assert_uint_eq(request(), 0);
		if (i == 0) {
			say(RTM_NEWLINK, NLM_F_MULTI, 2, true);
			say(RTM_NEWLINK, NLM_F_MULTI, 3, false);
		}
		/* A refusal ends it as well. */
		say(i == 1 ? NLMSG_ERROR : NLMSG_DONE, NLM_F_MULTI, 0, false);
		clock_settle(t.loop);
	}
	ck_assert_uint_eq(request(), 0);
	clock_pass(t.loop, 2 * NETWATCH_APART_MS);
	ck_assert_uint_eq(t.told_count, 0);
}

static void stop(void)
{
	netwatch_free(t.netwatch);
	close(t.fd);
	loop_free(t.loop);
	clock_go_on();
}

/* It is told in so many ms, and not before. */
static void expect_told(unsigned in_ms)
{
	unsigned before = t.told_count;

	clock_pass(t.loop, in_ms - 1);
	ck_assert_uint_eq(t.told_count, before);
	clock_pass(t.loop, 1);
	ck_assert_uint_eq(t.told_count, before + 1);
}

static void expect_quiet(void)
{
	unsigned before = t.told_count;

	clock_pass(t.loop, 3 * NETWATCH_APART_MS);
	ck_assert_uint_eq(t.told_count, before);
}

/* --- tests ----------------------------------------------------------------------------------- */

/* What is there already is no change, and neither is what is said again. */
START_TEST(test_start)
{
	start();
	ck_assert_uint_eq(t.groups, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
					    RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
	say(RTM_NEWLINK, 0, 2, true);
	say(RTM_NEWLINK, 0, 3, false);
	/* All is known: what goes without having been there is nothing. */
	say_gone();
	clock_settle(t.loop);
	expect_quiet();
	say(RTM_NEWLINK, 0, 3, true);
	clock_settle(t.loop);
	expect_told(NETWATCH_SETTLE_MS);
	say(RTM_DELLINK, 0, 2, true);
	clock_settle(t.loop);
	expect_told(NETWATCH_APART_MS);
	stop();
}
END_TEST

/* A burst is told once, from its first sign on; the next not within a second. */
START_TEST(test_bursts)
{
	start();
	change();
	clock_pass(t.loop, 200);
	change();
	clock_pass(t.loop, 200);
	change();
	expect_told(NETWATCH_SETTLE_MS - 400);
	change();
	expect_told(NETWATCH_APART_MS);
	clock_pass(t.loop, NETWATCH_APART_MS - 100);
	change();
	expect_told(NETWATCH_SETTLE_MS);
	expect_quiet();
	stop();
}
END_TEST

/* Other processes may send to the socket, too. */
START_TEST(test_strangers)
{
	start();
	t.sender = 4711;
	change();
	expect_quiet();
	t.sender = 0;
	change();
	expect_told(NETWATCH_SETTLE_MS);
	stop();
}
END_TEST

/* What was lost may have been anything: nothing is known any more. */
START_TEST(test_lost)
{
	start();
	t.receive_error = ENOBUFS;
	say(RTM_NEWLINK, 0, 3, false);
	clock_settle(t.loop);
	expect_told(NETWATCH_SETTLE_MS);
	clock_pass(t.loop, NETWATCH_APART_MS);
	say(RTM_NEWLINK, 0, 2, true);
	clock_settle(t.loop);
	expect_told(NETWATCH_SETTLE_MS);
	clock_pass(t.loop, NETWATCH_APART_MS);
	say_gone();
	clock_settle(t.loop);
	expect_told(NETWATCH_SETTLE_MS);
	stop();
}
END_TEST

/* Before the requests are answered, changes are told all the same; nothing more is asked for after
 * a loss. */
START_TEST(test_early)
{
	start_bare();
	t.netwatch = netwatch_new(t.loop, on_change, &t);
	ck_assert_uint_eq(request(), RTM_GETLINK);
	change();
	expect_told(NETWATCH_SETTLE_MS);
	t.receive_error = ENOBUFS;
	say(NLMSG_DONE, NLM_F_MULTI, 0, false);
	clock_settle(t.loop);
	ck_assert_uint_eq(request(), 0);
	stop();
}
END_TEST

/* Nothing is told after its end. */
START_TEST(test_free)
{
	netwatch_free(NULL);
	start();
	change();
	netwatch_free(t.netwatch);
	t.netwatch = NULL;
	expect_quiet();
	stop();
}
END_TEST

/* As in a sandbox. */
START_TEST(test_no_socket)
{
	start_bare();
	t.fd = -1;
	t.socket_error = EAFNOSUPPORT;
	ck_assert_ptr_null(netwatch_new(t.loop, on_change, &t));
	ck_assert_int_eq(errno, EAFNOSUPPORT);
	t.socket_error = 0;
	t.bind_error = EPERM;
	ck_assert_ptr_null(netwatch_new(t.loop, on_change, &t));
	ck_assert_int_eq(errno, EPERM);
	/* Its end is closed. */
	ck_assert_int_lt(send(t.fd, "", 1, MSG_NOSIGNAL), 0);
	stop();
}
END_TEST

SUITE_MAIN("netwatch", test_start, test_bursts, test_strangers, test_lost, test_early, test_free,
	   test_no_socket)
