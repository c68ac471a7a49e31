/* SPDX-License-Identifier: ISC */
#include "socksd/udp/udp_rate.h"

enum {
	PART = 10, /* of a second: how much may pass at once */
	THOUSAND = 1000,
};

/* What has been used and not been given back since. */
static uint64_t still_used(uint64_t used, uint64_t limit, uint64_t passed_ms)
{
	/* After as long as this nothing is left, and the product stays small. */
	uint64_t empty_ms = limit > 0 ? used / limit + 1 : 0;

	return passed_ms >= empty_ms ? 0 : used - passed_ms * limit;
}

bool udp_rate_take(struct udp_rate *rate, const struct udp_rate_limits *limits, size_t len,
		   uint64_t now_ms)
{
	uint64_t passed_ms = now_ms - rate->last_ms;

	if (limits->datagrams == 0 && limits->bytes == 0) {
		return true;
	}
	rate->last_ms = now_ms;
	rate->datagrams_used = still_used(rate->datagrams_used, limits->datagrams, passed_ms);
	rate->bytes_used = still_used(rate->bytes_used, limits->bytes, passed_ms);
	/* Below the mark one more passes, whatever its size; its excess holds up those behind it.
	 */
	if ((limits->datagrams > 0 && rate->datagrams_used > limits->datagrams * THOUSAND / PART) ||
	    (limits->bytes > 0 && rate->bytes_used > limits->bytes * THOUSAND / PART)) {
		return false;
	}
	rate->datagrams_used += limits->datagrams > 0 ? THOUSAND : 0;
	rate->bytes_used += limits->bytes > 0 ? len * THOUSAND : 0;
	return true;
}
