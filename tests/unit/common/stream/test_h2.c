/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/stream/h2.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MANY = 500,
};

#define TYPE "application/dns-message"

/* What one end heard. */
struct end {
	struct h2 *h2;
	unsigned request_count;
	unsigned cancel_count;
	unsigned response_count;
	unsigned failure_count;
	unsigned untouched_count;
	unsigned goaway_count;
	bool hold; /* server: leave requests open, in `held` */
	struct h2_stream *held[MANY];
	unsigned status; /* of the last response */
	uint32_t age_s;
	char type[64];
	char path[64];
	uint8_t body[70000];
	size_t body_len;
	bool path_too_long;
	bool body_too_long;
	bool seen[MANY]; /* tags */
};

static struct end client;
static struct end server;

static void on_request(void *user, struct h2_stream *stream, const struct h2_request *request)
{
	struct end *end = user;

	snprintf(end->path, sizeof end->path, "%.60s", request->path);
	snprintf(end->type, sizeof end->type, "%s", request->content_type);
	ck_assert_uint_le(request->body_len, sizeof end->body);
	if (request->body_len > 0) {
		memcpy(end->body, request->body, request->body_len);
	}
	end->body_len = request->body_len;
	end->path_too_long = request->path_too_long;
	end->body_too_long = request->body_too_long;
	if (end->hold) {
		h2_set_tag(stream, (void *)(uintptr_t)end->request_count);
		end->held[end->request_count % MANY] = stream;
	} else if (request->body_too_long) {
		ck_assert_int_eq(h2_respond(stream, 413, NULL, NULL, 0, 0), 0);
	} else {
		/* The echo of the body. */
		ck_assert_int_eq(h2_respond(stream, 200, TYPE, end->body, end->body_len, 77), 0);
	}
	end->request_count++;
}

static void on_cancelled(void *user, void *tag)
{
	struct end *end = user;

	end->cancel_count++;
	end->seen[(uintptr_t)tag] = true;
}

static void on_response(void *user, void *tag, const struct h2_response *response)
{
	struct end *end = user;

	end->response_count++;
	ck_assert(!end->seen[(uintptr_t)tag]);
	end->seen[(uintptr_t)tag] = true;
	end->status = response->status;
	end->age_s = response->age_s;
	snprintf(end->type, sizeof end->type, "%s", response->content_type);
	if (response->body_len > 0) {
		memcpy(end->body, response->body, response->body_len);
	}
	end->body_len = response->body_len;
}

static void on_failed(void *user, void *tag, bool untouched)
{
	struct end *end = user;

	(void)tag;
	end->failure_count++;
	end->untouched_count += untouched;
}

static void on_goaway(void *user)
{
	struct end *end = user;

	end->goaway_count++;
}

static const struct h2_user upcalls = {
	.on_request = on_request,
	.on_cancelled = on_cancelled,
	.on_response = on_response,
	.on_failed = on_failed,
	.on_goaway = on_goaway,
};

static void setup(void)
{
	memset(&client, 0, sizeof client);
	memset(&server, 0, sizeof server);
	client.h2 = h2_new(false, &upcalls, &client);
	server.h2 = h2_new(true, &upcalls, &server);
	ck_assert_ptr_nonnull(client.h2);
	ck_assert_ptr_nonnull(server.h2);
}

static void teardown(void)
{
	h2_free(client.h2);
	h2_free(server.h2);
}

/* Move what one end has to say to the other, `step` bytes at a time. False when there was none. */
static bool move(struct h2 *from, struct h2 *to, size_t step)
{
	bool moved = false;
	const uint8_t *bytes;
	size_t len;

	while (h2_pull(from, &bytes, &len) == 0 && len > 0) {
		moved = true;
		for (size_t pos = 0; pos < len; pos += step) {
			size_t n = len - pos < step ? len - pos : step;

			if (h2_receive(to, bytes + pos, n) < 0) {
				return false;
			}
		}
	}
	return moved;
}

static void talk(size_t step)
{
	bool moved;

	do {
		moved = move(client.h2, server.h2, step);
		moved = move(server.h2, client.h2, step) || moved;
	} while (moved);
}

static struct h2_stream *last_stream;

static int post(unsigned tag, const char *body)
{
	return h2_post(client.h2, "dns.example", "/dns-query", TYPE, (const uint8_t *)body,
		       strlen(body), (void *)(uintptr_t)tag, &last_stream);
}

/* In pieces of any size. */
START_TEST(test_exchange)
{
	static const size_t steps[] = { 1, 2, 7, 1000, 100000 };

	ck_assert_int_eq(post(1, "hello"), 0);
	talk(steps[_i]);
	ck_assert_uint_eq(server.request_count, 1);
	ck_assert_str_eq(server.path, "/dns-query");
	ck_assert_str_eq(server.type, TYPE);
	ck_assert_uint_eq(client.response_count, 1);
	ck_assert_uint_eq(client.status, 200);
	ck_assert_str_eq(client.type, TYPE);
	ck_assert_uint_eq(client.body_len, 5);
	ck_assert_mem_eq(client.body, "hello", 5);
	ck_assert_uint_eq(client.age_s, 0);
	ck_assert_uint_eq(server.cancel_count, 0);
	ck_assert(!h2_is_over(client.h2));
}
END_TEST

/* More than the server takes at a time: the rest waits, none is lost. */
START_TEST(test_many)
{
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(post(i, "x"), 0);
	}
	talk(100000);
	ck_assert_uint_eq(client.response_count, MANY);
	ck_assert_uint_eq(client.failure_count, 0);
	ck_assert_uint_eq(h2_unsent_bytes(server.h2), 0);
}
END_TEST

START_TEST(test_at_a_time)
{
	server.hold = true;
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(post(i, "x"), 0);
	}
	talk(100000);
	ck_assert_uint_eq(server.request_count, H2_STREAMS_MAX);
	ck_assert_int_eq(h2_respond(server.held[0], 200, TYPE, (const uint8_t *)"", 0, 0), 0);
	talk(100000);
	ck_assert_uint_eq(server.request_count, H2_STREAMS_MAX + 1);
	ck_assert_uint_eq(client.response_count, 1);
}
END_TEST

/* The largest message comes whole, also through the peer's windows. */
START_TEST(test_large_response)
{
	static uint8_t body[H2_RESPONSE_MAX + 1];

	memset(body, 'z', sizeof body);
	server.hold = true;
	post(1, "q");
	post(2, "q");
	talk(100000);
	h2_respond(server.held[0], 200, TYPE, body, H2_RESPONSE_MAX, 0);
	talk(100000);
	ck_assert_uint_eq(client.response_count, 1);
	ck_assert_uint_eq(client.body_len, H2_RESPONSE_MAX);
	ck_assert_mem_eq(client.body, body, H2_RESPONSE_MAX);
	/* One byte more is refused, and only that response. */
	h2_respond(server.held[1], 200, TYPE, body, H2_RESPONSE_MAX + 1, 0);
	talk(100000);
	ck_assert_uint_eq(client.response_count, 1);
	ck_assert_uint_eq(client.failure_count, 1);
	ck_assert_uint_eq(client.untouched_count, 0);
	server.hold = false;
	post(3, "q");
	talk(100000);
	ck_assert_uint_eq(client.response_count, 2);
}
END_TEST

START_TEST(test_large_request)
{
	static char body[H2_REQUEST_MAX + 2];

	memset(body, 'z', H2_REQUEST_MAX);
	post(1, body);
	talk(100000);
	ck_assert_uint_eq(server.body_len, H2_REQUEST_MAX);
	ck_assert_uint_eq(client.status, 200);
	body[H2_REQUEST_MAX] = 'z';
	post(2, body);
	talk(100000);
	ck_assert(server.body_too_long);
	ck_assert_uint_eq(client.status, 413);
	/* The connection goes on. */
	post(3, "q");
	talk(100000);
	ck_assert_uint_eq(client.response_count, 3);
	ck_assert_uint_eq(server.cancel_count, 0);
}
END_TEST

static void post_path(unsigned tag, size_t len)
{
	char *path = calloc(1, len + 1);

	memset(path, 'a', len);
	path[0] = '/';
	ck_assert_int_eq(h2_post(client.h2, "dns.example", path, TYPE, (const uint8_t *)"", 0,
				 (void *)(uintptr_t)tag, &last_stream),
			 0);
	free(path);
}

START_TEST(test_long_paths)
{
	post_path(1, H2_PATH_MAX - 1);
	talk(100000);
	ck_assert(!server.path_too_long);
	post_path(2, H2_PATH_MAX);
	talk(100000);
	ck_assert(server.path_too_long);
	ck_assert_uint_eq(client.response_count, 2);
	/* Beyond the bound of all fields the stream is reset. */
	post_path(3, H2_FIELDS_MAX);
	talk(100000);
	ck_assert_uint_eq(client.response_count, 2);
	ck_assert_uint_eq(client.failure_count, 1);
	ck_assert_uint_eq(server.request_count, 2);
}
END_TEST

/* What the server has seen is answered; what comes after is not taken, and said to be untouched. */
START_TEST(test_goaway)
{
	server.hold = true;
	post(1, "q");
	talk(100000);
	h2_goaway(server.h2);
	post(2, "q");
	ck_assert(!h2_is_over(server.h2));
	talk(100000);
	ck_assert_uint_eq(client.goaway_count, 1);
	ck_assert_uint_eq(client.untouched_count, 1);
	ck_assert_int_eq(post(3, "q"), -EPIPE);
	ck_assert(!h2_is_over(client.h2));
	h2_respond(server.held[0], 200, TYPE, (const uint8_t *)"a", 1, 0);
	talk(100000);
	ck_assert_uint_eq(client.response_count, 1);
	ck_assert(client.seen[1]);
	ck_assert(h2_is_over(client.h2));
	ck_assert(h2_is_over(server.h2));
}
END_TEST

/* Also what waits because the server takes no more at a time. */
START_TEST(test_goaway_while_waiting)
{
	server.hold = true;
	for (unsigned i = 0; i < H2_STREAMS_MAX + 20; i++) {
		post(i, "q");
	}
	talk(100000);
	h2_goaway(server.h2);
	talk(100000);
	ck_assert_uint_eq(client.untouched_count, 20);
	ck_assert_uint_eq(client.failure_count, 20);
}
END_TEST

START_TEST(test_ping)
{
	const uint8_t *bytes;
	size_t len;

	talk(100000);
	h2_ping(client.h2);
	ck_assert(move(client.h2, server.h2, 1000));
	ck_assert_int_eq(h2_pull(server.h2, &bytes, &len), 0);
	ck_assert_uint_eq(len, 9 + 8);
	ck_assert_uint_eq(bytes[3], 6); /* PING */
	ck_assert_uint_eq(bytes[4], 1); /* acknowledged */
}
END_TEST

/* No upcall comes of what was given up, before or after it was sent. */
START_TEST(test_cancel)
{
	server.hold = true;
	post(1, "q");
	h2_cancel(last_stream);
	talk(100000);
	ck_assert_uint_eq(server.request_count, 0);
	post(2, "q");
	talk(100000);
	ck_assert_uint_eq(server.request_count, 1);
	h2_cancel(last_stream);
	talk(100000);
	ck_assert_uint_eq(server.cancel_count, 1);
	ck_assert_uint_eq(client.response_count + client.failure_count, 0);
	server.hold = false;
	post(3, "q");
	talk(100000);
	ck_assert_uint_eq(client.response_count, 1);
}
END_TEST

/* The client is gone, with requests open. */
START_TEST(test_free_open)
{
	server.hold = true;
	for (unsigned i = 0; i < 50; i++) {
		post(i, "q");
	}
	talk(100000);
	h2_respond(server.held[0], 200, TYPE, (const uint8_t *)"abc", 3, 0);
	ck_assert_uint_eq(h2_unsent_bytes(server.h2), 3);
}
END_TEST

static const struct {
	const char *what;
	const uint8_t *bytes;
	size_t len;
} rubbish[] = {
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1
#define PREFACE        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS       "\0\0\0\4\0\0\0\0\0"
	{ "HTTP/1.1", BYTES("GET /dns-query HTTP/1.1\r\nHost: dns.example\r\n\r\n") },
	{ "DATA before HEADERS", BYTES(PREFACE SETTINGS "\0\0\1\0\1\0\0\0\1x") },
	{ "too long a frame", BYTES(PREFACE SETTINGS "\xff\xff\xff\1\5\0\0\0\1") },
	{ "bad field block", BYTES(PREFACE SETTINGS "\0\0\2\1\5\0\0\0\1\xff\xff") },
	{ "even stream", BYTES(PREFACE SETTINGS "\0\0\1\1\5\0\0\0\2\x82") },
	{ "no SETTINGS", BYTES(PREFACE "\0\0\1\1\5\0\0\0\1\x82") },
};

/* The connection ends: with an error at once, or with a GOAWAY that says so. */
START_TEST(test_rubbish)
{
	for (size_t i = 0; i < ARRAY_SIZE(rubbish); i++) {
		const uint8_t *bytes;
		size_t len;
		bool told = false;
		int r;

		h2_free(server.h2);
		server.h2 = h2_new(true, &upcalls, &server);
		r = h2_receive(server.h2, rubbish[i].bytes, rubbish[i].len);
		while (h2_pull(server.h2, &bytes, &len) == 0 && len > 0) {
			told = told || bytes[3] == 7; /* GOAWAY */
		}
		ck_assert_msg(r == -EPROTO || (told && h2_is_over(server.h2)), "%s: %d",
			      rubbish[i].what, r);
		ck_assert_uint_eq(server.request_count, 0);
	}
}
END_TEST

/* A client that opens streams only to reset them is shown the door (CVE-2023-44487). */
START_TEST(test_rapid_resets)
{
	/* GET https://a/ with indexed fields, ended; then CANCEL. */
	static const uint8_t preface[] = PREFACE SETTINGS;
	int r;
	unsigned rounds = 0;

	server.hold = true;
	ck_assert_int_eq(h2_receive(server.h2, preface, sizeof preface - 1), 0);
	do {
		uint8_t id_high = (uint8_t)((2 * rounds + 1) >> 8);
		uint8_t id_low = (uint8_t)(2 * rounds + 1);
		const uint8_t headers[] = { 0,      0,    6,    1,    5,    0, 0,  id_high,
					    id_low, 0x82, 0x87, 0x84, 0x41, 1, 'a' };
		const uint8_t reset[] = { 0, 0, 4, 3, 0, 0, 0, id_high, id_low, 0, 0, 0, 8 };

		r = h2_receive(server.h2, headers, sizeof headers);
		if (r == 0) {
			r = h2_receive(server.h2, reset, sizeof reset);
		}
		rounds++;
	} while (r == 0 && rounds < 2000);
	ck_assert_int_eq(r, -EPROTO);
	ck_assert_uint_ge(rounds, H2_RESETS_MAX);
	ck_assert_uint_le(rounds, H2_RESETS_MAX + 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2");
	TCase *tcase = tcase_create("h2");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_exchange, 0, 5);
	tcase_add_test(tcase, test_many);
	tcase_add_test(tcase, test_at_a_time);
	tcase_add_test(tcase, test_large_response);
	tcase_add_test(tcase, test_large_request);
	tcase_add_test(tcase, test_long_paths);
	tcase_add_test(tcase, test_goaway);
	tcase_add_test(tcase, test_goaway_while_waiting);
	tcase_add_test(tcase, test_ping);
	tcase_add_test(tcase, test_cancel);
	tcase_add_test(tcase, test_free_open);
	tcase_add_test(tcase, test_rubbish);
	tcase_add_test(tcase, test_rapid_resets);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
