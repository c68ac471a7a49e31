/* SPDX-License-Identifier: ISC */
/*
 * The rules: who may reach what, and from where connections leave. Pure; loading is the business of
 * config_rules.h. Immutable after rules_seal(), shared by all threads.
 *
 * A rule matches when each condition it states is met; a condition that is left out is met by
 * everything, and within one condition any item is enough. The rules are asked in file order, and
 * the first that matches decides. When none matches, the request is allowed. What the rules allow
 * is still subject to the guard (guard.h).
 *
 * BIND lets strangers connect to this host, so it is the other way round: it is denied unless a
 * rule allows it, and a rule that allows matches it only if its `command` says bind. The
 * destination is the peer that is expected, the port the one in the request, which says nothing
 * about where the peer comes from. A client that expects 0.0.0.0 or :: gets any peer that the rules
 * allow.
 *
 *	command		connect, bind, udp
 *	client		the client's address is in one of the networks
 *	user		the client has given the password of one of these users
 *	port		the destination's port is in one of the ranges
 *	destination	names and suffixes are compared with the name in the request, never with an
 *			address; networks are compared with each address that would be connected to,
 *			whether it was in the request or came from DNS
 *
 * So the verdict belongs to a pair of name and address: of a name's addresses some may be allowed
 * and others not, and whatever DNS says, each address that is connected to has passed here. A
 * denying network is also compared with the IPv4 address that an IPv6 address embeds (NAT64, 6to4),
 * an allowing one is not.
 *
 * A rule overrules the guard only by listing what the guard protects: it must allow, and have among
 * its destinations the address itself, or a network that lies wholly in one protected range
 * (127.0.0.0/8, 169.254.0.0/16, fe80::/10, 224.0.0.0/4, ...). For a metadata service and an address
 * that embeds a protected one it must be the address itself, and for one of our own listeners the
 * rule must also name ports. A name never does (its owner decides what it resolves to), nor does
 * 0.0.0.0/0, nor a rule without destinations.
 */
#ifndef SOCKSD_RULES_RULES_H
#define SOCKSD_RULES_RULES_H

#include "common/match.h"
#include "common/netset.h"

#include "socksd/protocol/socks5.h"
#include "socksd/rules/guard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct egress;

struct rule_ports {
	uint16_t first;
	uint16_t last;
};

struct rule {
	/* Borrowed from the configuration: */
	const char *name;
	const char *file; /* where it stands; "-o" for the command line */
	unsigned line;
	const struct netset *clients; /* NULL: all */
	char *const *users;
	size_t user_count;           /* 0: all, also clients without a name */
	const struct egress *egress; /* NULL: as the routes say */
	/* Owned: */
	bool allow;
	unsigned commands; /* bits 1 << command; 0: all */
	struct rule_ports *ports;
	size_t port_count;          /* 0: all */
	struct match *destinations; /* NULL: all */
	bool has_nets;              /* some destination is a network */
	/* What of the destinations overrules the guard; NULL: nothing. */
	struct match *exact;     /* single addresses */
	struct match *protected; /* networks within a protected range */
};

struct rules {
	struct rule *items;
	size_t count;
};

/* --- building -------------------------------------------------------------------------------- */

/* Room for that many rules, all zero: allocates rules->items. 0 or -ENOMEM. */
int rules_init(struct rules *rules, size_t count);

/* Frees what the rules own. */
void rules_done(struct rules *rules);

/* "25" or "6000-6063". 0, or -EINVAL as below. */
int rule_parse_ports(const char *text, struct rule_ports *ret_ports, const char **reterr_why);

/* Add an item to a condition. 0, -ENOMEM, -E2BIG (too many), or -EINVAL with *reterr_why, a static
 * text. A rule's `allow` must be set before destinations are added. */
int rule_add_command(struct rule *rule, const char *word, const char **reterr_why);
int rule_add_ports(struct rule *rule, const char *text, const char **reterr_why);
int rule_add_destination(struct rule *rule, const char *text, size_t len, const char **reterr_why);

/* All is added. */
void rules_seal(struct rules *rules);

/* --- asking ---------------------------------------------------------------------------------- */

/* Who asks for what. All borrowed. */
struct rules_request {
	enum socks5_command command;
	const struct addr *client;
	const void *user; /* NULL: none */
	size_t user_len;
	const char *name; /* as in struct socks5_target; NULL when an address was requested */
	uint16_t port;    /* of the destination */
};

struct rules_verdict {
	bool allowed;
	const struct rule *rule;     /* that decided, borrowed from rules; NULL: none matched */
	enum guard_verdict guard;    /* GUARD_ALLOWED also when it was overruled or not asked */
	const struct egress *egress; /* when allowed; may be NULL */
};

/* Judge one address (its port is not looked at: request->port counts), just before it is connected
 * to or sent to. */
struct rules_verdict rules_check(const struct rules *rules, const struct rules_request *request,
				 const struct addr *address, const struct guard_context *guard);

/* Whether a request for a name is denied whatever its addresses: asked before it is resolved, so
 * that DNS never hears of it. *ret_rule is the rule then, or NULL: none allows a BIND. */
bool rules_deny_name(const struct rules *rules, const struct rules_request *request,
		     const struct rule **ret_rule);

/* Whether some rule may allow a BIND. */
bool rules_know_bind(const struct rules *rules);

/* Whether a BIND for whoever comes is denied, whoever that will be: by a rule (*ret_rule) without
 * destination or with one that holds `anybody` (0.0.0.0 or ::), or because no rule allows it (NULL;
 * one that lists names only does not). When not, *ret_rule is the rule that may allow it. */
bool rules_deny_anybody(const struct rules *rules, const struct rules_request *request,
			const struct addr *anybody, const struct rule **ret_rule);

/* Whether the command, UDP ASSOCIATE, is denied to this client whatever the destination;
 * request->name and port are not looked at. *ret_rule is the rule then. */
bool rules_deny_command(const struct rules *rules, const struct rules_request *request,
			const struct rule **ret_rule);

/* "rule", "no_rule", the guard's token, or "allowed": the one word for a verdict in logs. */
const char *rules_verdict_name(const struct rules_verdict *verdict);

#endif
