/* SPDX-License-Identifier: ISC */
#include "socksd/config.h"

#include "tests/unit/common/config_text.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define A "[listen a]\naddress = 127.0.0.1:1080\n"

START_TEST(test_faults)
{
	static const struct config_text table[] = {
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
		{ A "udp-public-address = 203.0.113.7, 2001:db8::7\n", NULL },
		{ A "udp-public-address = 203.0.113.7\nudp-public-address = ::ffff:203.0.113.8\n",
		  "test.conf:3: second address 203.0.113.8" },
		{ A "udp-public-address = ::ffff:255.255.255.255\n",
		  "test.conf:3: bad value \"::ffff:255" },
		{ A "udp-public-address = 0.0.0.0\n", "test.conf:3: nothing can be sent to 0" },
		{ A "udp-public-address = ff02::1\n",
		  "test.conf:3: bad value \"ff02::1\" for \"udp-public-address\"" },
		{ "[listen a]\naddress = 0.0.0.0, [::]\n", NULL },
		{ "[listen a]\naddress = [::ffff:0.0.0.0]\n", NULL },
		{ A "address = [::ffff:127.0.0.1]:1080\n",
		  "test.conf:2: address 127.0.0.1:1080 is " },
		{ A "address = [ff02::1%lo]\n", "test.conf:3: bad value \"[ff02::1%lo]\" for " },
		{ A "address = 224.0.0.1\n", "test.conf:3: bad value \"224.0.0.1\" for " },
		{ A "address = 255.255.255.255\n", "test.conf:3: bad value \"255.255" },
		{ "[dns]\nserver = 192.0.2.1, 224.0.0.1\n",
		  "test.conf:2: bad value \"224.0.0.1\"" },
		{ A "udp-port-range = 40000-40010\n", NULL },
		{ A "udp-port-range = 40000\n", NULL },
		{ A "udp-port-range = 40010-40000\n", "test.conf:3: the lower port first" },
		{ A "udp-port-range = 0-5\n", "test.conf:3: a port from 1 to 65535" },
		{ A "udp-port-range = 1-65536\n", "test.conf:3: a port from 1 to 65535" },
		{ A "udp-filtering = nat\n", "test.conf:3: " },
	};

	config_text_check(table, sizeof table / sizeof table[0]);
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
	struct config *config = config_text_make(A "[listen b]\naddress = 127.0.0.1:1081, [::1]\n",
						 &params, &error);

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

START_TEST(test_udp)
{
	struct ini_error error;
	struct params *params;
	char text[ADDR_TEXT_MAX];
	const struct listen_config *listen;
	struct config *config =
		config_text_make(A "udp-public-address = 2001:db8::7, ::ffff:203.0.113.7\n"
				   "udp-port-range = 40000-40010\n"
				   "udp-filtering = address-and-port\nudp-source = any\n",
				 &params, &error);

	ck_assert_ptr_nonnull(config);
	listen = &config->listen_configs[0];
	addr_format_ip(&listen->udp_public_ipv4, text, sizeof text);
	ck_assert_str_eq(text, "203.0.113.7");
	addr_format_ip(&listen->udp_public_ipv6, text, sizeof text);
	ck_assert_str_eq(text, "2001:db8::7");
	ck_assert_uint_eq(listen->udp_ports.first, 40000);
	ck_assert_uint_eq(listen->udp_ports.last, 40010);
	ck_assert_int_eq(listen->params->udp_filtering, 2);
	ck_assert_int_eq(listen->params->udp_source, UDP_SOURCE_ANY);
	ck_assert(listen->params->udp && listen->params->udp_fragments);
	config_free(config);
	params_free(params);
}
END_TEST

/* After a reload, who still leaves in the same way. */
START_TEST(test_same_egress)
{
	static const char *const others[] = {
		"[egress home]\naddress = 127.0.0.5\n",
		"[egress office]\naddress = 127.0.0.4\n",
		"[egress home]\naddress = 127.0.0.4\nfwmark = 7\n",
		"[egress home]\naddress = 127.0.0.4\ninterface = lo\n",
		"",
	};
	struct ini_error error;
	struct params *params;
	struct params *next_params;
	struct config *config =
		config_text_make("[egress home]\naddress = 127.0.0.4\n", &params, &error);
	struct config *next =
		config_text_make("[egress x]\nfwmark = 1\n"
				 "[egress home]\naddress = 127.0.0.4\ntcp-fast-open = yes\n",
				 &next_params, &error);

	ck_assert(config && next);
	ck_assert_ptr_eq(config_same_egress(next, &config->egresses[0]), &next->egresses[1]);
	config_free(next);
	params_free(next_params);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		next = config_text_make(others[i], &next_params, &error);
		ck_assert_ptr_nonnull(next);
		ck_assert_ptr_null(config_same_egress(next, &config->egresses[0]));
		config_free(next);
		params_free(next_params);
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
	config = config_text_make(text, &params, &error);
	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert_int_eq(addr_parse("127.0.0.1:1080", 1, &a), 0);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const struct listen_config *found;
		struct params *next_params;
		struct config *next;

		snprintf(text, sizeof text, "%s%s%s", table[i].next, table[i].after ? path : "",
			 table[i].after ? table[i].after : "");
		next = config_text_make(text, &next_params, &error);
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

SUITE_MAIN("config", test_faults, test_find_listen, test_udp, test_same_egress, test_follow_listen)
