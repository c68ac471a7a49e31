/* SPDX-License-Identifier: ISC */
/*
 * The pipe through which a worker splices (splice(2)). One serves all sessions of the worker: it is
 * filled and emptied within one move, and no session keeps it.
 *
 * Only a large pipe is worth having: a slot of a pipe takes one fragment of a packet, so the 64 KiB
 * that a pipe has by default carry 23 KiB at an MTU of 1500, and copying is cheaper. The kernel may
 * refuse: above pipe-max-size, or when the user has pipe-user-pages-soft pages in pipes already
 * (64 MiB unless changed), after which new pipes have 8 KiB (pipe(7)). So the size that was
 * obtained is looked at, and a worker without a pipe copies.
 *
 * Thread: the worker's, but for the pure functions. Silent: a failure is a pipe that does not open.
 */
#ifndef SOCKSD_RELAY_PIPE_H
#define SOCKSD_RELAY_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PIPE_BYTES_MAX = 1 << 20, /* what is asked for first; then half, until */
	PIPE_BYTES_MIN = 1 << 18, /* the least that beats copying */
	PIPE_PIECE_MIN = 1 << 16, /* the least that is moved at a time */
};

/* What the kernel allows a user without privileges. */
struct pipe_limits {
	size_t pipe_bytes; /* pipe-max-size */
	size_t user_bytes; /* pipe-user-pages-soft; 0: no limit */
};

/* Read them from /proc; what cannot be read is what the kernel does by default. */
void pipe_limits_read(struct pipe_limits *ret);

/* The size to ask for when each of `workers` has a pipe; together at most half of what the user
 * has, who may run other programs. 0: better none. Pure. */
size_t pipe_size_for(const struct pipe_limits *limits, unsigned workers);

/* All-zero is a valid pipe that never opens. */
struct pipe {
	size_t want_bytes; /* 0: do not open */
	bool open;
	int read_fd; /* both non-blocking */
	int write_fd;
	uint64_t retry_ms; /* not opened again before, after a failure */
	size_t less_bytes; /* by how much pipe_piece() is below PIPE_BYTES_MAX */
};

/* want_bytes: from pipe_size_for(). Nothing is opened yet. */
void pipe_init(struct pipe *pipe, size_t want_bytes);

/* Whether the pipe is open, with PIPE_BYTES_MIN at least; opens it if need be. */
bool pipe_ready(struct pipe *pipe, uint64_t now_ms);

/* How many bytes to move at a time: PIPE_BYTES_MAX, and less for a while after a receiver has
 * refused much of a move though its socket had room. That happens when TCP is short of memory, and
 * what is refused has to be held elsewhere. Pure. */
size_t pipe_piece(const struct pipe *pipe);

/* A receiver has taken all of a move: the next may be larger. Pure. */
void pipe_taken(struct pipe *pipe);

/* A receiver has refused so many bytes of a move: the next are smaller. Pure. */
void pipe_refused(struct pipe *pipe, size_t bytes);

/* Close it, with what is in it; it will be opened again when needed. Harmless when closed. */
void pipe_close(struct pipe *pipe);

/* Close it for good: splice() does not work here. */
void pipe_disable(struct pipe *pipe);

#endif
