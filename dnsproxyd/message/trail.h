/* SPDX-License-Identifier: ISC */
/*
 * Forwarders that ask each other in a ring pass a question round and round. To notice that, a
 * question to a server in this network carries an EDNS option (of the codes for local use, RFC 6891
 * section 9) with a mark of ours, which other daemons of this kind pass on, with theirs added; who
 * finds its own mark in a client's question ends the loop. Servers that know nothing of it ignore
 * the option (RFC 6891 section 6.1.2).
 *
 * A mark is worth nothing to anybody else: it is a random number and a keyed hash over that and the
 * question, so no two look alike, none can be made up, and one that is overheard makes us refuse
 * the same question to whoever sends it along, and nobody else. It names the server it was sent to,
 * in terms of our configuration.
 *
 * Pure. Thread: any.
 */
#ifndef DNSPROXYD_MESSAGE_TRAIL_H
#define DNSPROXYD_MESSAGE_TRAIL_H

#include "common/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRAIL_OPTION    65313 /* EDNS option code */
#define TRAIL_NONCE_LEN 6
#define TRAIL_MARK_LEN  16
/* Forwarders in a row; those behind them add no mark, and pass on what there is. In a larger ring
 * the first ones notice it. */
#define TRAIL_MARKS_MAX 4

/* The marks a question has. All-zero is none. */
struct trail {
	uint8_t count;
	uint8_t marks[TRAIL_MARKS_MAX][TRAIL_MARK_LEN];
};

/* Which of our servers a question was sent to: indices of the configuration. */
struct trail_place {
	uint8_t group;
	uint8_t server;
};

/* Take over the marks of an option; what is no mark, or too many, is left out. */
void trail_read(struct trail *trail, const uint8_t *option, size_t len);

/* Add our mark, if there is room. The question is name, type and class. */
void trail_add(struct trail *trail, const struct crypto_key *key, const uint8_t *question,
	       size_t question_len, struct trail_place place, const uint8_t nonce[TRAIL_NONCE_LEN]);

/* Whether one of the marks is ours; if so, where we sent the question. */
bool trail_find(const struct trail *trail, const struct crypto_key *key, const uint8_t *question,
		size_t question_len, struct trail_place *ret_place);

#endif
