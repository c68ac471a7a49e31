/* SPDX-License-Identifier: ISC */
/*
 * Puts together what a client sends in fragments (RFC 1928, section 7): places 1, 2, ... of one
 * sequence to one target, in this order, the last one marked. Anything else (a gap, a repetition,
 * another target, FRAGMENTS_MS since the first one, more than FRAGMENTS_BYTES_MAX in all) loses the
 * sequence, and a first fragment begins another one.
 *
 * Pure; takes memory only while a sequence is incomplete. Not thread-safe.
 */
#ifndef SOCKSD_PROTOCOL_FRAGMENTS_H
#define SOCKSD_PROTOCOL_FRAGMENTS_H

#include "socksd/protocol/udp_header.h"

#include <stddef.h>
#include <stdint.h>

enum {
	FRAGMENTS_MS = 5000, /* the RFC wants no less */
	FRAGMENTS_BYTES_MAX = 65507,
};

struct fragments;

enum fragments_result {
	FRAGMENTS_MORE, /* kept */
	FRAGMENTS_DONE, /* the sequence is complete */
	FRAGMENTS_LOST, /* the fragment fits nowhere */
};

/* Add the datagram with this header (fragment is not 0), of `len` bytes after it. *f is NULL at
 * first; what it then points to is owned by the caller, for fragments_drop(). On FRAGMENTS_DONE,
 * *ret_bytes and *ret_len are the whole, valid until the next call; its target is the header's.
 * *ret_lost is how many fragments were lost at this, of an older sequence or this one. */
enum fragments_result fragments_add(struct fragments **f, const struct udp_header *header,
				    const uint8_t *bytes, size_t len, uint64_t now_ms,
				    const uint8_t **ret_bytes, size_t *ret_len, unsigned *ret_lost);

/* Forget the sequence; returns how many fragments of an incomplete one are lost. */
unsigned fragments_drop(struct fragments **f);

/* When an incomplete sequence is to be dropped; 0: there is none. */
uint64_t fragments_due_ms(const struct fragments *f);

#endif
