/* SPDX-License-Identifier: ISC */
#include "common/netset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ::ffff:192.0.2.0/120 as 192.0.2.0/24, since addresses are folded before they are compared. */
static struct prefix prefix_unmap(struct prefix p)
{
	if (p.base.sa.sa_family == AF_INET6 && p.bits >= 96 &&
	    IN6_IS_ADDR_V4MAPPED(&p.base.in6.sin6_addr)) {
		p.base = addr_unmap(&p.base);
		p.bits = (uint8_t)(p.bits - 96);
	}
	return p;
}

int netset_add(struct netset *set, const char *item, const char **reterr_why)
{
	struct prefix p;
	struct prefix *grown;

	if (strcmp(item, "any") == 0) {
		set->any = true;
		return 0;
	}
	if (strcmp(item, "local") == 0) {
		set->local = true;
		return 0;
	}
	if (prefix_parse(item, &p, reterr_why) < 0) {
		return -EINVAL;
	}
	/* Room doubles whenever it is used up, that is at each power of two. */
	if ((set->count & (set->count - 1)) == 0) {
		grown = realloc(set->prefixes,
				(set->count ? 2 * set->count : 1) * sizeof *set->prefixes);
		if (!grown) {
			return -ENOMEM;
		}
		set->prefixes = grown;
	}
	set->prefixes[set->count++] = prefix_unmap(p);
	return 0;
}

static bool is_local(const struct addr *a)
{
	switch (addr_scope(a)) {
	case ADDR_LOOPBACK:
	case ADDR_LINK_LOCAL:
	case ADDR_PRIVATE:
	case ADDR_CGNAT:
		return true;
	default:
		return false;
	}
}

bool netset_contains(const struct netset *set, const struct addr *a)
{
	if (a->sa.sa_family == AF_UNSPEC) {
		return false;
	}
	if (set->any || (set->local && is_local(a))) {
		return true;
	}
	for (size_t i = 0; i < set->count; i++) {
		if (prefix_contains(&set->prefixes[i], a)) {
			return true;
		}
	}
	return false;
}

void netset_done(struct netset *set)
{
	free(set->prefixes);
	*set = (struct netset){ 0 };
}
