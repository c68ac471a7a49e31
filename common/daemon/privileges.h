/* SPDX-License-Identifier: ISC */
/*
 * Giving up what root may do. Main thread, after binding, before other threads exist.
 */
#ifndef COMMON_DAEMON_PRIVILEGES_H
#define COMMON_DAEMON_PRIVILEGES_H

#include <stddef.h>

enum privileges_outcome {
	PRIVILEGES_NOT_ROOT, /* nothing to give up */
	PRIVILEGES_DROPPED,
	PRIVILEGES_KEPT,    /* the user asked for root */
	PRIVILEGES_NO_USER, /* no such user; nothing has changed */
	PRIVILEGES_FAILED,  /* errno says why; do not go on */
};

/* Capabilities that a configuration may need (capabilities(7)), as bits. */
#define PRIVILEGES_NET_ADMIN 0x1u /* CAP_NET_ADMIN: mark packets */
#define PRIVILEGES_NET_RAW   0x2u /* CAP_NET_RAW: bind to an interface, before Linux 5.7 */

/* When running as root, become `user` with its groups and no capabilities but those in `keep` that
 * are there, for good. When user is NULL, become fallback, or "nobody" when there is no such user.
 * *ret_user is the name that was tried (borrowed or static). */
enum privileges_outcome privileges_drop(const char *user, const char *fallback, unsigned keep,
					const char **ret_user);

/* Those of the capabilities in `wanted` that this thread does not have. */
unsigned privileges_missing(unsigned wanted);

/* "CAP_NET_ADMIN", "CAP_NET_RAW", or both with a comma; static. "none" for 0. */
const char *privileges_names(unsigned capabilities);

/* Raise the soft limit of open files to the hard one. Returns the limit. */
size_t privileges_raise_files(void);

#endif
