/* SPDX-License-Identifier: ISC */
/*
 * The two clocks. Pure modules take now_ms as an argument, and code that runs on a loop asks
 * loop_now_ms(), which costs no system call. So the first is read by loop.c and by code on helper
 * threads only, and the second for what people see (the log) and what other clocks have written
 * (files, certificates).
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds of CLOCK_MONOTONIC: for deadlines and ages. Never 0. */
static inline uint64_t clock_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + 1;
}

/* Milliseconds since 1970: for people and files only. */
static inline uint64_t clock_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

#endif
