/* SPDX-License-Identifier: ISC */
#include "common/dns/transport.h"

#include "common/container.h"
#include "common/dns/asked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 65535,
	RECV_PER_EVENT =
		16,      /* datagrams a flooded socket may take before the others get their turn */
	SPARE_MAX = 256, /* structures kept without a socket, in quiet times */
	IDLE_MAX = 512,  /* sockets kept for the next messages, in busy ones */
	DRAIN_MAX = 8,   /* datagrams thrown away for an idle socket; then it is closed */
	OUTBOX_MAX = 32, /* messages that leave together */
	OUTBOX_BYTES = 8192,
};

/* Edge-triggered, as the socket is found empty after each event, or given up. */
#define FLIGHT_EVENTS (LOOP_READ | LOOP_EDGE)

/* One message on its way: its socket with a random port, and what was asked. A spare one has no
 * socket, an idle one a socket without port. */
struct flight {
	struct watch watch;
	struct udp *udp;
	struct flight *next; /* sent later; or the next spare, idle or refused one */
	struct flight *prev; /* sent before */
	uint64_t due_ms;     /* when the wait is over */
	int fd;
	int error; /* why it was refused */
	bool in_air;
	bool queued; /* not sent yet: what comes is not for it */
	struct asked asked;
};

/* Messages leave together at the end of the turn: a server that is woken for the first has the
 * others to do when it would sleep again, so most need not wake it (5 % of a question's cost). */
struct outbox {
	unsigned count;
	struct flight *flights[OUTBOX_MAX];
	size_t lens[OUTBOX_MAX];
	size_t bytes_used;
	uint8_t bytes[OUTBOX_BYTES];
};

struct udp {
	struct transport transport;
	struct transport_config config;
	const struct transport_user *user_ops;
	void *user;
	struct deferred deferred;

	/* All wait equally long, so the order of sending is the order of expiry and one timer does
	 * for all. */
	struct timer timer;
	struct flight *oldest;
	struct flight *newest;
	uint32_t open_count;
	struct flight *spare;
	uint32_t spare_count;
	struct flight *idle;
	uint32_t idle_count;

	struct task out_task;
	struct flight *refused; /* by our own kernel; told at the end of the turn */
	struct outbox outbox;
	uint8_t inbox[MESSAGE_MAX];
};

static struct udp *udp_of(struct transport *transport)
{
	return container_of(transport, struct udp, transport);
}

/* --- sockets --------------------------------------------------------------------------------- */

static void flight_on_ready(struct watch *watch, uint32_t events);

/* Give a spare flight a socket, without a port yet. 0 or -errno. */
static int flight_open(struct flight *flight)
{
	struct udp *udp = flight->udp;
	int family = udp->config.server.sa.sa_family;
	int r;

	flight->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (flight->fd < 0) {
		return -errno;
	}
	r = watch_start(&flight->watch, udp->config.loop, flight->fd, FLIGHT_EVENTS,
			flight_on_ready);
	if (r < 0) {
		close(flight->fd);
	}
	return r;
}

static void flight_spare(struct flight *flight)
{
	struct udp *udp = flight->udp;

	flight->queued = false;
	flight->next = udp->spare;
	udp->spare = flight;
	udp->spare_count++;
}

/* Closing the only descriptor of a socket takes it off the epoll set too, so the watch is just
 * marked as stopped, which saves the system call of watch_stop(). The memory stays: an event for
 * the watch may be fetched already. */
static void flight_close(struct flight *flight)
{
	flight->watch.loop = NULL;
	close(flight->fd);
	flight_spare(flight);
}

/* Give up the port: from here on nothing can be put into the socket, and what is in it is thrown
 * away, as it was sent to that port. False when that does not work out. */
static bool flight_unbind(const struct flight *flight)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	uint8_t byte;

	if (connect(flight->fd, &none, sizeof none) < 0) {
		return false;
	}
	for (unsigned i = 0; i < DRAIN_MAX; i++) {
		if (recv(flight->fd, &byte, sizeof byte, 0) < 0 && errno == EAGAIN) {
			return true;
		}
	}
	return false;
}

/* The flight is over. A socket of its own for the next message would be closed now and opened anew
 * then; giving it another port costs a third of that. */
static void flight_ground(struct flight *flight)
{
	struct udp *udp = flight->udp;

	if (udp->idle_count == IDLE_MAX || !flight_unbind(flight)) {
		flight_close(flight);
		return;
	}
	flight->next = udp->idle;
	udp->idle = flight;
	udp->idle_count++;
}

static void udp_close_idle(struct udp *udp)
{
	while (udp->idle) {
		struct flight *flight = udp->idle;

		udp->idle = flight->next;
		udp->idle_count--;
		flight_close(flight);
	}
}

static struct flight *udp_take_spare(struct udp *udp)
{
	struct flight *flight = udp->spare;

	if (flight) {
		udp->spare = flight->next;
		udp->spare_count--;
		return flight;
	}
	flight = calloc(1, sizeof *flight);
	if (flight) {
		flight->udp = udp;
	}
	return flight;
}

/* A flight with a socket without port, or NULL with *ret_error, a negative errno. */
static struct flight *udp_take_flight(struct udp *udp, int *ret_error)
{
	struct flight *flight = udp->idle;

	if (flight) {
		udp->idle = flight->next;
		udp->idle_count--;
		return flight;
	}
	flight = udp_take_spare(udp);
	*ret_error = flight ? flight_open(flight) : -ENOMEM;
	if (flight && *ret_error < 0) {
		flight_spare(flight);
		flight = NULL;
	}
	return flight;
}

/* --- flights --------------------------------------------------------------------------------- */

/* Send from a random port, which the kernel chooses as it connects. 0 or -errno. */
static int flight_send(const struct flight *flight, const uint8_t *msg, size_t len)
{
	const struct addr *server = &flight->udp->config.server;

	if (connect(flight->fd, &server->sa, addr_len(server)) < 0 ||
	    send(flight->fd, msg, len, MSG_NOSIGNAL) < 0) {
		return -errno;
	}
	return 0;
}

static void flight_take_off(struct flight *flight)
{
	struct udp *udp = flight->udp;

	flight->due_ms = loop_now_ms(udp->config.loop) + udp->config.timeout_ms;
	flight->prev = udp->newest;
	flight->next = NULL;
	*(udp->newest ? &udp->newest->next : &udp->oldest) = flight;
	udp->newest = flight;
	udp->open_count++;
	flight->in_air = true;
}

static void flight_land(struct flight *flight)
{
	struct udp *udp = flight->udp;

	*(flight->prev ? &flight->prev->next : &udp->oldest) = flight->next;
	*(flight->next ? &flight->next->prev : &udp->newest) = flight->prev;
	udp->open_count--;
	flight->in_air = false;
}

/* Pass on what came if it answers; the flight is over then. */
static bool flight_take_answer(struct flight *flight, size_t len)
{
	struct udp *udp = flight->udp;
	uint8_t restored[ASKED_RESTORED_MAX];
	const uint8_t *msg = udp->inbox;
	enum asked_fit fit = asked_fit(&flight->asked, udp->inbox, len);

	if (fit == ASKED_OTHER || fit == ASKED_OTHER_CASE) {
		udp->transport.dropped_count++;
		if (udp->user_ops->on_dropped) {
			udp->user_ops->on_dropped(udp->user, flight->asked.bytes, flight->asked.len,
						  fit == ASKED_OTHER_CASE);
		}
		return false;
	}
	if (fit == ASKED_BARE) {
		len = asked_restore(&flight->asked, udp->inbox, len, restored);
		msg = restored;
	}
	flight_land(flight);
	flight_ground(flight);
	udp->user_ops->on_message(udp->user, msg, len);
	return true;
}

static void flight_fail(struct flight *flight, int error)
{
	struct udp *udp = flight->udp;
	const struct asked asked =
		flight->asked; /* the flight may be in the air again during the upcall */

	flight_land(flight);
	flight_ground(flight);
	udp->user_ops->on_failed(udp->user, asked.bytes, asked.len, error);
}

static bool is_waiting(const struct flight *flight)
{
	return flight->in_air && !flight->queued;
}

/* An idle socket can have something in it all the same: for what was on its way the kernel may have
 * found it while it had its port still. That is thrown away. */
static void flight_on_ready(struct watch *watch, uint32_t events)
{
	struct flight *flight = container_of(watch, struct flight, watch);
	struct udp *udp = flight->udp;
	int error = 0;
	unsigned i = 0;

	(void)events;
	for (; i < RECV_PER_EVENT; i++) {
		ssize_t n = recv(flight->fd, udp->inbox, sizeof udp->inbox, 0);

		if (n >= 0) {
			if (is_waiting(flight) && flight_take_answer(flight, (size_t)n)) {
				return;
			}
		} else if (errno == EAGAIN || (error && errno != EINTR)) {
			break;
		} else if (errno != EINTR) {
			error = errno; /* an ICMP error; the answer may be queued behind it */
		}
	}
	if (error && is_waiting(flight)) {
		flight_fail(flight, error);
	} else if (i == RECV_PER_EVENT) {
		/* There may be more, for which this makes an event. */
		(void)watch_modify(watch, FLIGHT_EVENTS);
	}
}

/* --- sending --------------------------------------------------------------------------------- */

/* Send what is in the outbox. */
static void udp_send_out(struct udp *udp)
{
	const uint8_t *msg = udp->outbox.bytes;
	unsigned count = udp->outbox.count;

	udp->outbox.count = 0;
	udp->outbox.bytes_used = 0;
	for (unsigned i = 0; i < count; i++) {
		struct flight *flight = udp->outbox.flights[i];

		flight->queued = false;
		flight->error = -flight_send(flight, msg, udp->outbox.lens[i]);
		msg += udp->outbox.lens[i];
		if (flight->error != 0) {
			flight_land(flight);
			flight->next = udp->refused;
			udp->refused = flight;
		}
	}
}

static void udp_on_out(struct task *task)
{
	struct udp *udp = container_of(task, struct udp, out_task);

	udp_send_out(udp);
	while (udp->refused) {
		struct flight *flight = udp->refused;
		const struct asked asked = flight->asked;
		int error = flight->error;

		udp->refused = flight->next;
		flight_close(flight);
		udp->user_ops->on_failed(udp->user, asked.bytes, asked.len, error);
	}
}

/* Put a message into the outbox. */
static void udp_queue(struct udp *udp, struct flight *flight, const uint8_t *msg, size_t len)
{
	struct outbox *outbox = &udp->outbox;

	if (outbox->count == OUTBOX_MAX || len > OUTBOX_BYTES - outbox->bytes_used) {
		udp_send_out(udp);
	}
	memcpy(outbox->bytes + outbox->bytes_used, msg, len);
	outbox->bytes_used += len;
	outbox->lens[outbox->count] = len;
	outbox->flights[outbox->count++] = flight;
	flight->queued = true;
	loop_run_task(udp->config.loop, &udp->out_task, udp_on_out);
}

static void udp_free_spares(struct udp *udp, uint32_t keep_count)
{
	while (udp->spare_count > keep_count) {
		free(udp_take_spare(udp));
	}
}

/* Runs from the first message on until nothing is in the air. No event is waiting to be
 * dispatched meanwhile, so this is where memory can be given back. */
static void udp_on_timer(struct timer *timer)
{
	struct udp *udp = container_of(timer, struct udp, timer);
	struct loop *loop = udp->config.loop;
	uint64_t now_ms = loop_now_ms(loop);

	/* One that is still in the outbox (the process was stopped meanwhile, say) is sent first.
	 */
	while (udp->oldest && !udp->oldest->queued && udp->oldest->due_ms <= now_ms) {
		struct flight *flight = udp->oldest;

		flight_land(flight);
		flight_ground(flight);
	}
	/* Starting cannot fail: this timer has just left its place in the heap. */
	if (udp->oldest) {
		timer_start(timer, loop, udp->oldest->due_ms, udp_on_timer);
	} else {
		udp_close_idle(udp);
		udp_free_spares(udp, SPARE_MAX);
	}
}

/* --- the interface --------------------------------------------------------------------------- */

static struct transport *udp_open(const struct transport_config *config,
				  const struct transport_user *user_ops, void *user)
{
	struct udp *udp = malloc(sizeof *udp);

	if (!udp) {
		return NULL;
	}
	/* All but the buffers: the inbox's pages stay untouched until a message is that long. */
	memset(udp, 0, offsetof(struct udp, outbox.bytes));
	udp->transport.ops = &transport_udp;
	udp->config = *config;
	udp->user_ops = user_ops;
	udp->user = user;
	return &udp->transport;
}

/* The timer is set for the first message and stays until it is due: it is early then for those sent
 * later. */
static int udp_arm(struct udp *udp)
{
	struct loop *loop = udp->config.loop;
	uint64_t due_ms = loop_now_ms(loop) + udp->config.timeout_ms;

	if (timer_active(&udp->timer) && udp->timer.due_ms <= due_ms) {
		return 0;
	}
	return timer_start(&udp->timer, loop, due_ms, udp_on_timer);
}

static int udp_send(struct transport *transport, const uint8_t *msg, size_t len)
{
	struct udp *udp = udp_of(transport);
	struct flight *flight;
	int r;

	if (udp->open_count >= udp->config.max_open) {
		return -ENOBUFS;
	}
	if (len > OUTBOX_BYTES) {
		return -EMSGSIZE;
	}
	flight = udp_take_flight(udp, &r);
	if (!flight) {
		return r;
	}
	r = asked_set(&flight->asked, msg, len);
	if (r == 0) {
		r = udp_arm(udp);
	}
	if (r < 0) {
		flight_close(flight);
		return r;
	}
	flight_take_off(flight);
	udp_queue(udp, flight, msg, len);
	return 0;
}

static void udp_free(struct deferred *deferred)
{
	struct udp *udp = container_of(deferred, struct udp, deferred);

	udp_free_spares(udp, 0);
	free(udp);
}

/* The flights live on until the end of the turn: events for them may be fetched already. */
static void udp_close(struct transport *transport)
{
	struct udp *udp = udp_of(transport);
	struct flight *flight;

	while (udp->oldest) {
		flight = udp->oldest;
		flight_land(flight);
		flight_close(flight);
	}
	while (udp->refused) {
		flight = udp->refused;
		udp->refused = flight->next;
		flight_close(flight);
	}
	udp->outbox.count = 0;
	task_cancel(&udp->out_task);
	udp_close_idle(udp);
	timer_stop(&udp->timer);
	loop_free_later(udp->config.loop, &udp->deferred, udp_free);
}

const struct transport_ops transport_udp = {
	.name = "udp",
	.socket_type = SOCK_DGRAM,
	.open = udp_open,
	.send = udp_send,
	.close = udp_close,
};
