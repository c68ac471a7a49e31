/* SPDX-License-Identifier: ISC */
#include "common/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum privileges_outcome privileges_drop(const char *user, const char *fallback,
					const char **ret_user)
{
	const struct passwd *pw;

	*ret_user = user ? user : fallback;
	if (geteuid() != 0) {
		return PRIVILEGES_NOT_ROOT;
	}
	pw = getpwnam(*ret_user);
	if (!pw && !user) {
		*ret_user = "nobody";
		pw = getpwnam(*ret_user);
	}
	if (!pw) {
		return PRIVILEGES_NO_USER;
	}
	if (pw->pw_uid == 0) {
		return PRIVILEGES_KEPT;
	}
	/* Changing the uid from 0 empties all capability sets (capabilities(7)). */
	if (initgroups(pw->pw_name, pw->pw_gid) < 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		return PRIVILEGES_FAILED;
	}
	if (setuid(0) == 0) {
		errno = EPERM;
		return PRIVILEGES_FAILED;
	}
	return PRIVILEGES_DROPPED;
}

size_t privileges_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
		return 1024;
	}
	if (limit.rlim_cur < limit.rlim_max) {
		rlim_t soft = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
			limit.rlim_cur = soft;
		}
	}
	return limit.rlim_cur;
}
