/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/dns/doh.h"

#include "tests/unit/suite.h"

#include <stdlib.h>
#include <string.h>

#define BODY           "0123456789abcdef"
#define TYPE           "application/dns-message"
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static const struct {
	const char *method;
	const char *path;
	const char *type;
	enum doh_status status;
	const char *msg;
} request_cases[] = {
	{ "POST", "/dns-query", TYPE, DOH_OK, BODY },
	{ "POST", "/dns-query?a=b", TYPE, DOH_OK, BODY },
	{ "POST", "/dns-query", "Application/DNS-Message; charset=utf-8", DOH_OK, BODY },
	{ "POST", "/dns-query", TYPE " ;x", DOH_OK, BODY },
	{ "POST", "/dns-query", TYPE "x", DOH_BAD_TYPE, NULL },
	{ "POST", "/dns-query", "text/plain", DOH_BAD_TYPE, NULL },
	{ "POST", "/dns-query", "", DOH_BAD_TYPE, NULL },
	{ "POST", "/", TYPE, DOH_NOT_FOUND, NULL },
	{ "POST", "", TYPE, DOH_NOT_FOUND, NULL },
	{ "POST", "/dns-query/", TYPE, DOH_NOT_FOUND, NULL },
	{ "POST", "/dns-quer", TYPE, DOH_NOT_FOUND, NULL },
	{ "POST", "/DNS-QUERY", TYPE, DOH_NOT_FOUND, NULL },
	{ "PUT", "/dns-query", TYPE, DOH_BAD_METHOD, NULL },
	{ "HEAD", "/dns-query?dns=Zm9v", "", DOH_BAD_METHOD, NULL },
	{ "post", "/dns-query", TYPE, DOH_BAD_METHOD, NULL },
	{ "GET", "/dns-query?dns=Zm9v", "", DOH_OK, "foo" },
	{ "GET", "/dns-query?x=y&dns=Zm9v&z", "", DOH_OK, "foo" },
	{ "GET", "/dns-query?xdns=Zm9v", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/dns-query", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/dns-query?", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/dns-query?dns=", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/dns-query?dns=Zm9v&dns=Zm9v", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/dns-query?dns=Zg==", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/dns-query?dns=Zm9v%20", "", DOH_BAD_REQUEST, NULL },
	{ "GET", "/other?dns=Zm9v", "", DOH_NOT_FOUND, NULL },
};

START_TEST(test_requests)
{
	for (size_t i = 0; i < ARRAY_SIZE(request_cases); i++) {
		const struct doh_request request = {
			.method = request_cases[i].method,
			.path = request_cases[i].path,
			.content_type = request_cases[i].type,
			.body = (const uint8_t *)BODY,
			.body_len = sizeof BODY - 1,
		};
		uint8_t buf[DOH_QUERY_MAX];
		const uint8_t *msg;
		size_t len;
		enum doh_status status = doh_find_query(&request, buf, &msg, &len);

		ck_assert_msg(status == request_cases[i].status, "%s %s: %d",
			      request_cases[i].method, request_cases[i].path, status);
		if (status == DOH_OK) {
			ck_assert_uint_eq(len, strlen(request_cases[i].msg));
			ck_assert_mem_eq(msg, request_cases[i].msg, len);
		}
	}
}
END_TEST

START_TEST(test_sizes)
{
	static char path[16384] = DOH_PATH "?dns=";
	static uint8_t body[DOH_QUERY_MAX + 1];
	struct doh_request request = { "POST", DOH_PATH, TYPE, body, sizeof body };
	uint8_t buf[DOH_QUERY_MAX];
	const uint8_t *msg;
	size_t len;

	ck_assert_int_eq(doh_find_query(&request, buf, &msg, &len), DOH_TOO_LARGE);
	request.body_len--;
	ck_assert_int_eq(doh_find_query(&request, buf, &msg, &len), DOH_OK);
	request.body_len = 0;
	ck_assert_int_eq(doh_find_query(&request, buf, &msg, &len), DOH_BAD_REQUEST);
	/* 4096 bytes are 5462 characters. */
	memset(path + strlen(path), 'A', 5462);
	request = (struct doh_request){ "GET", path, "", NULL, 0 };
	ck_assert_int_eq(doh_find_query(&request, buf, &msg, &len), DOH_OK);
	ck_assert_uint_eq(len, DOH_QUERY_MAX);
	memset(path + strlen(path), 'A', 2);
	ck_assert_int_eq(doh_find_query(&request, buf, &msg, &len), DOH_TOO_LARGE);
}
END_TEST

#define HEADER(rcode, answers, authorities, others) \
	"\0\0\x81" rcode "\0\1\0" answers "\0" authorities "\0" others
#define QUESTION "\1a\0\0\1\0\1"
#define A(ttl)   "\xc0\x0c\0\1\0\1" ttl "\0\4\xc0\0\2\1"
#define NS(ttl)  "\xc0\x0c\0\2\0\1" ttl "\0\2\xc0\x0c"
#define OPT      "\0\0\x29\x04\xd0\0\0\0\0\0\0"
#define SOA(ttl, minimum) \
	"\xc0\x0c\0\6\0\1" ttl "\0\x16\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4" minimum

static const struct {
	const char *what;
	const uint8_t *msg;
	size_t len;
	uint32_t max_age_s;
} age_cases[] = {
	{ "one answer", BYTES(HEADER("\x80", "\1", "\0", "\0") QUESTION A("\0\0\1\x2c")), 300 },
	{ "the shortest",
	  BYTES(HEADER("\x80", "\2", "\1", "\1") QUESTION A("\0\0\1\x2c") A("\0\0\0\x3c")
			NS("\0\0\0\1") OPT),
	  60 },
	{ "TTL 0", BYTES(HEADER("\x80", "\1", "\0", "\0") QUESTION A("\0\0\0\0")), 0 },
	{ "TTL beyond 31 bits",
	  BYTES(HEADER("\x80", "\1", "\0", "\0") QUESTION A("\xff\xff\xff\xff")), 0 },
	{ "NXDOMAIN",
	  BYTES(HEADER("\x83", "\0", "\1", "\0") QUESTION SOA("\0\0\0\x64", "\0\0\0\x32")), 50 },
	{ "no data, short TTL",
	  BYTES(HEADER("\x80", "\0", "\1", "\0") QUESTION SOA("\0\0\0\x1e", "\0\0\0\x32")), 30 },
	{ "no SOA", BYTES(HEADER("\x83", "\0", "\0", "\0") QUESTION), 0 },
	{ "referral", BYTES(HEADER("\x80", "\0", "\1", "\0") QUESTION NS("\0\0\0\x64")), 0 },
	{ "SERVFAIL", BYTES(HEADER("\x82", "\1", "\0", "\0") QUESTION A("\0\0\1\x2c")), 0 },
	{ "cut", BYTES(HEADER("\x80", "\2", "\0", "\0") QUESTION A("\0\0\1\x2c")), 0 },
	{ "nothing", BYTES(""), 0 },
};

START_TEST(test_max_age)
{
	for (size_t i = 0; i < ARRAY_SIZE(age_cases); i++) {
		uint32_t age_s = doh_max_age_s(age_cases[i].msg, age_cases[i].len);

		ck_assert_msg(age_s == age_cases[i].max_age_s, "%s: %u", age_cases[i].what, age_s);
	}
}
END_TEST

START_TEST(test_age)
{
	static const uint8_t before[] = HEADER("\x80", "\2", "\1", "\1") QUESTION A("\0\0\1\x2c")
		A("\0\0\0\x3c") NS("\0\1\0\0") OPT;
	static const uint8_t after[] = HEADER("\x80", "\2", "\1", "\1") QUESTION A("\0\0\0\xc8")
		A("\0\0\0\0") NS("\0\0\xff\x9c") OPT;
	static const uint8_t wrapped[] = HEADER("\x80", "\1", "\0", "\0") QUESTION A("\x80\0\0\0");
	uint8_t msg[sizeof before];

	memcpy(msg, before, sizeof before);
	doh_age(msg, sizeof before - 1, 0);
	ck_assert_mem_eq(msg, before, sizeof before);
	doh_age(msg, sizeof before - 1, 100);
	ck_assert_mem_eq(msg, after, sizeof after);
	/* What counts as 0 stays so (RFC 2181 section 8). */
	memcpy(msg, wrapped, sizeof wrapped);
	doh_age(msg, sizeof wrapped - 1, 100);
	ck_assert_uint_eq(doh_max_age_s(msg, sizeof wrapped - 1), 0);
	/* Cut anywhere, nothing beyond is touched. */
	for (size_t len = 0; len < sizeof before; len++) {
		uint8_t *exact = malloc(len ? len : 1);

		memcpy(exact, before, len);
		doh_age(exact, len, 100);
		free(exact);
	}
}
END_TEST

SUITE_MAIN("doh", test_requests, test_sizes, test_max_age, test_age)
