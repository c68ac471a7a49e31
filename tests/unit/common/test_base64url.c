/* SPDX-License-Identifier: ISC */
#include "common/base64url.h"
#include "common/container.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *text;
	const char *bytes;
	ssize_t len; /* or -errno */
} cases[] = {
	{ "", "", 0 },
	{ "Zg", "f", 1 },
	{ "Zm8", "fo", 2 },
	{ "Zm9v", "foo", 3 },
	{ "Zm9vYg", "foob", 4 },
	{ "-_-_", "\xfb\xff\xbf", 3 },
	{ "AAAA", "\0\0\0", 3 },
	{ "Zg==", NULL, -EINVAL },  /* padded */
	{ "+/+/", NULL, -EINVAL },  /* the other alphabet */
	{ "Zm9vY", NULL, -EINVAL }, /* six bits alone */
	{ "Zh", NULL, -EINVAL },    /* bits that carry nothing are set */
	{ "Zm 9", NULL, -EINVAL },
	{ "Zm9\n", NULL, -EINVAL },
	{ "Zm9\xc3", NULL, -EINVAL },
};

START_TEST(test_decode)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[16];
		char text[16];
		ssize_t len =
			base64url_decode(cases[i].text, strlen(cases[i].text), bytes, sizeof bytes);

		ck_assert_msg(len == cases[i].len, "%s: %zd", cases[i].text, len);
		if (len >= 0) {
			ck_assert_mem_eq(bytes, cases[i].bytes, (size_t)len);
			ck_assert_uint_eq(base64url_encode(bytes, (size_t)len, text),
					  BASE64URL_CHARS((size_t)len));
			ck_assert_str_eq(text, cases[i].text);
		}
	}
}
END_TEST

START_TEST(test_room)
{
	uint8_t bytes[3] = { 0, 0, 0x5a };

	ck_assert_int_eq(base64url_decode("Zm9v", 4, bytes, 2), -EMSGSIZE);
	ck_assert_uint_eq(bytes[2], 0x5a);
	ck_assert_int_eq(base64url_decode("Zm9v", 4, bytes, 3), 3);
	/* Only the characters that were passed. */
	ck_assert_int_eq(base64url_decode("Zm9vYmFy", 4, bytes, 3), 3);
}
END_TEST

SUITE_MAIN("base64url", test_decode, test_room)
