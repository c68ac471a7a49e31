/* SPDX-License-Identifier: ISC */
/*
 * What connections by TLS to one server need and bring to light: whom its certificate must be for,
 * tickets to resume sessions, and when it is not who it should be, a counter and one line in the
 * log (another one only when the reason changes, or an hour later).
 *
 * Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_ENCRYPTION_H
#define DNSPROXYD_UPSTREAM_ENCRYPTION_H

#include "common/dns/transport_tls.h"
#include "common/metrics.h"

#include "dnsproxyd/config.h"

struct encryption {
	struct tls_peer peer; /* for the transports */
	struct loop *loop;
	struct metrics *metrics;
	struct endpoint endpoint;
	enum tls_error last; /* that was logged, since the last good handshake */
	uint64_t logged_ms;
	bool is_early; /* said that the certificate is not valid yet */
};

/* For connections to this server (one with certificates as TLS has them), whose protocol over TLS
 * is alpn (which it must know when that is required). Everything is copied, or counted by
 * reference. Must not be moved. 0 or -errno; done must be called in any case. */
int encryption_init(struct encryption *encryption, struct loop *loop, struct metrics *metrics,
		    const struct endpoint *endpoint, const struct security_config *security,
		    const char *alpn, bool alpn_required);

/* After its transports are closed. */
void encryption_done(struct encryption *encryption);

/* The server has said how long it keeps idle connections, in units of 100 ms (RFC 7828). */
void encryption_note_keepalive(struct encryption *encryption, uint16_t keepalive);

#endif
