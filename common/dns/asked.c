/* SPDX-License-Identifier: ISC */
#include "common/dns/asked.h"

#include "common/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
	LABEL_MAX = 63,
	NAME_MAX_LEN = 255,
	FLAGS_QR = 0x80,     /* in byte 2 */
	FLAGS_OPCODE = 0x78, /* in byte 2 */
	FLAGS_RD = 0x01,     /* in byte 2 */
	FLAGS_RCODE = 0x0f,  /* in byte 3 */
	TYPE_OPT = 41,
};

/* The four record counts of a header (RFC 1035 section 4.1.1). */
struct counts {
	uint16_t questions;
	uint16_t answers;
	uint16_t authorities;
	uint16_t additionals;
};

static struct counts counts_read(const uint8_t header[ASKED_HEADER_LEN])
{
	struct wire_reader r = wire_reader(header + 4, ASKED_HEADER_LEN - 4);
	struct counts counts;

	counts.questions = wire_u16(&r);
	counts.answers = wire_u16(&r);
	counts.authorities = wire_u16(&r);
	counts.additionals = wire_u16(&r);
	return counts;
}

size_t asked_question_end(const uint8_t *msg, size_t len)
{
	struct wire_reader r = wire_reader(msg, len);
	size_t name_len = 0;
	uint8_t label;

	if (!wire_take(&r, ASKED_HEADER_LEN) || counts_read(msg).questions != 1) {
		return 0;
	}
	do {
		label = wire_u8(&r);
		name_len += 1u + label;
		if (label > LABEL_MAX || name_len > NAME_MAX_LEN) {
			return 0;
		}
		wire_take(&r, label);
	} while (label != 0 && !r.failed);
	wire_take(&r, 4);
	return r.failed ? 0 : wire_offset(&r);
}

int asked_set(struct asked *asked, const uint8_t *msg, size_t len)
{
	size_t end = asked_question_end(msg, len);

	if (end == 0) {
		return -EINVAL;
	}
	asked->len = (uint16_t)end;
	memcpy(asked->bytes, msg, end);
	return 0;
}

/* Whether a message without question is an error, with nothing behind the header but perhaps an OPT
 * record. The OPT record belongs to the root, so it may be moved without a compressed name losing
 * its target. */
static bool bare_error(const uint8_t *msg, size_t len, const struct counts *counts)
{
	struct wire_reader r = wire_reader(msg, len);

	if ((msg[3] & FLAGS_RCODE) == 0 || counts->answers || counts->authorities ||
	    len > ASKED_BARE_MAX) {
		return false;
	}
	if (counts->additionals == 0) {
		return len == ASKED_HEADER_LEN;
	}
	wire_take(&r, ASKED_HEADER_LEN);
	return counts->additionals == 1 && wire_u8(&r) == 0 && wire_u16(&r) == TYPE_OPT;
}

/* Whether the questions agree but for case. Length octets are below 'A', so they compare as they
 * are.
 */
static bool same_but_for_case(const struct asked *asked, const uint8_t *msg)
{
	const size_t name_end = asked->len - 4u;

	for (size_t i = ASKED_HEADER_LEN; i < name_end; i++) {
		uint8_t a = asked->bytes[i];
		uint8_t b = msg[i];

		if (a != b && !((a ^ b) == 0x20 && (a | 0x20) >= 'a' && (a | 0x20) <= 'z')) {
			return false;
		}
	}
	return memcmp(msg + name_end, asked->bytes + name_end, 4) == 0;
}

enum asked_fit asked_fit(const struct asked *asked, const uint8_t *msg, size_t len)
{
	struct counts counts;

	if (len < ASKED_HEADER_LEN || memcmp(msg, asked->bytes, 2) != 0 ||
	    (msg[2] & (FLAGS_QR | FLAGS_OPCODE)) != (FLAGS_QR | (asked->bytes[2] & FLAGS_OPCODE))) {
		return ASKED_OTHER;
	}
	counts = counts_read(msg);
	if (counts.questions == 0 && bare_error(msg, len, &counts)) {
		return ASKED_BARE;
	}
	if (counts.questions == 1 && len >= asked->len &&
	    memcmp(msg + ASKED_HEADER_LEN, asked->bytes + ASKED_HEADER_LEN,
		   asked->len - ASKED_HEADER_LEN) == 0) {
		return ASKED_ANSWERED;
	}
	if (counts.questions == 1 && len >= asked->len && same_but_for_case(asked, msg)) {
		return ASKED_OTHER_CASE;
	}
	return ASKED_OTHER;
}

size_t asked_restore(const struct asked *asked, const uint8_t *msg, size_t len,
		     uint8_t ret_msg[ASKED_RESTORED_MAX])
{
	const size_t tail_len = len - ASKED_HEADER_LEN;

	assert(len <= ASKED_BARE_MAX);
	memcpy(ret_msg, msg, ASKED_HEADER_LEN);
	ret_msg[5] = 1; /* one question */
	memcpy(ret_msg + ASKED_HEADER_LEN, asked->bytes + ASKED_HEADER_LEN,
	       asked->len - ASKED_HEADER_LEN);
	memcpy(ret_msg + asked->len, msg + ASKED_HEADER_LEN, tail_len);
	return asked->len + tail_len;
}

size_t asked_make_answer(const struct asked *asked, uint8_t rcode, uint8_t ret_msg[ASKED_MAX])
{
	static const uint8_t one_question[8] = { 0, 1 };

	memcpy(ret_msg, asked->bytes, asked->len);
	ret_msg[2] = (uint8_t)(FLAGS_QR | (asked->bytes[2] & (FLAGS_OPCODE | FLAGS_RD)));
	ret_msg[3] = rcode;
	memcpy(ret_msg + 4, one_question, sizeof one_question);
	return asked->len;
}
