/* SPDX-License-Identifier: ISC */
#include "common/clock.h"
#include "common/container.h"
#include "common/loop.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- timers ---------------------------------------------------------------------------------- */

struct alarm {
	struct timer timer;
	int *order;
	int *next;
	int id;
};

static void on_alarm(struct timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	a->order[(*a->next)++] = a->id;
}

START_TEST(test_timers_fire_in_order)
{
	enum {
		COUNT = 500
	};
	struct loop *loop = loop_new();
	struct alarm alarms[COUNT] = { 0 };
	int order[COUNT];
	int next = 0;
	uint64_t start = loop_now_ms(loop);

	for (int i = 0; i < COUNT; i++) {
		/* Each due time once, in an order that visits both ends. */
		int due = i % 2 ? i : COUNT - 2 - i;

		alarms[i] = (struct alarm){ .order = order, .next = &next, .id = due };
		ck_assert_int_eq(
			timer_start(&alarms[i].timer, loop, start + (uint64_t)due / 10, on_alarm),
			0);
	}
	/* Move one to the end, stop another. */
	ck_assert_int_eq(timer_start(&alarms[1].timer, loop, start + 100, on_alarm), 0);
	timer_stop(&alarms[3].timer);
	timer_stop(&alarms[3].timer);
	while (timer_active(&alarms[1].timer)) {
		ck_assert_int_eq(loop_turn(loop, 1000), 0);
	}
	ck_assert_int_eq(next, COUNT - 1);
	ck_assert_int_eq(order[COUNT - 2], 1);
	for (int i = 1; i < COUNT - 2; i++) {
		ck_assert_int_le(order[i - 1] / 10, order[i] / 10);
		ck_assert_int_ne(order[i], 3);
	}
	ck_assert_uint_ge(loop_now_ms(loop), start + 100);
	loop_free(loop);
}
END_TEST

static void on_rearm(struct timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	(*a->next)++;
	timer_start(timer, (struct loop *)(void *)a->order, 0, on_rearm);
}

START_TEST(test_timer_for_now_waits_a_turn)
{
	struct loop *loop = loop_new();
	int calls = 0;
	struct alarm a = { .order = (int *)(void *)loop, .next = &calls };

	timer_start(&a.timer, loop, 0, on_rearm);
	loop_turn(loop, 0);
	ck_assert_int_eq(calls, 1);
	loop_turn(loop, 0);
	ck_assert_int_eq(calls, 2);
	timer_stop(&a.timer);
	loop_free(loop);
}
END_TEST

/* --- watches --------------------------------------------------------------------------------- */

struct end {
	struct watch watch;
	struct end *other;
	int calls;
};

static void on_end(struct watch *watch, uint32_t events)
{
	struct end *e = container_of(watch, struct end, watch);

	ck_assert_uint_ne(events & LOOP_READ, 0);
	e->calls++;
	watch_stop(&e->other->watch);
}

START_TEST(test_stopped_watch_is_not_called)
{
	struct loop *loop = loop_new();
	struct end ends[2] = { { .other = &ends[1] }, { .other = &ends[0] } };
	int pairs[2][2];

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
		ck_assert_int_eq(watch_start(&ends[i].watch, loop, pairs[i][0], LOOP_READ, on_end),
				 0);
		ck_assert_int_eq(write(pairs[i][1], "x", 1), 1);
	}
	loop_turn(loop, 1000);
	ck_assert_int_eq(ends[0].calls + ends[1].calls, 1);
	for (int i = 0; i < 2; i++) {
		watch_stop(&ends[i].watch);
		close(pairs[i][0]);
		close(pairs[i][1]);
	}
	loop_free(loop);
}
END_TEST

static void on_restart(struct watch *watch, uint32_t events)
{
	struct end *e = container_of(watch, struct end, watch);
	struct loop *loop = watch->loop;

	(void)events;
	e->calls++;
	/* The other watch begins a new life on its descriptor; what was fetched belongs to the old
	 * one. */
	if (watch_active(&e->other->watch)) {
		watch_stop(&e->other->watch);
		watch_start(&e->other->watch, loop, e->other->watch.fd, LOOP_READ, on_restart);
	}
}

START_TEST(test_restarted_watch_gets_no_old_event)
{
	struct loop *loop = loop_new();
	struct end ends[2] = { { .other = &ends[1] }, { .other = &ends[0] } };
	int pairs[2][2];

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
		ck_assert_int_eq(
			watch_start(&ends[i].watch, loop, pairs[i][0], LOOP_READ, on_restart), 0);
		ck_assert_int_eq(write(pairs[i][1], "x", 1), 1);
	}
	loop_turn(loop, 1000);
	ck_assert_int_eq(ends[0].calls + ends[1].calls, 1);
	for (int i = 0; i < 2; i++) {
		watch_stop(&ends[i].watch);
		close(pairs[i][0]);
		close(pairs[i][1]);
	}
	loop_free(loop);
}
END_TEST

/* --- tasks, freeing -------------------------------------------------------------------------- */

struct chore {
	struct task task;
	struct deferred deferred;
	struct loop *loop;
	int runs;
	int freed;
};

static void on_chore(struct task *task)
{
	struct chore *c = container_of(task, struct chore, task);

	c->runs++;
	if (c->runs < 3) {
		loop_run_task(c->loop, task, on_chore);
	}
}

static void on_free(struct deferred *deferred)
{
	container_of(deferred, struct chore, deferred)->freed++;
}

START_TEST(test_task_queued_by_a_task_waits_a_turn)
{
	struct loop *loop = loop_new();
	struct chore c = { .loop = loop };
	struct chore cancelled = { .loop = loop };

	loop_run_task(loop, &c.task, on_chore);
	loop_run_task(loop, &c.task, on_chore);
	loop_run_task(loop, &cancelled.task, on_chore);
	task_cancel(&cancelled.task);
	loop_free_later(loop, &c.deferred, on_free);
	for (int i = 1; i <= 3; i++) {
		loop_turn(loop, 1000);
		ck_assert_int_eq(c.runs, i);
		ck_assert_int_eq(c.freed, 1);
	}
	loop_turn(loop, 0);
	ck_assert_int_eq(c.runs, 3);
	ck_assert_int_eq(cancelled.runs, 0);
	loop_free(loop);
}
END_TEST

/* A heavy task takes longer than all of them may in one turn. */
struct load {
	struct task task;
	struct loop *loop;
	int id;
	int *order;
	int *next;
};

static void on_load(struct task *task)
{
	struct load *l = container_of(task, struct load, task);
	const uint64_t until_ms = clock_mono_ms() + LOOP_HEAVY_MS + 1;

	while (clock_mono_ms() < until_ms) {
	}
	l->order[(*l->next)++] = l->id;
	loop_run_heavy_task(l->loop, task, on_load);
}

START_TEST(test_heavy_tasks_take_turns)
{
	enum {
		COUNT = 4
	};
	struct loop *loop = loop_new();
	struct load loads[COUNT] = { 0 };
	struct chore c = { .loop = loop };
	int order[3 * COUNT];
	int next = 0;

	for (int i = 0; i < COUNT; i++) {
		loads[i] = (struct load){ .loop = loop, .id = i, .order = order, .next = &next };
		loop_run_heavy_task(loop, &loads[i].task, on_load);
		loop_run_heavy_task(loop, &loads[i].task, on_load);
	}
	/* One each turn, in order, although each is queued again at once; others do not wait for
	 * all of them. */
	loop_run_task(loop, &c.task, on_chore);
	for (int i = 0; i < 2 * COUNT; i++) {
		ck_assert_int_eq(loop_turn(loop, 1000), 0);
		ck_assert_int_eq(next, i + 1);
		ck_assert_int_eq(order[i], i % COUNT);
		ck_assert_int_eq(c.runs, i < 3 ? i + 1 : 3);
	}
	task_cancel(&loads[0].task);
	loop_turn(loop, 1000);
	ck_assert_int_eq(order[2 * COUNT], 1);
	for (int i = 0; i < COUNT; i++) {
		task_cancel(&loads[i].task);
	}
	loop_turn(loop, 0);
	ck_assert_int_eq(next, 2 * COUNT + 1);
	loop_free(loop);
}
END_TEST

/* --- posts ----------------------------------------------------------------------------------- */

enum {
	POSTS = 1000
};

struct sender {
	struct loop *loop;
	struct numbered {
		struct post post;
		struct sender *sender;
		int number;
	} posts[POSTS];
	int received;
};

static void on_numbered(struct post *post)
{
	struct numbered *n = container_of(post, struct numbered, post);

	ck_assert_int_eq(n->number, n->sender->received);
	if (++n->sender->received == POSTS) {
		loop_stop(n->sender->loop);
	}
}

static void *send_all(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < POSTS; i++) {
		s->posts[i].sender = s;
		s->posts[i].number = i;
		loop_post(s->loop, &s->posts[i].post, on_numbered);
	}
	return NULL;
}

START_TEST(test_posts_from_another_thread_keep_their_order)
{
	struct sender *s = calloc(1, sizeof *s);
	pthread_t thread;

	s->loop = loop_new();
	ck_assert_int_eq(pthread_create(&thread, NULL, send_all, s), 0);
	ck_assert_int_eq(loop_run(s->loop), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(s->received, POSTS);
	loop_free(s->loop);
	free(s);
}
END_TEST

struct note {
	struct post post;
	struct timer timer;
	struct task task;
	unsigned count;
};

static void note_post(struct post *post)
{
	container_of(post, struct note, post)->count++;
}

static void note_timer(struct timer *timer)
{
	container_of(timer, struct note, timer)->count++;
}

static void note_task(struct task *task)
{
	container_of(task, struct note, task)->count++;
}

START_TEST(test_a_turn_without_epoll_runs_the_rest)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int epoll_fd = dup(null_fd);
	struct note note = { 0 };
	struct loop *loop;

	close(epoll_fd);
	loop = loop_new();
	ck_assert_int_eq(dup2(null_fd, epoll_fd), epoll_fd); /* in its place */
	loop_post(loop, &note.post, note_post);
	ck_assert_int_eq(timer_start(&note.timer, loop, 0, note_timer), 0);
	loop_run_task(loop, &note.task, note_task);
	ck_assert_int_eq(loop_run(loop), -EINVAL);
	ck_assert_uint_eq(note.count, 3);
	loop_free(loop);
	close(null_fd);
}
END_TEST

SUITE_MAIN("loop", test_timers_fire_in_order, test_timer_for_now_waits_a_turn,
	   test_stopped_watch_is_not_called, test_restarted_watch_gets_no_old_event,
	   test_task_queued_by_a_task_waits_a_turn, test_heavy_tasks_take_turns,
	   test_posts_from_another_thread_keep_their_order, test_a_turn_without_epoll_runs_the_rest)
