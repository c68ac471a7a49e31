/* SPDX-License-Identifier: ISC */
#include "common/netwatch.h"

#include "common/container.h"
#include "common/netfacts.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_BYTES = 32768, /* the longest part of an answer */
	READS_MAX = 64,     /* a turn */
};

/* What is asked for at the start, one after the other. */
static const uint16_t requests[] = { RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE };

struct netwatch {
	/* constant */
	struct loop *loop;
	netwatch_fn fn;
	void *arg;
	/* live */
	struct watch watch;
	struct timer timer;  /* a change is to be told */
	uint64_t told_ms;    /* the last one; 0: none yet */
	size_t answer_count; /* of the requests */
	struct netfacts facts;
	uint8_t buf[READ_BYTES];
};

/* 0 or -errno. */
static int request(struct netwatch *n)
{
	struct {
		struct nlmsghdr head;
		struct rtgenmsg body;
	} message = {
		.head = { .nlmsg_len = sizeof message,
			  .nlmsg_type = requests[n->answer_count],
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .rtgen_family = AF_UNSPEC },
	};

	return send(n->watch.fd, &message, sizeof message, 0) < 0 ? -errno : 0;
}

/* One request is answered. What a request that fails would have told is learned as it changes. */
static void on_dumped(struct netwatch *n)
{
	if (n->answer_count < ARRAY_SIZE(requests)) {
		n->answer_count++;
		if (n->answer_count == ARRAY_SIZE(requests)) {
			n->facts.is_complete = true;
		} else if (request(n) < 0) {
			n->answer_count = ARRAY_SIZE(requests);
		}
	}
}

static void on_settled(struct timer *timer)
{
	struct netwatch *n = container_of(timer, struct netwatch, timer);

	n->told_ms = loop_now_ms(n->loop);
	n->fn(n->arg);
}

static void note_change(struct netwatch *n)
{
	uint64_t due_ms = loop_now_ms(n->loop) + NETWATCH_SETTLE_MS;

	if (timer_active(&n->timer)) {
		return;
	}
	if (n->told_ms != 0 && due_ms < n->told_ms + NETWATCH_APART_MS) {
		due_ms = n->told_ms + NETWATCH_APART_MS;
	}
	if (timer_start(&n->timer, n->loop, due_ms, on_settled) < 0) {
		/* Without memory, too early is better than never. */
		on_settled(&n->timer);
	}
}

static void on_ready(struct watch *watch, uint32_t events)
{
	struct netwatch *n = container_of(watch, struct netwatch, watch);

	(void)events;
	for (unsigned i = 0; i < READS_MAX; i++) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_len = sizeof from;
		ssize_t len = recvfrom(watch->fd, n->buf, sizeof n->buf, 0,
				       (struct sockaddr *)(void *)&from, &from_len);
		unsigned result = 0;

		if (len < 0 && errno == ENOBUFS) {
			/* More came than we could read. */
			netfacts_forget(&n->facts);
			n->answer_count = ARRAY_SIZE(requests);
			result = NETFACTS_CHANGED;
		} else if (len < 0) {
			return;
		} else if (from.nl_pid == 0) {
			result = netfacts_take(&n->facts, n->buf, (size_t)len);
		}
		if (result & NETFACTS_CHANGED) {
			note_change(n);
		}
		if (result & NETFACTS_DUMPED) {
			on_dumped(n);
		}
	}
}

/* The socket, bound to what we want to hear of; -errno. */
static int open_socket(void)
{
	const struct sockaddr_nl addr = { .nl_family = AF_NETLINK,
					  .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
						       RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
						       RTMGRP_IPV6_ROUTE };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)(const void *)&addr, sizeof addr) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd < 0 ? -errno : fd;
}

struct netwatch *netwatch_new(struct loop *loop, netwatch_fn fn, void *arg)
{
	struct netwatch *n = calloc(1, sizeof *n);
	int fd = n ? open_socket() : -ENOMEM;
	int r = fd;

	if (fd >= 0) {
		n->loop = loop;
		n->fn = fn;
		n->arg = arg;
		r = watch_start(&n->watch, loop, fd, LOOP_READ, on_ready);
		r = r < 0 ? r : request(n);
	}
	if (r < 0) {
		if (fd >= 0) {
			watch_stop(&n->watch);
			close(fd);
		}
		free(n);
		errno = -r;
		return NULL;
	}
	return n;
}

void netwatch_free(struct netwatch *n)
{
	if (n) {
		timer_stop(&n->timer);
		watch_close(&n->watch);
		free(n);
	}
}
