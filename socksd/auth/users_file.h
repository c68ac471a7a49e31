/* SPDX-License-Identifier: ISC */
/*
 * Users files on disk: loading them whole, and changing one user without harm to the rest. A change
 * keeps comments and order, is on disk when the function returns, and is seen by readers entirely
 * or not at all; what it leaves behind always parses. Changes by several processes follow each
 * other: they hold a lock on the file's directory, which ends with the process. Blocks: for the
 * helper pool and the command line.
 */
#ifndef SOCKSD_AUTH_USERS_FILE_H
#define SOCKSD_AUTH_USERS_FILE_H

#include "common/config/ini.h"
#include "socksd/auth/users.h"

#include <stdbool.h>

/* All return 0, or a negative number with *reterr. Anything but a regular file (or a link to one)
 * is refused, without waiting. */

/* *ret_users is owned by the caller. -EINVAL: *reterr names the bad line; -EIO: the file as a whole
 * cannot be read, -EPERM: others than owner and group may write it, or read it unless
 * world_readable says that they may; then *reterr has no line. */
int users_file_load(const char *path, bool world_readable, struct users **ret_users,
		    struct ini_error *reterr);

/* Give `name` this hash, in place of an old one or at the end of the file. A new file gets mode
 * 0640; an old one keeps mode and owner. A symbolic link stays one: the file it leads to is
 * changed. */
int users_file_set(const char *path, const char *name, const char *hash, struct ini_error *reterr);

/* Remove the user; an unknown name is an error. */
int users_file_delete(const char *path, const char *name, struct ini_error *reterr);

#endif
