/* SPDX-License-Identifier: ISC */
#include "socksd/session.h"

#include "socksd/session_private.h"

#include "common/container.h"
#include "common/log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LINGER_MS = 1000, /* how long a refused client may take to read the refusal */
};

/* The life of a session. `handler` looks at bytes from the client; without one they wait in the
 * socket. */
static const struct session_row {
	const char *name;
	enum progress (*handler)(struct session *s);
} session_table[] = {
	[SESSION_GREETING] = { "greeting", session_on_greeting },
	[SESSION_AUTH] = { "auth", session_on_auth },
	[SESSION_VERIFY] = { "verify", NULL },
	[SESSION_REQUEST] = { "request", session_on_request },
	[SESSION_DIAL] = { "dial", NULL },
	[SESSION_RELAY] = { "relay", NULL },
	[SESSION_LINGER] = { "linger", session_on_linger },
	[SESSION_ENDED] = { "ended", NULL },
};

static void on_deadline(struct timer *timer);

struct relay_side *session_client(struct session *s)
{
	return &s->relay.side[RELAY_CLIENT];
}

void session_count(struct session *s, enum socksd_metric metric, int64_t amount)
{
	metrics_add(s->context->metrics, metric, amount);
}

/* --- states and deadlines -------------------------------------------------------------------- */

/* When the state that begins now has lasted too long. The handshake has one deadline from accept
 * on. */
static uint64_t deadline_of(const struct session *s, enum session_state state)
{
	const struct limits_params *limits = s->context->config->limits;
	uint64_t now_ms = loop_now_ms(s->context->loop);

	switch (state) {
	case SESSION_DIAL:
		return now_ms + limits->connect_timeout_ms;
	case SESSION_RELAY:
		return now_ms + limits->idle_timeout_ms;
	case SESSION_LINGER:
		return now_ms + LINGER_MS;
	default:
		return s->accepted_ms + limits->handshake_timeout_ms;
	}
}

/* Go to a later state. 0 or -ENOMEM. */
int session_enter(struct session *s, enum session_state state)
{
	log_event(LOG_LEVEL_DEBUG, "session-state", KV_ADDR("client", &s->client),
		  KV_TEXT("from", session_table[s->state].name),
		  KV_TEXT("to", session_table[state].name));
	s->state = state;
	return timer_start(&s->deadline, s->context->loop, deadline_of(s, state), on_deadline);
}

/* --- the end --------------------------------------------------------------------------------- */

static const struct session_end_row {
	const char *token;
} session_end_table[] = {
#define X(name, text) [SESSION_END_##name] = { text },
	SESSION_ENDS(X)
#undef X
};

const char *session_end_name(enum session_end_reason reason)
{
	return session_end_table[reason].token;
}

/* Which sides get a reset: those that must not take the end for an orderly one. */
static unsigned sides_to_reset(enum session_end_reason reason)
{
	switch (reason) {
	case SESSION_END_CLIENT_RESET:
		return 1u << RELAY_TARGET;
	case SESSION_END_TARGET_RESET:
		return 1u << RELAY_CLIENT;
	case SESSION_END_IDLE_TIMEOUT:
	case SESSION_END_NO_MEMORY:
	case SESSION_END_SHUTDOWN:
		return 1u << RELAY_CLIENT | 1u << RELAY_TARGET;
	default:
		return 0;
	}
}

static void count_end(struct session *s, enum session_end_reason reason)
{
	static const int metric_of[] = {
		[SESSION_END_FINISHED] = METRIC_COUNT,
		[SESSION_END_CLIENT_RESET] = METRIC_resets_passed,
		[SESSION_END_TARGET_RESET] = METRIC_resets_passed,
		[SESSION_END_IDLE_TIMEOUT] = METRIC_idle_timeout,
		[SESSION_END_GONE] = METRIC_handshake_gone,
		[SESSION_END_HANDSHAKE_TIMEOUT] = METRIC_handshake_timeout,
		[SESSION_END_INVALID] = METRIC_handshake_invalid,
		[SESSION_END_AUTH_FAILED] = METRIC_auth_failed,
		[SESSION_END_AUTH_OVERLOAD] = METRIC_auth_overload,
		[SESSION_END_DENIED] = METRIC_dial_denied,
		[SESSION_END_UNREACHABLE] = METRIC_dial_failed,
		[SESSION_END_CONNECT_TIMEOUT] = METRIC_dial_timeout,
		[SESSION_END_NO_MEMORY] = METRIC_refused_memory,
		[SESSION_END_SHUTDOWN] = METRIC_COUNT,
	};

	if (metric_of[reason] != METRIC_COUNT) {
		session_count(s, (enum socksd_metric)metric_of[reason], 1);
	}
	session_count(s, METRIC_sessions_now, -1);
	session_count(s, METRIC_bytes_up, (int64_t)s->relay.flow[RELAY_CLIENT].bytes);
	session_count(s, METRIC_bytes_down, (int64_t)s->relay.flow[RELAY_TARGET].bytes);
	if (s->state == SESSION_RELAY) {
		session_count(s, METRIC_sessions_relaying_now, -1);
	}
}

static void log_end(struct session *s, enum session_end_reason reason)
{
	uint64_t duration_ms = loop_now_ms(s->context->loop) - s->accepted_ms;

	log_event(
		LOG_LEVEL_INFO, "session-end", KV_ADDR("client", &s->client),
		KV_BYTES("user", s->user ? (const void *)s->user : "-", s->user ? s->user_len : 1),
		KV_TEXT("destination", s->target),
		KV_UINT("bytes_up", s->relay.flow[RELAY_CLIENT].bytes),
		KV_UINT("bytes_down", s->relay.flow[RELAY_TARGET].bytes),
		KV_UINT("duration_ms", duration_ms), KV_TEXT("end", session_end_name(reason)),
		KV_TEXT("why", s->why));
}

static void free_session(struct deferred *deferred)
{
	struct session *s = container_of(deferred, struct session, deferred);

	free(s->user);
	free(s->target);
	free(s);
}

static void unlink_session(struct session *s)
{
	if (s->prev) {
		s->prev->next = s->next;
	} else {
		s->context->sessions = s->next;
	}
	if (s->next) {
		s->next->prev = s->prev;
	}
}

/* The single exit. */
void session_end(struct session *s, enum session_end_reason reason)
{
	struct context *context = s->context;

	if (s->state == SESSION_ENDED) {
		return;
	}
	count_end(s, reason);
	log_end(s, reason);
	s->state = SESSION_ENDED;
	timer_stop(&s->deadline);
	session_free_handshake(s);
	relay_done(&s->relay, sides_to_reset(reason));
	unlink_session(s);
	loop_free_later(context->loop, &s->deferred, free_session);
	context->on_session_end(context);
}

/* --- relaying -------------------------------------------------------------------------------- */

static void on_relay_end(struct relay *relay, enum relay_outcome outcome)
{
	static const enum session_end_reason reason_of[] = {
		[RELAY_FINISHED] = SESSION_END_FINISHED,
		[RELAY_CLIENT_RESET] = SESSION_END_CLIENT_RESET,
		[RELAY_TARGET_RESET] = SESSION_END_TARGET_RESET,
		[RELAY_NO_MEMORY] = SESSION_END_NO_MEMORY,
	};

	session_end(container_of(relay, struct session, relay), reason_of[outcome]);
}

/* The target is connected and the client has been told: join them. */
void session_start_relay(struct session *s)
{
	struct handshake *h = s->handshake;

	if (relay_early_data(&s->relay, h->in, h->in_len) < 0 ||
	    session_enter(s, SESSION_RELAY) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return;
	}
	session_free_handshake(s);
	session_count(s, METRIC_sessions_relaying_now, 1);
	session_count(s, METRIC_sessions_established, 1);
	relay_start(&s->relay, on_relay_end);
}

/* How long nothing may move now. */
static uint64_t idle_limit_ms(const struct session *s)
{
	const struct limits_params *limits = s->context->config->limits;

	if (relay_half_closed(&s->relay) &&
	    limits->half_close_timeout_ms < limits->idle_timeout_ms) {
		return limits->half_close_timeout_ms;
	}
	return limits->idle_timeout_ms;
}

/* The timer is not moved with every byte: when it comes due, it looks whether it really is. */
static void on_idle(struct session *s)
{
	uint64_t due_ms = s->relay.moved_ms + idle_limit_ms(s);

	if (due_ms > loop_now_ms(s->context->loop)) {
		timer_start(&s->deadline, s->context->loop, due_ms, on_deadline);
	} else {
		session_end(s, SESSION_END_IDLE_TIMEOUT);
	}
}

/* --- events ---------------------------------------------------------------------------------- */

/* Read what fits. False when the session has ended. */
static bool fill(struct session *s)
{
	struct relay_side *side = session_client(s);
	struct handshake *h = s->handshake;
	size_t room = sizeof h->in - h->in_len;
	ssize_t n;

	if (!side->readable || room == 0) {
		return true;
	}
	n = recv(side->watch.fd, h->in + h->in_len, room, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		/* An end before the request is complete. */
		session_end(s, SESSION_END_GONE);
		return false;
	}
	if (n > 0) {
		h->in_len += (size_t)n;
	}
	/* A short read has emptied the socket. */
	side->readable = n == (ssize_t)room || side->fin_seen || (n < 0 && errno == EINTR);
	return true;
}

/* Let the handlers look at what is there, as long as they get further. */
void session_advance(struct session *s)
{
	while (session_table[s->state].handler) {
		size_t had = s->handshake ? s->handshake->in_len : 0;
		enum progress progress = session_table[s->state].handler(s);

		if (progress == PROGRESS_NEXT) {
			continue;
		}
		if (s->state == SESSION_ENDED || s->state == SESSION_LINGER ||
		    !session_table[s->state].handler) {
			return;
		}
		if (!fill(s) || s->handshake->in_len == had) {
			return;
		}
	}
}

static void on_client(struct watch *watch, uint32_t events)
{
	struct session *s = container_of(watch, struct session, relay.side[RELAY_CLIENT].watch);
	struct relay_side *side = session_client(s);

	if (events & (LOOP_READ | LOOP_RDHUP)) {
		side->readable = true;
	}
	if (events & LOOP_RDHUP) {
		side->fin_seen = true;
	}
	if (events & (LOOP_ERROR | LOOP_HANGUP) && s->state != SESSION_LINGER) {
		session_end(s, SESSION_END_GONE);
		return;
	}
	if (session_table[s->state].handler) {
		session_advance(s);
	}
}

static void on_deadline(struct timer *timer)
{
	struct session *s = container_of(timer, struct session, deadline);

	switch (s->state) {
	case SESSION_RELAY:
		on_idle(s);
		break;
	case SESSION_DIAL:
		session_on_connect_timeout(s);
		break;
	case SESSION_LINGER:
		session_end(s, s->refused_for);
		break;
	default:
		session_end(s, SESSION_END_HANDSHAKE_TIMEOUT);
	}
}

/* --- start, and all at once ------------------------------------------------------------------ */

static struct session *new_session(struct context *context, const struct addr *client)
{
	struct session *s = calloc(1, sizeof *s);

	if (!s) {
		return NULL;
	}
	s->handshake = calloc(1, sizeof *s->handshake);
	if (!s->handshake) {
		free(s);
		return NULL;
	}
	s->context = context;
	s->client = addr_unmap(client);
	s->accepted_ms = loop_now_ms(context->loop);
	s->relay.loop = context->loop;
	s->relay.scratch = context->scratch;
	s->relay.scratch_bytes = context->scratch_bytes;
	return s;
}

int session_start(struct context *context, int fd, const struct addr *client,
		  const struct listen_config *listen, const struct addr *listener)
{
	const int on = 1;
	struct session *s = new_session(context, client);
	int r = s ? watch_start(&s->relay.side[RELAY_CLIENT].watch, context->loop, fd, RELAY_EVENTS,
				on_client)
		  : -ENOMEM;

	if (r < 0) {
		close(fd);
		if (s) {
			free(s->handshake);
			free(s);
		}
		return r;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	s->handshake->listen = listen;
	s->handshake->listener = *listener;
	s->next = context->sessions;
	if (s->next) {
		s->next->prev = s;
	}
	context->sessions = s;
	session_count(s, METRIC_sessions_now, 1);
	if (session_enter(s, SESSION_GREETING) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
	}
	return 0;
}

void session_end_all(struct context *context)
{
	while (context->sessions) {
		session_end(context->sessions, SESSION_END_SHUTDOWN);
	}
}

/* A session that is about to be asked, or was, for what the new section does not want (or the other
 * way round) ends: neither may it pass without a password, nor is there anything to check one with.
 */
static void reconfigure(struct session *s, const struct config *next)
{
	struct handshake *h = s->handshake;
	const struct listen_config *listen = config_find_listen(next, &h->listener);
	bool settled = s->state == SESSION_GREETING || s->state >= SESSION_DIAL;

	if (!listen || (!settled && listen->params->auth != h->listen->params->auth)) {
		session_end(s, SESSION_END_SHUTDOWN);
	} else {
		h->listen = listen;
	}
}

void session_reconfigure_all(struct context *context, const struct config *next)
{
	struct session *s = context->sessions;

	while (s) {
		struct session *after = s->next;

		if (s->handshake) {
			reconfigure(s, next);
		}
		s = after;
	}
}
