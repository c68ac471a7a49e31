/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/dns/stamp.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

/* Keys and hashes here count up: 0, 1, 2, ..., or from 100, or from 132. */
#define DNSCRYPT_STAMP                                                                       \
	"sdns://AQMAAAAAAAAADjE5Mi4wLjIuMTo4NDQzIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4" \
	"fGzIuZG5zY3J5cHQtY2VydC5leGFtcGxlLmNvbQ"
#define DNSCRYPT_STAMP_V6                                                                     \
	"sdns://AQAAAAAAAAAADVsyMDAxOmRiODo6MV0gAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8b" \
	"Mi5kbnNjcnlwdC1jZXJ0LmV4YW1wbGUuY29t"
#define HTTPS_STAMP                                                                            \
	"sdns://AgcAAAAAAAAACTE5Mi4wLjIuMaBkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgyCEhYaHi" \
	"ImKi4yNjo-QkZKTlJWWl5iZmpucnZ6foKGiow9kbnMuZXhhbXBsZS5jb20KL2Rucy1xdWVyeYoxOTIuMC4yL" \
	"jUzE1syMDAxOmRiODo6NTNdOjUzNTM"
#define HTTPS_STAMP_BY_NAME "sdns://AgAAAAAAAAAAAAAUZG5zLmV4YW1wbGUuY29tOjg0NDMCL3E"
#define HTTPS_STAMP_PORT    "sdns://AgAAAAAAAAAABDo0NDQAD2Rucy5leGFtcGxlLmNvbQIvcQ"
#define TLS_STAMP                                                                              \
	"sdns://AwEAAAAAAAAACTE5Mi4wLjIuMSBkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgw9kbnMuZ" \
	"XhhbXBsZS5jb20"

static void assert_counts_from(const uint8_t *bytes, uint8_t first)
{
	for (unsigned i = 0; i < STAMP_KEY_BYTES; i++) {
		ck_assert_uint_eq(bytes[i], first + i);
	}
}

static void assert_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_TEXT_MAX];

	ck_assert_str_eq(addr_format(a, buf, sizeof buf), text);
}

static struct stamp parse(const char *text)
{
	struct stamp stamp;

	ck_assert_int_eq(stamp_parse(text, &stamp), 0);
	return stamp;
}

START_TEST(test_dnscrypt)
{
	struct stamp stamp = parse(DNSCRYPT_STAMP);

	ck_assert_int_eq(stamp.kind, STAMP_DNSCRYPT);
	ck_assert_uint_eq(stamp.properties, 3);
	assert_addr(&stamp.addr, "192.0.2.1:8443");
	ck_assert_uint_eq(stamp.port, 8443);
	assert_counts_from(stamp.key, 0);
	ck_assert_str_eq(stamp.name, "2.dnscrypt-cert.example.com");
	stamp = parse(DNSCRYPT_STAMP_V6);
	assert_addr(&stamp.addr, "[2001:db8::1]:443");
}
END_TEST

START_TEST(test_https)
{
	struct stamp stamp = parse(HTTPS_STAMP);

	ck_assert_int_eq(stamp.kind, STAMP_HTTPS);
	ck_assert_uint_eq(stamp.properties, 7);
	assert_addr(&stamp.addr, "192.0.2.1:443");
	ck_assert_uint_eq(stamp.hash_count, 2);
	assert_counts_from(stamp.hashes[0], 100);
	assert_counts_from(stamp.hashes[1], 132);
	ck_assert_str_eq(stamp.name, "dns.example.com");
	ck_assert_str_eq(stamp.path, "/dns-query");
	ck_assert_uint_eq(stamp.bootstrap_count, 2);
	assert_addr(&stamp.bootstraps[0], "192.0.2.53:53");
	assert_addr(&stamp.bootstraps[1], "[2001:db8::53]:5353");
}
END_TEST

START_TEST(test_by_name)
{
	struct stamp stamp = parse(HTTPS_STAMP_BY_NAME);

	ck_assert_int_eq(stamp.addr.sa.sa_family, AF_UNSPEC);
	ck_assert_uint_eq(stamp.port, 8443);
	ck_assert_str_eq(stamp.name, "dns.example.com");
	ck_assert_str_eq(stamp.path, "/q");
	ck_assert_uint_eq(stamp.hash_count, 0);
	stamp = parse(HTTPS_STAMP_PORT);
	ck_assert_int_eq(stamp.addr.sa.sa_family, AF_UNSPEC);
	ck_assert_uint_eq(stamp.port, 444);
}
END_TEST

START_TEST(test_tls)
{
	struct stamp stamp = parse(TLS_STAMP);

	ck_assert_int_eq(stamp.kind, STAMP_TLS);
	assert_addr(&stamp.addr, "192.0.2.1:853");
	ck_assert_uint_eq(stamp.hash_count, 1);
	ck_assert_str_eq(stamp.path, "");
}
END_TEST

static const struct {
	const char *what;
	const char *text;
	int error;
} bad_cases[] = {
	{ "other scheme", "https://dns.example.com/", -EINVAL },
	{ "nothing", "sdns://", -EINVAL },
	{ "no base64", "sdns://!!!!", -EINVAL },
	{ "unknown kind", "sdns://BQAAAAAAAAAACWEuZXhhbXBsZQEv", -EPROTONOSUPPORT },
	{ "kind only", "sdns://AQ", -EINVAL },
	{ "short key",
	  "sdns://AQAAAAAAAAAACTE5Mi4wLjIuMR8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eAzIueA",
	  -EINVAL },
	{ "no address", "sdns://AQAAAAAAAAAAACAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwMyLng",
	  -EINVAL },
	{ "host name as address",
	  "sdns://AQAAAAAAAAAAC2Rucy5leGFtcGxlIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAzIueA",
	  -EINVAL },
	{ "bytes behind",
	  "sdns://AQAAAAAAAAAACTE5Mi4wLjIuMSAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwMyLngA",
	  -EINVAL },
	{ "cut",
	  "sdns://AQAAAAAAAAAACTE5Mi4wLjIuMSAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwVhYmM",
	  -EINVAL },
	{ "no name",
	  "sdns://AwAAAAAAAAAACTE5Mi4wLjIuMSBkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgwA",
	  -EINVAL },
	{ "line break in the name",
	  "sdns://AwAAAAAAAAAACTE5Mi4wLjIuMSBkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgwNhCmI",
	  -EINVAL },
	{ "slash in the name",
	  "sdns://AwAAAAAAAAAACTE5Mi4wLjIuMSBkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgwNhL2I",
	  -EINVAL },
	{ "short hash",
	  "sdns://AwAAAAAAAAAACTE5Mi4wLjIuMRRkZWZnaGlqa2xtbm9wcXJzdHV2dwlhLmV4YW1wbGU", -EINVAL },
	{ "path without slash", "sdns://AgAAAAAAAAAACTE5Mi4wLjIuMQAJYS5leGFtcGxlA2Rucw", -EINVAL },
	{ "space in the path", "sdns://AgAAAAAAAAAACTE5Mi4wLjIuMQAJYS5leGFtcGxlBC9hIGI", -EINVAL },
	{ "port 0", "sdns://AgAAAAAAAAAACzE5Mi4wLjIuMTowAAlhLmV4YW1wbGUBLw", -EINVAL },
	{ "port 65536", "sdns://AgAAAAAAAAAABjo2NTUzNgAJYS5leGFtcGxlAS8", -EINVAL },
	{ "bootstrap by name", "sdns://AgAAAAAAAAAAAAAJYS5leGFtcGxlAS8LZG5zLmV4YW1wbGU", -EINVAL },
};

START_TEST(test_bad)
{
	struct stamp stamp;

	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		int r = stamp_parse(bad_cases[i].text, &stamp);

		ck_assert_msg(r == bad_cases[i].error, "%s: %d", bad_cases[i].what, r);
	}
}
END_TEST

/* More hashes than there is room for are not left out, which would trust fewer. */
START_TEST(test_many_hashes)
{
	char text[STAMP_FORMAT_MAX];
	struct stamp stamp = parse(TLS_STAMP);
	struct stamp again;

	stamp.hash_count = STAMP_HASHES_MAX;
	for (unsigned i = 1; i < STAMP_HASHES_MAX; i++) {
		memset(stamp.hashes[i], (int)i, STAMP_KEY_BYTES);
	}
	stamp_format(&stamp, text);
	again = parse(text);
	ck_assert_uint_eq(again.hash_count, STAMP_HASHES_MAX);
	ck_assert_mem_eq(again.hashes, stamp.hashes, sizeof stamp.hashes);
}
END_TEST

/* What is written again is what was read. */
START_TEST(test_format)
{
	static const char *const texts[] = { DNSCRYPT_STAMP, TLS_STAMP, HTTPS_STAMP_PORT };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char text[STAMP_FORMAT_MAX];
		struct stamp stamp = parse(texts[i]);
		struct stamp again;

		stamp_format(&stamp, text);
		again = parse(text);
		ck_assert_mem_eq(&again, &stamp, sizeof stamp);
	}
}
END_TEST

SUITE_MAIN("stamp", test_dnscrypt, test_https, test_by_name, test_tls, test_bad, test_many_hashes,
	   test_format)
