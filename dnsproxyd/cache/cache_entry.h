/* SPDX-License-Identifier: ISC */
/*
 * One answer in the cache (cache.h): how it is laid out in its one piece of memory, made from an
 * answer, and copied out for a client. For cache.c only, which links it into its lists under a
 * mutex.
 */
#ifndef DNSPROXYD_CACHE_CACHE_ENTRY_H
#define DNSPROXYD_CACHE_CACHE_ENTRY_H

#include "dnsproxyd/cache/cache.h"

#include <string.h>

/* Entries note their times in quarter seconds: 32 bits last for 34 years of uptime. */
#define ENTRY_TICK_MS     250
#define ENTRY_TICKS_PER_S (1000 / ENTRY_TICK_MS)

enum key_flag {
	KEY_DO = 1,
	KEY_CD = 2,
};

/* Upper half: the RCODE. */
enum entry_flag {
	ENTRY_DO = KEY_DO,
	ENTRY_CD = KEY_CD,
	ENTRY_AD = 4,
	ENTRY_VISITED = 8,
	ENTRY_RCODE_SHIFT = 4,
};

struct entry {
	struct entry *chain; /* next in its table slot */
	struct entry *older;
	struct entry *newer;
	uint32_t hash; /* upper half of the key's */
	uint32_t stored_tick;
	uint32_t ttl_s : 20; /* at stored_tick */
	uint32_t hits : 2;
	uint32_t is_claimed : 1; /* somebody fetches its successor */
	uint32_t has_reason : 1;
	uint16_t body_len;
	uint16_t ancount;
	uint8_t nscount;
	uint8_t arcount;
	uint8_t group;
	uint8_t flags;
	/* Offsets of the TTLs in the body, one for each record; then the body: the message without
	 * its header; then the reason, if it has one: two octets of code, one of length, text. */
	uint16_t ttl_offsets[];
};

static inline size_t entry_record_count(const struct entry *entry)
{
	return (size_t)entry->ancount + entry->nscount + entry->arcount;
}

static inline uint8_t *entry_body(const struct entry *entry)
{
	return (uint8_t *)(uintptr_t)(entry->ttl_offsets + entry_record_count(entry));
}

static inline bool entry_has_key(struct entry *entry, const struct cache_key *key)
{
	size_t question_len = key->len - 2u;

	return entry->hash == key->hash >> 32 && entry->group == key->bytes[0] &&
	       (entry->flags & (ENTRY_DO | ENTRY_CD)) == key->bytes[1] &&
	       entry->body_len >= question_len &&
	       memcmp(entry_body(entry), key->bytes + 2, question_len) == 0;
}

static inline uint32_t entry_tick_of(uint64_t now_ms)
{
	return (uint32_t)(now_ms / ENTRY_TICK_MS);
}

/* Ticks since the entry was stored; 0 when the caller's clock is behind the storer's. */
static inline uint32_t entry_age_ticks(const struct entry *entry, uint64_t now_ms)
{
	int32_t age = (int32_t)(entry_tick_of(now_ms) - entry->stored_tick);

	return age < 0 ? 0 : (uint32_t)age;
}

static inline bool entry_is_fresh(const struct entry *entry, uint32_t age_ticks)
{
	return age_ticks < entry->ttl_s * ENTRY_TICKS_PER_S;
}

/* Whether the message is what dnsreply_normalize() writes, as far as we rely on it. */
bool cache_entry_takes(const struct cache_key *key, const struct cache_answer *answer,
		       const struct dnsmsg_header *header);

/* Build the entry of an answer that it takes; header is the answer's. Returns owned, for free(), or
 * NULL when out of memory. */
struct entry *cache_entry_new(const struct cache_key *key, const struct cache_answer *answer,
			      const struct dnsmsg_header *header, const struct cache_ttls *ttls,
			      uint64_t now_ms);

/* Copy an entry out. Its TTLs are lowered by its age, or, when it is stale, all the same. */
void cache_entry_copy(const struct entry *entry, const struct cache_key *key, uint32_t age_s,
		      bool is_stale, uint8_t *buf, size_t cap, struct cache_result *ret_result);

/* Write the message as it was put in, with its reason. buf has room for DNSMSG_MAX. Returns its
 * length. */
size_t cache_entry_write(const struct entry *entry, uint8_t *buf);

#endif
