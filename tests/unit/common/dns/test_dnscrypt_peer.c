/* SPDX-License-Identifier: ISC */
#include "common/dns/dnscrypt_peer.h"

#include "tests/unit/common/fake_dns.h"
#include "tests/unit/common/fake_dnscrypt.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

enum {
	NOW_S = 1000000,
	TYPE_TXT = 16,
	FLAG_TC = 0x02,
};

/* A server of certificates, a peer that asks it, and what came of it. */
struct bench {
	struct loop *loop;
	struct fake_dns server;
	struct fake_provider provider;
	struct dnscrypt_peer *peer;
	bool silent;
	bool truncate; /* by UDP */
	int64_t now_s;

	unsigned told_count;
	enum dnscrypt_verdict verdict;
	int error;
	uint32_t serial;

	struct dnscrypt_waiter waiter;
	unsigned woken_count;
};

static struct bench bench;

static void on_query(const struct fake_query *query)
{
	uint8_t msg[4096];
	uint8_t cert[DNSCRYPT_CERT_BYTES];
	size_t len;

	if (bench.silent) {
		return;
	}
	ck_assert_uint_eq(fake_dns_type(query), TYPE_TXT);
	len = fake_dns_answer(query, 0, msg);
	if (bench.truncate && !query->conn) {
		msg[2] |= FLAG_TC;
	} else {
		fake_provider_sign(&bench.provider, cert);
		len = fake_add_txt(msg, len, cert, sizeof cert);
	}
	fake_dns_send(query, msg, len);
}

static struct tls_time time_of(void *arg)
{
	ck_assert_ptr_eq(arg, &bench);
	return (struct tls_time){ .unix_s = bench.now_s };
}

static void on_fetched(void *arg, enum dnscrypt_verdict verdict, const struct dnscrypt_cert *cert,
		       int error)
{
	ck_assert_ptr_eq(arg, &bench);
	ck_assert((verdict == DNSCRYPT_OK) == (cert != NULL));
	bench.told_count++;
	bench.verdict = verdict;
	bench.error = error;
	bench.serial = cert ? cert->serial : 0;
}

static void on_woken(struct dnscrypt_waiter *waiter)
{
	ck_assert_ptr_eq(waiter, &bench.waiter);
	bench.woken_count++;
}

static void start(uint32_t timeout_ms)
{
	struct dnscrypt_peer_config config = { .provider_name = FAKE_PROVIDER,
					       .timeout_ms = timeout_ms,
					       .time = time_of,
					       .on_fetched = on_fetched,
					       .arg = &bench };

	memset(&bench, 0, sizeof bench);
	bench.now_s = NOW_S;
	bench.loop = loop_new();
	fake_provider_init(&bench.provider, 3, NOW_S - 100, NOW_S + 100);
	fake_dns_start(&bench.server, bench.loop, "127.0.0.1", on_query);
	config.loop = bench.loop;
	config.server = bench.server.addr;
	memcpy(config.provider_key, bench.provider.provider_key, sizeof config.provider_key);
	bench.peer = dnscrypt_peer_new(&config);
	ck_assert_ptr_nonnull(bench.peer);
}

static void stop(void)
{
	dnscrypt_peer_free(bench.peer);
	fake_dns_stop(&bench.server);
	loop_free(bench.loop);
}

/* Ask for keys that are not there, and wait for the fetch to end. */
static void fetch(void)
{
	unsigned woken = bench.woken_count;

	ck_assert_ptr_null(dnscrypt_peer_keys(bench.peer));
	ck_assert_int_eq(errno, EAGAIN);
	dnscrypt_peer_wait(bench.peer, &bench.waiter, on_woken);
	ck_assert(run_until(bench.loop, &bench.woken_count, woken + 1, 3000));
}

START_TEST(test_fetch)
{
	struct dnscrypt_keys *keys;

	start(1000);
	fetch();
	ck_assert_uint_eq(bench.told_count, 1);
	ck_assert_int_eq(bench.verdict, DNSCRYPT_OK);
	ck_assert_uint_eq(bench.server.udp_count, 1);
	keys = dnscrypt_peer_keys(bench.peer);
	ck_assert_ptr_nonnull(keys);
	ck_assert_mem_eq(dnscrypt_keys_session(keys)->cert.client_magic,
			 bench.provider.cert.client_magic, DNSCRYPT_MAGIC_BYTES);
	/* Once is enough. */
	dnscrypt_keys_drop(dnscrypt_peer_keys(bench.peer));
	ck_assert_uint_eq(bench.server.udp_count, 1);
	/* A reference outlives the peer. */
	stop();
	ck_assert_uint_eq(dnscrypt_keys_session(keys)->cert.serial, 1);
	dnscrypt_keys_drop(keys);
}
END_TEST

START_TEST(test_truncated)
{
	struct dnscrypt_keys *keys;

	start(1000);
	bench.truncate = true;
	fetch();
	ck_assert_uint_eq(bench.server.udp_count, 1);
	ck_assert_uint_eq(bench.server.tcp_count, 1);
	keys = dnscrypt_peer_keys(bench.peer);
	ck_assert_ptr_nonnull(keys);
	dnscrypt_keys_drop(keys);
	stop();
}
END_TEST

/* Of a server that signs with another key nothing is taken, and it is not asked again at once. */
START_TEST(test_forged)
{
	start(1000);
	bench.provider.provider_secret[0] ^= 1;
	fetch();
	ck_assert_int_eq(bench.verdict, DNSCRYPT_FORGED);
	ck_assert_ptr_null(dnscrypt_peer_keys(bench.peer));
	ck_assert_int_eq(errno, EKEYREJECTED);
	ck_assert_uint_eq(bench.server.udp_count, 1);
	/* After a second it is. */
	bench.provider.provider_secret[0] ^= 1;
	run_for(bench.loop, 1100);
	fetch();
	ck_assert_int_eq(bench.verdict, DNSCRYPT_OK);
	stop();
}
END_TEST

START_TEST(test_expired)
{
	start(1000);
	bench.now_s = NOW_S + 101;
	fetch();
	ck_assert_int_eq(bench.verdict, DNSCRYPT_EXPIRED);
	stop();
}
END_TEST

START_TEST(test_silent)
{
	start(200);
	bench.silent = true;
	fetch();
	ck_assert_int_eq(bench.verdict, DNSCRYPT_NO_CERT);
	ck_assert_int_eq(bench.error, ETIMEDOUT);
	ck_assert_ptr_null(dnscrypt_peer_keys(bench.peer));
	ck_assert_int_eq(errno, ETIMEDOUT);
	stop();
}
END_TEST

/* The end of a certificate is the end of its use; the next one is fetched. */
START_TEST(test_end_of_cert)
{
	struct dnscrypt_keys *keys;

	start(1000);
	fetch();
	bench.now_s = NOW_S + 101;
	bench.provider.cert.end_s = NOW_S + 1000;
	fake_provider_rotate(&bench.provider, 9, 2);
	fetch();
	ck_assert_uint_eq(bench.told_count, 2);
	ck_assert_uint_eq(bench.serial, 2);
	keys = dnscrypt_peer_keys(bench.peer);
	ck_assert_uint_eq(dnscrypt_keys_session(keys)->cert.client_magic[0], 9);
	dnscrypt_keys_drop(keys);
	stop();
}
END_TEST

/* Young keys are not doubted. */
START_TEST(test_doubt)
{
	start(1000);
	fetch();
	dnscrypt_peer_doubt(bench.peer);
	run_for(bench.loop, 50);
	ck_assert_uint_eq(bench.server.udp_count, 1);
	stop();
}
END_TEST

START_TEST(test_min_len)
{
	start(1000);
	ck_assert_uint_eq(dnscrypt_peer_min_len(bench.peer), 256);
	dnscrypt_peer_note_truncated(bench.peer);
	ck_assert_uint_eq(dnscrypt_peer_min_len(bench.peer), 320);
	for (int i = 0; i < 100; i++) {
		dnscrypt_peer_note_truncated(bench.peer);
	}
	ck_assert_uint_eq(dnscrypt_peer_min_len(bench.peer), 1088);
	stop();
}
END_TEST

START_TEST(test_bad_name)
{
	const struct dnscrypt_peer_config config = { .provider_name = "a..b" };

	ck_assert_ptr_null(dnscrypt_peer_new(&config));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* Freed while somebody waits and a fetch goes on. */
START_TEST(test_free_early)
{
	start(1000);
	ck_assert_ptr_null(dnscrypt_peer_keys(bench.peer));
	dnscrypt_peer_wait(bench.peer, &bench.waiter, on_woken);
	stop();
	ck_assert_uint_eq(bench.woken_count, 0);
	ck_assert_ptr_null(bench.waiter.slot);
}
END_TEST

SUITE_MAIN("dnscrypt_peer", test_fetch, test_truncated, test_forged, test_expired, test_silent,
	   test_end_of_cert, test_doubt, test_min_len, test_bad_name, test_free_early)
