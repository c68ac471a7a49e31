/* SPDX-License-Identifier: ISC */
/*
 * A DNS server of which every name has the same addresses, or none, as the test says; its answers
 * can be held back. Failures abort the test.
 */
#ifndef TESTS_UNIT_SOCKSD_FAKE_NAMES_H
#define TESTS_UNIT_SOCKSD_FAKE_NAMES_H

#include "tests/unit/common/fake_dns.h"

enum {
	FAKE_NAMES_HELD_MAX = 64,

	RCODE_SERVFAIL = 2,
	RCODE_NXDOMAIN = 3,
};

/* What it says to questions of one type. */
struct fake_names_say {
	uint8_t rcode;
	uint8_t count; /* of addresses: up to 16; the last byte counts from `first` on */
	uint8_t first;
};

struct fake_names {
	struct fake_dns dns;
	/* Set by the test. */
	struct fake_names_say a;    /* 127.0.0.N */
	struct fake_names_say aaaa; /* 2001:db8::N */
	uint32_t ttl_s;
	bool hold;
	/* To look at. */
	unsigned a_count; /* questions that came */
	unsigned aaaa_count;

	struct {
		struct fake_query query;
		uint8_t bytes[512];
	} held[FAKE_NAMES_HELD_MAX];
	size_t held_count;
};

/* Listen on 127.0.0.1; every name has 127.0.0.1 for an hour. */
void fake_names_start(struct fake_names *names, struct loop *loop);
void fake_names_stop(struct fake_names *names);

/* Answer what is held, as is said now, and hold no more. */
void fake_names_release(struct fake_names *names);

#endif
