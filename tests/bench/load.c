/* SPDX-License-Identifier: ISC */
#include "tests/bench/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	UDP_BUFFER_BYTES = 4 * 1024 * 1024,
	STEPS = 256, /* buckets for each power of two */
	STEPS_LOG2 = 8,
};

static uint8_t pattern[LOAD_PATTERN_PERIOD + LOAD_PATTERN_RUN];

uint64_t load_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void load_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void load_die_errno(const char *what)
{
	load_die("%s: %s", what, strerror(errno));
}

void load_pattern_init(void)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < LOAD_PATTERN_PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = (uint8_t)x;
	}
	for (size_t i = LOAD_PATTERN_PERIOD; i < sizeof pattern; i++) {
		pattern[i] = pattern[i - LOAD_PATTERN_PERIOD];
	}
}

const uint8_t *load_pattern(uint64_t offset)
{
	return pattern + offset % LOAD_PATTERN_PERIOD;
}

/* The first STEPS buckets hold one value each; above, each power of two has STEPS buckets. */
static size_t bucket_of(uint64_t ns)
{
	unsigned log2;

	if (ns < STEPS) {
		return (size_t)ns;
	}
	log2 = 63u - (unsigned)__builtin_clzll(ns);
	return (log2 - STEPS_LOG2 + 1) * STEPS + ((ns >> (log2 - STEPS_LOG2)) & (STEPS - 1));
}

/* The largest value of a bucket. */
static uint64_t bucket_end(size_t bucket)
{
	size_t power = bucket / STEPS;

	if (power == 0) {
		return bucket;
	}
	return (((uint64_t)STEPS + bucket % STEPS + 1) << (power - 1)) - 1;
}

void load_record(struct load_histogram *h, uint64_t ns)
{
	h->buckets[bucket_of(ns)]++;
	h->count++;
}

double load_percentile_us(const struct load_histogram *h, double percent)
{
	uint64_t wanted = (uint64_t)((double)h->count * percent / 100);
	uint64_t seen = 0;

	for (size_t i = 0; i < LOAD_HISTOGRAM_BUCKETS && h->count > 0; i++) {
		seen += h->buckets[i];
		if (seen > wanted || seen == h->count) {
			return (double)bucket_end(i) / 1000;
		}
	}
	return 0;
}

struct addr load_addr(const char *text)
{
	struct addr a;

	if (addr_parse(text, 0, &a) < 0) {
		load_die("\"%s\" is no IP:PORT", text);
	}
	return a;
}

uint64_t load_number(const char *text)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end != '\0' || n == 0) {
		load_die("\"%s\" is no number from 1 on", text);
	}
	return n;
}

void load_wait_for_go(void)
{
	char line[16];

	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin)) {
		load_die("nobody said go");
	}
}

int load_udp_socket(const struct addr *peer)
{
	int fd = socket(peer->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int bytes = UDP_BUFFER_BYTES;

	if (fd < 0 || connect(fd, &peer->sa, addr_len(peer)) < 0) {
		load_die_errno("a UDP socket");
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	return fd;
}
