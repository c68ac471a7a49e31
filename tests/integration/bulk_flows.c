/* SPDX-License-Identifier: ISC */
/*
 * Downloads through a SOCKS5 server on 127.0.0.1, many at once, for a moment, and tells how evenly
 * it served them and what that cost.
 *
 *   bulk_flows PORT FLOWS WARM_MS WINDOW_MS [PID]
 *
 * One thread is the source of the bytes, another one drains them. All flows start together; after
 * WARM_MS a window begins in which the bytes of each flow are counted. Prints one line: bytes of
 * all flows, flows that got nothing, percentiles of the bytes of a flow, and with PID the CPU time
 * that this process used in the window.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS = 64,
	PIECE_BYTES = 1 << 18,
	BACKLOG = 4096,
	HANDSHAKE_BYTES = 12, /* of the server: the method, and a reply with an IPv4 address */
};

struct flow {
	int fd;
	uint64_t bytes;
	uint64_t bytes_before; /* the window */
};

struct source {
	int listen_fd;
	uint16_t port;
	atomic_bool stop;
};

static void die(const char *what)
{
	fprintf(stderr, "bulk_flows: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t cpu_us(pid_t pid)
{
	struct timespec ts = { 0 };
	clockid_t clock;

	if (pid > 0 && clock_getcpuclockid(pid, &clock) == 0) {
		clock_gettime(clock, &ts);
	}
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void watch(int epoll_fd, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		die("epoll_ctl");
	}
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* --- the source ------------------------------------------------------------------------------ */

static void source_open(struct source *source)
{
	struct sockaddr_in addr = loopback(0);
	socklen_t len = sizeof addr;

	source->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(source->listen_fd, (struct sockaddr *)&addr, len) < 0 ||
	    listen(source->listen_fd, BACKLOG) < 0 ||
	    getsockname(source->listen_fd, (struct sockaddr *)&addr, &len) < 0) {
		die("listen");
	}
	source->port = ntohs(addr.sin_port);
}

/* A connection's first byte says that the flows start; then it is given one piece a turn. */
static void *source_run(void *arg)
{
	static char piece[PIECE_BYTES];
	struct source *source = arg;
	struct epoll_event events[EVENTS];
	int epoll_fd = epoll_create1(0);

	watch(epoll_fd, source->listen_fd, EPOLLIN, NULL);
	while (!source->stop) {
		int count = epoll_wait(epoll_fd, events, EVENTS, 100);

		for (int i = 0; i < count; i++) {
			int fd = (int)(intptr_t)events[i].data.ptr;

			if (!events[i].data.ptr) {
				fd = accept4(source->listen_fd, NULL, NULL, SOCK_NONBLOCK);
				if (fd >= 0) {
					watch(epoll_fd, fd, EPOLLIN, (void *)(intptr_t)fd);
				}
			} else if (events[i].events & EPOLLIN) {
				struct epoll_event ev = { .events = EPOLLOUT,
							  .data.ptr = events[i].data.ptr };

				if (recv(fd, piece, 1, 0) <= 0) {
					close(fd);
				} else {
					epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &ev);
				}
			} else if (send(fd, piece, sizeof piece, MSG_NOSIGNAL) < 0 &&
				   errno != EAGAIN) {
				close(fd);
			}
		}
	}
	close(epoll_fd);
	return NULL;
}

/* --- the flows ------------------------------------------------------------------------------- */

static void receive_exactly(int fd, size_t len)
{
	char bytes[HANDSHAKE_BYTES];

	if (recv(fd, bytes, len, MSG_WAITALL) != (ssize_t)len) {
		die("the server's answer");
	}
	if (len == HANDSHAKE_BYTES && bytes[3] != 0) {
		errno = ECONNREFUSED;
		die("the server's reply");
	}
}

static void flow_open(struct flow *flow, uint16_t proxy_port, uint16_t target_port)
{
	const uint8_t hello[] = {
		5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, (uint8_t)(target_port >> 8), (uint8_t)target_port
	};
	struct sockaddr_in addr = loopback(proxy_port);

	flow->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(flow->fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    send(flow->fd, hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) {
		die("connect");
	}
	receive_exactly(flow->fd, HANDSHAKE_BYTES);
}

/* Drain all flows, one piece of each a turn, until end_ms. */
static void drain_until(int epoll_fd, uint64_t end_ms)
{
	struct epoll_event events[EVENTS];

	while (now_ms() < end_ms) {
		int count = epoll_wait(epoll_fd, events, EVENTS, 20);

		for (int i = 0; i < count; i++) {
			struct flow *flow = events[i].data.ptr;
			/* TCP discards what is asked for like this, and copies nothing. */
			ssize_t n = recv(flow->fd, NULL, PIECE_BYTES, MSG_TRUNC | MSG_DONTWAIT);

			if (n == 0 || (n < 0 && errno != EAGAIN)) {
				die("a flow ended");
			}
			flow->bytes += n > 0 ? (uint64_t)n : 0;
		}
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(const struct flow *flows, size_t count, uint64_t used_us, uint64_t took_ms)
{
	uint64_t *bytes = calloc(count, sizeof *bytes);
	uint64_t total = 0;
	size_t silent = 0;

	for (size_t i = 0; i < count; i++) {
		bytes[i] = flows[i].bytes - flows[i].bytes_before;
		total += bytes[i];
		silent += bytes[i] == 0;
	}
	qsort(bytes, count, sizeof *bytes, compare);
	printf("flows=%zu window_ms=%llu bytes=%llu silent=%zu min=%llu p5=%llu p50=%llu p95=%llu "
	       "max=%llu "
	       "cpu_us=%llu\n",
	       count, (unsigned long long)took_ms, (unsigned long long)total, silent,
	       (unsigned long long)bytes[0], (unsigned long long)bytes[count / 20],
	       (unsigned long long)bytes[count / 2],
	       (unsigned long long)bytes[count - 1 - count / 20],
	       (unsigned long long)bytes[count - 1], (unsigned long long)used_us);
	free(bytes);
}

int main(int argc, char **argv)
{
	const struct rlimit many = { 20000, 20000 };
	struct source source = { 0 };
	struct flow *flows;
	pthread_t thread;
	pid_t pid = argc > 5 ? (pid_t)atoi(argv[5]) : 0;
	size_t count = argc > 4 ? (size_t)atoi(argv[2]) : 0;
	int epoll_fd = epoll_create1(0);
	uint64_t began_ms;
	uint64_t began_us;

	if (count == 0 || !(flows = calloc(count, sizeof *flows))) {
		fprintf(stderr, "usage: bulk_flows PORT FLOWS WARM_MS WINDOW_MS [PID]\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &many);
	source_open(&source);
	pthread_create(&thread, NULL, source_run, &source);
	for (size_t i = 0; i < count; i++) {
		flow_open(&flows[i], (uint16_t)atoi(argv[1]), source.port);
		watch(epoll_fd, flows[i].fd, EPOLLIN, &flows[i]);
	}
	for (size_t i = 0; i < count; i++) {
		(void)!write(flows[i].fd, "", 1);
	}
	drain_until(epoll_fd, now_ms() + (uint64_t)atoi(argv[3]));
	for (size_t i = 0; i < count; i++) {
		flows[i].bytes_before = flows[i].bytes;
	}
	began_ms = now_ms();
	began_us = cpu_us(pid);
	drain_until(epoll_fd, began_ms + (uint64_t)atoi(argv[4]));
	report(flows, count, cpu_us(pid) - began_us, now_ms() - began_ms);
	source.stop = true;
	pthread_join(thread, NULL);
	return 0;
}
