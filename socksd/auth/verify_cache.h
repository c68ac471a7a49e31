/* SPDX-License-Identifier: ISC */
/*
 * What is known about passwords already, so that not every connection costs a hash: a set of
 * digests (crypto_digest() of everything the verdict depends on), each forgotten after a lifetime
 * that does not get longer by use. Bounded: a full set forgets what is the next to expire among the
 * neighbours of a newcomer. Neither names nor passwords are in it.
 *
 * Pure. Thread: the caller's lock.
 */
#ifndef SOCKSD_AUTH_VERIFY_CACHE_H
#define SOCKSD_AUTH_VERIFY_CACHE_H

#include "common/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verify_cache;

/* Room for `count` digests, a power of two and at least 8. Returns owned or NULL (out of memory).
 */
struct verify_cache *verify_cache_new(size_t count, uint64_t lifetime_ms);

/* Wipes. NULL is fine. */
void verify_cache_free(struct verify_cache *cache);

bool verify_cache_has(const struct verify_cache *cache, const struct crypto_digest *digest,
		      uint64_t now_ms);

/* Add, or begin its lifetime anew. */
void verify_cache_add(struct verify_cache *cache, const struct crypto_digest *digest,
		      uint64_t now_ms);

/* Forget everything. */
void verify_cache_clear(struct verify_cache *cache);

#endif
