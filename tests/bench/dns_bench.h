/* SPDX-License-Identifier: ISC */
/*
 * The names of the DNS benchmark and their addresses, which the load knows without asking: number n
 * is n0000000.bench.zone and its like (19 characters), and its address is made from n.
 */
#ifndef TESTS_BENCH_DNS_BENCH_H
#define TESTS_BENCH_DNS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DNS_BENCH_HEADER = 12,
	DNS_BENCH_NAME = 21, /* in wire form */
	DNS_BENCH_QUERY = DNS_BENCH_HEADER + DNS_BENCH_NAME + 4,
	DNS_BENCH_DIGITS = 7,
	DNS_BENCH_NAMES = 10000000,
	DNS_BENCH_TTL = 86400,
};

/* Write the query for the A record of name n, with this id. */
void dns_bench_query(uint8_t query[DNS_BENCH_QUERY], uint16_t id, uint32_t n);

/* Make the answer to a query out of it, in place: a message of len octets in a buffer of max.
 * Returns its length, or 0 when it is no such query. */
size_t dns_bench_answer(uint8_t *message, size_t len, size_t max);

/* Whether a message is the right answer to the query for name n. */
bool dns_bench_is_answer(const uint8_t *message, size_t len, uint32_t n);

#endif
