/* SPDX-License-Identifier: ISC */
/*
 * What the tests of ares_io share: a channel, two scripted servers behind it, and how its requests
 * ended.
 */
#ifndef TESTS_UNIT_COMMON_ARES_BENCH_H
#define TESTS_UNIT_COMMON_ARES_BENCH_H

#include "common/dns/ares_io.h"

#include "tests/unit/common/fake_dns.h"

enum {
	TYPE_A = 1,
	TYPE_CNAME = 5,
	TYPE_TXT = 16,
	TYPE_AAAA = 28,
	FORMERR = 1,
	SERVFAIL = 2,
	NXDOMAIN = 3,
	NOTIMP = 4,
	REFUSED = 5,
	FLAG_TC = 0x02,
	BENCH_SERVERS = 2,
};

struct bench {
	struct loop *loop;
	struct fake_dns servers[BENCH_SERVERS];
	struct addr addrs[BENCH_SERVERS];
	struct ares_io *io;
	unsigned answer_count;
	unsigned status_count[ARES_IO_CANCELLED + 1];
	bool free_in_callback;     /* the next callback calls ares_io_free() */
	unsigned send_in_callback; /* so many callbacks begin another exchange */

	/* By bench_hold(). */
	struct fake_held held;
	bool held_ports[65536];
	bool held_ids[65536];
};

/* Start the servers, with no channel yet. The argument of the servers is the bench. */
struct bench *bench_new(void (*on_query)(const struct fake_query *query));

/* Make the channel; what is 0 in config gets a default, one server among it. */
void bench_open(struct bench *bench, struct ares_io_config config);

/* Both. */
struct bench *bench_start(void (*on_query)(const struct fake_query *query),
			  struct ares_io_config config);
void bench_stop(struct bench *bench);

/* What a server may do: keep the query to answer it later. */
void bench_hold(const struct fake_query *query);

/* How one exchange or lookup ended. */
struct outcome {
	struct bench *bench;
	unsigned calls;
	enum ares_io_status status;
	uint8_t *bytes;
	size_t len;
	bool via_tcp;
	struct ares_io_address addresses[ARES_IO_ADDRESSES_MAX];
	size_t count;
};

void bench_exchange(struct bench *bench, struct outcome *outcome, uint16_t id, const char *name);
void bench_lookup(struct bench *bench, struct outcome *outcome, const char *name, int family);

/* The callback of an exchange whose argument is an outcome. */
void outcome_on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		       bool via_tcp);

/* Assert that the answer is header and question of this query, with this rcode. */
void outcome_check(struct outcome *outcome, const char *name, uint8_t rcode);
void outcome_done(struct outcome *outcome);

#endif
