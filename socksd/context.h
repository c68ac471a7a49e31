/* SPDX-License-Identifier: ISC */
/*
 * What the sessions of one worker share. Made and kept current by server.c; sessions only read it,
 * but for the counters and the list. Thread: the worker's.
 */
#ifndef SOCKSD_CONTEXT_H
#define SOCKSD_CONTEXT_H

#include "common/log.h"
#include "common/loop.h"

#include "socksd/auth/auth.h"
#include "socksd/config.h"
#include "socksd/metrics.h"
#include "socksd/relay/pipe.h"
#include "socksd/session/clients.h"
#include "socksd/target/primaries.h"
#include "socksd/target/resolver.h"
#include "socksd/udp/datagrams.h"

#include <stddef.h>
#include <stdint.h>

struct session;

struct context {
	/* constant */
	struct loop *loop;
	struct metrics *metrics;
	struct auth *auth; /* shared by the workers */
	struct auth_worker auth_worker;
	struct clients *clients; /* shared by the workers; sessions in the list are counted in it */
	struct primaries *primaries; /* shared by the workers */
	uint8_t *scratch;            /* for one read at a time */
	size_t scratch_bytes;
	struct pipe *pipe;
	struct resolver *resolver;
	struct datagrams *datagrams; /* for one batch at a time */
	struct crypto_key key;       /* for hashes of what strangers choose */
	/* current; changes at a reload */
	const struct config *config;
	struct addr *own; /* addresses this worker listens on */
	size_t own_count;
	struct log_limit overload_log;
	struct log_limit egress_log;
	/* the open sessions, newest first */
	struct session *sessions;
	/* A session is out of the list; it may free what it still holds later in this turn. */
	void (*on_session_end)(struct context *context);
	/* A slot is room for two descriptors (slots.h); each session has one from its start. Claim
	 * another: false when the process has no room for it. */
	bool (*claim_slot)(struct context *context);
	void (*release_slot)(struct context *context);
};

#endif
