/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/dnsmsg.h"
#include "common/container.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#define OPT_DO 0x8000

static struct packet p;

static unsigned word(const uint8_t *msg, size_t offset)
{
	return (unsigned)(msg[offset] << 8 | msg[offset + 1]);
}

/* --- parse_query
 * ---------------------------------------------------------------------------------- */

START_TEST(test_plain_query)
{
	struct dnsmsg_query q;

	packet_start(&p, 0x1234, DNSMSG_RD | DNSMSG_CD, 1, 0, 0, 0);
	packet_question(&p, "wWw.Example.com", DNS_TYPE_AAAA);
	ck_assert_int_eq(dnsmsg_parse_query(p.bytes, p.len, &q), DNSMSG_OK);
	ck_assert_uint_eq(q.id, 0x1234);
	ck_assert_uint_eq(q.flags, DNSMSG_RD | DNSMSG_CD);
	ck_assert_uint_eq(q.qtype, DNS_TYPE_AAAA);
	ck_assert_uint_eq(q.qclass, DNS_CLASS_IN);
	ck_assert_uint_eq(q.question_len, 21);
	ck_assert_mem_eq(q.question, "\3wWw\7Example\3com\0\0\34\0\1", 21);
	ck_assert_uint_eq(q.payload, 512);
	ck_assert(!q.has_opt && !q.dnssec_ok && !q.is_signed);
}
END_TEST

static const struct {
	unsigned payload;
	uint32_t flags;
	const char *options;
	size_t options_len;
	enum dnsmsg_verdict verdict;
	unsigned payload_read;
} opt_cases[] = {
	{ 1232, OPT_DO, "", 0, DNSMSG_OK, 1232 },
	{ 0, 0, "", 0, DNSMSG_OK, 512 },
	{ 511, 0, "", 0, DNSMSG_OK, 512 },
	{ 65535, 0x7fff, "", 0, DNSMSG_OK, 65535 }, /* Z bits mean nothing */
	{ 4096, 0, "\0\12\0\10abcdefgh\0\14\0\0", 16, DNSMSG_OK, 4096 },
	{ 4096, 0x10000, "", 0, DNSMSG_BADVERS, 4096 },
	{ 4096, 0xff0000 | OPT_DO, "\0\12\0\0", 4, DNSMSG_BADVERS, 4096 },
	{ 4096, 0, "\0\12\0\11abcdefgh", 12, DNSMSG_FORMERR, 4096 },
	{ 4096, 0, "\0\12\0", 3, DNSMSG_FORMERR, 4096 },
};

START_TEST(test_opt)
{
	for (size_t i = 0; i < ARRAY_SIZE(opt_cases); i++) {
		struct dnsmsg_query q;

		packet_start(&p, 1, DNSMSG_RD, 1, 0, 0, 1);
		packet_question(&p, "a", DNS_TYPE_A);
		packet_opt(&p, opt_cases[i].payload, opt_cases[i].flags, opt_cases[i].options,
			   opt_cases[i].options_len);
		ck_assert_msg(dnsmsg_parse_query(p.bytes, p.len, &q) == opt_cases[i].verdict,
			      "case %zu", i);
		ck_assert(q.has_opt);
		ck_assert_uint_eq(q.payload, opt_cases[i].payload_read);
		ck_assert(q.dnssec_ok == !!(opt_cases[i].flags & OPT_DO));
	}
}
END_TEST

static const struct {
	const char *what;
	const char *bytes;
	size_t len;
	enum dnsmsg_verdict verdict;
	bool has_question;
	bool has_opt;
} odd_cases[] = {
#define HEADER(flags, qd, an, ns, ar) "\0\1" flags "\0" qd "\0" an "\0" ns "\0" ar
#define QUESTION                      "\1a\0\0\1\0\1"
#define OPT                           "\0\0\51\4\320\0\0\0\0\0\0"
#define CASE(bytes)                   bytes, sizeof(bytes) - 1
	{ "empty", CASE(""), DNSMSG_DROP, false, false },
	{ "short header", CASE("\0\1\1\0\0\1\0\0\0\0\0"), DNSMSG_DROP, false, false },
	{ "response", CASE(HEADER("\200\0", "\1", "\0", "\0", "\0") QUESTION), DNSMSG_DROP, false,
	  false },
	{ "status", CASE(HEADER("\20\0", "\1", "\0", "\0", "\0") QUESTION), DNSMSG_NOTIMP, false,
	  false },
	{ "update", CASE(HEADER("\50\0", "\0", "\0", "\0", "\0")), DNSMSG_NOTIMP, false, false },
	{ "dso", CASE(HEADER("\60\0", "\0", "\0", "\0", "\0") "\0\1\0\0"), DNSMSG_NOTIMP, false,
	  false },
	{ "no question", CASE(HEADER("\1\0", "\0", "\0", "\0", "\0")), DNSMSG_FORMERR, false,
	  false },
	{ "no question, opt", CASE(HEADER("\1\0", "\0", "\0", "\0", "\1") OPT), DNSMSG_FORMERR,
	  false, true },
	{ "two questions", CASE(HEADER("\1\0", "\2", "\0", "\0", "\0") QUESTION QUESTION),
	  DNSMSG_FORMERR, false, false },
	{ "two questions, opt", CASE(HEADER("\1\0", "\2", "\0", "\0", "\1") QUESTION QUESTION OPT),
	  DNSMSG_FORMERR, false, true },
	{ "question missing", CASE(HEADER("\1\0", "\1", "\0", "\0", "\0")), DNSMSG_FORMERR, false,
	  false },
	{ "question short", CASE(HEADER("\1\0", "\1", "\0", "\0", "\0") "\1a\0\0\1\0"),
	  DNSMSG_FORMERR, false, false },
	{ "question compressed", CASE(HEADER("\1\0", "\1", "\0", "\0", "\0") "\300\14\0\1\0\1"),
	  DNSMSG_FORMERR, false, false },
	{ "trailing octet", CASE(HEADER("\1\0", "\1", "\0", "\0", "\0") QUESTION "\0"),
	  DNSMSG_FORMERR, true, false },
	{ "octet after opt", CASE(HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION OPT "\0"),
	  DNSMSG_FORMERR, true, true },
	{ "two opt", CASE(HEADER("\1\0", "\1", "\0", "\0", "\2") QUESTION OPT OPT), DNSMSG_FORMERR,
	  true, true },
	{ "opt as answer", CASE(HEADER("\1\0", "\1", "\1", "\0", "\0") QUESTION OPT),
	  DNSMSG_FORMERR, true, false },
	{ "opt as authority", CASE(HEADER("\1\0", "\1", "\0", "\1", "\0") QUESTION OPT),
	  DNSMSG_FORMERR, true, false },
	{ "opt not at the root", CASE(HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION "\1a" OPT),
	  DNSMSG_FORMERR, true, false },
	{ "opt cut short",
	  CASE(HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION "\0\0\51\4\320\0\0\0\0\0"),
	  DNSMSG_FORMERR, true, false },
	{ "record missing", CASE(HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION), DNSMSG_FORMERR,
	  true, false },
	{ "version before excess",
	  CASE(HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION "\0\0\51\4\320\0\1\0\0\0\0x"),
	  DNSMSG_FORMERR, true, true },
	{ "soa of ixfr",
	  CASE(HEADER("\1\0", "\1", "\0", "\1", "\0") QUESTION "\300\14\0\6\0\1\0\0\0\0\0\0"),
	  DNSMSG_OK, true, false },
};

START_TEST(test_odd_queries)
{
	for (size_t i = 0; i < ARRAY_SIZE(odd_cases); i++) {
		uint8_t *msg = malloc(odd_cases[i].len + 1);
		struct dnsmsg_query q = { .question_len = 0 };
		uint8_t reply[DNSMSG_UDP_MIN];
		enum dnsmsg_verdict verdict;

		memcpy(msg, odd_cases[i].bytes, odd_cases[i].len);
		msg = realloc(msg, odd_cases[i].len ? odd_cases[i].len : 1);
		verdict = dnsmsg_parse_query(msg, odd_cases[i].len, &q);
		free(msg);
		ck_assert_msg(verdict == odd_cases[i].verdict, "%s", odd_cases[i].what);
		ck_assert_msg((q.question_len > 0) == odd_cases[i].has_question, "%s",
			      odd_cases[i].what);
		if (verdict > 0) {
			size_t len = dnsmsg_error(&q, (unsigned)verdict, NULL, reply, sizeof reply);

			ck_assert_msg(q.has_opt == odd_cases[i].has_opt, "%s", odd_cases[i].what);
			ck_assert_uint_eq(len, 12u + q.question_len + (q.has_opt ? 11 : 0));
			ck_assert_uint_eq(word(reply, 0), 1);
			ck_assert_uint_eq(word(reply, 2) & DNSMSG_OPCODE, q.flags & DNSMSG_OPCODE);
			ck_assert_uint_eq(word(reply, 2) & DNSMSG_RCODE, (unsigned)verdict & 15);
			ck_assert_uint_eq(word(reply, 4), odd_cases[i].has_question);
			ck_assert_uint_eq(word(reply, 10), odd_cases[i].has_opt);
		}
	}
}
END_TEST

START_TEST(test_signed_query)
{
	struct dnsmsg_query q;

	packet_start(&p, 1, DNSMSG_RD, 1, 0, 0, 2);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_opt(&p, 1232, 0, NULL, 0);
	packet_rr(&p, "key", DNS_TYPE_TSIG, 0, "rubbish", 7);
	ck_assert_int_eq(dnsmsg_parse_query(p.bytes, p.len, &q), DNSMSG_OK);
	ck_assert(q.is_signed && q.has_opt);

	packet_start(&p, 1, DNSMSG_RD, 1, 0, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_rr(&p, ".", DNS_TYPE_SIG, 0, "\0\0x", 3);
	ck_assert_int_eq(dnsmsg_parse_query(p.bytes, p.len, &q), DNSMSG_OK);
	ck_assert(q.is_signed);

	p.bytes[p.len - 2] = 1; /* covers A: an ordinary record */
	ck_assert_int_eq(dnsmsg_parse_query(p.bytes, p.len, &q), DNSMSG_OK);
	ck_assert(!q.is_signed);
}
END_TEST

/* --- build_query
 * ---------------------------------------------------------------------------------- */

START_TEST(test_build_query)
{
	struct dnsmsg_query client;
	struct dnsmsg_query q;
	uint8_t buf[DNSMSG_QUERY_MAX];
	size_t len;

	packet_parse_query(&client, "wWw.example", DNS_TYPE_A, 0, 4096, OPT_DO);
	len = dnsmsg_build_query(&client, 0x4321,
				 DNSMSG_SEND_EDNS | DNSMSG_SEND_DO | DNSMSG_SEND_CD, buf);
	ck_assert_int_eq(dnsmsg_parse_query(buf, len, &q), DNSMSG_OK);
	ck_assert_uint_eq(q.id, 0x4321);
	ck_assert_uint_eq(q.flags, DNSMSG_RD | DNSMSG_AD | DNSMSG_CD);
	ck_assert_uint_eq(q.question_len, client.question_len);
	ck_assert_mem_eq(q.question, client.question, client.question_len);
	ck_assert(q.has_opt && q.dnssec_ok);
	ck_assert_uint_eq(q.payload, 1232);

	len = dnsmsg_build_query(&client, 0, DNSMSG_SEND_EDNS, buf);
	ck_assert_int_eq(dnsmsg_parse_query(buf, len, &q), DNSMSG_OK);
	ck_assert_uint_eq(q.flags, DNSMSG_RD | DNSMSG_AD);
	ck_assert(q.has_opt && !q.dnssec_ok);

	len = dnsmsg_build_query(&client, 0, 0, buf);
	ck_assert_uint_eq(len, (size_t)12 + client.question_len);
	ck_assert_int_eq(dnsmsg_parse_query(buf, len, &q), DNSMSG_OK);
	ck_assert(!q.has_opt);
}
END_TEST

/* --- answer
 * --------------------------------------------------------------------------------------- */

#define STORED (DNSMSG_QR | DNSMSG_RA)

static const struct {
	unsigned query_flags;
	int payload; /* below 0: no OPT */
	uint32_t opt_flags;
	unsigned stored_flags;
	unsigned flags;
} flag_cases[] = {
	{ DNSMSG_RD, -1, 0, STORED, STORED | DNSMSG_RD },
	{ 0, -1, 0, STORED, STORED },
	{ DNSMSG_CD, -1, 0, STORED, STORED | DNSMSG_CD },
	{ DNSMSG_RD, -1, 0, STORED | DNSMSG_AD, STORED | DNSMSG_RD },
	{ DNSMSG_AD, -1, 0, STORED | DNSMSG_AD, STORED | DNSMSG_AD },
	{ DNSMSG_AD, -1, 0, STORED, STORED },
	{ DNSMSG_RD, 1232, OPT_DO, STORED | DNSMSG_AD, STORED | DNSMSG_RD | DNSMSG_AD },
	{ DNSMSG_RD, 1232, 0, STORED | DNSMSG_AD, STORED | DNSMSG_RD },
	/* AA, Z and the stored RD and CD do not come through; the rcode and TC do. */
	{ DNSMSG_TC | 0x40, 1232, 0, 0xffff & ~DNSMSG_RCODE & ~DNSMSG_TC, STORED },
	{ 0, -1, 0, STORED | DNS_RCODE_NXDOMAIN, STORED | DNS_RCODE_NXDOMAIN },
	{ 0, -1, 0, STORED | DNSMSG_TC, STORED | DNSMSG_TC },
};

START_TEST(test_answer_flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(flag_cases); i++) {
		bool has_opt = flag_cases[i].payload >= 0;
		struct dnsmsg_query q;
		size_t len;

		packet_parse_query(&q, "ExamplE", DNS_TYPE_A, flag_cases[i].query_flags,
				   flag_cases[i].payload, flag_cases[i].opt_flags);
		packet_start(&p, 0, flag_cases[i].stored_flags, 1, 1, 0, 1);
		packet_question(&p, "example", DNS_TYPE_A);
		packet_a(&p, "@12", 300);
		packet_a(&p, "other", 300);
		len = dnsmsg_answer(p.bytes, p.len, &q, NULL, 512);
		ck_assert_uint_eq(len, p.len + (has_opt ? 11 : 0));
		ck_assert_uint_eq(word(p.bytes, 0), 0xabcd);
		ck_assert_msg(word(p.bytes, 2) == flag_cases[i].flags, "case %zu: %04x", i,
			      word(p.bytes, 2));
		ck_assert_uint_eq(word(p.bytes, 4), 1);
		ck_assert_uint_eq(word(p.bytes, 6), 1);
		ck_assert_uint_eq(word(p.bytes, 10), has_opt ? 2 : 1);
		ck_assert_mem_eq(p.bytes + 12, "\7ExamplE", 9);
		if (has_opt) {
			const uint8_t do_bit = flag_cases[i].opt_flags ? 0x80 : 0;
			const uint8_t opt[11] = { 0, 0, 41, 0x04, 0xd0, 0, 0, do_bit, 0, 0, 0 };

			ck_assert_mem_eq(p.bytes + p.len, opt, 11);
		}
	}
}
END_TEST

/* Fill up to `len` octets with one TXT-like record. */
static void stored_of_length(size_t len)
{
	static const uint8_t zeros[DNSMSG_MAX];

	packet_start(&p, 0, STORED | DNSMSG_AD, 1, 1, 0, 0);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_rr(&p, "@12", 16, 300, zeros, len - p.len - 12);
	ck_assert_uint_eq(p.len, len);
}

START_TEST(test_truncation)
{
	struct dnsmsg_query plain;
	struct dnsmsg_query edns;

	packet_parse_query(&plain, "a", DNS_TYPE_A, DNSMSG_RD, -1, 0);
	packet_parse_query(&edns, "a", DNS_TYPE_A, DNSMSG_RD, 1232, OPT_DO);
	stored_of_length(512);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &plain, NULL, 512), 512);
	ck_assert(!(word(p.bytes, 2) & DNSMSG_TC));
	stored_of_length(513);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &plain, NULL, 512), 12 + 7);
	ck_assert_uint_eq(word(p.bytes, 2), STORED | DNSMSG_RD | DNSMSG_TC);
	ck_assert_uint_eq(word(p.bytes, 6), 0);

	stored_of_length(1232 - 11);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, NULL, 1232), 1232);
	ck_assert(!(word(p.bytes, 2) & DNSMSG_TC));
	stored_of_length(1232 - 10);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, NULL, 1232), 12 + 7 + 11);
	ck_assert_uint_eq(word(p.bytes, 2), STORED | DNSMSG_RD | DNSMSG_TC);
	ck_assert_uint_eq(word(p.bytes, 6), 0);
	ck_assert_uint_eq(word(p.bytes, 8), 0);
	ck_assert_uint_eq(word(p.bytes, 10), 1);
	stored_of_length(DNSMSG_MAX - 11);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, NULL, DNSMSG_MAX), DNSMSG_MAX);
}
END_TEST

START_TEST(test_ede)
{
	const struct dnsmsg_ede ede = { DNS_EDE_STALE_ANSWER, "old" };
	struct dnsmsg_query plain;
	struct dnsmsg_query edns;

	packet_parse_query(&plain, "a", DNS_TYPE_A, DNSMSG_RD, -1, 0);
	packet_parse_query(&edns, "a", DNS_TYPE_A, DNSMSG_RD, 512, 0);
	stored_of_length(100);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &plain, &ede, 512), 100);
	stored_of_length(100);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, &ede, 512), 120);
	ck_assert_mem_eq(p.bytes + 109, "\0\11\0\17\0\5\0\3old", 11);

	/* First the text goes, then the option, then the answer. */
	stored_of_length(512 - 20);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, &ede, 512), 512);
	stored_of_length(512 - 19);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, &ede, 512), 493 + 17);
	ck_assert_mem_eq(p.bytes + 493 + 9, "\0\6\0\17\0\2\0\3", 8);
	stored_of_length(512 - 16);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, &ede, 512), 496 + 11);
	ck_assert_uint_eq(word(p.bytes, 496 + 9), 0);
	stored_of_length(512 - 10);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &edns, &ede, 512), 12 + 7 + 20);
	ck_assert(word(p.bytes, 2) & DNSMSG_TC);
}
END_TEST

START_TEST(test_reason)
{
	/* 118 letters and a character of three octets, which does not fit any more. */
	static uint8_t longest[2 + 200];
	struct dnsmsg_reason reason = { .is_set = false };
	const struct dnsmsg_reason none = { .is_set = false };
	struct dnsmsg_ede ede;

	ck_assert_ptr_null(dnsmsg_reason_ede(&none, &ede));
	ck_assert(!dnsmsg_reason_set(&reason, (const uint8_t *)"\0", 1));
	ck_assert(!reason.is_set);
	ck_assert(dnsmsg_reason_set(&reason, (const uint8_t *)"\0\17", 2));
	ck_assert_ptr_eq(dnsmsg_reason_ede(&reason, &ede), &ede);
	ck_assert_uint_eq(ede.code, DNS_EDE_BLOCKED);
	ck_assert_str_eq(ede.text, "");
	ck_assert(dnsmsg_reason_set(&reason, (const uint8_t *)"\1\2why\0not", 9));
	ck_assert_uint_eq(reason.code, 258);
	ck_assert_str_eq(reason.text, "why");
	memset(longest, 'x', sizeof longest);
	memcpy(longest + 2 + 118, "\xe2\x82\xac", 3);
	ck_assert(dnsmsg_reason_set(&reason, longest, sizeof longest));
	ck_assert_uint_eq(strlen(reason.text), 118);
	longest[2 + 118] = longest[2 + 119] = longest[2 + 120] = 'y';
	ck_assert(dnsmsg_reason_set(&reason, longest, sizeof longest));
	ck_assert_uint_eq(strlen(reason.text), DNSMSG_REASON_TEXT_MAX);
}
END_TEST

START_TEST(test_append_reason)
{
	struct dnsmsg_reason reason = { .is_set = true, .code = 15, .text = "no" };
	uint8_t msg[12 + 7 + 11 + 8] = "\0\0\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1";

	ck_assert_uint_eq(dnsmsg_append_reason(msg, 19, sizeof msg, &reason), sizeof msg);
	ck_assert_mem_eq(msg + 19, "\0\0\x29\4\xd0\0\0\0\0\0\10\0\17\0\4\0\17no", 19);
	ck_assert_uint_eq(msg[11], 1);
	msg[11] = 0;
	/* The text goes first, then the rest. */
	ck_assert_uint_eq(dnsmsg_append_reason(msg, 19, sizeof msg - 1, &reason), sizeof msg - 2);
	msg[11] = 0;
	ck_assert_uint_eq(dnsmsg_append_reason(msg, 19, 19 + 10, &reason), 19);
	ck_assert_uint_eq(msg[11], 0);
	reason.is_set = false;
	ck_assert_uint_eq(dnsmsg_append_reason(msg, 19, sizeof msg, &reason), 19);
}
END_TEST

START_TEST(test_error)
{
	const struct dnsmsg_ede ede = { DNS_EDE_NETWORK_ERROR, NULL };
	uint8_t buf[DNSMSG_UDP_MIN];
	struct dnsmsg_query q;
	size_t len;

	packet_parse_query(&q, "Ab", DNS_TYPE_A, DNSMSG_RD | DNSMSG_AD, 1232, OPT_DO);
	len = dnsmsg_error(&q, DNS_RCODE_SERVFAIL, &ede, buf, sizeof buf);
	ck_assert_uint_eq(len, 12 + 8 + 17);
	ck_assert_mem_eq(buf,
			 "\xab\xcd\x81\x82\0\1\0\0\0\0\0\1"
			 "\2Ab\0\0\1\0\1"
			 "\0\0\51\4\xd0\0\0\x80\0\0\6\0\17\0\2\0\27",
			 len);

	len = dnsmsg_error(&q, DNS_RCODE_BADVERS, NULL, buf, sizeof buf);
	ck_assert_uint_eq(len, 12 + 8 + 11);
	ck_assert_uint_eq(word(buf, 2) & DNSMSG_RCODE, 0);
	ck_assert_uint_eq(buf[12 + 8 + 5], 1);

	packet_parse_query(&q, "Ab", DNS_TYPE_A, 0, -1, 0);
	len = dnsmsg_error(&q, DNS_RCODE_BADVERS, &ede, buf, sizeof buf);
	ck_assert_uint_eq(len, 12 + 8);
	ck_assert_uint_eq(word(buf, 2), STORED | DNS_RCODE_SERVFAIL);
	ck_assert_uint_eq(word(buf, 10), 0);
}
END_TEST

static const struct {
	int payload;
	size_t max;
	size_t limit;
} limit_cases[] = {
	{ -1, 1232, 512 },     { 100, 1232, 512 },     { 512, 1232, 512 },
	{ 1000, 1232, 1000 },  { 1232, 1232, 1232 },   { 4096, 1232, 1232 },
	{ 65535, 4096, 4096 }, { 65535, 65535, 4096 }, { 4096, 0, 512 },
};

START_TEST(test_udp_limit)
{
	for (size_t i = 0; i < ARRAY_SIZE(limit_cases); i++) {
		struct dnsmsg_query q;

		packet_parse_query(&q, "a", DNS_TYPE_A, 0, limit_cases[i].payload, 0);
		ck_assert_uint_eq(dnsmsg_udp_limit(&q, limit_cases[i].max), limit_cases[i].limit);
	}
}
END_TEST

START_TEST(test_keepalive)
{
	const struct dnsmsg_ede ede = { DNS_EDE_STALE_ANSWER, "old" };
	struct dnsmsg_query q;

	packet_start(&p, 7, DNSMSG_RD, 1, 0, 0, 1);
	packet_question(&p, "a", DNS_TYPE_A);
	packet_opt(&p, 1232, 0, "\0\13\0\0", 4);
	ck_assert_int_eq(dnsmsg_parse_query(p.bytes, p.len, &q), DNSMSG_OK);
	ck_assert(q.wants_keepalive);
	ck_assert_uint_eq(q.keepalive, 0);
	q.keepalive = 100;
	stored_of_length(100);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &q, NULL, 512), 100 + 11 + 6);
	ck_assert_mem_eq(p.bytes + 109, "\0\6\0\13\0\2\0\144", 8);
	/* It stays where EDE goes. */
	stored_of_length(512 - 11 - 6 - 8);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &q, &ede, 512), 512 - 2);
	ck_assert_mem_eq(p.bytes + 512 - 8 - 8, "\0\14\0\13\0\2\0\144\0\17\0\2\0\3", 14);
	stored_of_length(512 - 11 - 6);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &q, &ede, 512), 512);
	stored_of_length(512 - 11 - 5);
	ck_assert_msg(dnsmsg_answer(p.bytes, p.len, &q, NULL, 512) < 50, "it counts");
	packet_parse_query(&q, "a", DNS_TYPE_A, DNSMSG_RD, 1232, 0);
	ck_assert(!q.wants_keepalive);
}
END_TEST

/* Whatever is asked, its length tells nothing (RFC 8467 section 4.1). */
START_TEST(test_padded_query)
{
	static const unsigned send[] = {
		DNSMSG_SEND_EDNS | DNSMSG_SEND_PADDING,
		DNSMSG_SEND_EDNS | DNSMSG_SEND_PADDING | DNSMSG_SEND_KEEPALIVE | DNSMSG_SEND_DO,
	};
	char name[256];
	uint8_t buf[DNSMSG_QUERY_MAX];
	struct dnsmsg_query client;
	struct dnsmsg_query q;

	for (size_t name_len = 1; name_len <= 253; name_len += name_len % 64 == 63 ? 2 : 1) {
		for (size_t i = 0; i < name_len; i++) {
			name[i] = i % 64 == 63 && i + 1 < name_len ? '.' : 'x';
		}
		name[name_len] = '\0';
		packet_parse_query(&client, name, DNS_TYPE_A, 0, 1232, 0);
		for (size_t i = 0; i < 2; i++) {
			size_t least = 12u + client.question_len + 11u + 4u + 4u * i;
			size_t len;

			memset(buf, 0xff, sizeof buf);
			len = dnsmsg_build_query(&client, 7, send[i], buf);
			ck_assert_uint_eq(len % 128, 0);
			ck_assert_uint_ge(len, least);
			ck_assert_uint_lt(len, least + 128);
			ck_assert_int_eq(dnsmsg_parse_query(buf, len, &q), DNSMSG_OK);
			ck_assert(q.is_padded);
			ck_assert_int_eq(q.wants_keepalive, i == 1);
			for (size_t k = least; k < len; k++) {
				ck_assert_uint_eq(buf[k], 0);
			}
		}
	}
	packet_parse_query(&client, "a", DNS_TYPE_A, 0, 1232, 0);
	dnsmsg_build_query(&client, 7, send[1], buf);
	ck_assert_mem_eq(buf + 12 + 7 + 11, "\0\13\0\0\0\14\0", 7);
}
END_TEST

START_TEST(test_padded_reply)
{
	static const struct {
		size_t stored;
		size_t limit;
		size_t len;
	} cases[] = {
		{ 50, DNSMSG_MAX, 468 },
		{ 468 - 11 - 4, DNSMSG_MAX, 468 },
		{ 468 - 11 - 3, DNSMSG_MAX, 936 },
		{ 600, DNSMSG_MAX, 936 },
		{ 600, 700, 700 }, /* as far as there is room */
		{ 600, 614, 611 }, /* none for the option itself */
		{ 65535 - 11, DNSMSG_MAX, 65535 },
		{ 65000, DNSMSG_MAX, 65052 },
		{ 65400, DNSMSG_MAX, 65520 },
		{ 65515, DNSMSG_MAX, 65535 },
	};
	struct dnsmsg_query q;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		packet_parse_query(&q, "a", DNS_TYPE_A, DNSMSG_RD, 1232, 0);
		ck_assert(!q.is_padded && !q.pad_reply);
		q.pad_reply = true;
		stored_of_length(cases[i].stored);
		ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &q, NULL, cases[i].limit),
				  cases[i].len);
	}
	/* No OPT, nothing to put it in. */
	packet_parse_query(&q, "a", DNS_TYPE_A, DNSMSG_RD, -1, 0);
	q.pad_reply = true;
	stored_of_length(100);
	ck_assert_uint_eq(dnsmsg_answer(p.bytes, p.len, &q, NULL, DNSMSG_MAX), 100);
}
END_TEST

START_TEST(test_truncated)
{
	uint8_t buf[DNSMSG_UDP_MIN];
	struct dnsmsg_query q;
	size_t len;

	packet_parse_query(&q, "Ab", DNS_TYPE_A, DNSMSG_RD, 1232, 0);
	len = dnsmsg_truncated(&q, buf, sizeof buf);
	ck_assert_uint_eq(len, 12 + 8 + 11);
	ck_assert_mem_eq(buf, "\xab\xcd\x83\x80\0\1\0\0\0\0\0\1\2Ab\0\0\1\0\1", 20);
}
END_TEST

SUITE_MAIN("dnsmsg", test_plain_query, test_opt, test_odd_queries, test_signed_query,
	   test_build_query, test_answer_flags, test_truncation, test_ede, test_reason,
	   test_append_reason, test_error, test_udp_limit, test_keepalive, test_padded_query,
	   test_padded_reply, test_truncated)
