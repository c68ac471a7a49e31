/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/client_counts.h"

#include "tests/unit/suite.h"

#include <stdio.h>

static const struct crypto_key key = { { 9 } };

static struct addr ip(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_ip(text, &a), 0);
	return a;
}

START_TEST(test_limit_per_client)
{
	struct client_counts *counts = client_counts_new(&key);
	const struct addr v4 = ip("192.0.2.1");
	const struct addr mapped = ip("::ffff:192.0.2.1");
	const struct addr other = ip("192.0.2.2");
	const struct addr v6 = ip("2001:db8::1");
	const struct addr same_net = ip("2001:db8::ffff:1");
	const struct addr other_net = ip("2001:db8:0:1::1");

	ck_assert(client_counts_add(counts, &v4, 2));
	ck_assert(client_counts_add(counts, &mapped, 2));
	ck_assert_msg(!client_counts_add(counts, &v4, 2), "the mapped form is the same client");
	ck_assert(client_counts_add(counts, &other, 2));
	ck_assert(client_counts_add(counts, &v6, 1));
	ck_assert_msg(!client_counts_add(counts, &same_net, 1), "a /64 is one client");
	ck_assert(client_counts_add(counts, &other_net, 1));
	ck_assert_uint_eq(client_counts_total(counts), 5);
	client_counts_remove(counts, &v4);
	ck_assert(client_counts_add(counts, &v4, 2));
	client_counts_remove(counts, &v4);
	client_counts_remove(counts, &v4);
	ck_assert(client_counts_add(counts, &v4, 1));
	ck_assert(!client_counts_add(counts, &v4, 1));
	client_counts_free(counts);
	client_counts_free(NULL);
}
END_TEST

START_TEST(test_many_clients)
{
	struct client_counts *counts = client_counts_new(&key);
	char text[32];

	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 5000; i++) {
			struct addr a;

			snprintf(text, sizeof text, "10.0.%u.%u", i >> 8, i & 255);
			a = ip(text);
			ck_assert(client_counts_add(counts, &a, 1));
		}
		ck_assert_uint_eq(client_counts_total(counts), 5000);
		for (unsigned i = 0; i < 5000; i++) {
			struct addr a;

			snprintf(text, sizeof text, "10.0.%u.%u", i >> 8, i & 255);
			a = ip(text);
			client_counts_remove(counts, &a);
		}
		ck_assert_uint_eq(client_counts_total(counts), 0);
	}
	client_counts_free(counts);
}
END_TEST

SUITE_MAIN("client_counts", test_limit_per_client, test_many_clients)
