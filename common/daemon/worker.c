/* SPDX-License-Identifier: ISC */
#include "common/daemon/worker.h"

#include "common/container.h"
#include "common/log.h"

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
	bool running; /* main thread only: started and not joined */
	pthread_mutex_t lock;
	bool has_failed; /* under the lock: the loop has ended by itself, nobody takes calls */
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
	pthread_mutex_init(&priv->lock, NULL);
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
	struct worker_priv *priv = priv_of(worker);
	int r = loop_run(worker->loop);

	if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "worker-failed", KV_UINT("worker", worker->index),
			  KV_ERRNO("error", -r));
		pthread_mutex_lock(&priv->lock);
		priv->has_failed = true;
		pthread_mutex_unlock(&priv->lock);
		/* Calls that came before that. */
		(void)loop_turn(worker->loop, 0);
	}
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

static void join_thread(struct worker_priv *priv)
{
	pthread_join(priv->thread, NULL);
	priv->running = false;
}

/* False: the thread will take no more of them. */
static bool send_call(struct worker_priv *priv, struct call *call)
{
	bool taken;

	pthread_mutex_lock(&priv->lock);
	taken = !priv->has_failed;
	if (taken) {
		loop_post(priv->worker.loop, &call->post, run_call);
	}
	pthread_mutex_unlock(&priv->lock);
	return taken;
}

void worker_call(struct worker *worker, worker_fn fn, void *arg)
{
	struct worker_priv *priv = priv_of(worker);
	struct call call = { .worker = worker, .fn = fn, .arg = arg };

	if (!priv->running) {
		fn(worker, arg);
		return;
	}
	sem_init(&call.done, 0, 0);
	if (!send_call(priv, &call)) {
		join_thread(priv);
		fn(worker, arg);
		sem_destroy(&call.done);
		return;
	}
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

	if (priv->running) {
		worker_call(worker, stop_loop, NULL);
	}
	if (priv->running) {
		join_thread(priv);
	}
	if (priv->has_failed) {
		/* What others have left for it since, such as a helper's job that is done. */
		(void)loop_turn(worker->loop, 0);
	}
}

void worker_free(struct worker *worker)
{
	if (!worker) {
		return;
	}
	loop_free(worker->loop);
	pthread_mutex_destroy(&priv_of(worker)->lock);
	free(worker->metrics);
	free(priv_of(worker));
}
