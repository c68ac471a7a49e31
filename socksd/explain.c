/* SPDX-License-Identifier: ISC */
#include "socksd/explain.h"

#include "common/container.h"
#include "common/crypto.h"
#include "common/dns/ares_io.h"
#include "common/suggest.h"

#include "socksd/config.h"
#include "socksd/protocol/socks5.h"
#include "socksd/rules/host.h"
#include "socksd/rules/rules.h"
#include "socksd/target/expected_peer.h"
#include "socksd/target/resolver.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	EXPLAIN_ALLOWED = 0,
	EXPLAIN_FAILED = 1,
	EXPLAIN_USAGE = 2,
	EXPLAIN_DENIED = 3,

	ADDRESSES_MAX = 16,
};

/* The question, and what it takes to answer. */
struct question {
	const struct config *config;
	struct rules_request request;
	struct guard_context guard;
	struct addr client;
	struct addr local;
	struct socks5_target target;
	struct addr *listeners;
	/* of a name */
	struct addr addresses[ADDRESSES_MAX];
	size_t address_count;
	unsigned lookups; /* under way */
	enum ares_io_status status;
};

/* --- the words ------------------------------------------------------------------------------- */

static int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int usage(const char *format, ...)
{
	va_list args;

	fputs("socksd: --explain: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

static int take_client(struct question *q, const char *value)
{
	struct addr a;

	if (addr_parse_ip(value, &a) < 0) {
		return usage("client=%s: an address without port was expected", value);
	}
	q->client = addr_unmap(&a);
	return 0;
}

static int take_user(struct question *q, const char *value)
{
	q->request.user = value;
	q->request.user_len = strlen(value);
	return 0;
}

static int take_command(struct question *q, const char *value)
{
	static const enum socks5_command commands[] = { SOCKS5_CONNECT, SOCKS5_BIND,
							SOCKS5_ASSOCIATE };

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(value, socks5_command_name(commands[i])) == 0) {
			q->request.command = commands[i];
			return 0;
		}
	}
	return usage("command=%s: connect, bind or udp was expected", value);
}

/* HOST:PORT goes through the parser of requests, so that it means what a client's would. */
static int take_destination(struct question *q, const char *value)
{
	uint8_t bytes[SOCKS5_REQUEST_MAX] = { 5, SOCKS5_CONNECT, 0, 3 };
	struct socks5_request parsed;
	enum socks5_fault fault;
	size_t consumed;
	const char *colon = strrchr(value, ':');
	size_t host_len = colon ? (size_t)(colon - value) : 0;
	char *end = NULL;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || colon[1] < '0' || colon[1] > '9' || *end != '\0' || port == 0 ||
	    port > UINT16_MAX || host_len == 0 || host_len > UINT8_MAX) {
		return usage("destination=%s: HOST:PORT was expected", value);
	}
	bytes[4] = (uint8_t)host_len;
	memcpy(bytes + 5, value, host_len);
	bytes[5 + host_len] = (uint8_t)(port >> 8);
	bytes[6 + host_len] = (uint8_t)(port & 0xff);
	if (socks5_parse_request(bytes, 7 + host_len, &parsed, &consumed, &fault) != PARSE_DONE) {
		return usage("destination=%s: a name or an address was expected", value);
	}
	q->target = parsed.target;
	return 0;
}

static const struct word_row {
	const char *key;
	int (*take)(struct question *q, const char *value);
} word_table[] = {
	{ "client", take_client },
	{ "user", take_user },
	{ "command", take_command },
	{ "destination", take_destination },
};

static int take_word(struct question *q, const char *word)
{
	size_t len = strcspn(word, "=");
	char key[32];
	struct suggest s;

	snprintf(key, sizeof key, "%.*s", (int)len, word);
	suggest_init(&s, key);
	for (size_t i = 0; i < ARRAY_SIZE(word_table); i++) {
		if (word[len] == '=' && strcmp(key, word_table[i].key) == 0) {
			return word_table[i].take(q, word + len + 1);
		}
		suggest_offer(&s, word_table[i].key, strlen(word_table[i].key));
	}
	return usage("%s: KEY=VALUE was expected, %s", word, suggest_text(&s, "KEY being", ""));
}

static int take_words(struct question *q, char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = take_word(q, words[i]);

		if (r < 0) {
			return r;
		}
	}
	return q->target.port != 0 ? 0 : usage("destination=HOST:PORT is missing");
}

/* --- the answer ------------------------------------------------------------------------------ */

/* NULL: there is none. */
static void print_rule(const struct rule *rule)
{
	if (rule) {
		printf("[rule %s] at %s:%u", rule->name, rule->file, rule->line);
	} else {
		printf("no rule matches");
	}
}

/* BIND for 0.0.0.0 or ::. */
static bool explain_anybody(struct question *q, const struct addr *anybody)
{
	const struct rule *rule;
	bool denied = rules_deny_anybody(&q->config->rules, &q->request, anybody, &rule);

	printf("%s anybody: ", denied ? "deny" : "allow");
	print_rule(rule);
	puts(denied ? "" : ", if it and the guard let the peer through that comes");
	return !denied;
}

static bool explain_address(struct question *q, const struct addr *address)
{
	struct addr shown = addr_unmap(address);
	struct rules_verdict verdict;
	char text[ADDR_TEXT_MAX];

	if (q->request.command == SOCKS5_BIND && expected_peer_is_anybody(address)) {
		return explain_anybody(q, address);
	}
	addr_set_port(&shown, q->target.port);
	host_note_local(&q->guard, &shown, &q->local);
	verdict = rules_check(&q->config->rules, &q->request, address, &q->guard);
	printf("%s %s: ", verdict.allowed ? "allow" : "deny",
	       addr_format(&shown, text, sizeof text));
	if (verdict.guard != GUARD_ALLOWED) {
		printf("guard, %s", guard_verdict_name(verdict.guard));
	} else {
		print_rule(verdict.rule);
	}
	if (verdict.egress) {
		printf(", egress %s", verdict.egress->name);
		if (!egress_has_family(verdict.egress, shown.sa.sa_family)) {
			printf(" (which has no address of this family)");
		}
	}
	putchar('\n');
	return verdict.allowed;
}

static int explain_addresses(struct question *q)
{
	bool any = false;

	for (size_t i = 0; i < q->address_count; i++) {
		any = explain_address(q, &q->addresses[i]) || any;
	}
	return any ? EXPLAIN_ALLOWED : EXPLAIN_DENIED;
}

/* --- names ----------------------------------------------------------------------------------- */

static void on_lookup(void *arg, enum ares_io_status status, const struct addr *addresses,
		      size_t count)
{
	struct question *q = arg;

	q->lookups--;
	q->status = status > q->status ? status : q->status;
	for (size_t i = 0; i < count && q->address_count < ADDRESSES_MAX; i++) {
		q->addresses[q->address_count++] = addresses[i];
	}
}

/* Run both lookups to their end; the resolver gives up by itself. 0 or -errno. */
static int run_lookups(struct question *q, struct loop *loop)
{
	int family = q->config->dns->family;
	struct resolver *resolver = resolver_new(loop, NULL, q->config->dns);
	int r = resolver ? 0 : -errno;

	if (!resolver) {
		return r;
	}
	q->lookups = family == DNS_FAMILY_ANY ? 2 : 1;
	if (family != DNS_FAMILY_IPV4) {
		resolver_lookup(resolver, q->target.name, AF_INET6, on_lookup, q);
	}
	if (family != DNS_FAMILY_IPV6) {
		resolver_lookup(resolver, q->target.name, AF_INET, on_lookup, q);
	}
	while (r == 0 && q->lookups > 0) {
		r = loop_turn(loop, -1);
	}
	resolver_free(resolver);
	return r;
}

static int resolve(struct question *q)
{
	struct loop *loop = loop_new();
	int r = loop ? 0 : -errno;

	if (r == 0 && (crypto_init() < 0 || ares_io_global_init() < 0)) {
		r = -EIO;
	}
	if (r == 0) {
		r = run_lookups(q, loop);
		ares_io_global_done();
	}
	loop_free(loop);
	if (r < 0) {
		fprintf(stderr, "socksd: --explain: %s\n", strerror(-r));
	}
	return r;
}

static int explain_name(struct question *q)
{
	const struct rule *rule;

	if (rules_deny_name(&q->config->rules, &q->request, &rule)) {
		printf("deny %s:%u: ", q->target.name, q->target.port);
		print_rule(rule);
		putchar('\n');
		return EXPLAIN_DENIED;
	}
	if (resolve(q) < 0) {
		return EXPLAIN_FAILED;
	}
	if (q->address_count == 0) {
		fprintf(stderr, "socksd: --explain: %s: %s\n", q->target.name,
			ares_io_status_text(q->status));
		return EXPLAIN_FAILED;
	}
	return explain_addresses(q);
}

/* --- the command ----------------------------------------------------------------------------- */

/* The addresses that the configuration listens on. 0 or -ENOMEM. */
static int list_listeners(struct question *q)
{
	const struct listens *listens = &q->config->listens;
	size_t count = 0;

	for (size_t i = 0; i < listens->count; i++) {
		count += listens->items[i].addresses->count;
	}
	q->listeners = calloc(count + 1, sizeof *q->listeners);
	if (!q->listeners) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < listens->count; i++) {
		const struct addr_list *list = listens->items[i].addresses;

		for (size_t k = 0; k < list->count; k++) {
			q->listeners[q->guard.listener_count++] = list->items[k];
		}
	}
	q->guard.listeners = q->listeners;
	return 0;
}

static int explain(const void *config, char *const *words, size_t word_count)
{
	struct question q = { .config = config, .request.command = SOCKS5_CONNECT };
	int exit_code;

	addr_parse_ip("127.0.0.1", &q.client);
	if (take_words(&q, words, word_count) < 0) {
		return EXPLAIN_USAGE;
	}
	if (list_listeners(&q) < 0) {
		return EXPLAIN_FAILED;
	}
	if (q.request.command == SOCKS5_BIND) {
		q.guard.listener_count = 0; /* the peer is not connected to */
	}
	q.guard.client = &q.client;
	q.request.client = &q.client;
	q.request.port = q.target.port;
	if (q.target.addr.sa.sa_family == AF_UNSPEC) {
		q.request.name = q.target.name;
		exit_code = explain_name(&q);
	} else {
		q.addresses[q.address_count++] = q.target.addr;
		exit_code = explain_addresses(&q);
	}
	free(q.listeners);
	return exit_code;
}

const struct service_command explain_command = {
	.name = "explain",
	.words = "[client=IP] [user=NAME] [command=connect|bind|udp] destination=HOST:PORT",
	.help = "print what the rules and the guard make of a request; exit 0: allowed, 3: denied",
	.run = explain,
};
