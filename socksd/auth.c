/* SPDX-License-Identifier: ISC */
#include "socksd/auth.h"

#include "common/container.h"
#include "common/crypto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an unknown user's password is compared with: a hash of random bytes with the cost of those
 * that socksd-passwd makes. */
static const char dummy_hash[] = "$argon2id$v=19$m=19456,t=2,p=1$cJz9Zb0r0oEYsRkXhB1aTg$"
				 "0mX1hXb6kJ8f3mTt3S0V7yqQ1f7o2cJbq9m4m0s8d2E";

struct auth {
	struct helper_job job;
	auth_done_fn done; /* NULL once cancelled */
	void *arg;
	bool known; /* the user exists */
	bool ok;
	uint8_t password_len;
	uint8_t password[255];
	char hash[CRYPTO_PASSWORD_HASH_MAX];
};

static void on_run(struct helper_job *job)
{
	struct auth *auth = container_of(job, struct auth, job);
	bool fits = crypto_password_verify(auth->hash, auth->password, auth->password_len);

	auth->ok = fits && auth->known;
}

static void on_done(struct helper_job *job)
{
	struct auth *auth = container_of(job, struct auth, job);

	if (auth->done) {
		auth->done(auth->arg, auth->ok);
	}
	crypto_wipe(auth->password, sizeof auth->password);
	free(auth);
}

struct auth *auth_start(struct helpers *helpers, struct loop *loop, const struct users *users,
			const struct socks5_credentials *credentials, auth_done_fn done, void *arg)
{
	struct auth *auth = calloc(1, sizeof *auth);
	const char *hash = users_find(users, credentials->name, credentials->name_len);
	int r;

	if (!auth) {
		errno = ENOMEM;
		return NULL;
	}
	auth->done = done;
	auth->arg = arg;
	auth->known = hash != NULL;
	snprintf(auth->hash, sizeof auth->hash, "%s", hash ? hash : dummy_hash);
	auth->password_len = credentials->password_len;
	memcpy(auth->password, credentials->password, credentials->password_len);
	r = helpers_submit(helpers, &auth->job, loop, on_run, on_done);
	if (r < 0) {
		crypto_wipe(auth->password, sizeof auth->password);
		free(auth);
		errno = -r;
		return NULL;
	}
	return auth;
}

void auth_cancel(struct auth *auth)
{
	if (auth) {
		auth->done = NULL;
	}
}
