/* SPDX-License-Identifier: ISC */
/*
 * The configuration of dnsproxyd: every key is declared here, once. A struct config is immutable; a
 * reload makes another one.
 */
#ifndef DNSPROXYD_CONFIG_H
#define DNSPROXYD_CONFIG_H

#include "common/config/params.h"
#include "common/daemon/listens.h"
#include "common/daemon/service.h"
#include "common/dns/balance.h"
#include "common/stream/tls.h"

#include "dnsproxyd/message/ddr.h"
#include "dnsproxyd/upstream/endpoint.h"
#include "dnsproxyd/upstream/suffixes.h"

#define SERVER_PARAMS(P, PC)                                                                       \
	SERVICE_SERVER_PARAMS(P, PC, "dnsproxyd")                                                  \
	P(BOOL, local_zones, "local-zones", "on", 0, 0, RELOAD,                                    \
	  "Names that mean something in one network only (reverse zones of private addresses, "    \
	  "home.arpa, internal, local, test) are answered here: they do not exist.")               \
	P(BOOL, watch_network, "watch-network", "on", 0, 0, RELOAD,                                \
	  "When links, addresses or routes of this machine change, let all answers in the cache "  \
	  "expire, close the connections to servers, and try those again that did not work.")      \
	P(TEXTS, resolv_conf, "resolv-conf", "/run/dnsproxyd/resolv.conf, /etc/resolv.conf", 0, 0, \
	  RELOAD,                                                                                  \
	  "Files of the form of resolv.conf(5). When [upstream default] has no server, it asks "   \
	  "those of the first file that names any but ourselves.")
PARAM_DECLARE(server_params, SERVER_PARAMS);

#define LOG_PARAMS(P, PC)                                                                         \
	SERVICE_LOG_PARAMS(P, PC)                                                                 \
	P(BOOL, query_log, "query-log", "off", 0, 0, RELOAD,                                      \
	  "One line for each query at level info; without it, at level debug.")                   \
	PC(clients, "clients", "full", "full|network|none", RELOAD,                               \
	   "How clients are named in those lines: address, network (/24 or /48), or not at all.") \
	PC(names, "names", "full", "full|none", RELOAD,                                           \
	   "Whether those lines hold the names that were asked for.")
PARAM_DECLARE(log_params, LOG_PARAMS);

#define LISTEN_PARAMS(P, PC)                                                                    \
	P(ADDRS, addresses, "address", NULL, 53, 0, RELOAD,                                     \
	  "Addresses to answer on, by UDP and TCP, or by TLS or HTTPS; 0.0.0.0 and :: stand "   \
	  "for all of this host.")                                                              \
	PC(protocol, "protocol", "dns", "dns|tls|https", RELOAD,                                \
	   "What is spoken there: dns (UDP and TCP), tls (DNS over TLS, port 853) or "          \
	   "https (DNS over HTTPS, port 443, at /dns-query).")                                  \
	P(PATH, certificate, "certificate", NULL, 0, 0, RELOAD,                                 \
	  "PEM file of the certificate for protocol = tls or https, with those between it and " \
	  "its "                                                                                \
	  "authority; loaded again when it changes.")                                           \
	P(PATH, key, "key", NULL, 0, 0, RELOAD,                                                 \
	  "PEM file of its private key, which not everyone may read.")                          \
	P(NETS, clients, "clients", "local", 0, 0, RELOAD,                                      \
	  "Who is answered: local (loopback, private and link-local networks), any, or networks.")
PARAM_DECLARE(listen_params, LISTEN_PARAMS);

/* In the order of its words. */
enum listen_protocol {
	LISTEN_DNS,
	LISTEN_TLS,
	LISTEN_HTTPS,
};

#define UPSTREAM_PARAMS(P, PC)                                                                    \
	P(TEXTS, servers, "server", NULL, 0, 0, RELOAD,                                           \
	  "Servers to ask: ADDRESS, ADDRESS:PORT, or tcp://ADDRESS:PORT to ask by TCP "           \
	  "only; by TLS tls://ADDRESS:PORT#NAME, whose certificate is for NAME, or without "      \
	  "#NAME for the address, or tls://NAME:PORT; by HTTPS likewise, "                        \
	  "https://ADDRESS:PORT/PATH#NAME or https://NAME:PORT/PATH; by DNSCrypt and the others " \
	  "with a stamp, sdns://STAMP. [upstream default] asks those that resolv-conf names by "  \
	  "default.")                                                                             \
	P(TEXTS, bootstrap, "bootstrap", NULL, 0, 0, RELOAD,                                      \
	  "Servers that are asked for the addresses of servers given by name, and nothing "       \
	  "else; written as server is, with addresses.")                                          \
	P(TEXT, proxy, "proxy", NULL, 0, 0, RELOAD,                                               \
	  "SOCKS5 proxy that these servers are asked through, and never directly: "               \
	  "socks5://[USER:PASSWORD@]IP[:PORT]. Everything goes by stream then, and names of "     \
	  "servers are for the proxy to look up.")                                                \
	P(PATH, ca, "ca", NULL, 0, 0, RELOAD,                                                     \
	  "PEM file of the authorities that may sign certificates of tls:// and https:// "        \
	  "servers; by default those that the system trusts.")                                    \
	P(TEXTS, pins, "pin", NULL, 0, 0, RELOAD,                                                 \
	  "Base64 SHA-256 of public keys, one of which a tls:// or https:// server must have, "   \
	  "one of bootstrap too; alone, without #NAME and ca, they are all that is checked.")     \
	PC(authentication, "authentication", "strict", "strict|opportunistic", RELOAD,            \
	   "Whether tls:// and https:// servers must prove who they are; opportunistic hides "    \
	   "questions from "                                                                      \
	   "those who only listen.")                                                              \
	PC(strategy, "strategy", "fastest", "fastest|failover|roundrobin|leastconn|race", RELOAD, \
	   "Which server is asked first: the fastest; the first that works; each in "             \
	   "turn; the one with the fewest open questions; or several at once.")                   \
	P(DURATION, timeout_ms, "timeout", "2s", 50, 4000, RELOAD,                                \
	  "How long to wait for one server before asking again or asking the next.")
PARAM_DECLARE(upstream_params, UPSTREAM_PARAMS);

#define FORWARD_PARAMS(P, PC)                                                     \
	P(TEXTS, domains, "domain", NULL, 0, 0, RELOAD,                           \
	  "Domains that are asked elsewhere; the longest that fits a name wins.") \
	P(TEXT, upstream, "upstream", NULL, 0, 0, RELOAD,                         \
	  "The name of the [upstream] section whose servers are asked about them.")
PARAM_DECLARE(forward_params, FORWARD_PARAMS);

#define PRIVACY_PARAMS(P, PC)                                                               \
	P(BOOL, randomize_case, "randomize-case", "on", 0, 0, RELOAD,                       \
	  "Ask by UDP with letters in random case, which forgers have to guess; switched "  \
	  "off by itself for servers that cannot cope.")                                    \
	P(BOOL, padding, "padding", "on", 0, 0, RELOAD,                                     \
	  "Fill queries to encrypted servers up to a multiple of 128 bytes, so that their " \
	  "lengths do not tell which name was asked for.")
PARAM_DECLARE(privacy_params, PRIVACY_PARAMS);

#define CACHE_PARAMS(P, PC)                                                                        \
	P(SIZE, size_bytes, "size", "32M", 65536, 68719476736, RESTART,                            \
	  "Memory for answers, with all that is needed to find them.")                             \
	P(PATH, file, "file", NULL, 0, 0, RESTART,                                                 \
	  "Where answers are saved, at the end and from time to time, to be there at the next "    \
	  "start; without it they are not saved.")                                                 \
	P(DURATION, min_ttl_ms, "min-ttl", "0", 0, 86400000, RELOAD,                               \
	  "Answers are kept at least so long; what must not be kept at all (TTL 0) still is not.") \
	P(DURATION, max_ttl_ms, "max-ttl", "1d", 1000, 604800000, RELOAD,                          \
	  "Answers are kept at most so long.")                                                     \
	P(DURATION, negative_max_ttl_ms, "negative-max-ttl", "1h", 1000, 604800000, RELOAD,        \
	  "The answer that a name or type does not exist is kept at most so long.")                \
	P(DURATION, failure_ttl_ms, "failure-ttl", "5s", 1000, 300000, RELOAD,                     \
	  "A question that no server could answer is not asked again for 1s; when it fails "       \
	  "again, for twice as long each time, at most so long.")                                  \
	P(DURATION, serve_stale_ms, "serve-stale", "1d", 0, 604800000, RELOAD,                     \
	  "When no server answers, answers that expired at most so long ago are used; 0: never.")  \
	P(PERCENT, prefetch_pct, "prefetch", "10%", 0, 50, RELOAD,                                 \
	  "An answer that is asked for again in this last part of its TTL, and was so before, is " \
	  "fetched anew ahead of time; 0%: never.")
PARAM_DECLARE(cache_params, CACHE_PARAMS);

#define LIMITS_PARAMS(P, PC)                                                                       \
	P(COUNT, max_outstanding, "max-outstanding", "4096", 1, 60000, RELOAD,                     \
	  "Queries of one worker that may wait for upstream servers; more get SERVFAIL.")          \
	P(COUNT, max_waiting_per_question, "max-waiting-per-question", "1024", 1, 60000, RELOAD,   \
	  "Clients that may wait for the answer to the same question; more get SERVFAIL.")         \
	P(COUNT, max_tcp_clients, "max-tcp-clients", "512", 1, 1000000, RELOAD,                    \
	  "TCP connections of clients per worker; more are closed at once.")                       \
	P(COUNT, max_tcp_per_client, "max-tcp-per-client", "64", 1, 1000000, RELOAD,               \
	  "TCP connections of one client (IPv6: one /64) per worker; more are closed at once.")    \
	P(COUNT, rate_limit, "rate-limit", "0", 0, 1000000, RELOAD,                                \
	  "Queries a second that one client (IPv6: one /64) may send by UDP; a client over it is " \
	  "told to come back by TCP, one far over it gets no answer. 0: no limit.")                \
	P(COUNT, rate_limit_burst, "rate-limit-burst", "1000", 1, 1000000, RELOAD,                 \
	  "Queries that may come at once before rate-limit counts.")                               \
	P(NETS, rate_limit_exempt, "rate-limit-exempt", "127.0.0.0/8, ::1", 0, 0, RELOAD,          \
	  "Clients without rate-limit.")                                                           \
	P(DURATION, tcp_idle_timeout_ms, "tcp-idle-timeout", "10s", 100, 3600000, RELOAD,          \
	  "TCP connections on which nothing is asked for so long are closed.")                     \
	P(DURATION, drain_timeout_ms, "drain-timeout", "5s", 0, 86400000, RELOAD,                  \
	  "How long SIGTERM waits for open queries to be answered.")
PARAM_DECLARE(limits_params, LIMITS_PARAMS);

/* One [listen NAME] section. */
struct listen_config {
	const char *name;
	const struct listen_params *params;
	struct tls_server *tls; /* NULL: clear text */
};

/* Servers of one group; groups (their numbers are octets in the cache's keys). */
#define CONFIG_SERVERS_MAX   16
#define CONFIG_GROUPS_MAX    255
/* Keys pinned, and servers asked for addresses, of one group. */
#define CONFIG_PINS_MAX      16
#define CONFIG_BOOTSTRAP_MAX 4

/* What the encrypted servers of a group must show. */
struct security_config {
	struct tls_trust *trust; /* owned; NULL: no server needs it */
	bool has_ca;             /* it was asked for by name */
	bool is_opportunistic;
	struct tls_pin pins[CONFIG_PINS_MAX];
	size_t pin_count;
};

/* One [upstream NAME] section. */
struct group_config {
	const char *name;
	enum balance_strategy strategy;
	uint32_t timeout_ms;
	struct endpoint servers[CONFIG_SERVERS_MAX];
	size_t server_count;
	struct endpoint bootstrap[CONFIG_BOOTSTRAP_MAX];
	size_t bootstrap_count;
	struct security_config security;
	bool has_proxy;
	struct socks_proxy proxy;
};

struct config {
	const struct server_params *server;
	const struct log_params *log;
	const struct cache_params *cache;
	const struct limits_params *limits;
	struct listens listens;
	struct listen_config *listen_configs; /* one for each of listens */
	const struct privacy_params *privacy;
	/* The first is "default", with the system's servers when none is configured. */
	struct group_config *groups;
	size_t group_count;
	struct ddr ddr;            /* what clients are told of encrypted listeners */
	struct suffixes *forwards; /* domains and the index of their group */
};

extern const struct params_schema config_schema;

/* Check across keys, find the system's servers. Borrows params for its life. Returns owned, or NULL
 * with *reterr. */
struct config *config_new(const struct params *params, struct ini_error *reterr);

/* NULL is fine. */
void config_free(struct config *config);

/* The section that has this listening address, or NULL. */
const struct listen_config *config_find_listen(const struct config *config, const struct addr *a);

/* The index of the group that is asked about this name (uncompressed, of len octets). */
unsigned config_find_group(const struct config *config, const uint8_t *name, size_t len);

/* Whether both ask the same servers about the same names, so that answers kept under one may be
 * used under the other. */
bool config_same_upstreams(const struct config *a, const struct config *b);

#endif
