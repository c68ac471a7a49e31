/* SPDX-License-Identifier: ISC */
#include "common/daemon/options.h"

#include "build_config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	OPTION_PRINT_CONFIG = 256,
	OPTION_COMMAND,
};

static void print_help(const struct options_program *program)
{
	printf("Usage: %s [-c FILE] [-o 'SECTION.KEY=VALUE']... [-t] [-V] [-h] [--print-config]\n",
	       program->name);
	if (program->command) {
		printf("       %s [-c FILE] [-o 'SECTION.KEY=VALUE']... --%s %s\n", program->name,
		       program->command, program->command_words);
	}
	printf("%s\n\n"
	       "  -c FILE               read this configuration (default: %s, if it exists)\n"
	       "  -o SECTION.KEY=VALUE  set a key; 'SECTION NAME.KEY=VALUE' for a named section\n"
	       "  -t                    check the configuration and exit\n"
	       "      --print-config    print every key with its effective value and exit\n",
	       program->summary, program->default_config);
	if (program->command) {
		printf("      --%-15s %s\n", program->command, program->command_help);
	}
	printf("  -V                    print the version and exit\n"
	       "  -h                    print this help and exit\n\n"
	       "SIGHUP reloads the configuration, SIGTERM lets sessions finish and exits (twice: "
	       "at once),\n"
	       "SIGUSR1 logs all counters. Exit codes: 0 ok, 1 failure, 2 wrong usage or "
	       "configuration.\n");
}

static enum options_action usage_error(const char *name)
{
	fprintf(stderr, "Try '%s -h'.\n", name);
	return OPTIONS_USAGE;
}

/* One option; returns the action it asks for. */
static enum options_action take_option(struct options *o, int option,
				       const struct options_program *program)
{
	switch (option) {
	case 'c':
		o->config_file = optarg;
		return o->action;
	case 'o':
		o->overrides[o->override_count++] = optarg;
		return o->action;
	case 't':
		return OPTIONS_TEST;
	case OPTION_PRINT_CONFIG:
		return OPTIONS_PRINT;
	case OPTION_COMMAND:
		return OPTIONS_COMMAND;
	case 'V':
		printf("%s (%s) %s\n", program->name, PACKAGE_NAME, PACKAGE_VERSION);
		return OPTIONS_EXIT;
	case 'h':
		print_help(program);
		return OPTIONS_EXIT;
	default:
		return usage_error(program->name);
	}
}

/* What stands behind the options: words of the command, or an error. */
static void take_words(struct options *o, const struct options_program *program, int argc,
		       char **argv)
{
	if (o->action == OPTIONS_COMMAND) {
		o->words = argv + optind;
		o->word_count = (size_t)(argc - optind);
	} else if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument '%s'\n", program->name, argv[optind]);
		o->action = usage_error(program->name);
	}
}

struct options options_parse(const struct options_program *program, int argc, char **argv)
{
	const struct option long_options[] = {
		{ "print-config", no_argument, NULL, OPTION_PRINT_CONFIG },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		/* The end of the table when there is no command. */
		{ program->command, no_argument, NULL, program->command ? OPTION_COMMAND : 0 },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = { .action = OPTIONS_RUN };
	int option;

	o.overrides = calloc((size_t)argc + 1, sizeof *o.overrides);
	if (!o.overrides) {
		perror(program->name);
		exit(EXIT_FAILURE);
	}
	while (o.action != OPTIONS_EXIT && o.action != OPTIONS_USAGE &&
	       (option = getopt_long(argc, argv, "c:o:tVh", long_options, NULL)) != -1) {
		o.action = take_option(&o, option, program);
	}
	if (o.action != OPTIONS_EXIT && o.action != OPTIONS_USAGE) {
		take_words(&o, program, argc, argv);
	}
	return o;
}

void options_done(struct options *o)
{
	free(o->overrides);
	o->overrides = NULL;
}
