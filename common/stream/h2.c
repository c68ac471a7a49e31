/* SPDX-License-Identifier: ISC */
#include "common/stream/h2.h"

#include "common/container.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BODY_FIRST_CAP = 512,
	NUMBER_TEXT_MAX = 24,
	CACHE_CONTROL_MAX = 40,
	FIELD_OVERHEAD = 32, /* as RFC 9113 section 6.5.2 counts a field */
	STATUS_INFORMATIONAL_END = 200,
	BUCKET_COUNT = 64,
};

/* One request and its response. */
struct h2_stream {
	struct h2 *h2;
	int32_t id;
	struct h2_stream *bucket_next;
	void *tag;
	bool sent;      /* client: the fields of the request */
	bool delivered; /* the upcall about what came was made */
	bool answered;  /* server: h2_respond() was called */

	/* What came. */
	unsigned status;
	uint32_t age_s;
	size_t fields_len;
	bool path_too_long;
	bool body_too_long;
	char method[H2_METHOD_MAX];
	char content_type[H2_TYPE_MAX];
	char *path; /* NULL: none came */
	uint8_t *body;
	size_t body_len;
	size_t body_cap;

	/* What is to be sent. */
	uint8_t *out;
	size_t out_len;
	size_t out_pos;
};

struct h2 {
	nghttp2_session *session;
	const struct h2_user *user_ops;
	void *user;
	bool is_server;
	bool goaway_seen;
	bool out_of_memory; /* in an upcall of nghttp2 */
	unsigned open_count;
	unsigned answered_count;
	unsigned reset_count;
	size_t unsent_bytes;
	struct h2_stream *buckets[BUCKET_COUNT];
};

/* --- streams --------------------------------------------------------------------------------- */

static struct h2_stream **bucket_of(struct h2 *h2, int32_t id)
{
	/* Ids of one side are all odd, or all even. */
	return &h2->buckets[(unsigned)id / 2 % BUCKET_COUNT];
}

static struct h2_stream *stream_find(struct h2 *h2, int32_t id)
{
	struct h2_stream *stream = *bucket_of(h2, id);

	while (stream && stream->id != id) {
		stream = stream->bucket_next;
	}
	return stream;
}

static struct h2_stream *stream_new(struct h2 *h2)
{
	struct h2_stream *stream = calloc(1, sizeof *stream);

	if (stream) {
		stream->h2 = h2;
	}
	return stream;
}

static void stream_enlist(struct h2_stream *stream, int32_t id)
{
	struct h2_stream **bucket = bucket_of(stream->h2, id);

	stream->id = id;
	stream->bucket_next = *bucket;
	*bucket = stream;
	stream->h2->open_count++;
}

static void stream_free(struct h2_stream *stream)
{
	stream->h2->unsent_bytes -= stream->out_len - stream->out_pos;
	free(stream->path);
	free(stream->body);
	free(stream->out);
	free(stream);
}

static void stream_delist(struct h2_stream *stream)
{
	struct h2_stream **slot = bucket_of(stream->h2, stream->id);

	while (*slot != stream) {
		slot = &(*slot)->bucket_next;
	}
	*slot = stream->bucket_next;
	stream->h2->open_count--;
}

/* --- what comes: fields ---------------------------------------------------------------------- */

static bool is_named(const uint8_t *name, size_t len, const char *wanted)
{
	return len == strlen(wanted) && memcmp(name, wanted, len) == 0;
}

/* Keep a value; false when it does not fit (it is cut), or is no text. */
static bool keep_text(char *buf, size_t cap, const uint8_t *value, size_t len)
{
	bool fits = len < cap && !memchr(value, 0, len);

	len = fits ? len : 0;
	memcpy(buf, value, len);
	buf[len] = '\0';
	return fits;
}

/* A decimal number; whatever is none is 0. */
static uint32_t number_of(const uint8_t *value, size_t len)
{
	uint64_t number = 0;

	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9') {
			return 0;
		}
		number = number * 10 + (uint64_t)(value[i] - '0');
		number = number > INT32_MAX ? INT32_MAX : number;
	}
	return (uint32_t)number;
}

static int keep_path(struct h2_stream *stream, const uint8_t *value, size_t len)
{
	free(stream->path);
	stream->path = calloc(1, len < H2_PATH_MAX ? len + 1 : 1);
	if (!stream->path) {
		stream->h2->out_of_memory = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	stream->path_too_long = !keep_text(stream->path, H2_PATH_MAX, value, len);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct h2_stream *stream = stream_find(user, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (!stream) {
		return 0;
	}
	stream->fields_len += name_len + len + FIELD_OVERHEAD;
	if (stream->fields_len > H2_FIELDS_MAX) {
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
	}
	if (is_named(name, name_len, ":path")) {
		return keep_path(stream, value, len);
	}
	if (is_named(name, name_len, ":method")) {
		keep_text(stream->method, sizeof stream->method, value, len);
	} else if (is_named(name, name_len, "content-type")) {
		keep_text(stream->content_type, sizeof stream->content_type, value, len);
	} else if (is_named(name, name_len, ":status")) {
		stream->status = number_of(value, len);
	} else if (is_named(name, name_len, "age")) {
		stream->age_s = number_of(value, len);
	}
	return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *stream;

	(void)session;
	if (!h2->is_server || frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		return 0;
	}
	stream = stream_new(h2);
	if (!stream) {
		h2->out_of_memory = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	stream_enlist(stream, frame->hd.stream_id);
	return 0;
}

/* --- what comes: bodies, ends ---------------------------------------------------------------- */

static void deliver_request(struct h2_stream *stream)
{
	const struct h2_request request = {
		.method = stream->method,
		.path = stream->path ? stream->path : "",
		.content_type = stream->content_type,
		.body = stream->body_too_long ? NULL : stream->body,
		.body_len = stream->body_too_long ? 0 : stream->body_len,
		.path_too_long = stream->path_too_long,
		.body_too_long = stream->body_too_long,
	};

	stream->delivered = true;
	stream->h2->user_ops->on_request(stream->h2->user, stream, &request);
}

static void deliver_response(struct h2_stream *stream)
{
	const struct h2_response response = {
		.status = stream->status,
		.content_type = stream->content_type,
		.age_s = stream->age_s,
		.body = stream->body,
		.body_len = stream->body_len,
	};

	stream->delivered = true;
	stream->h2->user_ops->on_response(stream->h2->user, stream->tag, &response);
}

/* Append to the body. 0 or -ENOMEM. */
static int body_append(struct h2_stream *stream, const uint8_t *bytes, size_t len)
{
	size_t cap = stream->body_cap ? stream->body_cap : BODY_FIRST_CAP;

	while (cap < stream->body_len + len) {
		cap *= 2;
	}
	if (cap != stream->body_cap) {
		uint8_t *body = realloc(stream->body, cap);

		if (!body) {
			return -ENOMEM;
		}
		stream->body = body;
		stream->body_cap = cap;
	}
	memcpy(stream->body + stream->body_len, bytes, len);
	stream->body_len += len;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
		   size_t len, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *stream = stream_find(h2, id);
	size_t max = h2->is_server ? H2_REQUEST_MAX : H2_RESPONSE_MAX;

	(void)flags;
	if (!stream || stream->body_too_long) {
		return 0;
	}
	if (stream->body_len + len > max) {
		stream->body_too_long = true;
		if (h2->is_server) {
			deliver_request(stream);
		} else {
			nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
						  NGHTTP2_ENHANCE_YOUR_CALM);
		}
		return 0;
	}
	if (body_append(stream, bytes, len) < 0) {
		h2->out_of_memory = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *stream;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY && !h2->goaway_seen) {
		h2->goaway_seen = true;
		if (h2->user_ops->on_goaway) {
			h2->user_ops->on_goaway(h2->user);
		}
	}
	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		return 0;
	}
	stream = stream_find(h2, frame->hd.stream_id);
	if (!stream || stream->delivered) {
		return 0;
	}
	if (h2->is_server) {
		deliver_request(stream);
	} else if (stream->status >= STATUS_INFORMATIONAL_END && !stream->body_too_long) {
		deliver_response(stream);
	}
	return 0;
}

/* A client that opens streams only to give them up makes work for nothing (CVE-2023-44487). */
static bool resets_too_often(struct h2 *h2)
{
	h2->reset_count++;
	return h2->reset_count > H2_RESETS_MAX + h2->answered_count;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *stream = stream_find(h2, id);
	int r = 0;

	(void)session;
	if (!stream) {
		return 0;
	}
	stream_delist(stream);
	if (h2->is_server && !stream->answered) {
		if (stream->delivered && h2->user_ops->on_cancelled) {
			h2->user_ops->on_cancelled(h2->user, stream->tag);
		}
		if (resets_too_often(h2)) {
			r = NGHTTP2_ERR_CALLBACK_FAILURE;
		}
	} else if (!h2->is_server && !stream->delivered) {
		h2->user_ops->on_failed(h2->user, stream->tag, error == NGHTTP2_REFUSED_STREAM);
	}
	stream_free(stream);
	return r;
}

/* A request that could not even be sent, since the server takes no more. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	(void)error;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		return on_stream_close(session, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM, user);
	}
	return 0;
}

/* After a GOAWAY: what waits because the server takes no more at a time would wait until it does.
 */
static void fail_unsent(struct h2 *h2)
{
	for (size_t i = 0; i < BUCKET_COUNT; i++) {
		struct h2_stream **slot = &h2->buckets[i];

		while (*slot) {
			struct h2_stream *stream = *slot;

			if (stream->sent) {
				slot = &stream->bucket_next;
				continue;
			}
			*slot = stream->bucket_next;
			h2->open_count--;
			if (!stream->delivered) {
				h2->user_ops->on_failed(h2->user, stream->tag, true);
			}
			stream_free(stream);
		}
	}
}

int h2_receive(struct h2 *h2, const uint8_t *bytes, size_t len)
{
	bool goaway_before = h2->goaway_seen;
	ssize_t n = nghttp2_session_mem_recv(h2->session, bytes, len);

	if (h2->goaway_seen && !goaway_before && !h2->is_server) {
		fail_unsent(h2);
	}
	if (n >= 0) {
		return 0;
	}
	return h2->out_of_memory || n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
}

/* --- what goes ------------------------------------------------------------------------------- */

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap,
			uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_stream *stream = source->ptr;
	size_t len = stream->out_len - stream->out_pos;

	(void)session;
	(void)id;
	(void)user;
	if (len > cap) {
		len = cap;
	}
	memcpy(buf, stream->out + stream->out_pos, len);
	stream->out_pos += len;
	stream->h2->unsent_bytes -= len;
	if (stream->out_pos == stream->out_len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)len;
}

static int keep_out(struct h2_stream *stream, const uint8_t *body, size_t len)
{
	stream->out = malloc(len ? len : 1);
	if (!stream->out) {
		return -ENOMEM;
	}
	memcpy(stream->out, body, len);
	stream->out_len = len;
	stream->h2->unsent_bytes += len;
	return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_stream *stream;

	if (frame->hd.type != NGHTTP2_HEADERS) {
		return 0;
	}
	stream = stream_find(user, frame->hd.stream_id);
	if (stream) {
		stream->sent = true;
	}
	/* What else comes of a body that was refused is not wanted (RFC 9113 section 8.1). */
	if (stream && stream->body_too_long) {
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id,
						 NGHTTP2_NO_ERROR);
	}
	return 0;
}

static nghttp2_nv field(const char *name, const char *value)
{
	/* nghttp2 copies both, and its type has no const. */
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .value = (uint8_t *)(uintptr_t)value,
			     .namelen = strlen(name),
			     .valuelen = strlen(value) };
}

int h2_pull(struct h2 *h2, const uint8_t **ret_bytes, size_t *ret_len)
{
	ssize_t n = nghttp2_session_mem_send(h2->session, ret_bytes);

	*ret_len = n > 0 ? (size_t)n : 0;
	if (n >= 0) {
		return 0;
	}
	return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
}

int h2_post(struct h2 *h2, const char *authority, const char *path, const char *content_type,
	    const uint8_t *body, size_t body_len, void *tag, struct h2_stream **ret_stream)
{
	struct h2_stream *stream;
	char length[NUMBER_TEXT_MAX];
	nghttp2_data_provider provider = { .read_callback = read_out };
	int32_t id;

	if (h2->goaway_seen || !nghttp2_session_check_request_allowed(h2->session)) {
		return -EPIPE;
	}
	stream = stream_new(h2);
	if (!stream || keep_out(stream, body, body_len) < 0) {
		free(stream);
		return -ENOMEM;
	}
	snprintf(length, sizeof length, "%zu", body_len);
	const nghttp2_nv fields[] = {
		field(":method", "POST"),        field(":scheme", "https"),
		field(":authority", authority),  field(":path", path),
		field("accept", content_type),   field("content-type", content_type),
		field("content-length", length),
	};
	stream->tag = tag;
	provider.source.ptr = stream;
	id = nghttp2_submit_request(h2->session, NULL, fields, ARRAY_SIZE(fields), &provider, NULL);
	if (id < 0) {
		stream_free(stream);
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPIPE;
	}
	stream_enlist(stream, id);
	*ret_stream = stream;
	return 0;
}

void h2_cancel(struct h2_stream *stream)
{
	stream->delivered = true;
	/* Without memory the server works in vain. */
	(void)nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id,
					NGHTTP2_CANCEL);
}

void h2_ping(struct h2 *h2)
{
	/* Without memory the peer is not asked, and found to be silent. */
	(void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
}

void h2_set_tag(struct h2_stream *stream, void *tag)
{
	stream->tag = tag;
}

int h2_respond(struct h2_stream *stream, unsigned status, const char *content_type,
	       const uint8_t *body, size_t body_len, uint32_t max_age_s)
{
	char status_text[NUMBER_TEXT_MAX];
	char length[NUMBER_TEXT_MAX];
	char cache_control[CACHE_CONTROL_MAX];
	const nghttp2_data_provider provider = { .source.ptr = stream, .read_callback = read_out };
	int r;

	snprintf(status_text, sizeof status_text, "%u", status);
	snprintf(length, sizeof length, "%zu", body_len);
	snprintf(cache_control, sizeof cache_control, "max-age=%u", max_age_s);
	const nghttp2_nv fields[] = {
		field(":status", status_text),
		field("content-type", content_type ? content_type : ""),
		field("content-length", length),
		field("cache-control", cache_control),
	};
	stream->answered = true;
	stream->h2->answered_count++;
	if (!body) {
		r = nghttp2_submit_response(stream->h2->session, stream->id, fields, 1, NULL);
	} else if (keep_out(stream, body, body_len) < 0) {
		r = NGHTTP2_ERR_NOMEM;
	} else {
		r = nghttp2_submit_response(stream->h2->session, stream->id, fields,
					    ARRAY_SIZE(fields), &provider);
	}
	if (r < 0) {
		nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id,
					  NGHTTP2_INTERNAL_ERROR);
	}
	return r < 0 ? -ENOMEM : 0;
}

size_t h2_unsent_bytes(const struct h2 *h2)
{
	return h2->unsent_bytes;
}

void h2_goaway(struct h2 *h2)
{
	(void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h2->session),
				    NGHTTP2_NO_ERROR, NULL, 0);
	h2->goaway_seen = true;
}

bool h2_is_over(const struct h2 *h2)
{
	return (h2->goaway_seen && h2->open_count == 0) ||
	       (!nghttp2_session_want_read(h2->session) &&
		!nghttp2_session_want_write(h2->session));
}

/* --- life ------------------------------------------------------------------------------------ */

static nghttp2_session_callbacks *make_callbacks(void)
{
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) < 0) {
		return NULL;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
	return callbacks;
}

/* No server push; and to a client, how much it may ask. 0 or -ENOMEM. */
static int send_settings(struct h2 *h2)
{
	static const nghttp2_settings_entry of_client[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_FIELDS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_RESPONSE_MAX + 1 },
	};
	static const nghttp2_settings_entry of_server[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_FIELDS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2 * H2_REQUEST_MAX },
	};
	int r = h2->is_server ? nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, of_server,
							ARRAY_SIZE(of_server))
			      : nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, of_client,
							ARRAY_SIZE(of_client));

	return r < 0 ? -ENOMEM : 0;
}

struct h2 *h2_new(bool is_server, const struct h2_user *user_ops, void *user)
{
	struct h2 *h2 = calloc(1, sizeof *h2);
	nghttp2_session_callbacks *callbacks = make_callbacks();
	int r = NGHTTP2_ERR_NOMEM;

	if (h2 && callbacks) {
		h2->is_server = is_server;
		h2->user_ops = user_ops;
		h2->user = user;
		r = is_server ? nghttp2_session_server_new(&h2->session, callbacks, h2)
			      : nghttp2_session_client_new(&h2->session, callbacks, h2);
	}
	if (callbacks) {
		nghttp2_session_callbacks_del(callbacks);
	}
	if (r < 0 || send_settings(h2) < 0) {
		h2_free(h2);
		errno = ENOMEM;
		return NULL;
	}
	return h2;
}

void h2_free(struct h2 *h2)
{
	if (!h2) {
		return;
	}
	nghttp2_session_del(h2->session);
	for (size_t i = 0; i < BUCKET_COUNT; i++) {
		while (h2->buckets[i]) {
			struct h2_stream *stream = h2->buckets[i];

			h2->buckets[i] = stream->bucket_next;
			stream_free(stream);
		}
	}
	free(h2);
}
