/* SPDX-License-Identifier: ISC */
/*
 * The form in which the cache is saved: a header (magic, version, time of day, the key of the
 * cache's hash), then blocks of whole records, each block with its length, its place in the file
 * and a checksum, then an empty block. All numbers are big-endian. The first block holds the names
 * of the groups of upstream servers, whose numbers may be others at the next start. All other
 * blocks hold answers as they came, each with its age when it was saved.
 *
 * The key is saved because a cache with the same one has the same shards: a block, which is one of
 * them, is loaded without touching the others, twice as fast. Who reads it, which takes the rights
 * of the daemon, could think up names that make the cache slow.
 *
 * A file is not believed more than a server: each message goes through dnsreply_check() again.
 *
 * Pure: bytes and times in, bytes out. Safe on any bytes.
 */
#ifndef DNSPROXYD_CACHE_CACHEFILE_H
#define DNSPROXYD_CACHE_CACHEFILE_H

#include "dnsproxyd/cache/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHEFILE_HEADER_LEN 48
#define CACHEFILE_BLOCK_LEN  16 /* what stands before each block's records */

/* Longest records of one block: all of a shard, with some room. */
#define CACHEFILE_BLOCK_MAX  (8u << 20)

/* What is known of the whole. */
struct cachefile_header {
	uint64_t wall_ms; /* when it was saved */
	struct crypto_key hash_key;
};

void cachefile_write_header(uint8_t buf[CACHEFILE_HEADER_LEN],
			    const struct cachefile_header *header);

/* Whether it is such a file at all, of whatever version and state. */
bool cachefile_is_ours(const uint8_t buf[CACHEFILE_HEADER_LEN]);

/* False: not a file of ours, of another version, or damaged. */
bool cachefile_read_header(const uint8_t buf[CACHEFILE_HEADER_LEN],
			   struct cachefile_header *ret_header);

/* A growing block; all-zero is an empty one. */
struct cachefile_block {
	uint8_t *bytes; /* begins with CACHEFILE_BLOCK_LEN */
	size_t len;     /* 0: nothing was added */
	size_t cap;
	size_t records;
	bool failed; /* out of memory, or too long: what did not fit is left out */
};

/* Add the name of a group, the first one first. What is longer than 255 octets is known by these.
 */
void cachefile_add_group(struct cachefile_block *block, const char *name);

/* Add one answer. */
void cachefile_add(struct cachefile_block *block, const struct cache_item *item);

/* Fill in what stands before the records; also of a block without any, which ends the file. Returns
 * the block's length, or 0 when out of memory. */
size_t cachefile_finish(struct cachefile_block *block, uint32_t place, uint64_t wall_ms);

/* Empty it for the next shard; its memory is kept until cachefile_done(). */
void cachefile_clear(struct cachefile_block *block);
void cachefile_done(struct cachefile_block *block);

/* What stands before a block's records: their length. False when that cannot be. */
bool cachefile_read_length(const uint8_t buf[CACHEFILE_BLOCK_LEN], size_t *ret_len);

/* The groups of a file: 0, or 1 more than what the group's number is today. */
struct cachefile_groups {
	uint16_t today[UINT8_MAX + 1];
};

/* What loading needs to know; `loaded` is its result. Several may load blocks at a time, each with
 * its own. */
struct cachefile_load {
	struct cache *cache;
	unsigned flush_count; /* of the cache when loading began */
	const struct cachefile_groups *groups;
	struct cache_ttls ttls;
	uint64_t wall_ms;   /* of the header */
	uint64_t passed_ms; /* since then */
	uint64_t now_ms;
	uint8_t *scratch; /* room for one message, DNSMSG_MAX bytes */
	size_t loaded;    /* so far */
};

/* Read the first block. `names` are those of today's groups, by their number. False when the block
 * is damaged. */
bool cachefile_read_groups(const uint8_t *block, size_t records_len, uint64_t wall_ms,
			   const char *const *names, size_t count,
			   struct cachefile_groups *ret_groups);

/* Put a block's records, which follow its CACHEFILE_BLOCK_LEN octets, into the cache, but for
 * those of groups that are gone. False when it is damaged. */
bool cachefile_load_block(struct cachefile_load *load, const uint8_t *block, size_t records_len,
			  uint32_t place);

#endif
