/* SPDX-License-Identifier: ISC */
/*
 * Domain names in wire form: length octets and labels, ended by the root's zero octet (RFC 1035
 * section 3.1). A label may hold any octets (RFC 2181 section 11). "Uncompressed" names stand
 * alone; names inside a message may end in a compression pointer (RFC 1035 section 4.1.4), which we
 * follow only backwards and a bounded number of times.
 *
 * Pure, thread-free, safe on any bytes.
 */
#ifndef DNSPROXYD_MESSAGE_DNSNAME_H
#define DNSPROXYD_MESSAGE_DNSNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest uncompressed name, with the root's octet. */
#define DNSNAME_MAX           255

#define DNSNAME_LABEL_MAX     63

/* A pointer is two octets, these bits set in the first. */
#define DNSNAME_POINTER       0xc0

/* Pointers reach this far into a message. */
#define DNSNAME_POINTER_LIMIT 0x4000

/* Longest text of dnsname_format(): every octet as \DDD, dots, the final NUL. */
#define DNSNAME_TEXT_MAX      1024

/* Length of the uncompressed name at the start of name[0..avail), or 0 when there is none (a
 * pointer, a label or name too long, or the end). */
size_t dnsname_len(const uint8_t *name, size_t avail);

/* Read the name at msg[offset]. Where a pointer leads, after the header and before the labels it
 * ends, all must be read before those labels begin, so a name depends on nothing behind it. Returns
 * the offset after it, or 0 when it is malformed. The name, without pointers, goes to out; *ret_len
 * is its length. out may be NULL. */
size_t dnsname_expand(const uint8_t *msg, size_t len, size_t offset, uint8_t out[DNSNAME_MAX],
		      size_t *ret_len);

/* The same, to get past the name only. */
size_t dnsname_skip(const uint8_t *msg, size_t len, size_t offset);

/* Copy len octets of an uncompressed name with A-Z made a-z (RFC 4343). Length octets are below
 * 'A': they stay. dst may be src. */
void dnsname_lower(uint8_t *dst, const uint8_t *src, size_t len);

/* Whether two uncompressed names of the same length agree but for case. */
bool dnsname_equal(const uint8_t *a, const uint8_t *b, size_t len);

/* Write an uncompressed name (that dnsname_len() took) as text for people: "www.example.com", "."
 * for the root; dots and backslashes inside labels escaped as "\.", octets that are not printable
 * ASCII as "\DDD". Returns buf. */
const char *dnsname_format(const uint8_t *name, char buf[DNSNAME_TEXT_MAX]);

/* Read text as dnsname_format() writes it, with or without a dot at the end. 0, or -EINVAL (empty
 * label, label or name too long, bad escape). */
int dnsname_parse(const char *text, uint8_t ret_name[DNSNAME_MAX], size_t *ret_len);

#endif
