/* SPDX-License-Identifier: ISC */
/*
 * Questions by UDP: receives datagrams in batches, answers what the cache knows in the same turn
 * with one system call, the rest when the answers come. A reply leaves from the address that was
 * asked (RFC 2181 section 4), also on a wildcard socket.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_FRONT_FRONT_UDP_H
#define DNSPROXYD_FRONT_FRONT_UDP_H

#include "common/netset.h"

#include "dnsproxyd/query/query.h"

struct front_udp;

/* Answer on fd (which is owned from now on), bound to `addr`. Returns owned, or NULL with errno;
 * then fd is closed. */
struct front_udp *front_udp_new(struct query_context *context, int fd, const struct addr *addr);

/* Who is answered; borrowed until the next call. NULL: nobody. */
void front_udp_set_clients(struct front_udp *front, const struct netset *clients);

/* Take no more questions; those that are open are still answered. */
void front_udp_stop(struct front_udp *front);

/* Drop open questions, close, free. NULL is fine. */
void front_udp_free(struct front_udp *front);

#endif
