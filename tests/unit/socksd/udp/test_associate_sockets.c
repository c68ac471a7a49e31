/* SPDX-License-Identifier: ISC */
#include "socksd/udp/associate_sockets.h"

#include "tests/unit/socksd/session_bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN "[listen a]\naddress = 127.0.0.1:1080\n"

static struct addr parsed_ip(const char *text)
{
	struct addr a;

	ck_assert_msg(addr_parse_ip(text, &a) == 0, "%s", text);
	return a;
}

static struct addr local_of(int fd)
{
	struct addr a = { 0 };
	socklen_t len = sizeof a;

	ck_assert_int_eq(getsockname(fd, &a.sa, &len), 0);
	return a;
}

/* A socket for a client that reached us at `local`, of a section with these keys. */
static int open_client(const char *keys, const char *local, struct addr *ret_address,
		       const char **ret_why)
{
	struct params *params;
	struct config *config;
	struct addr a = parsed_ip(local);
	char text[512];
	int fd;

	snprintf(text, sizeof text, "%s%s", LISTEN, keys);
	config = session_bench_config(text, &params);
	addr_set_port(&a, 1080); /* that of the connection, which means nothing here */
	*ret_address = (struct addr){ 0 };
	fd = associate_open_client(&config->listen_configs[0], &a, ret_address, ret_why);
	config_free(config);
	params_free(params);
	return fd;
}

START_TEST(test_client)
{
	struct addr address;
	struct addr other;
	struct addr bound;
	const char *why;
	int fd = open_client("", "127.0.0.3", &address, &why);
	int other_fd = open_client("", "127.0.0.3", &other, &why);

	ck_assert(fd >= 0 && other_fd >= 0);
	bound = local_of(fd);
	ck_assert(addr_equal(&bound, &address));
	ck_assert_uint_ne(addr_port(&address), 0);
	ck_assert_uint_ne(addr_port(&address), addr_port(&other));
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	close(fd);
	close(other_fd);
}
END_TEST

/* What cannot be bound to is told by its errno, and a token. */
START_TEST(test_client_without_a_socket)
{
	struct addr address;
	const char *why = NULL;

	ck_assert_int_eq(open_client("", "192.0.2.1", &address, &why), -EADDRNOTAVAIL);
	ck_assert_str_eq(why, "no_socket");
}
END_TEST

/* A loopback address whose ports nobody else uses, not this test either if it runs twice. */
static const char *own_ip(void)
{
	static char text[ADDR_TEXT_MAX];
	unsigned pid = (unsigned)getpid();

	snprintf(text, sizeof text, "127.%u.%u.9", 100 + (pid >> 8) % 100, pid & 0xff);
	return text;
}

/* Every port of the range is found, none beyond it, and then there is none left. */
START_TEST(test_port_range)
{
	enum {
		FIRST = 28000,
		COUNT = 5,
		TAKEN = 2
	};
	const char *ip = own_ip();
	struct addr taken = parsed_ip(ip);
	int taken_fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool seen[COUNT] = { false };
	int fds[COUNT - 1];
	struct addr address;
	const char *why;
	char keys[64];

	addr_set_port(&taken, FIRST + TAKEN);
	ck_assert_int_eq(bind(taken_fd, &taken.sa, addr_len(&taken)), 0);
	snprintf(keys, sizeof keys, "udp-port-range = %d-%d\n", FIRST, FIRST + COUNT - 1);
	for (int i = 0; i < COUNT - 1; i++) {
		fds[i] = open_client(keys, ip, &address, &why);
		ck_assert_int_ge(fds[i], 0);
		ck_assert_uint_ge(addr_port(&address), FIRST);
		ck_assert_uint_lt(addr_port(&address), FIRST + COUNT);
		ck_assert(!seen[addr_port(&address) - FIRST]);
		seen[addr_port(&address) - FIRST] = true;
	}
	ck_assert(!seen[TAKEN]);
	ck_assert_int_eq(open_client(keys, ip, &address, &why), -EADDRINUSE);
	ck_assert_str_eq(why, "no_port");
	/* An address besides is another matter. */
	close(fds[0]);
	fds[0] = open_client(keys, "127.0.0.8", &address, &why);
	ck_assert_int_ge(fds[0], 0);
	for (int i = 0; i < COUNT - 1; i++) {
		close(fds[i]);
	}
	close(taken_fd);
}
END_TEST

/* Not always the same one first: who guesses ports is to find it no easier. */
START_TEST(test_ports_are_random)
{
	const char *ip = own_ip();
	struct addr first;
	struct addr address;
	const char *why;
	unsigned others = 0;

	for (int i = 0; i < 20; i++) {
		int fd = open_client("udp-port-range = 28100-29100\n", ip, &address, &why);

		ck_assert_int_ge(fd, 0);
		first = i == 0 ? address : first;
		others += !addr_equal(&first, &address);
		close(fd);
	}
	ck_assert_uint_gt(others, 10);
}
END_TEST

/* What the client is told, and that it is never an address that means nothing where it is. */
START_TEST(test_public_address)
{
	static const struct {
		const char *keys;
		const char *local;
		const char *told; /* NULL: refused */
	} table[] = {
		{ "", "127.0.0.3", "127.0.0.3" },
		{ "udp-public-address = 203.0.113.7\n", "127.0.0.3", "203.0.113.7" },
		{ "udp-public-address = 203.0.113.7, 2001:db8::7\n", "127.0.0.3", "203.0.113.7" },
		{ "udp-public-address = 2001:db8::7\n", "127.0.0.3", NULL },
		{ "udp-public-address = 203.0.113.7, 2001:db8::7\n", "::1", "2001:db8::7" },
		{ "udp-public-address = 203.0.113.7\n", "::1", NULL },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char text[ADDR_TEXT_MAX];
		struct addr address;
		struct addr bound;
		const char *why = NULL;
		int fd = open_client(table[i].keys, table[i].local, &address, &why);

		if (fd == -EADDRNOTAVAIL && why && strcmp(why, "no_socket") == 0) {
			continue; /* no IPv6 here */
		}
		if (!table[i].told) {
			ck_assert_msg(fd == -EADDRNOTAVAIL, "%zu", i);
			ck_assert_str_eq(why, "no_public_address");
			continue;
		}
		ck_assert_msg(fd >= 0, "%zu", i);
		ck_assert_str_eq(addr_format_ip(&address, text, sizeof text), table[i].told);
		bound = local_of(fd);
		ck_assert_uint_eq(addr_port(&address), addr_port(&bound));
		ck_assert_str_eq(addr_format_ip(&bound, text, sizeof text), table[i].local);
		close(fd);
	}
}
END_TEST

/* A refusal leaves no descriptor behind. */
START_TEST(test_nothing_is_left_open)
{
	struct addr address;
	const char *why;
	struct egress egress = { .name = "e", .ipv4 = parsed_ip("192.0.2.1") };
	struct addr loopback = parsed_ip("127.0.0.1");
	int before = dup(0);

	ck_assert_int_ge(before, 0);
	close(before);
	open_client("", "192.0.2.1", &address, &why);
	open_client("udp-public-address = 2001:db8::7\n", "127.0.0.3", &address, &why);
	ck_assert_int_eq(associate_open_target(AF_INET, &egress), -EADDRNOTAVAIL);
	ck_assert(associate_has_route(&loopback));
	ck_assert_int_eq(dup(0), before);
	close(before);
}
END_TEST

/* Where a datagram from the socket comes from. */
static struct addr seen_from(int fd, const char *target_ip)
{
	struct addr target = parsed_ip(target_ip);
	int target_fd = socket(target.sa.sa_family, SOCK_DGRAM, 0);
	struct addr from = { 0 };
	socklen_t len = sizeof from;
	char byte;

	ck_assert_int_eq(bind(target_fd, &target.sa, addr_len(&target)), 0);
	target = local_of(target_fd);
	ck_assert_int_eq(sendto(fd, "x", 1, 0, &target.sa, addr_len(&target)), 1);
	ck_assert_int_eq(recvfrom(target_fd, &byte, 1, MSG_DONTWAIT, &from.sa, &len), 1);
	close(target_fd);
	return from;
}

START_TEST(test_target)
{
	struct egress egress = { .name = "e", .ipv4 = parsed_ip("127.0.0.7") };
	struct addr from;
	char text[ADDR_TEXT_MAX];
	int fd = associate_open_target(AF_INET, NULL);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	from = seen_from(fd, "127.0.0.2");
	ck_assert_str_eq(addr_format_ip(&from, text, sizeof text), "127.0.0.1");
	close(fd);
	fd = associate_open_target(AF_INET, &egress);
	ck_assert_int_ge(fd, 0);
	from = seen_from(fd, "127.0.0.2");
	ck_assert_str_eq(addr_format_ip(&from, text, sizeof text), "127.0.0.7");
	close(fd);
	ck_assert_int_eq(associate_open_target(AF_INET6, &egress), -ENETUNREACH);
	egress.interface = "nosuchinterface";
	ck_assert_int_eq(associate_open_target(AF_INET, &egress), -ENODEV);
}
END_TEST

/* An IPv6 socket is not to reach IPv4 addresses, which have been judged as something else. */
START_TEST(test_ipv6_is_ipv6)
{
	struct addr mapped = parsed_ip("::ffff:127.0.0.1");
	int fd = associate_open_target(AF_INET6, NULL);

	if (fd < 0) {
		return; /* no IPv6 here */
	}
	addr_set_port(&mapped, 9);
	ck_assert_int_eq(sendto(fd, "x", 1, 0, &mapped.sa, addr_len(&mapped)), -1);
	ck_assert_int_eq(errno, ENETUNREACH);
	close(fd);
}
END_TEST

START_TEST(test_route)
{
	struct addr there = parsed_ip("127.0.0.2");
	struct addr nowhere = parsed_ip("255.255.255.255"); /* not without SO_BROADCAST */

	addr_set_port(&there, 9);
	addr_set_port(&nowhere, 9);
	ck_assert(associate_has_route(&there));
	ck_assert(!associate_has_route(&nowhere));
}
END_TEST

SUITE_MAIN("associate_sockets", test_client, test_client_without_a_socket, test_port_range,
	   test_ports_are_random, test_public_address, test_nothing_is_left_open, test_target,
	   test_ipv6_is_ipv6, test_route)
