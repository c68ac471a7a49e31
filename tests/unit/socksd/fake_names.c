/* SPDX-License-Identifier: ISC */
#include "tests/unit/socksd/fake_names.h"

#include "tests/unit/suite.h"

#include <string.h>

enum {
	TYPE_A = 1,
	TYPE_AAAA = 28,
};

static void answer(struct fake_names *names, const struct fake_query *query)
{
	uint8_t ipv4[4] = { 127, 0, 0 };
	uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8 };
	uint16_t type = fake_dns_type(query);
	const struct fake_names_say *say = type == TYPE_A ? &names->a : &names->aaaa;
	uint8_t buf[1024];
	size_t len = fake_dns_answer(query, say->rcode, buf);

	for (uint8_t i = 0; i < say->count; i++) {
		ipv4[3] = ipv6[15] = (uint8_t)(say->first + i);
		len = fake_dns_add_record(buf, len, type, names->ttl_s,
					  type == TYPE_A ? ipv4 : ipv6,
					  type == TYPE_A ? sizeof ipv4 : sizeof ipv6);
	}
	fake_dns_send(query, buf, len);
}

static void on_query(const struct fake_query *query)
{
	struct fake_names *names = query->server->arg;
	uint16_t type = fake_dns_type(query);

	ck_assert(type == TYPE_A || type == TYPE_AAAA);
	names->a_count += type == TYPE_A;
	names->aaaa_count += type == TYPE_AAAA;
	if (!names->hold) {
		answer(names, query);
		return;
	}
	ck_assert_uint_lt(names->held_count, FAKE_NAMES_HELD_MAX);
	ck_assert_uint_le(query->len, sizeof names->held[0].bytes);
	memcpy(names->held[names->held_count].bytes, query->bytes, query->len);
	names->held[names->held_count].query = *query;
	names->held_count++;
}

void fake_names_start(struct fake_names *names, struct loop *loop)
{
	memset(names, 0, sizeof *names);
	names->a = (struct fake_names_say){ .count = 1, .first = 1 };
	names->ttl_s = 3600;
	fake_dns_start(&names->dns, loop, "127.0.0.1", on_query);
	names->dns.arg = names;
}

void fake_names_stop(struct fake_names *names)
{
	fake_dns_stop(&names->dns);
}

void fake_names_release(struct fake_names *names)
{
	size_t count = names->held_count;

	names->hold = false;
	names->held_count = 0;
	for (size_t i = 0; i < count; i++) {
		names->held[i].query.bytes = names->held[i].bytes;
		answer(names, &names->held[i].query);
	}
}
