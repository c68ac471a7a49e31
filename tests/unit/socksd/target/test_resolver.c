/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/metrics.h"
#include "socksd/target/names.h"
#include "socksd/target/resolver.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/socksd/fake_names.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

enum {
	ANSWERS_MAX = 32,
	TIMEOUT_MS = 2000, /* of one try, as resolver.c has it */
	TRIES_MS = 6500,   /* of both */
};

/* What somebody was told. */
struct answer {
	int id;
	enum ares_io_status status;
	size_t count;
	struct addr first;
};

struct fixture {
	struct loop *loop;
	struct metrics *metrics;
	struct fake_names dns;
	struct dns_params params;
	struct resolver *resolver;
	unsigned answer_count;
	struct answer answers[ANSWERS_MAX];
	/* What who is told asks in turn; NULL: nothing. */
	const char *next;
	unsigned next_count;
	bool forget; /* who is told has the cache emptied */
};

/* Somebody who asks. */
struct caller {
	struct fixture *f;
	int id;
};

static struct caller callers[ANSWERS_MAX];

static void ask(struct fixture *f, int id, const char *name, int family);

static void on_lookup(void *arg, enum ares_io_status status, const struct addr *addresses,
		      size_t count)
{
	const struct caller *caller = arg;
	struct fixture *f = caller->f;
	struct answer *a = &f->answers[f->answer_count++];

	ck_assert_uint_le(f->answer_count, ANSWERS_MAX);
	*a = (struct answer){ .id = caller->id, .status = status, .count = count };
	ck_assert((status == ARES_IO_OK) == (count > 0));
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_eq(addr_port(&addresses[i]), 0);
	}
	if (count > 0) {
		a->first = addresses[0];
	}
	if (f->next && f->next_count > 0) {
		f->next_count--;
		ask(f, caller->id + 10, f->next, AF_INET);
	}
	if (f->forget) {
		f->params.cache_names = 0;
		ck_assert_int_eq(resolver_configure(f->resolver, &f->params), 0);
	}
	/* What was given is valid for the whole call. */
	ck_assert(count == 0 || addr_equal(&addresses[0], &a->first));
}

static void ask(struct fixture *f, int id, const char *name, int family)
{
	callers[id] = (struct caller){ f, id };
	resolver_lookup(f->resolver, name, family, on_lookup, &callers[id]);
}

static void set_up(struct fixture *f)
{
	memset(f, 0, sizeof *f);
	clock_stop();
	f->loop = loop_new();
	f->metrics = metrics_new(METRIC_COUNT);
	ck_assert(f->loop && f->metrics);
	fake_names_start(&f->dns, f->loop);
	f->params = (struct dns_params){
		.servers = { .items = &f->dns.dns.addr, .count = 1 },
		.cache_names = 64,
	};
	f->resolver = resolver_new(f->loop, f->metrics, &f->params);
	ck_assert_ptr_nonnull(f->resolver);
}

static void tear_down(struct fixture *f)
{
	resolver_free(f->resolver);
	fake_names_stop(&f->dns);
	loop_turn(f->loop, 0);
	loop_free(f->loop);
	free(f->metrics);
	clock_go_on();
}

static void wait_answers(struct fixture *f, unsigned count)
{
	ck_assert(clock_reach(f->loop, &f->answer_count, count));
	clock_settle(f->loop);
	ck_assert_uint_eq(f->answer_count, count);
}

static void wait_questions(struct fixture *f, unsigned count)
{
	ck_assert(clock_reach(f->loop, &f->dns.dns.udp_count, count));
	clock_settle(f->loop);
	ck_assert_uint_eq(f->dns.dns.udp_count, count);
}

static void check_answer(const struct fixture *f, unsigned i, int id, enum ares_io_status status,
			 const char *first)
{
	char text[ADDR_TEXT_MAX];

	ck_assert_uint_lt(i, f->answer_count);
	ck_assert_int_eq(f->answers[i].id, id);
	ck_assert_int_eq(f->answers[i].status, status);
	if (first) {
		ck_assert_str_eq(addr_format_ip(&f->answers[i].first, text, sizeof text), first);
	}
}

static void check_counts(const struct fixture *f, int64_t asked, int64_t joined, int64_t cached)
{
	ck_assert_int_eq(metrics_get(f->metrics, METRIC_names_asked), asked);
	ck_assert_int_eq(metrics_get(f->metrics, METRIC_names_joined), joined);
	ck_assert_int_eq(metrics_get(f->metrics, METRIC_names_cached), cached);
}

/* --- one lookup for all ---------------------------------------------------------------------- */

START_TEST(test_joined)
{
	struct fixture f;

	set_up(&f);
	f.dns.hold = true;
	f.dns.aaaa = (struct fake_names_say){ .count = 1, .first = 1 };
	ask(&f, 0, "a.test", AF_INET);
	ask(&f, 1, "a.test", AF_INET);
	ask(&f, 2, "a.test", AF_INET6); /* another question */
	ask(&f, 3, "b.test", AF_INET);
	ask(&f, 4, "a.test", AF_INET);
	wait_questions(&f, 3);
	ck_assert_uint_eq(f.answer_count, 0);
	check_counts(&f, 3, 2, 0);
	/* Who came first is told first. */
	fake_names_release(&f.dns);
	wait_answers(&f, 5);
	for (unsigned i = 0, id_before = 0; i < 5; i++) {
		if (f.answers[i].id != 2 && f.answers[i].id != 3) {
			ck_assert_uint_ge((unsigned)f.answers[i].id, id_before);
			id_before = (unsigned)f.answers[i].id;
		}
		ck_assert_int_eq(f.answers[i].status, ARES_IO_OK);
		ck_assert_int_eq(f.answers[i].first.sa.sa_family,
				 f.answers[i].id == 2 ? AF_INET6 : AF_INET);
	}
	tear_down(&f);
}
END_TEST

/* In whatever order they are answered, each can be asked for again. */
START_TEST(test_answered_out_of_order)
{
	static const char *const names[] = { "a.test", "b.test", "c.test" };
	static const size_t orders[][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		struct fixture f;
		struct fake_names was;

		set_up(&f);
		f.dns.ttl_s = 0;
		f.dns.hold = true;
		for (int k = 0; k < 3; k++) {
			ask(&f, k, names[k], AF_INET);
			wait_questions(&f, (unsigned)k + 1);
		}
		was = f.dns;
		for (size_t k = 0; k < 3; k++) {
			f.dns.held[k] = was.held[orders[i][k]];
		}
		fake_names_release(&f.dns);
		wait_answers(&f, 3);
		for (int k = 0; k < 3; k++) {
			check_answer(&f, (unsigned)k, (int)orders[i][k], ARES_IO_OK, "127.0.0.1");
			ask(&f, 10 + k, names[k], AF_INET);
		}
		wait_answers(&f, 6);
		check_counts(&f, 6, 0, 0);
		tear_down(&f);
	}
}
END_TEST

/* Who asks for the same name while it is being told is answered by the cache; where that keeps
 * nothing, by a new lookup, not by the one that is ending. */
START_TEST(test_asked_again_while_told)
{
	struct fixture f;

	for (uint32_t ttl_s = 0; ttl_s <= 300; ttl_s += 300) {
		set_up(&f);
		f.dns.ttl_s = ttl_s;
		f.next = "a.test";
		f.next_count = 1;
		ask(&f, 0, "a.test", AF_INET);
		ask(&f, 1, "a.test", AF_INET);
		wait_answers(&f, 3);
		check_answer(&f, 0, 0, ARES_IO_OK, "127.0.0.1");
		check_answer(&f, ttl_s ? 1 : 2, 10, ARES_IO_OK, "127.0.0.1");
		check_answer(&f, ttl_s ? 2 : 1, 1, ARES_IO_OK, "127.0.0.1");
		ck_assert_uint_eq(f.dns.dns.udp_count, ttl_s ? 1 : 2);
		check_counts(&f, ttl_s ? 1 : 2, 1, ttl_s ? 1 : 0);
		tear_down(&f);
	}
}
END_TEST

/* --- what is remembered ---------------------------------------------------------------------- */

START_TEST(test_remembered)
{
	static const struct {
		struct fake_names_say say;
		uint32_t ttl_s;
		enum ares_io_status status;
		enum ares_io_status again; /* from the cache */
		unsigned kept_ms;          /* 0: not at all */
	} table[] = {
		{ { 0, 1, 1 }, 30, ARES_IO_OK, ARES_IO_OK, 30000 },
		{ { 0, 3, 1 }, 30, ARES_IO_OK, ARES_IO_OK, 30000 },
		{ { 0, 1, 1 }, 0, ARES_IO_OK, ARES_IO_OK, 0 },
		{ { 0, 1, 1 }, 86400, ARES_IO_OK, ARES_IO_OK, NAMES_TTL_MAX_MS },
		{ { 0, 0, 0 }, 30, ARES_IO_NO_DATA, ARES_IO_NO_DATA, NAMES_NEGATIVE_MS },
		{ { RCODE_NXDOMAIN, 0, 0 },
		  30,
		  ARES_IO_NO_NAME,
		  ARES_IO_NO_NAME,
		  NAMES_NEGATIVE_MS },
		{ { RCODE_SERVFAIL, 0, 0 },
		  30,
		  ARES_IO_SERVFAIL,
		  ARES_IO_SERVFAIL,
		  NAMES_FAILURE_MS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct fixture f;

		set_up(&f);
		f.dns.a = table[i].say;
		f.dns.ttl_s = table[i].ttl_s;
		ask(&f, 0, "a.test", AF_INET);
		wait_answers(&f, 1);
		check_answer(&f, 0, 0, table[i].status, NULL);
		ck_assert_uint_eq(f.answers[0].count, table[i].say.count);
		if (table[i].kept_ms > 0) {
			/* At once. */
			clock_jump(f.loop, table[i].kept_ms - 1);
			ask(&f, 1, "a.test", AF_INET);
			check_answer(&f, 1, 1, table[i].again, NULL);
			ck_assert_uint_eq(f.answers[1].count, table[i].say.count);
			check_counts(&f, 1, 0, 1);
			clock_jump(f.loop, 1);
		}
		f.answer_count = 0;
		ask(&f, 2, "a.test", AF_INET);
		ck_assert_uint_eq(f.answer_count, 0);
		wait_answers(&f, 1);
		ck_assert_int_eq(metrics_get(f.metrics, METRIC_names_asked), 2);
		tear_down(&f);
	}
}
END_TEST

/* With more addresses than are kept, the first ones are given, every time the same. */
START_TEST(test_many_addresses)
{
	struct fixture f;

	set_up(&f);
	f.dns.a = (struct fake_names_say){ .count = NAMES_ADDRESSES_MAX + 4, .first = 1 };
	ask(&f, 0, "a.test", AF_INET);
	wait_answers(&f, 1);
	ask(&f, 1, "a.test", AF_INET);
	for (unsigned i = 0; i < 2; i++) {
		check_answer(&f, i, (int)i, ARES_IO_OK, "127.0.0.1");
		ck_assert_uint_eq(f.answers[i].count, NAMES_ADDRESSES_MAX);
	}
	tear_down(&f);
}
END_TEST

/* Of the two families each is known by itself. */
START_TEST(test_families_are_apart)
{
	struct fixture f;

	set_up(&f);
	ask(&f, 0, "a.test", AF_INET);
	wait_answers(&f, 1);
	ask(&f, 1, "a.test", AF_INET6);
	wait_answers(&f, 2);
	check_answer(&f, 0, 0, ARES_IO_OK, "127.0.0.1");
	check_answer(&f, 1, 1, ARES_IO_NO_DATA, NULL);
	tear_down(&f);
}
END_TEST

/* Who is told may end what is in the cache. */
START_TEST(test_the_cache_changes_while_told)
{
	struct fixture f;

	set_up(&f);
	f.dns.a = (struct fake_names_say){ .count = 4, .first = 5 };
	ask(&f, 0, "a.test", AF_INET);
	wait_answers(&f, 1);
	f.forget = true;
	ask(&f, 1, "a.test", AF_INET);
	check_answer(&f, 1, 1, ARES_IO_OK, "127.0.0.5");
	ask(&f, 2, "a.test", AF_INET);
	ck_assert_uint_eq(f.answer_count, 2);
	wait_answers(&f, 3);
	tear_down(&f);
}
END_TEST

START_TEST(test_no_answer)
{
	struct fixture f;

	set_up(&f);
	f.dns.hold = true;
	ask(&f, 0, "a.test", AF_INET);
	wait_questions(&f, 1);
	clock_jump(f.loop, TIMEOUT_MS - 100);
	wait_questions(&f, 1);
	ck_assert_uint_eq(f.answer_count, 0);
	for (unsigned i = 0; i < TRIES_MS / 100 && f.answer_count == 0; i++) {
		clock_jump(f.loop, 100);
	}
	wait_answers(&f, 1);
	check_answer(&f, 0, 0, ARES_IO_TIMEOUT, NULL);
	ck_assert_uint_eq(f.dns.dns.udp_count, 2);
	/* Remembered for a moment, as a failure. */
	ask(&f, 1, "a.test", AF_INET);
	check_answer(&f, 1, 1, ARES_IO_SERVFAIL, NULL);
	tear_down(&f);
}
END_TEST

/* --- a reload, and the end ------------------------------------------------------------------- */

START_TEST(test_configure)
{
	struct fixture f;
	struct fake_names other;
	struct dns_params params;
	struct addr both[2];

	set_up(&f);
	fake_names_start(&other, f.loop);
	both[0] = other.dns.addr;
	both[1] = f.dns.dns.addr;
	other.a.first = 9;
	ask(&f, 0, "a.test", AF_INET);
	wait_answers(&f, 1);
	/* The same servers: nothing is forgotten, and nothing is cancelled. */
	f.dns.hold = true;
	ask(&f, 1, "b.test", AF_INET);
	wait_questions(&f, 2);
	ck_assert_int_eq(resolver_configure(f.resolver, &f.params), 0);
	ask(&f, 2, "a.test", AF_INET);
	check_answer(&f, 1, 2, ARES_IO_OK, "127.0.0.1");
	/* Others: all is. */
	params = f.params;
	params.servers.items = &other.dns.addr;
	ck_assert_int_eq(resolver_configure(f.resolver, &params), 0);
	ck_assert_uint_eq(f.answer_count, 3);
	check_answer(&f, 2, 1, ARES_IO_CANCELLED, NULL);
	ask(&f, 3, "a.test", AF_INET);
	ask(&f, 4, "b.test", AF_INET);
	wait_answers(&f, 5);
	check_answer(&f, 3, 3, ARES_IO_OK, "127.0.0.9");
	check_answer(&f, 4, 4, ARES_IO_OK, "127.0.0.9");
	ck_assert_uint_eq(f.dns.dns.udp_count, 2);
	/* So it is with one more, */
	params.servers = (struct addr_list){ .items = both, .count = 2 };
	ck_assert_int_eq(resolver_configure(f.resolver, &params), 0);
	ask(&f, 7, "a.test", AF_INET);
	ck_assert_uint_eq(f.answer_count, 5);
	wait_answers(&f, 6);
	check_answer(&f, 5, 7, ARES_IO_OK, "127.0.0.9");
	f.answer_count = 5;
	/* and with one less. Then the cache is to keep nothing. */
	params.servers.count = 1;
	ck_assert_int_eq(resolver_configure(f.resolver, &params), 0);
	ask(&f, 8, "a.test", AF_INET);
	ck_assert_uint_eq(f.answer_count, 5);
	wait_answers(&f, 6);
	f.answer_count = 5;
	params.cache_names = 0;
	ck_assert_int_eq(resolver_configure(f.resolver, &params), 0);
	ask(&f, 5, "a.test", AF_INET);
	wait_answers(&f, 6);
	ask(&f, 6, "a.test", AF_INET);
	ck_assert_uint_eq(f.answer_count, 6);
	wait_answers(&f, 7);
	ck_assert_uint_eq(other.a_count, 6);
	fake_names_stop(&other);
	tear_down(&f);
}
END_TEST

/* Those whose lookup is cancelled ask the new servers at once: for what the others, which are still
 * to be told, were waiting for as well. */
START_TEST(test_asked_again_while_cancelled)
{
	static const char *const names[] = { "a.test", "b.test", "c.test" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct fixture f;
		struct fake_names other;
		struct dns_params params;

		set_up(&f);
		fake_names_start(&other, f.loop);
		other.a.first = 9;
		params = f.params;
		params.servers.items = &other.dns.addr;
		f.dns.hold = true;
		for (int k = 0; k < (int)ARRAY_SIZE(names); k++) {
			ask(&f, k, names[k], AF_INET);
		}
		wait_questions(&f, ARRAY_SIZE(names));
		f.next = names[i];
		f.next_count = ARRAY_SIZE(names);
		ck_assert_int_eq(resolver_configure(f.resolver, &params), 0);
		wait_answers(&f, 2 * ARRAY_SIZE(names));
		for (unsigned k = 0; k < f.answer_count; k++) {
			ck_assert_int_eq(f.answers[k].status,
					 f.answers[k].id < 10 ? ARES_IO_CANCELLED : ARES_IO_OK);
		}
		ck_assert_uint_eq(other.a_count, 1);
		fake_names_stop(&other);
		tear_down(&f);
	}
}
END_TEST

/* Everybody is told once, who asks again then as well. */
START_TEST(test_free)
{
	struct fixture f;

	set_up(&f);
	f.dns.hold = true;
	ask(&f, 0, "a.test", AF_INET);
	ask(&f, 1, "a.test", AF_INET);
	ask(&f, 2, "b.test", AF_INET6);
	wait_questions(&f, 2);
	f.next = "b.test";
	f.next_count = 2;
	resolver_free(f.resolver);
	f.resolver = NULL;
	clock_settle(f.loop);
	ck_assert_uint_eq(f.answer_count, 5);
	for (unsigned i = 0; i < f.answer_count; i++) {
		ck_assert_int_eq(f.answers[i].status, ARES_IO_CANCELLED);
	}
	resolver_free(NULL);
	tear_down(&f);
}
END_TEST

SUITE_MAIN("resolver", test_joined, test_answered_out_of_order, test_asked_again_while_told,
	   test_remembered, test_many_addresses, test_families_are_apart,
	   test_the_cache_changes_while_told, test_no_answer, test_configure,
	   test_asked_again_while_cancelled, test_free)
