/* SPDX-License-Identifier: ISC */
/*
 * DNS stamps: the sdns:// form in which operators publish all that is needed to ask a server in
 * private. Kinds: DNSCrypt, DNS over HTTPS, DNS over TLS. Pure.
 */
#ifndef COMMON_DNS_STAMP_H
#define COMMON_DNS_STAMP_H

#include "common/addr.h"

#include <stddef.h>
#include <stdint.h>

/* Longest name and path, with the final NUL. */
#define STAMP_TEXT_MAX       256
#define STAMP_HASHES_MAX     8
#define STAMP_BOOTSTRAPS_MAX 4
#define STAMP_KEY_BYTES      32
/* Longest text of stamp_format(), with the final NUL. */
#define STAMP_FORMAT_MAX     2048

/* Their numbers are those of the format. */
enum stamp_kind {
	STAMP_DNSCRYPT = 1,
	STAMP_HTTPS = 2,
	STAMP_TLS = 3,
};

struct stamp {
	enum stamp_kind kind;
	uint64_t properties; /* DNSSEC, no logs, no filter: what the operator promises */
	/* AF_UNSPEC when the stamp has none (HTTPS and TLS only). */
	struct addr addr;
	uint16_t port;                /* also when there is no address */
	char name[STAMP_TEXT_MAX];    /* of the DNSCrypt provider, or of the host */
	char path[STAMP_TEXT_MAX];    /* HTTPS */
	uint8_t key[STAMP_KEY_BYTES]; /* DNSCrypt: what certificates are signed with */
	/* HTTPS, TLS: SHA-256 of certificates (their signed part), one of which must be found in
	 * the server's chain. */
	uint8_t hashes[STAMP_HASHES_MAX][STAMP_KEY_BYTES];
	size_t hash_count;
	/* HTTPS, TLS: servers that know the address of the name. */
	struct addr bootstraps[STAMP_BOOTSTRAPS_MAX];
	size_t bootstrap_count;
};

/* Of how many a stamp has, only the first STAMP_BOOTSTRAPS_MAX bootstraps are kept. 0, -EINVAL (no
 * stamp, or a broken one) or -EPROTONOSUPPORT (of another kind). */
int stamp_parse(const char *text, struct stamp *ret_stamp);

/* Write the stamp as text. */
void stamp_format(const struct stamp *stamp, char ret_text[STAMP_FORMAT_MAX]);

#endif
