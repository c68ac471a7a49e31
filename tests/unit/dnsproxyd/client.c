/* SPDX-License-Identifier: ISC */
#include "tests/unit/dnsproxyd/client.h"

#include "common/container.h"
#include "common/crypto.h"

#include "dnsproxyd/message/dnsreply.h"
#include "dnsproxyd/metrics.h"

#include <check.h>
#include <stdlib.h>

enum {
	CLIENT_ID = 0x4711,
	WAIT_MAX_MS = 10000,
};

static void on_idle(struct query_context *context)
{
	container_of(context, struct client, context)->idle_count++;
}

void client_start(struct client *client, const char *config)
{
	static const struct crypto_key key;
	struct bench *bench = &client->bench;
	struct query_context *c = &client->context;
	struct fetcher *f = &c->fetcher;

	*client = (struct client){ .idle_count = 0 };
	bench_start(bench, config);
	*c = (struct query_context){
		.loop = bench->loop,
		.metrics = bench->metrics,
		.cache = cache_new(bench->config->cache->size_bytes, crypto_siphash, &key),
		.trail_key = &key,
		.ratelimit = ratelimit_new(crypto_siphash, &key),
		.config = bench->config,
		.message = malloc(DNSMSG_MAX),
		.on_idle = on_idle,
	};
	*f = (struct fetcher){
		.loop = bench->loop,
		.metrics = bench->metrics,
		.config = bench->config,
		.cache = c->cache,
		.inflight = inflight_new(),
		.failures = failures_new(),
		.groups = groups_new(bench->loop, bench->metrics, bench->config, &key, NULL),
		.message = c->message,
	};
	fetcher_init(f);
	f->port = inflight_port_new(f->inflight, bench->loop);
	ck_assert(c->cache && c->ratelimit && c->message && f->port && f->failures && f->groups);
}

void client_stop(struct client *client)
{
	struct query_context *c = &client->context;
	struct fetcher *f = &c->fetcher;

	if (client->waiting) {
		query_cancel(&client->query);
	}
	fetch_cancel_all(f);
	clock_settle(client->bench.loop);
	ck_assert_uint_eq(f->count, 0);
	ck_assert_uint_eq(c->open_count, 0);
	groups_free(f->groups);
	fetcher_done(f);
	failures_free(f->failures);
	clock_settle(client->bench.loop);
	inflight_free(f->inflight);
	ratelimit_free(c->ratelimit);
	cache_free(c->cache);
	free(c->message);
	bench_stop(&client->bench);
}

static void take_reply(struct client *client, const uint8_t *reply, size_t len)
{
	const struct dnsmsg_query *q = &client->question;
	struct dnsreply seen;

	client->waiting = false;
	client->reply_count++;
	client->replied_ms = clock_passed_ms();
	ck_assert_int_eq(dnsreply_check(reply, len, CLIENT_ID, q->question, q->question_len, &seen),
			 DNSREPLY_OK);
	client->rcode = seen.rcode;
	client->ede = seen.reason.is_set ? seen.reason.code : CLIENT_NO_EDE;
	client->ttl_s = seen.ttl_s;
	client->answers = (unsigned)(reply[6] << 8 | reply[7]);
}

static void on_done(struct query *query, const uint8_t *reply, size_t len)
{
	take_reply(container_of(query, struct client, query), reply, len);
}

bool client_ask(struct client *client, const char *name)
{
	struct addr from;
	const struct query_origin origin = { .client = &from, .way = QUERY_BY_UDP };
	struct query_draft draft;
	uint8_t wire[512];
	static uint8_t buf[DNSMSG_MAX];
	size_t wire_len = fake_dns_query(wire, CLIENT_ID, name, DNS_TYPE_A, true);
	size_t len = 0;

	ck_assert(!client->waiting);
	ck_assert_int_eq(addr_parse_ip("127.0.0.1", &from), 0);
	client->asked_ms = clock_passed_ms();
	/* Let the loop notice what time it is. */
	clock_settle(client->bench.loop);
	switch (query_try(&client->context, &origin, wire, wire_len, &draft, buf, sizeof buf,
			  &len)) {
	case QUERY_DROPPED:
		ck_abort_msg("a question was dropped");
		break;
	case QUERY_ANSWERED:
		client->question = draft.question;
		break;
	case QUERY_PENDING:
		client->question = draft.question;
		len = query_start(&client->query, &client->context, &origin, &draft, on_done, buf,
				  sizeof buf);
		client->waiting = len == 0;
		break;
	}
	if (len > 0) {
		take_reply(client, buf, len);
	}
	return len > 0;
}

unsigned client_wait(struct client *client)
{
	unsigned settled = 0;

	while (client->waiting && settled++ < 8) {
		clock_settle(client->bench.loop);
	}
	while (client->waiting) {
		ck_assert_uint_lt(clock_passed_ms() - client->asked_ms, WAIT_MAX_MS);
		clock_pass(client->bench.loop, 1);
	}
	return (unsigned)(client->replied_ms - client->asked_ms);
}

void client_get(struct client *client, const char *name)
{
	client_ask(client, name);
	client_wait(client);
}
