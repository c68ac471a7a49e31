/* SPDX-License-Identifier: ISC */
#include "common/daemon/listener.h"

#include "common/container.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	BACKLOG = 4096,
	BATCH = 64,               /* connections accepted before others get their turn */
	RETRY_MS = 100,           /* while there are no descriptors */
	SHED_AFTER_RETRIES = 300, /* 30 s */
};

struct listener {
	struct loop *loop;
	const struct listener_ops *ops;
	void *arg;
	int fd;
	int reserve_fd; /* given up for a moment to tell waiting clients that there is no room */
	struct watch watch;
	struct timer retry;
	unsigned retries;
	bool paused;  /* by listener_pause() */
	bool starved; /* for lack of descriptors */
	struct deferred deferred;
};

/* Bind an address that no interface has yet (ip(7), IP_FREEBIND): at boot the network may come
 * after us. */
static int bind_late(int fd, const struct addr *a)
{
	const int on = 1;
	int r = a->sa.sa_family == AF_INET6
			? setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on)
			: setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);

	return r < 0 ? r : bind(fd, &a->sa, addr_len(a));
}

/* As listener_bind_*(). */
static int open_socket(const struct addr *a, int type, bool reuse_port, int *ret_fd)
{
	const int on = 1;
	int fd = socket(a->sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool late;
	int saved;

	if (fd < 0) {
		return -errno;
	}
	if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
		goto fail;
	}
	if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) {
		goto fail;
	}
	if (a->sa.sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) {
		goto fail;
	}
	late = bind(fd, &a->sa, addr_len(a)) < 0;
	if (late && (errno != EADDRNOTAVAIL || bind_late(fd, a) < 0)) {
		goto fail;
	}
	*ret_fd = fd;
	return late ? LISTENER_LATE : 0;
fail:
	saved = errno;
	close(fd);
	return -saved;
}

int listener_bind_tcp(const struct addr *a, int *ret_fd)
{
	int fd;
	int r = open_socket(a, SOCK_STREAM, true, &fd);

	if (r < 0) {
		return r;
	}
	if (listen(fd, BACKLOG) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return r;
}

int listener_bind_udp(const struct addr *a, int *ret_fd)
{
	return open_socket(a, SOCK_DGRAM, true, ret_fd);
}

int listener_probe(const struct addr *a, int socket_type)
{
	int fd;
	int r = open_socket(a, socket_type, false, &fd);

	if (r < 0) {
		return r;
	}
	/* Linux lets two sockets with SO_REUSEADDR bind the same TCP port as long as neither
	 * listens. */
	if (socket_type == SOCK_STREAM && listen(fd, 1) < 0) {
		r = -errno;
	}
	close(fd);
	return r < 0 ? r : 0;
}

int listener_local_addr(int fd, struct addr *ret_addr)
{
	struct addr a = { 0 };
	socklen_t len = sizeof a;

	if (getsockname(fd, &a.sa, &len) < 0) {
		return -errno;
	}
	*ret_addr = a;
	return 0;
}

/* Whether some interface has the address: then it can be bound. */
static bool is_local(const struct addr *a)
{
	struct addr any_port = *a;
	int fd;
	int r;

	addr_set_port(&any_port, 0);
	r = open_socket(&any_port, SOCK_DGRAM, false, &fd);
	if (r >= 0) {
		close(fd);
	}
	return r == 0;
}

bool listener_reaches(const struct addr *listener, const struct addr *a)
{
	if (addr_equal(listener, a)) {
		return true;
	}
	return listener->sa.sa_family == a->sa.sa_family && addr_port(listener) == addr_port(a) &&
	       addr_scope(listener) == ADDR_UNSPECIFIED && is_local(a);
}

static int open_reserve(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_readable(struct watch *watch, uint32_t events);
static void on_retry(struct timer *timer);

/* Watch or stop watching, as the two reasons to pause say. */
static void settle(struct listener *l)
{
	bool wanted = l->fd >= 0 && !l->paused && !l->starved;

	if (wanted && !watch_active(&l->watch)) {
		if (watch_start(&l->watch, l->loop, l->fd, LOOP_READ, on_readable) < 0) {
			l->starved = true;
			timer_start(&l->retry, l->loop, loop_now_ms(l->loop) + RETRY_MS, on_retry);
		}
	} else if (!wanted) {
		watch_stop(&l->watch);
	}
}

static void starve(struct listener *l, int error)
{
	if (!l->starved) {
		l->starved = true;
		l->retries = 0;
		l->ops->on_event(l->arg, LISTENER_PAUSED, error);
	}
	settle(l);
	timer_start(&l->retry, l->loop, loop_now_ms(l->loop) + RETRY_MS, on_retry);
}

/* Errors that concern one connection which died before it was accepted (accept(2), "Error
 * handling"). */
static bool is_transient(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EINTR:
	case ENETDOWN:
	case EPROTO:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case EPERM:
		return true;
	default:
		return false;
	}
}

static int accept_one(struct listener *l, struct addr *ret_peer)
{
	socklen_t len = sizeof *ret_peer;
	int fd = accept4(l->fd, &ret_peer->sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void accept_batch(struct listener *l)
{
	for (int i = 0; i < BATCH && l->fd >= 0 && !l->paused; i++) {
		struct addr peer = { 0 };
		int fd = accept_one(l, &peer);

		if (fd >= 0) {
			if (l->starved) {
				l->starved = false;
				timer_stop(&l->retry);
				l->ops->on_event(l->arg, LISTENER_RESUMED, 0);
			}
			l->ops->on_accept(l->arg, fd, &peer);
		} else if (fd == -EAGAIN) {
			l->starved = false;
			timer_stop(&l->retry);
			break;
		} else if (!is_transient(-fd)) {
			starve(l, -fd);
			return;
		}
	}
	settle(l);
}

static void on_readable(struct watch *watch, uint32_t events)
{
	(void)events;
	accept_batch(container_of(watch, struct listener, watch));
}

/* Accept with the reserve's descriptor and close at once. */
static void shed_batch(struct listener *l)
{
	for (int i = 0; i < BATCH; i++) {
		struct addr peer = { 0 };
		int fd;

		close(l->reserve_fd);
		fd = accept_one(l, &peer);
		if (fd >= 0) {
			close(fd);
		}
		l->reserve_fd = open_reserve();
		if (fd < 0 || l->reserve_fd < 0) {
			return;
		}
		l->ops->on_event(l->arg, LISTENER_SHED, 0);
	}
}

static void on_retry(struct timer *timer)
{
	struct listener *l = container_of(timer, struct listener, retry);

	if (l->paused) {
		return;
	}
	if (l->reserve_fd < 0) {
		l->reserve_fd = open_reserve();
	}
	if (++l->retries >= SHED_AFTER_RETRIES && l->reserve_fd >= 0) {
		l->retries = 0;
		shed_batch(l);
	}
	accept_batch(l);
}

/* What is accepted inherits both: short replies leave at once, and who has gone without a word is
 * found out. Here, as sockets that were passed have to have them too. */
static void set_inherited(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

struct listener *listener_start(struct loop *loop, int fd, const struct listener_ops *ops,
				void *arg)
{
	struct listener *l = calloc(1, sizeof *l);
	int r;

	if (!l) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	l->loop = loop;
	l->ops = ops;
	l->arg = arg;
	l->fd = fd;
	l->reserve_fd = open_reserve();
	set_inherited(fd);
	r = watch_start(&l->watch, loop, fd, LOOP_READ, on_readable);
	if (r < 0) {
		listener_free(l);
		errno = -r;
		return NULL;
	}
	return l;
}

void listener_pause(struct listener *l)
{
	l->paused = true;
	settle(l);
}

void listener_resume(struct listener *l)
{
	l->paused = false;
	settle(l);
	/* The retry does nothing while paused, and is not repeated then. */
	listener_fd_freed(l);
}

void listener_fd_freed(struct listener *l)
{
	if (l->starved) {
		timer_start(&l->retry, l->loop, loop_now_ms(l->loop), on_retry);
	}
}

static void free_listener(struct deferred *deferred)
{
	free(container_of(deferred, struct listener, deferred));
}

void listener_free(struct listener *l)
{
	if (!l) {
		return;
	}
	watch_stop(&l->watch);
	timer_stop(&l->retry);
	close(l->fd);
	l->fd = -1;
	if (l->reserve_fd >= 0) {
		close(l->reserve_fd);
	}
	loop_free_later(l->loop, &l->deferred, free_listener);
}
