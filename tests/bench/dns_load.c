/* SPDX-License-Identifier: ISC */
/*
 * Load for a DNS server that knows, or asks, `dns_responder`:
 *
 *   dns_load --server IP:PORT [--first N] [--names N] [--order random|sequential] [--count N]
 *            [--window N] [--rate N] [--ms N]
 *
 * Asks for the names from number `first` on, `names` of them, at random or one after the other (and
 * again from the first), until `count` were asked for or so many `ms` are over; `window` questions
 * are open at any time (with --rate, so many a second are asked and the window is the most that may
 * be open). Every answer is checked. A question without answer for a second is lost.
 */
#include "tests/bench/dns_bench.h"
#include "tests/bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
	SOCKETS = 16,
	BATCH = 32,
	MESSAGE_BYTES = 512,
	WINDOW_MAX = 4096,
	SLOT_BITS = 8,             /* WINDOW_MAX / SOCKETS slots each */
	RATE_TICK_NS = 100 * 1000, /* so finely a rate is kept: what comes at once has to wait */
	IDLE_TICK_NS = 100 * 1000 * 1000,
	WARM_UP_NS = 100 * 1000 * 1000, /* after so long times count */
};

/* One open question at most; its place is the lower bits of the id. */
struct slot {
	uint64_t asked_ns;
	uint32_t n;
	uint16_t id;
	bool open;
};

struct channel {
	int fd;
	size_t slot_count;
	struct slot slots[1 << SLOT_BITS];
	/* What is to be sent with the next batch. */
	unsigned pending;
	uint8_t queries[BATCH][DNS_BENCH_QUERY];
};

struct load {
	struct addr server;
	uint32_t first, names;
	bool sequential;
	uint64_t count, window, rate, run_ms;
	int epoll;
	struct channel channels[SOCKETS];
	uint64_t asked, answered, lost;
	uint64_t random;
	uint64_t began_ns, now_ns;
	struct load_histogram times;
};

static uint32_t next_name(struct load *load)
{
	if (load->sequential) {
		return load->first + (uint32_t)(load->asked % load->names);
	}
	load->random ^= load->random << 13;
	load->random ^= load->random >> 7;
	load->random ^= load->random << 17;
	return load->first + (uint32_t)(load->random % load->names);
}

static void flush(struct channel *channel)
{
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec iov[BATCH];
	unsigned done = 0;

	for (unsigned i = 0; i < channel->pending; i++) {
		iov[i] = (struct iovec){ channel->queries[i], DNS_BENCH_QUERY };
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < channel->pending) {
		int sent = sendmmsg(channel->fd, messages + done, channel->pending - done, 0);

		if (sent < 0 && errno != EAGAIN) {
			load_die_errno("sendmmsg");
		}
		done += sent > 0 ? (unsigned)sent : 0;
	}
	channel->pending = 0;
}

static bool may_ask(const struct load *load)
{
	if (load->count > 0 && load->asked >= load->count) {
		return false;
	}
	return load->rate == 0 ||
	       load->asked < load->rate * (load->now_ns - load->began_ns) / NS_PER_S;
}

static void ask(struct load *load, struct channel *channel, struct slot *slot)
{
	slot->n = next_name(load);
	slot->id = (uint16_t)(slot->id + (1u << SLOT_BITS));
	slot->asked_ns = load->now_ns;
	slot->open = true;
	load->asked++;
	dns_bench_query(channel->queries[channel->pending++], slot->id, slot->n);
	if (channel->pending == BATCH) {
		flush(channel);
	}
}

static void take(struct load *load, struct channel *channel, const uint8_t *message, size_t len)
{
	uint16_t id = (uint16_t)(message[0] << 8 | message[1]);
	struct slot *slot = &channel->slots[id & ((1u << SLOT_BITS) - 1)];

	/* One that is late was counted as lost. */
	if (len < DNS_BENCH_HEADER || !slot->open || slot->id != id) {
		return;
	}
	if (!dns_bench_is_answer(message, len, slot->n)) {
		load_die("a wrong answer to the question for name %u, rcode %u", slot->n,
			 message[3] & 15u);
	}
	slot->open = false;
	load->answered++;
	if (load->now_ns - load->began_ns > WARM_UP_NS) {
		load_record(&load->times, load->now_ns - slot->asked_ns);
	}
	if (may_ask(load)) {
		ask(load, channel, slot);
	}
}

static void receive(struct load *load, struct channel *channel)
{
	static uint8_t bytes[BATCH][MESSAGE_BYTES];
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], MESSAGE_BYTES };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	n = recvmmsg(channel->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN) {
		load_die_errno("recvmmsg");
	}
	load->now_ns = load_now_ns();
	for (int i = 0; i < n; i++) {
		take(load, channel, bytes[i], messages[i].msg_len);
	}
	flush(channel);
}

/* Ask in every slot that is free; what is missing for a second is lost. */
static void sweep(struct load *load)
{
	for (int i = 0; i < SOCKETS; i++) {
		struct channel *channel = &load->channels[i];

		for (size_t k = 0; k < channel->slot_count; k++) {
			struct slot *slot = &channel->slots[k];

			if (slot->open && load->now_ns - slot->asked_ns > NS_PER_S) {
				slot->open = false;
				load->lost++;
			}
			if (!slot->open && may_ask(load)) {
				ask(load, channel, slot);
			}
		}
		flush(channel);
	}
}

static void turn(struct load *load)
{
	const struct timespec wait = { .tv_nsec = load->rate > 0 ? RATE_TICK_NS : IDLE_TICK_NS };
	struct epoll_event events[SOCKETS];
	int n = epoll_pwait2(load->epoll, events, SOCKETS, &wait, NULL);

	for (int i = 0; i < n; i++) {
		receive(load, events[i].data.ptr);
	}
	load->now_ns = load_now_ns();
}

static bool is_over(const struct load *load)
{
	if (load->count > 0) {
		return load->answered + load->lost >= load->count;
	}
	return load->now_ns - load->began_ns >= load->run_ms * NS_PER_MS;
}

static void run(struct load *load)
{
	uint64_t sweep_ns = 0;

	load->began_ns = load->now_ns = load_now_ns();
	while (!is_over(load)) {
		if (load->now_ns >= sweep_ns) {
			sweep(load);
			sweep_ns = load->now_ns + (load->rate > 0 ? 0 : NS_PER_S / 4);
		}
		turn(load);
	}
	printf("{\"units\": %llu, \"lost\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, "
	       "\"p99_us\": %.1f}\n",
	       (unsigned long long)load->answered, (unsigned long long)load->lost,
	       (double)(load->now_ns - load->began_ns) / (double)NS_PER_S,
	       load_percentile_us(&load->times, 50), load_percentile_us(&load->times, 99));
	fflush(stdout);
}

static void open_channels(struct load *load)
{
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < SOCKETS; i++) {
		struct channel *channel = &load->channels[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = channel };

		channel->fd = load_udp_socket(&load->server);
		channel->slot_count = (load->window + SOCKETS - 1 - i) / SOCKETS;
		for (size_t k = 0; k < channel->slot_count; k++) {
			channel->slots[k].id = (uint16_t)k;
		}
		if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, channel->fd, &event) < 0) {
			load_die_errno("epoll_ctl");
		}
	}
}

static bool read_option(struct load *load, int option, const char *text)
{
	switch (option) {
	case 'a':
		load->server = load_addr(text);
		return true;
	case 'f':
		load->first = (uint32_t)load_number(text);
		return true;
	case 'n':
		load->names = (uint32_t)load_number(text);
		return true;
	case 'o':
		load->sequential = strcmp(text, "sequential") == 0;
		return load->sequential || strcmp(text, "random") == 0;
	case 'c':
		load->count = load_number(text);
		return true;
	case 'w':
		load->window = load_number(text);
		return load->window <= WINDOW_MAX;
	case 'r':
		load->rate = load_number(text);
		return true;
	case 's':
		load->run_ms = load_number(text);
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "server", required_argument, NULL, 'a' },
		{ "first", required_argument, NULL, 'f' },
		{ "names", required_argument, NULL, 'n' },
		{ "order", required_argument, NULL, 'o' },
		{ "count", required_argument, NULL, 'c' },
		{ "window", required_argument, NULL, 'w' },
		{ "rate", required_argument, NULL, 'r' },
		{ "ms", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	static struct load load = {
		.names = 1, .window = 256, .run_ms = 1000, .random = 88172645463325252
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (!read_option(&load, option, optarg)) {
			load_die("usage: dns_load --server IP:PORT ...; a window is at most 4096");
		}
	}
	if (!load.server.sa.sa_family || (uint64_t)load.first + load.names > DNS_BENCH_NAMES) {
		load_die("usage: dns_load --server IP:PORT ...; names are below 10000000");
	}
	open_channels(&load);
	load_wait_for_go();
	run(&load);
	return 0;
}
