/* SPDX-License-Identifier: ISC */
/*
 * The udp-* keys of a [listen]; part of config.c. Thread: any.
 */
#ifndef SOCKSD_CONFIG_UDP_H
#define SOCKSD_CONFIG_UDP_H

#include "socksd/config.h"

/* Check them and fill in the fields of `listen` that come of them. 0, or -1 with *reterr. */
int config_load_udp(struct listen_config *listen, const struct section *section,
		    struct ini_error *reterr);

#endif
