/* SPDX-License-Identifier: ISC */
/*
 * The main() of every unit test program: one suite, run as the environment says (TAP under `make
 * check`, readable text when started by hand).
 */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include "build_config.h"

#include <check.h>
#include <stdlib.h>

/* Takes ownership of suite. */
static inline int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

#ifdef WITH_SANITIZER
	/* One process, so that leaks are looked for once, at its end. */
	srunner_set_fork_status(runner, CK_NOFORK);
#endif
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A suite of one case: SUITE_MAIN("addr", test_a, test_b) */
#define SUITE_MAIN(name, ...)                                                 \
	int main(void)                                                        \
	{                                                                     \
		const TTest *const tests[] = { __VA_ARGS__ };                 \
		Suite *suite = suite_create(name);                            \
		TCase *tcase = tcase_create(name);                            \
                                                                              \
		tcase_set_timeout(tcase, 60);                                 \
		for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) { \
			tcase_add_test(tcase, tests[i]);                      \
		}                                                             \
		suite_add_tcase(suite, tcase);                                \
		return suite_run(suite);                                      \
	}

#endif
