/* SPDX-License-Identifier: ISC */
/*
 * What the transports by stream have in common, with TLS or without: messages with their length
 * before them, any number under way, answers in any order (RFC 7766), a watchdog for silent peers,
 * the end of idle connections. A kind says what lies on the socket and how long it may be idle.
 */
#ifndef COMMON_DNS_TRANSPORT_STREAM_H
#define COMMON_DNS_TRANSPORT_STREAM_H

#include "common/dns/transport.h"
#include "common/stream/stream.h"

struct stream_kind {
	const struct transport_ops *ops;
	/* What lies between messages and socket. Returns owned, or NULL with errno. NULL: nothing.
	 */
	struct stream_layer *(*make_layer)(const struct transport_config *config);
	/* The handshake is done, or there is no connection (any more). May be NULL. */
	void (*on_open)(const struct transport_config *config, struct stream_layer *layer);
	void (*on_failed)(const struct transport_config *config, struct stream_layer *layer);
	/* How long a connection stays on which nothing happens and nothing is open. */
	uint64_t (*idle_ms)(const struct transport_config *config);
};

/* As the functions of struct transport_ops. */
struct transport *stream_transport_open(const struct stream_kind *kind,
					const struct transport_config *config,
					const struct transport_user *user_ops, void *user);
int stream_transport_send(struct transport *transport, const uint8_t *msg, size_t len);
void stream_transport_flush(struct transport *transport);
void stream_transport_close(struct transport *transport);

#endif
