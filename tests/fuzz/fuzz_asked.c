/* SPDX-License-Identifier: ISC */
/*
 * A query and a message that may answer it. Input: the length of the query in one byte, the query,
 * the message.
 */
#include "common/dns/asked.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_answer(const struct asked *asked)
{
	uint8_t answer[ASKED_MAX];
	size_t len = asked_make_answer(asked, 2, answer);

	assert(asked_fit(asked, answer, len) == ASKED_ANSWERED);
	answer[0] ^= 1;
	assert(asked_fit(asked, answer, len) == ASKED_OTHER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t restored[ASKED_RESTORED_MAX];
	struct asked asked;
	const uint8_t *msg;
	uint8_t *copy;
	size_t query_len;
	size_t restored_len;

	if (len == 0) {
		return 0;
	}
	query_len = data[0] < len - 1 ? data[0] : len - 1;
	msg = data + 1 + query_len;
	len -= 1 + query_len;
	if (asked_set(&asked, data + 1, query_len) < 0) {
		assert(asked_question_end(data + 1, query_len) == 0);
		return 0;
	}
	assert(asked.len <= query_len && memcmp(asked.bytes, data + 1, asked.len) == 0);
	check_answer(&asked);
	/* Of exactly its length, so that reading beyond is found. */
	copy = malloc(len ? len : 1);
	memcpy(copy, msg, len);
	switch (asked_fit(&asked, copy, len)) {
	case ASKED_ANSWERED:
		assert(asked_question_end(copy, len) == asked.len);
		break;
	case ASKED_BARE:
		restored_len = asked_restore(&asked, copy, len, restored);
		assert(restored_len == len + asked.len - ASKED_HEADER_LEN);
		assert(asked_fit(&asked, restored, restored_len) == ASKED_ANSWERED);
		break;
	case ASKED_OTHER_CASE:
		assert(asked_question_end(copy, len) == asked.len);
		break;
	case ASKED_OTHER:
		break;
	}
	free(copy);
	return 0;
}
