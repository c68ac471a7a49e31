/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/trail.h"

#include "dnsproxyd/message/dnsname.h"

#include <string.h>

/* A mark: nonce, group, server, hash of these and the question in lower case. */
#define GROUP_AT     TRAIL_NONCE_LEN
#define SERVER_AT    (GROUP_AT + 1)
#define HASH_AT      (SERVER_AT + 1)
#define QUESTION_MAX (DNSNAME_MAX + 4)

static void hash_mark(const struct crypto_key *key, const uint8_t *mark, const uint8_t *question,
		      size_t question_len, uint8_t ret_hash[sizeof(uint64_t)])
{
	uint8_t input[HASH_AT + QUESTION_MAX];
	size_t len = question_len < QUESTION_MAX ? question_len : QUESTION_MAX;
	uint64_t hash;

	memcpy(input, mark, HASH_AT);
	/* Others may change the case of letters. In type and class that does no harm: it is only a
	 * hash. */
	dnsname_lower(input + HASH_AT, question, len);
	hash = crypto_siphash(key, input, HASH_AT + len);
	memcpy(ret_hash, &hash, sizeof hash);
}

void trail_read(struct trail *trail, const uint8_t *option, size_t len)
{
	while (len >= TRAIL_MARK_LEN && trail->count < TRAIL_MARKS_MAX) {
		memcpy(trail->marks[trail->count++], option, TRAIL_MARK_LEN);
		option += TRAIL_MARK_LEN;
		len -= TRAIL_MARK_LEN;
	}
}

void trail_add(struct trail *trail, const struct crypto_key *key, const uint8_t *question,
	       size_t question_len, struct trail_place place, const uint8_t nonce[TRAIL_NONCE_LEN])
{
	uint8_t *mark;

	if (trail->count == TRAIL_MARKS_MAX) {
		return;
	}
	mark = trail->marks[trail->count++];
	memcpy(mark, nonce, TRAIL_NONCE_LEN);
	mark[GROUP_AT] = place.group;
	mark[SERVER_AT] = place.server;
	hash_mark(key, mark, question, question_len, mark + HASH_AT);
}

bool trail_find(const struct trail *trail, const struct crypto_key *key, const uint8_t *question,
		size_t question_len, struct trail_place *ret_place)
{
	uint8_t hash[sizeof(uint64_t)];

	for (unsigned i = 0; i < trail->count; i++) {
		const uint8_t *mark = trail->marks[i];

		hash_mark(key, mark, question, question_len, hash);
		if (memcmp(hash, mark + HASH_AT, sizeof hash) == 0) {
			*ret_place = (struct trail_place){ mark[GROUP_AT], mark[SERVER_AT] };
			return true;
		}
	}
	return false;
}
