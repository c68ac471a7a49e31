/* SPDX-License-Identifier: ISC */
/*
 * Reads an INI file through inih and keeps what inih loses: line numbers, and an error where inih
 * would silently cut a line or a section name, take an indented line for the continuation of
 * another key, or stop at a NUL byte. The only user of inih.
 *
 * The format: `[section]` headers, `key = value` lines below them, blank lines, and comments: a
 * line that starts with `;` or `#`, or the rest of a line from a `;` after a blank. Blanks around
 * all parts are dropped, CRLF and a UTF-8 byte order mark are fine, control characters are not.
 *
 * Pure but for ini_read(), which reads one file. Thread: any. Keeps nothing between calls.
 */
#ifndef COMMON_CONFIG_INI_H
#define COMMON_CONFIG_INI_H

#include <stddef.h>

/* A longer file is refused. */
#define INI_FILE_MAX_BYTES    (1u << 20)

/* A longer section name is refused: inih would cut it. */
#define INI_SECTION_MAX_BYTES 49

/* What was wrong and where: the one printable line that a user sees, of the form
 * "file:line: what is wrong (what was expected)". Line 0 means the file as a whole. */
struct ini_error {
	char text[1024];
};

/* One `key = value` line. The key is never empty, the value may be; section is the text between the
 * brackets of the last header. Strings are valid during the call. Returns 0 to go on, or a negative
 * number after filling *reterr. */
typedef int (*ini_line_fn)(void *arg, const char *section, const char *key, const char *value,
			   unsigned line, struct ini_error *reterr);

/* A section header was read, even when no key follows. May be NULL. Returns as above. */
typedef int (*ini_section_fn)(void *arg, const char *section, unsigned line,
			      struct ini_error *reterr);

/* Fill an error line; expected may be NULL. Bytes that do not print come out as \xNN, and parts
 * that would not fit end in "...". */
void ini_fail(struct ini_error *err, const char *file, unsigned line, const char *expected,
	      const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Foreign text as it may stand in an error: INI_QUOTE(text) is `"text"` with all that does not
 * print escaped, cut to a sane length. Valid until the end of the enclosing block. */
struct ini_quoted {
	char text[100];
};
const char *ini_quote(struct ini_quoted *buf, const char *text, size_t len);
#define INI_QUOTE(foreign) ini_quote(&(struct ini_quoted){ "" }, (foreign), strlen(foreign))

/* The longest line, without its line end, comment and outer blanks, that this inih takes. */
size_t ini_line_max(void);

/* Read the regular file at path, calling back for each line. 0, or -1 with *reterr filled (also for
 * a file that cannot be opened, a directory or other special file, a read error). */
int ini_read(const char *path, ini_section_fn on_section, ini_line_fn on_line, void *arg,
	     struct ini_error *reterr);

/* The same for bytes in memory, which are borrowed; `name` stands for the file in errors. */
int ini_read_bytes(const char *name, const void *bytes, size_t len, ini_section_fn on_section,
		   ini_line_fn on_line, void *arg, struct ini_error *reterr);

#endif
