/* SPDX-License-Identifier: ISC */
#include "common/dns/dnscrypt_peer.h"

#include "common/container.h"
#include "common/dns/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUERY_MAX = 512,
	NAME_MAX_CHARS = 256,
	REFRESH_MS = 3600000, /* a certificate this old is looked for anew */
	DOUBT_MS = 2000,      /* one this young is not doubted */
	RETRY_FIRST_MS = 1000,
	RETRY_MAX_MS = 60000,
	/* What fits any path together with its headers. */
	MIN_LEN_MAX = 1088,
	FLAG_TC = 0x02, /* in byte 2 */
};

struct dnscrypt_keys {
	struct dnscrypt_session session;
	unsigned ref_count;
};

struct dnscrypt_peer {
	struct dnscrypt_peer_config config;
	char provider_name[NAME_MAX_CHARS];
	size_t min_len;

	struct dnscrypt_keys *keys; /* NULL: none */
	uint64_t fetched_ms;        /* when they were found, or confirmed */

	struct transport *transport; /* of the fetch; NULL: none goes on */
	struct timer timer;          /* its end */
	uint32_t retry_ms;           /* 0: the last one succeeded */
	uint64_t retry_due_ms;
	int error; /* what the last one failed with; positive errno */
	struct dnscrypt_waiter *waiters;
};

static uint64_t now_ms(const struct dnscrypt_peer *peer)
{
	return loop_now_ms(peer->config.loop);
}

/* --- references ------------------------------------------------------------------------------ */

const struct dnscrypt_session *dnscrypt_keys_session(const struct dnscrypt_keys *keys)
{
	return &keys->session;
}

void dnscrypt_keys_drop(struct dnscrypt_keys *keys)
{
	if (keys && --keys->ref_count == 0) {
		crypto_wipe(keys, sizeof *keys);
		free(keys);
	}
}

/* --- the end of a fetch ---------------------------------------------------------------------- */

static void tell_waiters(struct dnscrypt_peer *peer)
{
	/* Those that wait again from within fn wait for the next fetch. */
	struct dnscrypt_waiter *list = peer->waiters;
	struct dnscrypt_waiter *waiter;

	peer->waiters = NULL;
	if (list) {
		list->slot = &list;
	}
	while ((waiter = list) != NULL) {
		dnscrypt_waiter_stop(waiter);
		waiter->fn(waiter);
	}
}

static void end_fetch(struct dnscrypt_peer *peer, int error)
{
	if (peer->transport) {
		peer->transport->ops->close(peer->transport);
		peer->transport = NULL;
	}
	timer_stop(&peer->timer);
	peer->error = error;
	if (error == 0) {
		peer->retry_ms = 0;
	} else {
		peer->retry_ms = peer->retry_ms ? 2 * peer->retry_ms : RETRY_FIRST_MS;
		if (peer->retry_ms > RETRY_MAX_MS) {
			peer->retry_ms = RETRY_MAX_MS;
		}
		peer->retry_due_ms = now_ms(peer) + peer->retry_ms;
	}
	tell_waiters(peer);
}

static void tell(struct dnscrypt_peer *peer, enum dnscrypt_verdict verdict,
		 const struct dnscrypt_cert *cert, int error)
{
	if (peer->config.on_fetched) {
		peer->config.on_fetched(peer->config.arg, verdict, cert, error);
	}
}

static bool is_same(const struct dnscrypt_cert *a, const struct dnscrypt_cert *b)
{
	return a->cipher == b->cipher && a->serial == b->serial && a->start_s == b->start_s &&
	       a->end_s == b->end_s &&
	       memcmp(a->resolver_key, b->resolver_key, sizeof a->resolver_key) == 0 &&
	       memcmp(a->client_magic, b->client_magic, sizeof a->client_magic) == 0;
}

/* Use this certificate from now on. 0 or a positive errno. */
static int adopt(struct dnscrypt_peer *peer, const struct dnscrypt_cert *cert)
{
	struct dnscrypt_keys *keys;

	peer->fetched_ms = now_ms(peer);
	if (peer->keys && is_same(&peer->keys->session.cert, cert)) {
		return 0;
	}
	keys = malloc(sizeof *keys);
	if (!keys) {
		return ENOMEM;
	}
	keys->ref_count = 1;
	if (dnscrypt_session_init(&keys->session, cert) < 0) {
		free(keys);
		return EKEYREJECTED;
	}
	dnscrypt_keys_drop(peer->keys);
	peer->keys = keys;
	tell(peer, DNSCRYPT_OK, cert, 0);
	return 0;
}

/* --- fetching -------------------------------------------------------------------------------- */

static int ask(struct dnscrypt_peer *peer, const struct transport_ops *ops);

static void on_message(void *user, const uint8_t *msg, size_t len)
{
	struct dnscrypt_peer *peer = user;
	const struct tls_time time = peer->config.time(peer->config.arg);
	struct dnscrypt_cert cert;
	enum dnscrypt_verdict verdict;

	if (msg[2] & FLAG_TC && peer->transport->ops != &transport_tcp) {
		peer->transport->ops->close(peer->transport);
		peer->transport = NULL;
		if (ask(peer, &transport_tcp) == 0) {
			return;
		}
		/* Without a stream, what did fit may do. */
	}
	verdict = dnscrypt_cert_choose(msg, len, peer->config.provider_key, &time, &cert);
	if (verdict != DNSCRYPT_OK) {
		tell(peer, verdict, NULL, 0);
		end_fetch(peer, EKEYREJECTED);
		return;
	}
	end_fetch(peer, adopt(peer, &cert));
}

static void fail(struct dnscrypt_peer *peer, int error)
{
	tell(peer, DNSCRYPT_NO_CERT, NULL, error);
	end_fetch(peer, error);
}

static void on_failed(void *user, const uint8_t *query, size_t len, int error)
{
	(void)query;
	(void)len;
	fail(user, error);
}

static void on_closed(void *user, int error)
{
	fail(user, error ? error : ECONNRESET);
}

static void on_due(struct timer *timer)
{
	fail(container_of(timer, struct dnscrypt_peer, timer), ETIMEDOUT);
}

/* Send the TXT query. 0 or -errno. */
static int ask(struct dnscrypt_peer *peer, const struct transport_ops *ops)
{
	static const struct transport_user upcalls = {
		.on_message = on_message,
		.on_failed = on_failed,
		.on_closed = on_closed,
	};
	const struct transport_config config = {
		.loop = peer->config.loop,
		.server = peer->config.server,
		.timeout_ms = peer->config.timeout_ms,
		.max_open = 1,
	};
	uint8_t query[QUERY_MAX];
	uint16_t id;
	size_t len;
	int r;

	crypto_random(&id, sizeof id);
	len = dnscrypt_cert_query(peer->provider_name, id, query, sizeof query);
	peer->transport = ops->open(&config, &upcalls, peer);
	if (!peer->transport) {
		return -errno;
	}
	r = ops->send(peer->transport, query, len);
	if (r < 0) {
		ops->close(peer->transport);
		peer->transport = NULL;
		return r;
	}
	if (ops->flush) {
		ops->flush(peer->transport);
	}
	return 0;
}

/* Begin, unless one goes on, or has failed a moment ago. 0 or -errno. */
static int fetch(struct dnscrypt_peer *peer)
{
	int r;

	if (peer->transport) {
		return 0;
	}
	if (peer->retry_ms && now_ms(peer) < peer->retry_due_ms) {
		return -peer->error;
	}
	r = ask(peer, &transport_udp);
	if (r == 0) {
		r = timer_start(&peer->timer, peer->config.loop,
				now_ms(peer) + peer->config.timeout_ms, on_due);
		if (r < 0) {
			peer->transport->ops->close(peer->transport);
			peer->transport = NULL;
		}
	}
	return r;
}

/* --- keys ------------------------------------------------------------------------------------ */

struct dnscrypt_keys *dnscrypt_peer_keys(struct dnscrypt_peer *peer)
{
	int64_t now_s = peer->config.time(peer->config.arg).unix_s;
	int r;

	if (peer->keys && now_s > peer->keys->session.cert.end_s) {
		dnscrypt_keys_drop(peer->keys);
		peer->keys = NULL;
	}
	if (peer->keys) {
		if (now_ms(peer) - peer->fetched_ms >= REFRESH_MS) {
			(void)fetch(peer); /* what we have does until then */
		}
		peer->keys->ref_count++;
		return peer->keys;
	}
	r = fetch(peer);
	errno = r < 0 ? -r : EAGAIN;
	return NULL;
}

void dnscrypt_peer_wait(struct dnscrypt_peer *peer, struct dnscrypt_waiter *waiter,
			void (*fn)(struct dnscrypt_waiter *waiter))
{
	if (waiter->slot) {
		return;
	}
	waiter->fn = fn;
	waiter->next = peer->waiters;
	waiter->slot = &peer->waiters;
	if (waiter->next) {
		waiter->next->slot = &waiter->next;
	}
	peer->waiters = waiter;
}

void dnscrypt_waiter_stop(struct dnscrypt_waiter *waiter)
{
	if (!waiter->slot) {
		return;
	}
	*waiter->slot = waiter->next;
	if (waiter->next) {
		waiter->next->slot = waiter->slot;
	}
	waiter->slot = NULL;
	waiter->next = NULL;
}

void dnscrypt_peer_doubt(struct dnscrypt_peer *peer)
{
	if (peer->keys && now_ms(peer) - peer->fetched_ms >= DOUBT_MS) {
		(void)fetch(peer);
	}
}

size_t dnscrypt_peer_min_len(const struct dnscrypt_peer *peer)
{
	return peer->min_len;
}

void dnscrypt_peer_note_truncated(struct dnscrypt_peer *peer)
{
	if (peer->min_len < MIN_LEN_MAX) {
		peer->min_len += DNSCRYPT_PAD_BYTES;
	}
}

/* --- life ------------------------------------------------------------------------------------ */

struct dnscrypt_peer *dnscrypt_peer_new(const struct dnscrypt_peer_config *config)
{
	uint8_t query[QUERY_MAX];
	struct dnscrypt_peer *peer;

	if (strlen(config->provider_name) >= NAME_MAX_CHARS ||
	    dnscrypt_cert_query(config->provider_name, 0, query, sizeof query) == 0) {
		errno = EINVAL;
		return NULL;
	}
	peer = calloc(1, sizeof *peer);
	if (!peer) {
		return NULL;
	}
	peer->config = *config;
	memcpy(peer->provider_name, config->provider_name, strlen(config->provider_name));
	peer->config.provider_name = NULL;
	peer->min_len = DNSCRYPT_MIN_BYTES;
	return peer;
}

void dnscrypt_peer_free(struct dnscrypt_peer *peer)
{
	if (!peer) {
		return;
	}
	if (peer->transport) {
		peer->transport->ops->close(peer->transport);
	}
	timer_stop(&peer->timer);
	while (peer->waiters) {
		dnscrypt_waiter_stop(peer->waiters);
	}
	dnscrypt_keys_drop(peer->keys);
	free(peer);
}
