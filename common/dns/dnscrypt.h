/* SPDX-License-Identifier: ISC */
/*
 * The DNSCrypt protocol, version 2, as the client has it: certificates, and messages in boxes.
 * Pure, but that sealing takes a random nonce.
 *
 * A provider signs short-lived certificates with a long-term key, which the stamp names (stamp.h).
 * They are the TXT records of the provider's name, to be had in clear text from the server itself.
 * Each names a public key, and the magic bytes by which the server knows what a query was sealed
 * with.
 */
#ifndef COMMON_DNS_DNSCRYPT_H
#define COMMON_DNS_DNSCRYPT_H

#include "common/crypto.h"
#include "common/stream/tls_time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNSCRYPT_CERT_BYTES  124
#define DNSCRYPT_MAGIC_BYTES 8
#define DNSCRYPT_NONCE_BYTES 12 /* the client's half */
/* Queries by datagram are padded to a multiple of PAD_BYTES, and at least to MIN_BYTES; an answer
 * that is longer than its query is cut. */
#define DNSCRYPT_PAD_BYTES   64
#define DNSCRYPT_MIN_BYTES   256
/* What a sealed query has beside its padded message, and what a padding can add to it. */
#define DNSCRYPT_QUERY_HEADER_BYTES \
	(DNSCRYPT_MAGIC_BYTES + CRYPTO_PUBLIC_BYTES + DNSCRYPT_NONCE_BYTES + CRYPTO_BOX_BYTES)
#define DNSCRYPT_PAD_MAX 256

struct dnscrypt_cert {
	enum crypto_cipher cipher;
	uint8_t resolver_key[CRYPTO_PUBLIC_BYTES];
	uint8_t client_magic[DNSCRYPT_MAGIC_BYTES];
	uint32_t serial;
	uint32_t start_s; /* since 1970 */
	uint32_t end_s;
};

/* Why a certificate is of no use; the names are for logs. */
#define DNSCRYPT_VERDICTS(X)                                        \
	X(OK, "ok")                                                 \
	X(NO_CERT, "no certificate")                                \
	X(UNKNOWN, "protocol of another version")                   \
	X(FORGED, "certificate not signed with the provider's key") \
	X(EXPIRED, "certificate has expired")                       \
	X(EARLY, "certificate is not valid yet; is the clock right?")

enum dnscrypt_verdict {
#define X(id, text) DNSCRYPT_##id,
	DNSCRYPT_VERDICTS(X)
#undef X
};

const char *dnscrypt_verdict_text(enum dnscrypt_verdict verdict);

/* Whether `bytes` are a certificate of this provider that is valid now. */
enum dnscrypt_verdict dnscrypt_cert_check(const uint8_t *bytes, size_t len,
					  const uint8_t provider_key[CRYPTO_PUBLIC_BYTES],
					  const struct tls_time *time,
					  struct dnscrypt_cert *ret_cert);

/* Choose among the TXT records of an answer (a whole message): of the valid certificates the one
 * with the highest serial, of two with the same that with XChaCha20. On anything but OK the verdict
 * is that of the certificate that came closest. */
enum dnscrypt_verdict dnscrypt_cert_choose(const uint8_t *msg, size_t len,
					   const uint8_t provider_key[CRYPTO_PUBLIC_BYTES],
					   const struct tls_time *time,
					   struct dnscrypt_cert *ret_cert);

/* Write the query for a provider's certificates. Returns its length, 0 when the name is none or
 * the query does not fit. */
size_t dnscrypt_cert_query(const char *provider_name, uint16_t id, uint8_t *buf, size_t cap);

/* What a client seals with, for one certificate. */
struct dnscrypt_session {
	struct dnscrypt_cert cert;
	uint8_t client_key[CRYPTO_PUBLIC_BYTES];
	struct crypto_shared shared;
};

/* Make a new pair of keys for this certificate. 0, or -EINVAL: its key is no good. */
int dnscrypt_session_init(struct dnscrypt_session *session, const struct dnscrypt_cert *cert);

/* Longest sealed form of a message of len bytes that is padded to min_len at least. */
#define DNSCRYPT_SEALED_MAX(len, min_len) \
	(DNSCRYPT_QUERY_HEADER_BYTES + DNSCRYPT_PAD_MAX + ((len) > (min_len) ? (len) : (min_len)))

/* Seal a query. min_len: of the padded message; 0: padded at random, as TCP has it. ret_nonce is
 * what the answer is known by. ret_sealed has room for DNSCRYPT_SEALED_MAX() bytes; returns how
 * many there are. */
size_t dnscrypt_seal(const struct dnscrypt_session *session, const uint8_t *msg, size_t len,
		     size_t min_len, uint8_t ret_nonce[DNSCRYPT_NONCE_BYTES], uint8_t *ret_sealed);

/* The client's half of the nonce of an answer; NULL when the bytes cannot be one. */
const uint8_t *dnscrypt_answer_nonce(const uint8_t *bytes, size_t len);

/* Open an answer in place. ret_msg points into it. 0, -EBADMSG (it is not from the owner of the
 * certificate, or its padding is wrong). */
int dnscrypt_open(const struct dnscrypt_session *session, uint8_t *bytes, size_t len,
		  const uint8_t **ret_msg, size_t *ret_len);

#endif
