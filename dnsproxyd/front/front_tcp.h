/* SPDX-License-Identifier: ISC */
/*
 * Questions by TCP (RFC 7766), and by TLS over it (RFC 7858): messages with a two-byte length, any
 * number on a connection, answered as the answers come. A client that does not read its replies,
 * asks nothing, or asks too much at once, is held back or closed. Accepts connections by HTTPS too,
 * for front_https.h.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_FRONT_FRONT_TCP_H
#define DNSPROXYD_FRONT_FRONT_TCP_H

#include "common/netset.h"
#include "common/stream/tls.h"

#include "dnsproxyd/query/query.h"

struct front_tcp;

/* Accept on fd (which is owned from now on), bound to `addr`. Returns owned, or NULL with errno;
 * then fd is closed. */
struct front_tcp *front_tcp_new(struct query_context *context, int fd, const struct addr *addr);

/* Who is answered; borrowed until the next call. NULL: nobody. With tls (which gets one more owner)
 * connections that are accepted from now on are encrypted, and if is_https speak HTTP/2. */
void front_tcp_set_clients(struct front_tcp *front, const struct netset *clients,
			   struct tls_server *tls, bool is_https);

/* Accept no more, read no more questions; those that have arrived are still answered, and for half
 * a second the first one of each connection that has not asked yet. */
void front_tcp_stop(struct front_tcp *front);

/* Close all connections, free. NULL is fine. */
void front_tcp_free(struct front_tcp *front);

#endif
