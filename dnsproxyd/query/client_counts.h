/* SPDX-License-Identifier: ISC */
/*
 * How many of something each client has, an IPv4 address or an IPv6 /64 being one client: so that
 * nobody takes all there is. Memory goes with the number of clients that have any.
 *
 * Pure; one thread at a time.
 */
#ifndef DNSPROXYD_QUERY_CLIENT_COUNTS_H
#define DNSPROXYD_QUERY_CLIENT_COUNTS_H

#include "common/addr.h"
#include "common/crypto.h"

#include <stdbool.h>
#include <stddef.h>

struct client_counts;

/* Returns owned or NULL (out of memory). */
struct client_counts *client_counts_new(const struct crypto_key *hash_key);

/* NULL is fine. */
void client_counts_free(struct client_counts *counts);

/* One more for this client, unless it has `limit` already. False then, or when out of memory. */
bool client_counts_add(struct client_counts *counts, const struct addr *client, size_t limit);

/* One less; it was added before. */
void client_counts_remove(struct client_counts *counts, const struct addr *client);

/* Of all clients. */
size_t client_counts_total(const struct client_counts *counts);

#endif
