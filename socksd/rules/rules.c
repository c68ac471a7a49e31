/* SPDX-License-Identifier: ISC */
#include "socksd/rules/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- building -------------------------------------------------------------------------------- */

int rules_init(struct rules *rules, size_t count)
{
	rules->items = calloc(count + 1, sizeof *rules->items);
	rules->count = rules->items ? count : 0;
	return rules->items ? 0 : -ENOMEM;
}

void rules_done(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		struct rule *rule = &rules->items[i];

		free(rule->ports);
		match_free(rule->destinations);
		match_free(rule->exact);
		match_free(rule->protected);
	}
	free(rules->items);
	*rules = (struct rules){ 0 };
}

int rule_add_command(struct rule *rule, const char *word, const char **reterr_why)
{
	static const enum socks5_command commands[] = {
#define RULE_COMMAND(name, value, token) SOCKS5_##name,
		SOCKS5_COMMANDS(RULE_COMMAND)
#undef RULE_COMMAND
	};

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(word, socks5_command_name(commands[i])) == 0) {
			rule->commands |= 1u << commands[i];
			return 0;
		}
	}
	*reterr_why = "connect, bind or udp was expected";
	return -EINVAL;
}

/* Digits only, 1 to 65535. Returns what follows them, or NULL. */
static const char *parse_port(const char *text, uint16_t *ret_port)
{
	unsigned long value = 0;
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > 5) {
		return NULL;
	}
	for (size_t i = 0; i < len; i++) {
		value = value * 10 + (unsigned long)(text[i] - '0');
	}
	if (value == 0 || value > UINT16_MAX) {
		return NULL;
	}
	*ret_port = (uint16_t)value;
	return text + len;
}

int rule_parse_ports(const char *text, struct rule_ports *ret_ports, const char **reterr_why)
{
	struct rule_ports ports = { 0 };
	const char *rest = parse_port(text, &ports.first);

	ports.last = ports.first;
	if (rest && rest[0] == '-') {
		rest = parse_port(rest + 1, &ports.last);
	}
	if (!rest || rest[0] != '\0') {
		*reterr_why = "a port from 1 to 65535, or FIRST-LAST, was expected";
		return -EINVAL;
	}
	if (ports.first > ports.last) {
		*reterr_why = "the lower port first was expected";
		return -EINVAL;
	}
	*ret_ports = ports;
	return 0;
}

int rule_add_ports(struct rule *rule, const char *text, const char **reterr_why)
{
	struct rule_ports ports;
	struct rule_ports *grown;
	int r = rule_parse_ports(text, &ports, reterr_why);

	if (r < 0) {
		return r;
	}
	grown = reallocarray(rule->ports, rule->port_count + 1, sizeof *grown);
	if (!grown) {
		return -ENOMEM;
	}
	rule->ports = grown;
	rule->ports[rule->port_count++] = ports;
	return 0;
}

/* Add to a set, which is made when it is first needed. */
static int add_entry(struct match **set, const struct match_entry *entry)
{
	if (!*set) {
		*set = match_new();
	}
	return *set ? match_add(*set, entry) : -ENOMEM;
}

/* The last address of a network. */
static struct addr last_address(const struct prefix *net)
{
	struct addr a = net->base;
	bool ipv4 = a.sa.sa_family == AF_INET;
	uint8_t *bytes = ipv4 ? (uint8_t *)&a.in4.sin_addr : a.in6.sin6_addr.s6_addr;

	for (size_t bit = net->bits; bit < (ipv4 ? 32u : 128u); bit++) {
		bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	}
	return a;
}

/* Whether all of the network is of one kind that the guard protects. These kinds are networks
 * themselves, so both ends tell. */
static bool is_protected(const struct prefix *net)
{
	struct addr last = last_address(net);
	enum addr_scope scope = addr_scope(&net->base);

	if (scope != addr_scope(&last)) {
		return false;
	}
	switch (scope) {
	case ADDR_UNSPECIFIED:
	case ADDR_LOOPBACK:
	case ADDR_LINK_LOCAL:
	case ADDR_MULTICAST:
	case ADDR_RESERVED:
		return true;
	case ADDR_PRIVATE:
	case ADDR_CGNAT:
	case ADDR_GLOBAL:
		break;
	}
	return false;
}

int rule_add_destination(struct rule *rule, const char *text, size_t len, const char **reterr_why)
{
	struct match_entry entry;
	int r = match_parse(text, len, &entry, reterr_why);

	if (r == 0) {
		r = add_entry(&rule->destinations, &entry);
	}
	if (r < 0 || entry.kind != MATCH_NET) {
		return r;
	}
	rule->has_nets = true;
	if (rule->allow && entry.net.bits == (entry.net.base.sa.sa_family == AF_INET ? 32 : 128)) {
		r = add_entry(&rule->exact, &entry);
	}
	if (r == 0 && rule->allow && is_protected(&entry.net)) {
		r = add_entry(&rule->protected, &entry);
	}
	return r;
}

static void seal(struct match *set)
{
	if (set) {
		match_seal(set);
	}
}

void rules_seal(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		seal(rules->items[i].destinations);
		seal(rules->items[i].exact);
		seal(rules->items[i].protected);
	}
}

/* --- asking ---------------------------------------------------------------------------------- */

static bool user_matches(const struct rule *rule, const struct rules_request *request)
{
	if (rule->user_count == 0) {
		return true;
	}
	for (size_t i = 0; request->user && i < rule->user_count; i++) {
		if (strlen(rule->users[i]) == request->user_len &&
		    memcmp(rule->users[i], request->user, request->user_len) == 0) {
			return true;
		}
	}
	return false;
}

static bool port_matches(const struct rule *rule, uint16_t port)
{
	for (size_t i = 0; i < rule->port_count; i++) {
		if (port >= rule->ports[i].first && port <= rule->ports[i].last) {
			return true;
		}
	}
	return rule->port_count == 0;
}

static bool command_matches(const struct rule *rule, enum socks5_command command)
{
	if (rule->commands == 0) {
		return command != SOCKS5_BIND || !rule->allow;
	}
	return (rule->commands & 1u << command) != 0;
}

/* The conditions about who asks for what kind of service. */
static bool party_matches(const struct rule *rule, const struct rules_request *request)
{
	return command_matches(rule, request->command) && user_matches(rule, request) &&
	       (!rule->clients || netset_contains(rule->clients, request->client));
}

/* All conditions but the destination. */
static bool request_matches(const struct rule *rule, const struct rules_request *request)
{
	return port_matches(rule, request->port) && party_matches(rule, request);
}

static bool name_matches(const struct rule *rule, const struct rules_request *request)
{
	return !rule->destinations ||
	       (request->name && match_has_name(rule->destinations, request->name));
}

static bool address_matches(const struct rule *rule, const struct addr *address)
{
	struct addr inner;

	if (!rule->has_nets) {
		return false;
	}
	if (match_has_addr(rule->destinations, address)) {
		return true;
	}
	return !rule->allow && guard_embedded_ipv4(address, &inner) &&
	       match_has_addr(rule->destinations, &inner);
}

/* Whether the rule lists what the guard objects to. */
static bool lists_protected(const struct rule *rule, enum guard_verdict verdict,
			    const struct addr *address)
{
	bool exact = rule->exact && match_has_addr(rule->exact, address);

	switch (verdict) {
	case GUARD_OWN_LISTENER:
		return exact && rule->port_count > 0;
	case GUARD_METADATA:
	case GUARD_EMBEDDED:
		return exact;
	default:
		return exact || (rule->protected && match_has_addr(rule->protected, address));
	}
}

/* The guard's verdict, after what the rule overrules of it. */
static enum guard_verdict check_guard(const struct rule *rule, const struct guard_context *guard,
				      const struct addr *address)
{
	enum guard_verdict verdict = guard_check(guard, address);

	if (verdict == GUARD_ALLOWED || !rule || !lists_protected(rule, verdict, address)) {
		return verdict;
	}
	/* The guard names one objection only, and this one comes last. */
	if (guard_is_own_listener(guard, address) &&
	    !lists_protected(rule, GUARD_OWN_LISTENER, address)) {
		return GUARD_OWN_LISTENER;
	}
	return GUARD_ALLOWED;
}

struct rules_verdict rules_check(const struct rules *rules, const struct rules_request *request,
				 const struct addr *address, const struct guard_context *guard)
{
	struct rules_verdict verdict = { .allowed = true, .guard = GUARD_ALLOWED };
	struct addr folded = addr_unmap(address);

	addr_set_port(&folded, request->port);
	for (size_t i = 0; i < rules->count && !verdict.rule; i++) {
		const struct rule *rule = &rules->items[i];

		if (request_matches(rule, request) &&
		    (name_matches(rule, request) || address_matches(rule, &folded))) {
			verdict.rule = rule;
		}
	}
	if (verdict.rule ? !verdict.rule->allow : request->command == SOCKS5_BIND) {
		verdict.allowed = false;
		return verdict;
	}
	verdict.guard = check_guard(verdict.rule, guard, &folded);
	verdict.allowed = verdict.guard == GUARD_ALLOWED;
	verdict.egress = verdict.allowed && verdict.rule ? verdict.rule->egress : NULL;
	return verdict;
}

bool rules_deny_name(const struct rules *rules, const struct rules_request *request,
		     const struct rule **ret_rule)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];

		if (!request_matches(rule, request)) {
			continue;
		}
		if (name_matches(rule, request)) {
			*ret_rule = rule;
			return !rule->allow;
		}
		if (rule->has_nets && rule->allow) {
			return false; /* some addresses may be let through here */
		}
	}
	*ret_rule = NULL;
	return request->command == SOCKS5_BIND;
}

bool rules_know_bind(const struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (rules->items[i].allow && (rules->items[i].commands & 1u << SOCKS5_BIND) != 0) {
			return true;
		}
	}
	return false;
}

/* Whether the rule says something about peers that are not known yet. */
static bool anybody_matches(const struct rule *rule, const struct addr *anybody)
{
	if (rule->allow) {
		return !rule->destinations || rule->has_nets;
	}
	return !rule->destinations || address_matches(rule, anybody);
}

bool rules_deny_anybody(const struct rules *rules, const struct rules_request *request,
			const struct addr *anybody, const struct rule **ret_rule)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];

		if (request_matches(rule, request) && anybody_matches(rule, anybody)) {
			*ret_rule = rule;
			return !rule->allow;
		}
	}
	*ret_rule = NULL;
	return true;
}

bool rules_deny_command(const struct rules *rules, const struct rules_request *request,
			const struct rule **ret_rule)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];

		if (!party_matches(rule, request)) {
			continue;
		}
		if (rule->allow) {
			return false; /* some destination may be let through here */
		}
		if (rule->port_count == 0 && !rule->destinations) {
			*ret_rule = rule;
			return true;
		}
	}
	return false;
}

const char *rules_verdict_name(const struct rules_verdict *verdict)
{
	if (verdict->rule && !verdict->rule->allow) {
		return "rule";
	}
	if (!verdict->allowed && verdict->guard == GUARD_ALLOWED) {
		return "no_rule";
	}
	return guard_verdict_name(verdict->guard);
}
