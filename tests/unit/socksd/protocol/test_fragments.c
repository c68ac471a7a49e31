/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/protocol/fragments.h"

#include "tests/unit/suite.h"

#include <string.h>

static struct udp_header header(uint8_t fragment)
{
	struct udp_header h = { .fragment = fragment, .port = 53 };

	ck_assert_int_eq(addr_parse("192.0.2.1:53", 0, &h.addr), 0);
	return h;
}

/* One fragment; the result, and what was lost. */
struct step {
	uint8_t fragment;
	const char *text;
	uint64_t now_ms;
	enum fragments_result result;
	unsigned lost;
	const char *whole; /* DONE */
};

static void run(const struct step *steps, size_t count, unsigned left)
{
	struct fragments *f = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		struct udp_header h = header(s->fragment);
		const uint8_t *bytes = NULL;
		size_t len = 0;
		unsigned lost;

		ck_assert_int_eq(fragments_add(&f, &h, (const uint8_t *)s->text, strlen(s->text),
					       s->now_ms, &bytes, &len, &lost),
				 s->result);
		ck_assert_uint_eq(lost, s->lost);
		if (s->whole) {
			ck_assert_uint_eq(len, strlen(s->whole));
			ck_assert_mem_eq(bytes, s->whole, len);
			ck_assert_uint_eq(fragments_due_ms(f), 0);
		}
	}
	ck_assert_uint_eq(fragments_drop(&f), left);
	ck_assert_ptr_null(f);
}

#define RUN(left, ...)                                        \
	do {                                                  \
		const struct step steps_[] = { __VA_ARGS__ }; \
		run(steps_, ARRAY_SIZE(steps_), left);        \
	} while (0)

START_TEST(test_in_order)
{
	RUN(0, { 1, "ab", 10, FRAGMENTS_MORE, 0, NULL }, { 2, "", 20, FRAGMENTS_MORE, 0, NULL },
	    { 0x83, "cd", 30, FRAGMENTS_DONE, 0, "abcd" });
	/* One alone, and one sequence after another. */
	RUN(0, { 0x81, "x", 10, FRAGMENTS_DONE, 0, "x" }, { 0x81, "", 10, FRAGMENTS_DONE, 0, "" },
	    { 1, "y", 10, FRAGMENTS_MORE, 0, NULL }, { 0x82, "z", 10, FRAGMENTS_DONE, 0, "yz" });
}
END_TEST

START_TEST(test_out_of_order)
{
	/* A gap loses all, the sequence's end included. */
	RUN(0, { 1, "a", 10, FRAGMENTS_MORE, 0, NULL }, { 3, "c", 10, FRAGMENTS_LOST, 2, NULL },
	    { 0x84, "d", 10, FRAGMENTS_LOST, 1, NULL });
	/* Repeated, or beginning again: the new one counts. */
	RUN(0, { 1, "a", 10, FRAGMENTS_MORE, 0, NULL }, { 2, "b", 10, FRAGMENTS_MORE, 0, NULL },
	    { 2, "b", 10, FRAGMENTS_LOST, 3, NULL });
	RUN(0, { 1, "a", 10, FRAGMENTS_MORE, 0, NULL }, { 1, "b", 10, FRAGMENTS_MORE, 1, NULL },
	    { 0x82, "c", 10, FRAGMENTS_DONE, 0, "bc" });
	/* No place 0, marked as last or not. */
	RUN(0, { 0x80, "a", 10, FRAGMENTS_LOST, 1, NULL });
	RUN(0, { 2, "a", 10, FRAGMENTS_LOST, 1, NULL });
	/* Dropped halfway. */
	RUN(2, { 1, "a", 10, FRAGMENTS_MORE, 0, NULL }, { 2, "b", 10, FRAGMENTS_MORE, 0, NULL });
}
END_TEST

START_TEST(test_time)
{
	struct fragments *f = NULL;
	struct udp_header h = header(1);
	const uint8_t *bytes;
	size_t len;
	unsigned lost;

	RUN(0, { 1, "a", 10, FRAGMENTS_MORE, 0, NULL },
	    { 0x82, "b", 10 + FRAGMENTS_MS - 1, FRAGMENTS_DONE, 0, "ab" });
	RUN(0, { 1, "a", 10, FRAGMENTS_MORE, 0, NULL },
	    { 0x82, "b", 10 + FRAGMENTS_MS, FRAGMENTS_LOST, 2, NULL });
	ck_assert_uint_eq(fragments_due_ms(f), 0);
	fragments_add(&f, &h, (const uint8_t *)"a", 1, 100, &bytes, &len, &lost);
	ck_assert_uint_eq(fragments_due_ms(f), 100 + FRAGMENTS_MS);
	ck_assert_uint_eq(fragments_drop(&f), 1);
}
END_TEST

/* Fragments of one datagram have one target. */
START_TEST(test_target)
{
	struct udp_header first = header(1);
	struct udp_header other = header(0x82);
	struct fragments *f = NULL;
	const uint8_t *bytes;
	size_t len;
	unsigned lost;

	fragments_add(&f, &first, (const uint8_t *)"a", 1, 0, &bytes, &len, &lost);
	other.port = 54;
	addr_set_port(&other.addr, 54);
	ck_assert_int_eq(fragments_add(&f, &other, (const uint8_t *)"b", 1, 0, &bytes, &len, &lost),
			 FRAGMENTS_LOST);
	ck_assert_uint_eq(lost, 2);

	first.addr = (struct addr){ 0 };
	strcpy(first.name, "a.example");
	fragments_add(&f, &first, (const uint8_t *)"a", 1, 0, &bytes, &len, &lost);
	other = first;
	other.fragment = 0x82;
	strcpy(other.name, "b.example");
	ck_assert_int_eq(fragments_add(&f, &other, (const uint8_t *)"b", 1, 0, &bytes, &len, &lost),
			 FRAGMENTS_LOST);
	ck_assert_ptr_null(f);
}
END_TEST

/* 127 fragments, to the last byte that a datagram can have, and one more. */
START_TEST(test_size)
{
	static uint8_t piece[FRAGMENTS_BYTES_MAX];

	for (size_t extra = 0; extra < 2; extra++) {
		struct fragments *f = NULL;
		size_t each = FRAGMENTS_BYTES_MAX / 127;
		size_t left = FRAGMENTS_BYTES_MAX - 126 * each + extra;
		const uint8_t *bytes;
		enum fragments_result result = FRAGMENTS_LOST;
		size_t len = 0;
		unsigned lost;

		for (unsigned place = 1; place <= 127; place++) {
			struct udp_header h = header((uint8_t)(place < 127 ? place : 0x80 | 127));

			memset(piece, (int)place, each);
			result = fragments_add(&f, &h, piece, place < 127 ? each : left, 0, &bytes,
					       &len, &lost);
			ck_assert_int_eq(result, place < 127 ? FRAGMENTS_MORE
						 : extra     ? FRAGMENTS_LOST
							     : FRAGMENTS_DONE);
		}
		if (extra) {
			ck_assert_uint_eq(lost, 127);
		} else {
			ck_assert_uint_eq(len, FRAGMENTS_BYTES_MAX);
			ck_assert_uint_eq(bytes[0], 1);
			ck_assert_uint_eq(bytes[126 * each - 1], 126);
			ck_assert_uint_eq(bytes[126 * each], 127);
		}
		ck_assert_uint_eq(fragments_drop(&f), 0);
	}
}
END_TEST

SUITE_MAIN("fragments", test_in_order, test_out_of_order, test_time, test_target, test_size)
