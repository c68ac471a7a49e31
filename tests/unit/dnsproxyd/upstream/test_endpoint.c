/* SPDX-License-Identifier: ISC */
#include "common/container.h"

#include "dnsproxyd/upstream/endpoint.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *text;
	int result;
	enum endpoint_protocol protocol;
	const char *formatted;
} cases[] = {
	{ "9.9.9.9", 0, ENDPOINT_UDP, "9.9.9.9:53" },
	{ "9.9.9.9:5353", 0, ENDPOINT_UDP, "9.9.9.9:5353" },
	{ "2620:fe::fe", 0, ENDPOINT_UDP, "[2620:fe::fe]:53" },
	{ "[2620:fe::fe]:54", 0, ENDPOINT_UDP, "[2620:fe::fe]:54" },
	{ "fe80::1%lo", 0, ENDPOINT_UDP, "[fe80::1%lo]:53" },
	{ "tcp://9.9.9.9", 0, ENDPOINT_TCP, "tcp://9.9.9.9:53" },
	{ "tcp://[fe80::1%lo]:54", 0, ENDPOINT_TCP, "tcp://[fe80::1%lo]:54" },
	{ "fe80::1%nosuchinterface", -ENODEV, 0, NULL },
	{ "::ffff:9.9.9.9", 0, ENDPOINT_UDP, "9.9.9.9:53" },
	{ "tls://[::ffff:9.9.9.9]:443", 0, ENDPOINT_TLS, "tls://9.9.9.9:443" },
	{ "0.0.0.0", 0, ENDPOINT_UDP, "0.0.0.0:53" },
	{ "224.0.0.1", -EADDRNOTAVAIL, 0, NULL },
	{ "tcp://255.255.255.255", -EADDRNOTAVAIL, 0, NULL },
	{ "tls://[ff02::1%lo]:853#a.example", -EADDRNOTAVAIL, 0, NULL },
	{ "https://[::ffff:224.0.0.1]/q", -EADDRNOTAVAIL, 0, NULL },
	{ "tls://9.9.9.9", 0, ENDPOINT_TLS, "tls://9.9.9.9:853" },
	{ "tls://9.9.9.9:443#dns.quad9.net", 0, ENDPOINT_TLS, "tls://9.9.9.9:443#dns.quad9.net" },
	{ "tls://[2620:fe::fe]#dns.quad9.net", 0, ENDPOINT_TLS,
	  "tls://[2620:fe::fe]:853#dns.quad9.net" },
	{ "tls://2620:fe::fe#dns.quad9.net", 0, ENDPOINT_TLS,
	  "tls://[2620:fe::fe]:853#dns.quad9.net" },
	{ "tls://dns.quad9.net", 0, ENDPOINT_TLS, "tls://dns.quad9.net:853" },
	{ "tls://dns.quad9.net:443", 0, ENDPOINT_TLS, "tls://dns.quad9.net:443" },
	{ "tls://router", 0, ENDPOINT_TLS, "tls://router:853" },
	{ "tls://fe80::1%nosuchinterface#a.example", -ENODEV, 0, NULL },
	{ "tls://", -EINVAL, 0, NULL },
	{ "tls://#a.example", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9#", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9#9.9.9.9", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9#a..b", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9#a b", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9#a#b", -EINVAL, 0, NULL },
	{ "tls://9.9.9", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9.9", -EINVAL, 0, NULL },
	{ "tls://a.example#b.example", -EINVAL, 0, NULL },
	{ "tls://a.example.", -EINVAL, 0, NULL },
	{ "tls://a.example:0", -EINVAL, 0, NULL },
	{ "tls://a.example:65536", -EINVAL, 0, NULL },
	{ "tls://a.example:", -EINVAL, 0, NULL },
	{ "tls://a.example:+1", -EINVAL, 0, NULL },
	{ "tls://9.9.9.9/dns-query", -EINVAL, 0, NULL },
	{ "https://9.9.9.9/dns-query#dns.quad9.net", 0, ENDPOINT_HTTPS,
	  "https://9.9.9.9:443/dns-query#dns.quad9.net" },
	{ "https://9.9.9.9", 0, ENDPOINT_HTTPS, "https://9.9.9.9:443/dns-query" },
	{ "https://9.9.9.9#a.example", 0, ENDPOINT_HTTPS,
	  "https://9.9.9.9:443/dns-query#a.example" },
	{ "https://[2620:fe::fe]:8443/a/b?c=d#a.example", 0, ENDPOINT_HTTPS,
	  "https://[2620:fe::fe]:8443/a/b?c=d#a.example" },
	{ "https://dns.quad9.net/q", 0, ENDPOINT_HTTPS, "https://dns.quad9.net:443/q" },
	{ "https://dns.quad9.net:444", 0, ENDPOINT_HTTPS, "https://dns.quad9.net:444/dns-query" },
	{ "https://", -EINVAL, 0, NULL },
	{ "https:///dns-query", -EINVAL, 0, NULL },
	{ "https://9.9.9.9/a b", -EINVAL, 0, NULL },
	{ "https://9.9.9.9/\xc3\xa4", -EINVAL, 0, NULL },
	{ "https://9.9.9.9/dns-query#", -EINVAL, 0, NULL },
	{ "https://user@dns.quad9.net/", -EINVAL, 0, NULL },
	{ "http://9.9.9.9/dns-query", -EPROTONOSUPPORT, 0, NULL },
	{ "9.9.9.9#a.example", -EINVAL, 0, NULL },
	{ "tcp://9.9.9.9#a.example", -EINVAL, 0, NULL },
	{ "udp://9.9.9.9", -EPROTONOSUPPORT, 0, NULL },
	{ "dns.example", -EINVAL, 0, NULL },
	{ "tcp://", -EINVAL, 0, NULL },
	{ "tcp://dns.example", -EINVAL, 0, NULL },
	{ "tcp:9.9.9.9", -EINVAL, 0, NULL },
	{ "TCP://9.9.9.9", -EPROTONOSUPPORT, 0, NULL },
	{ "9.9.9.9:65536", -EINVAL, 0, NULL },
	{ "", -EINVAL, 0, NULL },
};

START_TEST(test_parse_and_format)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[ENDPOINT_TEXT_MAX];
		struct endpoint endpoint;
		struct endpoint again;

		ck_assert_msg(endpoint_parse(cases[i].text, &endpoint) == cases[i].result, "%s",
			      cases[i].text);
		if (cases[i].result < 0) {
			continue;
		}
		ck_assert_int_eq(endpoint.protocol, cases[i].protocol);
		ck_assert_int_eq(endpoint_parse(endpoint_format(&endpoint, text), &again), 0);
		ck_assert(endpoint_equal(&endpoint, &again));
		if (!strchr(text, '%')) { /* which is a name or a number */
			ck_assert_str_eq(text, cases[i].formatted);
		}
	}
}
END_TEST

START_TEST(test_equal)
{
	struct endpoint a;
	struct endpoint b;

	endpoint_parse("9.9.9.9", &a);
	endpoint_parse("tcp://9.9.9.9", &b);
	ck_assert(!endpoint_equal(&a, &b));
	endpoint_parse("9.9.9.9:53", &b);
	ck_assert(endpoint_equal(&a, &b));
	endpoint_parse("9.9.9.9:54", &b);
	ck_assert(!endpoint_equal(&a, &b));
	endpoint_parse("tls://9.9.9.9#a.example", &a);
	endpoint_parse("tls://9.9.9.9#A.Example", &b);
	ck_assert(endpoint_equal(&a, &b));
	ck_assert(endpoint_is_encrypted(&a) && endpoint_is_stream(&a));
	ck_assert(!endpoint_needs_address(&a));
	endpoint_parse("tls://9.9.9.9#b.example", &b);
	ck_assert(!endpoint_equal(&a, &b));
	endpoint_parse("tls://a.example", &a);
	endpoint_parse("tls://a.example:854", &b);
	ck_assert(endpoint_needs_address(&a));
	ck_assert(!endpoint_equal(&a, &b));
}
END_TEST

/* Keys and hashes count up, from 0 and from 100. */
#define DNSCRYPT_STAMP                                                                       \
	"sdns://AQMAAAAAAAAADjE5Mi4wLjIuMTo4NDQzIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4" \
	"fGzIuZG5zY3J5cHQtY2VydC5leGFtcGxlLmNvbQ"
#define TLS_STAMP                                                                              \
	"sdns://AwEAAAAAAAAACTE5Mi4wLjIuMSBkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgw9kbnMuZ" \
	"XhhbXBsZS5jb20"
#define HTTPS_STAMP_BY_NAME "sdns://AgAAAAAAAAAAAAAUZG5zLmV4YW1wbGUuY29tOjg0NDMCL3E"

START_TEST(test_stamps)
{
	char text[ENDPOINT_TEXT_MAX];
	struct endpoint endpoint;
	struct endpoint other;

	ck_assert_int_eq(endpoint_parse(DNSCRYPT_STAMP, &endpoint), 0);
	ck_assert_int_eq(endpoint.protocol, ENDPOINT_DNSCRYPT);
	ck_assert_str_eq(endpoint_format(&endpoint, text),
			 "dnscrypt://192.0.2.1:8443#2.dnscrypt-cert.example.com");
	ck_assert_uint_eq(endpoint.key[31], 31);
	ck_assert(endpoint_is_encrypted(&endpoint) && !endpoint_is_stream(&endpoint));
	ck_assert(!endpoint_has_tls(&endpoint));
	other = endpoint;
	ck_assert(endpoint_equal(&endpoint, &other));
	other.key[0] ^= 1;
	ck_assert(!endpoint_equal(&endpoint, &other));

	ck_assert_int_eq(endpoint_parse(TLS_STAMP, &endpoint), 0);
	ck_assert_str_eq(endpoint_format(&endpoint, text), "tls://192.0.2.1:853#dns.example.com");
	ck_assert_uint_eq(endpoint.hash_count, 1);
	ck_assert_uint_eq(endpoint.hashes[0][0], 100);
	/* What must be found in the certificates makes a difference. */
	ck_assert_int_eq(endpoint_parse(text, &other), 0);
	ck_assert(!endpoint_equal(&endpoint, &other));

	ck_assert_int_eq(endpoint_parse(HTTPS_STAMP_BY_NAME, &endpoint), 0);
	ck_assert_str_eq(endpoint_format(&endpoint, text), "https://dns.example.com:8443/q");
	ck_assert(endpoint_needs_address(&endpoint) && endpoint_is_stream(&endpoint));
	ck_assert_int_eq(endpoint_parse("sdns://AQ", &endpoint), -EINVAL);
	ck_assert_int_eq(endpoint_parse("sdns://BQAAAAAAAAAACWEuZXhhbXBsZQEv", &endpoint),
			 -EPROTONOSUPPORT);
}
END_TEST

SUITE_MAIN("endpoint", test_parse_and_format, test_equal, test_stamps)
