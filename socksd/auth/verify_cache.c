/* SPDX-License-Identifier: ISC */
#include "socksd/auth/verify_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	WAYS = 8, /* places among which a digest may choose */
};

struct entry {
	struct crypto_digest digest;
	uint64_t until_ms; /* 0: free */
};

struct verify_cache {
	uint64_t lifetime_ms;
	size_t set_count;
	bool used;
	struct entry places[][WAYS];
};

struct verify_cache *verify_cache_new(size_t count, uint64_t lifetime_ms)
{
	struct verify_cache *cache;

	assert(count >= WAYS && (count & (count - 1)) == 0 && lifetime_ms > 0);
	cache = calloc(1, sizeof *cache + count * sizeof(struct entry));
	if (cache) {
		cache->lifetime_ms = lifetime_ms;
		cache->set_count = count / WAYS;
	}
	return cache;
}

void verify_cache_free(struct verify_cache *cache)
{
	if (cache) {
		verify_cache_clear(cache);
		free(cache);
	}
}

static size_t set_of(const struct verify_cache *cache, const struct crypto_digest *digest)
{
	uint64_t word;

	memcpy(&word, digest->bytes, sizeof word);
	return word & (cache->set_count - 1);
}

bool verify_cache_has(const struct verify_cache *cache, const struct crypto_digest *digest,
		      uint64_t now_ms)
{
	const struct entry *set = cache->places[set_of(cache, digest)];

	for (int i = 0; i < WAYS; i++) {
		if (set[i].until_ms > now_ms &&
		    crypto_equal(&set[i].digest, digest, sizeof *digest)) {
			return true;
		}
	}
	return false;
}

void verify_cache_add(struct verify_cache *cache, const struct crypto_digest *digest,
		      uint64_t now_ms)
{
	struct entry *set = cache->places[set_of(cache, digest)];
	struct entry *place = &set[0];

	for (int i = 0; i < WAYS; i++) {
		if (set[i].until_ms != 0 && crypto_equal(&set[i].digest, digest, sizeof *digest)) {
			place = &set[i];
			break;
		}
		if (set[i].until_ms < place->until_ms) {
			place = &set[i];
		}
	}
	cache->used = true;
	place->digest = *digest;
	place->until_ms = now_ms + cache->lifetime_ms;
}

void verify_cache_clear(struct verify_cache *cache)
{
	/* An unused table has no memory yet, and is to get none by this. */
	if (cache->used) {
		crypto_wipe(cache->places, cache->set_count * sizeof cache->places[0]);
		cache->used = false;
	}
}
