/* SPDX-License-Identifier: ISC */
/*
 * The configuration of socksd: every key is declared here, once. A struct config is immutable; a
 * reload makes another one.
 */
#ifndef SOCKSD_CONFIG_H
#define SOCKSD_CONFIG_H

#include "common/config/params.h"
#include "common/daemon/listens.h"
#include "common/daemon/service.h"

#include "socksd/auth/users.h"
#include "socksd/rules/egress.h"
#include "socksd/rules/rules.h"

#define SERVER_PARAMS(P, PC) SERVICE_SERVER_PARAMS(P, PC, "socksd")
PARAM_DECLARE(server_params, SERVER_PARAMS);

#define LOG_PARAMS(P, PC)                                                                    \
	SERVICE_LOG_PARAMS(P, PC)                                                            \
	PC(clients, "clients", "full", "full|network|none", RELOAD,                          \
	   "How the log shows clients: address and port, the network (/24, /48), or not. A " \
	   "client that failed to log in is shown in full unless this is none.")             \
	PC(destinations, "destinations", "full", "full|none", RELOAD,                        \
	   "Whether the log shows where clients went.")
PARAM_DECLARE(log_params, LOG_PARAMS);

#define LISTEN_PARAMS(P, PC)                                                                       \
	P(ADDRS, addresses, "address", NULL, 1080, 0, RELOAD,                                      \
	  "Addresses to accept clients on; 0.0.0.0 and :: stand for all of this host.")            \
	PC(auth, "auth", "none", "none|password", RELOAD, "What clients must do to be served.")    \
	P(PATH, users_file, "users", NULL, 0, 0, RELOAD,                                           \
	  "File of user names and password hashes, made with socksd-passwd; needed for auth = "    \
	  "password.")                                                                             \
	P(BOOL, users_world_readable, "users-world-readable", "no", 0, 0, RELOAD,                  \
	  "Says that everybody on this host may read the users file; otherwise one that "          \
	  "everybody "                                                                             \
	  "can read is refused.")                                                                  \
	P(NETS, clients, "clients", "local", 0, 0, RELOAD,                                         \
	  "Who may connect: local (loopback, private and link-local networks), any, or networks.") \
	P(BOOL, open_proxy, "open-proxy", "no", 0, 0, RELOAD,                                      \
	  "Says that auth = none with clients = any is meant: everybody can use this proxy.")      \
	P(BOOL, udp, "udp", "yes", 0, 0, RELOAD, "Whether clients may have UDP relayed.")          \
	P(IPS, udp_public_addresses, "udp-public-address", NULL, 0, 0, RELOAD,                     \
	  "Addresses at which this one is reached from outside, at most one of each family. "      \
	  "Clients are told them, instead of our own, as the place to send datagrams to, and by "  \
	  "BIND as the place where peers can connect.")                                            \
	P(TEXT, udp_port_range, "udp-port-range", NULL, 0, 0, RELOAD,                              \
	  "Ports, as FIRST-LAST, that clients are told to send datagrams to; by default any.")     \
	PC(udp_source, "udp-source", "address", "address|network|any", RELOAD,                     \
	   "Where a client's datagrams may come from: the address of its connection; the same "    \
	   "/24 or /64, for carriers that spread a client over several addresses; or anywhere, "   \
	   "and then whoever is first has the association. The first valid one settles address "   \
	   "and port.")                                                                            \
	PC(udp_filtering, "udp-filtering", "endpoint-independent",                                 \
	   "endpoint-independent|address|address-and-port", RELOAD,                                \
	   "Whose datagrams reach a client: anybody's, as games and calls between peers need it; " \
	   "those from addresses, or addresses and ports, that it has sent to.")                   \
	P(BOOL, udp_fragments, "udp-fragments", "yes", 0, 0, RELOAD,                               \
	  "Whether datagrams that a client sends in SOCKS fragments are put together.")            \
	P(TEXT, bind_port_range, "bind-port-range", NULL, 0, 0, RELOAD,                            \
	  "Ports, as FIRST-LAST, on which the peers of BIND are waited for; by default any.")      \
	P(BOOL, bind_needs_connect, "bind-needs-connect", "no", 0, 0, RELOAD,                      \
	  "Whether a peer of BIND must be a host that the same client, and user, is connected to " \
	  "through this one, as FTP servers are; connections that are older than this key do not " \
	  "count.")
PARAM_DECLARE(listen_params, LISTEN_PARAMS);

#define LIMITS_PARAMS(P, PC)                                                                      \
	P(COUNT, max_sessions, "max-sessions", "65536", 1, 10000000, RELOAD,                      \
	  "Sessions at the same time; further connections are closed at once.")                   \
	P(COUNT, max_sessions_per_client, "max-sessions-per-client", "4096", 1, 10000000, RELOAD, \
	  "Sessions at the same time from one IPv4 address or IPv6 /64; further connections are " \
	  "closed at once.")                                                                      \
	P(COUNT, half_open_start, "half-open-start", "8192", 0, 10000000, RELOAD,                 \
	  "When so many connections have not completed their request, new ones are closed at "    \
	  "random.")                                                                              \
	P(PERCENT, half_open_rate, "half-open-rate", "30%", 0, 100, RELOAD,                       \
	  "Share of the new connections that is closed at first; it rises to 100% at 7/8 of "     \
	  "max-half-open.")                                                                       \
	P(COUNT, max_half_open, "max-half-open", "16384", 1, 10000000, RELOAD,                    \
	  "Connections whose request is not complete, at most; the last eighth is for clients "   \
	  "that have no other such connection.")                                                  \
	P(COUNT, login_failures, "login-failures", "16", 1, 1000000, RELOAD,                      \
	  "Wrong passwords that one client may try in a row before it has to wait.")              \
	P(DURATION, login_failure_interval_ms, "login-failure-interval", "1s", 1, 86400000,       \
	  RELOAD, "How long it then waits for each further one.")                                 \
	P(DURATION, handshake_timeout_ms, "handshake-timeout", "10s", 100, 600000, RELOAD,        \
	  "From the connection to the complete request, however many bytes come in between.")     \
	P(DURATION, connect_timeout_ms, "connect-timeout", "15s", 100, 600000, RELOAD,            \
	  "For finding and reaching the target.")                                                 \
	P(DURATION, bind_timeout_ms, "bind-timeout", "2m", 100, 86400000, RELOAD,                 \
	  "From the first reply to BIND to the connection of the peer.")                          \
	P(COUNT, max_binds_per_client, "max-binds-per-client", "64", 1, 10000000, RELOAD,         \
	  "BIND requests that may wait for their peers at the same time, from one IPv4 address "  \
	  "or IPv6 /64.")                                                                         \
	P(DURATION, idle_timeout_ms, "idle-timeout", "2h", 100, 2592000000, RELOAD,               \
	  "Sessions in which nothing moves for so long are ended.")                               \
	P(DURATION, half_close_timeout_ms, "half-close-timeout", "1h", 100, 2592000000, RELOAD,   \
	  "How long nothing may move once one side has finished sending and the other goes on.")  \
	P(DURATION, fin_timeout_ms, "fin-timeout", "4m", 100, 2592000000, RELOAD,                 \
	  "How long nothing may move once one side has finished sending and nothing has come "    \
	  "from the other since.")                                                                \
	P(DURATION, stall_timeout_ms, "stall-timeout", "5m", 1000, 86400000, RELOAD,              \
	  "Sessions with bytes for a side that takes none for so long, or does not answer, are "  \
	  "ended.")                                                                               \
	P(DURATION, udp_idle_timeout_ms, "udp-idle-timeout", "5m", 100, 86400000, RELOAD,         \
	  "UDP associations in which no datagram passes for so long are ended; also how long "    \
	  "udp-filtering remembers.")                                                             \
	P(COUNT, max_udp_per_client, "max-udp-per-client", "1024", 1, 10000000, RELOAD,           \
	  "UDP associations of one IPv4 address or IPv6 /64.")                                    \
	P(COUNT, max_udp_peers, "max-udp-peers", "1024", 8, 65536, RELOAD,                        \
	  "Addresses and ports that one UDP association keeps in mind; beyond that it forgets "   \
	  "those that were used least recently.")                                                 \
	P(COUNT, udp_rate, "udp-rate", "0", 0, 1000000000, RELOAD,                                \
	  "Datagrams a second, in each direction of one UDP association; 0: no limit.")           \
	P(SIZE, udp_bandwidth_bytes, "udp-bandwidth", "0", 0, 1099511627776, RELOAD,              \
	  "Bytes a second, in each direction of one UDP association; 0: no limit.")               \
	P(DURATION, drain_timeout_ms, "drain-timeout", "30s", 0, 86400000, RELOAD,                \
	  "How long SIGTERM waits for sessions to end.")
PARAM_DECLARE(limits_params, LIMITS_PARAMS);

#define DNS_PARAMS(P, PC)                                                                         \
	P(ADDRS, servers, "server", NULL, 53, 0, RELOAD,                                          \
	  "Servers that resolve the names in requests; by default those of /etc/resolv.conf.")    \
	PC(family, "family", "any", "any|ipv4|ipv6", RELOAD, "Which addresses of a name to use.") \
	P(COUNT, cache_names, "cache", "4096", 0, 1000000, RELOAD,                                \
	  "Names each worker remembers, for as long as their TTL says; 0: none.")
PARAM_DECLARE(dns_params, DNS_PARAMS);

#define EGRESS_PARAMS(P, PC)                                                                      \
	P(IPS, addresses, "address", NULL, 0, 0, RELOAD,                                          \
	  "Addresses to connect from, at most one of each family; a target of another family is " \
	  "then unreachable. Without any, the routes decide.")                                    \
	P(TEXT, interface, "interface", NULL, 0, 0, RELOAD,                                       \
	  "Interface to connect through, whatever the routes say.")                               \
	P(MARK, fwmark, "fwmark", NULL, 1, 4294967295, RELOAD,                                    \
	  "Mark of the packets, for rules of the routing and the firewall.")                      \
	P(BOOL, fast_open, "tcp-fast-open", "no", 0, 0, RELOAD,                                   \
	  "When a client sends data right behind its request, send that with the SYN (RFC 7413) " \
	  "to targets that have agreed to it before. The client then has its reply before the "   \
	  "target has answered.")
PARAM_DECLARE(egress_params, EGRESS_PARAMS);

#define RULE_PARAMS(P, PC)                                                                    \
	PC(action, "action", NULL, "allow|deny", RELOAD,                                      \
	   "What becomes of the requests that meet all conditions of this rule.")             \
	P(TEXTS, commands, "command", NULL, 0, 0, RELOAD, "Condition: connect, bind, udp.")   \
	P(NETS, clients, "client", NULL, 0, 0, RELOAD,                                        \
	  "Condition: the client's address is in one of these networks.")                     \
	P(TEXTS, users, "user", NULL, 0, 0, RELOAD,                                           \
	  "Condition: the client has logged in as one of these users.")                       \
	P(TEXTS, destinations, "destination", NULL, 0, 0, RELOAD,                             \
	  "Condition: a name, a .suffix (the name itself and all below it), a network or "    \
	  "address, or @FILE with one of these a line. Names are compared with the request, " \
	  "networks with each address that would be connected to.")                           \
	P(TEXTS, ports, "port", NULL, 0, 0, RELOAD,                                           \
	  "Condition: the destination's port is one of these, or in a range FIRST-LAST.")     \
	P(TEXT, egress, "egress", NULL, 0, 0, RELOAD,                                         \
	  "With action = allow: the [egress] from which to connect.")
PARAM_DECLARE(rule_params, RULE_PARAMS);

enum listen_auth {
	LISTEN_AUTH_NONE,
	LISTEN_AUTH_PASSWORD,
};

enum listen_udp_source {
	UDP_SOURCE_ADDRESS,
	UDP_SOURCE_NETWORK,
	UDP_SOURCE_ANY,
};

enum rule_action {
	RULE_ACTION_ALLOW,
	RULE_ACTION_DENY,
};

enum dns_family {
	DNS_FAMILY_ANY,
	DNS_FAMILY_IPV4,
	DNS_FAMILY_IPV6,
};

/* One [listen NAME] section. */
struct listen_config {
	const char *name;
	const struct listen_params *params;
	struct users *users;         /* NULL unless auth = password */
	struct addr udp_public_ipv4; /* AF_UNSPEC: none */
	struct addr udp_public_ipv6;
	struct rule_ports udp_ports;  /* all 0: any */
	struct rule_ports bind_ports; /* likewise */
};

struct config {
	const struct params *params; /* what the rest borrows from */
	const struct server_params *server;
	const struct log_params *log;
	const struct limits_params *limits;
	const struct dns_params *dns;
	struct listens listens;
	struct listen_config *listen_configs; /* one for each of listens */
	struct egress *egresses;
	size_t egress_count;
	struct rules rules;
};

extern const struct params_schema config_schema;

/* Check across keys, read the users files. Borrows params for its life. Returns owned, or NULL with
 * *reterr. */
struct config *config_new(const struct params *params, struct ini_error *reterr);

/* NULL is fine. */
void config_free(struct config *config);

/* The egress that is equal to one of another configuration, or NULL. */
const struct egress *config_same_egress(const struct config *config, const struct egress *egress);

/* What root must leave us for the egresses: PRIVILEGES_NET_* bits. */
unsigned config_capabilities(const struct config *config);

/* The section that has this listening address, or NULL. */
const struct listen_config *config_find_listen(const struct config *config, const struct addr *a);

/* The section under which a session goes on that an older configuration's section `old` accepted at
 * `a`: the one with the address; or, the address being gone, the one of that name; or one with that
 * users file. NULL: none of these. */
const struct listen_config *config_follow_listen(const struct config *config, const struct addr *a,
						 const struct listen_config *old);

#endif
