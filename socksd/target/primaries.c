/* SPDX-License-Identifier: ISC */
#include "socksd/target/primaries.h"

#include "socksd/source.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_CAP = 64,
};

/* Every byte is set, so that it can be hashed and compared as it is. */
struct identity {
	uint64_t user; /* a keyed hash of the name */
	uint8_t host[17];
	uint8_t client[sizeof(struct source)];
	uint8_t padding[6];
};

struct entry {
	struct entry *next;
	uint32_t count;
	struct identity identity;
};

/* A hash table with chains. */
struct primaries {
	struct crypto_key key;
	pthread_mutex_t lock; /* guards all below */
	struct entry **table;
	size_t cap; /* power of two */
	size_t entry_count;
};

struct primaries *primaries_new(const struct crypto_key *key)
{
	struct primaries *p = calloc(1, sizeof *p);

	if (!p) {
		return NULL;
	}
	p->table = calloc(FIRST_CAP, sizeof(struct entry *));
	if (!p->table) {
		free(p);
		return NULL;
	}
	p->cap = FIRST_CAP;
	p->key = *key;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

void primaries_free(struct primaries *p)
{
	if (!p) {
		return;
	}
	for (size_t i = 0; i < p->cap; i++) {
		while (p->table[i]) {
			struct entry *next = p->table[i]->next;

			free(p->table[i]);
			p->table[i] = next;
		}
	}
	pthread_mutex_destroy(&p->lock);
	free(p->table);
	free(p);
}

static struct identity identity_of(const struct primaries *p, const struct primary *primary)
{
	struct source client = source_of(primary->client);
	struct addr host = addr_unmap(primary->host);
	struct identity identity;

	memset(&identity, 0, sizeof identity);
	memcpy(identity.client, client.bytes, sizeof client.bytes);
	if (host.sa.sa_family == AF_INET) {
		identity.host[0] = 4;
		memcpy(identity.host + 1, &host.in4.sin_addr, 4);
	} else {
		identity.host[0] = 6;
		memcpy(identity.host + 1, &host.in6.sin6_addr, 16);
	}
	if (primary->user) {
		/* Nobody and a user without a name are not the same. */
		identity.user = crypto_siphash(&p->key, primary->user, primary->user_len) | 1;
	}
	return identity;
}

/* Where the pointer to the entry is, or would be. */
static struct entry **find(const struct primaries *p, const struct identity *identity)
{
	size_t home = crypto_siphash(&p->key, identity, sizeof *identity) & (p->cap - 1);
	struct entry **at = &p->table[home];

	while (*at && memcmp(&(*at)->identity, identity, sizeof *identity) != 0) {
		at = &(*at)->next;
	}
	return at;
}

/* Double the table; without memory the chains just get longer. */
static void grow(struct primaries *p)
{
	struct primaries bigger = *p;

	bigger.cap = p->cap * 2;
	bigger.table = calloc(bigger.cap, sizeof(struct entry *));
	if (!bigger.table) {
		return;
	}
	for (size_t i = 0; i < p->cap; i++) {
		struct entry *entry = p->table[i];

		while (entry) {
			struct entry *next = entry->next;
			struct entry **at = find(&bigger, &entry->identity);

			entry->next = NULL;
			*at = entry;
			entry = next;
		}
	}
	free(p->table);
	p->table = bigger.table;
	p->cap = bigger.cap;
}

bool primaries_enter(struct primaries *p, const struct primary *primary)
{
	struct identity identity = identity_of(p, primary);
	struct entry **at;
	bool entered;

	pthread_mutex_lock(&p->lock);
	if (p->entry_count >= p->cap) {
		grow(p);
	}
	at = find(p, &identity);
	if (!*at) {
		*at = calloc(1, sizeof **at);
		if (*at) {
			(*at)->identity = identity;
			p->entry_count++;
		}
	}
	entered = *at != NULL;
	if (entered) {
		(*at)->count++;
	}
	pthread_mutex_unlock(&p->lock);
	return entered;
}

void primaries_leave(struct primaries *p, const struct primary *primary)
{
	struct identity identity = identity_of(p, primary);
	struct entry **at;
	struct entry *entry;

	pthread_mutex_lock(&p->lock);
	at = find(p, &identity);
	entry = *at;
	assert(entry);
	entry->count--;
	if (entry->count == 0) {
		*at = entry->next;
		free(entry);
		p->entry_count--;
	}
	pthread_mutex_unlock(&p->lock);
}

bool primaries_has(struct primaries *p, const struct primary *primary)
{
	struct identity identity = identity_of(p, primary);
	bool has;

	pthread_mutex_lock(&p->lock);
	has = *find(p, &identity) != NULL;
	pthread_mutex_unlock(&p->lock);
	return has;
}
