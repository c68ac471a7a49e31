/* SPDX-License-Identifier: ISC */
/*
 * One question's way through the servers of a group.
 *
 * The strategy names the first server; one that is due for a trial (it was down, or its speed is
 * not known) is asked besides. A server that fails is followed by the next, untried ones first; one
 * that is slower than it was for 95 of 100 questions is followed by another while it may still
 * answer (a hedge). With `race` several are asked at once. The first answer a client can use wins;
 * SERVFAIL, REFUSED and the like are kept until nobody else can do better.
 *
 * Bounded, whatever happens: at most FORWARD_SENDS_MAX messages (RFC 9520 section 3.1), those sent
 * again by TCP or without EDNS included, and FORWARD_DEADLINE_MS in all, so that a client hears
 * from us before it gives up.
 *
 * A refusal counts against a server only when another one then answers the question: otherwise the
 * domain is what is broken.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_FORWARD_H
#define DNSPROXYD_FORWARD_H

#include "common/loop.h"

#include "dnsproxyd/dnsmsg.h"
#include "dnsproxyd/dnsreply.h"
#include "dnsproxyd/group.h"
#include "dnsproxyd/upstream.h"

#include <stdbool.h>
#include <stddef.h>

#define FORWARD_SENDS_MAX   3
#define FORWARD_DEADLINE_MS 4500

struct forward;

/* outcome is ANSWER, with msg and reply; or ERROR with the refusal that came first (reply; msg is
 * NULL); or why no server could be asked. */
typedef void (*forward_done_fn)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
				const struct dnsreply *reply);

/* One send. */
struct forward_try {
	struct forward *forward;
	struct exchange *exchange; /* NULL when it is over */
	unsigned server;           /* index in the group */
};

/* All-zero before the first start. Embedded by the owner, who keeps query alive as long. */
struct forward {
	struct group *group;
	const struct dnsmsg_query *query;
	forward_done_fn done;
	void *arg;
	struct timer deadline;
	struct timer hedge; /* when to ask another, though somebody may still answer */
	struct forward_try tries[FORWARD_SENDS_MAX];
	unsigned sends;
	unsigned open_count; /* of the tries */
	uint32_t asked;      /* servers, a mask */
	uint32_t refused;    /* those of them that said they will not answer */
	uint32_t useless;    /* those of them not to be asked again */
	bool retry;          /* the hedge timer stands for a repetition, not for a hedge */
	bool has_refusal;
	struct dnsreply refusal;    /* what was refused first */
	enum upstream_outcome last; /* why there is no answer, otherwise */
};

/* Begin. done is called once, never from within this call, unless cancelled before. 0, -ENOENT when
 * the group has no server, -ELOOP when the query is one of our own that came back, or -ENOMEM. */
int forward_start(struct forward *forward, struct group *group, const struct dnsmsg_query *query,
		  forward_done_fn done, void *arg);

/* Harmless when nothing is under way. */
void forward_cancel(struct forward *forward);

#endif
