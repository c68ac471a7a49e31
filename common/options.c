/* SPDX-License-Identifier: ISC */
#include "common/options.h"

#include "build_config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	OPTION_PRINT_CONFIG = 256,
};

static void print_help(const char *name, const char *summary, const char *default_config)
{
	printf("Usage: %s [-c FILE] [-o 'SECTION.KEY=VALUE']... [-t] [-V] [-h] [--print-config]\n"
	       "%s\n\n"
	       "  -c FILE               read this configuration (default: %s, if it exists)\n"
	       "  -o SECTION.KEY=VALUE  set a key; 'SECTION NAME.KEY=VALUE' for a named section\n"
	       "  -t                    check the configuration and exit\n"
	       "      --print-config    print every key with its effective value and exit\n"
	       "  -V                    print the version and exit\n"
	       "  -h                    print this help and exit\n\n"
	       "SIGHUP reloads the configuration, SIGTERM lets sessions finish and exits (twice: "
	       "at once),\n"
	       "SIGUSR1 logs all counters. Exit codes: 0 ok, 1 failure, 2 wrong usage or "
	       "configuration.\n",
	       name, summary, default_config);
}

static enum options_action usage_error(const char *name)
{
	fprintf(stderr, "Try '%s -h'.\n", name);
	return OPTIONS_USAGE;
}

/* One option; returns the action it asks for. */
static enum options_action take_option(struct options *o, int option, const char *name,
				       const char *summary, const char *default_config)
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
	case 'V':
		printf("%s (%s) %s\n", name, PACKAGE_NAME, PACKAGE_VERSION);
		return OPTIONS_EXIT;
	case 'h':
		print_help(name, summary, default_config);
		return OPTIONS_EXIT;
	default:
		return usage_error(name);
	}
}

struct options options_parse(const char *name, const char *summary, const char *default_config,
			     int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "print-config", no_argument, NULL, OPTION_PRINT_CONFIG },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = { .action = OPTIONS_RUN };
	int option;

	o.overrides = calloc((size_t)argc + 1, sizeof *o.overrides);
	if (!o.overrides) {
		perror(name);
		exit(EXIT_FAILURE);
	}
	while (o.action != OPTIONS_EXIT && o.action != OPTIONS_USAGE &&
	       (option = getopt_long(argc, argv, "c:o:tVh", long_options, NULL)) != -1) {
		o.action = take_option(&o, option, name, summary, default_config);
	}
	if (o.action != OPTIONS_EXIT && o.action != OPTIONS_USAGE && optind < argc) {
		fprintf(stderr, "%s: unexpected argument '%s'\n", name, argv[optind]);
		o.action = usage_error(name);
	}
	return o;
}

void options_done(struct options *o)
{
	free(o->overrides);
	o->overrides = NULL;
}
