/* SPDX-License-Identifier: ISC */
#include "common/crypto.h"
#include "socksd/auth/users.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether the text has a line for exactly this user. */
static void check_user(const struct users *users, const uint8_t *name, size_t len)
{
	const char *hash = users_find(users, name, len);

	assert(hash && crypto_password_hash_valid(hash));
	assert(!users_name_fault(name, len));
	if (len > 1) {
		const char *shorter = users_find(users, name, len - 1);

		assert(shorter != hash);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct users *users = NULL;
	struct ini_error error = { "" };
	size_t count = 0;

	if (users_parse("users", data, size, &users, &error) < 0) {
		assert(!users && strncmp(error.text, "users:", 6) == 0);
		return 0;
	}
	assert(error.text[0] == '\0');
	/* Each line with a hash is a user that can be found, and there are no others. */
	for (size_t start = 0; start < size;) {
		const uint8_t *line = data + start;
		const uint8_t *newline = memchr(line, '\n', size - start);
		size_t len = newline ? (size_t)(newline - line) : size - start;
		const uint8_t *colon = memchr(line, ':', len);

		start += len + 1;
		if (colon && *line != '#' && *line != ' ' && *line != '\t') {
			check_user(users, line, (size_t)(colon - line));
			count++;
		}
	}
	assert(users_count(users) == count);
	assert(!users_find(users, "\0", 1));
	users_free(users);
	return 0;
}
