/* SPDX-License-Identifier: ISC */
#include "socksd/udp/udp_peers.h"

#include <stdlib.h>
#include <string.h>

enum {
	WAYS = 8,      /* entries that share a place of the hash */
	NOTE_MS = 500, /* how stale the entry of a whole address may be */
};

/* A free entry is of family AF_UNSPEC. */
struct udp_peers {
	struct udp_peers_config config;
	const struct crypto_key *key;
	struct udp_peer *entries;
	size_t set_count;      /* a power of two */
	struct udp_peer *last; /* found or added last */
};

struct udp_peers *udp_peers_new(const struct udp_peers_config *config, const struct crypto_key *key)
{
	struct udp_peers *peers = calloc(1, sizeof *peers);

	if (!peers) {
		return NULL;
	}
	peers->config = *config;
	peers->key = key;
	peers->set_count = 1;
	peers->entries = calloc(WAYS, sizeof *peers->entries);
	if (!peers->entries) {
		free(peers);
		return NULL;
	}
	return peers;
}

void udp_peers_free(struct udp_peers *peers)
{
	if (peers) {
		free(peers->entries);
		free(peers);
	}
}

void udp_peers_clear(struct udp_peers *peers)
{
	memset(peers->entries, 0, peers->set_count * WAYS * sizeof *peers->entries);
	peers->last = NULL;
}

size_t udp_peers_capacity(const struct udp_peers *peers)
{
	return peers->set_count * WAYS;
}

/* --- the table ------------------------------------------------------------------------------- */

static struct udp_peer *set_of(const struct udp_peers *peers, struct udp_peer *entries,
			       size_t set_count, const struct addr *addr)
{
	uint8_t bytes[22] = { 0 };
	size_t len = 18;

	if (addr->sa.sa_family == AF_INET6) {
		memcpy(bytes, &addr->in6.sin6_addr, 16);
		memcpy(bytes + 18, &addr->in6.sin6_scope_id, 4);
		len = sizeof bytes;
	} else {
		memcpy(bytes, &addr->in4.sin_addr, 4);
	}
	memcpy(bytes + 16, &addr->in4.sin_port, 2); /* at the same place in both families */
	return entries + (crypto_siphash(peers->key, bytes, len) & (set_count - 1)) * WAYS;
}

static bool is_live(const struct udp_peers *peers, const struct udp_peer *peer, uint64_t now_ms)
{
	return peer->addr.sa.sa_family != AF_UNSPEC &&
	       now_ms < peer->used_ms + peers->config.life_ms;
}

struct udp_peer *udp_peers_find(struct udp_peers *peers, const struct addr *addr, uint64_t now_ms)
{
	struct udp_peer *set;

	if (peers->last && addr_equal(&peers->last->addr, addr) &&
	    is_live(peers, peers->last, now_ms)) {
		return peers->last;
	}
	set = set_of(peers, peers->entries, peers->set_count, addr);
	for (size_t i = 0; i < WAYS; i++) {
		if (is_live(peers, &set[i], now_ms) && addr_equal(&set[i].addr, addr)) {
			peers->last = &set[i];
			return &set[i];
		}
	}
	return NULL;
}

/* The entry of a set to be used next: a free one, else the one unused for longest, those that the
 * client has not sent to first. */
static struct udp_peer *weakest(const struct udp_peers *peers, struct udp_peer *set,
				uint64_t now_ms)
{
	struct udp_peer *found = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		if (!is_live(peers, &set[i], now_ms)) {
			return &set[i];
		}
		if (set[i].contacted != found->contacted ? found->contacted
							 : set[i].used_ms < found->used_ms) {
			found = &set[i];
		}
	}
	return found;
}

/* Twice the room, when that is allowed and to be had. */
static void grow(struct udp_peers *peers, uint64_t now_ms)
{
	size_t set_count = peers->set_count * 2;
	struct udp_peer *entries;

	if (set_count * WAYS > peers->config.max_peers) {
		return;
	}
	entries = calloc(set_count * WAYS, sizeof *entries);
	if (!entries) {
		return;
	}
	for (size_t i = 0; i < peers->set_count * WAYS; i++) {
		const struct udp_peer *old = &peers->entries[i];

		if (is_live(peers, old, now_ms)) {
			*weakest(peers, set_of(peers, entries, set_count, &old->addr), now_ms) =
				*old;
		}
	}
	free(peers->entries);
	peers->entries = entries;
	peers->set_count = set_count;
	peers->last = NULL;
}

/* An entry for an address that has none. */
static struct udp_peer *insert(struct udp_peers *peers, const struct addr *addr, bool contacted,
			       uint64_t now_ms)
{
	struct udp_peer *place =
		weakest(peers, set_of(peers, peers->entries, peers->set_count, addr), now_ms);

	if (is_live(peers, place, now_ms)) {
		grow(peers, now_ms);
		place = weakest(peers, set_of(peers, peers->entries, peers->set_count, addr),
				now_ms);
	}
	if (is_live(peers, place, now_ms) && place->contacted && !contacted) {
		return NULL;
	}
	*place = (struct udp_peer){ .addr = *addr, .contacted = contacted, .used_ms = now_ms };
	peers->last = place;
	return place;
}

struct udp_peer *udp_peers_add(struct udp_peers *peers, const struct addr *addr, bool contacted,
			       uint64_t now_ms)
{
	struct udp_peer *peer = udp_peers_find(peers, addr, now_ms);

	return peer ? peer : insert(peers, addr, contacted, now_ms);
}

/* Under the filtering by address there is an entry for the whole address besides. It is looked
 * after now and then only, not for every datagram. */
static void contact_address(struct udp_peers *peers, const struct addr *addr, uint64_t now_ms)
{
	struct addr whole = *addr;
	struct udp_peer *entry;

	addr_set_port(&whole, 0);
	entry = udp_peers_find(peers, &whole, now_ms);
	entry = entry ? entry : insert(peers, &whole, true, now_ms);
	entry->used_ms = now_ms;
}

void udp_peers_contact(struct udp_peers *peers, struct udp_peer *peer, uint64_t now_ms)
{
	bool noted = peer->noted_ms != 0 && now_ms - peer->noted_ms < NOTE_MS;

	peer->contacted = true;
	peer->used_ms = now_ms;
	if (peers->config.filtering == UDP_FILTERING_ADDRESS && !noted) {
		peer->noted_ms = now_ms;
		contact_address(peers, &peer->addr, now_ms);
	}
}

bool udp_peers_pass(struct udp_peers *peers, const struct addr *from, uint64_t now_ms)
{
	struct addr wanted = *from;
	const struct udp_peer *peer;

	if (peers->config.filtering == UDP_FILTERING_ENDPOINT_INDEPENDENT) {
		return true;
	}
	if (peers->config.filtering == UDP_FILTERING_ADDRESS) {
		addr_set_port(&wanted, 0);
	}
	peer = udp_peers_find(peers, &wanted, now_ms);
	return peer && peer->contacted;
}
