/* SPDX-License-Identifier: ISC */
/*
 * The file that the cache is saved in (see cachefile.h): written beside and renamed, so that there
 * is always a whole one; read at start, where a file that is damaged or somebody else's leaves the
 * cache empty. What happened is logged here, in one line.
 *
 * Thread: any, but one call at a time. Blocks.
 */
#ifndef DNSPROXYD_CACHESTORE_H
#define DNSPROXYD_CACHESTORE_H

#include "dnsproxyd/cache.h"

#include <stdint.h>

struct cachestore;

/* Of this cache, which is borrowed, in this file. Returns owned, or NULL (out of memory). */
struct cachestore *cachestore_new(struct cache *cache, const char *path);

/* NULL is fine. */
void cachestore_free(struct cachestore *store);

/* Fill the cache. A file that is not there, or empty, is no error. One that was never a cache is
 * left alone from now on: saving does nothing. */
void cachestore_load(struct cachestore *store, const struct cache_ttls *ttls);

/* Save what has not expired longer than max_stale_ms ago. */
void cachestore_save(struct cachestore *store, uint64_t max_stale_ms);

#endif
