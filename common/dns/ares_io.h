/* SPDX-License-Identifier: ISC */
/*
 * The adapter between c-ares and a loop: one channel with virtual sockets (see transport.h). The
 * only user of <ares.h>. Two kinds of use: resolving host names (socksd), and exchanging raw
 * messages with one server (dnsproxyd).
 *
 * c-ares 1.18.1 to 1.34 differ in what they do behind one's back; all of it is switched off or
 * hidden here: its own retries on SERVFAIL, configuration files, shared source port, EDNS guessing,
 * cache, re-encoding. The raw bytes of an answer are kept by this module, and c-ares' callback is
 * only a signal: what c-ares sees of an answer to a raw exchange is a header and a question. What
 * is left: from 1.28 on c-ares puts an id of its own on the wire and re-encodes the query,
 * from 1.32 on timeouts of lookups adapt to the time that answers take (250 ms at least), from 1.33
 * on a query with OPT gets a COOKIE option.
 *
 * A channel is made when it is first needed. Making one opens /dev/urandom (c-ares 1.18) or reads
 * resolv.conf and the like (later ones), of which nothing is used.
 *
 * Thread: that of the loop. Re-entrancy: callbacks may start new requests and may call
 * ares_io_free(), which then takes effect at the end of the turn (c-ares itself would free its
 * lists under its own feet).
 */
#ifndef COMMON_DNS_ARES_IO_H
#define COMMON_DNS_ARES_IO_H

#include "common/addr.h"
#include "common/dns/transport.h"
#include "common/loop.h"

/* ares_library_init() and its counterpart: once in main(), before and after all threads. 0 or -EIO.
 */
int ares_io_global_init(void);
void ares_io_global_done(void);

struct ares_io;

/* The default of max_open; c-ares 1.18 gets slow with more. */
#define ARES_IO_MAX_OPEN      4096
/* How many servers a configuration may name, and how many addresses a lookup returns; the rest is
 * left out. */
#define ARES_IO_SERVERS_MAX   16
#define ARES_IO_ADDRESSES_MAX 32

struct ares_io_config {
	struct loop *loop;
	const struct addr *servers; /* copied, at least one; messages go to servers[0] only, lookups
				       try them in order */
	size_t server_count;
	uint32_t timeout_ms; /* of one attempt */
	uint32_t tries; /* of a lookup, for each server, each twice as long as the one before. A raw
			   exchange is sent once: see stream_tries */
	uint32_t max_open; /* requests not answered yet; more end with ARES_IO_REFUSED. 0:
			      ARES_IO_MAX_OPEN */
	bool hosts_file;   /* lookups read /etc/hosts first; a file that is read for each lookup, on
			      the loop's thread */
	/* What stands for UDP and TCP under c-ares; transport_udp and transport_tcp by default
	 * (NULL). */
	const struct transport_ops *datagram;
	const struct transport_ops *stream;
	void *peer; /* what these two have to know of the server (transport.h); borrowed; must
		       outlive the end of the turn of ares_io_free() */
	const struct socks_route *route; /* the same: a proxy; then stream_only */
	bool stream_only;                /* never send datagrams */
	/* How often a raw exchange is sent on streams that break under it; 0: twice, so that it
	 * survives the end of a connection once. Whoever counts what is sent wants 1. */
	uint32_t stream_tries;
	/* A datagram came in the place of the answer to a raw exchange and was dropped: it answers
	 * something else, or the same but for the letters' case. `question` is what was sent: name,
	 * type and class. The exchange goes on. May be NULL; must not free the ares_io. */
	void (*on_dropped)(void *arg, const uint8_t *question, size_t len, bool other_case);
	void *on_dropped_arg;
};

/* How a request ended; the names are used in logs and counters. Of the two halves of a lookup the
 * status that stands later in this list tells. */
#define ARES_IO_STATUS(X)                                                                  \
	X(OK, "ok")                                                                        \
	X(NO_NAME, "nxdomain")  /* the name does not exist */                              \
	X(NO_DATA, "nodata")    /* it has no address of the family */                      \
	X(SERVFAIL, "servfail") /* or another error code of the server */                  \
	X(TIMEOUT, "timeout")                                                              \
	X(UNREACHABLE, "unreachable") /* no answer could be had: refused, reset, broken */ \
	X(REFUSED, "overload")        /* too many requests are open: ask later */          \
	X(CANCELLED, "cancelled")     /* by ares_io_free() */

enum ares_io_status {
#define X(id, text) ARES_IO_##id,
	ARES_IO_STATUS(X)
#undef X
};
const char *ares_io_status_text(enum ares_io_status status);

/* Returns owned, or NULL with errno (EINVAL: no servers, no timeout). */
struct ares_io *ares_io_new(const struct ares_io_config *config);

/* Cancels what is open: each callback is called once with ARES_IO_CANCELLED, at once or, from
 * within a callback of this channel, at the end of the turn. NULL is fine. */
void ares_io_free(struct ares_io *io);

/* Requests not answered yet. */
size_t ares_io_open_count(const struct ares_io *io);

/* Messages that came from a server but answered nothing that was asked: wrong id, question or form.
 */
uint64_t ares_io_dropped_count(const struct ares_io *io);

/* The network has changed: close the streams, which may be dead without knowing it. What waits for
 * an answer on them ends as when a stream breaks. Not from within a callback of this channel. */
void ares_io_break_streams(struct ares_io *io);

/* --- raw exchanges ------------------------------------------------------------------------ */

/* `answer` is the answer exactly as it came (its id is the one that was on the wire), valid during
 * the call; NULL unless status is ARES_IO_OK. Any rcode is an answer; one that came without its
 * question has it put back. via_tcp tells that it came over the stream transport. */
typedef void (*ares_io_answer_fn)(void *arg, enum ares_io_status status, const uint8_t *answer,
				  size_t len, bool via_tcp);

/* Send one query (a whole message with one question and an id unique among the open ones; an OPT
 * record is advisable). When the answer is truncated the query is sent again over the stream, with
 * a timeout of its own. The callback is called exactly once, possibly before this returns. */
void ares_io_send(struct ares_io *io, const uint8_t *query, size_t len, ares_io_answer_fn fn,
		  void *arg);

enum ares_io_via {
	ARES_IO_VIA_BOTH,     /* as ares_io_send() does */
	ARES_IO_VIA_DATAGRAM, /* a truncated answer is an answer */
	ARES_IO_VIA_STREAM,
};

/* The same, with a choice of transport. One message is sent, unless via is BOTH. Returns the id
 * that the message has on its way, which the answer will have: its own, unless c-ares (from 1.28
 * on) has chosen another; meaningless when the callback was called already. */
uint16_t ares_io_send_via(struct ares_io *io, enum ares_io_via via, const uint8_t *query,
			  size_t len, ares_io_answer_fn fn, void *arg);

/* --- lookups ------------------------------------------------------------------------------ */

/* One address found; ttl_s is the lowest of its record and the CNAME records before it (0 from the
 * hosts file, and of localhost: asking again costs nothing). */
struct ares_io_address {
	struct addr addr; /* port 0 */
	uint32_t ttl_s;
};

typedef void (*ares_io_lookup_fn)(void *arg, enum ares_io_status status,
				  const struct ares_io_address *addresses, size_t count);

/* Look up A and AAAA (family AF_UNSPEC) or one of them. `name` must be a host name that is no
 * numeric address; four numbers with dots are one that nobody has, leading zeros or not, and end as
 * ARES_IO_NO_NAME unasked. No search domains. One address of either family is enough for
 * ARES_IO_OK. A server that answers with an error or not at all is followed by the next one.
 * "localhost", in letters of any case, with or without a final dot, is ::1 and 127.0.0.1, and
 * nobody is asked, the hosts file neither (RFC 6761 section 6.3). Names below it are other names to
 * c-ares 1.18, and the same addresses to 1.34, unless the hosts file has them. The callback is
 * called exactly once, possibly before this returns; the addresses are valid during the call. */
void ares_io_lookup(struct ares_io *io, const char *name, int family, ares_io_lookup_fn fn,
		    void *arg);

/* --- system configuration ----------------------------------------------------------------- */

/* The name servers of a resolv.conf(5) file, at most `max`, port 53. Returns how many (0 when there
 * are none or the file cannot be read). Multicast and reserved addresses are left out, an IPv4
 * address that is written as an IPv6 one becomes what it is. */
size_t ares_io_system_servers(const char *path, struct addr *ret_servers, size_t max);

#endif
