/* SPDX-License-Identifier: ISC */
#include "common/config/params.h"

#include "common/config/param_value.h"
#include "common/suggest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* The origin of keys set on the command line; compared by address. */
static const char from_override[] = "-o";

/* The origin of defaults. */
static const struct param_origin nobody = { NULL, 0 };

/* --- sections ------------------------------------------------------------------------------ */

static void section_done(struct section *section)
{
	for (size_t i = 0; section->values && i < section->row->row_count; i++) {
		const struct param_row *row = &section->row->rows[i];

		param_value_done(row, section_field(section, row));
	}
	free(section->values);
	free(section->origins);
	free(section->name);
}

/* name is NULL for an unnamed section. The section, or NULL. */
static struct section *section_find(const struct params *p, const struct section_row *row,
				    const char *name)
{
	for (size_t i = 0; i < p->count; i++) {
		struct section *section = &p->sections[i];

		if (section->row == row &&
		    (name ? strcmp(section->name, name) == 0 : !section->name)) {
			return section;
		}
	}
	return NULL;
}

static int fail_memory(struct param_origin at, struct ini_error *reterr)
{
	ini_fail(reterr, at.file ? at.file : PARAM_DEFAULT_FILE, at.line, NULL, "out of memory");
	return -1;
}

/* Make an empty section, all owned. 0, or -1 (out of memory). */
static int section_init(struct section *section, const struct section_row *row, const char *name,
			struct param_origin origin)
{
	*section = (struct section){ .row = row, .origin = origin };
	section->name = name ? strdup(name) : NULL;
	section->values = calloc(1, row->size);
	section->origins = calloc(row->row_count, sizeof *section->origins);
	if ((name && !section->name) || !section->values || !section->origins) {
		section_done(section);
		return -1;
	}
	return 0;
}

/* Append an empty section. Returns it, valid until the next is added, or NULL with *reterr. */
static struct section *section_add(struct params *p, const struct section_row *row,
				   const char *name, struct param_origin origin,
				   struct ini_error *reterr)
{
	struct section *grown;

	if (p->count == PARAMS_SECTIONS_MAX) {
		ini_fail(reterr, origin.file, origin.line, "fewer sections were expected",
			 "more than %d sections", PARAMS_SECTIONS_MAX);
		return NULL;
	}
	grown = reallocarray(p->sections, p->count + 1, sizeof *p->sections);
	if (grown) {
		p->sections = grown;
	}
	if (!grown || section_init(&grown[p->count], row, name, origin) < 0) {
		fail_memory(origin, reterr);
		return NULL;
	}
	return &grown[p->count++];
}

/* --- names --------------------------------------------------------------------------------- */

static bool is_section_name(const char *name)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
	size_t len = strlen(name);

	return len >= 1 && len <= SECTION_NAME_MAX && strspn(name, letters) == len;
}

/* The kind of section that the first word of `text` names, or NULL with *reterr. */
static const struct section_row *find_kind(const struct params *p, const char *word,
					   struct param_origin at, struct ini_error *reterr)
{
	struct suggest s;

	suggest_init(&s, word);
	for (size_t i = 0; i < p->schema->section_count; i++) {
		const struct section_row *row = &p->schema->sections[i];

		if (strcmp(row->name, word) == 0) {
			return row;
		}
		suggest_offer(&s, row->name, strlen(row->name));
	}
	ini_fail(reterr, at.file, at.line, suggest_text(&s, "known sections:", ""),
		 "unknown section %s", INI_QUOTE(word));
	return NULL;
}

/* Take "limits" or "listen lan" apart, in place; it has no outer blanks. 0 with the kind and the
 * name (NULL for an unnamed section; inside text), or -1 with *reterr. */
static int split_section(const struct params *p, char *text, struct param_origin at,
			 const struct section_row **ret_row, const char **ret_name,
			 struct ini_error *reterr)
{
	char *name = text + strcspn(text, " \t");
	const struct section_row *row;

	if (*name != '\0') {
		*name++ = '\0';
		name += strspn(name, " \t");
	}
	row = find_kind(p, text, at, reterr);
	if (!row) {
		return -1;
	}
	if (row->named && *name == '\0') {
		ini_fail(reterr, at.file, at.line, "a name after the section's kind was expected",
			 "section [%s] has no name", row->name);
		return -1;
	}
	if (!row->named && *name != '\0') {
		ini_fail(reterr, at.file, at.line, "no name was expected",
			 "section [%s] with the name %s", row->name, INI_QUOTE(name));
		return -1;
	}
	if (row->named && !is_section_name(name)) {
		ini_fail(reterr, at.file, at.line,
			 "1 to 32 letters, digits, \"-\" and \"_\" were expected",
			 "bad name %s for section [%s]", INI_QUOTE(name), row->name);
		return -1;
	}
	*ret_row = row;
	*ret_name = row->named ? name : NULL;
	return 0;
}

/* The row number of a key in a section, or -1 with *reterr. */
static ssize_t find_key(const struct section *section, const char *key, struct param_origin at,
			struct ini_error *reterr)
{
	char text[SECTION_TEXT_MAX];
	struct suggest s;

	suggest_init(&s, key);
	for (size_t i = 0; i < section->row->row_count; i++) {
		const char *known = section->row->rows[i].key;

		if (strcmp(known, key) == 0) {
			return (ssize_t)i;
		}
		suggest_offer(&s, known, strlen(known));
	}
	ini_fail(reterr, at.file, at.line, suggest_text(&s, "known keys:", ""),
		 "unknown key %s in [%s]", INI_QUOTE(key), section_text(section, text));
	return -1;
}

/* --- keys ---------------------------------------------------------------------------------- */

/* Set row number `index` of the section from text. 0, or -1 with *reterr. */
static int set_value(struct section *section, size_t index, const char *value,
		     struct param_origin at, struct ini_error *reterr)
{
	const struct param_row *row = &section->row->rows[index];
	struct param_origin *origin = &section->origins[index];
	struct param_problem problem;
	int r = param_value_parse(row, value, section_field(section, row), &problem);

	if (r == -ENOMEM) {
		return fail_memory(at, reterr);
	}
	if (r < 0) {
		ini_fail(reterr, at.file ? at.file : PARAM_DEFAULT_FILE, at.line, problem.expected,
			 "%s", problem.what);
		return -1;
	}
	if (!origin->file) {
		*origin = at;
	}
	return 0;
}

/* One `key = value` line of a file. */
static int set_from_file(struct section *section, const char *key, const char *value,
			 struct param_origin at, struct ini_error *reterr)
{
	char text[SECTION_TEXT_MAX];
	ssize_t index = find_key(section, key, at, reterr);
	struct param_origin first;

	if (index < 0) {
		return -1;
	}
	first = section->origins[index];
	if (first.file && !param_is_list(section->row->rows[index].type)) {
		ini_fail(reterr, at.file, at.line, "one value was expected",
			 "key \"%s\" in [%s] was already set at %s:%u", key,
			 section_text(section, text), first.file, first.line);
		return -1;
	}
	return set_value(section, (size_t)index, value, at, reterr);
}

/* One -o. What the file said goes away first. */
static int set_from_override(struct section *section, const char *key, const char *value,
			     struct param_origin at, struct ini_error *reterr)
{
	ssize_t index = find_key(section, key, at, reterr);
	const struct param_row *row;

	if (index < 0) {
		return -1;
	}
	row = &section->row->rows[index];
	if (section->origins[index].file != from_override) {
		param_value_done(row, section_field(section, row));
	}
	section->origins[index] = at;
	return set_value(section, (size_t)index, value, at, reterr);
}

/* --- reading ------------------------------------------------------------------------------- */

/* What the callbacks of one file share. */
struct load {
	struct params *p;
	const char *file;
	struct section *section; /* the last header's */
};

static int load_section(void *arg, const char *text, unsigned line, struct ini_error *reterr)
{
	struct load *load = arg;
	struct param_origin at = { load->file, line };
	char section_copy[SECTION_TEXT_MAX];
	char found_text[SECTION_TEXT_MAX];
	const struct section_row *row;
	const char *name;

	snprintf(section_copy, sizeof section_copy, "%s", text);
	if (split_section(load->p, section_copy, at, &row, &name, reterr) < 0) {
		return -1;
	}
	load->section = section_find(load->p, row, name);
	if (load->section && load->section->origin.file) {
		ini_fail(reterr, at.file, at.line, "each section once was expected",
			 "section [%s] was already given at %s:%u",
			 section_text(load->section, found_text), load->section->origin.file,
			 load->section->origin.line);
		return -1;
	}
	if (!load->section) {
		load->section = section_add(load->p, row, name, at, reterr);
	}
	if (!load->section) {
		return -1;
	}
	load->section->origin = at;
	return 0;
}

static int load_line(void *arg, const char *section, const char *key, const char *value,
		     unsigned line, struct ini_error *reterr)
{
	struct load *load = arg;
	struct param_origin at = { load->file, line };

	(void)section; /* load_section() has seen it */
	return set_from_file(load->section, key, value, at, reterr);
}

/* A copy of a file's name that lives as long as p, or NULL. */
static const char *keep_file_name(struct params *p, const char *name)
{
	char **grown = reallocarray(p->files, p->file_count + 1, sizeof *p->files);
	char *copy;

	if (!grown) {
		return NULL;
	}
	p->files = grown;
	copy = strdup(name);
	if (copy) {
		p->files[p->file_count++] = copy;
	}
	return copy;
}

int params_read_file(struct params *p, const char *path, struct ini_error *reterr)
{
	struct load load = { .p = p, .file = keep_file_name(p, path) };

	assert(!p->finished);
	if (!load.file) {
		return fail_memory((struct param_origin){ path, 0 }, reterr);
	}
	return ini_read(path, load_section, load_line, &load, reterr);
}

int params_read_bytes(struct params *p, const char *name, const void *bytes, size_t len,
		      struct ini_error *reterr)
{
	struct load load = { .p = p, .file = keep_file_name(p, name) };

	assert(!p->finished);
	if (!load.file) {
		return fail_memory((struct param_origin){ name, 0 }, reterr);
	}
	return ini_read_bytes(name, bytes, len, load_section, load_line, &load, reterr);
}

/* --- overrides and defaults ---------------------------------------------------------------- */

/* Take "WHERE.KEY=VALUE" apart, in place. Parts that are missing come out as NULL. */
static void split_setting(char *text, char **ret_where, char **ret_key, char **ret_value)
{
	char *value = strchr(text, '=');
	char *key;

	if (value) {
		*value++ = '\0';
	}
	key = strchr(text, '.');
	if (key) {
		*key++ = '\0';
	}
	*ret_where = param_strip(text);
	*ret_key = key ? param_strip(key) : NULL;
	*ret_value = value ? param_strip(value) : NULL;
}

/* Apply one -o, in place. */
static int apply_override(struct params *p, char *text, struct param_origin at,
			  struct ini_error *reterr)
{
	struct ini_quoted quoted;
	char *where;
	char *key;
	char *value;
	const struct section_row *row;
	const char *name;
	struct section *section;

	ini_quote(&quoted, text, strlen(text));
	split_setting(text, &where, &key, &value);
	if (!key || !value) {
		ini_fail(reterr, at.file, at.line, "SECTION.KEY=VALUE was expected",
			 "no \"%s\" in %s", value ? "." : "=", quoted.text);
		return -1;
	}
	if (split_section(p, where, at, &row, &name, reterr) < 0) {
		return -1;
	}
	section = section_find(p, row, name);
	if (!section) {
		section = section_add(p, row, name, at, reterr);
	}
	if (!section) {
		return -1;
	}
	return set_from_override(section, key, value, at, reterr);
}

int params_override(struct params *p, const char *text, struct ini_error *reterr)
{
	struct param_origin at = { from_override, ++p->override_count };
	char *copy = strdup(text);
	int r;

	assert(!p->finished);
	if (!copy) {
		return fail_memory(at, reterr);
	}
	r = apply_override(p, copy, at, reterr);
	free(copy);
	return r;
}

/* Give the section's keys that nobody set their defaults. */
static int fill_defaults(struct section *section, struct ini_error *reterr)
{
	for (size_t i = 0; i < section->row->row_count; i++) {
		const char *def = section->row->rows[i].def;
		int r = 0;

		if (def && !section->origins[i].file) {
			r = set_value(section, i, def, nobody, reterr);
		}
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

/* The section `name`, with its defaults when it is new, or NULL with *reterr. */
static struct section *builtin_section(struct params *p, const struct section_row *row,
				       const char *name, struct ini_error *reterr)
{
	struct section *section = section_find(p, row, name);

	if (section) {
		return section;
	}
	section = section_add(p, row, name, nobody, reterr);
	return section && fill_defaults(section, reterr) == 0 ? section : NULL;
}

/* Apply one "NAME.KEY=VALUE" of a section's built-in value. */
static int apply_builtin(struct params *p, const struct section_row *row, const char *text,
			 struct ini_error *reterr)
{
	char *copy = strdup(text);
	struct section *section;
	char *name;
	char *key;
	char *value;
	ssize_t index;
	int r = -1;

	if (!copy) {
		return fail_memory(nobody, reterr);
	}
	split_setting(copy, &name, &key, &value);
	assert(key && value && is_section_name(name));
	section = builtin_section(p, row, name, reterr);
	if (section) {
		index = find_key(section, key, nobody, reterr);
		assert(index >= 0);
		param_value_done(&row->rows[index], section_field(section, &row->rows[index]));
		r = set_value(section, (size_t)index, value, nobody, reterr);
	}
	free(copy);
	return r;
}

static int apply_builtins(struct params *p, const struct section_row *row, struct ini_error *reterr)
{
	if (!row->builtin || params_next(p, row->name, NULL)) {
		return 0;
	}
	for (size_t i = 0; row->builtin[i]; i++) {
		if (apply_builtin(p, row, row->builtin[i], reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- life ---------------------------------------------------------------------------------- */

struct params *params_new(const struct params_schema *schema)
{
	struct params *p = calloc(1, sizeof *p);
	struct ini_error unused;

	if (!p) {
		return NULL;
	}
	p->schema = schema;
	for (size_t i = 0; i < schema->section_count; i++) {
		const struct section_row *row = &schema->sections[i];

		assert(strlen(row->name) + 1 + SECTION_NAME_MAX < SECTION_TEXT_MAX);
		if (!row->named && !section_add(p, row, NULL, nobody, &unused)) {
			params_free(p);
			return NULL;
		}
	}
	return p;
}

int params_finish(struct params *p, struct ini_error *reterr)
{
	assert(!p->finished);
	for (size_t i = 0; i < p->count; i++) {
		if (fill_defaults(&p->sections[i], reterr) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < p->schema->section_count; i++) {
		if (apply_builtins(p, &p->schema->sections[i], reterr) < 0) {
			return -1;
		}
	}
	p->finished = true;
	return 0;
}

void params_free(struct params *p)
{
	if (!p) {
		return;
	}
	for (size_t i = 0; i < p->count; i++) {
		section_done(&p->sections[i]);
	}
	for (size_t i = 0; i < p->file_count; i++) {
		free(p->files[i]);
	}
	free(p->sections);
	free(p->files);
	free(p);
}
