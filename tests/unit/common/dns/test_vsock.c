/* SPDX-License-Identifier: ISC */
#include "common/dns/asked.h"
#include "common/dns/vsock.h"

#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

enum {
	TYPE_A = 1
};

/* A transport that records. There is one at a time. */
static struct {
	struct transport transport;
	struct transport_config config;
	const struct transport_user *user_ops;
	void *user;
	unsigned sent_count;
	unsigned flush_count;
	unsigned close_count;
	uint8_t bytes[512];
	size_t len;
	int refuse; /* what send returns */
} lower;

static const struct transport_ops datagram_ops;
static const struct transport_ops stream_ops;

static struct transport *lower_open(const struct transport_config *config,
				    const struct transport_user *user_ops, void *user)
{
	lower.config = *config;
	lower.user_ops = user_ops;
	lower.user = user;
	lower.transport.dropped_count = 3;
	return &lower.transport;
}

static struct transport *datagram_open(const struct transport_config *config,
				       const struct transport_user *user_ops, void *user)
{
	lower.transport.ops = &datagram_ops;
	return lower_open(config, user_ops, user);
}

static struct transport *stream_open(const struct transport_config *config,
				     const struct transport_user *user_ops, void *user)
{
	lower.transport.ops = &stream_ops;
	return lower_open(config, user_ops, user);
}

static int lower_send(struct transport *transport, const uint8_t *msg, size_t len)
{
	(void)transport;
	lower.sent_count++;
	ck_assert_uint_le(len, sizeof lower.bytes);
	memcpy(lower.bytes, msg, len);
	lower.len = len;
	return lower.refuse;
}

static void lower_flush(struct transport *transport)
{
	(void)transport;
	lower.flush_count++;
}

static void lower_close(struct transport *transport)
{
	(void)transport;
	lower.close_count++;
}

static const struct transport_ops datagram_ops = { .name = "datagram",
						   .socket_type = SOCK_DGRAM,
						   .open = datagram_open,
						   .send = lower_send,
						   .close = lower_close };
static const struct transport_ops stream_ops = { .name = "stream",
						 .socket_type = SOCK_STREAM,
						 .open = stream_open,
						 .send = lower_send,
						 .flush = lower_flush,
						 .close = lower_close };

/* What stands for c-ares: reads as much a call as it is told to. */
struct upper {
	struct vsock_set set;
	struct addr servers[2];
	size_t step;
	unsigned read_count;
	unsigned write_count;
	uint8_t bytes[1024];
	size_t len;
	ssize_t last; /* of the last read */
	int last_errno;
	struct sockaddr_in from;
	int shown_error;
};

static void upper_process(struct vsock_set *set, int readable, int writable)
{
	struct upper *upper = (struct upper *)(void *)set;
	socklen_t from_len = sizeof upper->from;

	if (writable != VSOCK_NONE) {
		upper->write_count++;
		return;
	}
	upper->read_count++;
	upper->last = vsock_recvfrom(readable, upper->bytes + upper->len, upper->step, 0,
				     (struct sockaddr *)&upper->from, &from_len, set);
	upper->last_errno = errno;
	if (upper->last > 0) {
		ck_assert_ptr_nonnull(set->shown);
		upper->shown_error = set->shown->error;
		upper->len += (size_t)upper->last;
	} else {
		ck_assert_ptr_null(set->shown);
		vsock_close(readable, set);
	}
}

static int start(struct upper *upper, int type, bool stubs)
{
	struct sockaddr_in number = { .sin_family = AF_INET };
	int handle;

	memset(&lower, 0, sizeof lower);
	*upper = (struct upper){ .step = 1024 };
	ck_assert_int_eq(addr_parse("127.0.0.1:53", 0, &upper->servers[0]), 0);
	ck_assert_int_eq(addr_parse("[fe80::7%1]:5353", 0, &upper->servers[1]), 0);
	upper->set = (struct vsock_set){ .loop = loop_new(),
					 .servers = upper->servers,
					 .server_count = 2,
					 .datagram = &datagram_ops,
					 .stream = &stream_ops,
					 .timeout_ms = 123,
					 .max_open = 45,
					 .stubs = stubs,
					 .process = upper_process };
	number.sin_addr.s_addr = vsock_server_number(1);
	handle = vsock_open(AF_INET, type, 0, &upper->set);
	ck_assert_int_ge(handle, 1 << 30);
	ck_assert_int_eq(
		vsock_connect(handle, (struct sockaddr *)&number, sizeof number, &upper->set), 0);
	return handle;
}

static void stop(struct upper *upper)
{
	vsock_set_done(&upper->set);
	loop_free(upper->set.loop);
}

START_TEST(test_number_leads_to_server)
{
	struct upper upper;
	int first = start(&upper, SOCK_DGRAM, true);
	int second;

	ck_assert(addr_equal(&lower.config.server, &upper.servers[1]));
	ck_assert_uint_eq(lower.config.timeout_ms, 123);
	ck_assert_uint_eq(lower.config.max_open, 45);
	ck_assert_ptr_eq(lower.transport.ops, &datagram_ops);
	second = vsock_open(AF_INET, SOCK_STREAM, 0, &upper.set);
	ck_assert_int_ne(first, second);
	ck_assert_uint_eq(vsock_set_dropped_count(&upper.set), 3);
	vsock_close(second, &upper.set);
	ck_assert_uint_eq(lower.close_count, 0);
	vsock_close(first, &upper.set);
	ck_assert_uint_eq(lower.close_count, 1);
	ck_assert_uint_eq(vsock_set_dropped_count(&upper.set), 3);
	stop(&upper);
}
END_TEST

/* However the bytes are cut, the transport gets whole messages. */
START_TEST(test_stream_is_split_into_messages)
{
	uint8_t bytes[2 * (2 + 64)];
	size_t len = fake_dns_query(bytes + 2, 5, "www.example", TYPE_A, false);

	bytes[0] = 0;
	bytes[1] = (uint8_t)len;
	memcpy(bytes + 2 + len, bytes, 2 + len);
	for (size_t cut = 0; cut <= 2 * (2 + len); cut++) {
		struct upper upper;
		int handle = start(&upper, SOCK_STREAM, true);
		const struct iovec iov[2] = { { bytes, cut },
					      { bytes + cut, 2 * (2 + len) - cut } };

		ck_assert_int_eq(vsock_sendv(handle, iov, 1, &upper.set), (ssize_t)cut);
		ck_assert_uint_eq(lower.sent_count, cut / (2 + len));
		ck_assert_int_eq(vsock_sendv(handle, iov + 1, 1, &upper.set),
				 (ssize_t)(2 * (2 + len) - cut));
		ck_assert_uint_eq(lower.sent_count, 2);
		ck_assert_uint_eq(lower.len, len);
		ck_assert_mem_eq(lower.bytes, bytes + 2, len);
		ck_assert_uint_eq(lower.flush_count, 0);
		ck_assert_int_eq(loop_turn(upper.set.loop, 0), 0);
		ck_assert_uint_eq(lower.flush_count, 1);
		vsock_close(handle, &upper.set);
		stop(&upper);
	}
}
END_TEST

START_TEST(test_writing_is_left_to_the_end_of_the_turn)
{
	struct upper upper;
	int handle = start(&upper, SOCK_STREAM, true);

	vsock_on_state(&upper.set, handle, 1, 0);
	ck_assert_int_eq(loop_turn(upper.set.loop, 0), 0);
	ck_assert_uint_eq(upper.write_count, 0);
	vsock_on_state(&upper.set, handle, 1, 1);
	vsock_on_state(&upper.set, handle, 1, 1);
	ck_assert_uint_eq(upper.write_count, 0);
	ck_assert_int_eq(loop_turn(upper.set.loop, 0), 0);
	ck_assert_uint_eq(upper.write_count, 1);
	vsock_on_state(&upper.set, handle + 1, 1, 1); /* a socket that is closed */
	vsock_close(handle, &upper.set);
	stop(&upper);
}
END_TEST

/* c-ares 1.18 reads the length, then the body; 1.34 as much as it gets. */
START_TEST(test_stream_is_read_in_steps)
{
	static const size_t steps[] = { 1, 2, 5, 1024 };
	uint8_t msg[512];
	size_t len = fake_dns_query(msg, 5, "www.example", TYPE_A, true);

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct upper upper;
		int handle = start(&upper, SOCK_STREAM, false);

		upper.step = steps[i];
		lower.user_ops->on_message(lower.user, msg, len);
		ck_assert_uint_eq(upper.len, 2 + len);
		ck_assert_uint_eq(upper.bytes[0], 0);
		ck_assert_uint_eq(upper.bytes[1], len);
		ck_assert_mem_eq(upper.bytes + 2, msg, len);
		ck_assert_uint_eq(upper.read_count, (2 + len + steps[i] - 1) / steps[i]);
		vsock_close(handle, &upper.set);
		stop(&upper);
	}
}
END_TEST

START_TEST(test_datagram_comes_from_the_server)
{
	struct upper upper;
	int handle = start(&upper, SOCK_DGRAM, false);
	uint8_t msg[512];
	size_t len = fake_dns_query(msg, 5, "www.example", TYPE_A, true);

	lower.user_ops->on_message(lower.user, msg, len);
	ck_assert_uint_eq(upper.len, len);
	ck_assert_mem_eq(upper.bytes, msg, len);
	ck_assert_uint_eq(upper.from.sin_addr.s_addr, vsock_server_number(1));
	ck_assert_uint_eq(upper.read_count, 1);
	vsock_close(handle, &upper.set);
	stop(&upper);
}
END_TEST

START_TEST(test_stub_hides_everything_but_the_question)
{
	struct upper upper;
	int handle = start(&upper, SOCK_DGRAM, true);
	uint8_t msg[512];
	size_t len = fake_dns_query(msg, 5, "www.example", TYPE_A, true);
	uint8_t stub[512];
	size_t stub_len = fake_dns_query(stub, 5, "www.example", TYPE_A, false);

	msg[2] |= 0x86; /* QR AA TC */
	msg[3] = 0xb1;  /* RA AD FORMERR */
	stub[2] |= 0x80;
	stub[3] = 2; /* SERVFAIL */
	lower.user_ops->on_message(lower.user, msg, len);
	ck_assert_uint_eq(upper.len, stub_len);
	ck_assert_mem_eq(upper.bytes, stub, stub_len);
	vsock_close(handle, &upper.set);
	stop(&upper);
}
END_TEST

START_TEST(test_message_that_cannot_be_sent_is_answered_later)
{
	struct upper upper;
	int handle = start(&upper, SOCK_DGRAM, false);
	uint8_t msg[512];
	size_t len = fake_dns_query(msg, 5, "www.example", TYPE_A, true);
	const struct iovec iov = { msg, len };

	lower.refuse = -ENETUNREACH;
	ck_assert_int_eq(vsock_sendv(handle, &iov, 1, &upper.set), (ssize_t)len);
	ck_assert_uint_eq(upper.read_count, 0);
	ck_assert_int_eq(loop_turn(upper.set.loop, 0), 0);
	ck_assert_int_eq(upper.shown_error, ENETUNREACH);
	ck_assert_uint_eq(upper.len, len - 11); /* without OPT */
	ck_assert_uint_eq(upper.bytes[2], 0x81);
	ck_assert_uint_eq(upper.bytes[3], 2); /* SERVFAIL */
	vsock_close(handle, &upper.set);
	stop(&upper);
}
END_TEST

START_TEST(test_failure_is_forgotten_with_its_socket)
{
	struct upper upper;
	int handle = start(&upper, SOCK_DGRAM, false);
	uint8_t msg[512];
	const struct iovec iov = { msg, fake_dns_query(msg, 5, "www.example", TYPE_A, true) };

	lower.refuse = -EMFILE;
	vsock_sendv(handle, &iov, 1, &upper.set);
	vsock_sendv(handle, &iov, 1, &upper.set);
	vsock_close(handle, &upper.set);
	ck_assert_int_eq(loop_turn(upper.set.loop, 0), 0);
	ck_assert_uint_eq(upper.read_count, 0);
	stop(&upper);
}
END_TEST

START_TEST(test_end_of_a_stream)
{
	struct upper upper;

	start(&upper, SOCK_STREAM, true);
	lower.user_ops->on_closed(lower.user, 0);
	ck_assert_int_eq(upper.last, 0);
	ck_assert_uint_eq(lower.close_count, 1);
	stop(&upper);
	start(&upper, SOCK_STREAM, true);
	lower.user_ops->on_closed(lower.user, ETIMEDOUT);
	ck_assert_int_eq(upper.last, -1);
	ck_assert_int_eq(upper.last_errno, ECONNRESET);
	ck_assert_uint_eq(lower.close_count, 1);
	stop(&upper);
}
END_TEST

SUITE_MAIN("vsock", test_number_leads_to_server, test_stream_is_split_into_messages,
	   test_writing_is_left_to_the_end_of_the_turn, test_stream_is_read_in_steps,
	   test_datagram_comes_from_the_server, test_stub_hides_everything_but_the_question,
	   test_message_that_cannot_be_sent_is_answered_later,
	   test_failure_is_forgotten_with_its_socket, test_end_of_a_stream)
