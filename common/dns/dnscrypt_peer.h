/* SPDX-License-Identifier: ISC */
/*
 * What is known of one DNSCrypt server: its current certificate and the keys that go with it.
 * Certificates are fetched when a query needs one, by an ordinary TXT query to the server itself
 * (the protocol has it so; what comes is signed), again when an hour has passed, and when queries
 * go unanswered, for the server may have changed its keys ahead of time. A certificate is used
 * until its end as long as no newer one comes.
 *
 * Thread: that of the loop. Re-entrancy: no upcall comes from within a call.
 */
#ifndef COMMON_DNS_DNSCRYPT_PEER_H
#define COMMON_DNS_DNSCRYPT_PEER_H

#include "common/addr.h"
#include "common/dns/dnscrypt.h"
#include "common/loop.h"

struct dnscrypt_peer;

struct dnscrypt_peer_config {
	struct loop *loop;
	struct addr server;
	const char *provider_name; /* copied */
	uint8_t provider_key[CRYPTO_PUBLIC_BYTES];
	uint32_t timeout_ms; /* of a fetch */
	/* The time by which certificates are judged. */
	struct tls_time (*time)(void *arg);
	/* A fetch has ended: with another certificate than before (OK), or with none. May be NULL;
	 * must not free the peer. cert is NULL unless OK; error is a positive errno when the server
	 * could not be asked. */
	void (*on_fetched)(void *arg, enum dnscrypt_verdict verdict,
			   const struct dnscrypt_cert *cert, int error);
	void *arg;
};

/* Returns owned, or NULL with errno (EINVAL: the name is none). */
struct dnscrypt_peer *dnscrypt_peer_new(const struct dnscrypt_peer_config *config);

/* Who waits is forgotten, so the transports are closed before. NULL is fine. */
void dnscrypt_peer_free(struct dnscrypt_peer *peer);

/* --- keys ------------------------------------------------------------------------------------ */

/* A session that many queries share; each keeps it until its answer has come. */
struct dnscrypt_keys;

/* The session to seal with. Returns a reference, or NULL with errno: EAGAIN (wait for it), or why
 * none can be had, which is tried again after a while. */
struct dnscrypt_keys *dnscrypt_peer_keys(struct dnscrypt_peer *peer);

const struct dnscrypt_session *dnscrypt_keys_session(const struct dnscrypt_keys *keys);

/* Give a reference back. NULL is fine. */
void dnscrypt_keys_drop(struct dnscrypt_keys *keys);

/* Who waits for keys. All-zero is valid and waits for nothing. */
struct dnscrypt_waiter {
	struct dnscrypt_waiter *next;
	struct dnscrypt_waiter **slot; /* NULL: does not wait */
	/* The fetch has ended; ask for keys again. */
	void (*fn)(struct dnscrypt_waiter *waiter);
};

/* Have fn called once when the fetch ends. Harmless when it waits already. */
void dnscrypt_peer_wait(struct dnscrypt_peer *peer, struct dnscrypt_waiter *waiter,
			void (*fn)(struct dnscrypt_waiter *waiter));
void dnscrypt_waiter_stop(struct dnscrypt_waiter *waiter);

/* --- what is learned by asking --------------------------------------------------------------- */

/* A query went unanswered: the keys may be out of use. */
void dnscrypt_peer_doubt(struct dnscrypt_peer *peer);

/* What queries by datagram are padded to at least. Grows when answers are truncated, which are
 * never longer than their queries. */
size_t dnscrypt_peer_min_len(const struct dnscrypt_peer *peer);
void dnscrypt_peer_note_truncated(struct dnscrypt_peer *peer);

#endif
