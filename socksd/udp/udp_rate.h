/* SPDX-License-Identifier: ISC */
/*
 * Holds one direction of an association to a rate of datagrams and of bytes: token buckets that
 * hold what a tenth of a second allows, and at least one datagram of any size. Pure.
 */
#ifndef SOCKSD_UDP_UDP_RATE_H
#define SOCKSD_UDP_UDP_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct udp_rate_limits {
	uint64_t datagrams; /* a second; 0: no limit */
	uint64_t bytes;     /* likewise */
};

/* All-zero is a valid start. Both are thousandths, so that small rates do not get lost. */
struct udp_rate {
	uint64_t datagrams_used;
	uint64_t bytes_used;
	uint64_t last_ms;
};

/* Whether a datagram of that length may pass now; it is counted then. */
bool udp_rate_take(struct udp_rate *rate, const struct udp_rate_limits *limits, size_t len,
		   uint64_t now_ms);

#endif
