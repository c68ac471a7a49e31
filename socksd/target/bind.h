/* SPDX-License-Identifier: ISC */
/*
 * Waits for a peer to connect, as a BIND request asks (RFC 1928 section 6). The name in the request
 * is resolved, the addresses are judged, then a socket listens, and only then the caller learns
 * where: who is told to connect there finds it open. A peer that is not expected
 * (expected_peer.h), or not allowed, is reset, and the wait goes on: strangers cannot spoil it. The
 * first that is both ends it, and the listening socket is closed.
 *
 * The socket is bound to the address from which the host, or the egress, would reach the peer; for
 * a peer not known before, to all addresses of the family, unless the egress names one.
 *
 * A bind that waits owns one descriptor. Running out of descriptors ends it; it never spins.
 *
 * Thread: the worker's. There is no timer for the whole: the owner cancels.
 */
#ifndef SOCKSD_TARGET_BIND_H
#define SOCKSD_TARGET_BIND_H

#include "common/addr.h"
#include "common/loop.h"

#include "socksd/protocol/socks5.h"
#include "socksd/rules/egress.h"
#include "socksd/target/resolver.h"

#include <stdbool.h>
#include <stdint.h>

/* How a bind ended: X(name, "token"). */
#define BIND_OUTCOMES(X)                                                                \
	X(CONNECTED, "connected")   /* the peer has come */                             \
	X(DENIED, "denied")         /* rules or guard; `why` says by what */            \
	X(UNRESOLVED, "unresolved") /* the name has no address; `why` says how so */    \
	X(NO_SOCKET, "no_socket")   /* this host cannot listen there; `why` says why */ \
	X(LOST, "lost")             /* it listened, and cannot accept any more */

#define BIND_OUTCOME_ENUM(name, token) BIND_##name,
enum bind_outcome {
	BIND_OUTCOMES(BIND_OUTCOME_ENUM)
};
#undef BIND_OUTCOME_ENUM

const char *bind_outcome_name(enum bind_outcome outcome);

struct bind_result {
	enum bind_outcome outcome;
	enum socks5_reply reply; /* SOCKS5_SUCCEEDED: the peer has come */
	const char *why;         /* static token */
	int fd;                  /* the peer's connection: owned by the callee; -1: none */
	struct addr peer;        /* folded */
};

struct bind;

/* The callbacks. None is called from within bind_start(), and none but `allowed` and
 * `egress_failed` more than once, strangers apart. A callback may call bind_cancel(). */
struct bind_ops {
	/* Whether this peer is allowed, with the address as far as it is known: that in the request
	 * before listening, 0.0.0.0 or :: for anybody, and each that has come and was expected. As
	 * in struct dial_config. */
	bool (*allowed)(void *arg, const struct addr *a, const struct egress **ret_egress,
			const char **ret_why);
	/* The egress cannot be used: `error` is a positive errno. */
	void (*egress_failed)(void *arg, const struct egress *egress, int error);
	/* Peers that connect to this address from now on are looked at. */
	void (*listening)(void *arg, const struct addr *announced);
	/* Somebody else has connected and was reset; `why` is "unexpected" or that of `allowed`. */
	void (*stranger)(void *arg, const struct addr *peer, const char *why);
	/* The end; the bind is gone after it. */
	void (*done)(void *arg, const struct bind_result *result);
};

struct bind_config {
	struct loop *loop;
	struct resolver *resolver; /* NULL: for requests with addresses only */
	int family; /* which addresses of a name to use: AF_UNSPEC, AF_INET, AF_INET6 */
	struct addr client_side; /* our end of the control connection: its family is preferred,
				    its address announced when no route tells a better one */
	struct addr public_ipv4; /* announced instead of our own address; AF_UNSPEC: none */
	struct addr public_ipv6;
	uint16_t first_port; /* 0: any port */
	uint16_t last_port;
};

/* Begin. Config and target are copied, ops is borrowed. Returns a handle that is valid until done
 * is called, or NULL when out of memory. */
struct bind *bind_start(const struct bind_config *config, const struct socks5_target *target,
			const struct bind_ops *ops, void *arg);

/* Give up, close the listening socket; no callback is called. NULL is fine. */
void bind_cancel(struct bind *b);

#endif
