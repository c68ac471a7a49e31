/* SPDX-License-Identifier: ISC */
/* What is done with a struct params once it is built: look up, blame, print, compare. */
#include "common/config/params.h"

#include "common/config/param_value.h"
#include "common/suggest.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

/* Column of the comment that marks a default. */
#define MARK_COLUMN 40

const char *section_text(const struct section *section, char buf[SECTION_TEXT_MAX])
{
	snprintf(buf, SECTION_TEXT_MAX, "%s%s%s", section->row->name, section->name ? " " : "",
		 section->name ? section->name : "");
	return buf;
}

const struct section *params_section_object(const struct params *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++) {
		if (!p->sections[i].name && strcmp(p->sections[i].row->name, name) == 0) {
			return &p->sections[i];
		}
	}
	return NULL;
}

void *params_section(const struct params *p, const char *name)
{
	const struct section *section = params_section_object(p, name);

	assert(section);
	return section->values;
}

const struct section *params_next(const struct params *p, const char *name,
				  const struct section *after)
{
	size_t first = after ? (size_t)(after - p->sections) + 1 : 0;

	for (size_t i = first; i < p->count; i++) {
		if (p->sections[i].name && strcmp(p->sections[i].row->name, name) == 0) {
			return &p->sections[i];
		}
	}
	return NULL;
}

const char *params_nearest(const char *word, const char *const *names)
{
	struct suggest s;

	suggest_init(&s, word);
	for (size_t i = 0; names[i]; i++) {
		suggest_offer(&s, names[i], strlen(names[i]));
	}
	return s.best;
}

bool params_is_set(const struct section *section, size_t field_offset)
{
	for (size_t i = 0; i < section->row->row_count; i++) {
		if (section->row->rows[i].offset == field_offset) {
			return section->origins[i].file != NULL;
		}
	}
	return false;
}

struct param_origin params_origin(const struct section *section, size_t field_offset)
{
	struct param_origin at = section->origin;

	for (size_t i = 0; i < section->row->row_count; i++) {
		if (section->row->rows[i].offset == field_offset && section->origins[i].file) {
			at = section->origins[i];
		}
	}
	at.file = at.file ? at.file : PARAM_DEFAULT_FILE;
	return at;
}

void params_fail(struct ini_error *err, const struct section *section, size_t field_offset,
		 const char *expected, const char *format, ...)
{
	struct param_origin at = params_origin(section, field_offset);
	char what[sizeof err->text];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	ini_fail(err, at.file, at.line, expected, "%s", what);
}

/* --- print --------------------------------------------------------------------------------- */

static void print_key(const struct section *section, size_t index, FILE *out)
{
	const struct param_row *row = &section->row->rows[index];
	const void *field = section_field(section, row);
	size_t count = param_value_count(row, field);
	bool is_default = !section->origins[index].file;
	char buf[PARAM_ITEM_TEXT_MAX];

	/* A number that has no default and was not set is 0, which its range may not even hold. */
	if (count == 0 || (is_default && !row->def && param_value_is_none(row, field))) {
		fprintf(out, "; %s =\n", row->key);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const char *item = param_value_format(row, field, i, buf);
		int used = fprintf(out, "%s = %s", row->key, item);

		if (is_default) {
			fprintf(out, "%*s; default", used < MARK_COLUMN ? MARK_COLUMN - used : 1,
				"");
		}
		fputc('\n', out);
	}
}

void params_print(const struct params *p, FILE *out)
{
	char text[SECTION_TEXT_MAX];

	assert(p->finished);
	for (size_t i = 0; i < p->count; i++) {
		const struct section *section = &p->sections[i];

		fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "", section_text(section, text));
		for (size_t k = 0; k < section->row->row_count; k++) {
			print_key(section, k, out);
		}
	}
}

/* --- compare ------------------------------------------------------------------------------- */

struct difference {
	void (*report)(void *arg, const char *name);
	void *arg;
};

static const struct section *find_twin(const struct params *p, const struct section *section)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct section *twin = &p->sections[i];

		if (twin->row == section->row &&
		    (!twin->name || strcmp(twin->name, section->name) == 0)) {
			return twin;
		}
	}
	return NULL;
}

/* A section that is there only once. */
static void diff_lone(const struct section *section, const struct difference *d)
{
	char text[SECTION_TEXT_MAX];

	for (size_t i = 0; i < section->row->row_count; i++) {
		if (section->row->rows[i].when == PARAM_RESTART) {
			d->report(d->arg, section_text(section, text));
			return;
		}
	}
}

static void diff_twins(const struct section *a, const struct section *b, const struct difference *d)
{
	char text[SECTION_TEXT_MAX];
	char name[SECTION_TEXT_MAX + 64];

	for (size_t i = 0; i < a->row->row_count; i++) {
		const struct param_row *row = &a->row->rows[i];

		if (row->when != PARAM_RESTART ||
		    param_value_equal(row, section_field(a, row), section_field(b, row))) {
			continue;
		}
		snprintf(name, sizeof name, "%s.%s", section_text(a, text), row->key);
		d->report(d->arg, name);
	}
}

void params_diff_restart(const struct params *old, const struct params *new,
			 void (*on_difference)(void *arg, const char *name), void *arg)
{
	const struct difference d = { on_difference, arg };

	assert(old->finished && new->finished && old->schema == new->schema);
	for (size_t i = 0; i < old->count; i++) {
		const struct section *twin = find_twin(new, &old->sections[i]);

		if (twin) {
			diff_twins(&old->sections[i], twin, &d);
		} else {
			diff_lone(&old->sections[i], &d);
		}
	}
	for (size_t i = 0; i < new->count; i++) {
		if (!find_twin(old, &new->sections[i])) {
			diff_lone(&new->sections[i], &d);
		}
	}
}
