/* SPDX-License-Identifier: ISC */
/*
 * What associate.c (the client's side, and the life of an association) and associate_targets.c (who
 * may be reached, and by which socket) know of each other. For nobody else.
 */
#ifndef SOCKSD_UDP_ASSOCIATE_PRIVATE_H
#define SOCKSD_UDP_ASSOCIATE_PRIVATE_H

#include "socksd/protocol/fragments.h"
#include "socksd/udp/associate.h"
#include "socksd/udp/udp_drops.h"
#include "socksd/udp/udp_names.h"
#include "socksd/udp/udp_peers.h"
#include "socksd/udp/udp_rate.h"

#include <stdbool.h>

enum {
	ASSOCIATE_TARGETS_MAX = 4, /* sockets by which datagrams leave */
};

/* A socket, and how many datagrams the kernel had dropped there when last asked. */
struct associate_port {
	struct watch watch;
	uint32_t drops;
};

struct associate_target {
	struct associate_port port;
	struct associate *associate;
	int family;
	const struct egress *egress; /* NULL: as the routes say */
};

struct associate {
	/* constant */
	struct context *context;
	const struct addr *client;
	const void *user;
	size_t user_len;
	enum listen_udp_source source;
	bool takes_fragments;
	/* live */
	struct addr sender; /* where the client's datagrams come from; port 0: not settled yet */
	bool shielded;
	struct associate_port port; /* the client sends there */
	struct associate_target targets[ASSOCIATE_TARGETS_MAX];
	unsigned slots; /* claimed from the server */
	struct udp_peers *peers;
	struct udp_names *names; /* NULL: none yet */
	struct fragments *fragments;
	struct timer fragments_timer;
	struct udp_rate rate_up;
	struct udp_rate rate_down;
	uint64_t moved_ms;
	uint64_t sampled_ms;
	struct associate_totals totals;
	uint64_t drops[UDP_DROP_COUNT];
	struct deferred deferred;
};

/* --- associate.c --- */

uint64_t associate_now_ms(const struct associate *a);

/* Datagrams go no further. */
void associate_count_drops(struct associate *a, enum udp_drop why, uint64_t amount);
void associate_drop(struct associate *a, enum udp_drop why);

/* Send what is queued towards targets. */
void associate_flush_up(struct associate *a);

/* The callback of the sockets towards targets. */
void associate_on_target_ready(struct watch *watch, uint32_t events);

/* --- associate_targets.c --- */

/* A descriptor more is wanted: whether there is room for it. */
bool associate_have_slot(struct associate *a);

/* Ask rules and guard about a far end; `name` is what it was asked for by, or NULL. */
bool associate_is_allowed(const struct associate *a, const char *name, const struct addr *far,
			  const struct egress **ret_egress);

/* Queue a datagram for a target, or drop it. */
void associate_send(struct associate *a, const struct addr *to, const uint8_t *bytes, size_t len);
void associate_send_to_name(struct associate *a, const char *name, uint16_t port,
			    const uint8_t *bytes, size_t len);

/* The part of associate_reconfigure(). */
void associate_reconfigure_targets(struct associate *a, const struct config *next);

#endif
