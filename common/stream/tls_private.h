/* SPDX-License-Identifier: ISC */
/*
 * What the files of common/stream/tls share: connections and contexts in tls.c, certificates in
 * tls_certificate.c.
 */
#ifndef COMMON_STREAM_TLS_PRIVATE_H
#define COMMON_STREAM_TLS_PRIVATE_H

#include "common/stream/tls.h"

#include <openssl/ssl.h>

/* Sessions kept by a client: as many as connections may begin at once. */
#define TLS_SESSIONS_MAX  4
/* Longest name of a protocol, with the final NUL. */
#define TLS_ALPN_TEXT_MAX 16

struct tls_trust {
	X509_STORE *store;
};

struct tls_client {
	unsigned owner_count;
	SSL_CTX *ctx;
	char *name;
	struct addr address;
	bool checks_chain;
	bool alpn_required;
	struct tls_pin *pins;
	size_t pin_count;
	SSL_SESSION *sessions[TLS_SESSIONS_MAX]; /* the newest last */
	size_t session_count;
};

struct tls {
	struct stream_layer layer;
	SSL *ssl;
	struct tls_client *client; /* owned, until the handshake is over; NULL: we are the server */
	struct tls_server *server; /* owned, for OpenSSL asks it in the handshake; NULL: a client */
	enum tls_error error;
	const char *detail;
	char alpn[TLS_ALPN_TEXT_MAX];
	int64_t early_until_s;
	bool is_early;
	bool wants_write;
	bool is_drained; /* the last read took all that was there */
	bool is_over;    /* no close_notify: it failed */
};

/* Called by OpenSSL in place of its own check of the server's certificate. 1: it is good; else 0
 * and the connection's error is set. */
int tls_check_certificate(X509_STORE_CTX *store, void *arg);

/* As tls_server_name(). */
bool tls_certificate_name(X509 *certificate, char ret_name[TLS_NAME_MAX]);

/* Who the server must be, as parameters of the check of the chain. False when out of memory. */
bool tls_set_identity(const struct tls_client *client, SSL_CTX *ctx);

#endif
