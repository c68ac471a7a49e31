/* SPDX-License-Identifier: ISC */
#include "common/config/params.h"

#include "tests/sample_schema.h"
#include "tests/unit/suite.h"

#include <string.h>

static struct params *load(const char *text)
{
	struct params *p = params_new(&sample_schema);
	struct ini_error err = { "" };

	ck_assert_ptr_nonnull(p);
	ck_assert_msg(params_read_bytes(p, "f", text, strlen(text), &err) == 0, "%s", err.text);
	return p;
}

static struct params *load_finished(const char *text)
{
	struct params *p = load(text);
	struct ini_error err = { "" };

	ck_assert_int_eq(params_finish(p, &err), 0);
	return p;
}

/* Returns owned. */
static char *print(const struct params *p)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	params_print(p, out);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

static const char defaults_text[] = "[server]\n"
				    "workers = auto                          ; default\n"
				    "; user =\n"
				    "\n"
				    "[limits]\n"
				    "max-sessions = 65536                    ; default\n"
				    "idle-timeout = 2h                       ; default\n"
				    "min-ttl = 0                             ; default\n"
				    "size = 32M                              ; default\n"
				    "prefetch = 10%                          ; default\n"
				    "; mark =\n"
				    "huge = 18446744073709551615             ; default\n"
				    "\n"
				    "[listen ipv4]\n"
				    "address = 127.0.0.1:1080                ; default\n"
				    "auth = none                             ; default\n"
				    "; users =\n"
				    "clients = local                         ; default\n"
				    "padding = on                            ; default\n"
				    "; public-address =\n"
				    "\n"
				    "[listen ipv6]\n"
				    "address = [::1]:1080                    ; default\n"
				    "address = [::1]:1081                    ; default\n"
				    "auth = none                             ; default\n"
				    "; users =\n"
				    "clients = local                         ; default\n"
				    "padding = off                           ; default\n"
				    "; public-address =\n";

/* Each section and key in its order, so that it prints as it is. */
static const char set_text[] = "[server]\n"
			       "workers = 4\n"
			       "user = a, b # c\n"
			       "\n"
			       "[limits]\n"
			       "max-sessions = 1\n"
			       "idle-timeout = 90s\n"
			       "min-ttl = 250ms\n"
			       "size = 65537\n"
			       "prefetch = 0%\n"
			       "mark = 7\n"
			       "huge = 0\n"
			       "\n"
			       "[listen lan]\n"
			       "address = 192.0.2.1:1080\n"
			       "address = [2001:db8::1]:1080\n"
			       "auth = password\n"
			       "users = /etc/users\n"
			       "clients = any\n"
			       "clients = local\n"
			       "clients = 198.51.100.0/24\n"
			       "padding = off\n"
			       "public-address = 203.0.113.7\n"
			       "\n"
			       "[rule r]\n"
			       "destination = .example.com\n"
			       "destination = \xc3\xa9;x\n"
			       "server = 192.0.2.53:53\n";

START_TEST(test_print_defaults)
{
	struct params *p = load_finished("");
	char *text = print(p);

	ck_assert_str_eq(text, defaults_text);
	free(text);
	params_free(p);
}
END_TEST

static void ignore_difference(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
}

START_TEST(test_print_reads_back)
{
	struct params *defaults = load_finished("");
	struct params *again = load_finished(defaults_text);
	int differences = 0;

	params_diff_restart(defaults, again, ignore_difference, &differences);
	ck_assert_int_eq(differences, 0);
	ck_assert_uint_eq(again->count, defaults->count);
	params_free(defaults);
	params_free(again);
}
END_TEST

START_TEST(test_print_values)
{
	struct params *p = load_finished(set_text);
	char *text = print(p);

	ck_assert_str_eq(text, set_text);
	free(text);
	params_free(p);
}
END_TEST

static const struct {
	const char *old;
	const char *new;
	const char *names; /* reported, separated by ";" */
} diff_cases[] = {
	{ "", "", "" },
	{ "", "[server]\nworkers = auto\n[limits]\nsize = 32768K\n", "" },
	{ "", "[server]\nworkers = 2\nuser = x\n", "server.workers;server.user;" },
	{ "[server]\nuser = x\n", "", "server.user;" },
	{ "[limits]\nsize = 1M\n", "[limits]\nsize = 2M\nmax-sessions = 9\n", "limits.size;" },
	{ "[listen a]\naddress = [::1]:1\n", "[listen a]\naddress = [::1]:1\npadding = no\n", "" },
	{ "[listen a]\naddress = [::1]:1\n", "[listen a]\naddress = [::1]:2\n",
	  "listen a.address;" },
	{ "[listen a]\n[listen b]\n", "[listen b]\n[listen c]\n", "listen a;listen c;" },
	{ "[listen a]\n[listen b]\n", "[listen b]\n[listen a]\n", "" },
	{ "[rule a]\n", "[rule b]\n", "" },
};

static void add_difference(void *arg, const char *name)
{
	strcat(strcat(arg, name), ";");
}

START_TEST(test_diff)
{
	for (size_t i = 0; i < ARRAY_SIZE(diff_cases); i++) {
		struct params *old = load_finished(diff_cases[i].old);
		struct params *new = load_finished(diff_cases[i].new);
		char names[500] = "";

		params_diff_restart(old, new, add_difference, names);
		ck_assert_str_eq(names, diff_cases[i].names);
		params_free(old);
		params_free(new);
	}
}
END_TEST

START_TEST(test_fail)
{
	struct params *p = load("[server]\nuser = a\n\n[listen lan]\nauth = password\n");
	const struct section *limits;
	const struct section *lan;
	struct ini_error err;

	ck_assert_int_eq(params_override(p, "listen lan.padding=on", &err), 0);
	ck_assert_int_eq(params_finish(p, &err), 0);
	lan = params_next(p, "listen", NULL);
	limits = params_section_object(p, "limits");
	params_fail(&err, lan, offsetof(struct listen_params, auth), "users = FILE was expected",
		    "%s without %s", "password", "users");
	ck_assert_str_eq(err.text, "f:5: password without users (users = FILE was expected)");
	params_fail(&err, lan, offsetof(struct listen_params, users), NULL, "no users");
	ck_assert_str_eq(err.text, "f:4: no users");
	params_fail(&err, lan, offsetof(struct listen_params, padding), NULL, "no");
	ck_assert_str_eq(err.text, "-o:1: no");
	params_fail(&err, limits, offsetof(struct limits_params, size_bytes), NULL, "no");
	ck_assert_str_eq(err.text, "default:0: no");
	ck_assert_ptr_null(params_section_object(p, "listen"));
	params_free(p);
}
END_TEST

START_TEST(test_nearest)
{
	static const char *const names[] = { "connect", "bind", "udp", NULL };

	ck_assert_str_eq(params_nearest("conect", names), "connect");
	ck_assert_str_eq(params_nearest("upd", names), "udp");
	ck_assert_ptr_null(params_nearest("associate", names));
}
END_TEST

START_TEST(test_origin)
{
	struct params *p = load("[server]\n[limits]\n\nmax-sessions = 7\n");
	const struct section *limits;
	const size_t set = offsetof(struct limits_params, max_sessions);
	const size_t unset = offsetof(struct limits_params, idle_timeout_ms);
	struct ini_error err;
	struct param_origin at;

	ck_assert_int_eq(params_override(p, "server.user=x", &err), 0);
	ck_assert_int_eq(params_finish(p, &err), 0);
	limits = params_section_object(p, "limits");
	ck_assert(params_is_set(limits, set));
	ck_assert(!params_is_set(limits, unset)); /* a default is not set */
	at = params_origin(limits, set);
	ck_assert_str_eq(at.file, "f");
	ck_assert_uint_eq(at.line, 4);
	at = params_origin(limits, unset);
	ck_assert_str_eq(at.file, "f");
	ck_assert_uint_eq(at.line, 2);
	at = params_origin(params_section_object(p, "server"),
			   offsetof(struct server_params, user));
	ck_assert_str_eq(at.file, "-o");
	at = params_origin(params_next(p, "listen", NULL), offsetof(struct listen_params, auth));
	ck_assert_str_eq(at.file, PARAM_DEFAULT_FILE);
	ck_assert_uint_eq(at.line, 0);
	params_free(p);
}
END_TEST

SUITE_MAIN("params_view", test_print_defaults, test_print_reads_back, test_print_values, test_diff,
	   test_fail, test_origin, test_nearest)
