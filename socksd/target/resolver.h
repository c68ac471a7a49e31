/* SPDX-License-Identifier: ISC */
/*
 * Resolves the names of a worker's requests: a cache (names.h) in front of DNS (ares_io.h), and for
 * the same name one lookup at a time, however many sessions wait for it.
 *
 * Thread: the worker's.
 */
#ifndef SOCKSD_TARGET_RESOLVER_H
#define SOCKSD_TARGET_RESOLVER_H

#include "common/addr.h"
#include "common/dns/ares_io.h"
#include "common/loop.h"
#include "common/metrics.h"

#include "socksd/config.h"

#include <stddef.h>

struct resolver;

/* Returns owned, or NULL with errno. `metrics` is borrowed and may be NULL; of `dns` nothing is
 * kept. */
struct resolver *resolver_new(struct loop *loop, struct metrics *metrics,
			      const struct dns_params *dns);

/* Take over another configuration. When its servers are others, lookups under way end with
 * ARES_IO_CANCELLED, and what the old servers have said is forgotten. 0, or -errno; then nothing
 * has changed. */
int resolver_configure(struct resolver *resolver, const struct dns_params *dns);

/* Cancels what is open: each callback is called once with ARES_IO_CANCELLED. Not from within a
 * callback. NULL is fine. */
void resolver_free(struct resolver *resolver);

/* The addresses have port 0 and are valid during the call. */
typedef void (*resolver_fn)(void *arg, enum ares_io_status status, const struct addr *addresses,
			    size_t count);

/* Look up a name (as in struct socks5_target) for one family, AF_INET or AF_INET6. The callback is
 * called exactly once, possibly before this returns. */
void resolver_lookup(struct resolver *resolver, const char *name, int family, resolver_fn fn,
		     void *arg);

#endif
