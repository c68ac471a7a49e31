/* SPDX-License-Identifier: ISC */
/* A DNS stamp as text. What is taken must come out of stamp_format() as it went in. */
#include "common/dns/stamp.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char formatted[STAMP_FORMAT_MAX];
	struct stamp stamp;
	struct stamp again;
	char *text = malloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	if (stamp_parse(text, &stamp) == 0) {
		assert(stamp.port != 0 && stamp.name[0] != '\0');
		stamp_format(&stamp, formatted);
		assert(stamp_parse(formatted, &again) == 0);
		assert(again.kind == stamp.kind && again.port == stamp.port);
		assert(addr_equal(&again.addr, &stamp.addr));
		assert(strcmp(again.name, stamp.name) == 0);
		assert(strcmp(again.path, stamp.path) == 0);
		assert(again.hash_count == stamp.hash_count);
		assert(again.bootstrap_count == stamp.bootstrap_count);
	}
	free(text);
	return 0;
}
