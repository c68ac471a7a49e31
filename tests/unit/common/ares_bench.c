/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/ares_bench.h"

#include "common/container.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct bench *bench_new(void (*on_query)(const struct fake_query *query))
{
	struct bench *bench = calloc(1, sizeof *bench);

	ck_assert_ptr_nonnull(bench);
	ck_assert_int_eq(ares_io_global_init(), 0);
	bench->loop = loop_new();
	for (unsigned i = 0; i < BENCH_SERVERS; i++) {
		fake_dns_start(&bench->servers[i], bench->loop, "127.0.0.1", on_query);
		bench->servers[i].arg = bench;
		bench->addrs[i] = bench->servers[i].addr;
	}
	return bench;
}

void bench_open(struct bench *bench, struct ares_io_config config)
{
	config.loop = bench->loop;
	config.servers = bench->addrs;
	config.server_count = config.server_count ? config.server_count : 1;
	config.timeout_ms = config.timeout_ms ? config.timeout_ms : 1000;
	config.tries = config.tries ? config.tries : 1;
	bench->io = ares_io_new(&config);
	ck_assert_ptr_nonnull(bench->io);
}

struct bench *bench_start(void (*on_query)(const struct fake_query *query),
			  struct ares_io_config config)
{
	struct bench *bench = bench_new(on_query);

	bench_open(bench, config);
	return bench;
}

void bench_stop(struct bench *bench)
{
	ares_io_free(bench->io);
	for (unsigned i = 0; i < BENCH_SERVERS; i++) {
		fake_dns_stop(&bench->servers[i]);
	}
	loop_free(bench->loop);
	ares_io_global_done();
	free(bench);
}

static void outcome_count(struct outcome *outcome, enum ares_io_status status)
{
	struct bench *bench = outcome->bench;

	ck_assert_uint_eq(++outcome->calls, 1);
	outcome->status = status;
	bench->answer_count++;
	bench->status_count[status]++;
}

void bench_exchange(struct bench *bench, struct outcome *outcome, uint16_t id, const char *name)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, id, name, TYPE_A, true);

	*outcome = (struct outcome){ .bench = bench };
	ares_io_send(bench->io, query, len, outcome_on_answer, outcome);
}

void outcome_on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		       bool via_tcp)
{
	struct outcome *outcome = arg;
	struct bench *bench = outcome->bench;

	outcome_count(outcome, status);
	ck_assert((status == ARES_IO_OK) == (answer != NULL));
	ck_assert(answer || len == 0);
	outcome->len = len;
	outcome->via_tcp = via_tcp;
	if (answer) {
		outcome->bytes = malloc(len);
		ck_assert_ptr_nonnull(outcome->bytes);
		memcpy(outcome->bytes, answer, len);
	}
	if (bench->free_in_callback) {
		bench->free_in_callback = false;
		ares_io_free(bench->io);
		bench->io = NULL;
	}
	if (bench->send_in_callback > 0) {
		bench->send_in_callback--;
		free(outcome->bytes);
		bench_exchange(bench, outcome, (uint16_t)bench->send_in_callback, "again.example");
	}
}

void outcome_done(struct outcome *outcome)
{
	free(outcome->bytes);
	outcome->bytes = NULL;
}

void outcome_check(struct outcome *outcome, const char *name, uint8_t rcode)
{
	uint8_t expected[512];
	size_t len = fake_dns_plain_answer(expected, 0, name, TYPE_A, rcode);

	ck_assert_int_eq(outcome->status, ARES_IO_OK);
	ck_assert_uint_eq(outcome->len, len);
	/* From c-ares 1.28 on the id is its own. */
	ck_assert_mem_eq(outcome->bytes + 2, expected + 2, len - 2);
}

void bench_hold(const struct fake_query *query)
{
	struct bench *bench = query->server->arg;

	fake_dns_hold(&bench->held, query);
	bench->held_ids[query->bytes[0] << 8 | query->bytes[1]] = true;
	if (!query->conn) {
		bench->held_ports[addr_port(&query->client)] = true;
	}
}

static void outcome_on_lookup(void *arg, enum ares_io_status status,
			      const struct ares_io_address *addresses, size_t count)
{
	struct outcome *outcome = arg;

	outcome_count(outcome, status);
	ck_assert((status == ARES_IO_OK) == (count > 0));
	ck_assert_uint_le(count, ARES_IO_ADDRESSES_MAX);
	outcome->count = count;
	for (size_t i = 0; i < count; i++) {
		outcome->addresses[i] = addresses[i];
	}
	if (outcome->bench->free_in_callback) {
		outcome->bench->free_in_callback = false;
		ares_io_free(outcome->bench->io);
		outcome->bench->io = NULL;
	}
}

void bench_lookup(struct bench *bench, struct outcome *outcome, const char *name, int family)
{
	*outcome = (struct outcome){ .bench = bench };
	ares_io_lookup(bench->io, name, family, outcome_on_lookup, outcome);
}
