/* SPDX-License-Identifier: ISC */
#include "socksd/session/session_private.h"

#include "common/log.h"

#include "socksd/rules/guard.h"
#include "socksd/target/expected_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void session_stop_bind(struct session *s)
{
	struct handshake *h = s->handshake;
	struct source source = source_of(&s->client);

	if (!h) {
		return;
	}
	bind_cancel(h->bind);
	h->bind = NULL;
	if (h->bind_entered) {
		clients_leave_service(s->context->clients, &source, CLIENTS_BIND);
		session_count(s, METRIC_bind_waiting_now, -1);
		h->bind_entered = false;
	}
}

/* --- primary connections --------------------------------------------------------------------- */

static struct primary primary_to(const struct session *s, const struct addr *host)
{
	return (struct primary){
		.client = &s->client,
		.user = s->user,
		.user_len = s->user_len,
		.host = host,
	};
}

static bool needs_connect(const struct session *s)
{
	const struct handshake *h = s->handshake;

	return h->listen ? h->listen->params->bind_needs_connect : h->bind_needs_connect;
}

int session_note_primary(struct session *s, const struct addr *target)
{
	const struct primary primary = primary_to(s, target);

	if (!needs_connect(s)) {
		return 0;
	}
	s->primary = malloc(sizeof *s->primary);
	if (!s->primary) {
		return -ENOMEM;
	}
	*s->primary = *target;
	if (!primaries_enter(s->context->primaries, &primary)) {
		free(s->primary);
		s->primary = NULL;
		return -ENOMEM;
	}
	return 0;
}

void session_forget_primary(struct session *s)
{
	if (s->primary) {
		const struct primary primary = primary_to(s, s->primary);

		primaries_leave(s->context->primaries, &primary);
		free(s->primary);
		s->primary = NULL;
	}
}

/* Whether the client may expect this peer, as far as connections are concerned (RFC 1928 section 4:
 * BIND is for secondary connections). */
static bool has_primary(const struct session *s, const struct addr *peer)
{
	const struct primary primary = primary_to(s, peer);

	return !needs_connect(s) || primaries_has(s->context->primaries, &primary);
}

/* --- what bind.c asks and tells -------------------------------------------------------------- */

/* The rules are asked about each peer; for 0.0.0.0 and :: first whether there is any use in
 * waiting.
 */
static bool is_allowed(void *arg, const struct addr *a, const struct egress **ret_egress,
		       const char **ret_why)
{
	struct session *s = arg;
	const struct rules_request request = session_rules_request(s);
	const struct rule *rule;

	if (!expected_peer_is_anybody(a)) {
		if (!session_is_allowed(s, a, ret_egress, ret_why)) {
			return false;
		}
		*ret_why = "no_connect";
		return has_primary(s, a);
	}
	if (rules_deny_anybody(&s->context->config->rules, &request, a, &rule)) {
		session_note_rule(s, rule);
		*ret_why = rule ? "rule" : "no_rule";
		return false;
	}
	*ret_egress = rule->egress;
	return true;
}

/* Whether the client's FIN is in its socket, behind whatever it has sent. */
static bool client_has_finished(struct session *s)
{
	struct pollfd client = { .fd = session_client(s)->watch.fd, .events = POLLRDHUP };

	return session_client(s)->eager && poll(&client, 1, 0) == 1;
}

static void on_listening(void *arg, const struct addr *announced)
{
	struct session *s = arg;
	uint8_t bytes[SOCKS5_REPLY_MAX];
	size_t len = socks5_encode_reply(SOCKS5_SUCCEEDED, announced, bytes);

	if (client_has_finished(s)) {
		session_end(s, SESSION_END_GONE);
		return;
	}
	if (session_enter(s, SESSION_BIND) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return;
	}
	if (session_answer(s, bytes, len)) {
		session_advance(s);
	}
}

static void on_stranger(void *arg, const struct addr *peer, const char *why)
{
	struct session *s = arg;
	enum privacy_destinations destinations =
		(enum privacy_destinations)s->context->config->log->destinations;
	char client[ADDR_TEXT_MAX];
	char text[ADDR_TEXT_MAX];

	session_count(s, METRIC_bind_strangers, 1);
	log_event(LOG_LEVEL_DEBUG, "bind-stranger",
		  KV_TEXT("client", privacy_client(session_log_clients(s), &s->client, client)),
		  KV_TEXT("peer",
			  privacy_destination(destinations, addr_format(peer, text, sizeof text))),
		  KV_TEXT("why", why));
}

/* From here on the log shows who has come instead of who was expected. */
static void note_peer(struct session *s, const struct addr *peer)
{
	char text[ADDR_TEXT_MAX];

	free(s->target);
	s->target = strdup(addr_format(peer, text, sizeof text));
}

static enum progress join(struct session *s, const struct bind_result *result)
{
	uint8_t bytes[SOCKS5_REPLY_MAX];
	size_t len = socks5_encode_reply(SOCKS5_SUCCEEDED, &result->peer, bytes);

	/* relay_start() sets the callback; no event comes before. */
	if (watch_start(&s->relay.side[RELAY_TARGET].watch, s->context->loop, result->fd,
			RELAY_EVENTS, NULL) < 0) {
		close(result->fd);
		return session_refuse_request(s, SOCKS5_GENERAL_FAILURE, SESSION_END_NO_MEMORY);
	}
	note_peer(s, &result->peer);
	session_count(s, METRIC_bind_connected, 1);
	if (session_answer(s, bytes, len)) {
		session_start_relay(s);
	}
	return PROGRESS_WAIT;
}

static void on_done(void *arg, const struct bind_result *result)
{
	struct session *s = arg;
	enum progress progress;

	s->handshake->bind = NULL;
	session_stop_bind(s);
	s->why = result->why;
	if (result->outcome == BIND_CONNECTED) {
		progress = join(s, result);
	} else if (result->outcome == BIND_DENIED) {
		progress = session_refuse_request(s, result->reply, SESSION_END_DENIED);
	} else {
		progress = session_refuse_request(s, result->reply, SESSION_END_UNREACHABLE);
	}
	if (progress == PROGRESS_NEXT) {
		session_advance(s);
	}
}

/* --- the command ----------------------------------------------------------------------------- */

static struct bind *start(struct session *s)
{
	static const struct bind_ops ops = {
		.allowed = is_allowed,
		.egress_failed = session_egress_failed,
		.listening = on_listening,
		.stranger = on_stranger,
		.done = on_done,
	};
	const struct listen_config *listen = s->handshake->listen;
	struct bind_config config = {
		.loop = s->context->loop,
		.resolver = s->context->resolver,
		.family = session_dns_family(s),
		.public_ipv4 = listen->udp_public_ipv4,
		.public_ipv6 = listen->udp_public_ipv6,
		.first_port = listen->bind_ports.first,
		.last_port = listen->bind_ports.last,
	};

	if (session_local(s, &config.client_side) < 0) {
		return NULL;
	}
	return bind_start(&config, &s->handshake->target, &ops, s);
}

static enum progress refuse(struct session *s, enum socks5_reply reply, const char *why,
			    enum session_end_reason reason)
{
	s->why = why;
	return session_refuse_request(s, reply, reason);
}

enum progress session_start_bind(struct session *s)
{
	const struct rules *rules = &s->context->config->rules;
	const struct rules_request request = session_rules_request(s);
	struct source source = source_of(&s->client);
	const struct rule *rule;

	if (!rules_know_bind(rules)) {
		return refuse(s, SOCKS5_COMMAND_NOT_SUPPORTED, "bind", SESSION_END_INVALID);
	}
	if (request.name && rules_deny_name(rules, &request, &rule)) {
		session_note_rule(s, rule);
		return refuse(s, SOCKS5_NOT_ALLOWED, rule ? "rule" : "no_rule", SESSION_END_DENIED);
	}
	if (!clients_enter_service(s->context->clients, &source, CLIENTS_BIND,
				   s->context->config->limits->max_binds_per_client)) {
		session_count(s, METRIC_bind_refused, 1);
		return refuse(s, SOCKS5_NOT_ALLOWED, "max-binds-per-client", SESSION_END_DENIED);
	}
	s->handshake->bind_entered = true;
	session_count(s, METRIC_bind_waiting_now, 1);
	s->handshake->bind = start(s);
	if (!s->handshake->bind || session_enter(s, SESSION_DIAL) < 0) {
		session_stop_bind(s);
		return session_refuse_request(s, SOCKS5_GENERAL_FAILURE, SESSION_END_NO_MEMORY);
	}
	return PROGRESS_WAIT;
}

enum progress session_on_bind_data(struct session *s)
{
	(void)s;
	return PROGRESS_WAIT;
}

void session_on_bind_timeout(struct session *s)
{
	session_stop_bind(s);
	if (session_refuse_request(s, SOCKS5_TTL_EXPIRED, SESSION_END_BIND_TIMEOUT) ==
	    PROGRESS_NEXT) {
		session_advance(s);
	}
}
