/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/message/special.h"

#include "common/container.h"
#include "common/wire.h"

#include <string.h>

#define LABELS_MAX  128

/* Of the records of an empty zone, and how long it may be believed that a name is not there (RFC
 * 6303 section 3). */
#define ZONE_TTL_S  10800

#define HINFO_TTL_S 3600

#define TYPE_PTR    12
#define TYPE_HINFO  13

/* Length of the root's name. */
#define ROOT_LEN    1

/* --- the question's name ----------------------------------------------------------------- */

/* Its labels, from the left; the root is not counted. */
struct labels {
	const uint8_t *name;
	uint8_t offsets[LABELS_MAX];
	unsigned count;
};

static void read_labels(struct labels *labels, const uint8_t *name)
{
	unsigned offset = 0;

	labels->name = name;
	labels->count = 0;
	while (name[offset] != 0) {
		labels->offsets[labels->count++] = (uint8_t)offset;
		offset += 1u + name[offset];
	}
}

/* The label that is n-th from the right, 0 being the last. There must be one. */
static const uint8_t *label_from_right(const struct labels *labels, unsigned n)
{
	return labels->name + labels->offsets[labels->count - 1 - n];
}

static bool label_is(const uint8_t *label, const char *text)
{
	size_t len = strlen(text);

	return label[0] == len && dnsname_equal(label + 1, (const uint8_t *)text, len);
}

/* A decimal octet as reverse names have it, or -1. */
static int label_octet(const uint8_t *label)
{
	int value = 0;

	if (label[0] < 1 || label[0] > 3 || (label[0] > 1 && label[1] == '0')) {
		return -1;
	}
	for (unsigned i = 1; i <= label[0]; i++) {
		if (label[i] < '0' || label[i] > '9') {
			return -1;
		}
		value = value * 10 + label[i] - '0';
	}
	return value <= 255 ? value : -1;
}

/* --- which zone it is in ----------------------------------------------------------------- */

enum zone_kind {
	ZONE_NONE,
	ZONE_LOCALHOST,
	ZONE_ABSENT, /* neither the name nor what is below exists */
	ZONE_EMPTY,
	ZONE_RESOLVER, /* resolver.arpa */
};

struct zone {
	enum zone_kind kind;
	unsigned labels; /* how many of the name's last are the zone's */
	bool is_local;   /* a network may use it for itself */
	const char *why;
};

static const struct zone no_zone = { .kind = ZONE_NONE };

static const struct {
	const char *label;
	struct zone zone;
} top_level[] = {
	{ "localhost", { ZONE_LOCALHOST, 1, false, "this host (RFC 6761)" } },
	{ "invalid", { ZONE_ABSENT, 1, false, "never exists (RFC 6761)" } },
	{ "onion", { ZONE_ABSENT, 1, false, "not a DNS name (RFC 7686)" } },
	{ "alt", { ZONE_ABSENT, 1, false, "not a DNS name (RFC 9476)" } },
	{ "test", { ZONE_ABSENT, 1, true, "for tests (RFC 6761)" } },
	{ "local", { ZONE_ABSENT, 1, true, "multicast DNS (RFC 6762)" } },
	{ "internal", { ZONE_ABSENT, 1, true, "private use" } },
};

/* The reverse zones of RFC 6303 section 4.1 and RFC 7793: octets that are given, then a range for
 * one more. */
static const struct {
	uint8_t fixed;
	uint8_t octets[3];
	uint8_t first;
	uint8_t last;
} ipv4_zones[] = {
	{ 0, { 0 }, 0, 0 },
	{ 0, { 0 }, 10, 10 },
	{ 0, { 0 }, 127, 127 },
	{ 1, { 169 }, 254, 254 },
	{ 1, { 172 }, 16, 31 },
	{ 1, { 192 }, 168, 168 },
	{ 1, { 100 }, 64, 127 },
	{ 2, { 192, 0 }, 2, 2 },
	{ 2, { 198, 51 }, 100, 100 },
	{ 2, { 203, 0 }, 113, 113 },
	{ 3, { 255, 255, 255 }, 255, 255 },
};

/* Sections 4.2 to 4.6, in the order of an address' digits. */
static const char *const ipv6_zones[] = {
	"00000000000000000000000000000000",
	"00000000000000000000000000000001",
	"fd",
	"fe8",
	"fe9",
	"fea",
	"feb",
	"20010db8",
};

static struct zone reverse_zone(unsigned labels)
{
	return (struct zone){ ZONE_EMPTY, labels, true, "local addresses (RFC 6303)" };
}

static struct zone find_ipv4_zone(const struct labels *labels)
{
	for (size_t i = 0; i < ARRAY_SIZE(ipv4_zones); i++) {
		unsigned fixed = ipv4_zones[i].fixed;
		unsigned n = 0;
		int octet;

		if (labels->count < fixed + 3) {
			continue;
		}
		while (n < fixed &&
		       label_octet(label_from_right(labels, 2 + n)) == ipv4_zones[i].octets[n]) {
			n++;
		}
		octet = label_octet(label_from_right(labels, 2 + fixed));
		if (n == fixed && octet >= ipv4_zones[i].first && octet <= ipv4_zones[i].last) {
			return reverse_zone(fixed + 3);
		}
	}
	return no_zone;
}

static struct zone find_ipv6_zone(const struct labels *labels)
{
	for (size_t i = 0; i < ARRAY_SIZE(ipv6_zones); i++) {
		const char *digits = ipv6_zones[i];
		unsigned n = 0;

		while (digits[n] != '\0' && n + 2 < labels->count) {
			const char digit[] = { digits[n], '\0' };

			if (!label_is(label_from_right(labels, 2 + n), digit)) {
				break;
			}
			n++;
		}
		if (digits[n] == '\0') {
			return reverse_zone(n + 2);
		}
	}
	return no_zone;
}

static struct zone find_arpa_zone(const struct labels *labels)
{
	const uint8_t *label;

	if (labels->count < 2) {
		return no_zone;
	}
	label = label_from_right(labels, 1);
	if (label_is(label, "in-addr")) {
		return find_ipv4_zone(labels);
	}
	if (label_is(label, "ip6")) {
		return find_ipv6_zone(labels);
	}
	if (label_is(label, "home")) {
		return (struct zone){ ZONE_EMPTY, 2, true, "home networks (RFC 8375)" };
	}
	if (label_is(label, "resolver")) {
		return (struct zone){ ZONE_RESOLVER, 2, false, "this resolver (RFC 9462)" };
	}
	return no_zone;
}

static struct zone find_zone(const struct labels *labels)
{
	const uint8_t *label;

	if (labels->count == 0) {
		return no_zone;
	}
	label = label_from_right(labels, 0);
	if (label_is(label, "arpa")) {
		return find_arpa_zone(labels);
	}
	for (size_t i = 0; i < ARRAY_SIZE(top_level); i++) {
		if (label_is(label, top_level[i].label)) {
			return top_level[i].zone;
		}
	}
	return no_zone;
}

/* --- answers ----------------------------------------------------------------------------- */

struct answer {
	struct wire_writer w;
	uint8_t *buf;
	uint16_t zone_pointer; /* to the zone's name in the question */
	uint16_t ancount;
	uint16_t nscount;
	unsigned rcode;
};

static void put_pointer(struct answer *a, unsigned offset)
{
	wire_put_u16(&a->w, (uint16_t)(DNSNAME_POINTER << 8 | offset));
}

/* All of a record but its data, whose owner is the name at this offset, 0 for the root. */
static void put_record(struct answer *a, unsigned owner, uint16_t type, uint16_t class,
		       uint32_t ttl_s, size_t rdlength)
{
	if (owner) {
		put_pointer(a, owner);
	} else {
		wire_put_u8(&a->w, 0);
	}
	wire_put_u16(&a->w, type);
	wire_put_u16(&a->w, class);
	wire_put_u32(&a->w, ttl_s);
	wire_put_u16(&a->w, (uint16_t)rdlength);
}

/* The values are those of RFC 6303 section 3. */
static void put_soa(struct answer *a, unsigned owner)
{
	static const uint8_t mailbox[] = "\6nobody\7invalid";
	static const uint32_t numbers[] = { 1, 3600, 1200, 604800, ZONE_TTL_S };
	size_t mname_len = owner ? 2 : ROOT_LEN;

	put_record(a, owner, DNS_TYPE_SOA, DNS_CLASS_IN, ZONE_TTL_S,
		   mname_len + sizeof mailbox + sizeof numbers);
	if (owner) {
		put_pointer(a, owner);
	} else {
		wire_put_u8(&a->w, 0);
	}
	wire_put(&a->w, mailbox, sizeof mailbox);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		wire_put_u32(&a->w, numbers[i]);
	}
}

static void deny(struct answer *a, unsigned rcode, unsigned soa_owner)
{
	a->rcode = rcode;
	a->nscount++;
	put_soa(a, soa_owner);
}

static void put_data(struct answer *a, uint16_t type, const void *data, size_t len)
{
	a->ancount++;
	put_record(a, DNSMSG_HEADER_LEN, type, DNS_CLASS_IN, ZONE_TTL_S, len);
	wire_put(&a->w, data, len);
}

static bool wants(const struct dnsmsg_query *query, uint16_t type)
{
	return query->qtype == type || query->qtype == DNS_TYPE_ANY;
}

/* The records at the apex of an empty zone. */
static void answer_apex(struct answer *a, const struct dnsmsg_query *query)
{
	if (wants(query, DNS_TYPE_SOA)) {
		a->ancount++;
		put_soa(a, a->zone_pointer);
	}
	if (wants(query, DNS_TYPE_NS)) {
		a->ancount++;
		put_record(a, a->zone_pointer, DNS_TYPE_NS, DNS_CLASS_IN, ZONE_TTL_S, 2);
		put_pointer(a, a->zone_pointer);
	}
	if (a->ancount == 0) {
		deny(a, DNS_RCODE_NOERROR, a->zone_pointer);
	}
}

static void answer_localhost(struct answer *a, const struct dnsmsg_query *query)
{
	static const uint8_t ipv4[4] = { 127, 0, 0, 1 };
	static const uint8_t ipv6[16] = { [15] = 1 };

	if (wants(query, DNS_TYPE_A)) {
		put_data(a, DNS_TYPE_A, ipv4, sizeof ipv4);
	}
	if (wants(query, DNS_TYPE_AAAA)) {
		put_data(a, DNS_TYPE_AAAA, ipv6, sizeof ipv6);
	}
	if (a->ancount == 0) {
		deny(a, DNS_RCODE_NOERROR, a->zone_pointer);
	}
}

/* Whether the name is the reverse one of 127.0.0.1 or ::1. */
static bool is_loopback(const struct labels *labels, const struct zone *zone)
{
	static const int octets[] = { 127, 0, 0, 1 };
	unsigned n = 0;

	if (label_is(label_from_right(labels, 1), "ip6")) {
		return zone->labels == 34 && labels->count == 34 && label_is(labels->name, "1");
	}
	while (n < 4 && labels->count == 6 &&
	       label_octet(label_from_right(labels, 2 + n)) == octets[n]) {
		n++;
	}
	return n == 4;
}

static void answer_empty(struct answer *a, const struct labels *labels, const struct zone *zone,
			 const struct dnsmsg_query *query)
{
	static const uint8_t localhost[] = "\11localhost";
	bool is_loopback_name = zone->labels > 2 && is_loopback(labels, zone);

	if (is_loopback_name && wants(query, TYPE_PTR)) {
		put_data(a, TYPE_PTR, localhost, sizeof localhost);
	} else if (labels->count == zone->labels) {
		answer_apex(a, query);
	} else {
		deny(a, is_loopback_name ? DNS_RCODE_NOERROR : DNS_RCODE_NXDOMAIN, a->zone_pointer);
	}
}

static void answer_zone(struct answer *a, const struct labels *labels, const struct zone *zone,
			const struct dnsmsg_query *query)
{
	switch (zone->kind) {
	case ZONE_NONE:
		break;
	case ZONE_LOCALHOST:
		answer_localhost(a, query);
		break;
	case ZONE_ABSENT:
		/* That a zone is not there is its parent's to say. */
		deny(a, DNS_RCODE_NXDOMAIN, labels->count > zone->labels ? a->zone_pointer : 0);
		break;
	case ZONE_EMPTY:
		answer_empty(a, labels, zone, query);
		break;
	case ZONE_RESOLVER:
		if (labels->count == zone->labels) {
			answer_apex(a, query);
		} else {
			bool is_known =
				labels->count == 3 && label_is(label_from_right(labels, 2), "_dns");

			deny(a, is_known ? DNS_RCODE_NOERROR : DNS_RCODE_NXDOMAIN, a->zone_pointer);
		}
		break;
	}
}

static void begin(struct answer *a, const struct dnsmsg_query *query, uint8_t *buf)
{
	*a = (struct answer){ .w = wire_writer(buf, SPECIAL_ANSWER_MAX), .buf = buf };
	wire_room(&a->w, DNSMSG_HEADER_LEN);
	wire_put(&a->w, query->question, query->question_len);
}

/* Write the header; returns the length. */
static size_t finish(struct answer *a)
{
	struct wire_writer w = wire_writer(a->buf, DNSMSG_HEADER_LEN);

	wire_put_u16(&w, 0);
	wire_put_u16(&w, (uint16_t)(DNSMSG_QR | DNSMSG_RA | a->rcode));
	wire_put_u16(&w, 1);
	wire_put_u16(&w, a->ancount);
	wire_put_u16(&w, a->nscount);
	wire_put_u16(&w, 0);
	return a->w.failed ? 0 : wire_written(&a->w);
}

size_t special_answer(const struct dnsmsg_query *query, enum special_scope scope, uint8_t *buf,
		      struct dnsmsg_ede *ret_ede)
{
	struct labels labels;
	struct answer a;
	struct zone zone;

	if (query->qclass != DNS_CLASS_IN) {
		return 0;
	}
	read_labels(&labels, query->question);
	zone = find_zone(&labels);
	if (zone.kind == ZONE_NONE || (zone.is_local && scope != SPECIAL_LOCAL) ||
	    (zone.kind == ZONE_EMPTY && query->qtype == DNS_TYPE_DS &&
	     labels.count == zone.labels)) {
		return 0;
	}
	begin(&a, query, buf);
	a.zone_pointer = (uint16_t)(DNSMSG_HEADER_LEN + labels.offsets[labels.count - zone.labels]);
	answer_zone(&a, &labels, &zone, query);
	*ret_ede = (struct dnsmsg_ede){ DNS_EDE_SYNTHESIZED, zone.why };
	return finish(&a);
}

size_t special_answer_any(const struct dnsmsg_query *query, uint8_t *buf)
{
	static const uint8_t data[] = "\7RFC8482";
	struct answer a;

	begin(&a, query, buf);
	a.ancount = 1;
	/* The string's final NUL is the empty second field. */
	put_record(&a, DNSMSG_HEADER_LEN, TYPE_HINFO, query->qclass, HINFO_TTL_S, sizeof data);
	wire_put(&a.w, data, sizeof data);
	return finish(&a);
}
