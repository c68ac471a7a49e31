/* SPDX-License-Identifier: ISC */
/*
 * By which time certificates are judged when the clock may be wrong, as it is after the start of a
 * machine without a battery, until it has asked a time server, for whose name it needs DNS. A clock
 * that is behind the day this program was built is wrong; that day is then the time, and
 * certificates that begin within TLS_TIME_GRACE_S after it are taken all the same. Expired ones
 * never are, and names, signatures and pins are checked as ever.
 *
 * Pure.
 */
#ifndef COMMON_STREAM_TLS_TIME_H
#define COMMON_STREAM_TLS_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Ten years: nobody runs older programs than that. */
#define TLS_TIME_GRACE_S INT64_C(315360000)

struct tls_time {
	int64_t unix_s;
	int64_t early_until_s; /* certificates that begin before it are taken as valid; 0: none */
};

/* clock_unix_s: what the clock says. */
struct tls_time tls_time_judge(int64_t clock_unix_s);

/* Whether a clock that says so is known to be wrong. */
bool tls_time_is_wrong(int64_t clock_unix_s);

#endif
