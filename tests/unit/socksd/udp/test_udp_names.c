/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/udp/udp_names.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/socksd/fake_names.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>

enum {
	PORT = 53,
	READY_MAX = 64,
	SCRIBBLE = 99, /* what a choice that failed leaves behind */
};

/* A datagram that came back. */
struct ready {
	struct addr to; /* AF_UNSPEC: dropped */
	uint8_t socket;
	enum udp_drop why;
	size_t len;
	uint8_t first;
};

struct fixture {
	struct loop *loop;
	struct fake_names dns;
	struct dns_params params;
	struct resolver *resolver;
	struct udp_names *names;
	/* what the association says */
	bool forbid;
	enum udp_drop why4; /* UDP_DROP_COUNT: the addresses are fine */
	enum udp_drop why6;
	uint8_t socket;
	bool crowd; /* in `ready`: use as many other names as there is room for */
	/* what it was asked and told */
	unsigned asked;
	unsigned chosen;
	size_t choices;
	struct addr had; /* the one in use so far */
	unsigned ready_count;
	struct ready ready[READY_MAX];
	/* what udp_names_find() said */
	struct addr addr;
	uint8_t by;
	enum udp_drop why;
};

static bool may_ask(void *arg, const char *name, uint16_t port)
{
	struct fixture *f = arg;

	ck_assert_uint_gt(strlen(name), 0);
	ck_assert_uint_ne(port, 0);
	f->asked++;
	return !f->forbid;
}

static enum udp_drop choose(void *arg, const char *name, const struct addr *addresses, size_t count,
			    struct addr *chosen, uint8_t *ret_socket)
{
	struct fixture *f = arg;
	int family = addresses[0].sa.sa_family;
	enum udp_drop why = family == AF_INET ? f->why4 : f->why6;
	size_t best = 0;

	ck_assert_uint_gt(strlen(name), 0);
	f->chosen++;
	f->choices = count;
	f->had = *chosen;
	*ret_socket = SCRIBBLE;
	if (why != UDP_DROP_COUNT) {
		return why;
	}
	for (size_t i = 0; i < count; i++) {
		ck_assert_int_eq(addresses[i].sa.sa_family, family);
		ck_assert_uint_ge(addr_port(&addresses[i]), PORT);
		best = addr_equal(&addresses[i], chosen) ? i : best;
	}
	*chosen = addresses[best];
	*ret_socket = f->socket;
	return UDP_DROP_COUNT;
}

static enum udp_names_answer find(struct fixture *f, const char *name, uint8_t byte);

static void crowd(struct fixture *f)
{
	char name[16];

	f->crowd = false;
	f->forbid = true; /* known to lead nowhere at once */
	for (int i = 0; i < UDP_NAMES_MAX; i++) {
		snprintf(name, sizeof name, "crowd%d.test", i);
		ck_assert_int_eq(find(f, name, 0), UDP_NAMES_DROP);
	}
	f->forbid = false;
}

static void ready(void *arg, const struct addr *to, uint8_t socket, enum udp_drop why,
		  const uint8_t *bytes, size_t len)
{
	struct fixture *f = arg;
	struct ready *r = &f->ready[f->ready_count];

	ck_assert_uint_lt(f->ready_count, READY_MAX);
	*r = (struct ready){ .socket = socket, .why = why, .len = len, .first = bytes[0] };
	if (to) {
		r->to = *to;
	}
	f->ready_count++;
	if (f->crowd) {
		crowd(f);
	}
}

static const struct udp_names_ops ops = { .may_ask = may_ask, .choose = choose, .ready = ready };

static void set_up(struct fixture *f, int family)
{
	memset(f, 0, sizeof *f);
	clock_stop();
	f->loop = loop_new();
	ck_assert_ptr_nonnull(f->loop);
	fake_names_start(&f->dns, f->loop);
	f->params = (struct dns_params){
		.servers = { .items = &f->dns.dns.addr, .count = 1 },
		.cache_names = 64,
	};
	f->resolver = resolver_new(f->loop, NULL, &f->params);
	ck_assert_ptr_nonnull(f->resolver);
	f->why4 = f->why6 = UDP_DROP_COUNT;
	f->socket = 3;
	f->names = udp_names_new(f->resolver, f->loop, family, &ops, f);
	ck_assert_ptr_nonnull(f->names);
}

static void tear_down(struct fixture *f)
{
	udp_names_free(f->names);
	resolver_free(f->resolver);
	fake_names_stop(&f->dns);
	loop_turn(f->loop, 0);
	loop_free(f->loop);
	clock_go_on();
}

static enum udp_names_answer find_at(struct fixture *f, const char *name, uint16_t port,
				     uint8_t byte, size_t len)
{
	static uint8_t bytes[65536];
	unsigned before = f->ready_count;
	enum udp_names_answer answer;

	memset(bytes, byte, len);
	answer = udp_names_find(f->names, name, port, bytes, len, &f->addr, &f->by, &f->why);
	memset(bytes, 0xee, len); /* a copy has been made */
	ck_assert_uint_eq(f->ready_count, before);
	return answer;
}

static enum udp_names_answer find(struct fixture *f, const char *name, uint8_t byte)
{
	return find_at(f, name, PORT, byte, 10);
}

static void wait_ready(struct fixture *f, unsigned count)
{
	ck_assert(clock_reach(f->loop, &f->ready_count, count));
	clock_settle(f->loop);
	ck_assert_uint_eq(f->ready_count, count);
}

static void wait_questions(struct fixture *f, const unsigned *counter, unsigned count)
{
	ck_assert(clock_reach(f->loop, counter, count));
	clock_settle(f->loop);
	ck_assert_uint_eq(*counter, count);
}

/* The address is known, is this one, and is sent to by that socket. */
static void check_known(struct fixture *f, const char *name, const char *address, uint8_t by)
{
	char text[ADDR_TEXT_MAX];

	ck_assert_int_eq(find(f, name, 0), UDP_NAMES_KNOWN);
	ck_assert_str_eq(addr_format(&f->addr, text, sizeof text), address);
	ck_assert_uint_eq(f->by, by);
}

/* A name that gets known now. */
static void get_known(struct fixture *f, const char *name, const char *address)
{
	unsigned had = f->ready_count;

	ck_assert_int_eq(find(f, name, 0), UDP_NAMES_WAIT);
	wait_ready(f, had + 1);
	check_known(f, name, address, f->socket);
}

static void check_dropped(struct fixture *f, const char *name, enum udp_drop why)
{
	ck_assert_int_eq(find(f, name, 0), UDP_NAMES_DROP);
	ck_assert_int_eq(f->why, why);
}

/* --- waiting --------------------------------------------------------------------------------- */

START_TEST(test_those_that_wait_come_back_in_order)
{
	struct fixture f;
	char text[ADDR_TEXT_MAX];

	set_up(&f, AF_UNSPEC);
	f.dns.hold = true;
	for (uint8_t i = 0; i < 3; i++) {
		ck_assert_int_eq(find_at(&f, "a.test", PORT, i, 10u + i), UDP_NAMES_WAIT);
	}
	wait_questions(&f, &f.dns.a_count, 1);
	ck_assert_uint_eq(f.ready_count, 0);
	fake_names_release(&f.dns);
	wait_ready(&f, 3);
	for (uint8_t i = 0; i < 3; i++) {
		ck_assert_str_eq(addr_format(&f.ready[i].to, text, sizeof text), "127.0.0.1:53");
		ck_assert_uint_eq(f.ready[i].socket, 3);
		ck_assert_uint_eq(f.ready[i].len, 10u + i);
		ck_assert_uint_eq(f.ready[i].first, i);
	}
	/* Those behind them need not wait. IPv6 was not asked for. */
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert_uint_eq(f.dns.aaaa_count, 0);
	/* A port is another place. */
	ck_assert_int_eq(find_at(&f, "a.test", 54, 0, 1), UDP_NAMES_KNOWN);
	ck_assert_uint_eq(addr_port(&f.addr), 54);
	ck_assert_uint_eq(f.dns.a_count, 1);
	ck_assert_uint_eq(f.asked, 2);
	tear_down(&f);
}
END_TEST

START_TEST(test_waiting_is_bounded)
{
	struct fixture f;
	const size_t big = UDP_NAMES_WAITING_BYTES_MAX / 4;

	set_up(&f, AF_UNSPEC);
	/* Twice: what has come back makes room. */
	for (unsigned round = 1; round <= 2; round++) {
		const char *one = round == 1 ? "a.test" : "c.test";
		const char *other = round == 1 ? "b.test" : "d.test";

		f.dns.hold = true;
		for (unsigned i = 0; i < UDP_NAMES_WAITING_MAX; i++) {
			ck_assert_int_eq(find(&f, i % 2 ? one : other, 0), UDP_NAMES_WAIT);
		}
		check_dropped(&f, one, UDP_DROP_queue);
		check_dropped(&f, other, UDP_DROP_queue);
		wait_questions(&f, &f.dns.a_count, 2 * round);
		fake_names_release(&f.dns);
		wait_ready(&f, UDP_NAMES_WAITING_MAX * round);
	}
	f.ready_count = 0;
	f.dns.hold = true;
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(find_at(&f, "e.test", PORT, 0, big), UDP_NAMES_WAIT);
	}
	ck_assert_int_eq(find_at(&f, "e.test", PORT, 0, 1), UDP_NAMES_DROP);
	ck_assert_int_eq(f.why, UDP_DROP_queue);
	wait_questions(&f, &f.dns.a_count, 5);
	fake_names_release(&f.dns);
	wait_ready(&f, 4);
	tear_down(&f);
}
END_TEST

/* Nothing is told any more, and nothing is lost or freed twice (a sanitizer would tell). */
START_TEST(test_freed_while_asking)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	get_known(&f, "known.test", "127.0.0.1:53");
	f.dns.hold = true;
	ck_assert_int_eq(find(&f, "a.test", 0), UDP_NAMES_WAIT);
	ck_assert_int_eq(find(&f, "a.test", 0), UDP_NAMES_WAIT);
	ck_assert_int_eq(find(&f, "b.test", 0), UDP_NAMES_WAIT);
	wait_questions(&f, &f.dns.a_count, 3);
	udp_names_free(f.names);
	f.names = NULL;
	/* One is answered, the other one cancelled with the resolver. */
	f.dns.held_count = 1;
	fake_names_release(&f.dns);
	clock_settle(f.loop);
	ck_assert_uint_eq(f.ready_count, 1);
	ck_assert_uint_eq(f.chosen, 1);
	tear_down(&f);
	ck_assert_uint_eq(f.ready_count, 1);
}
END_TEST

/* `ready` may use other names, even so many that the one it is called for has to go. */
START_TEST(test_ready_uses_other_names)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	f.dns.hold = true;
	for (uint8_t i = 0; i < 3; i++) {
		ck_assert_int_eq(find(&f, "a.test", i), UDP_NAMES_WAIT);
	}
	wait_questions(&f, &f.dns.a_count, 1);
	f.crowd = true;
	fake_names_release(&f.dns);
	wait_ready(&f, 3);
	for (uint8_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(f.ready[i].first, i);
		ck_assert_uint_eq(f.ready[i].socket, 3);
		ck_assert_int_eq(f.ready[i].to.sa.sa_family, AF_INET);
	}
	tear_down(&f);
}
END_TEST

/* --- how many names -------------------------------------------------------------------------- */

START_TEST(test_names_are_bounded)
{
	struct fixture f;
	char name[16];

	set_up(&f, AF_UNSPEC);
	f.dns.hold = true;
	for (unsigned i = 0; i < UDP_NAMES_MAX; i++) {
		snprintf(name, sizeof name, "n%u.test", i);
		ck_assert_int_eq(find(&f, name, 0), UDP_NAMES_WAIT);
	}
	/* All are being asked for: none can go. */
	check_dropped(&f, "more.test", UDP_DROP_queue);
	ck_assert_uint_eq(f.asked, UDP_NAMES_MAX);
	wait_questions(&f, &f.dns.a_count, UDP_NAMES_MAX);
	fake_names_release(&f.dns);
	wait_ready(&f, UDP_NAMES_MAX);
	/* From now on the one unused for longest goes: not n0, which is used again, but n1. */
	check_known(&f, "n0.test", "127.0.0.1:53", 3);
	get_known(&f, "more.test", "127.0.0.1:53");
	f.asked = 0;
	check_known(&f, "n0.test", "127.0.0.1:53", 3);
	check_known(&f, "n2.test", "127.0.0.1:53", 3);
	ck_assert_uint_eq(f.asked, 0);
	check_known(&f, "n1.test", "127.0.0.1:53", 3);
	ck_assert_uint_eq(f.asked, 1);
	tear_down(&f);
}
END_TEST

/* --- families -------------------------------------------------------------------------------- */

static const struct {
	int family;
	struct fake_names_say a;
	struct fake_names_say aaaa;
	enum udp_drop why4; /* 0: allowed */
	enum udp_drop why6;
	const char *address; /* NULL: none */
	enum udp_drop why;
	unsigned a_count;
	unsigned aaaa_count;
} families[] = {
	{ AF_UNSPEC, { 0, 2, 1 }, { 0, 1, 1 }, 0, 0, "127.0.0.1:53", 0, 1, 0 },
	{ AF_INET, { 0, 1, 1 }, { 0, 1, 1 }, 0, 0, "127.0.0.1:53", 0, 1, 0 },
	{ AF_INET6, { 0, 1, 1 }, { 0, 1, 1 }, 0, 0, "[2001:db8::1]:53", 0, 0, 1 },
	{ AF_UNSPEC, { 0 }, { 0, 1, 1 }, 0, 0, "[2001:db8::1]:53", 0, 1, 1 },
	{ AF_INET, { 0 }, { 0, 1, 1 }, 0, 0, NULL, UDP_DROP_unresolved, 1, 0 },
	{ AF_INET6, { 0, 1, 1 }, { 0 }, 0, 0, NULL, UDP_DROP_unresolved, 0, 1 },
	{ AF_UNSPEC, { 0 }, { 0 }, 0, 0, NULL, UDP_DROP_unresolved, 1, 1 },
	/* A name that does not exist has no other addresses. */
	{ AF_UNSPEC, { RCODE_NXDOMAIN, 0, 0 }, { 0, 1, 1 }, 0, 0, NULL, UDP_DROP_unresolved, 1, 0 },
	/* The reason that tells more. */
	{ AF_UNSPEC, { 0, 1, 1 }, { 0, 1, 1 }, UDP_DROP_denied, 0, "[2001:db8::1]:53", 0, 1, 1 },
	{ AF_UNSPEC, { 0, 1, 1 }, { 0 }, UDP_DROP_denied, 0, NULL, UDP_DROP_denied, 1, 1 },
	{ AF_UNSPEC,
	  { 0 },
	  { 0, 1, 1 },
	  0,
	  UDP_DROP_unreachable,
	  NULL,
	  UDP_DROP_unreachable,
	  1,
	  1 },
	{ AF_UNSPEC,
	  { 0, 1, 1 },
	  { 0, 1, 1 },
	  UDP_DROP_sockets,
	  UDP_DROP_unreachable,
	  NULL,
	  UDP_DROP_sockets,
	  1,
	  1 },
};

START_TEST(test_families)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct fixture f;
		char text[ADDR_TEXT_MAX] = "";

		set_up(&f, families[i].family);
		f.dns.a = families[i].a;
		f.dns.aaaa = families[i].aaaa;
		f.why4 = families[i].why4 ? families[i].why4 : UDP_DROP_COUNT;
		f.why6 = families[i].why6 ? families[i].why6 : UDP_DROP_COUNT;
		ck_assert_int_eq(find(&f, "a.test", 0), UDP_NAMES_WAIT);
		wait_ready(&f, 1);
		if (families[i].address) {
			addr_format(&f.ready[0].to, text, sizeof text);
			ck_assert_msg(strcmp(text, families[i].address) == 0, "%zu: %s", i, text);
			check_known(&f, "a.test", families[i].address, f.socket);
		} else {
			ck_assert_int_eq(f.ready[0].to.sa.sa_family, AF_UNSPEC);
			ck_assert_msg(f.ready[0].why == families[i].why, "%zu", i);
			check_dropped(&f, "a.test", families[i].why);
		}
		ck_assert_msg(f.dns.a_count == families[i].a_count, "%zu", i);
		ck_assert_msg(f.dns.aaaa_count == families[i].aaaa_count, "%zu", i);
		tear_down(&f);
	}
}
END_TEST

/* --- later ----------------------------------------------------------------------------------- */

START_TEST(test_asked_again_behind_its_back)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	f.dns.ttl_s = 0; /* so that the cache knows nothing */
	get_known(&f, "a.test", "127.0.0.1:53");
	clock_jump(f.loop, UDP_NAMES_FRESH_MS - 1);
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	ck_assert_uint_eq(f.asked, 1);
	/* Nobody waits for that. */
	f.dns.hold = true;
	f.dns.a = (struct fake_names_say){ .count = 2, .first = 7 };
	clock_jump(f.loop, 1);
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	wait_questions(&f, &f.dns.a_count, 2);
	ck_assert_uint_eq(f.asked, 2);
	f.socket = 1;
	fake_names_release(&f.dns);
	ck_assert(clock_reach(f.loop, &f.chosen, 2));
	ck_assert_uint_eq(f.ready_count, 1);
	ck_assert_uint_eq(f.choices, 2);
	check_known(&f, "a.test", "127.0.0.7:53", 1);
	/* The new one is what the conversation stays with. */
	f.dns.a.first = 6;
	clock_jump(f.loop, UDP_NAMES_FRESH_MS);
	check_known(&f, "a.test", "127.0.0.7:53", 1);
	ck_assert(clock_reach(f.loop, &f.chosen, 3));
	check_known(&f, "a.test", "127.0.0.7:53", 1);
	tear_down(&f);
}
END_TEST

/* What DNS has said for longer is asked of the cache, and comes at once. */
START_TEST(test_asked_of_the_cache)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	get_known(&f, "a.test", "127.0.0.1:53");
	clock_jump(f.loop, UDP_NAMES_FRESH_MS);
	f.socket = 2;
	check_known(&f, "a.test", "127.0.0.1:53", 2);
	ck_assert_uint_eq(f.asked, 2);
	ck_assert_uint_eq(f.chosen, 2);
	ck_assert_int_eq(f.had.sa.sa_family, AF_INET);
	/* Now the rules are against it. */
	clock_jump(f.loop, UDP_NAMES_FRESH_MS);
	f.why4 = UDP_DROP_denied;
	check_known(&f, "a.test", "127.0.0.1:53", 2); /* until it is known that there is no AAAA */
	wait_questions(&f, &f.dns.aaaa_count, 1);
	clock_settle(f.loop);
	check_dropped(&f, "a.test", UDP_DROP_denied);
	ck_assert_uint_eq(f.dns.a_count, 1);
	ck_assert_uint_eq(f.ready_count, 1);
	tear_down(&f);
}
END_TEST

START_TEST(test_failures)
{
	struct fixture f;

	set_up(&f, AF_INET);
	f.dns.ttl_s = 0;
	f.dns.a = (struct fake_names_say){ .rcode = RCODE_SERVFAIL };
	ck_assert_int_eq(find(&f, "a.test", 0), UDP_NAMES_WAIT);
	wait_ready(&f, 1);
	ck_assert_int_eq(f.ready[0].to.sa.sa_family, AF_UNSPEC);
	ck_assert_int_eq(f.ready[0].why, UDP_DROP_unresolved);
	/* That is not asked again for a while. */
	clock_jump(f.loop, UDP_NAMES_FRESH_MS - 1);
	check_dropped(&f, "a.test", UDP_DROP_unresolved);
	ck_assert_uint_eq(f.asked, 1);
	clock_jump(f.loop, 1);
	f.dns.a = (struct fake_names_say){ .count = 1, .first = 1 };
	get_known(&f, "a.test", "127.0.0.1:53");
	ck_assert_uint_eq(f.asked, 2);
	/* An address outlives that DNS does not answer, */
	f.dns.a = (struct fake_names_say){ .rcode = RCODE_SERVFAIL };
	f.dns.a_count = 0;
	clock_jump(f.loop, UDP_NAMES_FRESH_MS);
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	ck_assert(clock_reach(f.loop, &f.dns.a_count, 1));
	clock_settle(f.loop);
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	ck_assert_uint_eq(f.asked, 3);
	/* but not that the name has gone. */
	f.dns.a = (struct fake_names_say){ .rcode = RCODE_NXDOMAIN };
	f.dns.a_count = 0;
	clock_jump(f.loop, UDP_NAMES_FRESH_MS);
	check_known(&f, "a.test", "127.0.0.1:53", 3);
	ck_assert(clock_reach(f.loop, &f.dns.a_count, 1));
	clock_settle(f.loop);
	check_dropped(&f, "a.test", UDP_DROP_unresolved);
	tear_down(&f);
}
END_TEST

/* What a choice that failed has said about sockets is not used: not while the other family is being
 * asked for, nor when that is not answered. */
START_TEST(test_a_failed_choice_changes_nothing)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	f.dns.ttl_s = 0;
	f.dns.a = (struct fake_names_say){ 0 };
	f.dns.aaaa = (struct fake_names_say){ .count = 1, .first = 1 };
	get_known(&f, "a.test", "[2001:db8::1]:53");
	clock_jump(f.loop, 5000); /* the cache forgets that there was no IPv4 */
	f.dns.a = (struct fake_names_say){ .count = 1, .first = 1 };
	f.why4 = UDP_DROP_sockets;
	f.dns.hold = true;
	check_known(&f, "a.test", "[2001:db8::1]:53", 3);
	wait_questions(&f, &f.dns.a_count, 2);
	fake_names_release(&f.dns);
	f.dns.hold = true;
	f.dns.aaaa = (struct fake_names_say){ .rcode = RCODE_SERVFAIL };
	wait_questions(&f, &f.dns.aaaa_count, 2);
	ck_assert_uint_eq(f.chosen, 2);
	check_known(&f, "a.test", "[2001:db8::1]:53", 3);
	fake_names_release(&f.dns);
	clock_settle(f.loop);
	check_known(&f, "a.test", "[2001:db8::1]:53", 3);
	tear_down(&f);
}
END_TEST

START_TEST(test_forbidden)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	f.forbid = true;
	check_dropped(&f, "a.test", UDP_DROP_denied);
	check_dropped(&f, "a.test", UDP_DROP_denied);
	ck_assert_uint_eq(f.asked, 1);
	clock_settle(f.loop);
	ck_assert_uint_eq(f.dns.a_count, 0);
	f.forbid = false;
	clock_jump(f.loop, UDP_NAMES_FRESH_MS);
	get_known(&f, "a.test", "127.0.0.1:53");
	tear_down(&f);
}
END_TEST

/* --- a reload -------------------------------------------------------------------------------- */

START_TEST(test_reset_forgets)
{
	struct fixture f;

	set_up(&f, AF_UNSPEC);
	get_known(&f, "a.test", "127.0.0.1:53");
	udp_names_reset(f.names, AF_UNSPEC);
	f.socket = 1;
	check_known(&f, "a.test", "127.0.0.1:53", 1);
	ck_assert_int_eq(f.had.sa.sa_family, AF_UNSPEC);
	ck_assert_uint_eq(f.asked, 2);
	udp_names_reset(f.names, AF_INET6);
	f.dns.aaaa = (struct fake_names_say){ .count = 1, .first = 1 };
	get_known(&f, "a.test", "[2001:db8::1]:53");
	f.forbid = true;
	udp_names_reset(f.names, AF_INET6);
	check_dropped(&f, "a.test", UDP_DROP_denied);
	tear_down(&f);
}
END_TEST

/* A lookup that a reload overtakes begins anew: with the new rules, and the new family. */
START_TEST(test_reset_while_asking)
{
	struct fixture f;
	char text[ADDR_TEXT_MAX];

	set_up(&f, AF_INET);
	f.dns.hold = true;
	f.dns.aaaa = (struct fake_names_say){ .count = 1, .first = 1 };
	ck_assert_int_eq(find(&f, "a.test", 0), UDP_NAMES_WAIT);
	ck_assert_int_eq(find(&f, "b.test", 0), UDP_NAMES_WAIT);
	wait_questions(&f, &f.dns.a_count, 2);
	udp_names_reset(f.names, AF_INET6);
	ck_assert_int_eq(find(&f, "a.test", 1), UDP_NAMES_WAIT);
	fake_names_release(&f.dns);
	wait_ready(&f, 3);
	ck_assert_uint_eq(f.asked, 4);
	ck_assert_uint_eq(f.chosen, 2); /* no IPv4 address was */
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_str_eq(addr_format(&f.ready[i].to, text, sizeof text),
				 "[2001:db8::1]:53");
	}
	/* Only once. */
	check_known(&f, "a.test", "[2001:db8::1]:53", 3);
	ck_assert_uint_eq(f.asked, 4);
	/* What is forbidden by now is dropped, and asked for no more. */
	f.dns.hold = true;
	f.dns.aaaa_count = 0;
	ck_assert_int_eq(find(&f, "c.test", 0), UDP_NAMES_WAIT);
	wait_questions(&f, &f.dns.aaaa_count, 1);
	udp_names_reset(f.names, AF_UNSPEC);
	f.forbid = true;
	f.dns.aaaa = (struct fake_names_say){ 0 };
	fake_names_release(&f.dns);
	wait_ready(&f, 4);
	ck_assert_int_eq(f.ready[3].why, UDP_DROP_denied);
	ck_assert_uint_eq(f.dns.aaaa_count, 1);
	ck_assert_uint_eq(f.dns.a_count, 2);
	tear_down(&f);
}
END_TEST

/* With other servers, the old ones' lookups are cancelled: those that wait get the new ones'
 * answer. */
START_TEST(test_other_servers_while_asking)
{
	struct fixture f;
	struct fake_names other;
	struct dns_params params;
	char text[ADDR_TEXT_MAX];

	set_up(&f, AF_UNSPEC);
	fake_names_start(&other, f.loop);
	other.a.first = 9;
	other.aaaa = (struct fake_names_say){ .count = 1, .first = 9 };
	params = f.params;
	params.servers.items = &other.dns.addr;
	f.dns.hold = true;
	ck_assert_int_eq(find(&f, "a.test", 0), UDP_NAMES_WAIT);
	ck_assert_int_eq(find(&f, "b.test", 0), UDP_NAMES_WAIT);
	wait_questions(&f, &f.dns.a_count, 2);
	/* As worker_reload() does it. */
	udp_names_reset(f.names, AF_UNSPEC);
	ck_assert_int_eq(resolver_configure(f.resolver, &params), 0);
	wait_ready(&f, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_str_eq(addr_format(&f.ready[i].to, text, sizeof text), "127.0.0.9:53");
	}
	fake_names_stop(&other);
	tear_down(&f);
}
END_TEST

SUITE_MAIN("udp_names", test_those_that_wait_come_back_in_order, test_waiting_is_bounded,
	   test_freed_while_asking, test_ready_uses_other_names, test_names_are_bounded,
	   test_families, test_asked_again_behind_its_back, test_asked_of_the_cache, test_failures,
	   test_a_failed_choice_changes_nothing, test_forbidden, test_reset_forgets,
	   test_reset_while_asking, test_other_servers_while_asking)
