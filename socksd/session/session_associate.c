/* SPDX-License-Identifier: ISC */
#include "socksd/session/session_private.h"

#include <errno.h>
#include <sys/socket.h>

enum {
	CONTROL_BYTES_MAX = 65536, /* how much a client may say while its datagrams are relayed */
};

static int start(struct session *s, struct addr *ret_address)
{
	struct addr local;
	const struct associate_config config = {
		.context = s->context,
		.listen = s->handshake->listen,
		.client = &s->client,
		.user = s->user,
		.user_len = s->user_len,
		.local = &local,
		.request = &s->handshake->target,
	};
	int r = session_local(s, &local);

	s->why = "no_socket";
	return r < 0 ? r : associate_start(&config, &s->associate, ret_address, &s->why);
}

static bool enter_clients(struct session *s)
{
	struct source source = source_of(&s->client);

	s->counted_udp = clients_enter_service(s->context->clients, &source, CLIENTS_UDP,
					       s->context->config->limits->max_udp_per_client);
	return s->counted_udp;
}

/* What says that the association may not begin, or SOCKS5_SUCCEEDED. */
static enum socks5_reply check(struct session *s, enum session_end_reason *ret_reason)
{
	const struct rules_request request = session_rules_request(s);
	const struct rule *rule;

	*ret_reason = SESSION_END_DENIED;
	if (!s->handshake->listen->params->udp) {
		*ret_reason = SESSION_END_INVALID;
		s->why = "udp";
		return SOCKS5_COMMAND_NOT_SUPPORTED;
	}
	if (rules_deny_command(&s->context->config->rules, &request, &rule)) {
		session_note_rule(s, rule);
		s->why = "rule";
		return SOCKS5_NOT_ALLOWED;
	}
	if (!enter_clients(s)) {
		session_count(s, METRIC_udp_refused_per_client, 1);
		s->why = "max-udp-per-client";
		return SOCKS5_NOT_ALLOWED;
	}
	return SOCKS5_SUCCEEDED;
}

enum progress session_start_associate(struct session *s)
{
	uint8_t bytes[SOCKS5_REPLY_MAX];
	struct addr address;
	enum session_end_reason reason;
	enum socks5_reply reply = check(s, &reason);

	if (reply != SOCKS5_SUCCEEDED) {
		return session_refuse_request(s, reply, reason);
	}
	if (start(s, &address) < 0) {
		session_end_associate(s); /* not only when the client has read why */
		return session_refuse_request(s, SOCKS5_GENERAL_FAILURE, SESSION_END_UNREACHABLE);
	}
	session_count(s, METRIC_udp_associations, 1);
	session_count(s, METRIC_udp_associations_now, 1);
	s->why = NULL;
	if (!session_answer(s, bytes, socks5_encode_reply(SOCKS5_SUCCEEDED, &address, bytes))) {
		return PROGRESS_WAIT;
	}
	if (session_enter(s, SESSION_ASSOCIATE) < 0) {
		session_end(s, SESSION_END_NO_MEMORY);
		return PROGRESS_WAIT;
	}
	session_free_handshake(s);
	return PROGRESS_NEXT;
}

void session_end_associate(struct session *s)
{
	struct source source = source_of(&s->client);

	if (s->associate) {
		session_count(s, METRIC_udp_associations_now, -1);
		associate_free(s->associate);
		s->associate = NULL;
	}
	if (s->counted_udp) {
		clients_leave_service(s->context->clients, &source, CLIENTS_UDP);
		s->counted_udp = false;
	}
}

/* The connection has nothing to say but that it is still there. */
enum progress session_on_control(struct session *s)
{
	struct relay_side *side = session_client(s);

	while (side->readable) {
		ssize_t n = recv(side->watch.fd, s->context->scratch, s->context->scratch_bytes, 0);

		if (n < 0 && errno == EAGAIN) {
			side->readable = false;
			return PROGRESS_WAIT;
		}
		if (n <= 0) {
			session_end(s, n == 0 ? SESSION_END_FINISHED : SESSION_END_CLIENT_RESET);
			return PROGRESS_WAIT;
		}
		s->discarded_bytes += (size_t)n;
		if (s->discarded_bytes > CONTROL_BYTES_MAX) {
			s->why = "control_bytes";
			session_end(s, SESSION_END_INVALID);
			return PROGRESS_WAIT;
		}
	}
	return PROGRESS_WAIT;
}
