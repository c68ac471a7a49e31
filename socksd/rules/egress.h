/* SPDX-License-Identifier: ISC */
/*
 * An [egress NAME]: from which address, through which interface and with which mark connections
 * leave. Immutable after loading; part of a struct config. Thread: any.
 */
#ifndef SOCKSD_RULES_EGRESS_H
#define SOCKSD_RULES_EGRESS_H

#include "common/addr.h"

#include <stdbool.h>
#include <stdint.h>

struct egress {
	const char *name;
	struct addr ipv4;      /* AF_UNSPEC: none */
	struct addr ipv6;      /* likewise */
	const char *interface; /* NULL: what the routes say */
	uint32_t fwmark;       /* 0: none */
	bool fast_open;
};

/* Whether connections to this address can leave here: not when there are addresses to leave from,
 * but none of its family. */
bool egress_has_family(const struct egress *egress, int family);

/* Whether sockets prepared by both leave in the same way, and under the same name. */
bool egress_equal(const struct egress *a, const struct egress *b);

/* The address to leave from, or to listen on; NULL: none of that family is named. */
const struct addr *egress_address(const struct egress *egress, int family);

/* Set interface and mark of a socket, but bind it to no address: for sockets that listen. 0 or
 * -errno, as egress_apply() has it. */
int egress_mark(const struct egress *egress, int fd, int family);

/* Prepare a socket that is not bound yet, TCP or UDP, to talk to addresses of `family`. The port is
 * chosen when the socket connects, so that one address serves more connections than it has ports
 * (IP_BIND_ADDRESS_NO_PORT). 0 or -errno: -ENETUNREACH as egress_has_family() has it, -EPERM when a
 * capability is missing, -ENODEV for an unknown interface, -EADDRNOTAVAIL when the address is not
 * one of this host. */
int egress_apply(const struct egress *egress, int fd, int family);

/* Let the connection of a TCP socket begin with its first data (TCP_FASTOPEN_CONNECT) if the egress
 * wants that and the kernel can. connect() may then succeed before the peer has answered, and
 * nothing leaves before data is written: only for when there is data to write at once. */
void egress_fast_open(const struct egress *egress, int fd);

#endif
