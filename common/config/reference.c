/* SPDX-License-Identifier: ISC */
#include "common/config/reference.h"

#include "common/config/param_value.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Width of the comments in samples. */
#define SAMPLE_COLUMNS   78

/* Longest default of a list. */
#define DEFAULT_TEXT_MAX 256

/* All defaults, so that they can be shown as values: owned, or NULL. */
static struct params *defaults_new(const struct params_schema *schema)
{
	struct params *params = params_new(schema);
	struct ini_error err;

	if (params && params_finish(params, &err) < 0) {
		params_free(params);
		return NULL;
	}
	return params;
}

/* The section that stands when there is no configuration, or NULL. */
static const struct section *default_section(const struct params *params,
					     const struct section_row *row)
{
	return row->named ? params_next(params, row->name, NULL)
			  : params_section_object(params, row->name);
}

/* --- in words -------------------------------------------------------------------------------- */

/* What may stand behind "=". Returns buf. */
static const char *describe_type(const struct param_row *row, char *buf, size_t size)
{
	static const char *const words[] = {
		[PARAM_BOOL] = "yes, no, on or off",
		[PARAM_COUNT] = "number",
		[PARAM_MARK] = "number, decimal or hexadecimal,",
		[PARAM_WORKERS] = "auto, number",
		[PARAM_PERCENT] = "percentage",
		[PARAM_DURATION] = "duration",
		[PARAM_SIZE] = "size",
		[PARAM_TEXT] = "text",
		[PARAM_PATH] = "absolute path",
		[PARAM_ADDRS] = "IP:PORT",
		[PARAM_IPS] = "list of IP",
		[PARAM_NETS] = "list of IP/BITS",
		[PARAM_TEXTS] = "list",
	};
	char min[PARAM_ITEM_TEXT_MAX];
	char max[PARAM_ITEM_TEXT_MAX];
	size_t used = 0;

	switch (row->type) {
	case PARAM_CHOICE:
		for (const char *s = row->choices; *s && used + 3 < size; s++) {
			used += (size_t)snprintf(buf + used, size - used, *s == '|' ? ", " : "%c",
						 *s);
		}
		break;
	case PARAM_COUNT:
	case PARAM_MARK:
	case PARAM_WORKERS:
	case PARAM_PERCENT:
	case PARAM_DURATION:
	case PARAM_SIZE:
		snprintf(buf, size, "%s from %s to %s", words[row->type],
			 param_value_format(row, &row->min, 0, min),
			 param_value_format(row, &row->max, 0, max));
		break;
	case PARAM_ADDRS:
		if (row->min) {
			snprintf(buf, size, "list of IP or IP:PORT, port %" PRIu64 " if not given",
				 row->min);
		} else {
			snprintf(buf, size, "list of IP:PORT");
		}
		break;
	default:
		snprintf(buf, size, "%s", words[row->type]);
	}
	return buf;
}

/* The default, the items of a list with commas. Empty: there is none. Returns buf. */
static const char *describe_default(const struct param_row *row, const void *field, char *buf,
				    size_t size)
{
	char item[PARAM_ITEM_TEXT_MAX];
	size_t used = 0;

	buf[0] = '\0';
	if (!row->def && param_value_is_none(row, field)) {
		return buf;
	}
	for (size_t i = 0; i < param_value_count(row, field) && used < size; i++) {
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i > 0 ? ", " : "",
					 param_value_format(row, field, i, item));
	}
	return buf;
}

/* --- for man(7) ------------------------------------------------------------------------------ */

/* Text as it is to appear: a bare "-" would become a hyphen, which nobody can paste. */
static void put_roff(const char *text, FILE *out)
{
	if (*text == '.' || *text == '\'') {
		fputs("\\&", out);
	}
	for (; *text; text++) {
		if (*text == '-') {
			fputs("\\-", out);
		} else if (*text == '\\') {
			fputs("\\e", out);
		} else {
			fputc(*text, out);
		}
	}
}

static void put_man_key(const struct param_row *row, FILE *out)
{
	char text[DEFAULT_TEXT_MAX];

	fputs(".TP\n.B ", out);
	put_roff(row->key, out);
	fputs("\n", out);
	put_roff(row->help, out);
	fputs("\n(", out);
	put_roff(describe_type(row, text, sizeof text), out);
	if (row->def) {
		fputs("; default ", out);
		put_roff(row->def, out);
	}
	fprintf(out, "%s)\n", row->when == PARAM_RESTART ? "; changes with a restart" : "");
}

static void put_man_builtin(const struct section_row *row, FILE *out)
{
	fprintf(out, "Without any such section:\n.PP\n.RS\n.nf\n");
	for (size_t i = 0; row->builtin[i]; i++) {
		const char *text = row->builtin[i];
		size_t name = strcspn(text, ".");
		const char *equals = strchr(text, '=');

		if (i == 0 || strncmp(text, row->builtin[i - 1], name + 1) != 0) {
			fprintf(out, "[%s %.*s]\n", row->name, (int)name, text);
		}
		fprintf(out, "%.*s", (int)strcspn(text + name + 1, " ="), text + name + 1);
		fputs(" = ", out);
		put_roff(equals + 1 + strspn(equals + 1, " "), out);
		fputc('\n', out);
	}
	fputs(".fi\n.RE\n", out);
}

int reference_print_man(const struct params_schema *schema, FILE *out)
{
	for (size_t i = 0; i < schema->section_count; i++) {
		const struct section_row *row = &schema->sections[i];

		fprintf(out, ".SS [%s%s]\n", row->name, row->named ? " \\fINAME\\fP" : "");
		put_roff(row->help, out);
		fputc('\n', out);
		if (row->builtin) {
			put_man_builtin(row, out);
		}
		for (size_t k = 0; k < row->row_count; k++) {
			put_man_key(&row->rows[k], out);
		}
	}
	return 0;
}

/* --- as a configuration file ----------------------------------------------------------------- */

/* Lines of "# word word". */
static void put_comment(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + 1 + len > SAMPLE_COLUMNS) {
			fputc('\n', out);
			column = 0;
		}
		column += (size_t)fprintf(out, "%s%.*s", column == 0 ? "# " : " ", (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

static void put_sample_key(const struct param_row *row, const struct section *section, FILE *out)
{
	char type[DEFAULT_TEXT_MAX];
	char def[DEFAULT_TEXT_MAX] = "";
	char text[3 * DEFAULT_TEXT_MAX];

	if (section) {
		describe_default(row, section_field(section, row), def, sizeof def);
	} else if (row->def) {
		snprintf(def, sizeof def, "%s", row->def);
	} else if (row->type == PARAM_CHOICE) {
		snprintf(def, sizeof def, "%.*s", (int)strcspn(row->choices, "|"), row->choices);
	}
	snprintf(text, sizeof text, "%s (%s%s)", row->help, describe_type(row, type, sizeof type),
		 row->when == PARAM_RESTART ? "; changes with a restart" : "");
	put_comment(text, out);
	fprintf(out, ";%s =%s%s\n", row->key, *def ? " " : "", def);
}

int reference_print_sample(const struct params_schema *schema, const char *name, FILE *out)
{
	struct params *params = defaults_new(schema);

	if (!params) {
		return -ENOMEM;
	}
	fprintf(out,
		"# %s.conf: every key there is, with its default, and all of it commented out.\n"
		"# Remove the \";\" of a section and of the keys to change. Check with: %s -t\n"
		"# What each means at more length: man %s.conf\n",
		name, name, name);
	for (size_t i = 0; i < schema->section_count; i++) {
		const struct section_row *row = &schema->sections[i];
		const struct section *section = default_section(params, row);
		const char *title = section && section->name ? section->name : "NAME";

		fputc('\n', out);
		put_comment(row->help, out);
		fprintf(out, ";[%s%s%s]\n", row->name, row->named ? " " : "",
			row->named ? title : "");
		for (size_t k = 0; k < row->row_count; k++) {
			put_sample_key(&row->rows[k], section, out);
		}
	}
	params_free(params);
	return 0;
}

int reference_main(const struct params_schema *schema, const char *name, int argc, char **argv)
{
	int r = -EINVAL;

	if (argc == 2 && strcmp(argv[1], "man") == 0) {
		r = reference_print_man(schema, stdout);
	} else if (argc == 2 && strcmp(argv[1], "sample") == 0) {
		r = reference_print_sample(schema, name, stdout);
	}
	if (r == -EINVAL) {
		fprintf(stderr, "usage: %s man|sample\n", argv[0]);
		return 2;
	}
	return r < 0 || fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}
