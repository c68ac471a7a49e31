/* SPDX-License-Identifier: ISC */
/*
 * Checks a user name and password on the helper pool, so that no loop waits for a hash. An unknown
 * user costs the same work as a wrong password.
 *
 * Thread: the worker's. The password is copied and wiped when the check is over.
 */
#ifndef SOCKSD_AUTH_H
#define SOCKSD_AUTH_H

#include "common/helpers.h"

#include "socksd/socks5.h"
#include "socksd/users.h"

#include <stdbool.h>

struct auth;

/* Called once, never from within auth_start(), unless the check is cancelled before; the check is
 * gone after it. */
typedef void (*auth_done_fn)(void *arg, bool ok);

/* Begin. Everything is copied. Returns a handle that is valid until done is called, or NULL with
 * errno: EAGAIN when too many checks are waiting, ENOMEM. */
struct auth *auth_start(struct helpers *helpers, struct loop *loop, const struct users *users,
			const struct socks5_credentials *credentials, auth_done_fn done, void *arg);

/* The result is not wanted any more; done is not called. NULL is fine. */
void auth_cancel(struct auth *auth);

#endif
