/* SPDX-License-Identifier: ISC */
/*
 * The command line of a daemon: NAME [-c FILE] [-o 'SECTION.KEY=VALUE']... [-t] [-V] [-h]
 * [--print-config], and a command of its own: [--COMMAND WORD...].
 */
#ifndef COMMON_DAEMON_OPTIONS_H
#define COMMON_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum options_action {
	OPTIONS_RUN,
	OPTIONS_TEST,    /* -t */
	OPTIONS_PRINT,   /* --print-config */
	OPTIONS_COMMAND, /* the daemon's own */
	OPTIONS_EXIT,    /* -V, -h: done already */
	OPTIONS_USAGE,   /* wrong: said already; exit code 2 */
};

struct options {
	enum options_action action;
	const char *config_file; /* -c, or NULL */
	const char **overrides;  /* -o, in order; owned, the texts are borrowed from argv */
	size_t override_count;
	char **words; /* of OPTIONS_COMMAND: all arguments that are no options; in argv */
	size_t word_count;
};

/* The daemon whose options these are. All borrowed. */
struct options_program {
	const char *name;           /* "socksd" */
	const char *summary;        /* one line for the help */
	const char *default_config; /* path */
	/* A command of the daemon's own, or NULL: the name of its long option, and for the help its
	 * words and what it does. */
	const char *command;
	const char *command_words;
	const char *command_help;
};

/* Parse; prints help, version or what is wrong by itself. */
struct options options_parse(const struct options_program *program, int argc, char **argv);

void options_done(struct options *options);

#endif
