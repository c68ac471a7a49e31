/* SPDX-License-Identifier: ISC */
/*
 * The configuration engine. A daemon declares each section once as an X-macro list of keys; from it
 * come the struct fields, defaults, range checks, --print-config and the tables of the manual page.
 *
 * In the daemon's config.h, a list and a struct for each section. P declares a key, PC one with a
 * choice of words:
 *
 *	#define LOG_PARAMS(P, PC)                                                           \
 *		PC(level, "level", "info", "error|warning|info", RELOAD, "What is logged.") \
 *		P(SIZE, room_bytes, "room", "64K", 4096, 1048576, RESTART, "Buffer.")       \
 *		P(PATH, file, "file", NULL, 0, 0, RELOAD, "Where to; none: stderr.")
 *	PARAM_DECLARE(log_params, LOG_PARAMS);
 *
 * which gives `struct log_params { int level; uint64_t room_bytes; char *file; }`. In config.c, the
 * rows of each section and the table of sections:
 *
 *	#define PARAM_STRUCT struct log_params
 *	static const struct param_row log_rows[] = PARAM_ROWS(LOG_PARAMS);
 *	#undef PARAM_STRUCT
 *
 *	static const char *const listen_builtin[] = { "ipv4.address=127.0.0.1:1080", NULL };
 *	static const struct section_row sections[] = {
 *		SECTION_ROW("log", struct log_params, log_rows, "What is logged."),
 *		SECTION_ROW_NAMED("listen", struct listen_params, listen_rows, listen_builtin,
 *				  "Where clients connect to."),
 *	};
 *	static const struct params_schema schema = { sections, ARRAY_SIZE(sections) };
 *
 * Life: params_new(), params_read_file(), params_override() for each -o, params_finish() (adds the
 * built-in sections and fills in defaults), the daemon's own cross-key checks; from then on it is
 * an immutable value, until params_free(). A reload builds a second one and swaps. After an error
 * the value is only good for params_free().
 *
 * Pure but for reading files and looking up interface names in addresses. Thread: none in
 * particular; a finished struct params is read-only and may be shared.
 */
#ifndef COMMON_CONFIG_PARAMS_H
#define COMMON_CONFIG_PARAMS_H

#include "common/config/ini.h"
#include "common/netset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* --- values -------------------------------------------------------------------------------- */

struct addr_list {
	struct addr *items;
	size_t count;
};

struct text_list {
	char **items;
	size_t count;
};

enum param_type {
	PARAM_BOOL,     /* on/off, yes/no, true/false */
	PARAM_COUNT,    /* decimal number */
	PARAM_MARK,     /* number, decimal or as "0x1f" */
	PARAM_WORKERS,  /* number or "auto" (0) */
	PARAM_PERCENT,  /* "10%"; stored as the number */
	PARAM_DURATION, /* "250ms 10s 5m 1h 7d"; a bare 0 is allowed where min is 0; stored in ms */
	PARAM_SIZE,     /* "64K 32M 1G", or bytes; stored in bytes */
	PARAM_CHOICE,   /* one of the words in `choices`; stored as its index */
	PARAM_TEXT,     /* free text; NULL when empty */
	PARAM_PATH,     /* absolute path; NULL when empty */
	PARAM_ADDRS,    /* list of address:port; min = default port, 0 = port required */
	PARAM_IPS,      /* list of addresses without port; both: of hosts, IPv4 never as IPv6 */
	PARAM_NETS,     /* list of networks, struct netset */
	PARAM_TEXTS,    /* list of free texts, none of which can hold a comma */
};

/* When a changed value takes effect. */
enum param_when {
	PARAM_RELOAD,  /* at SIGHUP */
	PARAM_RESTART, /* at the next start; SIGHUP says so and goes on with the old value */
};

#define PARAM_CTYPE_BOOL     bool
#define PARAM_CTYPE_COUNT    uint64_t
#define PARAM_CTYPE_MARK     uint64_t
#define PARAM_CTYPE_WORKERS  uint64_t
#define PARAM_CTYPE_PERCENT  uint64_t
#define PARAM_CTYPE_DURATION uint64_t
#define PARAM_CTYPE_SIZE     uint64_t
#define PARAM_CTYPE_CHOICE   int
#define PARAM_CTYPE_TEXT     char *
#define PARAM_CTYPE_PATH     char *
#define PARAM_CTYPE_ADDRS    struct addr_list
#define PARAM_CTYPE_IPS      struct addr_list
#define PARAM_CTYPE_NETS     struct netset
#define PARAM_CTYPE_TEXTS    struct text_list

/* --- declarations -------------------------------------------------------------------------- */

/* P(type, field, "key", "default", min, max, when, "help") or
 * PC(field, "key", "default", "a|b|c", when, "help"):
 *
 * type is an enum param_type and when an enum param_when, both without PARAM_. min and max, both
 * inclusive and in the field's unit, bound the numbers ("auto" is always fine); other types have 0
 * and 0 there, but for the default port of ADDRS. A default of NULL means "no value": empty list,
 * NULL text, number 0. In lists the default holds commas. */
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
#define PARAM_ROW(type, field, key, def, min, max, when, help)                                  \
	{                                                                                       \
		key,          PARAM_##type, offsetof(PARAM_STRUCT, field), def, min, max, NULL, \
		PARAM_##when, help                                                              \
	},
#define PARAM_ROW_CHOICE(field, key, def, choices, when, help)                                 \
	{                                                                                      \
		key,          PARAM_CHOICE, offsetof(PARAM_STRUCT, field), def, 0, 0, choices, \
		PARAM_##when, help                                                             \
	},

/* The struct of a section, from its list. */
#define PARAM_DECLARE(tag, list)                      \
	struct tag {                                  \
		list(PARAM_FIELD, PARAM_FIELD_CHOICE) \
	}

/* The initialiser of its table of keys, where PARAM_STRUCT is defined to the section's struct. */
#define PARAM_ROWS(list)                          \
	{                                         \
		list(PARAM_ROW, PARAM_ROW_CHOICE) \
	}

/* Sections of all kinds; more are refused. */
#define PARAMS_SECTIONS_MAX 16384

/* Longest NAME in [listen NAME]; it is made of letters, digits, "-" and "_". */
#define SECTION_NAME_MAX    32

/* A kind of section: "[limits]", or "[listen NAME]" when named. */
struct section_row {
	const char *name;
	bool named;
	size_t size; /* of the section's struct */
	const struct param_row *rows;
	size_t row_count;
	/* For named sections: what stands when neither file nor -o has any, as texts
	 * "NAME.KEY=VALUE", each key once, ended by NULL. NULL for nothing. */
	const char *const *builtin;
	const char *help;
};

#define SECTION_ROW(name, type, rows, help)                                                   \
	{                                                                                     \
		name, false, sizeof(type), rows, sizeof(rows) / sizeof((rows)[0]), NULL, help \
	}
#define SECTION_ROW_NAMED(name, type, rows, builtin, help)                                      \
	{                                                                                       \
		name, true, sizeof(type), rows, sizeof(rows) / sizeof((rows)[0]), builtin, help \
	}

/* All sections of a daemon; must outlive every struct params made from it. */
struct params_schema {
	const struct section_row *sections;
	size_t section_count;
};

/* --- the parsed value ---------------------------------------------------------------------- */

/* "listen lan" and the final NUL. */
#define SECTION_TEXT_MAX   (INI_SECTION_MAX_BYTES + 1)

/* What stands for the file in errors about defaults. */
#define PARAM_DEFAULT_FILE "default"

struct param_origin {
	const char *file; /* path, or "-o"; NULL while the default stands */
	unsigned line;    /* of the (first) line, or the ordinal of the -o */
};

struct section {
	const struct section_row *row;
	char *name;                   /* NULL for unnamed sections */
	void *values;                 /* the section's struct */
	struct param_origin *origins; /* one per row of row->rows */
	struct param_origin origin;   /* of the section itself; file is NULL when built in */
};

struct params {
	const struct params_schema *schema;
	struct section *sections; /* unnamed ones first, in schema order; then named ones as met */
	size_t count;
	/* private */
	char **files; /* the names that origins point to */
	size_t file_count;
	unsigned override_count;
	bool finished;
};

/* Empty value with all unnamed sections. Returns owned or NULL (out of memory). */
struct params *params_new(const struct params_schema *schema);

/* Read an INI file. 0, or -1 with *reterr. Unknown section or key (with the nearest known name),
 * duplicate scalar, a section given twice, missing or superfluous section name, empty or malformed
 * or out-of-range value are errors. */
int params_read_file(struct params *p, const char *path, struct ini_error *reterr);

/* The same for bytes in memory, which are borrowed for the call; `name` stands for the file. */
int params_read_bytes(struct params *p, const char *name, const void *bytes, size_t len,
		      struct ini_error *reterr);

/* Apply one -o 'SECTION.KEY=VALUE' or 'SECTION NAME.KEY=VALUE', after the file. VALUE is what may
 * stand in a file, but no comment. A named section that is not there yet is added. The first -o for
 * a key replaces what the file said; a further one adds to a list and replaces a scalar. Errors
 * name "-o:N" with N counting the options. */
int params_override(struct params *p, const char *text, struct ini_error *reterr);

/* Add the built-in named sections where there are none of their kind, fill in defaults. 0, or -1
 * with *reterr (out of memory). After it the value is read-only. */
int params_finish(struct params *p, struct ini_error *reterr);

/* NULL is fine. */
void params_free(struct params *p);

/* The struct of the unnamed section `name` (which the schema must have). Borrowed from p. */
void *params_section(const struct params *p, const char *name);

/* The section object of an unnamed section, for params_fail(). Borrowed from p. */
const struct section *params_section_object(const struct params *p, const char *name);

/* Walk the named sections of one kind: pass NULL first, then the last result; NULL at the end.
 * Borrowed from p, which must be finished. */
const struct section *params_next(const struct params *p, const char *name,
				  const struct section *after);

/* "limits" or "listen lan". Returns buf. */
const char *section_text(const struct section *section, char buf[SECTION_TEXT_MAX]);

/* Whether the key of the field at `field_offset` was set, by the file or by -o. */
bool params_is_set(const struct section *section, size_t field_offset);

/* Where that key was set, or else its section; "default" and 0 when both are built in. */
struct param_origin params_origin(const struct section *section, size_t field_offset);

/* Fill *err for a cross-key check, at the place where `field_offset`'s key was set, or else at its
 * section, or else, when both are built in, at "default:0". */
void params_fail(struct ini_error *err, const struct section *section, size_t field_offset,
		 const char *expected, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* Print every key of a finished value as a configuration file that, read back, gives the same
 * value: one item of a list a line; keys still at their default are marked with a comment, and
 * those without a value are commented out. Write errors are left in `out`. */
void params_print(const struct params *p, FILE *out);

/* Call back for each key whose value differs between two finished values of one schema and that
 * needs a restart. `name`, valid during the call, is "SECTION[ NAME].KEY"; a named section that
 * came or went is reported as "SECTION NAME" when its kind has such a key. */
void params_diff_restart(const struct params *old, const struct params *new,
			 void (*on_difference)(void *arg, const char *name), void *arg);

/* Nearest known name (see common/suggest.h), or NULL when none is near. `names` ends with NULL. */
const char *params_nearest(const char *word, const char *const *names);

#endif
