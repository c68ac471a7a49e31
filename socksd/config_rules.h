/* SPDX-License-Identifier: ISC */
/*
 * The part of config.c that turns [egress NAME] and [rule NAME] sections into a struct config's
 * egresses and rules, and reads the lists they name. For nobody else.
 */
#ifndef SOCKSD_CONFIG_RULES_H
#define SOCKSD_CONFIG_RULES_H

#include "socksd/config.h"

/* A longer list file is refused. */
#define CONFIG_LIST_MAX_BYTES ((size_t)16 * 1024 * 1024)

/* Fill config->egresses, then config->rules, which refer to them. 0, or -1 with *reterr; what was
 * made until then belongs to config. */
int config_load_egresses(struct config *config, const struct params *params,
			 struct ini_error *reterr);
int config_load_rules(struct config *config, const struct params *params, struct ini_error *reterr);

#endif
