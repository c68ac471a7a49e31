/* SPDX-License-Identifier: ISC */
/*
 * The header in front of each datagram between a client and us (RFC 1928, section 7): two bytes of
 * zero, FRAG, then address and port of the other end. Pure.
 */
#ifndef SOCKSD_PROTOCOL_UDP_HEADER_H
#define SOCKSD_PROTOCOL_UDP_HEADER_H

#include "common/addr.h"

#include "socksd/protocol/socks5.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest header that we write: with an IPv6 address. */
#define UDP_HEADER_BYTES_MAX     (3 + SOCKS5_ADDRESS_MAX)

/* What is in FRAG: a place from 1 to 127 in a sequence, or 0 for a datagram on its own. */
#define UDP_HEADER_LAST_FRAGMENT 0x80

struct udp_header {
	uint8_t fragment;
	size_t len;       /* the datagram begins behind it; it may be empty */
	struct addr addr; /* with the port; AF_UNSPEC: a name */
	uint16_t port;    /* never 0 */
	char name[SOCKS5_NAME_MAX +
		  1]; /* as in struct socks5_target; "" when there is an address */
};

/* Read the header at the start of a datagram. False when it is none, or leads nowhere: cut short,
 * RSV not 0, an unknown or unusable address, port 0. */
bool udp_header_parse(const uint8_t *bytes, size_t len, struct udp_header *ret_header);

/* Write the header of a datagram that came from `from`, which has a family; returns its length. */
size_t udp_header_encode(const struct addr *from, uint8_t ret_bytes[UDP_HEADER_BYTES_MAX]);

#endif
