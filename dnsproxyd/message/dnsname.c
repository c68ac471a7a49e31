/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/dnsname.h"

#include <errno.h>
#include <string.h>

/* No name may start in the header of a message. */
#define FIRST_TARGET 12

/* A name has at most 127 labels, so an honest one has fewer pointers; a chain of bare pointers ends
 * here. */
#define HOPS_MAX     127

size_t dnsname_len(const uint8_t *name, size_t avail)
{
	size_t pos = 0;

	while (pos < avail && pos < DNSNAME_MAX) {
		if (name[pos] == 0) {
			return pos + 1;
		}
		if (name[pos] > DNSNAME_LABEL_MAX) {
			return 0;
		}
		pos += 1 + (size_t)name[pos];
	}
	return 0;
}

size_t dnsname_expand(const uint8_t *msg, size_t len, size_t offset, uint8_t out[DNSNAME_MAX],
		      size_t *ret_len)
{
	size_t pos = offset;
	size_t run_start = offset; /* of the labels read since the last pointer */
	size_t limit = len;        /* where they must end: at the labels that led to them */
	size_t after = 0;          /* the first pointer */
	size_t out_len = 0;
	unsigned hops = 0;

	while (pos < limit) {
		size_t label_len = msg[pos];

		if (label_len >= DNSNAME_POINTER) {
			if (limit - pos < 2 || ++hops > HOPS_MAX) {
				return 0;
			}
			after = after ? after : pos + 2;
			pos = (label_len & 0x3f) << 8 | msg[pos + 1];
			if (pos < FIRST_TARGET || pos >= run_start) {
				return 0;
			}
			limit = run_start;
			run_start = pos;
			continue;
		}
		if (label_len > DNSNAME_LABEL_MAX || label_len >= limit - pos ||
		    out_len + 1 + label_len > DNSNAME_MAX) {
			return 0;
		}
		if (out) {
			memcpy(out + out_len, msg + pos, 1 + label_len);
		}
		pos += 1 + label_len;
		out_len += 1 + label_len;
		if (label_len == 0) {
			*ret_len = out_len;
			return after ? after : pos;
		}
	}
	return 0;
}

size_t dnsname_skip(const uint8_t *msg, size_t len, size_t offset)
{
	size_t name_len;

	return dnsname_expand(msg, len, offset, NULL, &name_len);
}

static uint8_t lower(uint8_t c)
{
	return (uint8_t)(c | ((uint8_t)(c - 'A') < 26) << 5);
}

#define EVERY_OCTET(value) (UINT64_C(0x0101010101010101) * (value))

/* The same for eight octets at once. The top bit of each octet of `above` is set when the octet
 * without its own top bit is above 'Z', that of `from` when it is from 'A' on. */
static uint64_t lower_word(uint64_t word)
{
	uint64_t low = word & EVERY_OCTET(0x7f);
	uint64_t above = low + EVERY_OCTET(0x7f - 'Z');
	uint64_t from = low + EVERY_OCTET(0x80 - 'A');

	return word | (((above ^ from) & ~word & EVERY_OCTET(0x80)) >> 2);
}

void dnsname_lower(uint8_t *dst, const uint8_t *src, size_t len)
{
	size_t i = 0;

	for (uint64_t word; len - i >= sizeof word; i += sizeof word) {
		memcpy(&word, src + i, sizeof word);
		word = lower_word(word);
		memcpy(dst + i, &word, sizeof word);
	}
	for (; i < len; i++) {
		dst[i] = lower(src[i]);
	}
}

bool dnsname_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t i = 0;

	for (uint64_t x, y; len - i >= sizeof x; i += sizeof x) {
		memcpy(&x, a + i, sizeof x);
		memcpy(&y, b + i, sizeof y);
		if (lower_word(x) != lower_word(y)) {
			return false;
		}
	}
	for (; i < len; i++) {
		if (lower(a[i]) != lower(b[i])) {
			return false;
		}
	}
	return true;
}

/* One octet of a label; returns the end of what was written. */
static char *format_octet(char *p, uint8_t c)
{
	if (c <= ' ' || c >= 0x7f) {
		*p++ = '\\';
		*p++ = (char)('0' + c / 100);
		*p++ = (char)('0' + c / 10 % 10);
		*p++ = (char)('0' + c % 10);
		return p;
	}
	if (c == '.' || c == '\\' || c == '"') {
		*p++ = '\\';
	}
	*p++ = (char)c;
	return p;
}

const char *dnsname_format(const uint8_t *name, char buf[DNSNAME_TEXT_MAX])
{
	char *p = buf;

	if (name[0] == 0) {
		*p++ = '.';
	}
	while (name[0] != 0) {
		if (p > buf) {
			*p++ = '.';
		}
		for (size_t i = 1; i <= name[0]; i++) {
			p = format_octet(p, name[i]);
		}
		name += 1 + name[0];
	}
	*p = '\0';
	return buf;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The octet that *text stands for, escaped or not; moves *text past it. -EINVAL for a bad escape.
 */
static int parse_octet(const char **text)
{
	const char *p = *text;
	int value;

	if (p[0] != '\\') {
		*text = p + 1;
		return (uint8_t)p[0];
	}
	if (!is_digit(p[1])) {
		*text = p + 2;
		return p[1] == '\0' ? -EINVAL : (uint8_t)p[1];
	}
	if (!is_digit(p[2]) || !is_digit(p[3])) {
		return -EINVAL;
	}
	value = (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
	*text = p + 4;
	return value > 255 ? -EINVAL : value;
}

int dnsname_parse(const char *text, uint8_t ret_name[DNSNAME_MAX], size_t *ret_len)
{
	uint8_t name[DNSNAME_MAX];
	size_t len = 0;

	if (strcmp(text, ".") == 0) {
		text++;
	} else if (*text == '\0') {
		return -EINVAL;
	}
	while (*text != '\0') {
		size_t label = len++;

		while (*text != '\0' && *text != '.') {
			int octet = parse_octet(&text);

			/* One octet stays free for the root. */
			if (octet < 0 || len >= DNSNAME_MAX - 1) {
				return -EINVAL;
			}
			name[len++] = (uint8_t)octet;
		}
		if (len - label - 1 < 1 || len - label - 1 > DNSNAME_LABEL_MAX) {
			return -EINVAL;
		}
		name[label] = (uint8_t)(len - label - 1);
		text += *text == '.';
	}
	name[len++] = 0;
	memcpy(ret_name, name, len);
	*ret_len = len;
	return 0;
}
