/* SPDX-License-Identifier: ISC */
/*
 * A compiled set of destinations: host names, suffixes and networks, as many as a block list has.
 * Looking up costs a binary search in each of two sorted arrays, whatever the number of entries:
 * suffixes that a shorter one covers and networks within wider ones are dropped when the set is
 * sealed, so that only the nearest entry before the one looked for can match.
 *
 * An entry is, in text:
 *	www.example.com		exactly this name
 *	.example.com		this name and every name below it
 *	192.0.2.0/24, fd00::/8	a network, host bits zero; an address stands for itself
 * Names never match addresses, nor the other way round. Letters match whatever their case, one
 * final dot is ignored. A v4-mapped network or address means the IPv4 one; apart from that the
 * families never match each other. Scope ids of addresses are not looked at.
 *
 * Life: match_new(), match_add() for each entry, match_seal(); from then on it is immutable and may
 * be shared by threads. Pure.
 */
#ifndef COMMON_MATCH_H
#define COMMON_MATCH_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>

/* Entries of one set; more are refused. */
#define MATCH_ENTRIES_MAX 1000000u

/* Longest name, without a final dot (RFC 1035 section 2.3.4). */
#define MATCH_NAME_MAX    253

enum match_kind {
	MATCH_NAME,
	MATCH_SUFFIX,
	MATCH_NET,
};

struct match_entry {
	enum match_kind kind;
	struct prefix net;             /* MATCH_NET */
	char name[MATCH_NAME_MAX + 1]; /* else: lower case, no dot at either end */
};

/* Parse one entry of len bytes, without outer blanks. 0, or -EINVAL with *reterr_why (a static
 * text) saying what was wrong. */
int match_parse(const char *text, size_t len, struct match_entry *ret_entry,
		const char **reterr_why);

/* --- the set ------------------------------------------------------------------------------- */

struct match;

/* An empty set, owned, or NULL when out of memory. */
struct match *match_new(void);

/* NULL is fine. */
void match_free(struct match *m);

/* Copy an entry into a set that is not sealed yet. 0, -ENOMEM, or -E2BIG when it is full. */
int match_add(struct match *m, const struct match_entry *entry);

/* No more entries will come: sort, drop what others cover, give back spare memory. */
void match_seal(struct match *m);

/* Both want a sealed set. A name longer than MATCH_NAME_MAX never matches, nor does AF_UNSPEC; an
 * address is folded first. */
bool match_has_name(const struct match *m, const char *name);
bool match_has_addr(const struct match *m, const struct addr *a);

/* Memory the set holds. */
size_t match_bytes(const struct match *m);

/* --- lists --------------------------------------------------------------------------------- */

/* Walks a text with one entry a line; blank lines and what follows a '#' are skipped. Set text and
 * len, the rest to zero. */
struct match_list {
	const char *text; /* borrowed */
	size_t len;
	size_t offset;
	unsigned line; /* of the entry returned last, from 1 */
};

/* The next entry, without blanks around it, not ended by NUL. False at the end. */
bool match_list_next(struct match_list *list, const char **ret_item, size_t *ret_len);

#endif
