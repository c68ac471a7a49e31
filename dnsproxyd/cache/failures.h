/* SPDX-License-Identifier: ISC */
/*
 * Questions that could not be answered lately (RFC 9520): for some seconds they are not asked
 * again, so that an outage does not multiply the traffic. A question that goes on failing is left
 * alone for 1 s, 2 s, 4 s and so on up to a maximum; a group of servers that answers again ends the
 * wait for all questions that failed because it did not, once they are a second old (section 3.2
 * asks for that second).
 *
 * A table of fixed size, keyed by the hash of the cache key: the hash is keyed and has 64 bits, so
 * that two questions do not share one. When its place is taken by fresher ones a failure is
 * forgotten, and asked about again; that is all.
 *
 * Thread: any; a mutex for each part of the table. Time is passed in.
 */
#ifndef DNSPROXYD_CACHE_FAILURES_H
#define DNSPROXYD_CACHE_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#define FAILURES_FIRST_MS  1000

/* How long a failure whose time has passed is still known to have been one. */
#define FAILURES_RECENT_MS 60000

struct failures;

/* Returns owned or NULL (out of memory). */
struct failures *failures_new(void);

/* NULL is fine. */
void failures_free(struct failures *failures);

struct failure {
	uint8_t group;   /* of servers */
	bool unreached;  /* no server of the group said anything: any answer of it ends the wait */
	uint8_t outcome; /* the caller's: how it failed, and with which RCODE */
	uint8_t rcode;
};

/* A question failed: do not ask it again for a while, at most max_ms (at least FAILURES_FIRST_MS).
 */
void failures_note(struct failures *failures, uint64_t hash, const struct failure *failure,
		   uint64_t max_ms, uint64_t now_ms);

/* A question was answered, by a server of this group. */
void failures_forget(struct failures *failures, uint64_t hash, uint8_t group, uint64_t now_ms);

/* All groups are others now. */
void failures_clear(struct failures *failures);

/* The network has changed: servers that could not be reached may answer now. */
void failures_forgive(struct failures *failures, uint64_t now_ms);

enum failures_state {
	FAILURES_NONE,
	FAILURES_RECENT, /* failed not long ago, but may be asked again */
	FAILURES_FRESH,  /* do not ask; *ret_failure tells what happened */
};

enum failures_state failures_find(struct failures *failures, uint64_t hash, uint64_t now_ms,
				  struct failure *ret_failure);

#endif
