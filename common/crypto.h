/* SPDX-License-Identifier: ISC */
/*
 * All the cryptography of the suite: random numbers, keyed hashing, password hashes. The only user
 * of libsodium. Thread: any, after crypto_init().
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

#endif
