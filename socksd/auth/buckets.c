/* SPDX-License-Identifier: ISC */
#include "socksd/auth/buckets.h"

#include <assert.h>
#include <stdlib.h>

enum {
	WAYS = 8, /* places among which a key may choose */
};

struct bucket {
	uint64_t key;
	uint64_t since_ms; /* since when the next token drips back */
	uint32_t used;     /* tokens that are not there; 0: the place is free */
	uint32_t refused;
};

struct buckets {
	uint32_t burst;
	uint64_t interval_ms;
	size_t set_count;
	struct bucket places[][WAYS];
};

struct buckets *buckets_new(size_t count, uint32_t burst, uint64_t interval_ms)
{
	struct buckets *b;

	assert(count >= WAYS && (count & (count - 1)) == 0);
	b = calloc(1, sizeof *b + count * sizeof(struct bucket));
	if (b) {
		b->set_count = count / WAYS;
		buckets_configure(b, burst, interval_ms);
	}
	return b;
}

void buckets_free(struct buckets *b)
{
	free(b);
}

void buckets_configure(struct buckets *b, uint32_t burst, uint64_t interval_ms)
{
	assert(burst > 0 && interval_ms > 0);
	b->burst = burst;
	b->interval_ms = interval_ms;
}

uint32_t buckets_burst(const struct buckets *b)
{
	return b->burst;
}

/* Give back what has dripped in. */
static void bucket_settle(const struct buckets *b, struct bucket *bucket, uint64_t now_ms)
{
	uint64_t drips;

	if (bucket->used > b->burst) {
		bucket->used = b->burst;
	}
	if (bucket->used == 0 || now_ms <= bucket->since_ms) {
		return;
	}
	drips = (now_ms - bucket->since_ms) / b->interval_ms;
	if (drips >= bucket->used) {
		*bucket = (struct bucket){ 0 };
		return;
	}
	bucket->used -= (uint32_t)drips;
	bucket->since_ms += drips * b->interval_ms;
}

/* The key's place, or NULL. *ret_spare is the place to give to a new key. */
static struct bucket *buckets_find(struct buckets *b, uint64_t key, uint64_t now_ms,
				   struct bucket **ret_spare)
{
	struct bucket *set = b->places[key & (b->set_count - 1)];
	struct bucket *spare = &set[0];

	for (int i = 0; i < WAYS; i++) {
		bucket_settle(b, &set[i], now_ms);
		if (set[i].used > 0 && set[i].key == key) {
			return &set[i];
		}
		if (set[i].used < spare->used) {
			spare = &set[i];
		}
	}
	*ret_spare = spare;
	return NULL;
}

uint32_t buckets_left(struct buckets *b, uint64_t key, uint64_t now_ms)
{
	struct bucket *spare;
	const struct bucket *bucket = buckets_find(b, key, now_ms, &spare);

	return bucket ? b->burst - bucket->used : b->burst;
}

bool buckets_take(struct buckets *b, uint64_t key, uint64_t now_ms, uint32_t *ret_refused)
{
	struct bucket *spare;
	struct bucket *bucket = buckets_find(b, key, now_ms, &spare);

	if (!bucket) {
		bucket = spare;
		*bucket = (struct bucket){ .key = key, .since_ms = now_ms };
	}
	if (bucket->used >= b->burst) {
		bucket->refused += bucket->refused < UINT32_MAX;
		return false;
	}
	bucket->used++;
	if (ret_refused) {
		*ret_refused = bucket->refused;
	}
	bucket->refused = 0;
	return true;
}
