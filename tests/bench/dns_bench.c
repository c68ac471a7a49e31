/* SPDX-License-Identifier: ISC */
#include "tests/bench/dns_bench.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

enum {
	TYPE_A = 1,
	TYPE_OPT = 41,
	RECORD_BYTES = 16, /* with a compressed name */
	OPT_BYTES = 11,
};

/* n0000000.bench.zone */
static const uint8_t name_form[DNS_BENCH_NAME + 1] = "\x08n0000000\x05"
						     "bench\x04zone";

static uint32_t address_of(uint32_t n)
{
	return htonl(0x0a000000u | ((n * 2654435761u) >> 8));
}

void dns_bench_query(uint8_t query[DNS_BENCH_QUERY], uint16_t id, uint32_t n)
{
	static const uint8_t rest[] = { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };

	query[0] = (uint8_t)(id >> 8);
	query[1] = (uint8_t)id;
	memcpy(query + 2, rest, sizeof rest);
	memcpy(query + DNS_BENCH_HEADER, name_form, DNS_BENCH_NAME);
	for (int i = DNS_BENCH_DIGITS; i > 0; i--, n /= 10) {
		query[DNS_BENCH_HEADER + 1 + i] = (uint8_t)('0' + n % 10);
	}
	memcpy(query + DNS_BENCH_HEADER + DNS_BENCH_NAME, "\x00\x01\x00\x01", 4);
}

/* The number in a name at `name`, whatever the case of its letters; false when it is another. */
static bool number_of(const uint8_t *name, uint32_t *ret_n)
{
	uint32_t n = 0;

	for (int i = 0; i < DNS_BENCH_NAME; i++) {
		if (i >= 2 && i < 2 + DNS_BENCH_DIGITS) {
			n = n * 10 + (uint32_t)(name[i] - '0');
		} else if (tolower(name[i]) != name_form[i]) {
			return false;
		}
	}
	*ret_n = n;
	return n < DNS_BENCH_NAMES;
}

size_t dns_bench_answer(uint8_t *message, size_t len, size_t max)
{
	const uint8_t opt[OPT_BYTES] = { 0, 0, TYPE_OPT, 4, 208, 0, 0, 0, 0, 0, 0 };
	uint8_t record[RECORD_BYTES] = {
		0xc0, DNS_BENCH_HEADER, 0, TYPE_A, 0, 1, 0, 1, 0x51, 0x80, 0, 4
	};
	size_t end = DNS_BENCH_QUERY;
	bool has_opt, is_a;
	uint32_t n;

	if (len < DNS_BENCH_QUERY || max < DNS_BENCH_QUERY + RECORD_BYTES + OPT_BYTES ||
	    (message[2] & 0xf8) != 0 || !number_of(message + DNS_BENCH_HEADER, &n)) {
		return 0;
	}
	has_opt = message[11] == 1;
	is_a = memcmp(message + DNS_BENCH_HEADER + DNS_BENCH_NAME, "\x00\x01", 2) == 0;
	message[2] = (uint8_t)(0x84 | (message[2] & 1));
	message[3] = 0x80;
	memset(message + 6, 0, 6);
	message[7] = is_a;
	message[11] = has_opt;
	if (is_a) {
		uint32_t address = address_of(n);

		memcpy(record + 12, &address, 4);
		memcpy(message + end, record, sizeof record);
		end += sizeof record;
	}
	if (has_opt) {
		memcpy(message + end, opt, sizeof opt);
		end += sizeof opt;
	}
	return end;
}

bool dns_bench_is_answer(const uint8_t *message, size_t len, uint32_t n)
{
	uint8_t query[DNS_BENCH_QUERY];
	uint32_t address = address_of(n);
	size_t record = DNS_BENCH_QUERY;

	dns_bench_query(query, 0, n);
	if (len < DNS_BENCH_QUERY + RECORD_BYTES ||
	    memcmp(message + DNS_BENCH_HEADER, query + DNS_BENCH_HEADER,
		   DNS_BENCH_QUERY - DNS_BENCH_HEADER) != 0 ||
	    (message[2] & 0x82) != 0x80 || (message[3] & 0x0f) != 0 ||
	    memcmp(message + 4, "\x00\x01\x00\x01", 4) != 0) {
		return false;
	}
	/* Its name is compressed, or written out. */
	record += message[record] >= 0xc0 ? 2 : DNS_BENCH_NAME;
	return record + 14 <= len && memcmp(message + record, "\x00\x01\x00\x01", 4) == 0 &&
	       memcmp(message + record + 8, "\x00\x04", 2) == 0 &&
	       memcmp(message + record + 10, &address, 4) == 0;
}
