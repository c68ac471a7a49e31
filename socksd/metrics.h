/* SPDX-License-Identifier: ISC */
/*
 * All counters of socksd, declared once: X(name, "help"). Those that end in _now are gauges.
 */
#ifndef SOCKSD_METRICS_H
#define SOCKSD_METRICS_H

#include "common/metrics.h"

#include "socksd/udp/udp_drops.h"

#define UDP_DROP_METRIC(X, name, help) X(udp_drop_##name, help)

#define SOCKSD_METRICS(X)                                                                          \
	X(sessions_accepted, "Connections accepted.")                                              \
	X(sessions_now, "Sessions open now.")                                                      \
	X(sessions_relaying_now, "Sessions connected to their target now.")                        \
	X(sessions_established, "Sessions that reached their target.")                             \
	X(refused_client, "Connections closed at once: the client is not in `clients`.")           \
	X(refused_limit, "Connections closed at once: max-sessions was reached.")                  \
	X(refused_per_client, "Connections closed at once: max-sessions-per-client was reached.")  \
	X(refused_fair_share, "Connections closed at once: room was left only for other clients.") \
	X(refused_half_open, "Connections closed at once: too many unfinished handshakes.")        \
	X(refused_memory, "Connections closed at once: out of memory.")                            \
	X(accept_paused, "Times that accepting paused for lack of descriptors or memory.")         \
	X(accept_waited, "Times that accepting waited for a session to end: descriptors.")         \
	X(accept_shed, "Connections closed at once after 30 s without free descriptors.")          \
	X(handshake_invalid, "Clients that broke the protocol or spoke another one.")              \
	X(handshake_timeout, "Clients that did not finish the handshake in time.")                 \
	X(handshake_gone, "Clients that went away before their request was answered.")             \
	X(auth_ok, "Passwords that were right.")                                                   \
	X(auth_failed, "Passwords that were wrong, or users unknown.")                             \
	X(auth_hashes, "Password hashes made.")                                                    \
	X(auth_remembered, "Passwords known from before to be right or wrong.")                    \
	X(auth_throttled, "Passwords not checked, and among the failed: too many were wrong.")     \
	X(auth_overload, "Passwords not checked because too many were waiting.")                   \
	X(dial_denied, "Requests for a target that is not allowed.")                               \
	X(dial_egress_failed, "Connections that could not leave by the egress a rule names.")      \
	X(names_cached, "Lookups of names answered by the cache.")                                 \
	X(names_joined, "Lookups that waited for another one of the same name.")                   \
	X(names_asked, "Lookups that DNS was asked for.")                                          \
	X(dial_failed, "Requests for a target that could not be reached.")                         \
	X(dial_timeout, "Requests for a target that did not answer in time.")                      \
	X(bind_waiting_now, "BIND requests that wait for their peer now.")                         \
	X(bind_connected, "BIND requests whose peer has connected.")                               \
	X(bind_strangers, "Connections to BIND requests that were reset: somebody else's.")        \
	X(bind_timeout, "BIND requests whose peer did not connect in time.")                       \
	X(bind_refused, "BIND requests refused: max-binds-per-client was reached.")                \
	X(idle_timeout, "Sessions ended because nothing moved for too long.")                      \
	X(stall_timeout, "Sessions ended because one side took no bytes for too long.")            \
	X(resets_passed, "Sessions ended because one side reset its connection.")                  \
	X(sessions_revoked, "Sessions ended because a reload changed or removed their user.")      \
	X(bytes_up, "Bytes from clients to targets, of sessions that have ended.")                 \
	X(bytes_down, "Bytes from targets to clients, of sessions that have ended.")               \
	X(bytes_spliced, "Of both, bytes that went through a pipe without being copied.")          \
	X(udp_associations, "UDP associations begun.")                                             \
	X(udp_associations_now, "UDP associations open now.")                                      \
	X(udp_refused_per_client, "UDP associations refused: max-udp-per-client was reached.")     \
	X(udp_datagrams_up, "Datagrams from clients sent on to targets.")                          \
	X(udp_datagrams_down, "Datagrams from targets sent on to clients.")                        \
	UDP_DROPS(UDP_DROP_METRIC, X)                                                              \
	X(pipe_missing,                                                                            \
	  "Bulk reads that were copied for lack of a pipe, of sessions that have ended.")

enum socksd_metric {
	SOCKSD_METRICS(METRIC_ENUM) METRIC_COUNT,
};

#endif
