/* SPDX-License-Identifier: ISC */
/*
 * A set of domain names, each with a number, in which the longest one that a given name lies in or
 * below is found: "corp.example" holds for itself and "www.corp.example", not for
 * "notcorp.example". Case does not matter. The root holds for every name.
 *
 * Pure. Thread: any once built.
 */
#ifndef DNSPROXYD_UPSTREAM_SUFFIXES_H
#define DNSPROXYD_UPSTREAM_SUFFIXES_H

#include <stddef.h>
#include <stdint.h>

struct suffixes;

/* Returns owned or NULL (out of memory). */
struct suffixes *suffixes_new(void);

/* NULL is fine. */
void suffixes_free(struct suffixes *suffixes);

/* Add an uncompressed name. 0, -EEXIST (it is there already) or -ENOMEM. */
int suffixes_add(struct suffixes *suffixes, const uint8_t *name, size_t len, unsigned value);

/* The number of the longest suffix of an uncompressed, well-formed name; `none` when there is none.
 */
unsigned suffixes_find(const struct suffixes *suffixes, const uint8_t *name, size_t len,
		       unsigned none);

/* How many there are. */
size_t suffixes_count(const struct suffixes *suffixes);

#endif
