/* SPDX-License-Identifier: ISC */
#include "common/clock.h"
#include "common/container.h"
#include "common/dns/transport.h"

#include "tests/unit/common/fake_clock.h"
#include "tests/unit/common/heard.h"
#include "tests/unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	TYPE_A = 1,
	FORMERR = 1
};

static struct heard *start(const char *ip, uint32_t timeout_ms, uint32_t max_open,
			   void (*on_query)(const struct fake_query *query))
{
	const struct transport_config config = { .timeout_ms = timeout_ms, .max_open = max_open };
	struct heard *heard = heard_new();

	heard_serve(heard, ip, on_query);
	ck_assert(heard_open(heard, &transport_udp, config));
	return heard;
}

/* A datagram transport does not close by itself. */
static void stop(struct heard *heard)
{
	ck_assert_uint_eq(heard->closed_count, 0);
	heard_free(heard);
}

START_TEST(test_answer_comes_as_it_was_sent)
{
	static const char *const ips[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
		struct heard *heard = start(ips[i], 1000, 10, fake_dns_reply_ok);

		ck_assert_int_eq(heard_send(heard, 0xbeef, "wWw.example"), 0);
		ck_assert(run_until(heard->loop, &heard->message_count, 1, 2000));
		heard_expect(heard, 0xbeef, "wWw.example", 0);
		ck_assert_uint_eq(heard->server.udp_count, 1);
		ck_assert_uint_eq(heard->transport->dropped_count, 0);
		stop(heard);
	}
}
END_TEST

static unsigned count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir)) {
		count++;
	}
	closedir(dir);
	return count;
}

/* --- ports ----------------------------------------------------------------------------------- */

enum {
	MANY = 200
};

START_TEST(test_concurrent_queries_leave_from_different_ports)
{
	struct heard *heard = start("127.0.0.1", 2000, MANY, heard_hold);
	static bool used[65536];
	unsigned port_count = 0;

	memset(used, 0, sizeof used);
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(heard_send(heard, (uint16_t)(i * 317 + 5), "port.example"), 0);
	}
	ck_assert(run_until(heard->loop, &heard->held.count, MANY, 2000));
	for (unsigned i = 0; i < MANY; i++) {
		uint16_t port = addr_port(&heard->held.queries[i].client);

		ck_assert_uint_ge(port, 10000);
		port_count += !used[port];
		used[port] = true;
		fake_dns_reply(&heard->held.queries[i], 0);
	}
	ck_assert_uint_gt(port_count, 150);
	ck_assert(run_until(heard->loop, &heard->message_count, MANY, 2000));
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert(heard->ids[(uint16_t)(i * 317 + 5)]);
	}
	stop(heard);
}
END_TEST

START_TEST(test_no_port_serves_two_messages)
{
	struct heard *heard = start("127.0.0.1", 2000, MANY, heard_hold);
	unsigned before = count_descriptors();
	static unsigned uses[65536];
	unsigned port_count = 0;

	memset(uses, 0, sizeof uses);
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(heard_send(heard, (uint16_t)i, "port.example"), 0);
		ck_assert(run_until(heard->loop, &heard->held.count, i + 1, 2000));
		fake_dns_reply(&heard->held.queries[i], 0);
		ck_assert(run_until(heard->loop, &heard->message_count, i + 1, 2000));
		/* The same socket each time. */
		ck_assert_uint_eq(count_descriptors(), before + 1);
		port_count += uses[addr_port(&heard->held.queries[i].client)]++ == 0;
	}
	/* Some are drawn twice: of 200 birthdays in a year of 28,232 days 0.7 pairs. */
	ck_assert_uint_ge(port_count, MANY - 5);
	stop(heard);
}
END_TEST

/* Whatever was sent to the port of one message, even before it was answered, is not there for the
 * next message, that has the same socket. */
static void reply_and_forge(const struct fake_query *query)
{
	heard_hold(query);
	fake_dns_reply(query, 0);
	for (int i = 0; i < 3; i++) {
		struct fake_query forged = *query;
		uint8_t bytes[64];

		ck_assert_uint_le(query->len, sizeof bytes);
		memcpy(bytes, query->bytes, query->len);
		bytes[1] ^= 1;
		forged.bytes = bytes;
		fake_dns_reply(&forged, 0);
	}
}

START_TEST(test_next_message_does_not_meet_what_came_for_the_last)
{
	struct heard *heard = start("127.0.0.1", 1000, MANY, reply_and_forge);

	ck_assert_int_eq(heard_send(heard, 6, "port.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, 1000));
	/* The forged answers to id 6 were answers to id 7. */
	heard->transport->dropped_count = 0;
	ck_assert_int_eq(heard_send(heard, 7, "other.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 2, 1000));
	run_for(heard->loop, 20);
	ck_assert_uint_eq(heard->message_count, 2);
	ck_assert_uint_eq(heard->transport->dropped_count, 0);
	stop(heard);
}
END_TEST

static void hold_and_reply_twice(const struct fake_query *query)
{
	heard_hold(query);
	fake_dns_reply(query, 0);
	fake_dns_reply(query, 0);
}

START_TEST(test_second_answer_finds_no_one)
{
	struct heard *heard = start("127.0.0.1", 1000, MANY, hold_and_reply_twice);

	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(heard_send(heard, 7, "port.example"), 0);
		ck_assert(run_until(heard->loop, &heard->message_count, i + 1, 1000));
		run_for(heard->loop, 20);
	}
	ck_assert_uint_eq(heard->message_count, 2);
	ck_assert_uint_eq(heard->transport->dropped_count, 0);
	stop(heard);
}
END_TEST

static struct addr local_addr(int fd)
{
	struct sockaddr_storage storage = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof storage;

	(void)getsockname(fd, (struct sockaddr *)&storage, &len);
	return addr_from_sockaddr((struct sockaddr *)&storage);
}

/* The descriptor of ours that has this port, or -1. */
static int find_socket_with_port(uint16_t port)
{
	for (int fd = 3; fd < 256; fd++) {
		struct addr addr = local_addr(fd);

		if (addr.sa.sa_family == AF_INET && addr_port(&addr) == port) {
			return fd;
		}
	}
	return -1;
}

/* The kernel may have found the socket for an answer before it lost its port, and put the answer
 * into it after it was emptied. Here that is done by force. */
START_TEST(test_answer_in_a_socket_that_waits_for_nothing)
{
	struct heard *heard = start("127.0.0.1", 1000, MANY, heard_hold);
	struct addr any;
	int fd;

	ck_assert_int_eq(addr_parse_ip("127.0.0.1", &any), 0);
	ck_assert_int_eq(heard_send(heard, 7, "port.example"), 0);
	ck_assert(run_until(heard->loop, &heard->held.count, 1, 1000));
	fd = find_socket_with_port(addr_port(&heard->held.queries[0].client));
	ck_assert_int_ge(fd, 0);
	fake_dns_reply(&heard->held.queries[0], 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, 1000));
	ck_assert_int_eq(bind(fd, &any.sa, addr_len(&any)), 0);
	heard->held.queries[0].client = local_addr(fd);
	fake_dns_reply(&heard->held.queries[0], 0);
	run_for(heard->loop, 20);
	ck_assert_uint_eq(heard->message_count, 1);
	/* All goes on. */
	for (uint16_t id = 8; id < 12; id++) {
		ck_assert_int_eq(heard_send(heard, id, "port.example"), 0);
	}
	ck_assert(run_until(heard->loop, &heard->held.count, 5, 1000));
	for (unsigned i = 1; i < 5; i++) {
		fake_dns_reply(&heard->held.queries[i], 0);
	}
	ck_assert(run_until(heard->loop, &heard->message_count, 5, 1000));
	stop(heard);
}
END_TEST

/* A late answer to one message must not meet the next. */
START_TEST(test_port_without_answer_is_not_used_again)
{
	struct heard *heard;

	clock_stop();
	heard = start("127.0.0.1", 50, MANY, heard_hold);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(heard_send(heard, 7, "port.example"), 0);
		ck_assert(clock_reach(heard->loop, &heard->held.count, i + 1));
		clock_pass(heard->loop, 60);
	}
	ck_assert_uint_eq(heard->held.count, 20);
	for (unsigned i = 1; i < 20; i++) {
		ck_assert_uint_ne(addr_port(&heard->held.queries[i - 1].client),
				  addr_port(&heard->held.queries[i].client));
	}
	stop(heard);
	clock_go_on();
}
END_TEST

/* --- what is dropped ------------------------------------------------------------------------- */

enum {
	BAD_ANSWERS = 9
};

static void reply_badly_then_well(const struct fake_query *query)
{
	uint8_t good[512];
	uint8_t bad[512];
	size_t len = fake_dns_answer(query, 0, good);

	for (unsigned i = 0; i < BAD_ANSWERS; i++) {
		size_t bad_len = len;

		memcpy(bad, good, len);
		switch (i) {
		case 0: /* wrong id */
			bad[1] ^= 1;
			break;
		case 1: /* wrong name */
			bad[13] ^= 1;
			break;
		case 2: /* wrong case */
			bad[13] ^= 0x20;
			break;
		case 3: /* wrong type */
			bad[len - 3] ^= 1;
			break;
		case 4: /* no answer but a query */
			bad[2] &= 0x7f;
			break;
		case 5: /* cut */
			bad_len = len - 1;
			break;
		case 6: /* shorter than a header */
			bad_len = 11;
			break;
		case 7: /* an empty datagram */
			bad_len = 0;
			break;
		default: /* garbage */
			memset(bad, 0xff, sizeof bad);
			bad_len = sizeof bad;
			break;
		}
		fake_dns_send(query, bad, bad_len);
	}
	fake_dns_send(query, good, len);
}

START_TEST(test_wrong_answers_are_dropped_and_the_wait_goes_on)
{
	struct heard *heard = start("127.0.0.1", 2000, 10, reply_badly_then_well);

	ck_assert_int_eq(heard_send(heard, 7, "www.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, 1000));
	ck_assert_uint_eq(heard->transport->dropped_count, BAD_ANSWERS);
	ck_assert_uint_eq(heard->bytes[1], 7);
	run_for(heard->loop, 30);
	ck_assert_uint_eq(heard->message_count, 1);
	stop(heard);
}
END_TEST

static void flood_then_reply(const struct fake_query *query)
{
	for (unsigned i = 0; i < 100; i++) {
		fake_dns_send(query, "garbage", 7);
	}
	fake_dns_reply(query, 0);
}

START_TEST(test_answer_behind_a_flood_is_found)
{
	struct heard *heard = start("127.0.0.1", 2000, 10, flood_then_reply);

	ck_assert_int_eq(heard_send(heard, 7, "www.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, 1000));
	ck_assert_uint_eq(heard->transport->dropped_count, 100);
	stop(heard);
}
END_TEST

/* The client's socket is connected, so the kernel keeps out what comes from elsewhere. */
static void reply_from_elsewhere(const struct fake_query *query)
{
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(sendto(fd, buf, len, 0, &query->client.sa, addr_len(&query->client)),
			 (ssize_t)len);
	close(fd);
}

START_TEST(test_answer_from_elsewhere_cannot_arrive)
{
	struct heard *heard = start("127.0.0.1", 2000, 10, reply_from_elsewhere);

	ck_assert_int_eq(heard_send(heard, 7, "www.example"), 0);
	ck_assert(run_until(heard->loop, &heard->server.udp_count, 1, 1000));
	run_for(heard->loop, 50);
	ck_assert_uint_eq(heard->message_count, 0);
	ck_assert_uint_eq(heard->transport->dropped_count, 0);
	stop(heard);
}
END_TEST

START_TEST(test_header_only_error_gets_its_question_back)
{
	struct heard *heard = start("127.0.0.1", 1000, 10, fake_dns_reply_header_only);

	ck_assert_int_eq(heard_send(heard, 7, "wWw.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, 1000));
	heard_expect(heard, 7, "wWw.example", FORMERR);
	stop(heard);
}
END_TEST

static void reply_long(const struct fake_query *query)
{
	static uint8_t buf[FAKE_DNS_MESSAGE_MAX];
	static const uint8_t rdata[9000];

	fake_dns_send(query, buf,
		      fake_dns_add_record(buf, fake_dns_answer(query, 0, buf), 16, 60, rdata,
					  sizeof rdata));
}

START_TEST(test_long_datagram_comes_whole)
{
	struct heard *heard = start("127.0.0.1", 1000, 10, reply_long);

	ck_assert_int_eq(heard_send(heard, 7, "www.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 1, 1000));
	ck_assert_uint_eq(heard->len, 12 + 13 + 4 + 12 + 9000);
	stop(heard);
}
END_TEST

/* --- failures -------------------------------------------------------------------------------- */

START_TEST(test_icmp_error_fails_each_query_alone)
{
	struct heard *heard = start("127.0.0.1", 5000, 10, NULL);
	uint64_t begin_ms = clock_mono_ms();
	uint8_t expected[512];
	size_t len = fake_dns_query(expected, 9, "www.example", TYPE_A, false);

	heard_stop_server(heard);
	expected[11] = 1; /* the query had an OPT record */
	ck_assert_int_eq(heard_send(heard, 8, "www.example"), 0);
	ck_assert_int_eq(heard_send(heard, 9, "www.example"), 0);
	ck_assert(run_until(heard->loop, &heard->failure_count, 2, 1000));
	ck_assert_uint_lt(clock_mono_ms() - begin_ms, 500);
	ck_assert_int_eq(heard->error, ECONNREFUSED);
	ck_assert(heard->ids[8] && heard->ids[9]);
	ck_assert_uint_eq(heard->len, len);
	ck_assert_mem_eq(heard->bytes + 2, expected + 2, len - 2);
	ck_assert_uint_eq(heard->message_count, 0);
	stop(heard);
}
END_TEST

START_TEST(test_what_cannot_be_sent_is_refused_at_once)
{
	struct heard *heard = start("127.0.0.1", 5000, 2, NULL);
	struct transport_config config = { .timeout_ms = 1000, .max_open = 10 };
	struct transport *first = heard->transport;
	uint8_t query[512];
	size_t len = fake_dns_query(query, 1, "www.example", TYPE_A, false);

	ck_assert_int_eq(heard->transport->ops->send(heard->transport, query, 11), -EINVAL);
	ck_assert_int_eq(heard->transport->ops->send(heard->transport, query, len - 1), -EINVAL);
	ck_assert_int_eq(heard_send(heard, 1, "www.example"), 0);
	ck_assert_int_eq(heard_send(heard, 2, "www.example"), 0);
	ck_assert_int_eq(heard_send(heard, 3, "www.example"), -ENOBUFS);
	ck_assert_int_eq(addr_parse("255.255.255.255:53", 0, &config.server), 0);
	ck_assert(heard_open(heard, &transport_udp, config));
	ck_assert_int_eq(heard_send(heard, 1, "www.example"), 0);
	ck_assert_uint_eq(heard->failure_count, 0);
	loop_turn(heard->loop, 0);
	ck_assert_uint_eq(heard->failure_count, 1);
	ck_assert_int_gt(heard->error, 0);
	first->ops->close(first);
	stop(heard);
}
END_TEST

START_TEST(test_silence_ends_the_wait_and_frees_the_socket)
{
	struct heard *heard;
	unsigned before;

	clock_stop();
	heard = start("127.0.0.1", 300, 10, heard_hold);
	before = count_descriptors();
	ck_assert_int_eq(heard_send(heard, 1, "www.example"), 0);
	ck_assert_int_eq(heard_send(heard, 2, "www.example"), 0);
	clock_pass(heard->loop, 150);
	ck_assert_int_eq(heard_send(heard, 3, "www.example"), 0);
	ck_assert_uint_eq(count_descriptors(), before + 3);
	ck_assert(clock_reach(heard->loop, &heard->held.count, 3));
	/* The two that are over are kept for the next messages, until nothing is asked any more. */
	clock_pass(heard->loop, 299);
	ck_assert_uint_eq(count_descriptors(), before + 3);
	clock_pass(heard->loop, 1);
	ck_assert_uint_eq(count_descriptors(), before);
	fake_dns_reply(&heard->held.queries[0], 0);
	clock_pass(heard->loop, 20);
	ck_assert_uint_eq(heard->message_count, 0);
	ck_assert_uint_eq(heard->failure_count, 0);
	stop(heard);
	clock_go_on();
}
END_TEST

/* --- re-entrancy ----------------------------------------------------------------------------- */

START_TEST(test_close_within_an_upcall_with_more_answers_ready)
{
	struct heard *heard = start("127.0.0.1", 1000, 50, heard_hold);

	for (uint16_t id = 0; id < 50; id++) {
		ck_assert_int_eq(heard_send(heard, id, "www.example"), 0);
	}
	ck_assert(run_until(heard->loop, &heard->held.count, 50, 1000));
	heard->close_at_once = true;
	for (unsigned i = 0; i < 50; i++) {
		fake_dns_reply(&heard->held.queries[i], 0);
	}
	run_for(heard->loop, 50);
	ck_assert_uint_eq(heard->message_count, 1);
	ck_assert_ptr_null(heard->transport);
	stop(heard);
}
END_TEST

START_TEST(test_send_within_an_upcall)
{
	struct heard *heard = start("127.0.0.1", 1000, 1, fake_dns_reply_ok);

	heard->send_more = 100;
	ck_assert_int_eq(heard_send(heard, 1000, "www.example"), 0);
	ck_assert(run_until(heard->loop, &heard->message_count, 101, 2000));
	ck_assert(heard->ids[1] && heard->ids[100]);
	stop(heard);
}
END_TEST

SUITE_MAIN("transport_udp", test_answer_comes_as_it_was_sent,
	   test_concurrent_queries_leave_from_different_ports, test_no_port_serves_two_messages,
	   test_next_message_does_not_meet_what_came_for_the_last, test_second_answer_finds_no_one,
	   test_answer_in_a_socket_that_waits_for_nothing,
	   test_port_without_answer_is_not_used_again,
	   test_wrong_answers_are_dropped_and_the_wait_goes_on, test_answer_behind_a_flood_is_found,
	   test_answer_from_elsewhere_cannot_arrive, test_header_only_error_gets_its_question_back,
	   test_long_datagram_comes_whole, test_icmp_error_fails_each_query_alone,
	   test_what_cannot_be_sent_is_refused_at_once,
	   test_silence_ends_the_wait_and_frees_the_socket,
	   test_close_within_an_upcall_with_more_answers_ready, test_send_within_an_upcall)
