/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/ratelimit.h"

#include <stdlib.h>
#include <string.h>

enum {
	SETS = 16384,
	WAYS = 4,
	TAG_BITS = 16,
	IPV6_CLIENT_BYTES = 8, /* a /64: one host has as many addresses of it as it likes */
};

/* A place: the tag in the upper bits, below it when the bucket will be full, in microseconds: 48
 * bits last for eight years of uptime. */
#define TIME_MASK ((UINT64_C(1) << (64 - TAG_BITS)) - 1)

struct ratelimit {
	uint64_t (*hash)(const struct crypto_key *key, const void *buf, size_t len);
	struct crypto_key hash_key;
	uint64_t sets[SETS][WAYS];
};

struct ratelimit *ratelimit_new(uint64_t (*hash)(const struct crypto_key *key, const void *buf,
						 size_t len),
				const struct crypto_key *hash_key)
{
	struct ratelimit *limit = calloc(1, sizeof *limit);

	if (limit) {
		limit->hash = hash;
		limit->hash_key = *hash_key;
	}
	return limit;
}

void ratelimit_free(struct ratelimit *limit)
{
	free(limit);
}

static uint64_t client_hash(const struct ratelimit *limit, const struct addr *client)
{
	const struct addr plain = addr_unmap(client);

	if (plain.sa.sa_family == AF_INET6) {
		return limit->hash(&limit->hash_key, &plain.in6.sin6_addr, IPV6_CLIENT_BYTES);
	}
	return limit->hash(&limit->hash_key, &plain.in4.sin_addr, sizeof plain.in4.sin_addr);
}

/* The client's place, or the one whose bucket is full first. */
static uint64_t *find_place(uint64_t set[WAYS], uint64_t tag)
{
	uint64_t *oldest = &set[0];
	uint64_t oldest_us = UINT64_MAX;

	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t value = __atomic_load_n(&set[i], __ATOMIC_RELAXED);

		if (value >> (64 - TAG_BITS) == tag && value != 0) {
			return &set[i];
		}
		if ((value & TIME_MASK) < oldest_us) {
			oldest_us = value & TIME_MASK;
			oldest = &set[i];
		}
	}
	return oldest;
}

enum ratelimit_verdict ratelimit_take(struct ratelimit *limit, const struct addr *client,
				      uint32_t per_second, uint32_t burst, uint64_t now_ms)
{
	uint64_t hash = client_hash(limit, client);
	uint64_t tag = hash >> (64 - TAG_BITS);
	uint64_t *place = find_place(limit->sets[hash % SETS], tag);
	uint64_t now_us = now_ms * 1000;
	uint64_t query_us = 1000000 / per_second;
	uint64_t burst_us = query_us * burst;
	uint64_t old = __atomic_load_n(place, __ATOMIC_RELAXED);
	uint64_t full_us;

	do {
		full_us = old >> (64 - TAG_BITS) == tag ? old & TIME_MASK : 0;
		full_us = (full_us > now_us ? full_us : now_us) + query_us;
		if (full_us > now_us + 2 * burst_us) {
			/* What is dropped does not count, or a flood would never be over. */
			return RATELIMIT_DROP;
		}
	} while (!__atomic_compare_exchange_n(place, &old,
					      tag << (64 - TAG_BITS) | (full_us & TIME_MASK), true,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return full_us > now_us + burst_us ? RATELIMIT_TRUNCATE : RATELIMIT_OK;
}
