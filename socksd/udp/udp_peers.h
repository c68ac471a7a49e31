/* SPDX-License-Identifier: ISC */
/*
 * The far ends of one association: what the rules said of each address and port, so that they are
 * asked once and not for every datagram, and which ones the client has sent to, which the filtering
 * of RFC 4787 section 5 goes by.
 *
 * Bounded: it grows to max_peers; then those used least recently give way, and those that the
 * client has never sent to never take the place of one that it has.
 *
 * Pure; the key of its hash is given, since addresses come from strangers. Not thread-safe.
 */
#ifndef SOCKSD_UDP_UDP_PEERS_H
#define SOCKSD_UDP_UDP_PEERS_H

#include "common/addr.h"
#include "common/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose datagrams reach the client; the words are those of the key udp-filtering. */
enum udp_filtering {
	UDP_FILTERING_ENDPOINT_INDEPENDENT, /* anybody's */
	UDP_FILTERING_ADDRESS,              /* from addresses that it has sent to */
	UDP_FILTERING_ADDRESS_AND_PORT,
};

enum udp_verdict {
	UDP_VERDICT_NONE,
	UDP_VERDICT_ALLOWED,
	UDP_VERDICT_DENIED,
};

struct udp_peer {
	struct addr addr; /* with port; port 0: stands for the whole address */
	uint8_t verdict;  /* the caller's: enum udp_verdict, on the address as such */
	uint8_t socket;   /* the caller's: from which socket it is sent to */
	bool contacted;   /* the client has sent there */
	uint64_t used_ms; /* when it last did, or when it was judged */
	uint64_t noted_ms;
};

struct udp_peers_config {
	size_t max_peers; /* at least 8 */
	uint64_t life_ms; /* what has not been used for so long is forgotten */
	enum udp_filtering filtering;
};

struct udp_peers;

/* `key` is borrowed. Returns owned, or NULL when out of memory. */
struct udp_peers *udp_peers_new(const struct udp_peers_config *config,
				const struct crypto_key *key);

/* NULL is fine. */
void udp_peers_free(struct udp_peers *peers);

/* The rules have changed: forget everything. */
void udp_peers_clear(struct udp_peers *peers);

/* What is known about an address and port, or NULL. Valid until the next call of any function. */
struct udp_peer *udp_peers_find(struct udp_peers *peers, const struct addr *addr, uint64_t now_ms);

/* The same, but made when there is none. `contacted`: the client is about to send there. Without it
 * there may be no room: then NULL, and the address must be judged again the next time. */
struct udp_peer *udp_peers_add(struct udp_peers *peers, const struct addr *addr, bool contacted,
			       uint64_t now_ms);

/* The client sends there. The entry is not valid afterwards. */
void udp_peers_contact(struct udp_peers *peers, struct udp_peer *peer, uint64_t now_ms);

/* Whether the filtering lets a datagram from there pass; the verdict is another matter. */
bool udp_peers_pass(struct udp_peers *peers, const struct addr *from, uint64_t now_ms);

/* Entries in memory, the forgotten ones included. */
size_t udp_peers_capacity(const struct udp_peers *peers);

#endif
