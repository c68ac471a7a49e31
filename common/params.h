/* SPDX-License-Identifier: ISC */
/*
 * The configuration engine. A daemon declares each section once as an X-macro list of keys; from it come the struct
 * fields, defaults, range checks, --print-config and the tables of the manual page.
 *
 *	#define LIMITS_PARAMS(P)                                                                  \
 *		P(COUNT, max_sessions, "max-sessions", "65536", 1, 1000000, RELOAD, "Sessions ...") \
 *		P(DURATION, idle_timeout_ms, "idle-timeout", "2h", 1000, 604800000, RELOAD, "...")
 *	struct limits_params { LIMITS_PARAMS(PARAM_FIELD) };
 *	static const struct param_row limits_rows[] = { LIMITS_PARAMS(PARAM_ROW(struct limits_params)) };   (see PARAM_ROW)
 *
 * Life: params_new() -> params_read_file() -> params_override() for each -o -> params_finish() (adds built-in sections,
 * fills defaults) -> the daemon's own cross-key checks -> used as an immutable value -> params_free(). A reload builds
 * a second one and swaps.
 *
 * Pure but for reading files. Thread: none in particular; a finished struct params is read-only and may be shared.
 */
#ifndef COMMON_PARAMS_H
#define COMMON_PARAMS_H

#include "common/ini.h"
#include "common/netset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* --- values -------------------------------------------------------------------------------------- */

struct addr_list {
	struct addr *items;
	size_t count;
};

struct text_list {
	char **items;
	size_t count;
};

enum param_type {
	PARAM_BOOL,      /* on/off, yes/no, true/false */
	PARAM_COUNT,     /* decimal number */
	PARAM_WORKERS,   /* number or "auto" (0) */
	PARAM_DURATION,  /* "250ms 10s 5m 1h 7d"; a bare 0 is allowed where min is 0; stored in ms */
	PARAM_SIZE,      /* "64K 32M 1G", bytes; stored in bytes */
	PARAM_CHOICE,    /* one of the words in `choices`; stored as its index */
	PARAM_TEXT,      /* free text; NULL when empty */
	PARAM_PATH,      /* absolute path; NULL when empty */
	PARAM_ADDRS,     /* list of address:port; min = default port, 0 = port required */
	PARAM_NETS,      /* list of networks, struct netset */
	PARAM_TEXTS,     /* list of free texts */
};

/* When a changed value takes effect. */
enum param_when {
	PARAM_RELOAD,  /* at SIGHUP */
	PARAM_RESTART, /* at the next start; SIGHUP says so and goes on with the old value */
};

#define PARAM_CTYPE_BOOL     bool
#define PARAM_CTYPE_COUNT    uint64_t
#define PARAM_CTYPE_WORKERS  uint64_t
#define PARAM_CTYPE_DURATION uint64_t
#define PARAM_CTYPE_SIZE     uint64_t
#define PARAM_CTYPE_CHOICE   int
#define PARAM_CTYPE_TEXT     char *
#define PARAM_CTYPE_PATH     char *
#define PARAM_CTYPE_ADDRS    struct addr_list
#define PARAM_CTYPE_NETS     struct netset
#define PARAM_CTYPE_TEXTS    struct text_list

/* --- declarations -------------------------------------------------------------------------------- */

/* P(type, field, "key", "default", min, max, when, "help") or PC(field, "key", "default", "a|b|c", when, "help") for a
 * CHOICE. A default of NULL means "no value": empty list, NULL text. In lists the default holds commas. */
struct param_row {
	const char *key;
	enum param_type type;
	size_t offset; /* of the field in the section's struct */
	const char *def;
	uint64_t min;
	uint64_t max;
	const char *choices; /* "none|password" */
	enum param_when when;
	const char *help; /* one sentence for the manual page */
};

#define PARAM_FIELD(type, field, key, def, min, max, when, help) PARAM_CTYPE_##type field;
#define PARAM_FIELD_CHOICE(field, key, def, choices, when, help) int field;

/* Inside a table, with PARAM_STRUCT defined to the section's struct type. */
#define PARAM_ROW(type, field, key, def, min, max, when, help)                                     \
	{ key, PARAM_##type, offsetof(PARAM_STRUCT, field), def, min, max, NULL, PARAM_##when, help },
#define PARAM_ROW_CHOICE(field, key, def, choices, when, help)                                     \
	{ key, PARAM_CHOICE, offsetof(PARAM_STRUCT, field), def, 0, 0, choices, PARAM_##when, help },

/* A kind of section: "[limits]", or "[listen NAME]" when named. */
struct section_row {
	const char *name;
	bool named;
	size_t size; /* of the section's struct */
	const struct param_row *rows;
	size_t row_count;
	/* For named sections: what stands when neither file nor -o has any, as pairs "NAME.KEY=VALUE" ended by NULL;
	 * NULL for nothing. */
	const char *const *builtin;
	const char *help;
};

struct params_schema {
	const struct section_row *sections;
	size_t section_count;
};

/* --- the parsed value ---------------------------------------------------------------------------- */

struct param_origin {
	const char *file; /* path, or "-o"; NULL while the default stands */
	unsigned line;    /* of the (first) line, or the ordinal of the -o */
};

struct section {
	const struct section_row *row;
	char *name;            /* NULL for unnamed sections */
	void *values;          /* the section's struct */
	struct param_origin *origins; /* one per row of row->rows */
	struct param_origin origin;   /* of the section itself */
};

struct params {
	const struct params_schema *schema;
	struct section *sections; /* unnamed ones first, in schema order; then named ones in file order */
	size_t count;
	/* private */
	char **files;
	size_t file_count;
	unsigned override_count;
	bool finished;
};

/* Empty value with all unnamed sections. Returns owned or NULL (out of memory). */
struct params *params_new(const struct params_schema *schema);

/* Read an INI file. 0, or -1 with *reterr. Unknown section or key (with the nearest known name), duplicate scalar,
 * duplicate named section, missing or superfluous section name, empty or malformed or out-of-range value are errors. */
int params_read_file(struct params *p, const char *path, struct ini_error *reterr);
int params_read_bytes(struct params *p, const char *name, const void *bytes, size_t len, struct ini_error *reterr);

/* Apply one -o 'SECTION.KEY=VALUE' or 'SECTION NAME.KEY=VALUE'. The first -o for a key replaces what the file said; a
 * further one adds to a list and replaces a scalar. Errors name "-o:N" with N counting the options. */
int params_override(struct params *p, const char *text, struct ini_error *reterr);

/* Add the built-in named sections where there are none, fill in defaults. 0, or -1 (out of memory). After it the value
 * is read-only. */
int params_finish(struct params *p, struct ini_error *reterr);

/* NULL is fine. */
void params_free(struct params *p);

/* The struct of the unnamed section `name` (which the schema must have). Borrowed from p. */
void *params_section(const struct params *p, const char *name);

/* Walk the named sections of one kind: pass NULL first, then the last result; NULL at the end. */
const struct section *params_next(const struct params *p, const char *name, const struct section *after);

/* Fill *err for a cross-key check, at the place where `field_offset`'s key was set, or else at its section. */
void params_fail(struct ini_error *err, const struct section *section, size_t field_offset, const char *expected,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The section object of an unnamed section, for params_fail(). */
const struct section *params_section_object(const struct params *p, const char *name);

/* Print every key with its effective value as a configuration file that, read back, gives the same value; keys still at
 * their default are marked with a comment. */
void params_print(const struct params *p, FILE *out);

/* Call back for each key whose value differs between two finished values and that needs a restart. `name` is
 * "SECTION[ NAME].KEY"; a named section that came or went is reported as "SECTION NAME". */
void params_diff_restart(const struct params *old, const struct params *new,
			 void (*on_difference)(void *arg, const char *name), void *arg);

/* Nearest known name by edit distance, or NULL when nothing is near. `names` ends with NULL. */
const char *params_nearest(const char *word, const char *const *names);

#endif
