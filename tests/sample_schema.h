/* SPDX-License-Identifier: ISC */
/* A configuration with a key of every type, for the tests and the fuzz target of the engine. */
#ifndef TESTS_SAMPLE_SCHEMA_H
#define TESTS_SAMPLE_SCHEMA_H

#include "common/config/params.h"
#include "common/container.h"

#define SERVER_PARAMS(P, PC)                                                         \
	P(WORKERS, workers, "workers", "auto", 1, 256, RESTART, "Number of threads") \
	P(TEXT, user, "user", NULL, 0, 0, RESTART, "Whom to run as")
PARAM_DECLARE(server_params, SERVER_PARAMS);

#define LIMITS_PARAMS(P, PC)                                                                   \
	P(COUNT, max_sessions, "max-sessions", "65536", 1, 1000000, RELOAD, "Sessions")        \
	P(DURATION, idle_timeout_ms, "idle-timeout", "2h", 1000, 604800000, RELOAD, "Silence") \
	P(DURATION, min_ttl_ms, "min-ttl", "0", 0, 86400000, RELOAD, "Shortest life")          \
	P(SIZE, size_bytes, "size", "32M", 65536, 1073741824, RESTART, "Room")                 \
	P(PERCENT, prefetch_pct, "prefetch", "10%", 0, 100, RELOAD, "Part of life")            \
	P(COUNT, mark, "mark", NULL, 1, 4294967295, RELOAD, "Packet mark")                     \
	P(COUNT, huge, "huge", "18446744073709551615", 0, UINT64_MAX, RELOAD,                  \
	  "No bound but 64 bits")
PARAM_DECLARE(limits_params, LIMITS_PARAMS);

#define LISTEN_PARAMS(P, PC)                                               \
	P(ADDRS, addresses, "address", NULL, 0, 0, RESTART, "Where")       \
	PC(auth, "auth", "none", "none|password", RELOAD, "Who may")       \
	P(PATH, users, "users", NULL, 0, 0, RELOAD, "Password file")       \
	P(NETS, clients, "clients", "local", 0, 0, RELOAD, "Who else may") \
	P(BOOL, padding, "padding", "on", 0, 0, RELOAD, "Pad")             \
	P(IPS, public_address, "public-address", NULL, 0, 0, RELOAD, "Told to clients behind NAT")
PARAM_DECLARE(listen_params, LISTEN_PARAMS);

#define RULE_PARAMS(P, PC)                                                    \
	P(TEXTS, destinations, "destination", NULL, 0, 0, RELOAD, "Where to") \
	P(ADDRS, servers, "server", "192.0.2.53, [2001:db8::53]:5353", 53, 0, RELOAD, "Whom to ask")
PARAM_DECLARE(rule_params, RULE_PARAMS);

#define PARAM_STRUCT struct server_params
static const struct param_row server_rows[] = PARAM_ROWS(SERVER_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct limits_params
static const struct param_row limits_rows[] = PARAM_ROWS(LIMITS_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct listen_params
static const struct param_row listen_rows[] = PARAM_ROWS(LISTEN_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct rule_params
static const struct param_row rule_rows[] = PARAM_ROWS(RULE_PARAMS);
#undef PARAM_STRUCT

static const char *const listen_builtin[] = {
	"ipv4.address = 127.0.0.1:1080",
	"ipv6.address = [::1]:1080, [::1]:1081",
	"ipv6.padding = off",
	NULL,
};

static const struct section_row sample_sections[] = {
	SECTION_ROW("server", struct server_params, server_rows, "The process"),
	SECTION_ROW("limits", struct limits_params, limits_rows, "What peers may use up"),
	SECTION_ROW_NAMED("listen", struct listen_params, listen_rows, listen_builtin, "Doors"),
	SECTION_ROW_NAMED("rule", struct rule_params, rule_rows, NULL, "First match wins"),
};

static const struct params_schema sample_schema = { sample_sections, ARRAY_SIZE(sample_sections) };

#endif
