/* SPDX-License-Identifier: ISC */
/*
 * The users of a listener and their password hashes: a text with one "name:$argon2id$..." a line,
 * blank lines, and comments that start with '#'. A parsed set is immutable and may be shared by
 * threads. Pure; files are the business of users_file.h.
 */
#ifndef SOCKSD_AUTH_USERS_H
#define SOCKSD_AUTH_USERS_H

#include "common/config/ini.h"

#include <stddef.h>
#include <stdint.h>

/* What RFC 1929 can carry, of names and of passwords. */
#define USERS_NAME_MAX       255
#define USERS_PASSWORD_MAX   255

/* Room for some 40,000 users. */
#define USERS_TEXT_MAX_BYTES ((size_t)4 * 1024 * 1024)

struct users;

/* Parse the text; `file` stands for it in errors. 0 and *ret_users owned by the caller, or -1 and
 * *reterr. Duplicate and unusable names, hashes that are malformed or too costly, and texts above
 * the limit are errors. */
int users_parse(const char *file, const void *text, size_t len, struct users **ret_users,
		struct ini_error *reterr);

/* NULL is fine. */
void users_free(struct users *users);

size_t users_count(const struct users *users);

/* The hash of the user with exactly these bytes as name (a NUL among them never matches), or NULL.
 * Valid as long as users. */
const char *users_find(const struct users *users, const void *name, size_t len);

/* The hash to try the password of an unknown user on, so that it takes the time of a known one's:
 * that of some user, the same for the same pick; without any user, a valid hash that fits no
 * password anyone knows, with the cost of those socksd-passwd makes. Valid as long as users. */
const char *users_decoy(const struct users *users, uint64_t pick);

/* NULL when a user may have this name, else what is wrong with it (static string). Not allowed:
 * empty or more than USERS_NAME_MAX bytes, ':', control characters, '#' at the start, a space at
 * either end. */
const char *users_name_fault(const void *name, size_t len);

#endif
