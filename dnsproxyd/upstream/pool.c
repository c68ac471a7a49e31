/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/pool.h"

enum {
	CREDIT_MAX = POOL_HEDGES_MAX * POOL_HEDGE_COST,
};

void pool_init(struct pool *p)
{
	*p = (struct pool){ .hedge_credit = CREDIT_MAX };
}

void pool_begin_question(struct pool *p)
{
	p->turn++;
	if (p->hedge_credit < CREDIT_MAX) {
		p->hedge_credit++;
	}
}

int pool_choose(const struct pool *p, uint32_t skip, uint64_t now_ms)
{
	return balance_choose(p->strategy, p->entries, p->count, skip, p->turn, now_ms);
}

int pool_choose_trial(const struct pool *p, uint32_t skip, uint64_t now_ms)
{
	return balance_trial(p->strategy, p->entries, p->count, skip, now_ms);
}

bool pool_take_hedge(struct pool *p)
{
	if (p->hedge_credit < POOL_HEDGE_COST) {
		return false;
	}
	p->hedge_credit -= POOL_HEDGE_COST;
	return true;
}
