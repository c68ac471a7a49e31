/* SPDX-License-Identifier: ISC */
/*
 * Reads an INI file through inih and keeps what inih loses: line numbers, and an error where inih would silently cut
 * a line or a section name, take an indented line for the continuation of another key, or stop at a NUL byte.
 * The only user of inih.
 */
#ifndef COMMON_INI_H
#define COMMON_INI_H

#include <stddef.h>

/* What was wrong and where; the one line that a user sees. All strings end up in `text`:
 * "file:line: what is wrong (what was expected)". */
struct ini_error {
	char text[1024];
};

/* One `key = value` line. section is "" before the first header. Strings are valid during the call. Returns 0 to go on,
 * or a negative number after filling *reterr. */
typedef int (*ini_line_fn)(void *arg, const char *section, const char *key, const char *value, unsigned line,
			   struct ini_error *reterr);

/* A section header was read, even when no key follows. May be NULL. Returns as above. */
typedef int (*ini_section_fn)(void *arg, const char *section, unsigned line, struct ini_error *reterr);

/* Fill an error line. */
void ini_fail(struct ini_error *err, const char *file, unsigned line, const char *expected, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* Read the file at path, calling back for each line. 0, or -1 with *reterr filled (also for a file that cannot be
 * opened, a directory, a read error). */
int ini_read(const char *path, ini_section_fn on_section, ini_line_fn on_line, void *arg, struct ini_error *reterr);

/* The same for bytes in memory; `name` stands for the file in errors. For tests and fuzzing. */
int ini_read_bytes(const char *name, const void *bytes, size_t len, ini_section_fn on_section, ini_line_fn on_line,
		   void *arg, struct ini_error *reterr);

#endif
