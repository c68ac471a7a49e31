/* SPDX-License-Identifier: ISC */
/*
 * How many queries a client may send by UDP: a token bucket for each IPv4 address and IPv6 /64. The
 * source of a datagram can be forged, and then our replies hit the one whose address it is. So who
 * asks too much first gets empty truncated replies, which a real client follows up by TCP, and, who
 * goes on, none.
 *
 * A bucket is one number, the time at which it will be full again, and a tag; the table has a fixed
 * size, four places for each client, and all workers share it without a lock. A full bucket needs
 * no place. When all four places are taken by busy clients the least busy one loses its count.
 *
 * Thread: any. Time is passed in.
 */
#ifndef DNSPROXYD_QUERY_RATELIMIT_H
#define DNSPROXYD_QUERY_RATELIMIT_H

#include "common/addr.h"
#include "common/crypto.h"

struct ratelimit;

/* Returns owned or NULL (out of memory). */
struct ratelimit *ratelimit_new(uint64_t (*hash)(const struct crypto_key *key, const void *buf,
						 size_t len),
				const struct crypto_key *hash_key);

/* NULL is fine. */
void ratelimit_free(struct ratelimit *limit);

enum ratelimit_verdict {
	RATELIMIT_OK,
	RATELIMIT_TRUNCATE, /* over the limit: say TC=1 */
	RATELIMIT_DROP,     /* far over it */
};

/* One more query of this client. per_second is above 0; `burst` of them may come at once, and twice
 * as many before they are dropped. */
enum ratelimit_verdict ratelimit_take(struct ratelimit *limit, const struct addr *client,
				      uint32_t per_second, uint32_t burst, uint64_t now_ms);

#endif
