/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/fake_dnscrypt.h"

#include "common/wire.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	STRING_MAX = 100,
	TTL_S = 60,
	ANSWER_COUNT_OFFSET = 6,
	PAD_MARK = 0x80,
};

static void must(bool ok)
{
	if (!ok) {
		abort();
	}
}

void fake_provider_rotate(struct fake_provider *p, uint8_t seed, uint32_t serial)
{
	uint8_t bytes[crypto_box_SEEDBYTES];

	memset(bytes, seed, sizeof bytes);
	must(crypto_box_seed_keypair(p->cert.resolver_key, p->resolver_secret, bytes) == 0);
	memset(p->cert.client_magic, seed, sizeof p->cert.client_magic);
	p->cert.serial = serial;
}

void fake_provider_init(struct fake_provider *p, uint8_t seed, uint32_t start_s, uint32_t end_s)
{
	uint8_t bytes[crypto_sign_SEEDBYTES];

	memset(p, 0, sizeof *p);
	memset(bytes, seed, sizeof bytes);
	must(crypto_init() == 0);
	must(crypto_sign_seed_keypair(p->provider_key, p->provider_secret, bytes) == 0);
	p->es_version = 2;
	p->cert.start_s = start_s;
	p->cert.end_s = end_s;
	fake_provider_rotate(p, seed, 1);
}

void fake_provider_sign(const struct fake_provider *p, uint8_t ret_cert[DNSCRYPT_CERT_BYTES])
{
	enum {
		SIGNED_OFFSET = 72
	};
	const uint8_t versions[4] = { 0, (uint8_t)p->es_version, 0, 0 };
	const uint32_t numbers[3] = { p->cert.serial, p->cert.start_s, p->cert.end_s };
	uint8_t *pos = ret_cert + SIGNED_OFFSET;

	memcpy(ret_cert, "DNSC", 4);
	memcpy(ret_cert + 4, versions, sizeof versions);
	memcpy(pos, p->cert.resolver_key, CRYPTO_PUBLIC_BYTES);
	pos += CRYPTO_PUBLIC_BYTES;
	memcpy(pos, p->cert.client_magic, DNSCRYPT_MAGIC_BYTES);
	pos += DNSCRYPT_MAGIC_BYTES;
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned shift = 32; shift > 0; shift -= 8) {
			*pos++ = (uint8_t)(numbers[i] >> (shift - 8));
		}
	}
	must(pos == ret_cert + DNSCRYPT_CERT_BYTES);
	must(crypto_sign_detached(ret_cert + 8, NULL, ret_cert + SIGNED_OFFSET,
				  DNSCRYPT_CERT_BYTES - SIGNED_OFFSET, p->provider_secret) == 0);
}

size_t fake_add_txt(uint8_t *msg, size_t len, const uint8_t *bytes, size_t bytes_len)
{
	struct wire_writer w = wire_writer(msg + len, bytes_len + 512);
	size_t strings = (bytes_len + STRING_MAX - 1) / STRING_MAX;

	wire_put_u16(&w, 0xc00c);
	wire_put_u16(&w, 16);
	wire_put_u16(&w, 1);
	wire_put_u32(&w, TTL_S);
	wire_put_u16(&w, (uint16_t)(bytes_len + strings));
	for (size_t pos = 0; pos < bytes_len; pos += STRING_MAX) {
		size_t n = bytes_len - pos < STRING_MAX ? bytes_len - pos : STRING_MAX;

		wire_put_u8(&w, (uint8_t)n);
		wire_put(&w, bytes + pos, n);
	}
	must(!w.failed);
	msg[ANSWER_COUNT_OFFSET + 1]++;
	return len + wire_written(&w);
}

size_t fake_provider_open(struct fake_provider *p, uint8_t *bytes, size_t len, size_t *ret_msg_len)
{
	uint8_t nonce[CRYPTO_NONCE_BYTES] = { 0 };
	struct wire_reader r = wire_reader(bytes, len);
	const uint8_t *magic = wire_take(&r, DNSCRYPT_MAGIC_BYTES);
	const uint8_t *key = wire_take(&r, CRYPTO_PUBLIC_BYTES);
	const uint8_t *client_nonce = wire_take(&r, DNSCRYPT_NONCE_BYTES);
	uint8_t *msg = bytes + DNSCRYPT_QUERY_HEADER_BYTES;
	size_t padded;
	int error;

	if (r.failed || len < DNSCRYPT_QUERY_HEADER_BYTES ||
	    memcmp(magic, p->cert.client_magic, DNSCRYPT_MAGIC_BYTES) != 0) {
		return 0;
	}
	memcpy(p->client_key, key, sizeof p->client_key);
	memcpy(p->client_nonce, client_nonce, sizeof p->client_nonce);
	memcpy(nonce, client_nonce, sizeof p->client_nonce);
	padded = len - DNSCRYPT_QUERY_HEADER_BYTES;
	if (p->es_version == 2) {
		error = crypto_box_curve25519xchacha20poly1305_beforenm(p->shared, p->client_key,
									p->resolver_secret);
		error |= crypto_box_curve25519xchacha20poly1305_open_easy_afternm(
			msg, msg - CRYPTO_BOX_BYTES, padded + CRYPTO_BOX_BYTES, nonce, p->shared);
	} else {
		error = crypto_box_beforenm(p->shared, p->client_key, p->resolver_secret);
		error |= crypto_box_open_easy_afternm(msg, msg - CRYPTO_BOX_BYTES,
						      padded + CRYPTO_BOX_BYTES, nonce, p->shared);
	}
	if (error) {
		return 0;
	}
	*ret_msg_len = padded;
	while (*ret_msg_len > 0 && msg[*ret_msg_len - 1] == 0) {
		(*ret_msg_len)--;
	}
	must(*ret_msg_len > 0 && msg[*ret_msg_len - 1] == PAD_MARK);
	(*ret_msg_len)--;
	return padded;
}

size_t fake_provider_seal(const struct fake_provider *p, const uint8_t *msg, size_t len,
			  uint8_t *ret_bytes)
{
	uint8_t *nonce = ret_bytes + DNSCRYPT_MAGIC_BYTES;
	uint8_t *box = nonce + CRYPTO_NONCE_BYTES;
	size_t padded = len + DNSCRYPT_PAD_BYTES - len % DNSCRYPT_PAD_BYTES;
	int error;

	memcpy(ret_bytes, "r6fnvWj8", DNSCRYPT_MAGIC_BYTES);
	memcpy(nonce, p->client_nonce, DNSCRYPT_NONCE_BYTES);
	memset(nonce + DNSCRYPT_NONCE_BYTES, 0x5e, CRYPTO_NONCE_BYTES - DNSCRYPT_NONCE_BYTES);
	memcpy(box, msg, len);
	box[len] = PAD_MARK;
	memset(box + len + 1, 0, padded - len - 1);
	error = p->es_version == 2 ? crypto_box_curve25519xchacha20poly1305_easy_afternm(
					     box, box, padded, nonce, p->shared)
				   : crypto_box_easy_afternm(box, box, padded, nonce, p->shared);
	must(error == 0);
	return (size_t)(box - ret_bytes) + CRYPTO_BOX_BYTES + padded;
}
