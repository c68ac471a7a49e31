/* SPDX-License-Identifier: ISC */
#include "socksd/relay/pipe.h"

#include "common/container.h"

#include "tests/unit/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	K = 1 << 10,
	M = 1 << 20,
};

START_TEST(test_the_size_is_planned_from_the_limits)
{
	static const struct {
		struct pipe_limits limits;
		unsigned workers;
		size_t bytes;
	} cases[] = {
		{ { M, 64 * M }, 1, M },  /* the kernel's defaults */
		{ { M, 64 * M }, 32, M }, /* half of what the user has */
		{ { M, 64 * M }, 33, 512 * K },
		{ { M, 64 * M }, 128, 256 * K },
		{ { M, 64 * M }, 129, 0 },    /* no share worth having */
		{ { M, 0 }, 256, M },         /* no limit for users */
		{ { 16 * M, 64 * M }, 1, M }, /* more is not wanted */
		{ { M - 1, 64 * M }, 1, 512 * K },
		{ { 256 * K, 64 * M }, 1, 256 * K },
		{ { 256 * K - 1, 64 * M }, 1, 0 },
		{ { 64 * K, 0 }, 1, 0 },
		{ { M, 4 * K }, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_uint_eq(pipe_size_for(&cases[i].limits, cases[i].workers),
				  cases[i].bytes);
	}
}
END_TEST

START_TEST(test_the_limits_can_be_read)
{
	struct pipe_limits limits = { 0, 1 };

	pipe_limits_read(&limits);
	ck_assert_uint_ge(limits.pipe_bytes, 4096);
	ck_assert_uint_ne(limits.user_bytes, 1);
}
END_TEST

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(dir)) {
		count++;
	}
	closedir(dir);
	return count;
}

START_TEST(test_an_open_pipe_is_large_and_never_blocks)
{
	struct pipe_limits limits;
	size_t before = open_descriptors();
	struct pipe pipe;
	char c;

	pipe_limits_read(&limits);
	pipe_init(&pipe, pipe_size_for(&limits, 1));
	ck_assert_uint_eq(open_descriptors(), before);
	if (!pipe_ready(&pipe, 1000)) {
		ck_assert_uint_eq(open_descriptors(), before);
		return; /* a user with nothing left, or a kernel that allows nothing */
	}
	ck_assert_int_ge(fcntl(pipe.write_fd, F_GETPIPE_SZ), PIPE_BYTES_MIN);
	ck_assert_int_eq(read(pipe.read_fd, &c, 1), -1);
	ck_assert_int_ne(fcntl(pipe.write_fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(write(pipe.write_fd, "x", 1), 1);
	/* Closing it gets rid of what is in it. */
	pipe_close(&pipe);
	pipe_close(&pipe);
	ck_assert_uint_eq(open_descriptors(), before);
	ck_assert(pipe_ready(&pipe, 1000));
	ck_assert_int_eq(read(pipe.read_fd, &c, 1), -1);
	pipe_disable(&pipe);
	ck_assert(!pipe_ready(&pipe, 1u << 30));
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(test_a_size_that_is_refused_is_halved_and_failure_is_not_repeated_at_once)
{
	size_t before = open_descriptors();
	struct rlimit saved;
	struct pipe pipe;

	/* More than an int holds: the kernel refuses it whatever the privileges. */
	pipe_init(&pipe, (size_t)1 << 31);
	if (pipe_ready(&pipe, 1000)) {
		ck_assert_int_ge(fcntl(pipe.write_fd, F_GETPIPE_SZ), PIPE_BYTES_MIN);
	}
	pipe_close(&pipe);
	/* No descriptors. */
	pipe_init(&pipe, PIPE_BYTES_MIN);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &saved), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0, saved.rlim_max }), 0);
	ck_assert(!pipe_ready(&pipe, 1000));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &saved), 0);
	ck_assert(!pipe_ready(&pipe, 2000));
	if (pipe_ready(&pipe, 60000)) {
		pipe_close(&pipe);
	}
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(test_a_zeroed_pipe_never_opens)
{
	struct pipe pipe = { 0 };

	ck_assert(!pipe_ready(&pipe, 1000));
	pipe_close(&pipe);
}
END_TEST

START_TEST(test_pieces_are_smaller_while_much_is_refused)
{
	struct pipe pipe = { 0 };

	ck_assert_uint_eq(pipe_piece(&pipe), PIPE_BYTES_MAX);
	pipe_taken(&pipe);
	ck_assert_uint_eq(pipe_piece(&pipe), PIPE_BYTES_MAX);
	pipe_refused(&pipe, PIPE_PIECE_MIN - 1);
	ck_assert_uint_eq(pipe_piece(&pipe), PIPE_BYTES_MAX);
	pipe_refused(&pipe, PIPE_PIECE_MIN);
	ck_assert_uint_eq(pipe_piece(&pipe), PIPE_BYTES_MAX / 2);
	pipe_taken(&pipe);
	ck_assert_uint_gt(pipe_piece(&pipe), PIPE_BYTES_MAX / 2);
	for (int i = 0; i < 100; i++) {
		pipe_refused(&pipe, PIPE_BYTES_MAX);
	}
	ck_assert_uint_eq(pipe_piece(&pipe), PIPE_PIECE_MIN);
	for (int i = 0; i < 1000; i++) {
		pipe_taken(&pipe);
	}
	ck_assert_uint_eq(pipe_piece(&pipe), PIPE_BYTES_MAX);
}
END_TEST

SUITE_MAIN("pipe", test_the_size_is_planned_from_the_limits, test_the_limits_can_be_read,
	   test_an_open_pipe_is_large_and_never_blocks,
	   test_a_size_that_is_refused_is_halved_and_failure_is_not_repeated_at_once,
	   test_a_zeroed_pipe_never_opens, test_pieces_are_smaller_while_much_is_refused)
