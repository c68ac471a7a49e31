/* SPDX-License-Identifier: ISC */
#include "common/dns/health.h"

#include "common/container.h"

#include <string.h>

enum {
	SRTT_WEIGHT = 8,      /* the newest sample makes up an eighth */
	SRTT_WEIGHT_RARE = 2, /* or half, when the one before is RARE_MS old */
	RARE_MS = 5000,
	SRTT_UNIT = 16,         /* of a millisecond */
	RTT_MAX_MS = 60000,     /* longer is as bad */
	BUCKET_TOTAL_MAX = 256, /* then all counts are halved, which forgets what is long ago */
	BACKOFF_SHIFT_MAX = 16,
	HALVINGS_MAX = 31,
};

/* Upper bounds in ms, two to each power of two. The last is open. */
static const uint32_t bucket_bounds[HEALTH_BUCKETS] = {
	1,   2,   3,   4,   6,   8,   12,   16,   24,   32,   48,   64,         96,
	128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, RTT_MAX_MS,
};

static uint32_t elapsed_ms(uint64_t since_ms, uint64_t now_ms)
{
	uint64_t ms = now_ms > since_ms ? now_ms - since_ms : 0;

	return ms < RTT_MAX_MS ? (uint32_t)ms : RTT_MAX_MS;
}

static void smooth(struct health *h, uint32_t rtt_ms, uint64_t now_ms)
{
	uint32_t sample = rtt_ms * SRTT_UNIT;
	uint32_t weight =
		elapsed_ms(h->measured_ms, now_ms) < RARE_MS ? SRTT_WEIGHT : SRTT_WEIGHT_RARE;

	if (!h->measured) {
		h->srtt = sample;
		h->measured = true;
	} else if (sample > h->srtt) {
		h->srtt += (sample - h->srtt) / weight;
	} else {
		h->srtt -= (h->srtt - sample) / weight;
	}
	h->measured_ms = now_ms;
}

static void add_to_bucket(struct health *h, uint32_t rtt_ms)
{
	size_t i = 0;

	while (i + 1 < HEALTH_BUCKETS && rtt_ms > bucket_bounds[i]) {
		i++;
	}
	h->buckets[i]++;
	h->bucket_total++;
	if (h->bucket_total < BUCKET_TOTAL_MAX) {
		return;
	}
	h->bucket_total = 0;
	for (i = 0; i < HEALTH_BUCKETS; i++) {
		h->buckets[i] /= 2;
		h->bucket_total = (uint16_t)(h->bucket_total + h->buckets[i]);
	}
}

static void bring_up(struct health *h, uint64_t now_ms)
{
	h->failures = 0;
	h->doubt_count = 0;
	h->down = false;
	h->backoffs = 0;
	h->trial_until_ms = 0;
	h->answered_ms = now_ms;
}

void health_forget(struct health *h, uint64_t now_ms)
{
	*h = (struct health){ .answered_ms = now_ms };
}

void health_note_answer(struct health *h, uint64_t sent_ms, uint64_t now_ms)
{
	uint32_t rtt_ms = elapsed_ms(sent_ms, now_ms);

	smooth(h, rtt_ms, now_ms);
	add_to_bucket(h, rtt_ms);
	bring_up(h, now_ms);
}

void health_note_life(struct health *h, uint64_t now_ms)
{
	h->failures = 0;
	h->answered_ms = now_ms;
	/* Down for want of answers: this is one. Down for bad ones: this may be another. */
	if (h->down && h->doubt_count < HEALTH_DOUBTS_MAX) {
		bring_up(h, now_ms);
	}
}

/* Down for the first time or, at the end of a back-off, for longer. True when it was up. */
static bool take_down(struct health *h, uint64_t now_ms)
{
	bool was_up = !h->down;
	uint64_t backoff_ms;

	if (h->down && now_ms < h->down_until_ms) {
		return false;
	}
	backoff_ms = (uint64_t)HEALTH_BACKOFF_FIRST_MS << h->backoffs;
	if (h->backoffs < BACKOFF_SHIFT_MAX) {
		h->backoffs++;
	}
	h->down = true;
	h->trial_until_ms = 0;
	h->down_until_ms =
		now_ms + (backoff_ms < HEALTH_BACKOFF_MAX_MS ? backoff_ms : HEALTH_BACKOFF_MAX_MS);
	return was_up;
}

bool health_note_failure(struct health *h, uint64_t sent_ms, uint64_t now_ms)
{
	if (h->answered_ms != 0 && h->answered_ms >= sent_ms) {
		return false;
	}
	smooth(h, elapsed_ms(sent_ms, now_ms), now_ms);
	if (h->failures == 0 || now_ms - h->failed_ms >= HEALTH_INCIDENT_MS) {
		h->failures++;
		h->failed_ms = now_ms;
	}
	return h->failures >= HEALTH_FAILURES_MAX && take_down(h, now_ms);
}

bool health_note_doubt(struct health *h, uint32_t question_hash, uint64_t now_ms)
{
	h->failures = 0;
	h->answered_ms = now_ms;
	for (uint32_t i = 0; i < h->doubt_count; i++) {
		if (h->doubts[i] == question_hash) {
			return h->down && take_down(h, now_ms);
		}
	}
	if (h->doubt_count < HEALTH_DOUBTS_MAX) {
		h->doubts[h->doubt_count++] = question_hash;
	}
	return h->doubt_count == HEALTH_DOUBTS_MAX && take_down(h, now_ms);
}

enum health_state health_state(const struct health *h, uint64_t now_ms)
{
	if (!h->down) {
		return HEALTH_UP;
	}
	return now_ms >= h->down_until_ms && now_ms >= h->trial_until_ms ? HEALTH_DUE : HEALTH_DOWN;
}

void health_begin_trial(struct health *h, uint64_t now_ms)
{
	h->trial_until_ms = now_ms + HEALTH_TRIAL_MS;
}

uint32_t health_score(const struct health *h, uint64_t now_ms)
{
	uint64_t halvings =
		now_ms > h->measured_ms ? (now_ms - h->measured_ms) / HEALTH_HALF_LIFE_MS : 0;

	if (!h->measured) {
		return UINT32_MAX;
	}
	return halvings > HALVINGS_MAX ? 0 : h->srtt >> halvings;
}

uint32_t health_p95_ms(const struct health *h, uint32_t fallback_ms)
{
	uint32_t below = 0;

	if (h->bucket_total < HEALTH_SAMPLES_MIN) {
		return fallback_ms;
	}
	for (size_t i = 0; i < HEALTH_BUCKETS; i++) {
		below += h->buckets[i];
		if (below * 100 >= h->bucket_total * 95u) {
			return bucket_bounds[i];
		}
	}
	return bucket_bounds[HEALTH_BUCKETS - 1];
}
