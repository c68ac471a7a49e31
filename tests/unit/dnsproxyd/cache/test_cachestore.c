/* SPDX-License-Identifier: ISC */
#include "common/clock.h"
#include "common/container.h"
#include "common/crypto.h"

#include "dnsproxyd/cache/cachestore.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT   20000u
#define LOADERS 2u /* threads */

static const struct cache_ttls plain = { .max_s = 86400, .negative_max_s = 3600 };
static const char *const names[] = { "default", "corp" };

/* A cache with a file of its own. */
struct bench {
	char path[64];
	struct cache *cache;
	struct cachestore *store;
	_Atomic bool stop;
};

static void open_cache(struct bench *b, size_t name_count)
{
	const struct crypto_key key = cachestore_hash_key(b->path);

	b->cache = cache_new(16 << 20, crypto_siphash, &key);
	b->store = cachestore_new(b->cache, b->path);
	ck_assert_ptr_nonnull(b->cache);
	ck_assert_ptr_nonnull(b->store);
	ck_assert_int_eq(cachestore_set_groups(b->store, names, name_count), 0);
}

static void close_cache(struct bench *b)
{
	cachestore_free(b->store);
	cache_free(b->cache);
}

static struct cache_key key_of(const struct bench *b, unsigned number)
{
	struct dnsmsg_query query;
	struct cache_key key;
	char name[32];

	snprintf(name, sizeof name, "n%u.example", number);
	packet_parse_query(&query, name, DNS_TYPE_A, DNSMSG_RD, -1, 0);
	cache_key_init(&key, b->cache, query.question, query.question_len, false, false,
		       (uint8_t)(number % 2));
	return key;
}

static void put(struct bench *b, unsigned number, uint32_t ttl_s)
{
	static struct packet p;
	struct cache_key key = key_of(b, number);
	uint16_t offset;
	char name[32];

	snprintf(name, sizeof name, "n%u.example", number);
	packet_start(&p, 0, DNSMSG_QR | DNSMSG_RA, 1, 1, 0, 0);
	packet_question(&p, name, DNS_TYPE_A);
	offset = (uint16_t)(packet_a(&p, "@12", ttl_s) + 6);
	ck_assert_int_eq(cache_put(b->cache, &key,
				   &(struct cache_answer){ .msg = p.bytes,
							   .len = p.len,
							   .ttl_offsets = &offset,
							   .ttl_count = 1,
							   .ttl_s = ttl_s },
				   &plain, clock_mono_ms()),
			 0);
}

/* The TTL it came with, or 0. */
static uint32_t ttl_of(struct bench *b, unsigned number)
{
	struct cache_key key = key_of(b, number);
	struct cache_result result;
	uint8_t buf[512];

	if (cache_get(b->cache, &key, clock_mono_ms(), buf, sizeof buf, &result) != CACHE_HIT) {
		return 0;
	}
	return result.full_s;
}

static size_t entries(struct bench *b)
{
	struct cache_stats stats;

	cache_read_stats(b->cache, &stats);
	return stats.entries;
}

static void *run_load(void *arg)
{
	cachestore_load(arg);
	return NULL;
}

static void start_loading(struct bench *b, pthread_t threads[LOADERS])
{
	cachestore_expect(b->store, &plain, LOADERS);
	ck_assert(cachestore_is_loading(b->store));
	for (unsigned i = 0; i < LOADERS; i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run_load, b->store), 0);
	}
}

static void join(pthread_t threads[LOADERS])
{
	for (unsigned i = 0; i < LOADERS; i++) {
		pthread_join(threads[i], NULL);
	}
}

static void load(struct bench *b)
{
	pthread_t threads[LOADERS];

	start_loading(b, threads);
	join(threads);
}

static void make_file(struct bench *b)
{
	snprintf(b->path, sizeof b->path, "/tmp/test_cachestore.%d", (int)getpid());
	unlink(b->path);
	open_cache(b, ARRAY_SIZE(names));
	for (unsigned i = 0; i < COUNT; i++) {
		put(b, i, 300);
	}
	cachestore_save(b->store, 0);
	close_cache(b);
}

START_TEST(test_all_is_loaded)
{
	struct bench b = { .cache = NULL };

	make_file(&b);
	open_cache(&b, ARRAY_SIZE(names));
	load(&b);
	ck_assert(!cachestore_is_loading(b.store));
	ck_assert_uint_eq(entries(&b), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_uint_eq(ttl_of(&b, i), 300);
	}
	close_cache(&b);
	/* Of a group that is gone, nothing. */
	open_cache(&b, 1);
	load(&b);
	ck_assert_uint_eq(entries(&b), COUNT / 2);
	ck_assert_uint_eq(ttl_of(&b, 1), 0);
	close_cache(&b);
	unlink(b.path);
}
END_TEST

/* What comes while the file is loaded is newer than all that is in it. */
START_TEST(test_newer_stays)
{
	struct bench b = { .cache = NULL };
	pthread_t threads[LOADERS];

	make_file(&b);
	open_cache(&b, ARRAY_SIZE(names));
	start_loading(&b, threads);
	for (unsigned i = 0; i < COUNT; i += 7) {
		put(&b, i, 500);
	}
	join(threads);
	ck_assert_uint_eq(entries(&b), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_uint_eq(ttl_of(&b, i), i % 7 == 0 ? 500 : 300);
	}
	close_cache(&b);
	unlink(b.path);
}
END_TEST

/* Stopped at any point, it leaves the file as it was. */
START_TEST(test_stopped)
{
	struct bench b = { .cache = NULL };
	pthread_t threads[LOADERS];
	struct stat before;
	struct stat after;

	make_file(&b);
	ck_assert_int_eq(stat(b.path, &before), 0);
	for (unsigned delay_us = 0; delay_us < 20000; delay_us += 2000) {
		open_cache(&b, ARRAY_SIZE(names));
		start_loading(&b, threads);
		usleep(delay_us);
		cachestore_stop_loading(b.store);
		join(threads);
		if (cachestore_is_loading(b.store)) {
			cachestore_save(b.store, 0);
			ck_assert_int_eq(stat(b.path, &after), 0);
			ck_assert_uint_eq(after.st_ino, before.st_ino);
			ck_assert_int_eq(after.st_size, before.st_size);
		}
		close_cache(&b);
	}
	/* When not even all threads have begun, the same. */
	open_cache(&b, ARRAY_SIZE(names));
	cachestore_expect(b.store, &plain, LOADERS);
	cachestore_load(b.store);
	ck_assert_uint_eq(entries(&b), COUNT);
	cachestore_save(b.store, 0);
	ck_assert_int_eq(stat(b.path, &after), 0);
	ck_assert_uint_eq(after.st_ino, before.st_ino);
	close_cache(&b);
	unlink(b.path);
}
END_TEST

/* After a reload that gives groups other numbers nothing more comes from the file. */
START_TEST(test_flushed)
{
	struct bench b = { .cache = NULL };
	pthread_t threads[LOADERS];

	make_file(&b);
	for (unsigned delay_us = 0; delay_us < 20000; delay_us += 2000) {
		open_cache(&b, ARRAY_SIZE(names));
		start_loading(&b, threads);
		usleep(delay_us);
		cache_flush(b.cache);
		put(&b, 3, 700);
		join(threads);
		ck_assert_uint_eq(entries(&b), 1);
		ck_assert_uint_eq(ttl_of(&b, 3), 700);
		ck_assert(!cachestore_is_loading(b.store));
		close_cache(&b);
	}
	unlink(b.path);
}
END_TEST

static void *save_always(void *arg)
{
	struct bench *b = arg;

	while (!b->stop) {
		cachestore_save(b->store, 0);
	}
	return NULL;
}

/* Saving, loading, asking, putting and flushing at a time; what is in the file is whole. */
START_TEST(test_all_at_once)
{
	struct bench b = { .cache = NULL };
	pthread_t threads[LOADERS];
	pthread_t saver;

	make_file(&b);
	open_cache(&b, ARRAY_SIZE(names));
	ck_assert_int_eq(pthread_create(&saver, NULL, save_always, &b), 0);
	start_loading(&b, threads);
	for (unsigned i = 0; i < COUNT; i++) {
		put(&b, i, 400);
		ck_assert_uint_eq(ttl_of(&b, i), 400);
		if (i == COUNT / 2) {
			ck_assert_int_eq(cachestore_set_groups(b.store, names, 2), 0);
		}
	}
	join(threads);
	b.stop = true;
	pthread_join(saver, NULL);
	cachestore_save(b.store, 0);
	close_cache(&b);
	open_cache(&b, ARRAY_SIZE(names));
	load(&b);
	ck_assert_uint_eq(entries(&b), COUNT);
	close_cache(&b);
	unlink(b.path);
}
END_TEST

/* Without a file, or with an empty one, there is nothing to load, and one can be saved. */
START_TEST(test_no_file)
{
	struct bench b = { .cache = NULL };
	FILE *file;

	snprintf(b.path, sizeof b.path, "/tmp/test_cachestore.%d", (int)getpid());
	unlink(b.path);
	for (unsigned round = 0; round < 2; round++) {
		open_cache(&b, ARRAY_SIZE(names));
		load(&b);
		ck_assert(!cachestore_is_loading(b.store));
		put(&b, 1, 300);
		cachestore_save(b.store, 0);
		ck_assert_int_eq(access(b.path, F_OK), 0);
		close_cache(&b);
		file = fopen(b.path, "w");
		ck_assert_ptr_nonnull(file);
		fclose(file);
	}
	unlink(b.path);
}
END_TEST

SUITE_MAIN("cachestore", test_all_is_loaded, test_newer_stays, test_stopped, test_flushed,
	   test_all_at_once, test_no_file)
