/* SPDX-License-Identifier: ISC */
/*
 * DNS over TLS as a transport (RFC 7858): transport_tls is transport_tcp with TLS between. What it
 * has to know of the server, and tells about it, is its struct tls_peer, which all connections to
 * this server on this thread share; transport_config.peer points to it. DNS over HTTPS begins with
 * one too.
 */
#ifndef COMMON_DNS_TRANSPORT_TLS_H
#define COMMON_DNS_TRANSPORT_TLS_H

#include "common/dns/transport.h"
#include "common/stream/tls.h"

/* The server has not said how long connections may be idle. */
#define TLS_PEER_IDLE_UNKNOWN UINT32_MAX

struct tls_peer {
	struct tls_client *client; /* borrowed */
	/* How long the server keeps idle connections (RFC 7828), kept current by the user. 0: they
	 * are closed as soon as nothing is open. */
	uint32_t idle_ms;
	/* A handshake is done, or the server is not who it should be or speaks no TLS: not called
	 * when it merely cannot be reached. No call of the transport from within. */
	void (*on_open)(void *arg, const struct tls *tls);
	void (*on_refused)(void *arg, enum tls_error error, const char *detail);
	void *arg;
};

/* The layer for one more connection, certificates judged as of now. Returns owned, or NULL with
 * errno. For this transport and others over TLS. */
struct tls *tls_peer_connect(struct tls_peer *peer);

/* Tell the peer's user why there is no connection, if TLS is why. */
void tls_peer_note_failure(struct tls_peer *peer, const struct tls *tls);

/* How long a connection without open messages stays: as the server says, within limits. */
uint64_t tls_peer_idle_ms(const struct tls_peer *peer);

extern const struct transport_ops transport_tls;

#endif
