/* SPDX-License-Identifier: ISC */
/*
 * What exchanges by DNSCrypt with one server need and bring to light: its certificates
 * (common/dns/dnscrypt_peer.h), and what comes of fetching them, in counters and the log. That a
 * server has none is said once, again when the reason changes or an hour later.
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_DNSCRYPT_SERVER_H
#define DNSPROXYD_UPSTREAM_DNSCRYPT_SERVER_H

#include "common/dns/dnscrypt_peer.h"
#include "common/metrics.h"

#include "dnsproxyd/upstream/endpoint.h"

struct dnscrypt_server {
	struct dnscrypt_peer *peer; /* for the transports */
	struct loop *loop;
	struct metrics *metrics;
	struct endpoint endpoint;
	enum dnscrypt_verdict last; /* that was logged, since the last good certificate */
	uint64_t logged_ms;
};

/* Must not be moved. 0 or -errno; done must be called in any case. */
int dnscrypt_server_init(struct dnscrypt_server *server, struct loop *loop, struct metrics *metrics,
			 const struct endpoint *endpoint, uint32_t timeout_ms);

/* After its transports are closed. */
void dnscrypt_server_done(struct dnscrypt_server *server);

#endif
