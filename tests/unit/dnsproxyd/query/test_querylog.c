/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/querylog.h"

#include "common/container.h"

#include "tests/unit/suite.h"

START_TEST(test_clients_by_privacy_level)
{
	/* In the order of the choices: full, network, none. */
	static const struct {
		const char *client;
		const char *texts[3];
	} rows[] = {
		{ "192.168.7.33", { "192.168.7.33", "192.168.7.0/24", "-" } },
		{ "::ffff:192.168.7.33", { "192.168.7.33", "192.168.7.0/24", "-" } },
		{ "fd00:1:2:3::77", { "fd00:1:2:3::77", "fd00:1:2::/48", "-" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct addr client;

		ck_assert_int_eq(addr_parse_ip(rows[i].client, &client), 0);
		for (int level = 0; level < 3; level++) {
			const struct log_params params = { .clients = level };
			char buf[ADDR_TEXT_MAX];

			ck_assert_str_eq(querylog_client(&params, &client, buf),
					 rows[i].texts[level]);
		}
	}
}
END_TEST

START_TEST(test_levels)
{
	const struct log_params off = { .query_log = false };
	const struct log_params on = { .query_log = true };

	log_set_level(LOG_LEVEL_INFO);
	ck_assert(!querylog_wanted(&off));
	ck_assert(querylog_wanted(&on));
	log_set_level(LOG_LEVEL_DEBUG);
	ck_assert(querylog_wanted(&off));
	log_set_level(LOG_LEVEL_NOTICE);
	ck_assert(!querylog_wanted(&on));
}
END_TEST

SUITE_MAIN("querylog", test_clients_by_privacy_level, test_levels)
