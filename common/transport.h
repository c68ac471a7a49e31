/* SPDX-License-Identifier: ISC */
/*
 * How DNS messages reach one server: the interface under c-ares. c-ares never sees a kernel socket;
 * it gets virtual handles from ares_io, which passes whole messages to a transport and gets whole
 * messages back. A transport owns the real sockets, so ports, retries of partial writes, dead
 * connections and what to hide from c-ares are decided here.
 *
 * Thread: that of the loop it was opened on. Re-entrancy: on_message and on_closed may call send
 * and close; close from within them is safe (the object is freed at the end of the turn).
 */
#ifndef COMMON_TRANSPORT_H
#define COMMON_TRANSPORT_H

#include "common/addr.h"
#include "common/loop.h"

#include <stddef.h>
#include <stdint.h>

struct transport;

/* Upcalls. `user` is the pointer given to open. */
struct transport_user {
	/* One whole DNS message that answers a message sent here: its id, question and source have
	 * been checked. Valid during the call. */
	void (*on_message)(void *user, const uint8_t *msg, size_t len);
	/* The transport is dead (error: positive errno, 0 for an orderly end) and must be closed by
	 * the user. Never called by a datagram transport. */
	void (*on_closed)(void *user, int error);
};

struct transport_config {
	struct loop *loop;
	struct addr server;
	uint32_t timeout_ms; /* after it an answer is of no use; a stream that is silent so long
				with queries open is dead */
	uint32_t max_open;   /* messages waiting for an answer; more are refused with -ENOBUFS */
};

struct transport_ops {
	const char *name; /* "udp", "tcp" */
	int socket_type;  /* what c-ares takes it for: SOCK_DGRAM or SOCK_STREAM */
	/* Returns owned or NULL with errno. Does not block; a stream connects in the background and
	 * queues. */
	struct transport *(*open)(const struct transport_config *config,
				  const struct transport_user *user_ops, void *user);
	/* Copies the message. 0 or -errno. */
	int (*send)(struct transport *transport, const uint8_t *msg, size_t len);
	/* Free it; no upcall comes any more. */
	void (*close)(struct transport *transport);
};

/* UDP, RFC 5452: each message leaves from a socket of its own, with a fresh random port, connected
 * to the server; answers with another source, id or question (letter case included) are dropped
 * without ending the wait. An ICMP error becomes a SERVFAIL answer to that message alone. */
extern const struct transport_ops transport_udp;

/* TCP, RFC 7766: one connection, pipelined, answers in any order, silent peers given up. */
extern const struct transport_ops transport_tcp;

#endif
