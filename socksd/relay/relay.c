/* SPDX-License-Identifier: ISC */
#include "socksd/relay/relay.h"

#include "common/container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	/* The turn of one flow, before others get theirs: so many reads, or about so many bytes. */
	TURN_ROUNDS = 16,
	TURN_BYTES = 1 << 20,
	/* A socket that is writable takes one packet, however little its room: many such packets
	 * are as long as this. When TCP is short of memory, that is all the room there is. */
	ROOM_MIN_BYTES = 1 << 15,
	/* With so much of the room left that was found last, it is not asked for again. */
	ROOM_KNOWN_BYTES = 1 << 18,
	/* A small read of so much makes a flow bulk, POOR_MAX bulk reads of less in a row make it
	 * small again. */
	BULK_BYTES = 1 << 14,
	POOR_MAX = 4,
};

static int other(int side)
{
	return 1 - side;
}

/* --- ends ------------------------------------------------------------------------------------ */

static void end(struct relay *r, enum relay_outcome outcome)
{
	if (!r->ending) {
		r->ending = true;
		r->ops->on_end(r, outcome);
	}
}

/* The connection of `side` broke with this errno. */
static void end_by_error(struct relay *r, int side, int error)
{
	if (error == ETIMEDOUT) {
		end(r, RELAY_STALLED);
	} else {
		end(r, side == RELAY_CLIENT ? RELAY_CLIENT_RESET : RELAY_TARGET_RESET);
	}
}

static void drop_held(struct relay_flow *flow)
{
	free(flow->held);
	flow->held = NULL;
	flow->held_len = 0;
	flow->held_offset = 0;
}

/* Memory for len bytes that the receiver has refused, to be filled by the caller. NULL: there is
 * none. */
static uint8_t *hold(struct relay_flow *flow, size_t len)
{
	flow->held = malloc(len);
	flow->held_len = len;
	flow->held_offset = 0;
	return flow->held;
}

static int hold_copy(struct relay_flow *flow, const uint8_t *bytes, size_t len)
{
	uint8_t *held = hold(flow, len);

	if (!held) {
		return -ENOMEM;
	}
	memcpy(held, bytes, len);
	return 0;
}

/* The receiver of flow `from` is gone. What it sent before is still in our socket: pass that back
 * first, then the reset. */
static void receiver_gone(struct relay *r, int from, int error)
{
	struct relay_side *receiver = &r->side[other(from)];

	drop_held(&r->flow[from]);
	r->flow[from].broken = true;
	if (r->flow[other(from)].ended || error == ETIMEDOUT) {
		end_by_error(r, other(from), error);
		return;
	}
	receiver->readable = true;
	receiver->eager = true;
	loop_run_heavy_task(r->loop, &r->more, r->more.fn);
}

/* --- sending --------------------------------------------------------------------------------- */

static void count_sent(struct relay *r, int from, size_t len)
{
	struct relay_flow *flow = &r->flow[from];

	flow->bytes += len;
	flow->room -= len < flow->room ? len : flow->room;
	r->moved_ms = loop_now_ms(r->loop);
	r->answered = relay_half_closed(r);
}

/* Send; returns how many bytes were taken, 0 with `writable` cleared when none, or -errno when the
 * receiver is gone. */
static ssize_t send_some(struct relay *r, int from, const uint8_t *bytes, size_t len)
{
	struct relay_side *receiver = &r->side[other(from)];
	ssize_t n;

	do {
		n = send(receiver->watch.fd, bytes, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN) {
		return -errno;
	}
	if (n < (ssize_t)len) {
		receiver->writable = false;
	}
	if (n > 0) {
		count_sent(r, from, (size_t)n);
	}
	return n < 0 ? 0 : n;
}

/* Send what is held. True when nothing is held any more. */
static bool flush(struct relay *r, int from)
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
		receiver_gone(r, from, (int)-n);
		return false;
	}
	flow->held_offset += (size_t)n;
	if (flow->held_offset < flow->held_len) {
		return false;
	}
	drop_held(flow);
	return true;
}

/* --- moving ---------------------------------------------------------------------------------- */

/* Have events for bytes that come, or none. Urgent data is among them: epoll would look at the
 * socket for every packet, and find that it is writable. An error leaves it as it was. */
static void mute(struct relay_side *sender, bool muted)
{
	const uint32_t unwanted = muted ? LOOP_READ | LOOP_URGENT : 0;

	if (sender->muted != muted && watch_modify(&sender->watch, RELAY_EVENTS & ~unwanted) == 0) {
		sender->muted = muted;
	}
}

/* Its socket is empty: there has to be an event for what comes. */
static void wait_for_bytes(struct relay_side *sender)
{
	sender->readable = false;
	mute(sender, false);
}

/* Read at most len bytes into the scratch buffer. > 0: bytes; 0: nothing now (or the end, or the
 * relay is ending). */
static size_t read_some(struct relay *r, int from, size_t len)
{
	struct relay_side *sender = &r->side[from];
	ssize_t n;

	do {
		n = recv(sender->watch.fd, r->scratch, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		/* A short read has emptied the socket; epoll(7) promises an event for what comes
		 * later. */
		if ((size_t)n < len && !sender->eager) {
			wait_for_bytes(sender);
		}
		return (size_t)n;
	}
	wait_for_bytes(sender);
	if (n == 0) {
		r->flow[from].ended = true;
		r->moved_ms = loop_now_ms(r->loop);
	} else if (errno != EAGAIN) {
		end_by_error(r, from, errno);
	}
	return 0;
}

/* Read at most len bytes and send them. Returns how many were read. */
static size_t copy(struct relay *r, int from, size_t len)
{
	size_t got = read_some(r, from, len);
	ssize_t n = got > 0 ? send_some(r, from, r->scratch, got) : 0;

	if (n < 0) {
		receiver_gone(r, from, (int)-n);
	} else if ((size_t)n < got &&
		   hold_copy(&r->flow[from], r->scratch + n, got - (size_t)n) < 0) {
		end(r, RELAY_NO_MEMORY);
	}
	return got;
}

/* A small read, which also decides about the end. */
static void move_small(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];
	size_t len = r->scratch_bytes < RELAY_SMALL_BYTES ? r->scratch_bytes : RELAY_SMALL_BYTES;

	if (copy(r, from, len) >= BULK_BYTES) {
		flow->gear = RELAY_BULK;
		flow->poor = 0;
	} else if (flow->gear == RELAY_PROBE) {
		flow->gear = RELAY_BULK;
	}
}

/* What the receiver's socket has room for. 0 with `writable` cleared when that has to be waited
 * for: the kernel says when a third is free, and less would make for small pieces. */
static size_t ask_room(struct relay_side *receiver)
{
	uint32_t memory[SK_MEMINFO_VARS];
	socklen_t size = sizeof memory;
	struct pollfd ready = { .fd = receiver->watch.fd, .events = POLLOUT };
	size_t room = 0;

	if (getsockopt(receiver->watch.fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0) {
		return RELAY_BULK_BYTES;
	}
	if (memory[SK_MEMINFO_SNDBUF] > memory[SK_MEMINFO_WMEM_QUEUED]) {
		room = memory[SK_MEMINFO_SNDBUF] - memory[SK_MEMINFO_WMEM_QUEUED];
	}
	/* poll() that finds no room has an event sent when there is. */
	if ((room < ROOM_MIN_BYTES || room < memory[SK_MEMINFO_SNDBUF] / 3) &&
	    poll(&ready, 1, 0) == 0) {
		receiver->writable = false;
		return 0;
	}
	return room > ROOM_MIN_BYTES ? room : ROOM_MIN_BYTES;
}

/* So much a bulk read has given. */
static void note_bulk(struct relay_flow *flow, size_t got)
{
	flow->poor = got < BULK_BYTES ? flow->poor + 1 : 0;
	if (flow->poor == POOR_MAX) {
		flow->gear = RELAY_SMALL;
	}
}

/* Whether splice() failed for a reason that lies in itself: not made for such descriptors, or not
 * allowed to this process. */
static bool splice_is_unsupported(int error)
{
	return error == EINVAL || error == ENOSYS || error == EPERM;
}

/* Hold the len bytes that are in the pipe. 0 or -errno. */
static int hold_from_pipe(struct relay_flow *flow, const struct pipe *pipe, size_t len)
{
	uint8_t *held = hold(flow, len);

	while (held && len > 0) {
		ssize_t n = read(pipe->read_fd, held, len);

		if (n <= 0) {
			return -EIO;
		}
		held += n;
		len -= (size_t)n;
	}
	return held ? 0 : -ENOMEM;
}

/* Send the `len` bytes that are in the pipe. However that goes, the pipe is empty or closed
 * afterwards. */
static void send_from_pipe(struct relay *r, int from, size_t len)
{
	struct relay_side *receiver = &r->side[other(from)];
	struct relay_flow *flow = &r->flow[from];
	int error = 0;

	while (len > 0 && (error == 0 || error == EINTR)) {
		ssize_t n = splice(r->pipe->read_fd, NULL, receiver->watch.fd, NULL, len,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n > 0) {
			len -= (size_t)n;
			flow->spliced += (uint64_t)n;
			count_sent(r, from, (size_t)n);
			error = 0;
		} else {
			error = n < 0 ? errno : EPIPE;
		}
	}
	if (len == 0) {
		pipe_taken(r->pipe);
		return;
	}
	if (error != EAGAIN && !splice_is_unsupported(error)) {
		pipe_close(r->pipe);
		receiver_gone(r, from, error);
		return;
	}
	if (error == EAGAIN) {
		/* It had less room than it said. */
		receiver->writable = false;
		flow->room = 0;
		pipe_refused(r->pipe, len);
	}
	if (hold_from_pipe(flow, r->pipe, len) < 0) {
		pipe_close(r->pipe);
		end(r, RELAY_NO_MEMORY);
	} else if (error != EAGAIN) {
		pipe_disable(r->pipe);
	}
}

/* Splice at most len bytes. */
static void move_by_pipe(struct relay *r, int from, size_t len)
{
	struct relay_flow *flow = &r->flow[from];
	ssize_t n = splice(r->side[from].watch.fd, NULL, r->pipe->write_fd, NULL, len,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n > 0) {
		note_bulk(flow, (size_t)n);
		send_from_pipe(r, from, (size_t)n);
		return;
	}
	flow->gear = RELAY_PROBE;
	if (n == 0 || errno == EAGAIN) {
		return;
	}
	if (splice_is_unsupported(errno)) {
		pipe_disable(r->pipe);
	} else if (errno != EINTR && errno != ENOMEM) {
		end_by_error(r, from, errno);
	}
}

static void move_bulk(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];
	size_t len;

	if (flow->room < ROOM_KNOWN_BYTES) {
		flow->room = ask_room(&r->side[other(from)]);
	}
	if (flow->room == 0) {
		return;
	}
	len = flow->room < pipe_piece(r->pipe) ? flow->room : pipe_piece(r->pipe);
	if (pipe_ready(r->pipe, loop_now_ms(r->loop))) {
		move_by_pipe(r, from, len);
		return;
	}
	r->pipeless++;
	note_bulk(flow, copy(r, from, len < r->scratch_bytes ? len : r->scratch_bytes));
}

/* The FIN of flow `from` has been read and all bytes before it passed on. */
static void finish(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];

	flow->finished = true;
	if (r->flow[other(from)].broken) {
		end_by_error(r, from, ECONNRESET);
	} else if (r->flow[other(from)].finished) {
		/* Both ways are done; closing sends this FIN too. */
		end(r, RELAY_FINISHED);
	} else if (shutdown(r->side[other(from)].watch.fd, SHUT_WR) < 0) {
		receiver_gone(r, from, errno);
	} else {
		r->ops->on_half_close(r);
	}
}

/* Whether there is something to move, and room for it. What is held goes first, and an end is
 * passed on. */
static bool may_move(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];

	if (r->ending || flow->finished || flow->broken || !flush(r, from)) {
		return false;
	}
	if (flow->ended) {
		finish(r, from);
		return false;
	}
	return r->side[from].readable && r->side[other(from)].writable;
}

static void wait_turn(struct relay *r)
{
	if (!r->ending) {
		loop_run_heavy_task(r->loop, &r->more, r->more.fn);
	}
}

/* Something has happened to one of the sockets: move bytes of one direction at once as long as it
 * is small; a bulk flow waits for its turn, so that those who have waited longer get theirs. */
static void pump(struct relay *r, int from)
{
	for (int round = 0; may_move(r, from); round++) {
		if (r->flow[from].gear != RELAY_SMALL || round == TURN_ROUNDS) {
			wait_turn(r);
			return;
		}
		move_small(r, from);
	}
}

/* The turn of one direction, bulk or not. */
static void take_turn(struct relay *r, int from)
{
	struct relay_flow *flow = &r->flow[from];
	uint64_t bytes_before = flow->bytes;

	for (int round = 0; may_move(r, from); round++) {
		if (round == TURN_ROUNDS || flow->bytes - bytes_before >= TURN_BYTES) {
			wait_turn(r);
			return;
		}
		if (flow->gear == RELAY_BULK) {
			move_bulk(r, from);
		} else {
			move_small(r, from);
		}
	}
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_more(struct task *task)
{
	struct relay *r = container_of(task, struct relay, more);

	take_turn(r, RELAY_CLIENT);
	take_turn(r, RELAY_TARGET);
}

/* Bytes have come; when that was known and cannot be made use of, no more is to be heard of it. */
static void note_bytes(struct relay *r, int side)
{
	struct relay_side *s = &r->side[side];

	if (s->readable && !r->side[other(side)].writable && r->flow[side].gear == RELAY_BULK) {
		mute(s, true);
	}
	s->readable = true;
}

static void on_ready(struct relay *r, int side, uint32_t events)
{
	struct relay_side *s = &r->side[side];

	if (events & (LOOP_URGENT | LOOP_RDHUP | LOOP_HANGUP | LOOP_ERROR)) {
		s->eager = true;
		s->readable = true;
	}
	if (events & LOOP_READ) {
		note_bytes(r, side);
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

/* --- the life of a relay --------------------------------------------------------------------- */

int relay_early_data(struct relay *r, const uint8_t *bytes, size_t len)
{
	return len > 0 ? hold_copy(&r->flow[RELAY_CLIENT], bytes, len) : 0;
}

static void start_side(struct relay_side *side, uint32_t stall_ms, watch_fn on_ready_fn)
{
	const unsigned limit_ms = stall_ms;
	const int on = 1;

	side->watch.on_ready = on_ready_fn;
	side->writable = true;
	setsockopt(side->watch.fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
	/* The kernel sees what we cannot: whether the peer acknowledges, and whether its window
	 * opens. It breaks the connection with ETIMEDOUT. */
	setsockopt(side->watch.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

void relay_start(struct relay *r, const struct relay_ops *ops)
{
	r->ops = ops;
	start_side(&r->side[RELAY_CLIENT], r->stall_ms, on_client);
	start_side(&r->side[RELAY_TARGET], r->stall_ms, on_target);
	r->moved_ms = loop_now_ms(r->loop);
	r->more.fn = on_more;
	if (r->flow[RELAY_CLIENT].held || r->side[RELAY_CLIENT].readable ||
	    r->side[RELAY_TARGET].readable) {
		loop_run_heavy_task(r->loop, &r->more, on_more);
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
