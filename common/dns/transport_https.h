/* SPDX-License-Identifier: ISC */
/*
 * DNS over HTTPS as a transport (RFC 8484): messages are POSTed with id 0 over one HTTP/2
 * connection, answers come in any order. When the server ends the connection in good order (GOAWAY)
 * what it has not looked at goes over another one, while the rest is waited for. A server that
 * answers nothing is asked for a sign of life (PING) before it is given up.
 *
 * Whatever is no DNS message that answers the question (redirects and other HTTP errors, another
 * content type) fails that message alone. TTLs are shortened by the time that a message spent in
 * HTTP caches.
 */
#ifndef COMMON_DNS_TRANSPORT_HTTPS_H
#define COMMON_DNS_TRANSPORT_HTTPS_H

#include "common/dns/transport_tls.h"

/* What transport_config.peer points to. */
struct https_peer {
	struct tls_peer *tls;  /* its client asks for, and requires, the protocol "h2" */
	const char *authority; /* host name, or address, and port if it is not 443; borrowed */
	const char *path;      /* "/dns-query"; borrowed */
	/* A response was no success. May be NULL. No call of the transport from within. */
	void (*on_http_error)(void *arg, unsigned status);
	void *arg;
};

extern const struct transport_ops transport_https;

#endif
