/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/special.h"

#include "common/container.h"
#include "dnsproxyd/message/dnsreply.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>

enum {
	PTR = 12,
	HINFO = 13,
	MX = 15,
	TXT = 16,
};

/* What comes back: forwarded, no such name, no such type, or records of the type asked for. */
enum want {
	FORWARD,
	NXDOMAIN,
	NODATA,
	RECORD,
};

struct row {
	const char *name;
	unsigned type;
	enum want want;
	enum want narrow; /* with SPECIAL_ALWAYS */
};

static const struct row rows[] = {
	{ "localhost", DNS_TYPE_A, RECORD, RECORD },
	{ "LOCALHOST", DNS_TYPE_AAAA, RECORD, RECORD },
	{ "a.b.LocalHost", DNS_TYPE_A, RECORD, RECORD },
	{ "localhost", MX, NODATA, NODATA },
	{ "localhost.example", DNS_TYPE_A, FORWARD, FORWARD },
	{ "xlocalhost", DNS_TYPE_A, FORWARD, FORWARD },
	{ "invalid", DNS_TYPE_A, NXDOMAIN, NXDOMAIN },
	{ "www.invalid", DNS_TYPE_A, NXDOMAIN, NXDOMAIN },
	{ "abc.Onion", DNS_TYPE_A, NXDOMAIN, NXDOMAIN },
	{ "x.alt", TXT, NXDOMAIN, NXDOMAIN },
	{ "x.test", DNS_TYPE_A, NXDOMAIN, FORWARD },
	{ "printer.local", DNS_TYPE_A, NXDOMAIN, FORWARD },
	{ "nas.internal", DNS_TYPE_A, NXDOMAIN, FORWARD },
	{ "home.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "home.arpa", DNS_TYPE_NS, RECORD, FORWARD },
	{ "home.arpa", DNS_TYPE_A, NODATA, FORWARD },
	{ "home.arpa", DNS_TYPE_DS, FORWARD, FORWARD },
	{ "nas.home.arpa", DNS_TYPE_DS, NXDOMAIN, FORWARD },
	{ "nas.home.arpa", DNS_TYPE_A, NXDOMAIN, FORWARD },
	{ "resolver.arpa", DNS_TYPE_SOA, RECORD, RECORD },
	{ "_dns.resolver.arpa", 64, NODATA, NODATA },
	{ "x.resolver.arpa", 64, NXDOMAIN, NXDOMAIN },
	{ "ipv4only.arpa", DNS_TYPE_AAAA, FORWARD, FORWARD },
	{ "arpa", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "in-addr.arpa", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "ip6.arpa", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "10.in-addr.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "10.in-addr.arpa", DNS_TYPE_DS, FORWARD, FORWARD },
	{ "4.3.2.10.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "4.3.2.11.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "010.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "a.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "1.0.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "1.0.0.127.in-addr.arpa", PTR, RECORD, FORWARD },
	{ "1.0.0.127.in-addr.arpa", DNS_TYPE_A, NODATA, FORWARD },
	{ "2.0.0.127.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "1.1.254.169.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "1.1.253.169.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "172.in-addr.arpa", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "15.172.in-addr.arpa", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "16.172.in-addr.arpa", DNS_TYPE_NS, RECORD, FORWARD },
	{ "31.172.in-addr.arpa", DNS_TYPE_NS, RECORD, FORWARD },
	{ "32.172.in-addr.arpa", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "1.1.168.192.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "168.192.in-addr.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "63.100.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "64.100.in-addr.arpa", PTR, NODATA, FORWARD },
	{ "9.127.100.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "128.100.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "1.2.0.192.in-addr.arpa", PTR, NXDOMAIN, FORWARD },
	{ "100.51.198.in-addr.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "113.0.203.in-addr.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "255.255.255.255.in-addr.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "254.255.255.255.in-addr.arpa", PTR, FORWARD, FORWARD },
	{ "d.f.ip6.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "1.0.D.F.ip6.arpa", PTR, NXDOMAIN, FORWARD },
	{ "c.f.ip6.arpa", DNS_TYPE_SOA, FORWARD, FORWARD },
	{ "b.e.f.ip6.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "c.e.f.ip6.arpa", DNS_TYPE_SOA, FORWARD, FORWARD },
	{ "8.b.d.0.1.0.0.2.ip6.arpa", DNS_TYPE_SOA, RECORD, FORWARD },
	{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", PTR, RECORD,
	  FORWARD },
	{ "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", PTR, NODATA,
	  FORWARD },
	{ "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", PTR, FORWARD,
	  FORWARD },
	{ ".", DNS_TYPE_NS, FORWARD, FORWARD },
	{ "example.com", DNS_TYPE_A, FORWARD, FORWARD },
};

/* Read the answer as if a server had sent it: it must be sound, and negative ones hold a SOA. */
static enum want judge(const struct dnsmsg_query *query, const uint8_t *buf, size_t len)
{
	struct dnsreply reply;

	if (len == 0) {
		return FORWARD;
	}
	ck_assert_int_eq(dnsreply_check(buf, len, 0, query->question, query->question_len, &reply),
			 DNSREPLY_OK);
	ck_assert_msg(!reply.authenticated, "what we make up is not validated");
	ck_assert_uint_eq(reply.end, len);
	ck_assert_uint_eq(reply.ttl_s, 10800);
	switch (reply.kind) {
	case DNSREPLY_POSITIVE:
		return RECORD;
	case DNSREPLY_NXDOMAIN:
		return NXDOMAIN;
	case DNSREPLY_NODATA:
		return NODATA;
	default:
		ck_abort_msg("neither answer nor denial");
	}
}

START_TEST(test_names)
{
	const struct row *row = &rows[_i];
	struct dnsmsg_query query;
	struct dnsmsg_ede ede = { 0 };
	uint8_t buf[SPECIAL_ANSWER_MAX];
	size_t len;

	packet_parse_query(&query, row->name, row->type, DNSMSG_RD, -1, 0);
	len = special_answer(&query, SPECIAL_LOCAL, buf, &ede);
	ck_assert_msg(judge(&query, buf, len) == row->want, "%s type %u", row->name, row->type);
	ck_assert(len == 0 || (ede.code == DNS_EDE_SYNTHESIZED && ede.text));
	len = special_answer(&query, SPECIAL_ALWAYS, buf, &ede);
	ck_assert_msg(judge(&query, buf, len) == row->narrow, "%s type %u, narrow", row->name,
		      row->type);
}
END_TEST

START_TEST(test_records)
{
	struct dnsmsg_query query;
	struct dnsmsg_ede ede;
	uint8_t buf[SPECIAL_ANSWER_MAX];
	struct dnsmsg_rr rr;
	size_t len;

	packet_parse_query(&query, "localhost", DNS_TYPE_A, DNSMSG_RD, -1, 0);
	len = special_answer(&query, SPECIAL_ALWAYS, buf, &ede);
	ck_assert_uint_eq(
		dnsmsg_read_rr(buf, len, DNSMSG_HEADER_LEN + (size_t)query.question_len, &rr), len);
	ck_assert_mem_eq(buf + rr.rdata, "\x7f\0\0\1", 4);
	packet_parse_query(&query, "localhost", DNS_TYPE_AAAA, DNSMSG_RD, -1, 0);
	len = special_answer(&query, SPECIAL_ALWAYS, buf, &ede);
	dnsmsg_read_rr(buf, len, DNSMSG_HEADER_LEN + (size_t)query.question_len, &rr);
	ck_assert_mem_eq(buf + rr.rdata, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	/* Of another class they are nothing special. */
	query.qclass = 3;
	ck_assert_uint_eq(special_answer(&query, SPECIAL_LOCAL, buf, &ede), 0);
}
END_TEST

/* Who owns the SOA of a denial: the zone, and its parent when the zone is what does not exist. */
START_TEST(test_soa_owner)
{
	static const struct {
		const char *name;
		const char *owner;
	} owners[] = {
		{ "a.b.Invalid", "Invalid" },
		{ "invalid", "." },
		{ "x.home.arpa", "home.arpa" },
		{ "1.2.16.172.in-addr.arpa", "16.172.in-addr.arpa" },
		{ "_dns.resolver.arpa", "resolver.arpa" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
		struct dnsmsg_query query;
		struct dnsmsg_ede ede;
		uint8_t buf[SPECIAL_ANSWER_MAX];
		uint8_t owner[DNSNAME_MAX];
		char text[DNSNAME_TEXT_MAX];
		struct dnsmsg_rr rr;
		size_t owner_len;
		size_t len;

		packet_parse_query(&query, owners[i].name, TXT, DNSMSG_RD, -1, 0);
		len = special_answer(&query, SPECIAL_LOCAL, buf, &ede);
		dnsmsg_read_rr(buf, len, DNSMSG_HEADER_LEN + (size_t)query.question_len, &rr);
		ck_assert_uint_eq(rr.type, DNS_TYPE_SOA);
		ck_assert_uint_ne(dnsname_expand(buf, len, rr.owner, owner, &owner_len), 0);
		ck_assert_str_eq(dnsname_format(owner, text), owners[i].owner);
	}
}
END_TEST

START_TEST(test_any)
{
	struct dnsmsg_query query;
	uint8_t buf[SPECIAL_ANSWER_MAX];
	struct dnsmsg_rr rr;
	size_t len;

	packet_parse_query(&query, "example.com", DNS_TYPE_ANY, DNSMSG_RD, 4096, 0);
	len = special_answer_any(&query, buf);
	ck_assert_uint_eq(
		dnsmsg_read_rr(buf, len, DNSMSG_HEADER_LEN + (size_t)query.question_len, &rr), len);
	ck_assert_uint_eq(rr.type, HINFO);
	ck_assert_uint_eq(rr.end - rr.rdata, 9);
	ck_assert_mem_eq(buf + rr.rdata, "\7RFC8482\0", 9);
	ck_assert_msg(len < 64, "no amplification");
}
END_TEST

/* The longest names, and a name of as many labels as there can be. */
START_TEST(test_long_names)
{
	static const char *const zones[] = { "invalid", "10.in-addr.arpa", "localhost" };

	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		for (unsigned label_len = 1; label_len <= 63; label_len += 31) {
			char name[DNSNAME_TEXT_MAX] = "";
			struct dnsmsg_query query;
			struct dnsmsg_ede ede;
			uint8_t buf[SPECIAL_ANSWER_MAX];
			size_t len = 0;

			while (len + label_len + 1 + strlen(zones[i]) <= 253) {
				memset(name + len, 'x', label_len);
				len += label_len;
				name[len++] = '.';
			}
			strcpy(name + len, zones[i]);
			packet_parse_query(&query, name, DNS_TYPE_AAAA, DNSMSG_RD, -1, 0);
			len = special_answer(&query, SPECIAL_LOCAL, buf, &ede);
			ck_assert_uint_gt(len, 0);
			ck_assert(judge(&query, buf, len) == (i == 2 ? RECORD : NXDOMAIN));
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("special");
	TCase *tcase = tcase_create("special");

	tcase_add_loop_test(tcase, test_names, 0, ARRAY_SIZE(rows));
	tcase_add_test(tcase, test_records);
	tcase_add_test(tcase, test_soa_owner);
	tcase_add_test(tcase, test_any);
	tcase_add_test(tcase, test_long_names);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
