/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/dnsreply.h"
#include "common/container.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>

#define ID     0x1234
#define ANSWER (DNSMSG_QR | DNSMSG_RD | DNSMSG_RA)

static struct packet p;

/* Check p as the answer to name and type, from a copy of exactly its size. */
static enum dnsreply_status check(const char *name, unsigned type, struct dnsreply *ret_reply)
{
	struct dnsmsg_query query;
	enum dnsreply_status status;
	uint8_t *msg = malloc(p.len);

	memcpy(msg, p.bytes, p.len);
	packet_parse_query(&query, name, type, DNSMSG_RD, -1, 0);
	status = dnsreply_check(msg, p.len, ID, query.question, query.question_len, ret_reply);
	free(msg);
	return status;
}

/* --- matching --- */

static const struct {
	const char *what;
	unsigned id;
	unsigned flags;
	const char *name;
	unsigned type;
	enum dnsreply_status status;
	bool same_case;
} match_cases[] = {
	{ "ours", ID, ANSWER, "wWw.example", DNS_TYPE_A, DNSREPLY_OK, true },
	{ "other case", ID, ANSWER, "www.example", DNS_TYPE_A, DNSREPLY_OK, false },
	{ "other id", ID + 1, ANSWER, "wWw.example", DNS_TYPE_A, DNSREPLY_MISMATCH, false },
	{ "a query", ID, DNSMSG_RD, "wWw.example", DNS_TYPE_A, DNSREPLY_MISMATCH, false },
	{ "other opcode", ID, ANSWER | 0x0800, "wWw.example", DNS_TYPE_A, DNSREPLY_MISMATCH,
	  false },
	{ "other type", ID, ANSWER, "wWw.example", DNS_TYPE_AAAA, DNSREPLY_MISMATCH, false },
	{ "other name", ID, ANSWER, "wWw.examplf", DNS_TYPE_A, DNSREPLY_MISMATCH, false },
	{ "shorter name", ID, ANSWER, "example", DNS_TYPE_A, DNSREPLY_MISMATCH, false },
	{ "longer name", ID, ANSWER, "a.wWw.example", DNS_TYPE_A, DNSREPLY_MISMATCH, false },
};

START_TEST(test_match)
{
	for (size_t i = 0; i < ARRAY_SIZE(match_cases); i++) {
		struct dnsreply reply;

		packet_start(&p, match_cases[i].id, match_cases[i].flags, 1, 0, 0, 0);
		packet_question(&p, match_cases[i].name, match_cases[i].type);
		ck_assert_msg(check("wWw.example", DNS_TYPE_A, &reply) == match_cases[i].status,
			      "%s", match_cases[i].what);
		if (match_cases[i].status == DNSREPLY_OK) {
			ck_assert(reply.same_case == match_cases[i].same_case);
		}
	}
}
END_TEST

START_TEST(test_bare)
{
	struct dnsreply reply;

	packet_start(&p, ID, ANSWER | DNS_RCODE_FORMERR, 0, 0, 0, 0);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_BARE);
	ck_assert_uint_eq(reply.rcode, DNS_RCODE_FORMERR);
	packet_start(&p, ID, ANSWER, 0, 0, 0, 0);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_MALFORMED);
	p.len = 11;
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_MISMATCH);
	packet_start(&p, ID, ANSWER, 2, 0, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_question(&p, "a", DNS_TYPE_A);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_MISMATCH);
}
END_TEST

/* --- kind and TTL --- */

/* Each letter adds a record: a = A, c = CNAME to b, s = SOA, n = NS, x = A; each with its TTL; "|"
 * starts the next section. */
struct piece {
	char kind;
	uint32_t ttl;
	uint32_t minimum;
};

static const struct {
	const char *what;
	unsigned rcode;
	struct piece pieces[6];
	enum dnsreply_kind kind;
	uint32_t ttl_s;
} kind_cases[] = {
	{ "one record", 0, { { 'a', 300 } }, DNSREPLY_POSITIVE, 300 },
	{ "least of the RRset",
	  0,
	  { { 'a', 300 }, { 'a', 20 }, { 'a', 900 } },
	  DNSREPLY_POSITIVE,
	  20 },
	{ "chain, CNAME lower", 0, { { 'c', 5 }, { 'a', 300 } }, DNSREPLY_POSITIVE, 5 },
	{ "chain, A lower", 0, { { 'c', 300 }, { 'a', 5 } }, DNSREPLY_POSITIVE, 5 },
	{ "authority counts", 0, { { 'a', 300 }, { '|' }, { 'n', 100 } }, DNSREPLY_POSITIVE, 100 },
	{ "additional counts",
	  0,
	  { { 'a', 300 }, { '|' }, { '|' }, { 'a', 10 } },
	  DNSREPLY_POSITIVE,
	  10 },
	{ "TTL 0", 0, { { 'a', 300 }, { 'a', 0 } }, DNSREPLY_POSITIVE, 0 },
	{ "largest TTL", 0, { { 'a', 0x7fffffff } }, DNSREPLY_POSITIVE, 0x7fffffff },
	{ "TTL too large", 0, { { 'a', 0x80000000 } }, DNSREPLY_POSITIVE, 0 },
	{ "NXDOMAIN, TTL", 3, { { '|' }, { 's', 60, 900 } }, DNSREPLY_NXDOMAIN, 60 },
	{ "NXDOMAIN, MINIMUM", 3, { { '|' }, { 's', 900, 60 } }, DNSREPLY_NXDOMAIN, 60 },
	{ "NXDOMAIN without SOA", 3, { { '|' } }, DNSREPLY_NXDOMAIN, 0 },
	{ "NXDOMAIN, NS only", 3, { { '|' }, { 'n', 60 } }, DNSREPLY_NXDOMAIN, 0 },
	{ "NXDOMAIN after CNAME",
	  3,
	  { { 'c', 30 }, { '|' }, { 's', 900, 60 } },
	  DNSREPLY_NXDOMAIN,
	  30 },
	{ "NXDOMAIN, SOA in additional",
	  3,
	  { { '|' }, { '|' }, { 's', 9, 9 } },
	  DNSREPLY_NXDOMAIN,
	  0 },
	{ "MINIMUM 0", 3, { { '|' }, { 's', 900, 0 } }, DNSREPLY_NXDOMAIN, 0 },
	{ "MINIMUM too large", 3, { { '|' }, { 's', 900, 0x80000000 } }, DNSREPLY_NXDOMAIN, 0 },
	{ "NODATA", 0, { { '|' }, { 's', 900, 60 } }, DNSREPLY_NODATA, 60 },
	{ "NODATA with NS", 0, { { '|' }, { 'n', 50 }, { 's', 900, 60 } }, DNSREPLY_NODATA, 50 },
	{ "NODATA after CNAME",
	  0,
	  { { 'c', 30 }, { '|' }, { 's', 900, 60 } },
	  DNSREPLY_NODATA,
	  30 },
	{ "NODATA without SOA", 0, { { '|' } }, DNSREPLY_NODATA, 0 },
	{ "referral", 0, { { '|' }, { 'n', 900 } }, DNSREPLY_OTHER, 0 },
	{ "CNAME to nowhere", 0, { { 'c', 900 } }, DNSREPLY_OTHER, 0 },
	{ "SERVFAIL", 2, { { '|' }, { 's', 900, 60 } }, DNSREPLY_OTHER, 0 },
	{ "REFUSED", 5, { { 'a', 300 } }, DNSREPLY_OTHER, 0 },
};

static void put_piece(const struct piece *piece)
{
	switch (piece->kind) {
	case 'a':
		packet_a(&p, "@12", piece->ttl);
		break;
	case 'c':
		packet_name_rr(&p, "@12", DNS_TYPE_CNAME, piece->ttl, "b");
		break;
	case 'n':
		packet_name_rr(&p, "@12", DNS_TYPE_NS, piece->ttl, "ns");
		break;
	default:
		packet_soa(&p, "@12", piece->ttl, piece->minimum);
	}
}

START_TEST(test_kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kind_cases); i++) {
		unsigned counts[3] = { 0 };
		struct dnsreply reply;

		for (unsigned k = 0, section = 0; kind_cases[i].pieces[k].kind; k++) {
			if (kind_cases[i].pieces[k].kind == '|') {
				section++;
			} else {
				counts[section]++;
			}
		}
		packet_start(&p, ID, ANSWER | kind_cases[i].rcode, 1, counts[0], counts[1],
			     counts[2]);
		packet_question(&p, "www.example", DNS_TYPE_A);
		for (unsigned k = 0; kind_cases[i].pieces[k].kind; k++) {
			if (kind_cases[i].pieces[k].kind != '|') {
				put_piece(&kind_cases[i].pieces[k]);
			}
		}
		ck_assert_msg(check("www.example", DNS_TYPE_A, &reply) == DNSREPLY_OK, "%s",
			      kind_cases[i].what);
		ck_assert_msg(reply.kind == kind_cases[i].kind, "%s: kind %d", kind_cases[i].what,
			      (int)reply.kind);
		ck_assert_msg(reply.ttl_s == kind_cases[i].ttl_s, "%s: ttl %u", kind_cases[i].what,
			      reply.ttl_s);
	}
}
END_TEST

START_TEST(test_asked_for_what_it_is)
{
	struct dnsreply reply;

	/* A CNAME is the answer when asked for, and anything is for ANY. */
	for (unsigned i = 0; i < 2; i++) {
		unsigned type = i == 0 ? DNS_TYPE_CNAME : DNS_TYPE_ANY;

		packet_start(&p, ID, ANSWER, 1, 1, 0, 0);
		packet_question(&p, "a", type);
		packet_name_rr(&p, "@12", DNS_TYPE_CNAME, 77, "b");
		ck_assert_int_eq(check("a", type, &reply), DNSREPLY_OK);
		ck_assert_int_eq(reply.kind, DNSREPLY_POSITIVE);
		ck_assert_uint_eq(reply.ttl_s, 77);
	}
}
END_TEST

START_TEST(test_truncated)
{
	struct dnsreply reply;
	struct dnsreply_body body;
	uint8_t out[512];

	packet_start(&p, ID, ANSWER | DNSMSG_TC, 1, 3, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_bytes(&p, "\300", 1);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
	ck_assert_int_eq(reply.kind, DNSREPLY_TRUNCATED);
	ck_assert_uint_eq(reply.ttl_s, 0);
	ck_assert_int_eq(dnsreply_normalize(p.bytes, &reply, false, out, sizeof out, &body), 0);
	ck_assert_uint_eq(body.len, 19);
	ck_assert_mem_eq(out, "\0\0\x82\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19);
}
END_TEST

START_TEST(test_opt)
{
	struct dnsreply reply;

	packet_start(&p, ID, ANSWER | 7, 1, 0, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_opt(&p, 1232, 0x01000000, "\0\12\0\1x\0\17\0\3\0\26t\0\17\0\2\0\1", 18);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
	ck_assert_uint_eq(reply.rcode, 23); /* BADCOOKIE */
	ck_assert(reply.has_opt && reply.reason.is_set);
	ck_assert_uint_eq(reply.reason.code, DNS_EDE_NO_REACHABLE_AUTHORITY);
	ck_assert_int_eq(reply.kind, DNSREPLY_OTHER);
	ck_assert(!reply.has_keepalive);
}
END_TEST

START_TEST(test_keepalive)
{
	struct dnsreply reply;

	packet_start(&p, ID, ANSWER, 1, 0, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_opt(&p, 1232, 0, "\0\13\0\2\1\54", 6);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
	ck_assert(reply.has_keepalive);
	ck_assert_uint_eq(reply.keepalive, 300);

	packet_start(&p, ID, ANSWER, 1, 0, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_opt(&p, 1232, 0, "\0\13\0\0", 4); /* a client's form */
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
	ck_assert(!reply.has_keepalive);
}
END_TEST

/* --- malformed --- */

static const struct {
	const char *what;
	unsigned counts[3];
	const char *bytes;
	size_t len;
} malformed_cases[] = {
#define RR(type, rdlength) "\300\14\0" type "\0\1\0\0\0\5\0" rdlength
	{ "record missing", { 1, 0, 0 }, "", 0 },
	{ "fixed part cut", { 1, 0, 0 }, "\300\14\0\1\0\1\0\0\0\5\0", 11 },
	{ "data cut", { 1, 0, 0 }, RR("\1", "\4") "\1\1\1", 15 },
	{ "A of 3", { 1, 0, 0 }, RR("\1", "\3") "\1\1\1", 15 },
	{ "AAAA of 4", { 1, 0, 0 }, RR("\34", "\4") "\1\1\1\1", 16 },
	{ "owner forward", { 1, 0, 0 }, "\300\50\0\1\0\1\0\0\0\5\0\4\1\1\1\1", 16 },
	{ "CNAME longer than its data", { 1, 0, 0 }, RR("\5", "\2") "\1b\0", 15 },
	{ "CNAME shorter than its data", { 1, 0, 0 }, RR("\5", "\4") "\1b\0\0", 16 },
	{ "CNAME without data", { 1, 0, 0 }, RR("\5", "\0"), 12 },
	{ "CNAME to itself", { 1, 0, 0 }, RR("\5", "\2") "\300\37", 14 },
	{ "MX without name", { 1, 0, 0 }, RR("\17", "\2") "\0\1", 14 },
	{ "SOA with one name", { 0, 1, 0 }, RR("\6", "\1") "\0", 13 },
	{ "SOA cut",
	  { 0, 1, 0 },
	  RR("\6", "\25") "\0\0"
			  "0000111122223333444",
	  33 },
	{ "NAPTR with strings beyond", { 1, 0, 0 }, RR("\43", "\6") "\0\1\0\1\1\377", 18 },
	{ "RRSIG without signer", { 1, 0, 0 }, RR("\56", "\22") "0123456789abcdefgh", 30 },
	{ "two OPT", { 0, 0, 2 }, "\0\0\51\4\320\0\0\0\0\0\0\0\0\51\4\320\0\0\0\0\0\0", 22 },
	{ "OPT as answer", { 1, 0, 0 }, "\0\0\51\4\320\0\0\0\0\0\0", 11 },
	{ "OPT not at the root", { 0, 0, 1 }, RR("\51", "\0"), 12 },
};

START_TEST(test_malformed)
{
	for (size_t i = 0; i < ARRAY_SIZE(malformed_cases); i++) {
		const unsigned *counts = malformed_cases[i].counts;
		struct dnsreply reply;

		packet_start(&p, ID, ANSWER, 1, counts[0], counts[1], counts[2]);
		packet_question(&p, "a", DNS_TYPE_A);
		packet_bytes(&p, malformed_cases[i].bytes, malformed_cases[i].len);
		ck_assert_msg(check("a", DNS_TYPE_A, &reply) == DNSREPLY_MALFORMED, "%s",
			      malformed_cases[i].what);
	}
}
END_TEST

/* --- normalize --- */

static uint8_t out[DNSMSG_MAX];
static struct dnsreply_body body;

/* Check and normalize p; then check that the result is the answer to the same question and has its
 * TTLs where body says they are. */
static void normalize(const char *name, unsigned type, bool dnssec_ok)
{
	struct dnsmsg_query query;
	struct dnsreply reply;
	struct dnsreply again;

	packet_parse_query(&query, name, type, DNSMSG_RD, -1, 0);
	ck_assert_int_eq(
		dnsreply_check(p.bytes, p.len, ID, query.question, query.question_len, &reply),
		DNSREPLY_OK);
	ck_assert_int_eq(dnsreply_normalize(p.bytes, &reply, dnssec_ok, out, sizeof out, &body), 0);
	ck_assert_int_eq(
		dnsreply_check(out, body.len, 0, query.question, query.question_len, &again),
		DNSREPLY_OK);
	ck_assert_int_eq(again.kind, reply.kind);
	ck_assert(!again.has_opt && !again.must_write);
	for (size_t i = 0, offset = again.question_len + 12u; i < body.ttl_count; i++) {
		struct dnsmsg_rr rr;

		offset = dnsmsg_read_rr(out, body.len, offset, &rr);
		ck_assert_uint_ne(offset, 0);
		ck_assert_uint_eq(rr.ttl_offset, body.ttl_offsets[i]);
		ck_assert_uint_eq(i + 1 == body.ttl_count, offset == body.len);
	}
}

/* The usual case: OPT comes last and goes, all else stays as it is. */
START_TEST(test_normalize_copies)
{
	size_t opt;

	packet_start(&p, ID, ANSWER | DNSMSG_AA | DNSMSG_AD | DNSMSG_CD | 0x40, 1, 2, 1, 2);
	packet_question(&p, "www.example", DNS_TYPE_A);
	packet_name_rr(&p, "@12", DNS_TYPE_CNAME, 0x80000001, "@16");
	packet_a(&p, "@16", 300);
	packet_name_rr(&p, "@16", DNS_TYPE_NS, 300, "@12");
	packet_a(&p, "@12", 300);
	opt = packet_opt(&p, 1232, 0x8000, "\0\12\0\0", 4);
	packet_bytes(&p, "rubbish", 7);
	normalize("www.example", DNS_TYPE_A, true);
	ck_assert_uint_eq(body.len, opt);
	ck_assert_uint_eq(body.ttl_count, 4);
	ck_assert_uint_eq(body.ttl_s, 0);
	ck_assert_mem_eq(out, "\0\0\x80\xa0\0\1\0\2\0\1\0\1", 12);
	ck_assert_mem_eq(out + body.ttl_offsets[0], "\0\0\0\0", 4);
	memcpy(p.bytes + body.ttl_offsets[0], "\0\0\0\0", 4);
	ck_assert_mem_eq(out + 12, p.bytes + 12, opt - 12);
}
END_TEST

/* www CNAME to, RRSIG, to A, RRSIG | NSEC | A of additional, whose owners point past records that
 * go. */
static void put_signed_chain(unsigned type)
{
	uint8_t signature[18 + 9 + 4] = { 0, 5 };
	char pointer[8];

	memcpy(signature + 18, "\7example\0", 9);
	packet_start(&p, ID, ANSWER | DNSMSG_AD, 1, 4, 1, 2);
	packet_question(&p, "www.example", type);
	packet_name_rr(&p, "@12", DNS_TYPE_CNAME, 300, "@16");
	packet_rr(&p, "@12", DNS_TYPE_RRSIG, 300, signature, sizeof signature);
	snprintf(pointer, sizeof pointer, "@%zu", packet_a(&p, "target.net", 200));
	packet_rr(&p, "target.net", DNS_TYPE_RRSIG, 200, signature, sizeof signature);
	packet_rr(&p, "example", DNS_TYPE_NSEC, 100, "\1a\0\0\1\2", 6);
	packet_a(&p, pointer, 150);
	packet_opt(&p, 1232, 0x8000, NULL, 0);
}

START_TEST(test_normalize_strips_dnssec)
{
	/* The same message without the signatures, as our writer compresses it. */
	static const char stripped[] = "\0\0\x80\xa0\0\1\0\2\0\0\0\1"
				       "\3www\7example\0\0\1\0\1"
				       "\300\14\0\5\0\1\0\0\1\54\0\2\300\20"
				       "\6target\3net\0\0\1\0\1\0\0\0\310\0\4\300\0\2\1"
				       "\300\53\0\1\0\1\0\0\0\226\0\4\300\0\2\1";

	put_signed_chain(DNS_TYPE_A);
	normalize("www.example", DNS_TYPE_A, false);
	ck_assert_uint_eq(body.len, sizeof stripped - 1);
	ck_assert_mem_eq(out, stripped, body.len);
	ck_assert_uint_eq(body.ttl_count, 3);
	ck_assert_uint_eq(body.ttl_s, 100);

	put_signed_chain(DNS_TYPE_A);
	normalize("www.example", DNS_TYPE_A, true);
	ck_assert_uint_eq(body.ttl_count, 6);
	ck_assert_uint_eq(body.len, p.len - 11);

	/* What was asked for stays, and for ANY all of it. */
	put_signed_chain(DNS_TYPE_RRSIG);
	normalize("www.example", DNS_TYPE_RRSIG, false);
	ck_assert_uint_eq(body.ttl_count, 5);
	put_signed_chain(DNS_TYPE_ANY);
	normalize("www.example", DNS_TYPE_ANY, false);
	ck_assert_uint_eq(body.ttl_count, 6);
}
END_TEST

START_TEST(test_normalize_opt_in_the_middle)
{
	packet_start(&p, ID, ANSWER, 1, 1, 0, 3);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_a(&p, "@12", 300);
	packet_opt(&p, 1232, 0, "\0\12\0\0", 4);
	packet_a(&p, "ns.b", 300); /* at 50, will be at 35 */
	packet_a(&p, "@50", 300);
	normalize("a", DNS_TYPE_A, true);
	ck_assert_uint_eq(body.ttl_count, 3);
	ck_assert_uint_eq(body.len, p.len - 15);
	ck_assert_mem_eq(out + 6, "\0\1\0\0\0\2", 6);
	ck_assert_mem_eq(out + body.len - 16, "\300\43", 2);
}
END_TEST

/* A name may not hide in octets that we change. */
START_TEST(test_normalize_pointer_into_ttl)
{
	size_t first;
	char pointer[8];

	packet_start(&p, ID, ANSWER, 1, 2, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	first = packet_a(&p, "@12", 0x00016200); /* "\1b\0" */
	snprintf(pointer, sizeof pointer, "@%zu", first + 2 + 4 + 1);
	packet_a(&p, pointer, 300);
	normalize("a", DNS_TYPE_A, true);
	ck_assert_uint_eq(body.len, p.len + 1);
	ck_assert_mem_eq(out + 19 + 16, "\1b\0\0\1", 5);
}
END_TEST

/* Pointers in types that must not have them are undone when the message is written anew, unknown
 * data stay. */
START_TEST(test_normalize_types)
{
	packet_start(&p, ID, ANSWER, 1, 4, 0, 0);
	packet_question(&p, "a", 33);
	packet_rr(&p, "@12", DNS_TYPE_RRSIG, 5, "0123456789abcdefgh\0sig", 22);
	packet_rr(&p, "@12", 33, 5, "\0\1\0\2\0\3\300\14", 8);
	packet_rr(&p, "@12", 35, 5, "\0\1\0\2\1u\0\1x\300\14", 11);
	packet_rr(&p, "@12", 65280, 5, "\300\14\300\14", 4);
	normalize("a", 33, false);
	ck_assert_uint_eq(body.ttl_count, 3);
	ck_assert_mem_eq(out + 19,
			 "\300\14\0\41\0\1\0\0\0\5\0\11\0\1\0\2\0\3\1a\0"
			 "\300\14\0\43\0\1\0\0\0\5\0\14\0\1\0\2\1u\0\1x\1a\0"
			 "\300\14\xff\0\0\1\0\0\0\5\0\4\300\14\300\14",
			 body.len - 19);
}
END_TEST

START_TEST(test_normalize_extended_rcode)
{
	struct dnsreply reply;

	packet_start(&p, ID, ANSWER, 1, 0, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_opt(&p, 1232, 0x01000000, NULL, 0);
	ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
	ck_assert_uint_eq(reply.rcode, DNS_RCODE_BADVERS);
	ck_assert_int_eq(dnsreply_normalize(p.bytes, &reply, true, out, sizeof out, &body), 0);
	ck_assert_uint_eq(out[3] & 15, DNS_RCODE_SERVFAIL);
}
END_TEST

START_TEST(test_normalize_no_room)
{
	struct dnsreply reply;

	for (unsigned dnssec_ok = 0; dnssec_ok < 2; dnssec_ok++) {
		size_t len;

		put_signed_chain(DNS_TYPE_A);
		normalize("www.example", DNS_TYPE_A, dnssec_ok);
		len = body.len;
		ck_assert_int_eq(check("www.example", DNS_TYPE_A, &reply), DNSREPLY_OK);
		for (size_t cap = 0; cap <= len; cap++) {
			uint8_t *small = malloc(cap ? cap : 1);

			ck_assert_int_eq(
				dnsreply_normalize(p.bytes, &reply, dnssec_ok, small, cap, &body),
				cap < len ? -EMSGSIZE : 0);
			free(small);
		}
	}
}
END_TEST

START_TEST(test_many_records_are_not_kept)
{
	for (unsigned n = DNSREPLY_RECORDS_MAX; n <= DNSREPLY_RECORDS_MAX + 1; n++) {
		struct dnsreply reply;

		packet_start(&p, ID, ANSWER, 1, n, 0, 0);
		packet_question(&p, "a", DNS_TYPE_A);
		for (unsigned i = 0; i < n; i++) {
			packet_a(&p, "@12", 300);
		}
		ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
		ck_assert_int_eq(dnsreply_normalize(p.bytes, &reply, true, out, sizeof out, &body),
				 0);
		ck_assert_uint_eq(body.len, p.len);
		ck_assert_uint_eq(body.ttl_s, n > DNSREPLY_RECORDS_MAX ? 0 : 300);
	}
}
END_TEST

/* RFC 2181 section 5.2: the TTLs of an RRset are the least of them, copied or written anew. */
START_TEST(test_normalize_levels_ttls)
{
	static const struct {
		const char *owner;
		unsigned type;
		uint32_t ttl;
		uint32_t level;
	} records[] = {
		{ "@12", DNS_TYPE_A, 300, 20 },
		{ "a", DNS_TYPE_A, 100, 20 },
		{ "A", DNS_TYPE_A, 200, 20 },
		{ "@12", DNS_TYPE_A, 20, 20 },
		{ "b", DNS_TYPE_A, 50, 50 },
		{ "@12", 16, 400, 400 },
		{ "@12", DNS_TYPE_RRSIG, 10, 10 },
		{ "@12", DNS_TYPE_RRSIG, 900, 900 },
		{ "c", 16, 70, 0 },
		{ "c", 16, 0x80000000u, 0 },
	};
	/* Covered type and so on, with the root as signer. */
	static const uint8_t rdata[20] = { 4 };
	struct dnsreply reply;

	for (unsigned anew = 0; anew < 2; anew++) {
		packet_start(&p, ID, ANSWER, 1, ARRAY_SIZE(records), 0, 2 * anew);
		packet_question(&p, "a", DNS_TYPE_A);
		for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
			packet_rr(&p, records[i].owner, records[i].type, records[i].ttl, rdata,
				  records[i].type == DNS_TYPE_A ? 4 : 20);
		}
		if (anew) {
			packet_opt(&p, 1232, 0, "", 0);
			packet_rr(&p, "d", DNS_TYPE_A, 5, rdata, 4);
		}
		ck_assert_int_eq(check("a", DNS_TYPE_A, &reply), DNSREPLY_OK);
		ck_assert(reply.must_write == anew);
		ck_assert_int_eq(dnsreply_normalize(p.bytes, &reply, true, out, sizeof out, &body),
				 0);
		for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
			struct wire_reader r = wire_reader(out + body.ttl_offsets[i], 4);

			ck_assert_msg(wire_u32(&r) == records[i].level, "record %zu", i);
		}
	}
}
END_TEST

SUITE_MAIN("dnsreply", test_match, test_bare, test_kind, test_asked_for_what_it_is, test_truncated,
	   test_opt, test_keepalive, test_malformed, test_normalize_copies,
	   test_normalize_strips_dnssec, test_normalize_opt_in_the_middle,
	   test_normalize_pointer_into_ttl, test_normalize_types, test_normalize_extended_rcode,
	   test_normalize_no_room, test_normalize_levels_ttls, test_many_records_are_not_kept)
