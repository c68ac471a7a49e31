/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/session/slots.h"

#include "tests/unit/suite.h"

static const struct {
	size_t limit;
	size_t in_use;
	unsigned workers;
	size_t slots;
} cases[] = {
	/* 44 left, 22 of them spare */
	{ 64, 20, 1, 11 },
	{ 64, 20, 2, 5 },
	{ 64, 20, 11, 1 },
	/* always one, whatever the limit */
	{ 64, 20, 256, 1 },
	{ 64, 50, 1, 1 },
	{ 64, 64, 1, 1 },
	{ 10, 64, 1, 1 },
	/* 16 spare at least, 512 at most */
	{ 44, 20, 1, 4 },
	{ 1044, 20, 1, 256 },
	{ 20020, 20, 2, 4872 },
	{ 1048596, 20, 4, 131008 },
};

START_TEST(test_slots)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_msg(slots_per_worker(cases[i].limit, cases[i].in_use, cases[i].workers) ==
				      cases[i].slots,
			      "case %zu: %zu", i,
			      slots_per_worker(cases[i].limit, cases[i].in_use, cases[i].workers));
	}
}
END_TEST

SUITE_MAIN("slots", test_slots)
