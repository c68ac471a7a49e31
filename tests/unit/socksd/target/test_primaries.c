/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/target/primaries.h"

#include "tests/unit/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const struct crypto_key key = { { 7, 8, 9 } };

/* A primary as text, and what it borrows. */
struct named {
	struct addr client;
	struct addr host;
	struct primary primary;
};

static const struct primary *named(struct named *n, const char *client, const char *user,
				   const char *host)
{
	ck_assert_int_eq(addr_parse(client, 1, &n->client), 0);
	ck_assert_int_eq(addr_parse(host, 1, &n->host), 0);
	n->primary = (struct primary){
		.client = &n->client,
		.user = user,
		.user_len = user ? strlen(user) : 0,
		.host = &n->host,
	};
	return &n->primary;
}

START_TEST(test_who)
{
	static const struct {
		const char *client;
		const char *user;
		const char *host;
		bool has;
	} cases[] = {
		{ "192.0.2.1:1", "alice", "198.51.100.1:21", true },
		{ "192.0.2.1:999", "alice", "198.51.100.1:20", true },
		{ "192.0.2.1:1", "alice", "[::ffff:198.51.100.1]:21", true },
		{ "192.0.2.2:1", "alice", "198.51.100.1:21", false },
		{ "192.0.2.1:1", "alice", "198.51.100.2:21", false },
		{ "192.0.2.1:1", "bob", "198.51.100.1:21", false },
		{ "192.0.2.1:1", "", "198.51.100.1:21", false },
		{ "192.0.2.1:1", NULL, "198.51.100.1:21", false },
		{ "192.0.2.1:1", "alice", "[2001:db8::1]:21", false },
		{ "[2001:db8:1:1::9]:1", NULL, "[2001:db8::1]:21", true },
		{ "[2001:db8:1:1::8]:1", NULL, "[2001:db8::1]:21", true }, /* the same /64 */
		{ "[2001:db8:1:2::9]:1", NULL, "[2001:db8::1]:21", false },
		{ "[2001:db8:1:1::9]:1", NULL, "[2001:db8::2]:21", false },
		{ "[2001:db8:1:1::9]:1", "", "[2001:db8::1]:21", false },
	};
	struct primaries *p = primaries_new(&key);
	struct named n;

	ck_assert(primaries_enter(p, named(&n, "192.0.2.1:5", "alice", "198.51.100.1:21")));
	ck_assert(primaries_enter(p, named(&n, "[2001:db8:1:1::9]:5", NULL, "[2001:db8::1]:21")));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_msg(primaries_has(p, named(&n, cases[i].client, cases[i].user,
						     cases[i].host)) == cases[i].has,
			      "%zu", i);
	}
	primaries_free(p);
}
END_TEST

START_TEST(test_counted)
{
	struct primaries *p = primaries_new(&key);
	struct named n;
	const struct primary *primary = named(&n, "192.0.2.1", NULL, "198.51.100.1");

	ck_assert(!primaries_has(p, primary));
	ck_assert(primaries_enter(p, primary));
	ck_assert(primaries_enter(p, primary));
	primaries_leave(p, primary);
	ck_assert(primaries_has(p, primary));
	primaries_leave(p, primary);
	ck_assert(!primaries_has(p, primary));
	primaries_free(p);
	primaries_free(NULL);
}
END_TEST

static const struct primary *numbered(struct named *n, unsigned number)
{
	char host[32];

	snprintf(host, sizeof host, "10.%u.%u.%u", number >> 16, number >> 8 & 0xff, number & 0xff);
	return named(n, "192.0.2.1", NULL, host);
}

START_TEST(test_many)
{
	enum {
		COUNT = 5000
	};
	struct primaries *p = primaries_new(&key);
	struct named n;

	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert(primaries_enter(p, numbered(&n, i)));
	}
	for (unsigned i = 0; i < COUNT; i += 2) {
		primaries_leave(p, numbered(&n, i));
	}
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert(primaries_has(p, numbered(&n, i)) == (i % 2 == 1));
	}
	primaries_free(p);
}
END_TEST

static void *come_and_go(void *arg)
{
	struct primaries *p = arg;
	struct named n;

	for (unsigned i = 0; i < 5000; i++) {
		const struct primary *primary = numbered(&n, i % 300);

		ck_assert(primaries_enter(p, primary));
		ck_assert(primaries_has(p, primary));
		primaries_leave(p, primary);
	}
	return NULL;
}

START_TEST(test_threads)
{
	struct primaries *p = primaries_new(&key);
	pthread_t threads[4];
	struct named n;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, p), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
	}
	for (unsigned i = 0; i < 300; i++) {
		ck_assert(!primaries_has(p, numbered(&n, i)));
	}
	primaries_free(p);
}
END_TEST

SUITE_MAIN("primaries", test_who, test_counted, test_many, test_threads)
