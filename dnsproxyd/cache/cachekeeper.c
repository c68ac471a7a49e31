/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cachekeeper.h"

#include "common/container.h"

#include "dnsproxyd/cache/cachestore.h"

#include <errno.h>
#include <stdlib.h>

enum {
	LOADERS = 2, /* threads at a time */
};

struct loader {
	struct helper_job job;
	struct cachekeeper *keeper;
};

struct cachekeeper {
	struct cachestore *store;
	struct loop *loop; /* NULL until it is started */
	struct helpers *helpers;
	struct timer timer;
	struct loader loaders[LOADERS];
	struct helper_job save_job;
	bool is_saving;
	uint64_t max_stale_ms;      /* of the next save */
	uint64_t save_max_stale_ms; /* of the one that goes on */
};

/* 0 or -ENOMEM. */
static int set_groups(struct cachekeeper *k, const struct config *config)
{
	const char *names[CONFIG_GROUPS_MAX];

	for (size_t i = 0; i < config->group_count; i++) {
		names[i] = config->groups[i].name;
	}
	return cachestore_set_groups(k->store, names, config->group_count);
}

struct cachekeeper *cachekeeper_new(struct cache *cache, const struct config *config,
				    const struct cache_ttls *ttls)
{
	struct cachekeeper *k = calloc(1, sizeof *k);

	if (!k) {
		return NULL;
	}
	k->max_stale_ms = config->cache->serve_stale_ms;
	k->store = cachestore_new(cache, config->cache->file);
	if (!k->store || set_groups(k, config) < 0) {
		cachestore_free(k->store);
		free(k);
		errno = ENOMEM;
		return NULL;
	}
	cachestore_expect(k->store, ttls, LOADERS);
	return k;
}

void cachekeeper_free(struct cachekeeper *k)
{
	if (k) {
		cachestore_save(k->store, k->max_stale_ms);
		cachestore_free(k->store);
		free(k);
	}
}

static void run_load(struct helper_job *job)
{
	cachestore_load(container_of(job, struct loader, job)->keeper->store);
}

static void on_loaded(struct helper_job *job)
{
	(void)job;
}

static void run_save(struct helper_job *job)
{
	struct cachekeeper *k = container_of(job, struct cachekeeper, save_job);

	cachestore_save(k->store, k->save_max_stale_ms);
}

static void on_saved(struct helper_job *job)
{
	container_of(job, struct cachekeeper, save_job)->is_saving = false;
}

static void on_timer(struct timer *timer);

static int arm_timer(struct cachekeeper *k)
{
	return timer_start(&k->timer, k->loop, loop_now_ms(k->loop) + CACHEKEEPER_SAVE_MS,
			   on_timer);
}

static void on_timer(struct timer *timer)
{
	struct cachekeeper *k = container_of(timer, struct cachekeeper, timer);

	if (!k->is_saving) {
		k->save_max_stale_ms = k->max_stale_ms;
		k->is_saving =
			helpers_submit(k->helpers, &k->save_job, k->loop, run_save, on_saved) == 0;
	}
	(void)arm_timer(k);
}

int cachekeeper_start(struct cachekeeper *k, struct loop *loop, struct helpers *helpers)
{
	int r;

	k->loop = loop;
	k->helpers = helpers;
	r = arm_timer(k);
	for (unsigned i = 0; r == 0 && i < LOADERS; i++) {
		k->loaders[i].keeper = k;
		r = helpers_submit(helpers, &k->loaders[i].job, loop, run_load, on_loaded);
	}
	return r;
}

void cachekeeper_update(struct cachekeeper *k, const struct config *config)
{
	k->max_stale_ms = config->cache->serve_stale_ms;
	(void)set_groups(k, config);
}

void cachekeeper_stop(struct cachekeeper *k)
{
	timer_stop(&k->timer);
	cachestore_stop_loading(k->store);
}

bool cachekeeper_is_loading(const struct cachekeeper *k)
{
	return k && cachestore_is_loading(k->store);
}
