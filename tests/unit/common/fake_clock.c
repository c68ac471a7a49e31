/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/fake_clock.h"

#include "tests/unit/suite.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	QUIET_TURNS = 4,
	REACH_TURNS = 5000, /* of a millisecond at most */
};

static bool stopped;
static struct timespec stopped_at;
static uint64_t passed_ms;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!stopped || id != CLOCK_MONOTONIC) {
		return (int)syscall(SYS_clock_gettime, id, ts);
	}
	ts->tv_sec = stopped_at.tv_sec + (time_t)(passed_ms / 1000);
	ts->tv_nsec = (long)(passed_ms % 1000 * 1000000);
	return 0;
}

void clock_stop(void)
{
	clock_gettime(CLOCK_MONOTONIC, &stopped_at);
	stopped = true;
	passed_ms = 0;
}

void clock_go_on(void)
{
	stopped = false;
}

uint64_t clock_passed_ms(void)
{
	return passed_ms;
}

static void turn(struct loop *loop, int timeout_ms)
{
	if (loop_turn(loop, timeout_ms) < 0) {
		ck_abort_msg("the loop has failed");
	}
}

void clock_settle(struct loop *loop)
{
	for (unsigned i = 0; i < QUIET_TURNS; i++) {
		turn(loop, 0);
	}
}

void clock_jump(struct loop *loop, unsigned ms)
{
	passed_ms += ms;
	clock_settle(loop);
}

void clock_pass(struct loop *loop, unsigned ms)
{
	while (ms-- > 0) {
		clock_jump(loop, 1);
	}
}

bool clock_reach(struct loop *loop, const unsigned *counter, unsigned target)
{
	for (unsigned i = 0; i < REACH_TURNS && *counter < target; i++) {
		turn(loop, 1);
	}
	return *counter >= target;
}
