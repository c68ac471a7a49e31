/* SPDX-License-Identifier: ISC */
#include "socksd/explain.h"

#include "common/container.h"

#include "tests/unit/socksd/session_bench.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	OUT_MAX = 4096,
	WORDS_MAX = 8,
};

/* A server that is not there: its port is closed. */
#define NO_DNS "[dns]\nserver = 127.0.0.1:9\n"
#define ANY    "[listen a]\naddress = 127.0.0.1:1080\n" NO_DNS

/* What is printed goes here. */
struct capture {
	FILE *file;
	int stream_fd;
	int old_fd;
	FILE *stream;
};

static struct capture capture(FILE *stream)
{
	struct capture c = { .file = tmpfile(), .stream = stream, .stream_fd = fileno(stream) };

	ck_assert_ptr_nonnull(c.file);
	fflush(stream);
	c.old_fd = dup(c.stream_fd);
	ck_assert_int_ge(dup2(fileno(c.file), c.stream_fd), 0);
	return c;
}

static void release(struct capture *c, char text[OUT_MAX])
{
	size_t n;

	fflush(c->stream);
	dup2(c->old_fd, c->stream_fd);
	close(c->old_fd);
	rewind(c->file);
	n = fread(text, 1, OUT_MAX - 1, c->file);
	text[n] = '\0';
	fclose(c->file);
}

/* The command, of words apart by blanks. Returns its exit code. */
static int explain(const char *config_text, const char *words, char out[OUT_MAX], char err[OUT_MAX])
{
	struct params *params;
	struct config *config = session_bench_config(config_text, &params);
	struct capture out_capture;
	struct capture err_capture;
	char copy[512];
	char *list[WORDS_MAX];
	size_t count = 0;
	int code;

	snprintf(copy, sizeof copy, "%s", words);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		ck_assert_uint_lt(count, WORDS_MAX);
		list[count++] = word;
	}
	out_capture = capture(stdout);
	err_capture = capture(stderr);
	code = explain_command.run(config, list, count);
	release(&err_capture, err);
	release(&out_capture, out);
	config_free(config);
	params_free(params);
	return code;
}

static const char rules[] = ANY "[egress home]\naddress = 127.0.0.5\n"
				"[egress six]\naddress = ::1\n"
				"[rule web]\naction = allow\nport = 443\negress = home\n"
				"[rule six]\naction = allow\nport = 444\negress = six\n"
				"[rule alice]\naction = allow\nuser = alice\n"
				"[rule far]\naction = allow\nclient = 10.0.0.0/8\nport = 1\n"
				"[rule udp]\naction = deny\ncommand = udp\n"
				"[rule no]\naction = deny\ndestination = 192.0.2.0/24, bad.test\n";
static const struct {
	const char *config;
	const char *words;
	int code;
	const char *out;
} answers[] = {
	{ ANY, "destination=192.0.2.1:80", 0, "allow 192.0.2.1:80: no rule matches\n" },
	{ ANY, "destination=[2001:db8::1]:80", 0, "allow [2001:db8::1]:80: no rule matches\n" },
	{ rules, "destination=192.0.2.1:443", 0,
	  "allow 192.0.2.1:443: [rule web] at test:9, egress home\n" },
	{ rules, "destination=192.0.2.1:444", 0,
	  "allow 192.0.2.1:444: [rule six] at test:13, egress six (which has no address of "
	  "this family)\n" },
	{ rules, "destination=192.0.2.1:80", 3, "deny 192.0.2.1:80: [rule no] at test:27\n" },
	{ rules, "user=alice destination=192.0.2.1:80", 0,
	  "allow 192.0.2.1:80: [rule alice] at test:17\n" },
	{ rules, "client=10.1.1.1 destination=192.0.2.1:1", 0,
	  "allow 192.0.2.1:1: [rule far] at test:20\n" },
	{ rules, "command=udp destination=203.0.113.1:80", 3,
	  "deny 203.0.113.1:80: [rule udp] at test:24\n" },
	/* The guard; from this host loopback is reached anyway. */
	{ ANY, "destination=127.0.0.1:80", 0, "allow 127.0.0.1:80: no rule matches\n" },
	{ ANY, "client=10.1.1.1 destination=127.0.0.1:80", 3,
	  "deny 127.0.0.1:80: guard, loopback\n" },
	{ ANY, "client=::ffff:127.0.0.1 destination=127.0.0.1:80", 0,
	  "allow 127.0.0.1:80: no rule matches\n" },
	{ ANY, "destination=127.0.0.1:1080", 3, "deny 127.0.0.1:1080: guard, own_listener\n" },
	{ ANY, "destination=[::ffff:127.0.0.1]:1080", 3,
	  "deny 127.0.0.1:1080: guard, own_listener\n" },
	{ "[listen a]\naddress = 127.0.0.1:1080, 127.0.0.1:1081\n", "destination=127.0.0.1:1081", 3,
	  "deny 127.0.0.1:1081: guard, own_listener\n" },
	{ rules, "client=::ffff:10.1.1.1 destination=192.0.2.1:1", 0,
	  "allow 192.0.2.1:1: [rule far] at test:20\n" },
	/* BIND: denied unless allowed. The peer is not connected to. */
	{ ANY, "command=bind destination=192.0.2.1:21", 3, "deny 192.0.2.1:21: no rule matches\n" },
	{ ANY "[rule b]\naction = allow\ncommand = bind\n",
	  "command=bind destination=127.0.0.1:1080", 0,
	  "allow 127.0.0.1:1080: [rule b] at test:5\n" },
	{ ANY "[rule b]\naction = allow\ncommand = bind\n", "command=bind destination=0.0.0.0:21",
	  0,
	  "allow anybody: [rule b] at test:5, if it and the guard let the peer through "
	  "that "
	  "comes\n" },
	{ ANY, "command=bind destination=0.0.0.0:21", 3, "deny anybody: no rule matches\n" },
	{ ANY, "destination=0.0.0.0:21", 3, "deny 0.0.0.0:21: guard, unspecified\n" },
	/* Names: denied ones are not resolved; localhost is, by nobody else. */
	{ rules, "destination=bad.test:80", 3, "deny bad.test:80: [rule no] at test:27\n" },
	{ ANY "family = ipv4\n", "destination=localhost:80", 0,
	  "allow 127.0.0.1:80: no rule matches\n" },
	{ ANY "family = ipv4\n", "client=10.1.1.1 destination=localhost:80", 3,
	  "deny 127.0.0.1:80: guard, loopback\n" },
	/* Of a word that is said twice the last one counts. */
	{ ANY, "destination=127.0.0.1:80 destination=192.0.2.1:81", 0,
	  "allow 192.0.2.1:81: no rule matches\n" },
};

START_TEST(test_answers)
{
	char out[OUT_MAX];
	char err[OUT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		int code = explain(answers[i].config, answers[i].words, out, err);

		ck_assert_msg(strcmp(out, answers[i].out) == 0, "%s: %s%s", answers[i].words, out,
			      err);
		ck_assert_msg(code == answers[i].code, "%s: %d", answers[i].words, code);
		ck_assert_str_eq(err, "");
	}
}
END_TEST

/* Nothing is answered, and what is wrong goes where errors go. */
START_TEST(test_usage)
{
	static const struct {
		const char *words;
		int code;
		const char *err; /* a part */
	} table[] = {
		{ "", 2, "destination=HOST:PORT is missing" },
		{ "user=alice", 2, "destination=HOST:PORT is missing" },
		{ "destination=192.0.2.1", 2, "HOST:PORT was expected" },
		{ "destination=192.0.2.1:", 2, "HOST:PORT was expected" },
		{ "destination=:80", 2, "HOST:PORT was expected" },
		{ "destination=192.0.2.1:0", 2, "HOST:PORT was expected" },
		{ "destination=192.0.2.1:65536", 2, "HOST:PORT was expected" },
		{ "destination=192.0.2.1:+80", 2, "HOST:PORT was expected" },
		{ "destination=192.0.2.1:80x", 2, "HOST:PORT was expected" },
		{ "destination=192.0.2.1:99999999999999999999", 2, "HOST:PORT was expected" },
		{ "destination=a/b:80", 2, "a name or an address was expected" },
		{ "client=10.1.1.1:80 destination=192.0.2.1:80", 2, "an address without port" },
		{ "client= destination=192.0.2.1:80", 2, "an address without port" },
		{ "command=associate destination=192.0.2.1:80", 2, "connect, bind or udp" },
		{ "destinaton=192.0.2.1:80", 2, "destination" },
		{ "destination", 2, "KEY=VALUE was expected" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1", 2, "KEY=VALUE was expected" },
		{ "=1", 2, "KEY=VALUE was expected" },
		{ "destination=a.test:80", 1, "a.test: unreachable" },
	};
	char out[OUT_MAX];
	char err[OUT_MAX];
	char name[300];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int code = explain(ANY, table[i].words, out, err);

		ck_assert_msg(code == table[i].code, "%s: %d %s", table[i].words, code, err);
		ck_assert_msg(strstr(err, table[i].err) != NULL, "%s: %s", table[i].words, err);
		ck_assert_str_eq(out, "");
	}
	/* One that is longer than a request can hold. */
	memset(name, 'a', sizeof name);
	memcpy(name, "destination=", 12);
	memcpy(name + 12 + 256, ":80", 4);
	ck_assert_int_eq(explain(ANY, name, out, err), 2);
	ck_assert_ptr_nonnull(strstr(err, "HOST:PORT was expected"));
}
END_TEST

SUITE_MAIN("explain", test_answers, test_usage)
