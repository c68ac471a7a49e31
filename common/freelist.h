/* SPDX-License-Identifier: ISC */
/*
 * Objects of one size that come and go all the time, kept for the next instead of being freed: the
 * last one in is the first one out, so its memory is still in the CPU's caches. Only so many are
 * kept; none in a build with AddressSanitizer, which is to see each end.
 *
 * Thread: its owner's. Pure.
 */
#ifndef COMMON_FREELIST_H
#define COMMON_FREELIST_H

#include <stddef.h>

struct freelist {
	size_t object_bytes; /* at least that of a pointer */
	size_t keep_max;
	size_t kept;
	void *first;
};

/* What was in it is undefined. Returns owned, or NULL when out of memory. */
void *freelist_take(struct freelist *list);

/* Takes ownership of an object that freelist_take() gave, or malloc() with that size. */
void freelist_give(struct freelist *list, void *object);

/* Free what is kept. */
void freelist_clear(struct freelist *list);

#endif
