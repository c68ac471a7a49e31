/* SPDX-License-Identifier: ISC */
/*
 * Discovery of designated resolvers (RFC 9462): clients that know us by address ask for
 * _dns.resolver.arpa, type SVCB, where we can be asked with encryption. One record tells of one
 * address of a listener: its protocol, port and address, under the name in its certificate.
 *
 * Pure, thread-free, allocates nothing.
 */
#ifndef DNSPROXYD_MESSAGE_DDR_H
#define DNSPROXYD_MESSAGE_DDR_H

#include "common/addr.h"

#include "dnsproxyd/message/dnsmsg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More are left out, as is what does not fit in DDR_ANSWER_MAX. */
#define DDR_RECORDS_MAX 8
/* Room that every answer fits in. */
#define DDR_ANSWER_MAX  DNSMSG_UDP_MIN
/* Longest data of one record. */
#define DDR_DATA_MAX    (DNSNAME_MAX + 128)

struct ddr_record {
	uint16_t len;
	uint8_t data[DDR_DATA_MAX];
};

/* All-zero: none. */
struct ddr {
	size_t count;
	struct ddr_record records[DDR_RECORDS_MAX];
};

/* Tell of a listener. name: of its certificate; alpn: its protocol ("dot", "h2"); path: the URI
 * template of DNS over HTTPS (RFC 9461 section 5), or NULL. An unspecified address is left out: the
 * name leads there. False when there is no room or the name is none. */
bool ddr_add(struct ddr *ddr, const char *name, const char *alpn, const struct addr *address,
	     const char *path);

/* Make the answer, for dnsmsg_answer(): its length, or 0 when the question is another one or there
 * is nothing to tell. buf has room for DDR_ANSWER_MAX. */
size_t ddr_answer(const struct ddr *ddr, const struct dnsmsg_query *query, uint8_t *buf);

#endif
