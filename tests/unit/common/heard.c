/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/heard.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum {
	TYPE_A = 1,
};

static void note_bytes(struct heard *heard, const uint8_t *bytes, size_t len)
{
	ck_assert_uint_le(len, sizeof heard->bytes);
	memcpy(heard->bytes, bytes, len);
	heard->len = len;
	heard->ids[bytes[0] << 8 | bytes[1]] = true;
}

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	struct heard *heard = user;

	heard->message_count++;
	ck_assert(!heard->ids_differ || !heard->ids[msg[0] << 8 | msg[1]]);
	note_bytes(heard, msg, len);
	if (heard->close_at_once) {
		heard_close(heard);
	}
	if (heard->send_more > 0) {
		ck_assert_int_eq(heard_send(heard, (uint16_t)heard->send_more--, "more.example"),
				 0);
	}
}

static void on_failed(void *user, const uint8_t *query, size_t len, int error)
{
	struct heard *heard = user;

	ck_assert_uint_gt(len, 12);
	heard->failure_count++;
	heard->error = error;
	note_bytes(heard, query, len);
}

static void on_closed(void *user, int error)
{
	struct heard *heard = user;

	heard->closed_count++;
	heard->error = error;
	heard_close(heard);
}

static const struct transport_user upcalls = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_closed = on_closed,
};

struct heard *heard_new(void)
{
	struct heard *heard = calloc(1, sizeof *heard);

	ck_assert_ptr_nonnull(heard);
	heard->loop = loop_new();
	ck_assert_ptr_nonnull(heard->loop);
	return heard;
}

void heard_serve(struct heard *heard, const char *ip,
		 void (*on_query)(const struct fake_query *query))
{
	fake_dns_start(&heard->server, heard->loop, ip, on_query);
	heard->server.arg = heard;
}

void heard_stop_server(struct heard *heard)
{
	if (heard->server.loop) {
		fake_dns_stop(&heard->server);
		heard->server.loop = NULL;
	}
}

bool heard_open(struct heard *heard, const struct transport_ops *ops,
		struct transport_config config)
{
	config.loop = heard->loop;
	if (config.server.sa.sa_family == AF_UNSPEC) {
		config.server = heard->server.addr;
	}
	heard->transport = ops->open(&config, &upcalls, heard);
	return heard->transport != NULL;
}

void heard_close(struct heard *heard)
{
	if (heard->transport) {
		heard->transport->ops->close(heard->transport);
		heard->transport = NULL;
	}
}

void heard_free(struct heard *heard)
{
	heard_close(heard);
	heard_stop_server(heard);
	loop_free(heard->loop);
	free(heard);
}

int heard_send(struct heard *heard, uint16_t id, const char *name)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, id, name, TYPE_A, true);

	return heard->transport->ops->send(heard->transport, query, len);
}

void heard_flush(struct heard *heard)
{
	heard->transport->ops->flush(heard->transport);
}

void heard_expect(const struct heard *heard, uint16_t id, const char *name, uint8_t rcode)
{
	uint8_t expected[512];
	size_t len = fake_dns_plain_answer(expected, id, name, TYPE_A, rcode);

	ck_assert_uint_eq(heard->len, len);
	ck_assert_mem_eq(heard->bytes, expected, len);
}

void heard_hold(const struct fake_query *query)
{
	struct heard *heard = query->server->arg;

	fake_dns_hold(&heard->held, query);
}
