/* SPDX-License-Identifier: ISC */
/* When the files of certificates are looked at, and of which configuration, with a clock that
 * stands still. What makes a file another one is seen in tests/unit/common/stream/test_tls.c. */
#include "dnsproxyd/front/certwatch.h"

#include "common/container.h"

#include "tests/unit/common/certificates.h"
#include "tests/unit/common/fake_clock.h"
#include "tests/unit/common/log_seen.h"
#include "tests/unit/suite.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	SERVERS = 2,
	QUEUE_MAX = 4,
};

/* --- looking is seen, and can be held up ----------------------------------------------------- */

static _Atomic unsigned look_count; /* at any server */

enum tls_reload __real_tls_server_reload(struct tls_server *server, const char **reterr_path,
					 const char **reterr_why);
enum tls_reload __wrap_tls_server_reload(struct tls_server *server, const char **reterr_path,
					 const char **reterr_why);

enum tls_reload __wrap_tls_server_reload(struct tls_server *server, const char **reterr_path,
					 const char **reterr_why)
{
	atomic_fetch_add(&look_count, 1);
	return __real_tls_server_reload(server, reterr_path, reterr_why);
}

/* A job that holds the helper up, or tells that those before it are done. */
struct marker {
	struct helper_job job;
	sem_t *gate; /* NULL: it does not wait */
	_Atomic bool has_begun;
	unsigned done;
};

static void run_marker(struct helper_job *job)
{
	struct marker *marker = container_of(job, struct marker, job);

	atomic_store(&marker->has_begun, true);
	if (marker->gate) {
		sem_wait(marker->gate);
	}
}

static void on_marker(struct helper_job *job)
{
	container_of(job, struct marker, job)->done++;
}

/* --- listeners ------------------------------------------------------------------------------- */

static struct {
	struct loop *loop;
	struct helpers *helpers;
	struct certwatch *watch;
	struct tls_server *servers[SERVERS];
	struct listen_config listens[SERVERS + 1];
	struct config config;
	sem_t gate;
} t;

/* The certificates of the two are NAME0.pem and NAME1.pem; one listener more has none. */
static void make_config(const char *name)
{
	for (unsigned i = 0; i < SERVERS; i++) {
		static const char *const alpn[] = { "dot" };
		char file[64];
		char certificate[CERTIFICATES_PATH_MAX];
		char key[CERTIFICATES_PATH_MAX];
		const char *path;
		const char *why;

		snprintf(file, sizeof file, "%s%u.pem", name, i);
		certificates_copy("good.pem", file);
		certificates_path(file, certificate);
		snprintf(file, sizeof file, "%s%u.key", name, i);
		certificates_copy("good.key", file);
		certificates_path(file, key);
		tls_server_free(t.servers[i]);
		t.servers[i] = tls_server_load(certificate, key, alpn, 1, &path, &why);
		ck_assert_ptr_nonnull(t.servers[i]);
		t.listens[2 * i].tls = t.servers[i];
	}
	t.config.listen_configs = t.listens;
	t.config.listens.count = ARRAY_SIZE(t.listens);
}

static void start(void)
{
	memset(&t, 0, sizeof t);
	log_seen_forget();
	look_count = 0;
	sem_init(&t.gate, 0, 0);
	clock_stop();
	t.loop = loop_new();
	t.helpers = helpers_new(1, QUEUE_MAX);
	t.watch = certwatch_new(t.loop, t.helpers);
	ck_assert(t.loop && t.helpers && t.watch);
	make_config("watched");
	ck_assert_int_eq(certwatch_set(t.watch, &t.config), 0);
}

static void stop(void)
{
	certwatch_free(t.watch);
	helpers_stop(t.helpers);
	clock_settle(t.loop);
	helpers_free(t.helpers);
	for (unsigned i = 0; i < SERVERS; i++) {
		tls_server_free(t.servers[i]);
	}
	loop_free(t.loop);
	sem_destroy(&t.gate);
	clock_go_on();
}

static void submit(struct marker *marker)
{
	ck_assert_int_eq(helpers_submit(t.helpers, &marker->job, t.loop, run_marker, on_marker), 0);
}

/* Wait until the helper has done what it was given, and everybody knows. */
static void drain(void)
{
	struct marker marker = { .gate = NULL };

	submit(&marker);
	ck_assert(clock_reach(t.loop, &marker.done, 1));
}

static void hold_helper(struct marker *marker)
{
	*marker = (struct marker){ .gate = &t.gate };
	submit(marker);
	while (!atomic_load(&marker->has_begun)) {
		ck_assert_int_eq(loop_turn(t.loop, 1), 0);
	}
}

static void pass(unsigned ms)
{
	clock_jump(t.loop, ms);
	drain();
}

static void expect_name(unsigned server, const char *expected)
{
	char name[TLS_NAME_MAX];

	ck_assert(tls_server_name(t.servers[server], name));
	ck_assert_str_eq(name, expected);
}

/* --- tests ----------------------------------------------------------------------------------- */

/* Every few seconds all of them are looked at. */
START_TEST(test_times)
{
	start();
	drain();
	ck_assert_uint_eq(look_count, 0);
	for (unsigned i = 0; i < 3; i++) {
		pass(CERTWATCH_MS - 1);
		ck_assert_uint_eq(look_count, i * SERVERS);
		pass(1);
		ck_assert_uint_eq(look_count, (i + 1) * SERVERS);
	}
	ck_assert_uint_eq(log_seen_count("certificate-loaded"), 0);
	ck_assert_uint_eq(log_seen_count("certificate-kept"), 0);
	stop();
}
END_TEST

/* A new one is used from then on, and told of. */
START_TEST(test_renewed)
{
	start();
	pass(CERTWATCH_MS);
	certificates_copy("other.pem", "watched1.pem");
	certificates_copy("other.key", "watched1.key");
	expect_name(1, "dns.example");
	pass(CERTWATCH_MS);
	expect_name(0, "dns.example");
	expect_name(1, "other.example");
	ck_assert_uint_eq(log_seen_count("certificate-loaded"), 1);
	log_seen_expect("watched1.pem");
	pass(CERTWATCH_MS);
	ck_assert_uint_eq(log_seen_count("certificate-loaded"), 1);
	stop();
}
END_TEST

/* One that cannot be used is told of once; the old one stays, and the others are looked at. */
START_TEST(test_broken)
{
	start();
	certificates_copy("other.pem", "watched0.pem");
	certificates_copy("other.pem", "watched1.pem");
	certificates_copy("other.key", "watched1.key");
	for (unsigned i = 0; i < 3; i++) {
		pass(CERTWATCH_MS);
		expect_name(0, "dns.example");
		expect_name(1, "other.example");
		ck_assert_uint_eq(log_seen_count("certificate-kept"), 1);
		ck_assert_uint_eq(log_seen_count("certificate-loaded"), 1);
	}
	/* The key comes later. */
	certificates_copy("other.key", "watched0.key");
	pass(CERTWATCH_MS);
	expect_name(0, "other.example");
	log_seen_expect("certificate-loaded file=");
	stop();
}
END_TEST

/* Another configuration: its files, from now on. */
START_TEST(test_set)
{
	struct tls_server *old;

	start();
	pass(CERTWATCH_MS - 1);
	old = tls_server_ref(t.servers[1]);
	make_config("another");
	ck_assert_int_eq(certwatch_set(t.watch, &t.config), 0);
	certificates_copy("other.pem", "watched1.pem");
	certificates_copy("other.key", "watched1.key");
	certificates_copy("other.pem", "another0.pem");
	certificates_copy("other.key", "another0.key");
	pass(1);
	ck_assert_uint_eq(look_count, 0);
	pass(CERTWATCH_MS - 1);
	ck_assert_uint_eq(look_count, SERVERS);
	expect_name(0, "other.example");
	expect_name(1, "dns.example");
	ck_assert_uint_eq(log_seen_count("certificate-loaded"), 1);
	tls_server_free(old);

	/* One without any certificate. */
	t.config.listens.count = 0;
	ck_assert_int_eq(certwatch_set(t.watch, &t.config), 0);
	pass(3 * CERTWATCH_MS);
	ck_assert_uint_eq(look_count, SERVERS);
	stop();
}
END_TEST

/* A helper that is busy is not given more of the same. */
START_TEST(test_busy_helper)
{
	struct marker marker;

	start();
	hold_helper(&marker);
	for (unsigned i = 0; i < 10; i++) {
		clock_jump(t.loop, CERTWATCH_MS);
	}
	sem_post(&t.gate);
	drain();
	ck_assert_uint_eq(look_count, SERVERS);
	pass(CERTWATCH_MS);
	ck_assert_uint_eq(look_count, 2 * SERVERS);
	stop();
}
END_TEST

/* A full queue: the next time, then. */
START_TEST(test_full_queue)
{
	struct marker markers[1 + QUEUE_MAX];

	start();
	hold_helper(&markers[0]);
	for (unsigned i = 1; i <= QUEUE_MAX; i++) {
		markers[i] = (struct marker){ .gate = NULL };
		submit(&markers[i]);
	}
	clock_jump(t.loop, CERTWATCH_MS);
	sem_post(&t.gate);
	ck_assert(clock_reach(t.loop, &markers[QUEUE_MAX].done, 1));
	drain();
	ck_assert_uint_eq(look_count, 0);
	pass(CERTWATCH_MS);
	ck_assert_uint_eq(look_count, SERVERS);
	stop();
}
END_TEST

/* It may go while a helper looks, which has what it needs; so may the configuration. */
START_TEST(test_free_while_looking)
{
	struct marker marker;

	certwatch_free(NULL);
	start();
	hold_helper(&marker);
	clock_jump(t.loop, CERTWATCH_MS);
	certwatch_free(t.watch);
	for (unsigned i = 0; i < SERVERS; i++) {
		tls_server_free(t.servers[i]);
		t.servers[i] = NULL;
	}
	sem_post(&t.gate);
	drain();
	ck_assert_uint_eq(look_count, SERVERS);
	clock_jump(t.loop, CERTWATCH_MS);
	drain();
	ck_assert_uint_eq(look_count, SERVERS);
	t.watch = NULL;
	stop();

	/* Or the helper goes first. */
	start();
	hold_helper(&marker);
	clock_jump(t.loop, CERTWATCH_MS);
	sem_post(&t.gate);
	helpers_stop(t.helpers);
	clock_settle(t.loop);
	clock_jump(t.loop, CERTWATCH_MS);
	stop();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_times,      test_renewed,           test_broken, test_set, test_busy_helper,
		test_full_queue, test_free_while_looking
	};
	Suite *suite;
	TCase *tcase;
	int r;

	if (!certificates_make()) {
		puts("1..0 # SKIP the openssl program is not installed");
		return EXIT_SUCCESS;
	}
	suite = suite_create("certwatch");
	tcase = tcase_create("certwatch");
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		tcase_add_test(tcase, tests[i]);
	}
	suite_add_tcase(suite, tcase);
	r = suite_run(suite);
	certificates_remove();
	return r;
}
