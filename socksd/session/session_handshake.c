/* SPDX-License-Identifier: ISC */
#include "socksd/session/session_private.h"

#include "common/crypto.h"
#include "common/log.h"

#include "socksd/rules/guard.h"
#include "socksd/rules/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	LINGER_BYTES = 65536, /* how much a refused client may still send */
};

void session_free_handshake(struct session *s)
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

/* --- answers --------------------------------------------------------------------------------- */

bool session_answer(struct session *s, const void *bytes, size_t len)
{
	ssize_t n = send(session_client(s)->watch.fd, bytes, len, MSG_NOSIGNAL);

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
	s->refused_for = reason;
	if (!session_answer(s, bytes, len)) {
		return PROGRESS_WAIT;
	}
	shutdown(session_client(s)->watch.fd, SHUT_WR);
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

enum progress session_refuse_request(struct session *s, enum socks5_reply reply,
				     enum session_end_reason reason)
{
	uint8_t bytes[SOCKS5_REPLY_MAX];
	size_t len = socks5_encode_reply(reply, NULL, bytes);

	return refuse(s, bytes, len, reason);
}

/* Read and forget what a refused client still sends. */
enum progress session_on_linger(struct session *s)
{
	struct relay_side *side = session_client(s);

	while (side->readable) {
		ssize_t n = recv(side->watch.fd, s->context->scratch, s->context->scratch_bytes, 0);

		if (n < 0 && errno == EAGAIN) {
			side->readable = false;
			return PROGRESS_WAIT;
		}
		s->discarded_bytes += n > 0 ? (size_t)n : 0;
		if (n <= 0 || s->discarded_bytes > LINGER_BYTES) {
			session_end(s, s->refused_for);
			return PROGRESS_WAIT;
		}
	}
	return PROGRESS_WAIT;
}

/* --- connecting ------------------------------------------------------------------------------ */

int session_local(struct session *s, struct addr *ret_local)
{
	struct addr a = { 0 };
	socklen_t len = sizeof a;

	if (getsockname(session_client(s)->watch.fd, &a.sa, &len) < 0) {
		return -errno;
	}
	*ret_local = addr_unmap(&a);
	return 0;
}

struct rules_request session_rules_request(const struct session *s)
{
	const struct socks5_target *target = &s->handshake->target;

	return (struct rules_request){
		.command = s->command,
		.client = &s->client,
		.user = s->user,
		.user_len = s->user_len,
		.name = target->addr.sa.sa_family == AF_UNSPEC ? target->name : NULL,
		.port = target->port,
	};
}

void session_note_rule(struct session *s, const struct rule *rule)
{
	free(s->rule);
	s->rule = rule ? strdup(rule->name) : NULL;
}

bool session_is_allowed(void *arg, const struct addr *a, const struct egress **ret_egress,
			const char **ret_why)
{
	struct session *s = arg;
	struct addr local;
	struct guard_context guard = {
		.client = &s->client,
		.listeners = s->context->own,
		/* A peer of BIND is not connected to. */
		.listener_count = s->command == SOCKS5_BIND ? 0 : s->context->own_count,
	};
	const struct rules_request request = session_rules_request(s);
	struct rules_verdict verdict;

	host_note_local(&guard, a, &local);
	verdict = rules_check(&s->context->config->rules, &request, a, &guard);
	if (!verdict.allowed && verdict.guard == GUARD_ALLOWED) {
		session_note_rule(s, verdict.rule);
	}
	*ret_why = rules_verdict_name(&verdict);
	*ret_egress = verdict.egress;
	return verdict.allowed;
}

void session_egress_failed(void *arg, const struct egress *egress, int error)
{
	struct session *s = arg;
	uint32_t suppressed;

	session_count(s, METRIC_dial_egress_failed, 1);
	if (log_limit_ok(&s->context->egress_log, loop_now_ms(s->context->loop), &suppressed)) {
		log_event(LOG_LEVEL_WARNING, "egress-failed", KV_TEXT("egress", egress->name),
			  KV_ERRNO("error", error), KV_UINT("suppressed", suppressed));
	}
}

static void on_connected(struct session *s, const struct dial_result *result)
{
	uint8_t bytes[SOCKS5_REPLY_MAX];
	size_t len = socks5_encode_reply(SOCKS5_SUCCEEDED, &result->local, bytes);

	/* relay_start() sets the callback; no event comes before. */
	if (watch_move(result->watch, &s->relay.side[RELAY_TARGET].watch, RELAY_EVENTS, NULL) < 0 ||
	    session_note_primary(s, &result->remote) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return;
	}
	if (session_answer(s, bytes, len)) {
		session_start_relay(s);
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
	} else if (session_refuse_request(s, result->reply,
					  denied ? SESSION_END_DENIED : SESSION_END_UNREACHABLE) ==
		   PROGRESS_NEXT) {
		session_advance(s);
	}
}

int session_dns_family(const struct session *s)
{
	static const int families[] = { [DNS_FAMILY_ANY] = AF_UNSPEC,
					[DNS_FAMILY_IPV4] = AF_INET,
					[DNS_FAMILY_IPV6] = AF_INET6 };

	return families[s->context->config->dns->family];
}

static enum progress start_dial(struct session *s)
{
	const struct dial_config config = {
		.loop = s->context->loop,
		.resolver = s->context->resolver,
		.family = session_dns_family(s),
		.has_data = s->handshake->in_len > 0,
		.allowed = session_is_allowed,
		.egress_failed = session_egress_failed,
	};
	const struct rules_request request = session_rules_request(s);
	const struct rule *rule;

	if (request.name && rules_deny_name(&s->context->config->rules, &request, &rule)) {
		session_note_rule(s, rule);
		s->why = "rule";
		return session_refuse_request(s, SOCKS5_NOT_ALLOWED, SESSION_END_DENIED);
	}
	s->handshake->dial = dial_start(&config, &s->handshake->target, on_dial_done, s);
	if (!s->handshake->dial || session_enter(s, SESSION_DIAL) < 0) {
		return session_refuse_request(s, SOCKS5_GENERAL_FAILURE, SESSION_END_NO_MEMORY);
	}
	return PROGRESS_WAIT;
}

void session_on_connect_timeout(struct session *s)
{
	dial_cancel(s->handshake->dial);
	s->handshake->dial = NULL;
	session_stop_bind(s);
	if (session_refuse_request(s, SOCKS5_TTL_EXPIRED, SESSION_END_CONNECT_TIMEOUT) ==
	    PROGRESS_NEXT) {
		session_advance(s);
	}
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

enum progress session_on_greeting(struct session *s)
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
	if (!session_answer(s, bytes, sizeof bytes)) {
		return PROGRESS_WAIT;
	}
	return enter_handshake_state(s, method == SOCKS5_METHOD_PASSWORD ? SESSION_AUTH
									 : SESSION_REQUEST);
}

/* Every failure counts; of the lines, each client has an allowance of its own, so that a flood
 * fills no disk and hides nobody else. packaging/fail2ban reads them. */
static void log_auth_failed(struct session *s, enum auth_outcome outcome)
{
	struct source source = source_of(&s->client);
	uint32_t suppressed;

	if (auth_log_wanted(s->context->auth, &source, outcome, loop_now_ms(s->context->loop),
			    &suppressed)) {
		char client[ADDR_TEXT_MAX];

		log_event(LOG_LEVEL_NOTICE, "auth-failed",
			  KV_TEXT("client",
				  privacy_culprit(session_log_clients(s), &s->client, client)),
			  KV_BYTES("user", s->user, s->user_len), KV_TEXT("why", s->why),
			  KV_UINT("suppressed", suppressed));
	}
}

static void log_auth_overload(struct session *s)
{
	uint32_t suppressed;

	if (log_limit_ok(&s->context->overload_log, loop_now_ms(s->context->loop), &suppressed)) {
		char client[ADDR_TEXT_MAX];

		log_event(LOG_LEVEL_WARNING, "auth-overload",
			  KV_TEXT("client",
				  privacy_client_ip(session_log_clients(s), &s->client, client)),
			  KV_UINT("suppressed", suppressed));
	}
}

/* Answer as the check of the password came out. */
static enum progress answer_auth(struct session *s, enum auth_outcome outcome)
{
	uint8_t bytes[2];

	socks5_encode_auth(outcome == AUTH_OK, bytes);
	if (outcome == AUTH_OK) {
		session_count(s, METRIC_auth_ok, 1);
		return session_answer(s, bytes, sizeof bytes)
			       ? enter_handshake_state(s, SESSION_REQUEST)
			       : PROGRESS_WAIT;
	}
	if (outcome == AUTH_OVERLOAD) {
		log_auth_overload(s);
		return refuse(s, bytes, sizeof bytes, SESSION_END_AUTH_OVERLOAD);
	}
	if (outcome == AUTH_THROTTLED) {
		session_count(s, METRIC_auth_throttled, 1);
		s->why = "throttled";
	} else {
		s->why = outcome == AUTH_WRONG ? "wrong" : "repeated";
	}
	log_auth_failed(s, outcome);
	return refuse(s, bytes, sizeof bytes, SESSION_END_AUTH_FAILED);
}

static void on_verified(void *arg, enum auth_outcome outcome)
{
	struct session *s = arg;

	s->handshake->auth = NULL;
	if (answer_auth(s, outcome) == PROGRESS_NEXT) {
		session_advance(s);
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

enum progress session_on_auth(struct session *s)
{
	struct handshake *h = s->handshake;
	struct source source = source_of(&s->client);
	struct socks5_credentials credentials;
	enum auth_outcome outcome;
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
	if (!s->user) {
		session_end(s, SESSION_END_NO_MEMORY);
		return PROGRESS_WAIT;
	}
	session_note_login(s, h->listen);
	outcome = auth_start(s->context->auth, &s->context->auth_worker, h->listen->users, &source,
			     &credentials, on_verified, s, &h->auth);
	consume(h, consumed);
	return outcome == AUTH_PENDING ? enter_handshake_state(s, SESSION_VERIFY)
				       : answer_auth(s, outcome);
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

/* What begins each command; one that is not here is refused. The request is in s->handshake. */
static enum progress (*const command_table[])(struct session *s) = {
	[SOCKS5_CONNECT] = start_dial,
	[SOCKS5_BIND] = session_start_bind,
	[SOCKS5_ASSOCIATE] = session_start_associate,
};

enum progress session_on_request(struct session *s)
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
	s->command = request.command;
	h->target = request.target;
	s->target = target_text(&request.target);
	if (!command_table[request.command]) {
		s->why = socks5_command_name(request.command);
		return session_refuse_request(s, SOCKS5_COMMAND_NOT_SUPPORTED, SESSION_END_INVALID);
	}
	return command_table[request.command](s);
}
