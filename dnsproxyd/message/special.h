/* SPDX-License-Identifier: ISC */
/*
 * Questions that are not for upstream servers: names that mean this host or this network, or that
 * must not exist, and types that nobody should ask by UDP. The answers are made here.
 *
 *	localhost          127.0.0.1 and ::1, for all names below as well (RFC 6761 section 6.3)
 *	invalid, onion, alt                 do not exist (RFC 6761 section 6.4, 7686, 9476)
 *	test, local, internal               do not exist here (RFC 6761 section 6.2, 6762 section
 *	                                    22.1, and ICANN's reservation)
 *	home.arpa, the reverse zones of private and other local addresses
 *	                                    empty zones (RFC 6303, 7793, 8375)
 *	resolver.arpa      an empty zone (RFC 9462 section 6.4), but for what ddr.h tells
 *	any type by UDP    a HINFO record that says RFC8482
 *
 * An empty zone has a SOA and an NS record at its apex and nothing else (RFC 6303 section 3), but
 * for the names of 127.0.0.1 and ::1. A question for the DS record of one below arpa goes upstream,
 * to the zone's parent, so that validating clients find that the zone is not signed.
 * ipv4only.arpa is no special name to a forwarder (RFC 8880 section 7.1).
 *
 * Pure, thread-free, allocates nothing.
 */
#ifndef DNSPROXYD_MESSAGE_SPECIAL_H
#define DNSPROXYD_MESSAGE_SPECIAL_H

#include "dnsproxyd/message/dnsmsg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room that every answer fits in. */
#define SPECIAL_ANSWER_MAX DNSMSG_UDP_MIN

enum special_scope {
	SPECIAL_ALWAYS, /* only what must never go upstream */
	SPECIAL_LOCAL,  /* also what a network may use for itself: test, local, internal, home.arpa,
			   the reverse zones */
};

/* Make the answer to a question of class IN, for dnsmsg_answer(): its length, or 0 when it is one
 * for upstream servers. buf has room for SPECIAL_ANSWER_MAX; *ret_ede tells the client why. */
size_t special_answer(const struct dnsmsg_query *query, enum special_scope scope, uint8_t *buf,
		      struct dnsmsg_ede *ret_ede);

/* The same for QTYPE ANY by UDP (RFC 8482 section 4.2), of any class and name. */
size_t special_answer_any(const struct dnsmsg_query *query, uint8_t *buf);

#endif
