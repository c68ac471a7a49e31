/* SPDX-License-Identifier: ISC */
#include "socksd/config.h"

#include "tests/unit/suite.h"

#include <string.h>

#define A "[listen a]\naddress = 127.0.0.1:1080\n"

/* The configuration that the text makes, or NULL with *reterr. */
static struct config *make(const char *text, struct params **ret_params, struct ini_error *reterr)
{
	*ret_params = params_new(&config_schema);
	ck_assert_ptr_nonnull(*ret_params);
	if (params_read_bytes(*ret_params, "test.conf", text, strlen(text), reterr) < 0 ||
	    params_finish(*ret_params, reterr) < 0) {
		return NULL;
	}
	return config_new(*ret_params, reterr);
}

START_TEST(test_faults)
{
	static const struct {
		const char *text;
		const char *error; /* beginning; NULL: none */
	} table[] = {
		{ "", NULL },
		{ A, NULL },
		{ A "[listen b]\naddress = 127.0.0.1:1081, [::1]:1080\n", NULL },
		{ A "[listen b]\naddress = 127.0.0.1:1080\n",
		  "test.conf:4: address 127.0.0.1:1080 " },
		{ "[listen a]\naddress = 127.0.0.1, 127.0.0.1:1080\n", "test.conf:2: address " },
		{ "[listen a]\nauth = none\n", "test.conf:" },
		{ A "auth = password\n", "test.conf:3: auth = password without a users file" },
		{ A "users = /nonexistent\n", "test.conf:3: a users file that auth = none" },
		{ A "auth = password\nusers = /nonexistent/users\n", "test.conf:4: " },
		{ A "clients = any\n", "test.conf:3: auth = none with clients = any is an open " },
		{ A "clients = any\nopen-proxy = yes\n", NULL },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct ini_error error = { "" };
		struct params *params;
		struct config *config = make(table[i].text, &params, &error);

		ck_assert_msg((config == NULL) == (table[i].error != NULL), "%s: %s", table[i].text,
			      error.text);
		ck_assert_msg(
			config || strncmp(error.text, table[i].error, strlen(table[i].error)) == 0,
			"%s: %s", table[i].text, error.text);
		config_free(config);
		params_free(params);
	}
}
END_TEST

START_TEST(test_find_listen)
{
	static const struct {
		const char *address;
		const char *section;
	} table[] = {
		{ "127.0.0.1:1080", "a" },  { "[::1]:1080", "b" },      { "127.0.0.1:1081", "b" },
		{ "127.0.0.2:1080", NULL }, { "127.0.0.1:1082", NULL },
	};
	struct ini_error error;
	struct params *params;
	struct config *config =
		make(A "[listen b]\naddress = 127.0.0.1:1081, [::1]\n", &params, &error);

	ck_assert_ptr_nonnull(config);
	ck_assert_uint_eq(config->listens.count, 2);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const struct listen_config *found;
		struct addr a;

		ck_assert_int_eq(addr_parse(table[i].address, 1, &a), 0);
		found = config_find_listen(config, &a);
		ck_assert_msg((found == NULL) == (table[i].section == NULL), "%s",
			      table[i].address);
		ck_assert(!found || strcmp(found->name, table[i].section) == 0);
	}
	config_free(config);
	params_free(params);
}
END_TEST

SUITE_MAIN("config", test_faults, test_find_listen)
