/* SPDX-License-Identifier: ISC */
/*
 * What the sessions of one worker share. Made and kept current by server.c; sessions only read it,
 * but for the counters and the list. Thread: the worker's.
 */
#ifndef SOCKSD_CONTEXT_H
#define SOCKSD_CONTEXT_H

#include "common/helpers.h"
#include "common/log.h"
#include "common/loop.h"

#include "socksd/config.h"
#include "socksd/metrics.h"
#include "socksd/pipe.h"
#include "socksd/resolver.h"

#include <stddef.h>
#include <stdint.h>

struct session;

struct context {
	/* constant */
	struct loop *loop;
	struct metrics *metrics;
	struct helpers *helpers;
	uint8_t *scratch; /* for one read at a time */
	size_t scratch_bytes;
	struct pipe *pipe;
	struct resolver *resolver;
	/* current; changes at a reload */
	const struct config *config;
	struct addr *own; /* addresses this worker listens on */
	size_t own_count;
	/* the open sessions, newest first */
	struct session *sessions;
	struct log_limit egress_log;
	void (*on_session_end)(struct context *context);
};

#endif
