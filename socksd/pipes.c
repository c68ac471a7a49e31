/* SPDX-License-Identifier: ISC */
#include "socksd/pipes.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	RETRY_MS = 5000,
	DEFAULT_MAX_BYTES = 1 << 20,
	DEFAULT_SOFT_PAGES = 16384,
};

/* --- limits ---------------------------------------------------------------------------------- */

static size_t read_number(const char *path, size_t fallback)
{
	FILE *file = fopen(path, "re");
	unsigned long value;

	if (!file) {
		return fallback;
	}
	if (fscanf(file, "%lu", &value) != 1) {
		value = fallback;
	}
	fclose(file);
	return value;
}

void pipe_limits_read(struct pipe_limits *ret)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

	ret->pipe_bytes = read_number("/proc/sys/fs/pipe-max-size", DEFAULT_MAX_BYTES);
	ret->user_bytes =
		read_number("/proc/sys/fs/pipe-user-pages-soft", DEFAULT_SOFT_PAGES) * page_bytes;
}

struct pipe_plan pipe_plan_make(const struct pipe_limits *limits, unsigned workers)
{
	struct pipe_plan plan = { PIPE_BYTES_MAX, PIPES_PER_WORKER, false };
	size_t worker_bytes = limits->user_bytes > 0 ? limits->user_bytes / 2 / workers : SIZE_MAX;

	while (plan.pipe_bytes > PIPE_BYTES_MIN &&
	       (plan.pipe_bytes > limits->pipe_bytes || plan.pipe_bytes > worker_bytes)) {
		plan.pipe_bytes /= 2;
	}
	if (plan.pipe_bytes > limits->pipe_bytes) {
		plan.pipes_per_worker = 0;
	} else if (worker_bytes / plan.pipe_bytes < PIPES_PER_WORKER) {
		plan.pipes_per_worker = (unsigned)(worker_bytes / plan.pipe_bytes);
	}
	plan.limited = plan.pipe_bytes < PIPE_BYTES_MAX || plan.pipes_per_worker < PIPES_PER_WORKER;
	return plan;
}

/* --- one pipe -------------------------------------------------------------------------------- */

/* The size asked for, or else half of it, and so on. False when all are refused. */
static bool resize(int fd, size_t bytes)
{
	while (bytes >= PIPE_BYTES_MIN) {
		int got = fcntl(fd, F_SETPIPE_SZ, (int)bytes);

		if (got >= PIPE_BYTES_MIN) {
			return true;
		}
		bytes /= 2;
	}
	return false;
}

static void free_pipe(struct pipe *pipe)
{
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
}

static struct pipe *new_pipe(size_t bytes)
{
	struct pipe *pipe = calloc(1, sizeof *pipe);
	int fds[2];

	if (!pipe || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(pipe);
		return NULL;
	}
	pipe->read_fd = fds[0];
	pipe->write_fd = fds[1];
	if (!resize(pipe->write_fd, bytes)) {
		free_pipe(pipe);
		return NULL;
	}
	return pipe;
}

/* --- the pool -------------------------------------------------------------------------------- */

void pipe_pool_init(struct pipe_pool *pool, const struct pipe_plan *plan)
{
	*pool = (struct pipe_pool){ .pipe_bytes = plan->pipe_bytes, .cap = plan->pipes_per_worker };
}

void pipe_pool_trim(struct pipe_pool *pool)
{
	while (pool->idle) {
		struct pipe *pipe = pool->idle;

		pool->idle = pipe->next;
		pool->count--;
		free_pipe(pipe);
	}
}

void pipe_pool_done(struct pipe_pool *pool)
{
	pipe_pool_disable(pool);
	assert(pool->count == 0);
}

void pipe_pool_disable(struct pipe_pool *pool)
{
	pool->cap = 0;
	pipe_pool_trim(pool);
}

struct pipe *pipe_take(struct pipe_pool *pool, uint64_t now_ms)
{
	struct pipe *pipe = pool->idle;

	if (pipe) {
		pool->idle = pipe->next;
		return pipe;
	}
	if (pool->count >= pool->cap || now_ms < pool->retry_ms) {
		return NULL;
	}
	pipe = new_pipe(pool->pipe_bytes);
	if (!pipe) {
		pool->retry_ms = now_ms + RETRY_MS;
		return NULL;
	}
	pool->count++;
	return pipe;
}

void pipe_give(struct pipe_pool *pool, struct pipe *pipe)
{
	if (pipe->len > 0 || pool->cap == 0) {
		pool->count--;
		free_pipe(pipe);
		return;
	}
	pipe->next = pool->idle;
	pool->idle = pipe;
}
