/* SPDX-License-Identifier: ISC */
/*
 * One client connection, from accept to close: greeting, password, request (RFC 1928, RFC 1929),
 * connecting, relaying. The states and their order are the table in session.c; a session only moves
 * forward, and session_end() is its single exit.
 *
 * Thread: the worker's. Memory: a session frees itself at the end of the turn in which it ended.
 */
#ifndef SOCKSD_SESSION_SESSION_H
#define SOCKSD_SESSION_SESSION_H

#include "common/addr.h"

#include "socksd/context.h"

/* How a session ended: X(name, "token"). The token is in the log. */
#define SESSION_ENDS(X)                                                                      \
	X(FINISHED, "finished")         /* both sides closed in order */                     \
	X(CLIENT_RESET, "client_reset") /* and the target was told so */                     \
	X(TARGET_RESET, "target_reset")                                                      \
	X(IDLE_TIMEOUT, "idle_timeout")                                                      \
	X(STALLED, "stalled") /* one side took no bytes, or did not answer */                \
	X(GONE, "gone")       /* the client left before it was served */                     \
	X(HANDSHAKE_TIMEOUT, "handshake_timeout")                                            \
	X(INVALID, "invalid") /* broke the protocol; `why` says how */                       \
	X(AUTH_FAILED, "auth_failed")                                                        \
	X(AUTH_OVERLOAD, "auth_overload") /* the password could not be checked now */        \
	X(DENIED, "denied")               /* `why` says by what */                           \
	X(UNREACHABLE, "unreachable")     /* `why` says how */                               \
	X(CONNECT_TIMEOUT, "connect_timeout")                                                \
	X(BIND_TIMEOUT, "bind_timeout") /* the peer that was to connect did not */           \
	X(NO_MEMORY, "no_memory")                                                            \
	X(REVOKED, "revoked")   /* a reload changed or removed the user; `why` says which */ \
	X(SHUTDOWN, "shutdown") /* the daemon ends, or its configuration dropped the listener */

#define SESSION_END_ENUM(name, token) SESSION_END_##name,
enum session_end_reason {
	SESSION_ENDS(SESSION_END_ENUM)
};
#undef SESSION_END_ENUM

const char *session_end_name(enum session_end_reason reason);

/* Serve the client on fd, which is owned from now on. `listener` is the configured address that
 * accepted it, `listen` its section. The caller has entered it in context->clients; its end leaves.
 * 0, or -errno; then fd is closed, and the caller has to leave. */
int session_start(struct context *context, int fd, const struct addr *client,
		  const struct listen_config *listen, const struct addr *listener);

/* End all sessions of the worker at once. */
void session_end_all(struct context *context);

/* The configuration in context->config is about to be replaced by `next`. Each session goes on
 * under the section that config_follow_listen() finds. One still in its handshake ends when there
 * is none, or one with another `auth` after the method was agreed on. One with a user ends when the
 * section does not have that user with the same password hash, unless it asks for no password any
 * more. A listener that goes ends no session that has a target. */
void session_reconfigure_all(struct context *context, const struct config *next);

#endif
