/* SPDX-License-Identifier: ISC */
#include "socksd/relay.h"

#include "common/container.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	ROUNDS_PER_TURN = 16, /* reads of one direction before others get their turn */
};

static int other(int side)
{
	return 1 - side;
}

static void end(struct relay *r, enum relay_outcome outcome)
{
	if (!r->ending) {
		r->ending = true;
		r->on_end(r, outcome);
	}
}

static void end_by_reset(struct relay *r, int side)
{
	end(r, side == RELAY_CLIENT ? RELAY_CLIENT_RESET : RELAY_TARGET_RESET);
}

static void drop_held(struct relay_flow *flow)
{
	free(flow->held);
	flow->held = NULL;
	flow->held_len = 0;
	flow->held_offset = 0;
}

static int hold(struct relay_flow *flow, const uint8_t *bytes, size_t len)
{
	uint8_t *held = malloc(len);

	if (!held) {
		return -ENOMEM;
	}
	memcpy(held, bytes, len);
	flow->held = held;
	flow->held_len = len;
	flow->held_offset = 0;
	return 0;
}

/* The receiver of flow `from` is gone. What it sent before is still in our socket: pass that back
 * first, then the reset. */
static void receiver_gone(struct relay *r, int from)
{
	struct relay_side *receiver = &r->side[other(from)];

	drop_held(&r->flow[from]);
	r->flow[from].broken = true;
	if (r->flow[other(from)].ended) {
		end_by_reset(r, other(from));
		return;
	}
	receiver->readable = true;
	receiver->fin_seen = true;
	loop_run_task(r->loop, &r->more, r->more.fn);
}

/* Send; returns how many bytes were taken, 0 with `writable` cleared when none, -1 when the
 * receiver is gone. */
static ssize_t send_some(struct relay *r, int from, const uint8_t *bytes, size_t len)
{
	struct relay_side *receiver = &r->side[other(from)];
	ssize_t n;

	do {
		n = send(receiver->watch.fd, bytes, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN) {
		return -1;
	}
	if (n < (ssize_t)len) {
		receiver->writable = false;
	}
	if (n > 0) {
		r->flow[from].bytes += (uint64_t)n;
		r->moved_ms = loop_now_ms(r->loop);
	}
	return n < 0 ? 0 : n;
}

/* Send what is held. True when nothing is held any more. */
static bool flush_held(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];
	ssize_t n;

	if (!flow->held) {
		return true;
	}
	if (!r->side[other(from)].writable) {
		return false;
	}
	n = send_some(r, from, flow->held + flow->held_offset, flow->held_len - flow->held_offset);
	if (n < 0) {
		receiver_gone(r, from);
		return false;
	}
	flow->held_offset += (size_t)n;
	if (flow->held_offset < flow->held_len) {
		return false;
	}
	drop_held(flow);
	return true;
}

/* Read into the scratch buffer. > 0: bytes; 0: nothing now (or the end, or the relay is ending). */
static size_t read_some(struct relay *r, int from)
{
	struct relay_side *sender = &r->side[from];
	ssize_t n;

	do {
		n = recv(sender->watch.fd, r->scratch, r->scratch_bytes, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		/* A short read has emptied the socket; epoll(7) promises an event for what comes
		 * later. */
		sender->readable = (size_t)n == r->scratch_bytes || sender->fin_seen;
		return (size_t)n;
	}
	sender->readable = false;
	if (n == 0) {
		r->flow[from].ended = true;
		r->moved_ms = loop_now_ms(r->loop);
	} else if (errno != EAGAIN) {
		end_by_reset(r, from);
	}
	return 0;
}

/* Read once and pass it on. False when there is nothing more to do now. */
static bool move_some(struct relay *r, int from)
{
	size_t len = read_some(r, from);
	ssize_t n;

	if (len == 0) {
		return r->flow[from].ended;
	}
	n = send_some(r, from, r->scratch, len);
	if (n < 0) {
		receiver_gone(r, from);
		return false;
	}
	if ((size_t)n < len && hold(&r->flow[from], r->scratch + n, len - (size_t)n) < 0) {
		end(r, RELAY_NO_MEMORY);
		return false;
	}
	return true;
}

/* The FIN of flow `from` has been read and all bytes before it passed on. */
static void finish(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];

	flow->finished = true;
	if (r->flow[other(from)].broken) {
		end_by_reset(r, from);
	} else if (r->flow[other(from)].finished) {
		/* Both ways are done; closing sends this FIN too. */
		end(r, RELAY_FINISHED);
	} else if (shutdown(r->side[other(from)].watch.fd, SHUT_WR) < 0) {
		receiver_gone(r, from);
	}
}

/* Move bytes of one direction as far as both sockets allow, within the turn's share. */
static void pump(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];

	for (int round = 0; round < ROUNDS_PER_TURN; round++) {
		if (r->ending || flow->finished || flow->broken || !flush_held(r, from)) {
			return;
		}
		if (flow->ended) {
			finish(r, from);
			return;
		}
		if (!r->side[from].readable || !r->side[other(from)].writable ||
		    !move_some(r, from)) {
			return;
		}
	}
	loop_run_task(r->loop, &r->more, r->more.fn);
}

static void on_more(struct task *task)
{
	struct relay *r = container_of(task, struct relay, more);

	pump(r, RELAY_CLIENT);
	pump(r, RELAY_TARGET);
}

static void on_ready(struct relay *r, int side, uint32_t events)
{
	struct relay_side *s = &r->side[side];

	if (events & (LOOP_RDHUP | LOOP_HANGUP | LOOP_ERROR)) {
		s->fin_seen = true;
		s->readable = true;
	}
	if (events & LOOP_READ) {
		s->readable = true;
	}
	if (events & (LOOP_WRITE | LOOP_ERROR | LOOP_HANGUP)) {
		s->writable = true;
		pump(r, other(side));
	}
	if (s->readable) {
		pump(r, side);
	}
}

static void on_client(struct watch *watch, uint32_t events)
{
	on_ready(container_of(watch, struct relay, side[RELAY_CLIENT].watch), RELAY_CLIENT, events);
}

static void on_target(struct watch *watch, uint32_t events)
{
	on_ready(container_of(watch, struct relay, side[RELAY_TARGET].watch), RELAY_TARGET, events);
}

int relay_early_data(struct relay *r, const uint8_t *bytes, size_t len)
{
	return len > 0 ? hold(&r->flow[RELAY_CLIENT], bytes, len) : 0;
}

void relay_start(struct relay *r, relay_end_fn on_end)
{
	r->on_end = on_end;
	r->side[RELAY_CLIENT].watch.on_ready = on_client;
	r->side[RELAY_TARGET].watch.on_ready = on_target;
	r->side[RELAY_CLIENT].writable = true;
	r->side[RELAY_TARGET].writable = true;
	r->moved_ms = loop_now_ms(r->loop);
	r->more.fn = on_more;
	if (r->flow[RELAY_CLIENT].held || r->side[RELAY_CLIENT].readable ||
	    r->side[RELAY_TARGET].readable) {
		loop_run_task(r->loop, &r->more, on_more);
	}
}

bool relay_half_closed(const struct relay *r)
{
	return r->flow[RELAY_CLIENT].finished != r->flow[RELAY_TARGET].finished;
}

static void close_side(struct relay_side *side, bool reset)
{
	const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	if (reset && watch_active(&side->watch)) {
		setsockopt(side->watch.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	}
	watch_close(&side->watch);
}

void relay_done(struct relay *r, unsigned reset)
{
	r->ending = true;
	task_cancel(&r->more);
	for (int i = 0; i < 2; i++) {
		drop_held(&r->flow[i]);
		close_side(&r->side[i], (reset & (1u << i)) != 0);
	}
}
