/* SPDX-License-Identifier: ISC */
/*
 * A TLS server on a free port of 127.0.0.1, with the certificate "good" (certificates.h), driven by
 * the loop of the test itself. What it does with the bytes that come is up to the test. Failures
 * abort the test.
 */
#ifndef TESTS_UNIT_COMMON_FAKE_TLS_H
#define TESTS_UNIT_COMMON_FAKE_TLS_H

#include "common/stream/stream.h"
#include "common/stream/tls.h"

#define FAKE_TLS_CONNS_MAX  8
#define FAKE_TLS_READ_BYTES 16384

struct fake_tls;

struct fake_tls_conn {
	struct fake_tls *server;
	struct stream stream;
	bool ended; /* by the other end, by an error, or by on_bytes */
};

struct fake_tls {
	/* At most FAKE_TLS_READ_BYTES have come. False: this is the end. */
	bool (*on_bytes)(struct fake_tls_conn *conn, const uint8_t *bytes, size_t len);

	/* To look at. */
	struct addr addr;
	unsigned handshake_count;
	unsigned resumed_count; /* of them */
	unsigned conn_count;
	struct fake_tls_conn conns[FAKE_TLS_CONNS_MAX];

	struct loop *loop;
	struct tls_server *tls;
	struct watch watch;
};

/* The server speaks this protocol (ALPN) only. */
void fake_tls_start(struct fake_tls *server, struct loop *loop, const char *alpn,
		    bool (*on_bytes)(struct fake_tls_conn *conn, const uint8_t *bytes, size_t len));
void fake_tls_stop(struct fake_tls *server);

/* Which of the connections it is. */
size_t fake_tls_index(const struct fake_tls_conn *conn);

#endif
