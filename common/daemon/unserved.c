/* SPDX-License-Identifier: ISC */
#include "common/daemon/unserved.h"

#include "common/container.h"
#include "common/daemon/listener.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	DATAGRAMS_PER_TURN = 64,
};

/* One for each passed socket. */
struct slot {
	struct unserved *owner;
	const struct listen_inherited *inherited;
	struct listener *listener; /* TCP, being refused */
	struct watch watch;        /* UDP, the same; the descriptor is the set's */
};

struct unserved {
	struct loop *loop;
	const struct listen_set *set;
	uint64_t count;
	struct log_limit log;
	struct slot slots[LISTEN_INHERITED_MAX];
};

static void note(struct slot *slot, const struct addr *peer)
{
	struct unserved *u = slot->owner;
	uint32_t suppressed;

	u->count++;
	if (log_limit_ok(&u->log, loop_now_ms(u->loop), &suppressed)) {
		log_event(LOG_LEVEL_WARNING, "passed-socket-refused",
			  KV_ADDR("address", &slot->inherited->want.addr), KV_ADDR("client", peer),
			  KV_UINT("suppressed", suppressed));
	}
}

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(fd);
	note(arg, peer);
}

/* Without descriptors connections wait; nothing of ours depends on them. */
static void on_event(void *arg, enum listener_event event, int error)
{
	(void)arg;
	(void)event;
	(void)error;
}

static void on_datagrams(struct watch *watch, uint32_t events)
{
	struct slot *slot = container_of(watch, struct slot, watch);

	(void)events;
	for (int i = 0; i < DATAGRAMS_PER_TURN; i++) {
		struct addr peer = { 0 };
		socklen_t len = sizeof peer;

		if (recvfrom(watch->fd, NULL, 0, MSG_TRUNC, &peer.sa, &len) < 0) {
			if (errno == EAGAIN) {
				return;
			}
			continue; /* an error that was reported to the socket */
		}
		note(slot, &peer);
	}
}

static bool is_served(const struct listen_set *set, const struct listen_inherited *inherited)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct listen_want *want = &set->sockets[i].want;

		if (!set->sockets[i].gone && want->type == inherited->want.type &&
		    addr_equal(&want->addr, &inherited->want.addr)) {
			return true;
		}
	}
	return false;
}

static bool is_refused(const struct slot *slot)
{
	return slot->listener || watch_active(&slot->watch);
}

/* 0 or -errno. */
static int refuse(struct slot *slot)
{
	static const struct listener_ops ops = { .on_accept = on_accept, .on_event = on_event };
	struct loop *loop = slot->owner->loop;
	int fd = slot->inherited->fd;

	if (slot->inherited->want.type == SOCK_DGRAM) {
		return watch_start(&slot->watch, loop, fd, LOOP_READ, on_datagrams);
	}
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		return -errno;
	}
	slot->listener = listener_start(loop, fd, &ops, slot);
	return slot->listener ? 0 : -errno;
}

static void leave(struct slot *slot)
{
	listener_free(slot->listener);
	slot->listener = NULL;
	watch_stop(&slot->watch);
}

static void begin(struct slot *slot)
{
	int r = refuse(slot);

	log_event(LOG_LEVEL_WARNING, "passed-socket-unused",
		  KV_ADDR("address", &slot->inherited->want.addr),
		  KV_TEXT("why", "no [listen] section has this address"));
	if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "passed-socket-waits",
			  KV_ADDR("address", &slot->inherited->want.addr), KV_ERRNO("error", -r));
	}
}

void unserved_update(struct unserved *u)
{
	for (size_t i = 0; i < u->set->inherited_count; i++) {
		struct slot *slot = &u->slots[i];
		bool served = is_served(u->set, &u->set->inherited[i]);

		slot->owner = u;
		slot->inherited = &u->set->inherited[i];
		if (served) {
			leave(slot);
		} else if (!is_refused(slot)) {
			begin(slot);
		}
	}
}

struct unserved *unserved_new(struct loop *loop, const struct listen_set *set)
{
	struct unserved *u = calloc(1, sizeof *u);

	if (u) {
		u->loop = loop;
		u->set = set;
	}
	return u;
}

uint64_t unserved_count(const struct unserved *u)
{
	return u->count;
}

void unserved_free(struct unserved *u)
{
	if (!u) {
		return;
	}
	for (size_t i = 0; i < u->set->inherited_count; i++) {
		leave(&u->slots[i]);
	}
	free(u);
}
