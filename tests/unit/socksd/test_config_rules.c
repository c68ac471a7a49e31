/* SPDX-License-Identifier: ISC */
#include "socksd/config_rules.h"

#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALLOW "[rule r]\naction = allow\n"
#define DENY  "[rule r]\naction = deny\n"

static struct config *make(const char *text, struct params **ret_params, struct ini_error *reterr)
{
	*ret_params = params_new(&config_schema);
	ck_assert_ptr_nonnull(*ret_params);
	*reterr = (struct ini_error){ "" };
	if (params_read_bytes(*ret_params, "test.conf", text, strlen(text), reterr) < 0 ||
	    params_finish(*ret_params, reterr) < 0) {
		return NULL;
	}
	return config_new(*ret_params, reterr);
}

/* The text is refused, with an error that begins so and, if not NULL, has that in it. */
static void check_fault(const char *text, const char *begin, const char *hint)
{
	struct ini_error error;
	struct params *params;
	struct config *config = make(text, &params, &error);

	ck_assert_msg(!config, "%s", text);
	ck_assert_msg(strncmp(error.text, begin, strlen(begin)) == 0, "%s: %s", text, error.text);
	ck_assert_msg(!hint || strstr(error.text, hint), "%s: %s", text, error.text);
	params_free(params);
}

START_TEST(test_faults)
{
	static const struct {
		const char *text;
		const char *error;
		const char *hint;
	} table[] = {
		{ "[egress e]\n", "test.conf:", "[egress e] changes nothing" },
		{ "[egress e]\naddress = 192.0.2.1, 192.0.2.2\n",
		  "test.conf:2: second address 192.0.2.2", NULL },
		{ "[egress e]\naddress = 192.0.2.1, ::ffff:192.0.2.2\n",
		  "test.conf:2: second address 192.0.2.2", NULL },
		{ "[egress e]\naddress = 2001:db8::1, 2001:db8::2\n",
		  "test.conf:2: second address 2001:db8::2", NULL },
		{ "[egress e]\naddress = 0.0.0.0\n", "test.conf:2: nothing can be sent from 0.",
		  NULL },
		{ "[egress e]\naddress = ::\n", "test.conf:2: nothing can be sent from ::", NULL },
		{ "[egress e]\naddress = 224.0.0.1\n", "test.conf:2: bad value \"224.0.0.1\"",
		  NULL },
		{ "[egress e]\naddress = ff02::1\n", "test.conf:2: bad value \"ff02::1\"", NULL },
		{ "[egress e]\naddress = 240.0.0.1\n", "test.conf:2: bad value \"240.0.0.1\"",
		  NULL },
		{ "[egress e]\ninterface = abcdefghijklmnop\n", "test.conf:2: bad interface",
		  NULL },
		{ "[egress e]\ninterface = a/b\n", "test.conf:2: bad interface", NULL },
		{ "[egress e]\ninterface = a b\n", "test.conf:2: bad interface", NULL },
		{ "[rule r]\nport = 80\n", "test.conf:", "[rule r] has no action" },
		{ ALLOW "command = connekt\n", "test.conf:3: bad command \"connekt\"", NULL },
		{ ALLOW "port = 80, 90-70\n", "test.conf:3: bad port \"90-70\"", NULL },
		{ ALLOW "destination = 192.0.2.0/24, 192.0.2.0/33\n",
		  "test.conf:3: bad destination \"192.0.2.0/33\"", NULL },
		{ ALLOW "egress = e\n", "test.conf:3: unknown egress", "an [egress] section" },
		{ ALLOW "egress = hom\n[egress home]\nfwmark = 1\n", "test.conf:3: unknown egress",
		  "home" },
		{ "[egress e]\nfwmark = 1\n" DENY "egress = e\n",
		  "test.conf:5: egress in a rule that denies", NULL },
		{ ALLOW "destination = @list\n", "test.conf:3: ", "not absolute" },
		{ ALLOW "destination = @/nonexistent/list\n",
		  "test.conf:3: ", "No such file or directory" },
		{ ALLOW "destination = @/dev/null\n", "test.conf:3: ", "not a regular file" },
		{ ALLOW "destination = @/\n", "test.conf:3: ", "not a regular file" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		check_fault(table[i].text, table[i].error, table[i].hint);
	}
}
END_TEST

START_TEST(test_egresses)
{
	struct ini_error error;
	struct params *params;
	char text[ADDR_TEXT_MAX];
	const struct egress *e;
	struct config *config =
		make("[egress a]\naddress = 2001:db8::1, ::ffff:192.0.2.1\ninterface = "
		     "abcdefghijklmno\nfwmark = 4294967295\n"
		     "[egress b]\ntcp-fast-open = yes\n" ALLOW "egress = b\n"
		     "[rule s]\naction = allow\negress = a\n[rule t]\naction = allow\n",
		     &params, &error);

	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert_uint_eq(config->egress_count, 2);
	e = &config->egresses[0];
	ck_assert_str_eq(e->name, "a");
	ck_assert_str_eq(addr_format_ip(&e->ipv4, text, sizeof text), "192.0.2.1");
	ck_assert_str_eq(addr_format_ip(&e->ipv6, text, sizeof text), "2001:db8::1");
	ck_assert_str_eq(e->interface, "abcdefghijklmno");
	ck_assert_uint_eq(e->fwmark, UINT32_MAX);
	ck_assert(!e->fast_open);
	ck_assert(config->egresses[1].fast_open);
	ck_assert_ptr_null(config->egresses[1].interface);
	ck_assert_ptr_eq(config->rules.items[0].egress, &config->egresses[1]);
	ck_assert_ptr_eq(config->rules.items[1].egress, &config->egresses[0]);
	ck_assert_ptr_null(config->rules.items[2].egress);
	config_free(config);
	params_free(params);
}
END_TEST

/* Whether a request gets through; of a name when there is one. */
static bool allowed(const struct config *config, enum socks5_command command, const char *client,
		    const char *user, const char *name, const char *destination)
{
	struct addr from;
	struct addr to;
	const struct addr nowhere = { 0 };
	struct guard_context guard = { .client = &from, .local = &nowhere };
	struct rules_request request = { .command = command, .client = &from, .name = name };

	ck_assert_int_eq(addr_parse_ip(client, &from), 0);
	ck_assert_int_eq(addr_parse(destination, 1, &to), 0);
	request.user = user;
	request.user_len = user ? strlen(user) : 0;
	request.port = addr_port(&to);
	return rules_check(&config->rules, &request, &to, &guard).allowed;
}

/* Every condition finds its way from the text into the rule. */
START_TEST(test_conditions)
{
	struct ini_error error;
	struct params *params;
	struct config *config = make("[rule r]\naction = deny\ncommand = connect\n"
				     "client = 198.51.100.0/24\nuser = alice, bob\n"
				     "destination = .test, 203.0.113.0/24\nport = 80, 90-99\n",
				     &params, &error);

	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert_uint_eq(config->rules.count, 1);
	ck_assert_str_eq(config->rules.items[0].name, "r");
	ck_assert_str_eq(config->rules.items[0].file, "test.conf");
	ck_assert_uint_eq(config->rules.items[0].line, 1);
#define OK(command, client, user, name, to) \
	allowed(config, SOCKS5_##command, client, user, name, to)
	ck_assert(!OK(CONNECT, "198.51.100.1", "bob", NULL, "203.0.113.1:80"));
	ck_assert(!OK(CONNECT, "198.51.100.1", "alice", "a.test", "192.0.2.1:95"));
	ck_assert(OK(ASSOCIATE, "198.51.100.1", "bob", NULL, "203.0.113.1:80"));
	ck_assert(OK(CONNECT, "198.51.101.1", "bob", NULL, "203.0.113.1:80"));
	ck_assert(OK(CONNECT, "198.51.100.1", "carol", NULL, "203.0.113.1:80"));
	ck_assert(OK(CONNECT, "198.51.100.1", NULL, NULL, "203.0.113.1:80"));
	ck_assert(OK(CONNECT, "198.51.100.1", "bob", NULL, "203.0.112.1:80"));
	ck_assert(OK(CONNECT, "198.51.100.1", "bob", "a.best", "192.0.2.1:80"));
	ck_assert(OK(CONNECT, "198.51.100.1", "bob", NULL, "203.0.113.1:81"));
#undef OK
	config_free(config);
	params_free(params);
}
END_TEST

/* The first that matches decides, in the order of the file. */
START_TEST(test_order)
{
	struct ini_error error;
	struct params *params;
	struct config *config = make("[rule a]\naction = allow\nport = 80\n"
				     "[rule b]\naction = deny\n",
				     &params, &error);

	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert(allowed(config, SOCKS5_CONNECT, "198.51.100.1", NULL, NULL, "192.0.2.1:80"));
	ck_assert(!allowed(config, SOCKS5_CONNECT, "198.51.100.1", NULL, NULL, "192.0.2.1:81"));
	config_free(config);
	params_free(params);
}
END_TEST

/* --- lists ----------------------------------------------------------------------------------- */

static void make_list(char path[], const char *text)
{
	int fd;

	strcpy(path, "/tmp/test_config_rules.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(test_lists)
{
	struct ini_error error;
	struct params *params;
	struct config *config;
	char one[64];
	char two[64];
	char text[512];

	make_list(one, "# a comment\n\n203.0.113.0/24\n.test");
	make_list(two, "198.51.100.1\r\n");
	snprintf(text, sizeof text, DENY "destination = 192.0.2.1, @%s, @%s\n", one, two);
	config = make(text, &params, &error);
	ck_assert_msg(config != NULL, "%s", error.text);
#define OK(name, to) allowed(config, SOCKS5_CONNECT, "10.0.0.1", NULL, name, to)
	ck_assert(!OK(NULL, "192.0.2.1:80"));
	ck_assert(!OK(NULL, "203.0.113.9:80"));
	ck_assert(!OK("a.test", "10.0.0.2:80"));
	ck_assert(!OK(NULL, "198.51.100.1:80"));
	ck_assert(OK("a.best", "10.0.0.2:80"));
#undef OK
	config_free(config);
	params_free(params);
	unlink(one);
	unlink(two);
}
END_TEST

/* A list that is empty for now matches nothing; no list at all, everything. */
START_TEST(test_empty_list)
{
	struct ini_error error;
	struct params *params;
	struct config *config;
	char path[64];
	char text[256];

	make_list(path, "# nothing yet\n");
	snprintf(text, sizeof text, DENY "destination = @%s\n", path);
	config = make(text, &params, &error);
	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert(allowed(config, SOCKS5_CONNECT, "10.0.0.1", NULL, NULL, "192.0.2.1:80"));
	config_free(config);
	params_free(params);
	config = make(DENY, &params, &error);
	ck_assert(!allowed(config, SOCKS5_CONNECT, "10.0.0.1", NULL, NULL, "192.0.2.1:80"));
	config_free(config);
	params_free(params);
	unlink(path);
}
END_TEST

START_TEST(test_bad_lists)
{
	char path[64];
	char text[256];
	char begin[128];

	make_list(path, "192.0.2.1\n\n192.0.2.0/33\n192.0.2.2\n");
	snprintf(text, sizeof text, ALLOW "destination = @%s\n", path);
	snprintf(begin, sizeof begin, "%s:3: bad destination \"192.0.2.0/33\"", path);
	check_fault(text, begin, NULL);
	ck_assert_int_eq(truncate(path, (off_t)CONFIG_LIST_MAX_BYTES + 1), 0);
	check_fault(text, "test.conf:3: ", "more than 16 MiB");
	unlink(path);
	/* Nobody writes to it: that must not be waited for. */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	check_fault(text, "test.conf:3: ", "not a regular file");
	unlink(path);
}
END_TEST

SUITE_MAIN("config_rules", test_faults, test_egresses, test_conditions, test_order, test_lists,
	   test_empty_list, test_bad_lists)
