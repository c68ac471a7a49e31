/* SPDX-License-Identifier: ISC */
/*
 * On top of bench.h: what a worker's queries need, and a client that asks. Failures abort the test.
 */
#ifndef TESTS_UNIT_DNSPROXYD_CLIENT_H
#define TESTS_UNIT_DNSPROXYD_CLIENT_H

#include "dnsproxyd/query/query.h"

#include "tests/unit/dnsproxyd/bench.h"

#define CLIENT_NO_EDE 0xffff

struct client {
	struct bench bench;
	struct query_context context;
	unsigned idle_count;

	struct query query;
	struct dnsmsg_query question;
	bool waiting;
	/* The reply to what was asked last. */
	unsigned reply_count;
	uint64_t asked_ms;
	uint64_t replied_ms;
	unsigned rcode;
	unsigned ede;
	uint32_t ttl_s; /* of all of it; 0 when there are no records */
	unsigned answers;
};

void client_start(struct client *client, const char *config);
void client_stop(struct client *client);

/* The client asks for type A of a name. True when the reply came at once. */
bool client_ask(struct client *client, const char *name);

/* Let time pass until the reply comes. Returns how long it took from the question. */
unsigned client_wait(struct client *client);

/* Ask and wait. */
void client_get(struct client *client, const char *name);

#endif
