/* SPDX-License-Identifier: ISC */
/*
 * What upstream servers send: is it the answer to our question, is it sound, how long may it be
 * kept; and the one form in which answers are kept and handed to clients.
 *
 * Answers are kept apart for clients with and without DO, and with and without CD (see cache.h). So
 * the DNSSEC records that a client without DO must not see (RFC 4035 section 3.2.1) are taken out
 * once, when the answer is normalized, and a cache hit stays a plain copy. Taking out a record in
 * the middle moves all that follows, and with it the targets of compression pointers:
 * dnsreply_normalize() then writes the message anew, name by name.
 *
 * Pure, thread-free, allocates nothing, safe on any bytes.
 */
#ifndef DNSPROXYD_MESSAGE_DNSREPLY_H
#define DNSPROXYD_MESSAGE_DNSREPLY_H

#include "dnsproxyd/message/dnsmsg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dnsreply_status {
	DNSREPLY_OK,
	DNSREPLY_MISMATCH,  /* not the answer to our question: drop it, go on waiting (RFC 5452
			       section 9.1) */
	DNSREPLY_MALFORMED, /* our ID and question, but broken */
	DNSREPLY_BARE, /* our ID, an error RCODE and no question: what old servers say to EDNS */
};

enum dnsreply_kind {
	DNSREPLY_POSITIVE, /* NOERROR with a record of the type asked for */
	DNSREPLY_NXDOMAIN,
	DNSREPLY_NODATA,    /* NOERROR without one (RFC 2308 section 2.2), perhaps at the end of a
			       CNAME chain */
	DNSREPLY_TRUNCATED, /* TC: ask again by TCP; its records were not looked at (RFC 2181
			       section 9) */
	DNSREPLY_OTHER,     /* any other RCODE, a referral, a CNAME that leads nowhere */
};

struct dnsreply {
	enum dnsreply_kind kind;
	uint16_t rcode;     /* all twelve bits */
	bool authenticated; /* AD */
	bool same_case;     /* the question came back in the case we sent it in */
	bool has_opt;
	struct dnsmsg_reason reason; /* the first EDE (RFC 8914) */
	bool has_keepalive;
	uint16_t keepalive; /* in units of 100 ms (RFC 7828), when has_keepalive */
	/*
	 * How long the whole may be kept, 0 for not at all: the least TTL of all its records, which
	 * covers RRsets with differing TTLs (RFC 2181 section 5.2) and CNAME chains; a TTL above
	 * 2^31-1 counts as 0 (section 8; RFC 8767 would cap it, but nobody honest sends one). A
	 * negative answer: at most the SOA's TTL and its MINIMUM, and 0 without a SOA (RFC 2308
	 * section 5). Always 0 for TRUNCATED and OTHER.
	 */
	uint32_t ttl_s;

	/* For dnsreply_normalize(). */
	uint16_t flags;
	uint16_t question_len;
	size_t end;      /* of the last record that is not OPT; what follows is OPT or rubbish */
	bool must_write; /* a copy would not do: OPT in the middle, or a pointer to no name */
	bool has_dnssec;
};

/*
 * Check what came for the query with this ID and question (name, type, class; the name as we sent
 * it). The question must agree but for the name's case; whether to insist on the case as well is
 * the caller's decision. Unless TC is set every record is read: names, lengths, the data of the
 * types that hold names, at most one OPT and that in the additional section. Octets after the last
 * record are ignored and go nowhere. *ret_reply is filled on OK; on BARE its rcode only.
 */
enum dnsreply_status dnsreply_check(const uint8_t *msg, size_t len, uint16_t id,
				    const uint8_t *question, size_t question_len,
				    struct dnsreply *ret_reply);

/* Answers with more records are passed on, but not kept. */
#define DNSREPLY_RECORDS_MAX 512

/* What the cache needs to know about a normalized message. */
struct dnsreply_body {
	size_t len;
	uint32_t ttl_s;
	size_t ttl_count;
	uint16_t ttl_offsets[DNSREPLY_RECORDS_MAX]; /* of all records, in order */
};

/*
 * Write the message that stands for this reply from now on: ID 0, the question, the records in
 * their order, no OPT, TTLs above 2^31-1 made 0, those of an RRset made equal, an RCODE above 15
 * made SERVFAIL (the codes of OPT are for the server's neighbour only), AD and TC as they were.
 * Without dnssec_ok, RRSIG, NSEC, NSEC3, DS and DNSKEY records are left out, but for the type that
 * was asked for, and all stay when that is ANY. TRUNCATED gives header and question.
 *
 * msg is the one dnsreply_check() found OK; out must not overlap it. 0, or -EMSGSIZE when out is
 * too small: a message written anew may be a little longer than it was.
 */
int dnsreply_normalize(const uint8_t *msg, const struct dnsreply *reply, bool dnssec_ok,
		       uint8_t *out, size_t cap, struct dnsreply_body *ret_body);

#endif
