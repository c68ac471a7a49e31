/* SPDX-License-Identifier: ISC */
/*
 * Checks user names and passwords, for all workers together, without any loop waiting for a hash
 * and without any stranger making us hash much:
 *
 * - Single flight: however many connections ask about the same name and password at once, one hash
 *   is made.
 * - What was right is remembered for 10 minutes, what was wrong for one; both are forgotten at a
 *   reload. Remembered is a keyed digest of name, hash and password, so nothing that a reload
 *   changes can make a remembered verdict wrong.
 * - Each wrong guess takes a token from its source (socksd/source.h). A source without tokens is
 *   not hashed for; passwords that are remembered still work from there, until that name's guesses
 *   from that source are used up too. A guess that is remembered to be wrong takes no token: it
 *   costs nothing and tells nothing.
 * - Hashes are queued, for each source a part of the queue at most, and sources with failures get
 *   one helper at most, so that a flood leaves the other to everyone else. A check that has waited
 *   for 5 s is given up.
 * - An unknown user costs what a known one does: the password is tried on some user's hash.
 *
 * Thread: checks belong to the worker that started them; struct auth itself is shared and locks.
 */
#ifndef SOCKSD_AUTH_AUTH_H
#define SOCKSD_AUTH_AUTH_H

#include "common/helpers.h"
#include "common/metrics.h"

#include "socksd/auth/users.h"
#include "socksd/protocol/socks5.h"
#include "socksd/source.h"

#include <stdbool.h>

struct auth;
struct auth_check;

enum auth_outcome {
	AUTH_PENDING, /* done() will tell */
	AUTH_OK,
	AUTH_WRONG,    /* password or user; a guess of its own */
	AUTH_REPEATED, /* the same, but the guess is known to be wrong: a client that tries again */
	AUTH_THROTTLED, /* not looked at: too many wrong guesses from there */
	AUTH_OVERLOAD,  /* not looked at: too many are waiting, or out of memory */
};

/* Returns owned, or NULL (out of memory). */
struct auth *auth_new(void);

/* After the helpers and all loops that used it have ended. NULL is fine. */
void auth_free(struct auth *auth);

/* At start and at each reload: how many wrong guesses a source has in a row, and how long it waits
 * for each further one. Forgets all that is remembered of passwords. */
void auth_configure(struct auth *auth, uint32_t failures, uint64_t interval_ms);

/* What a worker brings along; constant as long as it runs. */
struct auth_worker {
	struct helpers *helpers;
	struct loop *loop;
	struct metrics *metrics;
};

/* Called once, on the worker's loop, never from within auth_start(), unless the check is cancelled
 * before; the check is gone after it. Not AUTH_PENDING. */
typedef void (*auth_done_fn)(void *arg, enum auth_outcome outcome);

/* Begin. Everything is copied. When the outcome is known at once, it is returned and done is not
 * called; AUTH_PENDING comes with *ret_check, valid until done is called. */
enum auth_outcome auth_start(struct auth *auth, const struct auth_worker *worker,
			     const struct users *users, const struct source *source,
			     const struct socks5_credentials *credentials, auth_done_fn done,
			     void *arg, struct auth_check **ret_check);

/* The result is not wanted any more; done is not called. A hash that nobody waits for is not begun.
 * NULL is fine. */
void auth_cancel(struct auth_check *check);

/* Whether one more failure from this source is to be logged. Each source has an allowance of its
 * own, so that none can hide behind the flood of another, and one for repeated guesses, so that it
 * cannot hide others behind those. *ret_suppressed tells how many lines of the kind were left out
 * since the last. */
bool auth_log_wanted(struct auth *auth, const struct source *source, enum auth_outcome outcome,
		     uint64_t now_ms, uint32_t *ret_suppressed);

#endif
