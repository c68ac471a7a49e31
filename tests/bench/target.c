/* SPDX-License-Identifier: ISC */
/*
 * What the proxies connect to: `target source|writer|echo|udp-echo IP:PORT ...`, all on one thread.
 * source and writer send the pattern of load.h for as long as it is taken; echo and udp-echo send
 * back what comes.
 *
 * The source does with sendfile(2), which costs next to nothing: so it is always the reader who is
 * waited for. With the writer, which copies and is as dear as the reader, it is chance who waits
 * for whom on loopback: sockets are full or empty for seconds, and CPU a byte differs twofold.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 4096,
	EVENTS = 256,
	ECHO_BYTES = 64 * 1024,
	BATCH = 64,
	DATAGRAM_BYTES = 2048,
	SERVICES_MAX = 64,
	SOURCE_BYTES = 2 * 1024 * 1024, /* of the file, at least */
};

enum kind {
	SOURCE,
	WRITER,
	ECHO,
	UDP_ECHO,
	KINDS
};

static const char *const kind_names[KINDS] = { "source", "writer", "echo", "udp-echo" };

/* A file that holds the pattern several times over. */
struct source {
	int fd;
	uint64_t len;
};

/* A listening socket (fd is negative: it accepts) or a connection. */
struct peer {
	enum kind kind;
	const struct source *source;
	bool listening;
	int fd;
	uint64_t sent;
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage names[BATCH];
	uint8_t bytes[BATCH][DATAGRAM_BYTES];
};

static void watch(int epoll, struct peer *peer, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = peer };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, peer->fd, &event) < 0) {
		load_die_errno("epoll_ctl");
	}
}

static void drop(struct peer *peer)
{
	close(peer->fd);
	free(peer);
}

static void accept_all(int epoll, const struct peer *listener)
{
	const int one = 1;

	for (;;) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct peer *peer;

		if (fd < 0) {
			return;
		}
		peer = calloc(1, sizeof *peer);
		if (!peer) {
			load_die_errno("memory");
		}
		*peer = (struct peer){ .kind = listener->kind,
				       .source = listener->source,
				       .fd = fd };
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		watch(epoll, peer, peer->kind == ECHO ? EPOLLIN : EPOLLOUT | EPOLLRDHUP);
	}
}

static struct source open_source(void)
{
	struct source source = { .fd = memfd_create("pattern", MFD_CLOEXEC) };

	while (source.len < SOURCE_BYTES) {
		if (write(source.fd, load_pattern(0), LOAD_PATTERN_PERIOD) != LOAD_PATTERN_PERIOD) {
			load_die_errno("the pattern");
		}
		source.len += LOAD_PATTERN_PERIOD;
	}
	return source;
}

static ssize_t send_some(const struct peer *peer)
{
	off_t offset = (off_t)(peer->sent % LOAD_PATTERN_PERIOD);

	if (peer->kind == WRITER) {
		return send(peer->fd, load_pattern(peer->sent), LOAD_PATTERN_RUN, MSG_NOSIGNAL);
	}
	return sendfile(peer->fd, peer->source->fd, &offset,
			(size_t)(peer->source->len - (uint64_t)offset));
}

static void send_pattern(struct peer *peer, uint32_t events)
{
	ssize_t n = -1;

	if (!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
		n = send_some(peer);
		if (n < 0 && errno == EAGAIN) {
			return;
		}
	}
	if (n < 0) {
		drop(peer);
		return;
	}
	peer->sent += (uint64_t)n;
}

static void echo(struct peer *peer)
{
	uint8_t bytes[ECHO_BYTES];
	ssize_t n = recv(peer->fd, bytes, sizeof bytes, 0);

	if (n < 0 && errno == EAGAIN) {
		return;
	}
	/* What is echoed here is small: it fits into the socket's buffer. */
	if (n <= 0 || send(peer->fd, bytes, (size_t)n, MSG_NOSIGNAL) != n) {
		drop(peer);
	}
}

static void echo_datagrams(const struct peer *peer, struct batch *b)
{
	int n;

	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){ b->bytes[i], DATAGRAM_BYTES };
		b->messages[i].msg_hdr = (struct msghdr){ .msg_name = &b->names[i],
							  .msg_namelen = sizeof b->names[i],
							  .msg_iov = &b->iov[i],
							  .msg_iovlen = 1 };
	}
	n = recvmmsg(peer->fd, b->messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		b->iov[i].iov_len = b->messages[i].msg_len;
	}
	for (int done = 0; done < n;) {
		int sent = sendmmsg(peer->fd, b->messages + done, (unsigned)(n - done), 0);

		/* One that cannot be sent is skipped; who waits for it counts it. */
		done += sent > 0 ? sent : 1;
	}
}

static void open_service(int epoll, const struct source *source, const char *kind, const char *text)
{
	struct addr a = load_addr(text);
	struct peer *peer = calloc(1, sizeof *peer);
	const int one = 1, buffer = 8 * 1024 * 1024;
	bool stream;

	while (peer && peer->kind < KINDS && strcmp(kind_names[peer->kind], kind) != 0) {
		peer->kind++;
	}
	if (!peer || peer->kind == KINDS) {
		load_die("\"%s\" is not source, writer, echo or udp-echo", kind);
	}
	peer->source = source;
	stream = peer->kind != UDP_ECHO;
	peer->listening = stream;
	peer->fd = socket(a.sa.sa_family,
			  (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (!stream) {
		setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
	}
	if (bind(peer->fd, &a.sa, addr_len(&a)) < 0 || (stream && listen(peer->fd, BACKLOG) < 0)) {
		load_die_errno(text);
	}
	watch(epoll, peer, EPOLLIN);
}

int main(int argc, char **argv)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct batch *batch = calloc(1, sizeof *batch);
	struct source source;

	if (argc < 3 || argc % 2 == 0 || argc > 1 + 2 * SERVICES_MAX || !batch) {
		load_die("usage: target source|writer|echo|udp-echo IP:PORT ...");
	}
	signal(SIGPIPE, SIG_IGN);
	load_pattern_init();
	source = open_source();
	for (int i = 1; i < argc; i += 2) {
		open_service(epoll, &source, argv[i], argv[i + 1]);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct peer *peer = events[i].data.ptr;

			if (peer->listening) {
				accept_all(epoll, peer);
			} else if (peer->kind == SOURCE || peer->kind == WRITER) {
				send_pattern(peer, events[i].events);
			} else if (peer->kind == ECHO) {
				echo(peer);
			} else {
				echo_datagrams(peer, batch);
			}
		}
	}
}
