/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cache_entry.h"

#include <stdlib.h>

/* Room for CACHE_TTL_MAX_S. */
#define TTL_BITS 0xfffffu

enum {
	REASON_HEAD = 3, /* before its text */
};

static size_t reason_bytes(const struct dnsmsg_reason *reason)
{
	return reason && reason->is_set ? REASON_HEAD + strlen(reason->text) : 0;
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void set_u32(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 24);
	p[1] = (uint8_t)(value >> 16);
	p[2] = (uint8_t)(value >> 8);
	p[3] = (uint8_t)value;
}

static void set_u16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint32_t clamp(uint32_t value, uint32_t min, uint32_t max)
{
	value = value < min ? min : value;
	return value > max ? max : value;
}

bool cache_entry_takes(const struct cache_key *key, const struct cache_answer *answer,
		       const struct dnsmsg_header *header)
{
	size_t question_len = key->len - 2u;
	unsigned rcode = header->flags & DNSMSG_RCODE;
	size_t min_offset = DNSMSG_HEADER_LEN + question_len;

	if (answer->ttl_s == 0 || answer->len > DNSMSG_MAX || answer->len < min_offset ||
	    header->qdcount != 1 || (header->flags & DNSMSG_TC) ||
	    (rcode != DNS_RCODE_NOERROR && rcode != DNS_RCODE_NXDOMAIN) ||
	    answer->ttl_count != (size_t)header->ancount + header->nscount + header->arcount) {
		return false;
	}
	for (size_t i = 0; i < answer->ttl_count; i++) {
		if (answer->ttl_offsets[i] < min_offset ||
		    answer->ttl_offsets[i] + 4u > answer->len) {
			return false;
		}
		min_offset = answer->ttl_offsets[i] + 4u;
	}
	return dnsname_equal(answer->msg + DNSMSG_HEADER_LEN, key->bytes + 2, question_len - 4) &&
	       memcmp(answer->msg + DNSMSG_HEADER_LEN + question_len - 4, key->bytes + key->len - 4,
		      4) == 0;
}

/* Put the reason behind the body. */
static void put_reason(struct entry *entry, const struct dnsmsg_reason *reason)
{
	uint8_t *p = entry_body(entry) + entry->body_len;

	set_u16(p, reason->code);
	p[2] = (uint8_t)strlen(reason->text);
	memcpy(p + REASON_HEAD, reason->text, p[2]);
}

/* Note where the TTLs are, and bring them within the bounds in the body. */
static void put_ttls(struct entry *entry, const struct cache_answer *answer, uint32_t min_s,
		     uint32_t max_s)
{
	uint8_t *body = entry_body(entry);

	for (size_t i = 0; i < answer->ttl_count; i++) {
		uint16_t offset = (uint16_t)(answer->ttl_offsets[i] - DNSMSG_HEADER_LEN);

		entry->ttl_offsets[i] = offset;
		set_u32(body + offset, clamp(get_u32(body + offset), min_s, max_s));
	}
}

struct entry *cache_entry_new(const struct cache_key *key, const struct cache_answer *answer,
			      const struct dnsmsg_header *header, const struct cache_ttls *ttls,
			      uint64_t now_ms)
{
	size_t body_len = answer->len - DNSMSG_HEADER_LEN;
	struct entry *entry =
		malloc(offsetof(struct entry, ttl_offsets) + answer->ttl_count * sizeof(uint16_t) +
		       body_len + reason_bytes(answer->reason));
	uint32_t max_s = answer->negative ? ttls->negative_max_s : ttls->max_s;
	uint8_t *body;

	if (!entry) {
		return NULL;
	}
	entry->hash = (uint32_t)(key->hash >> 32);
	entry->stored_tick = entry_tick_of(now_ms) - entry_tick_of(answer->age_ms);
	entry->ttl_s = clamp(answer->ttl_s, ttls->min_s, max_s) & TTL_BITS;
	entry->hits = 0;
	entry->is_claimed = 0;
	entry->body_len = (uint16_t)body_len;
	entry->ancount = header->ancount;
	entry->nscount = (uint8_t)header->nscount;
	entry->arcount = (uint8_t)header->arcount;
	entry->group = key->bytes[0];
	entry->flags = (uint8_t)(key->bytes[1] | (header->flags & DNSMSG_AD ? ENTRY_AD : 0) |
				 (header->flags & DNSMSG_RCODE) << ENTRY_RCODE_SHIFT);
	body = entry_body(entry);
	memcpy(body, answer->msg + DNSMSG_HEADER_LEN, body_len);
	memcpy(body, key->bytes + 2, key->len - 2u);
	entry->has_reason = reason_bytes(answer->reason) > 0;
	if (entry->has_reason) {
		put_reason(entry, answer->reason);
	}
	/* Clients must not keep a negative answer longer than we do: they go by the SOA's TTL (RFC
	 * 2308 section 5). */
	put_ttls(entry, answer, ttls->min_s, answer->negative ? entry->ttl_s : max_s);
	return entry;
}

static void write_header(uint8_t *buf, const struct entry *entry, bool fits)
{
	unsigned flags = DNSMSG_QR | DNSMSG_RA | (unsigned)entry->flags >> ENTRY_RCODE_SHIFT;

	memset(buf, 0, DNSMSG_HEADER_LEN);
	set_u16(buf + 4, 1);
	if (!fits) {
		set_u16(buf + 2, flags | DNSMSG_TC);
		return;
	}
	set_u16(buf + 2, flags | (entry->flags & ENTRY_AD ? DNSMSG_AD : 0));
	set_u16(buf + 6, entry->ancount);
	set_u16(buf + 8, entry->nscount);
	set_u16(buf + 10, entry->arcount);
}

static void entry_copy_reason(const struct entry *entry, struct dnsmsg_reason *ret_reason)
{
	const uint8_t *reason = entry_body(entry) + entry->body_len;

	ret_reason->is_set = entry->has_reason;
	if (entry->has_reason) {
		ret_reason->code = (uint16_t)(reason[0] << 8 | reason[1]);
		memcpy(ret_reason->text, reason + REASON_HEAD, reason[2]);
		ret_reason->text[reason[2]] = 0;
	}
}

void cache_entry_copy(const struct entry *entry, const struct cache_key *key, uint32_t age_s,
		      bool is_stale, uint8_t *buf, size_t cap, struct cache_result *ret_result)
{
	size_t record_count = entry_record_count(entry);
	bool fits = (size_t)DNSMSG_HEADER_LEN + entry->body_len <= cap;
	uint8_t *body = buf + DNSMSG_HEADER_LEN;
	size_t len = fits ? entry->body_len : key->len - 2u;

	write_header(buf, entry, fits);
	memcpy(body, entry_body(entry), len);
	for (size_t i = 0; fits && i < record_count; i++) {
		uint8_t *field = body + entry->ttl_offsets[i];
		uint32_t ttl_s = get_u32(field);

		ttl_s = ttl_s > age_s ? ttl_s - age_s : 0;
		set_u32(field, is_stale ? CACHE_STALE_TTL_S : ttl_s);
	}
	ret_result->len = DNSMSG_HEADER_LEN + len;
	ret_result->ttl_s = is_stale ? CACHE_STALE_TTL_S : entry->ttl_s - age_s;
	ret_result->full_s = entry->ttl_s;
	ret_result->hits = entry->hits;
	entry_copy_reason(entry, &ret_result->reason);
}

size_t cache_entry_write(const struct entry *entry, uint8_t *buf)
{
	size_t len = (size_t)DNSMSG_HEADER_LEN + entry->body_len;
	struct dnsmsg_reason reason;

	write_header(buf, entry, true);
	memcpy(buf + DNSMSG_HEADER_LEN, entry_body(entry), entry->body_len);
	entry_copy_reason(entry, &reason);
	return dnsmsg_append_reason(buf, len, DNSMSG_MAX, &reason);
}
