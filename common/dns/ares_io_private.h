/* SPDX-License-Identifier: ISC */
/*
 * What the files of common/dns/ares_io share: channels and raw exchanges in ares_io.c, lookups and
 * the system's list of servers in ares_io_lookup.c.
 */
#ifndef COMMON_DNS_ARES_IO_PRIVATE_H
#define COMMON_DNS_ARES_IO_PRIVATE_H

#include "common/dns/ares_io.h"
#include "common/dns/vsock.h"
#include "common/freelist.h"

/* c-ares 1.34 marks the calls that 1.18 has as deprecated. */
#define CARES_NO_DEPRECATED
#include <ares.h>

#define ARES_IO_PORT 53

/* Channels of their own for what needs different options. */
enum channel_kind {
	CHANNEL_DATAGRAM, /* raw exchanges */
	CHANNEL_STREAM,   /* raw exchanges, those that were truncated or all of them */
	CHANNEL_HOSTS,    /* lookups in the hosts file */
	CHANNEL_DNS,      /* lookups */
	CHANNEL_KINDS,
};

struct channel {
	struct ares_io *io;
	ares_channel ares; /* NULL until it is needed */
	struct vsock_set set;
};

struct ares_io {
	struct ares_io_config config; /* its servers: the array below */
	struct addr servers[ARES_IO_SERVERS_MAX];

	struct channel channels[CHANNEL_KINDS];
	struct timer tick;
	size_t open_count;
	struct freelist spare_requests; /* without a copy of the query */
	unsigned inside;                /* calls into c-ares on the stack */
	bool dying;                     /* ares_io_free() was called */
	struct deferred deferred;
};

/* What a c-ares status means here. c-ares 1.18 calls several failures of the last server
 * ARES_ECONNREFUSED; the message that it is being shown, if any, tells them apart. */
enum ares_io_status ares_io_status_from_ares(int status, const struct vsock_message *shown);

/* The c-ares channel of this kind, made when it is first asked for. NULL when out of memory. */
ares_channel ares_io_channel(struct ares_io *io, enum channel_kind kind);

/* Have c-ares look for timeouts while requests are open. When there is no memory for the timer, the
 * next request tries again. */
void ares_io_arm_tick(struct ares_io *io);

/* Whether a new request may begin, and how it ends if not. */
enum ares_io_status ares_io_admit(const struct ares_io *io);

#endif
