/* SPDX-License-Identifier: ISC */
/*
 * The command line of a daemon: NAME [-c FILE] [-o 'SECTION.KEY=VALUE']... [-t] [-V] [-h]
 * [--print-config].
 */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum options_action {
	OPTIONS_RUN,
	OPTIONS_TEST,  /* -t */
	OPTIONS_PRINT, /* --print-config */
	OPTIONS_EXIT,  /* -V, -h: done already */
	OPTIONS_USAGE, /* wrong: said already; exit code 2 */
};

struct options {
	enum options_action action;
	const char *config_file; /* -c, or NULL */
	const char **overrides;  /* -o, in order; owned, the texts are borrowed from argv */
	size_t override_count;
};

/* Parse; prints help, version or what is wrong by itself. */
struct options options_parse(const char *name, const char *summary, const char *default_config,
			     int argc, char **argv);

void options_done(struct options *options);

#endif
