/* SPDX-License-Identifier: ISC */
/*
 * Who a connection comes from, as limits see it: an IPv4 address, or an IPv6 /64, of which one
 * customer commonly has the whole. Link-local hosts share a /64 with their whole network and are
 * told apart by their interface identifier. Pure.
 */
#ifndef SOCKSD_SOURCE_H
#define SOCKSD_SOURCE_H

#include "common/addr.h"

#include <stdbool.h>

/* Every byte counts and is set, so a source can be hashed as it is. */
struct source {
	uint8_t bytes[9];
};

struct source source_of(const struct addr *a);

bool source_equal(const struct source *a, const struct source *b);

#endif
