/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/udp/udp_rate.h"

#include "tests/unit/suite.h"

/* How many datagrams of a length pass in a time, one being tried every millisecond. */
static unsigned passed(const struct udp_rate_limits *limits, size_t len, uint64_t ms)
{
	struct udp_rate rate = { 0 };
	unsigned count = 0;

	for (uint64_t now_ms = 5000; now_ms < 5000 + ms; now_ms++) {
		for (int i = 0; i < 20; i++) {
			count += udp_rate_take(&rate, limits, len, now_ms);
		}
	}
	return count;
}

START_TEST(test_rates)
{
	static const struct {
		struct udp_rate_limits limits;
		size_t len;
		unsigned least; /* in 10 s */
		unsigned most;
	} cases[] = {
		{ { 0, 0 }, 1000, 200000, 200000 },
		{ { 1, 0 }, 1000, 10, 11 },
		{ { 100, 0 }, 0, 1000, 1011 },
		{ { 1000, 0 }, 65507, 10000, 10101 },
		{ { 0, 100000 }, 1000, 1000, 1011 },
		{ { 0, 100000 }, 0, 200000, 200000 },
		/* A datagram longer than what a second allows is held up, not shut out. */
		{ { 0, 10000 }, 60000, 2, 2 },
		{ { 50, 100000 }, 1000, 500, 506 },
		{ { 1000000000, 1099511627776 }, 65507, 200000, 200000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned count = passed(&cases[i].limits, cases[i].len, 10000);

		ck_assert_msg(count >= cases[i].least && count <= cases[i].most, "case %zu: %u", i,
			      count);
	}
}
END_TEST

/* After a pause no more than the burst passes. */
START_TEST(test_burst)
{
	const struct udp_rate_limits limits = { 100, 0 };
	struct udp_rate rate = { 0 };
	unsigned count = 0;

	ck_assert(udp_rate_take(&rate, &limits, 1, 0));
	for (int i = 0; i < 1000; i++) {
		count += udp_rate_take(&rate, &limits, 1, 86400000);
	}
	ck_assert_uint_eq(count, 11);
}
END_TEST

SUITE_MAIN("udp_rate", test_rates, test_burst)
