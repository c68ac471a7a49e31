/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/ddr.h"

#include "common/wire.h"

#include <string.h>

enum {
	TYPE_SVCB = 64,
	TTL_S = 300,
	PRIORITY = 1, /* all are the same to us */
	ALPN_MAX = 16,
	PATH_MAX_LEN = 64,
	RECORD_FIXED_LEN = 12, /* a pointer for the owner, type, class, TTL, length */
	OWNER_POINTER = 0xc000 | DNSMSG_HEADER_LEN,
};

/* Keys of parameters (RFC 9460 section 14.3.2, RFC 9461), in the order they must have. */
enum {
	KEY_ALPN = 1,
	KEY_PORT = 3,
	KEY_IPV4HINT = 4,
	KEY_IPV6HINT = 6,
	KEY_DOHPATH = 7,
};

static void put_key(struct wire_writer *w, uint16_t key, size_t len)
{
	wire_put_u16(w, key);
	wire_put_u16(w, (uint16_t)len);
}

static void put_hint(struct wire_writer *w, const struct addr *a, int family)
{
	if (a->sa.sa_family != family || addr_scope(a) == ADDR_UNSPECIFIED) {
		return;
	}
	if (family == AF_INET) {
		put_key(w, KEY_IPV4HINT, sizeof a->in4.sin_addr);
		wire_put(w, &a->in4.sin_addr, sizeof a->in4.sin_addr);
	} else {
		put_key(w, KEY_IPV6HINT, sizeof a->in6.sin6_addr);
		wire_put(w, &a->in6.sin6_addr, sizeof a->in6.sin6_addr);
	}
}

bool ddr_add(struct ddr *ddr, const char *name, const char *alpn, const struct addr *address,
	     const char *path)
{
	struct ddr_record record;
	struct wire_writer w;
	uint8_t target[DNSNAME_MAX];
	size_t target_len;
	size_t alpn_len = strlen(alpn);

	if (ddr->count == DDR_RECORDS_MAX || alpn_len > ALPN_MAX ||
	    (path && strlen(path) > PATH_MAX_LEN) || dnsname_parse(name, target, &target_len) < 0) {
		return false;
	}
	w = wire_writer(record.data, sizeof record.data);
	wire_put_u16(&w, PRIORITY);
	wire_put(&w, target, target_len);
	put_key(&w, KEY_ALPN, 1 + alpn_len);
	wire_put_u8(&w, (uint8_t)alpn_len);
	wire_put(&w, alpn, alpn_len);
	put_key(&w, KEY_PORT, 2);
	wire_put_u16(&w, addr_port(address));
	put_hint(&w, address, AF_INET);
	put_hint(&w, address, AF_INET6);
	if (path) {
		put_key(&w, KEY_DOHPATH, strlen(path));
		wire_put(&w, path, strlen(path));
	}
	if (w.failed) {
		return false;
	}
	record.len = (uint16_t)wire_written(&w);
	ddr->records[ddr->count++] = record;
	return true;
}

static bool is_asked(const struct dnsmsg_query *query)
{
	static const uint8_t name[] = "\4_dns\10resolver\4arpa"; /* and the root's zero octet */
	uint8_t lower[DNSMSG_QUESTION_MAX];

	if (query->qtype != TYPE_SVCB || query->qclass != DNS_CLASS_IN ||
	    query->question_len != sizeof name + 4) {
		return false;
	}
	dnsname_lower(lower, query->question, sizeof name);
	return memcmp(lower, name, sizeof name) == 0;
}

size_t ddr_answer(const struct ddr *ddr, const struct dnsmsg_query *query, uint8_t *buf)
{
	/* QR and RA, one question; the answers, when they are counted. */
	static const uint8_t header[DNSMSG_HEADER_LEN] = { 0, 0, 0x80, 0x80, 0, 1 };
	struct wire_writer w = wire_writer(buf, DDR_ANSWER_MAX);
	uint8_t count = 0;

	if (ddr->count == 0 || !is_asked(query)) {
		return 0;
	}
	wire_put(&w, header, sizeof header);
	wire_put(&w, query->question, query->question_len);
	for (size_t i = 0; i < ddr->count; i++) {
		const struct ddr_record *record = &ddr->records[i];

		if (wire_written(&w) + RECORD_FIXED_LEN + record->len > DDR_ANSWER_MAX) {
			break;
		}
		wire_put_u16(&w, OWNER_POINTER);
		wire_put_u16(&w, TYPE_SVCB);
		wire_put_u16(&w, DNS_CLASS_IN);
		wire_put_u32(&w, TTL_S);
		wire_put_u16(&w, record->len);
		wire_put(&w, record->data, record->len);
		count++;
	}
	buf[7] = count;
	return wire_written(&w);
}
