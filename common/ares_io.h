/* SPDX-License-Identifier: ISC */
/*
 * The adapter between c-ares and a loop: one channel with virtual sockets (see transport.h). The
 * only user of <ares.h>. Two kinds of use: resolving host names (socksd), and exchanging raw
 * messages with one server (dnsproxyd).
 *
 * c-ares 1.18.1 to 1.34 differ in what they do behind one's back; all of it is switched off or
 * hidden here: its own retries on SERVFAIL, configuration files, shared source port, EDNS guessing,
 * cache, id rewriting, re-encoding. The raw bytes of an answer are kept by this module, and c-ares'
 * callback is only a signal.
 *
 * Thread: that of the loop. Re-entrancy: callbacks may start new requests and may call
 * ares_io_free(), which then takes effect at the end of the turn (c-ares itself would free its
 * lists under its own feet).
 */
#ifndef COMMON_ARES_IO_H
#define COMMON_ARES_IO_H

#include "common/addr.h"
#include "common/loop.h"
#include "common/transport.h"

/* ares_library_init() and its counterpart: once in main(), before and after all threads. 0 or -EIO.
 */
int ares_io_global_init(void);
void ares_io_global_done(void);

struct ares_io;

struct ares_io_config {
	struct loop *loop;
	const struct addr
		*servers; /* copied; messages go to servers[0] only, lookups try them in order */
	size_t server_count;
	uint32_t timeout_ms; /* of one attempt */
	uint32_t tries;  /* attempts per server; 1 for raw exchanges, where retries are the caller's
			  */
	bool hosts_file; /* lookups read /etc/hosts first */
	/* What stands for UDP and TCP under c-ares; transport_udp and transport_tcp by default
	 * (NULL). */
	const struct transport_ops *datagram;
	const struct transport_ops *stream;
	bool stream_only; /* never send datagrams */
};

/* How a request ended; the names are used in logs and counters. */
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

/* Returns owned, or NULL with errno. */
struct ares_io *ares_io_new(const struct ares_io_config *config);

/* Cancels what is open: each callback is called once with ARES_IO_CANCELLED, at once or, from
 * within a callback of this channel, at the end of the turn. NULL is fine. */
void ares_io_free(struct ares_io *io);

/* Requests not answered yet. */
size_t ares_io_open_count(const struct ares_io *io);

/* --- raw exchanges -------------------------------------------------------------------------------
 */

/* `answer` is the answer exactly as it came (its id is the one that was on the wire), valid during
 * the call; NULL unless status is ARES_IO_OK. Any rcode is an answer. via_tcp tells that it came
 * over the stream transport. */
typedef void (*ares_io_answer_fn)(void *arg, enum ares_io_status status, const uint8_t *answer,
				  size_t len, bool via_tcp);

/* Send one query (a whole message with an id unique among the open ones; an OPT record is
 * advisable). A truncated answer is asked again over the stream by c-ares. The callback is called
 * exactly once, possibly before this returns. */
void ares_io_send(struct ares_io *io, const uint8_t *query, size_t len, ares_io_answer_fn fn,
		  void *arg);

/* --- lookups -------------------------------------------------------------------------------------
 */

/* One address found; ttl_s is that of its record (0 from the hosts file). */
struct ares_io_address {
	struct addr addr; /* port 0 */
	uint32_t ttl_s;
};

typedef void (*ares_io_lookup_fn)(void *arg, enum ares_io_status status,
				  const struct ares_io_address *addresses, size_t count);

/* Look up A and AAAA (family AF_UNSPEC) or one of them. `name` must be a host name that is no
 * numeric address. No search domains. The callback is called exactly once, possibly before this
 * returns; the addresses are valid during the call. */
void ares_io_lookup(struct ares_io *io, const char *name, int family, ares_io_lookup_fn fn,
		    void *arg);

/* --- system configuration ------------------------------------------------------------------------
 */

/* The name servers of a resolv.conf(5) file, at most `max`, port 53. Returns how many (0 when there
 * are none or the file cannot be read). */
size_t ares_io_system_servers(const char *path, struct addr *ret_servers, size_t max);

#endif
