/* SPDX-License-Identifier: ISC */
/* Which servers are taken for which configuration, and what is counted and told of the others. */
#include "dnsproxyd/upstream/encryption.h"

#include "common/container.h"

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
	HOUR_MS = 3600000,
	TIMEOUT_MS = 1000,
};

static struct {
	struct bench bench;
	struct fake_dot dot;
	struct encryption encryption;
	struct transport *transport;
	unsigned answer_count;
	unsigned closed_count;
} t;

/* Whether certificates are taken for early ones. */
static bool is_early;
bool __wrap_tls_is_early(const struct tls *tls);

bool __wrap_tls_is_early(const struct tls *tls)
{
	ck_assert_ptr_nonnull(tls);
	return is_early;
}

static size_t on_query(const struct fake_query *query, uint8_t *buf)
{
	return fake_dns_answer(query, 0, buf);
}

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	(void)user;
	(void)msg;
	(void)len;
	t.answer_count++;
}

static void on_closed(void *user, int error)
{
	(void)user;
	(void)error;
	t.closed_count++;
}

static void start_bench(const char *certificate)
{
	memset(&t, 0, sizeof t);
	is_early = false;
	log_seen_forget();
	bench_start(&t.bench, "[upstream default]\nserver = $0\n");
	fake_dot_start(&t.dot, t.bench.loop, certificate, on_query);
}

static void init_with(const struct endpoint *endpoint, const struct security_config *security,
		      const char *alpn, bool alpn_required)
{
	ck_assert_int_eq(encryption_init(&t.encryption, t.bench.loop, t.bench.metrics, endpoint,
					 security, alpn, alpn_required),
			 0);
}

static struct endpoint endpoint_of(const char *name)
{
	struct endpoint endpoint = { .protocol = ENDPOINT_TLS, .addr = t.dot.addr };

	endpoint.port = addr_port(&t.dot.addr);
	snprintf(endpoint.name, sizeof endpoint.name, "%s", name);
	return endpoint;
}

static struct tls_trust *load_trust(void)
{
	char path[CERTIFICATES_PATH_MAX];
	struct tls_trust *trust = tls_trust_load(certificates_path("ca.pem", path));

	ck_assert_ptr_nonnull(trust);
	return trust;
}

/* A server that shows this certificate, whose name should be dns.example. */
static void start(const char *certificate)
{
	struct security_config security = { .has_ca = true };
	struct endpoint endpoint;

	start_bench(certificate);
	endpoint = endpoint_of("dns.example");
	security.trust = load_trust();
	init_with(&endpoint, &security, "dot", false);
	tls_trust_free(security.trust);
}

static void stop(void)
{
	encryption_done(&t.encryption);
	fake_dot_stop(&t.dot);
	bench_stop(&t.bench);
}

/* Ask on a new connection, and close it. Returns whether there was an answer. */
static bool ask(void)
{
	static const struct transport_user upcalls = { .on_message = on_message,
						       .on_closed = on_closed };
	const struct transport_config config = { .loop = t.bench.loop,
						 .server = t.dot.addr,
						 .timeout_ms = TIMEOUT_MS,
						 .max_open = 1,
						 .peer = &t.encryption.peer };
	unsigned answers = t.answer_count;
	unsigned closed = t.closed_count;
	uint8_t query[512];
	size_t len = fake_dns_query(query, 7, "www.example", DNS_TYPE_A, true);
	struct transport *transport = transport_tls.open(&config, &upcalls, &t);

	ck_assert_ptr_nonnull(transport);
	ck_assert_int_eq(transport_tls.send(transport, query, len), 0);
	transport_tls.flush(transport);
	for (unsigned i = 0; i < 2000 && t.answer_count == answers && t.closed_count == closed;
	     i++) {
		ck_assert_int_eq(loop_turn(t.bench.loop, 1), 0);
	}
	ck_assert_uint_eq(t.answer_count + t.closed_count, answers + closed + 1);
	transport_tls.close(transport);
	clock_settle(t.bench.loop);
	return t.answer_count > answers;
}

static int64_t counter(unsigned metric)
{
	return bench_counter(&t.bench, metric);
}

/* --- who is taken ---------------------------------------------------------------------------- */

#define TAKEN     METRIC_upstream_tls_handshakes
#define WHY(word) METRIC_upstream_tls_##word

static void read_pin(const char *name, struct tls_pin *ret_pin)
{
	char path[CERTIFICATES_PATH_MAX];
	char text[64] = "";
	FILE *file = fopen(certificates_path(name, path), "r");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%63s", text), 1);
	fclose(file);
	ck_assert(tls_pin_parse(text, ret_pin));
}

static const struct who {
	const char *certificate;
	const char *name;
	const char *pin; /* of whose key, or NULL */
	bool trusts;     /* the authority of the tests; has_ca unless there is a pin */
	bool has_ca;
	bool is_opportunistic;
	unsigned hash_count; /* of a stamp, none of them right */
	unsigned metric;
} whos[] = {
	{ "good", "dns.example", NULL, true, true, false, 0, TAKEN },
	{ "good", "", NULL, true, true, false, 0, TAKEN },
	{ "good", "elsewhere.example", NULL, true, true, false, 0, WHY(wrong_name) },
	{ "other", "", NULL, true, true, false, 0, WHY(wrong_name) },
	{ "expired", "dns.example", NULL, true, true, false, 0, WHY(expired) },
	{ "future", "dns.example", NULL, true, true, false, 0, WHY(not_yet_valid) },
	{ "self", "dns.example", NULL, true, true, false, 0, WHY(self_signed) },
	{ "stranger", "dns.example", NULL, true, true, false, 0, WHY(untrusted) },
	/* Whom the system trusts, as whom the configuration names. */
	{ "stranger", "", NULL, true, false, false, 0, WHY(untrusted) },
	/* Pins alone are enough when nothing else was asked for. */
	{ "self", "", "self.pin", true, false, false, 0, TAKEN },
	{ "self", "", "good.pin", true, false, false, 0, WHY(wrong_pin) },
	{ "self", "", "self.pin", true, true, false, 0, WHY(self_signed) },
	{ "self", "dns.example", "self.pin", true, false, false, 0, WHY(self_signed) },
	{ "good", "dns.example", "good.pin", true, true, false, 0, TAKEN },
	{ "good", "dns.example", "self.pin", true, true, false, 0, WHY(wrong_pin) },
	/* Anybody, whatever the stamp says. */
	{ "stranger", "dns.example", NULL, true, true, true, 0, TAKEN },
	{ "expired", "elsewhere.example", NULL, false, false, true, 8, TAKEN },
	/* One of the stamp's certificates, and none is. */
	{ "good", "dns.example", NULL, true, true, false, 1, WHY(wrong_pin) },
	{ "good", "dns.example", NULL, true, true, false, 8, WHY(wrong_pin) },
	/* One of each kind. */
	{ "good", "dns.example", "good.pin", true, true, false, 8, WHY(wrong_pin) },
};

START_TEST(test_who_is_taken)
{
	for (size_t i = 0; i < ARRAY_SIZE(whos); i++) {
		const struct who *who = &whos[i];
		struct security_config security = { .has_ca = who->has_ca,
						    .is_opportunistic = who->is_opportunistic };
		struct endpoint endpoint;
		bool taken;

		start_bench(who->certificate);
		endpoint = endpoint_of(who->name);
		endpoint.hash_count = who->hash_count;
		security.trust = who->trusts ? load_trust() : NULL;
		while (who->pin && security.pin_count < CONFIG_PINS_MAX) {
			read_pin(who->pin, &security.pins[security.pin_count++]);
		}
		init_with(&endpoint, &security, "dot", false);
		tls_trust_free(security.trust);
		taken = ask();
		ck_assert_msg(taken == (who->metric == TAKEN) && counter(who->metric) == 1,
			      "row %zu: taken %d", i, taken);
		ck_assert_int_eq(counter(TAKEN), taken ? 1 : 0);
		ck_assert_uint_eq(t.dot.query_count, taken ? 1 : 0);
		ck_assert_uint_eq(log_seen_count("upstream-refused"), taken ? 0 : 1);
		stop();
	}
}
END_TEST

/* A server that has never heard of the protocol is refused if it has to know it. */
START_TEST(test_protocol)
{
	static const bool required[] = { false, true };

	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		const struct security_config security = { .is_opportunistic = true };
		struct endpoint endpoint;

		start_bench("good");
		t.dot.has_no_alpn = true;
		fake_dot_show(&t.dot, "good");
		endpoint = endpoint_of("dns.example");
		init_with(&endpoint, &security, "dot", required[i]);
		ck_assert_int_eq(ask(), !required[i]);
		ck_assert_int_eq(counter(METRIC_upstream_tls_no_alpn), required[i]);
		stop();
	}
}
END_TEST

/* --- what is told ---------------------------------------------------------------------------- */

START_TEST(test_told_once)
{
	start("self");
	ck_assert(!ask());
	log_seen_expect("server=tls://127.0.0.1:");
	log_seen_expect("#dns.example");
	log_seen_expect("why=self_signed");
	ck_assert(!ask());
	clock_jump(t.bench.loop, HOUR_MS - 1);
	ck_assert(!ask());
	ck_assert_int_eq(counter(METRIC_upstream_tls_self_signed), 3);
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 1);
	/* An hour later again, and then for another hour not. */
	clock_jump(t.bench.loop, 1);
	ck_assert(!ask());
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 2);
	clock_jump(t.bench.loop, HOUR_MS - 1);
	ck_assert(!ask());
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 2);
	/* Another reason is told at once, and so is the same after a good connection. */
	fake_dot_show(&t.dot, "expired");
	ck_assert(!ask());
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 3);
	log_seen_expect("why=expired");
	fake_dot_show(&t.dot, "good");
	ck_assert(ask());
	fake_dot_show(&t.dot, "expired");
	ck_assert(!ask());
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 4);
	stop();
}
END_TEST

/* A certificate that is taken ahead of its time is told of until one is not. */
START_TEST(test_early)
{
	static const struct {
		bool is_early;
		unsigned lines;
	} rows[] = { { false, 0 }, { true, 1 }, { true, 1 }, { false, 1 }, { true, 2 } };

	start("good");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		is_early = rows[i].is_early;
		ck_assert(ask());
		ck_assert_uint_eq(log_seen_count("certificate-early"), rows[i].lines);
	}
	stop();
}
END_TEST

START_TEST(test_resumed)
{
	start("good");
	for (int64_t i = 0; i < 3; i++) {
		ck_assert(ask());
		ck_assert_int_eq(counter(METRIC_upstream_tls_handshakes), i + 1);
		ck_assert_int_eq(counter(METRIC_upstream_tls_resumed), i);
		ck_assert_uint_eq(t.dot.resumed_count, (unsigned)i);
	}
	stop();
}
END_TEST

/* In units of 100 ms; until the server has said something, it is not known. */
START_TEST(test_keepalive)
{
	start("good");
	ck_assert_uint_eq(t.encryption.peer.idle_ms, TLS_PEER_IDLE_UNKNOWN);
	encryption_note_keepalive(&t.encryption, 70);
	ck_assert_uint_eq(t.encryption.peer.idle_ms, 7000);
	encryption_note_keepalive(&t.encryption, UINT16_MAX);
	ck_assert_uint_eq(t.encryption.peer.idle_ms, 6553500);
	encryption_note_keepalive(&t.encryption, 0);
	ck_assert_uint_eq(t.encryption.peer.idle_ms, 0);
	stop();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_who_is_taken, test_protocol, test_told_once,
				       test_early,        test_resumed,  test_keepalive };
	Suite *suite = suite_create("encryption");
	TCase *tcase = tcase_create("encryption");
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (!certificates_make()) {
		puts("1..0 # SKIP the openssl program is not installed");
		return EXIT_SUCCESS;
	}
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		tcase_add_test(tcase, tests[i]);
	}
	suite_add_tcase(suite, tcase);
	r = suite_run(suite);
	certificates_remove();
	return r;
}
