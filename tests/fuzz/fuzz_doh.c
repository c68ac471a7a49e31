/* SPDX-License-Identifier: ISC */
/*
 * DNS over HTTPS. Input: a byte that says what it is, then a request's path (of a GET), a content
 * type, or a message whose TTLs are shortened.
 */
#include "common/dns/doh.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	PART_COUNT = 3,
	AGE_S = 1000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fuzz_get(const char *path)
{
	const struct doh_request request = { "GET", path, "", NULL, 0 };
	uint8_t *buf = malloc(DOH_QUERY_MAX);
	const uint8_t *msg;
	size_t len;

	if (doh_find_query(&request, buf, &msg, &len) == DOH_OK) {
		assert(msg == buf && len > 0 && len <= DOH_QUERY_MAX);
		assert(strncmp(path, DOH_PATH "?", sizeof DOH_PATH) == 0);
	}
	free(buf);
}

static void fuzz_message(uint8_t *msg, size_t len)
{
	uint32_t before_s = doh_max_age_s(msg, len);
	uint32_t after_s;

	doh_age(msg, len, AGE_S);
	after_s = doh_max_age_s(msg, len);
	/* SOA's MINIMUM stays, and so does what is broken. */
	assert(after_s <= before_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy;
	char *text;

	if (len == 0) {
		return 0;
	}
	copy = malloc(len);
	text = malloc(len);
	memcpy(copy, data + 1, len - 1);
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';
	switch (data[0] % PART_COUNT) {
	case 0:
		fuzz_get(text);
		break;
	case 1:
		(void)doh_is_message_type(text);
		break;
	case 2:
		fuzz_message(copy, len - 1);
		break;
	}
	free(copy);
	free(text);
	return 0;
}
