/* SPDX-License-Identifier: ISC */
#include "socksd/session.h"

#include "common/container.h"
#include "common/crypto.h"
#include "common/log.h"

#include "socksd/auth.h"
#include "socksd/dial.h"
#include "socksd/guard.h"
#include "socksd/relay.h"
#include "socksd/socks5.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HANDSHAKE_BYTES = 1024, /* the longest message, and room for early data */
	LINGER_MS = 1000,       /* how long a refused client may take to read the refusal */
	LINGER_BYTES = 65536,   /* and how much it may still send */
};

struct session;

/* What is needed until the relay runs; freed then, so that an idle session is small. */
struct handshake {
	const struct listen_config *listen;
	struct addr listener; /* the configured address that accepted the client */
	uint8_t in[HANDSHAKE_BYTES];
	size_t in_len;
	struct socks5_target target;
	struct auth *auth;
	struct dial *dial;
	const char *why;
};

struct session {
	/* constant */
	struct context *context;
	struct addr client;
	uint64_t accepted_ms;
	/* live */
	struct session *next;
	struct session *prev;
	enum session_state {
		SESSION_GREETING,
		SESSION_AUTH,
		SESSION_VERIFY,
		SESSION_REQUEST,
		SESSION_DIAL,
		SESSION_RELAY,
		SESSION_LINGER,
		SESSION_ENDED,
	} state;
	struct timer deadline;
	struct relay relay;                  /* its client side is watched from the start */
	struct handshake *handshake;         /* NULL from RELAY on */
	enum session_end_reason refused_for; /* LINGER */
	size_t lingered_bytes;
	/* for the log */
	uint8_t *user; /* NULL: none; any bytes */
	uint8_t user_len;
	char *target;    /* NULL: none named */
	const char *why; /* static token, or NULL */
	struct deferred deferred;
};

/* What a handler made of the bytes at hand. */
enum progress {
	PROGRESS_WAIT, /* for bytes, or for something under way */
	PROGRESS_NEXT, /* the state has changed: look again */
};

static enum progress on_greeting(struct session *s);
static enum progress on_auth(struct session *s);
static enum progress on_request(struct session *s);
static enum progress on_linger(struct session *s);

/* The life of a session. `handler` looks at bytes from the client; without one they wait in the
 * socket. */
static const struct session_row {
	const char *name;
	enum progress (*handler)(struct session *s);
} session_table[] = {
	[SESSION_GREETING] = { "greeting", on_greeting },
	[SESSION_AUTH] = { "auth", on_auth },
	[SESSION_VERIFY] = { "verify", NULL },
	[SESSION_REQUEST] = { "request", on_request },
	[SESSION_DIAL] = { "dial", NULL },
	[SESSION_RELAY] = { "relay", NULL },
	[SESSION_LINGER] = { "linger", on_linger },
	[SESSION_ENDED] = { "ended", NULL },
};

static void on_deadline(struct timer *timer);

static struct relay_side *client_side(struct session *s)
{
	return &s->relay.side[RELAY_CLIENT];
}

static void count(struct session *s, enum socksd_metric metric, int64_t amount)
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
static int session_enter(struct session *s, enum session_state state)
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
		count(s, (enum socksd_metric)metric_of[reason], 1);
	}
	count(s, METRIC_sessions_now, -1);
	count(s, METRIC_bytes_up, (int64_t)s->relay.flow[RELAY_CLIENT].bytes);
	count(s, METRIC_bytes_down, (int64_t)s->relay.flow[RELAY_TARGET].bytes);
	if (s->state == SESSION_RELAY) {
		count(s, METRIC_sessions_relaying_now, -1);
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

static void free_handshake(struct session *s)
{
	if (!s->handshake) {
		return;
	}
	auth_cancel(s->handshake->auth);
	dial_cancel(s->handshake->dial);
	/* The password was in it. */
	crypto_wipe(s->handshake->in, sizeof s->handshake->in);
	free(s->handshake);
	s->handshake = NULL;
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
static void session_end(struct session *s, enum session_end_reason reason)
{
	struct context *context = s->context;

	if (s->state == SESSION_ENDED) {
		return;
	}
	count_end(s, reason);
	log_end(s, reason);
	s->state = SESSION_ENDED;
	timer_stop(&s->deadline);
	free_handshake(s);
	relay_done(&s->relay, sides_to_reset(reason));
	unlink_session(s);
	loop_free_later(context->loop, &s->deferred, free_session);
	context->on_session_end(context);
}

/* --- answers --------------------------------------------------------------------------------- */

/* A few bytes to the client. They always fit: nothing else has been sent. False when the session
 * has ended. */
static bool answer(struct session *s, const void *bytes, size_t len)
{
	ssize_t n = send(client_side(s)->watch.fd, bytes, len, MSG_NOSIGNAL);

	if (n != (ssize_t)len) {
		session_end(s, SESSION_END_GONE);
		return false;
	}
	return true;
}

/* Answer, then wait for the client to read it: closing with unread bytes in the socket would send a
 * reset, which can destroy the answer on its way. */
static enum progress refuse(struct session *s, const void *bytes, size_t len,
			    enum session_end_reason reason)
{
	if (len == 0) {
		session_end(s, reason);
		return PROGRESS_WAIT;
	}
	if (!answer(s, bytes, len)) {
		return PROGRESS_WAIT;
	}
	s->refused_for = reason;
	shutdown(client_side(s)->watch.fd, SHUT_WR);
	if (session_enter(s, SESSION_LINGER) < 0) {
		session_end(s, reason);
		return PROGRESS_WAIT;
	}
	return PROGRESS_NEXT;
}

static enum progress refuse_fault(struct session *s, enum socks5_fault fault)
{
	size_t len;
	const uint8_t *bytes = socks5_fault_answer(fault, &len);

	s->why = socks5_fault_name(fault);
	return refuse(s, bytes, len, SESSION_END_INVALID);
}

static enum progress refuse_request(struct session *s, enum socks5_reply reply,
				    enum session_end_reason reason)
{
	uint8_t bytes[SOCKS5_REPLY_MAX];
	size_t len = socks5_encode_reply(reply, NULL, bytes);

	return refuse(s, bytes, len, reason);
}

/* Read and forget what a refused client still sends. */
static enum progress on_linger(struct session *s)
{
	struct relay_side *side = client_side(s);

	while (side->readable) {
		ssize_t n = recv(side->watch.fd, s->context->scratch, s->context->scratch_bytes, 0);

		if (n < 0 && errno == EAGAIN) {
			side->readable = false;
			return PROGRESS_WAIT;
		}
		s->lingered_bytes += n > 0 ? (size_t)n : 0;
		if (n <= 0 || s->lingered_bytes > LINGER_BYTES) {
			session_end(s, s->refused_for);
			return PROGRESS_WAIT;
		}
	}
	return PROGRESS_WAIT;
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
static void start_relay(struct session *s)
{
	struct handshake *h = s->handshake;

	if (relay_early_data(&s->relay, h->in, h->in_len) < 0 ||
	    session_enter(s, SESSION_RELAY) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return;
	}
	free_handshake(s);
	count(s, METRIC_sessions_relaying_now, 1);
	count(s, METRIC_sessions_established, 1);
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

/* --- connecting ------------------------------------------------------------------------------ */

static void advance(struct session *s);

static bool is_allowed(void *arg, const struct addr *a, const char **ret_why)
{
	struct session *s = arg;
	struct addr local = { 0 };
	socklen_t len = sizeof local;
	const struct guard_context context = {
		.client = &s->client,
		.local = &local,
		.listeners = s->context->own,
		.listener_count = s->context->own_count,
	};
	enum guard_verdict verdict;

	getsockname(client_side(s)->watch.fd, &local.sa, &len);
	verdict = guard_check(&context, a);
	*ret_why = guard_verdict_name(verdict);
	return verdict == GUARD_ALLOWED;
}

static void on_connected(struct session *s, const struct dial_result *result)
{
	uint8_t bytes[SOCKS5_REPLY_MAX];
	size_t len = socks5_encode_reply(SOCKS5_SUCCEEDED, &result->local, bytes);

	/* relay_start() sets the callback; no event comes before. */
	if (watch_move(result->watch, &s->relay.side[RELAY_TARGET].watch, RELAY_EVENTS, NULL) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return;
	}
	if (answer(s, bytes, len)) {
		start_relay(s);
	}
}

static void on_dial_done(void *arg, const struct dial_result *result)
{
	struct session *s = arg;
	bool denied = result->reply == SOCKS5_NOT_ALLOWED;

	s->handshake->dial = NULL;
	s->why = result->why;
	if (result->reply == SOCKS5_SUCCEEDED) {
		on_connected(s, result);
	} else if (refuse_request(s, result->reply,
				  denied ? SESSION_END_DENIED : SESSION_END_UNREACHABLE) ==
		   PROGRESS_NEXT) {
		advance(s);
	}
}

static enum progress start_dial(struct session *s)
{
	static const int families[] = { [DNS_FAMILY_ANY] = AF_UNSPEC,
					[DNS_FAMILY_IPV4] = AF_INET,
					[DNS_FAMILY_IPV6] = AF_INET6 };
	const struct dial_config config = {
		.loop = s->context->loop,
		.resolver = s->context->resolver,
		.family = families[s->context->config->dns->family],
		.allowed = is_allowed,
	};

	s->handshake->dial = dial_start(&config, &s->handshake->target, on_dial_done, s);
	if (!s->handshake->dial || session_enter(s, SESSION_DIAL) < 0) {
		return refuse_request(s, SOCKS5_GENERAL_FAILURE, SESSION_END_NO_MEMORY);
	}
	return PROGRESS_WAIT;
}

/* --- the handshake --------------------------------------------------------------------------- */

/* Forget the first bytes of the buffer; the rest is the next message. */
static void consume(struct handshake *h, size_t len)
{
	memmove(h->in, h->in + len, h->in_len - len);
	h->in_len -= len;
}

static enum progress enter_handshake_state(struct session *s, enum session_state state)
{
	if (session_enter(s, state) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return PROGRESS_WAIT;
	}
	return PROGRESS_NEXT;
}

static enum progress on_greeting(struct session *s)
{
	struct handshake *h = s->handshake;
	struct socks5_greeting greeting;
	enum socks5_fault fault;
	enum socks5_method method;
	uint8_t bytes[2];
	size_t consumed;

	switch (socks5_parse_greeting(h->in, h->in_len, &greeting, &consumed, &fault)) {
	case PARSE_NEED_MORE:
		return PROGRESS_WAIT;
	case PARSE_INVALID:
		return refuse_fault(s, fault);
	case PARSE_DONE:
		break;
	}
	consume(h, consumed);
	method = socks5_method_choose(&greeting, h->listen->params->auth == LISTEN_AUTH_PASSWORD
							 ? SOCKS5_AUTH_REQUIRED
							 : SOCKS5_AUTH_NONE);
	socks5_encode_method(method, bytes);
	if (method == SOCKS5_METHOD_UNACCEPTABLE) {
		s->why = "no_method";
		return refuse(s, bytes, sizeof bytes, SESSION_END_INVALID);
	}
	if (!answer(s, bytes, sizeof bytes)) {
		return PROGRESS_WAIT;
	}
	return enter_handshake_state(s, method == SOCKS5_METHOD_PASSWORD ? SESSION_AUTH
									 : SESSION_REQUEST);
}

static enum progress refuse_auth(struct session *s, enum session_end_reason reason)
{
	uint8_t bytes[2];

	socks5_encode_auth(false, bytes);
	if (reason == SESSION_END_AUTH_FAILED) {
		log_event(LOG_LEVEL_NOTICE, "auth-failed", KV_IP("client", &s->client),
			  KV_BYTES("user", s->user, s->user_len));
	}
	return refuse(s, bytes, sizeof bytes, reason);
}

static void on_verified(void *arg, bool ok)
{
	struct session *s = arg;
	enum progress progress;
	uint8_t bytes[2];

	s->handshake->auth = NULL;
	if (!ok) {
		progress = refuse_auth(s, SESSION_END_AUTH_FAILED);
	} else {
		count(s, METRIC_auth_ok, 1);
		socks5_encode_auth(true, bytes);
		progress = answer(s, bytes, sizeof bytes)
				   ? enter_handshake_state(s, SESSION_REQUEST)
				   : PROGRESS_WAIT;
	}
	if (progress == PROGRESS_NEXT) {
		advance(s);
	}
}

static void note_user(struct session *s, const struct socks5_credentials *credentials)
{
	s->user = malloc(credentials->name_len + 1u);
	if (s->user) {
		memcpy(s->user, credentials->name, credentials->name_len);
		s->user_len = credentials->name_len;
	}
}

static enum progress on_auth(struct session *s)
{
	struct handshake *h = s->handshake;
	struct socks5_credentials credentials;
	enum socks5_fault fault;
	size_t consumed;

	switch (socks5_parse_auth(h->in, h->in_len, &credentials, &consumed, &fault)) {
	case PARSE_NEED_MORE:
		return PROGRESS_WAIT;
	case PARSE_INVALID:
		return refuse_fault(s, fault);
	case PARSE_DONE:
		break;
	}
	note_user(s, &credentials);
	h->auth = auth_start(s->context->helpers, s->context->loop, h->listen->users, &credentials,
			     on_verified, s);
	consume(h, consumed);
	if (!h->auth) {
		return refuse_auth(s, SESSION_END_AUTH_OVERLOAD);
	}
	return enter_handshake_state(s, SESSION_VERIFY);
}

/* "name:port", as the log shows it. */
static char *target_text(const struct socks5_target *target)
{
	char text[SOCKS5_NAME_MAX + 8];
	struct addr a = target->addr;

	if (a.sa.sa_family == AF_UNSPEC) {
		snprintf(text, sizeof text, "%s:%u", target->name, target->port);
	} else {
		addr_set_port(&a, target->port);
		addr_format(&a, text, sizeof text);
	}
	return strdup(text);
}

static enum progress on_request(struct session *s)
{
	struct handshake *h = s->handshake;
	struct socks5_request request;
	enum socks5_fault fault;
	size_t consumed;

	switch (socks5_parse_request(h->in, h->in_len, &request, &consumed, &fault)) {
	case PARSE_NEED_MORE:
		return PROGRESS_WAIT;
	case PARSE_INVALID:
		return refuse_fault(s, fault);
	case PARSE_DONE:
		break;
	}
	consume(h, consumed);
	h->target = request.target;
	s->target = target_text(&request.target);
	if (request.command != SOCKS5_CONNECT) {
		s->why = socks5_command_name(request.command);
		return refuse_request(s, SOCKS5_COMMAND_NOT_SUPPORTED, SESSION_END_INVALID);
	}
	return start_dial(s);
}

/* --- events ---------------------------------------------------------------------------------- */

/* Read what fits. False when the session has ended. */
static bool fill(struct session *s)
{
	struct relay_side *side = client_side(s);
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
static void advance(struct session *s)
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
	struct relay_side *side = client_side(s);

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
		advance(s);
	}
}

static void on_deadline(struct timer *timer)
{
	struct session *s = container_of(timer, struct session, deadline);
	enum progress progress;

	switch (s->state) {
	case SESSION_RELAY:
		on_idle(s);
		break;
	case SESSION_DIAL:
		dial_cancel(s->handshake->dial);
		s->handshake->dial = NULL;
		progress = refuse_request(s, SOCKS5_TTL_EXPIRED, SESSION_END_CONNECT_TIMEOUT);
		if (progress == PROGRESS_NEXT) {
			advance(s);
		}
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
	count(s, METRIC_sessions_now, 1);
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

void session_reconfigure_all(struct context *context, const struct config *next)
{
	struct session *s = context->sessions;

	while (s) {
		struct session *after = s->next;
		const struct listen_config *listen;

		if (s->handshake) {
			listen = config_find_listen(next, &s->handshake->listener);
			s->handshake->listen = listen;
			if (!listen) {
				session_end(s, SESSION_END_SHUTDOWN);
			}
		}
		s = after;
	}
}
