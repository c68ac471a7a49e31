/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/udp/datagrams.h"

#include "tests/unit/suite.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MANY = 300,
};

/* Two sockets that know each other, and what has come out of one. */
struct fixture {
	struct datagrams *d;
	int out;
	int in;
	struct addr to;
	size_t count;
	size_t lens[MANY];
	uint8_t first[MANY];
	uint8_t last[MANY];
	uint16_t port;
};

static int open_socket(struct addr *ret_addr)
{
	socklen_t len = sizeof *ret_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	ck_assert_int_eq(addr_parse_ip("127.0.0.1", ret_addr), 0);
	ck_assert_int_eq(bind(fd, &ret_addr->sa, sizeof ret_addr->in4), 0);
	ck_assert_int_eq(getsockname(fd, &ret_addr->sa, &len), 0);
	return fd;
}

static void set_up(struct fixture *f, bool prepared)
{
	struct addr from;

	memset(f, 0, sizeof *f);
	f->d = datagrams_new();
	ck_assert_ptr_nonnull(f->d);
	f->out = open_socket(&from);
	f->in = open_socket(&f->to);
	f->port = addr_port(&from);
	if (prepared) {
		datagrams_prepare(f->in, AF_INET);
		datagrams_prepare(f->out, AF_INET);
	}
}

static void tear_down(struct fixture *f)
{
	close(f->in);
	close(f->out);
	datagrams_free(f->d);
}

static void note(void *arg, const struct addr *from, uint8_t *bytes, size_t len)
{
	struct fixture *f = arg;

	ck_assert_uint_lt(f->count, MANY);
	ck_assert_uint_eq(addr_port(from), f->port);
	f->lens[f->count] = len;
	f->first[f->count] = len > 0 ? bytes[0] : 0;
	f->last[f->count] = len > 0 ? bytes[len - 1] : 0;
	f->count++;
}

static void receive_all(struct fixture *f)
{
	while (datagrams_receive(f->d, f->in, note, f) > 0) {
	}
}

/* Datagrams of these lengths, the n-th filled with n, come out as they went in, with their heads,
 * whether they are put together on their way or not. */
static void check_lengths(const size_t *lens, size_t count, size_t head_len, bool prepared)
{
	static uint8_t bytes[MANY][2000];
	static const uint8_t head[] = "0123456789012345678901";
	struct fixture f;
	struct datagrams_result result;
	size_t total = 0;

	set_up(&f, prepared);
	for (size_t i = 0; i < count; i++) {
		memset(bytes[i], (int)i, sizeof bytes[i]);
		datagrams_send(f.d, f.out, &f.to, head, head_len, bytes[i], lens[i]);
		total += lens[i];
	}
	result = datagrams_flush(f.d);
	ck_assert_uint_eq(result.sent, count);
	ck_assert_uint_eq(result.bytes, total);
	receive_all(&f);
	ck_assert_uint_eq(f.count, count);
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_eq(f.lens[i], head_len + lens[i]);
		if (head_len > 0) {
			ck_assert_uint_eq(f.first[i], '0');
		}
		if (lens[i] > 0) {
			ck_assert_uint_eq(f.last[i], i & 0xff);
		}
	}
	/* Nothing is left over. */
	result = datagrams_flush(f.d);
	ck_assert_uint_eq(result.sent, 0);
	tear_down(&f);
}

START_TEST(test_lengths)
{
	static const size_t mixed[] = {
		5, 5, 5, 3, 5, 0, 0, 5, 7, 7, 7, 1, 0, 2000, 2000, 1999, 1
	};
	size_t same[100];
	size_t grow[100];

	for (size_t i = 0; i < 100; i++) {
		same[i] = 1200;
		grow[i] = i;
	}
	for (size_t head_len = 0; head_len <= DATAGRAMS_HEAD_BYTES_MAX; head_len += 11) {
		for (int prepared = 0; prepared < 2; prepared++) {
			check_lengths(mixed, ARRAY_SIZE(mixed), head_len, prepared);
			check_lengths(same, ARRAY_SIZE(same), head_len, prepared);
			check_lengths(grow, ARRAY_SIZE(grow), head_len, prepared);
		}
	}
}
END_TEST

/* More than one message can hold: pieces, messages, datagrams. */
START_TEST(test_many)
{
	size_t tiny[MANY];

	for (size_t i = 0; i < MANY; i++) {
		tiny[i] = 1;
	}
	check_lengths(tiny, MANY, 0, true);
	check_lengths(tiny, MANY, 22, true);
	for (size_t i = 0; i < MANY; i++) {
		tiny[i] = 1 + i % 2;
	}
	check_lengths(tiny, MANY, 10, true);
}
END_TEST

START_TEST(test_largest)
{
	static uint8_t bytes[65536];
	static const uint8_t head[10];
	struct fixture f;
	struct datagrams_result result;

	set_up(&f, true);
	memset(bytes, 7, sizeof bytes);
	datagrams_send(f.d, f.out, &f.to, head, 10, bytes, DATAGRAMS_PAYLOAD_MAX - 10);
	datagrams_send(f.d, f.out, &f.to, head, 10, bytes, DATAGRAMS_PAYLOAD_MAX - 9);
	datagrams_send(f.d, f.out, &f.to, head, 10, bytes, 1);
	result = datagrams_flush(f.d);
	ck_assert_uint_eq(result.sent, 2);
	ck_assert_uint_eq(result.too_big, 1);
	receive_all(&f);
	ck_assert_uint_eq(f.count, 2);
	ck_assert_uint_eq(f.lens[0], DATAGRAMS_PAYLOAD_MAX);
	ck_assert_uint_eq(f.last[0], 7);
	ck_assert_uint_eq(f.lens[1], 11);
	tear_down(&f);
}
END_TEST

/* What cannot be sent costs itself only. */
START_TEST(test_errors)
{
	struct fixture f;
	struct datagrams_result result;
	struct addr nowhere;
	uint8_t byte = 9;

	set_up(&f, true);
	/* An IPv4 socket reaches no IPv6 address. */
	ck_assert_int_eq(addr_parse("[2001:db8::1]:9", 0, &nowhere), 0);
	datagrams_send(f.d, f.out, &f.to, NULL, 0, &byte, 1);
	datagrams_send(f.d, f.out, &nowhere, NULL, 0, &byte, 1);
	datagrams_send(f.d, f.out, &nowhere, NULL, 0, &byte, 1);
	datagrams_send(f.d, f.out, &f.to, NULL, 0, &byte, 1);
	result = datagrams_flush(f.d);
	ck_assert_uint_eq(result.sent, 2);
	ck_assert_uint_eq(result.unreachable, 2);
	receive_all(&f);
	ck_assert_uint_eq(f.count, 2);
	tear_down(&f);
}
END_TEST

/* Nobody listens there: the ICMP errors that come back stop nothing. */
START_TEST(test_icmp_errors)
{
	struct fixture f;
	struct addr closed;
	uint8_t byte = 9;
	int fd;

	set_up(&f, true);
	fd = open_socket(&closed);
	close(fd);
	for (int i = 0; i < 10; i++) {
		datagrams_send(f.d, f.out, &closed, NULL, 0, &byte, 1);
		datagrams_send(f.d, f.out, &f.to, NULL, 0, &byte, 1);
		ck_assert_uint_eq(datagrams_flush(f.d).sent, 2);
		ck_assert_uint_eq(datagrams_receive(f.d, f.out, note, &f), 0);
	}
	receive_all(&f);
	ck_assert_uint_eq(f.count, 10);
	tear_down(&f);
}
END_TEST

/* Datagrams that the sender leaves to the kernel to cut up, and the kernel here does not. */
START_TEST(test_put_together)
{
	static uint8_t bytes[10 * 1000 + 300];
	struct fixture f;
	int segment = 1000;

	set_up(&f, true);
	if (setsockopt(f.out, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0) {
		tear_down(&f);
		return; /* an old kernel */
	}
	for (size_t i = 0; i < sizeof bytes; i++) {
		bytes[i] = (uint8_t)(i / 1000);
	}
	ck_assert_int_eq(sendto(f.out, bytes, sizeof bytes, 0, &f.to.sa, sizeof f.to.in4),
			 sizeof bytes);
	receive_all(&f);
	ck_assert_uint_eq(f.count, 11);
	for (size_t i = 0; i < 11; i++) {
		ck_assert_uint_eq(f.lens[i], i < 10 ? 1000 : 300);
		ck_assert_uint_eq(f.first[i], i);
		ck_assert_uint_eq(f.last[i], i);
	}
	tear_down(&f);
}
END_TEST

/* A socket that the kernel does not cut up for: it is noticed, and nothing is lost. */
START_TEST(test_one_by_one)
{
	static uint8_t bytes[100];
	struct fixture f;
	const int on = 1;

	set_up(&f, true);
	ck_assert_int_eq(setsockopt(f.out, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 20; i++) {
			datagrams_send(f.d, f.out, &f.to, NULL, 0, bytes, sizeof bytes);
		}
		ck_assert_uint_eq(datagrams_flush(f.d).sent, 20);
	}
	receive_all(&f);
	ck_assert_uint_eq(f.count, 60);
	tear_down(&f);
}
END_TEST

/* Two sockets and two receivers in turns: each gets its own, in order. */
START_TEST(test_several)
{
	struct fixture f;
	struct fixture g;
	uint8_t bytes[64];

	set_up(&f, true);
	set_up(&g, true);
	for (size_t i = 0; i < sizeof bytes; i++) {
		struct fixture *to = i % 3 == 0 ? &g : &f;

		bytes[i] = (uint8_t)i;
		datagrams_send(f.d, to->out, &to->to, NULL, 0, &bytes[i], 1);
	}
	ck_assert_uint_eq(datagrams_flush(f.d).sent, sizeof bytes);
	receive_all(&f);
	receive_all(&g);
	ck_assert_uint_eq(g.count, 22);
	ck_assert_uint_eq(f.count, 42);
	for (size_t i = 0; i < g.count; i++) {
		ck_assert_uint_eq(g.first[i], i * 3);
	}
	for (size_t i = 1; i < f.count; i++) {
		ck_assert_uint_gt(f.first[i], f.first[i - 1]);
	}
	tear_down(&f);
	tear_down(&g);
}
END_TEST

SUITE_MAIN("datagrams", test_lengths, test_many, test_largest, test_errors, test_icmp_errors,
	   test_put_together, test_one_by_one, test_several)
