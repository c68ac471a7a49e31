/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/suffixes.h"

#include "dnsproxyd/message/dnsname.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_CAP = 16,
	LABELS_MAX = DNSNAME_MAX / 2 + 1,
};

/* Names come from a configuration, so nobody has an interest in making them collide. */
#define FNV_BASIS UINT32_C(2166136261)
#define FNV_PRIME UINT32_C(16777619)

struct suffix {
	uint8_t *name; /* in lower case; NULL: a free slot */
	size_t len;
	uint32_t hash;
	unsigned value;
};

/* Open addressing; cap is a power of two, and half of the slots are free. */
struct suffixes {
	struct suffix *slots;
	size_t cap;
	size_t count;
};

/* Hashes run from the end of a name to its beginning, so that one pass over a name passes through
 * the hashes of all its suffixes. */
static uint32_t hash_step(uint32_t hash, uint8_t octet)
{
	return (hash ^ octet) * FNV_PRIME;
}

static uint32_t hash_of(const uint8_t *name, size_t len)
{
	uint32_t hash = FNV_BASIS;

	while (len > 0) {
		hash = hash_step(hash, name[--len]);
	}
	return hash;
}

/* The slot of this name, or the free one where it belongs. */
static struct suffix *slot_of(struct suffix *slots, size_t cap, const uint8_t *name, size_t len,
			      uint32_t hash)
{
	size_t i = hash & (cap - 1);

	while (slots[i].name && (slots[i].hash != hash || slots[i].len != len ||
				 memcmp(slots[i].name, name, len) != 0)) {
		i = (i + 1) & (cap - 1);
	}
	return &slots[i];
}

struct suffixes *suffixes_new(void)
{
	struct suffixes *s = calloc(1, sizeof *s);

	if (!s) {
		return NULL;
	}
	s->cap = FIRST_CAP;
	s->slots = calloc(s->cap, sizeof *s->slots);
	if (!s->slots) {
		free(s);
		return NULL;
	}
	return s;
}

void suffixes_free(struct suffixes *s)
{
	if (s) {
		for (size_t i = 0; i < s->cap; i++) {
			free(s->slots[i].name);
		}
		free(s->slots);
		free(s);
	}
}

static int suffixes_grow(struct suffixes *s)
{
	size_t cap = s->cap * 2;
	struct suffix *slots = calloc(cap, sizeof *slots);

	if (!slots) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->cap; i++) {
		const struct suffix *old = &s->slots[i];

		if (old->name) {
			*slot_of(slots, cap, old->name, old->len, old->hash) = *old;
		}
	}
	free(s->slots);
	s->slots = slots;
	s->cap = cap;
	return 0;
}

int suffixes_add(struct suffixes *s, const uint8_t *name, size_t len, unsigned value)
{
	uint8_t *copy = malloc(len);
	struct suffix *slot;
	uint32_t hash;

	if (!copy || (s->count * 2 >= s->cap && suffixes_grow(s) < 0)) {
		free(copy);
		return -ENOMEM;
	}
	dnsname_lower(copy, name, len);
	hash = hash_of(copy, len);
	slot = slot_of(s->slots, s->cap, copy, len, hash);
	if (slot->name) {
		free(copy);
		return -EEXIST;
	}
	*slot = (struct suffix){ .name = copy, .len = len, .hash = hash, .value = value };
	s->count++;
	return 0;
}

unsigned suffixes_find(const struct suffixes *s, const uint8_t *name, size_t len, unsigned none)
{
	uint8_t lower[DNSNAME_MAX];
	uint8_t starts[LABELS_MAX]; /* of the labels, the root's too */
	size_t label_count = 0;
	uint32_t hash = FNV_BASIS;
	size_t at = len;

	if (s->count == 0 || len > sizeof lower) {
		return none;
	}
	dnsname_lower(lower, name, len);
	for (size_t i = 0; i < len; i += 1u + lower[i]) {
		starts[label_count++] = (uint8_t)i;
	}
	while (label_count > 0) {
		const struct suffix *slot;
		size_t start = starts[--label_count];

		while (at > start) {
			hash = hash_step(hash, lower[--at]);
		}
		slot = slot_of(s->slots, s->cap, lower + start, len - start, hash);
		none = slot->name ? slot->value : none;
	}
	return none;
}

size_t suffixes_count(const struct suffixes *s)
{
	return s->count;
}
