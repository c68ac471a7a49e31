/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cache.h"
#include "common/container.h"
#include "dnsproxyd/message/dnsreply.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define S      1000u /* one second in ms */

#define ANSWER (DNSMSG_QR | DNSMSG_RA)

static const struct cache_ttls plain = { .min_s = 0, .max_s = 86400, .negative_max_s = 3600 };

/* FNV-1a: spreads well enough for tests, which send no hostile names. */
static uint64_t hash_for_tests(const struct crypto_key *key, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;
	uint64_t hash = 0xcbf29ce484222325u ^ key->bytes[0];

	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	}
	return hash ^ hash >> 29;
}

static struct cache *new_cache(size_t size_bytes)
{
	const struct crypto_key key = { { 7 } };
	struct cache *cache = cache_new(size_bytes, hash_for_tests, &key);

	ck_assert_ptr_nonnull(cache);
	return cache;
}

static struct cache_key make_key(const struct cache *cache, const char *name, unsigned type)
{
	struct dnsmsg_query query;
	struct cache_key key;

	packet_parse_query(&query, name, type, DNSMSG_RD, -1, 0);
	cache_key_init(&key, cache, query.question, query.question_len, false, false, 0);
	return key;
}

/* Put the normalized form of p, an answer with ID 0 to a question for name and type. */
static int put_packet(struct cache *cache, const struct cache_key *key, struct packet *p,
		      const char *name, unsigned type, const struct cache_ttls *ttls,
		      uint64_t now_ms)
{
	static uint8_t out[DNSMSG_MAX];
	static struct dnsreply_body body;
	struct dnsmsg_query query;
	struct dnsreply reply;
	struct cache_answer answer;

	packet_parse_query(&query, name, type, DNSMSG_RD, -1, 0);
	ck_assert_int_eq(
		dnsreply_check(p->bytes, p->len, 0, query.question, query.question_len, &reply),
		DNSREPLY_OK);
	ck_assert_int_eq(dnsreply_normalize(p->bytes, &reply, true, out, sizeof out, &body), 0);
	answer = (struct cache_answer){ .msg = out,
					.len = body.len,
					.ttl_offsets = body.ttl_offsets,
					.ttl_count = body.ttl_count,
					.ttl_s = body.ttl_s,
					.negative = reply.kind != DNSREPLY_POSITIVE };
	return cache_put(cache, key, &answer, ttls, now_ms);
}

/* One A record that holds `value` as its address. */
static int put_a(struct cache *cache, const char *name, uint32_t ttl_s, uint32_t value,
		 const struct cache_ttls *ttls, uint64_t now_ms)
{
	static struct packet p;
	struct cache_key key = make_key(cache, name, DNS_TYPE_A);
	const uint8_t address[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16),
				     (uint8_t)(value >> 8), (uint8_t)value };

	packet_start(&p, 0, ANSWER, 1, 1, 0, 0);
	packet_question(&p, name, DNS_TYPE_A);
	packet_rr(&p, "@12", DNS_TYPE_A, ttl_s, address, 4);
	return put_packet(cache, &key, &p, name, DNS_TYPE_A, ttls, now_ms);
}

struct got {
	enum cache_outcome outcome;
	struct cache_result result;
	uint8_t msg[4096];
};

static uint32_t word32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void get_key(struct cache *cache, const struct cache_key *key, uint64_t now_ms,
		    struct got *ret_got)
{
	memset(ret_got, 0, sizeof *ret_got);
	ret_got->outcome =
		cache_get(cache, key, now_ms, ret_got->msg, sizeof ret_got->msg, &ret_got->result);
}

static void get_a(struct cache *cache, const char *name, uint64_t now_ms, struct got *ret_got)
{
	struct cache_key key = make_key(cache, name, DNS_TYPE_A);

	get_key(cache, &key, now_ms, ret_got);
}

/* Address and TTL of the only record, which is the last in the message. */
static uint32_t got_value(const struct got *got)
{
	return word32(got->msg + got->result.len - 4);
}

static uint32_t got_ttl(const struct got *got)
{
	return word32(got->msg + got->result.len - 10);
}

START_TEST(test_hit)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct got got;

	get_a(cache, "www.example", 5 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_MISS);
	ck_assert_int_eq(put_a(cache, "wWw.Example", 300, 42, &plain, 5 * S), 0);
	get_a(cache, "WWW.eXAMPLE", 5 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);
	ck_assert_uint_eq(got.result.len, 12 + 17 + 16);
	ck_assert_uint_eq(got.result.ttl_s, 300);
	ck_assert_mem_eq(got.msg,
			 "\0\0\x80\x80\0\1\0\1\0\0\0\0"
			 "\3www\7example\0\0\1\0\1"
			 "\300\14\0\1\0\1\0\0\1\54\0\4\0\0\0\52",
			 got.result.len);
	cache_free(cache);
}
END_TEST

static const struct {
	uint64_t stored_ms;
	uint64_t now_ms;
	uint32_t ttl_s; /* left of 10; 0: expired */
} age_cases[] = {
	{ 5000, 5000, 10 }, { 5000, 5999, 10 }, { 5000, 6000, 9 },
	{ 5000, 14999, 1 }, { 5000, 15000, 0 }, { 5000, 1u << 30, 0 },
	{ 5000, 4000, 10 }, { 5249, 5250, 10 }, { 5249, 14999, 1 },
	{ 5249, 15249, 0 }, { 0, 0, 10 },       { 1ull << 40, (1ull << 40) + 3000, 7 },
};

START_TEST(test_age)
{
	for (size_t i = 0; i < ARRAY_SIZE(age_cases); i++) {
		struct cache *cache = new_cache(CACHE_BYTES_MIN);
		struct got got;

		ck_assert_int_eq(put_a(cache, "a", 10, 1, &plain, age_cases[i].stored_ms), 0);
		get_a(cache, "a", age_cases[i].now_ms, &got);
		ck_assert_msg(got.outcome == (age_cases[i].ttl_s ? CACHE_HIT : CACHE_EXPIRED),
			      "case %zu", i);
		if (got.outcome == CACHE_HIT) {
			ck_assert_msg(got.result.ttl_s == age_cases[i].ttl_s, "case %zu: %u", i,
				      got.result.ttl_s);
			ck_assert_uint_eq(got_ttl(&got), age_cases[i].ttl_s);
		}
		cache_free(cache);
	}
}
END_TEST

/* Each record's TTL goes down by itself; the least decides when the whole goes. */
START_TEST(test_several_ttls)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
	static struct packet p;
	size_t first;
	size_t second;
	struct got got;

	packet_start(&p, 0, ANSWER | DNSMSG_AD, 1, 2, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	first = packet_name_rr(&p, "@12", DNS_TYPE_CNAME, 20, "b");
	second = packet_a(&p, "b", 300);
	packet_a(&p, "c", 1000);
	ck_assert_int_eq(put_packet(cache, &key, &p, "a", DNS_TYPE_A, &plain, 0), 0);
	get_key(cache, &key, 19 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);
	ck_assert_uint_eq(got.result.ttl_s, 1);
	ck_assert_uint_eq(word32(got.msg + first + 6), 1);
	ck_assert_uint_eq(word32(got.msg + second + 7), 281);
	ck_assert_uint_eq(got_ttl(&got), 981);
	ck_assert_mem_eq(got.msg, "\0\0\x80\xa0\0\1\0\2\0\0\0\1", 12);
	get_key(cache, &key, 20 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_EXPIRED);
	cache_free(cache);
}
END_TEST

static const struct {
	struct cache_ttls ttls;
	bool negative;
	uint32_t ttl_s;
	uint32_t kept_s; /* 0: must be refused */
} knob_cases[] = {
	{ { 0, 86400, 3600 }, false, 300, 300 },
	{ { 600, 86400, 3600 }, false, 300, 600 },
	{ { 0, 60, 3600 }, false, 300, 60 },
	{ { 600, 86400, 3600 }, false, 0, 0 },
	{ { 0, 0, 3600 }, false, 300, 0 },
	{ { 0, 86400, 3600 }, true, 300, 300 },
	{ { 0, 86400, 60 }, true, 300, 60 },
	{ { 600, 86400, 60 }, true, 30, 60 },
	{ { 600, 86400, 3600 }, true, 30, 600 },
	{ { 600, 86400, 3600 }, true, 0, 0 },
	{ { 0, 86400, 0 }, true, 300, 0 },
	{ { 0, 60, 3600 }, true, 300, 300 },
	{ { 0, CACHE_TTL_MAX_S, 0 }, false, 0x7fffffff, CACHE_TTL_MAX_S },
};

START_TEST(test_knobs)
{
	for (size_t i = 0; i < ARRAY_SIZE(knob_cases); i++) {
		struct cache *cache = new_cache(CACHE_BYTES_MIN);
		struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
		uint32_t ttl_s = knob_cases[i].ttl_s;
		static struct packet p;
		struct got got;
		int r;

		packet_start(&p, 0, ANSWER, 1, !knob_cases[i].negative, knob_cases[i].negative, 0);
		packet_question(&p, "a", DNS_TYPE_A);
		if (knob_cases[i].negative) {
			packet_soa(&p, ".", ttl_s, 100000);
		} else {
			packet_a(&p, "@12", ttl_s);
		}
		r = put_packet(cache, &key, &p, "a", DNS_TYPE_A, &knob_cases[i].ttls, 0);
		ck_assert_msg((r == 0) == (knob_cases[i].kept_s > 0), "case %zu", i);
		get_key(cache, &key, 0, &got);
		if (r < 0) {
			ck_assert_int_eq(r, -EINVAL);
			ck_assert_int_eq(got.outcome, CACHE_MISS);
		} else {
			ck_assert_uint_eq(got.result.ttl_s, knob_cases[i].kept_s);
			/* The record's own TTL says the same: in both cases it follows owner and
			 * type. */
			ck_assert_uint_eq(word32(got.msg + 19 + (knob_cases[i].negative ? 5 : 6)),
					  knob_cases[i].kept_s);
			get_key(cache, &key, knob_cases[i].kept_s * 1000ull - 1, &got);
			ck_assert_int_eq(got.outcome, CACHE_HIT);
			get_key(cache, &key, knob_cases[i].kept_s * 1000ull, &got);
			ck_assert_int_eq(got.outcome, CACHE_EXPIRED);
		}
		cache_free(cache);
	}
}
END_TEST

START_TEST(test_key_parts)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a.b", DNS_TYPE_A);
	struct cache_key others[6];
	struct dnsmsg_query query;
	static struct packet p;
	struct got got;

	packet_parse_query(&query, "A.b", DNS_TYPE_A, 0, -1, 0);
	for (unsigned i = 0; i < 4; i++) {
		cache_key_init(&others[i], cache, query.question, query.question_len,
			       i == 1 || i == 3, i >= 2, 0);
		ck_assert_int_eq(cache_key_equal(&others[i], &key), i == 0);
	}
	cache_key_init(&others[4], cache, query.question, query.question_len, false, false, 1);
	others[5] = make_key(cache, "a.b", DNS_TYPE_AAAA);
	others[0] = make_key(cache, "b", DNS_TYPE_A);

	packet_start(&p, 0, ANSWER, 1, 1, 0, 0);
	packet_question(&p, "a.b", DNS_TYPE_A);
	packet_a(&p, "@12", 300);
	ck_assert_int_eq(put_packet(cache, &key, &p, "a.b", DNS_TYPE_A, &plain, 0), 0);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert(!cache_key_equal(&others[i], &key));
		/* Only the bytes tell them apart. */
		others[i].hash = key.hash;
		get_key(cache, &others[i], 0, &got);
		ck_assert_msg(got.outcome == CACHE_MISS, "key %u", i);
	}
	ck_assert_int_eq(put_packet(cache, &others[5], &p, "a.b", DNS_TYPE_A, &plain, 0), -EINVAL);
	cache_free(cache);
}
END_TEST

START_TEST(test_refused)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
	static struct packet p;
	uint16_t offsets[600];
	struct cache_answer answer = {
		.msg = p.bytes, .ttl_offsets = offsets, .ttl_count = 1, .ttl_s = 60
	};
	struct cache_stats stats;
	struct got got;

	packet_start(&p, 0, ANSWER, 1, 1, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	offsets[0] = (uint16_t)(packet_a(&p, "@12", 60) + 6);
	answer.len = p.len;
	for (unsigned i = 0; i < 9; i++) {
		struct cache_answer bad = answer;
		uint16_t offset = offsets[0];

		p.bytes[3] = i == 1 ? DNS_RCODE_SERVFAIL : 0;
		p.bytes[2] = i == 2 ? 0x82 : 0x80;
		p.bytes[5] = i == 3 ? 2 : 1;
		p.bytes[7] = i == 4 ? 2 : 1;
		p.bytes[13] = i == 5 ? 'b' : 'a';
		bad.len = i == 6 ? 18 : answer.len;
		offsets[0] = i == 7 ? (uint16_t)(answer.len - 3) : i == 8 ? 18 : offset;
		ck_assert_msg(cache_put(cache, &key, &bad, &plain, 0) == (i ? -EINVAL : 0),
			      "case %u", i);
		offsets[0] = offset;
	}
	p.bytes[13] = 'a';
	/* What was there before is still there. */
	get_key(cache, &key, 0, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);

	packet_start(&p, 0, ANSWER, 1, 1, 0, 256);
	packet_question(&p, "a", DNS_TYPE_A);
	for (unsigned i = 0; i < 257; i++) {
		packet_a(&p, "@12", 60);
	}
	ck_assert_int_eq(put_packet(cache, &key, &p, "a", DNS_TYPE_A, &plain, 0), -E2BIG);
	packet_start(&p, 0, ANSWER, 1, 1, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	{
		static const uint8_t zeros[CACHE_BYTES_MIN / 8];

		packet_rr(&p, "@12", DNS_TYPE_A + 15, 60, zeros, sizeof zeros);
	}
	answer.len = p.len;
	ck_assert_int_eq(cache_put(cache, &key, &answer, &plain, 0), -E2BIG);
	cache_read_stats(cache, &stats);
	ck_assert_uint_eq(stats.entries, 1);
	cache_free(cache);
}
END_TEST

START_TEST(test_replace)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_stats before;
	struct cache_stats after;
	struct got got;

	ck_assert_int_eq(put_a(cache, "a", 60, 1, &plain, 0), 0);
	cache_read_stats(cache, &before);
	ck_assert_int_eq(put_a(cache, "A", 90, 2, &plain, 30 * S), 0);
	cache_read_stats(cache, &after);
	get_a(cache, "a", 30 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);
	ck_assert_uint_eq(got.result.ttl_s, 90);
	ck_assert_uint_eq(got_value(&got), 2);
	ck_assert_uint_eq(after.entries, 1);
	ck_assert_uint_eq(after.bytes, before.bytes);
	ck_assert_uint_eq(after.evictions, 0);
	cache_free(cache);
}
END_TEST

/* Answers longer than the buffer come without their records. */
START_TEST(test_long_answer)
{
	static const uint8_t zeros[1000];
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a", 16);
	uint8_t buf[1100];
	static struct packet p;
	struct cache_result result;

	packet_start(&p, 0, ANSWER | DNSMSG_AD, 1, 1, 0, 0);
	packet_question(&p, "a", 16);
	packet_rr(&p, "@12", 16, 60, zeros, sizeof zeros);
	ck_assert_int_eq(put_packet(cache, &key, &p, "a", 16, &plain, 0), 0);
	ck_assert_int_eq(cache_get(cache, &key, 0, buf, p.len, &result), CACHE_HIT);
	ck_assert_uint_eq(result.len, p.len);
	memset(buf, 0xee, sizeof buf);
	ck_assert_int_eq(cache_get(cache, &key, 0, buf, p.len - 1, &result), CACHE_HIT);
	ck_assert_uint_eq(result.len, 19);
	ck_assert_mem_eq(buf, "\0\0\x82\x80\0\1\0\0\0\0\0\0\1a\0\0\20\0\1\xee", 20);
	cache_free(cache);
}
END_TEST

static void name_of(unsigned i, char name[32])
{
	snprintf(name, 32, "host%06u.example", i);
}

START_TEST(test_bound_holds)
{
	static const size_t sizes[] = { CACHE_BYTES_MIN, 300000, 4u << 20 };

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct cache *cache = new_cache(sizes[s]);
		unsigned count = (unsigned)(sizes[s] / 40);
		struct cache_stats stats;
		unsigned found = 0;
		struct got got;
		char name[32];

		for (unsigned i = 0; i < count; i++) {
			name_of(i, name);
			ck_assert_int_eq(put_a(cache, name, 3600, i, &plain, 0), 0);
			if (i % 97 == 0 || i + 1 == count) {
				cache_read_stats(cache, &stats);
				ck_assert_uint_le(stats.bytes, sizes[s]);
			}
		}
		cache_read_stats(cache, &stats);
		ck_assert_uint_eq(stats.size_bytes, sizes[s]);
		ck_assert_uint_eq(stats.entries + stats.evictions, count);
		ck_assert_uint_gt(stats.bytes, sizes[s] - sizes[s] / 10);
		for (unsigned i = 0; i < count; i++) {
			name_of(i, name);
			get_a(cache, name, 0, &got);
			if (got.outcome == CACHE_HIT) {
				ck_assert_uint_eq(got_value(&got), i);
				found++;
			}
		}
		ck_assert_uint_eq(found, stats.entries);
		cache_free(cache);
	}
}
END_TEST

/* Names that are asked for stay while ten times as many others pass through. */
START_TEST(test_popular_names_stay)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_stats stats;
	struct got got;
	char name[32];

	for (unsigned i = 0; i < 6000; i++) {
		name_of(i, name);
		ck_assert_int_eq(put_a(cache, name, 3600, i, &plain, 0), 0);
		for (unsigned k = 0; k < 20 && k <= i && i % 10 == 0; k++) {
			name_of(k, name);
			get_a(cache, name, 0, &got);
		}
	}
	cache_read_stats(cache, &stats);
	ck_assert_uint_gt(stats.evictions, 5000);
	for (unsigned k = 0; k < 20; k++) {
		name_of(k, name);
		get_a(cache, name, 0, &got);
		ck_assert_msg(got.outcome == CACHE_HIT, "%s", name);
	}
	name_of(21, name);
	get_a(cache, name, 0, &got);
	ck_assert_int_eq(got.outcome, CACHE_MISS);
	cache_free(cache);
}
END_TEST

START_TEST(test_flush)
{
	struct cache *cache = new_cache(1u << 20);
	struct cache_stats empty;
	struct cache_stats stats;
	struct got got;
	char name[32];

	cache_read_stats(cache, &empty);
	ck_assert_uint_eq(empty.entries, 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 100; i++) {
			name_of(i, name);
			ck_assert_int_eq(put_a(cache, name, 3600, i, &plain, 0), 0);
		}
		cache_read_stats(cache, &stats);
		ck_assert_uint_eq(stats.entries, 100);
		cache_flush(cache);
		cache_read_stats(cache, &stats);
		ck_assert_uint_eq(stats.entries, 0);
		ck_assert_uint_eq(stats.bytes, empty.bytes);
		get_a(cache, name, 0, &got);
		ck_assert_int_eq(got.outcome, CACHE_MISS);
	}
	cache_free(cache);
	cache_free(NULL);
}
END_TEST

START_TEST(test_size_refused)
{
	const struct crypto_key key = { { 0 } };

	errno = 0;
	ck_assert_ptr_null(cache_new(CACHE_BYTES_MIN - 1, hash_for_tests, &key));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* Puts and gets from two threads: whatever is found is whole and belongs to its name. */
#define THREAD_NAMES 600

static void *hammer(void *arg)
{
	struct cache *cache = arg;
	uint8_t msg[DNSMSG_HEADER_LEN + 8 + 16] = { 0, 0, 0x80, 0x80, 0, 1, 0, 1, 0, 0,
						    0, 0, 2,    0,    0, 0, 0, 1, 0, 1 };
	static const uint8_t rr[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4 };
	const uint16_t offset = 20 + 6;
	struct cache_answer answer = {
		.msg = msg, .len = 36, .ttl_offsets = &offset, .ttl_count = 1, .ttl_s = 60
	};
	uintptr_t wrong = 0;

	memcpy(msg + 20, rr, sizeof rr);
	for (unsigned i = 0; i < 60000; i++) {
		unsigned n = i * 7919 % THREAD_NAMES;
		struct cache_result result;
		struct cache_key key;
		uint8_t buf[DNSMSG_UDP_MIN];

		msg[13] = (uint8_t)('a' + n / 26);
		msg[14] = (uint8_t)('a' + n % 26);
		memcpy(msg + 32, msg + 12, 4);
		cache_key_init(&key, cache, msg + 12, 8, false, false, 0);
		if (cache_get(cache, &key, i, buf, sizeof buf, &result) != CACHE_HIT) {
			cache_put(cache, &key, &answer, &plain, i);
		} else if (result.len != 36 || memcmp(buf + 12, buf + 32, 3) != 0 ||
			   buf[13] != msg[13] || buf[14] != msg[14]) {
			wrong++;
		}
	}
	return (void *)wrong;
}

START_TEST(test_threads)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	pthread_t threads[2];
	void *wrong;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, cache), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
		ck_assert_ptr_null(wrong);
	}
	cache_free(cache);
}
END_TEST

/* How old an answer is, how stale it may be, and what comes of it. */
static const struct {
	uint64_t now_ms;
	uint64_t max_stale_ms;
	enum cache_outcome outcome;
	uint32_t ttl_s;
} stale_cases[] = {
	{ 9999, 0, CACHE_HIT, 1 },
	{ 10000, 0, CACHE_MISS, 0 },
	{ 10000, 1000, CACHE_EXPIRED, CACHE_STALE_TTL_S },
	{ 10999, 1000, CACHE_EXPIRED, CACHE_STALE_TTL_S },
	{ 11000, 1000, CACHE_MISS, 0 },
	{ 10000 + 86399999u, 86400000, CACHE_EXPIRED, CACHE_STALE_TTL_S },
	{ 10000 + 86400000u, 86400000, CACHE_MISS, 0 },
};

START_TEST(test_stale)
{
	for (size_t i = 0; i < ARRAY_SIZE(stale_cases); i++) {
		struct cache *cache = new_cache(CACHE_BYTES_MIN);
		struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
		enum cache_outcome outcome;
		struct got got;

		ck_assert_int_eq(put_a(cache, "a", 10, 42, &plain, 0), 0);
		outcome = cache_get_stale(cache, &key, stale_cases[i].now_ms,
					  stale_cases[i].max_stale_ms, got.msg, sizeof got.msg,
					  &got.result);
		ck_assert_msg(outcome == stale_cases[i].outcome, "case %zu: %d", i, outcome);
		if (outcome != CACHE_MISS) {
			ck_assert_uint_eq(got.result.ttl_s, stale_cases[i].ttl_s);
			ck_assert_uint_eq(got_ttl(&got), stale_cases[i].ttl_s);
			ck_assert_uint_eq(got_value(&got), 42);
		}
		cache_free(cache);
	}
}
END_TEST

/* What was saved gives way to what has come since, and to a flush. */
START_TEST(test_put_saved)
{
	static struct packet p;
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
	unsigned flush_count = cache_flush_count(cache);
	const struct dnsmsg_reason reason = { .is_set = true, .code = 3, .text = "" };
	struct cache_answer saved = {
		.ttl_count = 1, .ttl_s = 50, .age_ms = 20 * S, .reason = &reason
	};
	uint16_t offset;
	struct got got;

	packet_start(&p, 0, ANSWER, 1, 1, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	offset = (uint16_t)(packet_a(&p, "@12", 50) + 6);
	saved.msg = p.bytes;
	saved.len = p.len;
	saved.ttl_offsets = &offset;
	ck_assert_int_eq(cache_put_saved(cache, &key, &saved, &plain, 30 * S, flush_count), 0);
	get_a(cache, "a", 30 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);
	ck_assert_uint_eq(got.result.ttl_s, 30);
	ck_assert(got.result.reason.is_set);
	ck_assert_uint_eq(got.result.reason.code, 3);
	ck_assert_str_eq(got.result.reason.text, "");
	ck_assert_int_eq(put_a(cache, "a", 100, 77, &plain, 30 * S), 0);
	ck_assert_int_eq(cache_put_saved(cache, &key, &saved, &plain, 30 * S, flush_count),
			 -EEXIST);
	get_a(cache, "a", 30 * S, &got);
	ck_assert_uint_eq(got_value(&got), 77);
	ck_assert(!got.result.reason.is_set);
	cache_flush(cache);
	ck_assert_int_eq(cache_put_saved(cache, &key, &saved, &plain, 30 * S, flush_count),
			 -ESTALE);
	get_a(cache, "a", 30 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_MISS);
	flush_count = cache_flush_count(cache);
	ck_assert_int_eq(cache_put_saved(cache, &key, &saved, &plain, 30 * S, flush_count), 0);
	cache_free(cache);
}
END_TEST

static void keep_age(void *arg, const struct cache_item *item)
{
	*(uint64_t *)arg = item->age_ms;
}

START_TEST(test_expire_group)
{
	static uint8_t buf[DNSMSG_MAX];
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
	uint64_t age_ms = 0;
	struct got got;

	ck_assert_int_eq(put_a(cache, "a", 100, 42, &plain, 10 * S), 0);
	cache_expire_group(cache, 1, 12 * S);
	get_a(cache, "a", 12 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);
	cache_expire_group(cache, 0, 12 * S);
	get_a(cache, "a", 12 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_EXPIRED);
	/* Good enough while no server answers, if that is wanted at all; when saved, expired. */
	ck_assert_int_eq(
		cache_get_stale(cache, &key, 13 * S, 0, got.msg, sizeof got.msg, &got.result),
		CACHE_MISS);
	ck_assert_int_eq(
		cache_get_stale(cache, &key, 13 * S, 60 * S, got.msg, sizeof got.msg, &got.result),
		CACHE_EXPIRED);
	ck_assert_uint_eq(got.result.ttl_s, CACHE_STALE_TTL_S);
	cache_visit(cache, 0, 13 * S, 0, buf, keep_age, &age_ms);
	ck_assert_uint_eq(age_ms, 0);
	cache_visit(cache, 0, 13 * S, 60 * S, buf, keep_age, &age_ms);
	ck_assert_uint_eq(age_ms, 100 * S);
	/* What comes afterwards is of the new time. */
	ck_assert_int_eq(put_a(cache, "a", 100, 43, &plain, 12 * S), 0);
	get_a(cache, "a", 13 * S, &got);
	ck_assert_int_eq(got.outcome, CACHE_HIT);
	ck_assert_uint_eq(got_value(&got), 43);
	cache_free(cache);
}
END_TEST

START_TEST(test_hits_are_counted_and_claimed_once)
{
	struct cache *cache = new_cache(CACHE_BYTES_MIN);
	struct cache_key key = make_key(cache, "a", DNS_TYPE_A);
	struct got got;

	ck_assert(!cache_claim(cache, &key));
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(put_a(cache, "a", 10, 42, &plain, 0), 0);
		for (unsigned i = 1; i <= 5; i++) {
			get_key(cache, &key, 2 * S, &got);
			ck_assert_uint_eq(got.result.hits, i < CACHE_HITS_MAX ? i : CACHE_HITS_MAX);
			ck_assert_uint_eq(got.result.full_s, 10);
			ck_assert_uint_eq(got.result.ttl_s, 8);
		}
		ck_assert(cache_claim(cache, &key));
		ck_assert(!cache_claim(cache, &key));
	}
	cache_free(cache);
}
END_TEST

SUITE_MAIN("cache", test_hit, test_age, test_several_ttls, test_knobs, test_key_parts, test_refused,
	   test_replace, test_long_answer, test_bound_holds, test_popular_names_stay, test_flush,
	   test_size_refused, test_stale, test_put_saved, test_expire_group,
	   test_hits_are_counted_and_claimed_once, test_threads)
