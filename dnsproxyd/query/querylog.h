/* SPDX-License-Identifier: ISC */
/*
 * One line for each query: who asked what, what was the answer and where it came from. At level
 * info with log.query-log, else at level debug; log.clients and log.names say how much of a
 * person's habits it shows.
 *
 * Thread: any.
 */
#ifndef DNSPROXYD_QUERY_QUERYLOG_H
#define DNSPROXYD_QUERY_QUERYLOG_H

#include "common/log.h"

#include "dnsproxyd/config.h"
#include "dnsproxyd/message/dnsmsg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where an answer came from: X(name, "token"). */
#define QUERY_SOURCES(X)                                        \
	X(CACHE, "cache")                                       \
	X(UPSTREAM, "upstream")                                 \
	X(LOCAL, "local")   /* made here */                     \
	X(STALE, "stale")   /* from the cache, expired */       \
	X(FAILED, "failed") /* no server helped */              \
	X(LATELY, "lately") /* nor did one a moment ago */      \
	X(MALFORMED, "malformed")                               \
	X(UNSUPPORTED, "unsupported")                           \
	X(OVERLOAD, "overload") /* too many queries are open */ \
	X(LIMITED, "limited")   /* the client asks too much */

#define QUERY_SOURCE_ENUM(name, token) QUERY_FROM_##name,
enum query_source {
	QUERY_SOURCES(QUERY_SOURCE_ENUM)
};
#undef QUERY_SOURCE_ENUM

/* Whether lines are written at all; cheap. */
bool querylog_wanted(const struct log_params *params);

/* Write the line. by is the protocol, reply is what the client gets, with a header at least. */
void querylog_write(const struct log_params *params, const struct addr *client, const char *by,
		    const struct dnsmsg_query *query, const uint8_t *reply, size_t reply_len,
		    enum query_source source, uint64_t took_ms);

/* The client as log.clients says, with "-" for none; buf has room for ADDR_TEXT_MAX. Returns buf.
 */
const char *querylog_client(const struct log_params *params, const struct addr *client,
			    char buf[ADDR_TEXT_MAX]);

#endif
