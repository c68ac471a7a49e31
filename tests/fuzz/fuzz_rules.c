/* SPDX-License-Identifier: ISC */
/*
 * A configuration of socksd with rules, then a NUL, then a destination. Whatever the rules, some
 * things hold.
 */
#include "socksd/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Users files and lists are other targets' business, and not for a fuzzer to open. */
static bool names_files(const struct params *params)
{
	const struct section *section = NULL;

	while ((section = params_next(params, "listen", section)) != NULL) {
		const struct listen_params *p = section->values;

		if (p->users_file) {
			return true;
		}
	}
	while ((section = params_next(params, "rule", section)) != NULL) {
		const struct rule_params *p = section->values;

		for (size_t i = 0; i < p->destinations.count; i++) {
			if (p->destinations.items[i][0] == '@') {
				return true;
			}
		}
	}
	return false;
}

/* The rule that decides, asked of each rule for itself. */
static const struct rule *first_match(const struct rules *rules,
				      const struct rules_request *request, const struct addr *a,
				      const struct guard_context *guard)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rules alone = { &rules->items[i], 1 };
		struct rules_verdict verdict = rules_check(&alone, request, a, guard);

		if (verdict.rule) {
			return verdict.rule;
		}
	}
	return NULL;
}

/* BIND is denied unless a rule allows it, and what is said before the peer is known holds then. */
static void check_bind(const struct rules *rules, const struct rules_request *request,
		       const struct rules_verdict *verdict)
{
	const struct rule *denier = NULL;
	struct addr anybody;

	assert(addr_parse_ip("0.0.0.0", &anybody) == 0);
	assert(!verdict->allowed || (verdict->rule && verdict->rule->allow));
	assert(!verdict->allowed || rules_know_bind(rules));
	if (!request->name && rules_deny_anybody(rules, request, &anybody, &denier)) {
		assert(!denier || !denier->allow);
		assert((denier && denier->destinations) || !verdict->allowed);
	}
}

static void check_request(const struct rules *rules, const struct rules_request *request,
			  const struct addr *a)
{
	struct addr client = *request->client;
	const struct guard_context guard = { .client = &client, .local = &client };
	struct rules_verdict verdict = rules_check(rules, request, a, &guard);
	struct addr target = *a;
	const struct rule *denier = NULL;

	addr_set_port(&target, request->port);
	assert(verdict.rule == first_match(rules, request, a, &guard));
	if (verdict.rule ? !verdict.rule->allow : request->command == SOCKS5_BIND) {
		assert(!verdict.allowed && verdict.guard == GUARD_ALLOWED);
	} else {
		assert(verdict.allowed == (verdict.guard == GUARD_ALLOWED));
	}
	if (!verdict.rule || !verdict.rule->has_nets) {
		/* Without a network in the rule the guard has the last word. */
		assert(!verdict.allowed || guard_check(&guard, &target) == GUARD_ALLOWED);
	}
	if (guard_check(&guard, &target) == GUARD_ALLOWED) {
		assert(verdict.guard == GUARD_ALLOWED);
	}
	assert(!verdict.egress || verdict.allowed);
	if (request->name && rules_deny_name(rules, request, &denier)) {
		assert(denier ? !denier->allow : request->command == SOCKS5_BIND);
		assert(!verdict.allowed);
	}
	if (request->command == SOCKS5_BIND) {
		check_bind(rules, request, &verdict);
	}
}

static void check_rules(const struct rules *rules, const char *text, size_t len)
{
	static const char *const clients[] = { "192.168.1.7", "127.0.0.1", "2001:db8::7" };
	static const char *const addresses[] = { "192.0.2.1",       "127.0.0.1",
						 "10.1.2.3",        "::1",
						 "169.254.169.254", "64:ff9b::a01:203",
						 "2001:db8::1" };
	char name[SOCKS5_NAME_MAX + 1] = "a.example";
	struct addr client;
	struct rules_request request = { .client = &client, .user = "alice", .user_len = 5 };

	if (len > 0 && len < sizeof name && !memchr(text, '\0', len)) {
		memcpy(name, text, len);
		name[len] = '\0';
	}
	for (size_t i = 0; i < 3 * 7 * 2 * 3; i++) {
		struct addr a;

		assert(addr_parse_ip(clients[i % 3], &client) == 0);
		assert(addr_parse_ip(addresses[i / 3 % 7], &a) == 0);
		request.name = i / 21 % 2 ? name : NULL;
		request.command = (enum socks5_command)(1 + i / 42);
		request.port = i % 2 ? 80 : 25;
		check_request(rules, &request, &a);
	}
	if (addr_parse_ip(name, &(struct addr){ 0 }) == 0) {
		struct addr a;

		addr_parse_ip(name, &a);
		request.name = NULL;
		check_request(rules, &request, &a);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size == 0 ? NULL : memchr(data, '\0', size);
	size_t config_len = nul ? (size_t)(nul - data) : size;
	struct params *params = params_new(&config_schema);
	struct ini_error error = { "" };
	struct config *config = NULL;

	assert(params);
	if (params_read_bytes(params, "conf", data, config_len, &error) == 0 &&
	    params_finish(params, &error) == 0 && !names_files(params)) {
		config = config_new(params, &error);
		assert(config || error.text[0] != '\0');
	}
	if (config) {
		check_rules(&config->rules, nul ? (const char *)nul + 1 : "",
			    nul ? size - config_len - 1 : 0);
	}
	config_free(config);
	params_free(params);
	return 0;
}
