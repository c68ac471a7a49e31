/* SPDX-License-Identifier: ISC */
/*
 * The part of config.c that checks the keys of a [listen] which say where peers can reach it: its
 * public addresses and its ports. For nobody else.
 */
#ifndef SOCKSD_CONFIG_REACH_H
#define SOCKSD_CONFIG_REACH_H

#include "socksd/config.h"

/* Fill listen->udp_public_ipv4, public_ipv6 and bind_ports from listen->params. 0, or -1 with
 * *reterr.
 */
int config_load_reach(struct listen_config *listen, const struct section *section,
		      struct ini_error *reterr);

#endif
