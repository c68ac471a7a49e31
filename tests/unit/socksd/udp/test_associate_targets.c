/* SPDX-License-Identifier: ISC */
#include "common/container.h"

#include "socksd/udp/udp_names.h"

#include "tests/unit/socksd/udp_bench.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RULE(name, action, rest) "[rule " name "]\naction = " action "\n" rest "\n"
#define EGRESS(name, address)    "[egress " name "]\naddress = " address "\n"

/* A target that says from where it was reached. */
struct target {
	int fd;
	struct addr addr;
	struct addr from;
};

static struct target open_target(const char *ip)
{
	struct target t = { 0 };

	t.fd = udp_bench_socket(ip, &t.addr);
	return t;
}

/* Whether a byte from the client gets there. */
static bool reached(struct udp_bench *b, struct target *t, char byte)
{
	udp_bench_up(b, &t->addr, byte);
	return udp_bench_got(t->fd, byte, &t->from);
}

/* The same by name, which DNS is asked for if need be. */
static bool reached_by_name(struct udp_bench *b, struct target *t, const char *name, char byte)
{
	udp_bench_up_name(b, name, addr_port(&t->addr), byte);
	for (unsigned i = 0; i < 1000 && udp_bench_quiet(t->fd); i++) {
		udp_bench_settle(b);
	}
	return udp_bench_got(t->fd, byte, &t->from);
}

static void check_from(const struct target *t, const char *ip)
{
	char text[ADDR_TEXT_MAX];

	ck_assert_str_eq(addr_format_ip(&t->from, text, sizeof text), ip);
}

/* --- the rules ------------------------------------------------------------------------------- */

START_TEST(test_rules)
{
	struct udp_bench b;
	struct target yes = open_target("127.0.0.2");
	struct target no = open_target("127.0.0.3");

	udp_bench_start(&b, RULE("x", "deny", "destination = 127.0.0.3"), NULL);
	ck_assert(reached(&b, &yes, 'a'));
	ck_assert(!reached(&b, &no, 'b'));
	ck_assert(!reached(&b, &no, 'c'));
	udp_bench_dropped(&b, "denied:2");
	/* A reload asks anew, either way. */
	udp_bench_reload(&b, RULE("x", "deny", "destination = 127.0.0.2"));
	ck_assert(!reached(&b, &yes, 'd'));
	ck_assert(reached(&b, &no, 'e'));
	udp_bench_dropped(&b, "denied:3");
	/* Rules for other commands do not count. */
	udp_bench_reload(&b, RULE("x", "deny", "command = connect, bind"));
	ck_assert(reached(&b, &yes, 'f'));
	udp_bench_reload(&b, RULE("x", "deny", "command = udp"));
	ck_assert(!reached(&b, &yes, 'g'));
	udp_bench_dropped(&b, "denied:4");
	close(yes.fd);
	close(no.fd);
	udp_bench_stop(&b);
}
END_TEST

/* What is listened on is not to be reached, for one who could not reach it otherwise. */
START_TEST(test_guard)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");

	udp_bench_start(&b, "", NULL);
	b.base.context.own = &t.addr;
	b.base.context.own_count = 1;
	ck_assert(!reached(&b, &t, 'a'));
	udp_bench_dropped(&b, "denied:1");
	/* That is not asked again for each datagram, but after a reload; and so when allowed. */
	b.base.context.own_count = 0;
	ck_assert(!reached(&b, &t, 'b'));
	udp_bench_dropped(&b, "denied:2");
	udp_bench_reload(&b, "");
	ck_assert(reached(&b, &t, 'c'));
	b.base.context.own_count = 1;
	ck_assert(reached(&b, &t, 'd'));
	udp_bench_reload(&b, "");
	ck_assert(!reached(&b, &t, 'e'));
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

/* Who was kept out as a stranger may be sent to if the rules say so, and the other way round. */
START_TEST(test_a_denied_far_end_stays_denied)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");
	struct target other = open_target("127.0.0.3");

	udp_bench_start(&b, RULE("x", "deny", "destination = 127.0.0.3"), NULL);
	ck_assert(reached(&b, &t, 'a'));
	udp_bench_raw(&b, other.fd, &t.from, "b", 1);
	ck_assert(udp_bench_quiet(b.fd));
	ck_assert(!reached(&b, &other, 'c'));
	udp_bench_raw(&b, other.fd, &t.from, "d", 1);
	ck_assert(udp_bench_quiet(b.fd));
	udp_bench_dropped(&b, "denied:3");
	/* One that was let in is still asked about when it is sent to: by which egress? */
	udp_bench_reload(&b, RULE("x", "allow", "destination = 127.0.0.3\negress = e")
				     EGRESS("e", "127.0.0.5"));
	ck_assert(reached(&b, &t, 'e'));
	udp_bench_raw(&b, other.fd, &t.from, "f", 1);
	ck_assert(udp_bench_down(&b, 'f', &other.addr));
	ck_assert(reached(&b, &other, 'g'));
	check_from(&other, "127.0.0.5");
	close(t.fd);
	close(other.fd);
	udp_bench_stop(&b);
}
END_TEST

/* --- names ----------------------------------------------------------------------------------- */

START_TEST(test_names)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");

	udp_bench_start(&b, "", NULL);
	b.dns.a.first = 2;
	ck_assert(reached_by_name(&b, &t, "a.test", 'a'));
	udp_bench_raw(&b, t.fd, &t.from, "b", 1);
	ck_assert(udp_bench_down(&b, 'b', &t.addr));
	ck_assert_uint_eq(b.dns.a_count, 1);
	ck_assert(reached_by_name(&b, &t, "a.test", 'c'));
	ck_assert_uint_eq(b.dns.a_count, 1);
	udp_bench_dropped(&b, "-");
	b.dns.a = (struct fake_names_say){ .rcode = RCODE_NXDOMAIN };
	udp_bench_up_name(&b, "b.test", 53, 'd');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.a_count, 2));
	udp_bench_settle(&b);
	udp_bench_dropped(&b, "unresolved:1");
	ck_assert_uint_eq(associate_totals(b.a).datagrams_up, 2);
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

/* What a name was allowed for does not hold for its address, nor the other way round. */
START_TEST(test_names_and_addresses_are_apart)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");

	udp_bench_start(&b,
			RULE("x", "allow", "destination = .good.test\negress = e")
				RULE("y", "deny", "") EGRESS("e", "127.0.0.5"),
			NULL);
	b.dns.a.first = 2;
	ck_assert(!reached(&b, &t, 'a'));
	udp_bench_dropped(&b, "denied:1");
	/* It was denied before: by name it is let through, and may answer. */
	ck_assert(reached_by_name(&b, &t, "a.good.test", 'b'));
	check_from(&t, "127.0.0.5");
	udp_bench_raw(&b, t.fd, &t.from, "c", 1);
	ck_assert(udp_bench_down(&b, 'c', &t.addr));
	/* And by address still not. */
	ck_assert(!reached(&b, &t, 'd'));
	udp_bench_dropped(&b, "denied:2");
	ck_assert(reached_by_name(&b, &t, "a.good.test", 'e'));
	/* Another name is denied before DNS hears of it. */
	udp_bench_up_name(&b, "bad.test", addr_port(&t.addr), 'f');
	udp_bench_dropped(&b, "denied:3");
	ck_assert_uint_eq(b.dns.a_count, 1);
	/* The address by its own rule, in its own way. */
	udp_bench_reload(&b, RULE("x", "allow", "destination = .good.test\negress = e")
				     EGRESS("e", "127.0.0.5"));
	ck_assert(reached_by_name(&b, &t, "a.good.test", 'g'));
	check_from(&t, "127.0.0.5");
	ck_assert(reached(&b, &t, 'h'));
	check_from(&t, "127.0.0.1");
	ck_assert(reached_by_name(&b, &t, "a.good.test", 'i'));
	check_from(&t, "127.0.0.5");
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

/* One that was let in, then sent to by name, is still asked about as an address. */
START_TEST(test_let_in_and_then_named)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");
	struct target other = open_target("127.0.0.3");

	udp_bench_start(&b,
			RULE("x", "allow", "destination = .test")
				RULE("y", "allow", "destination = 127.0.0.3\negress = e")
					EGRESS("e", "127.0.0.5"),
			NULL);
	b.dns.a.first = 3;
	ck_assert(reached(&b, &t, 'a'));
	udp_bench_raw(&b, other.fd, &t.from, "b", 1);
	ck_assert(udp_bench_down(&b, 'b', &other.addr));
	ck_assert(reached_by_name(&b, &other, "a.test", 'c'));
	check_from(&other, "127.0.0.1");
	ck_assert(reached(&b, &other, 'd'));
	check_from(&other, "127.0.0.5");
	udp_bench_dropped(&b, "-");
	close(t.fd);
	close(other.fd);
	udp_bench_stop(&b);
}
END_TEST

/* Of a name's addresses the first that may be reached, and can be, and that one from then on. */
START_TEST(test_choice)
{
	struct udp_bench b;
	struct target third = open_target("127.0.0.4");

	udp_bench_start(&b,
			RULE("x", "deny", "destination = 127.0.0.2")
				RULE("y", "allow", "destination = 127.0.0.3\negress = six")
					EGRESS("six", "::1"),
			NULL);
	b.dns.a = (struct fake_names_say){ .count = 4, .first = 2 };
	b.dns.ttl_s = 0;
	ck_assert(reached_by_name(&b, &third, "a.test", 'a'));
	udp_bench_dropped(&b, "-");
	/* The other way round. */
	clock_jump(b.base.context.loop, UDP_NAMES_FRESH_MS);
	b.dns.a = (struct fake_names_say){ .count = 4, .first = 1 };
	ck_assert(reached_by_name(&b, &third, "a.test", 'b'));
	ck_assert(clock_reach(b.base.context.loop, &b.dns.a_count, 2));
	udp_bench_settle(&b);
	ck_assert(reached_by_name(&b, &third, "a.test", 'c'));
	/* None left: the reason is that of the one that came furthest. */
	b.dns.a = (struct fake_names_say){ .count = 1, .first = 2 };
	udp_bench_up_name(&b, "b.test", 53, 'd');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.aaaa_count, 1));
	udp_bench_settle(&b);
	udp_bench_dropped(&b, "denied:1");
	b.dns.a = (struct fake_names_say){ .count = 2, .first = 2 };
	udp_bench_up_name(&b, "c.test", 53, 'e');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.aaaa_count, 2));
	udp_bench_settle(&b);
	udp_bench_dropped(&b, "denied:1,unreachable:1");
	close(third.fd);
	udp_bench_stop(&b);
}
END_TEST

START_TEST(test_family)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");

	udp_bench_start(&b, "[dns]\nfamily = ipv6\n", NULL);
	b.dns.a.first = 2;
	udp_bench_up_name(&b, "a.test", 53, 'a');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.aaaa_count, 1));
	udp_bench_settle(&b);
	ck_assert_uint_eq(b.dns.a_count, 0);
	udp_bench_dropped(&b, "unresolved:1");
	udp_bench_reload(&b, "[dns]\nfamily = ipv4\n");
	ck_assert(reached_by_name(&b, &t, "a.test", 'b'));
	ck_assert_uint_eq(b.dns.aaaa_count, 1);
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

/* --- sockets --------------------------------------------------------------------------------- */

/* To whomever it goes by one egress, it leaves from the same port. */
START_TEST(test_mapping)
{
	struct udp_bench b;
	struct target one = open_target("127.0.0.2");
	struct target two = open_target("127.0.0.3");
	struct target by = open_target("127.0.0.4");

	udp_bench_start(&b,
			RULE("x", "allow", "destination = 127.0.0.4\negress = e")
				EGRESS("e", "127.0.0.5"),
			NULL);
	ck_assert(reached(&b, &one, 'a'));
	ck_assert(reached(&b, &two, 'b'));
	ck_assert(addr_equal(&one.from, &two.from));
	check_from(&one, "127.0.0.1");
	ck_assert(reached(&b, &by, 'c'));
	check_from(&by, "127.0.0.5");
	udp_bench_raw(&b, by.fd, &by.from, "d", 1);
	ck_assert(udp_bench_down(&b, 'd', &by.addr));
	udp_bench_dropped(&b, "-");
	close(one.fd);
	close(two.fd);
	close(by.fd);
	udp_bench_stop(&b);
}
END_TEST

static bool have_ipv6(void)
{
	struct addr a = udp_bench_addr("::1");
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	bool have = fd >= 0 && bind(fd, &a.sa, addr_len(&a)) == 0;

	if (fd >= 0) {
		close(fd);
	}
	return have;
}

START_TEST(test_both_families)
{
	struct udp_bench b;
	struct target four = open_target("127.0.0.2");
	struct target six;

	if (!have_ipv6()) {
		close(four.fd);
		return;
	}
	six = open_target("::1");
	udp_bench_start(&b, "", NULL);
	for (int i = 0; i < 2; i++) {
		ck_assert(reached(&b, &four, 'a'));
		ck_assert(reached(&b, &six, 'b'));
	}
	udp_bench_raw(&b, six.fd, &six.from, "c", 1);
	ck_assert(udp_bench_down(&b, 'c', &six.addr));
	udp_bench_raw(&b, four.fd, &four.from, "d", 1);
	ck_assert(udp_bench_down(&b, 'd', &four.addr));
	udp_bench_dropped(&b, "-");
	close(four.fd);
	close(six.fd);
	udp_bench_stop(&b);
}
END_TEST

/* What the kernel has dropped at a socket that is gone is no business of the next one. */
START_TEST(test_drops_of_a_socket_that_is_gone)
{
	enum {
		COUNT = 20000
	};
	static const char bytes[1400];
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");
	char buf[ASSOCIATE_DROPS_TEXT_MAX];
	char before[ASSOCIATE_DROPS_TEXT_MAX];

	udp_bench_start(&b, RULE("x", "allow", "egress = e") EGRESS("e", "127.0.0.5"), NULL);
	ck_assert(reached(&b, &t, 'a'));
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_int_gt(
			sendto(t.fd, bytes, sizeof bytes - i % 2, 0, &t.from.sa, addr_len(&t.from)),
			0);
	}
	snprintf(before, sizeof before, "%s", associate_drops(b.a, buf));
	ck_assert_int_eq(strncmp(before, "receive:", 8), 0);
	udp_bench_reload(&b, "");
	ck_assert(reached(&b, &t, 'b'));
	udp_bench_dropped(&b, before);
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

/* A reload: who leaves in the same way keeps the port, the others' sockets go. */
START_TEST(test_egresses_of_a_reload)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");
	struct addr was;

	udp_bench_start(&b, RULE("x", "allow", "egress = e") EGRESS("e", "127.0.0.5"), NULL);
	ck_assert(reached(&b, &t, 'a'));
	check_from(&t, "127.0.0.5");
	was = t.from;
	udp_bench_reload(&b, EGRESS("d", "127.0.0.6") EGRESS("e", "127.0.0.5")
				     RULE("x", "allow", "egress = e"));
	udp_bench_raw(&b, t.fd, &was, "b", 1);
	ck_assert(udp_bench_down(&b, 'b', &t.addr));
	ck_assert(reached(&b, &t, 'c'));
	ck_assert(addr_equal(&t.from, &was));
	udp_bench_reload(&b, EGRESS("e", "127.0.0.6") RULE("x", "allow", "egress = e"));
	ck_assert_int_eq(sendto(t.fd, "d", 1, 0, &was.sa, addr_len(&was)), 1);
	udp_bench_settle(&b);
	ck_assert(udp_bench_quiet(b.fd));
	ck_assert(reached(&b, &t, 'e'));
	check_from(&t, "127.0.0.6");
	/* By name as well. */
	b.dns.a.first = 2;
	ck_assert(reached_by_name(&b, &t, "a.test", 'f'));
	check_from(&t, "127.0.0.6");
	udp_bench_reload(&b, "");
	ck_assert(reached_by_name(&b, &t, "a.test", 'g'));
	check_from(&t, "127.0.0.1");
	/* The places are free again. */
	ck_assert_uint_eq(b.base.slots_used, 1);
	udp_bench_dropped(&b, "-");
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

START_TEST(test_an_egress_that_cannot_be_used)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");

	/* No address of this family: that is no fault. */
	udp_bench_start(&b, RULE("x", "allow", "egress = e") EGRESS("e", "::1"), NULL);
	ck_assert(!reached(&b, &t, 'a'));
	udp_bench_dropped(&b, "unreachable:1");
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_dial_egress_failed), 0);
	/* An address that this host does not have: that is one. */
	udp_bench_reload(&b, RULE("x", "allow", "egress = e") EGRESS("e", "192.0.2.1"));
	ck_assert(!reached(&b, &t, 'b'));
	udp_bench_dropped(&b, "unreachable:2");
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_dial_egress_failed), 1);
	b.dns.a.first = 2;
	udp_bench_up_name(&b, "a.test", 53, 'c');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.aaaa_count, 1));
	udp_bench_settle(&b);
	udp_bench_dropped(&b, "unreachable:3");
	ck_assert_int_eq(session_bench_metric(&b.base, METRIC_dial_egress_failed), 2);
	/* It takes no place for good. */
	udp_bench_reload(&b, "");
	ck_assert(reached(&b, &t, 'd'));
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

#define EGRESSES                                                   \
	RULE("2", "allow", "destination = 127.0.0.2\negress = e2") \
	RULE("3", "allow", "destination = 127.0.0.3\negress = e3") \
	RULE("4", "allow", "destination = 127.0.0.4\negress = e4") \
	RULE("5", "allow", "destination = 127.0.0.5\negress = e5") \
	RULE("6", "allow", "destination = 127.0.0.6\negress = e6") \
	EGRESS("e2", "127.0.1.2")                                  \
	EGRESS("e3", "127.0.1.3")                                  \
	EGRESS("e4", "127.0.1.4") EGRESS("e5", "127.0.1.5") EGRESS("e6", "127.0.1.6")

/* Four sockets at most, and of the server's descriptors as many as there are. */
START_TEST(test_sockets_are_bounded)
{
	struct udp_bench b;
	struct target targets[5];
	char text[32];

	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		snprintf(text, sizeof text, "127.0.0.%u", 2 + i);
		targets[i] = open_target(text);
	}
	udp_bench_start(&b, EGRESSES, NULL);
	b.base.slots_left = 0;
	ck_assert_uint_eq(b.base.slots_used, 1);
	ck_assert(reached(&b, &targets[0], 'a'));
	ck_assert(reached(&b, &targets[1], 'b'));
	ck_assert(!reached(&b, &targets[2], 'c'));
	udp_bench_dropped(&b, "sockets:1");
	b.base.slots_left = 10;
	ck_assert(reached(&b, &targets[2], 'd'));
	ck_assert(reached(&b, &targets[3], 'e'));
	ck_assert_uint_eq(b.base.slots_used, 2);
	ck_assert(!reached(&b, &targets[4], 'f'));
	udp_bench_dropped(&b, "sockets:2");
	for (unsigned i = 0; i < 4; i++) {
		ck_assert(reached(&b, &targets[i], 'g'));
		snprintf(text, sizeof text, "127.0.1.%u", 2 + i);
		check_from(&targets[i], text);
	}
	ck_assert_uint_eq(b.base.slots_used, 2);
	/* A name is no way around. */
	b.dns.a.first = 6;
	udp_bench_up_name(&b, "a.test", 53, 'h');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.aaaa_count, 1));
	udp_bench_settle(&b);
	udp_bench_dropped(&b, "sockets:3");
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		close(targets[i].fd);
	}
	udp_bench_stop(&b);
}
END_TEST

/* The addresses of a name change to such that there is no socket for: until that is certain, it
 * still leaves by the socket it left by before. */
START_TEST(test_a_socket_that_is_missing)
{
	struct udp_bench b;
	struct target targets[4];
	char text[32];

	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		snprintf(text, sizeof text, "127.0.0.%u", 2 + i);
		targets[i] = open_target(text);
	}
	udp_bench_start(&b, EGRESSES, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		ck_assert(reached(&b, &targets[i], 'a'));
	}
	b.dns.a.first = 5;
	b.dns.ttl_s = 0;
	ck_assert(reached_by_name(&b, &targets[3], "a.test", 'b'));
	check_from(&targets[3], "127.0.1.5");
	clock_jump(b.base.context.loop, UDP_NAMES_FRESH_MS);
	b.dns.a.first = 6;
	b.dns.hold = true;
	ck_assert(reached_by_name(&b, &targets[3], "a.test", 'c'));
	ck_assert(clock_reach(b.base.context.loop, &b.dns.a_count, 2));
	fake_names_release(&b.dns);
	b.dns.hold = true;
	ck_assert(clock_reach(b.base.context.loop, &b.dns.aaaa_count, 1));
	ck_assert(reached_by_name(&b, &targets[3], "a.test", 'd'));
	check_from(&targets[3], "127.0.1.5");
	fake_names_release(&b.dns);
	udp_bench_settle(&b);
	ck_assert(!reached_by_name(&b, &targets[3], "a.test", 'e'));
	udp_bench_dropped(&b, "sockets:1");
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		close(targets[i].fd);
	}
	udp_bench_stop(&b);
}
END_TEST

/* A reload while a name is asked for: its answer is judged by the new rules, and leaves by the new
 * sockets. */
START_TEST(test_a_reload_while_asking)
{
	struct udp_bench b;
	struct target t = open_target("127.0.0.2");

	udp_bench_start(&b, RULE("x", "allow", "egress = e") EGRESS("e", "127.0.0.5"), NULL);
	ck_assert(reached(&b, &t, 'a'));
	check_from(&t, "127.0.0.5");
	b.dns.a.first = 2;
	b.dns.hold = true;
	udp_bench_up_name(&b, "a.test", addr_port(&t.addr), 'b');
	udp_bench_up_name(&b, "b.test", addr_port(&t.addr), 'c');
	ck_assert(clock_reach(b.base.context.loop, &b.dns.a_count, 2));
	udp_bench_reload(&b, RULE("w", "deny", "destination = b.test")
				     RULE("x", "allow", "egress = e") EGRESS("e", "127.0.0.6"));
	fake_names_release(&b.dns);
	udp_bench_settle(&b);
	ck_assert(udp_bench_got(t.fd, 'b', &t.from));
	check_from(&t, "127.0.0.6");
	udp_bench_dropped(&b, "denied:1");
	close(t.fd);
	udp_bench_stop(&b);
}
END_TEST

SUITE_MAIN("associate_targets", test_rules, test_guard, test_a_denied_far_end_stays_denied,
	   test_names, test_names_and_addresses_are_apart, test_let_in_and_then_named, test_choice,
	   test_family, test_mapping, test_both_families, test_drops_of_a_socket_that_is_gone,
	   test_egresses_of_a_reload, test_an_egress_that_cannot_be_used, test_sockets_are_bounded,
	   test_a_socket_that_is_missing, test_a_reload_while_asking)
