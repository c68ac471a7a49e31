/* SPDX-License-Identifier: ISC */
/*
 * How many sessions the descriptors of the process are good for. A session is admitted only when
 * there will be a descriptor for its target too, or for the socket on which it waits for the peer
 * of a BIND; the rest waits in the kernel's queue instead of being accepted and failed. Pure.
 */
#ifndef SOCKSD_SESSION_SLOTS_H
#define SOCKSD_SESSION_SLOTS_H

#include <stddef.h>

/* Sessions that one of `workers` may have at once, at least 1. Besides two descriptors for each
 * session, some are left for what comes and goes: lookups, second connection attempts, peers that
 * are looked at before they are let in, log and configuration files. */
size_t slots_per_worker(size_t descriptor_limit, size_t descriptors_in_use, unsigned workers);

#endif
