/* SPDX-License-Identifier: ISC */
/*
 * One worker's part of the listening sockets: for each socket of the shared listen_set the object
 * that serves it (a front), opened and closed as the set changes. Thread: the worker's, while the
 * main thread waits in worker_call().
 */
#ifndef COMMON_DAEMON_PORTS_H
#define COMMON_DAEMON_PORTS_H

#include "common/daemon/listen_set.h"

struct ports;

/* One served socket. */
struct port {
	struct port *next;
	struct listen_want want;
	void *owner; /* as given to ports_init() */
	void *front; /* what open() returned */
};

struct ports_ops {
	/* Serve fd, which is owned from now on. port is valid until close. Returns the front, or
	 * NULL with errno. */
	void *(*open)(struct port *port, int fd);
	void (*close)(struct port *port);
};

struct ports {
	const struct ports_ops *ops;
	void *owner;
	struct port *first;
};

void ports_init(struct ports *ports, const struct ports_ops *ops, void *owner);

/* Close what is gone from the set, open what this worker has not taken yet. 0, or -errno of the
 * first that failed; the others are served all the same. */
int ports_update(struct ports *ports, struct listen_set *set, unsigned worker);

/* Close all. */
void ports_done(struct ports *ports);

#endif
