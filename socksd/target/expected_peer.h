/* SPDX-License-Identifier: ISC */
/*
 * Whom a BIND request waits for (RFC 1928 section 6): the address in it, the addresses of the name
 * in it, or, for 0.0.0.0 and ::, whoever comes. Only the address counts, never the port: a peer
 * that connects back does so from any port. Pure.
 */
#ifndef SOCKSD_TARGET_EXPECTED_PEER_H
#define SOCKSD_TARGET_EXPECTED_PEER_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>

/* Addresses of a name beyond these are left out. */
#define EXPECTED_PEER_MAX 16

/* All-zero expects nobody. */
struct expected_peer {
	bool anybody;
	struct addr addresses[EXPECTED_PEER_MAX]; /* folded */
	size_t count;
};

/* Exactly 0.0.0.0 or ::, folded or not: not the rest of 0.0.0.0/8. */
bool expected_peer_is_anybody(const struct addr *a);

/* Expect this one, too; v4-mapped addresses are folded. False: there were EXPECTED_PEER_MAX. */
bool expected_peer_add(struct expected_peer *expected, const struct addr *a);

/* The first address of a family, or NULL. */
const struct addr *expected_peer_of(const struct expected_peer *expected, int family);

/* Whether the peer that has come, from whatever port, is one that was waited for. */
bool expected_peer_matches(const struct expected_peer *expected, const struct addr *peer);

#endif
