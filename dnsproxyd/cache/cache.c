/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cache.h"

#include "dnsproxyd/cache/cache_entry.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A shard has between this and twice as many bytes: small enough that doubling its table takes
 * microseconds, large enough that an even spread of names fills all shards alike. Tiny caches are
 * one shard. */
#define SHARD_BYTES     ((size_t)512 << 10)

#define SHARDS_MAX      65536

/* One answer may take this part of a shard. */
#define SHARD_PART      8

#define TABLE_LEN_MIN   64

/* How many entries the hand passes over in one eviction, so that a call does a bounded amount of
 * work even when every entry was asked for; the one it stands on then goes. */
#define HAND_STEPS_MAX  64

/* What malloc() keeps beside each piece, on top of what malloc_usable_size() says. */
#define MALLOC_OVERHEAD sizeof(size_t)

struct shard {
	pthread_mutex_t mutex;
	struct entry **table;
	size_t table_len; /* a power of two */
	size_t entries;
	size_t bytes;
	size_t bytes_max;
	struct entry *newest;
	struct entry *oldest;
	struct entry *hand; /* NULL: start at the oldest */
	uint64_t evictions;
} __attribute__((aligned(64))); /* no two on one cache line */

struct cache {
	/* When the answers of each group became the past; 0: never. */
	_Atomic uint64_t past_ms[UINT8_MAX + 1];
	cache_hash_fn hash;
	struct crypto_key hash_key;
	_Atomic unsigned flush_count;
	size_t size_bytes;
	size_t shard_count; /* a power of two */
	struct shard *shards;
};

/* --- entries --- */

static size_t allocated_bytes(void *p)
{
	return malloc_usable_size(p) + MALLOC_OVERHEAD;
}

/* Whether it is from before cache_expire_group(). That is called some time after the network has
 * changed, so an answer of the same tick is of the new one. */
static bool entry_is_past(const struct cache *cache, const struct entry *entry)
{
	uint64_t past_ms =
		atomic_load_explicit(&cache->past_ms[entry->group], memory_order_relaxed);

	return past_ms != 0 && (int32_t)(entry->stored_tick - entry_tick_of(past_ms)) < 0;
}

/* --- a shard's list and table; the mutex is held --- */

static struct entry **shard_slot(const struct shard *shard, uint32_t hash)
{
	return &shard->table[hash & (shard->table_len - 1)];
}

static struct entry *shard_find(const struct shard *shard, const struct cache_key *key)
{
	struct entry *entry = *shard_slot(shard, (uint32_t)(key->hash >> 32));

	while (entry && !entry_has_key(entry, key)) {
		entry = entry->chain;
	}
	return entry;
}

static void shard_unlink(struct shard *shard, struct entry *entry)
{
	struct entry **link = shard_slot(shard, entry->hash);

	while (*link != entry) {
		link = &(*link)->chain;
	}
	*link = entry->chain;
	*(entry->older ? &entry->older->newer : &shard->oldest) = entry->newer;
	*(entry->newer ? &entry->newer->older : &shard->newest) = entry->older;
	if (shard->hand == entry) {
		shard->hand = entry->newer;
	}
	shard->entries--;
	shard->bytes -= allocated_bytes(entry);
}

static void shard_link(struct shard *shard, struct entry *entry)
{
	struct entry **slot = shard_slot(shard, entry->hash);

	entry->chain = *slot;
	*slot = entry;
	entry->newer = NULL;
	entry->older = shard->newest;
	*(shard->newest ? &shard->newest->newer : &shard->oldest) = entry;
	shard->newest = entry;
	shard->entries++;
	shard->bytes += allocated_bytes(entry);
}

/* Take one entry out, by SIEVE; an expired one counts as not asked for. */
static struct entry *shard_evict(struct shard *shard, uint64_t now_ms)
{
	struct entry *entry = shard->hand ? shard->hand : shard->oldest;

	/* Tables and one entry never fill a shard, so there is one to take. */
	assert(entry);
	for (unsigned i = 0; i < HAND_STEPS_MAX && (entry->flags & ENTRY_VISITED) &&
			     entry_is_fresh(entry, entry_age_ticks(entry, now_ms));
	     i++) {
		entry->flags &= (uint8_t)~ENTRY_VISITED;
		entry = entry->newer ? entry->newer : shard->oldest;
	}
	shard->hand = entry;
	shard_unlink(shard, entry);
	shard->evictions++;
	return entry;
}

/* Double the table when there are more entries than slots and both tables fit for a moment; without
 * it lookups go on working, a little slower. */
static void shard_grow(struct shard *shard)
{
	size_t old_len = shard->table_len;
	struct entry **old = shard->table;
	struct entry **table;

	if (shard->entries <= old_len ||
	    shard->bytes + 2 * old_len * sizeof *table > shard->bytes_max) {
		return;
	}
	table = calloc(2 * old_len, sizeof *table);
	if (!table) {
		return;
	}
	shard->bytes += allocated_bytes(table);
	shard->bytes -= allocated_bytes(old);
	shard->table = table;
	shard->table_len = 2 * old_len;
	for (size_t i = 0; i < old_len; i++) {
		for (struct entry *entry = old[i], *next; entry; entry = next) {
			struct entry **slot = shard_slot(shard, entry->hash);

			next = entry->chain;
			entry->chain = *slot;
			*slot = entry;
		}
	}
	free(old);
}

/* --- life --- */

static int shard_init(struct shard *shard, size_t bytes_max)
{
	memset(shard, 0, sizeof *shard);
	shard->table = calloc(TABLE_LEN_MIN, sizeof *shard->table);
	if (!shard->table) {
		return -ENOMEM;
	}
	shard->table_len = TABLE_LEN_MIN;
	shard->bytes_max = bytes_max;
	shard->bytes = sizeof *shard + allocated_bytes(shard->table);
	pthread_mutex_init(&shard->mutex, NULL);
	return 0;
}

/* Also for shards that shard_init() never saw, all zero. */
static void shard_done(struct shard *shard)
{
	if (!shard->table) {
		return;
	}
	for (struct entry *entry = shard->oldest, *newer; entry; entry = newer) {
		newer = entry->newer;
		free(entry);
	}
	free(shard->table);
	pthread_mutex_destroy(&shard->mutex);
}

struct cache *cache_new(size_t size_bytes, cache_hash_fn hash, const struct crypto_key *hash_key)
{
	struct cache *cache;
	size_t count = 1;

	if (size_bytes < CACHE_BYTES_MIN) {
		errno = EINVAL;
		return NULL;
	}
	while (count < SHARDS_MAX && size_bytes / (2 * count) >= SHARD_BYTES) {
		count *= 2;
	}
	cache = calloc(1, sizeof *cache);
	if (!cache) {
		return NULL;
	}
	cache->hash = hash;
	cache->hash_key = *hash_key;
	cache->size_bytes = size_bytes;
	cache->shard_count = count;
	cache->shards = aligned_alloc(_Alignof(struct shard), count * sizeof *cache->shards);
	if (!cache->shards) {
		cache_free(cache);
		errno = ENOMEM;
		return NULL;
	}
	memset(cache->shards, 0, count * sizeof *cache->shards);
	for (size_t i = 0; i < count; i++) {
		if (shard_init(&cache->shards[i], (size_bytes - sizeof *cache) / count) < 0) {
			cache_free(cache);
			errno = ENOMEM;
			return NULL;
		}
	}
	return cache;
}

void cache_free(struct cache *cache)
{
	if (!cache) {
		return;
	}
	for (size_t i = 0; cache->shards && i < cache->shard_count; i++) {
		shard_done(&cache->shards[i]);
	}
	free(cache->shards);
	free(cache);
}

/* --- keys --- */

struct crypto_key cache_hash_key(const struct cache *cache)
{
	return cache->hash_key;
}

void cache_key_init(struct cache_key *key, const struct cache *cache, const uint8_t *question,
		    size_t question_len, bool dnssec_ok, bool checking_disabled, uint8_t group)
{
	assert(question_len > 4 && question_len <= DNSMSG_QUESTION_MAX);
	key->len = (uint16_t)(2 + question_len);
	key->bytes[0] = group;
	key->bytes[1] = (uint8_t)((dnssec_ok ? KEY_DO : 0) | (checking_disabled ? KEY_CD : 0));
	dnsname_lower(key->bytes + 2, question, question_len - 4);
	memcpy(key->bytes + 2 + question_len - 4, question + question_len - 4, 4);
	key->hash = cache->hash(&cache->hash_key, key->bytes, key->len);
}

void cache_key_copy(struct cache_key *to, const struct cache_key *from)
{
	memcpy(to, from, offsetof(struct cache_key, bytes) + from->len);
}

uint8_t cache_key_group(const struct cache_key *key)
{
	return key->bytes[0];
}

bool cache_key_equal(const struct cache_key *a, const struct cache_key *b)
{
	return a->hash == b->hash && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* The lower half chooses the shard, the upper one the slot in its table. */
static struct shard *cache_shard(struct cache *cache, const struct cache_key *key)
{
	return &cache->shards[key->hash & (cache->shard_count - 1)];
}

/* --- put --- */

/* Free what shard_evict() took out, linked by `older`; done without the mutex. */
static void free_entries(struct entry *entry)
{
	while (entry) {
		struct entry *next = entry->older;

		free(entry);
		entry = next;
	}
}

/* Link the entry in, in the place of garbage (the one with its key, or NULL), and make room for it.
 * Returns what had to go, for free_entries(). */
static struct entry *shard_insert(struct shard *shard, struct entry *entry, struct entry *garbage,
				  uint64_t now_ms)
{
	size_t bytes = allocated_bytes(entry);

	if (garbage) {
		entry->flags |= garbage->flags & ENTRY_VISITED;
		shard_unlink(shard, garbage);
		garbage->older = NULL;
	}
	while (shard->bytes + bytes > shard->bytes_max) {
		struct entry *victim = shard_evict(shard, now_ms);

		victim->older = garbage;
		garbage = victim;
	}
	shard_link(shard, entry);
	shard_grow(shard);
	return garbage;
}

unsigned cache_flush_count(const struct cache *cache)
{
	return atomic_load(&cache->flush_count);
}

/* Build the entry for an answer and see that it may be kept. 0 with *ret_entry owned, or as
 * cache_put(). */
static int make_entry(const struct shard *shard, const struct cache_key *key,
		      const struct cache_answer *answer, const struct cache_ttls *ttls,
		      uint64_t now_ms, struct entry **ret_entry)
{
	struct dnsmsg_header header;
	struct entry *entry;

	assert(ttls->max_s <= CACHE_TTL_MAX_S && ttls->negative_max_s <= CACHE_TTL_MAX_S);
	if (!dnsmsg_read_header(answer->msg, answer->len, &header) ||
	    !cache_entry_takes(key, answer, &header) ||
	    (answer->negative ? ttls->negative_max_s : ttls->max_s) == 0) {
		return -EINVAL;
	}
	if (header.nscount > UINT8_MAX || header.arcount > UINT8_MAX) {
		return -E2BIG;
	}
	entry = cache_entry_new(key, answer, &header, ttls, now_ms);
	if (!entry) {
		return -ENOMEM;
	}
	if (allocated_bytes(entry) > shard->bytes_max / SHARD_PART) {
		free(entry);
		return -E2BIG;
	}
	*ret_entry = entry;
	return 0;
}

int cache_put(struct cache *cache, const struct cache_key *key, const struct cache_answer *answer,
	      const struct cache_ttls *ttls, uint64_t now_ms)
{
	struct shard *shard = cache_shard(cache, key);
	struct entry *garbage;
	struct entry *entry;
	int r = make_entry(shard, key, answer, ttls, now_ms, &entry);

	if (r == 0) {
		pthread_mutex_lock(&shard->mutex);
		garbage = shard_insert(shard, entry, shard_find(shard, key), now_ms);
		pthread_mutex_unlock(&shard->mutex);
		free_entries(garbage);
	}
	return r;
}

int cache_put_saved(struct cache *cache, const struct cache_key *key,
		    const struct cache_answer *answer, const struct cache_ttls *ttls,
		    uint64_t now_ms, unsigned flush_count)
{
	struct shard *shard = cache_shard(cache, key);
	struct entry *garbage;
	struct entry *entry;
	int r = make_entry(shard, key, answer, ttls, now_ms, &entry);

	if (r < 0) {
		return r;
	}
	entry->older = NULL;
	garbage = entry;
	pthread_mutex_lock(&shard->mutex);
	if (cache_flush_count(cache) != flush_count) {
		r = -ESTALE;
	} else if (shard_find(shard, key)) {
		r = -EEXIST;
	} else {
		garbage = shard_insert(shard, entry, NULL, now_ms);
	}
	pthread_mutex_unlock(&shard->mutex);
	free_entries(garbage);
	return r;
}

/* --- get --- */

/* Looked at first, so that the cache lines of popular entries stay shared. */
static void entry_note_hit(struct entry *entry)
{
	if (!(entry->flags & ENTRY_VISITED)) {
		entry->flags |= ENTRY_VISITED;
	}
	if (entry->hits < CACHE_HITS_MAX) {
		entry->hits = (entry->hits + 1u) & CACHE_HITS_MAX;
	}
}

enum cache_outcome cache_get(struct cache *cache, const struct cache_key *key, uint64_t now_ms,
			     uint8_t *buf, size_t cap, struct cache_result *ret_result)
{
	struct shard *shard = cache_shard(cache, key);
	enum cache_outcome outcome = CACHE_MISS;
	struct entry *entry;

	assert(cap >= DNSMSG_UDP_MIN);
	pthread_mutex_lock(&shard->mutex);
	entry = shard_find(shard, key);
	if (entry) {
		uint32_t age_ticks = entry_age_ticks(entry, now_ms);
		bool is_fresh = entry_is_fresh(entry, age_ticks) && !entry_is_past(cache, entry);

		outcome = is_fresh ? CACHE_HIT : CACHE_EXPIRED;
		if (outcome == CACHE_HIT) {
			entry_note_hit(entry);
			cache_entry_copy(entry, key, age_ticks / ENTRY_TICKS_PER_S, false, buf, cap,
					 ret_result);
		}
	}
	pthread_mutex_unlock(&shard->mutex);
	return outcome;
}

enum cache_outcome cache_get_stale(struct cache *cache, const struct cache_key *key,
				   uint64_t now_ms, uint64_t max_stale_ms, uint8_t *buf, size_t cap,
				   struct cache_result *ret_result)
{
	struct shard *shard = cache_shard(cache, key);
	enum cache_outcome outcome = CACHE_MISS;
	struct entry *entry;

	assert(cap >= DNSMSG_UDP_MIN);
	pthread_mutex_lock(&shard->mutex);
	entry = shard_find(shard, key);
	if (entry) {
		uint32_t age_ticks = entry_age_ticks(entry, now_ms);
		uint64_t last_ticks =
			(uint64_t)entry->ttl_s * ENTRY_TICKS_PER_S + max_stale_ms / ENTRY_TICK_MS;

		if (entry_is_fresh(entry, age_ticks) && !entry_is_past(cache, entry)) {
			outcome = CACHE_HIT;
		} else if (max_stale_ms > 0 && age_ticks < last_ticks) {
			outcome = CACHE_EXPIRED;
		}
		if (outcome != CACHE_MISS) {
			entry_note_hit(entry);
			cache_entry_copy(entry, key, age_ticks / ENTRY_TICKS_PER_S,
					 outcome == CACHE_EXPIRED, buf, cap, ret_result);
		}
	}
	pthread_mutex_unlock(&shard->mutex);
	return outcome;
}

bool cache_claim(struct cache *cache, const struct cache_key *key)
{
	struct shard *shard = cache_shard(cache, key);
	struct entry *entry;
	bool is_first;

	pthread_mutex_lock(&shard->mutex);
	entry = shard_find(shard, key);
	is_first = entry && !entry->is_claimed;
	if (is_first) {
		entry->is_claimed = 1;
	}
	pthread_mutex_unlock(&shard->mutex);
	return is_first;
}

/* --- whole --- */

size_t cache_shard_count(const struct cache *cache)
{
	return cache->shard_count;
}

static void visit_entry(const struct entry *entry, uint64_t age_ticks, uint8_t *buf,
			void (*fn)(void *arg, const struct cache_item *item), void *arg)
{
	const struct cache_item item = {
		.group = entry->group,
		.dnssec_ok = entry->flags & ENTRY_DO,
		.checking_disabled = entry->flags & ENTRY_CD,
		.age_ms = age_ticks * ENTRY_TICK_MS,
		.msg = buf,
		.len = cache_entry_write(entry, buf),
	};

	fn(arg, &item);
}

void cache_visit(struct cache *cache, size_t index, uint64_t now_ms, uint64_t max_stale_ms,
		 uint8_t *buf, void (*fn)(void *arg, const struct cache_item *item), void *arg)
{
	struct shard *shard = &cache->shards[index];

	pthread_mutex_lock(&shard->mutex);
	for (const struct entry *entry = shard->oldest; entry; entry = entry->newer) {
		uint64_t ttl_ticks = (uint64_t)entry->ttl_s * ENTRY_TICKS_PER_S;
		uint64_t age_ticks = entry_age_ticks(entry, now_ms);

		/* What is of the past is so when it is loaded, too. */
		if (age_ticks < ttl_ticks && entry_is_past(cache, entry)) {
			age_ticks = ttl_ticks;
		}
		if (age_ticks < ttl_ticks + max_stale_ms / ENTRY_TICK_MS) {
			visit_entry(entry, age_ticks, buf, fn, arg);
		}
	}
	pthread_mutex_unlock(&shard->mutex);
}

void cache_expire_group(struct cache *cache, uint8_t group, uint64_t now_ms)
{
	atomic_store_explicit(&cache->past_ms[group], now_ms, memory_order_relaxed);
}

void cache_flush(struct cache *cache)
{
	/* First, so that what is put into a shard that is empty already finds it changed. */
	atomic_fetch_add(&cache->flush_count, 1);
	for (size_t i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];
		struct entry *garbage;

		pthread_mutex_lock(&shard->mutex);
		garbage = shard->newest;
		shard->newest = NULL;
		shard->oldest = NULL;
		shard->hand = NULL;
		shard->entries = 0;
		memset(shard->table, 0, shard->table_len * sizeof *shard->table);
		shard->bytes = sizeof *shard + allocated_bytes(shard->table);
		pthread_mutex_unlock(&shard->mutex);
		free_entries(garbage);
	}
}

void cache_read_stats(struct cache *cache, struct cache_stats *ret_stats)
{
	*ret_stats =
		(struct cache_stats){ .bytes = sizeof *cache, .size_bytes = cache->size_bytes };
	for (size_t i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];

		pthread_mutex_lock(&shard->mutex);
		ret_stats->entries += shard->entries;
		ret_stats->bytes += shard->bytes;
		ret_stats->evictions += shard->evictions;
		pthread_mutex_unlock(&shard->mutex);
	}
}
