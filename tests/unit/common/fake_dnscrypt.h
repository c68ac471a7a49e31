/* SPDX-License-Identifier: ISC */
/*
 * The server's side of DNSCrypt, for tests: certificates, opening queries, sealing answers.
 * Failures abort the test.
 */
#ifndef TESTS_UNIT_COMMON_FAKE_DNSCRYPT_H
#define TESTS_UNIT_COMMON_FAKE_DNSCRYPT_H

#include "common/dns/dnscrypt.h"

#include <stddef.h>
#include <stdint.h>

#define FAKE_PROVIDER "2.dnscrypt-cert.test"

/* A provider with one certificate; fields may be changed before it is signed. */
struct fake_provider {
	uint8_t provider_key[CRYPTO_PUBLIC_BYTES];
	uint8_t provider_secret[64];
	uint8_t resolver_secret[32];
	uint16_t es_version;
	struct dnscrypt_cert cert;
	/* Of the last query opened. */
	uint8_t client_key[CRYPTO_PUBLIC_BYTES];
	uint8_t client_nonce[DNSCRYPT_NONCE_BYTES];
	uint8_t shared[32];
};

/* Valid from start_s to end_s, serial 1; the same seed gives the same keys. */
void fake_provider_init(struct fake_provider *provider, uint8_t seed, uint32_t start_s,
			uint32_t end_s);

/* Take new keys for certificates; the provider's key stays. */
void fake_provider_rotate(struct fake_provider *provider, uint8_t seed, uint32_t serial);

/* The signed certificate. */
void fake_provider_sign(const struct fake_provider *provider,
			uint8_t ret_cert[DNSCRYPT_CERT_BYTES]);

/* Append a TXT record that holds the bytes, in strings of at most 100, to a message; counts it as
 * answer. Returns the new length. */
size_t fake_add_txt(uint8_t *msg, size_t len, const uint8_t *bytes, size_t bytes_len);

/* Open a query in place; returns the length of its padded message, 0 when it is none for this
 * certificate. The message begins at DNSCRYPT_QUERY_HEADER_BYTES. *ret_msg_len: without padding. */
size_t fake_provider_open(struct fake_provider *provider, uint8_t *bytes, size_t len,
			  size_t *ret_msg_len);

/* Seal an answer to the last query opened, with room for len + 512 bytes. Returns its length. */
size_t fake_provider_seal(const struct fake_provider *provider, const uint8_t *msg, size_t len,
			  uint8_t *ret_bytes);

#endif
