/* SPDX-License-Identifier: ISC */
/*
 * The answer cache, shared by all workers: normalized messages (dnsreply.h) by question, bounded in
 * bytes.
 *
 * Key: the name without regard to case, type and class; DO and CD, because answers differ by them;
 * and a group number, so that different sets of upstream servers never share answers. A strange
 * client chooses names, so the hash is keyed.
 *
 * A hit is one copy into the caller's buffer with the TTLs lowered by the entry's age; it allocates
 * nothing. An entry is one allocation: links, times, and the message without its header, whose
 * question in lower case is the key. When the bytes are used up, SIEVE chooses what goes: a hand
 * moves from old to new entries, passes over those that were asked for since it last came by, and
 * takes the first that was not. A hit moves nothing, it sets a bit.
 *
 * Bytes counts all there is: entries with the allocator's overhead, tables, the cache itself. The
 * bound holds after every call, and inside of calls but for the one entry about to be put in.
 *
 * Thread: any. The entries are spread over shards, each behind its own mutex, held for one lookup
 * and one copy; that and the allocator are all the module needs of the system. Time is passed in;
 * it may lag behind by some milliseconds from thread to thread.
 */
#ifndef DNSPROXYD_CACHE_CACHE_H
#define DNSPROXYD_CACHE_CACHE_H

#include "common/crypto.h"
#include "dnsproxyd/message/dnsmsg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Least size of a cache. */
#define CACHE_BYTES_MIN 65536

/* The longest a TTL knob may ask for, and the longest anything is kept. */
#define CACHE_TTL_MAX_S (7u * 24 * 3600)

struct cache;

/* A keyed hash: crypto_siphash(), or a stand-in for tests. */
typedef uint64_t (*cache_hash_fn)(const struct crypto_key *key, const void *buf, size_t len);

/* Knobs of how long answers are kept; all at most CACHE_TTL_MAX_S. */
struct cache_ttls {
	uint32_t min_s; /* shorter TTLs are raised to this, in the answers too; a TTL of 0 stays
			   uncacheable */
	uint32_t max_s; /* longer ones are lowered */
	uint32_t negative_max_s; /* the same for NXDOMAIN and NODATA, where it also overrules min_s
				  */
};

/* Returns owned, or NULL: errno is EINVAL (size below CACHE_BYTES_MIN) or ENOMEM. */
struct cache *cache_new(size_t size_bytes, cache_hash_fn hash, const struct crypto_key *hash_key);

/* No other thread may use it any more. NULL is fine. */
void cache_free(struct cache *cache);

/* The key it was made with. */
struct crypto_key cache_hash_key(const struct cache *cache);

/* What an answer is kept under; a value, valid for the cache it was made for. */
struct cache_key {
	uint64_t hash;
	uint16_t len;
	/* group, flags, question in lower case; undefined beyond len */
	uint8_t bytes[2 + DNSMSG_QUESTION_MAX];
};

/* question is name, type and class in wire form, as in struct dnsmsg_query. */
void cache_key_init(struct cache_key *key, const struct cache *cache, const uint8_t *question,
		    size_t question_len, bool dnssec_ok, bool checking_disabled, uint8_t group);

/* Copy what is defined of it: most keys are short. */
void cache_key_copy(struct cache_key *to, const struct cache_key *from);

/* The group it was made for. */
uint8_t cache_key_group(const struct cache_key *key);

bool cache_key_equal(const struct cache_key *a, const struct cache_key *b);

/* What to keep: a message as dnsreply_normalize() writes it. */
struct cache_answer {
	const uint8_t *msg;
	size_t len;
	const uint16_t *ttl_offsets; /* of all its records */
	size_t ttl_count;
	uint32_t ttl_s;
	bool negative;
	uint64_t age_ms; /* how long ago it came; 0 but for answers that were saved */
	const struct dnsmsg_reason *reason; /* kept with it; may be NULL */
};

/*
 * Keep a copy of an answer, in the place of an older one with the same key.
 * 0, or -EINVAL: TTL 0 (of the answer, or as the knob that applies), or a message without the shape
 * above (TC, an RCODE other than NOERROR and NXDOMAIN, another question than the key's, OPT);
 * -E2BIG: more than an eighth of a shard, or more than 255 records in authority or additional;
 * -ENOMEM. In each case an older answer stays.
 */
int cache_put(struct cache *cache, const struct cache_key *key, const struct cache_answer *answer,
	      const struct cache_ttls *ttls, uint64_t now_ms);

/* Times that cache_flush() was called. */
unsigned cache_flush_count(const struct cache *cache);

/*
 * The same for an answer that was saved: what has come since is newer, and what is flushed is to
 * stay away. Also -EEXIST: there is one with the key; -ESTALE: the cache has been flushed since
 * cache_flush_count() gave flush_count.
 */
int cache_put_saved(struct cache *cache, const struct cache_key *key,
		    const struct cache_answer *answer, const struct cache_ttls *ttls,
		    uint64_t now_ms, unsigned flush_count);

enum cache_outcome {
	CACHE_MISS,
	CACHE_EXPIRED, /* known, but too old: as good as a miss */
	CACHE_HIT,
};

/* As many hits as an entry counts. */
#define CACHE_HITS_MAX 3

struct cache_result {
	size_t len;
	uint32_t ttl_s;              /* left, at least 1 */
	uint32_t full_s;             /* what it was when the answer came */
	unsigned hits;               /* since then, this one included; at most CACHE_HITS_MAX */
	struct dnsmsg_reason reason; /* that the server gave with it */
};

/*
 * Look an answer up. On HIT, buf holds the normalized message with the TTLs that are left, for
 * dnsmsg_answer(); when it is longer than cap (at least DNSMSG_UDP_MIN), only header and question
 * with TC=1, as dnsmsg_answer() would make it. Otherwise neither buf nor *ret_result is written.
 */
enum cache_outcome cache_get(struct cache *cache, const struct cache_key *key, uint64_t now_ms,
			     uint8_t *buf, size_t cap, struct cache_result *ret_result);

/* TTL of an answer that has expired (RFC 8767 section 4). */
#define CACHE_STALE_TTL_S 30

/*
 * The same for a time when no server answers: also an answer that expired at most max_stale_ms ago,
 * with all its TTLs CACHE_STALE_TTL_S. HIT when the answer is fresh after all, EXPIRED with buf
 * filled when it is stale, else MISS.
 */
enum cache_outcome cache_get_stale(struct cache *cache, const struct cache_key *key,
				   uint64_t now_ms, uint64_t max_stale_ms, uint8_t *buf, size_t cap,
				   struct cache_result *ret_result);

/* Who is the first to call this for an answer that is in the cache gets true, and sees to it that a
 * newer one replaces it. */
bool cache_claim(struct cache *cache, const struct cache_key *key);

/* One answer, for saving it: msg as cache_get() would have given it when it came, with an OPT for
 * the reason if there is one. */
struct cache_item {
	uint8_t group;
	bool dnssec_ok;
	bool checking_disabled;
	uint64_t age_ms;
	const uint8_t *msg;
	size_t len;
};

size_t cache_shard_count(const struct cache *cache);

/* Call fn for each answer of one shard, oldest first, that did not expire longer than max_stale_ms
 * ago, with the shard locked. buf has room for one message, DNSMSG_MAX bytes. */
void cache_visit(struct cache *cache, size_t shard, uint64_t now_ms, uint64_t max_stale_ms,
		 uint8_t *buf, void (*fn)(void *arg, const struct cache_item *item), void *arg);

/* The answers of a group that are kept now are of the past, as after a change of the network: as
 * good as expired, whatever their TTLs. */
void cache_expire_group(struct cache *cache, uint8_t group, uint64_t now_ms);

/* Drop everything. */
void cache_flush(struct cache *cache);

struct cache_stats {
	size_t entries;
	size_t bytes;
	size_t size_bytes; /* the bound */
	uint64_t evictions;
};

/* Sums over the shards, each consistent in itself. */
void cache_read_stats(struct cache *cache, struct cache_stats *ret_stats);

#endif
