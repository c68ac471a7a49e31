/* SPDX-License-Identifier: ISC */
#include "common/dns/transport_stream.h"

enum {
	/* So many timeouts without traffic, and an idle connection is closed (RFC 7766
	 * section 6.2.3). */
	IDLE_TIMEOUTS = 5,
};

static uint64_t tcp_idle_ms(const struct transport_config *config)
{
	return (uint64_t)config->timeout_ms * IDLE_TIMEOUTS;
}

static const struct stream_kind tcp_kind = {
	.ops = &transport_tcp,
	.idle_ms = tcp_idle_ms,
};

static struct transport *tcp_open(const struct transport_config *config,
				  const struct transport_user *user_ops, void *user)
{
	return stream_transport_open(&tcp_kind, config, user_ops, user);
}

const struct transport_ops transport_tcp = {
	.name = "tcp",
	.socket_type = SOCK_STREAM,
	.open = tcp_open,
	.send = stream_transport_send,
	.flush = stream_transport_flush,
	.close = stream_transport_close,
};
