/* SPDX-License-Identifier: ISC */
/*
 * Moves bytes between two TCP sockets, faithfully: nothing is read that cannot be passed on
 * (back-pressure), a FIN is passed on when all bytes before it are (half-close, RFC 9293
 * section 3.6), a reset is passed on as a reset, so that a cut transfer never looks complete.
 *
 * Each direction, a flow, has a gear. Small reads go through a scratch buffer that all relays of a
 * worker share. A flow whose reads are long is bulk: it is spliced through the worker's pipe, or,
 * when there is none, copied in larger pieces. Before a bulk read the receiver's socket is asked
 * for its room and no more is read than that, so bytes wait in sockets. What a receiver refuses all
 * the same, from the buffer or from the pipe, is held in memory of the relay; so the pipe is empty
 * after every move, and a session in which nothing moves owns two descriptors and nothing else.
 *
 * Urgent data stays in its place in the stream (RFC 6093 section 4), without its mark. Reads stop
 * in front of it, and there splice() returns what it returns for an empty socket or its end; so
 * only small reads decide about these.
 *
 * Both sockets are watched edge-triggered, once; each flow touches only the socket that is ready.
 * While a bulk flow waits for its receiver, its sender's packets would wake us one by one for
 * nothing: the sender is muted until its socket was found empty.
 * Small reads are moved when the event comes; bulk flows wait for their turns, first come, first
 * served, so that each gets its share and nobody waits for all of them.
 *
 * Thread: the worker's. SIGPIPE must be ignored. Ownership: the relay owns both descriptors,
 * through its watches, from relay_start() to relay_done().
 */
#ifndef SOCKSD_RELAY_RELAY_H
#define SOCKSD_RELAY_RELAY_H

#include "common/loop.h"

#include "socksd/relay/pipe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum relay_side_index {
	RELAY_CLIENT,
	RELAY_TARGET,
};

enum relay_outcome {
	RELAY_FINISHED,     /* both sides sent FIN and got all bytes */
	RELAY_CLIENT_RESET, /* the client's connection broke */
	RELAY_TARGET_RESET,
	RELAY_STALLED, /* one side took nothing for stall_ms, or does not answer any more */
	RELAY_NO_MEMORY,
};

/* The events a relay wants its sockets to be watched for. */
#define RELAY_EVENTS (LOOP_READ | LOOP_URGENT | LOOP_WRITE | LOOP_RDHUP | LOOP_EDGE)

enum {
	RELAY_SMALL_BYTES = 1 << 16, /* the most a small read takes */
	RELAY_BULK_BYTES = 1 << 20,  /* the most a bulk read takes */
};

struct relay_side {
	struct watch watch; /* owns the descriptor */
	bool readable;      /* recv() may give something */
	bool writable;
	bool muted; /* no event tells of bytes that come; not before readable is false */
	bool eager; /* a short read does not tell that the socket is empty: there is an end or
		       urgent data behind it */
};

/* SMALL -> BULK when a read is long; BULK -> SMALL when several in a row were not; BULK -> PROBE
 * when a splice gave nothing, which may be the end or urgent data: a small read finds out, -> BULK.
 */
enum relay_gear {
	RELAY_SMALL,
	RELAY_BULK,
	RELAY_PROBE,
};

/* The bytes that come from side i are flow i. */
struct relay_flow {
	uint8_t *held; /* what the receiver refused, or NULL */
	size_t held_len;
	size_t held_offset;
	size_t room; /* what the receiver had when last asked, less what it was sent since */
	enum relay_gear gear;
	unsigned poor;    /* bulk reads in a row that were not worth it */
	bool ended;       /* the sender's FIN was read */
	bool finished;    /* and has been passed on */
	bool broken;      /* the receiver takes no more; what it sent is still passed back */
	uint64_t bytes;   /* passed on */
	uint64_t spliced; /* of these, through a pipe */
};

struct relay;

struct relay_ops {
	/* Once, never from within relay_start(); has to call relay_done(). */
	void (*on_end)(struct relay *relay, enum relay_outcome outcome);
	/* One side has sent its FIN, and it has been passed on; once at most. */
	void (*on_half_close)(struct relay *relay);
};

struct relay {
	struct loop *loop;
	uint8_t *scratch; /* borrowed, shared by the worker's relays */
	size_t scratch_bytes;
	struct pipe *pipe; /* borrowed likewise */
	uint32_t stall_ms; /* how long a side may take nothing; 0: as long as it likes */
	const struct relay_ops *ops;
	struct relay_side side[2];
	struct relay_flow flow[2];
	struct task more;  /* goes on with a transfer after others had their turn */
	bool ending;       /* on_end has been called */
	bool answered;     /* bytes have moved since the relay is half closed */
	unsigned pipeless; /* bulk reads that had to be copied, for lack of a pipe */
	uint64_t moved_ms; /* when bytes last moved */
};

/* Begin. The caller has started side[0].watch and side[1].watch with RELAY_EVENTS and set
 * `readable` and `eager` of a side where it has seen such events; it sets loop, scratch,
 * scratch_bytes, pipe, stall_ms. */
void relay_start(struct relay *relay, const struct relay_ops *ops);

/* Bytes that the caller has read from the client beyond the handshake: they go to the target first.
 * Copies them; before relay_start(). 0 or -ENOMEM. */
int relay_early_data(struct relay *relay, const uint8_t *bytes, size_t len);

/* Whether one side has sent FIN and the other has not. */
bool relay_half_closed(const struct relay *relay);

/* Close both sockets, a side marked in `reset` (1 << side) with RST; free what is held. No upcall.
 */
void relay_done(struct relay *relay, unsigned reset);

#endif
