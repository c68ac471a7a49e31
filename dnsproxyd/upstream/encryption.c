/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/encryption.h"

#include "common/log.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <string.h>

enum {
	LOG_AGAIN_MS = 3600000,
	KEEPALIVE_UNIT_MS = 100,
};

static const enum dnsproxyd_metric error_metrics[] = {
#define X(name, word, meaning) [TLS_##name] = METRIC_upstream_tls_##word,
	TLS_ERRORS(X)
#undef X
};

static void count(const struct encryption *e, enum dnsproxyd_metric metric)
{
	metrics_add(e->metrics, metric, 1);
}

static void on_open(void *arg, const struct tls *tls)
{
	struct encryption *e = arg;
	char text[ENDPOINT_TEXT_MAX];

	count(e, METRIC_upstream_tls_handshakes);
	if (tls_resumed(tls)) {
		count(e, METRIC_upstream_tls_resumed);
	}
	if (tls_is_early(tls) && !e->is_early) {
		log_event(LOG_LEVEL_WARNING, "certificate-early",
			  KV_TEXT("server", endpoint_format(&e->endpoint, text)),
			  KV_TEXT("why", "the clock is wrong, so it is taken all the same"));
	}
	e->is_early = tls_is_early(tls);
	e->last = TLS_OK;
}

static void on_refused(void *arg, enum tls_error error, const char *detail)
{
	struct encryption *e = arg;
	uint64_t now_ms = loop_now_ms(e->loop);
	char text[ENDPOINT_TEXT_MAX];

	count(e, error_metrics[error]);
	if (e->last == error && now_ms - e->logged_ms < LOG_AGAIN_MS) {
		return;
	}
	e->last = error;
	e->logged_ms = now_ms;
	log_event(LOG_LEVEL_WARNING, "upstream-refused",
		  KV_TEXT("server", endpoint_format(&e->endpoint, text)),
		  KV_TEXT("why", tls_error_word(error)),
		  KV_TEXT("meaning", tls_error_meaning(error)), KV_TEXT("detail", detail));
}

/* The keys that were configured for the group, and the certificates of the server's stamp. Returns
 * how many. */
static size_t collect_pins(const struct endpoint *endpoint, const struct security_config *security,
			   struct tls_pin pins[CONFIG_PINS_MAX + STAMP_HASHES_MAX])
{
	size_t count = security->pin_count;

	memcpy(pins, security->pins, count * sizeof pins[0]);
	for (size_t i = 0; i < endpoint->hash_count && !security->is_opportunistic; i++) {
		pins[count].kind = TLS_PIN_CERT;
		memcpy(pins[count].sha256, endpoint->hashes[i], sizeof pins[count].sha256);
		count++;
	}
	return count;
}

int encryption_init(struct encryption *e, struct loop *loop, struct metrics *metrics,
		    const struct endpoint *endpoint, const struct security_config *security,
		    const char *alpn, bool alpn_required)
{
	struct tls_pin pins[CONFIG_PINS_MAX + STAMP_HASHES_MAX];
	bool by_pin = security->pin_count > 0 && endpoint->name[0] == '\0' && !security->has_ca;
	const struct tls_client_config config = {
		.trust = security->is_opportunistic || by_pin ? NULL : security->trust,
		.name = endpoint->name[0] ? endpoint->name : NULL,
		.address = endpoint->addr,
		.pins = pins,
		.pin_count = collect_pins(endpoint, security, pins),
		.alpn = alpn,
		.alpn_required = alpn_required,
	};

	*e = (struct encryption){ .loop = loop, .metrics = metrics, .endpoint = *endpoint };
	e->peer = (struct tls_peer){ .client = tls_client_new(&config),
				     .idle_ms = TLS_PEER_IDLE_UNKNOWN,
				     .on_open = on_open,
				     .on_refused = on_refused,
				     .arg = e };
	return e->peer.client ? 0 : -errno;
}

void encryption_done(struct encryption *e)
{
	tls_client_free(e->peer.client);
	e->peer.client = NULL;
}

void encryption_note_keepalive(struct encryption *e, uint16_t keepalive)
{
	e->peer.idle_ms = (uint32_t)keepalive * KEEPALIVE_UNIT_MS;
}
