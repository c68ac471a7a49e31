/* SPDX-License-Identifier: ISC */
/*
 * Datagrams in batches. One call to the kernel takes what waits in a socket, one sends what became
 * of it; where the kernel has put several datagrams of one sender together (UDP_GRO) they are taken
 * apart here, and successive ones of one length to one receiver are left to it to cut up
 * (UDP_SEGMENT). A kernel or a path that does not do this is noticed, and gets them one by one.
 *
 * The buffers are the worker's, not a socket's: what is received is valid until the next
 * datagrams_receive(), and so it must be sent, or copied, before.
 *
 * Thread: the worker's.
 */
#ifndef SOCKSD_UDP_DATAGRAMS_H
#define SOCKSD_UDP_DATAGRAMS_H

#include "common/addr.h"

#include <stddef.h>
#include <stdint.h>

enum {
	DATAGRAMS_BATCH = 64,          /* the most that one call takes; of each, up to 64 KiB */
	DATAGRAMS_HEAD_BYTES_MAX = 22, /* what can be put in front of one */
	DATAGRAMS_PAYLOAD_MAX = 65507, /* the longest one of IPv4, head included */
};

struct datagrams;

/* What became of the datagrams sent since the last datagrams_flush(). */
struct datagrams_result {
	uint64_t sent;
	uint64_t bytes;       /* of these, without heads */
	uint64_t unreachable; /* no route */
	uint64_t too_big;
	uint64_t refused; /* by the kernel, for lack of room mostly */
};

/* Returns owned, or NULL when out of memory. */
struct datagrams *datagrams_new(void);

/* NULL is fine. */
void datagrams_free(struct datagrams *d);

/* Prepare a UDP socket: takes GRO on where the kernel has it, room for bursts, and fragmentation
 * instead of errors for what is larger than the path's MTU. */
void datagrams_prepare(int fd, int family);

/* A datagram: `bytes` may be changed. */
typedef void (*datagrams_fn)(void *arg, const struct addr *from, uint8_t *bytes, size_t len);

/* Receive one batch and call fn for each datagram in it. Returns how many were taken from the
 * socket, those put together counting as one: less than DATAGRAMS_BATCH when it is empty now.
 * Errors are those of earlier datagrams (ICMP) and mean nothing. */
unsigned datagrams_receive(struct datagrams *d, int fd, datagrams_fn fn, void *arg);

/* Send head and bytes as one datagram. `bytes` must stay valid until datagrams_flush(); `to` and
 * `head` are copied. head_len may be 0. */
void datagrams_send(struct datagrams *d, int fd, const struct addr *to, const uint8_t *head,
		    size_t head_len, const uint8_t *bytes, size_t len);

/* Send what has been queued; tells what came of it all. */
struct datagrams_result datagrams_flush(struct datagrams *d);

#endif
