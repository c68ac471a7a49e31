/* SPDX-License-Identifier: ISC */
/*
 * The keys of an [upstream] section that are about encrypted servers: whom to believe, and whom to
 * ask for the addresses of servers given by name. Part of config.c.
 */
#ifndef DNSPROXYD_CONFIG_SECURITY_H
#define DNSPROXYD_CONFIG_SECURITY_H

#include "dnsproxyd/config.h"

/* Fill in bootstrap and security of a group whose servers are known; reads the authorities' file.
 * 0, or -1 with *reterr. */
int config_load_security(struct group_config *group, const struct section *section,
			 struct ini_error *reterr);

void config_drop_security(struct group_config *group);

#endif
