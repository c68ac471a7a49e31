/* SPDX-License-Identifier: ISC */
#include "common/helpers.h"

#include "common/container.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct helpers {
	pthread_mutex_t lock; /* guards all below but threads */
	pthread_cond_t wanted;
	struct helper_job *first;
	struct helper_job **last;
	size_t waiting;
	size_t queue_max;
	bool stopping;
	unsigned thread_count;
	pthread_t threads[];
};

static void on_done(struct post *post)
{
	struct helper_job *job = container_of(post, struct helper_job, post);

	job->done(job);
}

/* The next job, or NULL when the pool stops. */
static struct helper_job *take_job(struct helpers *h)
{
	struct helper_job *job = NULL;

	pthread_mutex_lock(&h->lock);
	while (!h->first && !h->stopping) {
		pthread_cond_wait(&h->wanted, &h->lock);
	}
	if (!h->stopping) {
		job = h->first;
		h->first = job->next;
		if (!h->first) {
			h->last = &h->first;
		}
		h->waiting--;
	}
	pthread_mutex_unlock(&h->lock);
	return job;
}

static void *helper_main(void *arg)
{
	struct helpers *h = arg;
	struct helper_job *job;

	while ((job = take_job(h)) != NULL) {
		job->run(job);
		loop_post(job->loop, &job->post, on_done);
	}
	return NULL;
}

static int start_threads(struct helpers *h, unsigned threads)
{
	sigset_t all;
	sigset_t saved;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	while (h->thread_count < threads && r == 0) {
		r = pthread_create(&h->threads[h->thread_count], NULL, helper_main, h);
		if (r == 0) {
			pthread_setname_np(h->threads[h->thread_count], "helper");
			h->thread_count++;
		}
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return -r;
}

struct helpers *helpers_new(unsigned threads, size_t queue_max)
{
	struct helpers *h = calloc(1, sizeof *h + threads * sizeof h->threads[0]);
	int r;

	if (!h) {
		return NULL;
	}
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->wanted, NULL);
	h->last = &h->first;
	h->queue_max = queue_max;
	r = start_threads(h, threads);
	if (r < 0) {
		helpers_free(h);
		errno = -r;
		return NULL;
	}
	return h;
}

void helpers_stop(struct helpers *h)
{
	if (!h) {
		return;
	}
	pthread_mutex_lock(&h->lock);
	h->stopping = true;
	pthread_cond_broadcast(&h->wanted);
	pthread_mutex_unlock(&h->lock);
	for (unsigned i = 0; i < h->thread_count; i++) {
		pthread_join(h->threads[i], NULL);
	}
	h->thread_count = 0;
	while (h->first) {
		struct helper_job *job = h->first;

		h->first = job->next;
		job->cancelled = true;
		loop_post(job->loop, &job->post, on_done);
	}
}

void helpers_free(struct helpers *h)
{
	if (!h) {
		return;
	}
	helpers_stop(h);
	pthread_cond_destroy(&h->wanted);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int helpers_submit(struct helpers *h, struct helper_job *job, struct loop *loop, helper_job_fn run,
		   helper_job_fn done)
{
	int r = 0;

	job->next = NULL;
	job->loop = loop;
	job->run = run;
	job->done = done;
	job->cancelled = false;
	pthread_mutex_lock(&h->lock);
	if (h->waiting >= h->queue_max || h->stopping) {
		r = -EAGAIN;
	} else {
		*h->last = job;
		h->last = &job->next;
		h->waiting++;
		pthread_cond_signal(&h->wanted);
	}
	pthread_mutex_unlock(&h->lock);
	return r;
}
