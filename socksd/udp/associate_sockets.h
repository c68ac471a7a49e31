/* SPDX-License-Identifier: ISC */
/*
 * The sockets of an association, as associate.c wants them. Thread: the worker's.
 */
#ifndef SOCKSD_UDP_ASSOCIATE_SOCKETS_H
#define SOCKSD_UDP_ASSOCIATE_SOCKETS_H

#include "common/addr.h"

#include "socksd/config.h"

#include <stdbool.h>

/* A socket for a client that reached us at `local` (folded). Returns the descriptor, with
 * *ret_address, where the client is to be told to send; or -errno with *reterr_why, a static token.
 */
int associate_open_client(const struct listen_config *listen, const struct addr *local,
			  struct addr *ret_address, const char **reterr_why);

/* A socket towards targets of one family; `egress` may be NULL. Returns the descriptor, or -errno
 * as egress_apply() has it. */
int associate_open_target(int family, const struct egress *egress);

/* Whether anything can be sent there, as the routes have it. */
bool associate_has_route(const struct addr *to);

#endif
