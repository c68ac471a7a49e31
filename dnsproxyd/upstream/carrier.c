/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/carrier.h"

#include "common/container.h"

#include "common/dns/transport_https.h"
#include "common/log.h"

#include "dnsproxyd/metrics.h"
#include "dnsproxyd/upstream/bootstrap.h"
#include "dnsproxyd/upstream/dnscrypt_server.h"
#include "dnsproxyd/upstream/encryption.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	HTTPS_PORT = 443,
};

/* A message that waits for the server's address. */
struct parcel {
	struct parcel *next;
	bool by_stream;
	ares_io_answer_fn fn;
	void *arg;
	uint16_t *ret_id;
	size_t len;
	uint8_t query[];
};

/* A message on its way to one of the addresses of a name. */
struct trip {
	struct carrier *carrier;
	struct addr addr;
	ares_io_answer_fn fn;
	void *arg;
	bool sending; /* send_now() is not done with it yet */
	bool over;
};

struct carrier {
	struct carrier_config config;
	struct encryption encryption; /* of a server with TLS */
	struct https_peer https;      /* of one with HTTPS */
	char authority[ENDPOINT_NAME_MAX + ADDR_TEXT_MAX];
	struct log_limit https_log;
	struct dnscrypt_server dnscrypt; /* of one with DNSCrypt */
	bool has_route;
	struct socks_route route; /* through the group's proxy */
	struct ares_io *io;       /* NULL: no address is known */
	struct addr addr;         /* that it goes to */

	/* Of a server given by name; else NULL. */
	struct bootstrap *bootstrap;
	struct ares_io *old_io; /* to another address, until its answers are in */
	struct parcel *parcels;
	struct parcel **parcels_tail;
	uint32_t parcel_count;
	uint64_t dropped_count; /* of channels that are gone */
};

/* --- channels -------------------------------------------------------------------------------- */

static struct ares_io *new_io(struct carrier *c, const struct addr *addr)
{
	struct ares_io_config config = {
		.loop = c->config.loop,
		.servers = addr,
		.server_count = 1,
		.timeout_ms = c->config.timeout_ms,
		.tries = 1,
		.stream_tries = 1, /* each send is counted by whoever asks */
		.max_open = c->config.max_open,
		.on_dropped = c->config.on_dropped,
		.on_dropped_arg = c->config.on_dropped_arg,
		.route = c->has_route ? &c->route : NULL,
		.stream_only = c->has_route,
	};

	switch (c->config.endpoint.protocol) {
	case ENDPOINT_UDP:
	case ENDPOINT_TCP:
		break;
	case ENDPOINT_TLS:
		config.stream = &transport_tls;
		config.peer = &c->encryption.peer;
		break;
	case ENDPOINT_HTTPS:
		config.stream = &transport_https;
		config.peer = &c->https;
		break;
	case ENDPOINT_DNSCRYPT:
		config.datagram = &transport_dnscrypt_udp;
		config.stream = &transport_dnscrypt_tcp;
		config.peer = c->dnscrypt.peer;
		break;
	}
	return ares_io_new(&config);
}

static void drop_io(struct carrier *c, struct ares_io *io)
{
	if (io) {
		c->dropped_count += ares_io_dropped_count(io);
		ares_io_free(io);
	}
}

/* Go to this address from now on; what is open on the way to another one stays. While that is the
 * second already, it is too early. */
static void use_address(struct carrier *c, const struct addr *addr)
{
	struct ares_io *io;

	if ((c->io && addr_equal(&c->addr, addr)) ||
	    (c->old_io && ares_io_open_count(c->old_io) > 0)) {
		return;
	}
	io = new_io(c, addr);
	if (io) {
		drop_io(c, c->old_io);
		c->old_io = c->io;
		c->io = io;
		c->addr = *addr;
	}
}

/* --- servers given by name ------------------------------------------------------------------- */

static void on_trip_over(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
			 bool via_tcp)
{
	struct trip *trip = arg;

	if (status == ARES_IO_UNREACHABLE || status == ARES_IO_TIMEOUT) {
		bootstrap_note_failure(trip->carrier->bootstrap, &trip->addr);
	}
	trip->over = true;
	trip->fn(trip->arg, status, answer, len, via_tcp);
	if (!trip->sending) {
		free(trip);
	}
}

/* Whoever asked may be gone when the call back comes before this returns; ret_id with it, unless it
 * is about to be set within carrier_send(). */
static void send_now(struct carrier *c, bool by_stream, const uint8_t *query, size_t len,
		     ares_io_answer_fn fn, void *arg, uint16_t *ret_id)
{
	enum ares_io_via via = by_stream ? ARES_IO_VIA_STREAM : ARES_IO_VIA_DATAGRAM;
	struct trip *trip;
	uint16_t id;

	if (!c->bootstrap) {
		*ret_id = ares_io_send_via(c->io, via, query, len, fn, arg);
		return;
	}
	trip = malloc(sizeof *trip);
	if (!trip || !c->io) {
		free(trip);
		fn(arg, ARES_IO_REFUSED, NULL, 0, false);
		return;
	}
	*trip = (struct trip){
		.carrier = c, .addr = c->addr, .fn = fn, .arg = arg, .sending = true
	};
	id = ares_io_send_via(c->io, via, query, len, on_trip_over, trip);
	trip->sending = false;
	if (trip->over) {
		free(trip);
	} else {
		*ret_id = id;
	}
}

/* Keep a message until the address is known. */
static void wait_for_address(struct carrier *c, bool by_stream, const uint8_t *query, size_t len,
			     ares_io_answer_fn fn, void *arg, uint16_t *ret_id)
{
	struct parcel *parcel = NULL;

	if (c->parcel_count < c->config.max_open) {
		parcel = malloc(sizeof *parcel + len);
	}
	if (!parcel) {
		fn(arg, ARES_IO_REFUSED, NULL, 0, false);
		return;
	}
	*parcel = (struct parcel){
		.by_stream = by_stream, .fn = fn, .arg = arg, .ret_id = ret_id, .len = len
	};
	memcpy(parcel->query, query, len);
	*c->parcels_tail = parcel;
	c->parcels_tail = &parcel->next;
	c->parcel_count++;
}

/* Take the messages that wait. */
static struct parcel *take_parcels(struct carrier *c)
{
	struct parcel *parcels = c->parcels;

	c->parcels = NULL;
	c->parcels_tail = &c->parcels;
	c->parcel_count = 0;
	return parcels;
}

/* A lookup is over: send what has waited, or say that it cannot be sent. */
static void on_lookup_done(void *arg)
{
	struct carrier *c = arg;
	const struct addr *addr = bootstrap_address(c->bootstrap);
	struct parcel *parcels = take_parcels(c);

	if (addr) {
		use_address(c, addr);
	}
	while (parcels) {
		struct parcel *parcel = parcels;

		parcels = parcel->next;
		if (addr) {
			send_now(c, parcel->by_stream, parcel->query, parcel->len, parcel->fn,
				 parcel->arg, parcel->ret_id);
		} else {
			parcel->fn(parcel->arg, ARES_IO_UNREACHABLE, NULL, 0, false);
		}
		free(parcel);
	}
}

static void send_by_name(struct carrier *c, bool by_stream, const uint8_t *query, size_t len,
			 ares_io_answer_fn fn, void *arg, uint16_t *ret_id)
{
	const struct addr *addr = bootstrap_address(c->bootstrap);

	if (addr) {
		use_address(c, addr);
		send_now(c, by_stream, query, len, fn, arg, ret_id);
	} else if (bootstrap_is_busy(c->bootstrap)) {
		wait_for_address(c, by_stream, query, len, fn, arg, ret_id);
	} else {
		fn(arg, ARES_IO_UNREACHABLE, NULL, 0, false);
	}
}

/* --- the interface --------------------------------------------------------------------------- */

void carrier_send(struct carrier *c, bool by_stream, const uint8_t *query, size_t len,
		  ares_io_answer_fn fn, void *arg, uint16_t *ret_id)
{
	by_stream = by_stream || endpoint_is_stream(&c->config.endpoint);
	if (c->bootstrap) {
		send_by_name(c, by_stream, query, len, fn, arg, ret_id);
	} else {
		send_now(c, by_stream, query, len, fn, arg, ret_id);
	}
}

void carrier_note_keepalive(struct carrier *c, uint16_t keepalive)
{
	if (c->config.endpoint.protocol == ENDPOINT_TLS) {
		encryption_note_keepalive(&c->encryption, keepalive);
	}
}

void carrier_break_streams(struct carrier *c)
{
	if (c->io) {
		ares_io_break_streams(c->io);
	}
	if (c->old_io) {
		ares_io_break_streams(c->old_io);
	}
}

void carrier_note_network(struct carrier *c)
{
	if (c->bootstrap) {
		bootstrap_note_network(c->bootstrap);
	}
	carrier_break_streams(c);
}

uint64_t carrier_dropped_count(const struct carrier *c)
{
	return c->dropped_count + (c->io ? ares_io_dropped_count(c->io) : 0) +
	       (c->old_io ? ares_io_dropped_count(c->old_io) : 0);
}

static void on_http_error(void *arg, unsigned status)
{
	struct carrier *c = arg;
	char text[ENDPOINT_TEXT_MAX];
	uint32_t suppressed;

	metrics_add(c->config.metrics, METRIC_upstream_http_errors, 1);
	if (log_limit_ok(&c->https_log, loop_now_ms(c->config.loop), &suppressed)) {
		log_event(LOG_LEVEL_WARNING, "upstream-http-error",
			  KV_TEXT("server", endpoint_format(&c->config.endpoint, text)),
			  KV_UINT("status", status), KV_UINT("suppressed", suppressed));
	}
}

/* What a URL has between "//" and the path. */
static void write_authority(struct carrier *c)
{
	const struct endpoint *endpoint = &c->config.endpoint;
	char text[ADDR_TEXT_MAX];
	bool brackets = endpoint->name[0] == '\0' && endpoint->addr.sa.sa_family == AF_INET6;
	const char *host = endpoint->name[0] ? endpoint->name
					     : addr_format_ip(&endpoint->addr, text, sizeof text);
	int len = snprintf(c->authority, sizeof c->authority, brackets ? "[%s]" : "%s", host);

	if (endpoint->port != HTTPS_PORT) {
		snprintf(c->authority + len, sizeof c->authority - (size_t)len, ":%u",
			 endpoint->port);
	}
}

/* What the protocol needs beside an address. 0 or -errno. */
static int init_protocol(struct carrier *c)
{
	const struct carrier_config *config = &c->config;
	const struct endpoint *endpoint = &config->endpoint;
	bool is_https = endpoint->protocol == ENDPOINT_HTTPS;

	if (endpoint->protocol == ENDPOINT_DNSCRYPT) {
		return dnscrypt_server_init(&c->dnscrypt, config->loop, config->metrics, endpoint,
					    config->timeout_ms);
	}
	if (!endpoint_has_tls(endpoint)) {
		return 0;
	}
	if (is_https) {
		write_authority(c);
		c->https = (struct https_peer){ .tls = &c->encryption.peer,
						.authority = c->authority,
						.path = config->endpoint.path,
						.on_http_error = on_http_error,
						.arg = c };
	}
	return encryption_init(&c->encryption, config->loop, config->metrics, endpoint,
			       &config->group->security, is_https ? "h2" : "dot", is_https);
}

static void set_route(struct carrier *c)
{
	const struct endpoint *endpoint = &c->config.endpoint;

	c->has_route = true;
	c->route = (struct socks_route){ .proxy = c->config.group->proxy,
					 .addr = endpoint->addr,
					 .port = endpoint->port };
	snprintf(c->route.name, sizeof c->route.name, "%s", endpoint->name);
}

/* 0 or -errno. */
static int carrier_init(struct carrier *c)
{
	const struct carrier_config *config = &c->config;
	const struct group_config *group = config->group;
	int r = init_protocol(c);

	if (group && group->has_proxy) {
		set_route(c);
	}
	if (r == 0 && !c->has_route && endpoint_needs_address(&config->endpoint)) {
		const struct bootstrap_config bootstrap_config = {
			.loop = config->loop,
			.metrics = config->metrics,
			.server = &config->endpoint,
			.sources = group->bootstrap,
			.source_count = group->bootstrap_count,
			.security = &group->security,
			.on_done = on_lookup_done,
			.arg = c,
		};

		c->bootstrap = bootstrap_new(&bootstrap_config);
		return c->bootstrap ? 0 : -errno;
	}
	if (r == 0) {
		use_address(c, &config->endpoint.addr);
		r = c->io ? 0 : -errno;
	}
	return r;
}

struct carrier *carrier_new(const struct carrier_config *config)
{
	struct carrier *c = calloc(1, sizeof *c);
	int r;

	if (!c) {
		return NULL;
	}
	c->config = *config;
	c->parcels_tail = &c->parcels;
	r = carrier_init(c);
	c->config.group = NULL; /* need not live on */
	if (r < 0) {
		carrier_free(c);
		errno = -r;
		return NULL;
	}
	return c;
}

void carrier_free(struct carrier *c)
{
	struct parcel *parcels;

	if (!c) {
		return;
	}
	parcels = take_parcels(c);
	while (parcels) {
		struct parcel *parcel = parcels;

		parcels = parcel->next;
		parcel->fn(parcel->arg, ARES_IO_CANCELLED, NULL, 0, false);
		free(parcel);
	}
	ares_io_free(c->io);
	ares_io_free(c->old_io);
	bootstrap_free(c->bootstrap);
	encryption_done(&c->encryption);
	dnscrypt_server_done(&c->dnscrypt);
	free(c);
}
