/* SPDX-License-Identifier: ISC */
/*
 * How DNS messages reach one server: the interface under c-ares. c-ares never sees a kernel socket;
 * it gets virtual handles from ares_io, which passes whole messages to a transport and gets whole
 * messages back. A transport owns the real sockets, so ports, retries of partial writes, dead
 * connections and what to hide from c-ares are decided here.
 *
 * Thread: that of the loop it was opened on. Re-entrancy: no upcall comes from within open, send,
 * flush or close. The upcalls may themselves call send, flush and close; close from within them is
 * safe (the object is freed at the end of the turn).
 */
#ifndef COMMON_DNS_TRANSPORT_H
#define COMMON_DNS_TRANSPORT_H

#include "common/addr.h"
#include "common/loop.h"
#include "common/stream/socks_client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport_ops;

/* What every transport begins with; each kind embeds it in its own structure. */
struct transport {
	const struct transport_ops *ops;
	uint64_t dropped_count; /* messages that came but answered nothing that was asked */
};

/* Upcalls. `user` is the pointer given to open. */
struct transport_user {
	/* One whole DNS message that answers a message sent here: its id, question and source have
	 * been checked, and it carries exactly the question that was asked (see asked.h for replies
	 * that come without). Valid during the call. */
	void (*on_message)(void *user, const uint8_t *msg, size_t len);
	/* No answer can come to one message sent here, for instance after an ICMP error. `query`
	 * holds the header and the question of that message, valid during the call; error is a
	 * positive errno. */
	void (*on_failed)(void *user, const uint8_t *query, size_t len, int error);
	/* What came in the place of an answer to `query`, as above, was dropped: it answers
	 * something else, or (other_case) the same question but for the case of its letters. The
	 * wait goes on. Called by datagram transports only; may be NULL. It must not close the
	 * transport. */
	void (*on_dropped)(void *user, const uint8_t *query, size_t len, bool other_case);
	/* The transport is dead (error: positive errno, 0 for an orderly end) and must be closed by
	 * the user; what was sent and not answered is lost. Never called by a datagram transport.
	 */
	void (*on_closed)(void *user, int error);
};

struct transport_config {
	struct loop *loop;
	struct addr server;
	uint32_t timeout_ms; /* after it an answer is of no use; a stream that is silent for three
				quarters of it (at most 1.5 s) with queries open is dead */
	uint32_t max_open;   /* messages waiting for an answer; more are refused with -ENOBUFS */
	/* What the transport has to know of the server besides its address: see each kind.
	 * Borrowed; outlives the transport. */
	void *peer;
	/* Through which proxy it goes, instead of to `server`; NULL: none. Streams only; DNSCrypt
	 * cannot. Borrowed; outlives the transport. */
	const struct socks_route *route;
};

struct transport_ops {
	const char *name; /* "udp", "tcp" */
	int socket_type;  /* what c-ares takes it for: SOCK_DGRAM or SOCK_STREAM */
	/* Returns owned or NULL with errno. Does not block; a stream connects in the background and
	 * queues. */
	struct transport *(*open)(const struct transport_config *config,
				  const struct transport_user *user_ops, void *user);
	/* Copies the message, which must hold exactly one question. 0 or -errno (no upcall will
	 * come for it then). */
	int (*send)(struct transport *transport, const uint8_t *msg, size_t len);
	/* Write out what send only queued, so that several messages share a system call. NULL when
	 * send queues nothing, or writes it out itself at the end of the turn. An error shows up
	 * later, as on_closed or on_failed. */
	void (*flush)(struct transport *transport);
	/* Free it; no upcall comes any more. */
	void (*close)(struct transport *transport);
};

/* UDP, RFC 5452: each message waits on a socket of its own, with a random port, connected to the
 * server; answers with another source, id or question (letter case included) are dropped without
 * ending the wait. An ICMP error fails that message alone. No port serves two messages: it would be
 * cheaper, but whoever finds out a port, or sees it repeated, has one guess less to make for the
 * next. The kernel chooses ports at random, in net.ipv4.ip_local_port_range; a socket is used again
 * with another port, which costs less than another socket. */
extern const struct transport_ops transport_udp;

/* TCP, RFC 7766: one connection, pipelined, answers in any order, silent peers given up, idle
 * connections closed. */
extern const struct transport_ops transport_tcp;

/* DNSCrypt (dnscrypt.h), by datagram, and by stream what was truncated: a connection for each
 * message, as the protocol has it. config.peer is the server's struct dnscrypt_peer. Messages wait
 * while a certificate is fetched. */
extern const struct transport_ops transport_dnscrypt_udp;
extern const struct transport_ops transport_dnscrypt_tcp;

#endif
