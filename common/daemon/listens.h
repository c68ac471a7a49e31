/* SPDX-License-Identifier: ISC */
/*
 * The [listen NAME] sections of a configuration, as both daemons have them: each with at least one
 * address, no address twice. What else a section says is its daemon's; it keeps that in an array of
 * its own, by the same index.
 */
#ifndef COMMON_DAEMON_LISTENS_H
#define COMMON_DAEMON_LISTENS_H

#include "common/config/params.h"
#include "common/daemon/listen_set.h"

/* Kinds of sockets that are opened on each address of a section. */
enum {
	LISTENS_STREAM = 1 << 0,
	LISTENS_DATAGRAM = 1 << 1,
};

struct listens_item {
	const struct section *section;
	const struct addr_list *addresses; /* of the section's struct */
	unsigned kinds;                    /* LISTENS_* bits */
};

struct listens {
	struct listens_item *items;
	size_t count;
};

/* Take the sections of finished parameters, whose list of addresses is the field at
 * `addresses_offset`, all with these kinds. Borrows params for its life. 0, or -1 with *reterr;
 * call listens_done() in any case. */
int listens_load(struct listens *listens, const struct params *params, size_t addresses_offset,
		 unsigned kinds, struct ini_error *reterr);

void listens_done(struct listens *listens);

/* The index of the section with exactly this address, or -1. */
int listens_find(const struct listens *listens, const struct addr *a);

/* Whether a connection to `a` would come back to one of the addresses. */
bool listens_reached_by(const struct listens *listens, const struct addr *a);

/* All sockets to open, for service_ops.list_sockets. *ret_wants is owned by the caller, also when
 * it is empty. 0 or -ENOMEM. */
int listens_sockets(const struct listens *listens, struct listen_want **ret_wants,
		    size_t *ret_count);

#endif
