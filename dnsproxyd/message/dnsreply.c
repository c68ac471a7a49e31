/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/dnsreply.h"

#include "common/container.h"
#include "common/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define TTL_MAX          0x7fffffffu

#define OPTION_KEEPALIVE 11
#define OPTION_EDE       15

#define RCODE_MAX_PLAIN  15

/* --- names in the data of records --- */

#define RDATA_NAMES_MAX  2

/* Where the names are in the data of a type: after `before` octets; `after` octets must follow, or
 * any number. */
struct rdata_layout {
	uint16_t type;
	uint8_t before;
	uint8_t names;
	uint8_t after;
	/* May be compressed (RFC 1035); in the others a pointer is an old mistake to undo (RFC 3597
	 * section 4). */
	bool compress;
};

#define ANY_NUMBER 255

#define TYPE_NAPTR 35

static const struct rdata_layout rdata_layouts[] = {
	{ DNS_TYPE_NS, 0, 1, 0, true },
	{ 3, 0, 1, 0, true }, /* MD */
	{ 4, 0, 1, 0, true }, /* MF */
	{ DNS_TYPE_CNAME, 0, 1, 0, true },
	{ DNS_TYPE_SOA, 0, 2, 20, true },
	{ 7, 0, 1, 0, true },   /* MB */
	{ 8, 0, 1, 0, true },   /* MG */
	{ 9, 0, 1, 0, true },   /* MR */
	{ 12, 0, 1, 0, true },  /* PTR */
	{ 14, 0, 2, 0, true },  /* MINFO */
	{ 15, 2, 1, 0, true },  /* MX */
	{ 17, 0, 2, 0, false }, /* RP */
	{ 18, 2, 1, 0, false }, /* AFSDB */
	{ 21, 2, 1, 0, false }, /* RT */
	{ DNS_TYPE_SIG, 18, 1, ANY_NUMBER, false },
	{ 26, 2, 2, 0, false },          /* PX */
	{ 30, 0, 1, ANY_NUMBER, false }, /* NXT */
	{ 33, 6, 1, 0, false },          /* SRV */
	{ TYPE_NAPTR, 4, 1, 0, false },  /* and three strings before the name */
	{ 36, 2, 1, 0, false },          /* KX */
	{ 39, 0, 1, 0, false },          /* DNAME */
	{ DNS_TYPE_RRSIG, 18, 1, ANY_NUMBER, false },
	{ DNS_TYPE_NSEC, 0, 1, ANY_NUMBER, false },
	{ 64, 2, 1, ANY_NUMBER, false }, /* SVCB */
	{ 65, 2, 1, ANY_NUMBER, false }, /* HTTPS */
};

/* NULL for types without names: opaque octets. */
static const struct rdata_layout *rdata_layout_of(uint16_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(rdata_layouts); i++) {
		if (rdata_layouts[i].type == type) {
			return &rdata_layouts[i];
		}
	}
	return NULL;
}

/* Offset of the first name in the data, or something beyond their end. */
static size_t rdata_first_name(const uint8_t *msg, const struct dnsmsg_rr *rr,
			       const struct rdata_layout *layout)
{
	size_t offset = rr->rdata + layout->before;

	for (unsigned i = 0; layout->type == TYPE_NAPTR && i < 3 && offset < rr->end; i++) {
		offset += 1 + (size_t)msg[offset];
	}
	return offset;
}

/* Find the names in a record's data: their offsets, then the offset after the last. False when the
 * data do not have the shape of the type. */
static bool rdata_names(const uint8_t *msg, const struct dnsmsg_rr *rr,
			const struct rdata_layout *layout, size_t ret_offsets[RDATA_NAMES_MAX + 1])
{
	size_t offset = rdata_first_name(msg, rr, layout);

	for (unsigned i = 0; i < layout->names; i++) {
		ret_offsets[i] = offset;
		offset = dnsname_skip(msg, rr->end, offset);
		if (!offset) {
			return false;
		}
	}
	ret_offsets[layout->names] = offset;
	return layout->after == ANY_NUMBER || rr->end - offset == layout->after;
}

static bool address_has_length(const struct dnsmsg_rr *rr)
{
	size_t len = rr->end - rr->rdata;

	if (rr->class != DNS_CLASS_IN) {
		return true;
	}
	return (rr->type != DNS_TYPE_A || len == 4) && (rr->type != DNS_TYPE_AAAA || len == 16);
}

/* --- check --- */

/* One walk through a reply. */
struct check {
	const uint8_t *msg;
	struct dnsreply *reply;
	uint16_t qtype;
	uint16_t qclass;
	bool has_answer;
	bool has_soa;
	bool has_ns;
	uint32_t ttl_s;
	/* One bit for each place a pointer can name: set where a label starts. Last, since it is
	 * cleared only as far as the message goes. */
	uint8_t labels[DNSNAME_POINTER_LIMIT / 8];
};

/* A pointer may lead to any octets that happen to read as a name. Such octets may be a TTL, which
 * we change: remember where the names are, and have a message with a pointer to elsewhere written
 * anew. */
static void note_name(struct check *check, size_t offset)
{
	const uint8_t *msg = check->msg;
	size_t target;

	while (msg[offset] < DNSNAME_POINTER) {
		if (offset < DNSNAME_POINTER_LIMIT) {
			check->labels[offset / 8] |= (uint8_t)(1u << offset % 8);
		}
		if (msg[offset] == 0) {
			return;
		}
		offset += 1 + (size_t)msg[offset];
	}
	target = (size_t)(msg[offset] & 0x3f) << 8 | msg[offset + 1];
	if (!(check->labels[target / 8] & 1u << target % 8)) {
		check->reply->must_write = true;
	}
}

static uint32_t sane_ttl(uint32_t ttl)
{
	return ttl > TTL_MAX ? 0 : ttl;
}

static void note_ttl(struct check *check, uint32_t ttl)
{
	ttl = sane_ttl(ttl);
	check->ttl_s = ttl < check->ttl_s ? ttl : check->ttl_s;
}

static bool type_is_dnssec(uint16_t type)
{
	switch (type) {
	case DNS_TYPE_DS:
	case DNS_TYPE_RRSIG:
	case DNS_TYPE_NSEC:
	case DNS_TYPE_DNSKEY:
	case DNS_TYPE_NSEC3:
		return true;
	default:
		return false;
	}
}

/* Options are read for EDE and keepalive only and go nowhere, so rubbish among them does no harm.
 */
static void check_options(struct dnsreply *reply, const uint8_t *options, size_t len)
{
	struct wire_reader r = wire_reader(options, len);

	while (wire_left(&r) > 0 && !r.failed) {
		uint16_t code = wire_u16(&r);
		uint16_t option_len = wire_u16(&r);
		const uint8_t *data = wire_take(&r, option_len);

		if (data && code == OPTION_EDE && !reply->reason.is_set) {
			dnsmsg_reason_set(&reply->reason, data, option_len);
		}
		if (data && code == OPTION_KEEPALIVE && option_len == 2) {
			reply->has_keepalive = true;
			reply->keepalive = (uint16_t)(data[0] << 8 | data[1]);
		}
	}
}

static bool check_opt(struct check *check, const struct dnsmsg_rr *rr, bool additional)
{
	struct dnsreply *reply = check->reply;

	if (!additional || reply->has_opt || check->msg[rr->owner] != 0) {
		return false;
	}
	reply->has_opt = true;
	reply->rcode |= (uint16_t)(rr->ttl >> 24 << 4);
	check_options(reply, check->msg + rr->rdata, rr->end - rr->rdata);
	return true;
}

static void check_soa(struct check *check, const struct dnsmsg_rr *rr)
{
	struct wire_reader minimum = wire_reader(check->msg + rr->end - 4, 4);

	check->has_soa = true;
	note_ttl(check, wire_u32(&minimum));
}

enum section {
	ANSWER,
	AUTHORITY,
	ADDITIONAL,
};

/* Of the i-th record. */
static enum section section_of(const struct dnsmsg_header *header, size_t i)
{
	if (i < header->ancount) {
		return ANSWER;
	}
	return i < (size_t)header->ancount + header->nscount ? AUTHORITY : ADDITIONAL;
}

static bool check_rr(struct check *check, const struct dnsmsg_rr *rr, enum section section)
{
	const struct rdata_layout *layout = rdata_layout_of(rr->type);
	struct dnsreply *reply = check->reply;
	size_t names[RDATA_NAMES_MAX + 1];

	if (rr->type == DNS_TYPE_OPT) {
		return check_opt(check, rr, section == ADDITIONAL);
	}
	if (!address_has_length(rr) || (layout && !rdata_names(check->msg, rr, layout, names))) {
		return false;
	}
	note_name(check, rr->owner);
	for (unsigned i = 0; layout && i < layout->names; i++) {
		note_name(check, names[i]);
	}
	note_ttl(check, rr->ttl);
	if (section == ANSWER && (rr->type == check->qtype || check->qtype == DNS_TYPE_ANY) &&
	    (rr->class == check->qclass || check->qclass == DNS_CLASS_ANY)) {
		check->has_answer = true;
	}
	if (section == AUTHORITY && rr->type == DNS_TYPE_NS) {
		check->has_ns = true;
	}
	if (section == AUTHORITY && rr->type == DNS_TYPE_SOA) {
		check_soa(check, rr);
	}
	if (type_is_dnssec(rr->type)) {
		reply->has_dnssec = true;
	}
	/* Records after OPT would move when it goes. */
	reply->must_write |= reply->has_opt;
	reply->end = rr->end;
	return true;
}

static bool check_records(struct check *check, size_t len, const struct dnsmsg_header *header)
{
	size_t count = (size_t)header->ancount + header->nscount + header->arcount;
	size_t offset = check->reply->end;
	struct dnsmsg_rr rr;

	for (size_t i = 0; i < count; i++) {
		offset = dnsmsg_read_rr(check->msg, len, offset, &rr);
		if (!offset || !check_rr(check, &rr, section_of(header, i))) {
			return false;
		}
	}
	return true;
}

static void classify(const struct check *check, unsigned ancount)
{
	struct dnsreply *reply = check->reply;

	if (reply->rcode == DNS_RCODE_NXDOMAIN) {
		reply->kind = DNSREPLY_NXDOMAIN;
	} else if (reply->rcode != DNS_RCODE_NOERROR) {
		reply->kind = DNSREPLY_OTHER;
	} else if (check->has_answer) {
		reply->kind = DNSREPLY_POSITIVE;
	} else if (check->has_soa || (ancount == 0 && !check->has_ns)) {
		reply->kind = DNSREPLY_NODATA;
	} else {
		reply->kind = DNSREPLY_OTHER;
	}
	if (reply->kind == DNSREPLY_POSITIVE || (reply->kind != DNSREPLY_OTHER && check->has_soa)) {
		reply->ttl_s = check->ttl_s;
	}
}

enum dnsreply_status dnsreply_check(const uint8_t *msg, size_t len, uint16_t id,
				    const uint8_t *question, size_t question_len,
				    struct dnsreply *ret_reply)
{
	size_t name_len = question_len - 4;
	struct dnsmsg_header header;
	struct check check;

	assert(question_len > 4 && question_len <= DNSMSG_QUESTION_MAX);
	if (!dnsmsg_read_header(msg, len, &header) || header.id != id ||
	    (header.flags & (DNSMSG_QR | DNSMSG_OPCODE)) != DNSMSG_QR) {
		return DNSREPLY_MISMATCH;
	}
	*ret_reply = (struct dnsreply){ .rcode = header.flags & DNSMSG_RCODE };
	if (header.qdcount == 0) {
		return ret_reply->rcode ? DNSREPLY_BARE : DNSREPLY_MALFORMED;
	}
	if (header.qdcount != 1 || len - DNSMSG_HEADER_LEN < question_len ||
	    !dnsname_equal(msg + DNSMSG_HEADER_LEN, question, name_len) ||
	    memcmp(msg + DNSMSG_HEADER_LEN + name_len, question + name_len, 4) != 0) {
		return DNSREPLY_MISMATCH;
	}
	ret_reply->same_case = memcmp(msg + DNSMSG_HEADER_LEN, question, name_len) == 0;
	ret_reply->authenticated = header.flags & DNSMSG_AD;
	ret_reply->flags = header.flags;
	ret_reply->question_len = (uint16_t)question_len;
	ret_reply->end = DNSMSG_HEADER_LEN + question_len;
	if (header.flags & DNSMSG_TC) {
		ret_reply->kind = DNSREPLY_TRUNCATED;
		return DNSREPLY_OK;
	}
	memset(&check, 0, offsetof(struct check, labels));
	memset(check.labels, 0,
	       len < DNSNAME_POINTER_LIMIT ? len / 8 + 1 : DNSNAME_POINTER_LIMIT / 8);
	check.msg = msg;
	check.reply = ret_reply;
	check.qtype = (uint16_t)(question[name_len] << 8 | question[name_len + 1]);
	check.qclass = (uint16_t)(question[name_len + 2] << 8 | question[name_len + 3]);
	check.ttl_s = TTL_MAX;
	note_name(&check, DNSMSG_HEADER_LEN);
	if (!check_records(&check, len, &header)) {
		return DNSREPLY_MALFORMED;
	}
	classify(&check, header.ancount);
	return DNSREPLY_OK;
}

/* --- normalize --- */

/* Places in the new message that pointers may lead to; when all are taken, names are written out in
 * full. */
#define TARGETS_MAX 128

struct rewrite {
	const uint8_t *msg;
	size_t end; /* of msg */
	struct wire_writer w;
	bool strip; /* leave out what clients without DO must not see */
	bool anew;  /* write record by record, instead of a copy */
	size_t target_count;
	uint16_t targets[TARGETS_MAX];
	uint8_t target_lens[TARGETS_MAX]; /* of the names there, without pointers */
};

/* Whether the name at `offset` of the new message, which is sound, is this one, case included. */
static bool target_is(const uint8_t *out, size_t offset, const uint8_t *name)
{
	for (;;) {
		if (out[offset] >= DNSNAME_POINTER) {
			offset = (size_t)(out[offset] & 0x3f) << 8 | out[offset + 1];
			continue;
		}
		if (memcmp(out + offset, name, 1 + (size_t)name[0]) != 0) {
			return false;
		}
		if (name[0] == 0) {
			return true;
		}
		offset += 1 + (size_t)name[0];
		name += 1 + name[0];
	}
}

/* Where the new message has this name already, or 0. */
static size_t find_target(const struct rewrite *rewrite, const uint8_t *name, size_t name_len)
{
	for (size_t i = 0; i < rewrite->target_count; i++) {
		if (rewrite->target_lens[i] == name_len &&
		    target_is(rewrite->w.start, rewrite->targets[i], name)) {
			return rewrite->targets[i];
		}
	}
	return 0;
}

/* Remember the labels of name[0..own_len), which were written at `offset`, as targets. */
static void add_targets(struct rewrite *rewrite, size_t offset, const uint8_t *name, size_t own_len,
			size_t name_len)
{
	size_t pos = 0;

	/* After a failure they were not written. */
	while (!rewrite->w.failed && pos < own_len && offset + pos < DNSNAME_POINTER_LIMIT &&
	       rewrite->target_count < TARGETS_MAX) {
		rewrite->targets[rewrite->target_count] = (uint16_t)(offset + pos);
		rewrite->target_lens[rewrite->target_count] = (uint8_t)(name_len - pos);
		rewrite->target_count++;
		pos += 1 + (size_t)name[pos];
	}
}

/* Write the name at `offset` of the old message. */
static void write_name(struct rewrite *rewrite, size_t offset, bool compress)
{
	size_t at = wire_written(&rewrite->w);
	uint8_t name[DNSNAME_MAX];
	size_t name_len = 0;
	size_t own_len = 0;
	size_t target = 0;

	dnsname_expand(rewrite->msg, rewrite->end, offset, name, &name_len);
	if (!compress) {
		wire_put(&rewrite->w, name, name_len);
		return;
	}
	while (name[own_len] != 0) {
		target = find_target(rewrite, name + own_len, name_len - own_len);
		if (target) {
			break;
		}
		own_len += 1 + (size_t)name[own_len];
	}
	wire_put(&rewrite->w, name, own_len);
	if (target) {
		wire_put_u16(&rewrite->w, (uint16_t)(DNSNAME_POINTER << 8 | target));
	} else {
		wire_put_u8(&rewrite->w, 0);
	}
	add_targets(rewrite, at, name, own_len, name_len);
}

static void write_rdata(struct rewrite *rewrite, const struct dnsmsg_rr *rr)
{
	const struct rdata_layout *layout = rdata_layout_of(rr->type);
	size_t names[RDATA_NAMES_MAX + 1] = { rr->rdata };
	unsigned count = 0;

	if (layout && rdata_names(rewrite->msg, rr, layout, names)) {
		count = layout->names;
	}
	wire_put(&rewrite->w, rewrite->msg + rr->rdata, names[0] - rr->rdata);
	for (unsigned i = 0; i < count; i++) {
		write_name(rewrite, names[i], layout->compress);
	}
	wire_put(&rewrite->w, rewrite->msg + names[count], rr->end - names[count]);
}

/* Returns the offset of the TTL in the new message. */
static size_t write_rr(struct rewrite *rewrite, const struct dnsmsg_rr *rr)
{
	struct wire_writer *w = &rewrite->w;
	uint8_t *rdlength;
	size_t ttl_offset;
	size_t rdata_len;

	write_name(rewrite, rr->owner, true);
	wire_put_u16(w, rr->type);
	wire_put_u16(w, rr->class);
	ttl_offset = wire_written(w);
	wire_put_u32(w, sane_ttl(rr->ttl));
	rdlength = wire_room(w, 2);
	write_rdata(rewrite, rr);
	if (!w->failed) {
		rdata_len = (size_t)(w->pos - rdlength) - 2;
		rdlength[0] = (uint8_t)(rdata_len >> 8);
		rdlength[1] = (uint8_t)rdata_len;
	}
	return ttl_offset;
}

/* Copy a record that stays where it is; its octets are in the new message already. */
static size_t copy_rr(struct rewrite *rewrite, const struct dnsmsg_rr *rr)
{
	if (rr->ttl > TTL_MAX && !rewrite->w.failed) {
		memset(rewrite->w.start + rr->ttl_offset, 0, 4);
	}
	return rr->ttl_offset;
}

static void note_ttl_offset(struct dnsreply_body *body, size_t offset)
{
	if (body->ttl_count < DNSREPLY_RECORDS_MAX) {
		body->ttl_offsets[body->ttl_count] = (uint16_t)offset;
	} else {
		body->ttl_s = 0;
	}
	body->ttl_count++;
}

/* The records of one RRset that come one after the other, as all servers send them. */
struct rrset {
	struct dnsmsg_rr rr; /* the last one */
	enum section section;
	size_t count;   /* 0: none yet */
	uint32_t ttl_s; /* the least so far */
};

static bool same_owner(const struct rewrite *rewrite, size_t a, size_t b)
{
	uint8_t names[2][DNSNAME_MAX];
	size_t lens[2] = { 0 };

	if (memcmp(rewrite->msg + a, rewrite->msg + b, 2) == 0 &&
	    rewrite->msg[a] >= DNSNAME_POINTER) {
		return true;
	}
	dnsname_expand(rewrite->msg, rewrite->end, a, names[0], &lens[0]);
	dnsname_expand(rewrite->msg, rewrite->end, b, names[1], &lens[1]);
	return lens[0] == lens[1] && dnsname_equal(names[0], names[1], lens[0]);
}

/* Give all records of an RRset the least of their TTLs (RFC 2181 section 5.2). Signatures are no
 * RRset of their own: each has the TTL of what it covers. */
static void level_ttl(struct rewrite *rewrite, struct rrset *set, const struct dnsmsg_rr *rr,
		      enum section section, const struct dnsreply_body *body)
{
	uint32_t ttl_s = sane_ttl(rr->ttl);
	bool goes_on = set->count > 0 && set->rr.class == rr->class && set->rr.type == rr->type &&
		       set->section == section && rr->type != DNS_TYPE_RRSIG &&
		       rr->type != DNS_TYPE_SIG && same_owner(rewrite, set->rr.owner, rr->owner);
	bool differs = goes_on && ttl_s != set->ttl_s;

	set->count = goes_on ? set->count + 1 : 1;
	set->ttl_s = goes_on && set->ttl_s < ttl_s ? set->ttl_s : ttl_s;
	set->rr = *rr;
	set->section = section;
	for (size_t i = 0; differs && !rewrite->w.failed && i < set->count &&
			   body->ttl_count <= DNSREPLY_RECORDS_MAX;
	     i++) {
		uint8_t *field = rewrite->w.start + body->ttl_offsets[body->ttl_count - 1 - i];
		struct wire_writer w = wire_writer(field, 4);

		wire_put_u32(&w, set->ttl_s);
	}
}

/* Whether a record is hidden from clients without DO. */
static bool rr_is_hidden(const struct dnsmsg_rr *rr, uint16_t qtype)
{
	return type_is_dnssec(rr->type) && rr->type != qtype && qtype != DNS_TYPE_ANY;
}

/* Bring the records over; counts those of each section. */
static void normalize_records(struct rewrite *rewrite, const struct dnsreply *reply,
			      uint16_t counts[3], struct dnsreply_body *body)
{
	const uint8_t *msg = rewrite->msg;
	const uint8_t *qtype = msg + DNSMSG_HEADER_LEN + reply->question_len - 4;
	size_t offset = (size_t)DNSMSG_HEADER_LEN + reply->question_len;
	struct rrset set = { .count = 0 };
	struct dnsmsg_header header;
	struct dnsmsg_rr rr;

	dnsmsg_read_header(msg, reply->end, &header);
	for (size_t i = 0; offset < reply->end; i++) {
		offset = dnsmsg_read_rr(msg, reply->end, offset, &rr);
		assert(offset);
		if (rr.type == DNS_TYPE_OPT ||
		    (rewrite->strip && rr_is_hidden(&rr, (uint16_t)(qtype[0] << 8 | qtype[1])))) {
			continue;
		}
		note_ttl_offset(body,
				rewrite->anew ? write_rr(rewrite, &rr) : copy_rr(rewrite, &rr));
		level_ttl(rewrite, &set, &rr, section_of(&header, i), body);
		counts[section_of(&header, i)]++;
	}
}

static void write_header(uint8_t *out, const struct dnsreply *reply, const uint16_t counts[3])
{
	struct wire_writer w = wire_writer(out, DNSMSG_HEADER_LEN);
	unsigned rcode = reply->rcode > RCODE_MAX_PLAIN ? DNS_RCODE_SERVFAIL : reply->rcode;

	wire_put_u16(&w, 0);
	wire_put_u16(&w, (uint16_t)(DNSMSG_QR | DNSMSG_RA |
				    (reply->flags & (DNSMSG_AD | DNSMSG_TC)) | rcode));
	wire_put_u16(&w, 1);
	wire_put_u16(&w, counts[ANSWER]);
	wire_put_u16(&w, counts[AUTHORITY]);
	wire_put_u16(&w, counts[ADDITIONAL]);
}

int dnsreply_normalize(const uint8_t *msg, const struct dnsreply *reply, bool dnssec_ok,
		       uint8_t *out, size_t cap, struct dnsreply_body *ret_body)
{
	size_t start = (size_t)DNSMSG_HEADER_LEN + reply->question_len;
	size_t name_len = reply->question_len - 4u;
	uint16_t counts[3] = { 0 };
	struct rewrite rewrite;

	rewrite.msg = msg;
	rewrite.end = reply->end;
	rewrite.strip = !dnssec_ok && reply->has_dnssec;
	rewrite.anew = rewrite.strip || reply->must_write;
	rewrite.w = wire_writer(out, cap < DNSMSG_MAX ? cap : DNSMSG_MAX);
	rewrite.target_count = 0;
	wire_put(&rewrite.w, msg, rewrite.anew ? start : reply->end);
	add_targets(&rewrite, DNSMSG_HEADER_LEN, msg + DNSMSG_HEADER_LEN, name_len - 1, name_len);
	ret_body->ttl_s = reply->ttl_s;
	ret_body->ttl_count = 0;
	normalize_records(&rewrite, reply, counts, ret_body);
	if (rewrite.w.failed) {
		return -EMSGSIZE;
	}
	write_header(out, reply, counts);
	ret_body->len = wire_written(&rewrite.w);
	return 0;
}
