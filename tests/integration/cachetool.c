/* SPDX-License-Identifier: ISC */
/*
 * Fills a cache, for tests that need more answers than clients could ask for in time.
 *
 *	cachetool file COUNT PATH    save COUNT answers there; print the last name of the last block
 *	cachetool memory COUNT       print what COUNT answers cost
 *
 * The answers are A records, with TTL 86400, of n0000000.ca.example (19 characters) and so on.
 */
#include "common/clock.h"
#include "common/crypto.h"
#include "common/wire.h"

#include "dnsproxyd/cache/cachestore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TTL_S = 86400,
	ENTRY_BYTES = 145, /* what an answer may cost */
};

static const struct cache_ttls ttls = { .max_s = TTL_S };

static void put_answer(struct cache *cache, unsigned number)
{
	static const uint8_t pointer[] = { 0xc0, DNSMSG_HEADER_LEN };
	uint8_t msg[DNSMSG_UDP_MIN];
	struct wire_writer w = wire_writer(msg, sizeof msg);
	uint8_t name[DNSNAME_MAX];
	struct cache_key key;
	char text[32];
	size_t name_len;
	uint16_t ttl_offset;

	snprintf(text, sizeof text, "n%07u.ca.example", number);
	if (dnsname_parse(text, name, &name_len) < 0) {
		abort();
	}
	for (unsigned i = 0; i < DNSMSG_HEADER_LEN / 2; i++) {
		wire_put_u16(&w, i == 1 ? DNSMSG_QR | DNSMSG_RA : i == 2 || i == 3);
	}
	wire_put(&w, name, name_len);
	wire_put_u16(&w, DNS_TYPE_A);
	wire_put_u16(&w, DNS_CLASS_IN);
	wire_put(&w, pointer, sizeof pointer);
	wire_put_u16(&w, DNS_TYPE_A);
	wire_put_u16(&w, DNS_CLASS_IN);
	ttl_offset = (uint16_t)wire_written(&w);
	wire_put_u32(&w, TTL_S);
	wire_put_u16(&w, 4);
	wire_put_u32(&w, number);
	cache_key_init(&key, cache, msg + DNSMSG_HEADER_LEN, name_len + 4, false, false, 0);
	if (cache_put(cache, &key,
		      &(struct cache_answer){ .msg = msg,
					      .len = wire_written(&w),
					      .ttl_offsets = &ttl_offset,
					      .ttl_count = 1,
					      .ttl_s = TTL_S },
		      &ttls, clock_mono_ms()) < 0) {
		abort();
	}
}

static struct cache *fill(unsigned count)
{
	struct crypto_key key;
	struct cache *cache;

	crypto_random(&key, sizeof key);
	/* Twice as large as needed: shards do not fill up evenly. */
	cache = cache_new((size_t)count * 2 * ENTRY_BYTES + CACHE_BYTES_MIN, crypto_siphash, &key);
	for (unsigned i = 0; cache && i < count; i++) {
		put_answer(cache, i);
	}
	return cache;
}

static void keep_name(void *arg, const struct cache_item *item)
{
	const uint8_t *name = item->msg + DNSMSG_HEADER_LEN;

	snprintf(arg, 32, "%.8s.ca.example", (const char *)name + 1);
}

static int write_file(unsigned count, const char *path)
{
	static uint8_t scratch[DNSMSG_MAX];
	struct cache *cache = fill(count);
	struct cachestore *store = cache ? cachestore_new(cache, path) : NULL;
	const char *group = "default";
	char last[32] = "";

	if (!store || cachestore_set_groups(store, &group, 1) < 0) {
		perror(path);
		return EXIT_FAILURE;
	}
	cachestore_save(store, 0);
	for (size_t i = 0; i < cache_shard_count(cache); i++) {
		cache_visit(cache, i, clock_mono_ms(), 0, scratch, keep_name, last);
	}
	puts(last);
	cachestore_free(store);
	cache_free(cache);
	return EXIT_SUCCESS;
}

/* In bytes. */
static long resident(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	if (!file || fscanf(file, "%*d %ld", &pages) != 1) {
		abort();
	}
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

static int measure(unsigned count)
{
	long before = resident();
	struct cache *cache = fill(count);
	long grown = resident() - before;
	struct cache_stats stats;

	if (!cache) {
		perror("cache");
		return EXIT_FAILURE;
	}
	cache_read_stats(cache, &stats);
	printf("%zu answers: each %.1f bytes by the cache's count, %.1f by resident memory\n",
	       stats.entries, (double)stats.bytes / (double)stats.entries,
	       (double)grown / (double)stats.entries);
	cache_free(cache);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

	if (crypto_init() < 0) {
		return EXIT_FAILURE;
	}
	if (argc == 4 && count > 0 && strcmp(argv[1], "file") == 0) {
		return write_file(count, argv[3]);
	}
	if (argc == 3 && count > 0 && strcmp(argv[1], "memory") == 0) {
		return measure(count);
	}
	fprintf(stderr, "usage: cachetool file COUNT PATH | memory COUNT\n");
	return EXIT_FAILURE;
}
