/* SPDX-License-Identifier: ISC */
#include "common/container.h"

#include "tests/unit/socksd/udp_bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LAST = 0x80,        /* fragment */
	SEQUENCE_MS = 5000, /* FRAGMENTS_MS */
	SHIELD_AFTER = 64,
};

START_TEST(test_both_ways)
{
	struct udp_bench b;
	struct addr target;
	struct addr from;
	struct addr again;
	struct associate_totals totals;
	char text[ADDR_TEXT_MAX];
	int fd = udp_bench_socket("127.0.0.2", &target);
	uint64_t began_ms;

	udp_bench_start(&b, "", NULL);
	ck_assert_int_eq(b.start, 0);
	ck_assert_str_eq(addr_format_ip(&b.to, text, sizeof text), "127.0.0.1");
	began_ms = loop_now_ms(b.base.context.loop);
	ck_assert_uint_eq(associate_moved_ms(b.a), began_ms);
	clock_jump(b.base.context.loop, 1000);
	udp_bench_up(&b, &target, 'a');
	ck_assert(udp_bench_got(fd, 'a', &from));
	ck_assert_uint_eq(associate_moved_ms(b.a), began_ms + 1000);
	clock_jump(b.base.context.loop, 500);
	udp_bench_raw(&b, fd, &from, "b", 1);
	ck_assert(udp_bench_down(&b, 'b', &target));
	ck_assert_uint_eq(associate_moved_ms(b.a), began_ms + 1500);
	/* It leaves from the same place again. */
	udp_bench_send(&b, b.fd, 0, &target, NULL, 0, "", 0);
	ck_assert_int_eq(recv(fd, text, sizeof text, 0), 0);
	udp_bench_up(&b, &target, 'c');
	ck_assert(udp_bench_got(fd, 'c', &again));
	ck_assert(addr_equal(&from, &again));
	totals = associate_totals(b.a);
	ck_assert_uint_eq(totals.datagrams_up, 3);
	ck_assert_uint_eq(totals.bytes_up, 2);
	ck_assert_uint_eq(totals.datagrams_down, 1);
	ck_assert_uint_eq(totals.bytes_down, 1);
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_udp_datagrams_up), 3);
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_udp_datagrams_down), 1);
	udp_bench_dropped(&b, "-");
	/* What is dropped does not keep the association alive. */
	clock_jump(b.base.context.loop, 500);
	udp_bench_raw(&b, b.fd, &b.to, "rubbish", 7);
	ck_assert_uint_eq(associate_moved_ms(b.a), began_ms + 1500);
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* Datagrams of all lengths, more of them than one batch takes. */
START_TEST(test_bursts)
{
	enum {
		COUNT = 150
	};
	struct udp_bench b;
	struct addr target;
	struct addr from;
	uint8_t buf[600];
	size_t got_bytes = 0;
	uint8_t head[10];
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	memcpy(head, "\0\0\0\1\177\0\0\2", 8);
	memcpy(head + 8, &target.in4.sin_port, 2);
	for (int i = 0; i < COUNT; i++) {
		memcpy(buf, head, sizeof head);
		memset(buf + sizeof head, i, sizeof buf - sizeof head);
		ck_assert_int_gt(sendto(b.fd, buf, sizeof head + 1 + (size_t)i, 0, &b.to.sa,
					addr_len(&b.to)),
				 0);
	}
	udp_bench_settle(&b);
	for (int i = 0; i < COUNT; i++) {
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, buf, sizeof buf, 0, &from.sa, &len);

		ck_assert_int_eq(n, i + 1);
		ck_assert_int_eq(buf[0], i);
		ck_assert_int_eq(buf[i], i);
		got_bytes += (size_t)n;
	}
	ck_assert_uint_eq(associate_totals(b.a).bytes_up, got_bytes);
	for (int i = 0; i < COUNT; i++) {
		memset(buf, i, sizeof buf);
		ck_assert_int_gt(sendto(fd, buf, 1 + (size_t)i, 0, &from.sa, addr_len(&from)), 0);
	}
	udp_bench_settle(&b);
	for (int i = 0; i < COUNT; i++) {
		ck_assert_int_eq(recv(b.fd, buf, sizeof buf, 0), i + 11);
		ck_assert_mem_eq(buf, head, sizeof head);
		ck_assert_int_eq(buf[10 + i], i);
	}
	ck_assert_uint_eq(associate_totals(b.a).bytes_down, got_bytes);
	ck_assert_uint_eq(associate_totals(b.a).datagrams_down, COUNT);
	udp_bench_dropped(&b, "-");
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* --- the client ------------------------------------------------------------------------------ */

/* Who may begin, and that nobody else may then. */
START_TEST(test_source)
{
	static const struct {
		const char *key;
		const char *ip;
		bool may;
	} table[] = {
		{ "address", "127.0.0.1", true }, { "address", "127.0.0.3", false },
		{ "network", "127.0.0.3", true }, { "network", "127.0.1.1", false },
		{ "any", "127.1.0.1", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct udp_bench b;
		struct addr target;
		struct addr from;
		struct addr source;
		char text[64];
		int fd = udp_bench_socket("127.0.0.2", &target);
		int client = udp_bench_socket(table[i].ip, &source);

		snprintf(text, sizeof text, "udp-source = %s\n", table[i].key);
		udp_bench_start(&b, text, NULL);
		/* What is not valid settles nothing. */
		udp_bench_raw(&b, b.fd, &b.to, "\0\0\0\1", 4);
		udp_bench_send(&b, client, 0, &target, NULL, 0, "x", 1);
		ck_assert_msg(udp_bench_got(fd, 'x', &from) == table[i].may, "%zu", i);
		udp_bench_up(&b, &target, 'y');
		ck_assert_msg(udp_bench_got(fd, 'y', NULL) == !table[i].may, "%zu", i);
		udp_bench_dropped(&b, "stranger:1,malformed:1");
		if (table[i].may) {
			udp_bench_raw(&b, fd, &from, "z", 1);
			ck_assert(udp_bench_quiet(b.fd));
			ck_assert(!udp_bench_quiet(client));
		}
		close(client);
		close(fd);
		udp_bench_stop(&b);
	}
}
END_TEST

START_TEST(test_the_client_says_from_where)
{
	static const struct {
		const char *ip;
		bool counts;
	} table[] = {
		{ "127.0.0.1", true },
		{ "127.0.0.3", false }, /* it does not know its address as we see it */
		{ "0.0.0.0", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct udp_bench b;
		struct addr target;
		struct addr source;
		struct addr said = udp_bench_addr(table[i].ip);
		int fd = udp_bench_socket("127.0.0.2", &target);
		int client = udp_bench_socket("127.0.0.1", &source);

		addr_set_port(&said, addr_port(&source));
		udp_bench_start(&b, "", &said);
		udp_bench_up(&b, &target, 'x');
		ck_assert_msg(udp_bench_got(fd, 'x', NULL) == !table[i].counts, "%zu", i);
		udp_bench_send(&b, client, 0, &target, NULL, 0, "y", 1);
		ck_assert_msg(udp_bench_got(fd, 'y', NULL) == table[i].counts, "%zu", i);
		udp_bench_dropped(&b, "stranger:1");
		/* A port alone, or an address alone, says nothing. */
		udp_bench_stop(&b);
		addr_set_port(&said, 0);
		udp_bench_start(&b, "", &said);
		udp_bench_up(&b, &target, 'x');
		ck_assert(udp_bench_got(fd, 'x', NULL));
		udp_bench_stop(&b);
		close(client);
		close(fd);
	}
}
END_TEST

START_TEST(test_malformed)
{
	static const struct {
		const char *bytes;
		size_t len;
	} table[] = {
		{ "", 0 },
		{ "\0\0\0\1\177\0\0\2\0", 9 },
		{ "\0\1\0\1\177\0\0\2\0\1x", 11 },
		{ "\0\0\0\1\177\0\0\2\0\0x", 11 },
		{ "\0\0\0\5\177\0\0\2\0\1x", 11 },
		{ "\0\0\0\3\4a.", 7 },
	};
	struct udp_bench b;
	struct addr target;
	char text[32];
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		udp_bench_raw(&b, b.fd, &b.to, table[i].bytes, table[i].len);
		snprintf(text, sizeof text, "malformed:%zu", i + 1);
		udp_bench_dropped(&b, text);
	}
	udp_bench_up(&b, &target, 'x');
	ck_assert(udp_bench_got(fd, 'x', NULL));
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* Many strangers: the kernel keeps them out, and its drops count as theirs. */
START_TEST(test_shield)
{
	enum {
		FLOOD = 20000
	};
	static const char flood[1400];
	struct udp_bench b;
	struct addr target;
	struct addr stranger;
	char text[32];
	int fd = udp_bench_socket("127.0.0.2", &target);
	int other = udp_bench_socket("127.0.0.3", &stranger);

	udp_bench_start(&b, "", NULL);
	/* Before it is settled who the client is, there is nobody to shield. */
	for (unsigned i = 0; i < SHIELD_AFTER; i++) {
		udp_bench_raw(&b, other, &b.to, "?", 1);
	}
	udp_bench_up(&b, &target, 'a');
	ck_assert(udp_bench_got(fd, 'a', NULL));
	snprintf(text, sizeof text, "stranger:%d", SHIELD_AFTER);
	udp_bench_dropped(&b, text);
	for (unsigned i = 0; i < 1000; i++) {
		udp_bench_raw(&b, other, &b.to, "?", 1);
	}
	snprintf(text, sizeof text, "stranger:%d", SHIELD_AFTER + 1000);
	udp_bench_dropped(&b, text);
	udp_bench_up(&b, &target, 'b');
	ck_assert(udp_bench_got(fd, 'b', NULL));
	udp_bench_dropped(&b, text);
	/* They cannot crowd out the client, as there is no turn in between. */
	for (unsigned i = 0; i < FLOOD; i++) {
		ck_assert_int_eq(sendto(other, flood, sizeof flood, 0, &b.to.sa, addr_len(&b.to)),
				 sizeof flood);
	}
	udp_bench_up(&b, &target, 'c');
	ck_assert(udp_bench_got(fd, 'c', NULL));
	close(other);
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* What finds the buffer full is counted: at most a second late in the counters, at once when asked
 * for. */
START_TEST(test_full_buffers)
{
	enum {
		COUNT = 20000,
		BYTES = 1400
	};
	struct udp_bench b;
	struct addr target;
	struct addr from;
	char text[64];
	static char bytes[BYTES];
	uint64_t passed;
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	udp_bench_up(&b, &target, 'a');
	ck_assert(udp_bench_got(fd, 'a', &from));
	for (unsigned i = 0; i < COUNT; i++) {
		/* GRO is not to put them together. */
		ck_assert_int_gt(sendto(fd, bytes, BYTES - i % 2, 0, &from.sa, addr_len(&from)), 0);
	}
	for (unsigned i = 0; i < 1000 && associate_totals(b.a).datagrams_down < COUNT; i++) {
		loop_turn(b.base.context.loop, 0);
	}
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_udp_drop_receive), 0);
	clock_jump(b.base.context.loop, 1000);
	udp_bench_raw(&b, fd, &from, "b", 1);
	passed = associate_totals(b.a).datagrams_down - 1;
	ck_assert_uint_lt(passed, COUNT);
	ck_assert_uint_gt(passed, 10);
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_udp_drop_receive),
			 (int64_t)(COUNT - passed));
	snprintf(text, sizeof text, "receive:%u", (unsigned)(COUNT - passed));
	udp_bench_dropped(&b, text);
	udp_bench_dropped(&b, text);
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

START_TEST(test_rate)
{
	struct udp_bench b;
	struct addr target;
	struct addr from;
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "[limits]\nudp-rate = 10\n", NULL);
	/* A tenth of a second's, and one more, at once. */
	for (int i = 0; i < 5; i++) {
		udp_bench_up(&b, &target, 'a');
		ck_assert(udp_bench_got(fd, 'a', &from) == (i < 2));
	}
	udp_bench_dropped(&b, "rate:3");
	/* The other direction has its own. */
	for (int i = 0; i < 5; i++) {
		udp_bench_raw(&b, fd, &from, "b", 1);
		ck_assert(udp_bench_down(&b, 'b', &target) == (i < 2));
	}
	udp_bench_dropped(&b, "rate:6");
	clock_jump(b.base.context.loop, 100);
	udp_bench_up(&b, &target, 'c');
	ck_assert(udp_bench_got(fd, 'c', NULL));
	udp_bench_up(&b, &target, 'd');
	ck_assert(udp_bench_quiet(fd));
	/* The limit is that of the configuration now. */
	udp_bench_reload(&b, "");
	udp_bench_up(&b, &target, 'e');
	ck_assert(udp_bench_got(fd, 'e', NULL));
	udp_bench_dropped(&b, "rate:7");
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* --- fragments ------------------------------------------------------------------------------- */

static void send_fragment(struct udp_bench *b, uint8_t fragment, const struct addr *to, char byte)
{
	udp_bench_send(b, b->fd, fragment, to, NULL, 0, &byte, 1);
}

START_TEST(test_fragments)
{
	struct udp_bench b;
	struct addr target;
	char buf[8];
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	send_fragment(&b, 1, &target, 'a');
	send_fragment(&b, 2, &target, 'b');
	ck_assert(udp_bench_quiet(fd));
	send_fragment(&b, 3 | LAST, &target, 'c');
	ck_assert_int_eq(recv(fd, buf, sizeof buf, 0), 3);
	ck_assert_mem_eq(buf, "abc", 3);
	udp_bench_dropped(&b, "-");
	ck_assert_uint_eq(associate_totals(b.a).datagrams_up, 1);
	/* Nothing of it comes due later. */
	clock_jump(b.base.context.loop, 2 * SEQUENCE_MS);
	udp_bench_dropped(&b, "-");
	/* A datagram on its own ends a sequence, and passes. */
	send_fragment(&b, 1, &target, 'a');
	udp_bench_up(&b, &target, 'x');
	ck_assert(udp_bench_got(fd, 'x', NULL));
	udp_bench_dropped(&b, "fragment:1");
	send_fragment(&b, 2 | LAST, &target, 'b');
	ck_assert(udp_bench_quiet(fd));
	udp_bench_dropped(&b, "fragment:2");
	/* Time is up. */
	send_fragment(&b, 1, &target, 'a');
	clock_jump(b.base.context.loop, SEQUENCE_MS - 1);
	send_fragment(&b, 2, &target, 'b');
	udp_bench_dropped(&b, "fragment:2");
	clock_jump(b.base.context.loop, 1);
	udp_bench_dropped(&b, "fragment:4");
	send_fragment(&b, 3 | LAST, &target, 'c');
	ck_assert(udp_bench_quiet(fd));
	udp_bench_dropped(&b, "fragment:5");
	/* One is left for the end. */
	send_fragment(&b, 1, &target, 'a');
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

START_TEST(test_fragments_to_a_name)
{
	struct udp_bench b;
	struct addr target;
	char buf[8];
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	b.dns.a.first = 2;
	b.dns.hold = true;
	udp_bench_send(&b, b.fd, 1, NULL, "a.test", addr_port(&target), "a", 1);
	udp_bench_send(&b, b.fd, 2 | LAST, NULL, "a.test", addr_port(&target), "b", 1);
	ck_assert(clock_reach(b.base.context.loop, &b.dns.a_count, 1));
	ck_assert(udp_bench_quiet(fd));
	fake_names_release(&b.dns);
	udp_bench_settle(&b);
	ck_assert_int_eq(recv(fd, buf, sizeof buf, 0), 2);
	ck_assert_mem_eq(buf, "ab", 2);
	udp_bench_dropped(&b, "-");
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

START_TEST(test_fragments_are_not_wanted)
{
	struct udp_bench b;
	struct addr target;
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "udp-fragments = no\n", NULL);
	send_fragment(&b, 1 | LAST, &target, 'a');
	udp_bench_up(&b, &target, 'x');
	ck_assert(udp_bench_got(fd, 'x', NULL));
	udp_bench_dropped(&b, "fragment:1");
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* --- from targets ---------------------------------------------------------------------------- */

/* Whose datagrams come in: of who was sent to, of another port there, of another address. */
START_TEST(test_filtering)
{
	static const struct {
		const char *key;
		bool other_port;
		bool other_address;
		const char *dropped;
	} table[] = {
		{ "endpoint-independent", true, true, "-" },
		{ "address", true, false, "filtered:1" },
		{ "address-and-port", false, false, "filtered:2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct udp_bench b;
		struct addr target;
		struct addr port;
		struct addr address;
		struct addr from;
		char text[64];
		int fd = udp_bench_socket("127.0.0.2", &target);
		int other_port = udp_bench_socket("127.0.0.2", &port);
		int other_address = udp_bench_socket("127.0.0.3", &address);

		snprintf(text, sizeof text, "udp-filtering = %s\n", table[i].key);
		udp_bench_start(&b, text, NULL);
		udp_bench_up(&b, &target, 'x');
		ck_assert(udp_bench_got(fd, 'x', &from));
		udp_bench_raw(&b, other_port, &from, "p", 1);
		ck_assert(udp_bench_down(&b, 'p', &port) == table[i].other_port);
		udp_bench_raw(&b, other_address, &from, "q", 1);
		ck_assert(udp_bench_down(&b, 'q', &address) == table[i].other_address);
		udp_bench_raw(&b, fd, &from, "r", 1);
		ck_assert(udp_bench_down(&b, 'r', &target));
		udp_bench_dropped(&b, table[i].dropped);
		/* Once it has been sent to, it may answer. */
		udp_bench_up(&b, &address, 's');
		ck_assert(udp_bench_got(other_address, 's', NULL));
		udp_bench_raw(&b, other_address, &from, "t", 1);
		ck_assert(udp_bench_down(&b, 't', &address));
		/* That is forgotten with udp-idle-timeout. */
		clock_jump(b.base.context.loop, 300000);
		udp_bench_raw(&b, other_address, &from, "u", 1);
		ck_assert(udp_bench_down(&b, 'u', &address) == table[i].other_address);
		close(fd);
		close(other_port);
		close(other_address);
		udp_bench_stop(&b);
	}
}
END_TEST

/* The rules are asked about who was not sent to: once, and again after a reload. */
START_TEST(test_far_ends_are_judged)
{
	struct udp_bench b;
	struct addr target;
	struct addr other;
	struct addr from;
	int fd = udp_bench_socket("127.0.0.2", &target);
	int far = udp_bench_socket("127.0.0.3", &other);

	udp_bench_start(&b, "[rule x]\naction = deny\ndestination = 127.0.0.3\n", NULL);
	udp_bench_up(&b, &target, 'x');
	ck_assert(udp_bench_got(fd, 'x', &from));
	udp_bench_raw(&b, far, &from, "a", 1);
	udp_bench_raw(&b, far, &from, "b", 1);
	ck_assert(udp_bench_quiet(b.fd));
	udp_bench_dropped(&b, "denied:2");
	udp_bench_reload(&b, "");
	udp_bench_raw(&b, far, &from, "c", 1);
	ck_assert(udp_bench_down(&b, 'c', &other));
	udp_bench_reload(&b, "[rule x]\naction = deny\ndestination = 127.0.0.3\n");
	udp_bench_raw(&b, far, &from, "d", 1);
	ck_assert(udp_bench_quiet(b.fd));
	udp_bench_dropped(&b, "denied:3");
	/* The one that was sent to before the reload is judged as well. */
	udp_bench_reload(&b, "[rule x]\naction = deny\ndestination = 127.0.0.2\n");
	udp_bench_raw(&b, fd, &from, "e", 1);
	ck_assert(udp_bench_quiet(b.fd));
	udp_bench_dropped(&b, "denied:4");
	close(fd);
	close(far);
	udp_bench_stop(&b);
}
END_TEST

/* With its header it is longer than a datagram can be. */
START_TEST(test_too_big)
{
	enum {
		MOST = 65507
	};
	static char bytes[MOST];
	struct udp_bench b;
	struct addr target;
	struct addr from;
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	udp_bench_send(&b, b.fd, 0, &target, NULL, 0, bytes, MOST - 10);
	from = (struct addr){ 0 };
	ck_assert_int_eq(recvfrom(fd, bytes, MOST, 0, &from.sa, &(socklen_t){ sizeof from }),
			 MOST - 10);
	udp_bench_raw(&b, fd, &from, bytes, MOST - 10);
	ck_assert_int_eq(recv(b.fd, bytes, MOST, 0), MOST);
	udp_bench_raw(&b, fd, &from, bytes, MOST - 9);
	ck_assert(udp_bench_quiet(b.fd));
	udp_bench_dropped(&b, "too_big:1");
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

/* --- its beginning and end ------------------------------------------------------------------- */

START_TEST(test_it_cannot_begin)
{
	struct udp_bench b;
	struct associate_config config;
	struct associate *a = NULL;
	struct socks5_target request = { 0 };
	struct addr local = udp_bench_addr("127.0.0.1");
	struct addr taken;
	struct addr to;
	char text[64];
	int fd = udp_bench_socket("127.0.0.1", &taken);

	snprintf(text, sizeof text, "udp-port-range = %u\n", addr_port(&taken));
	udp_bench_start(&b, text, NULL);
	ck_assert_int_eq(b.start, -EADDRINUSE);
	ck_assert_str_eq(b.why, "no_port");
	ck_assert_uint_eq(b.base.slots_used, 0);
	/* Later there is a port, but no descriptor for the target; then both. */
	close(fd);
	config = (struct associate_config){
		.context = &b.base.context,
		.listen = &b.base.config->listen_configs[0],
		.client = &b.client,
		.local = &local,
		.request = &request,
	};
	b.base.slots_left = 0;
	ck_assert_int_eq(associate_start(&config, &a, &to, &b.why), -EMFILE);
	ck_assert_str_eq(b.why, "descriptors");
	ck_assert_ptr_null(a);
	b.base.slots_left = 1;
	ck_assert_int_eq(associate_start(&config, &b.a, &to, &b.why), 0);
	ck_assert_uint_eq(addr_port(&to), addr_port(&taken));
	ck_assert_uint_eq(b.base.slots_used, 1);
	associate_free(NULL);
	udp_bench_stop(&b);
}
END_TEST

/* In the middle of everything. */
START_TEST(test_freed)
{
	struct udp_bench b;
	struct addr target;
	struct addr from;
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	udp_bench_up(&b, &target, 'x');
	ck_assert(udp_bench_got(fd, 'x', &from));
	b.dns.hold = true;
	udp_bench_up_name(&b, "a.test", 53, 'a');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.a_count, 1));
	send_fragment(&b, 1, &target, 'f');
	ck_assert_int_eq(sendto(fd, "y", 1, 0, &from.sa, addr_len(&from)), 1);
	associate_free(b.a);
	b.a = NULL;
	ck_assert_uint_eq(b.base.slots_used, 0);
	fake_names_release(&b.dns);
	clock_jump(b.base.context.loop, 2 * SEQUENCE_MS);
	ck_assert(udp_bench_quiet(b.fd));
	/* Nobody is there any more. */
	ck_assert_int_eq(sendto(fd, "y", 1, 0, &from.sa, addr_len(&from)), 1);
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

struct ending {
	struct watch watch;
	struct associate *a;
};

static void end_it(struct watch *watch, uint32_t events)
{
	struct ending *ending = container_of(watch, struct ending, watch);

	(void)events;
	associate_free(ending->a);
	ending->a = NULL;
	watch_stop(watch);
}

/* The connection that controls it ends in the turn in which datagrams have come: their events are
 * fetched already. (What they would find is for AddressSanitizer to see.) */
START_TEST(test_freed_before_its_events)
{
	struct ending ending = { .a = NULL };
	struct udp_bench b;
	struct addr target;
	struct addr from;
	int ends[2];
	int fd = udp_bench_socket("127.0.0.2", &target);

	udp_bench_start(&b, "", NULL);
	udp_bench_up(&b, &target, 'x');
	ck_assert(udp_bench_got(fd, 'x', &from));
	ck_assert_int_eq(pipe(ends), 0);
	ending.a = b.a;
	ck_assert_int_eq(
		watch_start(&ending.watch, b.base.context.loop, ends[0], LOOP_READ, end_it), 0);
	ck_assert_int_eq(write(ends[1], "!", 1), 1);
	ck_assert_int_eq(sendto(b.fd, "y", 1, 0, &b.to.sa, addr_len(&b.to)), 1);
	ck_assert_int_eq(sendto(fd, "y", 1, 0, &from.sa, addr_len(&from)), 1);
	udp_bench_settle(&b);
	ck_assert_ptr_null(ending.a);
	b.a = NULL;
	ck_assert(udp_bench_quiet(b.fd));
	close(ends[0]);
	close(ends[1]);
	close(fd);
	udp_bench_stop(&b);
}
END_TEST

SUITE_MAIN("associate", test_both_ways, test_bursts, test_source, test_the_client_says_from_where,
	   test_malformed, test_shield, test_full_buffers, test_rate, test_fragments,
	   test_fragments_to_a_name, test_fragments_are_not_wanted, test_filtering,
	   test_far_ends_are_judged, test_too_big, test_it_cannot_begin, test_freed,
	   test_freed_before_its_events)
