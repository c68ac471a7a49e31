/* SPDX-License-Identifier: ISC */
/*
 * What the tests of sessions share: a worker's context with a configuration from a text, a client
 * on a real socket, and a target that listens on loopback. Failures abort the test.
 */
#ifndef TESTS_UNIT_SOCKSD_SESSION_BENCH_H
#define TESTS_UNIT_SOCKSD_SESSION_BENCH_H

#include "common/config/params.h"

#include "socksd/relay/relay.h"
#include "socksd/session/session.h"

struct session_bench {
	struct context context;
	struct pipe pipe;
	struct params *params;
	struct config *config;
	int target_fd; /* listens on 127.0.0.1:target_port */
	uint16_t target_port;
	int client; /* the far end of the newest session */
	unsigned ended;
	unsigned slots_left; /* for associations; plenty at first */
	unsigned slots_used;
};

/* Make everything, with the configuration that the text is, or the default. */
void session_bench_start(struct session_bench *bench, const char *text);
void session_bench_stop(struct session_bench *bench);

/* A configuration of the text; owned, with *ret_params. */
struct config *session_bench_config(const char *text, struct params **ret_params);

/* Replace it, as a reload does. */
void session_bench_reload(struct session_bench *bench, const char *text);

/* A session of the section that has this address. */
void session_bench_accept(struct session_bench *bench, const char *address);

/* Turn the loop for a while. */
void session_bench_turns(struct session_bench *bench);

/* The client sends; the loop turns. */
void session_bench_send(struct session_bench *bench, const void *bytes, size_t len);

/* The client gets exactly these bytes within a second or so. */
void session_bench_expect(struct session_bench *bench, const void *bytes, size_t len);

/* A request for the target. Returns its length. */
size_t session_bench_request(const struct session_bench *bench, uint8_t buf[10]);

/* Negotiate without a password and connect to the target; the session relays then. Returns the
 * target's end. */
int session_bench_connect(struct session_bench *bench);

int64_t session_bench_metric(const struct session_bench *bench, enum socksd_metric metric);

#endif
