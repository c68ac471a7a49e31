/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/client_counts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOTS = 1024,
	IPV6_CLIENT_BYTES = 8, /* a /64: one host has as many addresses of it as it likes */
};

struct counted {
	struct counted *next; /* in its slot */
	size_t count;
	uint8_t id[1 + IPV6_CLIENT_BYTES]; /* the length of the rest, then the address */
};

struct client_counts {
	struct crypto_key hash_key;
	size_t total;
	struct counted *slots[SLOTS];
};

struct client_counts *client_counts_new(const struct crypto_key *hash_key)
{
	struct client_counts *counts = calloc(1, sizeof *counts);

	if (counts) {
		counts->hash_key = *hash_key;
	}
	return counts;
}

void client_counts_free(struct client_counts *counts)
{
	if (!counts) {
		return;
	}
	for (size_t i = 0; i < SLOTS; i++) {
		while (counts->slots[i]) {
			struct counted *counted = counts->slots[i];

			counts->slots[i] = counted->next;
			free(counted);
		}
	}
	free(counts);
}

static void make_id(const struct addr *client, uint8_t id[1 + IPV6_CLIENT_BYTES])
{
	const struct addr plain = addr_unmap(client);

	memset(id, 0, 1 + IPV6_CLIENT_BYTES);
	if (plain.sa.sa_family == AF_INET6) {
		id[0] = IPV6_CLIENT_BYTES;
		memcpy(id + 1, &plain.in6.sin6_addr, IPV6_CLIENT_BYTES);
	} else {
		id[0] = sizeof plain.in4.sin_addr;
		memcpy(id + 1, &plain.in4.sin_addr, sizeof plain.in4.sin_addr);
	}
}

/* The link to the client's object, or to NULL at the end of its slot. */
static struct counted **find_link(struct client_counts *counts,
				  const uint8_t id[1 + IPV6_CLIENT_BYTES])
{
	uint64_t hash = crypto_siphash(&counts->hash_key, id, 1 + IPV6_CLIENT_BYTES);
	struct counted **link = &counts->slots[hash % SLOTS];

	while (*link && memcmp((*link)->id, id, sizeof(*link)->id) != 0) {
		link = &(*link)->next;
	}
	return link;
}

bool client_counts_add(struct client_counts *counts, const struct addr *client, size_t limit)
{
	uint8_t id[1 + IPV6_CLIENT_BYTES];
	struct counted **link;

	make_id(client, id);
	link = find_link(counts, id);
	if ((*link ? (*link)->count : 0) >= limit) {
		return false;
	}
	if (!*link) {
		*link = calloc(1, sizeof **link);
		if (!*link) {
			return false;
		}
		memcpy((*link)->id, id, sizeof id);
	}
	(*link)->count++;
	counts->total++;
	return true;
}

void client_counts_remove(struct client_counts *counts, const struct addr *client)
{
	uint8_t id[1 + IPV6_CLIENT_BYTES];
	struct counted **link;
	struct counted *counted;

	make_id(client, id);
	link = find_link(counts, id);
	counted = *link;
	assert(counted);
	counts->total--;
	if (--counted->count == 0) {
		*link = counted->next;
		free(counted);
	}
}

size_t client_counts_total(const struct client_counts *counts)
{
	return counts->total;
}
