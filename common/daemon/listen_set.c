/* SPDX-License-Identifier: ISC */
#include "common/daemon/listen_set.h"

#include "common/daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	RETRIES = 50,
	RETRY_MS = 50,
};

static bool same_want(const struct listen_want *a, const struct listen_want *b)
{
	return a->type == b->type && addr_equal(&a->addr, &b->addr);
}

static bool is_wanted(const struct listen_want *wants, size_t count, const struct listen_want *want)
{
	for (size_t i = 0; i < count; i++) {
		if (same_want(&wants[i], want)) {
			return true;
		}
	}
	return false;
}

static bool is_held(const struct listen_set *set, const struct listen_want *want)
{
	for (size_t i = 0; i < set->count; i++) {
		if (!set->sockets[i].gone && same_want(&set->sockets[i].want, want)) {
			return true;
		}
	}
	return false;
}

static void close_socket(struct listen_socket *socket, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++) {
		if (socket->fds[i] >= 0) {
			close(socket->fds[i]);
		}
	}
	free(socket->fds);
}

static struct listen_inherited *find_inherited(struct listen_set *set,
					       const struct listen_want *want)
{
	for (size_t i = 0; i < set->inherited_count; i++) {
		if (same_want(&set->inherited[i].want, want)) {
			return &set->inherited[i];
		}
	}
	return NULL;
}

/* One more descriptor of an inherited socket. 0 or -errno. */
static int share(struct listen_inherited *inherited, int *ret_fd)
{
	int fd = fcntl(inherited->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0) {
		return -errno;
	}
	*ret_fd = fd;
	return 0;
}

static int bind_one(struct listen_socket *socket, int *ret_fd)
{
	return socket->want.type == SOCK_STREAM ? listener_bind_tcp(&socket->want.addr, ret_fd)
						: listener_bind_udp(&socket->want.addr, ret_fd);
}

/* Whether the set holds the same port on all addresses and one address is wanted, or the other way
 * round. SO_REUSEPORT lets both be bound until the one is swept, but a probe would fail. */
static bool overlaps_held(const struct listen_set *set, const struct listen_want *want)
{
	bool wildcard = addr_scope(&want->addr) == ADDR_UNSPECIFIED;

	for (size_t i = 0; i < set->count; i++) {
		const struct listen_want *held = &set->sockets[i].want;

		if (held->type == want->type &&
		    held->addr.sa.sa_family == want->addr.sa.sa_family &&
		    addr_port(&held->addr) == addr_port(&want->addr) &&
		    (wildcard || addr_scope(&held->addr) == ADDR_UNSPECIFIED)) {
			return true;
		}
	}
	return false;
}

static int open_socket(struct listen_set *set, const struct listen_want *want,
		       struct listen_socket *ret_socket)
{
	struct listen_socket socket = { .want = *want };
	struct listen_inherited *inherited = find_inherited(set, want);
	bool ours = inherited || overlaps_held(set, want);
	int r = ours ? 0 : listener_probe(&want->addr, want->type);

	if (r < 0) {
		return r;
	}
	socket.fds = malloc(set->workers * sizeof *socket.fds);
	if (!socket.fds) {
		return -ENOMEM;
	}
	for (unsigned i = 0; i < set->workers; i++) {
		socket.fds[i] = -1;
	}
	for (unsigned i = 0; i < set->workers && r >= 0; i++) {
		r = inherited ? share(inherited, &socket.fds[i])
			      : bind_one(&socket, &socket.fds[i]);
		socket.late = r == LISTENER_LATE;
	}
	if (r < 0) {
		close_socket(&socket, set->workers);
		return r;
	}
	*ret_socket = socket;
	return 0;
}

/* A UDP port may be the random source port of one of our own queries, for a second or two. Nobody
 * has workers that ask before the first update. */
static int open_patiently(struct listen_set *set, const struct listen_want *want, bool first,
			  struct listen_socket *ret_socket)
{
	const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };
	int r = open_socket(set, want, ret_socket);

	for (int i = 0; i < RETRIES && r == -EADDRINUSE && want->type == SOCK_DGRAM && !first;
	     i++) {
		nanosleep(&pause, NULL);
		r = open_socket(set, want, ret_socket);
	}
	return r;
}

/* Append the wanted sockets that the set does not hold. */
static int add_missing(struct listen_set *set, const struct listen_want *wants, size_t count,
		       struct addr *reterr_addr)
{
	bool first = set->count == 0;

	for (size_t i = 0; i < count; i++) {
		int r;

		if (is_held(set, &wants[i])) {
			continue;
		}
		r = open_patiently(set, &wants[i], first, &set->sockets[set->count]);
		if (r < 0) {
			*reterr_addr = wants[i].addr;
			return r;
		}
		set->count++;
	}
	return 0;
}

int listen_set_update(struct listen_set *set, const struct listen_want *wants, size_t count,
		      struct addr *reterr_addr)
{
	size_t old_count = set->count;
	struct listen_socket *sockets =
		realloc(set->sockets, (old_count + count + 1) * sizeof *sockets);
	int r;

	if (!sockets) {
		*reterr_addr = (struct addr){ 0 };
		return -ENOMEM;
	}
	set->sockets = sockets;
	r = add_missing(set, wants, count, reterr_addr);
	if (r < 0) {
		while (set->count > old_count) {
			close_socket(&set->sockets[--set->count], set->workers);
		}
		return r;
	}
	for (size_t i = 0; i < old_count; i++) {
		set->sockets[i].gone = !is_wanted(wants, count, &set->sockets[i].want);
	}
	return 0;
}

int listen_set_take(struct listen_set *set, size_t index, unsigned worker)
{
	int fd = set->sockets[index].fds[worker];

	set->sockets[index].fds[worker] = -1;
	return fd;
}

void listen_set_sweep(struct listen_set *set)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (set->sockets[i].gone) {
			close_socket(&set->sockets[i], set->workers);
		} else {
			set->sockets[kept++] = set->sockets[i];
		}
	}
	set->count = kept;
}

void listen_set_done(struct listen_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		close_socket(&set->sockets[i], set->workers);
	}
	for (size_t i = 0; i < set->inherited_count; i++) {
		close(set->inherited[i].fd);
	}
	free(set->sockets);
	*set = (struct listen_set){ 0 };
}
