/* SPDX-License-Identifier: ISC */
/* When the service manager hears of us, with a clock that stands still and workers whose loops turn
 * when they are told to. */
#include "common/daemon/watchdog.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	WORKERS = 3,
	PERIOD_MS = 10000,
};

static struct {
	struct loop *loop;
	struct worker structs[WORKERS];
	struct worker *workers[WORKERS];
	struct watchdog *watchdog;
	char path[64]; /* the manager's socket */
	int fd;
} t;

static void start(unsigned count)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memset(&t, 0, sizeof t);
	snprintf(t.path, sizeof t.path, "/tmp/test_watchdog.%d", (int)getpid());
	unlink(t.path);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", t.path);
	t.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(t.fd, (const struct sockaddr *)&sun, sizeof sun), 0);
	setenv("NOTIFY_SOCKET", t.path, 1);
	clock_stop();
	t.loop = loop_new();
	for (unsigned i = 0; i < WORKERS; i++) {
		t.structs[i] = (struct worker){ .index = i, .loop = loop_new() };
		t.workers[i] = &t.structs[i];
	}
	t.watchdog = watchdog_new(t.loop, t.workers, count, PERIOD_MS);
	ck_assert_ptr_nonnull(t.watchdog);
}

static void stop(void)
{
	watchdog_free(t.watchdog);
	for (unsigned i = 0; i < WORKERS; i++) {
		loop_free(t.structs[i].loop);
	}
	loop_free(t.loop);
	clock_go_on();
	unsetenv("NOTIFY_SOCKET");
	close(t.fd);
	unlink(t.path);
}

/* Have these workers' loops turn (bits), and the main one before and after. */
static void turn(unsigned workers)
{
	clock_settle(t.loop);
	for (unsigned i = 0; i < WORKERS; i++) {
		if (workers & 1u << i) {
			clock_settle(t.structs[i].loop);
		}
	}
	clock_settle(t.loop);
}

static void pass(unsigned ms, unsigned workers)
{
	clock_jump(t.loop, ms);
	turn(workers);
}

/* How often the manager has heard of us since the last time. */
static unsigned heard(void)
{
	unsigned count = 0;
	char text[64];
	ssize_t n;

	while ((n = recv(t.fd, text, sizeof text, 0)) >= 0) {
		ck_assert_int_eq(n, (ssize_t)strlen("WATCHDOG=1"));
		ck_assert_mem_eq(text, "WATCHDOG=1", (size_t)n);
		count++;
	}
	ck_assert_int_eq(errno, EAGAIN);
	return count;
}

/* At once, and then twice in each period. */
START_TEST(test_times)
{
	start(WORKERS);
	ck_assert_uint_eq(heard(), 0);
	turn(7);
	ck_assert_uint_eq(heard(), 1);
	for (unsigned i = 0; i < 3; i++) {
		pass(PERIOD_MS / 2 - 1, 7);
		ck_assert_uint_eq(heard(), 0);
		pass(1, 7);
		ck_assert_uint_eq(heard(), 1);
	}
	stop();
}
END_TEST

/* One worker that hangs is enough; when it goes on, so do we. */
START_TEST(test_hanging_worker)
{
	start(WORKERS);
	turn(7);
	ck_assert_uint_eq(heard(), 1);
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		/* That it hangs is known when it does not answer. */
		pass(PERIOD_MS / 2, 7 & ~(1u << worker));
		ck_assert_uint_eq(heard(), 1);
		for (unsigned i = 0; i < 5; i++) {
			pass(PERIOD_MS / 2, 7 & ~(1u << worker));
			ck_assert_uint_eq(heard(), 0);
		}
		turn(7);
		ck_assert_uint_eq(heard(), 0);
		pass(PERIOD_MS / 2, 7);
		ck_assert_uint_eq(heard(), 1);
	}
	stop();
}
END_TEST

/* The main loop alone. */
START_TEST(test_no_workers)
{
	start(0);
	turn(0);
	pass(PERIOD_MS / 2, 0);
	ck_assert_uint_eq(heard(), 2);
	stop();
}
END_TEST

/* It goes while questions are open, and while answers are on their way. */
START_TEST(test_free)
{
	watchdog_free(NULL);
	start(WORKERS);
	clock_settle(t.loop);
	stop();

	start(WORKERS);
	clock_settle(t.loop);
	for (unsigned i = 0; i < WORKERS; i++) {
		clock_settle(t.structs[i].loop);
	}
	watchdog_free(t.watchdog);
	t.watchdog = NULL;
	heard();
	pass(PERIOD_MS, 7);
	ck_assert_uint_eq(heard(), 0);
	stop();
}
END_TEST

SUITE_MAIN("watchdog", test_times, test_hanging_worker, test_no_workers, test_free)
