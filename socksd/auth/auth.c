/* SPDX-License-Identifier: ISC */
#include "socksd/auth/auth.h"

#include "common/container.h"
#include "common/crypto.h"

#include "socksd/auth/buckets.h"
#include "socksd/auth/verify_cache.h"
#include "socksd/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	HASHES_AT_ONCE = 2,
	QUEUE_MAX = 256,
	QUEUE_PER_SOURCE_MAX = 128,
	QUEUE_WAIT_MS = 5000,

	RIGHT_COUNT = 4096,
	RIGHT_LIFETIME_MS = 10 * 60 * 1000,
	WRONG_COUNT = 1024,
	WRONG_LIFETIME_MS = 60 * 1000,

	SOURCE_COUNT = 16384,
	FAILURES = 16,
	FAILURE_INTERVAL_MS = 1000,

	LOG_BURST = 20, /* lines of one source */
	LOG_INTERVAL_MS = 6000,
};

/* Both ends of a list of flights, oldest first. */
struct flight_list {
	struct flight *first;
	struct flight **last;
	size_t count;
};

struct auth {
	struct crypto_key source_key;
	struct crypto_digest digest_key;
	pthread_mutex_t lock; /* guards all below, and flights */
	struct verify_cache *right;
	struct verify_cache *wrong;
	struct buckets *by_source; /* wrong guesses */
	struct buckets *by_login;  /* the same, of one name from one source */
	struct buckets *logged;    /* lines, by source */
	struct buckets *logged_repeated;
	struct flight_list waiting;
	struct flight_list running;
};

/* One connection that waits for a flight. */
struct auth_check {
	struct auth *auth;
	struct auth_check *next;
	struct flight *flight; /* under the lock; NULL once the outcome is on its way */
	struct loop *loop;
	uint64_t source; /* keyed hashes */
	uint64_t login;
	enum auth_outcome outcome;
	struct post post;
	auth_done_fn done; /* NULL once cancelled */
	void *arg;
};

/* One name and password on its way through the queue and a helper. */
struct flight {
	struct helper_job job;
	struct auth *auth;
	struct auth_worker worker; /* on whose loop it ends */
	struct flight *next;
	struct auth_check *checks; /* who waits; without any, the hash is not begun */
	uint64_t source;           /* who pays for it */
	uint64_t login;
	uint64_t queued_ms;
	struct crypto_digest digest;
	bool waiting; /* in the queue */
	bool known;   /* the user exists */
	bool hashed;
	bool fits;
	uint8_t password_len;
	uint8_t password[USERS_PASSWORD_MAX];
	char hash[CRYPTO_PASSWORD_HASH_MAX];
};

/* --- making and freeing ---------------------------------------------------------------------- */

static void list_init(struct flight_list *list)
{
	list->first = NULL;
	list->last = &list->first;
	list->count = 0;
}

static void list_append(struct flight_list *list, struct flight *flight)
{
	flight->next = NULL;
	*list->last = flight;
	list->last = &flight->next;
	list->count++;
}

static void list_remove(struct flight_list *list, struct flight *flight)
{
	struct flight **link = &list->first;

	while (*link != flight) {
		link = &(*link)->next;
	}
	*link = flight->next;
	if (list->last == &flight->next) {
		list->last = link;
	}
	list->count--;
}

struct auth *auth_new(void)
{
	struct auth *auth = calloc(1, sizeof *auth);

	if (!auth) {
		return NULL;
	}
	pthread_mutex_init(&auth->lock, NULL);
	list_init(&auth->waiting);
	list_init(&auth->running);
	crypto_random(&auth->source_key, sizeof auth->source_key);
	crypto_random(&auth->digest_key, sizeof auth->digest_key);
	auth->right = verify_cache_new(RIGHT_COUNT, RIGHT_LIFETIME_MS);
	auth->wrong = verify_cache_new(WRONG_COUNT, WRONG_LIFETIME_MS);
	auth->by_source = buckets_new(SOURCE_COUNT, FAILURES, FAILURE_INTERVAL_MS);
	auth->by_login = buckets_new(SOURCE_COUNT, FAILURES, FAILURE_INTERVAL_MS);
	auth->logged = buckets_new(SOURCE_COUNT, LOG_BURST, LOG_INTERVAL_MS);
	auth->logged_repeated = buckets_new(SOURCE_COUNT, LOG_BURST, LOG_INTERVAL_MS);
	if (!auth->right || !auth->wrong || !auth->by_source || !auth->by_login || !auth->logged ||
	    !auth->logged_repeated) {
		auth_free(auth);
		return NULL;
	}
	return auth;
}

void auth_free(struct auth *auth)
{
	if (!auth) {
		return;
	}
	assert(auth->waiting.count == 0 && auth->running.count == 0);
	verify_cache_free(auth->right);
	verify_cache_free(auth->wrong);
	buckets_free(auth->by_source);
	buckets_free(auth->by_login);
	buckets_free(auth->logged);
	buckets_free(auth->logged_repeated);
	pthread_mutex_destroy(&auth->lock);
	crypto_wipe(auth, sizeof *auth);
	free(auth);
}

void auth_configure(struct auth *auth, uint32_t failures, uint64_t interval_ms)
{
	pthread_mutex_lock(&auth->lock);
	buckets_configure(auth->by_source, failures, interval_ms);
	buckets_configure(auth->by_login, failures, interval_ms);
	verify_cache_clear(auth->right);
	verify_cache_clear(auth->wrong);
	pthread_mutex_unlock(&auth->lock);
}

bool auth_log_wanted(struct auth *auth, const struct source *source, enum auth_outcome outcome,
		     uint64_t now_ms, uint32_t *ret_suppressed)
{
	uint64_t key = crypto_siphash(&auth->source_key, source->bytes, sizeof source->bytes);
	bool wanted;

	pthread_mutex_lock(&auth->lock);
	wanted = buckets_take(outcome == AUTH_REPEATED ? auth->logged_repeated : auth->logged, key,
			      now_ms, ret_suppressed);
	pthread_mutex_unlock(&auth->lock);
	return wanted;
}

/* --- telling the outcome (under the lock, but for on_outcome) -------------------------------- */

static void on_outcome(struct post *post)
{
	struct auth_check *check = container_of(post, struct auth_check, post);

	if (check->done) {
		check->done(check->arg, check->outcome);
	}
	free(check);
}

static void check_tell(struct auth_check *check, enum auth_outcome outcome)
{
	check->flight = NULL;
	check->outcome = outcome;
	loop_post(check->loop, &check->post, on_outcome);
}

/* One guess is one guess, however many connections made it. */
static void flight_tell_all(struct flight *flight, enum auth_outcome outcome)
{
	while (flight->checks) {
		struct auth_check *check = flight->checks;

		flight->checks = check->next;
		check_tell(check, outcome);
		if (outcome == AUTH_WRONG) {
			outcome = AUTH_REPEATED;
		}
	}
}

static void flight_free(struct flight *flight)
{
	crypto_wipe(flight->password, sizeof flight->password);
	free(flight);
}

/* --- the queue (under the lock) -------------------------------------------------------------- */

static void on_run(struct helper_job *job);
static void on_hashed(struct helper_job *job);

static void queue_append(struct auth *auth, struct flight *flight)
{
	flight->waiting = true;
	list_append(&auth->waiting, flight);
}

static void queue_remove(struct auth *auth, struct flight *flight)
{
	flight->waiting = false;
	list_remove(&auth->waiting, flight);
}

/* Refuse those who wait for the flight but whose source has no tokens left, and let one of the
 * others pay. False when nobody is left. */
static bool flight_shed(struct flight *flight, uint64_t now_ms)
{
	struct buckets *by_source = flight->auth->by_source;
	struct auth_check **link = &flight->checks;

	if (buckets_left(by_source, flight->source, now_ms) > 0) {
		return true;
	}
	while (*link) {
		struct auth_check *check = *link;

		if (buckets_left(by_source, check->source, now_ms) > 0) {
			flight->source = check->source;
			flight->login = check->login;
			link = &check->next;
		} else {
			*link = check->next;
			check_tell(check, AUTH_THROTTLED);
		}
	}
	return flight->checks != NULL;
}

/* Whether the source may have one more hash made now: a source with failures has one helper at
 * most. */
static bool may_run(const struct auth *auth, uint64_t source, uint64_t now_ms)
{
	unsigned running = 0;

	for (const struct flight *flight = auth->running.first; flight; flight = flight->next) {
		running += flight->source == source;
	}
	return running == 0 ||
	       buckets_left(auth->by_source, source, now_ms) == buckets_burst(auth->by_source);
}

/* The first flight that may run, taken out of the queue, or NULL. Those who have waited too long,
 * or lost their tokens meanwhile, are told so. */
static struct flight *take_next(struct auth *auth, uint64_t now_ms)
{
	struct flight *flight = auth->waiting.first;

	while (flight) {
		struct flight *next = flight->next;
		bool late = flight->queued_ms + QUEUE_WAIT_MS <= now_ms;

		if (late || !flight_shed(flight, now_ms)) {
			queue_remove(auth, flight);
			flight_tell_all(flight, AUTH_OVERLOAD);
			flight_free(flight);
		} else if (may_run(auth, flight->source, now_ms)) {
			queue_remove(auth, flight);
			return flight;
		}
		flight = next;
	}
	return NULL;
}

static void run_waiting(struct auth *auth, uint64_t now_ms)
{
	while (auth->running.count < HASHES_AT_ONCE) {
		struct flight *flight = take_next(auth, now_ms);
		int r;

		if (!flight) {
			return;
		}
		list_append(&auth->running, flight);
		r = helpers_submit(flight->worker.helpers, &flight->job, flight->worker.loop,
				   on_run, on_hashed);
		if (r < 0) {
			/* The pool is full, or ends: nobody is left waiting for it. */
			list_remove(&auth->running, flight);
			flight_tell_all(flight, AUTH_OVERLOAD);
			flight_free(flight);
		}
	}
}

/* A wrong guess. */
static void charge(struct auth *auth, uint64_t source, uint64_t login, uint64_t now_ms)
{
	buckets_take(auth->by_source, source, now_ms, NULL);
	buckets_take(auth->by_login, login, now_ms, NULL);
}

/* --- the hash -------------------------------------------------------------------------------- */

/* On a helper. The flight is in the running list, so only its checks can change meanwhile. */
static void on_run(struct helper_job *job)
{
	struct flight *flight = container_of(job, struct flight, job);
	bool wanted;

	pthread_mutex_lock(&flight->auth->lock);
	wanted = flight->checks != NULL;
	pthread_mutex_unlock(&flight->auth->lock);
	if (wanted) {
		flight->fits = crypto_password_verify(flight->hash, flight->password,
						      flight->password_len);
		flight->hashed = true;
	}
}

static void on_hashed(struct helper_job *job)
{
	struct flight *flight = container_of(job, struct flight, job);
	struct auth *auth = flight->auth;
	uint64_t now_ms = loop_now_ms(flight->worker.loop);
	bool ok = flight->fits && flight->known;

	if (flight->hashed) {
		metrics_add(flight->worker.metrics, METRIC_auth_hashes, 1);
	}
	pthread_mutex_lock(&auth->lock);
	list_remove(&auth->running, flight);
	if (flight->hashed) {
		verify_cache_add(ok ? auth->right : auth->wrong, &flight->digest, now_ms);
		if (!ok) {
			charge(auth, flight->source, flight->login, now_ms);
		}
	}
	/* Not hashed with somebody waiting: he came after the helper had looked. */
	if (!flight->hashed && !job->cancelled && flight->checks) {
		queue_append(auth, flight);
	} else {
		flight_tell_all(flight, !flight->hashed ? AUTH_OVERLOAD
					: ok            ? AUTH_OK
							: AUTH_WRONG);
		flight_free(flight);
	}
	run_waiting(auth, now_ms);
	pthread_mutex_unlock(&auth->lock);
}

/* --- a check --------------------------------------------------------------------------------- */

/* A login, as auth_start() looks at it; borrows everything. */
struct login {
	const struct socks5_credentials *credentials;
	const char *hash; /* of the user, or of another when he is unknown */
	bool known;
	uint64_t source_key;
	uint64_t login_key;
	struct crypto_digest digest;
};

/* Everything that the verdict depends on, and the name even for unknown users: a flight or a
 * remembered verdict that two of them shared would tell them from known ones by their time. */
static struct login login_of(const struct auth *auth, const struct users *users,
			     const struct source *source,
			     const struct socks5_credentials *credentials)
{
	struct {
		struct source source;
		uint8_t name_len;
		uint8_t password_len;
		uint8_t name[USERS_NAME_MAX];
		uint8_t password[USERS_PASSWORD_MAX];
		char hash[CRYPTO_PASSWORD_HASH_MAX];
	} all = { .name_len = credentials->name_len, .password_len = credentials->password_len };
	struct login login = {
		.credentials = credentials,
		.hash = users_find(users, credentials->name, credentials->name_len),
		.source_key =
			crypto_siphash(&auth->source_key, source->bytes, sizeof source->bytes),
	};

	login.known = login.hash != NULL;
	memcpy(all.name, credentials->name, credentials->name_len);
	if (!login.known) {
		login.hash = users_decoy(
			users, crypto_siphash(&auth->source_key, all.name, credentials->name_len));
	}
	memcpy(all.password, credentials->password, credentials->password_len);
	memcpy(all.hash, login.hash, strlen(login.hash));
	login.digest = crypto_digest(&auth->digest_key, &all, sizeof all);
	crypto_wipe(all.password, sizeof all.password);
	/* Without password and hash it is a name from a source. */
	crypto_wipe(all.hash, sizeof all.hash);
	all.password_len = 0;
	all.source = *source;
	login.login_key = crypto_siphash(&auth->source_key, &all, sizeof all);
	return login;
}

/* What is known without a hash; AUTH_PENDING when nothing is. */
static enum auth_outcome recall(struct auth *auth, const struct login *login, uint64_t now_ms)
{
	if (buckets_left(auth->by_login, login->login_key, now_ms) > 0 &&
	    verify_cache_has(auth->right, &login->digest, now_ms)) {
		return AUTH_OK;
	}
	if (verify_cache_has(auth->wrong, &login->digest, now_ms)) {
		return AUTH_REPEATED;
	}
	return AUTH_PENDING;
}

/* The flight for the same question, or NULL. */
static struct flight *find_flight(const struct flight_list *list, const struct login *login)
{
	struct flight *flight = list->first;

	while (flight && !crypto_equal(&flight->digest, &login->digest, sizeof login->digest)) {
		flight = flight->next;
	}
	return flight;
}

/* Put a new flight into the queue. NULL and an outcome when it has no place there. */
static struct flight *queue_flight(struct auth *auth, const struct auth_worker *worker,
				   const struct login *login, uint64_t now_ms,
				   enum auth_outcome *ret_outcome)
{
	struct flight *flight;
	size_t mine = 0;

	for (flight = auth->waiting.first; flight; flight = flight->next) {
		mine += flight->source == login->source_key;
	}
	*ret_outcome = AUTH_OVERLOAD;
	if (mine > 0 && buckets_left(auth->by_source, login->source_key, now_ms) <
				buckets_burst(auth->by_source)) {
		*ret_outcome = AUTH_THROTTLED;
	}
	if (mine >= QUEUE_PER_SOURCE_MAX || auth->waiting.count >= QUEUE_MAX) {
		return NULL;
	}
	flight = calloc(1, sizeof *flight);
	if (!flight) {
		return NULL;
	}
	flight->auth = auth;
	flight->worker = *worker;
	flight->source = login->source_key;
	flight->login = login->login_key;
	flight->queued_ms = now_ms;
	flight->digest = login->digest;
	flight->known = login->known;
	memcpy(flight->hash, login->hash, strlen(login->hash));
	flight->password_len = login->credentials->password_len;
	memcpy(flight->password, login->credentials->password, flight->password_len);
	queue_append(auth, flight);
	return flight;
}

/* Find or make the flight that answers the login, or else the outcome. */
static struct flight *join_flight(struct auth *auth, const struct auth_worker *worker,
				  const struct login *login, enum auth_outcome *ret_outcome)
{
	uint64_t now_ms = loop_now_ms(worker->loop);
	struct flight *flight;

	*ret_outcome = recall(auth, login, now_ms);
	if (*ret_outcome != AUTH_PENDING) {
		metrics_add(worker->metrics, METRIC_auth_remembered, 1);
		return NULL;
	}
	if (buckets_left(auth->by_source, login->source_key, now_ms) == 0) {
		/* It was a guess at what is remembered. */
		buckets_take(auth->by_login, login->login_key, now_ms, NULL);
		*ret_outcome = AUTH_THROTTLED;
		return NULL;
	}
	flight = find_flight(&auth->running, login);
	flight = flight ? flight : find_flight(&auth->waiting, login);
	return flight ? flight : queue_flight(auth, worker, login, now_ms, ret_outcome);
}

enum auth_outcome auth_start(struct auth *auth, const struct auth_worker *worker,
			     const struct users *users, const struct source *source,
			     const struct socks5_credentials *credentials, auth_done_fn done,
			     void *arg, struct auth_check **ret_check)
{
	struct login login = login_of(auth, users, source, credentials);
	struct auth_check *check = calloc(1, sizeof *check);
	enum auth_outcome outcome = AUTH_OVERLOAD;
	struct flight *flight;

	if (!check) {
		return AUTH_OVERLOAD;
	}
	pthread_mutex_lock(&auth->lock);
	flight = join_flight(auth, worker, &login, &outcome);
	if (flight) {
		*check = (struct auth_check){
			.auth = auth,
			.next = flight->checks,
			.flight = flight,
			.loop = worker->loop,
			.source = login.source_key,
			.login = login.login_key,
			.done = done,
			.arg = arg,
		};
		flight->checks = check;
		*ret_check = check;
		outcome = AUTH_PENDING;
		run_waiting(auth, loop_now_ms(worker->loop));
	}
	pthread_mutex_unlock(&auth->lock);
	if (outcome != AUTH_PENDING) {
		free(check);
	}
	return outcome;
}

void auth_cancel(struct auth_check *check)
{
	struct auth *auth;
	struct flight *flight;

	if (!check) {
		return;
	}
	auth = check->auth;
	check->done = NULL;
	pthread_mutex_lock(&auth->lock);
	flight = check->flight;
	if (flight) {
		struct auth_check **link = &flight->checks;

		while (*link != check) {
			link = &(*link)->next;
		}
		*link = check->next;
		free(check);
		if (!flight->checks && flight->waiting) {
			queue_remove(auth, flight);
			flight_free(flight);
		}
	}
	pthread_mutex_unlock(&auth->lock);
}
