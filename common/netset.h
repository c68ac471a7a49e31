/* SPDX-License-Identifier: ISC */
/*
 * A set of networks: the value of keys such as `clients = local, 203.0.113.0/24`. All zero is the
 * empty set. Pure; a set that no longer changes may be shared between threads.
 */
#ifndef COMMON_NETSET_H
#define COMMON_NETSET_H

#include "common/addr.h"

struct netset {
	bool any;   /* everyone */
	bool local; /* loopback, RFC 1918, ULA, link-local, CGNAT */
	struct prefix *prefixes;
	size_t count;
};

/* Add one item: "any", "local", a prefix or an address. 0, -ENOMEM, or -EINVAL with *reterr_why
 * (static). */
int netset_add(struct netset *set, const char *item, const char **reterr_why);

/* Whether the address (its IPv4 form when it is a mapped one) is in the set; AF_UNSPEC never is. */
bool netset_contains(const struct netset *set, const struct addr *a);

/* Free what the set owns and empty it. */
void netset_done(struct netset *set);

#endif
