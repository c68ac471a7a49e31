/* SPDX-License-Identifier: ISC */
/*
 * Questions by HTTPS (RFC 8484): HTTP/2 over TLS, POST and GET at /dns-query, any number at a time
 * on a connection, answered as the answers come. A client that speaks no HTTP/2 is hung up on.
 * Limits are those of TCP, and connections count together.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_FRONT_HTTPS_H
#define DNSPROXYD_FRONT_HTTPS_H

#include "common/netset.h"
#include "common/tls.h"

#include "dnsproxyd/query.h"

struct front_https;

/* Accept on fd (which is owned from now on), bound to `addr`. Nobody is answered until
 * front_https_set_tls(). Returns owned, or NULL with errno; then fd is closed. */
struct front_https *front_https_new(struct query_context *context, int fd, const struct addr *addr);

/* Who is answered; borrowed until the next call. NULL: nobody. */
void front_https_set_clients(struct front_https *front, const struct netset *clients);

/* The certificate for connections to come; borrowed until the next call. Its protocol is "h2".
 * NULL: connections are refused. */
void front_https_set_tls(struct front_https *front, struct tls_server *tls);

/* Accept no more, take no more questions; those that are open are still answered. */
void front_https_stop(struct front_https *front);

/* Close all connections, free. NULL is fine. */
void front_https_free(struct front_https *front);

#endif
