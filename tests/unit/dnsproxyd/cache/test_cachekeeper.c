/* SPDX-License-Identifier: ISC */
/* When the cache's file is loaded and saved, with a clock that stands still; what is in it is seen
 * in test_cachestore.c. */
#include "dnsproxyd/cache/cachekeeper.h"

#include "common/clock.h"
#include "common/container.h"
#include "common/crypto.h"

#include "dnsproxyd/cache/cachestore.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	QUEUE_MAX = 8,
	STALE_MS = 60000,
	OTHER_STALE_MS = 120000,
	TTL_S = 86400,
};

static const struct cache_ttls plain = { .max_s = TTL_S, .negative_max_s = 3600 };

/* --- saving is seen, and can be held up ------------------------------------------------------ */

static sem_t gate; /* open as often as saving may go on, if it is gated */
static bool is_gated;
static _Atomic unsigned save_count;
static _Atomic uint64_t saved_stale_ms; /* of the last one */

void __real_cachestore_save(struct cachestore *store, uint64_t max_stale_ms);
void __wrap_cachestore_save(struct cachestore *store, uint64_t max_stale_ms);

void __wrap_cachestore_save(struct cachestore *store, uint64_t max_stale_ms)
{
	atomic_store(&saved_stale_ms, max_stale_ms);
	atomic_fetch_add(&save_count, 1);
	if (is_gated) {
		sem_wait(&gate);
	}
	__real_cachestore_save(store, max_stale_ms);
}

/* --- a keeper and one helper ----------------------------------------------------------------- */

/* A job that holds the helper up, or tells that those before it are done. */
struct marker {
	struct helper_job job;
	bool waits;
	_Atomic bool has_begun;
	unsigned done;
};

static struct {
	char path[64];
	struct loop *loop;
	struct helpers *helpers;
	struct cache *cache;
	struct cachekeeper *keeper;
	struct group_config groups[2];
	struct cache_params params;
	struct config config;
} t;

static void run_marker(struct helper_job *job)
{
	struct marker *marker = container_of(job, struct marker, job);

	atomic_store(&marker->has_begun, true);
	if (marker->waits) {
		sem_wait(&gate);
	}
}

static void on_marker(struct helper_job *job)
{
	container_of(job, struct marker, job)->done++;
}

static void hold_helper(struct marker *marker)
{
	*marker = (struct marker){ .waits = true };
	ck_assert_int_eq(helpers_submit(t.helpers, &marker->job, t.loop, run_marker, on_marker), 0);
}

/* The same, and wait until it does. */
static void begin_work(struct marker *marker)
{
	hold_helper(marker);
	while (!atomic_load(&marker->has_begun)) {
		ck_assert_int_eq(loop_turn(t.loop, 1), 0);
	}
}

static void release(void)
{
	sem_post(&gate);
}

/* Wait until the helper has done what it was given, and everybody knows. */
static void drain(void)
{
	struct marker marker = { .waits = false };

	ck_assert_int_eq(helpers_submit(t.helpers, &marker.job, t.loop, run_marker, on_marker), 0);
	ck_assert(clock_reach(t.loop, &marker.done, 1));
}

static void open_cache(void)
{
	const struct crypto_key key = cachestore_hash_key(t.path);

	t.cache = cache_new(1 << 20, crypto_siphash, &key);
	ck_assert_ptr_nonnull(t.cache);
	t.keeper = cachekeeper_new(t.cache, &t.config, &plain);
	ck_assert_ptr_nonnull(t.keeper);
}

static void close_cache(void)
{
	cachekeeper_free(t.keeper);
	cache_free(t.cache);
}

/* The clock stands still; nothing is started yet. */
static void start_with_queue(size_t queue_max)
{
	memset(&t, 0, sizeof t);
	snprintf(t.path, sizeof t.path, "/tmp/test_cachekeeper.%d", (int)getpid());
	unlink(t.path);
	sem_init(&gate, 0, 0);
	is_gated = false;
	save_count = 0;
	clock_stop();
	t.loop = loop_new();
	t.helpers = helpers_new(1, queue_max);
	ck_assert(t.loop && t.helpers);
	t.groups[0].name = "default";
	t.groups[1].name = "corp";
	t.params = (struct cache_params){ .file = t.path, .serve_stale_ms = STALE_MS };
	t.config = (struct config){ .cache = &t.params, .groups = t.groups, .group_count = 2 };
	open_cache();
}

static void start(void)
{
	start_with_queue(QUEUE_MAX);
}

static void stop(void)
{
	helpers_stop(t.helpers);
	clock_settle(t.loop);
	close_cache();
	helpers_free(t.helpers);
	loop_free(t.loop);
	clock_go_on();
	sem_destroy(&gate);
	unlink(t.path);
}

/* Begin, and wait until the file is loaded. */
static void begin(void)
{
	ck_assert_int_eq(cachekeeper_start(t.keeper, t.loop, t.helpers), 0);
	drain();
	ck_assert(!cachekeeper_is_loading(t.keeper));
}

/* End, and begin again with an empty cache. */
static void restart(void)
{
	cachekeeper_stop(t.keeper);
	close_cache();
	open_cache();
	begin();
}

/* An answer about this name from the second group of servers. */
static void init_key(struct cache_key *key, const char *name)
{
	struct dnsmsg_query query;

	packet_parse_query(&query, name, DNS_TYPE_A, DNSMSG_RD, -1, 0);
	cache_key_init(key, t.cache, query.question, query.question_len, false, false, 1);
}

static void put(const char *name)
{
	static struct packet p;
	struct cache_key key;
	uint16_t offset;

	init_key(&key, name);
	packet_start(&p, 0, DNSMSG_QR | DNSMSG_RA, 1, 1, 0, 0);
	packet_question(&p, name, DNS_TYPE_A);
	offset = (uint16_t)(packet_a(&p, "@12", TTL_S) + 6);
	ck_assert_int_eq(cache_put(t.cache, &key,
				   &(struct cache_answer){ .msg = p.bytes,
							   .len = p.len,
							   .ttl_offsets = &offset,
							   .ttl_count = 1,
							   .ttl_s = TTL_S },
				   &plain, clock_mono_ms()),
			 0);
}

static bool has(const char *name)
{
	struct cache_result result;
	struct cache_key key;
	uint8_t buf[512];

	init_key(&key, name);
	return cache_get(t.cache, &key, clock_mono_ms(), buf, sizeof buf, &result) == CACHE_HIT;
}

/* --- tests ----------------------------------------------------------------------------------- */

/* Saved at the end, loaded at the beginning; a file that is not there yet is no error. */
START_TEST(test_restart)
{
	start();
	ck_assert(!cachekeeper_is_loading(NULL));
	cachekeeper_free(NULL);
	ck_assert_int_ne(access(t.path, F_OK), 0);
	begin();
	put("a.example");
	ck_assert_uint_eq(save_count, 0);
	restart();
	ck_assert_uint_eq(save_count, 1);
	ck_assert_uint_eq(saved_stale_ms, STALE_MS);
	ck_assert(has("a.example"));
	stop();
}
END_TEST

/* It is in use while it is loaded, which nobody waits for. */
START_TEST(test_loading)
{
	struct marker marker;

	start();
	begin();
	put("a.example");
	cachekeeper_stop(t.keeper);
	close_cache();
	open_cache();
	hold_helper(&marker);
	ck_assert(cachekeeper_is_loading(t.keeper));
	ck_assert_int_eq(cachekeeper_start(t.keeper, t.loop, t.helpers), 0);
	clock_settle(t.loop);
	ck_assert(cachekeeper_is_loading(t.keeper));
	ck_assert(!has("a.example"));
	put("b.example");
	release();
	drain();
	ck_assert(!cachekeeper_is_loading(t.keeper));
	ck_assert(has("a.example"));
	ck_assert(has("b.example"));
	stop();
}
END_TEST

/* Who ends before all is loaded leaves the file as it is. */
START_TEST(test_end_while_loading)
{
	struct marker marker;

	start();
	begin();
	put("a.example");
	cachekeeper_stop(t.keeper);
	close_cache();
	open_cache();
	hold_helper(&marker);
	ck_assert_int_eq(cachekeeper_start(t.keeper, t.loop, t.helpers), 0);
	put("b.example");
	cachekeeper_stop(t.keeper);
	release();
	drain();
	close_cache();
	open_cache();
	begin();
	ck_assert(has("a.example"));
	ck_assert(!has("b.example"));
	stop();
}
END_TEST

/* One that was never started has nothing to stop, and replaces no file. */
START_TEST(test_never_started)
{
	start();
	begin();
	put("a.example");
	cachekeeper_stop(t.keeper);
	close_cache();
	open_cache();
	cachekeeper_stop(t.keeper);
	close_cache();
	open_cache();
	begin();
	ck_assert(has("a.example"));
	stop();
}
END_TEST

/* It is saved every ten minutes, until the end. */
START_TEST(test_save_times)
{
	start();
	begin();
	for (unsigned i = 0; i < 3; i++) {
		clock_jump(t.loop, CACHEKEEPER_SAVE_MS - 1);
		drain();
		ck_assert_uint_eq(save_count, i);
		clock_jump(t.loop, 1);
		drain();
		ck_assert_uint_eq(save_count, i + 1);
	}
	cachekeeper_stop(t.keeper);
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	drain();
	ck_assert_uint_eq(save_count, 3);
	stop();
}
END_TEST

/* A disk that takes longer than that has one to write. */
START_TEST(test_slow_disk)
{
	start();
	begin();
	is_gated = true;
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	for (unsigned i = 0; i < 5000 && save_count == 0; i++) {
		ck_assert_int_eq(loop_turn(t.loop, 1), 0);
		usleep(1000);
	}
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	for (unsigned i = 0; i < 3; i++) {
		release();
	}
	drain();
	ck_assert_uint_eq(save_count, 1);
	is_gated = false;
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	drain();
	ck_assert_uint_eq(save_count, 2);
	stop();
}
END_TEST

/* Helpers with too much to do: it cannot begin, or it is saved the next time. */
START_TEST(test_full_queue)
{
	struct marker busy;
	struct marker waiting;
	struct marker more[3]; /* as many as begin() needs room for */

	start_with_queue(1);
	begin_work(&busy);
	hold_helper(&waiting);
	ck_assert_int_eq(cachekeeper_start(t.keeper, t.loop, t.helpers), -EAGAIN);
	cachekeeper_stop(t.keeper);
	release();
	release();
	ck_assert(clock_reach(t.loop, &waiting.done, 1));
	stop();

	start_with_queue(ARRAY_SIZE(more));
	begin();
	begin_work(&busy);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		hold_helper(&more[i]);
	}
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	for (size_t i = 0; i <= ARRAY_SIZE(more); i++) {
		release();
	}
	ck_assert(clock_reach(t.loop, &more[ARRAY_SIZE(more) - 1].done, 1));
	drain();
	ck_assert_uint_eq(save_count, 0);
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	drain();
	ck_assert_uint_eq(save_count, 1);
	stop();
}
END_TEST

/* What is kept of expired answers follows the configuration. */
START_TEST(test_update)
{
	start();
	begin();
	t.params.serve_stale_ms = OTHER_STALE_MS;
	cachekeeper_update(t.keeper, &t.config);
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	drain();
	ck_assert_uint_eq(saved_stale_ms, OTHER_STALE_MS);
	/* From the next time on, if it is saved just now. */
	is_gated = true;
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	t.params.serve_stale_ms = STALE_MS;
	cachekeeper_update(t.keeper, &t.config);
	release();
	drain();
	ck_assert_uint_eq(saved_stale_ms, OTHER_STALE_MS);
	is_gated = false;
	clock_jump(t.loop, CACHEKEEPER_SAVE_MS);
	drain();
	ck_assert_uint_eq(saved_stale_ms, STALE_MS);
	stop();
}
END_TEST

/* Groups are known by their names, those of the configuration that was loaded last. */
START_TEST(test_groups)
{
	start();
	begin();
	t.groups[1].name = "other";
	cachekeeper_update(t.keeper, &t.config);
	put("a.example");
	restart();
	ck_assert(has("a.example"));
	t.groups[1].name = "corp";
	restart();
	ck_assert(!has("a.example"));
	stop();
}
END_TEST

SUITE_MAIN("cachekeeper", test_restart, test_loading, test_end_while_loading, test_never_started,
	   test_save_times, test_slow_disk, test_full_queue, test_update, test_groups)
