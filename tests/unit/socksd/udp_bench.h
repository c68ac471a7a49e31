/* SPDX-License-Identifier: ISC */
/*
 * What the tests of associations share: one association, its client, and a DNS server, with a clock
 * that stands still. Failures abort the test.
 */
#ifndef TESTS_UNIT_SOCKSD_UDP_BENCH_H
#define TESTS_UNIT_SOCKSD_UDP_BENCH_H

#include "socksd/udp/associate.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/socksd/fake_names.h"
#include "tests/unit/socksd/session_bench.h"

#define UDP_BENCH_LISTEN "[listen a]\naddress = 127.0.0.1:1080\n"

struct udp_bench {
	struct session_bench base;
	struct fake_names dns;
	struct associate *a; /* NULL: it could not begin */
	int start;           /* what associate_start() said */
	const char *why;
	struct addr to;     /* where the client is to send to */
	struct addr client; /* peer of its control connection */
	int fd;             /* the client's socket, of 127.0.0.1 */
};

/* The configuration is UDP_BENCH_LISTEN, the text, and the DNS server; a [dns] in the text is its
 * last section.
 * The client says that it will send from `said`; NULL: it does not know. */
void udp_bench_start(struct udp_bench *bench, const char *text, const struct addr *said);
void udp_bench_stop(struct udp_bench *bench);

/* Replace the configuration, as a reload does. */
void udp_bench_reload(struct udp_bench *bench, const char *text);

/* Let everything happen that needs no time. */
void udp_bench_settle(struct udp_bench *bench);

/* "ADDRESS:PORT"; without a port, 0. */
struct addr udp_bench_addr(const char *text);

/* A socket of an address, on some port: *ret_addr. */
int udp_bench_socket(const char *ip, struct addr *ret_addr);

/* A datagram with a header for an address or, when that is NULL, a name; then settle. */
void udp_bench_send(struct udp_bench *bench, int fd, uint8_t fragment, const struct addr *to,
		    const char *name, uint16_t port, const void *bytes, size_t len);

/* One byte from the client to an address, or to a name. */
void udp_bench_up(struct udp_bench *bench, const struct addr *to, char byte);
void udp_bench_up_name(struct udp_bench *bench, const char *name, uint16_t port, char byte);

/* One byte came, and nothing behind it: true with from whom (may be NULL). */
bool udp_bench_got(int fd, char byte, struct addr *ret_from);

/* Nothing has come. */
bool udp_bench_quiet(int fd);

/* Send bytes somewhere, as a target does, and settle. */
void udp_bench_raw(struct udp_bench *bench, int fd, const struct addr *to, const void *bytes,
		   size_t len);

/* The client got one byte, and a header that names that sender. */
bool udp_bench_down(struct udp_bench *bench, char byte, const struct addr *from);

/* What was dropped, in the log's words; the counters say the same. */
void udp_bench_dropped(struct udp_bench *bench, const char *text);

#endif
