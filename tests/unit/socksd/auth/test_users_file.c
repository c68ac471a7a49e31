/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/auth/users_file.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARAMS "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$"
#define HASH   PARAMS "AAAAAAAAAAAAAAAAAAAAAA"
#define HASH2  PARAMS "BAAAAAAAAAAAAAAAAAAAAA"

/* Each case runs in an empty directory of its own. */
static char *work_dir;

static void setup(void)
{
	char template[] = "/tmp/test_users_file.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(template));
	work_dir = strdup(template);
	ck_assert_ptr_nonnull(work_dir);
	ck_assert_int_eq(chdir(work_dir), 0);
	umask(0077);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", work_dir);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
	free(work_dir);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static void check_file(const char *path, const char *text, mode_t mode)
{
	char *got = malloc(1 << 16);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	ck_assert_ptr_nonnull(got);
	ck_assert_int_ge(fd, 0);
	n = read(fd, got, (1 << 16) - 1);
	ck_assert_int_ge(n, 0);
	got[n] = '\0';
	ck_assert_str_eq(got, text);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, mode);
	close(fd);
	free(got);
}

static void check_fails(int r, const struct ini_error *error, const char *start)
{
	ck_assert_int_lt(r, 0);
	ck_assert_msg(strncmp(error->text, start, strlen(start)) == 0, "%s, not %s", error->text,
		      start);
}

static const struct {
	const char *before; /* NULL: no file */
	const char *name;
	const char *hash; /* NULL: delete */
	const char *after;
	const char *error; /* then the file is as before */
} edit_cases[] = {
	{ NULL, "alice", HASH, "alice:" HASH "\n", NULL },
	{ "", "alice", HASH, "alice:" HASH "\n", NULL },
	{ "# ours\n\nbob:" HASH "\n", "alice", HASH2, "# ours\n\nbob:" HASH "\nalice:" HASH2 "\n",
	  NULL },
	{ "bob:" HASH, "alice", HASH2, "bob:" HASH "\nalice:" HASH2 "\n", NULL },
	{ "# a\nalice:" HASH "\n# b\nbob:" HASH "\n", "alice", HASH2,
	  "# a\nalice:" HASH2 "\n# b\nbob:" HASH "\n", NULL },
	{ "bob:" HASH "\nalice:" HASH, "alice", HASH2, "bob:" HASH "\nalice:" HASH2 "\n", NULL },
	{ "alice2:" HASH "\nalic:" HASH "\n#alice:x\n", "alice", HASH2,
	  "alice2:" HASH "\nalic:" HASH "\n#alice:x\nalice:" HASH2 "\n", NULL },
	{ "# a\nalice:" HASH "\n# b\nbob:" HASH "\n", "alice", NULL, "# a\n# b\nbob:" HASH "\n",
	  NULL },
	{ "alice:" HASH "\n", "alice", NULL, "", NULL },
	{ "bob:" HASH "\nalice:" HASH, "alice", NULL, "bob:" HASH "\n", NULL },
	/* what was broken about the user is healed */
	{ "alice:broken\n", "alice", HASH, "alice:" HASH "\n", NULL },
	{ "alice:" HASH "\nalice:" HASH2 "\n", "alice", HASH2, "alice:" HASH2 "\n", NULL },
	{ "alice:" HASH "\nalice:" HASH2 "\n", "alice", NULL, "", NULL },
	/* what is broken elsewhere is reported */
	{ "alice:" HASH "\nbob\n", "alice", HASH2, NULL, "users:2: no colon in the line (" },
	{ "bob:x\n", "alice", HASH2, NULL, "users:1: bad password hash of user 'bob' (" },
	{ "bob:" HASH "\n", "alice", "nonsense", NULL,
	  "users:2: bad password hash of user 'alice' (" },
	{ "bob:" HASH "\n", "alice", NULL, NULL, "users: no such user" },
	{ "bob:" HASH "\n", "a\nb", HASH, NULL, "users: control character in user name" },
	{ "bob:" HASH "\n", "#bob", HASH, NULL, "users: user name starts with '#'" },
	{ "bob:" HASH "\n", "", HASH, NULL, "users: empty user name" },
};

START_TEST(test_edit)
{
	for (size_t i = 0; i < ARRAY_SIZE(edit_cases); i++) {
		struct ini_error error = { "" };
		int r;

		unlink("users");
		if (edit_cases[i].before) {
			write_file("users", edit_cases[i].before, 0644);
		}
		r = edit_cases[i].hash ? users_file_set("users", edit_cases[i].name,
							edit_cases[i].hash, &error)
				       : users_file_delete("users", edit_cases[i].name, &error);
		if (edit_cases[i].error) {
			check_fails(r, &error, edit_cases[i].error);
			check_file("users", edit_cases[i].before, 0644);
		} else {
			ck_assert_msg(r == 0, "%s", error.text);
			check_file("users", edit_cases[i].after,
				   edit_cases[i].before ? 0644 : 0640);
		}
		ck_assert_int_eq(access(".users.new", F_OK), -1);
	}
}
END_TEST

START_TEST(test_load)
{
	struct users *users;
	struct ini_error error;

	write_file("users", "# x\nalice:" HASH "\n", 0600);
	ck_assert_int_eq(users_file_load("users", false, &users, &error), 0);
	ck_assert_pstr_eq(users_find(users, "alice", 5), HASH);
	users_free(users);
	write_file("users", "alice:x\n", 0600);
	check_fails(users_file_load("users", false, &users, &error), &error,
		    "users:1: bad password hash of user 'alice' (");
}
END_TEST

static const struct {
	mode_t mode;
	bool world_readable;
	const char *error; /* NULL: loaded */
} mode_cases[] = {
	{ 0600, false, NULL },
	{ 0640, false, NULL },
	{ 0660, false, NULL },
	{ 0644, false, "users: everybody may read it" },
	{ 0644, true, NULL },
	{ 0604, false, "users: everybody may read it" },
	{ 0602, false, "users: everybody may write it" },
	{ 0602, true, "users: everybody may write it" },
	{ 0666, true, "users: everybody may write it" },
};

START_TEST(test_mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(mode_cases); i++) {
		struct users *users = NULL;
		struct ini_error error;
		int r;

		write_file("users", "alice:" HASH "\n", mode_cases[i].mode);
		r = users_file_load("users", mode_cases[i].world_readable, &users, &error);
		ck_assert_msg(r == (mode_cases[i].error ? -EPERM : 0), "case %zu: %d", i, r);
		if (mode_cases[i].error) {
			ck_assert_str_eq(error.text, mode_cases[i].error);
		}
		users_free(users);
	}
}
END_TEST

START_TEST(test_unusual_files)
{
	struct users *users;
	struct ini_error error;

	check_fails(users_file_load("none", false, &users, &error), &error,
		    "none: cannot open: No such file");
	check_fails(users_file_delete("none", "alice", &error), &error,
		    "none: cannot open: No such file");
	check_fails(users_file_set("none/users", "alice", HASH, &error), &error,
		    "none/users: cannot open its directory: No such file");
	ck_assert_int_eq(mkdir("dir", 0700), 0);
	check_fails(users_file_load("dir", false, &users, &error), &error,
		    "dir: not a regular file");
	check_fails(users_file_set("dir", "alice", HASH, &error), &error,
		    "dir: not a regular file");
	check_fails(users_file_set("dir/", "alice", HASH, &error), &error,
		    "dir/: not a regular file");
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	check_fails(users_file_load("fifo", false, &users, &error), &error,
		    "fifo: not a regular file");
	check_fails(users_file_set("fifo", "alice", HASH, &error), &error,
		    "fifo: not a regular file");
	check_fails(users_file_load("/dev/zero", false, &users, &error), &error,
		    "/dev/zero: not a regular file");
}
END_TEST

START_TEST(test_too_large)
{
	struct users *users;
	struct ini_error error;
	struct stat st;

	write_file("users", "alice:" HASH "\n", 0600);
	ck_assert_int_eq(truncate("users", (off_t)USERS_TEXT_MAX_BYTES + 1), 0);
	check_fails(users_file_load("users", false, &users, &error), &error,
		    "users: file too large (");
	check_fails(users_file_set("users", "bob", HASH, &error), &error,
		    "users: file too large (");
	ck_assert_int_eq(stat("users", &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)USERS_TEXT_MAX_BYTES + 1);
}
END_TEST

START_TEST(test_symlink)
{
	struct ini_error error;
	struct stat st;

	ck_assert_int_eq(mkdir("real", 0700), 0);
	write_file("real/users", "bob:" HASH "\n", 0604);
	ck_assert_int_eq(symlink("real/users", "link"), 0);
	ck_assert_int_eq(users_file_set("link", "alice", HASH, &error), 0);
	check_file("real/users", "bob:" HASH "\nalice:" HASH "\n", 0604);
	ck_assert_int_eq(lstat("link", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
	check_fails(users_file_set("dangling", "alice", HASH, &error), &error,
		    "dangling: cannot open: No such file");
	ck_assert_int_eq(access("nowhere", F_OK), -1);
}
END_TEST

/* The successor of a run that was killed is in nobody's way, wherever it leads. */
START_TEST(test_leftover)
{
	struct ini_error error;

	write_file("precious", "keep\n", 0600);
	ck_assert_int_eq(symlink("precious", ".users.new"), 0);
	ck_assert_int_eq(users_file_set("users", "alice", HASH, &error), 0);
	check_file("users", "alice:" HASH "\n", 0640);
	check_file("precious", "keep\n", 0600);
	ck_assert_int_eq(access(".users.new", F_OK), -1);
}
END_TEST

START_TEST(test_owner)
{
	struct ini_error error;
	struct stat st;

	if (geteuid() != 0) {
		return;
	}
	write_file("users", "bob:" HASH "\n", 0640);
	ck_assert_int_eq(chown("users", 1234, 4321), 0);
	ck_assert_int_eq(users_file_set("users", "alice", HASH, &error), 0);
	ck_assert_int_eq(stat("users", &st), 0);
	ck_assert_uint_eq(st.st_uid, 1234);
	ck_assert_uint_eq(st.st_gid, 4321);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
}
END_TEST

/* Processes that change the file at once: none undoes what another did, and a reader always finds a
 * whole file. */
START_TEST(test_concurrent)
{
	enum {
		WRITERS = 8,
		ROUNDS = 10
	};
	struct ini_error error;
	struct users *users;
	pid_t pids[WRITERS];

	write_file("users", "bob:" HASH "\n", 0600);
	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			for (int round = 0; round < ROUNDS; round++) {
				char name[32];

				snprintf(name, sizeof name, "user%d-%d", i, round);
				if (users_file_set("users", name, HASH, &error) < 0) {
					_exit(1);
				}
			}
			_exit(0);
		}
	}
	for (int i = 0; i < 50; i++) {
		ck_assert_msg(users_file_load("users", false, &users, &error) == 0, "%s",
			      error.text);
		ck_assert_ptr_nonnull(users_find(users, "bob", 3));
		users_free(users);
	}
	for (int i = 0; i < WRITERS; i++) {
		int status;

		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_int_eq(users_file_load("users", false, &users, &error), 0);
	ck_assert_uint_eq(users_count(users), 1 + WRITERS * ROUNDS);
	users_free(users);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&test_edit,    &test_load,     &test_mode,  &test_unusual_files, &test_too_large,
		&test_symlink, &test_leftover, &test_owner, &test_concurrent
	};
	Suite *suite = suite_create("users_file");
	TCase *tcase = tcase_create("users_file");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		tcase_add_test(tcase, *tests[i]);
	}
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
