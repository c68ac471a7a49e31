/* SPDX-License-Identifier: ISC */
/*
 * Tells when this machine's network has changed: a link, an address or a route has come or gone
 * (netfacts.h says what counts), as after a redial, a VPN that goes up or another cable. Changes
 * come in bursts; a burst is told once, NETWATCH_SETTLE_MS after its first sign and never twice
 * within NETWATCH_APART_MS.
 *
 * Thread: the loop's. The callback may do anything but free the netwatch.
 */
#ifndef COMMON_NETWATCH_H
#define COMMON_NETWATCH_H

#include "common/loop.h"

#define NETWATCH_SETTLE_MS 500
#define NETWATCH_APART_MS  1000

struct netwatch;

typedef void (*netwatch_fn)(void *arg);

/* Watch from now on; what is there already is no change. Returns owned, or NULL with errno (as when
 * a sandbox forbids AF_NETLINK). */
struct netwatch *netwatch_new(struct loop *loop, netwatch_fn fn, void *arg);

/* NULL is fine. */
void netwatch_free(struct netwatch *netwatch);

#endif
