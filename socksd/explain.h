/* SPDX-License-Identifier: ISC */
/*
 * socksd --explain KEY=VALUE...: what would become of a request, and why. Asks the same rules and
 * the same guard as a session, after resolving the name with the same resolver.
 *
 *	client=IP		default 127.0.0.1
 *	user=NAME		default: a client without a name
 *	command=WORD		connect (default), bind or udp
 *	destination=HOST:PORT	the one that must be given
 *
 * Prints a line for each address: `allow 192.0.2.1:443: [rule web] at FILE:LINE, egress home`,
 * `deny 127.0.0.1:80: guard, loopback`. Exit code: 0 when an address is allowed, 3 when none is, 1
 * when the name cannot be resolved, 2 for wrong usage.
 */
#ifndef SOCKSD_EXPLAIN_H
#define SOCKSD_EXPLAIN_H

#include "common/daemon/service.h"

extern const struct service_command explain_command;

#endif
