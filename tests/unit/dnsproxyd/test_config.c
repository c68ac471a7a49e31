/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/config.h"

#include "tests/unit/common/config_text.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define A "[listen a]\naddress = 127.0.0.1:5353\n"
#define U "[upstream default]\nserver = 192.0.2.1\n"

START_TEST(test_faults)
{
	static const struct config_text table[] = {
		{ "", NULL },
		{ A U, NULL },
		{ A "[listen b]\naddress = 127.0.0.1:5353\n",
		  "test.conf:4: address 127.0.0.1:5353 " },
		{ "[listen a]\nclients = any\n", "test.conf:" },
		{ A "[upstream default]\nserver = 127.0.0.1:5353\n", "test.conf:4: server " },
		{ A "[upstream default]\nserver = 127.0.0.1:5354\n", NULL },
		{ "[listen a]\naddress = 0.0.0.0:5353\n[upstream default]\nserver = "
		  "127.0.0.9:5353\n",
		  "test.conf:4: server " },
		{ "[listen a]\naddress = 0.0.0.0:5353\n[upstream default]\nserver = "
		  "192.0.2.9:5353\n",
		  NULL },
		{ "[listen a]\naddress = 0.0.0.0, [::]\n", NULL },
		{ A "address = [::ffff:127.0.0.1]:5353\n",
		  "test.conf:2: address 127.0.0.1:5353 is " },
		{ A "address = [ff02::1%lo]\n", "test.conf:3: bad value \"[ff02::1%lo]\" for " },
		{ A "address = 224.0.0.1\n", "test.conf:3: bad value \"224.0.0.1\" for " },
		{ A "address = 255.255.255.255\n", "test.conf:3: bad value \"255.255" },
		{ A "[upstream default]\nserver = [::ffff:127.0.0.1]:5353\n",
		  "test.conf:4: server [::ffff:127.0.0.1]:5353 is our own" },
		{ A "[upstream default]\nserver = tcp://224.0.0.1\n",
		  "test.conf:4: \"tcp://224.0.0.1\" can be no server" },
		{ A "[upstream default]\nserver = quic://192.0.2.1\n", "test.conf:4: " },
		{ A "[upstream corp]\ntimeout = 1s\n",
		  "test.conf:3: [upstream corp] has no server" },
		{ A U "[forward f]\ndomain = corp.example\n",
		  "test.conf:5: [forward f] does not " },
		{ A U "[forward f]\ndomain = corp.example\nupstream = corp\n",
		  "test.conf:7: there is" },
		{ A U "[forward f]\nupstream = default\n",
		  "test.conf:5: [forward f] has no domain" },
		{ A U "[forward f]\ndomain = a..b\nupstream = default\n", "test.conf:6: " },
		{ "[server]\nresolv-conf = /run/a, run/b\n", "test.conf:2: \"run/b\" is none" },
		{ A "[cache]\nmin-ttl = 2m\nmax-ttl = 1m\n", "test.conf:4: min-ttl is longer " },
	};

	config_text_check(table, sizeof table / sizeof table[0]);
}
END_TEST

START_TEST(test_the_longest_suffix_chooses_the_group)
{
	static const char text[] = A U "[upstream one]\nserver = 192.0.2.2\n"
				       "[upstream two]\nserver = tcp://192.0.2.3\n"
				       "[forward a]\ndomain = example\nupstream = one\n"
				       "[forward b]\ndomain = .corp.example\nupstream = two\n";
	static const struct {
		const char *name; /* on the wire */
		const char *group;
	} table[] = {
		{ "\3www\3org", "default" },
		{ "\3www\7example", "one" },
		{ "\7EXAMPLE", "one" },
		{ "\4corp\7example", "two" },
		{ "\1a\4Corp\7example", "two" },
		{ "\5xcorp\7example", "one" },
		{ "", "default" },
	};
	struct ini_error error;
	struct params *params;
	struct config *config = config_text_make(text, &params, &error);

	ck_assert_msg(config, "%s", error.text);
	ck_assert_uint_eq(config->group_count, 3);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		unsigned group = config_find_group(config, (const uint8_t *)table[i].name,
						   strlen(table[i].name) + 1);

		ck_assert_str_eq(config->groups[group].name, table[i].group);
	}
	config_free(config);
	params_free(params);
}
END_TEST

/* A file with this text; *path ends in XXXXXX. */
static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(test_the_first_resolv_conf_with_a_server_counts)
{
	static const struct {
		const char *section; /* of [upstream default] */
		const char *server;
	} table[] = {
		{ "", "198.51.100.1:53" },
		{ "[upstream default]\ntimeout = 1s\n", "198.51.100.1:53" },
		{ U, "192.0.2.1:53" },
	};
	char none[] = "/tmp/test_config_XXXXXX";
	char first[] = "/tmp/test_config_XXXXXX";
	char second[] = "/tmp/test_config_XXXXXX";

	write_file(none, "# nobody but us\nnameserver 127.0.0.1\n");
	write_file(first, "nameserver 198.51.100.1\n");
	write_file(second, "nameserver 198.51.100.2\n");
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char buf[ENDPOINT_TEXT_MAX];
		char text[512];
		struct ini_error error;
		struct params *params;
		struct config *config;

		snprintf(text, sizeof text,
			 "[server]\nresolv-conf = /nonexistent/file, %s, %s, %s\n"
			 "[listen a]\naddress = 127.0.0.1:53\n%s",
			 none, first, second, table[i].section);
		config = config_text_make(text, &params, &error);
		ck_assert_msg(config, "%s", error.text);
		ck_assert_uint_eq(config->groups[0].server_count, 1);
		ck_assert_str_eq(endpoint_format(&config->groups[0].servers[0], buf),
				 table[i].server);
		config_free(config);
		params_free(params);
	}
	unlink(none);
	unlink(first);
	unlink(second);
}
END_TEST

SUITE_MAIN("config", test_faults, test_the_longest_suffix_chooses_the_group,
	   test_the_first_resolv_conf_with_a_server_counts)
