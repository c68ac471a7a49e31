/* SPDX-License-Identifier: ISC */
#include "socksd/relay/pipe.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
	RETRY_MS = 5000,
	PIECE_GROWTH_BYTES = 1 << 12,
	DEFAULT_PIPE_BYTES = 1 << 20,
	DEFAULT_USER_PAGES = 16384,
};

static size_t read_number(const char *path, size_t fallback)
{
	FILE *file = fopen(path, "re");
	size_t value;

	if (!file) {
		return fallback;
	}
	if (fscanf(file, "%zu", &value) != 1) {
		value = fallback;
	}
	fclose(file);
	return value;
}

void pipe_limits_read(struct pipe_limits *ret)
{
	const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

	ret->pipe_bytes = read_number("/proc/sys/fs/pipe-max-size", DEFAULT_PIPE_BYTES);
	ret->user_bytes =
		read_number("/proc/sys/fs/pipe-user-pages-soft", DEFAULT_USER_PAGES) * page_bytes;
}

size_t pipe_size_for(const struct pipe_limits *limits, unsigned workers)
{
	size_t max_bytes = limits->pipe_bytes;
	size_t bytes = PIPE_BYTES_MAX;

	if (limits->user_bytes > 0 && limits->user_bytes / 2 / workers < max_bytes) {
		max_bytes = limits->user_bytes / 2 / workers;
	}
	while (bytes > max_bytes) {
		bytes /= 2;
	}
	return bytes >= PIPE_BYTES_MIN ? bytes : 0;
}

void pipe_init(struct pipe *pipe, size_t want_bytes)
{
	*pipe = (struct pipe){ .want_bytes = want_bytes };
}

/* The size asked for, or else half of it, and so on. False when all are refused. */
static bool resize(int fd, size_t bytes)
{
	while (bytes >= PIPE_BYTES_MIN) {
		if (fcntl(fd, F_SETPIPE_SZ, (int)bytes) >= PIPE_BYTES_MIN) {
			return true;
		}
		bytes /= 2;
	}
	return false;
}

bool pipe_ready(struct pipe *pipe, uint64_t now_ms)
{
	int fds[2];

	if (pipe->open) {
		return true;
	}
	if (pipe->want_bytes == 0 || now_ms < pipe->retry_ms) {
		return false;
	}
	pipe->retry_ms = now_ms + RETRY_MS;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		return false;
	}
	pipe->read_fd = fds[0];
	pipe->write_fd = fds[1];
	pipe->open = true;
	if (!resize(pipe->write_fd, pipe->want_bytes)) {
		pipe_close(pipe);
		return false;
	}
	pipe->retry_ms = 0;
	return true;
}

size_t pipe_piece(const struct pipe *pipe)
{
	return PIPE_BYTES_MAX - pipe->less_bytes;
}

void pipe_taken(struct pipe *pipe)
{
	pipe->less_bytes -=
		pipe->less_bytes < PIECE_GROWTH_BYTES ? pipe->less_bytes : PIECE_GROWTH_BYTES;
}

void pipe_refused(struct pipe *pipe, size_t bytes)
{
	size_t piece_bytes = pipe_piece(pipe);

	if (bytes >= PIPE_PIECE_MIN && piece_bytes > PIPE_PIECE_MIN) {
		piece_bytes = piece_bytes / 2 > PIPE_PIECE_MIN ? piece_bytes / 2 : PIPE_PIECE_MIN;
		pipe->less_bytes = PIPE_BYTES_MAX - piece_bytes;
	}
}

void pipe_close(struct pipe *pipe)
{
	if (!pipe->open) {
		return;
	}
	pipe->open = false;
	close(pipe->read_fd);
	close(pipe->write_fd);
}

void pipe_disable(struct pipe *pipe)
{
	pipe_close(pipe);
	pipe->want_bytes = 0;
}
