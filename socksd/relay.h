/* SPDX-License-Identifier: ISC */
/*
 * Copies bytes between two TCP sockets, faithfully: nothing is read that cannot be passed on
 * (back-pressure), a FIN is passed on when all bytes before it are (half-close, RFC 9293
 * section 3.6), a reset is passed on as a reset, so that a cut transfer never looks complete.
 *
 * Bytes go through a scratch buffer that all relays of a worker share; a relay owns memory only for
 * what a socket refused to take. Both sockets are watched edge-triggered, once; each direction
 * touches only the socket that is ready.
 *
 * Thread: the worker's. Ownership: the relay owns both descriptors, through its watches, from
 * relay_start() to relay_done().
 */
#ifndef SOCKSD_RELAY_H
#define SOCKSD_RELAY_H

#include "common/loop.h"

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
	RELAY_NO_MEMORY,
};

/* The events a relay wants its sockets to be watched for. */
#define RELAY_EVENTS (LOOP_READ | LOOP_WRITE | LOOP_RDHUP | LOOP_EDGE)

struct relay_side {
	struct watch watch; /* owns the descriptor */
	bool readable;      /* recv() may give something */
	bool writable;
	bool fin_seen; /* an event told of the end: read up to it */
};

/* The bytes that come from side i are flow i. */
struct relay_flow {
	uint8_t *held; /* what the receiver refused, or NULL */
	size_t held_len;
	size_t held_offset;
	bool ended;     /* the sender's FIN was read */
	bool finished;  /* and has been passed on */
	bool broken;    /* the receiver takes no more; what it sent is still passed back */
	uint64_t bytes; /* passed on */
};

struct relay;
typedef void (*relay_end_fn)(struct relay *relay, enum relay_outcome outcome);

struct relay {
	struct loop *loop;
	uint8_t *scratch; /* borrowed, shared by the worker's relays */
	size_t scratch_bytes;
	relay_end_fn on_end;
	struct relay_side side[2];
	struct relay_flow flow[2];
	struct task more;  /* goes on with a transfer after others had their turn */
	bool ending;       /* on_end has been called */
	uint64_t moved_ms; /* when bytes last moved */
};

/* Begin. The caller has started side[0].watch and side[1].watch with RELAY_EVENTS and set
 * `readable` and `fin_seen` of a side where it has seen such events; it sets loop, scratch,
 * scratch_bytes. on_end is called once, never from within this call, and has to call relay_done().
 */
void relay_start(struct relay *relay, relay_end_fn on_end);

/* Bytes that the caller has read from the client beyond the handshake: they go to the target first.
 * Copies them; before relay_start(). 0 or -ENOMEM. */
int relay_early_data(struct relay *relay, const uint8_t *bytes, size_t len);

/* Whether one side has sent FIN and the other has not. */
bool relay_half_closed(const struct relay *relay);

/* Close both sockets, a side marked in `reset` (1 << side) with RST; free what is held. No upcall.
 */
void relay_done(struct relay *relay, unsigned reset);

#endif
