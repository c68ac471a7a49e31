/* SPDX-License-Identifier: ISC */
/*
 * DNS messages as we exchange them with clients, and the queries we send upstream: read a query,
 * build one, turn a stored answer into the reply for one client, make up an error. What upstream
 * servers send is dnsreply.h's.
 *
 * EDNS is hop by hop (RFC 6891 section 6.2.6): no option of a client goes upstream and none of an
 * upstream server goes to a client, but for its reason (RFC 8914); each side gets an OPT record of
 * our own.
 *
 * Pure, thread-free, allocates nothing, safe on any bytes.
 */
#ifndef DNSPROXYD_MESSAGE_DNSMSG_H
#define DNSPROXYD_MESSAGE_DNSMSG_H

#include "dnsproxyd/message/dnsname.h"
#include "dnsproxyd/message/trail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- numbers of the protocol --- */

#define DNSMSG_HEADER_LEN   12

/* Longest message: its length must fit the two octets before it on TCP. */
#define DNSMSG_MAX          65535

/* Longest question: name, type and class. */
#define DNSMSG_QUESTION_MAX (DNSNAME_MAX + 4)

/* An OPT record without options. */
#define DNSMSG_OPT_LEN      11

/* Sizes of padded messages are multiples of these (RFC 8467 section 4.1). */
#define DNSMSG_QUERY_BLOCK  128
#define DNSMSG_REPLY_BLOCK  468

/* Longest query of dnsmsg_build_query(): all of it comes to less than three blocks. */
#define DNSMSG_QUERY_MAX    (3 * DNSMSG_QUERY_BLOCK)

/* What every UDP client takes (RFC 1035 section 4.2.1). */
#define DNSMSG_UDP_MIN      512

/* The payload size we announce on both sides: no fragments on any path that takes 1280 octets (RFC
 * 9715). */
#define DNSMSG_UDP_PAYLOAD  1232

/* The most we send in a datagram, whatever a client announces and the configuration allows. */
#define DNSMSG_UDP_MAX      4096

/* Bits of the header's second word. */
enum dnsmsg_flag {
	DNSMSG_QR = 0x8000,
	DNSMSG_OPCODE = 0x7800,
	DNSMSG_AA = 0x0400,
	DNSMSG_TC = 0x0200,
	DNSMSG_RD = 0x0100,
	DNSMSG_RA = 0x0080,
	DNSMSG_AD = 0x0020,
	DNSMSG_CD = 0x0010,
	DNSMSG_RCODE = 0x000f,
};

enum dnsmsg_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_SIG = 24,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_OPT = 41,
	DNS_TYPE_DS = 43,
	DNS_TYPE_RRSIG = 46,
	DNS_TYPE_NSEC = 47,
	DNS_TYPE_DNSKEY = 48,
	DNS_TYPE_NSEC3 = 50,
	DNS_TYPE_TKEY = 249,
	DNS_TYPE_TSIG = 250,
	DNS_TYPE_IXFR = 251,
	DNS_TYPE_AXFR = 252,
	DNS_TYPE_ANY = 255,
};

enum dnsmsg_class {
	DNS_CLASS_IN = 1,
	DNS_CLASS_ANY = 255,
};

enum dnsmsg_rcode {
	DNS_RCODE_NOERROR = 0,
	DNS_RCODE_FORMERR = 1,
	DNS_RCODE_SERVFAIL = 2,
	DNS_RCODE_NXDOMAIN = 3,
	DNS_RCODE_NOTIMP = 4,
	DNS_RCODE_REFUSED = 5,
	DNS_RCODE_BADVERS = 16,
};

/* Extended DNS errors (RFC 8914 section 4). */
enum dnsmsg_ede_code {
	DNS_EDE_OTHER = 0,
	DNS_EDE_STALE_ANSWER = 3,
	DNS_EDE_CACHED_ERROR = 13,
	DNS_EDE_NOT_READY = 14,
	DNS_EDE_BLOCKED = 15,
	DNS_EDE_PROHIBITED = 18,
	DNS_EDE_STALE_NXDOMAIN = 19,
	DNS_EDE_NOT_SUPPORTED = 21,
	DNS_EDE_NO_REACHABLE_AUTHORITY = 22,
	DNS_EDE_NETWORK_ERROR = 23,
	DNS_EDE_INVALID_DATA = 24,
	DNS_EDE_SYNTHESIZED = 29,
};

/* Why an answer is as it is; text is UTF-8 without a final NUL on the wire, or NULL. */
struct dnsmsg_ede {
	uint16_t code;
	const char *text;
};

/* The longest text of a server's EDE that is kept; the rest is cut off. */
#define DNSMSG_REASON_TEXT_MAX 120

/* An EDE that a server sent, for the clients that its answer goes to. Holds a copy. */
struct dnsmsg_reason {
	bool is_set;
	uint16_t code;
	char text[DNSMSG_REASON_TEXT_MAX + 1]; /* may be empty */
};

/* For dnsmsg_answer() and dnsmsg_error(). Returns storage, filled, or NULL when there is no reason.
 * Valid as long as both. */
const struct dnsmsg_ede *dnsmsg_reason_ede(const struct dnsmsg_reason *reason,
					   struct dnsmsg_ede *storage);

/* Keep an EDE option's data. False, and nothing is kept, when they are none. */
bool dnsmsg_reason_set(struct dnsmsg_reason *reason, const uint8_t *data, size_t len);

/* --- headers and records --- */

struct dnsmsg_header {
	uint16_t id;
	uint16_t flags;
	uint16_t qdcount;
	uint16_t ancount;
	uint16_t nscount;
	uint16_t arcount;
};

/* False when there are fewer octets than a header has. */
bool dnsmsg_read_header(const uint8_t *msg, size_t len, struct dnsmsg_header *ret_header);

/* Change the ID of a message that has at least a header. */
void dnsmsg_set_id(uint8_t *msg, uint16_t id);

/* A resource record, as offsets into its message. */
struct dnsmsg_rr {
	size_t owner;
	size_t ttl_offset;
	size_t rdata;
	size_t end;
	uint32_t ttl; /* as sent */
	uint16_t type;
	uint16_t class;
};

/* Read the record at msg[offset]: its owner is a well-formed name and its data lie within the
 * message; the data are not looked at. Returns the offset after it, or 0. */
size_t dnsmsg_read_rr(const uint8_t *msg, size_t len, size_t offset, struct dnsmsg_rr *ret_rr);

/* --- queries of clients --- */

/* A positive verdict is the RCODE to answer with, by dnsmsg_error(). */
enum dnsmsg_verdict {
	DNSMSG_DROP = -1, /* a response, or no header: nothing to answer (RFC 1035 section 4.1.1) */
	DNSMSG_OK = 0,
	DNSMSG_FORMERR = DNS_RCODE_FORMERR,
	DNSMSG_NOTIMP = DNS_RCODE_NOTIMP,
	DNSMSG_BADVERS = DNS_RCODE_BADVERS,
};

/* A client's query; holds copies, borrows nothing. */
struct dnsmsg_query {
	uint16_t id;
	uint16_t flags; /* as sent */
	uint16_t qtype;
	uint16_t qclass;
	uint16_t payload;      /* at least DNSMSG_UDP_MIN; that without OPT */
	uint16_t question_len; /* 0 when there was not exactly one well-formed question */
	uint8_t edns_version;
	bool has_opt;
	bool dnssec_ok;       /* DO, RFC 3225 */
	bool wants_keepalive; /* sent the option of RFC 7828 */
	bool is_padded;       /* sent that of RFC 7830 */
	bool is_signed; /* TSIG or SIG(0): pass it with a new ID only (RFC 5625 section 4.5), keep
			   nothing of it */
	/* Not read but set by whoever answers, on TCP only: how long an idle connection stays open,
	 * in units of 100 ms, for the keepalive option of a client that wants one. 0: no option. */
	uint16_t keepalive;
	/* Set likewise, where nobody can read along: the reply is to be padded (RFC 7830 section
	 * 4).
	 */
	bool pad_reply;
	struct trail trail; /* who has forwarded it */
	/* name in the client's case, type, class; undefined beyond its length */
	uint8_t question[DNSMSG_QUESTION_MAX];
};

/* Copy what is defined of it: most questions are short. */
void dnsmsg_query_copy(struct dnsmsg_query *to, const struct dnsmsg_query *from);

/*
 * Read a query. *ret_query is filled as far as the message was understood, enough for
 * dnsmsg_error(), unless the verdict is DROP.
 *
 *	NOTIMP   any opcode but QUERY (so DSO too, RFC 8490 section 5.1); of such a message only
 *	         the header is read
 *	FORMERR  QDCOUNT is not 1 (RFC 9619); a malformed name or record; octets after the last
 *	         record; more than one OPT, one outside the additional section, one with an owner
 *	         other than the root, or options beyond its end (RFC 6891 section 6.1)
 *	BADVERS  an EDNS version above 0 (RFC 6891 section 6.1.3)
 */
enum dnsmsg_verdict dnsmsg_parse_query(const uint8_t *msg, size_t len,
				       struct dnsmsg_query *ret_query);

/* --- queries of ours --- */

enum dnsmsg_send {
	DNSMSG_SEND_EDNS = 1, /* with OPT, payload DNSMSG_UDP_PAYLOAD */
	DNSMSG_SEND_DO = 2,   /* with DO in that OPT; needs DNSMSG_SEND_EDNS */
	DNSMSG_SEND_CD = 4,
	DNSMSG_SEND_KEEPALIVE = 8, /* ask how long the connection may be idle (RFC 7828); in OPT */
	DNSMSG_SEND_PADDING = 16,  /* fill up to a multiple of DNSMSG_QUERY_BLOCK; in OPT */
	DNSMSG_SEND_TRAIL = 32,    /* with the query's trail in OPT, if there is one */
};

/*
 * Build the query that asks an upstream server what `query` asks, with the name in the client's
 * case (the first label's length octet is at DNSMSG_HEADER_LEN, for whoever wants to change that).
 * RD is always set, and AD, so that the server says whether it validated (RFC 6840 section 5.7):
 * what we keep must serve clients that ask for AD and others. Returns the length.
 */
size_t dnsmsg_build_query(const struct dnsmsg_query *query, uint16_t id, unsigned send,
			  uint8_t buf[DNSMSG_QUERY_MAX]);

/* --- replies to clients --- */

/* Largest reply the client takes in a datagram: 512 without OPT, else what it announced, at most
 * max_bytes (which is brought into DNSMSG_UDP_MIN..DNSMSG_UDP_MAX). On TCP the limit is DNSMSG_MAX.
 */
size_t dnsmsg_udp_limit(const struct dnsmsg_query *query, size_t max_bytes);

/*
 * Make the reply for one client, in place, of a message without OPT whose question is the client's
 * but for case: what dnsreply_normalize() and cache_get() give. The client's ID, question, RD and
 * CD; QR=1, RA=1, AA=0, Z=0; AD as stored when the client set AD or DO (RFC 6840 section 5.8), else
 * 0; RCODE and TC as stored; an OPT of ours if and only if the client sent one, with ede in it (may
 * be NULL). The TTLs are not touched.
 *
 * A reply to be padded gets zeros up to a multiple of DNSMSG_REPLY_BLOCK or to the limit. A reply
 * longer than limit loses the text of ede, then ede, then all its records and gets TC=1:
 * part of an RRset must not look like all of it (RFC 2181 section 9), and the client comes back by
 * TCP anyway.
 *
 * msg has room for max(len, limit); limit is at least DNSMSG_UDP_MIN. Returns the length, at most
 * limit.
 */
size_t dnsmsg_answer(uint8_t *msg, size_t len, const struct dnsmsg_query *query,
		     const struct dnsmsg_ede *ede, size_t limit);

/* Add an OPT with the reason to a message without OPT, as if a server had sent it. Returns the new
 * length: len when it does not fit into cap. */
size_t dnsmsg_append_reason(uint8_t *msg, size_t len, size_t cap,
			    const struct dnsmsg_reason *reason);

/* Build a reply that has nothing but TC=1, for a client that is to come back by TCP. buf has room
 * for limit, at least DNSMSG_UDP_MIN. Returns the length. */
size_t dnsmsg_truncated(const struct dnsmsg_query *query, uint8_t *buf, size_t limit);

/*
 * Build a reply without records: the question when it was understood, OPT if and only if the client
 * sent one, with the upper bits of rcode and ede (may be NULL; its text goes first when room is
 * short). An rcode above 15 becomes SERVFAIL for a client without OPT. buf has room for limit, at
 * least DNSMSG_UDP_MIN. Returns the length.
 */
size_t dnsmsg_error(const struct dnsmsg_query *query, unsigned rcode, const struct dnsmsg_ede *ede,
		    uint8_t *buf, size_t limit);

#endif
