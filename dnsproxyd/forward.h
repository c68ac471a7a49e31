/* SPDX-License-Identifier: ISC */
/*
 * One question's way through the upstream servers: in their order, those that lately did not answer
 * last; a server that fails is followed by the next. Bounded: at most FORWARD_SENDS_MAX sends (RFC
 * 9520 section 3.1) and FORWARD_DEADLINE_MS in all, so that a client hears from us before it gives
 * up.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_FORWARD_H
#define DNSPROXYD_FORWARD_H

#include "common/loop.h"

#include "dnsproxyd/dnsmsg.h"
#include "dnsproxyd/dnsreply.h"
#include "dnsproxyd/upstream.h"

#include <stddef.h>

#define FORWARD_SENDS_MAX   3
#define FORWARD_DEADLINE_MS 4500

/* The servers of one group, in order; borrowed. */
struct forward_group {
	struct loop *loop;
	struct upstream **upstreams;
	size_t count;
};

struct forward;

/* outcome is ANSWER; or ERROR with the last refusal (msg and reply as in upstream.h); or why no
 * server could be asked. */
typedef void (*forward_done_fn)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
				const struct dnsreply *reply);

/* All-zero before the first start. Embedded by the owner, who keeps query alive as long. */
struct forward {
	const struct forward_group *group;
	const struct dnsmsg_query *query;
	forward_done_fn done;
	void *arg;
	struct exchange *exchange; /* the one under way */
	struct timer deadline;
	unsigned sends;
};

/* Begin. done is called once, never from within this call, unless cancelled before. 0, -ENOENT when
 * the group has no server, or -ENOMEM. */
int forward_start(struct forward *forward, const struct forward_group *group,
		  const struct dnsmsg_query *query, forward_done_fn done, void *arg);

/* Harmless when nothing is under way. */
void forward_cancel(struct forward *forward);

#endif
