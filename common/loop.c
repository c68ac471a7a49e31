/* SPDX-License-Identifier: ISC */
#include "common/loop.h"

#include "common/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(LOOP_READ == EPOLLIN && LOOP_WRITE == EPOLLOUT && LOOP_ERROR == EPOLLERR,
	       "epoll bits");
_Static_assert(LOOP_URGENT == EPOLLPRI, "epoll bits");
_Static_assert(LOOP_HANGUP == EPOLLHUP && LOOP_RDHUP == EPOLLRDHUP, "epoll bits");
_Static_assert(LOOP_EDGE == (uint32_t)EPOLLET, "epoll bits");

enum {
	EVENTS_PER_TURN = 256,
	HEAP_FIRST_CAP = 64,
};

struct loop {
	int epoll_fd;
	int wake_fd;
	struct watch wake_watch;
	bool stopping;
	uint64_t turn;
	uint64_t now_ms;

	struct timer **heap; /* binary min-heap by due_ms */
	uint32_t heap_len;
	uint32_t heap_cap;

	struct task tasks; /* ring heads */
	struct task heavy_tasks;
	struct deferred *deferred;

	pthread_mutex_t posts_lock; /* guards the two below */
	struct post *posts;
	struct post **posts_tail;
};

/* --- descriptors ----------------------------------------------------------------------------- */

int watch_start(struct watch *watch, struct loop *loop, int fd, uint32_t events, watch_fn on_ready)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		watch->loop = NULL;
		return -errno;
	}
	watch->loop = loop;
	watch->on_ready = on_ready;
	watch->fd = fd;
	watch->since_turn = loop->turn;
	return 0;
}

int watch_modify(struct watch *watch, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };

	return epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &ev) < 0 ? -errno : 0;
}

void watch_stop(struct watch *watch)
{
	if (!watch->loop) {
		return;
	}
	epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->loop = NULL;
}

void watch_close(struct watch *watch)
{
	if (!watch->loop) {
		return;
	}
	watch->loop = NULL;
	close(watch->fd);
}

int watch_move(struct watch *from, struct watch *to, uint32_t events, watch_fn on_ready)
{
	struct loop *loop = from->loop;
	struct epoll_event ev = { .events = events, .data.ptr = to };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, from->fd, &ev) < 0) {
		return -errno;
	}
	*to = (struct watch){
		.loop = loop, .on_ready = on_ready, .fd = from->fd, .since_turn = loop->turn
	};
	from->loop = NULL;
	return 0;
}

static void dispatch(struct loop *loop, const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		struct watch *watch = events[i].data.ptr;

		if (watch->loop == loop && watch->since_turn < loop->turn) {
			watch->on_ready(watch, events[i].events);
		}
	}
}

/* --- timers ---------------------------------------------------------------------------------- */

static void heap_place(struct loop *loop, uint32_t index, struct timer *timer)
{
	loop->heap[index] = timer;
	timer->heap_index = index;
}

static void heap_sift_up(struct loop *loop, uint32_t index, struct timer *timer)
{
	while (index > 0 && loop->heap[(index - 1) / 2]->due_ms > timer->due_ms) {
		heap_place(loop, index, loop->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	heap_place(loop, index, timer);
}

static void heap_sift_down(struct loop *loop, uint32_t index, struct timer *timer)
{
	for (;;) {
		uint32_t child = 2 * index + 1;

		if (child >= loop->heap_len) {
			break;
		}
		if (child + 1 < loop->heap_len &&
		    loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms) {
			child++;
		}
		if (loop->heap[child]->due_ms >= timer->due_ms) {
			break;
		}
		heap_place(loop, index, loop->heap[child]);
		index = child;
	}
	heap_place(loop, index, timer);
}

/* Put the timer where its due_ms belongs, starting from index. */
static void heap_settle(struct loop *loop, uint32_t index, struct timer *timer)
{
	if (index > 0 && loop->heap[(index - 1) / 2]->due_ms > timer->due_ms) {
		heap_sift_up(loop, index, timer);
	} else {
		heap_sift_down(loop, index, timer);
	}
}

static int heap_grow(struct loop *loop)
{
	uint32_t cap = loop->heap_cap ? loop->heap_cap * 2 : HEAP_FIRST_CAP;
	struct timer **heap = realloc(loop->heap, cap * sizeof *heap);

	if (!heap) {
		return -ENOMEM;
	}
	loop->heap = heap;
	loop->heap_cap = cap;
	return 0;
}

int timer_start(struct timer *timer, struct loop *loop, uint64_t due_ms, timer_fn on_due)
{
	timer->on_due = on_due;
	timer->due_ms = due_ms;
	if (timer->loop) {
		heap_settle(loop, timer->heap_index, timer);
		return 0;
	}
	if (loop->heap_len == loop->heap_cap && heap_grow(loop) < 0) {
		return -ENOMEM;
	}
	timer->loop = loop;
	heap_sift_up(loop, loop->heap_len++, timer);
	return 0;
}

void timer_stop(struct timer *timer)
{
	struct loop *loop = timer->loop;
	struct timer *last;

	if (!loop) {
		return;
	}
	timer->loop = NULL;
	last = loop->heap[--loop->heap_len];
	if (last != timer) {
		heap_settle(loop, timer->heap_index, last);
	}
}

/* Timers started by a callback for "now" wait for the next turn, so that no chain of them can hold
 * the loop: they come due at the same now_ms, and the heap holds them behind `limit` calls. */
static void run_timers(struct loop *loop)
{
	uint32_t limit = loop->heap_len;

	while (limit-- > 0 && loop->heap_len > 0 && loop->heap[0]->due_ms <= loop->now_ms) {
		struct timer *timer = loop->heap[0];

		timer_stop(timer);
		timer->on_due(timer);
	}
}

/* --- tasks, freeing, posts ------------------------------------------------------------------- */

static void ring_clear(struct task *ring)
{
	ring->next = ring;
	ring->prev = ring;
}

static bool ring_empty(const struct task *ring)
{
	return ring->next == ring;
}

static void ring_append(struct task *ring, struct task *task, task_fn fn)
{
	if (task->next) {
		return;
	}
	task->fn = fn;
	task->prev = ring->prev;
	task->next = ring;
	ring->prev->next = task;
	ring->prev = task;
}

void loop_run_task(struct loop *loop, struct task *task, task_fn fn)
{
	ring_append(&loop->tasks, task, fn);
}

void loop_run_heavy_task(struct loop *loop, struct task *task, task_fn fn)
{
	ring_append(&loop->heavy_tasks, task, fn);
}

void task_cancel(struct task *task)
{
	if (!task->next) {
		return;
	}
	task->prev->next = task->next;
	task->next->prev = task->prev;
	task->next = NULL;
	task->prev = NULL;
}

/* Run the tasks queued up to now; a marker separates them from those they queue themselves.
 * limit_ms: leave the rest when so much time has passed; 0: never. */
static void run_tasks(struct task *ring, uint64_t limit_ms)
{
	struct task marker = { 0 };
	uint64_t until_ms;

	if (ring_empty(ring)) {
		return;
	}
	until_ms = limit_ms > 0 ? clock_mono_ms() + limit_ms : 0;
	ring_append(ring, &marker, NULL);
	do {
		struct task *task = ring->next;

		task_cancel(task);
		task->fn(task);
	} while (ring->next != &marker && (limit_ms == 0 || clock_mono_ms() < until_ms));
	task_cancel(&marker);
}

void loop_free_later(struct loop *loop, struct deferred *deferred, deferred_fn fn)
{
	deferred->fn = fn;
	deferred->next = loop->deferred;
	loop->deferred = deferred;
}

static void run_deferred(struct loop *loop)
{
	while (loop->deferred) {
		struct deferred *deferred = loop->deferred;

		loop->deferred = deferred->next;
		deferred->fn(deferred);
	}
}

void loop_post(struct loop *loop, struct post *post, post_fn fn)
{
	const uint64_t one = 1;
	bool was_empty;

	post->fn = fn;
	post->next = NULL;
	pthread_mutex_lock(&loop->posts_lock);
	was_empty = loop->posts == NULL;
	*loop->posts_tail = post;
	loop->posts_tail = &post->next;
	/* Under the lock, so that the loop cannot be freed between the post being seen and this
	 * write. */
	if (was_empty) {
		/* It can fail only when the counter is full, and then the loop is awake anyway. */
		(void)!write(loop->wake_fd, &one, sizeof one);
	}
	pthread_mutex_unlock(&loop->posts_lock);
}

static void on_wake(struct watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(watch->fd, &count, sizeof count);
}

static void run_posts(struct loop *loop)
{
	struct post *post;

	pthread_mutex_lock(&loop->posts_lock);
	post = loop->posts;
	loop->posts = NULL;
	loop->posts_tail = &loop->posts;
	pthread_mutex_unlock(&loop->posts_lock);
	while (post) {
		struct post *next = post->next;

		post->fn(post);
		post = next;
	}
}

/* --- the loop -------------------------------------------------------------------------------- */

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof *loop);
	int saved;

	if (!loop) {
		return NULL;
	}
	pthread_mutex_init(&loop->posts_lock, NULL);
	loop->posts_tail = &loop->posts;
	ring_clear(&loop->tasks);
	ring_clear(&loop->heavy_tasks);
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		goto fail;
	}
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->wake_fd < 0 ||
	    watch_start(&loop->wake_watch, loop, loop->wake_fd, LOOP_READ, on_wake) < 0) {
		goto fail;
	}
	loop->now_ms = clock_mono_ms();
	return loop;
fail:
	saved = errno;
	loop_free(loop);
	errno = saved;
	return NULL;
}

void loop_free(struct loop *loop)
{
	if (!loop) {
		return;
	}
	run_deferred(loop);
	watch_stop(&loop->wake_watch);
	if (loop->wake_fd >= 0) {
		close(loop->wake_fd);
	}
	if (loop->epoll_fd >= 0) {
		close(loop->epoll_fd);
	}
	pthread_mutex_lock(&loop->posts_lock); /* waits for a loop_post() that is just leaving */
	pthread_mutex_unlock(&loop->posts_lock);
	pthread_mutex_destroy(&loop->posts_lock);
	free(loop->heap);
	free(loop);
}

/* How long epoll may sleep: not at all with tasks waiting, else until the first timer. */
static int wait_ms(const struct loop *loop, int timeout_ms)
{
	uint64_t until_timer;

	if (!ring_empty(&loop->tasks) || !ring_empty(&loop->heavy_tasks)) {
		return 0;
	}
	if (loop->heap_len == 0) {
		return timeout_ms;
	}
	if (loop->heap[0]->due_ms <= loop->now_ms) {
		return 0;
	}
	until_timer = loop->heap[0]->due_ms - loop->now_ms;
	if (timeout_ms >= 0 && (uint64_t)timeout_ms < until_timer) {
		return timeout_ms;
	}
	return until_timer > 3600000 ? 3600000 : (int)until_timer;
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int count;
	int r;

	loop->now_ms = clock_mono_ms();
	count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, wait_ms(loop, timeout_ms));
	r = count < 0 && errno != EINTR ? -errno : 0;
	loop->turn++;
	loop->now_ms = clock_mono_ms();
	dispatch(loop, events, count);
	run_timers(loop);
	run_posts(loop);
	run_tasks(&loop->tasks, 0);
	run_tasks(&loop->heavy_tasks, LOOP_HEAVY_MS);
	run_deferred(loop);
	return r;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	loop->stopping = false;
	while (!loop->stopping && r == 0) {
		r = loop_turn(loop, -1);
	}
	return r;
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return loop->now_ms;
}
