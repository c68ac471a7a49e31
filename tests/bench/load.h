/* SPDX-License-Identifier: ISC */
/*
 * What the load generators share: time, percentiles, bytes that can be checked, options. These
 * programs are run by tests/bench/bench; each prints "ready", waits for a line, works, and prints
 * one line of JSON. A wrong byte or answer ends them with exit status 1.
 */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "common/addr.h"

#include <stddef.h>
#include <stdint.h>

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

uint64_t load_now_ns(void);

/* Print to standard error and exit with status 1. */
void load_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The same with the text of errno. */
void load_die_errno(const char *what) __attribute__((noreturn));

/* Every octet of a stream is known from its place; the period is prime, so that octets that got
 * lost or moved show. At least LOAD_PATTERN_RUN octets from `offset` on; static.
 * load_pattern_init() first. */
#define LOAD_PATTERN_PERIOD 65521
#define LOAD_PATTERN_RUN    (256 * 1024)
void load_pattern_init(void);
const uint8_t *load_pattern(uint64_t offset);

/* Durations, at most 0.4 % apart in a bucket. */
#define LOAD_HISTOGRAM_BUCKETS 16384
struct load_histogram {
	uint64_t buckets[LOAD_HISTOGRAM_BUCKETS];
	uint64_t count;
};

void load_record(struct load_histogram *h, uint64_t ns);

/* In microseconds; 0 when nothing was recorded. */
double load_percentile_us(const struct load_histogram *h, double percent);

/* "IP:PORT", or exit. */
struct addr load_addr(const char *text);

/* A number from 1 on, or exit. */
uint64_t load_number(const char *text);

/* Say "ready" and wait for a line. */
void load_wait_for_go(void);

/* A non-blocking UDP socket with large buffers, connected to `peer`. */
int load_udp_socket(const struct addr *peer);

#endif
