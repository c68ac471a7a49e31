/* SPDX-License-Identifier: ISC */
/*
 * One epoll loop: file descriptors, timers, tasks, and messages from other threads.
 *
 * Thread: a loop belongs to the thread that runs it; only loop_post() may be called from elsewhere.
 * Ownership: the loop borrows every watch, timer, task and post; they are embedded in the caller's
 * objects and must be stopped before the object is freed. File descriptors are never closed by the
 * loop. Re-entrancy: a callback may stop, close and end anything. An object that a callback ends is
 * handed to loop_free_later(), so its memory outlives the turn and no code above it on the stack
 * needs to ask whether it still exists. A stopped watch or timer is never called again, not even
 * for an event that is already fetched.
 *
 * A turn: wait; dispatch descriptor events; run due timers; run posts; run the tasks queued so far;
 * run some of the heavy ones; free.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* --- descriptors ----------------------------------------------------------------------------- */

/* Event bits; their values are those of epoll. */
#define LOOP_READ   0x001u      /* EPOLLIN */
#define LOOP_URGENT 0x002u      /* EPOLLPRI: TCP urgent data has come */
#define LOOP_WRITE  0x004u      /* EPOLLOUT */
#define LOOP_ERROR  0x008u      /* EPOLLERR, always reported */
#define LOOP_HANGUP 0x010u      /* EPOLLHUP, always reported */
#define LOOP_RDHUP  0x2000u     /* EPOLLRDHUP: the peer sent FIN */
#define LOOP_EDGE   0x80000000u /* EPOLLET: report changes only */

struct watch;
typedef void (*watch_fn)(struct watch *watch, uint32_t events);

/* All-zero is a valid stopped watch. */
struct watch {
	struct loop *loop; /* NULL while stopped */
	watch_fn on_ready;
	int fd;
	uint64_t since_turn; /* events fetched before this turn belong to an earlier life of the
				watch */
};

/* Begin watching fd for `events`. 0 or -errno (then the watch is stopped). */
int watch_start(struct watch *watch, struct loop *loop, int fd, uint32_t events, watch_fn on_ready);

/* Change the events asked for. 0 or -errno. */
int watch_modify(struct watch *watch, uint32_t events);

/* Stop; harmless on a stopped watch. Call it before close(fd). */
void watch_stop(struct watch *watch);

/* Stop and close the descriptor, which removes it from epoll by itself: one system call less than
 * watch_stop() and close(). Only for descriptors that were never duplicated. Harmless on a stopped
 * watch. */
void watch_close(struct watch *watch);

/* Hand the descriptor of `from` (which is stopped then) to `to`, which gets its state as fresh
 * events. 0 or -errno (then nothing has changed). */
int watch_move(struct watch *from, struct watch *to, uint32_t events, watch_fn on_ready);

static inline bool watch_active(const struct watch *watch)
{
	return watch->loop != NULL;
}

/* --- timers ---------------------------------------------------------------------------------- */

struct timer;
typedef void (*timer_fn)(struct timer *timer);

/* All-zero is a valid stopped timer. */
struct timer {
	struct loop *loop; /* NULL while stopped */
	timer_fn on_due;
	uint64_t due_ms;
	uint32_t heap_index;
};

/* Call on_due once when loop_now_ms() reaches due_ms; moves the deadline of a running timer. O(log
 * n). A timer that is often put off is better left alone and re-armed when it comes due early. 0 or
 * -ENOMEM. */
int timer_start(struct timer *timer, struct loop *loop, uint64_t due_ms, timer_fn on_due);

/* Stop; harmless on a stopped timer. */
void timer_stop(struct timer *timer);

static inline bool timer_active(const struct timer *timer)
{
	return timer->loop != NULL;
}

/* --- tasks ----------------------------------------------------------------------------------- */

struct task;
typedef void (*task_fn)(struct task *task);

/* Work put off to the end of the turn (flush a batch) or, when queued by a task, to the next turn,
 * after that turn's events (go on with a bulk transfer without starving others). All-zero is a
 * valid idle task. */
struct task {
	struct task *next;
	struct task *prev;
	task_fn fn;
};

/* Queue once; harmless when queued already. */
void loop_run_task(struct loop *loop, struct task *task, task_fn fn);

/* The same for work in pieces so large that the next events should not wait for everybody's: heavy
 * tasks run first come, first served, for LOOP_HEAVY_MS of a turn, and the others wait for the
 * turns after it. So each gets its share, in order, and an event waits for little more than that.
 */
void loop_run_heavy_task(struct loop *loop, struct task *task, task_fn fn);

enum {
	LOOP_HEAVY_MS = 2,
};

/* Either kind; harmless when it is not queued. */
void task_cancel(struct task *task);

/* --- freeing --------------------------------------------------------------------------------- */

struct deferred;
typedef void (*deferred_fn)(struct deferred *deferred);
struct deferred {
	struct deferred *next;
	deferred_fn fn;
};

/* Call fn at the very end of this turn, to free the object that embeds `deferred`. Once per object.
 */
void loop_free_later(struct loop *loop, struct deferred *deferred, deferred_fn fn);

/* --- other threads --------------------------------------------------------------------------- */

struct post;
typedef void (*post_fn)(struct post *post);
struct post {
	struct post *next;
	post_fn fn;
};

/* Any thread: run fn on the loop's thread soon. The post must stay valid until fn is called and may
 * be reused from then on. Posts run in the order they were sent. */
void loop_post(struct loop *loop, struct post *post, post_fn fn);

/* --- the loop -------------------------------------------------------------------------------- */

/* Returns owned, or NULL with errno set. */
struct loop *loop_new(void);

/* Free the loop; the caller has stopped all watches and timers. Runs what is due to be freed. NULL
 * is fine. */
void loop_free(struct loop *loop);

/* Run until loop_stop(). 0 or -errno of epoll_wait. */
int loop_run(struct loop *loop);

/* One turn that waits at most timeout_ms (-1: for ever). For tests and for draining at the end. 0
 * or -errno of epoll_wait; then descriptors were not served, but all else was: somebody may wait
 * for it. */
int loop_turn(struct loop *loop, int timeout_ms);

/* Leave loop_run() at the end of this turn. From the loop's own thread. */
void loop_stop(struct loop *loop);

/* Monotonic milliseconds, taken once a turn. */
uint64_t loop_now_ms(const struct loop *loop);

#endif
