/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/rules/egress.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static struct addr ip(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_ip(text, &a), 0);
	return a;
}

START_TEST(test_families)
{
	const struct egress any = { .name = "any", .fwmark = 1 };
	const struct egress only4 = { .name = "4", .ipv4 = ip("127.0.0.5") };
	const struct egress only6 = { .name = "6", .ipv6 = ip("::1") };
	const struct egress both = { .name = "both", .ipv4 = ip("127.0.0.5"), .ipv6 = ip("::1") };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	ck_assert(egress_has_family(&any, AF_INET) && egress_has_family(&any, AF_INET6));
	ck_assert(egress_has_family(&only4, AF_INET) && !egress_has_family(&only4, AF_INET6));
	ck_assert(!egress_has_family(&only6, AF_INET) && egress_has_family(&only6, AF_INET6));
	ck_assert(egress_has_family(&both, AF_INET) && egress_has_family(&both, AF_INET6));
	ck_assert_int_eq(egress_apply(&only4, fd, AF_INET6), -ENETUNREACH);
	close(fd);
}
END_TEST

/* Connected from the address, with a port that was not taken before connect(). */
static void check_address(const char *listen_text, const struct egress *egress)
{
	struct addr target = ip(listen_text);
	struct addr local = { 0 };
	socklen_t len = sizeof target;
	int family = target.sa.sa_family;
	int listener = socket(family, SOCK_STREAM, 0);
	int fd = socket(family, SOCK_STREAM, 0);

	if (bind(listener, &target.sa, addr_len(&target)) < 0) {
		close(listener);
		close(fd);
		return; /* no IPv6 here */
	}
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, &target.sa, &len), 0);
	ck_assert_int_eq(egress_apply(egress, fd, family), 0);
	len = sizeof local;
	ck_assert_int_eq(getsockname(fd, &local.sa, &len), 0);
	ck_assert_uint_eq(addr_port(&local), 0);
	ck_assert_int_eq(connect(fd, &target.sa, addr_len(&target)), 0);
	len = sizeof local;
	ck_assert_int_eq(getsockname(fd, &local.sa, &len), 0);
	ck_assert(addr_same_ip(&local, family == AF_INET ? &egress->ipv4 : &egress->ipv6));
	close(fd);
	close(listener);
}

START_TEST(test_addresses)
{
	const struct egress egress = {
		.name = "home", .ipv4 = ip("127.0.0.5"), .ipv6 = ip("::1"), .fast_open = true
	};

	check_address("127.0.0.1", &egress);
	check_address("::1", &egress);
}
END_TEST

START_TEST(test_options)
{
	const struct egress fast = { .name = "fast", .fast_open = true };
	const struct egress slow = { .name = "slow", .ipv4 = ip("127.0.0.1") };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int value = 0;
	socklen_t len = sizeof value;

	ck_assert_int_eq(egress_apply(&slow, fd, AF_INET), 0);
	egress_fast_open(&slow, fd);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, &len), 0);
	ck_assert_int_eq(value, 0);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &value, &len), 0);
	ck_assert_int_eq(value, 1);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(egress_apply(&fast, fd, AF_INET), 0);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, &len), 0);
	ck_assert_int_eq(value, 0);
	egress_fast_open(&fast, fd);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, &len), 0);
	ck_assert_int_eq(value, 1);
	close(fd);
}
END_TEST

START_TEST(test_mark)
{
	const struct egress marked = { .name = "marked", .fwmark = 0x80000007u };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint32_t value = 0;
	socklen_t len = sizeof value;
	int r = egress_apply(&marked, fd, AF_INET);

	if (r != -EPERM) { /* no capability here */
		ck_assert_int_eq(r, 0);
		ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_MARK, &value, &len), 0);
		ck_assert_uint_eq(value, 0x80000007u);
	}
	close(fd);
}
END_TEST

START_TEST(test_refused)
{
	const struct egress elsewhere = { .name = "elsewhere", .ipv4 = ip("192.0.2.77") };
	const struct egress no_interface = { .name = "none", .interface = "no-such-if0" };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int r;

	ck_assert_int_eq(egress_apply(&elsewhere, fd, AF_INET), -EADDRNOTAVAIL);
	r = egress_apply(&no_interface, fd, AF_INET);
	ck_assert_msg(r == -ENODEV || r == -EPERM, "%d", r);
	close(fd);
}
END_TEST

SUITE_MAIN("egress", test_families, test_addresses, test_options, test_mark, test_refused)
