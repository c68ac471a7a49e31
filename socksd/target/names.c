/* SPDX-License-Identifier: ISC */
#include "socksd/target/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS_MIN = 16,
};

struct entry {
	struct entry *chain; /* next in its bucket */
	struct entry *newer; /* by last use */
	struct entry *older;
	uint64_t hash;
	uint64_t expires_ms;
	enum names_result result;
	int family;
	size_t count;
	struct addr *addresses; /* behind the entry */
	char *name;             /* behind them */
	size_t bytes;           /* of all three */
};

struct names {
	struct names_config config;
	struct entry **buckets;
	size_t bucket_count; /* a power of two */
	struct entry *newest;
	struct entry *oldest;
	size_t count;
	size_t bytes;
};

struct names *names_new(const struct names_config *config)
{
	struct names *names = calloc(1, sizeof *names);

	if (!names) {
		return NULL;
	}
	names->config = *config;
	names->bucket_count = BUCKETS_MIN;
	names->buckets = calloc(names->bucket_count, sizeof *names->buckets);
	if (!names->buckets) {
		free(names);
		return NULL;
	}
	return names;
}

void names_free(struct names *names)
{
	if (!names) {
		return;
	}
	names_clear(names);
	free(names->buckets);
	free(names);
}

size_t names_count(const struct names *names)
{
	return names->count;
}

size_t names_bytes(const struct names *names)
{
	return names->bytes;
}

/* --- the order of use ------------------------------------------------------------------------ */

static void unlink_used(struct names *names, struct entry *e)
{
	*(e->newer ? &e->newer->older : &names->newest) = e->older;
	*(e->older ? &e->older->newer : &names->oldest) = e->newer;
}

static void link_newest(struct names *names, struct entry *e)
{
	e->newer = NULL;
	e->older = names->newest;
	*(e->older ? &e->older->newer : &names->oldest) = e;
	names->newest = e;
}

/* --- the table ------------------------------------------------------------------------------- */

static struct entry **bucket_of(const struct names *names, uint64_t hash)
{
	return &names->buckets[hash & (names->bucket_count - 1)];
}

static uint64_t hash_of(const struct names *names, const char *name)
{
	return crypto_siphash(&names->config.key, name, strlen(name));
}

static struct entry *find(const struct names *names, uint64_t hash, const char *name, int family)
{
	struct entry *e = *bucket_of(names, hash);

	while (e && (e->hash != hash || e->family != family || strcmp(e->name, name) != 0)) {
		e = e->chain;
	}
	return e;
}

static void drop(struct names *names, struct entry *e)
{
	struct entry **link = bucket_of(names, e->hash);

	while (*link != e) {
		link = &(*link)->chain;
	}
	*link = e->chain;
	unlink_used(names, e);
	names->count--;
	names->bytes -= e->bytes;
	free(e);
}

/* As many buckets as entries. Without memory for it chains get longer, that is all. */
static void widen(struct names *names)
{
	struct names wider = *names;

	if (names->count < names->bucket_count) {
		return;
	}
	wider.bucket_count *= 2;
	wider.buckets = calloc(wider.bucket_count, sizeof *wider.buckets);
	if (!wider.buckets) {
		return;
	}
	for (struct entry *e = names->newest; e; e = e->older) {
		struct entry **bucket = bucket_of(&wider, e->hash);

		e->chain = *bucket;
		*bucket = e;
	}
	free(names->buckets);
	*names = wider;
}

void names_clear(struct names *names)
{
	while (names->oldest) {
		drop(names, names->oldest);
	}
}

static void make_room(struct names *names, size_t entries, size_t bytes)
{
	while (names->oldest && (names->count + entries > names->config.max_entries ||
				 names->bytes + bytes > names->config.max_bytes)) {
		drop(names, names->oldest);
	}
}

void names_limit(struct names *names, size_t max_entries, size_t max_bytes)
{
	names->config.max_entries = max_entries;
	names->config.max_bytes = max_bytes;
	make_room(names, 0, 0);
}

/* --- get and put ----------------------------------------------------------------------------- */

enum names_result names_get(struct names *names, const char *name, int family, uint64_t now_ms,
			    const struct addr **ret_addresses, size_t *ret_count)
{
	struct entry *e = find(names, hash_of(names, name), name, family);

	*ret_addresses = NULL;
	*ret_count = 0;
	if (!e) {
		return NAMES_MISS;
	}
	if (now_ms >= e->expires_ms) {
		drop(names, e);
		return NAMES_MISS;
	}
	unlink_used(names, e);
	link_newest(names, e);
	*ret_addresses = e->addresses;
	*ret_count = e->count;
	return e->result;
}

static uint64_t lifetime_ms(enum names_result result, uint64_t ttl_ms)
{
	switch (result) {
	case NAMES_FOUND:
		return ttl_ms < NAMES_TTL_MAX_MS ? ttl_ms : NAMES_TTL_MAX_MS;
	case NAMES_NO_NAME:
	case NAMES_NO_DATA:
		return NAMES_NEGATIVE_MS;
	case NAMES_FAILED:
		return NAMES_FAILURE_MS;
	case NAMES_MISS:
		break;
	}
	return 0;
}

static struct entry *new_entry(const char *name, const struct addr *addresses, size_t count)
{
	size_t name_bytes = strlen(name) + 1;
	size_t bytes = sizeof(struct entry) + count * sizeof *addresses + name_bytes;
	struct entry *e = calloc(1, bytes);

	if (!e) {
		return NULL;
	}
	e->addresses = (struct addr *)(void *)(e + 1);
	e->name = (char *)(e->addresses + count);
	e->count = count;
	e->bytes = bytes;
	if (count > 0) {
		memcpy(e->addresses, addresses, count * sizeof *addresses);
	}
	memcpy(e->name, name, name_bytes);
	return e;
}

void names_put(struct names *names, const char *name, int family, enum names_result result,
	       const struct addr *addresses, size_t count, uint64_t ttl_ms, uint64_t now_ms)
{
	uint64_t hash = hash_of(names, name);
	struct entry *e = find(names, hash, name, family);
	uint64_t life_ms = lifetime_ms(result, ttl_ms);

	if (e) {
		drop(names, e);
	}
	if (life_ms == 0 || names->config.max_entries == 0) {
		return;
	}
	count = count < NAMES_ADDRESSES_MAX ? count : NAMES_ADDRESSES_MAX;
	e = new_entry(name, addresses, count);
	if (!e) {
		return;
	}
	if (e->bytes > names->config.max_bytes) {
		free(e);
		return;
	}
	e->hash = hash;
	e->family = family;
	e->result = result;
	e->expires_ms = now_ms + life_ms;
	make_room(names, 1, e->bytes);
	widen(names);
	e->chain = *bucket_of(names, hash);
	*bucket_of(names, hash) = e;
	link_newest(names, e);
	names->count++;
	names->bytes += e->bytes;
}
