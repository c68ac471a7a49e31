/* SPDX-License-Identifier: ISC */
/*
 * By which time certificates are judged when the clock may be wrong, as it is after the start of a
 * machine without a battery, until it has asked a time server, for whose name it needs DNS. A clock
 * that is behind the day this program was built is wrong; that day is then the time, and for the
 * first hour certificates that begin later are taken all the same. Expired ones never are, and
 * names, signatures and pins are checked as ever.
 *
 * Pure.
 */
#ifndef COMMON_TLS_TIME_H
#define COMMON_TLS_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* How long certificates that are not valid yet are taken while the clock is wrong. */
#define TLS_TIME_GRACE_MS 3600000

struct tls_time {
	int64_t unix_s;
	bool early_ok; /* certificates that begin later are taken as valid */
};

/* clock_unix_s: what the clock says. running_ms: for how long we have been running. */
struct tls_time tls_time_judge(int64_t clock_unix_s, uint64_t running_ms);

/* Whether a clock that says so is known to be wrong. */
bool tls_time_is_wrong(int64_t clock_unix_s);

#endif
