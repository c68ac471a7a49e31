/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/dns/dnscrypt.h"

#include "tests/unit/common/fake_dnscrypt.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

enum {
	START_S = 1000000,
	NOW_S = 1040000,
	END_S = 1086400,
};

/* An answer's header and question, for the provider's certificates. */
static const uint8_t txt_answer[] = "\x12\x34\x81\x80\0\1\0\0\0\0\0\0"
				    "\1"
				    "2\15dnscrypt-cert\4test\0\0\x10\0\1";

static const struct tls_time now = { .unix_s = NOW_S };
static struct fake_provider provider;

static void setup(void)
{
	fake_provider_init(&provider, 7, START_S, END_S);
}

static enum dnscrypt_verdict check_at(int64_t unix_s, struct dnscrypt_cert *cert)
{
	const struct tls_time time = { .unix_s = unix_s };
	uint8_t bytes[DNSCRYPT_CERT_BYTES];

	fake_provider_sign(&provider, bytes);
	return dnscrypt_cert_check(bytes, sizeof bytes, provider.provider_key, &time, cert);
}

START_TEST(test_cert)
{
	struct dnscrypt_cert cert;

	ck_assert_int_eq(check_at(NOW_S, &cert), DNSCRYPT_OK);
	ck_assert_int_eq(cert.cipher, CRYPTO_XCHACHA20);
	ck_assert_mem_eq(cert.resolver_key, provider.cert.resolver_key, CRYPTO_PUBLIC_BYTES);
	ck_assert_mem_eq(cert.client_magic, provider.cert.client_magic, DNSCRYPT_MAGIC_BYTES);
	ck_assert_uint_eq(cert.serial, 1);
	ck_assert_uint_eq(cert.start_s, START_S);
	ck_assert_uint_eq(cert.end_s, END_S);
	ck_assert_int_eq(check_at(START_S, &cert), DNSCRYPT_OK);
	ck_assert_int_eq(check_at(START_S - 1, &cert), DNSCRYPT_EARLY);
	ck_assert_int_eq(check_at(END_S, &cert), DNSCRYPT_OK);
	ck_assert_int_eq(check_at(END_S + 1, &cert), DNSCRYPT_EXPIRED);
	provider.es_version = 1;
	ck_assert_int_eq(check_at(NOW_S, &cert), DNSCRYPT_OK);
	ck_assert_int_eq(cert.cipher, CRYPTO_XSALSA20);
	provider.es_version = 3;
	ck_assert_int_eq(check_at(NOW_S, &cert), DNSCRYPT_UNKNOWN);
}
END_TEST

/* A clock that is known to be wrong: what begins later is taken, what has ended is not. */
START_TEST(test_wrong_clock)
{
	struct tls_time time = { .unix_s = START_S - 1000, .early_until_s = START_S + 1 };
	uint8_t bytes[DNSCRYPT_CERT_BYTES];
	struct dnscrypt_cert cert;

	fake_provider_sign(&provider, bytes);
	ck_assert_int_eq(
		dnscrypt_cert_check(bytes, sizeof bytes, provider.provider_key, &time, &cert),
		DNSCRYPT_OK);
	time.early_until_s = START_S;
	ck_assert_int_eq(
		dnscrypt_cert_check(bytes, sizeof bytes, provider.provider_key, &time, &cert),
		DNSCRYPT_EARLY);
	time = (struct tls_time){ .unix_s = END_S + 1, .early_until_s = END_S + 1000 };
	ck_assert_int_eq(
		dnscrypt_cert_check(bytes, sizeof bytes, provider.provider_key, &time, &cert),
		DNSCRYPT_EXPIRED);
}
END_TEST

/* Every bit is covered by the signature, or by the checks before it. */
START_TEST(test_cert_bits)
{
	uint8_t bytes[DNSCRYPT_CERT_BYTES];
	struct dnscrypt_cert cert;

	fake_provider_sign(&provider, bytes);
	for (size_t i = 0; i < sizeof bytes; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[i] ^= (uint8_t)(1u << bit);
			ck_assert_msg(dnscrypt_cert_check(bytes, sizeof bytes,
							  provider.provider_key, &now,
							  &cert) != DNSCRYPT_OK,
				      "byte %zu bit %u", i, bit);
			bytes[i] ^= (uint8_t)(1u << bit);
		}
	}
	for (size_t len = 0; len < sizeof bytes; len++) {
		ck_assert_int_eq(
			dnscrypt_cert_check(bytes, len, provider.provider_key, &now, &cert),
			DNSCRYPT_NO_CERT);
	}
	provider.provider_key[0] ^= 1;
	ck_assert_int_eq(
		dnscrypt_cert_check(bytes, sizeof bytes, provider.provider_key, &now, &cert),
		DNSCRYPT_FORGED);
}
END_TEST

static size_t add_cert(uint8_t *msg, size_t len)
{
	uint8_t bytes[DNSCRYPT_CERT_BYTES];

	fake_provider_sign(&provider, bytes);
	return fake_add_txt(msg, len, bytes, sizeof bytes);
}

static size_t begin_answer(uint8_t *msg)
{
	memcpy(msg, txt_answer, sizeof txt_answer - 1);
	return sizeof txt_answer - 1;
}

START_TEST(test_choose)
{
	uint8_t msg[4096];
	struct dnscrypt_cert cert;
	size_t len = begin_answer(msg);

	ck_assert_int_eq(dnscrypt_cert_choose(msg, len, provider.provider_key, &now, &cert),
			 DNSCRYPT_NO_CERT);
	len = fake_add_txt(msg, len, (const uint8_t *)"hello", 5);
	ck_assert_int_eq(dnscrypt_cert_choose(msg, len, provider.provider_key, &now, &cert),
			 DNSCRYPT_NO_CERT);
	/* The highest serial, wherever it stands; expired ones do not count. */
	provider.cert.serial = 5;
	len = add_cert(msg, len);
	provider.cert.serial = 9;
	provider.cert.end_s = NOW_S - 1;
	len = add_cert(msg, len);
	provider.cert.end_s = END_S;
	provider.cert.serial = 6;
	provider.es_version = 1;
	len = add_cert(msg, len);
	provider.cert.serial = 4;
	len = add_cert(msg, len);
	ck_assert_int_eq(dnscrypt_cert_choose(msg, len, provider.provider_key, &now, &cert),
			 DNSCRYPT_OK);
	ck_assert_uint_eq(cert.serial, 6);
	ck_assert_int_eq(cert.cipher, CRYPTO_XSALSA20);
	/* Of equals the newer cipher. */
	provider.cert.serial = 6;
	provider.es_version = 2;
	len = add_cert(msg, len);
	ck_assert_int_eq(dnscrypt_cert_choose(msg, len, provider.provider_key, &now, &cert),
			 DNSCRYPT_OK);
	ck_assert_int_eq(cert.cipher, CRYPTO_XCHACHA20);
	/* Of what is left of a cut message, what is whole. */
	ck_assert_int_eq(dnscrypt_cert_choose(msg, len - 1, provider.provider_key, &now, &cert),
			 DNSCRYPT_OK);
	ck_assert_int_eq(cert.cipher, CRYPTO_XSALSA20);
}
END_TEST

START_TEST(test_choose_none)
{
	uint8_t msg[4096];
	struct dnscrypt_cert cert;
	size_t len = begin_answer(msg);

	provider.cert.end_s = NOW_S - 1;
	len = add_cert(msg, len);
	ck_assert_int_eq(dnscrypt_cert_choose(msg, len, provider.provider_key, &now, &cert),
			 DNSCRYPT_EXPIRED);
	provider.provider_key[3] ^= 1;
	ck_assert_int_eq(dnscrypt_cert_choose(msg, len, provider.provider_key, &now, &cert),
			 DNSCRYPT_FORGED);
}
END_TEST

START_TEST(test_cert_query)
{
	static const uint8_t wanted[] = "\xab\xcd\1\0\0\1\0\0\0\0\0\0"
					"\1"
					"2\15dnscrypt-cert\4test\0\0\x10\0\1";
	uint8_t msg[512];
	char name[300];

	ck_assert_uint_eq(dnscrypt_cert_query(FAKE_PROVIDER, 0xabcd, msg, sizeof msg),
			  sizeof wanted - 1);
	ck_assert_mem_eq(msg, wanted, sizeof wanted - 1);
	ck_assert_uint_eq(dnscrypt_cert_query("a..b", 1, msg, sizeof msg), 0);
	memset(name, 'a', sizeof name);
	name[64] = '\0';
	ck_assert_uint_eq(dnscrypt_cert_query(name, 1, msg, sizeof msg), 0);
	ck_assert_uint_eq(dnscrypt_cert_query(FAKE_PROVIDER, 1, msg, sizeof wanted - 2), 0);
	for (size_t i = 0; i < 260; i++) {
		name[i] = i % 8 == 7 ? '.' : 'a';
	}
	name[260] = '\0';
	ck_assert_uint_eq(dnscrypt_cert_query(name, 1, msg, sizeof msg), 0);
}
END_TEST

/* Both ciphers, messages of all lengths around the steps of the padding. */
START_TEST(test_seal_and_open)
{
	uint8_t msg[1024];
	uint8_t sealed[4096];
	uint8_t nonce[DNSCRYPT_NONCE_BYTES];
	struct dnscrypt_session session;

	crypto_random(msg, sizeof msg);
	for (uint16_t version = 1; version <= 2; version++) {
		provider.es_version = version;
		provider.cert.cipher = version == 2 ? CRYPTO_XCHACHA20 : CRYPTO_XSALSA20;
		ck_assert_int_eq(dnscrypt_session_init(&session, &provider.cert), 0);
		for (size_t len = 12; len < 400; len++) {
			size_t n = dnscrypt_seal(&session, msg, len, DNSCRYPT_MIN_BYTES, nonce,
						 sealed);
			size_t msg_len;
			size_t padded;
			const uint8_t *opened;

			ck_assert_uint_le(n, DNSCRYPT_SEALED_MAX(len, DNSCRYPT_MIN_BYTES));
			padded = fake_provider_open(&provider, sealed, n, &msg_len);
			ck_assert_uint_eq(padded % DNSCRYPT_PAD_BYTES, 0);
			ck_assert_uint_ge(padded, DNSCRYPT_MIN_BYTES);
			ck_assert_uint_eq(msg_len, len);
			ck_assert_mem_eq(sealed + DNSCRYPT_QUERY_HEADER_BYTES, msg, len);
			ck_assert_mem_eq(provider.client_nonce, nonce, sizeof nonce);
			n = fake_provider_seal(&provider, msg, len, sealed);
			ck_assert_mem_eq(dnscrypt_answer_nonce(sealed, n), nonce, sizeof nonce);
			ck_assert_int_eq(dnscrypt_open(&session, sealed, n, &opened, &msg_len), 0);
			ck_assert_uint_eq(msg_len, len);
			ck_assert_mem_eq(opened, msg, len);
		}
	}
}
END_TEST

/* By TCP the padding has any length of 64 to 256 bytes; each is seen in a few hundred. */
START_TEST(test_random_padding)
{
	uint8_t msg[100] = { 1 };
	uint8_t sealed[1024];
	uint8_t nonce[DNSCRYPT_NONCE_BYTES];
	struct dnscrypt_session session;
	unsigned seen[5] = { 0 };

	provider.cert.cipher = CRYPTO_XCHACHA20;
	ck_assert_int_eq(dnscrypt_session_init(&session, &provider.cert), 0);
	for (unsigned i = 0; i < 400; i++) {
		size_t n = dnscrypt_seal(&session, msg, sizeof msg, 0, nonce, sealed);
		size_t padded = n - DNSCRYPT_QUERY_HEADER_BYTES;

		ck_assert_uint_eq(padded % DNSCRYPT_PAD_BYTES, 0);
		ck_assert_uint_le(padded, sizeof msg + DNSCRYPT_PAD_MAX);
		ck_assert_uint_ge(padded, 128);
		seen[(padded - 128) / DNSCRYPT_PAD_BYTES]++;
	}
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_gt(seen[i], 20);
	}
	ck_assert_uint_eq(seen[4], 0);
}
END_TEST

START_TEST(test_open_hostile)
{
	uint8_t msg[40] = { 1, 2, 3 };
	uint8_t query[1024];
	uint8_t answer[1024];
	uint8_t copy[1024];
	uint8_t nonce[DNSCRYPT_NONCE_BYTES];
	struct dnscrypt_session session;
	const uint8_t *opened;
	size_t n;

	provider.cert.cipher = CRYPTO_XCHACHA20;
	ck_assert_int_eq(dnscrypt_session_init(&session, &provider.cert), 0);
	n = dnscrypt_seal(&session, msg, sizeof msg, DNSCRYPT_MIN_BYTES, nonce, query);
	ck_assert_uint_gt(fake_provider_open(&provider, query, n, &n), 0);
	n = fake_provider_seal(&provider, msg, sizeof msg, answer);
	for (size_t i = 0; i < n; i++) {
		size_t len;

		memcpy(copy, answer, n);
		copy[i] ^= 0x10;
		ck_assert_int_eq(dnscrypt_open(&session, copy, n, &opened, &len), -EBADMSG);
		memcpy(copy, answer, n);
		ck_assert_int_eq(dnscrypt_open(&session, copy, i, &opened, &len), -EBADMSG);
	}
}
END_TEST

/* A key of low order would make the secret known to all. */
START_TEST(test_weak_key)
{
	struct dnscrypt_session session;

	memset(provider.cert.resolver_key, 0, CRYPTO_PUBLIC_BYTES);
	ck_assert_int_eq(dnscrypt_session_init(&session, &provider.cert), -EINVAL);
	provider.cert.cipher = CRYPTO_XCHACHA20;
	ck_assert_int_eq(dnscrypt_session_init(&session, &provider.cert), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dnscrypt");
	TCase *tcase = tcase_create("dnscrypt");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_cert);
	tcase_add_test(tcase, test_wrong_clock);
	tcase_add_test(tcase, test_cert_bits);
	tcase_add_test(tcase, test_choose);
	tcase_add_test(tcase, test_choose_none);
	tcase_add_test(tcase, test_cert_query);
	tcase_add_test(tcase, test_seal_and_open);
	tcase_add_test(tcase, test_random_padding);
	tcase_add_test(tcase, test_open_hostile);
	tcase_add_test(tcase, test_weak_key);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
