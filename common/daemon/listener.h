/* SPDX-License-Identifier: ISC */
/*
 * Listening sockets: binding them, and accepting from a TCP one on a loop, in batches.
 *
 * Running out of descriptors never spins and never drops a waiting client at once: the listener
 * pauses (the clients wait in the kernel's queue) and tries again when told that a descriptor came
 * free, or after 100 ms. When that has failed for 30 s, one batch is accepted through a reserve
 * descriptor and closed, so that the clients learn of it.
 */
#ifndef COMMON_DAEMON_LISTENER_H
#define COMMON_DAEMON_LISTENER_H

#include "common/addr.h"
#include "common/loop.h"

#include <stdbool.h>

/* Bound, but no interface has the address yet. */
#define LISTENER_LATE 1

/* Bind a TCP listening or a UDP socket, non-blocking, close-on-exec, SO_REUSEPORT, IPv6 only for
 * v6. 0 or LISTENER_LATE with *ret_fd owned by the caller, or -errno. */
int listener_bind_tcp(const struct addr *a, int *ret_fd);
int listener_bind_udp(const struct addr *a, int *ret_fd);

/* Whether somebody else holds the address: SO_REUSEPORT would let a second daemon of the same user
 * share it without a word. Test before the first bind of an address. 0, or -EADDRINUSE and other
 * -errno of bind(). */
int listener_probe(const struct addr *a, int socket_type);

/* The address a bound socket really has (after port 0). 0 or -errno. */
int listener_local_addr(int fd, struct addr *ret_addr);

/* Whether a socket bound to `listener` would get what is sent to `a`: the same address, or the
 * wildcard of its family and an address that this host has now. */
bool listener_reaches(const struct addr *listener, const struct addr *a);

enum listener_event {
	LISTENER_PAUSED, /* out of descriptors or memory; error is the errno */
	LISTENER_RESUMED,
	LISTENER_SHED, /* accepted and closed through the reserve; once per connection */
};

struct listener;

struct listener_ops {
	/* A connection; the callee owns fd. */
	void (*on_accept)(void *arg, int fd, const struct addr *peer);
	/* For counters and logs. */
	void (*on_event)(void *arg, enum listener_event event, int error);
};

/* Accept from fd (which the listener owns from now on) on the loop; connections have TCP_NODELAY
 * and SO_KEEPALIVE. Returns owned or NULL with errno; on NULL the fd is closed. */
struct listener *listener_start(struct loop *loop, int fd, const struct listener_ops *ops,
				void *arg);

/* Stop accepting until listener_resume(); connections wait in the kernel's queue. Idempotent. For
 * limits: the own pause for lack of descriptors ends by itself. */
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

/* A descriptor was closed somewhere: try again at once when paused for lack of them. */
void listener_fd_freed(struct listener *listener);

/* Stop and close. Safe from its own callbacks. NULL is fine. */
void listener_free(struct listener *listener);

#endif
