/* SPDX-License-Identifier: ISC */
/* What waits for a server's address, which of its addresses is used, and what channels are made
 * with. What happens on them is seen in the tests of ares_io and upstream. */
#include "dnsproxyd/upstream/carrier.h"

#include "common/container.h"
#include "common/dns/transport_https.h"
#include "common/dns/transport_tls.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/common/log_seen.h"
#include "tests/unit/dnsproxyd/bench.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>

enum {
	TIMEOUT_MS = 2000,
	SILENCE_MS = 1500, /* after which a stream is dead */
	MAX_OPEN = 8,
	SENDS_MAX = 16,
	TICK_MS = 100, /* how exactly c-ares tells of a timeout */
	NO_ID = 0xffff,
	NAME_AT = 12,
};

#define BY_NAME "[upstream default]\nserver = $0\nbootstrap = $1\n"

/* How one message ended. */
struct sending {
	uint16_t id; /* that it has on its way */
	unsigned calls;
	enum ares_io_status status;
	bool sends_again; /* from within its call back */
};

/* Server 0 is asked, server 1 knows its address; it is `found`. */
static struct {
	struct bench bench;
	struct carrier *carrier;
	const char *found;
	struct sending sendings[SENDS_MAX];
	unsigned send_count;
	unsigned done_count;
	unsigned dropped_count;
	struct fake_query held; /* by server 0, to be answered later */
	uint8_t held_bytes[512];
	bool hold;
	char asked[SENDS_MAX + 1]; /* of server 0: the first letters of the names */
	unsigned wrong_ids;        /* messages that answer nothing, before each answer */
} t;

/* --- channels are made here ------------------------------------------------------------------ */

struct ares_io *__real_ares_io_new(const struct ares_io_config *config);
struct ares_io *__wrap_ares_io_new(const struct ares_io_config *config);

static struct ares_io_config made; /* the last one, but for its borrowed servers */
static unsigned made_count;

struct ares_io *__wrap_ares_io_new(const struct ares_io_config *config)
{
	made = *config;
	made_count++;
	return __real_ares_io_new(config);
}

/* --- the bench ------------------------------------------------------------------------------- */

static void on_address_query(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);
	struct addr a;

	t.bench.servers[1].count++;
	if (t.bench.servers[1].mode != BENCH_GOOD) {
		fake_dns_reply(query, DNS_RCODE_SERVFAIL);
		return;
	}
	ck_assert_int_eq(addr_parse_ip(t.found, &a), 0);
	if (fake_dns_type(query) == DNS_TYPE_A) {
		len = fake_dns_add_record(buf, len, DNS_TYPE_A, 60, &a.in4.sin_addr, 4);
	}
	fake_dns_send(query, buf, len);
}

static void on_query(const struct fake_query *query)
{
	ck_assert_uint_lt(t.bench.servers[0].count, SENDS_MAX);
	t.asked[t.bench.servers[0].count++] = (char)query->bytes[NAME_AT + 1];
	if (t.hold) {
		ck_assert_uint_le(query->len, sizeof t.held_bytes);
		t.held = *query;
		memcpy(t.held_bytes, query->bytes, query->len);
		t.held.bytes = t.held_bytes;
	} else {
		for (unsigned i = 1; i <= t.wrong_ids; i++) {
			uint8_t buf[512];
			size_t len = fake_dns_answer(query, 0, buf);

			buf[0] ^= (uint8_t)i;
			fake_dns_send(query, buf, len);
		}
		fake_dns_reply(query, 0);
	}
}

static void start_bench(const char *config)
{
	memset(&t, 0, sizeof t);
	t.found = "127.0.0.1";
	made_count = 0;
	log_seen_forget();
	ck_assert_int_eq(ares_io_global_init(), 0);
	bench_start(&t.bench, config);
	t.bench.servers[0].dns.on_query = on_query;
	t.bench.servers[1].dns.on_query = on_address_query;
}

static void on_dropped(void *arg, const uint8_t *question, size_t len, bool other_case)
{
	(void)question;
	(void)len;
	(void)other_case;
	ck_assert_ptr_eq(arg, &t);
	t.dropped_count++;
}

static void make(const struct endpoint *endpoint)
{
	const struct carrier_config config = {
		.loop = t.bench.loop,
		.metrics = t.bench.metrics,
		.endpoint = *endpoint,
		.group = &t.bench.config->groups[0],
		.timeout_ms = TIMEOUT_MS,
		.max_open = MAX_OPEN,
		.on_dropped = on_dropped,
		.on_dropped_arg = &t,
	};

	t.carrier = carrier_new(&config);
	ck_assert_ptr_nonnull(t.carrier);
}

/* Of the only server that is configured. */
static void start(const char *config)
{
	start_bench(config);
	make(&t.bench.config->groups[0].servers[0]);
}

/* By TCP, for which an address that nobody is at fails at once. */
static void start_by_name(void)
{
	struct endpoint endpoint = { .protocol = ENDPOINT_TCP, .name = "dns.example" };

	start_bench(BY_NAME);
	endpoint.port = addr_port(&t.bench.servers[0].dns.addr);
	make(&endpoint);
}

static void stop(void)
{
	carrier_free(t.carrier);
	bench_stop(&t.bench);
	ares_io_global_done();
}

static struct sending *send_one(bool by_stream);

static void on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		      bool via_tcp)
{
	struct sending *sending = arg;

	(void)via_tcp;
	ck_assert_uint_eq(++sending->calls, 1);
	ck_assert_int_eq(status == ARES_IO_OK, answer != NULL);
	if (answer && sending->id != NO_ID) {
		ck_assert_uint_eq(sending->id, answer[0] << 8 | answer[1]);
	}
	ck_assert(answer || len == 0);
	sending->status = status;
	t.done_count++;
	if (sending->sends_again) {
		send_one(false);
	}
}

static struct sending *send_one(bool by_stream)
{
	struct sending *sending = &t.sendings[t.send_count];
	const char name[] = { (char)('a' + t.send_count), '.', 'e', 'x', '\0' };
	uint8_t query[512];
	size_t len =
		fake_dns_query(query, (uint16_t)(0x100 + t.send_count), name, DNS_TYPE_A, true);

	ck_assert_uint_lt(t.send_count, SENDS_MAX);
	t.send_count++;
	sending->id = NO_ID;
	carrier_send(t.carrier, by_stream, query, len, on_answer, sending, &sending->id);
	return sending;
}

static void expect(const struct sending *sending, enum ares_io_status status)
{
	for (unsigned i = 0; i < 1000 && sending->calls == 0; i++) {
		ck_assert_int_eq(loop_turn(t.bench.loop, 1), 0);
	}
	ck_assert_uint_eq(sending->calls, 1);
	ck_assert_str_eq(ares_io_status_text(sending->status), ares_io_status_text(status));
}

/* --- addresses ------------------------------------------------------------------------------- */

/* Messages wait for the address, and are sent in their order then. */
START_TEST(test_wait_for_address)
{
	struct sending *sendings[3];

	start_by_name();
	ck_assert_uint_eq(made_count, 1); /* for the source */
	for (unsigned i = 0; i < 3; i++) {
		sendings[i] = send_one(false);
		ck_assert_uint_eq(sendings[i]->calls, 0);
		ck_assert_uint_eq(sendings[i]->id, NO_ID);
	}
	for (unsigned i = 0; i < 3; i++) {
		expect(sendings[i], ARES_IO_OK);
		ck_assert_uint_ne(sendings[i]->id, NO_ID);
	}
	ck_assert_uint_eq(t.bench.servers[1].count, 2); /* one lookup */
	ck_assert_str_eq(t.asked, "abc");
	ck_assert_uint_eq(made_count, 2);
	ck_assert_uint_eq(t.bench.servers[0].dns.udp_count, 0);
	/* The next one need not wait. */
	expect(send_one(false), ARES_IO_OK);
	ck_assert_uint_eq(t.bench.servers[1].count, 2);
	stop();
}
END_TEST

/* There is room for so many, and for so many again when those have gone. */
START_TEST(test_wait_limit)
{
	start_by_name();
	for (unsigned i = 0; i < MAX_OPEN; i++) {
		send_one(false);
	}
	ck_assert_uint_eq(t.done_count, 0);
	ck_assert_uint_eq(send_one(false)->calls, 1);
	expect(&t.sendings[MAX_OPEN], ARES_IO_REFUSED);
	ck_assert(clock_reach(t.bench.loop, &t.done_count, MAX_OPEN + 1));
	ck_assert_uint_eq(t.bench.servers[0].count, MAX_OPEN);
	stop();

	start_by_name();
	t.bench.servers[1].mode = BENCH_SERVFAIL;
	for (unsigned i = 0; i < MAX_OPEN; i++) {
		send_one(false);
	}
	ck_assert(clock_reach(t.bench.loop, &t.done_count, MAX_OPEN));
	clock_pass(t.bench.loop, 1000);
	ck_assert_uint_eq(send_one(false)->calls, 0);
	stop();

	/* The channel has a limit of its own; who is refused at once may be gone by then. */
	start_by_name();
	expect(send_one(false), ARES_IO_OK);
	t.hold = true;
	for (unsigned i = 0; i < MAX_OPEN; i++) {
		ck_assert_uint_eq(send_one(false)->calls, 0);
	}
	ck_assert_uint_eq(send_one(false)->calls, 1);
	expect(&t.sendings[1 + MAX_OPEN], ARES_IO_REFUSED);
	ck_assert_uint_eq(t.sendings[1 + MAX_OPEN].id, NO_ID);
	stop();
}
END_TEST

/* Without an address all that wait fail, and until the next lookup nothing waits at all. What fails
 * may be sent again at once. */
START_TEST(test_no_address)
{
	struct sending *first;

	start_by_name();
	t.bench.servers[1].mode = BENCH_SERVFAIL;
	first = send_one(false);
	first->sends_again = true;
	send_one(false);
	expect(first, ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(t.done_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		expect(&t.sendings[i], ARES_IO_UNREACHABLE);
	}
	ck_assert_uint_eq(send_one(false)->calls, 1);
	ck_assert_uint_eq(t.bench.servers[1].count, 2);
	/* But in another network. */
	carrier_note_network(t.carrier);
	t.bench.servers[1].mode = BENCH_GOOD;
	expect(send_one(false), ARES_IO_OK);
	stop();
}
END_TEST

/* Nobody is at the address that is used: the next message goes to the next one. */
START_TEST(test_other_address)
{
	start_by_name();
	t.found = "127.0.0.2";
	expect(send_one(false), ARES_IO_UNREACHABLE);
	t.found = "127.0.0.1";
	clock_pass(t.bench.loop, 1000);
	send_one(false); /* still to the old one, but looked up anew */
	ck_assert(clock_reach(t.bench.loop, &t.done_count, 2));
	ck_assert(clock_reach(t.bench.loop, &t.bench.servers[1].count, 4));
	clock_settle(t.bench.loop);
	expect(send_one(false), ARES_IO_OK);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps), 2);
	stop();
}
END_TEST

/* An answer tells nothing against an address, whatever it says. */
START_TEST(test_answers_are_no_failure)
{
	start_by_name();
	expect(send_one(false), ARES_IO_OK);
	clock_pass(t.bench.loop, 1000);
	expect(send_one(false), ARES_IO_OK);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps), 1);
	/* But silence does, be it to one message. */
	t.hold = true;
	send_one(false);
	bench_expect_seen(&t.bench, 0, 3);
	t.hold = false;
	clock_pass(t.bench.loop, 1000);
	expect(send_one(false), ARES_IO_OK);
	clock_pass(t.bench.loop, TIMEOUT_MS - 1000 + TICK_MS);
	expect(&t.sendings[2], ARES_IO_TIMEOUT);
	expect(send_one(false), ARES_IO_OK);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps), 2);
	clock_pass(t.bench.loop, 1000);
	t.hold = true;
	send_one(false);
	bench_expect_seen(&t.bench, 0, 6);
	clock_pass(t.bench.loop, SILENCE_MS);
	expect(&t.sendings[5], ARES_IO_UNREACHABLE);
	t.hold = false;
	expect(send_one(false), ARES_IO_OK);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps), 3);
	stop();
}
END_TEST

/* What is under way to an address stays there when another one is found, and gets its answer. While
 * it waits for that, there is no third way. */
START_TEST(test_old_channel)
{
	struct sending *old;

	start_by_name();
	expect(send_one(false), ARES_IO_OK);
	clock_jump(t.bench.loop, 59900);
	t.hold = true;
	old = send_one(false);
	bench_expect_seen(&t.bench, 0, 2);
	t.hold = false;
	t.found = "127.0.0.2";
	clock_pass(t.bench.loop, 100);
	expect(send_one(false), ARES_IO_OK); /* still to the old one, but looked up anew */
	ck_assert(clock_reach(t.bench.loop, &made_count, 3));
	ck_assert_uint_eq(old->calls, 0);
	expect(send_one(false), ARES_IO_UNREACHABLE);

	t.found = "127.0.0.3";
	clock_pass(t.bench.loop, 1000);
	expect(send_one(false), ARES_IO_UNREACHABLE);
	ck_assert(clock_reach(t.bench.loop, &t.bench.servers[1].count, 6));
	clock_settle(t.bench.loop);
	expect(send_one(false), ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(made_count, 3);

	ck_assert_uint_eq(old->calls, 0);
	fake_dns_reply(&t.held, 0);
	expect(old, ARES_IO_OK);
	expect(send_one(false), ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(made_count, 4);
	stop();
}
END_TEST

/* What came in the place of answers is counted for good. */
START_TEST(test_dropped_count)
{
	static const char *const found[] = { "127.0.0.2", "127.0.0.3", "127.0.0.4" };

	start_by_name();
	ck_assert_uint_eq(carrier_dropped_count(t.carrier), 0);
	t.wrong_ids = 3;
	expect(send_one(false), ARES_IO_OK);
	ck_assert_uint_eq(carrier_dropped_count(t.carrier), 3);
	for (unsigned i = 0; i < ARRAY_SIZE(found); i++) {
		unsigned before = made_count;

		clock_jump(t.bench.loop, 60000);
		t.found = found[i];
		send_one(false);
		ck_assert(clock_reach(t.bench.loop, &made_count, before + 1));
		ck_assert_uint_eq(carrier_dropped_count(t.carrier), 6);
	}
	stop();
}
END_TEST

/* Another network: what is on streams ends, on those to the address before, too. */
START_TEST(test_network)
{
	start_by_name();
	expect(send_one(false), ARES_IO_OK);
	clock_jump(t.bench.loop, 59900);
	t.hold = true;
	send_one(false);
	bench_expect_seen(&t.bench, 0, 2);
	t.found = "127.0.0.2";
	clock_pass(t.bench.loop, 100);
	send_one(false);
	ck_assert(clock_reach(t.bench.loop, &made_count, 3));
	bench_expect_seen(&t.bench, 0, 3);
	carrier_note_network(t.carrier);
	expect(&t.sendings[1], ARES_IO_UNREACHABLE);
	expect(&t.sendings[2], ARES_IO_UNREACHABLE);
	/* And it is looked up again, although that was just done. */
	t.hold = false;
	t.found = "127.0.0.1";
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps), 2);
	send_one(false);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps), 3);
	stop();
}
END_TEST

/* Streams alone: the address stays as it is. */
START_TEST(test_break_streams)
{
	start("[upstream default]\nserver = $0\n");
	t.hold = true;
	send_one(false);
	send_one(true);
	bench_expect_seen(&t.bench, 0, 2);
	carrier_break_streams(t.carrier);
	expect(&t.sendings[1], ARES_IO_UNREACHABLE);
	ck_assert_uint_eq(t.sendings[0].calls, 0);
	stop();
	ck_assert_int_eq(t.sendings[0].status, ARES_IO_CANCELLED);
}
END_TEST

/* All that waits ends with it: for the address, and for an answer. */
START_TEST(test_free)
{
	carrier_free(NULL);
	start_by_name();
	send_one(false);
	send_one(false);
	carrier_free(t.carrier);
	ck_assert_uint_eq(t.done_count, 2);
	ck_assert_int_eq(t.sendings[0].status, ARES_IO_CANCELLED);
	ck_assert_int_eq(t.sendings[1].status, ARES_IO_CANCELLED);
	t.carrier = NULL;
	clock_settle(t.bench.loop);
	ck_assert_uint_eq(bench_sends(&t.bench), 0);
	stop();

	start_by_name();
	t.hold = true;
	send_one(false);
	bench_expect_seen(&t.bench, 0, 1);
	carrier_free(t.carrier);
	ck_assert_uint_eq(t.done_count, 1);
	ck_assert_int_eq(t.sendings[0].status, ARES_IO_CANCELLED);
	t.carrier = NULL;
	stop();

	/* On the way to the address before, too. */
	start_by_name();
	expect(send_one(false), ARES_IO_OK);
	clock_jump(t.bench.loop, 59900);
	t.hold = true;
	send_one(false);
	bench_expect_seen(&t.bench, 0, 2);
	t.found = "127.0.0.2";
	clock_pass(t.bench.loop, 100);
	send_one(false);
	ck_assert(clock_reach(t.bench.loop, &made_count, 3));
	carrier_free(t.carrier);
	ck_assert_uint_eq(t.done_count, 3);
	ck_assert_int_eq(t.sendings[1].status, ARES_IO_CANCELLED);
	t.carrier = NULL;
	stop();
}
END_TEST

/* --- channels -------------------------------------------------------------------------------- */

#define STAMP_DNSCRYPT_TEXT                                                                        \
	"sdns://"                                                                                  \
	"AQcAAAAAAAAADjEyNy4wLjAuMTo4NDQzIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFDIuZG5zY3J5" \
	"cHQtY2VydC50ZXN0"

/* What a server's channel is made with. A message is sent once, each on its own transport. */
START_TEST(test_channels)
{
	static const struct {
		const char *server;
		const struct transport_ops *datagram;
		const struct transport_ops *stream;
		const char *authority; /* of HTTPS */
	} rows[] = {
		{ "127.0.0.9", NULL, NULL, NULL },
		{ "tcp://127.0.0.9", NULL, NULL, NULL },
		{ "tls://127.0.0.1", NULL, &transport_tls, NULL },
		{ "https://127.0.0.1", NULL, &transport_https, "127.0.0.1" },
		{ "https://127.0.0.1:8443/q", NULL, &transport_https, "127.0.0.1:8443" },
		{ "https://[::1]/q", NULL, &transport_https, "[::1]" },
		{ "https://[::1]:444/q", NULL, &transport_https, "[::1]:444" },
		{ "https://127.0.0.1:444/q#dns.example", NULL, &transport_https,
		  "dns.example:444" },
		{ "https://[::1]/q#dns.example", NULL, &transport_https, "dns.example" },
		{ STAMP_DNSCRYPT_TEXT, &transport_dnscrypt_udp, &transport_dnscrypt_tcp, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct https_peer *https;
		char config[512];

		snprintf(config, sizeof config,
			 "[upstream default]\nserver = %s\nauthentication = opportunistic\n",
			 rows[i].server);
		start(config);
		ck_assert_uint_eq(made_count, 1);
		ck_assert_uint_eq(made.timeout_ms, TIMEOUT_MS);
		ck_assert_uint_eq(made.max_open, MAX_OPEN);
		ck_assert_uint_eq(made.tries, 1);
		ck_assert_uint_eq(made.stream_tries, 1);
		ck_assert_ptr_null(made.route);
		ck_assert_ptr_eq(made.datagram, rows[i].datagram);
		ck_assert_ptr_eq(made.stream, rows[i].stream);
		ck_assert_int_eq(made.peer != NULL, rows[i].stream != NULL);
		https = made.peer;
		if (rows[i].authority) {
			ck_assert_str_eq(https->authority, rows[i].authority);
			ck_assert_str_eq(https->path,
					 strstr(rows[i].server, "/q") ? "/q" : "/dns-query");
		}
		stop();
	}
}
END_TEST

/* Servers that know one way only are asked that way. */
START_TEST(test_by_stream)
{
	static const struct {
		const char *config;
		bool by_stream;
		unsigned udp_count;
	} rows[] = {
		{ "[upstream default]\nserver = $0\n", false, 1 },
		{ "[upstream default]\nserver = $0\n", true, 0 },
		{ "[upstream default]\nserver = tcp://$0\n", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		start(rows[i].config);
		expect(send_one(rows[i].by_stream), ARES_IO_OK);
		ck_assert_uint_ne(t.sendings[0].id, NO_ID);
		ck_assert_uint_eq(t.bench.servers[0].dns.udp_count, rows[i].udp_count);
		ck_assert_uint_eq(t.bench.servers[0].dns.tcp_count, 1 - rows[i].udp_count);
		stop();
	}
}
END_TEST

/* Through a proxy nothing goes by datagram, and the proxy looks names up. */
START_TEST(test_proxy)
{
	static const struct {
		const char *server;
		const char *name;
		bool has_address;
	} rows[] = {
		{ "tcp://127.0.0.9:5353", "", true },
		{ "tls://127.0.0.9:5353#dns.example", "dns.example", true },
		{ "tls://dns.example:5353", "dns.example", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[ADDR_TEXT_MAX];
		char config[512];

		snprintf(config, sizeof config,
			 "[upstream default]\nserver = %s\nproxy = socks5://127.0.0.1:1\n"
			 "authentication = opportunistic\n",
			 rows[i].server);
		start(config);
		ck_assert_uint_eq(made_count, 1);
		ck_assert(made.stream_only);
		ck_assert_ptr_nonnull(made.route);
		ck_assert_str_eq(made.route->name, rows[i].name);
		ck_assert_uint_eq(made.route->port, 5353);
		ck_assert_str_eq(addr_format(&made.route->proxy.addr, text, sizeof text),
				 "127.0.0.1:1");
		ck_assert_int_eq(made.route->addr.sa.sa_family != AF_UNSPEC, rows[i].has_address);
		stop();
	}
}
END_TEST

/* How long a server keeps connections is for those by TLS alone; HTTP has words of its own. */
START_TEST(test_keepalive)
{
	start("[upstream default]\nserver = tls://127.0.0.1\nauthentication = opportunistic\n");
	carrier_note_keepalive(t.carrier, 70);
	ck_assert_uint_eq(((const struct tls_peer *)made.peer)->idle_ms, 7000);
	stop();
	start("[upstream default]\nserver = https://127.0.0.1\nauthentication = opportunistic\n");
	carrier_note_keepalive(t.carrier, 70);
	ck_assert_uint_eq(((const struct https_peer *)made.peer)->tls->idle_ms,
			  TLS_PEER_IDLE_UNKNOWN);
	stop();
}
END_TEST

/* Errors of HTTP are counted, and some of them are told. */
START_TEST(test_http_errors)
{
	const struct https_peer *https;

	start("[upstream default]\nserver = https://127.0.0.1\nauthentication = opportunistic\n");
	https = made.peer;
	for (unsigned i = 0; i < 7; i++) {
		https->on_http_error(https->arg, 503);
	}
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_upstream_http_errors), 7);
	ck_assert_uint_eq(log_seen_count("upstream-http-error"), 5);
	log_seen_expect("server=https://127.0.0.1");
	log_seen_expect("status=503");
	clock_jump(t.bench.loop, 60000);
	https->on_http_error(https->arg, 500);
	log_seen_expect("suppressed=2");
	stop();
}
END_TEST

SUITE_MAIN("carrier", test_wait_for_address, test_wait_limit, test_no_address, test_other_address,
	   test_answers_are_no_failure, test_old_channel, test_dropped_count, test_network,
	   test_break_streams, test_free, test_channels, test_by_stream, test_proxy, test_keepalive,
	   test_http_errors)
