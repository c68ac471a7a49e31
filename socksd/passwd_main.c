/* SPDX-License-Identifier: ISC */
/*
 * socksd-passwd: give a user of a users file a password, or delete the user. The password comes
 * from the terminal, typed twice, or as one line from a pipe; never from the command line, which
 * everybody can read.
 */
#include "common/container.h"
#include "common/crypto.h"
#include "socksd/auth/users_file.h"

#include "build_config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define EXIT_USAGE 2

/* One byte more than allowed, so that a longer password is noticed and not cut. */
struct secret {
	uint8_t bytes[USERS_PASSWORD_MAX + 1];
	size_t len;
};

static int complain(const char *what)
{
	fprintf(stderr, "socksd-passwd: %s\n", what);
	return EXIT_FAILURE;
}

static void print_usage(FILE *out)
{
	fputs("Usage: socksd-passwd [-d] FILE NAME\n"
	      "Set the password of user NAME in the users file FILE of socksd.\n"
	      "It is read from the terminal, or one line from standard input.\n"
	      "\n"
	      "  -d  delete the user\n"
	      "  -h  show this help\n"
	      "  -V  show the version\n",
	      out);
}

/* Read one line, byte by byte: what follows it is left to others. A final newline may be missing.
 * Stops early when the secret is full, and with -EINTR when signal_fd (-1: none) becomes readable.
 * 0 or -errno. */
static int secret_read(struct secret *secret, int fd, int signal_fd)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = signal_fd, .events = POLLIN } };

	secret->len = 0;
	while (secret->len < sizeof secret->bytes) {
		ssize_t n;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR) {
			return -errno;
		}
		if (fds[1].revents) {
			return -EINTR;
		}
		if (!fds[0].revents) {
			continue;
		}
		n = read(fd, secret->bytes + secret->len, 1);
		if (n < 0 && errno != EINTR && errno != EAGAIN) {
			return -errno;
		}
		if (n == 0 || (n > 0 && secret->bytes[secret->len] == '\n')) {
			return 0;
		}
		secret->len += n > 0;
	}
	return 0;
}

/* The same from the terminal, without echo. A signal that would end the program waits until the
 * terminal is as it was; so does a stop. */
static int secret_read_hidden(struct secret *secret, const char *prompt)
{
	struct termios saved;
	struct termios hidden;
	sigset_t ending;
	sigset_t blocked;
	sigset_t old;
	int signal_fd;
	int r;

	sigemptyset(&ending);
	sigaddset(&ending, SIGHUP);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGQUIT);
	sigaddset(&ending, SIGTERM);
	blocked = ending;
	sigaddset(&blocked, SIGTSTP);
	if (tcgetattr(STDIN_FILENO, &saved) < 0) {
		return -errno;
	}
	signal_fd = signalfd(-1, &ending, SFD_CLOEXEC);
	if (signal_fd < 0) {
		return -errno;
	}
	sigprocmask(SIG_BLOCK, &blocked, &old);
	hidden = saved;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	r = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) < 0 ? -errno : 0;
	if (r == 0) {
		fputs(prompt, stderr);
		r = secret_read(secret, STDIN_FILENO, signal_fd);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
		fputc('\n', stderr);
	}
	close(signal_fd);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* NULL, or what is wrong with the password. */
static const char *secret_fault(const struct secret *secret, int r)
{
	if (r < 0) {
		return r == -EINTR ? "interrupted" : strerror(-r);
	}
	if (secret->len == 0) {
		return "the password is empty";
	}
	return secret->len > USERS_PASSWORD_MAX ? "the password is longer than 255 bytes" : NULL;
}

/* Get the password from wherever it comes. NULL, or what went wrong. */
static const char *secret_get(struct secret *secret)
{
	struct secret again;
	const char *fault;

	if (!isatty(STDIN_FILENO)) {
		return secret_fault(secret, secret_read(secret, STDIN_FILENO, -1));
	}
	fault = secret_fault(secret, secret_read_hidden(secret, "Password: "));
	if (fault) {
		return fault;
	}
	fault = secret_fault(&again, secret_read_hidden(&again, "The same again: "));
	if (!fault &&
	    (again.len != secret->len || !crypto_equal(again.bytes, secret->bytes, secret->len))) {
		fault = "the passwords differ";
	}
	crypto_wipe(&again, sizeof again);
	return fault;
}

static int set_password(const char *file, const char *name)
{
	char hash[CRYPTO_PASSWORD_HASH_MAX];
	struct ini_error error;
	struct secret secret;
	const char *fault = secret_get(&secret);

	if (!fault && crypto_password_hash(secret.bytes, secret.len, hash) < 0) {
		fault = "out of memory";
	}
	crypto_wipe(&secret, sizeof secret);
	if (fault) {
		return complain(fault);
	}
	return users_file_set(file, name, hash, &error) < 0 ? complain(error.text) : EXIT_SUCCESS;
}

static int delete_user(const char *file, const char *name)
{
	struct ini_error error;

	return users_file_delete(file, name, &error) < 0 ? complain(error.text) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	bool deleting = false;
	const char *fault;
	int option;

	while ((option = getopt(argc, argv, "dhV")) != -1) {
		switch (option) {
		case 'd':
			deleting = true;
			break;
		case 'h':
			print_usage(stdout);
			return EXIT_SUCCESS;
		case 'V':
			puts("socksd-passwd " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		default:
			print_usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	argv += optind;
	fault = users_name_fault(argv[1], strlen(argv[1]));
	if (fault) {
		complain(fault);
		return EXIT_USAGE;
	}
	if (crypto_init() < 0) {
		return complain("the system has no randomness");
	}
	return deleting ? delete_user(argv[0], argv[1]) : set_password(argv[0], argv[1]);
}
