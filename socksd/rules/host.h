/* SPDX-License-Identifier: ISC */
/*
 * What the guard has to know of this host. Thread: any.
 */
#ifndef SOCKSD_RULES_HOST_H
#define SOCKSD_RULES_HOST_H

#include "common/addr.h"

#include "socksd/rules/guard.h"

/* Point guard->local to an address of this host: the destination, or the IPv4 address it embeds,
 * when it is one and a wildcard listener of the guard's has its port; otherwise AF_UNSPEC. Asks the
 * kernel only where it matters, so it costs next to nothing. *local is where the address is kept.
 */
void host_note_local(struct guard_context *guard, const struct addr *destination,
		     struct addr *local);

#endif
