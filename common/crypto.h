/* SPDX-License-Identifier: ISC */
/*
 * Cryptography: random numbers, keyed hashing, password hashes, public-key boxes and signatures.
 * The only user of libsodium. Thread: any, after crypto_init().
 */
#ifndef COMMON_CRYPTO_H
#define COMMON_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Call once in main(), before threads. 0 or -EIO when the system has no randomness. */
int crypto_init(void);

void crypto_random(void *buf, size_t len);

/* Random numbers fetched many at a time, for who needs a few often: one system call for all. Each
 * octet is given out once and then forgotten. All zero: empty. One thread. */
#define CRYPTO_POOL_BYTES 1024
struct crypto_pool {
	uint8_t bytes[CRYPTO_POOL_BYTES]; /* the first `left` are unused */
	size_t left;
};

/* crypto_random() from a pool; at most CRYPTO_POOL_BYTES at once. */
void crypto_pool_take(struct crypto_pool *pool, void *buf, size_t len);

/* Uniform in [0, bound). */
uint32_t crypto_random_below(uint32_t bound);

/* Key of crypto_siphash(); fill it with crypto_random(). */
struct crypto_key {
	uint8_t bytes[16];
};

/* SipHash-2-4 of buf: for hash tables whose keys come from strangers. (libsodium has a
 * crypto_hash() already.) */
uint64_t crypto_siphash(const struct crypto_key *key, const void *buf, size_t len);

/* Key and result of crypto_digest(). */
struct crypto_digest {
	uint8_t bytes[32];
};

/* Keyed BLAKE2b of buf: for recognising secrets without keeping them. */
struct crypto_digest crypto_digest(const struct crypto_digest *key, const void *buf, size_t len);

/* Whether both hold the same bytes; time depends on len only. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* Overwrite a secret so that the compiler cannot leave the write out. */
void crypto_wipe(void *buf, size_t len);

/* Longest text of a password hash, with the final NUL. */
#define CRYPTO_PASSWORD_HASH_MAX 128

/* Hash a password with Argon2id (19 MiB, two passes: OWASP's choice for servers) to the
 * "$argon2id$..." text form. Takes tens of milliseconds: never on a loop. 0 or -ENOMEM. */
int crypto_password_hash(const void *password, size_t len, char ret_hash[CRYPTO_PASSWORD_HASH_MAX]);

/* Whether text looks like a hash that crypto_password_verify() can work with, within the limits it
 * allows. */
bool crypto_password_hash_valid(const char *hash);

/* Whether the password fits the hash. Takes as long as hashing: never on a loop. */
bool crypto_password_verify(const char *hash, const void *password, size_t len);

/* --- boxes: X25519 and a stream cipher with Poly1305, as DNSCrypt has them ------------------- */

enum crypto_cipher {
	CRYPTO_XSALSA20,
	CRYPTO_XCHACHA20,
};

#define CRYPTO_PUBLIC_BYTES 32
#define CRYPTO_NONCE_BYTES  24
/* How much longer a box is than what is in it. */
#define CRYPTO_BOX_BYTES    16

struct crypto_secret {
	uint8_t bytes[32];
};

/* What two who know each other's public keys have in common. */
struct crypto_shared {
	enum crypto_cipher cipher;
	uint8_t bytes[32];
};

/* Make a pair of keys. */
void crypto_pair(uint8_t ret_public[CRYPTO_PUBLIC_BYTES], struct crypto_secret *ret_secret);

/* 0, or -EINVAL when their key is one that gives a secret which everybody knows. */
int crypto_agree(enum crypto_cipher cipher, const struct crypto_secret *ours,
		 const uint8_t theirs[CRYPTO_PUBLIC_BYTES], struct crypto_shared *ret_shared);

/* Encrypt len bytes to ret_box, which gets CRYPTO_BOX_BYTES more; it may overlap with `plain`. A
 * nonce must never be used twice with one secret. */
void crypto_lock(const struct crypto_shared *shared, const uint8_t nonce[CRYPTO_NONCE_BYTES],
		 const uint8_t *plain, size_t len, uint8_t *ret_box);

/* Decrypt a box of len bytes to ret_plain, which gets CRYPTO_BOX_BYTES less and may overlap with
 * it. 0, or -EBADMSG when this secret and nonce have not made it. */
int crypto_unlock(const struct crypto_shared *shared, const uint8_t nonce[CRYPTO_NONCE_BYTES],
		  const uint8_t *box, size_t len, uint8_t *ret_plain);

#define CRYPTO_SIGNATURE_BYTES 64

/* Whether the owner of this Ed25519 key has signed the bytes. */
bool crypto_signed_by(const uint8_t key[CRYPTO_PUBLIC_BYTES],
		      const uint8_t signature[CRYPTO_SIGNATURE_BYTES], const uint8_t *buf,
		      size_t len);

#endif
