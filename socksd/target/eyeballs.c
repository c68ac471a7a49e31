/* SPDX-License-Identifier: ISC */
#include "socksd/target/eyeballs.h"

static bool list_left(const struct eyeballs_list *list)
{
	return list->next < list->count;
}

static bool any_left(const struct eyeballs *e)
{
	return list_left(&e->ipv6) || list_left(&e->ipv4);
}

void eyeballs_expect(struct eyeballs *e, unsigned lookups)
{
	e->lookups = lookups;
}

void eyeballs_add(struct eyeballs *e, const struct addr *addr)
{
	struct eyeballs_list *list = addr->sa.sa_family == AF_INET ? &e->ipv4 : &e->ipv6;

	for (unsigned i = 0; i < list->count; i++) {
		if (addr_equal(&list->items[i], addr)) {
			return;
		}
	}
	if (list->count < EYEBALLS_PER_FAMILY) {
		list->items[list->count++] = *addr;
	}
}

void eyeballs_answered(struct eyeballs *e, uint64_t now_ms)
{
	bool only_ipv4 = e->ipv6.count == 0 && e->ipv4.count > 0;

	e->lookups--;
	if (!e->begun) {
		e->not_before_ms =
			only_ipv4 && e->lookups > 0 ? now_ms + EYEBALLS_PATIENCE_MS : now_ms;
	}
}

/* The next address, families taking turns. */
static struct addr take(struct eyeballs *e)
{
	bool ipv4 = list_left(&e->ipv4) && (e->next_is_ipv4 || !list_left(&e->ipv6));
	struct eyeballs_list *list = ipv4 ? &e->ipv4 : &e->ipv6;

	e->next_is_ipv4 = !ipv4;
	return list->items[list->next++];
}

enum eyeballs_verdict eyeballs_next(struct eyeballs *e, uint64_t now_ms, struct addr *ret_addr,
				    uint64_t *ret_due_ms)
{
	if (!any_left(e) && e->running == 0 && e->lookups == 0) {
		return EYEBALLS_EXHAUSTED;
	}
	if (!any_left(e) || e->running == EYEBALLS_AT_ONCE) {
		*ret_due_ms = UINT64_MAX;
		return EYEBALLS_WAIT;
	}
	if (now_ms < e->not_before_ms) {
		*ret_due_ms = e->not_before_ms;
		return EYEBALLS_WAIT;
	}
	*ret_addr = take(e);
	return EYEBALLS_TRY;
}

void eyeballs_started(struct eyeballs *e, uint64_t now_ms)
{
	e->begun = true;
	e->running++;
	e->not_before_ms = now_ms + EYEBALLS_STAGGER_MS;
}

void eyeballs_failed(struct eyeballs *e)
{
	e->running--;
	e->not_before_ms = 0;
}
