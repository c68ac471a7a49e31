/* SPDX-License-Identifier: ISC */
/*
 * Has the cache outlive a restart, without anybody waiting for the disk: its file (cachestore.h) is
 * loaded at start by all helper threads while questions are answered already, saved every
 * CACHEKEEPER_SAVE_MS by one of them, and saved once more at the end.
 *
 * Thread: the main thread makes and frees it, before the workers and after them; the first worker
 * starts, updates and stops it.
 */
#ifndef DNSPROXYD_CACHE_CACHEKEEPER_H
#define DNSPROXYD_CACHE_CACHEKEEPER_H

#include "common/helpers.h"
#include "common/loop.h"

#include "dnsproxyd/cache/cache.h"
#include "dnsproxyd/config.h"

#include <stdbool.h>

#define CACHEKEEPER_SAVE_MS 600000

struct cachekeeper;

/* For the file that the configuration names; borrows cache. Returns owned, or NULL with errno. */
struct cachekeeper *cachekeeper_new(struct cache *cache, const struct config *config,
				    const struct cache_ttls *ttls);

/* Save, unless the file has not been loaded, and free. NULL is fine. */
void cachekeeper_free(struct cachekeeper *keeper);

/* Begin to load, and to save from time to time. 0 or -errno. */
int cachekeeper_start(struct cachekeeper *keeper, struct loop *loop, struct helpers *helpers);

/* Another configuration; what was kept for other servers has been dropped from the cache. */
void cachekeeper_update(struct cachekeeper *keeper, const struct config *config);

/* Begin nothing more; harmless when not started. */
void cachekeeper_stop(struct cachekeeper *keeper);

/* Any thread: whether a question that finds no answer may find one in a moment. NULL is fine. */
bool cachekeeper_is_loading(const struct cachekeeper *keeper);

#endif
