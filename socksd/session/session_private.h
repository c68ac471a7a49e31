/* SPDX-License-Identifier: ISC */
/*
 * What session.c (the life of a session), session_handshake.c (what is said before the relay runs),
 * session_bind.c (the command BIND) and session_associate.c (the command UDP ASSOCIATE) know of
 * each other. For nobody else.
 */
#ifndef SOCKSD_SESSION_SESSION_PRIVATE_H
#define SOCKSD_SESSION_SESSION_PRIVATE_H

#include "socksd/privacy.h"
#include "socksd/protocol/socks5.h"
#include "socksd/relay/relay.h"
#include "socksd/session/session.h"
#include "socksd/target/bind.h"
#include "socksd/target/dial.h"
#include "socksd/udp/associate.h"

enum {
	HANDSHAKE_BYTES = 1024, /* the longest message, and room for early data */
};

/* What is needed until the relay runs; freed then, so that an idle session is small. */
struct handshake {
	const struct listen_config *listen; /* NULL: a reload took it away, from DIAL on */
	uint8_t in[HANDSHAKE_BYTES];
	size_t in_len;
	struct socks5_target target;
	struct auth_check *auth;
	struct dial *dial;
	struct bind *bind;
	bool bind_entered;       /* in context->clients */
	bool bind_needs_connect; /* as `listen` had it when it was taken away */
	const char *why;
};

struct session {
	/* constant */
	struct context *context;
	struct addr client;
	struct addr listener; /* the configured address that accepted the client */
	uint64_t accepted_ms;
	/* live */
	struct session *next;
	struct session *prev;
	enum session_state {
		SESSION_GREETING,
		SESSION_AUTH,
		SESSION_VERIFY,
		SESSION_REQUEST,
		SESSION_DIAL, /* and a BIND until it listens */
		SESSION_BIND,
		SESSION_RELAY,
		SESSION_ASSOCIATE,
		SESSION_LINGER,
		SESSION_ENDED,
	} state;
	bool half_open;                    /* in context->clients: the request is not complete */
	const struct listen_config *login; /* whose user it is; NULL: no section's, or nobody has
					      logged in */
	uint64_t login_digest;             /* of the password's hash; 0: no such user */
	struct timer deadline;
	struct relay relay;          /* its client side is watched from the start */
	struct handshake *handshake; /* NULL from RELAY on */
	struct associate *associate; /* ASSOCIATE; its control connection is relay's client */
	struct addr *primary;        /* the target, in context->primaries; NULL: not there */
	bool counted_udp;            /* in context->clients, as an association */
	enum session_end_reason refused_for; /* what the client was told; 0: nothing of the kind */
	size_t discarded_bytes;              /* LINGER, ASSOCIATE */
	/* for the log */
	uint8_t *user; /* NULL: none; any bytes */
	uint8_t user_len;
	enum socks5_command command; /* 0: none yet */
	char *target;                /* NULL: none named */
	const char *why;             /* static token, or NULL */
	char *rule;                  /* the last that denied an address; NULL: none */
	struct deferred deferred;
};

/* What a handler made of the bytes at hand. */
enum progress {
	PROGRESS_WAIT, /* for bytes, or for something under way */
	PROGRESS_NEXT, /* the state has changed: look again */
};

/* --- session.c --- */

/* `user` has sent a password, to be looked at by the users of this section. */
void session_note_login(struct session *s, const struct listen_config *listen);

/* The client's side of the relay: its socket from the start. */
struct relay_side *session_client(struct session *s);

void session_count(struct session *s, enum socksd_metric metric, int64_t amount);

/* How the log shows clients now. */
enum privacy_clients session_log_clients(const struct session *s);

/* Go to a later state. 0 or -ENOMEM. */
int session_enter(struct session *s, enum session_state state);

/* The single exit. */
void session_end(struct session *s, enum session_end_reason reason);

/* The target is connected and the client has been told: join them. */
void session_start_relay(struct session *s);

/* Let the handlers look at what is there, as long as they get further. */
void session_advance(struct session *s);

/* --- session_handshake.c --- */

/* The handlers of the states that read. */
enum progress session_on_greeting(struct session *s);
enum progress session_on_auth(struct session *s);
enum progress session_on_request(struct session *s);
enum progress session_on_linger(struct session *s);

/* The target took too long. */
void session_on_connect_timeout(struct session *s);

/* What the commands have in common, as long as s->handshake is there: */

/* A few bytes to the client. They always fit: little else has been sent. False when the session has
 * ended. */
bool session_answer(struct session *s, const void *bytes, size_t len);

/* Answer with a failure, then go to LINGER. */
enum progress session_refuse_request(struct session *s, enum socks5_reply reply,
				     enum session_end_reason reason);

/* Our end of the client's connection, folded. 0 or -errno. */
int session_local(struct session *s, struct addr *ret_local);

/* What the rules are asked about; valid as long as the handshake. */
struct rules_request session_rules_request(const struct session *s);

/* Remember for the log which rule denied; the rules may be gone by then. NULL: none allowed it. It
 * is shown only if the request is refused as denied in the end. */
void session_note_rule(struct session *s, const struct rule *rule);

/* Count and log an egress that cannot be used; as in struct dial_config, `arg` is the session. */
void session_egress_failed(void *arg, const struct egress *egress, int error);

/* The address family that [dns] family stands for. */
int session_dns_family(const struct session *s);

/* Ask the rules and the guard about one address, with port, that the request leads to; `arg` is the
 * session, the rest as in struct dial_config. */
bool session_is_allowed(void *arg, const struct addr *a, const struct egress **ret_egress,
			const char **ret_why);

/* Cancel what is under way, wipe and free. */
void session_free_handshake(struct session *s);

/* --- session_bind.c --- */

/* Begin a BIND; as in the table of commands. */
enum progress session_start_bind(struct session *s);

/* What the client says while its peer is waited for stays, up to the size of the buffer; the rest
 * waits in the socket. */
enum progress session_on_bind_data(struct session *s);

/* The peer took too long. */
void session_on_bind_timeout(struct session *s);

/* The target, by its address, is connected to: for BINDs of the same client, if its listener wants
 * to know. 0 or -ENOMEM. */
int session_note_primary(struct session *s, const struct addr *target);

/* And it is not any more; harmless when it was not noted. */
void session_forget_primary(struct session *s);

/* Stop waiting, and count that; harmless when nothing is waited for. */
void session_stop_bind(struct session *s);

/* --- session_associate.c --- */

/* The command UDP ASSOCIATE. */
enum progress session_start_associate(struct session *s);

/* The handler of the association's control connection. */
enum progress session_on_control(struct session *s);

/* Close its sockets; harmless when there is none. */
void session_end_associate(struct session *s);

#endif
