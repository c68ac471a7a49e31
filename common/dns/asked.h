/* SPDX-License-Identifier: ISC */
/*
 * What was asked: the header and question of a query in flight, and whether a message that comes
 * back answers it (RFC 5452 section 9.1, RFC 7766 section 7). The check is byte-exact, so a query
 * whose letters have random case gains that much protection. Pure.
 */
#ifndef COMMON_DNS_ASKED_H
#define COMMON_DNS_ASKED_H

#include <stddef.h>
#include <stdint.h>

#define ASKED_HEADER_LEN   12
/* Header, longest name, type and class. */
#define ASKED_MAX          (ASKED_HEADER_LEN + 255 + 4)
/* Longest message without question that is taken as an answer, and what it can grow to. */
#define ASKED_BARE_MAX     512
#define ASKED_RESTORED_MAX (ASKED_BARE_MAX + ASKED_MAX - ASKED_HEADER_LEN)

struct asked {
	uint16_t len;
	uint8_t bytes[ASKED_MAX];
};

/* Where the question of a message with exactly one question ends; 0 when it has none, several, or a
 * malformed or compressed one. */
size_t asked_question_end(const uint8_t *msg, size_t len);

/* Keep header and question of a query. 0, or -EINVAL when it does not hold exactly one question. */
int asked_set(struct asked *asked, const uint8_t *msg, size_t len);

static inline uint16_t asked_id(const struct asked *asked)
{
	return (uint16_t)(asked->bytes[0] << 8 | asked->bytes[1]);
}

enum asked_fit {
	ASKED_OTHER,      /* answers something else, or is no answer at all */
	ASKED_OTHER_CASE, /* all fits, but for the case of letters in the name: no answer either */
	ASKED_ANSWERED,   /* same id, opcode and question */
	/* Same id and opcode, but no question: servers that do not understand a query (FORMERR,
	 * NOTIMP, some SERVFAIL and REFUSED) may return nothing but a header, perhaps with an OPT
	 * record. Only errors are taken so. */
	ASKED_BARE,
};

enum asked_fit asked_fit(const struct asked *asked, const uint8_t *msg, size_t len);

/* Put the question back into a message that is ASKED_BARE. Returns the new length. */
size_t asked_restore(const struct asked *asked, const uint8_t *msg, size_t len,
		     uint8_t ret_msg[ASKED_RESTORED_MAX]);

/* Make an answer without records to what was asked, with this response code. Returns its length,
 * that of what was asked. */
size_t asked_make_answer(const struct asked *asked, uint8_t rcode, uint8_t ret_msg[ASKED_MAX]);

#endif
