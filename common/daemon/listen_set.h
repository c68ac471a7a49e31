/* SPDX-License-Identifier: ISC */
/*
 * The listening sockets of a daemon: for every configured address one socket per worker, so that
 * the kernel spreads clients over the workers. The set belongs to the main thread, which binds
 * (privileges may be needed) at start and at reload; each worker takes its own descriptors out of
 * it while the main thread waits in worker_call().
 *
 * A reload is three steps: listen_set_update() binds what is new and marks what is gone, or changes
 * nothing; each worker closes its listeners on sockets that are gone and takes the new descriptors;
 * listen_set_sweep() forgets what is gone.
 */
#ifndef COMMON_DAEMON_LISTEN_SET_H
#define COMMON_DAEMON_LISTEN_SET_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct listen_want {
	struct addr addr;
	int type; /* SOCK_STREAM or SOCK_DGRAM */
};

struct listen_socket {
	struct listen_want want; /* what identifies it */
	bool late;               /* no interface had the address when it was bound */
	bool gone;               /* not in the configuration any more */
	int *fds;                /* one per worker; -1 once taken */
};

/* A socket that was open when the daemon started, passed by a service manager. All workers share
 * it. */
struct listen_inherited {
	struct listen_want want;
	int fd; /* owned; kept open for good, because an unprivileged daemon could not bind it again
		 */
};

#define LISTEN_INHERITED_MAX 32

struct listen_set {
	unsigned workers;
	/* Filled in before the first update; they stand for binding the same address. */
	struct listen_inherited inherited[LISTEN_INHERITED_MAX];
	size_t inherited_count;
	struct listen_socket *sockets;
	size_t count;
};

/* Make the set hold exactly the wanted sockets; sockets that stay are not touched. 0, or -errno
 * with *reterr_addr the address that could not be bound (then nothing has changed). An update after
 * the first waits up to 2.5 s for a UDP port that is taken. A change between a wildcard and one of
 * its addresses needs the user that bound the old socket (SO_REUSEPORT): it fails after privileges
 * were dropped. */
int listen_set_update(struct listen_set *set, const struct listen_want *wants, size_t count,
		      struct addr *reterr_addr);

/* The worker's descriptor of set->sockets[index], owned by the caller from now on; -1 when it was
 * taken before. */
int listen_set_take(struct listen_set *set, size_t index, unsigned worker);

void listen_set_sweep(struct listen_set *set);

/* Close what was not taken and free. */
void listen_set_done(struct listen_set *set);

#endif
