/* SPDX-License-Identifier: ISC */
#include "socksd/session/session.h"

#include "socksd/session/session_private.h"

#include "common/container.h"
#include "common/crypto.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LINGER_MS = 1000, /* how long a refused client may take to read the refusal */
};

/* The life of a session. `handler` looks at bytes from the client, in the handshake's buffer or, if
 * it reads, in the socket; without one they wait there. */
static const struct session_row {
	const char *name;
	enum progress (*handler)(struct session *s);
	bool reads;
} session_table[] = {
	[SESSION_GREETING] = { "greeting", session_on_greeting, false },
	[SESSION_AUTH] = { "auth", session_on_auth, false },
	[SESSION_VERIFY] = { "verify", NULL, false },
	[SESSION_REQUEST] = { "request", session_on_request, false },
	[SESSION_DIAL] = { "dial", NULL, false },
	[SESSION_BIND] = { "bind", session_on_bind_data, false },
	[SESSION_RELAY] = { "relay", NULL, false },
	[SESSION_ASSOCIATE] = { "associate", session_on_control, true },
	[SESSION_LINGER] = { "linger", session_on_linger, true },
	[SESSION_ENDED] = { "ended", NULL, false },
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

enum privacy_clients session_log_clients(const struct session *s)
{
	return (enum privacy_clients)s->context->config->log->clients;
}

/* --- states and deadlines -------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

/* When the state that begins now has lasted too long. The handshake has one deadline from accept
 * on. */
static uint64_t deadline_of(const struct session *s, enum session_state state)
{
	const struct limits_params *limits = s->context->config->limits;
	uint64_t now_ms = loop_now_ms(s->context->loop);

	switch (state) {
	case SESSION_DIAL:
		return now_ms + limits->connect_timeout_ms;
	case SESSION_BIND:
		return now_ms + limits->bind_timeout_ms;
	case SESSION_RELAY:
		return now_ms + limits->idle_timeout_ms;
	case SESSION_ASSOCIATE:
		return now_ms + limits->udp_idle_timeout_ms;
	case SESSION_LINGER:
		return now_ms + LINGER_MS;
	default:
		return s->accepted_ms + limits->handshake_timeout_ms;
	}
}

/* Go to a later state. 0 or -ENOMEM. */
int session_enter(struct session *s, enum session_state state)
{
	char client[ADDR_TEXT_MAX];

	log_event(LOG_LEVEL_DEBUG, "session-state",
		  KV_TEXT("client", privacy_client(session_log_clients(s), &s->client, client)),
		  KV_TEXT("from", session_table[s->state].name),
		  KV_TEXT("to", session_table[state].name));
	s->state = state;
	if (s->half_open && state >= SESSION_DIAL) {
		struct source source = source_of(&s->client);

		s->half_open = false;
		clients_handshake_done(s->context->clients, &source);
	}
	return timer_start(&s->deadline, s->context->loop, deadline_of(s, state), on_deadline);
}

/* --- the end --------------------------------------------------------------------------------- */

static const struct session_end_row {
	const char *token;
	enum socksd_metric metric;
} session_end_table[] = {
#define X(name, text, metric) [SESSION_END_##name] = { text, metric },
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
	case SESSION_END_STALLED:
	case SESSION_END_NO_MEMORY:
	case SESSION_END_REVOKED:
	case SESSION_END_SHUTDOWN:
		return 1u << RELAY_CLIENT | 1u << RELAY_TARGET;
	default:
		return 0;
	}
}

static uint64_t bytes_up(const struct session *s)
{
	return s->associate ? associate_totals(s->associate).bytes_up
			    : s->relay.flow[RELAY_CLIENT].bytes;
}

static uint64_t bytes_down(const struct session *s)
{
	return s->associate ? associate_totals(s->associate).bytes_down
			    : s->relay.flow[RELAY_TARGET].bytes;
}

static void count_end(struct session *s, enum session_end_reason reason)
{
	enum socksd_metric metric = session_end_table[reason].metric;

	if (metric != METRIC_COUNT) {
		session_count(s, metric, 1);
	}
	session_count(s, METRIC_sessions_now, -1);
	session_count(s, METRIC_bytes_up, (int64_t)bytes_up(s));
	session_count(s, METRIC_bytes_down, (int64_t)bytes_down(s));
	session_count(s, METRIC_bytes_spliced,
		      (int64_t)(s->relay.flow[RELAY_CLIENT].spliced +
				s->relay.flow[RELAY_TARGET].spliced));
	session_count(s, METRIC_pipe_missing, s->relay.pipeless);
	if (s->state == SESSION_RELAY) {
		session_count(s, METRIC_sessions_relaying_now, -1);
	}
}

/* The rule that the session ends by. One that denied some address of the target, or somebody who
 * came to a BIND, is none. */
static const char *rule_of_end(const struct session *s)
{
	return s->refused_for == SESSION_END_DENIED ? s->rule : NULL;
}

static void log_end(struct session *s, enum session_end_reason reason)
{
	uint64_t duration_ms = loop_now_ms(s->context->loop) - s->accepted_ms;
	enum privacy_destinations destinations =
		(enum privacy_destinations)s->context->config->log->destinations;
	struct associate_totals udp =
		s->associate ? associate_totals(s->associate) : (struct associate_totals){ 0 };
	char client[ADDR_TEXT_MAX];
	char drops[ASSOCIATE_DROPS_TEXT_MAX];

	log_event(
		LOG_LEVEL_INFO, "session-end",
		KV_TEXT("client", privacy_client(session_log_clients(s), &s->client, client)),
		KV_BYTES("user", s->user ? (const void *)s->user : "-", s->user ? s->user_len : 1),
		KV_TEXT("command", s->command ? socks5_command_name(s->command) : NULL),
		KV_TEXT("destination", privacy_destination(destinations, s->target)),
		KV_UINT("bytes_up", bytes_up(s)), KV_UINT("bytes_down", bytes_down(s)),
		KV_UINT("datagrams_up", udp.datagrams_up),
		KV_UINT("datagrams_down", udp.datagrams_down),
		KV_TEXT("dropped", s->associate ? associate_drops(s->associate, drops) : NULL),
		KV_UINT("duration_ms", duration_ms), KV_TEXT("end", session_end_name(reason)),
		KV_TEXT("why", s->why), KV_TEXT("rule", rule_of_end(s)));
}

static void free_session(struct deferred *deferred)
{
	struct session *s = container_of(deferred, struct session, deferred);

	free(s->user);
	free(s->target);
	free(s->rule);
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
	struct source source = source_of(&s->client);

	if (s->state == SESSION_ENDED) {
		return;
	}
	session_stop_bind(s);
	session_forget_primary(s);
	count_end(s, reason);
	log_end(s, reason);
	session_end_associate(s);
	clients_leave(context->clients, &source, s->half_open);
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
		[RELAY_STALLED] = SESSION_END_STALLED,
		[RELAY_NO_MEMORY] = SESSION_END_NO_MEMORY,
	};

	session_end(container_of(relay, struct session, relay), reason_of[outcome]);
}

/* How long nothing may move now. A client that has closed its connection looks like one that has
 * only finished sending, until something is sent to it; so without an answer a half-closed session
 * does not live long. */
static uint64_t idle_limit_ms(const struct session *s)
{
	const struct limits_params *limits = s->context->config->limits;

	if (!relay_half_closed(&s->relay)) {
		return limits->idle_timeout_ms;
	}
	if (s->relay.answered) {
		return earlier(limits->idle_timeout_ms, limits->half_close_timeout_ms);
	}
	return earlier(limits->idle_timeout_ms,
		       earlier(limits->half_close_timeout_ms, limits->fin_timeout_ms));
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

static void on_associate_idle(struct session *s)
{
	uint64_t due_ms =
		associate_moved_ms(s->associate) + s->context->config->limits->udp_idle_timeout_ms;

	if (due_ms > loop_now_ms(s->context->loop)) {
		timer_start(&s->deadline, s->context->loop, due_ms, on_deadline);
	} else {
		session_end(s, SESSION_END_IDLE_TIMEOUT);
	}
}

/* The limits are other ones now. */
static void on_half_close(struct relay *relay)
{
	struct session *s = container_of(relay, struct session, relay);

	timer_start(&s->deadline, s->context->loop, relay->moved_ms + idle_limit_ms(s),
		    on_deadline);
}

/* The target is connected and the client has been told: join them. */
void session_start_relay(struct session *s)
{
	static const struct relay_ops ops = { .on_end = on_relay_end,
					      .on_half_close = on_half_close };
	struct handshake *h = s->handshake;

	if (relay_early_data(&s->relay, h->in, h->in_len) < 0 ||
	    session_enter(s, SESSION_RELAY) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return;
	}
	session_free_handshake(s);
	session_count(s, METRIC_sessions_relaying_now, 1);
	session_count(s, METRIC_sessions_established, 1);
	s->relay.stall_ms = (uint32_t)s->context->config->limits->stall_timeout_ms;
	relay_start(&s->relay, &ops);
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
	side->readable = n == (ssize_t)room || side->eager || (n < 0 && errno == EINTR);
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
		if (!session_table[s->state].handler || session_table[s->state].reads) {
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

	if (events & (LOOP_READ | LOOP_URGENT | LOOP_RDHUP)) {
		side->readable = true;
	}
	if (events & (LOOP_URGENT | LOOP_RDHUP)) {
		side->eager = true;
	}
	if (s->state == SESSION_BIND && events & LOOP_RDHUP) {
		/* Nobody is left to be told who has come. */
		events |= LOOP_HANGUP;
	}
	if (events & (LOOP_ERROR | LOOP_HANGUP) && s->state != SESSION_LINGER) {
		session_end(s, s->state == SESSION_ASSOCIATE ? SESSION_END_CLIENT_RESET
							     : SESSION_END_GONE);
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
	case SESSION_ASSOCIATE:
		on_associate_idle(s);
		break;
	case SESSION_DIAL:
		session_on_connect_timeout(s);
		break;
	case SESSION_BIND:
		session_on_bind_timeout(s);
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
	s->relay.pipe = context->pipe;
	return s;
}

int session_start(struct context *context, int fd, const struct addr *client,
		  const struct listen_config *listen, const struct addr *listener)
{
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
	s->handshake->listen = listen;
	s->listener = *listener;
	s->half_open = true;
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

/* Of the password's hash that the user has in the section; 0 when there is no such user. */
static uint64_t login_digest(const struct session *s, const struct listen_config *listen)
{
	const char *hash = users_find(listen->users, s->user, s->user_len);

	return hash ? crypto_siphash(&s->context->key, hash, strlen(hash)) | 1 : 0;
}

void session_note_login(struct session *s, const struct listen_config *listen)
{
	s->login = listen;
	s->login_digest = login_digest(s, listen);
}

/* Why the session may not go on for its user under the section `next` (NULL: there is none that
 * would say anything about users), or NULL. */
static const char *login_fault(const struct session *s, const struct listen_config *next)
{
	uint64_t digest;

	if (s->login_digest == 0 || !next || next->params->auth == LISTEN_AUTH_NONE) {
		return NULL;
	}
	digest = login_digest(s, next);
	if (digest == 0) {
		return "user_removed";
	}
	return digest == s->login_digest ? NULL : "password_changed";
}

/* A session that is about to be asked, or was, for what the new section does not want (or the other
 * way round) ends: neither may it pass without a password, nor is there anything to check one with.
 */
static bool handshake_may_go_on(const struct session *s, const struct listen_config *next)
{
	bool negotiated = s->state >= SESSION_DIAL;
	bool same_auth = next && (s->state == SESSION_GREETING ||
				  next->params->auth == s->handshake->listen->params->auth);

	return negotiated || same_auth;
}

/* Sessions do not end because their listener does. */
static void session_reconfigure(struct session *s, const struct config *next)
{
	const struct listen_config *old = s->handshake ? s->handshake->listen : s->login;
	/* Its users may have been away for a while. */
	const struct listen_config *listen = old ? config_follow_listen(next, &s->listener, old)
						 : config_find_listen(next, &s->listener);
	const char *fault = login_fault(s, listen);

	if (s->handshake && !handshake_may_go_on(s, listen)) {
		session_end(s, SESSION_END_SHUTDOWN);
	} else if (fault) {
		s->why = fault;
		session_end(s, SESSION_END_REVOKED);
	} else {
		if (s->handshake) {
			if (old && !listen) {
				s->handshake->bind_needs_connect = old->params->bind_needs_connect;
			}
			s->handshake->listen = listen;
		}
		s->login = s->login_digest != 0 && listen && listen->users ? listen : NULL;
		if (s->associate) {
			associate_reconfigure(s->associate, next);
		}
	}
}

void session_reconfigure_all(struct context *context, const struct config *next)
{
	struct session *s = context->sessions;

	while (s) {
		struct session *after = s->next;

		session_reconfigure(s, next);
		s = after;
	}
}
