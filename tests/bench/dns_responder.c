/* SPDX-License-Identifier: ISC */
/*
 * A DNS server that knows the names of dns_bench.h: `dns_responder IP:PORT [DELAY_MS]`. Without a
 * delay it is also what every server is measured against: the least that answering can cost.
 */
#include "tests/bench/dns_bench.h"
#include "tests/bench/load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	BATCH = 32,
	MESSAGE_BYTES = 512,
	WAITING = 65536,
	BUFFER_BYTES = 8 * 1024 * 1024,
};

/* An answer that is sent later. */
struct waiting {
	uint64_t due_ns;
	struct addr to;
	size_t len;
	uint8_t bytes[128];
};

struct responder {
	int fd;
	uint64_t delay_ns;
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	struct addr from[BATCH];
	uint8_t bytes[BATCH][MESSAGE_BYTES];
	struct waiting *queue; /* a ring of WAITING */
	uint64_t head, tail;
};

/* Returns how many messages have come. */
static int receive(struct responder *r)
{
	for (int i = 0; i < BATCH; i++) {
		r->iov[i] = (struct iovec){ r->bytes[i], MESSAGE_BYTES };
		r->messages[i].msg_hdr = (struct msghdr){ .msg_name = &r->from[i].sa,
							  .msg_namelen = sizeof r->from[i],
							  .msg_iov = &r->iov[i],
							  .msg_iovlen = 1 };
	}
	return recvmmsg(r->fd, r->messages, BATCH, MSG_DONTWAIT, NULL);
}

static void answer_now(struct responder *r, int count)
{
	unsigned answers = 0;

	for (int i = 0; i < count; i++) {
		size_t len = dns_bench_answer(r->bytes[i], r->messages[i].msg_len, MESSAGE_BYTES);

		if (len > 0) {
			r->iov[i].iov_len = len;
			r->messages[answers++].msg_hdr = r->messages[i].msg_hdr;
		}
	}
	for (unsigned done = 0; done < answers;) {
		int sent = sendmmsg(r->fd, r->messages + done, answers - done, 0);

		done += sent > 0 ? (unsigned)sent : 1u;
	}
}

static void answer_later(struct responder *r, int count)
{
	uint64_t due_ns = load_now_ns() + r->delay_ns;

	for (int i = 0; i < count && r->tail - r->head < WAITING; i++) {
		struct waiting *w = &r->queue[r->tail % WAITING];

		w->len = dns_bench_answer(r->bytes[i], r->messages[i].msg_len, MESSAGE_BYTES);
		if (w->len > 0 && w->len <= sizeof w->bytes) {
			memcpy(w->bytes, r->bytes[i], w->len);
			w->to = r->from[i];
			w->due_ns = due_ns;
			r->tail++;
		}
	}
}

static void send_due(struct responder *r)
{
	uint64_t now_ns = load_now_ns();

	while (r->head < r->tail && r->queue[r->head % WAITING].due_ns <= now_ns) {
		const struct waiting *w = &r->queue[r->head++ % WAITING];

		sendto(r->fd, w->bytes, w->len, 0, &w->to.sa, addr_len(&w->to));
	}
}

static struct timespec wait_for_due(const struct responder *r)
{
	uint64_t now_ns = load_now_ns();
	uint64_t due_ns = r->head < r->tail ? r->queue[r->head % WAITING].due_ns : 0;

	return (struct timespec){ .tv_nsec = due_ns > now_ns ? (long)(due_ns - now_ns) : 0 };
}

static void serve(struct responder *r)
{
	for (;;) {
		struct pollfd p = { .fd = r->fd, .events = POLLIN };
		struct timespec wait = wait_for_due(r);
		int count;

		ppoll(&p, 1, r->head < r->tail ? &wait : NULL, NULL);
		while ((count = receive(r)) > 0) {
			if (r->delay_ns == 0) {
				answer_now(r, count);
			} else {
				answer_later(r, count);
				send_due(r);
			}
		}
		send_due(r);
	}
}

int main(int argc, char **argv)
{
	struct responder *r = calloc(1, sizeof *r);
	int bytes = BUFFER_BYTES;
	struct addr a;

	if (argc < 2 || argc > 3 || !r) {
		load_die("usage: dns_responder IP:PORT [DELAY_MS]");
	}
	a = load_addr(argv[1]);
	r->delay_ns = argc > 2 ? load_number(argv[2]) * 1000000 : 0;
	r->queue = calloc(WAITING, sizeof *r->queue);
	r->fd = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(r->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	if (!r->queue || bind(r->fd, &a.sa, addr_len(&a)) < 0) {
		load_die_errno(argv[1]);
	}
	puts("ready");
	fflush(stdout);
	serve(r);
}
