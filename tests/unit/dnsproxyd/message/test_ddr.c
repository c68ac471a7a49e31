/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/ddr.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <string.h>

#define SVCB 64

static struct addr address(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(text, 0, &a), 0);
	return a;
}

/* The answer to a question for this name and type; its length. */
static size_t answer(const struct ddr *ddr, const char *name, uint16_t type, uint8_t *buf)
{
	struct dnsmsg_query q;

	packet_parse_query(&q, name, type, DNSMSG_RD, 1232, 0);
	return ddr_answer(ddr, &q, buf);
}

START_TEST(test_record)
{
	static const char wanted[] = "\0\0\x80\x80\0\1\0\2\0\0\0\0" /* header */
				     "\4_dns\10resolver\4arpa\0\0\100\0\1"
				     "\300\14\0\100\0\1\0\0\1\54\0\52" /* first record */
				     "\0\1\3dns\4home\7example\0"
				     "\0\1\0\4\3dot"
				     "\0\3\0\2\3\125"
				     "\0\4\0\4\300\250\1\1"
				     "\300\14\0\100\0\1\0\0\1\54\0\111" /* second */
				     "\0\1\3dns\4home\7example\0"
				     "\0\1\0\3\2h2"
				     "\0\3\0\2\1\273"
				     "\0\6\0\20\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
				     "\0\7\0\20/dns-query{?dns}";
	struct ddr ddr = { .count = 0 };
	struct addr a = address("192.168.1.1:853");
	struct addr b = address("[fd00::1]:443");
	uint8_t buf[DDR_ANSWER_MAX];
	size_t len;

	ck_assert(ddr_add(&ddr, "dns.home.example", "dot", &a, NULL));
	ck_assert(ddr_add(&ddr, "dns.home.example", "h2", &b, "/dns-query{?dns}"));
	len = answer(&ddr, "_dns.resolver.arpa", SVCB, buf);
	ck_assert_uint_eq(len, sizeof wanted - 1);
	ck_assert_mem_eq(buf, wanted, len);
	/* Other letters are the same name, and come back as they were. */
	ck_assert_uint_eq(answer(&ddr, "_DNS.Resolver.ARPA", SVCB, buf), len);
	ck_assert_mem_eq(buf + 13, "_DNS", 4);
}
END_TEST

START_TEST(test_not_asked)
{
	struct ddr ddr = { .count = 0 };
	struct addr a = address("192.168.1.1:853");
	uint8_t buf[DDR_ANSWER_MAX];

	ck_assert_uint_eq(answer(&ddr, "_dns.resolver.arpa", SVCB, buf), 0);
	ck_assert(ddr_add(&ddr, "dns.example", "dot", &a, NULL));
	ck_assert_uint_ne(answer(&ddr, "_dns.resolver.arpa", SVCB, buf), 0);
	ck_assert_uint_eq(answer(&ddr, "_dns.resolver.arpa", DNS_TYPE_A, buf), 0);
	ck_assert_uint_eq(answer(&ddr, "resolver.arpa", SVCB, buf), 0);
	ck_assert_uint_eq(answer(&ddr, "x_dns.resolver.arpa", SVCB, buf), 0);
	ck_assert_uint_eq(answer(&ddr, "_dnz.resolver.arpa", SVCB, buf), 0);
}
END_TEST

/* What listens everywhere has no address to tell. */
START_TEST(test_unspecified)
{
	struct ddr ddr = { .count = 0 };
	struct addr a = address("0.0.0.0:853");
	struct addr b = address("[::]:853");

	ck_assert(ddr_add(&ddr, "a.example", "dot", &a, NULL));
	ck_assert(ddr_add(&ddr, "a.example", "dot", &b, NULL));
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(ddr.records[i].len, 2 + 11 + 8 + 6);
	}
}
END_TEST

START_TEST(test_limits)
{
	char name[254];
	struct ddr ddr = { .count = 0 };
	struct addr a = address("192.168.1.1:853");
	uint8_t buf[DDR_ANSWER_MAX];
	size_t len;

	for (size_t i = 0; i < 253; i++) {
		name[i] = i % 64 == 63 ? '.' : 'x';
	}
	name[253] = '\0';
	for (unsigned i = 0; i < DDR_RECORDS_MAX; i++) {
		ck_assert(ddr_add(&ddr, name, "dot", &a, NULL));
	}
	ck_assert(!ddr_add(&ddr, name, "dot", &a, NULL));
	/* As many as fit. */
	len = answer(&ddr, "_dns.resolver.arpa", SVCB, buf);
	ck_assert_uint_le(len, DDR_ANSWER_MAX);
	ck_assert_uint_eq(buf[7], 1);
	ddr.count = 0;
	ck_assert(!ddr_add(&ddr, "a..b", "dot", &a, NULL));
	ck_assert(!ddr_add(&ddr, "a", "a-protocol-with-a-long-name", &a, NULL));
	ck_assert_uint_eq(ddr.count, 0);
}
END_TEST

SUITE_MAIN("ddr", test_record, test_not_asked, test_unspecified, test_limits)
