/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/failures.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	PARTS = 16,
	SETS = 256, /* in each part */
	WAYS = 4,   /* places for a question */
	GROUPS = 256,
};

struct place {
	uint64_t hash; /* 0: free */
	uint64_t noted_ms;
	uint64_t until_ms;
	struct failure failure;
	uint8_t times; /* in a row */
};

struct part {
	pthread_mutex_t mutex;
	struct place sets[SETS][WAYS];
};

struct failures {
	/* When each group last answered, as far as it matters: written only after a failure. */
	uint64_t answered_ms[GROUPS];
	bool failing[GROUPS];
	struct part parts[PARTS];
};

struct failures *failures_new(void)
{
	struct failures *failures = calloc(1, sizeof *failures);

	for (unsigned i = 0; failures && i < PARTS; i++) {
		pthread_mutex_init(&failures->parts[i].mutex, NULL);
	}
	return failures;
}

void failures_free(struct failures *failures)
{
	for (unsigned i = 0; failures && i < PARTS; i++) {
		pthread_mutex_destroy(&failures->parts[i].mutex);
	}
	free(failures);
}

static struct part *part_of(struct failures *failures, uint64_t hash)
{
	return &failures->parts[hash % PARTS];
}

static struct place *set_of(struct part *part, uint64_t hash)
{
	return part->sets[(hash >> 8) % SETS];
}

/* NULL when there is none. The part's mutex is held. */
static struct place *find_place(struct part *part, uint64_t hash)
{
	struct place *set = set_of(part, hash);

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].hash == hash && set[i].until_ms > 0) {
			return &set[i];
		}
	}
	return NULL;
}

/* The place of the question, or else the one whose time passes, or has passed, first. */
static struct place *take_place(struct part *part, uint64_t hash)
{
	struct place *set = set_of(part, hash);
	struct place *place = find_place(part, hash);

	for (unsigned i = 0; !place && i < WAYS; i++) {
		if (set[i].until_ms == 0) {
			place = &set[i];
		}
	}
	if (!place) {
		place = set;
		for (unsigned i = 1; i < WAYS; i++) {
			place = set[i].until_ms < place->until_ms ? &set[i] : place;
		}
	}
	if (place->hash != hash) {
		memset(place, 0, sizeof *place);
		place->hash = hash;
	}
	return place;
}

void failures_note(struct failures *failures, uint64_t hash, const struct failure *failure,
		   uint64_t max_ms, uint64_t now_ms)
{
	struct part *part = part_of(failures, hash);
	uint64_t wait_ms = FAILURES_FIRST_MS;
	struct place *place;

	pthread_mutex_lock(&part->mutex);
	place = take_place(part, hash);
	if (place->until_ms > 0 && now_ms >= place->until_ms + FAILURES_RECENT_MS) {
		place->times = 0;
	}
	wait_ms <<= place->times;
	if (place->times < 16) {
		place->times++;
	}
	place->failure = *failure;
	place->noted_ms = now_ms;
	place->until_ms = now_ms + (wait_ms < max_ms ? wait_ms : max_ms);
	pthread_mutex_unlock(&part->mutex);
	if (failure->unreached) {
		__atomic_store_n(&failures->failing[failure->group], true, __ATOMIC_RELAXED);
	}
}

void failures_forget(struct failures *failures, uint64_t hash, uint8_t group, uint64_t now_ms)
{
	struct part *part = part_of(failures, hash);
	struct place *place;

	pthread_mutex_lock(&part->mutex);
	place = find_place(part, hash);
	if (place) {
		memset(place, 0, sizeof *place);
	}
	pthread_mutex_unlock(&part->mutex);
	if (__atomic_load_n(&failures->failing[group], __ATOMIC_RELAXED)) {
		__atomic_store_n(&failures->failing[group], false, __ATOMIC_RELAXED);
		__atomic_store_n(&failures->answered_ms[group], now_ms, __ATOMIC_RELAXED);
	}
}

void failures_clear(struct failures *failures)
{
	for (unsigned i = 0; i < PARTS; i++) {
		struct part *part = &failures->parts[i];

		pthread_mutex_lock(&part->mutex);
		memset(part->sets, 0, sizeof part->sets);
		pthread_mutex_unlock(&part->mutex);
	}
}

void failures_forgive(struct failures *failures, uint64_t now_ms)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		__atomic_store_n(&failures->answered_ms[i], now_ms, __ATOMIC_RELAXED);
	}
}

/* Whether the group has answered since, and the failure has had its second. */
static bool is_over(const struct failures *failures, const struct place *place, uint64_t now_ms)
{
	uint64_t answered_ms =
		__atomic_load_n(&failures->answered_ms[place->failure.group], __ATOMIC_RELAXED);

	return place->failure.unreached && answered_ms > place->noted_ms &&
	       now_ms >= place->noted_ms + FAILURES_FIRST_MS;
}

enum failures_state failures_find(struct failures *failures, uint64_t hash, uint64_t now_ms,
				  struct failure *ret_failure)
{
	struct part *part = part_of(failures, hash);
	enum failures_state state = FAILURES_NONE;
	struct place *place;

	pthread_mutex_lock(&part->mutex);
	place = find_place(part, hash);
	if (place && !is_over(failures, place, now_ms)) {
		*ret_failure = place->failure;
		if (now_ms < place->until_ms) {
			state = FAILURES_FRESH;
		} else if (now_ms < place->until_ms + FAILURES_RECENT_MS) {
			state = FAILURES_RECENT;
		}
	}
	pthread_mutex_unlock(&part->mutex);
	return state;
}
