/* SPDX-License-Identifier: ISC */
/*
 * Keeps strangers out of a UDP socket: the kernel then drops what does not come from one address
 * and port before it takes room in the receive buffer or wakes anybody, so that a flood cannot
 * crowd out the one peer. Needs no privilege. Thread: any.
 */
#ifndef SOCKSD_UDP_SHIELD_H
#define SOCKSD_UDP_SHIELD_H

#include "common/addr.h"

#include <stdint.h>

/* From now on only datagrams from `peer`, of the socket's family, come in. 0 or -errno. */
int shield_raise(int fd, const struct addr *peer);

/* How many datagrams the kernel has dropped at this socket, for the shield or for a full buffer.
 * Wraps around; 0 when it does not tell. */
uint32_t shield_drops(int fd);

#endif
