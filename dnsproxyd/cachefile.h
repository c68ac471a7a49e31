/* SPDX-License-Identifier: ISC */
/*
 * The form in which the cache is saved. A header (magic, version, time of day), then blocks of
 * whole records, each with its length, its place in the file and a checksum, then an empty block.
 * All numbers are big-endian. A record is an answer as it came, and how old it was when it was
 * saved.
 *
 * A file is not believed more than a server: each message goes through dnsreply_check() again. Of
 * the groups of upstream servers only the first is saved, since the others' numbers may mean
 * something else at the next start.
 *
 * Pure: bytes and times in, bytes out. Safe on any bytes.
 */
#ifndef DNSPROXYD_CACHEFILE_H
#define DNSPROXYD_CACHEFILE_H

#include "dnsproxyd/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHEFILE_HEADER_LEN 32
#define CACHEFILE_BLOCK_LEN  16 /* what stands before each block's records */

/* Longest records of one block: all of a shard, with some room. */
#define CACHEFILE_BLOCK_MAX  (8u << 20)

void cachefile_write_header(uint8_t buf[CACHEFILE_HEADER_LEN], uint64_t wall_ms);

/* Whether it is such a file at all, of whatever version and state. */
bool cachefile_is_ours(const uint8_t buf[CACHEFILE_HEADER_LEN]);

/* False: not a file of ours, of another version, or damaged. */
bool cachefile_read_header(const uint8_t buf[CACHEFILE_HEADER_LEN], uint64_t *ret_wall_ms);

/* A growing block; all-zero is an empty one. */
struct cachefile_block {
	uint8_t *bytes; /* begins with CACHEFILE_BLOCK_LEN */
	size_t len;     /* 0: nothing was added */
	size_t cap;
	size_t records;
	bool failed; /* out of memory, or too long: what did not fit is left out */
};

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

/* What loading needs to know. */
struct cachefile_load {
	struct cache *cache;
	struct cache_ttls ttls;
	uint64_t wall_ms;   /* of the header */
	uint64_t passed_ms; /* since then */
	uint64_t now_ms;
	uint8_t *scratch; /* room for one message, DNSMSG_MAX bytes */
	size_t loaded;    /* so far */
};

/* Put a block's records, which follow its CACHEFILE_BLOCK_LEN octets, into the cache. False when it
 * is damaged. */
bool cachefile_load_block(struct cachefile_load *load, const uint8_t *block, size_t records_len,
			  uint32_t place);

#endif
