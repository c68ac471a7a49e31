/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/target/eyeballs.h"

#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>

enum {
	START_MS = 1000,
};

static struct addr parse(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(text, 80, &a), 0);
	return a;
}

static void add(struct eyeballs *e, const char *text)
{
	const struct addr a = parse(text);

	eyeballs_add(e, &a);
}

static void answer(struct eyeballs *e, uint64_t now_ms)
{
	eyeballs_answered(e, now_ms);
}

/* It says to try this address now; the attempt begins. */
static void expect_try(struct eyeballs *e, uint64_t now_ms, const char *text)
{
	const struct addr wanted = parse(text);
	struct addr got;
	uint64_t due_ms;
	char buf[ADDR_TEXT_MAX];

	ck_assert_int_eq(eyeballs_next(e, now_ms, &got, &due_ms), EYEBALLS_TRY);
	ck_assert_msg(addr_equal(&got, &wanted), "%s instead of %s",
		      addr_format(&got, buf, sizeof buf), text);
	eyeballs_started(e, now_ms);
}

static void expect_wait(struct eyeballs *e, uint64_t now_ms, uint64_t wanted_ms)
{
	struct addr got;
	uint64_t due_ms = 0;

	ck_assert_int_eq(eyeballs_next(e, now_ms, &got, &due_ms), EYEBALLS_WAIT);
	ck_assert_uint_eq(due_ms, wanted_ms);
}

static void expect_exhausted(struct eyeballs *e, uint64_t now_ms)
{
	struct addr got;
	uint64_t due_ms;

	ck_assert_int_eq(eyeballs_next(e, now_ms, &got, &due_ms), EYEBALLS_EXHAUSTED);
}

/* Addresses of both families, in the order in which DNS gave them, and in that of the attempts. */
static const struct {
	const char *given[8];
	const char *tried[8];
} order_cases[] = {
	{ { "192.0.2.1" }, { "192.0.2.1" } },
	{ { "[2001:db8::1]" }, { "[2001:db8::1]" } },
	{ { "192.0.2.1", "[2001:db8::1]" }, { "[2001:db8::1]", "192.0.2.1" } },
	{ { "192.0.2.1", "192.0.2.2", "[2001:db8::1]", "[2001:db8::2]" },
	  { "[2001:db8::1]", "192.0.2.1", "[2001:db8::2]", "192.0.2.2" } },
	{ { "[2001:db8::1]", "[2001:db8::2]", "[2001:db8::3]", "192.0.2.1" },
	  { "[2001:db8::1]", "192.0.2.1", "[2001:db8::2]", "[2001:db8::3]" } },
	{ { "192.0.2.1", "192.0.2.2", "192.0.2.3", "[2001:db8::1]" },
	  { "[2001:db8::1]", "192.0.2.1", "192.0.2.2", "192.0.2.3" } },
	{ { "192.0.2.1", "192.0.2.1", "[2001:db8::1]", "[2001:db8::1]" },
	  { "[2001:db8::1]", "192.0.2.1" } },
};

START_TEST(test_families_take_turns)
{
	for (size_t i = 0; i < ARRAY_SIZE(order_cases); i++) {
		struct eyeballs e = { 0 };
		uint64_t now_ms = START_MS;

		for (int k = 0; order_cases[i].given[k]; k++) {
			add(&e, order_cases[i].given[k]);
		}
		for (int k = 0; order_cases[i].tried[k]; k++) {
			expect_try(&e, now_ms, order_cases[i].tried[k]);
			eyeballs_failed(&e);
		}
		expect_exhausted(&e, now_ms);
	}
}
END_TEST

START_TEST(test_attempts_are_staggered)
{
	struct eyeballs e = { 0 };

	add(&e, "192.0.2.1");
	add(&e, "[2001:db8::1]");
	add(&e, "192.0.2.2");
	expect_try(&e, START_MS, "[2001:db8::1]");
	expect_wait(&e, START_MS, START_MS + 250);
	expect_wait(&e, START_MS + 249, START_MS + 250);
	expect_try(&e, START_MS + 250, "192.0.2.1");
	expect_wait(&e, START_MS + 250, START_MS + 500);
	/* A failure brings the next at once, and that has its time again. */
	eyeballs_failed(&e);
	expect_try(&e, START_MS + 260, "192.0.2.2");
	expect_wait(&e, START_MS + 260, UINT64_MAX);
	eyeballs_failed(&e);
	expect_wait(&e, START_MS + 270, UINT64_MAX);
	eyeballs_failed(&e);
	expect_exhausted(&e, START_MS + 280);
}
END_TEST

START_TEST(test_so_many_at_once)
{
	struct eyeballs e = { 0 };
	char text[32];

	for (int i = 1; i <= 2 * EYEBALLS_PER_FAMILY; i++) {
		snprintf(text, sizeof text, "192.0.2.%d", i);
		add(&e, text);
	}
	for (int i = 1; i <= EYEBALLS_AT_ONCE; i++) {
		snprintf(text, sizeof text, "192.0.2.%d", i);
		expect_try(&e, START_MS + 250 * (uint64_t)i, text);
	}
	expect_wait(&e, START_MS + 100000, UINT64_MAX);
	/* One fails, one takes its place; all in all as many as there may be addresses. */
	for (int i = EYEBALLS_AT_ONCE + 1; i <= EYEBALLS_PER_FAMILY; i++) {
		eyeballs_failed(&e);
		snprintf(text, sizeof text, "192.0.2.%d", i);
		expect_try(&e, START_MS + 100000, text);
		expect_wait(&e, START_MS + 100000, UINT64_MAX);
	}
	for (int i = 0; i < EYEBALLS_AT_ONCE; i++) {
		expect_wait(&e, START_MS + 100000, UINT64_MAX);
		eyeballs_failed(&e);
	}
	expect_exhausted(&e, START_MS + 100000);
}
END_TEST

START_TEST(test_an_address_that_may_not_be_tried_costs_no_time)
{
	struct eyeballs e = { 0 };
	struct addr got;
	uint64_t due_ms;

	add(&e, "[2001:db8::1]");
	add(&e, "192.0.2.1");
	/* Not started: denied by a rule. */
	ck_assert_int_eq(eyeballs_next(&e, START_MS, &got, &due_ms), EYEBALLS_TRY);
	expect_try(&e, START_MS, "192.0.2.1");
}
END_TEST

START_TEST(test_ipv4_waits_a_moment_for_ipv6)
{
	struct eyeballs e = { 0 };

	eyeballs_expect(&e, 2);
	expect_wait(&e, START_MS, UINT64_MAX);
	add(&e, "192.0.2.1");
	answer(&e, START_MS);
	expect_wait(&e, START_MS, START_MS + 50);
	/* In time. */
	add(&e, "[2001:db8::1]");
	answer(&e, START_MS + 49);
	expect_try(&e, START_MS + 49, "[2001:db8::1]");
	expect_wait(&e, START_MS + 49, START_MS + 49 + 250);
}
END_TEST

START_TEST(test_ipv4_goes_ahead_when_there_is_no_ipv6)
{
	struct eyeballs e = { 0 };

	eyeballs_expect(&e, 2);
	add(&e, "192.0.2.1");
	answer(&e, START_MS);
	answer(&e, START_MS + 10);
	expect_try(&e, START_MS + 10, "192.0.2.1");
	eyeballs_failed(&e);
	expect_exhausted(&e, START_MS + 20);
}
END_TEST

START_TEST(test_ipv6_waits_for_nobody)
{
	struct eyeballs e = { 0 };

	eyeballs_expect(&e, 2);
	add(&e, "[2001:db8::1]");
	answer(&e, START_MS);
	expect_try(&e, START_MS, "[2001:db8::1]");
	expect_wait(&e, START_MS, UINT64_MAX);
	add(&e, "192.0.2.1");
	answer(&e, START_MS + 20);
	expect_wait(&e, START_MS + 20, START_MS + 250);
	expect_try(&e, START_MS + 250, "192.0.2.1");
}
END_TEST

/* They must not wait for the attempt that hangs. */
START_TEST(test_addresses_that_come_late_are_tried)
{
	struct eyeballs e = { 0 };

	eyeballs_expect(&e, 2);
	add(&e, "192.0.2.1");
	answer(&e, START_MS);
	expect_try(&e, START_MS + 50, "192.0.2.1");
	expect_wait(&e, START_MS + 300, UINT64_MAX);
	add(&e, "[2001:db8::1]");
	answer(&e, START_MS + 1000);
	expect_try(&e, START_MS + 1000, "[2001:db8::1]");
	expect_wait(&e, START_MS + 1000, UINT64_MAX);
}
END_TEST

START_TEST(test_nothing_found)
{
	struct eyeballs e = { 0 };

	eyeballs_expect(&e, 2);
	answer(&e, START_MS);
	expect_wait(&e, START_MS, UINT64_MAX);
	answer(&e, START_MS + 5);
	expect_exhausted(&e, START_MS + 5);
}
END_TEST

SUITE_MAIN("eyeballs", test_families_take_turns, test_attempts_are_staggered, test_so_many_at_once,
	   test_an_address_that_may_not_be_tried_costs_no_time, test_ipv4_waits_a_moment_for_ipv6,
	   test_ipv4_goes_ahead_when_there_is_no_ipv6, test_ipv6_waits_for_nobody,
	   test_addresses_that_come_late_are_tried, test_nothing_found)
