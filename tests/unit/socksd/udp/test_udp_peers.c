/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/udp/udp_peers.h"

#include "tests/unit/suite.h"

static const struct crypto_key key = { { 1, 2, 3 } };

static struct udp_peers *make(enum udp_filtering filtering, size_t max_peers)
{
	const struct udp_peers_config config = { .max_peers = max_peers,
						 .life_ms = 1000,
						 .filtering = filtering };
	struct udp_peers *peers = udp_peers_new(&config, &key);

	ck_assert_ptr_nonnull(peers);
	return peers;
}

static struct addr at(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(text, 0, &a), 0);
	return a;
}

static struct addr numbered(uint32_t n)
{
	uint8_t ip[4] = { 10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };

	return addr_from_ipv4(ip, 53);
}

static void contact(struct udp_peers *peers, const struct addr *a, uint64_t now_ms)
{
	udp_peers_contact(peers, udp_peers_add(peers, a, true, now_ms), now_ms);
}

START_TEST(test_verdicts)
{
	struct udp_peers *peers = make(UDP_FILTERING_ENDPOINT_INDEPENDENT, 64);
	struct addr a = at("192.0.2.1:53");
	struct addr b = at("192.0.2.1:54");
	struct addr c = at("[2001:db8::1]:53");
	struct udp_peer *peer;

	ck_assert_ptr_null(udp_peers_find(peers, &a, 0));
	peer = udp_peers_add(peers, &a, true, 0);
	ck_assert_int_eq(peer->verdict, UDP_VERDICT_NONE);
	peer->verdict = UDP_VERDICT_ALLOWED;
	peer->socket = 3;
	udp_peers_add(peers, &c, false, 0)->verdict = UDP_VERDICT_DENIED;
	ck_assert_ptr_null(udp_peers_find(peers, &b, 0));
	peer = udp_peers_find(peers, &a, 999);
	ck_assert(peer && peer->verdict == UDP_VERDICT_ALLOWED && peer->socket == 3);
	ck_assert_int_eq(udp_peers_find(peers, &c, 999)->verdict, UDP_VERDICT_DENIED);
	/* Adding again changes nothing. */
	ck_assert_ptr_eq(udp_peers_add(peers, &a, true, 999), udp_peers_find(peers, &a, 999));
	ck_assert_int_eq(udp_peers_find(peers, &a, 999)->verdict, UDP_VERDICT_ALLOWED);
	/* To the millisecond; being sent to prolongs it. */
	ck_assert_ptr_null(udp_peers_find(peers, &c, 1000));
	udp_peers_contact(peers, udp_peers_find(peers, &a, 999), 999);
	ck_assert_ptr_nonnull(udp_peers_find(peers, &a, 1998));
	ck_assert_ptr_null(udp_peers_find(peers, &a, 1999));
	udp_peers_free(peers);
}
END_TEST

START_TEST(test_clear)
{
	struct udp_peers *peers = make(UDP_FILTERING_ENDPOINT_INDEPENDENT, 64);
	struct addr a = at("192.0.2.1:53");

	contact(peers, &a, 0);
	udp_peers_clear(peers);
	ck_assert_ptr_null(udp_peers_find(peers, &a, 0));
	udp_peers_free(peers);
	udp_peers_free(NULL);
}
END_TEST

START_TEST(test_filtering)
{
	static const struct {
		enum udp_filtering filtering;
		bool other_port;
		bool other_address;
	} cases[] = {
		{ UDP_FILTERING_ENDPOINT_INDEPENDENT, true, true },
		{ UDP_FILTERING_ADDRESS, true, false },
		{ UDP_FILTERING_ADDRESS_AND_PORT, false, false },
	};
	struct addr a = at("192.0.2.1:53");
	struct addr port = at("192.0.2.1:54");
	struct addr other = at("192.0.2.2:53");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct udp_peers *peers = make(cases[i].filtering, 64);
		bool open = cases[i].other_address;

		ck_assert(udp_peers_pass(peers, &a, 0) == open);
		/* Judged, but not sent to. */
		udp_peers_add(peers, &a, false, 0);
		ck_assert(udp_peers_pass(peers, &a, 0) == open);
		contact(peers, &a, 0);
		ck_assert(udp_peers_pass(peers, &a, 999));
		ck_assert(udp_peers_pass(peers, &port, 999) == cases[i].other_port);
		ck_assert(udp_peers_pass(peers, &other, 999) == cases[i].other_address);
		ck_assert(udp_peers_pass(peers, &a, 1000) == open);
		udp_peers_free(peers);
	}
}
END_TEST

/* Sent to all the time, the whole address stays open as long as the port. */
START_TEST(test_address_stays_open)
{
	struct udp_peers *peers = make(UDP_FILTERING_ADDRESS, 64);
	struct addr a = at("192.0.2.1:53");
	struct addr port = at("192.0.2.1:54");

	for (uint64_t now_ms = 0; now_ms < 5000; now_ms += 10) {
		contact(peers, &a, now_ms);
		ck_assert(udp_peers_pass(peers, &port, now_ms));
	}
	udp_peers_free(peers);
}
END_TEST

START_TEST(test_bounded)
{
	struct udp_peers *peers = make(UDP_FILTERING_ADDRESS_AND_PORT, 256);
	size_t found = 0;

	ck_assert_uint_eq(udp_peers_capacity(peers), 8);
	for (uint32_t n = 0; n < 10000; n++) {
		struct addr a = numbered(n);

		contact(peers, &a, n / 100);
		ck_assert(udp_peers_pass(peers, &a, n / 100));
	}
	ck_assert_uint_eq(udp_peers_capacity(peers), 256);
	/* Those sent to last are there. */
	for (uint32_t n = 9900; n < 10000; n++) {
		struct addr a = numbered(n);

		found += udp_peers_find(peers, &a, 100) != NULL;
	}
	ck_assert_uint_gt(found, 90);
	udp_peers_free(peers);
}
END_TEST

/* Before it grows, what is forgotten makes room. */
START_TEST(test_forgotten_first)
{
	struct udp_peers *peers = make(UDP_FILTERING_ADDRESS_AND_PORT, 1024);

	for (uint32_t n = 0; n < 1000; n++) {
		struct addr a = numbered(n);

		contact(peers, &a, (uint64_t)n * 1000);
	}
	ck_assert_uint_eq(udp_peers_capacity(peers), 8);
	udp_peers_free(peers);
}
END_TEST

/* However many strangers write, those that the client talks to are not forgotten for them. */
START_TEST(test_strangers_give_way)
{
	struct udp_peers *peers = make(UDP_FILTERING_ENDPOINT_INDEPENDENT, 8);
	unsigned refused = 0;

	for (uint32_t n = 0; n < 8; n++) {
		struct addr a = numbered(n);

		contact(peers, &a, 0);
	}
	for (uint32_t n = 100; n < 1000; n++) {
		struct addr a = numbered(n);

		refused += udp_peers_add(peers, &a, false, 1) == NULL;
	}
	ck_assert_uint_eq(refused, 900);
	for (uint32_t n = 0; n < 8; n++) {
		struct addr a = numbered(n);

		ck_assert_ptr_nonnull(udp_peers_find(peers, &a, 1));
	}
	/* One that it sends to takes the place of the one unused for longest. */
	for (uint32_t n = 1; n < 8; n++) {
		struct addr a = numbered(n);

		contact(peers, &a, 2);
	}
	contact(peers, &(struct addr){ .in4 = numbered(2000).in4 }, 3);
	ck_assert_ptr_null(udp_peers_find(peers, &(struct addr){ .in4 = numbered(0).in4 }, 3));
	ck_assert_ptr_nonnull(udp_peers_find(peers, &(struct addr){ .in4 = numbered(1).in4 }, 3));
	udp_peers_free(peers);
}
END_TEST

SUITE_MAIN("udp_peers", test_verdicts, test_clear, test_filtering, test_address_stays_open,
	   test_bounded, test_forgotten_first, test_strangers_give_way)
