/* SPDX-License-Identifier: ISC */
/*
 * A worker's pipes for splice(2). A pipe is taken while bytes are in it and given back when they
 * have gone on, so a few serve any number of sessions.
 *
 * Only large pipes are worth having: a slot of a pipe takes one fragment of a packet, so the 64 KiB
 * that a pipe has by default carry 23 KiB at an MTU of 1500, and copying is cheaper. An
 * unprivileged user may have pipe-user-pages-soft pages in pipes (64 MiB unless changed); after
 * that the kernel makes pipes of 8 KiB (pipe(7)). So the number of pipes is planned from those
 * limits, the size that was obtained is looked at, and a worker without a pipe copies.
 *
 * Thread: a pool belongs to one worker. Ownership: the pool owns its pipes; pipe_take() lends one,
 * and every pipe must be back before pipe_pool_done(). Silent: a failure is a pipe not given.
 */
#ifndef SOCKSD_PIPES_H
#define SOCKSD_PIPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PIPE_BYTES_MAX = 1 << 20, /* what is asked for first; then half, until */
	PIPE_BYTES_MIN = 1 << 18, /* the least that beats copying */
	PIPES_PER_WORKER = 8,     /* wanted; most of the time one is in use */
};

/* What the kernel allows one user. */
struct pipe_limits {
	size_t pipe_bytes; /* pipe-max-size */
	size_t user_bytes; /* pipe-user-pages-soft; 0: no limit */
};

/* Read them from /proc; where that fails, what the kernel does by default. */
void pipe_limits_read(struct pipe_limits *ret);

struct pipe_plan {
	size_t pipe_bytes;         /* size to ask for */
	unsigned pipes_per_worker; /* 0: no pipes */
	bool limited;              /* by the kernel's limits, to less than wanted */
};

/* What `workers` pools may use: together at most half of what the user has, who may run other
 * programs. Pure. */
struct pipe_plan pipe_plan_make(const struct pipe_limits *limits, unsigned workers);

struct pipe {
	struct pipe *next; /* the pool's */
	int read_fd;
	int write_fd;
	size_t len; /* bytes in it; kept by the borrower */
};

struct pipe_pool {
	size_t pipe_bytes;
	unsigned cap;
	unsigned count; /* open ones, lent and idle */
	struct pipe *idle;
	uint64_t retry_ms; /* no new pipe before */
};

void pipe_pool_init(struct pipe_pool *pool, const struct pipe_plan *plan);
void pipe_pool_done(struct pipe_pool *pool);

/* An empty pipe of at least PIPE_BYTES_MIN, non-blocking at both ends; or NULL. After a failure to
 * make one it is not tried again for a while. */
struct pipe *pipe_take(struct pipe_pool *pool, uint64_t now_ms);

/* Give it back. One with bytes in it is closed. */
void pipe_give(struct pipe_pool *pool, struct pipe *pipe);

/* Close the idle ones: descriptors are short. */
void pipe_pool_trim(struct pipe_pool *pool);

/* No more pipes: splice() does not work here. */
void pipe_pool_disable(struct pipe_pool *pool);

#endif
