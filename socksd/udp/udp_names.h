/* SPDX-License-Identifier: ISC */
/*
 * The names that one association's datagrams go to. The first datagram for a name waits, in bounded
 * room, while it is looked up; those behind it find the address that was chosen. It is kept as long
 * as DNS gives it for that name (asked again through the resolver's cache, which honours the TTL,
 * UDP_NAMES_FRESH_MS after the last time), so that a conversation stays with one server. While that
 * is going on, and when DNS does not answer then, the address stays in use.
 *
 * IPv4 addresses are tried first: with UDP nobody notices a dead IPv6 path and falls back.
 *
 * Thread: the worker's.
 */
#ifndef SOCKSD_UDP_UDP_NAMES_H
#define SOCKSD_UDP_UDP_NAMES_H

#include "common/addr.h"
#include "common/loop.h"

#include "socksd/target/resolver.h"
#include "socksd/udp/udp_drops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	UDP_NAMES_MAX = 16,
	UDP_NAMES_WAITING_MAX = 16, /* datagrams, for all names */
	UDP_NAMES_WAITING_BYTES_MAX = 128 << 10,
	UDP_NAMES_FRESH_MS = 1000,
};

struct udp_names_ops {
	/* Whether the name may be asked for. */
	bool (*may_ask)(void *arg, const char *name, uint16_t port);
	/* Choose one of the addresses (of one family, with the port), and by which socket it is
	 * sent to: that is the name's own, whatever is used for the address otherwise. *chosen is
	 * the one in use so far, or AF_UNSPEC. UDP_DROP_COUNT when there is one; else why there is
	 * none, and what was chosen before stays in use as long as the other family is asked for.
	 */
	enum udp_drop (*choose)(void *arg, const char *name, const struct addr *addresses,
				size_t count, struct addr *chosen, uint8_t *ret_socket);
	/* A datagram that has waited: to be sent to `to`, or, when that is NULL, to be dropped for
	 * `why`. Not called from within udp_names_find(). */
	void (*ready)(void *arg, const struct addr *to, uint8_t socket, enum udp_drop why,
		      const uint8_t *bytes, size_t len);
};

struct udp_names;

/* All borrowed. `family`: AF_UNSPEC (both), AF_INET or AF_INET6. Returns owned, or NULL when out of
 * memory. */
struct udp_names *udp_names_new(struct resolver *resolver, struct loop *loop, int family,
				const struct udp_names_ops *ops, void *arg);

/* What waits is freed, without a call. NULL is fine. */
void udp_names_free(struct udp_names *names);

/* The rules, the family or the servers are other ones, or about to be: forget what has been chosen.
 * What is being asked for is asked for anew when it ends. */
void udp_names_reset(struct udp_names *names, int family);

enum udp_names_answer {
	UDP_NAMES_KNOWN, /* *ret_addr and *ret_socket */
	UDP_NAMES_WAIT,  /* the datagram has been copied, and comes back with `ready` */
	UDP_NAMES_DROP,  /* *ret_why */
};

/* Where a datagram for this name goes. */
enum udp_names_answer udp_names_find(struct udp_names *names, const char *name, uint16_t port,
				     const uint8_t *bytes, size_t len, struct addr *ret_addr,
				     uint8_t *ret_socket, enum udp_drop *ret_why);

#endif
