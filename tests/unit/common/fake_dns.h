/* SPDX-License-Identifier: ISC */
/*
 * A scripted DNS server on a loopback address, for tests: UDP and TCP on one port, driven by the
 * loop of the test itself. What it does with each query is up to the test. Failures abort the test.
 */
#ifndef TESTS_UNIT_COMMON_FAKE_DNS_H
#define TESTS_UNIT_COMMON_FAKE_DNS_H

#include "common/addr.h"
#include "common/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_DNS_MESSAGE_MAX 65535
#define FAKE_DNS_HELD_MAX    256

struct fake_dns;
struct fake_conn;

/* A query as it came; bytes are valid during the call. */
struct fake_query {
	struct fake_dns *server;
	const uint8_t *bytes;
	size_t len;
	struct addr client;
	struct fake_conn *conn; /* NULL: by UDP */
};

struct fake_dns {
	/* Set by the test. */
	void (*on_query)(const struct fake_query *query); /* NULL: stay silent */
	void *arg;

	/* To look at. */
	struct addr addr;
	unsigned udp_count;        /* datagrams that came */
	unsigned tcp_count;        /* messages that came by TCP */
	unsigned connection_count; /* accepted so far */

	struct loop *loop;
	int udp_fd;
	int tcp_fd;
	struct watch udp_watch;
	struct watch tcp_watch;
	struct fake_conn *conns;
};

/* Listen on a free port of `ip`. */
void fake_dns_start(struct fake_dns *server, struct loop *loop, const char *ip,
		    void (*on_query)(const struct fake_query *query));
void fake_dns_stop(struct fake_dns *server);

/* Send any bytes to who asked; by TCP with their length before them. */
void fake_dns_send(const struct fake_query *query, const void *bytes, size_t len);

/* The number of the connection that a query came by; the first is 1. */
unsigned fake_dns_connection(const struct fake_query *query);

/* Send bytes on the connection of the query as they are. */
void fake_dns_send_raw(const struct fake_query *query, const void *bytes, size_t len);

/* End the connection of the query: FIN once what was sent is out, or RST at once. */
void fake_dns_hang_up(const struct fake_query *query);
void fake_dns_reset(const struct fake_query *query);

/* Stop and resume reading of all connections there are. */
void fake_dns_pause(struct fake_dns *server, bool pause);

/* --- messages; the lengths are returned, the buffers are large enough
 * ------------------------------------------------------------
 */

/* A query, RD set. With `opt`, an OPT record that offers 1232 bytes. */
size_t fake_dns_query(uint8_t *buf, uint16_t id, const char *name, uint16_t type, bool opt);

/* Header and question of the query as an answer with this rcode. */
size_t fake_dns_answer(const struct fake_query *query, uint8_t rcode, uint8_t *buf);

/* Append a record for the name in the question; counts it as answer. */
size_t fake_dns_add_record(uint8_t *buf, size_t len, uint16_t type, uint32_t ttl_s,
			   const void *rdata, size_t rdata_len);

/* The answer of fake_dns_reply() to such a query, flags as fake_dns_query() sets them. */
size_t fake_dns_plain_answer(uint8_t *buf, uint16_t id, const char *name, uint16_t type,
			     uint8_t rcode);

/* The type asked for. */
uint16_t fake_dns_type(const struct fake_query *query);

/* Answer with header and question only. */
void fake_dns_reply(const struct fake_query *query, uint8_t rcode);

/* What on_query may be: rcode 0; FORMERR without even the question. */
void fake_dns_reply_ok(const struct fake_query *query);
void fake_dns_reply_header_only(const struct fake_query *query);

/* What answers nothing: an empty message, rubbish, another id, and the name in another case. */
#define FAKE_DNS_BAD_ANSWERS 4
void fake_dns_send_bad(const struct fake_query *query);

/* Queries that are kept, to be answered later. */
struct fake_held {
	unsigned count;
	struct fake_query queries[FAKE_DNS_HELD_MAX];
	uint8_t bytes[FAKE_DNS_HELD_MAX][64];
};
void fake_dns_hold(struct fake_held *held, const struct fake_query *query);

/* --- running
 * --------------------------------------------------------------------------------------- */

/* Turn the loop until *counter reaches target. False when that takes longer than limit_ms. */
bool run_until(struct loop *loop, const unsigned *counter, unsigned target, unsigned limit_ms);

/* Turn the loop for so long. */
void run_for(struct loop *loop, unsigned ms);

#endif
