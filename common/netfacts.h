/* SPDX-License-Identifier: ISC */
/*
 * What the kernel says of this machine's network, reduced to facts: which links work, which
 * addresses there are, which routes. Reads messages of rtnetlink(7) and tells those that change
 * something apart from those that only repeat it, such as an address whose lifetime a router
 * advertisement has renewed.
 *
 * Not looked at: the loopback interface, links that are ports of a bridge (or bond), addresses and
 * routes of loopback and link-local scope, routes to multicast and to the machine itself,
 * neighbours.
 *
 * Pure; safe on any bytes. Facts are remembered as 64-bit hashes.
 */
#ifndef COMMON_NETFACTS_H
#define COMMON_NETFACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A machine that has more is a router with a routing protocol of its own: of the routes that find
 * no place only those to everywhere (default routes) are looked at. */
#define NETFACTS_MAX 4096

/* All-zero is to know nothing. */
struct netfacts {
	size_t count;
	bool is_complete; /* all there is was learned: what then goes and is not known is of no
			     interest. Set by the owner. */
	bool is_crowded;  /* some routes found no place */
	uint64_t items[NETFACTS_MAX]; /* ascending; the upper half says what, the lower half how */
};

/* What came of a datagram. */
#define NETFACTS_CHANGED 1u /* something is not as it was */
#define NETFACTS_DUMPED  2u /* the answer to a request is complete, or refused */

/* Take one datagram of the kernel's; parts of an answer to a request (NLM_F_MULTI) are learned and
 * change nothing. Returns NETFACTS_* bits. */
unsigned netfacts_take(struct netfacts *facts, const void *buf, size_t len);

/* Messages were lost: know nothing from here on. */
void netfacts_forget(struct netfacts *facts);

#endif
