/* SPDX-License-Identifier: ISC */
/*
 * The addresses of an upstream server that is given by its name, found by asking other servers,
 * which are given by address and asked nothing else. A lookup asks them one after the other.
 *
 * Who wants to connect asks for the address now and then again: what was found is used until it
 * proves useless, and looked up anew when its TTL is over or a connection has failed.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_BOOTSTRAP_H
#define DNSPROXYD_UPSTREAM_BOOTSTRAP_H

#include "common/metrics.h"

#include "dnsproxyd/config.h"

struct bootstrap;

struct bootstrap_config {
	struct loop *loop;
	struct metrics *metrics;
	const struct endpoint *server;  /* whose addresses are wanted; copied */
	const struct endpoint *sources; /* who is asked for them; copied */
	size_t source_count;
	const struct security_config *security; /* of those; copied */
	/* A lookup is over, the addresses are new or as before. */
	void (*on_done)(void *arg);
	void *arg;
};

/* Returns owned, or NULL with errno. Asks nothing yet. */
struct bootstrap *bootstrap_new(const struct bootstrap_config *config);
/* on_done is not called any more. NULL is fine. */
void bootstrap_free(struct bootstrap *bootstrap);

/* The address to use now; NULL when none is known. Begins a lookup when it is time for one:
 * when none is known, those that are known are old, or one has failed; after lookups in vain not
 * before a pause of 1 to 30 s. on_done comes later, never from within. Valid until the next turn.
 */
const struct addr *bootstrap_address(struct bootstrap *bootstrap);

/* Whether a lookup is under way. */
bool bootstrap_is_busy(const struct bootstrap *bootstrap);

/* No connection to this address came about: the next one's turn, also when they are looked up
 * again.
 */
void bootstrap_note_failure(struct bootstrap *bootstrap, const struct addr *addr);

/* The network has changed: no pause any more, and look again, on new connections; a lookup that is
 * under way begins again. Not from within a callback. */
void bootstrap_note_network(struct bootstrap *bootstrap);

#endif
