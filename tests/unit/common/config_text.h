/* SPDX-License-Identifier: ISC */
/*
 * Configurations from texts, which stand for the file "test.conf". Each daemon has a struct config
 * of its own, with the same few calls: its config.h is to be included before this. Failures abort
 * the test.
 */
#ifndef TESTS_UNIT_COMMON_CONFIG_TEXT_H
#define TESTS_UNIT_COMMON_CONFIG_TEXT_H

#include "common/config/params.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* The configuration that the text makes, owned, or NULL with *reterr; *ret_params is owned either
 * way, and goes last. */
static inline struct config *config_text_make(const char *text, struct params **ret_params,
					      struct ini_error *reterr)
{
	*ret_params = params_new(&config_schema);
	ck_assert_ptr_nonnull(*ret_params);
	if (params_read_bytes(*ret_params, "test.conf", text, strlen(text), reterr) < 0 ||
	    params_finish(*ret_params, reterr) < 0) {
		return NULL;
	}
	return config_new(*ret_params, reterr);
}

/* A row of a table of texts. */
struct config_text {
	const char *text;
	const char *error; /* how it begins; NULL: there is none */
};

/* Assert that each text makes a configuration, or its error. */
static inline void config_text_check(const struct config_text *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *text = table[i].text;
		const char *wanted = table[i].error;
		struct ini_error error = { "" };
		struct params *params;
		struct config *config = config_text_make(text, &params, &error);

		ck_assert_msg((config == NULL) == (wanted != NULL), "%s: %s", text, error.text);
		ck_assert_msg(config || strncmp(error.text, wanted, strlen(wanted)) == 0, "%s: %s",
			      text, error.text);
		config_free(config);
		params_free(params);
	}
}

#endif
