/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/certwatch.h"

#include "common/container.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>

/* One look at all files; owns its servers. */
struct look {
	struct helper_job job;
	struct certwatch *watch; /* NULL: gone meanwhile */
	size_t count;
	struct tls_server *servers[];
};

struct certwatch {
	struct loop *loop;
	struct helpers *helpers;
	struct timer timer;
	struct tls_server **servers; /* owned, each */
	size_t count;
	struct look *look; /* under way, or NULL */
};

static void run_look(struct helper_job *job)
{
	struct look *look = container_of(job, struct look, job);

	for (size_t i = 0; i < look->count; i++) {
		const char *path = NULL;
		const char *why = NULL;

		switch (tls_server_reload(look->servers[i], &path, &why)) {
		case TLS_RELOAD_SAME:
			break;
		case TLS_RELOAD_DONE:
			log_event(LOG_LEVEL_NOTICE, "certificate-loaded",
				  KV_TEXT("file", tls_server_path(look->servers[i])));
			break;
		case TLS_RELOAD_FAILED:
			log_event(LOG_LEVEL_WARNING, "certificate-kept", KV_TEXT("file", path),
				  KV_TEXT("why", why));
			break;
		}
	}
}

static void free_look(struct look *look)
{
	for (size_t i = 0; i < look->count; i++) {
		tls_server_free(look->servers[i]);
	}
	free(look);
}

static void on_looked(struct helper_job *job)
{
	struct look *look = container_of(job, struct look, job);

	if (look->watch) {
		look->watch->look = NULL;
	}
	free_look(look);
}

static void begin_look(struct certwatch *w)
{
	struct look *look = malloc(sizeof *look + w->count * sizeof look->servers[0]);

	if (!look) {
		return;
	}
	look->watch = w;
	look->count = w->count;
	for (size_t i = 0; i < w->count; i++) {
		look->servers[i] = tls_server_ref(w->servers[i]);
	}
	if (helpers_submit(w->helpers, &look->job, w->loop, run_look, on_looked) < 0) {
		free_look(look);
	} else {
		w->look = look;
	}
}

static void on_timer(struct timer *timer)
{
	struct certwatch *w = container_of(timer, struct certwatch, timer);

	if (!w->look) {
		begin_look(w);
	}
	(void)timer_start(&w->timer, w->loop, loop_now_ms(w->loop) + CERTWATCH_MS, on_timer);
}

static void drop_servers(struct certwatch *w)
{
	for (size_t i = 0; i < w->count; i++) {
		tls_server_free(w->servers[i]);
	}
	free(w->servers);
	w->servers = NULL;
	w->count = 0;
	timer_stop(&w->timer);
}

int certwatch_set(struct certwatch *w, const struct config *config)
{
	drop_servers(w);
	w->servers = calloc(config->listens.count + 1, sizeof(struct tls_server *));
	if (!w->servers) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < config->listens.count; i++) {
		if (config->listen_configs[i].tls) {
			w->servers[w->count++] = tls_server_ref(config->listen_configs[i].tls);
		}
	}
	if (w->count == 0) {
		return 0;
	}
	return timer_start(&w->timer, w->loop, loop_now_ms(w->loop) + CERTWATCH_MS, on_timer);
}

struct certwatch *certwatch_new(struct loop *loop, struct helpers *helpers)
{
	struct certwatch *w = calloc(1, sizeof *w);

	if (w) {
		w->loop = loop;
		w->helpers = helpers;
	}
	return w;
}

void certwatch_free(struct certwatch *w)
{
	if (!w) {
		return;
	}
	drop_servers(w);
	if (w->look) {
		w->look->watch = NULL;
	}
	free(w);
}
