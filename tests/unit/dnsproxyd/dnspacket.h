/* SPDX-License-Identifier: ISC */
/*
 * DNS messages for tests, put together piece by piece:
 *
 *	packet_start(&p, 0x1234, DNSMSG_QR, 1, 1, 0, 0);
 *	packet_question(&p, "example.com", DNS_TYPE_A);
 *	packet_rr(&p, "example.com", DNS_TYPE_A, 300, "\xc0\x00\x02\x01", 4);
 *
 * Names are written in full, unless they start with '@': "@12" is a pointer to offset 12.
 */
#ifndef TESTS_UNIT_DNSPROXYD_DNSPACKET_H
#define TESTS_UNIT_DNSPROXYD_DNSPACKET_H

#include "common/wire.h"
#include "dnsproxyd/message/dnsmsg.h"

#include <check.h>
#include <stdlib.h>

struct packet {
	uint8_t bytes[DNSMSG_MAX];
	size_t len;
};

static inline struct wire_writer packet_writer(struct packet *p)
{
	return wire_writer(p->bytes + p->len, sizeof p->bytes - p->len);
}

static inline void packet_commit(struct packet *p, const struct wire_writer *w)
{
	ck_assert(!w->failed);
	p->len += wire_written(w);
}

static inline void packet_start(struct packet *p, unsigned id, unsigned flags, unsigned qd,
				unsigned an, unsigned ns, unsigned ar)
{
	const unsigned words[] = { id, flags, qd, an, ns, ar };
	struct wire_writer w;

	p->len = 0;
	w = packet_writer(p);
	for (size_t i = 0; i < 6; i++) {
		wire_put_u16(&w, (uint16_t)words[i]);
	}
	packet_commit(p, &w);
}

static inline void packet_put_name(struct wire_writer *w, const char *name)
{
	uint8_t wire[DNSNAME_MAX];
	size_t len;

	if (name[0] == '@') {
		wire_put_u16(w, (uint16_t)(0xc000 | atoi(name + 1)));
		return;
	}
	ck_assert_int_eq(dnsname_parse(name, wire, &len), 0);
	wire_put(w, wire, len);
}

static inline void packet_bytes(struct packet *p, const void *bytes, size_t len)
{
	struct wire_writer w = packet_writer(p);

	wire_put(&w, bytes, len);
	packet_commit(p, &w);
}

static inline void packet_question(struct packet *p, const char *name, unsigned type)
{
	struct wire_writer w = packet_writer(p);

	packet_put_name(&w, name);
	wire_put_u16(&w, (uint16_t)type);
	wire_put_u16(&w, DNS_CLASS_IN);
	packet_commit(p, &w);
}

/* Returns the offset of the record. */
static inline size_t packet_rr(struct packet *p, const char *owner, unsigned type, uint32_t ttl,
			       const void *rdata, size_t rdlength)
{
	size_t at = p->len;
	struct wire_writer w = packet_writer(p);

	packet_put_name(&w, owner);
	wire_put_u16(&w, (uint16_t)type);
	wire_put_u16(&w, DNS_CLASS_IN);
	wire_put_u32(&w, ttl);
	wire_put_u16(&w, (uint16_t)rdlength);
	wire_put(&w, rdata, rdlength);
	packet_commit(p, &w);
	return at;
}

static inline size_t packet_a(struct packet *p, const char *owner, uint32_t ttl)
{
	return packet_rr(p, owner, DNS_TYPE_A, ttl, "\xc0\x00\x02\x01", 4);
}

/* A record whose data are one name: NS, CNAME. */
static inline size_t packet_name_rr(struct packet *p, const char *owner, unsigned type,
				    uint32_t ttl, const char *target)
{
	uint8_t rdata[DNSNAME_MAX];
	struct wire_writer w = wire_writer(rdata, sizeof rdata);

	packet_put_name(&w, target);
	return packet_rr(p, owner, type, ttl, rdata, wire_written(&w));
}

static inline size_t packet_soa(struct packet *p, const char *owner, uint32_t ttl, uint32_t minimum)
{
	uint8_t rdata[DNSNAME_MAX];
	struct wire_writer w = wire_writer(rdata, sizeof rdata);

	packet_put_name(&w, "ns");
	packet_put_name(&w, "root");
	for (uint32_t i = 0; i < 4; i++) {
		wire_put_u32(&w, 3600 + i);
	}
	wire_put_u32(&w, minimum);
	return packet_rr(p, owner, DNS_TYPE_SOA, ttl, rdata, wire_written(&w));
}

/* An OPT record; flags holds extended RCODE, version, DO and Z as the TTL field has them. */
static inline size_t packet_opt(struct packet *p, unsigned payload, uint32_t flags,
				const void *options, size_t len)
{
	size_t at = p->len;
	struct wire_writer w = packet_writer(p);

	wire_put_u8(&w, 0);
	wire_put_u16(&w, DNS_TYPE_OPT);
	wire_put_u16(&w, (uint16_t)payload);
	wire_put_u32(&w, flags);
	wire_put_u16(&w, (uint16_t)len);
	wire_put(&w, options, len);
	packet_commit(p, &w);
	return at;
}

/* The query for name and type that parses from these settings. */
static inline void packet_parse_query(struct dnsmsg_query *ret_query, const char *name,
				      unsigned type, unsigned flags, int payload,
				      uint32_t opt_flags)
{
	static struct packet p;

	packet_start(&p, 0xabcd, flags, 1, 0, 0, payload >= 0);
	packet_question(&p, name, type);
	if (payload >= 0) {
		packet_opt(&p, (unsigned)payload, opt_flags, NULL, 0);
	}
	ck_assert_int_eq(dnsmsg_parse_query(p.bytes, p.len, ret_query), DNSMSG_OK);
}

#endif
