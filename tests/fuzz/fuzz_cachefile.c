/* SPDX-License-Identifier: ISC */
/*
 * Loads the input as the records of a cache file whose checksum fits; what was loaded is saved and
 * must load again, all of it.
 */
#include "dnsproxyd/cache/cachefile.h"

#include "common/crypto.h"

#include <stdlib.h>
#include <string.h>

#define PLACE   7
#define WALL_MS 1700000000000u
#define NOW_MS  5000000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds) {
		abort();
	}
}

static void add_item(void *arg, const struct cache_item *item)
{
	cachefile_add(arg, item);
}

static bool load_into(struct cache *cache, struct cachefile_block *block, size_t *ret_loaded)
{
	static uint8_t scratch[DNSMSG_MAX];
	static const struct cachefile_groups groups = { { 1, 2, 0, 4 } };
	struct cachefile_load load = { .cache = cache,
				       .flush_count = cache_flush_count(cache),
				       .groups = &groups,
				       .ttls = { .max_s = 86400, .negative_max_s = 3600 },
				       .wall_ms = WALL_MS,
				       .now_ms = NOW_MS,
				       .scratch = scratch };
	size_t len = cachefile_finish(block, PLACE, WALL_MS);
	bool ok;

	require(len > 0);
	ok = cachefile_load_block(&load, block->bytes, len - CACHEFILE_BLOCK_LEN, PLACE);
	*ret_loaded = load.loaded;
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct crypto_key key = { { 1 } };
	struct cache *cache = cache_new(1 << 20, crypto_siphash, &key);
	struct cachefile_block block = { .bytes = malloc(CACHEFILE_BLOCK_LEN + size),
					 .len = CACHEFILE_BLOCK_LEN + size,
					 .cap = CACHEFILE_BLOCK_LEN + size };
	static uint8_t scratch[DNSMSG_MAX];
	struct cache_stats stats;
	size_t loaded;

	require(cache && block.bytes);
	memcpy(block.bytes + CACHEFILE_BLOCK_LEN, data, size);
	load_into(cache, &block, &loaded);
	cachefile_clear(&block);
	for (size_t i = 0; i < cache_shard_count(cache); i++) {
		cache_visit(cache, i, NOW_MS, UINT64_C(40) * 86400000, scratch, add_item, &block);
	}
	cache_read_stats(cache, &stats);
	require(block.records == stats.entries && stats.entries <= loaded);
	cache_flush(cache);
	require(load_into(cache, &block, &loaded) && loaded == stats.entries);
	cachefile_done(&block);
	cache_free(cache);
	return 0;
}
