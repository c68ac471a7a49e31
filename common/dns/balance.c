/* SPDX-License-Identifier: ISC */
#include "common/dns/balance.h"

#include <stdbool.h>

static bool skipped(uint32_t skip, size_t index)
{
	return skip >> index & 1;
}

/* Whether a should be asked rather than b, both being in the same state of health. */
static bool is_better(enum balance_strategy strategy, const struct balance_entry *a,
		      const struct balance_entry *b, uint64_t now_ms)
{
	switch (strategy) {
	case BALANCE_FASTEST:
	case BALANCE_RACE:
		return health_score(a->health, now_ms) < health_score(b->health, now_ms);
	case BALANCE_LEASTCONN:
		return a->open_count < b->open_count;
	case BALANCE_FAILOVER:
	case BALANCE_ROUNDROBIN:
		break;
	}
	return false;
}

/* Where the search begins: ties go to who is met first. */
static size_t first_of(enum balance_strategy strategy, size_t count, uint32_t turn)
{
	return strategy == BALANCE_ROUNDROBIN || strategy == BALANCE_LEASTCONN ? turn % count : 0;
}

int balance_choose(enum balance_strategy strategy, const struct balance_entry *entries,
		   size_t count, uint32_t skip, uint32_t turn, uint64_t now_ms)
{
	size_t first = count > 0 ? first_of(strategy, count, turn) : 0;
	enum health_state best_state = HEALTH_DOWN;
	int best = -1;

	for (size_t n = 0; n < count; n++) {
		size_t i = (first + n) % count;
		enum health_state state = health_state(entries[i].health, now_ms);

		if (skipped(skip, i)) {
			continue;
		}
		if (best < 0 || state < best_state ||
		    (state == best_state &&
		     is_better(strategy, &entries[i], &entries[best], now_ms))) {
			best = (int)i;
			best_state = state;
		}
	}
	return best;
}

/* Whether it was not measured for long, or never. */
static bool is_unmeasured(const struct health *health, uint64_t now_ms)
{
	return !health->measured || now_ms - health->measured_ms >= BALANCE_SAMPLE_MS;
}

int balance_trial(enum balance_strategy strategy, const struct balance_entry *entries, size_t count,
		  uint32_t skip, uint64_t now_ms)
{
	bool by_speed = strategy == BALANCE_FASTEST || strategy == BALANCE_RACE;

	for (size_t i = 0; i < count; i++) {
		const struct health *health = entries[i].health;
		enum health_state state = health_state(health, now_ms);

		if (!skipped(skip, i) &&
		    (state == HEALTH_DUE ||
		     (state == HEALTH_UP && by_speed && now_ms >= health->trial_until_ms &&
		      is_unmeasured(health, now_ms)))) {
			return (int)i;
		}
	}
	return -1;
}
