/* SPDX-License-Identifier: ISC */
#include "common/daemon/systemd.h"

#include "common/clock.h"
#include "common/container.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FIRST_FD = 3,
	PASSED = 8,
};

/* --- notification ---------------------------------------------------------------------------- */

/* A manager's socket: a path, or after '@' an abstract name. */
static int listen_at(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_uint_le(len, sizeof sun.sun_path);
	memcpy(sun.sun_path, name, len);
	if (name[0] == '@') {
		sun.sun_path[0] = '\0';
	} else {
		unlink(name);
	}
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&sun,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	return fd;
}

/* What has come; "" for nothing. */
static const char *heard(int fd)
{
	static char text[256];
	ssize_t n = recv(fd, text, sizeof text - 1, 0);

	ck_assert(n >= 0 || errno == EAGAIN);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

START_TEST(test_notify)
{
	static const char *const starts[] = { "/tmp/", "@" };

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		char name[108];
		int fd;

		snprintf(name, sizeof name, "%stest_systemd.%d", starts[i], (int)getpid());
		fd = listen_at(name);
		setenv("NOTIFY_SOCKET", name, 1);
		systemd_notify("READY=1\nSTATUS=serving");
		ck_assert_str_eq(heard(fd), "READY=1\nSTATUS=serving");
		unsetenv("NOTIFY_SOCKET");
		systemd_notify("READY=1");
		ck_assert_str_eq(heard(fd), "");
		close(fd);
		/* Nobody is there any more; that is no trouble. */
		setenv("NOTIFY_SOCKET", name, 1);
		systemd_notify("READY=1");
		unlink(name);
	}
	unsetenv("NOTIFY_SOCKET");
}
END_TEST

/* What is no address of a socket, or too long for one. */
START_TEST(test_notify_nowhere)
{
	static char name[128];
	static const char *const names[] = { "", "x", "vsock:2:1", name };
	int fd;

	memset(name, 'x', sizeof name - 1);
	name[0] = '@';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		systemd_notify("READY=1");
	}
	/* Relative to nowhere in particular. */
	ck_assert_int_eq(chdir("/tmp"), 0);
	snprintf(name, sizeof name, "test_systemd.%d", (int)getpid());
	fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	systemd_notify("READY=1");
	ck_assert_str_eq(heard(fd), "");
	close(fd);
	unlink(name);

	memset(name, 'x', sizeof name - 1);
	name[0] = '@';
	/* The longest there may be: its end is not cut off. */
	name[107] = '\0';
	fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	systemd_notify("READY=1");
	ck_assert_str_eq(heard(fd), "READY=1");
	name[107] = 'x';
	name[108] = '\0';
	setenv("NOTIFY_SOCKET", name, 1);
	systemd_notify("READY=1");
	ck_assert_str_eq(heard(fd), "");
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}
END_TEST

START_TEST(test_reloading)
{
	uint64_t before_ms = clock_mono_ms() - 1;
	int64_t usec = 0;
	char name[64];
	int fd;

	snprintf(name, sizeof name, "@test_systemd.%d", (int)getpid());
	fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	systemd_notify_reloading();
	ck_assert_int_eq(sscanf(heard(fd), "RELOADING=1\nMONOTONIC_USEC=%" SCNd64, &usec), 1);
	ck_assert_uint_ge((uint64_t)usec / 1000, before_ms);
	ck_assert_uint_le((uint64_t)usec / 1000, clock_mono_ms());
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}
END_TEST

/* --- the watchdog ---------------------------------------------------------------------------- */

START_TEST(test_watchdog)
{
	static const struct {
		const char *usec; /* NULL: not set */
		const char *pid;  /* "+": ours */
		uint64_t ms;
	} rows[] = {
		{ "30000000", NULL, 30000 },
		{ "30000000", "+", 30000 },
		{ "30000000", "1", 0 }, /* for another process */
		{ "30000000", "", 0 },
		{ "30000000", "x", 0 },
		{ NULL, "+", 0 },
		{ "", NULL, 0 },
		{ "0", NULL, 0 },
		{ "999", NULL, 0 },
		{ "1000", NULL, 1 },
		{ "-1", NULL, 0 },
		{ "+5000", NULL, 0 },
		{ " 5000", NULL, 0 },
		{ "5000 ", NULL, 0 },
		{ "5000s", NULL, 0 },
		{ "99999999999999999999999", NULL, 0 },
		{ "18446744073709551615", NULL, 18446744073709551 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char pid[16];

		unsetenv("WATCHDOG_USEC");
		unsetenv("WATCHDOG_PID");
		if (rows[i].usec) {
			setenv("WATCHDOG_USEC", rows[i].usec, 1);
		}
		snprintf(pid, sizeof pid, "%d", (int)getpid());
		if (rows[i].pid) {
			setenv("WATCHDOG_PID", rows[i].pid[0] == '+' ? pid : rows[i].pid, 1);
		}
		ck_assert_msg(systemd_watchdog_ms() == rows[i].ms, "row %zu: %" PRIu64, i,
			      systemd_watchdog_ms());
	}
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}
END_TEST

/* --- sockets --------------------------------------------------------------------------------- */

/* What follows runs in a process of its own, whose descriptors are its own to lose; it ends with
 * the line of what was not so. */
#define MUST(condition)                            \
	do {                                       \
		if (!(condition)) {                \
			_exit(__LINE__ % 200 + 1); \
		}                                  \
	} while (0)

static int open_socket(int family, int type, bool listens)
{
	struct addr addr;
	int fd = socket(family, type, 0);

	MUST(fd >= 0);
	if (family != AF_UNIX) {
		MUST(addr_parse_ip(family == AF_INET ? "127.0.0.1" : "::1", &addr) == 0);
		MUST(bind(fd, &addr.sa, addr_len(&addr)) == 0);
	}
	MUST(!listens || listen(fd, 1) == 0);
	return fd;
}

/* As a manager passes them: 0 TCP, 1 UDP, 2 a file, 3 TCP that does not listen, 4 of another
 * family, 5 a pipe, 6 TCP by IPv6, 7 UDP that blocks and outlives execve(). */
static void pass_sockets(void)
{
	int fds[PASSED];
	int pipe_fds[2];

	fds[0] = open_socket(AF_INET, SOCK_STREAM, true);
	fds[1] = open_socket(AF_INET, SOCK_DGRAM, false);
	fds[2] = open("/dev/null", O_RDONLY);
	fds[3] = open_socket(AF_INET, SOCK_STREAM, false);
	fds[4] = open_socket(AF_UNIX, SOCK_DGRAM, false);
	MUST(pipe(pipe_fds) == 0);
	close(pipe_fds[1]);
	fds[5] = pipe_fds[0];
	fds[6] = open_socket(AF_INET6, SOCK_STREAM, true);
	fds[7] = open_socket(AF_INET, SOCK_DGRAM, false);
	/* Out of the way first. */
	for (int i = 0; i < PASSED; i++) {
		int fd = fds[i];

		fds[i] = fcntl(fd, F_DUPFD, 100);
		MUST(fds[i] >= 100);
		close(fd);
	}
	for (int i = 0; i < PASSED; i++) {
		close(FIRST_FD + i);
		MUST(dup2(fds[i], FIRST_FD + i) == FIRST_FD + i);
		close(fds[i]);
	}
	/* One more, which was not passed, and none behind it. */
	MUST(dup2(FIRST_FD + 1, FIRST_FD + PASSED) == FIRST_FD + PASSED);
	close(FIRST_FD + PASSED + 1);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void set_passed(const char *count, bool is_ours)
{
	char pid[16];

	snprintf(pid, sizeof pid, "%d", (int)getpid() + !is_ours);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", count, 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);
}

static struct listen_inherited sockets[PASSED];

/* How many were taken. */
static size_t take(size_t max)
{
	size_t count;

	MUST(systemd_take_sockets(sockets, max, &count) == 0);
	return count;
}

static void refuse_all(const char *passed)
{
	size_t count = 1;

	set_passed(passed, true);
	MUST(systemd_take_sockets(sockets, PASSED, &count) == -EBADF);
	MUST(count == 0);
	MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS"));
	for (int i = 0; i <= PASSED; i++) {
		MUST(i == 5 || is_open(FIRST_FD + i)); /* which is the gap at times */
	}
	MUST(!(fcntl(FIRST_FD, F_GETFD) & FD_CLOEXEC));
}

static void take_all(void)
{
	static const int taken[] = { 0, 1, 6, 7 };

	set_passed("8", true);
	MUST(take(PASSED) == ARRAY_SIZE(taken));
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		bool is_stream = taken[i] % 6 == 0;

		MUST(sockets[i].fd == FIRST_FD + taken[i]);
		MUST(sockets[i].want.type == (is_stream ? SOCK_STREAM : SOCK_DGRAM));
		MUST(sockets[i].want.addr.sa.sa_family == (taken[i] == 6 ? AF_INET6 : AF_INET));
		MUST(addr_port(&sockets[i].want.addr) != 0);
		MUST(fcntl(sockets[i].fd, F_GETFD) & FD_CLOEXEC);
		MUST(fcntl(sockets[i].fd, F_GETFL) & O_NONBLOCK);
	}
	for (int i = 2; i < 6; i++) {
		MUST(!is_open(FIRST_FD + i));
	}
	MUST(is_open(FIRST_FD + PASSED));
	/* Once is enough. */
	MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
	MUST(take(PASSED) == 0);
	MUST(is_open(FIRST_FD));
}

static void take_some(void)
{
	set_passed("8", true);
	MUST(take(1) == 1);
	MUST(sockets[0].fd == FIRST_FD);
	for (int i = 1; i < PASSED; i++) {
		MUST(!is_open(FIRST_FD + i));
	}
	MUST(is_open(FIRST_FD + PASSED));
}

/* What is not for us stays as it is, but is not passed on either. */
static void take_none(void)
{
	static const char *const counts[] = { "", "x", "-1", "8x" };

	set_passed("8", false);
	MUST(take(PASSED) == 0);
	MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS"));
	setenv("LISTEN_FDS", "8", 1); /* for nobody in particular */
	MUST(take(PASSED) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		set_passed(counts[i], true);
		MUST(take(PASSED) == 0);
	}
	MUST(is_open(FIRST_FD) && is_open(FIRST_FD + 7));
}

/* A count that is too high, a gap, or a descriptor that is ours: none is taken, and none closed. */
static void take_too_many(void)
{
	static const char *const counts[] = { "10", "1024", "2147483644", "2147483645",
					      "18446744073709551615" };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		refuse_all(counts[i]);
	}
	close(FIRST_FD + 5);
	refuse_all("8");
	MUST(dup2(FIRST_FD + 2, FIRST_FD + 5) == FIRST_FD + 5);
	MUST(fcntl(FIRST_FD + 7, F_SETFD, FD_CLOEXEC) == 0);
	refuse_all("8");
	MUST(is_open(FIRST_FD + 5));
	MUST(fcntl(FIRST_FD + 7, F_SETFD, 0) == 0);
	set_passed("8", true);
	MUST(take(PASSED) == 4);
}

START_TEST(test_sockets)
{
	static void (*const parts[])(void) = { take_all, take_some, take_none, take_too_many };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			pass_sockets();
			parts[i]();
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
			      "part %zu: status %d, line %% 200 + 1 is %d", i, status,
			      WEXITSTATUS(status));
	}
}
END_TEST

SUITE_MAIN("systemd", test_notify, test_notify_nowhere, test_reloading, test_watchdog, test_sockets)
