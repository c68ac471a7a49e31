/* SPDX-License-Identifier: ISC */
/*
 * What the other end of an HTTP/2 connection sends. Input: a byte whose lowest bit says whether we
 * are the server, and whose others how many bytes come at a time; then the bytes. To a server the
 * preface is sent before them.
 */
#include "common/stream/h2.h"

#include "common/dns/doh.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum {
	REQUESTS = 4,
};

struct heard {
	unsigned open_count;
	unsigned answered_count;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void on_request(void *user, struct h2_stream *stream, const struct h2_request *request)
{
	const struct doh_request doh_request = { request->method, request->path,
						 request->content_type, request->body,
						 request->body_len };
	uint8_t buf[DOH_QUERY_MAX];
	struct heard *heard = user;
	const uint8_t *msg;
	size_t len;
	enum doh_status status = doh_find_query(&doh_request, buf, &msg, &len);

	heard->open_count++;
	assert(request->body_len <= H2_REQUEST_MAX && strlen(request->path) < H2_PATH_MAX);
	if (heard->open_count % 3 == 0) {
		h2_set_tag(stream, heard);
	} else if (status == DOH_OK) {
		h2_respond(stream, status, DOH_CONTENT_TYPE, msg, len, 1);
	} else {
		h2_respond(stream, status, NULL, NULL, 0, 0);
	}
}

static void on_cancelled(void *user, void *tag)
{
	assert(tag == user);
}

static void on_response(void *user, void *tag, const struct h2_response *response)
{
	struct heard *heard = user;

	assert(tag == user && response->status >= 200 && response->body_len <= H2_RESPONSE_MAX);
	heard->answered_count++;
}

static void on_failed(void *user, void *tag, bool untouched)
{
	struct heard *heard = user;

	(void)untouched;
	assert(tag == user);
	heard->answered_count++;
}

static void drain(struct h2 *h2)
{
	const uint8_t *bytes;
	size_t len;

	while (h2_pull(h2, &bytes, &len) == 0 && len > 0) {
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct h2_user upcalls = {
		.on_request = on_request,
		.on_cancelled = on_cancelled,
		.on_response = on_response,
		.on_failed = on_failed,
	};
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct heard heard = { 0 };
	struct h2_stream *stream;
	bool is_server;
	size_t step;
	struct h2 *h2;
	int r = 0;

	if (len == 0) {
		return 0;
	}
	is_server = data[0] & 1;
	step = 1 + (data[0] >> 1) * 8u;
	h2 = h2_new(is_server, &upcalls, &heard);
	if (is_server) {
		r = h2_receive(h2, (const uint8_t *)preface, sizeof preface - 1);
		assert(r == 0);
	}
	for (unsigned i = 0; !is_server && i < REQUESTS; i++) {
		r = h2_post(h2, "dns.example", DOH_PATH, DOH_CONTENT_TYPE, data, len, &heard,
			    &stream);
		assert(r == 0);
	}
	drain(h2);
	for (size_t pos = 1; pos < len && r == 0; pos += step) {
		r = h2_receive(h2, data + pos, len - pos < step ? len - pos : step);
		drain(h2);
	}
	assert(is_server || heard.answered_count <= REQUESTS);
	h2_free(h2);
	return 0;
}
