/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/stream/socks_client.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *text;
	int result;
	const char *addr;
	const char *user;
	const char *password;
} proxy_cases[] = {
	{ "socks5://127.0.0.1", 0, "127.0.0.1:1080", "", "" },
	{ "socks5://127.0.0.1:9050", 0, "127.0.0.1:9050", "", "" },
	{ "socks5://[::1]:9050", 0, "[::1]:9050", "", "" },
	{ "socks5://me:secret@127.0.0.1:9050", 0, "127.0.0.1:9050", "me", "secret" },
	{ "socks5://me:a:b@c@[::1]", 0, "[::1]:1080", "me", "a:b@c" },
	{ "socks5://[::ffff:127.0.0.1]:9050", 0, "127.0.0.1:9050", "", "" },
	{ "socks5://224.0.0.1", -EADDRNOTAVAIL, NULL, NULL, NULL },
	{ "socks5://me:secret@[ff02::1%lo]:1080", -EADDRNOTAVAIL, NULL, NULL, NULL },
	{ "socks5://255.255.255.255", -EADDRNOTAVAIL, NULL, NULL, NULL },
	{ "socks5://me@127.0.0.1", -EINVAL, NULL, NULL, NULL },
	{ "socks5://:secret@127.0.0.1", -EINVAL, NULL, NULL, NULL },
	{ "socks5://me:@127.0.0.1", -EINVAL, NULL, NULL, NULL },
	{ "socks5://proxy.example:1080", -EINVAL, NULL, NULL, NULL },
	{ "socks5://", -EINVAL, NULL, NULL, NULL },
	{ "socks4://127.0.0.1", -EINVAL, NULL, NULL, NULL },
	{ "127.0.0.1:1080", -EINVAL, NULL, NULL, NULL },
};

START_TEST(test_parse)
{
	for (size_t i = 0; i < ARRAY_SIZE(proxy_cases); i++) {
		struct socks_proxy proxy;
		struct socks_proxy other;
		char text[ADDR_TEXT_MAX];

		ck_assert_msg(socks_proxy_parse(proxy_cases[i].text, &proxy) ==
				      proxy_cases[i].result,
			      "%s", proxy_cases[i].text);
		if (proxy_cases[i].result < 0) {
			continue;
		}
		ck_assert_str_eq(addr_format(&proxy.addr, text, sizeof text), proxy_cases[i].addr);
		ck_assert_str_eq(proxy.user, proxy_cases[i].user);
		ck_assert_str_eq(proxy.password, proxy_cases[i].password);
		other = proxy;
		ck_assert(socks_proxy_equal(&proxy, &other));
		other.password[0] ^= 1;
		ck_assert(!socks_proxy_equal(&proxy, &other));
	}
}
END_TEST

static struct socks_route route;
static struct socks_client client;

/* What is to be sent now must be this. */
static void assert_out(const char *bytes, size_t len)
{
	ck_assert_uint_eq(client.out_len, len);
	ck_assert_mem_eq(client.out, bytes, len);
	/* In two pieces. */
	socks_client_sent(&client, 1);
	ck_assert_mem_eq(client.out, bytes + 1, len - 1);
	socks_client_sent(&client, len - 1);
	ck_assert_uint_eq(client.out_len, 0);
}

#define ASSERT_OUT(literal) assert_out(literal, sizeof(literal) - 1)

/* One byte at a time; never more is wanted than is the proxy's. */
static int take(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int r;

		ck_assert_uint_ge(socks_client_want(&client), 1);
		r = socks_client_take(&client, (const uint8_t *)bytes + i, 1);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

#define TAKE(literal) take(literal, sizeof(literal) - 1)

static void begin(const char *proxy, const char *addr, const char *name)
{
	memset(&route, 0, sizeof route);
	ck_assert_int_eq(socks_proxy_parse(proxy, &route.proxy), 0);
	if (addr) {
		ck_assert_int_eq(addr_parse(addr, 853, &route.addr), 0);
	}
	if (name) {
		memcpy(route.name, name, strlen(name));
	}
	route.port = 853;
	socks_client_init(&client, &route);
}

START_TEST(test_ipv4)
{
	begin("socks5://127.0.0.1", "9.9.9.9", "dns.example");
	ASSERT_OUT("\5\1\0");
	ck_assert_int_eq(TAKE("\5\0"), 0);
	ASSERT_OUT("\5\1\0\1\x9\x9\x9\x9\x03\x55");
	ck_assert_int_eq(TAKE("\5\0\0\1\x7f\0\0\1\x12\x34"), 0);
	ck_assert(socks_client_is_done(&client));
	ck_assert_uint_eq(socks_client_want(&client), 0);
}
END_TEST

START_TEST(test_ipv6_with_password)
{
	begin("socks5://me:secret@127.0.0.1", "2001:db8::1", NULL);
	ASSERT_OUT("\5\1\2");
	ck_assert_int_eq(TAKE("\5\2"), 0);
	ASSERT_OUT("\1\2me\6secret");
	ck_assert_int_eq(TAKE("\1\0"), 0);
	ASSERT_OUT("\5\1\0\4\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x03\x55");
	ck_assert_int_eq(TAKE("\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0);
	ck_assert(socks_client_is_done(&client));
}
END_TEST

START_TEST(test_name)
{
	begin("socks5://127.0.0.1", NULL, "dns.example");
	ASSERT_OUT("\5\1\0");
	ck_assert_int_eq(TAKE("\5\0"), 0);
	ASSERT_OUT("\5\1\0\3\13dns.example\x03\x55");
	ck_assert_int_eq(TAKE("\5\0\0\3\4host\0\0"), 0);
	ck_assert(socks_client_is_done(&client));
}
END_TEST

static const struct {
	const char *what;
	const char *bytes;
	size_t len;
	int error;
} failures[] = {
#define CASE(what, bytes, error)                      \
	{                                             \
		what, bytes, sizeof(bytes) - 1, error \
	}
	CASE("no SOCKS", "HT", -EPROTO),
	CASE("SOCKS4", "\0\x5a", -EPROTO),
	CASE("no method", "\5\xff", -EACCES),
	CASE("wants a password", "\5\2", -EPROTO),
	CASE("other method", "\5\1", -EPROTO),
	CASE("general failure", "\5\0\5\1\0\1\0", -ECONNABORTED),
	CASE("not allowed", "\5\0\5\2\0\1\0", -EACCES),
	CASE("network unreachable", "\5\0\5\3\0\1\0", -ENETUNREACH),
	CASE("host unreachable", "\5\0\5\4\0\1\0", -EHOSTUNREACH),
	CASE("refused", "\5\0\5\5\0\1\0", -ECONNREFUSED),
	CASE("TTL expired", "\5\0\5\6\0\1\0", -ETIMEDOUT),
	CASE("unknown command", "\5\0\5\7\0\1\0", -EPROTO),
	CASE("unknown reply", "\5\0\5\x90\0\1\0", -EPROTO),
	CASE("unknown address", "\5\0\5\0\0\2\0", -EPROTO),
	CASE("version in the reply", "\5\0\4\0\0\1\0", -EPROTO),
};

START_TEST(test_failures)
{
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		begin("socks5://127.0.0.1", "9.9.9.9", NULL);
		ck_assert_msg(take(failures[i].bytes, failures[i].len) == failures[i].error, "%s",
			      failures[i].what);
		ck_assert(!socks_client_is_done(&client));
	}
	begin("socks5://me:secret@127.0.0.1", "9.9.9.9", NULL);
	ck_assert_int_eq(TAKE("\5\2\1\1"), -EACCES);
	/* A proxy that wants no password from somebody who has one is another one. */
	begin("socks5://me:secret@127.0.0.1", "9.9.9.9", NULL);
	ck_assert_int_eq(TAKE("\5\0"), -EPROTO);
}
END_TEST

SUITE_MAIN("socks_client", test_parse, test_ipv4, test_ipv6_with_password, test_name, test_failures)
