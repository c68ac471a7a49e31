/* SPDX-License-Identifier: ISC */
#include "tests/unit/socksd/session_bench.h"

#include "common/container.h"
#include "common/daemon/listener.h"
#include "common/log.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SLOTS = 1000,
	TURNS = 10,
	TURN_MS = 5,
	PATIENCE_TURNS = 200,
};

static const uint8_t loopback[4] = { 127, 0, 0, 1 };

static void on_session_end(struct context *context)
{
	container_of(context, struct session_bench, context)->ended++;
}

static bool claim_slot(struct context *context)
{
	struct session_bench *b = container_of(context, struct session_bench, context);

	if (b->slots_left == 0) {
		return false;
	}
	b->slots_left--;
	b->slots_used++;
	return true;
}

static void release_slot(struct context *context)
{
	struct session_bench *b = container_of(context, struct session_bench, context);

	ck_assert_uint_gt(b->slots_used, 0);
	b->slots_left++;
	b->slots_used--;
}

struct config *session_bench_config(const char *text, struct params **ret_params)
{
	struct ini_error error = { "" };
	struct config *config;

	*ret_params = params_new(&config_schema);
	ck_assert_ptr_nonnull(*ret_params);
	ck_assert_msg(params_read_bytes(*ret_params, "test", text, strlen(text), &error) == 0 &&
			      params_finish(*ret_params, &error) == 0,
		      "%s", error.text);
	config = config_new(*ret_params, &error);
	ck_assert_msg(config != NULL, "%s", error.text);
	return config;
}

void session_bench_start(struct session_bench *b, const char *text)
{
	const struct crypto_key key = { { 1 } };
	struct addr a = addr_from_ipv4(loopback, 0);

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(crypto_init(), 0);
	*b = (struct session_bench){ .client = -1, .slots_left = SLOTS };
	b->config = session_bench_config(text, &b->params);
	pipe_init(&b->pipe, 0);
	b->context = (struct context){
		.loop = loop_new(),
		.metrics = metrics_new(METRIC_COUNT),
		.auth = auth_new(),
		.clients = clients_new(&key),
		.primaries = primaries_new(&key),
		.datagrams = datagrams_new(),
		.key = key,
		.scratch = malloc(RELAY_SMALL_BYTES),
		.scratch_bytes = RELAY_SMALL_BYTES,
		.pipe = &b->pipe,
		.config = b->config,
		.on_session_end = on_session_end,
		.claim_slot = claim_slot,
		.release_slot = release_slot,
	};
	b->context.resolver = resolver_new(b->context.loop, b->context.metrics, b->config->dns);
	ck_assert_ptr_nonnull(b->context.resolver);
	ck_assert_int_eq(listener_bind_tcp(&a, &b->target_fd), 0);
	ck_assert_int_eq(listener_local_addr(b->target_fd, &a), 0);
	b->target_port = addr_port(&a);
}

void session_bench_stop(struct session_bench *b)
{
	session_end_all(&b->context);
	loop_turn(b->context.loop, 0);
	ck_assert_int_eq(session_bench_metric(b, METRIC_sessions_now), 0);
	ck_assert_int_eq(session_bench_metric(b, METRIC_sessions_relaying_now), 0);
	ck_assert_int_eq(session_bench_metric(b, METRIC_bind_waiting_now), 0);
	ck_assert_int_eq(session_bench_metric(b, METRIC_udp_associations_now), 0);
	ck_assert_uint_eq(b->slots_used, 0);
	if (b->client >= 0) {
		close(b->client);
	}
	close(b->target_fd);
	resolver_free(b->context.resolver);
	auth_free(b->context.auth);
	clients_free(b->context.clients);
	primaries_free(b->context.primaries);
	datagrams_free(b->context.datagrams);
	loop_free(b->context.loop);
	free(b->context.metrics);
	free(b->context.scratch);
	config_free(b->config);
	params_free(b->params);
}

void session_bench_reload(struct session_bench *b, const char *text)
{
	struct params *params;
	struct config *config = session_bench_config(text, &params);

	session_reconfigure_all(&b->context, config);
	b->context.config = config;
	ck_assert_int_eq(resolver_configure(b->context.resolver, config->dns), 0);
	config_free(b->config);
	params_free(b->params);
	b->config = config;
	b->params = params;
}

void session_bench_accept(struct session_bench *b, const char *address)
{
	const struct clients_limits limits = { 1000, 1000, 1000, 30, 1000 };
	struct addr any = addr_from_ipv4(loopback, 0);
	struct addr peer = { 0 };
	struct addr listener;
	struct source source;
	const struct listen_config *listen_config;
	socklen_t len = sizeof peer;
	int listening;
	int fd;

	ck_assert_int_eq(addr_parse(address, 1, &listener), 0);
	listen_config = config_find_listen(b->config, &listener);
	ck_assert_ptr_nonnull(listen_config);
	ck_assert_int_eq(listener_bind_tcp(&any, &listening), 0);
	ck_assert_int_eq(listener_local_addr(listening, &any), 0);
	if (b->client >= 0) {
		close(b->client);
	}
	b->client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(b->client, &any.sa, addr_len(&any)), 0);
	fd = accept4(listening, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	close(listening);
	source = source_of(&peer);
	ck_assert_int_eq(clients_enter(b->context.clients, &limits, &source), CLIENTS_ADMITTED);
	ck_assert_int_eq(session_start(&b->context, fd, &peer, listen_config, &listener), 0);
}

void session_bench_turns(struct session_bench *b)
{
	for (int i = 0; i < TURNS; i++) {
		loop_turn(b->context.loop, TURN_MS);
	}
}

void session_bench_send(struct session_bench *b, const void *bytes, size_t len)
{
	ck_assert_int_eq(send(b->client, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
	session_bench_turns(b);
}

void session_bench_expect(struct session_bench *b, const void *bytes, size_t len)
{
	uint8_t got[64];
	size_t have = 0;

	ck_assert_uint_le(len, sizeof got);
	for (int i = 0; i < PATIENCE_TURNS && have < len; i++) {
		ssize_t n = recv(b->client, got + have, len - have, MSG_DONTWAIT);

		have += n > 0 ? (size_t)n : 0;
		loop_turn(b->context.loop, TURN_MS);
	}
	ck_assert_uint_eq(have, len);
	ck_assert_mem_eq(got, bytes, len);
}

size_t session_bench_request(const struct session_bench *b, uint8_t buf[10])
{
	const uint8_t request[10] = {
		5, 1, 0, 1, 127, 0, 0, 1, (uint8_t)(b->target_port >> 8), (uint8_t)b->target_port
	};

	memcpy(buf, request, sizeof request);
	return sizeof request;
}

int session_bench_connect(struct session_bench *b)
{
	uint8_t request[10];
	uint8_t reply[10];
	size_t len = session_bench_request(b, request);
	int fd = -1;

	session_bench_send(b, "\x05\x01\x00", 3);
	session_bench_expect(b, "\x05\x00", 2);
	session_bench_send(b, request, len);
	session_bench_expect(b, "\x05\x00\x00\x01", 4);
	ck_assert_int_eq(recv(b->client, reply, 6, MSG_WAITALL), 6);
	ck_assert_mem_eq(reply, loopback, 4);
	for (int i = 0; i < PATIENCE_TURNS && fd < 0; i++) {
		fd = accept(b->target_fd, NULL, NULL);
	}
	ck_assert_int_ge(fd, 0);
	return fd;
}

int64_t session_bench_metric(const struct session_bench *b, enum socksd_metric metric)
{
	return metrics_get(b->context.metrics, (unsigned)metric);
}
