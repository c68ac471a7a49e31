/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cachefile.h"

#include "common/crypto.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <string.h>

#define S       1000u
#define WALL_MS 1700000000000u

static const struct cache_ttls plain = { .min_s = 0, .max_s = 86400, .negative_max_s = 3600 };
static const struct crypto_key hash_key = { { 5 } };
static uint8_t scratch[DNSMSG_MAX];

static struct cache *new_cache(void)
{
	return cache_new(CACHE_BYTES_MIN, crypto_siphash, &hash_key);
}

static struct cache_key make_key(struct cache *cache, const char *name, bool dnssec_ok,
				 uint8_t group)
{
	struct dnsmsg_query query;
	struct cache_key key;

	packet_parse_query(&query, name, DNS_TYPE_A, DNSMSG_RD, -1, 0);
	cache_key_init(&key, cache, query.question, query.question_len, dnssec_ok, false, group);
	return key;
}

static void put_a(struct cache *cache, const char *name, bool dnssec_ok, uint8_t group,
		  uint32_t ttl_s, uint64_t now_ms)
{
	const struct dnsmsg_reason reason = { .is_set = true, .code = 17, .text = "filtered" };
	struct cache_key key = make_key(cache, name, dnssec_ok, group);
	static struct packet p;
	uint16_t offset;

	packet_start(&p, 0, DNSMSG_QR | DNSMSG_RA | DNSMSG_AD, 1, 1, 0, 0);
	packet_question(&p, name, DNS_TYPE_A);
	offset = (uint16_t)(packet_a(&p, "@12", ttl_s) + 6);
	ck_assert_int_eq(cache_put(cache, &key,
				   &(struct cache_answer){ .msg = p.bytes,
							   .len = p.len,
							   .ttl_offsets = &offset,
							   .ttl_count = 1,
							   .ttl_s = ttl_s,
							   .reason = &reason },
				   &plain, now_ms),
			 0);
}

static void add_item(void *arg, const struct cache_item *item)
{
	cachefile_add(arg, item);
}

/* All of a (small) cache in one block, at place 3. */
static size_t save(struct cache *cache, uint64_t now_ms, uint64_t max_stale_ms,
		   struct cachefile_block *block)
{
	*block = (struct cachefile_block){ .bytes = NULL };
	ck_assert_uint_eq(cache_shard_count(cache), 1);
	cache_visit(cache, 0, now_ms, max_stale_ms, scratch, add_item, block);
	return cachefile_finish(block, 3, WALL_MS);
}

static bool load(struct cache *cache, const uint8_t *bytes, size_t len, uint64_t passed_ms,
		 uint64_t now_ms, size_t *ret_loaded)
{
	static const struct cachefile_groups groups = { { 1, 3 } };
	struct cachefile_load load = { .cache = cache,
				       .flush_count = cache_flush_count(cache),
				       .groups = &groups,
				       .ttls = plain,
				       .wall_ms = WALL_MS,
				       .passed_ms = passed_ms,
				       .now_ms = now_ms,
				       .scratch = scratch };
	bool ok = cachefile_load_block(&load, bytes, len - CACHEFILE_BLOCK_LEN, 3);

	*ret_loaded = load.loaded;
	return ok;
}

START_TEST(test_saved_and_loaded)
{
	struct cache *old = new_cache();
	struct cache *new = new_cache();
	struct cache_result result;
	struct cachefile_block block;
	struct cache_key key;
	uint8_t buf[512];
	size_t read_len;
	size_t loaded;
	size_t len;

	put_a(old, "a.example", false, 0, 300, 100 * S);
	put_a(old, "b.example", true, 0, 100, 100 * S);
	put_a(old, "gone.example", false, 0, 10, 100 * S);
	put_a(old, "other-group.example", false, 1, 300, 100 * S);
	put_a(old, "no-group.example", false, 2, 300, 100 * S);
	len = save(old, 120 * S, 5 * S, &block);
	ck_assert_uint_eq(block.records, 4);
	ck_assert(cachefile_read_length(block.bytes, &read_len));
	ck_assert_uint_eq(read_len, len - CACHEFILE_BLOCK_LEN);
	/* 20 s old when saved, 30 s later loaded, by a machine whose clock began anew. */
	ck_assert(load(new, block.bytes, len, 30 * S, 7 * S, &loaded));
	ck_assert_uint_eq(loaded, 3);
	/* The second group is the third today, the third is gone. */
	key = make_key(new, "other-group.example", false, 2);
	ck_assert_int_eq(cache_get(new, &key, 7 * S, buf, sizeof buf, &result), CACHE_HIT);
	for (uint8_t group = 0; group < 4; group++) {
		key = make_key(new, "no-group.example", false, group);
		ck_assert_int_eq(cache_get(new, &key, 7 * S, buf, sizeof buf, &result), CACHE_MISS);
	}
	key = make_key(new, "a.example", false, 0);
	ck_assert_int_eq(cache_get(new, &key, 7 * S, buf, sizeof buf, &result), CACHE_HIT);
	ck_assert_uint_eq(result.ttl_s, 250);
	ck_assert_msg(buf[3] & DNSMSG_AD, "flags are kept");
	ck_assert_msg(result.reason.is_set && result.reason.code == 17, "the reason is kept");
	ck_assert_str_eq(result.reason.text, "filtered");
	key = make_key(new, "b.example", true, 0);
	ck_assert_int_eq(cache_get(new, &key, 7 * S, buf, sizeof buf, &result), CACHE_HIT);
	ck_assert_int_eq(cache_get(new, &key, 57 * S, buf, sizeof buf, &result), CACHE_EXPIRED);
	key = make_key(new, "b.example", false, 0);
	ck_assert_int_eq(cache_get(new, &key, 7 * S, buf, sizeof buf, &result), CACHE_MISS);
	/* After a year nothing of it is of use. */
	cache_flush(new);
	ck_assert(load(new, block.bytes, len, UINT64_C(31536000000), 7 * S, &loaded));
	ck_assert_uint_eq(loaded, 0);
	cachefile_done(&block);
	cache_free(old);
	cache_free(new);
}
END_TEST

START_TEST(test_every_bit_counts)
{
	struct cache *cache = new_cache();
	struct cachefile_block block;
	size_t loaded;
	size_t len;

	put_a(cache, "a.example", false, 0, 300, 100 * S);
	len = save(cache, 120 * S, 0, &block);
	for (size_t i = 0; i < len * 8; i++) {
		block.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_msg(!load(cache, block.bytes, len, 0, 0, &loaded), "bit %zu", i);
		block.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	ck_assert(load(cache, block.bytes, len, 0, 0, &loaded));
	/* Nor does the end alone, or an empty block, load anything. */
	ck_assert(!load(cache, block.bytes, len - 1, 0, 0, &loaded));
	cachefile_clear(&block);
	len = cachefile_finish(&block, 3, WALL_MS);
	ck_assert_uint_eq(len, CACHEFILE_BLOCK_LEN);
	ck_assert(load(cache, block.bytes, len, 0, 0, &loaded));
	ck_assert_uint_eq(loaded, 0);
	cachefile_done(&block);
	cache_free(cache);
}
END_TEST

START_TEST(test_header)
{
	const struct cachefile_header header = { .wall_ms = WALL_MS, .hash_key = hash_key };
	uint8_t buf[CACHEFILE_HEADER_LEN];
	struct cachefile_header got;

	cachefile_write_header(buf, &header);
	ck_assert(cachefile_is_ours(buf));
	ck_assert(cachefile_read_header(buf, &got));
	ck_assert_uint_eq(got.wall_ms, WALL_MS);
	ck_assert_mem_eq(&got.hash_key, &hash_key, sizeof hash_key);
	for (size_t i = 0; i < sizeof buf * 8; i++) {
		buf[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_msg(!cachefile_read_header(buf, &got), "bit %zu", i);
		ck_assert(cachefile_is_ours(buf) == (i >= 64));
		buf[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	memset(buf, 0xff, CACHEFILE_BLOCK_LEN);
	ck_assert(!cachefile_read_length(buf, &(size_t){ 0 }));
}
END_TEST

START_TEST(test_groups)
{
	static const char *const then[] = { "default", "corp", "gone", "" };
	static const char *const now[] = { "new", "default", "corporate", "corp" };
	struct cachefile_block block = { .bytes = NULL };
	struct cachefile_groups groups;
	size_t len;

	for (size_t i = 0; i < 4; i++) {
		cachefile_add_group(&block, then[i]);
	}
	len = cachefile_finish(&block, 0, WALL_MS) - CACHEFILE_BLOCK_LEN;
	ck_assert(cachefile_read_groups(block.bytes, len, WALL_MS, now, 4, &groups));
	ck_assert_uint_eq(groups.today[0], 2);
	ck_assert_uint_eq(groups.today[1], 4);
	for (size_t i = 2; i <= UINT8_MAX; i++) {
		ck_assert_uint_eq(groups.today[i], 0);
	}
	ck_assert(cachefile_read_groups(block.bytes, len, WALL_MS, NULL, 0, &groups));
	ck_assert_uint_eq(groups.today[0], 0);
	ck_assert(!cachefile_read_groups(block.bytes, len, WALL_MS + 1, now, 4, &groups));
	/* A length that leads beyond the end, with a checksum that fits. */
	block.bytes[CACHEFILE_BLOCK_LEN] = 255;
	cachefile_finish(&block, 0, WALL_MS);
	ck_assert(!cachefile_read_groups(block.bytes, len, WALL_MS, now, 4, &groups));
	/* More than there can be. */
	cachefile_clear(&block);
	for (size_t i = 0; i <= UINT8_MAX + 1; i++) {
		cachefile_add_group(&block, "");
	}
	len = cachefile_finish(&block, 0, WALL_MS) - CACHEFILE_BLOCK_LEN;
	ck_assert(!cachefile_read_groups(block.bytes, len, WALL_MS, now, 4, &groups));
	cachefile_done(&block);
}
END_TEST

/* With a checksum that fits, what is no answer is still refused. */
START_TEST(test_bad_messages)
{
	static const struct {
		const char *bytes;
		size_t len;
	} messages[] = {
		{ "", 0 },
		{ "\0\0\x81\x80\0\1\0\0\0\0\0\0", 12 },
		{ "\0\0\x81\x80\0\1\0\1\0\0\0\0\1a\0\0\1\0\1", 19 },
		{ "\0\0\x01\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19 },
		{ "\0\0\x81\x82\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19 },
		{ "\0\0\x83\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19 },
	};

	for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
		struct cache *cache = new_cache();
		struct cachefile_block block = { .bytes = NULL };
		const struct cache_item item = { .msg = (const uint8_t *)messages[i].bytes,
						 .len = messages[i].len };
		size_t loaded;
		size_t len;

		cachefile_add(&block, &item);
		len = cachefile_finish(&block, 3, WALL_MS);
		ck_assert_msg(!load(cache, block.bytes, len, 0, 0, &loaded), "message %zu", i);
		ck_assert_uint_eq(loaded, 0);
		cachefile_done(&block);
		cache_free(cache);
	}
}
END_TEST

SUITE_MAIN("cachefile", test_saved_and_loaded, test_every_bit_counts, test_header, test_groups,
	   test_bad_messages)
