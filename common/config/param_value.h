/* SPDX-License-Identifier: ISC */
/*
 * The values of configuration keys: one field of a section's struct, as its struct param_row
 * describes it. Parses, compares, formats and frees. What params.c is built on; daemons use
 * common/config/params.h.
 *
 * Pure (but for interface names in addresses, see common/addr.h). Thread: any; keeps nothing.
 */
#ifndef COMMON_CONFIG_PARAM_VALUE_H
#define COMMON_CONFIG_PARAM_VALUE_H

#include "common/config/params.h"

/* Room for one formatted item, unless it is a text. */
#define PARAM_ITEM_TEXT_MAX ADDR_TEXT_MAX

/* The two halves of an error line: see ini_fail(). */
struct param_problem {
	char what[320];
	char expected[256];
};

/* The row's field in the struct of a section. */
static inline void *section_field(const struct section *section, const struct param_row *row)
{
	return (char *)section->values + row->offset;
}

/* Strip blanks off both ends, in place. */
char *param_strip(char *text);

bool param_is_list(enum param_type type);

/* Parse what stands after "=" into the field at `field`. A list gets its items added, anything else
 * is replaced. 0, -EINVAL with *reterr filled, or -ENOMEM. After an error a list may hold the items
 * before the bad one. */
int param_value_parse(const struct param_row *row, const char *text, void *field,
		      struct param_problem *reterr);

/* The number of items: of a list its length; of a text or path 0 when it is NULL; else 1. The items
 * of a set of networks are "any", "local", then the networks. */
size_t param_value_count(const struct param_row *row, const void *field);

/* Item number `index` as text that parses to the same. In buf, or borrowed from the field. */
const char *param_value_format(const struct param_row *row, const void *field, size_t index,
			       char buf[PARAM_ITEM_TEXT_MAX]);

bool param_value_equal(const struct param_row *row, const void *a, const void *b);

/* Whether the field is as calloc() made it: NULL, empty, 0, off, the first choice. */
bool param_value_is_none(const struct param_row *row, const void *field);

/* Free what the field owns; a text becomes NULL and a list empty. */
void param_value_done(const struct param_row *row, void *field);

#endif
