/* SPDX-License-Identifier: ISC */
/*
 * How one server is doing, judged by what came of asking it: smoothed round-trip time, an estimate
 * of the 95th percentile, and whether it is in service.
 *
 * Two kinds of bad news. A *failure* (timeout, unreachable) speaks about the server, unless it has
 * answered something else since the question was sent: then that question was the trouble. A
 * *doubt* (SERVFAIL, REFUSED, a malformed answer) speaks about server or domain, and one broken
 * domain must not take a healthy server down; so doubts count only when they concern
 * HEALTH_DOUBTS_MAX different questions in a row. Who reports them should know that another server
 * did better.
 *
 * A server that is down is left alone for a back-off that doubles from HEALTH_BACKOFF_FIRST_MS to
 * HEALTH_BACKOFF_MAX_MS; then it is *due* for one question (half-open): an answer brings it back,
 * silence sends it down for longer.
 *
 * Pure. Thread: the owner's.
 */
#ifndef COMMON_DNS_HEALTH_H
#define COMMON_DNS_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_FAILURES_MAX     2   /* in a row, and it is down */
#define HEALTH_DOUBTS_MAX       3   /* about different questions, with no answer between */
#define HEALTH_INCIDENT_MS      100 /* failures so close together are one */
#define HEALTH_BACKOFF_FIRST_MS 1000
#define HEALTH_BACKOFF_MAX_MS   30000
#define HEALTH_TRIAL_MS         5000  /* a trial that nobody concluded is over after this */
#define HEALTH_HALF_LIFE_MS     60000 /* of a round-trip time that is not measured again */
#define HEALTH_SAMPLES_MIN      8     /* fewer tell nothing about a percentile */
#define HEALTH_BUCKETS          25

enum health_state {
	HEALTH_UP,
	HEALTH_DUE,  /* down, but its back-off is over and nobody is trying it */
	HEALTH_DOWN, /* down, or being tried */
};

/* All-zero is a server about which nothing is known; it is up. */
struct health {
	uint32_t srtt; /* smoothed, in 1/16 ms */
	bool measured;
	uint64_t measured_ms;             /* the last time */
	uint16_t buckets[HEALTH_BUCKETS]; /* recent round-trip times */
	uint16_t bucket_total;

	uint64_t answered_ms; /* the last sign of life */
	uint64_t failed_ms;
	uint32_t failures; /* in a row */
	uint32_t doubts[HEALTH_DOUBTS_MAX];
	uint32_t doubt_count;

	bool down;
	uint32_t backoffs; /* so far */
	uint64_t down_until_ms;
	uint64_t trial_until_ms;
};

/* The way to it has changed: all that was known is of no use, and what was sent before says nothing
 * if it is not answered. */
void health_forget(struct health *health, uint64_t now_ms);

/* A good answer to what was sent at sent_ms. */
void health_note_answer(struct health *health, uint64_t sent_ms, uint64_t now_ms);

/* An answer that says nothing either way, such as a refusal that others share: the server lives. */
void health_note_life(struct health *health, uint64_t now_ms);

/* No answer to what was sent at sent_ms. True when the server went down by it. */
bool health_note_failure(struct health *health, uint64_t sent_ms, uint64_t now_ms);

/* An answer that was no help, to the question with this hash. True when the server went down by it.
 */
bool health_note_doubt(struct health *health, uint32_t question_hash, uint64_t now_ms);

enum health_state health_state(const struct health *health, uint64_t now_ms);

/* Someone asks a server that is due: it is not due for others until the outcome is known. */
void health_begin_trial(struct health *health, uint64_t now_ms);

/* For comparison: the smoothed round-trip time in 1/16 ms, halved for every HEALTH_HALF_LIFE_MS
 * that it was not measured, so that a server which once was slow is tried again; UINT32_MAX when
 * unknown. */
uint32_t health_score(const struct health *health, uint64_t now_ms);

/* The time within which 95 of 100 answers came lately, rounded up; fallback_ms while too few came.
 */
uint32_t health_p95_ms(const struct health *health, uint32_t fallback_ms);

/* Smoothed, for people. */
static inline uint32_t health_rtt_ms(const struct health *health)
{
	return health->srtt / 16;
}

#endif
