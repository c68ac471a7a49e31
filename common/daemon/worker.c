/* SPDX-License-Identifier: ISC */
#include "common/daemon/worker.h"

#include "common/container.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct worker_priv {
	struct worker worker;
	pthread_t thread;
	bool running; /* main thread only */
};

/* A call on its way to a worker; lives on the main thread's stack until `done` is posted. */
struct call {
	struct post post;
	struct worker *worker;
	worker_fn fn;
	void *arg;
	sem_t done;
};

static struct worker_priv *priv_of(struct worker *worker)
{
	return container_of(worker, struct worker_priv, worker);
}

struct worker *worker_new(unsigned index, size_t metric_count)
{
	struct worker_priv *priv = calloc(1, sizeof *priv);
	int saved;

	if (!priv) {
		return NULL;
	}
	priv->worker.index = index;
	priv->worker.loop = loop_new();
	priv->worker.metrics = metrics_new(metric_count);
	if (!priv->worker.loop || !priv->worker.metrics) {
		saved = priv->worker.loop ? ENOMEM : errno;
		worker_free(&priv->worker);
		errno = saved;
		return NULL;
	}
	return &priv->worker;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	loop_run(worker->loop);
	return NULL;
}

int worker_start(struct worker *worker, const char *name)
{
	struct worker_priv *priv = priv_of(worker);
	char thread_name[16];
	sigset_t all;
	sigset_t saved;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	r = pthread_create(&priv->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (r != 0) {
		return -r;
	}
	priv->running = true;
	snprintf(thread_name, sizeof thread_name, "%.10s/%u", name, worker->index % 1000);
	pthread_setname_np(priv->thread, thread_name);
	return 0;
}

static void run_call(struct post *post)
{
	struct call *call = container_of(post, struct call, post);

	call->fn(call->worker, call->arg);
	sem_post(&call->done);
}

void worker_call(struct worker *worker, worker_fn fn, void *arg)
{
	struct call call = { .worker = worker, .fn = fn, .arg = arg };

	if (!priv_of(worker)->running) {
		fn(worker, arg);
		return;
	}
	sem_init(&call.done, 0, 0);
	loop_post(worker->loop, &call.post, run_call);
	while (sem_wait(&call.done) < 0) {
		/* interrupted by a signal: wait on */
	}
	sem_destroy(&call.done);
}

static void stop_loop(struct worker *worker, void *arg)
{
	(void)arg;
	loop_stop(worker->loop);
}

void worker_stop(struct worker *worker)
{
	struct worker_priv *priv = priv_of(worker);

	if (!priv->running) {
		return;
	}
	worker_call(worker, stop_loop, NULL);
	pthread_join(priv->thread, NULL);
	priv->running = false;
}

void worker_free(struct worker *worker)
{
	if (!worker) {
		return;
	}
	loop_free(worker->loop);
	free(worker->metrics);
	free(priv_of(worker));
}
