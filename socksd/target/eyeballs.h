/* SPDX-License-Identifier: ISC */
/*
 * Which of a target's addresses to connect to next, and when: Happy Eyeballs (RFC 8305). IPv6
 * first, then families in turn (section 4); the next attempt when the last one has had 250 ms
 * (section 5), or at once when one fails; with IPv4 addresses alone, while IPv6 ones may still
 * come, the first attempt waits 50 ms for them (section 3). Addresses that come later take part
 * from then on.
 *
 * Pure.
 */
#ifndef SOCKSD_TARGET_EYEBALLS_H
#define SOCKSD_TARGET_EYEBALLS_H

#include "common/addr.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	EYEBALLS_PER_FAMILY = 8,
	EYEBALLS_AT_ONCE = 4,
	EYEBALLS_STAGGER_MS = 250, /* Connection Attempt Delay */
	EYEBALLS_PATIENCE_MS = 50, /* Resolution Delay */
};

/* The addresses of one family. */
struct eyeballs_list {
	struct addr items[EYEBALLS_PER_FAMILY];
	unsigned count;
	unsigned next;
};

struct eyeballs {
	struct eyeballs_list ipv6;
	struct eyeballs_list ipv4;
	bool next_is_ipv4; /* whose turn it is */
	bool begun;        /* an attempt has been made */
	unsigned lookups;  /* that may still bring addresses */
	unsigned running;
	uint64_t not_before_ms; /* when the next attempt may start */
};

/* All-zero is a valid start: no addresses, no lookups. */

/* So many lookups are on their way. */
void eyeballs_expect(struct eyeballs *e, unsigned lookups);

/* An address, with its port. Duplicates and what is too many are left out. */
void eyeballs_add(struct eyeballs *e, const struct addr *addr);

/* One lookup has ended; what it brought has been added. */
void eyeballs_answered(struct eyeballs *e, uint64_t now_ms);

enum eyeballs_verdict {
	EYEBALLS_TRY,       /* *ret_addr: tell eyeballs_started() if it can be tried */
	EYEBALLS_WAIT,      /* until *ret_due_ms (UINT64_MAX: any time), or something happens */
	EYEBALLS_EXHAUSTED, /* nothing is left, running or still to come */
};

/* What to do now. Ask again after each attempt, answer and failure, and at *ret_due_ms. */
enum eyeballs_verdict eyeballs_next(struct eyeballs *e, uint64_t now_ms, struct addr *ret_addr,
				    uint64_t *ret_due_ms);

/* An attempt has begun; one that had begun has failed. */
void eyeballs_started(struct eyeballs *e, uint64_t now_ms);
void eyeballs_failed(struct eyeballs *e);

#endif
