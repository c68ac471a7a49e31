/* SPDX-License-Identifier: ISC */
/*
 * A connection as a stream of bytes, made or accepted, with or without a layer (TLS) between the
 * bytes and the socket. What both ends of DNS over TCP, TLS and HTTPS have in common: connecting,
 * the handshake, bytes that wait for a slow peer, and which events to ask the loop for.
 *
 * Embedded in its user's object, which outlives it to the end of the turn (loop_free_later()).
 * Thread: that of the loop. SIGPIPE must be ignored when there is a layer. Re-entrancy: upcalls
 * come from the loop only, never from within a call of stream_*; they may call anything, close
 * included.
 */
#ifndef COMMON_STREAM_STREAM_H
#define COMMON_STREAM_STREAM_H

#include "common/addr.h"
#include "common/loop.h"
#include "common/stream/socks_client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What lies between the bytes and the socket. Calls do not block; -EAGAIN means: again when the
 * socket is ready, for writing if wants_write says so, else for reading. */
struct stream_layer;
struct stream_layer_ops {
	/* Once, before all else: the socket, which stays the stream's. 0 or -errno. */
	int (*attach)(struct stream_layer *layer, int fd);
	/* 0 when done, -EAGAIN or -errno. */
	int (*handshake)(struct stream_layer *layer);
	/* Bytes read; 0: the peer sends no more; -EAGAIN or -errno. */
	ssize_t (*read)(struct stream_layer *layer, void *buf, size_t cap);
	/* Bytes taken, at least one, or -EAGAIN (then the next call must begin with the same
	 * bytes) or -errno. */
	ssize_t (*write)(struct stream_layer *layer, const void *buf, size_t len);
	/* Of the last call that said -EAGAIN. */
	bool (*wants_write)(struct stream_layer *layer);
	/* Whether bytes were taken from the socket that read has not given out. */
	bool (*has_pending)(struct stream_layer *layer);
	/* Tell the peer that the end is orderly, if that is possible at once; then free. */
	void (*close)(struct stream_layer *layer);
};
struct stream_layer {
	const struct stream_layer_ops *ops;
};

struct stream;
struct stream_user {
	/* Connected, and the handshake is done: once, before on_readable. May be NULL. */
	void (*on_open)(struct stream *stream);
	/* stream_read() has something to say. Called again for what it leaves. */
	void (*on_readable)(struct stream *stream);
	/* All that was waiting has gone to the socket, after some had to wait. May be NULL. */
	void (*on_drained)(struct stream *stream);
	/* There is no connection (any more); close it. error: positive errno, EPROTO when the
	 * handshake failed. What the layer knows of it can be asked for until the close. */
	void (*on_failed)(struct stream *stream, int error);
};

/* All-zero is a valid closed stream. */
struct stream {
	struct loop *loop; /* NULL: closed */
	const struct stream_user *user;
	struct stream_layer *layer; /* NULL: none */
	struct socks_client
		*proxy; /* the talk with it, owned; NULL: there is none, or it is over */
	struct watch watch;
	struct task task; /* to read what is pending in the layer, or to report an error */
	uint32_t events;  /* that the loop was asked for */
	bool connected;
	bool open; /* on_open was called */
	bool reading;
	bool has_read; /* bytes that are not the layer's */
	bool read_wants_write;
	bool write_wants_read;
	bool was_blocked; /* on_drained is due */
	int write_error;
	uint8_t *out; /* out[out_start..out_len) waits; freed when all is sent */
	size_t out_start;
	size_t out_len;
	size_t out_cap;
};

/* Begin to connect. With a route (borrowed until the close) the connection is made through its
 * proxy to the server that it names, and `server` is not looked at. Takes ownership of the layer,
 * also when it fails. 0 or -errno (the stream is closed then). The user is borrowed until the
 * close. */
int stream_connect(struct stream *stream, struct loop *loop, const struct addr *server,
		   const struct socks_route *route, struct stream_layer *layer,
		   const struct stream_user *user);

/* Begin with a connected socket. Takes ownership of both, also when it fails. 0 or -errno. */
int stream_accept(struct stream *stream, struct loop *loop, int fd, struct stream_layer *layer,
		  const struct stream_user *user);

/* Bytes read; 0: the peer sends no more; -EAGAIN, also before the stream is open; -errno: the
 * connection is dead. */
ssize_t stream_read(struct stream *stream, void *buf, size_t cap);

/* Append to what waits to be sent; how much that may become is for the caller to bound. 0 or
 * -ENOMEM. */
int stream_write(struct stream *stream, const void *buf, size_t len);

/* Make room for `len` bytes more, so that writing them in several parts cannot fail halfway. 0 or
 * -ENOMEM. */
int stream_reserve(struct stream *stream, size_t len);

/* Send what waits, as far as the socket takes it; the rest goes when it is ready. Before the stream
 * is open this does nothing: that comes then. An error is reported later, by stream_read() or
 * on_failed. */
void stream_flush(struct stream *stream);

/* Bytes that wait to be sent. */
static inline size_t stream_unsent_bytes(const struct stream *stream)
{
	return stream->out_len - stream->out_start;
}

/* Whether what waits can go no further until the peer reads. */
static inline bool stream_is_blocked(const struct stream *stream)
{
	return stream->was_blocked;
}

/* Whether on_readable is called; at first it is. */
void stream_set_reading(struct stream *stream, bool reading);

static inline bool stream_is_closed(const struct stream *stream)
{
	return stream->loop == NULL;
}

/* Send what can be sent without waiting, close, free; no upcall comes any more. Harmless on a
 * closed stream. */
void stream_close(struct stream *stream);

#endif
