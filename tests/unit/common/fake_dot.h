/* SPDX-License-Identifier: ISC */
/*
 * A scripted server for DNS over TLS on 127.0.0.1, driven by the loop of the test itself, with a
 * certificate of certificates.h. Failures abort the test.
 */
#ifndef TESTS_UNIT_COMMON_FAKE_DOT_H
#define TESTS_UNIT_COMMON_FAKE_DOT_H

#include "common/stream/tls.h"

#include "tests/unit/common/fake_dns.h"

#define FAKE_DOT_CONNS_MAX  16
#define FAKE_DOT_BUFFER_MAX 4096

struct fake_dot;

struct fake_dot_conn {
	struct stream stream;
	struct fake_dot *server;
	size_t in_len;
	uint8_t in[FAKE_DOT_BUFFER_MAX];
};

struct fake_dot {
	/* Set by the test. Put the answer to a query into buf (of FAKE_DOT_BUFFER_MAX bytes) and
	 * return its length, 0 for none. NULL: stay silent. */
	size_t (*on_query)(const struct fake_query *query, uint8_t *buf);

	bool has_no_alpn; /* from the next fake_dot_show() on */

	/* To look at. */
	struct addr addr;
	unsigned handshake_count;
	unsigned resumed_count;
	unsigned query_count;
	unsigned conn_count;
	unsigned end_count; /* of connections */

	struct loop *loop;
	struct tls_server *tls;
	struct watch watch;
	struct fake_dot_conn conns[FAKE_DOT_CONNS_MAX];
};

/* `name` is that of the certificate and its key, such as "good". */
void fake_dot_start(struct fake_dot *server, struct loop *loop, const char *name,
		    size_t (*on_query)(const struct fake_query *query, uint8_t *buf));
void fake_dot_stop(struct fake_dot *server);

/* Show another certificate from the next connection on. */
void fake_dot_show(struct fake_dot *server, const char *name);

#endif
