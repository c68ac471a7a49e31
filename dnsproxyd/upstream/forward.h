/* SPDX-License-Identifier: ISC */
/*
 * Asking the servers of a group one question: does what attempts.h decides, and brings it what
 * comes of that.
 *
 * A refusal counts against a server only when another one then answers the question: otherwise the
 * domain is what is broken.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_FORWARD_H
#define DNSPROXYD_UPSTREAM_FORWARD_H

#include "common/loop.h"

#include "dnsproxyd/message/dnsmsg.h"
#include "dnsproxyd/message/dnsreply.h"
#include "dnsproxyd/upstream/attempts.h"
#include "dnsproxyd/upstream/group.h"
#include "dnsproxyd/upstream/upstream.h"

#include <stdbool.h>
#include <stddef.h>

struct forward;

/* outcome is ANSWER, with msg and reply; or ERROR with the refusal that came first (reply; msg is
 * NULL); or why no server could be asked. */
typedef void (*forward_done_fn)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
				const struct dnsreply *reply);

/* One send. */
struct forward_try {
	struct forward *forward;
	struct exchange *exchange; /* NULL when it is over */
};

/* All-zero before the first start. Embedded by the owner, who keeps query alive as long. */
struct forward {
	struct group *group;
	const struct dnsmsg_query *query;
	forward_done_fn done; /* NULL when it is over */
	void *arg;
	struct timer timer;
	struct attempts attempts;
	struct forward_try tries[ATTEMPTS_SENDS_MAX];
	bool has_refusal;
	struct dnsreply refusal; /* what was refused first */
};

/* Begin. done is called once, never from within this call, unless cancelled before. 0, -ENOENT when
 * the group has no server, or -ENOMEM. */
int forward_start(struct forward *forward, struct group *group, const struct dnsmsg_query *query,
		  forward_done_fn done, void *arg);

/* Harmless when nothing is under way. */
void forward_cancel(struct forward *forward);

#endif
