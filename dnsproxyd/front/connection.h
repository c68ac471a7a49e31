/* SPDX-License-Identifier: ISC */
/*
 * A client's connection, whatever it speaks: its stream, the time it may be idle, its questions
 * that wait for an answer, and its end, which comes once. Embedded in an object of the protocol
 * (front_tcp.h, front_https.h), which knows where messages begin, how many questions are welcome
 * and how replies are put.
 *
 * Thread: the worker's. Re-entrancy: on_closed, and end and free of the operations, come from
 * within connection_close(); nothing else comes from within a call.
 */
#ifndef DNSPROXYD_FRONT_CONNECTION_H
#define DNSPROXYD_FRONT_CONNECTION_H

#include "common/stream/stream.h"
#include "common/stream/tls.h"

#include "dnsproxyd/query/query.h"

struct connection;

/* A question that waits; owned by its connection. */
struct open_query;

/* What a protocol does. */
struct connection_ops {
	struct stream_user stream;

	/* The idle time is over: to be given more, or to be closed. */
	void (*idle)(struct connection *c);

	/* The reply to a question that had to wait, valid during the call; tag is
	 * connection_ask()'s. */
	void (*reply)(struct connection *c, void *tag, const uint8_t *reply, size_t len);

	/* No questions are to be taken any more; those that are open are still answered. */
	void (*stop)(struct connection *c);

	/* It is being closed, no question is open any more. May be NULL. */
	void (*end)(struct connection *c);

	/* Free the object; nothing of it is on the stack. */
	void (*free)(struct connection *c);
};

/* The connections that were accepted on one socket. */
struct connections {
	struct query_context *context;
	void (*on_closed)(void *arg, const struct addr *peer); /* one is no more */
	void *arg;
	bool stopped;
	struct connection *first;
};

struct connection {
	struct connections *all;
	const struct connection_ops *ops;
	struct connection *next;
	struct connection *prev;
	struct addr peer;
	enum query_way way;
	bool is_open; /* the handshake, if any, is done */
	bool closed;  /* but not yet freed */
	struct stream stream;
	struct timer idle;
	struct open_query *open;
	unsigned open_count;
	struct deferred deferred;
};

/* Begin with an all-zero object, as stream_accept() does, and the idle time of
 * connection_wait_idle(). Takes ownership of fd, also when it fails. tls is for a way that is
 * encrypted, else NULL. The operations are borrowed. False when it cannot; then the object
 * is still the caller's, and no operation is called. */
bool connection_open(struct connection *c, struct connections *all, int fd, const struct addr *peer,
		     enum query_way way, struct tls_server *tls, const struct connection_ops *ops);

/* What a protocol says when its stream is open, and when it has failed: counted, and in the second
 * case closed. */
void connection_opened(struct connection *c);
void connection_failed(struct connection *c, int error);

/* Forget the open questions, close, free later. Harmless on one that is closed. */
void connection_close(struct connection *c);

/* Start the idle time anew: `tcp-idle-timeout`, or so many milliseconds. */
void connection_wait_idle(struct connection *c);
void connection_wait_idle_ms(struct connection *c, uint64_t ms);

enum connection_step {
	CONNECTION_DROPPED,  /* the message deserves no reply */
	CONNECTION_ANSWERED, /* the reply is in the context's message, *ret_len bytes of it */
	CONNECTION_WAITING,  /* it comes by the operation `reply`; *ret_open is set */
	CONNECTION_CLOSED,   /* out of memory */
};

/* Take a message of the client. *ret_open is valid until its reply. */
enum connection_step connection_ask(struct connection *c, const uint8_t *msg, size_t len, void *tag,
				    size_t *ret_len, struct open_query **ret_open);

/* The reply is not wanted any more, and does not come. */
void open_query_cancel(struct open_query *q);

/* Tell all, once, that no questions are to be taken any more. */
void connections_stop(struct connections *all);

/* Close all. */
void connections_close(struct connections *all);

#endif
