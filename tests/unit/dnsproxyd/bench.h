/* SPDX-License-Identifier: ISC */
/*
 * What the replays of the way upstream share: a loop with a clock that stands still (fake_clock.h),
 * servers that do as they are told, and a configuration that names them. Failures abort the test.
 */
#ifndef TESTS_UNIT_DNSPROXYD_BENCH_H
#define TESTS_UNIT_DNSPROXYD_BENCH_H

#include "common/metrics.h"
#include "common/config/params.h"

#include "dnsproxyd/config.h"
#include "dnsproxyd/message/dnsmsg.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/common/fake_dns.h"

#include <stdbool.h>

#define BENCH_SERVERS_MAX 4
#define BENCH_SEEN_MAX    128

/* What a server does with each query. */
enum bench_mode {
	BENCH_SILENT,
	BENCH_GOOD, /* one A record, with the server's ttl_s */
	BENCH_SERVFAIL,
	BENCH_REFUSED,
	BENCH_TRUNCATED,        /* by UDP; good by TCP */
	BENCH_TRUNCATED_ALWAYS, /* by TCP too */
	BENCH_NO_EDNS,          /* FORMERR to queries with OPT, else good */
	BENCH_FORMERR,          /* whatever is asked, without OPT */
	BENCH_LOWER_CASE,       /* a good answer to the question in lower case */
	BENCH_DEAF_TO_CASE,     /* silent unless the question is in lower case */
	BENCH_WRONG_IDS, /* by UDP twelve answers with wrong ids, then nothing; good by TCP */
	BENCH_RESET,     /* by TCP; silent by UDP */
	BENCH_GARBAGE,
};

/* One query as a server saw it. */
struct bench_seen {
	uint64_t at_ms;
	uint16_t id;
	bool by_tcp;
	bool has_opt;
	bool mixed_case;
};

struct bench_server {
	struct fake_dns dns;
	enum bench_mode mode;
	uint32_t ttl_s;
	unsigned silent_before; /* connections with a smaller number get no answers */
	unsigned count;         /* of all that came */
	struct bench_seen seen[BENCH_SEEN_MAX];
};

struct bench {
	struct loop *loop;
	struct metrics *metrics;
	struct bench_server servers[BENCH_SERVERS_MAX];
	struct params *params;
	struct config *config;
};

/* Start the servers and make the configuration: `text`, in which $0 to $3 stand for the servers'
 * addresses. Valid until bench_stop(). */
void bench_start(struct bench *bench, const char *text);

/* Make another configuration; returns the old one's params, to be given to bench_forget(). */
struct bench_config {
	struct params *params;
	struct config *config;
};
struct bench_config bench_configure(struct bench *bench, const char *text);
void bench_forget(struct bench_config old);

void bench_stop(struct bench *bench);

int64_t bench_counter(const struct bench *bench, unsigned metric);

/* Queries that all servers saw. */
unsigned bench_sends(const struct bench *bench);

/* Wait, while the clock stands still, until the server has seen so many. */
void bench_expect_seen(struct bench *bench, unsigned server, unsigned count);

/* A client's question for type A of a name. */
void bench_query(struct dnsmsg_query *ret_query, const char *name);

#endif
