/* SPDX-License-Identifier: ISC */
/*
 * The keys that are about encryption. Of an [upstream] section: whom to believe, and whom to ask
 * for the addresses of servers given by name. Of a [listen] section: certificate and key. Part of
 * config.c.
 */
#ifndef DNSPROXYD_CONFIG_SECURITY_H
#define DNSPROXYD_CONFIG_SECURITY_H

#include "dnsproxyd/config.h"

/* Fill in bootstrap and security of a group whose servers are known; reads the authorities' file.
 * 0, or -1 with *reterr. */
int config_load_security(struct group_config *group, const struct section *section,
			 struct ini_error *reterr);

/* Find the proxy of a group whose servers are known; those that would be asked by UDP are asked by
 * TCP then. 0, or -1 with *reterr. */
int config_load_proxy(struct group_config *group, const struct section *section,
		      struct ini_error *reterr);

/* Free what config_load_security() has loaded; harmless if that was nothing. */
void config_drop_security(struct group_config *group);

/* Load certificate and key of a section with protocol = tls or https; find keys that do not go
 * together. 0, or -1 with *reterr. */
int config_load_certificate(struct listen_config *listen, const struct section *section,
			    struct ini_error *reterr);

#endif
