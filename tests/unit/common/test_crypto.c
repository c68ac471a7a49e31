/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/crypto.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

/* The test vector of the SipHash paper: key 00..0f, input 00..0e. */
START_TEST(test_hash)
{
	struct crypto_key key;
	uint8_t input[15];

	for (uint8_t i = 0; i < sizeof key.bytes; i++) {
		key.bytes[i] = i;
	}
	for (uint8_t i = 0; i < sizeof input; i++) {
		input[i] = i;
	}
	ck_assert_uint_eq(crypto_siphash(&key, input, sizeof input), 0xa129ca6149be45e5u);
	key.bytes[0] = 1;
	ck_assert_uint_ne(crypto_siphash(&key, input, sizeof input), 0xa129ca6149be45e5u);
}
END_TEST

/* BLAKE2b-256 of "abc" with the key 00..1f, as Python's hashlib.blake2b() has it. */
START_TEST(test_digest)
{
	static const uint8_t expected[32] = { 0xd6, 0x3a, 0x32, 0xd3, 0xe4, 0x47, 0x38, 0xd7,
					      0x90, 0x7f, 0x96, 0x43, 0x16, 0xc2, 0x41, 0xad,
					      0xab, 0xa0, 0xab, 0xfe, 0xab, 0xc3, 0x23, 0x49,
					      0x67, 0x75, 0x78, 0xa1, 0x5a, 0x20, 0x3f, 0x7f };
	struct crypto_digest key;
	struct crypto_digest digest;

	for (uint8_t i = 0; i < sizeof key.bytes; i++) {
		key.bytes[i] = i;
	}
	digest = crypto_digest(&key, "abc", 3);
	ck_assert_mem_eq(digest.bytes, expected, sizeof expected);
	key.bytes[31]++;
	digest = crypto_digest(&key, "abc", 3);
	ck_assert_mem_ne(digest.bytes, expected, sizeof expected);
}
END_TEST

START_TEST(test_random)
{
	static const uint8_t zeros[32];
	uint8_t a[32] = { 0 };
	uint8_t b[32] = { 0 };
	unsigned seen = 0;

	crypto_random(a, sizeof a);
	crypto_random(b, sizeof b);
	ck_assert(memcmp(a, zeros, sizeof a) != 0);
	ck_assert(memcmp(a, b, sizeof a) != 0);
	for (int i = 0; i < 1000; i++) {
		uint32_t n = crypto_random_below(3);

		ck_assert_uint_lt(n, 3);
		seen |= 1u << n;
	}
	ck_assert_uint_eq(seen, 7);
	ck_assert_uint_eq(crypto_random_below(1), 0);
}
END_TEST

START_TEST(test_equal_and_wipe)
{
	static const uint8_t zeros[4];
	uint8_t secret[4] = { 1, 2, 3, 4 };

	ck_assert(crypto_equal("abc", "abd", 2));
	ck_assert(!crypto_equal("abc", "abd", 3));
	ck_assert(crypto_equal("abc", "abd", 0));
	crypto_wipe(secret, sizeof secret);
	ck_assert_mem_eq(secret, zeros, sizeof secret);
}
END_TEST

START_TEST(test_password)
{
	static const char secret[] = "cor\0rect";
	char hash[CRYPTO_PASSWORD_HASH_MAX];
	char again[CRYPTO_PASSWORD_HASH_MAX];

	ck_assert_int_eq(crypto_password_hash(secret, sizeof secret, hash), 0);
	ck_assert_msg(strncmp(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31) == 0, "%s", hash);
	ck_assert(crypto_password_hash_valid(hash));
	ck_assert(crypto_password_verify(hash, secret, sizeof secret));
	ck_assert(!crypto_password_verify(hash, secret, sizeof secret - 1));
	ck_assert(!crypto_password_verify(hash, "cor\0Rect", sizeof secret));
	ck_assert(!crypto_password_verify(hash, "", 0));
	ck_assert_int_eq(crypto_password_hash(secret, sizeof secret, again), 0);
	ck_assert_str_ne(hash, again);
	ck_assert_int_eq(crypto_password_hash("", 0, hash), 0);
	ck_assert(crypto_password_verify(hash, "", 0));
	ck_assert(!crypto_password_verify(hash, "x", 1));
}
END_TEST

/* Made by the Argon2 reference implementation: password "password", salt "somesalt". */
#define FOREIGN_TWO_LANES \
	"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"
#define FOREIGN_64_MIB \
	"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

START_TEST(test_foreign_hash)
{
	ck_assert(crypto_password_verify(FOREIGN_TWO_LANES, "password", 8));
	ck_assert(!crypto_password_verify(FOREIGN_TWO_LANES, "Password", 8));
	ck_assert(crypto_password_verify(FOREIGN_64_MIB, "password", 8));
}
END_TEST

#define SALT  "c29tZXNhbHQ"
#define SALT8 "AAAAAAAAAAA"
#define SUM   "bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"
#define SUM16 "AAAAAAAAAAAAAAAAAAAAAA"

static const struct {
	const char *hash;
	bool valid;
} text_cases[] = {
	{ FOREIGN_TWO_LANES, true },
	{ "$argon2id$v=19$m=8,t=1,p=1$" SALT8 "$" SUM16, true },
	{ "$argon2id$v=19$m=262144,t=16,p=16$" SALT "$" SUM, true },
	/* cost out of bounds */
	{ "$argon2id$v=19$m=262145,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=4294967296,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=4294967304,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=99999999999999999999,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=7,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=15,t=1,p=2$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=256,t=17,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=256,t=0,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=256,t=1,p=17$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=256,t=1,p=0$" SALT "$" SUM, false },
	/* numbers that are none */
	{ "$argon2id$v=19$m=-256,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=+256,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m= 256,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=0256,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=0x100,t=1,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=,t=1,p=1$" SALT "$" SUM, false },
	/* other forms */
	{ "$argon2i$v=19$m=256,t=2,p=1$" SALT "$" SUM, false },
	{ "$argon2d$v=19$m=256,t=2,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=16$m=256,t=2,p=1$" SALT "$" SUM, false },
	{ "$argon2id$m=256,t=2,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$t=2,m=256,p=1$" SALT "$" SUM, false },
	{ "$argon2id$v=19$m=256,t=2,p=1,keyid=x$" SALT "$" SUM, false },
	{ "$6$salt$hash", false },
	{ "plain", false },
	{ "", false },
	/* salt and sum */
	{ "$argon2id$v=19$m=256,t=2,p=1$AAAAAAAAAA$" SUM, false },
	{ "$argon2id$v=19$m=256,t=2,p=1$$" SUM, false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT, false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$AAAAAAAAAAAAAAAAAAAAA", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$" SUM16 "AAA", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$AAAAAAAAAAAAAAAAAAAAAB", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$" SUM "=", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$" SUM " ", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$" SUM16 "-_", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$" SUM "$", false },
	{ "$argon2id$v=19$m=256,t=2,p=1$" SALT "$" SUM SUM, false },
	{ " " FOREIGN_TWO_LANES, false },
};

START_TEST(test_hash_text)
{
	for (size_t i = 0; i < ARRAY_SIZE(text_cases); i++) {
		ck_assert_msg(crypto_password_hash_valid(text_cases[i].hash) == text_cases[i].valid,
			      "%s", text_cases[i].hash);
		if (!text_cases[i].valid) {
			ck_assert(!crypto_password_verify(text_cases[i].hash, "password", 8));
		}
	}
}
END_TEST

/* What is called valid must be computable: the library takes it and the sum decides. */
START_TEST(test_valid_is_computable)
{
	static const char smallest[] = "$argon2id$v=19$m=8,t=1,p=1$" SALT8 "$" SUM16;
	char text[2 * CRYPTO_PASSWORD_HASH_MAX];

	ck_assert(!crypto_password_verify(smallest, "password", 8));
	memset(text, 'A', sizeof text);
	text[sizeof text - 1] = '\0';
	memcpy(text, smallest, sizeof smallest - 1);
	ck_assert(!crypto_password_hash_valid(text));
}
END_TEST

/* Both sides come to the same secret; a box opens for them only, and only whole. */
START_TEST(test_boxes)
{
	static const enum crypto_cipher ciphers[] = { CRYPTO_XSALSA20, CRYPTO_XCHACHA20 };
	const enum crypto_cipher cipher = ciphers[_i];
	const uint8_t nonce[CRYPTO_NONCE_BYTES] = { 1, 2, 3 };
	const uint8_t other_nonce[CRYPTO_NONCE_BYTES] = { 1, 2, 4 };
	uint8_t keys[2][CRYPTO_PUBLIC_BYTES];
	uint8_t box[5 + CRYPTO_BOX_BYTES] = "hello";
	uint8_t plain[5];
	struct crypto_secret secrets[2];
	struct crypto_shared ours;
	struct crypto_shared theirs;

	crypto_pair(keys[0], &secrets[0]);
	crypto_pair(keys[1], &secrets[1]);
	ck_assert_int_eq(crypto_agree(cipher, &secrets[0], keys[1], &ours), 0);
	ck_assert_int_eq(crypto_agree(cipher, &secrets[1], keys[0], &theirs), 0);
	ck_assert_mem_eq(ours.bytes, theirs.bytes, sizeof ours.bytes);
	crypto_lock(&ours, nonce, box, 5, box);
	ck_assert_mem_ne(box + CRYPTO_BOX_BYTES, "hello", 5);
	ck_assert_int_eq(crypto_unlock(&theirs, nonce, box, sizeof box, plain), 0);
	ck_assert_mem_eq(plain, "hello", 5);
	ck_assert_int_eq(crypto_unlock(&theirs, other_nonce, box, sizeof box, plain), -EBADMSG);
	ck_assert_int_eq(crypto_unlock(&theirs, nonce, box, sizeof box - 1, plain), -EBADMSG);
	ck_assert_int_eq(crypto_unlock(&theirs, nonce, box, 3, plain), -EBADMSG);
	theirs.bytes[0] ^= 1;
	ck_assert_int_eq(crypto_unlock(&theirs, nonce, box, sizeof box, plain), -EBADMSG);
	memset(keys[0], 0, sizeof keys[0]);
	ck_assert_int_eq(crypto_agree(cipher, &secrets[1], keys[0], &theirs), -EINVAL);
}
END_TEST

/* The second test of RFC 8032 section 7.1. */
START_TEST(test_signature)
{
	static const uint8_t key[] =
		"\x3d\x40\x17\xc3\xe8\x43\x89\x5a\x92\xb7\x0a\xa7\x4d\x1b\x7e\xbc"
		"\x9c\x98\x2c\xcf\x2e\xc4\x96\x8c\xc0\xcd\x55\xf1\x2a\xf4\x66\x0c";
	uint8_t signature[] = "\x92\xa0\x09\xa9\xf0\xd4\xca\xb8\x72\x0e\x82\x0b\x5f\x64\x25\x40"
			      "\xa2\xb2\x7b\x54\x16\x50\x3f\x8f\xb3\x76\x22\x23\xeb\xdb\x69\xda"
			      "\x08\x5a\xc1\xe4\x3e\x15\x99\x6e\x45\x8f\x36\x13\xd0\xf1\x1d\x8c"
			      "\x38\x7b\x2e\xae\xb4\x30\x2a\xee\xb0\x0d\x29\x16\x12\xbb\x0c\x00";

	ck_assert(crypto_signed_by(key, signature, (const uint8_t *)"\x72", 1));
	ck_assert(!crypto_signed_by(key, signature, (const uint8_t *)"\x73", 1));
	ck_assert(!crypto_signed_by(key, signature, (const uint8_t *)"\x72", 0));
	signature[0] ^= 1;
	ck_assert(!crypto_signed_by(key, signature, (const uint8_t *)"\x72", 1));
}
END_TEST

static void setup(void)
{
	ck_assert_int_eq(crypto_init(), 0);
}

START_TEST(test_pool)
{
	static struct crypto_pool pool;
	uint8_t zero[40] = { 0 }, last[40] = { 0 };

	for (int i = 0; i < 200; i++) {
		uint8_t now[40];

		crypto_pool_take(&pool, now, sizeof now);
		ck_assert_mem_ne(now, zero, sizeof now);
		ck_assert_mem_ne(now, last, sizeof now);
		memcpy(last, now, sizeof now);
		/* What was given out is not there any more. */
		ck_assert_mem_eq(pool.bytes + pool.left, zero, sizeof now);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crypto");
	TCase *tcase = tcase_create("crypto");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_hash);
	tcase_add_test(tcase, test_digest);
	tcase_add_test(tcase, test_random);
	tcase_add_test(tcase, test_pool);
	tcase_add_test(tcase, test_equal_and_wipe);
	tcase_add_test(tcase, test_password);
	tcase_add_test(tcase, test_foreign_hash);
	tcase_add_test(tcase, test_hash_text);
	tcase_add_test(tcase, test_valid_is_computable);
	tcase_add_loop_test(tcase, test_boxes, 0, 2);
	tcase_add_test(tcase, test_signature);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
