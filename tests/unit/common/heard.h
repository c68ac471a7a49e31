/* SPDX-License-Identifier: ISC */
/*
 * What came up from a transport (common/dns/transport.h), and the transport itself, to ask by.
 * Failures abort the test.
 */
#ifndef TESTS_UNIT_COMMON_HEARD_H
#define TESTS_UNIT_COMMON_HEARD_H

#include "common/dns/transport.h"

#include "tests/unit/common/fake_dns.h"

struct heard {
	struct loop *loop;
	struct transport *transport; /* NULL: closed */
	struct fake_dns server;      /* with heard_serve(); its argument is this */
	struct fake_held held;       /* by heard_hold() */

	/* Set by the test. */
	bool close_at_once; /* with the next message */
	bool ids_differ;    /* each message has an id of its own; it is asserted */
	unsigned send_more; /* so many messages are answered with another query, that has this id */

	unsigned message_count;
	unsigned failure_count; /* of single queries */
	unsigned closed_count;
	int error;                           /* of the last failure or end */
	uint8_t bytes[FAKE_DNS_MESSAGE_MAX]; /* the last message, or question that failed */
	size_t len;
	bool ids[65536]; /* that messages and failures had */
};

/* With a loop, and nothing else yet. */
struct heard *heard_new(void);

/* Start the server. */
void heard_serve(struct heard *heard, const char *ip,
		 void (*on_query)(const struct fake_query *query));
void heard_stop_server(struct heard *heard);

/* Open a transport to the server, or to that of the config. False: there is none. */
bool heard_open(struct heard *heard, const struct transport_ops *ops,
		struct transport_config config);
void heard_close(struct heard *heard);

/* Close and stop what there is. */
void heard_free(struct heard *heard);

/* Send a query for type A of a name; what send said. */
int heard_send(struct heard *heard, uint16_t id, const char *name);
void heard_flush(struct heard *heard);

/* The last message is header and question of a query for type A, with this rcode. */
void heard_expect(const struct heard *heard, uint16_t id, const char *name, uint8_t rcode);

/* An on_query that keeps all. */
void heard_hold(const struct fake_query *query);

#endif
