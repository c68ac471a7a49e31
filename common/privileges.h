/* SPDX-License-Identifier: ISC */
/*
 * Giving up what root may do. Main thread, after binding, before other threads exist.
 */
#ifndef COMMON_PRIVILEGES_H
#define COMMON_PRIVILEGES_H

#include <stddef.h>

enum privileges_outcome {
	PRIVILEGES_NOT_ROOT, /* nothing to give up */
	PRIVILEGES_DROPPED,
	PRIVILEGES_KEPT,    /* the user asked for root */
	PRIVILEGES_NO_USER, /* no such user; nothing has changed */
	PRIVILEGES_FAILED,  /* errno says why; do not go on */
};

/* When running as root, become `user` with its groups and no capabilities, for good. When user is
 * NULL, become fallback, or "nobody" when there is no such user. *ret_user is the name that was
 * tried (borrowed or static). */
enum privileges_outcome privileges_drop(const char *user, const char *fallback,
					const char **ret_user);

/* Raise the soft limit of open files to the hard one. Returns the limit. */
size_t privileges_raise_files(void);

#endif
