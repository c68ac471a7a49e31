/* SPDX-License-Identifier: ISC */
/*
 * The part of config.c that checks udp-public-address and udp-port-range of a [listen]. For nobody
 * else. Thread: any.
 */
#ifndef SOCKSD_CONFIG_UDP_H
#define SOCKSD_CONFIG_UDP_H

#include "socksd/config.h"

/* Fill in udp_public_ipv4, udp_public_ipv6 and udp_ports of `listen`, whose params are set. 0, or
 * -1 with *reterr. */
int config_load_udp(struct listen_config *listen, const struct section *section,
		    struct ini_error *reterr);

#endif
