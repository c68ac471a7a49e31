/* SPDX-License-Identifier: ISC */
/*
 * All counters of dnsproxyd, declared once: X(name, "help"). Those that end in _now are gauges.
 */
#ifndef DNSPROXYD_METRICS_H
#define DNSPROXYD_METRICS_H

#include "common/metrics.h"

#define DNSPROXYD_METRICS(X)                                                                     \
	X(queries_udp, "Datagrams received.")                                                    \
	X(queries_tcp, "Messages received over TCP.")                                            \
	X(queries_https, "Messages received over HTTPS.")                                        \
	X(https_refused, "HTTPS requests that held no message, and connections without HTTP/2.") \
	X(queries_dropped, "Messages that are no query, or from clients that are not allowed.")  \
	X(queries_malformed, "Queries answered with FORMERR, NOTIMP or BADVERS.")                \
	X(queries_overload, "Queries answered with SERVFAIL because too many were open.")        \
	X(queries_truncated, "Queries over the rate limit, answered with TC=1.")                 \
	X(queries_limited, "Queries far over the rate limit, not answered.")                     \
	X(queries_coalesced, "Queries that waited for an answer which was on its way already.")  \
	X(queries_signed, "Signed queries, passed to a server as they are.")                     \
	X(queries_local, "Queries for special names and types, answered here.")                  \
	X(queries_open_now, "Queries waiting for an upstream server.")                           \
	X(cache_hits, "Queries answered from the cache.")                                        \
	X(cache_misses, "Queries that were not in the cache.")                                   \
	X(cache_expired, "Queries that were in the cache, but too old.")                         \
	X(cache_stale, "Queries answered with what had expired, as no server answered.")         \
	X(refreshes,                                                                             \
	  "Fetches that nobody waited for: ahead of the end of a TTL, or of stale answers.")     \
	X(failures_known,                                                                        \
	  "Queries answered with SERVFAIL, or stale, because the question failed lately.")       \
	X(answers, "Queries answered with what an upstream server said.")                        \
	X(answers_failed, "Queries answered with SERVFAIL because no server helped.")            \
	X(upstream_sends, "Queries sent to upstream servers.")                                   \
	X(upstream_answers, "Good answers of upstream servers.")                                 \
	X(upstream_tcp, "Answers of upstream servers that came by TCP.")                         \
	X(upstream_timeouts, "Queries that a server did not answer in time.")                    \
	X(upstream_errors, "SERVFAIL and other refusals of upstream servers.")                   \
	X(upstream_unreachable, "Queries that could not be sent, or were refused by ICMP.")      \
	X(upstream_malformed, "Answers of upstream servers that were broken.")                   \
	X(upstream_hedges, "Queries sent again because the first answer was slow to come.")      \
	X(upstream_trials, "Queries sent besides, to servers that were down or not measured.")   \
	X(upstream_down, "Times that a server was found not to work.")                           \
	X(upstream_wrong_answers, "Datagrams that answered something else than was asked.")      \
	X(upstream_wrong_case, "Datagrams that answered with letters in another case.")          \
	X(upstream_case_off, "Times that random case was switched off for a server.")            \
	X(upstream_bursts, "Times that a server was asked by TCP because of forged answers.")    \
	X(upstream_tls_handshakes, "TLS connections to upstream servers.")                       \
	X(upstream_tls_resumed, "Those of them that resumed a session.")                         \
	X(upstream_tls_wrong_name, "Servers refused: their certificate is for another name.")    \
	X(upstream_tls_expired, "Servers refused: their certificate has expired.")               \
	X(upstream_tls_not_yet_valid, "Servers refused: their certificate is not valid yet.")    \
	X(upstream_tls_self_signed, "Servers refused: their certificate is signed by itself.")   \
	X(upstream_tls_untrusted, "Servers refused: signed by nobody who is trusted.")           \
	X(upstream_tls_wrong_pin, "Servers refused: they have none of the pinned keys.")         \
	X(upstream_tls_no_alpn, "Servers refused: they do not speak the protocol.")              \
	X(upstream_tls_protocol, "TLS handshakes with upstream servers that failed.")            \
	X(upstream_http_errors, "Responses of upstream servers by HTTPS that were no success.")  \
	X(upstream_dnscrypt_certs, "New certificates of DNSCrypt servers.")                      \
	X(upstream_dnscrypt_refused,                                                             \
	  "Times that a DNSCrypt server had no certificate that is any good.")                   \
	X(bootstraps, "Lookups of the addresses of upstream servers given by name.")             \
	X(bootstraps_failed, "Those of them that no server could answer.")                       \
	X(loops, "Queries of our own that came back to us.")                                     \
	X(network_changes, "Times that links, addresses or routes changed.")                     \
	X(tcp_accepted, "TCP connections accepted.")                                             \
	X(tcp_now, "TCP connections open now.")                                                  \
	X(tcp_refused, "TCP connections closed at once: not allowed, or too many.")              \
	X(tcp_idle, "TCP connections closed because nothing came.")                              \
	X(tcp_slow, "TCP connections closed because the client did not read.")                   \
	X(tls_handshakes, "Those of them that were encrypted, and got through the handshake.")   \
	X(tls_failed, "Those that did not: no TLS, or the client refused the certificate.")      \
	X(accept_paused, "Times that accepting paused for lack of descriptors or memory.")       \
	X(udp_send_lost, "Answers that the kernel did not take.")

enum dnsproxyd_metric {
	DNSPROXYD_METRICS(METRIC_ENUM) METRIC_COUNT,
};

#endif
