/* SPDX-License-Identifier: ISC */
/*
 * How messages get to one upstream server and back, whatever its protocol: the c-ares channel with
 * its transports, what encryption needs, and the server's address when it is given by name.
 *
 * Messages for a server whose address is still being looked up wait for it. When a connection
 * fails, the next address of the name is used.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_CARRIER_H
#define DNSPROXYD_UPSTREAM_CARRIER_H

#include "common/dns/ares_io.h"
#include "common/metrics.h"

#include "dnsproxyd/config.h"

struct carrier;

struct carrier_config {
	struct loop *loop;
	struct metrics *metrics;
	struct endpoint endpoint;
	const struct group_config *group; /* for servers that are encrypted; copied */
	uint32_t timeout_ms;
	uint32_t max_open;
	/* As in struct ares_io_config. */
	void (*on_dropped)(void *arg, const uint8_t *question, size_t len, bool other_case);
	void *on_dropped_arg;
};

/* Returns owned, or NULL with errno. */
struct carrier *carrier_new(const struct carrier_config *config);

/* What is open ends with ARES_IO_CANCELLED, at once. Not from within a callback of it. NULL is
 * fine.
 */
void carrier_free(struct carrier *carrier);

/* As ares_io_send_via(), by stream or by datagram; servers that know one way only take that. The id
 * of the message on its way is put into *ret_id when it is sent, which must be valid until then or
 * until the call back. */
void carrier_send(struct carrier *carrier, bool by_stream, const uint8_t *query, size_t len,
		  ares_io_answer_fn fn, void *arg, uint16_t *ret_id);

/* The server said in an answer how long connections may be idle (RFC 7828), in units of 100 ms. */
void carrier_note_keepalive(struct carrier *carrier, uint16_t keepalive);

/* Streams are closed, as if they broke. Not from within a callback. */
void carrier_break_streams(struct carrier *carrier);

/* The network has changed: streams are closed, as if they broke, and the address of a server given
 * by name is looked up anew. Not from within a callback. */
void carrier_note_network(struct carrier *carrier);

/* Messages that came in the place of answers. */
uint64_t carrier_dropped_count(const struct carrier *carrier);

#endif
