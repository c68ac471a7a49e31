/* SPDX-License-Identifier: ISC */
/*
 * Takes the input as a configuration file; lines that start with "-o" are taken as options as well.
 * What is accepted must print as a file that reads back to the same value, and every error must be
 * one printable line.
 */
#include "tests/sample_schema.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void check_error(const struct ini_error *err)
{
	size_t len = strnlen(err->text, sizeof err->text);

	check(len > 0 && len < sizeof err->text && strchr(err->text, ':'));
	for (size_t i = 0; i < len; i++) {
		check(err->text[i] >= 0x20 && err->text[i] <= 0x7e);
	}
}

/* The part of the input before the first "-o" line is the file, each line from there on an option.
 */
static struct params *build(const char *text, size_t size)
{
	struct params *p = params_new(&sample_schema);
	struct ini_error err = { "" };
	const char *options = memmem(text, size, "\n-o", 3);
	size_t file_len = options ? (size_t)(options - text) : size;
	int r = params_read_bytes(p, "fuzz", text, file_len, &err);

	while (r == 0 && options) {
		const char *option = options + 3;
		size_t left = size - (size_t)(option - text);
		char *copy;

		options = memmem(option, left, "\n-o", 3);
		copy = strndup(option, options ? (size_t)(options - option) : left);
		r = params_override(p, copy, &err);
		free(copy);
	}
	if (r < 0 || params_finish(p, &err) < 0) {
		check_error(&err);
		params_free(p);
		return NULL;
	}
	return p;
}

/* Every value, with its marks of defaults. Returns owned. */
static char *print(const struct params *p)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	params_print(p, out);
	fclose(out);
	return text;
}

static void unmark_defaults(char *text)
{
	char *mark;

	while ((mark = strstr(text, "; default\n"))) {
		char *end = mark + strlen("; default");

		while (mark > text && mark[-1] == ' ') {
			mark--;
		}
		memmove(mark, end, strlen(end) + 1);
	}
}

static void on_difference(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct params *p = build((const char *)data, size);
	struct params *again;
	char *text;
	char *text_again;

	if (!p) {
		return 0;
	}
	text = print(p);
	again = build(text, strlen(text));
	check(again != NULL);
	params_diff_restart(p, again, on_difference, NULL);
	text_again = print(again);
	unmark_defaults(text);
	unmark_defaults(text_again);
	check(strcmp(text, text_again) == 0);
	free(text);
	free(text_again);
	params_free(p);
	params_free(again);
	return 0;
}
