/* SPDX-License-Identifier: ISC */
#include "common/stream/tls_time.h"

#include "tests/unit/suite.h"

#include "build_config.h"

START_TEST(test_right_clock)
{
	static const int64_t later[] = { 0, 1, 86400, INT64_C(86400) * 365 * 50 };

	for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
		struct tls_time time = tls_time_judge(BUILD_TIME + later[i]);

		ck_assert_int_eq(time.unix_s, BUILD_TIME + later[i]);
		ck_assert_int_eq(time.early_until_s, 0);
		ck_assert(!tls_time_is_wrong(BUILD_TIME + later[i]));
	}
}
END_TEST

START_TEST(test_wrong_clock)
{
	static const int64_t clocks[] = { -1, 0, 1, 946684800, BUILD_TIME - 1 };

	for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
		struct tls_time time = tls_time_judge(clocks[i]);

		ck_assert(tls_time_is_wrong(clocks[i]));
		ck_assert_int_eq(time.unix_s, BUILD_TIME);
		ck_assert_int_eq(time.early_until_s - BUILD_TIME, INT64_C(3650) * 86400);
	}
}
END_TEST

/* Whoever builds this does it today, or reproduces it. */
START_TEST(test_build_time)
{
	ck_assert_int_ge(BUILD_TIME, INT64_C(1767225600)); /* 2026 */
}
END_TEST

SUITE_MAIN("tls_time", test_right_clock, test_wrong_clock, test_build_time)
