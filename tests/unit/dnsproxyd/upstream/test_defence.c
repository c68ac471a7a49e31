/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/defence.h"

#include "tests/unit/suite.h"

#include <string.h>

#define T UINT64_C(1000000)

START_TEST(test_case_by_default)
{
	const struct defence d = { 0 };

	ck_assert(defence_wants_case(&d, false, T));
	/* Asked again, a server that never proved itself is asked plainly. */
	ck_assert(!defence_wants_case(&d, true, T));
	ck_assert(!defence_wants_stream(&d, T));
}
END_TEST

START_TEST(test_server_that_copes)
{
	struct defence d = { 0 };

	defence_note_exact(&d);
	ck_assert(defence_wants_case(&d, true, T));
	/* It does not answer any more: perhaps another server stands there now. */
	defence_note_silence(&d);
	defence_note_silence(&d);
	ck_assert(defence_wants_case(&d, true, T));
	defence_note_silence(&d);
	ck_assert(!defence_wants_case(&d, true, T));
	ck_assert(defence_wants_case(&d, false, T));
	defence_note_exact(&d);
	ck_assert(defence_wants_case(&d, true, T));
}
END_TEST

START_TEST(test_server_that_cannot)
{
	struct defence d = { 0 };

	ck_assert(!defence_note_strike(&d, T));
	ck_assert(defence_wants_case(&d, false, T));
	ck_assert(defence_note_strike(&d, T + 1));
	ck_assert(!defence_wants_case(&d, false, T + 1));
	ck_assert(!defence_note_strike(&d, T + 2));
	ck_assert(!defence_wants_case(&d, false, T + DEFENCE_CASE_OFF_MS));
	/* It is tried again, and again takes all the evidence. */
	ck_assert(defence_wants_case(&d, false, T + 1 + DEFENCE_CASE_OFF_MS));
	ck_assert(!defence_note_strike(&d, T + 1 + DEFENCE_CASE_OFF_MS));
	ck_assert(defence_wants_case(&d, false, T + 1 + DEFENCE_CASE_OFF_MS));
}
END_TEST

START_TEST(test_proof_outweighs_a_strike)
{
	struct defence d = { 0 };

	for (unsigned i = 0; i < 100; i++) {
		ck_assert(!defence_note_strike(&d, T + i));
		defence_note_exact(&d);
	}
	ck_assert(defence_wants_case(&d, false, T + 100));
}
END_TEST

START_TEST(test_burst)
{
	struct defence d = { 0 };

	for (unsigned i = 1; i < DEFENCE_BURST_COUNT; i++) {
		ck_assert(!defence_note_wrong_id(&d, T + i));
		ck_assert(!defence_wants_stream(&d, T + i));
	}
	ck_assert(defence_note_wrong_id(&d, T + 100));
	ck_assert(defence_wants_stream(&d, T + 100));
	/* The rest of the burst is no news. */
	for (unsigned i = 0; i < 3 * DEFENCE_BURST_COUNT; i++) {
		ck_assert(!defence_note_wrong_id(&d, T + 101 + i));
	}
	ck_assert(defence_wants_stream(&d, T + 99 + DEFENCE_STREAM_MS));
	ck_assert(!defence_wants_stream(&d, T + 100 + DEFENCE_STREAM_MS));
}
END_TEST

START_TEST(test_few_wrong_ids_are_no_burst)
{
	struct defence d = { 0 };

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now_ms = T + i * (DEFENCE_BURST_MS / (DEFENCE_BURST_COUNT - 1) + 1);

		ck_assert(!defence_note_wrong_id(&d, now_ms));
	}
}
END_TEST

START_TEST(test_server_without_tcp)
{
	struct defence d = { 0 };

	defence_note_stream_failed(&d, T); /* it went by TCP for another reason */
	for (unsigned i = 0; i < DEFENCE_BURST_COUNT; i++) {
		defence_note_wrong_id(&d, T);
	}
	ck_assert(defence_wants_stream(&d, T));
	defence_note_stream_failed(&d, T + 5);
	ck_assert(!defence_wants_stream(&d, T + 5));
	for (unsigned i = 0; i < 10 * DEFENCE_BURST_COUNT; i++) {
		ck_assert(!defence_note_wrong_id(&d, T + 6 + i));
	}
	ck_assert(!defence_wants_stream(&d, T + 200));
	for (unsigned i = 0; i < DEFENCE_BURST_COUNT; i++) {
		defence_note_wrong_id(&d, T + 5 + DEFENCE_NO_STREAM_MS);
	}
	ck_assert(defence_wants_stream(&d, T + 5 + DEFENCE_NO_STREAM_MS));
}
END_TEST

START_TEST(test_mixed_case)
{
	static const char name[] = "\3www\7ex-mple\3cOm";
	uint8_t random[DEFENCE_RANDOM_LEN];
	uint8_t mixed[sizeof name];

	memset(random, 0, sizeof random);
	memcpy(mixed, name, sizeof name);
	defence_mix_case(mixed, sizeof name, random);
	ck_assert_mem_eq(mixed, name, sizeof name);
	memset(random, 0xff, sizeof random);
	defence_mix_case(mixed, sizeof name, random);
	ck_assert_mem_eq(mixed, "\3WWW\7EX-MPLE\3CoM", sizeof name);
}
END_TEST

START_TEST(test_longest_name)
{
	uint8_t random[DEFENCE_RANDOM_LEN];
	uint8_t name[255];

	memset(random, 0xff, sizeof random);
	memset(name, 'a', sizeof name);
	defence_mix_case(name, sizeof name, random);
	for (size_t i = 0; i < sizeof name; i++) {
		ck_assert_int_eq(name[i], 'A');
	}
}
END_TEST

START_TEST(test_telling_case)
{
	ck_assert(!defence_case_is_telling((const uint8_t *)"\3www\7example\3com", 17));
	ck_assert(defence_case_is_telling((const uint8_t *)"\6static\7example\3com", 20));
	ck_assert(!defence_case_is_telling((const uint8_t *)"\x10"
							    "0123456789012345\3com",
					   22));
}
END_TEST

SUITE_MAIN("defence", test_case_by_default, test_server_that_copes, test_server_that_cannot,
	   test_proof_outweighs_a_strike, test_burst, test_few_wrong_ids_are_no_burst,
	   test_server_without_tcp, test_mixed_case, test_longest_name, test_telling_case)
