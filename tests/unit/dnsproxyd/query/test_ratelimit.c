/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/ratelimit.h"

#include "tests/unit/suite.h"

#include <stdio.h>

static uint64_t hash_for_tests(const struct crypto_key *key, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;
	uint64_t hash = 0xcbf29ce484222325u ^ key->bytes[0];

	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	}
	return hash * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 29;
}

static struct ratelimit *new_limit(void)
{
	const struct crypto_key key = { { 3 } };

	return ratelimit_new(hash_for_tests, &key);
}

static struct addr ip(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_ip(text, &a), 0);
	return a;
}

/* How many of `queries` at one time get each verdict. */
static void take_many(struct ratelimit *limit, const char *client, unsigned queries,
		      uint64_t now_ms, unsigned ret_counts[3])
{
	const struct addr a = ip(client);

	ret_counts[0] = ret_counts[1] = ret_counts[2] = 0;
	for (unsigned i = 0; i < queries; i++) {
		ret_counts[ratelimit_take(limit, &a, 10, 20, now_ms)]++;
	}
}

START_TEST(test_burst_then_truncate_then_drop)
{
	struct ratelimit *limit = new_limit();
	unsigned counts[3];

	take_many(limit, "192.0.2.1", 100, 5000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_OK], 20);
	ck_assert_uint_eq(counts[RATELIMIT_TRUNCATE], 20);
	ck_assert_uint_eq(counts[RATELIMIT_DROP], 60);
	/* Another client is not touched, the same one in its mapped form is. */
	take_many(limit, "192.0.2.2", 5, 5000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_OK], 5);
	take_many(limit, "::ffff:192.0.2.1", 5, 5000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_DROP], 5);
	/* Ten a second: after 2.5 s the 20 over the burst are worked off, and 5 of it are free. */
	take_many(limit, "192.0.2.1", 6, 7500, counts);
	ck_assert_uint_eq(counts[RATELIMIT_OK], 5);
	ck_assert_uint_eq(counts[RATELIMIT_TRUNCATE], 1);
	/* Long after, it has its whole burst and not more. */
	take_many(limit, "192.0.2.1", 30, 5000000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_OK], 20);
	ratelimit_free(limit);
	ratelimit_free(NULL);
}
END_TEST

START_TEST(test_ipv6_by_network)
{
	struct ratelimit *limit = new_limit();
	unsigned counts[3];

	take_many(limit, "2001:db8::1", 20, 1000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_OK], 20);
	take_many(limit, "2001:db8::dead:beef", 1, 1000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_TRUNCATE], 1);
	take_many(limit, "2001:db8:0:1::1", 1, 1000, counts);
	ck_assert_uint_eq(counts[RATELIMIT_OK], 1);
	ratelimit_free(limit);
}
END_TEST

START_TEST(test_many_clients)
{
	struct ratelimit *limit = new_limit();
	unsigned slowed = 0;
	char text[32];
	unsigned counts[3];

	/* 20,000 clients within their limits: nobody pays for another. */
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		take_many(limit, text, 15, 1000, counts);
		slowed += counts[RATELIMIT_TRUNCATE] + counts[RATELIMIT_DROP];
	}
	ck_assert_uint_eq(slowed, 0);
	ratelimit_free(limit);
}
END_TEST

SUITE_MAIN("ratelimit", test_burst_then_truncate_then_drop, test_ipv6_by_network, test_many_clients)
