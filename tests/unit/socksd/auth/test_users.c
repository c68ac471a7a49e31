/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/crypto.h"
#include "socksd/auth/users.h"

#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>

/* Bytes with NULs in them, and their number. */
#define B(literal) (literal), sizeof(literal) - 1

#define PARAMS     "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$"
#define HASH       PARAMS "AAAAAAAAAAAAAAAAAAAAAA"
#define HASH2      PARAMS "BAAAAAAAAAAAAAAAAAAAAA"

#define NAME64     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME255 \
	NAME64 NAME64 NAME64 "123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
	const char *text;
	size_t len;
	size_t count;
	const char *error; /* what it starts with; NULL: none */
} parse_cases[] = {
	{ B(""), 0, NULL },
	{ B("\n\n"), 0, NULL },
	{ B("# nobody\n   # yet\n \t\n"), 0, NULL },
	{ B("alice:" HASH "\n"), 1, NULL },
	{ B("alice:" HASH), 1, NULL },
	{ B("alice:" HASH "\r\nbob:" HASH " \t\r\n\r\n"), 2, NULL },
	{ B("# a\nalice:" HASH "\n\n#bob:" HASH "\nbob:" HASH "\n"), 2, NULL },
	{ B("a b:" HASH "\nb\xc3\xbc:" HASH "\n\xff:" HASH "\n"), 3, NULL },
	{ B(NAME255 ":" HASH "\n"), 1, NULL },
	{ B("Alice:" HASH "\nalice:" HASH "\nalic:" HASH "\n"), 3, NULL },
	{ B("alice\n"), 0, "users:1: no colon in the line (" },
	{ B("\nx:" HASH "\nalice " HASH "\n"), 0, "users:3: no colon in the line (" },
	{ B(":" HASH "\n"), 0, "users:1: empty user name (" },
	{ B(NAME255 "x:" HASH "\n"), 0, "users:1: user name too long (" },
	{ B(" alice:" HASH "\n"), 0, "users:1: space around user name (" },
	{ B("alice :" HASH "\n"), 0, "users:1: space around user name (" },
	{ B("al\tice:" HASH "\n"), 0, "users:1: control character in user name (" },
	{ B("al\0ice:" HASH "\n"), 0, "users:1: control character in user name (" },
	{ B("al\x7fice:" HASH "\n"), 0, "users:1: control character in user name (" },
	{ B("alice:\n"), 0, "users:1: bad password hash of user 'alice' (" },
	{ B("alice:secret\n"), 0, "users:1: bad password hash of user 'alice' (" },
	{ B("alice: " HASH "\n"), 0, "users:1: bad password hash of user 'alice' (" },
	{ B("alice:" HASH ":x\n"), 0, "users:1: bad password hash of user 'alice' (" },
	{ B("alice:" HASH "\0\n"), 0, "users:1: bad password hash of user 'alice' (" },
	{ B("alice:" HASH "\0junk\n"), 0, "users:1: bad password hash of user 'alice' (" },
	{ B("a:$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"), 0,
	  "users:1: bad password hash of user 'a' (" },
	{ B("a:" HASH "\nb:" HASH "\na:" HASH2 "\n"), 0,
	  "users:3: user 'a' is already in line 1 (" },
};

START_TEST(test_parse)
{
	for (size_t i = 0; i < ARRAY_SIZE(parse_cases); i++) {
		struct users *users = NULL;
		struct ini_error error = { "" };
		int r = users_parse("users", parse_cases[i].text, parse_cases[i].len, &users,
				    &error);

		if (parse_cases[i].error) {
			ck_assert_msg(r == -1 && !users, "%s was taken", parse_cases[i].text);
			ck_assert_msg(strncmp(error.text, parse_cases[i].error,
					      strlen(parse_cases[i].error)) == 0,
				      "%s, not %s", error.text, parse_cases[i].error);
			continue;
		}
		ck_assert_msg(r == 0, "%s", error.text);
		ck_assert_uint_eq(users_count(users), parse_cases[i].count);
		users_free(users);
	}
}
END_TEST

static const struct {
	const char *name;
	size_t len;
	const char *hash; /* NULL: no such user */
} find_cases[] = {
	{ B("alice"), HASH },    { B("al"), HASH2 },    { B("Alice"), NULL },
	{ B("alic"), NULL },     { B("alice2"), NULL }, { B("alice\0"), NULL },
	{ B("alice\0x"), NULL }, { B("\0"), NULL },     { B(""), NULL },
	{ B("bob"), NULL },      { B("#bob"), NULL },   { B("b\xc3\xbc"), HASH2 },
	{ B("alice:"), NULL },   { B("a b"), HASH },    { B("z"), HASH },
	{ B("alice\r"), NULL },  { B(NAME255), NULL },
};

START_TEST(test_find)
{
	static const char text[] = "z:" HASH "\nalice:" HASH "\r\n#bob:" HASH "\nal:" HASH2
				   "\na b:" HASH "\nb\xc3\xbc:" HASH2;
	struct users *users;
	struct ini_error error;

	ck_assert_int_eq(users_parse("users", text, sizeof text - 1, &users, &error), 0);
	ck_assert_uint_eq(users_count(users), 5);
	for (size_t i = 0; i < ARRAY_SIZE(find_cases); i++) {
		const char *hash = users_find(users, find_cases[i].name, find_cases[i].len);

		if (find_cases[i].hash) {
			ck_assert_pstr_eq(hash, find_cases[i].hash);
		} else {
			ck_assert_ptr_null(hash);
		}
	}
	users_free(users);
	ck_assert_int_eq(users_parse("users", "", 0, &users, &error), 0);
	ck_assert_ptr_null(users_find(users, "a", 1));
	users_free(users);
	users_free(NULL);
}
END_TEST

/* What an unknown user's password is tried on: always a hash that can be worked with. */
START_TEST(test_decoy)
{
	static const char text[] = "alice:" HASH "\nbob:" HASH2;
	struct users *users;
	struct ini_error error;
	const char *decoy;

	ck_assert_int_eq(users_parse("users", text, sizeof text - 1, &users, &error), 0);
	ck_assert_str_eq(users_decoy(users, 0), HASH);
	ck_assert_str_eq(users_decoy(users, 1), HASH2);
	ck_assert_str_eq(users_decoy(users, UINT64_MAX), HASH2);
	users_free(users);
	ck_assert_int_eq(users_parse("users", "", 0, &users, &error), 0);
	decoy = users_decoy(users, 5);
	ck_assert(crypto_password_hash_valid(decoy));
	ck_assert(strncmp(decoy, "$argon2id$v=19$m=19456,t=2,p=1$", 31) == 0);
	ck_assert(!crypto_password_verify(decoy, "", 0));
	users_free(users);
}
END_TEST

/* Without users, an unknown one costs what socksd-passwd's hashes do. */
START_TEST(test_decoy_costs_as_much)
{
	char hash[CRYPTO_PASSWORD_HASH_MAX];
	struct users *users;
	struct ini_error error;
	const char *decoy;

	ck_assert_int_eq(users_parse("users", "", 0, &users, &error), 0);
	decoy = users_decoy(users, 0);
	ck_assert_int_eq(crypto_password_hash("x", 1, hash), 0);
	ck_assert_uint_eq(strlen(hash), strlen(decoy));
	ck_assert_int_eq(strncmp(hash, decoy, 31), 0);
	users_free(users);
}
END_TEST

START_TEST(test_thousands)
{
	enum {
		COUNT = 20000
	};
	char *text = malloc(COUNT * 96);
	size_t len = 0;
	struct users *users;
	struct ini_error error;
	char name[16];

	ck_assert_ptr_nonnull(text);
	for (int i = 0; i < COUNT; i++) {
		len += (size_t)sprintf(text + len, "user%d:%s\n", (i * 7919) % COUNT,
				       i % 2 ? HASH : HASH2);
	}
	ck_assert_int_eq(users_parse("users", text, len, &users, &error), 0);
	free(text);
	ck_assert_uint_eq(users_count(users), COUNT);
	for (int i = 0; i < COUNT; i++) {
		int n = sprintf(name, "user%d", (i * 7919) % COUNT);

		ck_assert_pstr_eq(users_find(users, name, (size_t)n), i % 2 ? HASH : HASH2);
	}
	ck_assert_ptr_null(users_find(users, "user20000", 9));
	users_free(users);
}
END_TEST

START_TEST(test_size_limit)
{
	char *text = malloc(USERS_TEXT_MAX_BYTES + 1);
	struct users *users;
	struct ini_error error;

	ck_assert_ptr_nonnull(text);
	memset(text, '\n', USERS_TEXT_MAX_BYTES + 1);
	ck_assert_int_eq(users_parse("users", text, USERS_TEXT_MAX_BYTES, &users, &error), 0);
	users_free(users);
	ck_assert_int_eq(users_parse("users", text, USERS_TEXT_MAX_BYTES + 1, &users, &error), -1);
	ck_assert_str_eq(error.text, "users: file too large (at most 4 MiB)");
	free(text);
}
END_TEST

START_TEST(test_name_fault)
{
	ck_assert_ptr_null(users_name_fault(B("alice")));
	ck_assert_ptr_null(users_name_fault(B("a # b")));
	ck_assert_ptr_null(users_name_fault(B(NAME255)));
	ck_assert_str_eq(users_name_fault(B("")), "empty user name");
	ck_assert_str_eq(users_name_fault(B(NAME255 "x")), "user name too long");
	ck_assert_str_eq(users_name_fault(B("a:b")), "colon in user name");
	ck_assert_str_eq(users_name_fault(B("a\nb")), "control character in user name");
	ck_assert_str_eq(users_name_fault(B("#a")), "user name starts with '#'");
	ck_assert_str_eq(users_name_fault(B(" a")), "space around user name");
}
END_TEST

SUITE_MAIN("users", test_parse, test_find, test_decoy, test_decoy_costs_as_much, test_thousands,
	   test_size_limit, test_name_fault)
