/* SPDX-License-Identifier: ISC */
/* What is counted and told of the certificates of a DNSCrypt server. When they are fetched is seen
 * in tests/unit/common/dns/test_dnscrypt_peer.c. */
#include "dnsproxyd/upstream/dnscrypt_server.h"

#include "common/clock.h"
#include "common/container.h"

#include "dnsproxyd/metrics.h"

#include "tests/unit/common/fake_dnscrypt.h"
#include "tests/unit/common/log_seen.h"
#include "tests/unit/dnsproxyd/bench.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	TIMEOUT_MS = 1000,
	RETRY_MAX_MS = 60000, /* of the peer */
	DOUBT_MS = 2000,      /* the same */
	HOUR_MS = 3600000,
	DAY_S = 86400,
};

static struct {
	struct bench bench;
	struct fake_provider provider;
	struct dnscrypt_server server;
	bool is_forged;
	bool is_silent;
	bool is_empty; /* has no certificate */
	struct dnscrypt_waiter waiter;
	unsigned woken_count;
} t;

static void on_query(const struct fake_query *query)
{
	uint8_t cert[DNSCRYPT_CERT_BYTES];
	uint8_t msg[2048];
	size_t len = fake_dns_answer(query, 0, msg);

	if (t.is_silent) {
		return;
	}
	fake_provider_sign(&t.provider, cert);
	if (t.is_forged) {
		cert[DNSCRYPT_CERT_BYTES - 1] ^= 1;
	}
	if (!t.is_empty) {
		len = fake_add_txt(msg, len, cert, sizeof cert);
	}
	fake_dns_send(query, msg, len);
}

/* Certificates are valid from yesterday on, for so many days from now. */
static void start(int days)
{
	struct endpoint endpoint = { .protocol = ENDPOINT_DNSCRYPT, .name = FAKE_PROVIDER };
	uint32_t now_s = (uint32_t)(clock_wall_ms() / 1000);

	memset(&t, 0, sizeof t);
	log_seen_forget();
	bench_start(&t.bench, "[upstream default]\nserver = $0\n");
	t.bench.servers[0].dns.on_query = on_query;
	fake_provider_init(&t.provider, 3, now_s - 2 * DAY_S, now_s + (uint32_t)(days * DAY_S));
	endpoint.addr = t.bench.servers[0].dns.addr;
	endpoint.port = addr_port(&endpoint.addr);
	memcpy(endpoint.key, t.provider.provider_key, sizeof endpoint.key);
	ck_assert_int_eq(dnscrypt_server_init(&t.server, t.bench.loop, t.bench.metrics, &endpoint,
					      TIMEOUT_MS),
			 0);
}

static void stop(void)
{
	dnscrypt_server_done(&t.server);
	bench_stop(&t.bench);
}

static void on_woken(struct dnscrypt_waiter *waiter)
{
	(void)waiter;
	t.woken_count++;
}

/* Have a certificate fetched, and wait until that is over. */
static void fetch(void)
{
	unsigned before = t.woken_count;

	dnscrypt_keys_drop(dnscrypt_peer_keys(t.server.peer));
	dnscrypt_peer_wait(t.server.peer, &t.waiter, on_woken);
	if (t.is_silent) {
		clock_pass(t.bench.loop, TIMEOUT_MS);
	}
	ck_assert(clock_reach(t.bench.loop, &t.woken_count, before + 1));
}

static int64_t refused(void)
{
	return bench_counter(&t.bench, METRIC_upstream_dnscrypt_refused);
}

static int64_t certs(void)
{
	return bench_counter(&t.bench, METRIC_upstream_dnscrypt_certs);
}

/* Each new certificate is counted and told. */
START_TEST(test_certificates)
{
	start(2);
	ck_assert_uint_eq(t.bench.servers[0].dns.udp_count, 0);
	fetch();
	ck_assert_int_eq(certs(), 1);
	ck_assert_int_eq(refused(), 0);
	ck_assert_uint_eq(log_seen_count("dnscrypt-certificate"), 1);
	log_seen_expect("server=dnscrypt://127.0.0.1:");
	log_seen_expect("#" FAKE_PROVIDER);
	log_seen_expect("serial=1");
	/* The same again is not. */
	clock_jump(t.bench.loop, HOUR_MS);
	fetch();
	ck_assert_int_eq(certs(), 1);
	fake_provider_rotate(&t.provider, 9, 2);
	clock_jump(t.bench.loop, HOUR_MS);
	fetch();
	ck_assert_int_eq(certs(), 2);
	log_seen_expect("serial=2");
	ck_assert_uint_eq(t.bench.servers[0].dns.udp_count, 3);
	stop();
}
END_TEST

/* The time of day decides. */
START_TEST(test_expired)
{
	start(-1);
	fetch();
	ck_assert_ptr_null(dnscrypt_peer_keys(t.server.peer));
	ck_assert_int_eq(refused(), 1);
	log_seen_expect("upstream-refused");
	log_seen_expect("why=\"certificate has expired\"");
	stop();
}
END_TEST

/* Why a server is refused is told once, again an hour later, or when the reason changes, or after a
 * good certificate. */
START_TEST(test_told_once)
{
	start(2);
	t.is_forged = true;
	fetch();
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 1);
	clock_jump(t.bench.loop, RETRY_MAX_MS);
	fetch();
	clock_jump(t.bench.loop, HOUR_MS - RETRY_MAX_MS - 1);
	fetch();
	ck_assert_int_eq(refused(), 3);
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 1);
	clock_jump(t.bench.loop, RETRY_MAX_MS);
	fetch();
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 2);
	t.is_empty = true;
	clock_jump(t.bench.loop, RETRY_MAX_MS);
	fetch();
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 3);
	clock_jump(t.bench.loop, HOUR_MS - 1);
	fetch();
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 3);

	clock_jump(t.bench.loop, RETRY_MAX_MS);
	fetch();
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 4);
	t.is_empty = false;
	t.is_forged = false;
	clock_jump(t.bench.loop, RETRY_MAX_MS);
	fetch();
	ck_assert_int_eq(certs(), 1);
	t.is_empty = true;
	clock_jump(t.bench.loop, DOUBT_MS);
	dnscrypt_peer_doubt(t.server.peer);
	fetch();
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 5);
	ck_assert_int_eq(refused(), 8);
	stop();
}
END_TEST

/* That nobody answers is told by what becomes of the queries. */
START_TEST(test_unreachable)
{
	start(2);
	t.is_silent = true;
	fetch();
	ck_assert_ptr_null(dnscrypt_peer_keys(t.server.peer));
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_int_eq(refused(), 0);
	ck_assert_uint_eq(log_seen_count("upstream-refused"), 0);
	stop();
}
END_TEST

START_TEST(test_bad_name)
{
	struct dnscrypt_server server;
	struct endpoint endpoint = { .protocol = ENDPOINT_DNSCRYPT, .name = "a..b" };

	start(2);
	ck_assert_int_eq(
		dnscrypt_server_init(&server, t.bench.loop, t.bench.metrics, &endpoint, TIMEOUT_MS),
		-EINVAL);
	dnscrypt_server_done(&server);
	stop();
}
END_TEST

SUITE_MAIN("dnscrypt_server", test_certificates, test_expired, test_told_once, test_unreachable,
	   test_bad_name)
