/* SPDX-License-Identifier: ISC */
#include "common/daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All that we ever keep is in the first word of the kernel's sets. */
static uint32_t kernel_bits(unsigned capabilities)
{
	uint32_t bits = 0;

	bits |= capabilities & PRIVILEGES_NET_ADMIN ? 1u << CAP_NET_ADMIN : 0u;
	bits |= capabilities & PRIVILEGES_NET_RAW ? 1u << CAP_NET_RAW : 0u;
	return bits;
}

/* Have these capabilities and no others. 0 or -1 with errno. There is no libc function for it. */
static int set_capabilities(unsigned capabilities)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };

	sets[0].permitted = kernel_bits(capabilities);
	sets[0].effective = sets[0].permitted;
	return (int)syscall(SYS_capset, &header, sets);
}

unsigned privileges_missing(unsigned wanted)
{
	static const unsigned all[] = { PRIVILEGES_NET_ADMIN, PRIVILEGES_NET_RAW };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };
	unsigned missing = 0;

	if (wanted == 0 || syscall(SYS_capget, &header, sets) < 0) {
		return wanted;
	}
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (wanted & all[i] && !(sets[0].effective & kernel_bits(all[i]))) {
			missing |= all[i];
		}
	}
	return missing;
}

const char *privileges_names(unsigned capabilities)
{
	static const char *const names[] = { "none", "CAP_NET_ADMIN", "CAP_NET_RAW",
					     "CAP_NET_ADMIN,CAP_NET_RAW" };

	return names[capabilities & (PRIVILEGES_NET_ADMIN | PRIVILEGES_NET_RAW)];
}

enum privileges_outcome privileges_drop(const char *user, const char *fallback, unsigned keep,
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
	/* In a container root may lack some itself. */
	keep &= ~privileges_missing(keep);
	/* Changing the uid from 0 empties the capability sets, but for the permitted one when
	 * PR_SET_KEEPCAPS says so; then what is not wanted of that goes (capabilities(7)). */
	if (prctl(PR_SET_KEEPCAPS, keep != 0 ? 1 : 0, 0, 0, 0) < 0 ||
	    initgroups(pw->pw_name, pw->pw_gid) < 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0 || set_capabilities(keep) < 0 ||
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
