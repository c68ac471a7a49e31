/* SPDX-License-Identifier: ISC */
/*
 * The virtual sockets of one c-ares channel: what c-ares takes for sockets are numbers, behind each
 * of which stands one transport. Part of ares_io, kept apart because it needs nothing of <ares.h>:
 * the functions that c-ares calls have the types it expects, and vsock_set.process stands for
 * ares_process_fd().
 *
 * Outbound, bytes that c-ares writes become messages for the transport. Inbound, a message of the
 * transport is kept ready and c-ares is made to read it until it has; what it said is found in
 * vsock_set.shown meanwhile.
 *
 * Thread: that of the loop. c-ares calls the functions from within anything, so none of them calls
 * c-ares: what remains to be done is left to a task at the end of the turn.
 */
#ifndef COMMON_DNS_VSOCK_H
#define COMMON_DNS_VSOCK_H

#include "common/addr.h"
#include "common/dns/transport.h"
#include "common/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct vsock;

/* No socket, as c-ares has it. */
#define VSOCK_NONE (-1)

/* What a server said, while c-ares is being shown it. */
struct vsock_message {
	const uint8_t *bytes; /* as it came */
	size_t len;
	int error; /* not 0: made up, because no answer can come; a positive errno */
	bool stream;
};

struct vsock_set {
	/* Filled in before first use. */
	struct loop *loop;
	const struct addr *servers; /* borrowed */
	size_t server_count;
	const struct transport_ops *datagram;
	const struct transport_ops *stream;
	void *peer;                      /* of the transports' configuration */
	const struct socks_route *route; /* the same */
	uint32_t timeout_ms;             /* how long an answer is of use */
	uint32_t max_open;               /* messages waiting for an answer, on one socket */
	/* Of an answer c-ares gets header and question only, as a SERVFAIL (which it must have been
	 * told to pass on). It would act on the rest: ask again without EDNS after FORMERR, over
	 * TCP after TC, give up on what it cannot parse, learn from the time a good answer took. */
	bool stubs;
	/* A datagram was dropped: see struct transport_user. May be NULL. */
	void (*on_dropped)(struct vsock_set *set, const uint8_t *query, size_t len,
			   bool other_case);
	/* Let c-ares read or write a handle; the other one is VSOCK_NONE. */
	void (*process)(struct vsock_set *set, int readable, int writable);

	/* State; starts all zero. */
	struct vsock *vsocks;
	int last_handle;
	const struct vsock_message
		*shown; /* valid in callbacks of c-ares that a message has caused, else NULL */
	uint64_t dropped_count; /* of transports that are gone */
	struct task task;
};

/* Forget the work left to the end of the turn. The sockets themselves are closed by c-ares. */
void vsock_set_done(struct vsock_set *set);

/* Messages that came but answered nothing that was asked. */
uint64_t vsock_set_dropped_count(const struct vsock_set *set);

/* The streams are of no use any more, whatever their transports think: c-ares is told that they
 * broke. Not from within a call of c-ares. */
void vsock_set_break_streams(struct vsock_set *set);

/* The IPv4 address under which c-ares knows servers[index], in network order: a mere number (of
 * 192.0.2.0/24, which is set aside for documentation), so that ports and scope ids, which c-ares
 * treats differently from version to version, are none of its business. */
uint32_t vsock_server_number(size_t index);

/* The members of struct ares_socket_functions; `user` is the struct vsock_set. */
int vsock_open(int domain, int type, int protocol, void *user);
int vsock_close(int handle, void *user);
int vsock_connect(int handle, const struct sockaddr *sa, socklen_t sa_len, void *user);
ssize_t vsock_recvfrom(int handle, void *buf, size_t cap, int flags, struct sockaddr *from,
		       socklen_t *from_len, void *user);
ssize_t vsock_sendv(int handle, const struct iovec *iov, int iov_count, void *user);

/* The sock_state_cb of struct ares_options. */
void vsock_on_state(void *user, int handle, int readable, int writable);

#endif
