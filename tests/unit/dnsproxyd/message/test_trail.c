/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/trail.h"

#include "dnsproxyd/message/dnsmsg.h"

#include "tests/unit/dnsproxyd/dnspacket.h"
#include "tests/unit/suite.h"

#include <ctype.h>
#include <string.h>

static const struct crypto_key ours = { { 1 } };
static const struct crypto_key theirs = { { 2 } };
static const uint8_t nonce[TRAIL_NONCE_LEN] = { 9, 8, 7, 6, 5, 4 };

static void make_question(struct dnsmsg_query *query, const char *name)
{
	packet_parse_query(query, name, DNS_TYPE_A, DNSMSG_RD, 1232, 0);
}

static void add(struct trail *trail, const struct crypto_key *key, const struct dnsmsg_query *q,
		uint8_t server)
{
	const struct trail_place place = { 3, server };

	trail_add(trail, key, q->question, q->question_len, place, nonce);
}

static bool find(const struct trail *trail, const struct crypto_key *key,
		 const struct dnsmsg_query *q, struct trail_place *ret_place)
{
	return trail_find(trail, key, q->question, q->question_len, ret_place);
}

START_TEST(test_own_mark_is_found)
{
	struct trail trail = { 0 };
	struct trail_place place;
	struct dnsmsg_query q;

	make_question(&q, "www.example.com");
	ck_assert(!find(&trail, &ours, &q, &place));
	add(&trail, &theirs, &q, 1);
	ck_assert(!find(&trail, &ours, &q, &place));
	add(&trail, &ours, &q, 7);
	add(&trail, &theirs, &q, 2);
	ck_assert(find(&trail, &ours, &q, &place));
	ck_assert_uint_eq(place.group, 3);
	ck_assert_uint_eq(place.server, 7);
	/* Whatever has become of the letters' case on the way. */
	for (size_t i = 0; i < q.question_len - 4u; i++) {
		q.question[i] = (uint8_t)toupper(q.question[i]);
	}
	ck_assert(find(&trail, &ours, &q, &place));
}
END_TEST

/* A mark stands for one question, and none of its bits can be another. */
START_TEST(test_no_other_mark_is_ours)
{
	struct trail trail = { 0 };
	struct trail_place place;
	struct dnsmsg_query q;
	struct dnsmsg_query other;

	make_question(&q, "www.example.com");
	add(&trail, &ours, &q, 7);
	make_question(&other, "wwx.example.com");
	ck_assert(!find(&trail, &ours, &other, &place));
	packet_parse_query(&other, "www.example.com", DNS_TYPE_AAAA, DNSMSG_RD, 1232, 0);
	ck_assert(!find(&trail, &ours, &other, &place));
	for (unsigned bit = 0; bit < TRAIL_MARK_LEN * 8; bit++) {
		struct trail changed = trail;

		changed.marks[0][bit / 8] ^= (uint8_t)(1U << bit % 8);
		ck_assert(!find(&changed, &ours, &q, &place));
	}
	ck_assert(find(&trail, &ours, &q, &place));
}
END_TEST

START_TEST(test_no_more_than_fit)
{
	struct trail trail = { 0 };
	struct trail_place place;
	struct dnsmsg_query q;

	make_question(&q, "www.example.com");
	for (uint8_t i = 0; i < TRAIL_MARKS_MAX; i++) {
		add(&trail, &theirs, &q, i);
	}
	add(&trail, &ours, &q, 7);
	ck_assert_uint_eq(trail.count, TRAIL_MARKS_MAX);
	ck_assert(!find(&trail, &ours, &q, &place));
	ck_assert(find(&trail, &theirs, &q, &place));
	ck_assert_uint_eq(place.server, 0);
}
END_TEST

static const struct {
	size_t len;
	unsigned count;
} lengths[] = { { 0, 0 },  { 1, 0 },  { 15, 0 }, { 16, 1 }, { 17, 1 }, { 31, 1 },
		{ 32, 2 }, { 64, 4 }, { 65, 4 }, { 80, 4 }, { 400, 4 } };

START_TEST(test_read)
{
	uint8_t option[400];

	for (size_t i = 0; i < sizeof option; i++) {
		option[i] = (uint8_t)i;
	}
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct trail trail = { 0 };

		trail_read(&trail, option, lengths[i].len);
		ck_assert_uint_eq(trail.count, lengths[i].count);
		ck_assert_mem_eq(trail.marks, option, lengths[i].count * TRAIL_MARK_LEN);
	}
}
END_TEST

/* The longest question with a full trail: through a message and back. */
START_TEST(test_in_a_message)
{
	static const char longest[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb."
		"ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc."
		"ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";
	uint8_t buf[DNSMSG_QUERY_MAX];
	struct dnsmsg_query q;
	struct dnsmsg_query back;
	struct trail_place place;
	size_t plain_len;

	make_question(&q, longest);
	ck_assert_uint_eq(q.question_len, DNSMSG_QUESTION_MAX);
	plain_len = dnsmsg_build_query(&q, 1, DNSMSG_SEND_EDNS | DNSMSG_SEND_TRAIL, buf);
	ck_assert_uint_eq(plain_len, dnsmsg_build_query(&q, 1, DNSMSG_SEND_EDNS, buf));
	for (uint8_t i = 0; i < TRAIL_MARKS_MAX; i++) {
		size_t len;

		add(&q.trail, &ours, &q, i);
		len = dnsmsg_build_query(&q, 1, DNSMSG_SEND_EDNS | DNSMSG_SEND_TRAIL, buf);
		ck_assert_uint_eq(len, plain_len + 4 + q.trail.count * (size_t)TRAIL_MARK_LEN);
		ck_assert_uint_le(len, DNSMSG_QUERY_MAX);
		ck_assert_int_eq(dnsmsg_parse_query(buf, len, &back), DNSMSG_OK);
		ck_assert_uint_eq(back.trail.count, i + 1);
		ck_assert_mem_eq(back.trail.marks, q.trail.marks,
				 back.trail.count * (size_t)TRAIL_MARK_LEN);
		ck_assert(find(&back.trail, &ours, &back, &place));
	}
	/* Not without EDNS, and not unless asked for. */
	ck_assert_uint_eq(dnsmsg_build_query(&q, 1, DNSMSG_SEND_EDNS, buf), plain_len);
	ck_assert_uint_lt(dnsmsg_build_query(&q, 1, DNSMSG_SEND_TRAIL, buf), plain_len);
	/* A query that follows in the same place has none. */
	make_question(&back, "www.example.com");
	ck_assert_uint_eq(back.trail.count, 0);
}
END_TEST

SUITE_MAIN("trail", test_own_mark_is_found, test_no_other_mark_is_ours, test_no_more_than_fit,
	   test_read, test_in_a_message)
