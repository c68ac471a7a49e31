/* SPDX-License-Identifier: ISC */
#include "common/daemon/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	FIRST_FD = 3, /* SD_LISTEN_FDS_START */
};

/* --- notification ---------------------------------------------------------------------------- */

void systemd_notify(const char *lines)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len;
	int fd;

	/* A path, or "@" and the name of an abstract socket. */
	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof sun.sun_path) {
		return;
	}
	len = strlen(path);
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@') {
		sun.sun_path[0] = '\0';
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return;
	}
	(void)!sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&sun,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

void systemd_notify_reloading(void)
{
	char lines[80];
	struct timespec now;

	/* Type=notify-reload wants to know when, by a clock that it can compare with its own. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		 (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	systemd_notify(lines);
}

/* A decimal number from the environment; false when there is none. */
static bool env_number(const char *name, uint64_t *ret_value)
{
	const char *text = getenv(name);
	char *end;

	if (!text || text[0] < '0' || text[0] > '9') {
		return false;
	}
	errno = 0;
	*ret_value = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0;
}

/* Whether a variable names this process, or nobody in particular. */
static bool meant_for_us(const char *pid_name, bool required)
{
	uint64_t pid;

	if (!getenv(pid_name)) {
		return !required;
	}
	return env_number(pid_name, &pid) && pid == (uint64_t)getpid();
}

uint64_t systemd_watchdog_ms(void)
{
	uint64_t usec;

	if (!meant_for_us("WATCHDOG_PID", false) || !env_number("WATCHDOG_USEC", &usec)) {
		return 0;
	}
	return usec / 1000;
}

/* --- sockets --------------------------------------------------------------------------------- */

/* Whether fd is a socket that a daemon of ours can serve; then what it listens on. */
static bool describe(int fd, struct listen_want *ret_want)
{
	struct addr a = { 0 };
	socklen_t len = sizeof a;
	int type = 0;
	int listening = 0;

	if (getsockname(fd, &a.sa, &len) < 0 ||
	    (a.sa.sa_family != AF_INET && a.sa.sa_family != AF_INET6)) {
		return false;
	}
	len = sizeof type;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
		return false;
	}
	len = sizeof listening;
	if (type == SOCK_STREAM &&
	    (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)) {
		return false;
	}
	ret_want->addr = a;
	ret_want->type = type;
	return type == SOCK_STREAM || type == SOCK_DGRAM;
}

/* Whether a manager can have passed fd: it is open, and was when this program was started, which
 * what has close-on-exec cannot have been. */
static bool was_passed(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

static void forget_passed(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int systemd_take_sockets(struct listen_inherited *ret_sockets, size_t max, size_t *ret_count)
{
	uint64_t passed = 0;

	*ret_count = 0;
	if (!meant_for_us("LISTEN_PID", true) || !env_number("LISTEN_FDS", &passed)) {
		passed = 0;
	}
	forget_passed();
	if (passed > INT_MAX - FIRST_FD) {
		return -EBADF;
	}
	for (int i = 0; i < (int)passed; i++) {
		if (!was_passed(FIRST_FD + i)) {
			return -EBADF;
		}
	}
	for (int i = 0; i < (int)passed; i++) {
		int fd = FIRST_FD + i;
		struct listen_want want;

		if (*ret_count == max || !describe(fd, &want)) {
			close(fd);
			continue;
		}
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		ret_sockets[(*ret_count)++] = (struct listen_inherited){ .want = want, .fd = fd };
	}
	return 0;
}
