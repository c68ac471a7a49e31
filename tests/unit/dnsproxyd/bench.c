/* SPDX-License-Identifier: ISC */
#include "tests/unit/dnsproxyd/bench.h"

#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/dnsproxyd/dnspacket.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum {
	TEXT_MAX = 4096,
	BUF_MAX = 1024,
	WRONG_IDS = 12,
	FLAG_TC = 0x02,
	NAME_AT = 12,
	ARCOUNT_AT = 11,
};

/* --- servers --------------------------------------------------------------------------------- */

static size_t name_end(const struct fake_query *query)
{
	size_t pos = NAME_AT;

	while (query->bytes[pos] != 0) {
		pos += 1u + query->bytes[pos];
	}
	return pos;
}

static bool has_upper_case(const struct fake_query *query)
{
	for (size_t i = NAME_AT; i < name_end(query); i++) {
		if (isupper(query->bytes[i])) {
			return true;
		}
	}
	return false;
}

static size_t good_answer(const struct fake_query *query, uint32_t ttl_s, uint8_t *buf)
{
	size_t len = fake_dns_answer(query, 0, buf);

	return fake_dns_add_record(buf, len, DNS_TYPE_A, ttl_s, "\xc0\x00\x02\x07", 4);
}

static void reply_good(const struct fake_query *query, uint32_t ttl_s, bool lower)
{
	uint8_t buf[BUF_MAX];
	size_t len = good_answer(query, ttl_s, buf);

	for (size_t i = NAME_AT; lower && i < name_end(query); i++) {
		buf[i] = (uint8_t)tolower(buf[i]);
	}
	fake_dns_send(query, buf, len);
}

static void reply_truncated(const struct fake_query *query)
{
	uint8_t buf[BUF_MAX];
	size_t len = fake_dns_answer(query, 0, buf);

	buf[2] |= FLAG_TC;
	fake_dns_send(query, buf, len);
}

static void reply_wrong_ids(const struct fake_query *query)
{
	uint8_t buf[BUF_MAX];
	size_t len = good_answer(query, 60, buf);

	for (unsigned i = 1; i <= WRONG_IDS; i++) {
		buf[1] = (uint8_t)(query->bytes[1] ^ i);
		fake_dns_send(query, buf, len);
	}
}

static void reply_garbage(const struct fake_query *query)
{
	uint8_t buf[BUF_MAX];
	size_t len = fake_dns_answer(query, 0, buf);

	/* An A record of three octets. */
	fake_dns_send(query, buf, fake_dns_add_record(buf, len, DNS_TYPE_A, 60, "abc", 3));
}

static void act(struct bench_server *server, const struct fake_query *query)
{
	bool has_opt = query->bytes[ARCOUNT_AT] != 0;

	switch (server->mode) {
	case BENCH_SILENT:
		break;
	case BENCH_SERVFAIL:
		fake_dns_reply(query, DNS_RCODE_SERVFAIL);
		break;
	case BENCH_REFUSED:
		fake_dns_reply(query, DNS_RCODE_REFUSED);
		break;
	case BENCH_TRUNCATED:
	case BENCH_TRUNCATED_ALWAYS:
		if (query->conn && server->mode == BENCH_TRUNCATED) {
			reply_good(query, server->ttl_s, false);
		} else {
			reply_truncated(query);
		}
		break;
	case BENCH_NO_EDNS:
	case BENCH_FORMERR:
		if (has_opt || server->mode == BENCH_FORMERR) {
			fake_dns_reply(query, DNS_RCODE_FORMERR);
		} else {
			reply_good(query, server->ttl_s, false);
		}
		break;
	case BENCH_WRONG_IDS:
		if (!query->conn) {
			reply_wrong_ids(query);
			break;
		}
		reply_good(query, server->ttl_s, false);
		break;
	case BENCH_DEAF_TO_CASE:
		if (has_upper_case(query)) {
			break;
		}
		reply_good(query, server->ttl_s, false);
		break;
	case BENCH_GOOD:
	case BENCH_LOWER_CASE:
		reply_good(query, server->ttl_s, server->mode == BENCH_LOWER_CASE);
		break;
	case BENCH_RESET:
		if (query->conn) {
			fake_dns_reset(query);
		}
		break;
	case BENCH_GARBAGE:
		reply_garbage(query);
		break;
	}
}

static void on_query(const struct fake_query *query)
{
	struct bench_server *server = container_of(query->server, struct bench_server, dns);

	ck_assert_uint_lt(server->count, BENCH_SEEN_MAX);
	server->seen[server->count++] = (struct bench_seen){
		.at_ms = clock_passed_ms(),
		.id = (uint16_t)(query->bytes[0] << 8 | query->bytes[1]),
		.by_tcp = query->conn != NULL,
		.has_opt = query->bytes[ARCOUNT_AT] != 0,
		.mixed_case = has_upper_case(query),
	};
	if (!query->conn || fake_dns_connection(query) >= server->silent_before) {
		act(server, query);
	}
}

/* --- configuration --------------------------------------------------------------------------- */

static void insert_addresses(const struct bench *bench, const char *text, char ret_text[TEXT_MAX])
{
	char addr[ADDR_TEXT_MAX];
	size_t len = 0;

	for (; *text; text++) {
		if (*text == '$') {
			const struct bench_server *server = &bench->servers[*++text - '0'];

			len += (size_t)snprintf(ret_text + len, TEXT_MAX - len, "%s",
						addr_format(&server->dns.addr, addr, sizeof addr));
		} else {
			ret_text[len++] = *text;
		}
		ck_assert_uint_lt(len, TEXT_MAX - 1);
	}
	ret_text[len] = '\0';
}

struct bench_config bench_configure(struct bench *bench, const char *template)
{
	struct bench_config old = { bench->params, bench->config };
	struct ini_error error = { "" };
	char text[TEXT_MAX];

	insert_addresses(bench, template, text);
	bench->params = params_new(&config_schema);
	ck_assert_ptr_nonnull(bench->params);
	ck_assert_msg(params_read_bytes(bench->params, "test.conf", text, strlen(text), &error) ==
				      0 &&
			      params_finish(bench->params, &error) == 0,
		      "%s", error.text);
	bench->config = config_new(bench->params, &error);
	ck_assert_msg(bench->config != NULL, "%s", error.text);
	return old;
}

void bench_forget(struct bench_config old)
{
	config_free(old.config);
	params_free(old.params);
}

/* --- life ------------------------------------------------------------------------------------ */

void bench_start(struct bench *bench, const char *text)
{
	clock_stop();
	*bench = (struct bench){ .loop = loop_new(), .metrics = metrics_new(METRIC_COUNT) };
	ck_assert(bench->loop && bench->metrics);
	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		fake_dns_start(&bench->servers[i].dns, bench->loop, "127.0.0.1", on_query);
		bench->servers[i].mode = BENCH_GOOD;
		bench->servers[i].ttl_s = 300;
	}
	bench_configure(bench, text);
}

void bench_stop(struct bench *bench)
{
	bench_forget((struct bench_config){ bench->params, bench->config });
	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		fake_dns_stop(&bench->servers[i].dns);
	}
	clock_settle(bench->loop);
	loop_free(bench->loop);
	free(bench->metrics);
	clock_go_on();
}

/* --- looking --------------------------------------------------------------------------------- */

int64_t bench_counter(const struct bench *bench, unsigned metric)
{
	return metrics_get(bench->metrics, metric);
}

unsigned bench_sends(const struct bench *bench)
{
	unsigned count = 0;

	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		count += bench->servers[i].count;
	}
	return count;
}

void bench_expect_seen(struct bench *bench, unsigned server, unsigned count)
{
	clock_reach(bench->loop, &bench->servers[server].count, count);
	ck_assert_uint_eq(bench->servers[server].count, count);
}

void bench_query(struct dnsmsg_query *ret_query, const char *name)
{
	packet_parse_query(ret_query, name, DNS_TYPE_A, DNSMSG_RD, 1232, 0);
}
