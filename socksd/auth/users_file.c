/* SPDX-License-Identifier: ISC */
#include "socksd/auth/users_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_FILE_MODE 0640

struct text {
	char *bytes;
	size_t len;
};

/* A file that is being changed. */
struct edit {
	const char *path; /* as the caller knows it, for errors */
	char *base;       /* its real name, links followed */
	char *temp;       /* the name of its successor until that is complete */
	int dir_fd;       /* of the directory where it really is; holds the lock */
	bool exists;
	struct stat st; /* when it exists */
	struct text old_text;
	struct text new_text;
	struct ini_error *reterr;
};

static int fail(struct ini_error *reterr, const char *path, const char *what)
{
	snprintf(reterr->text, sizeof reterr->text, "%s: %s", path, what);
	return -1;
}

static int fail_errno(struct ini_error *reterr, const char *path, const char *what)
{
	snprintf(reterr->text, sizeof reterr->text, "%s: %s: %s", path, what, strerror(errno));
	return -1;
}

/* Read an open file to its end, or so far that users_parse() will refuse it. */
static int read_text(int fd, const char *path, struct text *ret_text, struct ini_error *reterr)
{
	size_t cap = 4096;
	struct text t = { malloc(cap), 0 };

	while (t.bytes) {
		ssize_t n = read(fd, t.bytes + t.len, cap - t.len);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			fail_errno(reterr, path, "cannot read");
			free(t.bytes);
			return -1;
		}
		t.len += (size_t)n;
		if (n == 0 || t.len > USERS_TEXT_MAX_BYTES) {
			*ret_text = t;
			return 0;
		}
		if (t.len == cap) {
			char *bytes = realloc(t.bytes, cap *= 2);

			if (!bytes) {
				free(t.bytes);
			}
			t.bytes = bytes;
		}
	}
	return fail(reterr, path, "out of memory");
}

/* Open and read a regular file below dir_fd. O_NONBLOCK: opening a fifo must not wait for a writer.
 */
static int open_and_read(int dir_fd, const char *name, int flags, const char *path,
			 struct stat *ret_st, struct text *ret_text, struct ini_error *reterr)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
	int r;

	if (fd < 0) {
		return fail_errno(reterr, path, "cannot open");
	}
	if (fstat(fd, ret_st) < 0) {
		r = fail_errno(reterr, path, "cannot read");
	} else if (!S_ISREG(ret_st->st_mode)) {
		r = fail(reterr, path, "not a regular file");
	} else {
		r = read_text(fd, path, ret_text, reterr);
	}
	close(fd);
	return r;
}

/* Whether only those may use the file that should: 0 or -EPERM. Hashes that everybody can read are
 * hashes that everybody can try passwords on. */
static int check_mode(const char *path, mode_t mode, bool world_readable, struct ini_error *reterr)
{
	if (mode & S_IWOTH) {
		fail(reterr, path, "everybody may write it");
		return -EPERM;
	}
	if (mode & S_IROTH && !world_readable) {
		fail(reterr, path, "everybody may read it");
		return -EPERM;
	}
	return 0;
}

int users_file_load(const char *path, bool world_readable, struct users **ret_users,
		    struct ini_error *reterr)
{
	struct text text;
	struct stat st;
	int r;

	if (open_and_read(AT_FDCWD, path, 0, path, &st, &text, reterr) < 0) {
		return -EIO;
	}
	r = check_mode(path, st.st_mode, world_readable, reterr);
	if (r < 0) {
		free(text.bytes);
		return r;
	}
	r = users_parse(path, text.bytes, text.len, ret_users, reterr);
	free(text.bytes);
	return r < 0 ? -EINVAL : 0;
}

/* Open and lock the directory in which the file really is: links are followed, the file itself need
 * not exist. */
static int edit_lock(struct edit *e)
{
	char *real = realpath(e->path, NULL);
	struct stat st;
	char *slash;

	if (!real && errno == ENOENT && (lstat(e->path, &st) < 0 || !S_ISLNK(st.st_mode))) {
		real = strdup(e->path);
	}
	if (!real) {
		return fail_errno(e->reterr, e->path, "cannot open");
	}
	slash = strrchr(real, '/');
	e->base = strdup(slash ? slash + 1 : real);
	if (slash) {
		slash[1] = '\0';
	}
	e->dir_fd = open(slash ? real : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(real);
	if (e->dir_fd < 0) {
		return fail_errno(e->reterr, e->path, "cannot open its directory");
	}
	if (!e->base || asprintf(&e->temp, ".%s.new", e->base) < 0) {
		e->temp = NULL;
		return fail(e->reterr, e->path, "out of memory");
	}
	while (flock(e->dir_fd, LOCK_EX) < 0) {
		if (errno != EINTR) {
			return fail_errno(e->reterr, e->path, "cannot lock its directory");
		}
	}
	return 0;
}

/* Read what is there, under the lock. A file that does not exist is empty if it may be created. */
static int edit_read(struct edit *e, bool may_create)
{
	struct stat st;

	if (may_create && fstatat(e->dir_fd, e->base, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno == ENOENT) {
		return 0;
	}
	e->exists = true;
	return open_and_read(e->dir_fd, e->base, O_NOFOLLOW, e->path, &e->st, &e->old_text,
			     e->reterr);
}

static void text_append(struct text *t, const char *bytes, size_t len)
{
	if (len > 0) {
		memcpy(t->bytes + t->len, bytes, len);
		t->len += len;
	}
}

static void text_append_user(struct text *t, const char *name, const char *hash)
{
	text_append(t, name, strlen(name));
	text_append(t, ":", 1);
	text_append(t, hash, strlen(hash));
	text_append(t, "\n", 1);
}

/* Copy line by line, with `hash` for the user's old one, or without the user when hash is NULL.
 * *ret_found tells whether there was one. */
static int edit_change(struct edit *e, const char *name, const char *hash, bool *ret_found)
{
	size_t name_len = strlen(name);
	size_t entry_len = name_len + 1 + (hash ? strlen(hash) : 0) + 1;
	struct text *t = &e->new_text;
	size_t start = 0;

	t->bytes = malloc(e->old_text.len + 1 + entry_len);
	if (!t->bytes) {
		return fail(e->reterr, e->path, "out of memory");
	}
	*ret_found = false;
	while (start < e->old_text.len) {
		const char *line = e->old_text.bytes + start;
		size_t left = e->old_text.len - start;
		const char *newline = memchr(line, '\n', left);
		size_t len = newline ? (size_t)(newline - line) + 1 : left;

		if (len <= name_len || memcmp(line, name, name_len) != 0 || line[name_len] != ':') {
			text_append(t, line, len);
		} else if (!*ret_found) {
			*ret_found = true;
			if (hash) {
				text_append_user(t, name, hash);
			}
		}
		start += len;
	}
	if (hash && !*ret_found) {
		if (t->len > 0 && t->bytes[t->len - 1] != '\n') {
			text_append(t, "\n", 1);
		}
		text_append_user(t, name, hash);
	}
	return 0;
}

/* Owner and mode of the old file go to the new one before its content does. */
static int edit_take_over_owner(const struct edit *e, int fd)
{
	struct stat st;

	if (!e->exists) {
		return fchmod(fd, NEW_FILE_MODE);
	}
	if (fstat(fd, &st) < 0) {
		return -1;
	}
	if ((st.st_uid != e->st.st_uid || st.st_gid != e->st.st_gid) &&
	    fchown(fd, e->st.st_uid, e->st.st_gid) < 0) {
		return -1;
	}
	return fchmod(fd, e->st.st_mode & 07777);
}

static int write_all(int fd, const struct text *t)
{
	size_t done = 0;

	while (done < t->len) {
		ssize_t n = write(fd, t->bytes + done, t->len - done);

		if (n < 0 && errno != EINTR) {
			return -1;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Write the successor, make it durable, put it in the old file's place. A successor that a killed
 * process left behind is ours to remove: we hold the lock. */
static int edit_replace(const struct edit *e)
{
	const char *what = "cannot write";
	bool done = false;
	int fd;

	unlinkat(e->dir_fd, e->temp, 0);
	fd = openat(e->dir_fd, e->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		return fail_errno(e->reterr, e->path, "cannot create a new file beside it");
	}
	if (edit_take_over_owner(e, fd) < 0) {
		what = "cannot keep owner and mode";
	} else if (write_all(fd, &e->new_text) == 0 && fsync(fd) == 0) {
		done = renameat(e->dir_fd, e->temp, e->dir_fd, e->base) == 0 &&
		       fsync(e->dir_fd) == 0;
	}
	if (!done) {
		fail_errno(e->reterr, e->path, what);
		unlinkat(e->dir_fd, e->temp, 0);
	}
	close(fd);
	return done ? 0 : -1;
}

/* Whether what we are about to write would be loaded again. */
static int edit_check(const struct edit *e)
{
	struct users *users;

	if (users_parse(e->path, e->new_text.bytes, e->new_text.len, &users, e->reterr) < 0) {
		return -1;
	}
	users_free(users);
	return 0;
}

/* hash NULL: delete. */
static int edit_run(struct edit *e, const char *name, const char *hash)
{
	bool found;

	if (users_name_fault(name, strlen(name))) {
		return fail(e->reterr, e->path, users_name_fault(name, strlen(name)));
	}
	if (edit_lock(e) < 0 || edit_read(e, hash != NULL) < 0 ||
	    edit_change(e, name, hash, &found) < 0) {
		return -1;
	}
	if (!hash && !found) {
		return fail(e->reterr, e->path, "no such user");
	}
	return edit_check(e) < 0 ? -1 : edit_replace(e);
}

static int edit_file(const char *path, const char *name, const char *hash, struct ini_error *reterr)
{
	struct edit e = { .path = path, .dir_fd = -1, .reterr = reterr };
	int r = edit_run(&e, name, hash);

	if (e.dir_fd >= 0) {
		close(e.dir_fd);
	}
	free(e.base);
	free(e.temp);
	free(e.old_text.bytes);
	free(e.new_text.bytes);
	return r;
}

int users_file_set(const char *path, const char *name, const char *hash, struct ini_error *reterr)
{
	return edit_file(path, name, hash, reterr);
}

int users_file_delete(const char *path, const char *name, struct ini_error *reterr)
{
	return edit_file(path, name, NULL, reterr);
}
