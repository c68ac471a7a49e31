/* SPDX-License-Identifier: ISC */
/*
 * Reads the input as operations on a small cache, and holds its answers against a model that
 * remembers the last answer put for each key. Four octets an operation: what, key, size or seconds,
 * TTL.
 */
#include "dnsproxyd/cache/cache.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYS 64

/* The last answer put for a key. */
struct model {
	uint32_t ttl_s; /* 0: none */
	uint64_t stored_ms;
	size_t len;
	uint8_t fill;
};

struct run {
	struct cache *cache;
	struct cache_ttls ttls;
	struct model models[KEYS];
	uint64_t now_ms;
	bool may_have_lost; /* something was evicted since the last flush */
};

static void require(bool holds)
{
	if (!holds) {
		abort();
	}
}

/* Few hashes, so that keys share table slots and shards hold much. */
static uint64_t bad_hash(const struct crypto_key *key, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;

	return (uint64_t)(bytes[3] % 7) << 32 | key->bytes[0] | (uint64_t)len << 40;
}

static size_t make_question(unsigned k, uint8_t question[DNSMSG_QUESTION_MAX])
{
	const uint8_t bytes[] = {
		2, (uint8_t)('A' + k % 26), (uint8_t)('a' + k / 26), 0, 0, 1, 0, 1
	};

	memcpy(question, bytes, sizeof bytes);
	return sizeof bytes;
}

static struct cache_key make_key(const struct run *run, unsigned k)
{
	uint8_t question[DNSMSG_QUESTION_MAX];
	size_t len = make_question(k % 16, question);
	struct cache_key key;

	/* Four keys for each name, told apart by what is not the name. */
	cache_key_init(&key, run->cache, question, len, k & 16, k & 32, (uint8_t)(k & 32));
	return key;
}

static void check_stats(struct run *run)
{
	struct cache_stats stats;

	cache_read_stats(run->cache, &stats);
	require(stats.bytes <= stats.size_bytes);
	require(stats.entries <= KEYS);
	run->may_have_lost |= stats.evictions > 0;
}

static uint32_t kept_ttl(const struct run *run, uint32_t ttl_s, bool negative)
{
	uint32_t max_s = negative ? run->ttls.negative_max_s : run->ttls.max_s;

	ttl_s = ttl_s < run->ttls.min_s ? run->ttls.min_s : ttl_s;
	return ttl_s > max_s ? max_s : ttl_s;
}

static void do_put(struct run *run, unsigned k, unsigned size, uint32_t ttl_s, bool negative)
{
	static uint8_t msg[DNSMSG_HEADER_LEN + DNSMSG_QUESTION_MAX + 12 + 256 * 64];
	struct cache_key key = make_key(run, k);
	struct model *model = &run->models[k];
	size_t rdlength = size * 64;
	uint16_t ttl_offset;
	struct cache_answer answer = {
		.msg = msg, .ttl_offsets = &ttl_offset, .ttl_count = 1, .ttl_s = ttl_s
	};
	size_t len = DNSMSG_HEADER_LEN;
	int r;

	memset(msg, 0, DNSMSG_HEADER_LEN);
	msg[5] = 1;
	msg[7] = 1;
	len += make_question(k % 16, msg + len);
	memcpy(msg + len, "\300\14\0\20\0\1\0\0", 8);
	ttl_offset = (uint16_t)(len + 6);
	msg[len + 8] = (uint8_t)(ttl_s >> 8);
	msg[len + 9] = (uint8_t)ttl_s;
	msg[len + 10] = (uint8_t)(rdlength >> 8);
	msg[len + 11] = (uint8_t)rdlength;
	memset(msg + len + 12, (int)(size ^ ttl_s), rdlength);
	answer.len = len + 12 + rdlength;
	answer.negative = negative;
	r = cache_put(run->cache, &key, &answer, &run->ttls, run->now_ms);
	require((r == 0) <= (ttl_s > 0));
	if (r == 0) {
		*model = (struct model){ kept_ttl(run, ttl_s, negative), run->now_ms, answer.len,
					 (uint8_t)(size ^ ttl_s) };
	}
}

static void check_hit(const struct run *run, const struct model *model, const uint8_t *buf,
		      const struct cache_result *result)
{
	uint32_t age_s = (uint32_t)((run->now_ms - model->stored_ms) / 1000);
	const uint8_t *ttl = buf + DNSMSG_HEADER_LEN + 8 + 6;

	require(model->ttl_s > age_s && result->len == model->len);
	/* The cache counts quarter seconds. */
	require(result->ttl_s == model->ttl_s - age_s || result->ttl_s + 1 == model->ttl_s - age_s);
	require((uint32_t)(ttl[2] << 8 | ttl[3]) == result->ttl_s && ttl[0] == 0 && ttl[1] == 0);
	for (size_t i = DNSMSG_HEADER_LEN + 8 + 12; i < result->len; i++) {
		require(buf[i] == model->fill);
	}
}

static void do_get(struct run *run, unsigned k)
{
	static uint8_t buf[32768];
	struct cache_key key = make_key(run, k);
	const struct model *model = &run->models[k];
	uint64_t age_ms = run->now_ms - model->stored_ms;
	struct cache_result result;

	switch (cache_get(run->cache, &key, run->now_ms, buf, sizeof buf, &result)) {
	case CACHE_MISS:
		require(model->ttl_s == 0 || run->may_have_lost);
		break;
	case CACHE_EXPIRED:
		require(model->ttl_s > 0 && age_ms + 250 > model->ttl_s * 1000ull);
		break;
	case CACHE_HIT:
		require(age_ms < model->ttl_s * 1000ull);
		check_hit(run, model, buf, &result);
		break;
	}
}

static void do_flush(struct run *run)
{
	struct cache_stats stats;

	cache_flush(run->cache);
	memset(run->models, 0, sizeof run->models);
	cache_read_stats(run->cache, &stats);
	require(stats.entries == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cache_ttls ttls[] = {
		{ .min_s = 0, .max_s = 86400, .negative_max_s = 3600 },
		{ .min_s = 30, .max_s = 60, .negative_max_s = 10 },
	};
	const struct crypto_key key = { { 3 } };
	struct run run = { .now_ms = 1000 };

	run.cache = cache_new(CACHE_BYTES_MIN, bad_hash, &key);
	require(run.cache);
	for (; size >= 4; data += 4, size -= 4) {
		run.ttls = ttls[data[0] >> 7];
		switch (data[0] % 8) {
		case 0:
		case 1:
		case 2:
			do_put(&run, data[1] % KEYS, data[2], data[3], data[0] & 64);
			break;
		case 3:
			run.now_ms += (uint64_t)data[2] * 50 + data[3];
			break;
		case 4:
			if (data[1] == 0) {
				do_flush(&run);
			}
			break;
		default:
			do_get(&run, data[1] % KEYS);
		}
		check_stats(&run);
	}
	cache_free(run.cache);
	return 0;
}
