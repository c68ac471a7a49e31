/* SPDX-License-Identifier: ISC */
/*
 * Load for UDP through a SOCKS5 server:
 *
 *   socks_datagrams --proxy IP:PORT --target IP:PORT [--associations N] [--window N] [--bytes N]
 *                   [--rate N] [--ms N]
 *
 * Each association sends to `target udp-echo`; `window` datagrams are on the way at any time (or,
 * with
 * --rate, so many a second are sent and the window is the most that may be). Each carries its
 * number and must come back as it went, from where it was sent to. One that does not within a
 * second is lost.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HEADER_BYTES = 10,
	NUMBER_BYTES = 8,
	DATAGRAM_MAX = 2048,
	EVENTS = 256,
	BATCH = 32,
};

/* One datagram on the way at most. */
struct slot {
	struct association *association;
	uint64_t number;
	uint64_t sent_ns;
	bool open;
};

struct association {
	int control;
	int fd;
	uint8_t header[HEADER_BYTES];
};

struct load {
	struct addr proxy;
	struct addr target;
	int epoll;
	struct association *associations;
	size_t count;
	struct slot *slots;
	size_t window;
	size_t bytes;
	uint64_t rate;
	uint64_t run_ms;
	uint64_t sent;
	uint64_t received;
	uint64_t lost;
	struct load_histogram times;
};

/* --- control connections --------------------------------------------------------------------- */

static void exchange(int fd, const void *out, size_t out_len, uint8_t *in, size_t in_len)
{
	if (send(fd, out, out_len, MSG_NOSIGNAL) != (ssize_t)out_len ||
	    recv(fd, in, in_len, MSG_WAITALL) != (ssize_t)in_len) {
		load_die("the control connection ended in the handshake");
	}
}

static void open_association(struct load *load, struct association *a)
{
	static const uint8_t request[] = { 5, 3, 0, 1, 0, 0, 0, 0, 0, 0 };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = a };
	struct addr relay = load->proxy;
	uint8_t reply[10];

	a->control = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (a->control < 0 || connect(a->control, &load->proxy.sa, addr_len(&load->proxy)) < 0) {
		load_die_errno("connect");
	}
	exchange(a->control, "\x05\x01\x00", 3, reply, 2);
	exchange(a->control, request, sizeof request, reply, sizeof reply);
	if (reply[1] != 0 || reply[3] != 1) {
		load_die("UDP ASSOCIATE was answered with %u, address type %u", reply[1], reply[3]);
	}
	memcpy(&relay.in4.sin_addr, reply + 4, 4);
	memcpy(&relay.in4.sin_port, reply + 8, 2);
	a->fd = load_udp_socket(&relay);
	memcpy(a->header, "\x00\x00\x00\x01", 4);
	memcpy(a->header + 4, &load->target.in4.sin_addr, 4);
	memcpy(a->header + 8, &load->target.in4.sin_port, 2);
	if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, a->fd, &event) < 0) {
		load_die_errno("epoll_ctl");
	}
}

/* --- datagrams ------------------------------------------------------------------------------- */

static void send_slot(struct load *load, struct slot *slot)
{
	uint64_t words[2] = { (uint64_t)(slot - load->slots), ++slot->number };
	struct iovec iov[] = {
		{ slot->association->header, HEADER_BYTES },
		{ words, sizeof words },
		{ (void *)(uintptr_t)load_pattern(words[0] + words[1]),
		  load->bytes - sizeof words },
	};
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = 3 };

	slot->sent_ns = load_now_ns();
	slot->open = true;
	load->sent++;
	if (sendmsg(slot->association->fd, &message, 0) < 0 && errno != EAGAIN) {
		load_die_errno("sendmsg");
	}
}

static void check(struct load *load, const struct association *a, const uint8_t *bytes, size_t len)
{
	struct slot *slot;
	uint64_t words[2];

	if (len != HEADER_BYTES + load->bytes || memcmp(bytes, a->header, HEADER_BYTES) != 0) {
		load_die("a datagram of %zu octets from elsewhere", len);
	}
	memcpy(words, bytes + HEADER_BYTES, sizeof words);
	if (words[0] >= load->window ||
	    memcmp(bytes + HEADER_BYTES + sizeof words, load_pattern(words[0] + words[1]),
		   load->bytes - sizeof words) != 0) {
		load_die("a datagram is not what was sent");
	}
	slot = &load->slots[words[0]];
	if (slot->association != a) {
		load_die("a datagram of another association");
	}
	/* One that is late was counted as lost. */
	if (!slot->open || slot->number != words[1]) {
		return;
	}
	load_record(&load->times, load_now_ns() - slot->sent_ns);
	load->received++;
	slot->open = false;
	if (load->rate == 0) {
		send_slot(load, slot);
	}
}

static void receive(struct load *load, const struct association *a)
{
	static uint8_t bytes[BATCH][DATAGRAM_MAX];
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], DATAGRAM_MAX };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	n = recvmmsg(a->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN) {
		load_die_errno("recvmmsg");
	}
	for (int i = 0; i < n; i++) {
		check(load, a, bytes[i], messages[i].msg_len);
	}
}

static void turn(struct load *load, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(load->epoll, events, EVENTS, timeout_ms);

	for (int i = 0; i < n; i++) {
		receive(load, events[i].data.ptr);
	}
}

/* Count what is missing for a second, and send it anew. */
static void sweep(struct load *load, uint64_t now_ns)
{
	for (size_t i = 0; i < load->window; i++) {
		struct slot *slot = &load->slots[i];

		if (slot->open && now_ns - slot->sent_ns > NS_PER_S) {
			load->lost++;
			slot->open = false;
		}
		if (!slot->open && load->rate == 0) {
			send_slot(load, slot);
		}
	}
}

/* What the rate wants sent by now, as far as there are free slots. */
static void send_due(struct load *load, uint64_t elapsed_ns, size_t *next)
{
	uint64_t due = load->rate * elapsed_ns / NS_PER_S;

	for (size_t tried = 0; load->sent < due && tried < load->window; tried++) {
		struct slot *slot = &load->slots[(*next)++ % load->window];

		if (!slot->open) {
			send_slot(load, slot);
		}
	}
}

static void run(struct load *load)
{
	uint64_t began_ns = load_now_ns(), end_ns = began_ns + load->run_ms * NS_PER_MS;
	uint64_t now_ns = began_ns, sweep_ns = began_ns;
	size_t next = 0;

	for (; now_ns < end_ns; now_ns = load_now_ns()) {
		if (now_ns >= sweep_ns) {
			sweep(load, now_ns);
			sweep_ns = now_ns + NS_PER_S / 4;
		}
		if (load->rate > 0) {
			send_due(load, now_ns - began_ns, &next);
		}
		turn(load, load->rate > 0 ? 1 : 100);
	}
	printf("{\"units\": %llu, \"lost\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, "
	       "\"p99_us\": %.1f}\n",
	       (unsigned long long)load->received, (unsigned long long)load->lost,
	       (double)(now_ns - began_ns) / (double)NS_PER_S, load_percentile_us(&load->times, 50),
	       load_percentile_us(&load->times, 99));
	fflush(stdout);
}

static void prepare(struct load *load)
{
	load_pattern_init();
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	load->associations = calloc(load->count, sizeof *load->associations);
	load->slots = calloc(load->window, sizeof *load->slots);
	if (load->epoll < 0 || !load->associations || !load->slots) {
		load_die_errno("memory");
	}
	for (size_t i = 0; i < load->count; i++) {
		open_association(load, &load->associations[i]);
	}
	for (size_t i = 0; i < load->window; i++) {
		load->slots[i].association = &load->associations[i % load->count];
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "proxy", required_argument, NULL, 'p' },
		{ "target", required_argument, NULL, 't' },
		{ "associations", required_argument, NULL, 'a' },
		{ "window", required_argument, NULL, 'w' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "rate", required_argument, NULL, 'r' },
		{ "ms", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	static struct load load = { .count = 1, .window = 64, .bytes = 1200, .run_ms = 1000 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			load.proxy = load_addr(optarg);
			break;
		case 't':
			load.target = load_addr(optarg);
			break;
		case 'a':
			load.count = load_number(optarg);
			break;
		case 'w':
			load.window = load_number(optarg);
			break;
		case 'b':
			load.bytes = load_number(optarg);
			break;
		case 'r':
			load.rate = load_number(optarg);
			break;
		case 's':
			load.run_ms = load_number(optarg);
			break;
		default:
			return 2;
		}
	}
	if (load.proxy.sa.sa_family != AF_INET || load.target.sa.sa_family != AF_INET ||
	    load.bytes < 2 * NUMBER_BYTES || load.bytes > DATAGRAM_MAX - HEADER_BYTES) {
		load_die("usage: socks_datagrams --proxy IP:PORT --target IP:PORT ... (IPv4, 16 to "
			 "2038 bytes)");
	}
	prepare(&load);
	load_wait_for_go();
	run(&load);
	return 0;
}
