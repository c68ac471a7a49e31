/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/target/names.h"

#include "tests/unit/suite.h"

#include <stdio.h>

static struct names *make(size_t max_entries, size_t max_bytes)
{
	const struct names_config config = { .max_entries = max_entries, .max_bytes = max_bytes };
	struct names *names = names_new(&config);

	ck_assert_ptr_nonnull(names);
	return names;
}

static struct addr ip(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_ip(text, &a), 0);
	return a;
}

static enum names_result get(struct names *names, const char *name, int family, uint64_t now_ms)
{
	const struct addr *addresses;
	size_t count;
	enum names_result result = names_get(names, name, family, now_ms, &addresses, &count);

	ck_assert((result == NAMES_FOUND) == (count > 0));
	return result;
}

static void put_one(struct names *names, const char *name, uint64_t ttl_ms, uint64_t now_ms)
{
	const struct addr a = ip("192.0.2.1");

	names_put(names, name, AF_INET, NAMES_FOUND, &a, 1, ttl_ms, now_ms);
}

START_TEST(test_found)
{
	struct names *names = make(10, 100000);
	const struct addr ipv4[] = { ip("192.0.2.1"), ip("192.0.2.2") };
	const struct addr ipv6[] = { ip("2001:db8::1") };
	const struct addr *addresses;
	size_t count;

	names_put(names, "a.example", AF_INET, NAMES_FOUND, ipv4, 2, 5000, 100);
	names_put(names, "a.example", AF_INET6, NAMES_FOUND, ipv6, 1, 6000, 100);
	ck_assert_int_eq(names_get(names, "a.example", AF_INET, 5099, &addresses, &count),
			 NAMES_FOUND);
	ck_assert_uint_eq(count, 2);
	ck_assert(addr_equal(&addresses[0], &ipv4[0]) && addr_equal(&addresses[1], &ipv4[1]));
	ck_assert_int_eq(names_get(names, "a.example", AF_INET6, 5099, &addresses, &count),
			 NAMES_FOUND);
	ck_assert_uint_eq(count, 1);
	ck_assert(addr_equal(&addresses[0], &ipv6[0]));
	/* To the millisecond, and each family for itself. */
	ck_assert_int_eq(get(names, "a.example", AF_INET, 5100), NAMES_MISS);
	ck_assert_int_eq(get(names, "a.example", AF_INET6, 5100), NAMES_FOUND);
	ck_assert_int_eq(get(names, "a.example", AF_INET6, 6100), NAMES_MISS);
	ck_assert_int_eq(get(names, "b.example", AF_INET, 100), NAMES_MISS);
	ck_assert_uint_eq(names_count(names), 0);
	ck_assert_uint_eq(names_bytes(names), 0);
	names_free(names);
}
END_TEST

START_TEST(test_lifetimes)
{
	static const struct {
		enum names_result result;
		uint64_t ttl_ms;
		uint64_t life_ms; /* 0: not kept */
	} cases[] = {
		{ NAMES_FOUND, 0, 0 },
		{ NAMES_FOUND, 1000, 1000 },
		{ NAMES_FOUND, UINT64_MAX, NAMES_TTL_MAX_MS },
		{ NAMES_NO_NAME, 0, NAMES_NEGATIVE_MS },
		{ NAMES_NO_DATA, 999999, NAMES_NEGATIVE_MS },
		{ NAMES_FAILED, 0, NAMES_FAILURE_MS },
		{ NAMES_MISS, 1000, 0 },
	};
	const struct addr a = ip("192.0.2.1");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct names *names = make(10, 100000);
		size_t count = cases[i].result == NAMES_FOUND ? 1 : 0;

		names_put(names, "x.example", AF_INET, cases[i].result, &a, count, cases[i].ttl_ms,
			  50);
		ck_assert_uint_eq(names_count(names), cases[i].life_ms > 0 ? 1 : 0);
		if (cases[i].life_ms > 0) {
			uint64_t end_ms = 50 + cases[i].life_ms;

			ck_assert_int_eq(get(names, "x.example", AF_INET, end_ms - 1),
					 cases[i].result);
			ck_assert_int_eq(get(names, "x.example", AF_INET, end_ms), NAMES_MISS);
		}
		names_free(names);
	}
}
END_TEST

START_TEST(test_replace)
{
	struct names *names = make(10, 100000);

	put_one(names, "a.example", 1000, 0);
	names_put(names, "a.example", AF_INET, NAMES_NO_NAME, NULL, 0, 0, 10);
	ck_assert_uint_eq(names_count(names), 1);
	ck_assert_int_eq(get(names, "a.example", AF_INET, 20), NAMES_NO_NAME);
	/* A newer answer that may not be kept ends the old one too. */
	put_one(names, "a.example", 0, 30);
	ck_assert_int_eq(get(names, "a.example", AF_INET, 30), NAMES_MISS);
	names_free(names);
}
END_TEST

START_TEST(test_least_recently_used_goes)
{
	struct names *names = make(3, 100000);

	put_one(names, "a.example", 9000, 0);
	put_one(names, "b.example", 9000, 0);
	put_one(names, "c.example", 9000, 0);
	ck_assert_int_eq(get(names, "a.example", AF_INET, 1), NAMES_FOUND);
	put_one(names, "d.example", 9000, 2);
	ck_assert_uint_eq(names_count(names), 3);
	ck_assert_int_eq(get(names, "b.example", AF_INET, 3), NAMES_MISS);
	ck_assert_int_eq(get(names, "a.example", AF_INET, 3), NAMES_FOUND);
	ck_assert_int_eq(get(names, "c.example", AF_INET, 3), NAMES_FOUND);
	ck_assert_int_eq(get(names, "d.example", AF_INET, 3), NAMES_FOUND);
	names_limit(names, 1, 100000);
	ck_assert_uint_eq(names_count(names), 1);
	ck_assert_int_eq(get(names, "d.example", AF_INET, 3), NAMES_FOUND);
	names_limit(names, 0, 100000);
	put_one(names, "e.example", 9000, 4);
	ck_assert_uint_eq(names_count(names), 0);
	names_free(names);
}
END_TEST

START_TEST(test_bounds)
{
	enum {
		MAX_BYTES = 20000
	};
	struct names *names = make(100000, MAX_BYTES);
	struct addr many[NAMES_ADDRESSES_MAX + 5];
	const struct addr *addresses;
	size_t count;
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = ip("2001:db8::1");
	}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "n%u.example", i);
		names_put(names, name, AF_INET6, NAMES_FOUND, many, ARRAY_SIZE(many), 1000, 0);
		ck_assert_uint_le(names_bytes(names), MAX_BYTES);
		/* What was put last is always there. */
		ck_assert_int_eq(names_get(names, name, AF_INET6, 0, &addresses, &count),
				 NAMES_FOUND);
		ck_assert_uint_eq(count, NAMES_ADDRESSES_MAX);
	}
	ck_assert_uint_gt(names_count(names), 30);
	/* Larger than all the room there is. */
	names_limit(names, 10, 100);
	names_put(names, name, AF_INET6, NAMES_FOUND, many, 8, 1000, 0);
	ck_assert_uint_eq(names_count(names), 0);
	names_free(names);
}
END_TEST

/* The table grows; nothing gets lost on the way. */
START_TEST(test_many)
{
	struct names *names = make(5000, 10u << 20);
	char name[32];

	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "n%u.example", i);
		put_one(names, name, 1000 + i, 0);
	}
	ck_assert_uint_eq(names_count(names), 5000);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "n%u.example", i);
		ck_assert_int_eq(get(names, name, AF_INET, 2000),
				 i > 1000 ? NAMES_FOUND : NAMES_MISS);
	}
	names_clear(names);
	ck_assert_uint_eq(names_count(names), 0);
	ck_assert_uint_eq(names_bytes(names), 0);
	names_free(names);
	names_free(NULL);
}
END_TEST

SUITE_MAIN("names", test_found, test_lifetimes, test_replace, test_least_recently_used_goes,
	   test_bounds, test_many)
