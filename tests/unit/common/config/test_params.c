/* SPDX-License-Identifier: ISC */
#include "common/config/params.h"

#include "tests/sample_schema.h"
#include "tests/unit/suite.h"

#include <string.h>
#include <unistd.h>

/* --- allocations that fail, see -Wl,--wrap in include.am ------------------------------------- */

static long allocations_left = -1; /* the next that fails is the one at 0; negative: none does */

static bool allocation_fails(void)
{
	return allocations_left >= 0 && allocations_left-- == 0;
}

#define WRAP(type, name, params, args)                                 \
	type __real_##name params;                                     \
	type __wrap_##name params;                                     \
	type __wrap_##name params                                      \
	{                                                              \
		return allocation_fails() ? NULL : __real_##name args; \
	}

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t count, size_t size), (count, size))
WRAP(void *, realloc, (void *old, size_t size), (old, size))
WRAP(void *, reallocarray, (void *old, size_t count, size_t size), (old, count, size))
WRAP(char *, strdup, (const char *text), (text))

/* --- helpers ------------------------------------------------------------------------------- */

/* Read text as the file "f", then up to four options. 0 or -1, as the engine says. */
static int load(struct params *p, const char *text, const char *const *options,
		struct ini_error *err)
{
	int r = text ? params_read_bytes(p, "f", text, strlen(text), err) : 0;

	for (size_t i = 0; r == 0 && options && i < 4 && options[i]; i++) {
		r = params_override(p, options[i], err);
	}
	return r < 0 ? r : params_finish(p, err);
}

static struct params *load_good(const char *text, const char *const *options)
{
	struct params *p = params_new(&sample_schema);
	struct ini_error err = { "" };

	ck_assert_ptr_nonnull(p);
	ck_assert_msg(load(p, text, options, &err) == 0, "%s", err.text);
	return p;
}

static const struct section *listen_find(const struct params *p, const char *name)
{
	const struct section *s = NULL;

	while ((s = params_next(p, "listen", s)) && strcmp(s->name, name) != 0) {
	}
	return s;
}

static const struct listen_params *listen_named(const struct params *p, const char *name)
{
	const struct section *s = listen_find(p, name);

	if (!s) {
		ck_abort_msg("no [listen %s]", name);
	}
	return s->values;
}

static const char *addr_text(const struct addr_list *list, size_t index)
{
	static char text[ADDR_TEXT_MAX];

	ck_assert_uint_lt(index, list->count);
	return addr_format(&list->items[index], text, sizeof text);
}

/* --- errors -------------------------------------------------------------------------------- */

#define LINE_100                                            \
	"0123456789012345678901234567890123456789012345678" \
	"901234567890123456789012345678901234567890123456789"

static const struct {
	const char *file;
	const char *option;
	const char *error;
} bad_cases[] = {
	/* sections */
	{ "[limit]\n", NULL, "f:1: unknown section \"limit\" (did you mean \"limits\"?)" },
	{ "[Limits]\n", NULL, "f:1: unknown section \"Limits\" (did you mean \"limits\"?)" },
	{ "\n[foo bar]\n", NULL,
	  "f:2: unknown section \"foo\" (known sections: server, limits, listen, rule)" },
	{ "[\xff]\n", NULL,
	  "f:1: unknown section \"\\xff\" (known sections: server, limits, listen, rule)" },
	{ "[limits lan]\n", NULL,
	  "f:1: section [limits] with the name \"lan\" (no name was expected)" },
	{ "[listen]\n", NULL,
	  "f:1: section [listen] has no name (a name after the section's kind was expected)" },
	{ "[listen a.b]\n", NULL,
	  "f:1: bad name \"a.b\" for section [listen] (1 to 32 letters, digits, \"-\" and \"_\" "
	  "were expected)" },
	{ "[listen a b]\n", NULL,
	  "f:1: bad name \"a b\" for section [listen] (1 to 32 letters, digits, \"-\" and \"_\" "
	  "were expected)" },
	{ "[listen 012345678901234567890123456789012]\n", NULL,
	  "f:1: bad name \"012345678901234567890123456789012\" for section [listen] (1 to 32 "
	  "letters, digits, \"-\" and \"_\" were expected)" },
	{ "[limits]\n[server]\n[limits]\n", NULL,
	  "f:3: section [limits] was already given at f:1 (each section once was expected)" },
	{ "[listen a]\n\n[listen \t a]\n", NULL,
	  "f:3: section [listen a] was already given at f:1 (each section once was expected)" },
	/* keys */
	{ "[limits]\nidle-timout = 1h\n", NULL,
	  "f:2: unknown key \"idle-timout\" in [limits] (did you mean \"idle-timeout\"?)" },
	{ "[listen lan]\nadress = 127.0.0.1:1\n", NULL,
	  "f:2: unknown key \"adress\" in [listen lan] (did you mean \"address\"?)" },
	{ "[server]\ncolour = red\n", NULL,
	  "f:2: unknown key \"colour\" in [server] (known keys: workers, user)" },
	{ "[limits]\ncolour = red\n", NULL,
	  "f:2: unknown key \"colour\" in [limits] (known keys: max-sessions, idle-timeout, "
	  "min-ttl, size, prefetch, mark, huge)" },
	{ "[server]\n" LINE_100 " = 1\n", NULL,
	  "f:2: unknown key \"0123456789012345678901234567890123456789012345678901234567890123456"
	  "789012345678901234567890123...\" in [server] (known keys: workers, user)" },
	{ "[server]\nuser = a\nworkers = 1\nuser = b\n", NULL,
	  "f:4: key \"user\" in [server] was already set at f:2 (one value was expected)" },
	{ "[listen x]\nauth = none\nauth = none\n", NULL,
	  "f:3: key \"auth\" in [listen x] was already set at f:2 (one value was expected)" },
	{ "user = a\n", NULL,
	  "f:1: line \"user = a\" is in no section (a [section] header was expected first)" },
	/* empty values */
	{ "[server]\nuser =\n", NULL,
	  "f:2: empty value for \"user\" (a value was expected after \"=\")" },
	{ "[limits]\nsize = ; 64K\n", NULL,
	  "f:2: empty value for \"size\" (a value was expected after \"=\")" },
	{ "[listen x]\naddress =\n", NULL,
	  "f:2: empty value for \"address\" (a value was expected after \"=\")" },
	{ "[listen x]\nclients = local,\n", NULL,
	  "f:2: empty item in the list of \"clients\" (a value before, between and after commas "
	  "was expected)" },
	{ "[rule x]\ndestination = a, ,b\n", NULL,
	  "f:2: empty item in the list of \"destination\" (a value before, between and after "
	  "commas was expected)" },
	/* numbers */
	{ "[server]\nworkers = many\n", NULL,
	  "f:2: bad value \"many\" for \"workers\" (auto or a number from 1 to 256 was expected)" },
	{ "[server]\nworkers = 0\n", NULL,
	  "f:2: value \"0\" of \"workers\" is out of range (1 to 256 was expected)" },
	{ "[server]\nworkers = -1\n", NULL,
	  "f:2: bad value \"-1\" for \"workers\" (auto or a number from 1 to 256 was expected)" },
	{ "[limits]\nmax-sessions = 1000001\n", NULL,
	  "f:2: value \"1000001\" of \"max-sessions\" is out of range (1 to 1000000 was "
	  "expected)" },
	{ "[limits]\nmax-sessions = 18446744073709551617\n", NULL,
	  "f:2: value \"18446744073709551617\" of \"max-sessions\" is out of range (1 to 1000000 "
	  "was expected)" },
	{ "[limits]\nhuge = 18446744073709551616\n", NULL,
	  "f:2: value \"18446744073709551616\" of \"huge\" is out of range (0 to "
	  "18446744073709551615 was expected)" },
	{ "[limits]\nmax-sessions = 64K\n", NULL,
	  "f:2: bad value \"64K\" for \"max-sessions\" (a number from 1 to 1000000 was "
	  "expected)" },
	{ "[limits]\nmax-sessions = 1, 2\n", NULL,
	  "f:2: bad value \"1, 2\" for \"max-sessions\" (a number from 1 to 1000000 was "
	  "expected)" },
	{ "[limits]\nprefetch = 10\n", NULL,
	  "f:2: bad value \"10\" for \"prefetch\" (a percentage from 0% to 100% was expected)" },
	{ "[limits]\nprefetch = 101%\n", NULL,
	  "f:2: value \"101%\" of \"prefetch\" is out of range (0% to 100% was expected)" },
	{ "[limits]\nmark = 0\n", NULL,
	  "f:2: value \"0\" of \"mark\" is out of range (1 to 4294967295 was expected)" },
	/* durations */
	{ "[limits]\nidle-timeout = 999ms\n", NULL,
	  "f:2: value \"999ms\" of \"idle-timeout\" is out of range (1s to 7d was expected)" },
	{ "[limits]\nidle-timeout = 8d\n", NULL,
	  "f:2: value \"8d\" of \"idle-timeout\" is out of range (1s to 7d was expected)" },
	{ "[limits]\nidle-timeout = 0\n", NULL,
	  "f:2: value \"0\" of \"idle-timeout\" is out of range (1s to 7d was expected)" },
	{ "[limits]\nidle-timeout = 99999999999999999d\n", NULL,
	  "f:2: value \"99999999999999999d\" of \"idle-timeout\" is out of range (1s to 7d was "
	  "expected)" },
	{ "[limits]\nidle-timeout = 10\n", NULL,
	  "f:2: bad value \"10\" for \"idle-timeout\" (a duration with its unit, from 1s to 7d was "
	  "expected)" },
	{ "[limits]\nmin-ttl = 1h 5m\n", NULL,
	  "f:2: bad value \"1h 5m\" for \"min-ttl\" (a duration with its unit, from 0 to 1d was "
	  "expected)" },
	/* sizes */
	{ "[limits]\nsize = 63K\n", NULL,
	  "f:2: value \"63K\" of \"size\" is out of range (64K to 1G was expected)" },
	{ "[limits]\nsize = 2G\n", NULL,
	  "f:2: value \"2G\" of \"size\" is out of range (64K to 1G was expected)" },
	{ "[limits]\nsize = 32MB\n", NULL,
	  "f:2: bad value \"32MB\" for \"size\" (a size from 64K to 1G was expected)" },
	/* words */
	{ "[listen x]\nauth = pasword\n", NULL,
	  "f:2: bad value \"pasword\" for \"auth\" (did you mean \"password\"?)" },
	{ "[listen x]\nauth = ldap\n", NULL,
	  "f:2: bad value \"ldap\" for \"auth\" (one of none, password was expected)" },
	{ "[listen x]\npadding = maybe\n", NULL,
	  "f:2: bad value \"maybe\" for \"padding\" (on or off was expected)" },
	{ "[listen x]\npadding = on # always\n", NULL,
	  "f:2: bad value \"on # always\" for \"padding\" (on or off was expected)" },
	/* texts */
	{ "[listen x]\nusers = users.txt\n", NULL,
	  "f:2: bad value \"users.txt\" for \"users\" (an absolute path was expected)" },
	{ "[server]\nuser =;a\n", NULL,
	  "f:2: bad value \";a\" for \"user\" (\";\" there would start a comment)" },
	{ NULL, "server.user=a ;b",
	  "-o:1: bad value \"a ;b\" for \"user\" (\";\" there would start a comment)" },
	{ NULL, "server.user=a\nb",
	  "-o:1: bad value \"a\\x0ab\" for \"user\" (no control character was expected)" },
	/* addresses and networks */
	{ "[listen x]\naddress = 127.0.0.1\n", NULL,
	  "f:2: bad value \"127.0.0.1\" for \"address\" (address:port was expected)" },
	{ "[listen x]\naddress = [::1]:1, localhost:1\n", NULL,
	  "f:2: bad value \"localhost:1\" for \"address\" (address:port was expected)" },
	{ "[listen x]\naddress = [fe80::1%nosuchif]:1\n", NULL,
	  "f:2: bad value \"[fe80::1%nosuchif]:1\" for \"address\" (an interface of this machine "
	  "was expected after \"%\")" },
	{ "[rule x]\nserver = 192.0.2.1:x\n", NULL,
	  "f:2: bad value \"192.0.2.1:x\" for \"server\" (address or address:port was expected)" },
	{ "[listen x]\npublic-address = 192.0.2.1:80\n", NULL,
	  "f:2: bad value \"192.0.2.1:80\" for \"public-address\" (an address without port was "
	  "expected)" },
	{ "[listen x]\nclients = 10.0.0.1/8\n", NULL,
	  "f:2: bad value \"10.0.0.1/8\" for \"clients\": address has bits set beyond the prefix "
	  "length (any, local, an address or a network was expected)" },
	{ "[listen x]\nclients = locals\n", NULL,
	  "f:2: bad value \"locals\" for \"clients\": not an address or prefix (any, local, an "
	  "address or a network was expected)" },
	/* options */
	{ NULL, "", "-o:1: no \"=\" in \"\" (SECTION.KEY=VALUE was expected)" },
	{ NULL, "limits.size",
	  "-o:1: no \"=\" in \"limits.size\" (SECTION.KEY=VALUE was expected)" },
	{ NULL, "size=1M", "-o:1: no \".\" in \"size=1M\" (SECTION.KEY=VALUE was expected)" },
	{ NULL, "user=a.b", "-o:1: no \".\" in \"user=a.b\" (SECTION.KEY=VALUE was expected)" },
	{ NULL,
	  "limits.size=", "-o:1: empty value for \"size\" (a value was expected after \"=\")" },
	{ NULL,
	  "limits.size= ", "-o:1: empty value for \"size\" (a value was expected after \"=\")" },
	{ NULL, "limits.siz=1M", "-o:1: unknown key \"siz\" in [limits] (did you mean \"size\"?)" },
	{ NULL, "limits.=1M",
	  "-o:1: unknown key \"\" in [limits] (known keys: max-sessions, idle-timeout, min-ttl, "
	  "size, prefetch, mark, huge)" },
	{ NULL, ".size=1M",
	  "-o:1: unknown section \"\" (known sections: server, limits, listen, rule)" },
	{ NULL, "limit.size=1M", "-o:1: unknown section \"limit\" (did you mean \"limits\"?)" },
	{ NULL, "listen.auth=none",
	  "-o:1: section [listen] has no name (a name after the section's kind was expected)" },
	{ NULL, "limits x.size=1M",
	  "-o:1: section [limits] with the name \"x\" (no name was expected)" },
	{ NULL, "limits.size=1",
	  "-o:1: value \"1\" of \"size\" is out of range (64K to 1G was expected)" },
};

START_TEST(test_bad)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		const char *const options[4] = { bad_cases[i].option };
		struct params *p = params_new(&sample_schema);
		struct ini_error err = { "" };

		ck_assert_int_eq(load(p, bad_cases[i].file, options, &err), -1);
		ck_assert_str_eq(err.text, bad_cases[i].error);
		params_free(p);
	}
}
END_TEST

START_TEST(test_error_counts_options)
{
	static const char *const options[4] = { "server.user=a", "server.user=b", "server.x=1" };
	struct params *p = params_new(&sample_schema);
	struct ini_error err = { "" };

	ck_assert_int_eq(load(p, NULL, options, &err), -1);
	ck_assert_str_eq(err.text,
			 "-o:3: unknown key \"x\" in [server] (known keys: workers, user)");
	params_free(p);
}
END_TEST

/* --- values -------------------------------------------------------------------------------- */

START_TEST(test_defaults)
{
	struct params *p = load_good("", NULL);
	const struct limits_params *limits = params_section(p, "limits");
	const struct server_params *server = params_section(p, "server");
	const struct listen_params *ipv6 = listen_named(p, "ipv6");

	ck_assert_uint_eq(server->workers, 0);
	ck_assert_ptr_null(server->user);
	ck_assert_uint_eq(limits->max_sessions, 65536);
	ck_assert_uint_eq(limits->idle_timeout_ms, 7200000);
	ck_assert_uint_eq(limits->min_ttl_ms, 0);
	ck_assert_uint_eq(limits->size_bytes, 32u << 20);
	ck_assert_uint_eq(limits->prefetch_pct, 10);
	ck_assert_uint_eq(limits->mark, 0);
	ck_assert_uint_eq(limits->huge, UINT64_MAX);
	ck_assert_str_eq(addr_text(&listen_named(p, "ipv4")->addresses, 0), "127.0.0.1:1080");
	ck_assert(listen_named(p, "ipv4")->padding);
	ck_assert_uint_eq(ipv6->addresses.count, 2);
	ck_assert_str_eq(addr_text(&ipv6->addresses, 1), "[::1]:1081");
	ck_assert(!ipv6->padding);
	ck_assert(ipv6->clients.local && !ipv6->clients.any);
	ck_assert_int_eq(ipv6->auth, 0);
	ck_assert_ptr_null(params_next(p, "rule", NULL));
	params_free(p);
}
END_TEST

START_TEST(test_file_values)
{
	struct params *p = load_good("\xef\xbb\xbf; first\r\n"
				     "[listen lan]\r\n"
				     "  address = 192.0.2.1:1080, [2001:db8::1]:1080\r\n"
				     "\taddress = 192.0.2.2:1080 ; and one more\r\n"
				     "auth = password\nusers = /etc/users\n"
				     "clients = any\npublic-address = 203.0.113.7\n"
				     "[server]\nworkers = 3\nuser = some body\n"
				     "[rule first]\nserver = 192.0.2.9\n[rule second]\n",
				     NULL);
	const struct listen_params *lan = listen_named(p, "lan");
	const struct server_params *server = params_section(p, "server");
	const struct section *rule = params_next(p, "rule", NULL);

	ck_assert_uint_eq(lan->addresses.count, 3);
	ck_assert_str_eq(addr_text(&lan->addresses, 2), "192.0.2.2:1080");
	ck_assert_int_eq(lan->auth, 1);
	ck_assert_str_eq(lan->users, "/etc/users");
	ck_assert(lan->clients.any && !lan->clients.local);
	ck_assert_uint_eq(lan->public_address.count, 1);
	ck_assert_ptr_null(listen_find(p, "ipv4"));
	ck_assert_uint_eq(server->workers, 3);
	ck_assert_str_eq(server->user, "some body");
	ck_assert_str_eq(rule->name, "first");
	ck_assert_uint_eq(((struct rule_params *)rule->values)->servers.count, 1);
	rule = params_next(p, "rule", rule);
	ck_assert_str_eq(rule->name, "second");
	ck_assert_uint_eq(((struct rule_params *)rule->values)->servers.count, 2);
	ck_assert_ptr_null(params_next(p, "rule", rule));
	params_free(p);
}
END_TEST

START_TEST(test_override)
{
	static const char *const options[4] = { "listen lan.address = 192.0.2.5:1",
						"listen lan.address=192.0.2.6:1,192.0.2.7:1",
						"server.user=x", " server . user = a=b.c " };
	struct params *p = load_good("[listen lan]\naddress = 192.0.2.1:1\naddress = 192.0.2.2:1\n"
				     "[server]\nuser = root\nworkers = 2\n",
				     options);
	const struct listen_params *lan = listen_named(p, "lan");
	const struct server_params *server = params_section(p, "server");

	ck_assert_uint_eq(lan->addresses.count, 3);
	ck_assert_str_eq(addr_text(&lan->addresses, 0), "192.0.2.5:1");
	ck_assert_str_eq(addr_text(&lan->addresses, 2), "192.0.2.7:1");
	ck_assert_str_eq(server->user, "a=b.c");
	ck_assert_uint_eq(server->workers, 2);
	params_free(p);
}
END_TEST

START_TEST(test_override_replaces_builtin)
{
	static const char *const options[4] = { "listen x.address=192.0.2.5:1" };
	struct params *p = load_good(NULL, options);

	ck_assert_ptr_null(listen_find(p, "ipv4"));
	ck_assert_uint_eq(listen_named(p, "x")->addresses.count, 1);
	ck_assert(listen_named(p, "x")->clients.local);
	params_free(p);
}
END_TEST

START_TEST(test_file)
{
	struct params *p = params_new(&sample_schema);
	struct ini_error err;
	FILE *f = fopen("test_params.conf", "w");

	fputs("[server]\nuser = a\n\n[limits]\nbad\n", f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(params_read_file(p, "test_params.conf", &err), -1);
	ck_assert_str_eq(err.text, "test_params.conf:5: line \"bad\" has no \"=\" after a key (key "
				   "= value or [section] was expected)");
	unlink("test_params.conf");
	ck_assert_int_eq(params_read_file(p, "test_params.conf", &err), -1);
	ck_assert_str_eq(err.text, "test_params.conf:0: cannot open: No such file or directory (a "
				   "readable configuration file was expected)");
	params_free(p);
	params_free(NULL);
}
END_TEST

START_TEST(test_too_many_sections)
{
	struct params *p = params_new(&sample_schema);
	struct ini_error err = { "" };
	char text[64];
	size_t n = p->count;

	for (; n < PARAMS_SECTIONS_MAX; n++) {
		int len = snprintf(text, sizeof text, "[rule r%zu]", n);

		ck_assert_int_eq(params_read_bytes(p, "f", text, (size_t)len, &err), 0);
	}
	ck_assert_int_eq(params_read_bytes(p, "f", "[rule x]", 8, &err), -1);
	ck_assert_str_eq(err.text, "f:1: more than 16384 sections (fewer sections were expected)");
	params_free(p);
}
END_TEST

/* Load text with the allocation number `nth` failing. Whether there were that many. */
static bool load_without(long nth, const char *text)
{
	static const char *const options[4] = { "server.user=b", "rule s.destination=x",
						"rule r.destination=y" };
	struct ini_error err = { "" };
	struct params *p;
	bool failed;
	int r = -1;

	allocations_left = nth;
	p = params_new(&sample_schema);
	if (p) {
		r = load(p, text, options, &err);
	}
	failed = allocations_left < 0;
	allocations_left = -1;
	ck_assert_msg(r == (failed ? -1 : 0), "allocation %ld: %d", nth, r);
	ck_assert(!failed || !p || strstr(err.text, ": out of memory"));
	params_free(p);
	return failed;
}

/* Each allocation fails in turn: an error that says so, and nothing leaks (the sanitizer looks). */
START_TEST(test_out_of_memory)
{
	/* The second one has no [listen], so that the built-in sections are made as well. */
	static const char *const texts[] = {
		"[server]\nuser = a\n[listen x]\naddress = [::1]:1, [::1]:2\nusers = /u\n"
		"clients = 10.0.0.0/8\npublic-address = ::1\n[rule r]\ndestination = a, b, c\n",
		"[rule r]\ndestination = a\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		long nth = 0;

		while (load_without(nth, texts[i])) {
			nth++;
		}
		ck_assert_int_gt(nth, 40);
	}
}
END_TEST

SUITE_MAIN("params", test_bad, test_error_counts_options, test_defaults, test_file_values,
	   test_override, test_override_replaces_builtin, test_file, test_too_many_sections,
	   test_out_of_memory)
