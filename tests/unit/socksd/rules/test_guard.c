/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/rules/guard.h"

#include "tests/unit/suite.h"

#include <string.h>

/* Listeners of the host in the tests. What is a wildcard here has a port of its own. */
static const char *const listener_texts[] = {
	"127.0.0.1:1080", "[::1]:1080", "192.168.1.1:1080",      "[2001:db8::53]:1080",
	"0.0.0.0:1081",   "[::]:1082",  "[::ffff:0.0.0.0]:1083", "[::ffff:192.168.1.2]:1084",
};

#define LAN   "192.168.1.7:50000" /* a client in the LAN */
#define LAN6  "[2001:db8::7]:50000"
#define HERE  "127.0.0.1:50000" /* a client on this host */
#define HERE6 "[::1]:50000"

static const struct {
	const char *client;
	const char *local;
	const char *destination;
	const char *verdict;
} cases[] = {
	/* what people do all day */
	{ LAN, "192.168.1.1:1080", "9.9.9.9:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "[2620:fe::fe]:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "10.1.2.3:22", "allowed" },
	{ LAN, "192.168.1.1:1080", "192.168.1.1:22", "allowed" },
	{ LAN, "192.168.1.1:1080", "[fd12:3456::1]:22", "allowed" },
	{ LAN, "192.168.1.1:1080", "100.64.0.1:80", "allowed" },
	/* unspecified: also for clients on this host */
	{ LAN, "192.168.1.1:1080", "0.0.0.0:80", "unspecified" },
	{ LAN, "192.168.1.1:1080", "0.1.2.3:80", "unspecified" },
	{ LAN, "192.168.1.1:1080", "[::]:80", "unspecified" },
	{ LAN, "192.168.1.1:1080", "[::ffff:0.0.0.0]:80", "unspecified" },
	{ HERE, "127.0.0.1:1080", "0.0.0.0:80", "unspecified" },
	/* loopback: for loopback only */
	{ LAN, "192.168.1.1:1080", "127.0.0.1:80", "loopback" },
	{ LAN, "192.168.1.1:1080", "127.255.255.254:80", "loopback" },
	{ LAN, "192.168.1.1:1080", "[::1]:80", "loopback" },
	{ LAN, "192.168.1.1:1080", "[::ffff:127.0.0.1]:80", "loopback" },
	{ LAN, "192.168.1.1:1080", "127.0.0.1:1080", "loopback" },
	{ LAN6, "[2001:db8::53]:1080", "[::1]:80", "loopback" },
	{ HERE, "127.0.0.1:1080", "127.0.0.1:80", "allowed" },
	{ HERE, "127.0.0.1:1080", "127.0.0.53:53", "allowed" },
	{ HERE, "127.0.0.1:1080", "[::1]:80", "allowed" },
	{ HERE6, "[::1]:1080", "127.0.0.1:80", "allowed" },
	{ "[::ffff:127.0.0.1]:5", "127.0.0.1:1080", "127.0.0.1:80", "allowed" },
	{ "[::ffff:10.0.0.1]:5", "192.168.1.1:1080", "127.0.0.1:80", "loopback" },
	/* never */
	{ LAN, "192.168.1.1:1080", "169.254.1.1:80", "link_local" },
	{ HERE, "127.0.0.1:1080", "169.254.1.1:80", "link_local" },
	{ LAN, "192.168.1.1:1080", "[fe80::1]:80", "link_local" },
	{ LAN, "192.168.1.1:1080", "224.0.0.251:5353", "multicast" },
	{ LAN, "192.168.1.1:1080", "[ff02::fb]:5353", "multicast" },
	{ LAN, "192.168.1.1:1080", "239.255.255.250:1900", "multicast" },
	{ LAN, "192.168.1.1:1080", "255.255.255.255:67", "reserved" },
	{ LAN, "192.168.1.1:1080", "240.0.0.1:80", "reserved" },
	{ HERE, "127.0.0.1:1080", "255.255.255.255:67", "reserved" },
	/* cloud metadata */
	{ LAN, "192.168.1.1:1080", "169.254.169.254:80", "metadata" },
	{ HERE, "127.0.0.1:1080", "169.254.169.254:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "[::ffff:169.254.169.254]:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "169.254.170.2:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "169.254.170.23:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "100.100.100.200:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "168.63.129.16:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "192.0.0.192:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "[fd00:ec2::254]:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "[fd00:ec2::23]:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "[fd20:ce::254]:80", "metadata" },
	{ LAN, "192.168.1.1:1080", "169.254.169.253:53", "link_local" },
	{ LAN, "192.168.1.1:1080", "100.100.100.201:80", "allowed" },
	{ LAN, "192.168.1.1:1080", "[fd00:ec2::253]:53", "allowed" },
	/* ourselves, by address */
	{ LAN, "192.168.1.1:1080", "192.168.1.1:1080", "own_listener" },
	{ LAN, "192.168.1.1:1080", "[::ffff:192.168.1.1]:1080", "own_listener" },
	{ LAN, "192.168.1.1:1080", "[2001:db8::53]:1080", "own_listener" },
	{ HERE, "127.0.0.1:1080", "127.0.0.1:1080", "own_listener" },
	{ HERE, "127.0.0.1:1080", "[::1]:1080", "own_listener" },
	{ HERE, "127.0.0.1:1080", "127.0.0.2:1080", "allowed" },
	{ LAN, "192.168.1.1:1080", "192.168.1.2:1080", "allowed" },
	{ LAN, "192.168.1.1:1080", "192.168.1.1:1079", "allowed" },
	/* ourselves, by wildcard: the address the client used, and loopback */
	{ LAN, "192.168.1.1:1081", "192.168.1.1:1081", "own_listener" },
	{ LAN, "[::ffff:192.168.1.1]:1081", "192.168.1.1:1081", "own_listener" },
	{ HERE, "127.0.0.1:1081", "127.0.0.1:1081", "own_listener" },
	{ HERE, "127.0.0.1:1081", "127.1.2.3:1081", "own_listener" },
	{ HERE, "127.0.0.1:1081", "[::1]:1081", "allowed" },
	{ LAN, "192.168.1.1:1081", "192.168.1.2:1081", "allowed" },
	{ LAN6, "[2001:db8::99]:1082", "[2001:db8::99]:1082", "own_listener" },
	{ LAN, "192.168.1.1:1082", "192.168.1.1:1082", "own_listener" },
	{ HERE6, "[::1]:1082", "[::1]:1082", "own_listener" },
	{ HERE, "127.0.0.1:1082", "127.0.0.1:1082", "own_listener" },
	{ LAN, "192.168.1.1:1083", "192.168.1.1:1083", "own_listener" },
	{ LAN, "192.168.1.2:1084", "192.168.1.2:1084", "own_listener" },
	{ LAN6, "[2001:db8::99]:1083", "[2001:db8::99]:1083", "allowed" },
	{ LAN6, "[2001:db8::99]:1081", "[2001:db8::99]:1081", "allowed" },
	/* IPv4 in other clothes */
	{ LAN, "192.168.1.1:1080", "[::127.0.0.1]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::127.0.0.1]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::169.254.169.254]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::224.0.0.1]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::0.0.0.0]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::192.168.1.1]:1080", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b:1::169.254.169.254]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b:1:fffe::169.254.169.254]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[::ffff:0:127.0.0.1]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[2002:7f00:1::]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[2002:a9fe:a9fe::1]:80", "embedded" },
	{ HERE, "127.0.0.1:1080", "[2002:a9fe:a9fe::1]:80", "embedded" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::9.9.9.9]:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b::10.0.0.1]:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b:1::9.9.9.9]:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "[2002:909:909::1]:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "[64:ff9b:2::127.0.0.1]:443", "allowed" },
	{ LAN, "192.168.1.1:1080", "[::2]:443", "embedded" },
};

START_TEST(test_check)
{
	struct addr listeners[ARRAY_SIZE(listener_texts)];

	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		ck_assert_int_eq(addr_parse(listener_texts[i], 0, &listeners[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr client;
		struct addr local;
		struct addr destination;
		const struct guard_context context = {
			.client = &client,
			.local = &local,
			.listeners = listeners,
			.listener_count = ARRAY_SIZE(listeners),
		};
		const char *verdict;

		ck_assert_int_eq(addr_parse(cases[i].client, 0, &client), 0);
		ck_assert_int_eq(addr_parse(cases[i].local, 0, &local), 0);
		ck_assert_int_eq(addr_parse(cases[i].destination, 0, &destination), 0);
		verdict = guard_verdict_name(guard_check(&context, &destination));
		ck_assert_msg(strcmp(verdict, cases[i].verdict) == 0, "%s -> %s: %s, not %s",
			      cases[i].client, cases[i].destination, verdict, cases[i].verdict);
	}
}
END_TEST

START_TEST(test_no_listeners)
{
	const struct addr none = { .sa = { .sa_family = AF_UNSPEC } };
	struct addr client;
	struct addr destination;
	struct guard_context context = { .client = &client, .local = &client };

	ck_assert_int_eq(addr_parse(HERE, 0, &client), 0);
	ck_assert_int_eq(addr_parse("127.0.0.1:1080", 0, &destination), 0);
	ck_assert_int_eq(guard_check(&context, &destination), GUARD_ALLOWED);
	/* No address at all is never a place to go to, nor a trusted client. */
	ck_assert_int_eq(guard_check(&context, &none), GUARD_UNSPECIFIED);
	context.client = &none;
	ck_assert_int_eq(guard_check(&context, &destination), GUARD_LOOPBACK);
}
END_TEST

SUITE_MAIN("guard", test_check, test_no_listeners)
