/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/dnsmsg.h"

#include "common/wire.h"

#include <assert.h>
#include <string.h>

/* Offsets in the header. */
#define FLAGS_OFFSET      2
#define QDCOUNT_OFFSET    4
#define ANCOUNT_OFFSET    6
#define ARCOUNT_OFFSET    10

#define OPT_DO            0x8000u
#define OPTION_KEEPALIVE  11
#define OPTION_PADDING    12
#define OPTION_EDE        15

#define OPTION_HEADER_LEN 4 /* code and length */
#define KEEPALIVE_LEN     6

/* Code, length and info code of an EDE option. */
#define EDE_LEN_MIN       6

#define RCODE_MAX_PLAIN   15

static uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void set_u16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

void dnsmsg_query_copy(struct dnsmsg_query *to, const struct dnsmsg_query *from)
{
	memcpy(to, from, offsetof(struct dnsmsg_query, question) + from->question_len);
}

/* --- headers and records --- */

bool dnsmsg_read_header(const uint8_t *msg, size_t len, struct dnsmsg_header *ret_header)
{
	if (len < DNSMSG_HEADER_LEN) {
		return false;
	}
	*ret_header = (struct dnsmsg_header){
		.id = get_u16(msg),
		.flags = get_u16(msg + FLAGS_OFFSET),
		.qdcount = get_u16(msg + QDCOUNT_OFFSET),
		.ancount = get_u16(msg + ANCOUNT_OFFSET),
		.nscount = get_u16(msg + 8),
		.arcount = get_u16(msg + ARCOUNT_OFFSET),
	};
	return true;
}

void dnsmsg_set_id(uint8_t *msg, uint16_t id)
{
	set_u16(msg, id);
}

size_t dnsmsg_read_rr(const uint8_t *msg, size_t len, size_t offset, struct dnsmsg_rr *ret_rr)
{
	size_t fixed = dnsname_skip(msg, len, offset);
	struct wire_reader r;
	struct dnsmsg_rr rr;
	uint16_t rdlength;

	if (!fixed) {
		return 0;
	}
	r = wire_reader(msg + fixed, len - fixed);
	rr.owner = offset;
	rr.type = wire_u16(&r);
	rr.class = wire_u16(&r);
	rr.ttl_offset = fixed + 4;
	rr.ttl = wire_u32(&r);
	rdlength = wire_u16(&r);
	rr.rdata = fixed + wire_offset(&r);
	rr.end = rr.rdata + rdlength;
	wire_take(&r, rdlength);
	if (r.failed) {
		return 0;
	}
	*ret_rr = rr;
	return rr.end;
}

/* --- queries of clients --- */

/* Read the question at *offset and move past it. */
static bool read_question(const uint8_t *msg, size_t len, size_t *offset,
			  struct dnsmsg_query *query)
{
	size_t name_len = dnsname_len(msg + *offset, len - *offset);
	const uint8_t *question = msg + *offset;

	if (!name_len || len - *offset - name_len < 4) {
		return false;
	}
	memcpy(query->question, question, name_len + 4);
	query->question_len = (uint16_t)(name_len + 4);
	query->qtype = get_u16(question + name_len);
	query->qclass = get_u16(question + name_len + 2);
	*offset += name_len + 4;
	return true;
}

/* Read the options; false unless they fill the OPT record exactly. */
static bool read_options(const uint8_t *msg, const struct dnsmsg_rr *opt,
			 struct dnsmsg_query *query)
{
	struct wire_reader r = wire_reader(msg + opt->rdata, opt->end - opt->rdata);

	while (wire_left(&r) > 0 && !r.failed) {
		uint16_t code = wire_u16(&r);
		uint16_t len = wire_u16(&r);
		const uint8_t *option = wire_take(&r, len);

		if (code == TRAIL_OPTION && option) {
			trail_read(&query->trail, option, len);
		}
		query->wants_keepalive |= code == OPTION_KEEPALIVE;
		query->is_padded |= code == OPTION_PADDING;
	}
	return !r.failed;
}

static bool read_opt(const uint8_t *msg, const struct dnsmsg_rr *opt, struct dnsmsg_query *query)
{
	if (query->has_opt || msg[opt->owner] != 0) {
		return false;
	}
	query->has_opt = true;
	/* In an OPT record the class holds the payload size, the TTL the version and DO (RFC 6891
	 * section 6.1.3). */
	query->payload = opt->class < DNSMSG_UDP_MIN ? DNSMSG_UDP_MIN : opt->class;
	query->edns_version = (uint8_t)(opt->ttl >> 16);
	query->dnssec_ok = opt->ttl & OPT_DO;
	return read_options(msg, opt, query);
}

/* SIG(0) is a SIG record that covers type 0 (RFC 2931 section 3). */
static bool is_signature(const uint8_t *msg, const struct dnsmsg_rr *rr)
{
	return rr->type == DNS_TYPE_TSIG || (rr->type == DNS_TYPE_SIG && rr->end - rr->rdata >= 2 &&
					     get_u16(msg + rr->rdata) == 0);
}

/* Read all records from offset to the end of the message. */
static bool read_records(const uint8_t *msg, size_t len, size_t offset,
			 const struct dnsmsg_header *header, struct dnsmsg_query *query)
{
	size_t additional = (size_t)header->ancount + header->nscount;
	size_t count = additional + header->arcount;
	struct dnsmsg_rr rr;

	for (size_t i = 0; i < count; i++) {
		offset = dnsmsg_read_rr(msg, len, offset, &rr);
		if (!offset) {
			return false;
		}
		if (rr.type == DNS_TYPE_OPT && (i < additional || !read_opt(msg, &rr, query))) {
			return false;
		}
		if (i >= additional && is_signature(msg, &rr)) {
			query->is_signed = true;
		}
	}
	return offset == len;
}

enum dnsmsg_verdict dnsmsg_parse_query(const uint8_t *msg, size_t len,
				       struct dnsmsg_query *ret_query)
{
	struct dnsmsg_query *query = ret_query;
	struct dnsmsg_header header;
	size_t offset = DNSMSG_HEADER_LEN;

	if (!dnsmsg_read_header(msg, len, &header) || (header.flags & DNSMSG_QR)) {
		return DNSMSG_DROP;
	}
	query->id = header.id;
	query->flags = header.flags;
	query->qtype = 0;
	query->qclass = 0;
	query->payload = DNSMSG_UDP_MIN;
	query->question_len = 0;
	query->edns_version = 0;
	query->has_opt = false;
	query->dnssec_ok = false;
	query->is_signed = false;
	query->trail.count = 0;
	query->wants_keepalive = false;
	query->is_padded = false;
	query->pad_reply = false;
	query->keepalive = 0;
	if (header.flags & DNSMSG_OPCODE) {
		return DNSMSG_NOTIMP;
	}
	/* Go through a wrong number of questions too: whether to answer with OPT stands behind
	 * them. */
	for (unsigned i = 0; i < header.qdcount; i++) {
		if (!read_question(msg, len, &offset, query)) {
			return DNSMSG_FORMERR;
		}
	}
	if (header.qdcount != 1) {
		query->question_len = 0;
	}
	if (!read_records(msg, len, offset, &header, query) || header.qdcount != 1) {
		return DNSMSG_FORMERR;
	}
	return query->edns_version > 0 ? DNSMSG_BADVERS : DNSMSG_OK;
}

/* --- reasons --- */

const struct dnsmsg_ede *dnsmsg_reason_ede(const struct dnsmsg_reason *reason,
					   struct dnsmsg_ede *storage)
{
	if (!reason->is_set) {
		return NULL;
	}
	storage->code = reason->code;
	storage->text = reason->text;
	return storage;
}

bool dnsmsg_reason_set(struct dnsmsg_reason *reason, const uint8_t *data, size_t len)
{
	size_t text_len;

	if (len < 2) {
		return false;
	}
	reason->is_set = true;
	reason->code = (uint16_t)get_u16(data);
	/* Some end it with a NUL, which RFC 8914 section 2 allows. */
	text_len = strnlen((const char *)data + 2, len - 2);
	if (text_len > DNSMSG_REASON_TEXT_MAX) {
		text_len = DNSMSG_REASON_TEXT_MAX;
		/* Not within a character of UTF-8. */
		while (text_len > 0 && (data[2 + text_len] & 0xc0) == 0x80) {
			text_len--;
		}
	}
	memcpy(reason->text, data + 2, text_len);
	reason->text[text_len] = 0;
	return true;
}

/* --- queries of ours --- */

/* Write a header and, unless question_len is 0, that one question. Returns the length. */
static size_t write_question(uint8_t *msg, uint16_t id, unsigned flags, const uint8_t *question,
			     size_t question_len)
{
	memset(msg, 0, DNSMSG_HEADER_LEN);
	set_u16(msg, id);
	set_u16(msg + FLAGS_OFFSET, flags);
	set_u16(msg + QDCOUNT_OFFSET, question_len > 0);
	memcpy(msg + DNSMSG_HEADER_LEN, question, question_len);
	return DNSMSG_HEADER_LEN + question_len;
}

/* Write the fixed part of an OPT record (RFC 6891 section 6.1.2), which must fit, and count it. */
static size_t write_opt(uint8_t *msg, size_t len, uint32_t ttl, size_t options_len)
{
	uint8_t *opt = msg + len;

	opt[0] = 0;
	set_u16(opt + 1, DNS_TYPE_OPT);
	set_u16(opt + 3, DNSMSG_UDP_PAYLOAD);
	set_u16(opt + 5, ttl >> 16);
	set_u16(opt + 7, ttl);
	set_u16(opt + 9, (unsigned)options_len);
	set_u16(msg + ARCOUNT_OFFSET, get_u16(msg + ARCOUNT_OFFSET) + 1u);
	return len + DNSMSG_OPT_LEN;
}

static size_t put_option(uint8_t *p, unsigned code, size_t len)
{
	set_u16(p, code);
	set_u16(p + 2, (unsigned)len);
	return OPTION_HEADER_LEN;
}

/* Nothing when there is none. */
static size_t put_trail(uint8_t *p, const struct trail *trail)
{
	size_t len = (size_t)trail->count * TRAIL_MARK_LEN;

	if (len == 0) {
		return 0;
	}
	p += put_option(p, TRAIL_OPTION, len);
	memcpy(p, trail->marks, len);
	return OPTION_HEADER_LEN + len;
}

/* Write a padding option at p, where a message has len octets, so that it comes to a multiple of
 * block, or to limit. Nothing when there is no room for it. Returns the octets written. */
static size_t put_padding(uint8_t *p, size_t len, size_t block, size_t limit)
{
	size_t rest = (len + OPTION_HEADER_LEN) % block;
	size_t padding = rest ? block - rest : 0;

	if (len + OPTION_HEADER_LEN > limit) {
		return 0;
	}
	if (padding > limit - len - OPTION_HEADER_LEN) {
		padding = limit - len - OPTION_HEADER_LEN;
	}
	p += put_option(p, OPTION_PADDING, padding);
	memset(p, 0, padding);
	return OPTION_HEADER_LEN + padding;
}

size_t dnsmsg_build_query(const struct dnsmsg_query *query, uint16_t id, unsigned send,
			  uint8_t buf[DNSMSG_QUERY_MAX])
{
	unsigned flags = DNSMSG_RD | DNSMSG_AD | (send & DNSMSG_SEND_CD ? DNSMSG_CD : 0);
	uint8_t *options;
	uint8_t *option;
	size_t len;

	assert(query->question_len > 0);
	len = write_question(buf, id, flags, query->question, query->question_len);
	if (!(send & DNSMSG_SEND_EDNS)) {
		return len;
	}
	options = buf + len + DNSMSG_OPT_LEN;
	option = options;
	if (send & DNSMSG_SEND_TRAIL) {
		option += put_trail(option, &query->trail);
	}
	if (send & DNSMSG_SEND_KEEPALIVE) {
		option += put_option(option, OPTION_KEEPALIVE, 0);
	}
	if (send & DNSMSG_SEND_PADDING) {
		option += put_padding(option, (size_t)(option - buf), DNSMSG_QUERY_BLOCK,
				      DNSMSG_QUERY_MAX);
	}
	write_opt(buf, len, send & DNSMSG_SEND_DO ? OPT_DO : 0, (size_t)(option - options));
	return (size_t)(option - buf);
}

/* --- replies to clients --- */

size_t dnsmsg_udp_limit(const struct dnsmsg_query *query, size_t max_bytes)
{
	size_t max = max_bytes < DNSMSG_UDP_MIN ? DNSMSG_UDP_MIN : max_bytes;

	max = max > DNSMSG_UDP_MAX ? DNSMSG_UDP_MAX : max;
	return query->payload < max ? query->payload : max;
}

/* Octets of our OPT record without EDE. */
static size_t opt_len(const struct dnsmsg_query *query)
{
	if (!query->has_opt) {
		return 0;
	}
	return DNSMSG_OPT_LEN + (query->keepalive ? KEEPALIVE_LEN : 0u);
}

/* Add our OPT at msg[len], when the client sent one, with as much of ede as fits; the rest of it
 * must fit. */
static size_t append_opt(uint8_t *msg, size_t len, const struct dnsmsg_query *query, unsigned rcode,
			 const struct dnsmsg_ede *ede, size_t limit)
{
	uint32_t ttl = (rcode >> 4) << 24 | (query->dnssec_ok ? OPT_DO : 0);
	size_t text_len = ede && ede->text ? strlen(ede->text) : 0;
	uint8_t *options = msg + len + DNSMSG_OPT_LEN;
	uint8_t *option = options;

	if (!query->has_opt) {
		return len;
	}
	if (query->keepalive) {
		option += put_option(option, OPTION_KEEPALIVE, 2);
		set_u16(option, query->keepalive);
		option += 2;
	}
	if (ede && (size_t)(option - msg) + EDE_LEN_MIN <= limit) {
		if ((size_t)(option - msg) + EDE_LEN_MIN + text_len > limit) {
			text_len = 0;
		}
		option += put_option(option, OPTION_EDE, 2 + text_len);
		set_u16(option, ede->code);
		if (text_len) {
			memcpy(option + 2, ede->text, text_len);
		}
		option += 2 + text_len;
	}
	if (query->pad_reply) {
		option += put_padding(option, (size_t)(option - msg), DNSMSG_REPLY_BLOCK, limit);
	}
	write_opt(msg, len, ttl, (size_t)(option - options));
	return (size_t)(option - msg);
}

size_t dnsmsg_answer(uint8_t *msg, size_t len, const struct dnsmsg_query *query,
		     const struct dnsmsg_ede *ede, size_t limit)
{
	unsigned stored = get_u16(msg + FLAGS_OFFSET);
	unsigned keep = DNSMSG_TC | DNSMSG_RCODE;

	assert(query->question_len > 0 && len >= (size_t)DNSMSG_HEADER_LEN + query->question_len);
	assert(limit >= DNSMSG_UDP_MIN);
	if ((query->flags & DNSMSG_AD) || query->dnssec_ok) {
		keep |= DNSMSG_AD;
	}
	if (len + opt_len(query) > limit) {
		stored = (stored | DNSMSG_TC) & ~(unsigned)DNSMSG_AD;
		len = (size_t)DNSMSG_HEADER_LEN + query->question_len;
		memset(msg + ANCOUNT_OFFSET, 0, DNSMSG_HEADER_LEN - ANCOUNT_OFFSET);
	}
	set_u16(msg, query->id);
	set_u16(msg + FLAGS_OFFSET,
		DNSMSG_QR | DNSMSG_RA | (query->flags & (DNSMSG_RD | DNSMSG_CD)) | (stored & keep));
	memcpy(msg + DNSMSG_HEADER_LEN, query->question, query->question_len);
	return append_opt(msg, len, query, 0, ede, limit);
}

size_t dnsmsg_append_reason(uint8_t *msg, size_t len, size_t cap,
			    const struct dnsmsg_reason *reason)
{
	const struct dnsmsg_query with_opt = { .has_opt = true };
	struct dnsmsg_ede ede;

	if (!reason->is_set || cap - len < DNSMSG_OPT_LEN) {
		return len;
	}
	return append_opt(msg, len, &with_opt, 0, dnsmsg_reason_ede(reason, &ede), cap);
}

size_t dnsmsg_error(const struct dnsmsg_query *query, unsigned rcode, const struct dnsmsg_ede *ede,
		    uint8_t *buf, size_t limit)
{
	unsigned flags =
		DNSMSG_QR | DNSMSG_RA | (query->flags & (DNSMSG_OPCODE | DNSMSG_RD | DNSMSG_CD));
	size_t len;

	assert(limit >= DNSMSG_UDP_MIN);
	if (rcode > RCODE_MAX_PLAIN && !query->has_opt) {
		rcode = DNS_RCODE_SERVFAIL;
	}
	len = write_question(buf, query->id, flags | (rcode & DNSMSG_RCODE), query->question,
			     query->question_len);
	return append_opt(buf, len, query, rcode, ede, limit);
}

size_t dnsmsg_truncated(const struct dnsmsg_query *query, uint8_t *buf, size_t limit)
{
	size_t len = dnsmsg_error(query, DNS_RCODE_NOERROR, NULL, buf, limit);

	set_u16(buf + FLAGS_OFFSET, get_u16(buf + FLAGS_OFFSET) | (unsigned)DNSMSG_TC);
	return len;
}
