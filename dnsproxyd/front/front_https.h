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

#include "common/stream/tls.h"

#include "dnsproxyd/query/query.h"

struct front_https;

/* on_closed is called for each connection that ends. Returns owned, or NULL with errno. */
struct front_https *front_https_new(struct query_context *context,
				    void (*on_closed)(void *arg, const struct addr *peer),
				    void *arg);

/* Serve a connection, whose client has been counted. Takes ownership of fd. False when it cannot;
 * on_closed is not called for it then. */
bool front_https_accept(struct front_https *front, int fd, const struct addr *peer,
			struct tls_server *tls);

/* Take no more questions; those that are open are still answered. */
void front_https_stop(struct front_https *front);

/* Close all connections, free. NULL is fine. */
void front_https_free(struct front_https *front);

#endif
