/* SPDX-License-Identifier: ISC */
/*
 * A small cache of resolved names, one for each worker: what DNS said, for as long as it said. An
 * answer without addresses is kept for NAMES_NEGATIVE_MS (the resolver does not show us the SOA
 * record that would tell, RFC 2308 section 5), a failure for NAMES_FAILURE_MS (RFC 9520 section
 * 3.2). A TTL of 0 is not kept at all. When it is full, the entry unused for longest goes.
 *
 * Pure; the key of its hash is given, since names come from strangers. Not thread-safe.
 */
#ifndef SOCKSD_TARGET_NAMES_H
#define SOCKSD_TARGET_NAMES_H

#include "common/addr.h"
#include "common/crypto.h"

#include <stddef.h>
#include <stdint.h>

/* Addresses kept of one name and family; the rest is left out. */
#define NAMES_ADDRESSES_MAX 8

#define NAMES_TTL_MAX_MS    (3600u * 1000) /* an address that moved is found after an hour at most */
#define NAMES_NEGATIVE_MS   5000
#define NAMES_FAILURE_MS    1000

enum names_result {
	NAMES_MISS,
	NAMES_FOUND,   /* addresses */
	NAMES_NO_NAME, /* the name does not exist */
	NAMES_NO_DATA, /* it has no address of the family */
	NAMES_FAILED,  /* could not be resolved; asking again so soon would not help */
};

struct names_config {
	size_t max_entries; /* 0: nothing is kept */
	size_t max_bytes;
	struct crypto_key key;
};

struct names;

/* Returns owned, or NULL when out of memory. */
struct names *names_new(const struct names_config *config);

/* NULL is fine. */
void names_free(struct names *names);

/* Forget everything; change the limits, but not the key. */
void names_clear(struct names *names);
void names_limit(struct names *names, size_t max_entries, size_t max_bytes);

/* What is known about a name (lower case) and family (AF_INET or AF_INET6). *ret_addresses is valid
 * until the next call. */
enum names_result names_get(struct names *names, const char *name, int family, uint64_t now_ms,
			    const struct addr **ret_addresses, size_t *ret_count);

/* Remember a result, copied; one for the same name and family is replaced. ttl_ms is looked at for
 * NAMES_FOUND only; what cannot be kept is not. */
void names_put(struct names *names, const char *name, int family, enum names_result result,
	       const struct addr *addresses, size_t count, uint64_t ttl_ms, uint64_t now_ms);

size_t names_count(const struct names *names);
size_t names_bytes(const struct names *names);

#endif
