/* SPDX-License-Identifier: ISC */
/*
 * The keys of a daemon as its documentation shows them, printed from their declarations: the table
 * in the manual page and the sample configuration. Used when building only; no daemon links it.
 *
 * Thread: none in particular. Write errors are left in `out`.
 */
#ifndef COMMON_CONFIG_REFERENCE_H
#define COMMON_CONFIG_REFERENCE_H

#include "common/config/params.h"

#include <stdio.h>

/* Print for man(7): a subsection for each kind of section, a tagged paragraph for each key. 0 or
 * -ENOMEM. */
int reference_print_man(const struct params_schema *schema, FILE *out);

/* Print a configuration file that says nothing: all keys with their defaults behind ";", what they
 * mean behind "#". Without the ";" it is a valid file, but for keys that have no default, which end
 * in "=". 0 or -ENOMEM. */
int reference_print_sample(const struct params_schema *schema, const char *name, FILE *out);

/* `PROGRAM man|sample`: print to stdout. Returns the exit code. */
int reference_main(const struct params_schema *schema, const char *name, int argc, char **argv);

#endif
