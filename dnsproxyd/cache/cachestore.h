/* SPDX-License-Identifier: ISC */
/*
 * The file that the cache is saved in (see cachefile.h): written beside and renamed, so that there
 * is always a whole one. A file that is damaged or somebody else's leaves the cache empty. What
 * happened is logged here, in one line.
 *
 * While it is loaded the cache is in use already: what came meanwhile is not replaced by what was
 * saved. Nothing is saved before all is loaded, so that no file is replaced by a part of it.
 *
 * Thread: any; cachestore_save() one call at a time. Loading and saving block.
 */
#ifndef DNSPROXYD_CACHE_CACHESTORE_H
#define DNSPROXYD_CACHE_CACHESTORE_H

#include "dnsproxyd/cache/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cachestore;

/* The key that a cache should be made with to be loaded from this file soon: the one it was saved
 * with, or, when there is none, a random one. */
struct crypto_key cachestore_hash_key(const char *path);

/* Of this cache, which is borrowed, in this file. Returns owned, or NULL (out of memory). */
struct cachestore *cachestore_new(struct cache *cache, const char *path);

/* Nobody loads or saves any more. NULL is fine. */
void cachestore_free(struct cachestore *store);

/* The names of the groups of servers, by their number; copied. At first there are none, and nothing
 * of it is loaded or saved. 0 or -ENOMEM (then there are none). Whoever gives a number to
 * another group has emptied the cache before, which ends loading, too. */
int cachestore_set_groups(struct cachestore *store, const char *const *names, size_t count);

/* That many calls of cachestore_load() will come. */
void cachestore_expect(struct cachestore *store, const struct cache_ttls *ttls, unsigned calls);

/* Fill the cache, together with the other calls; the last to return has done the rest. A file that
 * is not there, or empty, is no error. One that was never a cache is left alone from now on: saving
 * does nothing. */
void cachestore_load(struct cachestore *store);

/* Have all cachestore_load() return soon. The file stays as it is, nothing is saved any more. */
void cachestore_stop_loading(struct cachestore *store);

/* Whether calls of cachestore_load() are still to come or to return. */
bool cachestore_is_loading(const struct cachestore *store);

/* Save what has not expired longer than max_stale_ms ago. */
void cachestore_save(struct cachestore *store, uint64_t max_stale_ms);

#endif
