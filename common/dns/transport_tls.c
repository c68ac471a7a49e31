/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_tls.h"

#include "common/clock.h"
#include "common/dns/transport_stream.h"

#include <errno.h>

enum {
	/* A handshake costs more than a connection that is kept, but servers have many clients. */
	IDLE_MS = 30000,
	IDLE_MAX_MS = 120000,
};

struct tls *tls_peer_connect(struct tls_peer *peer)
{
	const struct tls_time time = tls_time_judge((int64_t)(clock_wall_ms() / 1000));

	return tls_connect(peer->client, &time);
}

void tls_peer_note_failure(struct tls_peer *peer, const struct tls *tls)
{
	if (tls_error(tls) != TLS_OK && peer->on_refused) {
		peer->on_refused(peer->arg, tls_error(tls), tls_error_detail(tls));
	}
}

uint64_t tls_peer_idle_ms(const struct tls_peer *peer)
{
	if (peer->idle_ms == TLS_PEER_IDLE_UNKNOWN) {
		return IDLE_MS;
	}
	return peer->idle_ms < IDLE_MAX_MS ? peer->idle_ms : IDLE_MAX_MS;
}

static uint64_t dot_idle_ms(const struct transport_config *config)
{
	return tls_peer_idle_ms(config->peer);
}

static struct stream_layer *dot_make_layer(const struct transport_config *config)
{
	struct tls *tls = tls_peer_connect(config->peer);

	return tls ? tls_layer(tls) : NULL;
}

static void dot_on_open(const struct transport_config *config, struct stream_layer *layer)
{
	struct tls_peer *peer = config->peer;

	if (peer->on_open) {
		peer->on_open(peer->arg, tls_of(layer));
	}
}

static void dot_on_failed(const struct transport_config *config, struct stream_layer *layer)
{
	tls_peer_note_failure(config->peer, tls_of(layer));
}

static const struct stream_kind dot_kind = {
	.ops = &transport_tls,
	.make_layer = dot_make_layer,
	.on_open = dot_on_open,
	.on_failed = dot_on_failed,
	.idle_ms = dot_idle_ms,
};

static struct transport *dot_open(const struct transport_config *config,
				  const struct transport_user *user_ops, void *user)
{
	return stream_transport_open(&dot_kind, config, user_ops, user);
}

const struct transport_ops transport_tls = {
	.name = "tls",
	.socket_type = SOCK_STREAM,
	.open = dot_open,
	.send = stream_transport_send,
	.flush = stream_transport_flush,
	.close = stream_transport_close,
};
