/* SPDX-License-Identifier: ISC */
#include "socksd/config.h"

#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* A users file with one user; returns its path. */
static char *make_users_file(void)
{
	static const char line[] = "alice:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$"
				   "AAAAAAAAAAAAAAAAAAAAAA\n";
	char *path = strdup("/tmp/test_config.XXXXXX");
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, line, sizeof line - 1), (ssize_t)sizeof line - 1);
	close(fd);
	return path;
}

START_TEST(test_follow_listen)
{
	/* Sections of the next configuration, and which one sessions of [listen a] go on under. */
	static const struct {
		const char *next; /* before the users file's name, if that is to follow */
		const char *after;
		const char *section;
	} table[] = {
		{ "[listen a]\naddress = 127.0.0.1:1080\n", NULL, "a" },
		{ "[listen b]\naddress = 127.0.0.1:1080\n[listen a]\naddress = 127.0.0.2\n", NULL,
		  "b" },
		{ "[listen b]\naddress = 127.0.0.3\n[listen a]\naddress = 127.0.0.2\n", NULL, "a" },
		{ "[listen b]\naddress = 127.0.0.3\nauth = password\nusers = ", "\n", "b" },
		{ "[listen b]\naddress = 127.0.0.3\nauth = password\nusers = ",
		  "\n[listen a]\naddress = 127.0.0.2\n", "a" },
		{ "[listen b]\naddress = 127.0.0.3\n", NULL, NULL },
	};
	char *path = make_users_file();
	char text[512];
	struct ini_error error = { "" };
	struct params *params;
	struct config *config;
	struct addr a;

	snprintf(text, sizeof text, A "auth = password\nusers = %s\n", path);
	config = make(text, &params, &error);
	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert_int_eq(addr_parse("127.0.0.1:1080", 1, &a), 0);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const struct listen_config *found;
		struct params *next_params;
		struct config *next;

		snprintf(text, sizeof text, "%s%s%s", table[i].next, table[i].after ? path : "",
			 table[i].after ? table[i].after : "");
		next = make(text, &next_params, &error);
		ck_assert_msg(next != NULL, "%s", error.text);
		found = config_follow_listen(next, &a, &config->listen_configs[0]);
		ck_assert_msg((found == NULL) == (table[i].section == NULL), "case %zu", i);
		ck_assert(!found || strcmp(found->name, table[i].section) == 0);
		config_free(next);
		params_free(next_params);
	}
	config_free(config);
	params_free(params);
	unlink(path);
	free(path);
}
END_TEST

SUITE_MAIN("config", test_faults, test_find_listen, test_follow_listen)
