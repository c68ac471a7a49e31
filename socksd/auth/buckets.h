/* SPDX-License-Identifier: ISC */
/*
 * Token buckets by key, in bounded memory: each key may do something `burst` times in a row, and
 * from then on once an interval. Keys are keyed hashes (crypto_siphash()), so no stranger can
 * choose which of them share a place. When more keys are in use than there is room for, those that
 * took the least are forgotten first: a flood of new keys does not wash out one that is being held
 * back.
 *
 * Pure. Thread: the caller's lock. now_ms may step back a little between calls: workers take it at
 * different moments.
 */
#ifndef SOCKSD_AUTH_BUCKETS_H
#define SOCKSD_AUTH_BUCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buckets;

/* Room for `count` keys, a power of two and at least 8. Returns owned or NULL (out of memory). */
struct buckets *buckets_new(size_t count, uint32_t burst, uint64_t interval_ms);

/* NULL is fine. */
void buckets_free(struct buckets *buckets);

/* New rates for all keys; what they have taken stays. */
void buckets_configure(struct buckets *buckets, uint32_t burst, uint64_t interval_ms);

uint32_t buckets_burst(const struct buckets *buckets);

/* How many tokens the key has left, from 0 to burst. */
uint32_t buckets_left(struct buckets *buckets, uint64_t key, uint64_t now_ms);

/* Take one token. False when there was none. On true, *ret_refused (if not NULL) tells how often
 * this key has been refused since it last got one. */
bool buckets_take(struct buckets *buckets, uint64_t key, uint64_t now_ms, uint32_t *ret_refused);

#endif
