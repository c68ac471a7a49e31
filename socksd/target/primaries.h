/* SPDX-License-Identifier: ISC */
/*
 * Which hosts clients are connected to, over all workers: for `bind-needs-connect`, which allows a
 * BIND only to peers that the same client (by address, and by user) has a connection to already,
 * the primary connection of RFC 1928 section 4.
 *
 * Memory: some 64 bytes for each client and host, as long as there is a connection. Pure but for a
 * mutex: any thread.
 */
#ifndef SOCKSD_TARGET_PRIMARIES_H
#define SOCKSD_TARGET_PRIMARIES_H

#include "common/addr.h"
#include "common/crypto.h"

#include <stdbool.h>
#include <stddef.h>

struct primaries;

/* Who is connected to whom. All borrowed. */
struct primary {
	const struct addr *client; /* its port does not count */
	const void *user;          /* NULL: none */
	size_t user_len;
	const struct addr *host; /* likewise; folded if v4-mapped */
};

/* The key, from crypto_random(), is for the hash table. Returns owned or NULL (out of memory). */
struct primaries *primaries_new(const struct crypto_key *key);

/* NULL is fine. */
void primaries_free(struct primaries *primaries);

/* One more connection, counted until primaries_leave(). False: out of memory. */
bool primaries_enter(struct primaries *primaries, const struct primary *primary);
void primaries_leave(struct primaries *primaries, const struct primary *primary);

/* Whether there is any. */
bool primaries_has(struct primaries *primaries, const struct primary *primary);

#endif
