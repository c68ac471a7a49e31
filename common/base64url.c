/* SPDX-License-Identifier: ISC */
#include "common/base64url.h"

#include <errno.h>

enum {
	BITS_PER_CHAR = 6,
	BITS_PER_BYTE = 8,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of a character, or -1. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

ssize_t base64url_decode(const char *text, size_t len, uint8_t *ret_bytes, size_t cap)
{
	uint32_t bits = 0;
	unsigned bit_count = 0;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int value = value_of(text[i]);

		if (value < 0) {
			return -EINVAL;
		}
		bits = bits << BITS_PER_CHAR | (uint32_t)value;
		bit_count += BITS_PER_CHAR;
		if (bit_count >= BITS_PER_BYTE) {
			if (n == cap) {
				return -EMSGSIZE;
			}
			bit_count -= BITS_PER_BYTE;
			ret_bytes[n++] = (uint8_t)(bits >> bit_count);
			bits &= (1u << bit_count) - 1;
		}
	}
	/* A single character holds no byte, and one text means one thing. */
	return bit_count == BITS_PER_CHAR || bits != 0 ? -EINVAL : (ssize_t)n;
}

size_t base64url_encode(const uint8_t *bytes, size_t len, char *ret_text)
{
	uint32_t bits = 0;
	unsigned bit_count = 0;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		bits = bits << BITS_PER_BYTE | bytes[i];
		bit_count += BITS_PER_BYTE;
		while (bit_count >= BITS_PER_CHAR) {
			bit_count -= BITS_PER_CHAR;
			ret_text[n++] = alphabet[bits >> bit_count & 63];
		}
		bits &= (1u << bit_count) - 1;
	}
	if (bit_count > 0) {
		ret_text[n++] = alphabet[bits << (BITS_PER_CHAR - bit_count) & 63];
	}
	ret_text[n] = '\0';
	return n;
}
