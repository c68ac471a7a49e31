/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/rules/rules.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A rule as text: fields are NULL or lists with blanks between items. */
struct spec {
	const char *name;
	bool allow;
	const char *commands;
	const char *clients;
	const char *user;
	const char *destinations;
	const char *ports;
};

#define RULES_MAX 16

/* What rules borrow. */
struct fixture {
	struct rules rules;
	struct netset clients[RULES_MAX];
	char *users[RULES_MAX];
};

/* Call `add` for each word of a list. */
#define EACH_WORD(list, word, statement)                                \
	do {                                                            \
		char copy_[512] = "";                                   \
		char *rest_ = copy_;                                    \
		char *word;                                             \
                                                                        \
		strncpy(copy_, (list) ? (list) : "", sizeof copy_ - 1); \
		while ((word = strsep(&rest_, " ")) != NULL) {          \
			if (*word) {                                    \
				statement;                              \
			}                                               \
		}                                                       \
	} while (0)

static void set_up(struct fixture *f, const struct spec *specs, size_t count)
{
	*f = (struct fixture){ 0 };
	ck_assert_int_eq(rules_init(&f->rules, count), 0);
	for (size_t i = 0; i < count; i++) {
		struct rule *rule = &f->rules.items[i];
		const char *why = NULL;

		rule->name = specs[i].name;
		rule->allow = specs[i].allow;
		EACH_WORD(specs[i].commands, word,
			  ck_assert_int_eq(rule_add_command(rule, word, &why), 0));
		EACH_WORD(specs[i].ports, word,
			  ck_assert_int_eq(rule_add_ports(rule, word, &why), 0));
		EACH_WORD(specs[i].clients, word,
			  ck_assert_int_eq(netset_add(&f->clients[i], word, &why), 0));
		EACH_WORD(
			specs[i].destinations, word,
			ck_assert_int_eq(rule_add_destination(rule, word, strlen(word), &why), 0));
		rule->clients = specs[i].clients ? &f->clients[i] : NULL;
		if (specs[i].user) {
			f->users[i] = strdup(specs[i].user);
			rule->users = &f->users[i];
			rule->user_count = 1;
		}
	}
	rules_seal(&f->rules);
}

static void tear_down(struct fixture *f)
{
	rules_done(&f->rules);
	for (size_t i = 0; i < RULES_MAX; i++) {
		netset_done(&f->clients[i]);
		free(f->users[i]);
	}
}

/* A request as text. */
struct ask {
	enum socks5_command command;
	const char *client;
	const char *user;
	const char *name;    /* NULL: by address */
	const char *address; /* with port */
	const char *wanted;  /* "rule NAME" (denied), "NAME" (allowed by), "-", or the guard's */
};

/* The host of the tests listens on these. */
static const char *const listener_texts[] = { "192.168.1.1:1080", "127.0.0.1:1080" };

static const char *answer(const struct rules *rules, const struct ask *ask, char buf[100])
{
	struct addr listeners[ARRAY_SIZE(listener_texts)];
	struct addr client;
	struct addr local;
	struct addr address;
	struct guard_context guard = { &client, &local, listeners, ARRAY_SIZE(listeners) };
	struct rules_request request = { ask->command, &client, ask->user, 0, ask->name, 0 };
	struct rules_verdict verdict;

	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		ck_assert_int_eq(addr_parse(listener_texts[i], 0, &listeners[i]), 0);
	}
	ck_assert_int_eq(addr_parse_ip(ask->client, &client), 0);
	ck_assert_int_eq(addr_parse_ip("192.168.1.1", &local), 0);
	ck_assert_int_eq(addr_parse(ask->address, 0, &address), 0);
	request.user_len = ask->user ? strlen(ask->user) : 0;
	request.port = addr_port(&address);
	verdict = rules_check(rules, &request, &address, &guard);
	ck_assert(verdict.allowed || verdict.egress == NULL);
	if (verdict.guard != GUARD_ALLOWED) {
		ck_assert(!verdict.allowed);
		ck_assert_str_eq(rules_verdict_name(&verdict), guard_verdict_name(verdict.guard));
		return guard_verdict_name(verdict.guard);
	}
	if (!verdict.rule) {
		ck_assert_int_eq(verdict.allowed, ask->command != SOCKS5_BIND);
		ck_assert_str_eq(rules_verdict_name(&verdict),
				 verdict.allowed ? "allowed" : "no_rule");
		return "-";
	}
	ck_assert_str_eq(rules_verdict_name(&verdict), verdict.allowed ? "allowed" : "rule");
	snprintf(buf, 100, "%s%s", verdict.allowed ? "" : "rule ", verdict.rule->name);
	return buf;
}

static void check(const struct spec *specs, size_t count, const struct ask *asks, size_t ask_count)
{
	struct fixture f;
	char buf[100];

	set_up(&f, specs, count);
	for (size_t i = 0; i < ask_count; i++) {
		const char *got = answer(&f.rules, &asks[i], buf);

		ck_assert_msg(strcmp(got, asks[i].wanted) == 0, "%zu: %s (%s) from %s: %s, not %s",
			      i, asks[i].name ? asks[i].name : "-", asks[i].address, asks[i].client,
			      got, asks[i].wanted);
	}
	tear_down(&f);
}

#define LAN     "192.168.1.7"
#define CONNECT SOCKS5_CONNECT

START_TEST(test_conditions)
{
	static const struct spec specs[] = {
		{ "mail", false, NULL, NULL, NULL, NULL, "25 6000-6063" },
		{ "bind", false, "bind udp", NULL, NULL, NULL, NULL },
		{ "alice", true, NULL, NULL, "alice", "198.51.100.0/24", NULL },
		{ "guests", false, NULL, "192.168.2.0/24", NULL, NULL, NULL },
		{ "names", false, NULL, NULL, NULL, ".ads.example www.exact.example", NULL },
		{ "nets", false, NULL, NULL, NULL, "198.51.100.0/24 2001:db8::/32", NULL },
	};
	static const struct ask asks[] = {
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:443", "-" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:25", "rule mail" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:24", "-" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:6000", "rule mail" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:6063", "rule mail" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:6064", "-" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:5999", "-" },
		{ SOCKS5_BIND, LAN, NULL, NULL, "9.9.9.9:443", "rule bind" },
		{ SOCKS5_ASSOCIATE, LAN, NULL, NULL, "9.9.9.9:443", "rule bind" },
		{ CONNECT, LAN, NULL, NULL, "198.51.100.1:443", "rule nets" },
		{ CONNECT, LAN, "alice", NULL, "198.51.100.1:443", "alice" },
		{ CONNECT, LAN, "alice", NULL, "198.51.100.1:25", "rule mail" },
		{ CONNECT, LAN, "alic", NULL, "198.51.100.1:443", "rule nets" },
		{ CONNECT, LAN, "alicex", NULL, "198.51.100.1:443", "rule nets" },
		{ CONNECT, LAN, "", NULL, "198.51.100.1:443", "rule nets" },
		{ CONNECT, "192.168.2.9", NULL, NULL, "9.9.9.9:443", "rule guests" },
		{ CONNECT, "::ffff:192.168.2.9", NULL, NULL, "9.9.9.9:443", "rule guests" },
		{ CONNECT, "192.168.2.9", "alice", NULL, "198.51.100.1:443", "alice" },
		{ CONNECT, LAN, NULL, "ads.example", "9.9.9.9:443", "rule names" },
		{ CONNECT, LAN, NULL, "x.ads.example", "9.9.9.9:443", "rule names" },
		{ CONNECT, LAN, NULL, "xads.example", "9.9.9.9:443", "-" },
		{ CONNECT, LAN, NULL, "www.exact.example", "9.9.9.9:443", "rule names" },
		{ CONNECT, LAN, NULL, "x.www.exact.example", "9.9.9.9:443", "-" },
		/* a name is judged by its addresses too */
		{ CONNECT, LAN, NULL, "fine.example", "198.51.100.1:443", "rule nets" },
		{ CONNECT, LAN, NULL, "fine.example", "[2001:db8::1]:443", "rule nets" },
		{ CONNECT, LAN, NULL, "fine.example", "[::ffff:198.51.100.1]:443", "rule nets" },
		/* in other clothes */
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::198.51.100.1]:443", "rule nets" },
		{ CONNECT, LAN, NULL, NULL, "[2002:c633:6401::]:443", "rule nets" },
		{ CONNECT, LAN, "alice", NULL, "[64:ff9b::198.51.100.1]:443", "rule nets" },
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::9.9.9.9]:443", "-" },
	};

	check(specs, ARRAY_SIZE(specs), asks, ARRAY_SIZE(asks));
}
END_TEST

START_TEST(test_first_match)
{
	static const struct spec specs[] = {
		{ "one", true, NULL, NULL, NULL, "10.1.0.0/16", NULL },
		{ "two", false, NULL, NULL, NULL, "10.0.0.0/8 .example", NULL },
		{ "three", true, NULL, NULL, NULL, "good.example", NULL },
		{ "rest", false, NULL, NULL, NULL, NULL, NULL },
	};
	static const struct ask asks[] = {
		{ CONNECT, LAN, NULL, NULL, "10.1.2.3:80", "one" },
		{ CONNECT, LAN, NULL, NULL, "10.2.2.3:80", "rule two" },
		{ CONNECT, LAN, NULL, "good.example", "9.9.9.9:80", "rule two" },
		{ CONNECT, LAN, NULL, "good.example", "10.1.2.3:80", "one" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:80", "rule rest" },
		{ CONNECT, LAN, NULL, "a.test", "9.9.9.9:80", "rule rest" },
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::10.1.2.3]:80", "rule two" },
	};

	check(specs, ARRAY_SIZE(specs), asks, ARRAY_SIZE(asks));
}
END_TEST

START_TEST(test_guard_stands)
{
	/* All of these allow, none lists what the guard protects. */
	static const struct spec specs[] = {
		{ "wide", true, NULL, NULL, NULL, "0.0.0.0/0 ::/0 0.0.0.0/1 126.0.0.0/7", NULL },
		{ "name", true, NULL, NULL, NULL, ".evil.example", NULL },
		{ "all", true, NULL, NULL, NULL, NULL, NULL },
	};
	static const struct ask asks[] = {
		{ CONNECT, LAN, NULL, NULL, "127.0.0.1:80", "loopback" },
		{ CONNECT, LAN, NULL, NULL, "[::1]:80", "loopback" },
		{ CONNECT, LAN, NULL, NULL, "[::ffff:127.0.0.1]:80", "loopback" },
		{ CONNECT, LAN, NULL, NULL, "0.0.0.0:80", "unspecified" },
		{ CONNECT, LAN, NULL, NULL, "[::]:80", "unspecified" },
		{ CONNECT, LAN, NULL, NULL, "169.254.169.254:80", "metadata" },
		{ CONNECT, LAN, NULL, NULL, "192.168.1.1:1080", "own_listener" },
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::127.0.0.1]:80", "embedded" },
		{ CONNECT, LAN, NULL, "x.evil.example", "127.0.0.1:80", "loopback" },
		{ CONNECT, LAN, NULL, "x.evil.example", "169.254.169.254:80", "metadata" },
		{ CONNECT, LAN, NULL, "x.evil.example", "9.9.9.9:80", "wide" },
		{ CONNECT, "127.0.0.1", NULL, NULL, "127.0.0.1:80", "wide" },
	};

	check(specs, ARRAY_SIZE(specs), asks, ARRAY_SIZE(asks));
	check(specs + 1, 2, asks, 10);
	check(specs + 2, 1, asks, 10);
}
END_TEST

START_TEST(test_guard_overruled)
{
	static const struct spec specs[] = {
		{ "no9", false, NULL, NULL, NULL, "127.0.0.9", NULL },
		{ "meta", true, NULL, NULL, "cloud", "169.254.169.254", NULL },
		{ "links", true, NULL, NULL, NULL, "169.254.0.0/16 fe80::/10", NULL },
		{ "self", true, NULL, NULL, "looper", "192.168.1.1 127.0.0.1", "1080" },
		{ "loop", true, NULL, NULL, NULL, "127.0.0.0/8 ::1 192.168.1.1", NULL },
		{ "nat64", true, NULL, NULL, NULL, "64:ff9b::7f00:2", NULL },
		{ "nats", true, NULL, NULL, NULL, "64:ff9b::/96", NULL },
	};
	static const struct ask asks[] = {
		{ CONNECT, LAN, NULL, NULL, "127.0.0.2:80", "loop" },
		{ CONNECT, LAN, NULL, NULL, "[::1]:80", "loop" },
		{ CONNECT, LAN, NULL, NULL, "[::ffff:127.0.0.2]:80", "loop" },
		{ CONNECT, LAN, NULL, "rebound.example", "127.0.0.2:80", "loop" },
		{ CONNECT, LAN, NULL, NULL, "127.0.0.9:80", "rule no9" },
		{ CONNECT, LAN, NULL, NULL, "169.254.7.7:80", "links" },
		{ CONNECT, LAN, NULL, NULL, "[fe80::1]:80", "links" },
		/* a metadata service has to be named itself, by a rule that comes first */
		{ CONNECT, LAN, NULL, NULL, "169.254.169.254:80", "metadata" },
		{ CONNECT, LAN, "cloud", NULL, "169.254.169.254:80", "meta" },
		{ CONNECT, LAN, "cloud", NULL, "169.254.170.2:80", "metadata" },
		/* and our listener with its port, also behind another objection */
		{ CONNECT, LAN, NULL, NULL, "192.168.1.1:80", "loop" },
		{ CONNECT, LAN, NULL, NULL, "192.168.1.1:1080", "own_listener" },
		{ CONNECT, LAN, NULL, NULL, "127.0.0.1:1080", "own_listener" },
		{ CONNECT, LAN, "looper", NULL, "192.168.1.1:1080", "self" },
		{ CONNECT, LAN, "looper", NULL, "127.0.0.1:1080", "self" },
		{ CONNECT, LAN, NULL, NULL, "0.0.0.0:80", "unspecified" },
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::127.0.0.2]:80", "nat64" },
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::127.0.0.3]:80", "embedded" },
		{ CONNECT, LAN, NULL, NULL, "[64:ff9b::9.9.9.9]:80", "nats" },
	};

	check(specs, ARRAY_SIZE(specs), asks, ARRAY_SIZE(asks));
}
END_TEST

START_TEST(test_deny_name)
{
	static const struct spec specs[] = {
		{ "mail", false, NULL, NULL, NULL, ".example", "25" },
		{ "good", true, NULL, NULL, NULL, "good.example", NULL },
		{ "nets", false, NULL, NULL, NULL, "10.0.0.0/8", NULL },
		{ "ads", false, NULL, NULL, NULL, ".example", NULL },
		{ "home", true, NULL, NULL, NULL, "192.168.0.0/16", NULL },
		{ "rest", false, NULL, NULL, NULL, NULL, NULL },
	};
	static const struct {
		const char *name;
		uint16_t port;
		const char *rule; /* NULL: not known before the addresses are */
	} cases[] = {
		{ "good.example", 80, NULL }, { "good.example", 25, "mail" },
		{ "bad.example", 80, "ads" }, { "bad.example", 25, "mail" },
		{ "other.test", 80, NULL },
	};
	struct fixture f;
	struct addr client;

	set_up(&f, specs, ARRAY_SIZE(specs));
	ck_assert_int_eq(addr_parse_ip(LAN, &client), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct rules_request request = {
			.command = SOCKS5_CONNECT,
			.client = &client,
			.name = cases[i].name,
			.port = cases[i].port,
		};
		const struct rule *rule = NULL;
		bool denied = rules_deny_name(&f.rules, &request, &rule);

		ck_assert_msg(denied == (cases[i].rule != NULL), "%s:%u", cases[i].name,
			      cases[i].port);
		if (denied) {
			ck_assert_str_eq(rule->name, cases[i].rule);
		}
	}
	tear_down(&f);
}
END_TEST

/* What holds whatever the destination. */
START_TEST(test_deny_command)
{
	static const struct spec specs[] = {
		{ "dns", false, "udp", NULL, NULL, NULL, "53" },
		{ "nets", false, "udp", NULL, NULL, "10.0.0.0/8", NULL },
		{ "lan", true, "udp", LAN "/32", NULL, "192.168.0.0/16", NULL },
		{ "no-udp", false, "udp", NULL, NULL, NULL, NULL },
		{ "no-bind", false, "bind", NULL, "alice", NULL, NULL },
	};
	static const struct {
		enum socks5_command command;
		const char *client;
		const char *user;
		const char *rule;
	} cases[] = {
		{ SOCKS5_ASSOCIATE, LAN, NULL, NULL },
		{ SOCKS5_ASSOCIATE, "203.0.113.9", NULL, "no-udp" },
		{ SOCKS5_CONNECT, "203.0.113.9", NULL, NULL },
		{ SOCKS5_BIND, LAN, "alice", "no-bind" },
		{ SOCKS5_BIND, LAN, "bob", NULL },
	};
	struct fixture f;

	set_up(&f, specs, ARRAY_SIZE(specs));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr client;
		const struct rules_request request = {
			.command = cases[i].command,
			.client = &client,
			.user = cases[i].user,
			.user_len = cases[i].user ? strlen(cases[i].user) : 0,
		};
		const struct rule *rule = NULL;

		ck_assert_int_eq(addr_parse_ip(cases[i].client, &client), 0);
		ck_assert_msg(rules_deny_command(&f.rules, &request, &rule) ==
				      (cases[i].rule != NULL),
			      "case %zu", i);
		ck_assert(!rule || strcmp(rule->name, cases[i].rule) == 0);
	}
	tear_down(&f);
}
END_TEST

START_TEST(test_bad_items)
{
	static const char *const ports[] = {
		"",        "0",     "65536", "1-",   "-1",     "2-1",
		"1-65536", "1 - 2", "80x",   "0x50", "123456", "1-2-3"
	};
	struct rule rule = { .allow = true };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		ck_assert_msg(rule_add_ports(&rule, ports[i], &why) == -EINVAL, "%s", ports[i]);
		ck_assert_ptr_nonnull(why);
	}
	ck_assert_uint_eq(rule.port_count, 0);
	ck_assert_int_eq(rule_add_command(&rule, "associate", &why), -EINVAL);
	ck_assert_int_eq(rule_add_command(&rule, "CONNECT", &why), -EINVAL);
	ck_assert_int_eq(rule_add_destination(&rule, "10.0.0.1/8", 10, &why), -EINVAL);
	ck_assert_ptr_null(rule.destinations);
}
END_TEST

START_TEST(test_no_rules)
{
	static const struct ask asks[] = {
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:443", "-" },
		{ CONNECT, LAN, NULL, NULL, "127.0.0.1:80", "loopback" },
	};

	check(NULL, 0, asks, ARRAY_SIZE(asks));
}
END_TEST

/* BIND is denied unless a rule that says bind allows it. */
START_TEST(test_bind)
{
	static const struct spec specs[] = {
		{ "no9", false, NULL, NULL, NULL, "203.0.113.9", NULL },
		{ "ftp", true, "bind", NULL, "alice", "198.51.100.0/24 127.0.0.0/8 ftp.example",
		  "21" },
		{ "all", true, NULL, NULL, NULL, NULL, NULL },
		{ "web", true, "connect udp", NULL, NULL, NULL, NULL },
		{ "lan", true, "connect bind", NULL, NULL, "10.0.0.0/8", NULL },
	};
	static const struct ask asks[] = {
		{ SOCKS5_BIND, LAN, NULL, NULL, "203.0.113.9:21", "rule no9" },
		{ SOCKS5_BIND, LAN, "alice", NULL, "198.51.100.1:21", "ftp" },
		{ SOCKS5_BIND, LAN, "alice", NULL, "198.51.100.1:20", "-" },
		{ SOCKS5_BIND, LAN, "bob", NULL, "198.51.100.1:21", "-" },
		{ SOCKS5_BIND, LAN, "alice", "ftp.example", "192.0.2.1:21", "ftp" },
		{ SOCKS5_BIND, LAN, "alice", "www.example", "192.0.2.1:21", "-" },
		{ SOCKS5_BIND, LAN, NULL, NULL, "9.9.9.9:443", "-" },
		{ CONNECT, LAN, NULL, NULL, "9.9.9.9:443", "all" },
		{ SOCKS5_BIND, LAN, NULL, NULL, "10.1.1.1:443", "lan" },
		/* the guard stands, and is overruled, as always */
		{ SOCKS5_BIND, LAN, "alice", NULL, "127.0.0.1:21", "ftp" },
		{ SOCKS5_BIND, LAN, "alice", "ftp.example", "169.254.1.1:21", "link_local" },
	};

	check(specs, ARRAY_SIZE(specs), asks, ARRAY_SIZE(asks));
}
END_TEST

START_TEST(test_know_bind)
{
	static const struct spec specs[] = {
		{ "all", true, NULL, NULL, NULL, NULL, NULL },
		{ "no", false, "bind", NULL, NULL, NULL, NULL },
		{ "udp", true, "connect udp", NULL, NULL, NULL, NULL },
		{ "bind", true, "bind udp", NULL, "alice", NULL, NULL },
	};
	struct fixture f;

	set_up(&f, specs, 3);
	ck_assert(!rules_know_bind(&f.rules));
	tear_down(&f);
	set_up(&f, specs, 4);
	ck_assert(rules_know_bind(&f.rules));
	tear_down(&f);
}
END_TEST

START_TEST(test_deny_anybody)
{
	static const struct spec specs[] = {
		{ "carol", false, NULL, NULL, "carol", "0.0.0.0/0", NULL },
		{ "dave", false, NULL, NULL, "dave", "203.0.113.0/24", NULL },
		{ "names", true, "bind", NULL, "erin", ".example", NULL },
		{ "nets", true, "bind", NULL, "dave", "198.51.100.0/24", NULL },
		{ "frank", false, "bind", NULL, "frank", NULL, NULL },
		{ "any", true, "bind", "192.168.1.0/24", NULL, NULL, NULL },
		{ "all", true, NULL, NULL, NULL, NULL, NULL },
	};
	static const struct {
		const char *client;
		const char *user;
		bool denied;
		const char *rule; /* NULL: none */
	} cases[] = {
		{ LAN, "carol", true, "carol" },       { LAN, "dave", false, "nets" },
		{ LAN, "erin", false, "any" },         { LAN, "frank", true, "frank" },
		{ LAN, NULL, false, "any" },           { "192.168.2.1", NULL, true, NULL },
		{ "192.168.2.1", "erin", true, NULL },
	};
	struct fixture f;
	struct addr anybody;

	set_up(&f, specs, ARRAY_SIZE(specs));
	ck_assert_int_eq(addr_parse_ip("0.0.0.0", &anybody), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr client;
		const struct rule *rule;
		const struct rules_request request = {
			.command = SOCKS5_BIND,
			.client = &client,
			.user = cases[i].user,
			.user_len = cases[i].user ? strlen(cases[i].user) : 0,
		};

		ck_assert_int_eq(addr_parse_ip(cases[i].client, &client), 0);
		ck_assert_msg(rules_deny_anybody(&f.rules, &request, &anybody, &rule) ==
				      cases[i].denied,
			      "%zu", i);
		ck_assert_msg(!rule == !cases[i].rule, "%zu", i);
		if (rule) {
			ck_assert_str_eq(rule->name, cases[i].rule);
		}
	}
	tear_down(&f);
}
END_TEST

SUITE_MAIN("rules", test_conditions, test_first_match, test_guard_stands, test_guard_overruled,
	   test_deny_name, test_deny_command, test_bad_items, test_no_rules, test_bind,
	   test_know_bind, test_deny_anybody)
