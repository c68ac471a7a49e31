/* SPDX-License-Identifier: ISC */
/*
 * The clock of a test program: linked in, it stands for clock_gettime() in our code and in c-ares.
 * Once stopped, the monotonic clock moves only when told to. What is awaited of the kernel (that a
 * datagram or a connection arrives) takes real time, during which this clock stands still.
 */
#ifndef TESTS_UNIT_COMMON_FAKE_CLOCK_H
#define TESTS_UNIT_COMMON_FAKE_CLOCK_H

#include "common/loop.h"

#include <stdbool.h>
#include <stdint.h>

/* At the beginning of a test, before its loop is made, and at its end: Check measures with the same
 * clock, and thinks ill of tests that take half an hour. */
void clock_stop(void);
void clock_go_on(void);

/* Milliseconds that were let pass. */
uint64_t clock_passed_ms(void);

/* Turn the loop until nothing more happens, while the clock stands still. What is under way within
 * this machine has arrived then, unless the machine is very busy: use clock_reach() where something
 * has to arrive. */
void clock_settle(struct loop *loop);

/* Let time pass, a millisecond at a time, and all that is due happen in it. */
void clock_pass(struct loop *loop, unsigned ms);

/* Let much time pass at once: what is due happens late. */
void clock_jump(struct loop *loop, unsigned ms);

/* Turn the loop until *counter is at least target, while the clock stands still. False when that
 * takes very long. */
bool clock_reach(struct loop *loop, const unsigned *counter, unsigned target);

#endif
