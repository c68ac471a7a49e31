/* SPDX-License-Identifier: ISC */
/*
 * Counts sessions by source, exactly and over all workers, and decides who may have one more:
 *
 * - max-sessions for all, max-sessions-per-client for one source.
 * - Fair share: the last eighth of max-sessions is for sources that hold less than their share
 *   (max-sessions divided by the sources there are, and one more), so that a newcomer finds room
 *   whatever the others do.
 * - Half-open handshakes, those whose request is not complete: from half-open-start on, a new
 *   connection is dropped with the chance half-open-rate, which rises to certainty at seven eighths
 *   of max-half-open. The last eighth is for sources without any half-open handshake, so one that
 *   opens connections and says nothing does not shut out the others.
 *
 * Memory: some 30 bytes for each source that has sessions. Pure but for a mutex: any thread.
 */
#ifndef SOCKSD_SESSION_CLIENTS_H
#define SOCKSD_SESSION_CLIENTS_H

#include "common/crypto.h"

#include "socksd/source.h"

#include <stdbool.h>
#include <stdint.h>

struct clients;

struct clients_limits {
	uint64_t max_sessions;
	uint64_t max_sessions_per_client;
	uint64_t half_open_start;
	uint64_t half_open_rate_percent;
	uint64_t max_half_open;
};

enum clients_verdict {
	CLIENTS_ADMITTED,
	CLIENTS_MAX_SESSIONS,
	CLIENTS_MAX_PER_CLIENT,
	CLIENTS_FAIR_SHARE,
	CLIENTS_HALF_OPEN,
	CLIENTS_NO_MEMORY,
};

/* The key, from crypto_random(), is for the hash table and the dice. Returns owned or NULL (out of
 * memory). */
struct clients *clients_new(const struct crypto_key *key);

/* NULL is fine. */
void clients_free(struct clients *clients);

/* CLIENTS_ADMITTED: counted, as a half-open one, until clients_leave(). */
enum clients_verdict clients_enter(struct clients *clients, const struct clients_limits *limits,
				   const struct source *source);

/* Its handshake is complete: call once, or not at all. */
void clients_handshake_done(struct clients *clients, const struct source *source);

/* half_open: clients_handshake_done() was not called. */
void clients_leave(struct clients *clients, const struct source *source, bool half_open);

/* What a session may be counted as besides. */
enum clients_service {
	CLIENTS_UDP,  /* a UDP association */
	CLIENTS_BIND, /* a BIND that waits */
	CLIENTS_SERVICES,
};

/* Count one of a source's sessions as a service, too, until clients_leave_service(), unless it has
 * `max` of them already: then false. */
bool clients_enter_service(struct clients *clients, const struct source *source,
			   enum clients_service service, uint64_t max);
void clients_leave_service(struct clients *clients, const struct source *source,
			   enum clients_service service);

/* Sessions in all, and sources that have any. */
uint64_t clients_session_count(struct clients *clients);
uint64_t clients_source_count(struct clients *clients);

#endif
