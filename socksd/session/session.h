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
#include "socksd/metrics.h"

/* How a session ended: X(name, "token", metric). The token is in the log; METRIC_COUNT: it is
 * counted nowhere. */
#define SESSION_ENDS(X)                                                     \
	/* both sides closed in order */                                    \
	X(FINISHED, "finished", METRIC_COUNT)                               \
	/* and the target was told so */                                    \
	X(CLIENT_RESET, "client_reset", METRIC_resets_passed)               \
	X(TARGET_RESET, "target_reset", METRIC_resets_passed)               \
	X(IDLE_TIMEOUT, "idle_timeout", METRIC_idle_timeout)                \
	/* one side took no bytes, or did not answer */                     \
	X(STALLED, "stalled", METRIC_stall_timeout)                         \
	/* the client left before it was served */                          \
	X(GONE, "gone", METRIC_handshake_gone)                              \
	X(HANDSHAKE_TIMEOUT, "handshake_timeout", METRIC_handshake_timeout) \
	/* broke the protocol; `why` says how */                            \
	X(INVALID, "invalid", METRIC_handshake_invalid)                     \
	X(AUTH_FAILED, "auth_failed", METRIC_auth_failed)                   \
	/* the password could not be checked now */                         \
	X(AUTH_OVERLOAD, "auth_overload", METRIC_auth_overload)             \
	/* `why` says by what */                                            \
	X(DENIED, "denied", METRIC_dial_denied)                             \
	/* `why` says how */                                                \
	X(UNREACHABLE, "unreachable", METRIC_dial_failed)                   \
	X(CONNECT_TIMEOUT, "connect_timeout", METRIC_dial_timeout)          \
	/* the peer that was to connect did not */                          \
	X(BIND_TIMEOUT, "bind_timeout", METRIC_bind_timeout)                \
	X(NO_MEMORY, "no_memory", METRIC_refused_memory)                    \
	/* a reload changed or removed the user; `why` says which */        \
	X(REVOKED, "revoked", METRIC_sessions_revoked)                      \
	/* the daemon ends, or its configuration dropped the listener */    \
	X(SHUTDOWN, "shutdown", METRIC_COUNT)

#define SESSION_END_ENUM(name, token, metric) SESSION_END_##name,
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
