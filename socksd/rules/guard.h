/* SPDX-License-Identifier: ISC */
/*
 * The guard: the proxy never lets a client reach what it could not reach by itself. It judges
 * resolved addresses, each one just before it is connected or sent to; a rule that names a
 * destination may overrule it. Private networks are not its business: who may use the proxy may
 * reach them. Pure.
 */
#ifndef SOCKSD_RULES_GUARD_H
#define SOCKSD_RULES_GUARD_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, "token"): the one word for it in logs, counters and tests. */
#define GUARD_VERDICTS(X)                                                                \
	X(ALLOWED, "allowed")                                                            \
	X(UNSPECIFIED, "unspecified") /* 0.0.0.0/8, ::; Linux would connect to itself */ \
	X(LOOPBACK, "loopback")       /* and the client is not on this host */           \
	X(LINK_LOCAL, "link_local")                                                      \
	X(MULTICAST, "multicast")                                                        \
	X(RESERVED, "reserved")         /* 240.0.0.0/4 and broadcast */                  \
	X(METADATA, "metadata")         /* credentials of a cloud instance */            \
	X(OWN_LISTENER, "own_listener") /* the proxy would talk to itself */             \
	X(EMBEDDED, "embedded")         /* holds an IPv4 address that would be denied */

#define GUARD_ENUM(name, token) GUARD_##name,
enum guard_verdict {
	GUARD_VERDICTS(GUARD_ENUM)
};
#undef GUARD_ENUM

/* What the guard has to know about the place a request came from. All borrowed. */
struct guard_context {
	const struct addr *client;    /* peer of the control connection */
	const struct addr *local;     /* an address of this host; see host.h */
	const struct addr *listeners; /* what we are bound to, real ports, wildcards as they are */
	size_t listener_count;
};

/* Judge one destination, with port. v4-mapped addresses are folded first, on all sides. A wildcard
 * listener stands for every loopback address and for `local`: what else this host is called is not
 * known here. */
enum guard_verdict guard_check(const struct guard_context *context, const struct addr *destination);

/* Whether the destination is one of our own listeners, whatever else it is. */
bool guard_is_own_listener(const struct guard_context *context, const struct addr *destination);

/* The IPv4 address that a translator or tunnel would turn this IPv6 address into, with its port.
 * False when it embeds none; a v4-mapped one is no embedding, it is folded. */
bool guard_embedded_ipv4(const struct addr *a, struct addr *ret_ipv4);

const char *guard_verdict_name(enum guard_verdict verdict);

#endif
