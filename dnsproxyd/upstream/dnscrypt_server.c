/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/dnscrypt_server.h"

#include "common/clock.h"
#include "common/log.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <string.h>

enum {
	LOG_AGAIN_MS = 3600000,
};

static struct tls_time time_of(void *arg)
{
	(void)arg;
	return tls_time_judge((int64_t)(clock_wall_ms() / 1000));
}

static void note_cert(struct dnscrypt_server *s, const struct dnscrypt_cert *cert)
{
	char text[ENDPOINT_TEXT_MAX];

	metrics_add(s->metrics, METRIC_upstream_dnscrypt_certs, 1);
	s->last = DNSCRYPT_OK;
	log_event(LOG_LEVEL_INFO, "dnscrypt-certificate",
		  KV_TEXT("server", endpoint_format(&s->endpoint, text)),
		  KV_UINT("serial", cert->serial), KV_UINT("ends", cert->end_s));
}

/* That the server cannot be reached is told by what becomes of the queries. */
static void on_fetched(void *arg, enum dnscrypt_verdict verdict, const struct dnscrypt_cert *cert,
		       int error)
{
	struct dnscrypt_server *s = arg;
	uint64_t now_ms = loop_now_ms(s->loop);
	char text[ENDPOINT_TEXT_MAX];

	if (verdict == DNSCRYPT_OK) {
		note_cert(s, cert);
		return;
	}
	if (error) {
		return;
	}
	metrics_add(s->metrics, METRIC_upstream_dnscrypt_refused, 1);
	if (s->last == verdict && now_ms - s->logged_ms < LOG_AGAIN_MS) {
		return;
	}
	s->last = verdict;
	s->logged_ms = now_ms;
	log_event(LOG_LEVEL_WARNING, "upstream-refused",
		  KV_TEXT("server", endpoint_format(&s->endpoint, text)),
		  KV_TEXT("why", dnscrypt_verdict_text(verdict)));
}

int dnscrypt_server_init(struct dnscrypt_server *s, struct loop *loop, struct metrics *metrics,
			 const struct endpoint *endpoint, uint32_t timeout_ms)
{
	struct dnscrypt_peer_config config = {
		.loop = loop,
		.server = endpoint->addr,
		.provider_name = endpoint->name,
		.timeout_ms = timeout_ms,
		.time = time_of,
		.on_fetched = on_fetched,
		.arg = s,
	};

	memcpy(config.provider_key, endpoint->key, sizeof config.provider_key);
	*s = (struct dnscrypt_server){ .loop = loop, .metrics = metrics, .endpoint = *endpoint };
	s->peer = dnscrypt_peer_new(&config);
	return s->peer ? 0 : -errno;
}

void dnscrypt_server_done(struct dnscrypt_server *s)
{
	dnscrypt_peer_free(s->peer);
	s->peer = NULL;
}
