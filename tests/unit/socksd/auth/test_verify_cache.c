/* SPDX-License-Identifier: ISC */
#include "socksd/auth/verify_cache.h"

#include "tests/unit/suite.h"

#include <string.h>

enum {
	START_MS = 1000000,
};

static struct crypto_digest digest_of(uint32_t number)
{
	static const struct crypto_digest key;

	return crypto_digest(&key, &number, sizeof number);
}

START_TEST(test_lifetime)
{
	struct verify_cache *cache = verify_cache_new(64, 1000);
	struct crypto_digest a = digest_of(1);
	struct crypto_digest b = digest_of(2);

	ck_assert(!verify_cache_has(cache, &a, START_MS));
	verify_cache_add(cache, &a, START_MS);
	ck_assert(verify_cache_has(cache, &a, START_MS));
	ck_assert(verify_cache_has(cache, &a, START_MS + 999));
	/* use does not prolong it */
	ck_assert(!verify_cache_has(cache, &a, START_MS + 1000));
	ck_assert(!verify_cache_has(cache, &b, START_MS));
	verify_cache_add(cache, &a, START_MS + 1500);
	ck_assert(verify_cache_has(cache, &a, START_MS + 2499));
	verify_cache_free(cache);
}
END_TEST

START_TEST(test_every_bit_counts)
{
	struct verify_cache *cache = verify_cache_new(8, 1000);
	struct crypto_digest a = digest_of(1);

	verify_cache_add(cache, &a, START_MS);
	for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
		struct crypto_digest other = a;

		other.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert(!verify_cache_has(cache, &other, START_MS));
	}
	verify_cache_free(cache);
}
END_TEST

START_TEST(test_clear)
{
	struct verify_cache *cache = verify_cache_new(64, 1000);

	verify_cache_clear(cache);
	for (uint32_t i = 0; i < 64; i++) {
		struct crypto_digest a = digest_of(i);

		verify_cache_add(cache, &a, START_MS);
	}
	verify_cache_clear(cache);
	for (uint32_t i = 0; i < 64; i++) {
		struct crypto_digest a = digest_of(i);

		ck_assert(!verify_cache_has(cache, &a, START_MS));
	}
	verify_cache_free(cache);
}
END_TEST

/* One set of eight: the ninth takes the place of the oldest, a repetition takes none. */
START_TEST(test_full)
{
	struct verify_cache *cache = verify_cache_new(8, 1000);
	unsigned kept = 0;

	for (uint32_t i = 0; i < 8; i++) {
		struct crypto_digest a = digest_of(i);

		verify_cache_add(cache, &a, START_MS + i);
		verify_cache_add(cache, &a, START_MS + i);
	}
	for (uint32_t i = 0; i < 8; i++) {
		struct crypto_digest a = digest_of(i);

		kept += verify_cache_has(cache, &a, START_MS + 8);
	}
	ck_assert_uint_eq(kept, 8);
	for (uint32_t i = 8; i < 11; i++) {
		struct crypto_digest a = digest_of(i);

		verify_cache_add(cache, &a, START_MS + i);
	}
	for (uint32_t i = 0; i < 11; i++) {
		struct crypto_digest a = digest_of(i);

		ck_assert(verify_cache_has(cache, &a, START_MS + 11) == (i >= 3));
	}
	verify_cache_free(cache);
}
END_TEST

SUITE_MAIN("verify_cache", test_lifetime, test_every_bit_counts, test_clear, test_full)
