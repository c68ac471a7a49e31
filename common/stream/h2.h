/* SPDX-License-Identifier: ISC */
/*
 * One HTTP/2 connection (RFC 9113), of either end: bytes in, bytes out, between them whole requests
 * and whole responses with small bodies. The only user of nghttp2. No sockets, no clock, no DNS.
 *
 * What came is given to h2_receive(); what is to be sent is taken with h2_pull(), after anything
 * that may have caused some: a receive, a request, a response. Requests beyond what the peer takes
 * at a time wait inside.
 *
 * Bounded: the fields and bodies of what comes, by the constants below; the streams that a peer may
 * have open; how often it may open some and give them up. What is beyond is refused, or ends the
 * connection: h2_receive() tells.
 *
 * Thread: one. Re-entrancy: upcalls come from within h2_receive() and h2_pull(), and may call
 * anything but these two and h2_free().
 */
#ifndef COMMON_STREAM_H2_H
#define COMMON_STREAM_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest field values that are kept, with the final NUL. */
#define H2_METHOD_MAX   16
#define H2_PATH_MAX     6144
#define H2_TYPE_MAX     64
/* Longest body of a request and of a response. */
#define H2_REQUEST_MAX  4096
#define H2_RESPONSE_MAX 65535
/* Fields of one message, together. */
#define H2_FIELDS_MAX   16384
/* Requests that a client may have open at a time, for us as the server. */
#define H2_STREAMS_MAX  100
/* Requests that it may give up: so many, and besides as many as it let us answer. */
#define H2_RESETS_MAX   100

struct h2;
struct h2_stream;

/* Valid during the upcall; texts are never NULL. */
struct h2_request {
	const char *method;
	const char *path;
	const char *content_type;
	const uint8_t *body;
	size_t body_len;
	bool path_too_long; /* path is cut */
	bool body_too_long; /* there is more of it, and no body here */
};

struct h2_response {
	unsigned status;
	const char *content_type;
	uint32_t age_s; /* 0 if it was not told */
	const uint8_t *body;
	size_t body_len;
};

/* `user` is the pointer given to h2_new(). The ones for the other end may be NULL. */
struct h2_user {
	/* Server: a request is complete. The stream is valid until it is answered with
	 * h2_respond(), or on_cancelled. */
	void (*on_request)(void *user, struct h2_stream *stream, const struct h2_request *request);
	/* Server: the client does not want the response any more. The pointer set with
	 * h2_set_tag(). */
	void (*on_cancelled)(void *user, void *tag);

	/* Client: the response to the request with this tag. */
	void (*on_response)(void *user, void *tag, const struct h2_response *response);
	/* Client: there will be none. untouched: the server says that it has not looked at the
	 * request, or it was not even sent. */
	void (*on_failed)(void *user, void *tag, bool untouched);
	/* Client: requests are not taken any more; those that are open may still be answered. */
	void (*on_goaway)(void *user);
};

/* Returns owned, or NULL with errno ENOMEM. */
struct h2 *h2_new(bool is_server, const struct h2_user *user_ops, void *user);

/* No upcalls come of what is open. NULL is fine. */
void h2_free(struct h2 *h2);

/* Take bytes. 0, -EPROTO (the peer breaks the protocol or a bound; pull, to tell it why, and close)
 * or -ENOMEM. */
int h2_receive(struct h2 *h2, const uint8_t *bytes, size_t len);

/* Bytes to send, valid until the next call for this connection; 0 when there are none now. -ENOMEM
 * or -EPROTO ends the connection. */
int h2_pull(struct h2 *h2, const uint8_t **ret_bytes, size_t *ret_len);

/* Whether the connection has an end: nothing is open, and no request can come or go any more. */
bool h2_is_over(const struct h2 *h2);

/* --- client ---------------------------------------------------------------------------------- */

/* POST a body. The texts are copied. 0, -ENOMEM or -EPIPE (the server takes no more).
 * *ret_stream is valid until the upcall about the request, for h2_cancel(). */
int h2_post(struct h2 *h2, const char *authority, const char *path, const char *content_type,
	    const uint8_t *body, size_t body_len, void *tag, struct h2_stream **ret_stream);

/* The response is not wanted any more; there is no upcall. */
void h2_cancel(struct h2_stream *stream);

/* Have the server show that it is there. */
void h2_ping(struct h2 *h2);

/* --- server ---------------------------------------------------------------------------------- */

/* What on_cancelled gets. */
void h2_set_tag(struct h2_stream *stream, void *tag);

/* Answer; the stream is not to be used any more. Without a body (NULL) the content type does not
 * matter. max_age_s: for Cache-Control, with a body. 0 or -ENOMEM; then the stream is reset. */
int h2_respond(struct h2_stream *stream, unsigned status, const char *content_type,
	       const uint8_t *body, size_t body_len, uint32_t max_age_s);

/* Bytes of responses that were not pulled. */
size_t h2_unsent_bytes(const struct h2 *h2);

/* Tell the client that it may ask no more. */
void h2_goaway(struct h2 *h2);

#endif
