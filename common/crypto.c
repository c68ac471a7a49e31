/* SPDX-License-Identifier: ISC */
#include "common/crypto.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

/* What we make: OWASP's Argon2id parameters for servers. */
#define HASH_MEMORY_BYTES    ((size_t)19 * 1024 * 1024)
#define HASH_PASSES          2

/* What we accept from a users file. The worst hash takes 256 MiB and a few seconds, not gigabytes
 * and minutes. The lower bounds are those of RFC 9106, section 3.1. */
#define MEMORY_KIB_MAX       (256u * 1024)
#define MEMORY_KIB_PER_LANE  8u
#define PASSES_MAX           16u
#define LANES_MAX            16u
#define SALT_BYTES_MIN       8
#define SALT_BYTES_MAX       48
#define HASH_BYTES_MIN       16
#define HASH_BYTES_MAX       64
#define BASE64_CHARS(nbytes) (((nbytes)*8 + 5) / 6)

_Static_assert(crypto_pwhash_STRBYTES == CRYPTO_PASSWORD_HASH_MAX, "text of a hash");
_Static_assert(crypto_shorthash_KEYBYTES == sizeof((struct crypto_key *)0)->bytes, "SipHash key");
_Static_assert(crypto_generichash_BYTES_MIN <= 32 && crypto_generichash_KEYBYTES_MIN <= 32 &&
		       crypto_generichash_KEYBYTES_MAX >= 32,
	       "BLAKE2b key and result");
_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "SipHash result");
_Static_assert(crypto_box_PUBLICKEYBYTES == CRYPTO_PUBLIC_BYTES &&
		       crypto_box_SECRETKEYBYTES == sizeof((struct crypto_secret *)0)->bytes &&
		       crypto_box_BEFORENMBYTES == sizeof((struct crypto_shared *)0)->bytes &&
		       crypto_box_NONCEBYTES == CRYPTO_NONCE_BYTES &&
		       crypto_box_MACBYTES == CRYPTO_BOX_BYTES,
	       "boxes with XSalsa20");
_Static_assert(crypto_box_curve25519xchacha20poly1305_BEFORENMBYTES == crypto_box_BEFORENMBYTES &&
		       crypto_box_curve25519xchacha20poly1305_NONCEBYTES == CRYPTO_NONCE_BYTES &&
		       crypto_box_curve25519xchacha20poly1305_MACBYTES == CRYPTO_BOX_BYTES,
	       "boxes with XChaCha20");
_Static_assert(crypto_sign_PUBLICKEYBYTES == CRYPTO_PUBLIC_BYTES &&
		       crypto_sign_BYTES == CRYPTO_SIGNATURE_BYTES,
	       "Ed25519");

int crypto_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

void crypto_random(void *buf, size_t len)
{
	randombytes_buf(buf, len);
}

void crypto_pool_take(struct crypto_pool *pool, void *buf, size_t len)
{
	if (pool->left < len) {
		randombytes_buf(pool->bytes, sizeof pool->bytes);
		pool->left = sizeof pool->bytes;
	}
	pool->left -= len;
	memcpy(buf, pool->bytes + pool->left, len);
	memset(pool->bytes + pool->left, 0, len);
}

uint32_t crypto_random_below(uint32_t bound)
{
	return randombytes_uniform(bound);
}

uint64_t crypto_siphash(const struct crypto_key *key, const void *buf, size_t len)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t hash = 0;

	crypto_shorthash(out, buf, len, key->bytes);
	for (size_t i = 0; i < sizeof out; i++) {
		hash |= (uint64_t)out[i] << (8 * i);
	}
	return hash;
}

struct crypto_digest crypto_digest(const struct crypto_digest *key, const void *buf, size_t len)
{
	struct crypto_digest digest;

	/* Fails only for lengths out of its range. */
	crypto_generichash(digest.bytes, sizeof digest.bytes, buf, len, key->bytes,
			   sizeof key->bytes);
	return digest;
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *buf, size_t len)
{
	sodium_memzero(buf, len);
}

int crypto_password_hash(const void *password, size_t len, char ret_hash[CRYPTO_PASSWORD_HASH_MAX])
{
	int r = crypto_pwhash_str_alg(ret_hash, password, len, HASH_PASSES, HASH_MEMORY_BYTES,
				      crypto_pwhash_ALG_ARGON2ID13);

	return r < 0 ? -ENOMEM : 0;
}

/* Each take_*() moves *pos behind what it took, or returns false. */

static bool take_text(const char **pos, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*pos, text, len) != 0) {
		return false;
	}
	*pos += len;
	return true;
}

/* A decimal number in [min, max] without sign, space or leading zero. */
static bool take_number(const char **pos, uint32_t min, uint32_t max, uint32_t *ret_value)
{
	const char *p = *pos;
	uint32_t value = 0;

	if (*p == '0') {
		return false;
	}
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (uint32_t)(*p - '0');
		if (value > max) {
			return false;
		}
	}
	if (p == *pos || value < min) {
		return false;
	}
	*pos = p;
	*ret_value = value;
	return true;
}

/* Base64 of min to max bytes, standard alphabet without padding. Bits that carry no data must be
 * zero: one hash has one text. */
static bool take_base64(const char **pos, size_t min, size_t max)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strspn(*pos, alphabet);
	size_t spare_bits = len * 6 % 8;
	size_t last;

	if (len < BASE64_CHARS(min) || len > BASE64_CHARS(max) || spare_bits == 6) {
		return false;
	}
	last = (size_t)(strchr(alphabet, (*pos)[len - 1]) - alphabet);
	if (last & (((size_t)1 << spare_bits) - 1)) {
		return false;
	}
	*pos += len;
	return true;
}

bool crypto_password_hash_valid(const char *hash)
{
	uint32_t memory_kib;
	uint32_t passes;
	uint32_t lanes;

	if (strnlen(hash, CRYPTO_PASSWORD_HASH_MAX) == CRYPTO_PASSWORD_HASH_MAX) {
		return false;
	}
	return take_text(&hash, "$argon2id$v=19$m=") &&
	       take_number(&hash, MEMORY_KIB_PER_LANE, MEMORY_KIB_MAX, &memory_kib) &&
	       take_text(&hash, ",t=") && take_number(&hash, 1, PASSES_MAX, &passes) &&
	       take_text(&hash, ",p=") && take_number(&hash, 1, LANES_MAX, &lanes) &&
	       memory_kib >= MEMORY_KIB_PER_LANE * lanes && take_text(&hash, "$") &&
	       take_base64(&hash, SALT_BYTES_MIN, SALT_BYTES_MAX) && take_text(&hash, "$") &&
	       take_base64(&hash, HASH_BYTES_MIN, HASH_BYTES_MAX) && *hash == '\0';
}

bool crypto_password_verify(const char *hash, const void *password, size_t len)
{
	/* libsodium's parameter is an array of this size. */
	char text[crypto_pwhash_STRBYTES] = { 0 };

	if (!crypto_password_hash_valid(hash)) {
		return false;
	}
	memcpy(text, hash, strlen(hash));
	return crypto_pwhash_str_verify(text, password, len) == 0;
}

/* --- boxes ----------------------------------------------------------------------------------- */

void crypto_pair(uint8_t ret_public[CRYPTO_PUBLIC_BYTES], struct crypto_secret *ret_secret)
{
	crypto_box_keypair(ret_public, ret_secret->bytes);
}

int crypto_agree(enum crypto_cipher cipher, const struct crypto_secret *ours,
		 const uint8_t theirs[CRYPTO_PUBLIC_BYTES], struct crypto_shared *ret_shared)
{
	int r = cipher == CRYPTO_XCHACHA20
			? crypto_box_curve25519xchacha20poly1305_beforenm(ret_shared->bytes, theirs,
									  ours->bytes)
			: crypto_box_beforenm(ret_shared->bytes, theirs, ours->bytes);

	ret_shared->cipher = cipher;
	return r < 0 ? -EINVAL : 0;
}

void crypto_lock(const struct crypto_shared *shared, const uint8_t nonce[CRYPTO_NONCE_BYTES],
		 const uint8_t *plain, size_t len, uint8_t *ret_box)
{
	/* Both fail only for lengths that no memory has. */
	if (shared->cipher == CRYPTO_XCHACHA20) {
		(void)crypto_box_curve25519xchacha20poly1305_easy_afternm(ret_box, plain, len,
									  nonce, shared->bytes);
	} else {
		(void)crypto_box_easy_afternm(ret_box, plain, len, nonce, shared->bytes);
	}
}

int crypto_unlock(const struct crypto_shared *shared, const uint8_t nonce[CRYPTO_NONCE_BYTES],
		  const uint8_t *box, size_t len, uint8_t *ret_plain)
{
	int r = shared->cipher == CRYPTO_XCHACHA20
			? crypto_box_curve25519xchacha20poly1305_open_easy_afternm(
				  ret_plain, box, len, nonce, shared->bytes)
			: crypto_box_open_easy_afternm(ret_plain, box, len, nonce, shared->bytes);

	return r < 0 ? -EBADMSG : 0;
}

bool crypto_signed_by(const uint8_t key[CRYPTO_PUBLIC_BYTES],
		      const uint8_t signature[CRYPTO_SIGNATURE_BYTES], const uint8_t *buf,
		      size_t len)
{
	return crypto_sign_verify_detached(signature, buf, len, key) == 0;
}
