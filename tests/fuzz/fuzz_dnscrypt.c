/* SPDX-License-Identifier: ISC */
/*
 * What a DNSCrypt server sends. Input: a byte that says what it is, then the bytes: an answer with
 * certificates; one certificate; what is behind the signature of a certificate (it is signed here);
 * a datagram; the padded message of a datagram (it is sealed here).
 */
#include "common/dns/dnscrypt.h"

#include "tests/unit/common/fake_dnscrypt.h"

#include <assert.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	NOW_S = 1040000,
	PART_COUNT = 5,
	SIGNED_OFFSET = 72,
};

static const struct tls_time now = { .unix_s = NOW_S };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fuzz_signed(const struct fake_provider *provider, const uint8_t *bytes, size_t len)
{
	size_t cert_len = SIGNED_OFFSET + len;
	uint8_t *cert_bytes = malloc(cert_len);
	struct dnscrypt_cert cert;
	enum dnscrypt_verdict verdict;

	memcpy(cert_bytes, "DNSC\0\2\0\0", 8);
	memcpy(cert_bytes + SIGNED_OFFSET, bytes, len);
	crypto_sign_detached(cert_bytes + 8, NULL, cert_bytes + SIGNED_OFFSET, len,
			     provider->provider_secret);
	verdict = dnscrypt_cert_check(cert_bytes, cert_len, provider->provider_key, &now, &cert);
	assert(verdict != DNSCRYPT_FORGED);
	if (verdict == DNSCRYPT_OK) {
		assert(cert.start_s <= NOW_S && cert.end_s >= NOW_S);
	}
	free(cert_bytes);
}

static void fuzz_sealed(const struct fake_provider *provider,
			const struct dnscrypt_session *session, const uint8_t *bytes, size_t len)
{
	uint8_t *sealed = malloc(len + 512);
	const uint8_t *msg;
	size_t n = fake_provider_seal(provider, bytes, len, sealed);
	size_t msg_len;
	int r = dnscrypt_open(session, sealed, n, &msg, &msg_len);

	assert(r == 0 && msg_len == len && memcmp(msg, bytes, len) == 0);
	free(sealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t question[12] = { 0 };
	struct fake_provider provider;
	struct dnscrypt_session session;
	struct dnscrypt_cert cert;
	uint8_t sealed[1024];
	uint8_t nonce[DNSCRYPT_NONCE_BYTES];
	const uint8_t *msg;
	uint8_t *copy;
	size_t n;

	if (len == 0) {
		return 0;
	}
	fake_provider_init(&provider, 7, NOW_S - 1000, NOW_S + 1000);
	provider.cert.cipher = CRYPTO_XCHACHA20;
	dnscrypt_session_init(&session, &provider.cert);
	n = dnscrypt_seal(&session, question, sizeof question, DNSCRYPT_MIN_BYTES, nonce, sealed);
	n = fake_provider_open(&provider, sealed, n, &n);
	assert(n > 0);
	copy = malloc(len);
	memcpy(copy, data + 1, len - 1);
	len--;
	switch (data[0] % PART_COUNT) {
	case 0:
		dnscrypt_cert_choose(copy, len, provider.provider_key, &now, &cert);
		break;
	case 1:
		assert(dnscrypt_cert_check(copy, len, provider.provider_key, &now, &cert) !=
		       DNSCRYPT_OK);
		break;
	case 2:
		fuzz_signed(&provider, copy, len);
		break;
	case 3:
		assert(dnscrypt_open(&session, copy, len, &msg, &n) < 0);
		break;
	case 4:
		fuzz_sealed(&provider, &session, copy, len);
		break;
	}
	free(copy);
	return 0;
}
