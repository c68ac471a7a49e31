/* SPDX-License-Identifier: ISC */
/* When the addresses of a server are looked up, of whom, and which of them is used, with a clock
 * that stands still. */
#include "dnsproxyd/upstream/bootstrap.h"

#include "common/container.h"
#include "common/dns/ares_io.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/common/certificates.h"
#include "tests/unit/common/fake_dot.h"
#include "tests/unit/common/log_seen.h"
#include "tests/unit/dnsproxyd/bench.h"
#include "tests/unit/suite.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
	PORT = 8853,
	ANSWERS_MAX = 4,
	LOOKUP_MAX_MS = 3100, /* one source in vain: 1 s and 2 s, and how exactly c-ares tells */
};

/* The bench, its servers answering with these addresses, and who asks for them. */
static struct {
	struct bench bench;
	struct bootstrap *bootstrap;
	const char *found[ANSWERS_MAX]; /* of type A; NULL ends it */
	const char *found6;             /* of type AAAA, or NULL */
	uint32_t ttl_s;
	unsigned done_count;
	bool is_within; /* bootstrap_address() */
	bool free_when_done;
} t;

static size_t write_answer(const struct fake_query *query, uint8_t *buf)
{
	size_t len = fake_dns_answer(query, 0, buf);
	struct addr a;

	if (fake_dns_type(query) == DNS_TYPE_AAAA && t.found6) {
		ck_assert_int_eq(addr_parse_ip(t.found6, &a), 0);
		len = fake_dns_add_record(buf, len, DNS_TYPE_AAAA, t.ttl_s, &a.in6.sin6_addr, 16);
	}
	for (size_t i = 0; fake_dns_type(query) == DNS_TYPE_A && t.found[i]; i++) {
		ck_assert_int_eq(addr_parse_ip(t.found[i], &a), 0);
		len = fake_dns_add_record(buf, len, DNS_TYPE_A, t.ttl_s, &a.in4.sin_addr, 4);
	}
	return len;
}

static void on_query(const struct fake_query *query)
{
	struct bench_server *server = container_of(query->server, struct bench_server, dns);
	uint8_t buf[1024];

	server->count++;
	if (query->conn && fake_dns_connection(query) < server->silent_before) {
		return;
	}
	if (server->mode == BENCH_SERVFAIL) {
		fake_dns_reply(query, DNS_RCODE_SERVFAIL);
	} else if (server->mode == BENCH_GOOD) {
		fake_dns_send(query, buf, write_answer(query, buf));
	}
}

static void on_done(void *arg)
{
	ck_assert_ptr_eq(arg, &t);
	ck_assert(!t.is_within);
	ck_assert(!bootstrap_is_busy(t.bootstrap));
	t.done_count++;
}

static void start_bench(const char *config)
{
	memset(&t, 0, sizeof t);
	t.found[0] = "192.0.2.7";
	t.ttl_s = 300;
	log_seen_forget();
	ck_assert_int_eq(ares_io_global_init(), 0);
	bench_start(&t.bench, config);
	for (unsigned i = 0; i < BENCH_SERVERS_MAX; i++) {
		t.bench.servers[i].dns.on_query = on_query;
	}
}

static void make(const struct endpoint *sources, size_t count)
{
	const struct endpoint server = { .protocol = ENDPOINT_TLS,
					 .port = PORT,
					 .name = "dns.example" };
	const struct bootstrap_config config = {
		.loop = t.bench.loop,
		.metrics = t.bench.metrics,
		.server = &server,
		.sources = sources,
		.source_count = count,
		.security = &t.bench.config->groups[0].security,
		.on_done = on_done,
		.arg = &t,
	};

	t.bootstrap = bootstrap_new(&config);
	ck_assert_ptr_nonnull(t.bootstrap);
}

static void start(void)
{
	start_bench("[upstream default]\nserver = $0\nbootstrap = $0, $1\n");
	make(t.bench.config->groups[0].bootstrap, 2);
}

static void stop(void)
{
	bootstrap_free(t.bootstrap);
	bench_stop(&t.bench);
	ares_io_global_done();
}

/* What is used now; "" for none. */
static const char *address(void)
{
	static char text[ADDR_TEXT_MAX];
	const struct addr *addr;

	clock_settle(t.bench.loop);
	t.is_within = true;
	addr = bootstrap_address(t.bootstrap);
	t.is_within = false;
	text[0] = '\0';
	return addr ? addr_format(addr, text, sizeof text) : text;
}

/* Wait for the lookup that is under way, while the clock stands still. */
static void finish(void)
{
	unsigned before = t.done_count;

	ck_assert(bootstrap_is_busy(t.bootstrap));
	ck_assert(clock_reach(t.bench.loop, &t.done_count, before + 1));
	ck_assert_uint_eq(t.done_count, before + 1);
}

/* The same for one that nobody answers. */
static void fail_in(unsigned ms)
{
	unsigned before = t.done_count;

	ck_assert(bootstrap_is_busy(t.bootstrap));
	for (unsigned i = 0; i < ms && t.done_count == before; i++) {
		clock_pass(t.bench.loop, 1);
	}
	ck_assert_uint_eq(t.done_count, before + 1);
}

static void note_failure(const char *text)
{
	struct addr addr;

	ck_assert_int_eq(addr_parse(text, 0, &addr), 0);
	bootstrap_note_failure(t.bootstrap, &addr);
}

static int64_t lookups(void)
{
	return bench_counter(&t.bench, METRIC_bootstraps);
}

START_TEST(test_lookup)
{
	char first[ADDR_TEXT_MAX];

	start();
	t.found6 = "2001:db8::7";
	clock_pass(t.bench.loop, 100);
	ck_assert_uint_eq(bench_sends(&t.bench), 0);
	ck_assert(!bootstrap_is_busy(t.bootstrap));

	ck_assert_str_eq(address(), "");
	/* Whoever asks again meanwhile waits for the same. */
	ck_assert_ptr_null(bootstrap_address(t.bootstrap));
	finish();
	/* Type A and AAAA, of the first server only. */
	ck_assert_uint_eq(t.bench.servers[0].count, 2);
	ck_assert_uint_eq(bench_sends(&t.bench), 2);
	snprintf(first, sizeof first, "%s", address());
	note_failure(first);
	ck_assert_str_eq(address(), first[0] == '[' ? "192.0.2.7:8853" : "[2001:db8::7]:8853");
	note_failure(address());
	ck_assert_str_eq(address(), first);
	ck_assert_int_eq(lookups(), 1);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps_failed), 0);
	stop();
}
END_TEST

/* What was found is used for its TTL, a minute at least and a day at most, and on until the next
 * lookup has told of another. */
START_TEST(test_ttl)
{
	static const struct {
		uint32_t ttl_s;
		unsigned used_ms;
	} rows[] = { { 300, 300000 }, { 0, 60000 }, { 59, 60000 }, { 604800, 86400000 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		start();
		t.ttl_s = rows[i].ttl_s;
		address();
		finish();
		clock_jump(t.bench.loop, rows[i].used_ms - 1);
		ck_assert_str_eq(address(), "192.0.2.7:8853");
		ck_assert(!bootstrap_is_busy(t.bootstrap));
		clock_jump(t.bench.loop, 1);
		t.found[0] = "192.0.2.8";
		ck_assert_str_eq(address(), "192.0.2.7:8853");
		finish();
		ck_assert_str_eq(address(), "192.0.2.8:8853");
		ck_assert(!bootstrap_is_busy(t.bootstrap));
		ck_assert_int_eq(lookups(), 2);
		stop();
	}
}
END_TEST

/* One of several that works is kept when they are looked up again, wherever it stands then. */
START_TEST(test_keeps_to_one)
{
	char used[ADDR_TEXT_MAX];
	char other[ADDR_TEXT_MAX];

	start();
	t.found[1] = "192.0.2.8";
	address();
	finish();
	snprintf(used, sizeof used, "%s", address());
	snprintf(other, sizeof other, "%s",
		 strstr(used, ".7:") ? "192.0.2.8:8853" : "192.0.2.7:8853");
	for (unsigned i = 0; i < 2; i++) {
		const char *first = t.found[0];

		t.found[0] = t.found[1];
		t.found[1] = first;
		clock_jump(t.bench.loop, 300000);
		address();
		finish();
		ck_assert_str_eq(address(), used);
	}
	/* One that has failed is not. */
	clock_jump(t.bench.loop, 1000);
	note_failure(used);
	ck_assert_str_eq(address(), other);
	ck_assert(bootstrap_is_busy(t.bootstrap));
	finish();
	ck_assert(!bootstrap_is_busy(t.bootstrap));
	stop();
}
END_TEST

/* Each that fails is followed by the next, round and round; another than the one in use tells
 * nothing. They are looked up anew, but not within a second. */
START_TEST(test_failures)
{
	char first[ADDR_TEXT_MAX];
	char second[ADDR_TEXT_MAX];

	start();
	t.found[1] = "192.0.2.8";
	address();
	finish();
	snprintf(first, sizeof first, "%s", address());
	note_failure("192.0.2.9:8853");
	note_failure("192.0.2.7:53");
	ck_assert_str_eq(address(), first);
	note_failure(first);
	snprintf(second, sizeof second, "%s", address());
	ck_assert_str_ne(second, first);
	note_failure(first);
	ck_assert_str_eq(address(), second);
	note_failure(second);
	ck_assert_str_eq(address(), first);

	clock_pass(t.bench.loop, 999);
	address();
	ck_assert(!bootstrap_is_busy(t.bootstrap));
	clock_pass(t.bench.loop, 1);
	address();
	finish();
	ck_assert_int_eq(lookups(), 2);
	/* Nothing is wrong with these any more. */
	clock_pass(t.bench.loop, 1000);
	address();
	ck_assert(!bootstrap_is_busy(t.bootstrap));
	stop();
}
END_TEST

/* A source that does not know is followed by the next; that is no failure. */
START_TEST(test_next_source)
{
	static const enum bench_mode modes[] = { BENCH_SERVFAIL, BENCH_SILENT };

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		start();
		t.bench.servers[0].mode = modes[i];
		address();
		fail_in(LOOKUP_MAX_MS);
		ck_assert_uint_gt(t.bench.servers[0].count, 0);
		ck_assert_uint_eq(t.bench.servers[1].count, 2);
		ck_assert_str_eq(address(), "192.0.2.7:8853");
		ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps_failed), 0);
		ck_assert_uint_eq(log_seen_count("bootstrap-failed"), 0);
		stop();
	}
}
END_TEST

/* No addresses are a failure as any other. */
START_TEST(test_nothing_found)
{
	start();
	t.found[0] = NULL;
	address();
	finish();
	ck_assert_str_eq(address(), "");
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps_failed), 1);
	stop();
}
END_TEST

/* After lookups in vain there are pauses, from one second to half a minute; one line tells of all
 * of them. */
START_TEST(test_pauses)
{
	static const unsigned pauses_ms[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };

	start();
	t.bench.servers[0].mode = BENCH_SERVFAIL;
	t.bench.servers[1].mode = BENCH_SERVFAIL;
	for (size_t i = 0; i < ARRAY_SIZE(pauses_ms); i++) {
		address();
		finish();
		ck_assert_int_eq(lookups(), (int64_t)i + 1);
		clock_jump(t.bench.loop, pauses_ms[i] - 1);
		address();
		ck_assert(!bootstrap_is_busy(t.bootstrap));
		clock_jump(t.bench.loop, 1);
	}
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps_failed), ARRAY_SIZE(pauses_ms));
	ck_assert_uint_eq(log_seen_count("bootstrap-failed"), 1);
	log_seen_expect("name=dns.example");
	log_seen_expect("why=servfail");

	/* Success ends them: the next failure is the first again, and told. */
	t.bench.servers[1].mode = BENCH_GOOD;
	address();
	finish();
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	t.bench.servers[1].mode = BENCH_SERVFAIL;
	clock_jump(t.bench.loop, 300000);
	address();
	finish();
	ck_assert_uint_eq(log_seen_count("bootstrap-failed"), 2);
	/* What was known is used on. */
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	clock_jump(t.bench.loop, 1000);
	address();
	finish();
	stop();
}
END_TEST

/* Another network: nothing is waited for. */
START_TEST(test_network)
{
	start();
	t.bench.servers[0].mode = BENCH_SERVFAIL;
	t.bench.servers[1].mode = BENCH_SERVFAIL;
	address();
	finish();
	address();
	ck_assert(!bootstrap_is_busy(t.bootstrap));
	bootstrap_note_network(t.bootstrap);
	t.bench.servers[0].mode = BENCH_GOOD;
	address();
	finish();
	/* What is known is used until it is looked up again, which is at once. */
	bootstrap_note_network(t.bootstrap);
	t.found[0] = "192.0.2.8";
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	finish();
	ck_assert_str_eq(address(), "192.0.2.8:8853");
	stop();
}
END_TEST

/* What a lookup finds that has begun in another network is not believed, good or bad: it begins
 * again, with the first source, and is over once. */
START_TEST(test_network_meanwhile)
{
	start();
	address();
	bench_expect_seen(&t.bench, 0, 2);
	bootstrap_note_network(t.bootstrap);
	t.found[0] = "192.0.2.8";
	finish();
	ck_assert_uint_eq(t.bench.servers[0].count, 4);
	ck_assert_str_eq(address(), "192.0.2.8:8853");
	ck_assert(!bootstrap_is_busy(t.bootstrap));
	ck_assert_int_eq(lookups(), 1);
	stop();

	start();
	t.bench.servers[0].mode = BENCH_SERVFAIL;
	t.bench.servers[1].mode = BENCH_SERVFAIL;
	address();
	bench_expect_seen(&t.bench, 1, 2);
	bootstrap_note_network(t.bootstrap);
	t.bench.servers[0].mode = BENCH_GOOD;
	finish();
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps_failed), 0);
	stop();
}
END_TEST

/* The next address stays in use when they are looked up again: the one that failed may stand first
 * there still. */
START_TEST(test_failed_one_is_not_next)
{
	char first[ADDR_TEXT_MAX];
	char second[ADDR_TEXT_MAX];

	start();
	t.found[1] = "192.0.2.8";
	address();
	finish();
	snprintf(first, sizeof first, "%s", address());
	note_failure(first);
	snprintf(second, sizeof second, "%s", address());
	ck_assert_str_ne(second, first);
	clock_pass(t.bench.loop, 1000);
	address();
	finish();
	ck_assert_str_eq(address(), second);
	/* In another network the first one may work. */
	bootstrap_note_network(t.bootstrap);
	ck_assert_str_eq(address(), second);
	finish();
	ck_assert_str_eq(address(), first);
	note_failure(first);
	clock_pass(t.bench.loop, 1000);
	address();
	finish();
	ck_assert_str_eq(address(), second);
	stop();
}
END_TEST

/* Who frees it hears no more of it, whatever goes on. */
START_TEST(test_free_while_busy)
{
	start();
	bootstrap_free(NULL);
	address();
	bootstrap_free(t.bootstrap); /* before the first message */
	clock_settle(t.bench.loop);
	ck_assert_uint_eq(bench_sends(&t.bench), 0);
	t.bootstrap = NULL;
	stop();

	start();
	t.bench.servers[0].mode = BENCH_SILENT;
	address();
	bench_expect_seen(&t.bench, 0, 2);
	bootstrap_free(t.bootstrap);
	clock_pass(t.bench.loop, LOOKUP_MAX_MS);
	ck_assert_uint_eq(t.done_count, 0);
	ck_assert_uint_eq(t.bench.servers[1].count, 0);
	t.bootstrap = NULL;
	make(t.bench.config->groups[0].bootstrap, 1);
	address();
	bench_expect_seen(&t.bench, 0, 4);
	bootstrap_free(t.bootstrap);
	ck_assert_int_eq(bench_counter(&t.bench, METRIC_bootstraps_failed), 0);
	t.bootstrap = NULL;
	stop();
}
END_TEST

/* --- sources by stream ----------------------------------------------------------------------- */

static struct fake_dot dot;

/* First of two sources one by TLS, whose certificate must be for `name`. */
static void start_encrypted(const char *name)
{
	struct endpoint sources[2] = { { .protocol = ENDPOINT_TLS } };
	char config[512];
	char path[CERTIFICATES_PATH_MAX];

	snprintf(config, sizeof config,
		 "[upstream default]\nserver = tls://$0\nbootstrap = $1\nca = %s\n",
		 certificates_path("ca.pem", path));
	start_bench(config);
	fake_dot_start(&dot, t.bench.loop, "good", write_answer);
	sources[0].addr = dot.addr;
	snprintf(sources[0].name, sizeof sources[0].name, "%s", name);
	sources[1] = t.bench.config->groups[0].bootstrap[0];
	make(sources, 2);
}

static void stop_encrypted(void)
{
	fake_dot_stop(&dot);
	stop();
}

START_TEST(test_encrypted_source)
{
	start_encrypted("dns.example");
	address();
	finish();
	ck_assert_uint_eq(dot.query_count, 2);
	ck_assert_uint_eq(bench_sends(&t.bench), 0);
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	stop_encrypted();
}
END_TEST

/* One that is not who it should be is told nothing. */
START_TEST(test_refused_source)
{
	start_encrypted("elsewhere.example");
	address();
	finish();
	ck_assert_uint_eq(dot.query_count, 0);
	ck_assert_uint_eq(t.bench.servers[1].count, 2);
	ck_assert_int_gt(bench_counter(&t.bench, METRIC_upstream_tls_wrong_name), 0);
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	stop_encrypted();
}
END_TEST

/* In another network the connection to a source may be dead: its answer is not waited for. */
START_TEST(test_network_and_streams)
{
	struct endpoint source;

	start_bench("[upstream default]\nserver = tcp://$0\n");
	source = t.bench.config->groups[0].servers[0];
	make(&source, 1);
	t.bench.servers[0].silent_before = 2;
	address();
	bench_expect_seen(&t.bench, 0, 2);
	bootstrap_note_network(t.bootstrap);
	finish();
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	stop();
}
END_TEST

/* By TCP nothing goes by UDP. */
START_TEST(test_stream_source)
{
	struct endpoint source;

	start_bench("[upstream default]\nserver = tcp://$0\n");
	source = t.bench.config->groups[0].servers[0];
	make(&source, 1);
	address();
	finish();
	ck_assert_uint_eq(t.bench.servers[0].dns.udp_count, 0);
	ck_assert_uint_eq(t.bench.servers[0].dns.tcp_count, 2);
	ck_assert_str_eq(address(), "192.0.2.7:8853");
	stop();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_lookup,
		test_ttl,
		test_keeps_to_one,
		test_failures,
		test_next_source,
		test_nothing_found,
		test_pauses,
		test_network,
		test_failed_one_is_not_next,
		test_free_while_busy,
		test_stream_source,
		test_network_meanwhile,
		test_network_and_streams,
	};
	const TTest *const encrypted[] = { test_encrypted_source, test_refused_source };
	Suite *suite = suite_create("bootstrap");
	TCase *tcase = tcase_create("bootstrap");
	bool has_certificates = certificates_make();
	int r;

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		tcase_add_test(tcase, tests[i]);
	}
	for (size_t i = 0; has_certificates && i < ARRAY_SIZE(encrypted); i++) {
		tcase_add_test(tcase, encrypted[i]);
	}
	suite_add_tcase(suite, tcase);
	r = suite_run(suite);
	if (has_certificates) {
		certificates_remove();
	}
	return r;
}
