/* SPDX-License-Identifier: ISC */
/* Datagrams as from rtnetlink, each after its length in one byte, taken one after the other. */
#include "common/netfacts.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct netfacts *facts = calloc(1, sizeof *facts);

	while (facts && len > 0) {
		size_t part_len = data[0] < len - 1 ? data[0] : len - 1;
		/* Of exactly its length, so that reading beyond is found. */
		uint8_t *part = malloc(part_len ? part_len : 1);

		if (!part) {
			break;
		}
		memcpy(part, data + 1, part_len);
		(void)netfacts_take(facts, part, part_len);
		/* The same again is no news, unless it says that something is gone. */
		if (part_len >= 6 && (part[4] & 3) == 0) {
			(void)netfacts_take(facts, part, part_len);
		}
		for (size_t i = 1; i < facts->count; i++) {
			assert(facts->items[i - 1] < facts->items[i]);
		}
		free(part);
		data += 1 + part_len;
		len -= 1 + part_len;
	}
	free(facts);
	return 0;
}
