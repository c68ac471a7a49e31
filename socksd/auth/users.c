/* SPDX-License-Identifier: ISC */
#include "socksd/auth/users.h"

#include "common/crypto.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct user {
	const char *name; /* not terminated */
	size_t name_len;
	const char *hash;
	unsigned line;
};

struct users {
	char *text;           /* copy of the file; entries point into it */
	struct user *entries; /* sorted by name */
	size_t count;
	size_t cap;
};

static int name_compare(const struct user *a, const struct user *b)
{
	size_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
	int order = memcmp(a->name, b->name, len);

	return order ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

/* Users of the same name end up in the order of their lines. */
static int entry_compare(const void *a, const void *b)
{
	const struct user *ua = a;
	const struct user *ub = b;
	int order = name_compare(ua, ub);

	return order ? order : (ua->line > ub->line) - (ua->line < ub->line);
}

static int key_compare(const void *key, const void *entry)
{
	return name_compare(key, entry);
}

const char *users_name_fault(const void *name, size_t len)
{
	const uint8_t *bytes = name;

	if (len == 0) {
		return "empty user name";
	}
	if (len > USERS_NAME_MAX) {
		return "user name too long";
	}
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] < ' ' || bytes[i] == 0x7f) {
			return "control character in user name";
		}
		if (bytes[i] == ':') {
			return "colon in user name";
		}
	}
	if (bytes[0] == '#') {
		return "user name starts with '#'";
	}
	return bytes[0] == ' ' || bytes[len - 1] == ' ' ? "space around user name" : NULL;
}

/* Room for one more entry, or NULL (out of memory). */
static struct user *users_grow(struct users *users)
{
	if (users->count == users->cap) {
		size_t cap = users->cap ? users->cap * 2 : 16;
		struct user *entries = realloc(users->entries, cap * sizeof *entries);

		if (!entries) {
			return NULL;
		}
		users->entries = entries;
		users->cap = cap;
	}
	return &users->entries[users->count++];
}

static int users_out_of_memory(const char *file, struct ini_error *reterr)
{
	snprintf(reterr->text, sizeof reterr->text, "%s: out of memory", file);
	return -1;
}

/* The CR of lines that end in CR LF is one. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* One line of `len` bytes, which is followed by a byte that may be overwritten. 0, or -1 with
 * *reterr. */
static int users_parse_line(struct users *users, const char *file, unsigned number, char *line,
			    size_t len, struct ini_error *reterr)
{
	const char *fault;
	char *colon;
	struct user *user;

	while (len > 0 && is_blank(line[len - 1])) {
		len--;
	}
	line[len] = '\0';
	if (len == 0 || line[strspn(line, " \t")] == '#') {
		return 0;
	}
	colon = memchr(line, ':', len);
	if (!colon) {
		ini_fail(reterr, file, number, "NAME:HASH was expected", "no colon in the line");
		return -1;
	}
	fault = users_name_fault(line, (size_t)(colon - line));
	if (fault) {
		ini_fail(reterr, file, number,
			 "1 to 255 bytes without ':' and control characters were expected", "%s",
			 fault);
		return -1;
	}
	if (strlen(colon) != (size_t)(line + len - colon) ||
	    !crypto_password_hash_valid(colon + 1)) {
		ini_fail(reterr, file, number,
			 "$argon2id$... was expected, as socksd-passwd writes it",
			 "bad password hash of user '%.*s'", (int)(colon - line), line);
		return -1;
	}
	user = users_grow(users);
	if (!user) {
		return users_out_of_memory(file, reterr);
	}
	*user = (struct user){ line, (size_t)(colon - line), colon + 1, number };
	return 0;
}

static int users_sort(struct users *users, const char *file, struct ini_error *reterr)
{
	if (users->count > 0) {
		qsort(users->entries, users->count, sizeof *users->entries, entry_compare);
	}
	for (size_t i = 1; i < users->count; i++) {
		const struct user *first = &users->entries[i - 1];
		const struct user *second = &users->entries[i];

		if (name_compare(first, second) == 0) {
			ini_fail(reterr, file, second->line, "each name may stand there once",
				 "user '%.*s' is already in line %u", (int)second->name_len,
				 second->name, first->line);
			return -1;
		}
	}
	return 0;
}

static int users_parse_text(struct users *users, const char *file, size_t len,
			    struct ini_error *reterr)
{
	char *line = users->text;
	char *end = users->text + len;
	unsigned number = 0;

	while (line < end) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *line_end = newline ? newline : end;

		if (users_parse_line(users, file, ++number, line, (size_t)(line_end - line),
				     reterr) < 0) {
			return -1;
		}
		line = line_end + 1;
	}
	return users_sort(users, file, reterr);
}

int users_parse(const char *file, const void *text, size_t len, struct users **ret_users,
		struct ini_error *reterr)
{
	struct users *users;

	if (len > USERS_TEXT_MAX_BYTES) {
		snprintf(reterr->text, sizeof reterr->text, "%s: file too large (at most %zu MiB)",
			 file, USERS_TEXT_MAX_BYTES >> 20);
		return -1;
	}
	users = calloc(1, sizeof *users);
	if (!users) {
		return users_out_of_memory(file, reterr);
	}
	users->text = malloc(len + 1);
	if (!users->text) {
		users_free(users);
		return users_out_of_memory(file, reterr);
	}
	if (len > 0) {
		memcpy(users->text, text, len);
	}
	if (users_parse_text(users, file, len, reterr) < 0) {
		users_free(users);
		return -1;
	}
	*ret_users = users;
	return 0;
}

void users_free(struct users *users)
{
	if (users) {
		free(users->entries);
		free(users->text);
		free(users);
	}
}

size_t users_count(const struct users *users)
{
	return users->count;
}

const char *users_find(const struct users *users, const void *name, size_t len)
{
	const struct user key = { .name = name, .name_len = len };
	const struct user *user;

	if (users->count == 0 || len == 0) {
		return NULL;
	}
	user = bsearch(&key, users->entries, users->count, sizeof key, key_compare);
	return user ? user->hash : NULL;
}

const char *users_decoy(const struct users *users, uint64_t pick)
{
	/* Of random bytes. */
	static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$cJz9Zb0r0oEYsRkXhB1aTg$"
				     "0mX1hXb6kJ8f3mTt3S0V7yqQ1f7o2cJbq9m4m0s8d2E";

	return users->count > 0 ? users->entries[pick % users->count].hash : nobody;
}
