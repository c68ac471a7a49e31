/* SPDX-License-Identifier: ISC */
#include "socksd/udp/associate.h"

#include "socksd/udp/associate_private.h"

#include "common/container.h"

#include "socksd/udp/associate_sockets.h"
#include "socksd/udp/shield.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BATCHES_PER_TURN = 4, /* before others get their turn */
	SHIELD_AFTER = 64,    /* strangers, then the kernel is to keep them out */
	SAMPLE_MS = 1000,     /* how often it is asked how many it has dropped, at most */
};

uint64_t associate_now_ms(const struct associate *a)
{
	return loop_now_ms(a->context->loop);
}

void associate_count_drops(struct associate *a, enum udp_drop why, uint64_t amount)
{
	if (amount > 0) {
		a->drops[why] += amount;
		metrics_add(a->context->metrics, METRIC_udp_drop_stranger + why, (int64_t)amount);
	}
}

void associate_drop(struct associate *a, enum udp_drop why)
{
	associate_count_drops(a, why, 1);
}

/* --- what the kernel does and drops ---------------------------------------------------------- */

static void sample_port(struct associate *a, struct associate_port *port, enum udp_drop why)
{
	uint32_t drops = shield_drops(port->watch.fd);

	associate_count_drops(a, why, drops - port->drops);
	port->drops = drops;
}

/* Behind a shield nearly all of them are strangers; the kernel counts them together with what found
 * the buffer full. */
static void sample_drops(struct associate *a)
{
	a->sampled_ms = associate_now_ms(a);
	sample_port(a, &a->port, a->shielded ? UDP_DROP_stranger : UDP_DROP_receive);
	for (unsigned i = 0; i < ASSOCIATE_TARGETS_MAX; i++) {
		if (watch_active(&a->targets[i].port.watch)) {
			sample_port(a, &a->targets[i].port, UDP_DROP_receive);
		}
	}
}

static void sample_sometimes(struct associate *a)
{
	if (associate_now_ms(a) - a->sampled_ms >= SAMPLE_MS) {
		sample_drops(a);
	}
}

static void shield_if_flooded(struct associate *a)
{
	if (!a->shielded && a->drops[UDP_DROP_stranger] >= SHIELD_AFTER &&
	    addr_port(&a->sender) != 0) {
		sample_drops(a);
		a->shielded = shield_raise(a->port.watch.fd, &a->sender) == 0;
	}
}

/* Send what a batch came to. */
static void flush(struct associate *a, uint64_t *datagrams, uint64_t *bytes,
		  enum socksd_metric metric)
{
	struct datagrams_result result = datagrams_flush(a->context->datagrams);

	*datagrams += result.sent;
	*bytes += result.bytes;
	metrics_add(a->context->metrics, metric, (int64_t)result.sent);
	associate_count_drops(a, UDP_DROP_unreachable, result.unreachable);
	associate_count_drops(a, UDP_DROP_too_big, result.too_big);
	associate_count_drops(a, UDP_DROP_send, result.refused);
	if (result.sent > 0) {
		a->moved_ms = associate_now_ms(a);
	}
}

void associate_flush_up(struct associate *a)
{
	flush(a, &a->totals.datagrams_up, &a->totals.bytes_up, METRIC_udp_datagrams_up);
}

static void flush_down(struct associate *a)
{
	flush(a, &a->totals.datagrams_down, &a->totals.bytes_down, METRIC_udp_datagrams_down);
}

static bool within_rate(struct associate *a, struct udp_rate *rate, size_t len)
{
	const struct limits_params *limits = a->context->config->limits;
	const struct udp_rate_limits rates = { limits->udp_rate, limits->udp_bandwidth_bytes };

	return udp_rate_take(rate, &rates, len, associate_now_ms(a));
}

/* --- fragments ------------------------------------------------------------------------------- */

static void drop_fragments(struct associate *a)
{
	associate_count_drops(a, UDP_DROP_fragment, fragments_drop(&a->fragments));
	timer_stop(&a->fragments_timer);
}

static void on_fragments_due(struct timer *timer)
{
	drop_fragments(container_of(timer, struct associate, fragments_timer));
}

/* True when *inout_bytes is something to send on. */
static bool take_fragment(struct associate *a, const struct udp_header *header,
			  const uint8_t **inout_bytes, size_t *inout_len)
{
	enum fragments_result result;
	unsigned lost;
	uint64_t due_ms;

	if (!a->takes_fragments) {
		associate_drop(a, UDP_DROP_fragment);
		return false;
	}
	result = fragments_add(&a->fragments, header, *inout_bytes, *inout_len, associate_now_ms(a),
			       inout_bytes, inout_len, &lost);
	associate_count_drops(a, UDP_DROP_fragment, lost);
	due_ms = fragments_due_ms(a->fragments);
	if (due_ms == 0) {
		timer_stop(&a->fragments_timer);
	} else if (timer_start(&a->fragments_timer, a->context->loop, due_ms, on_fragments_due) <
		   0) {
		drop_fragments(a);
	}
	return result == FRAGMENTS_DONE;
}

/* --- the client's datagrams ------------------------------------------------------------------ */

static bool same_network(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family) {
		return false;
	}
	return a->sa.sa_family == AF_INET6 ? memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 8) == 0
					   : memcmp(&a->in4.sin_addr, &b->in4.sin_addr, 3) == 0;
}

static bool is_client(const struct associate *a, const struct addr *from)
{
	if (addr_port(&a->sender) != 0) {
		return addr_equal(&a->sender, from);
	}
	switch (a->source) {
	case UDP_SOURCE_ADDRESS:
		return addr_same_ip(a->client, from);
	case UDP_SOURCE_NETWORK:
		return same_network(a->client, from);
	case UDP_SOURCE_ANY:
		break;
	}
	return true;
}

static void on_client_datagram(void *arg, const struct addr *from, uint8_t *datagram, size_t len)
{
	struct associate *a = arg;
	const uint8_t *bytes = datagram;
	struct udp_header header;

	if (!is_client(a, from)) {
		associate_drop(a, UDP_DROP_stranger);
		return;
	}
	if (!udp_header_parse(bytes, len, &header)) {
		associate_drop(a, UDP_DROP_malformed);
		return;
	}
	a->sender = *from;
	bytes += header.len;
	len -= header.len;
	if (!within_rate(a, &a->rate_up, len)) {
		associate_drop(a, UDP_DROP_rate);
		return;
	}
	if (header.fragment != 0) {
		if (!take_fragment(a, &header, &bytes, &len)) {
			return;
		}
	} else if (a->fragments) {
		drop_fragments(a); /* a datagram on its own ends a sequence */
	}
	if (header.addr.sa.sa_family == AF_UNSPEC) {
		associate_send_to_name(a, header.name, header.port, bytes, len);
	} else {
		associate_send(a, &header.addr, bytes, len);
	}
	if (header.fragment != 0) {
		/* What was put together is needed no longer than this. */
		associate_flush_up(a);
		drop_fragments(a);
	}
}

static void on_client_ready(struct watch *watch, uint32_t events)
{
	struct associate *a = container_of(watch, struct associate, port.watch);

	(void)events;
	for (int i = 0; i < BATCHES_PER_TURN; i++) {
		unsigned n =
			datagrams_receive(a->context->datagrams, watch->fd, on_client_datagram, a);

		associate_flush_up(a);
		if (n < DATAGRAMS_BATCH) {
			break;
		}
	}
	shield_if_flooded(a);
	sample_sometimes(a);
}

/* --- from targets ---------------------------------------------------------------------------- */

/* Whether a datagram from there may come in; if not, it has been dropped. */
static bool may_come_in(struct associate *a, const struct addr *from)
{
	struct udp_peer *peer = udp_peers_find(a->peers, from, associate_now_ms(a));
	const struct egress *egress;
	bool allowed;

	if (peer && peer->contacted) {
		return true;
	}
	if (!udp_peers_pass(a->peers, from, associate_now_ms(a))) {
		associate_drop(a, UDP_DROP_filtered);
		return false;
	}
	peer = udp_peers_add(a->peers, from, false, associate_now_ms(a));
	if (peer && peer->verdict != UDP_VERDICT_NONE) {
		allowed = peer->verdict == UDP_VERDICT_ALLOWED;
	} else {
		allowed = associate_is_allowed(a, NULL, from, &egress);
		if (peer) {
			peer->verdict = allowed ? UDP_VERDICT_ALLOWED : UDP_VERDICT_DENIED;
		}
	}
	if (!allowed) {
		associate_drop(a, UDP_DROP_denied);
	}
	return allowed;
}

static void on_target_datagram(void *arg, const struct addr *from, uint8_t *bytes, size_t len)
{
	struct associate *a = arg;
	uint8_t head[UDP_HEADER_BYTES_MAX];

	if (!may_come_in(a, from)) {
		return;
	}
	if (!within_rate(a, &a->rate_down, len)) {
		associate_drop(a, UDP_DROP_rate);
		return;
	}
	datagrams_send(a->context->datagrams, a->port.watch.fd, &a->sender, head,
		       udp_header_encode(from, head), bytes, len);
}

void associate_on_target_ready(struct watch *watch, uint32_t events)
{
	struct associate_target *target = container_of(watch, struct associate_target, port.watch);
	struct associate *a = target->associate;

	(void)events;
	for (int i = 0; i < BATCHES_PER_TURN; i++) {
		unsigned n =
			datagrams_receive(a->context->datagrams, watch->fd, on_target_datagram, a);

		flush_down(a);
		if (n < DATAGRAMS_BATCH) {
			break;
		}
	}
	sample_sometimes(a);
}

/* --- life ------------------------------------------------------------------------------------ */

/* The client may have said from where it will send. That counts only if it knows its address as we
 * see it; behind a NAT it does not, and there its port is another one too. */
static void note_sender(struct associate *a, const struct socks5_target *request)
{
	struct addr said = request->addr;

	if (said.sa.sa_family == AF_UNSPEC || request->port == 0) {
		return;
	}
	if (said.sa.sa_family == AF_INET6 && a->client->sa.sa_family == AF_INET6) {
		said.in6.sin6_scope_id = a->client->in6.sin6_scope_id;
	}
	if (addr_same_ip(&said, a->client)) {
		addr_set_port(&said, request->port);
		a->sender = said;
	}
}

static struct associate *new_associate(const struct associate_config *config)
{
	const struct limits_params *limits = config->context->config->limits;
	const struct listen_params *params = config->listen->params;
	const struct udp_peers_config peers = {
		.max_peers = limits->max_udp_peers,
		.life_ms = limits->udp_idle_timeout_ms,
		.filtering = (enum udp_filtering)params->udp_filtering,
	};
	struct associate *a = calloc(1, sizeof *a);

	if (!a) {
		return NULL;
	}
	a->peers = udp_peers_new(&peers, &config->context->key);
	if (!a->peers) {
		free(a);
		return NULL;
	}
	a->context = config->context;
	a->client = config->client;
	a->user = config->user;
	a->user_len = config->user_len;
	a->source = (enum listen_udp_source)params->udp_source;
	a->takes_fragments = params->udp_fragments;
	a->moved_ms = associate_now_ms(a);
	a->sampled_ms = a->moved_ms;
	note_sender(a, config->request);
	return a;
}

int associate_start(const struct associate_config *config, struct associate **ret_associate,
		    struct addr *ret_address, const char **reterr_why)
{
	struct associate *a;
	int fd = associate_open_client(config->listen, config->local, ret_address, reterr_why);
	int r;

	if (fd < 0) {
		return fd;
	}
	a = new_associate(config);
	r = a ? watch_start(&a->port.watch, config->context->loop, fd, LOOP_READ, on_client_ready)
	      : -ENOMEM;
	if (r < 0) {
		*reterr_why = "memory";
		close(fd);
	} else if (!associate_have_slot(a)) {
		*reterr_why = "descriptors";
		r = -EMFILE;
	}
	if (r < 0) {
		associate_free(a);
		return r;
	}
	*ret_associate = a;
	return 0;
}

static void free_later(struct deferred *deferred)
{
	free(container_of(deferred, struct associate, deferred));
}

/* The memory stays until the end of the turn: events of its sockets may be fetched already. */
void associate_free(struct associate *a)
{
	if (!a) {
		return;
	}
	watch_close(&a->port.watch);
	for (unsigned i = 0; i < ASSOCIATE_TARGETS_MAX; i++) {
		watch_close(&a->targets[i].port.watch);
	}
	for (unsigned i = 0; i < a->slots; i++) {
		a->context->release_slot(a->context);
	}
	timer_stop(&a->fragments_timer);
	fragments_drop(&a->fragments);
	udp_names_free(a->names);
	udp_peers_free(a->peers);
	loop_free_later(a->context->loop, &a->deferred, free_later);
}

void associate_reconfigure(struct associate *a, const struct config *next)
{
	associate_reconfigure_targets(a, next);
	udp_peers_clear(a->peers);
}

uint64_t associate_moved_ms(const struct associate *a)
{
	return a->moved_ms;
}

struct associate_totals associate_totals(const struct associate *a)
{
	return a->totals;
}

const char *associate_drops(struct associate *a, char buf[ASSOCIATE_DROPS_TEXT_MAX])
{
#define DROP_NAME(X, name, help) #name,
	static const char *const names[] = { UDP_DROPS(DROP_NAME, ) };
#undef DROP_NAME
	size_t len = 0;

	sample_drops(a);
	for (size_t i = 0; i < UDP_DROP_COUNT; i++) {
		if (a->drops[i] > 0) {
			len += (size_t)snprintf(buf + len, ASSOCIATE_DROPS_TEXT_MAX - len,
						"%s%s:%" PRIu64, len > 0 ? "," : "", names[i],
						a->drops[i]);
		}
	}
	return len > 0 ? buf : "-";
}
