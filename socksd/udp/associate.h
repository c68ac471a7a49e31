/* SPDX-License-Identifier: ISC */
/*
 * A UDP association (RFC 1928, sections 6 and 7): the socket that a client sends to, the sockets
 * from which its datagrams leave (one of each family, opened when first needed; more where rules
 * send them out by several egresses), and what passes between them.
 *
 * - The client's socket has the address that the control connection came to, so that replies leave
 *   from where the client was told to send. Its datagrams may come from where udp-source says; the
 *   first valid one settles address and port for good. What others send there is dropped.
 * - Rules and guard judge each destination before the first datagram goes there, and each far end
 *   that the client has not written to before its first one comes in; again after a reload.
 * - The mapping is endpoint-independent (RFC 4787, section 4.1): whoever is sent to, by one egress,
 *   sees the same address and port. udp-filtering says whose datagrams come in.
 * - Nothing that comes in a datagram ends an association, only its session does. Errors by ICMP are
 *   not shown to sockets that are not connected, as these are.
 *
 * Thread: the worker's. No call comes out of this module.
 */
#ifndef SOCKSD_UDP_ASSOCIATE_H
#define SOCKSD_UDP_ASSOCIATE_H

#include "common/addr.h"

#include "socksd/context.h"

struct associate;

/* All borrowed; client and user for the life of the association, the rest for the call. */
struct associate_config {
	struct context *context;
	const struct listen_config *listen;
	const struct addr *client; /* peer of the control connection, folded */
	const void *user;          /* NULL: none */
	size_t user_len;
	const struct addr *local;            /* where the client reached us */
	const struct socks5_target *request; /* from where it says that it will send */
};

/* Begin. *ret_address is where the client is to send to. 0 with *ret_associate, owned by the
 * caller; or -errno, with *reterr_why, a static token. */
int associate_start(const struct associate_config *config, struct associate **ret_associate,
		    struct addr *ret_address, const char **reterr_why);

/* Close all sockets. NULL is fine. */
void associate_free(struct associate *a);

/* When a datagram last passed. */
uint64_t associate_moved_ms(const struct associate *a);

/* The configuration in the context is about to be replaced by `next`. */
void associate_reconfigure(struct associate *a, const struct config *next);

/* What has passed, without headers. */
struct associate_totals {
	uint64_t bytes_up;
	uint64_t bytes_down;
	uint64_t datagrams_up;
	uint64_t datagrams_down;
};

struct associate_totals associate_totals(const struct associate *a);

#define ASSOCIATE_DROPS_TEXT_MAX 512

/* What was dropped, as "stranger:3,denied:1"; "-" for nothing. Returns buf. */
const char *associate_drops(struct associate *a, char buf[ASSOCIATE_DROPS_TEXT_MAX]);

#endif
