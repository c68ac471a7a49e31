/* SPDX-License-Identifier: ISC */
/*
 * Questions by HTTPS (RFC 8484): HTTP/2 over TLS, POST and GET at /dns-query, any number at a time
 * on a connection, answered as the answers come. A client that speaks no HTTP/2 is hung up on. Part
 * of front_tcp.h, which accepts the connections, and counts those of a client and of all together.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_FRONT_FRONT_HTTPS_H
#define DNSPROXYD_FRONT_FRONT_HTTPS_H

#include "dnsproxyd/front/connection.h"

/* Serve a connection, whose client has been counted. Takes ownership of fd. False when it cannot;
 * it is none of the connections then. */
bool front_https_accept(struct connections *connections, int fd, const struct addr *peer,
			struct tls_server *tls);

#endif
