/* SPDX-License-Identifier: ISC */
#include "common/stream/tls.h"

#include "common/container.h"
#include "tests/unit/common/certificates.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	DEADLINE_MS = 5000,
	MUCH = 24 * 1024 * 1024,
};

/* 2050-01-01, when "good" is valid. */
static const struct tls_time midway = { .unix_s = INT64_C(2524608000) };

#define YEAR_2080 INT64_C(3471292800)
#define YEAR_2100 INT64_C(4102444800)
/* When "good" has expired. */
#define YEAR_LATE INT64_C(32503680000)

/* One end of a connection. */
struct end {
	struct stream stream;
	struct tls *tls;
	bool opened;
	bool failed;
	int error;
	enum tls_error why; /* noted before the close */
	bool reading_ended;
	bool leave_unread;
	uint8_t *in;
	size_t in_len;
	size_t in_cap;
	unsigned drained_count;
};

struct pair {
	struct loop *loop;
	struct end client;
	struct end server;
};

static struct end *end_of(struct stream *stream)
{
	return container_of(stream, struct end, stream);
}

static void on_open(struct stream *stream)
{
	ck_assert(!end_of(stream)->opened);
	end_of(stream)->opened = true;
}

static void on_readable(struct stream *stream)
{
	struct end *end = end_of(stream);
	uint8_t buf[5000];
	ssize_t n;

	ck_assert(end->opened);
	if (end->leave_unread) {
		stream_set_reading(stream, false);
		return;
	}
	n = stream_read(stream, buf, sizeof buf);
	if (n > 0) {
		if (end->in_len + (size_t)n > end->in_cap) {
			end->in_cap = end->in_cap * 2 + sizeof buf;
			end->in = realloc(end->in, end->in_cap);
		}
		memcpy(end->in + end->in_len, buf, (size_t)n);
		end->in_len += (size_t)n;
	} else if (n != -EAGAIN) {
		end->reading_ended = true;
		end->error = (int)-n;
		stream_set_reading(stream, false);
	}
}

static void on_drained(struct stream *stream)
{
	ck_assert_uint_eq(stream_unsent_bytes(stream), 0);
	end_of(stream)->drained_count++;
}

static void on_failed(struct stream *stream, int error)
{
	struct end *end = end_of(stream);

	end->failed = true;
	end->error = error;
	end->why = tls_error(end->tls);
	stream_close(stream);
}

static const struct stream_user user = {
	.on_open = on_open,
	.on_readable = on_readable,
	.on_drained = on_drained,
	.on_failed = on_failed,
};

/* --- what the tests need -----------------------------------------------------------------------
 */

static struct tls_pin read_pin(const char *name)
{
	char path[CERTIFICATES_PATH_MAX];
	char text[100] = "";
	struct tls_pin pin;
	FILE *file;

	snprintf(text, sizeof text, "%s.pin", name);
	file = fopen(certificates_path(text, path), "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
	fclose(file);
	text[strcspn(text, "\n")] = '\0';
	ck_assert(tls_pin_parse(text, &pin));
	return pin;
}

static struct tls_client *make_client(struct tls_trust *trust, const char *name,
				      const struct tls_pin *pins, size_t pin_count)
{
	struct tls_client_config config = {
		.trust = trust, .name = name, .pins = pins, .pin_count = pin_count, .alpn = "dot"
	};
	struct tls_client *client;

	ck_assert_int_eq(addr_parse("127.0.0.1:853", 0, &config.address), 0);
	client = tls_client_new(&config);
	ck_assert_ptr_nonnull(client);
	return client;
}

/* Connect the two ends; tls of either may be NULL. */
static void pair_init(struct pair *pair, struct tls *client, struct tls *server)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sin;
	struct addr addr;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int fd;

	*pair = (struct pair){ .loop = loop_new() };
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sin, sizeof sin), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	addr = addr_from_sockaddr((struct sockaddr *)&sin);
	pair->client.tls = client;
	pair->server.tls = server;
	ck_assert_int_eq(stream_connect(&pair->client.stream, pair->loop, &addr, NULL,
					client ? tls_layer(client) : NULL, &user),
			 0);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (!server) {
		pair->server.opened = true;
	}
	ck_assert_int_eq(stream_accept(&pair->server.stream, pair->loop, fd,
				       server ? tls_layer(server) : NULL, &user),
			 0);
	close(listener);
}

static void pair_done(struct pair *pair)
{
	stream_close(&pair->client.stream);
	stream_close(&pair->server.stream);
	free(pair->client.in);
	free(pair->server.in);
	loop_free(pair->loop);
}

#define RUN_UNTIL(pair, condition)                                           \
	do {                                                                 \
		uint64_t until_ms = loop_now_ms((pair)->loop) + DEADLINE_MS; \
		while (!(condition)) {                                       \
			ck_assert(loop_now_ms((pair)->loop) < until_ms);     \
			ck_assert_int_eq(loop_turn((pair)->loop, 20), 0);    \
		}                                                            \
	} while (0)

/* Connect, and tell how it ends for the client. */
static enum tls_error try_connect(struct tls_client *client, const struct tls_time *time,
				  struct tls_server *server, bool *ret_resumed)
{
	struct pair pair;
	enum tls_error why;

	pair_init(&pair, tls_connect(client, time), tls_accept(server));
	ck_assert_int_eq(stream_write(&pair.client.stream, "ping", 4), 0);
	RUN_UNTIL(&pair, pair.client.failed || pair.server.in_len == 4);
	/* What is refused gets no byte of what was to be said. */
	if (pair.client.failed) {
		ck_assert_int_eq(pair.client.error, EPROTO);
		RUN_UNTIL(&pair, pair.server.failed || pair.server.reading_ended);
		ck_assert_uint_eq(pair.server.in_len, 0);
		why = pair.client.why;
	} else {
		ck_assert_int_eq(stream_write(&pair.server.stream, "pong", 4), 0);
		stream_flush(&pair.server.stream);
		RUN_UNTIL(&pair, pair.client.in_len == 4);
		why = tls_error(pair.client.tls);
		if (ret_resumed) {
			*ret_resumed = tls_resumed(pair.client.tls);
			ck_assert_int_eq(tls_resumed(pair.server.tls), *ret_resumed);
		}
	}
	pair_done(&pair);
	return why;
}

/* --- certificates ------------------------------------------------------------------------------
 */

START_TEST(test_judgement)
{
	static const struct {
		const char *server;
		const char *ca; /* NULL: the chain is not checked */
		const char *name;
		const char *pin;
		int64_t early_until_s;
		enum tls_error why;
	} cases[] = {
		{ "good", "ca.pem", "dns.example", NULL, 0, TLS_OK },
		{ "good", "ca.pem", "DNS.Example", NULL, 0, TLS_OK },
		{ "good", "ca.pem", "a.wild.example", NULL, 0, TLS_OK },
		{ "good", "ca.pem", "a.b.wild.example", NULL, 0, TLS_WRONG_NAME },
		{ "good", "ca.pem", "good", NULL, 0, TLS_WRONG_NAME }, /* its CN */
		{ "good", "ca.pem", "example", NULL, 0, TLS_WRONG_NAME },
		{ "good", "ca.pem", NULL, NULL, 0, TLS_OK }, /* 127.0.0.1 */
		{ "other", "ca.pem", NULL, NULL, 0, TLS_WRONG_NAME },
		{ "other", "ca.pem", "dns.example", NULL, 0, TLS_WRONG_NAME },
		{ "expired", "ca.pem", "dns.example", NULL, 0, TLS_EXPIRED },
		{ "expired", "ca.pem", "dns.example", NULL, YEAR_2100, TLS_EXPIRED },
		{ "future", "ca.pem", "dns.example", NULL, 0, TLS_NOT_YET_VALID },
		{ "future", "ca.pem", "dns.example", NULL, YEAR_2100, TLS_OK },
		{ "future", "ca.pem", "dns.example", NULL, YEAR_2080, TLS_NOT_YET_VALID },
		{ "future", "ca.pem", "other.example", NULL, YEAR_2100, TLS_WRONG_NAME },
		{ "self", "ca.pem", "dns.example", NULL, 0, TLS_SELF_SIGNED },
		{ "stranger", "ca.pem", "dns.example", NULL, 0, TLS_UNTRUSTED },
		{ "stranger", "ca.pem", "dns.example", "stranger", 0, TLS_UNTRUSTED },
		{ "stranger", "elsewhere.pem", "dns.example", NULL, 0, TLS_OK },
		{ "good", "ca.pem", "dns.example", "good", 0, TLS_OK },
		{ "good", "ca.pem", "dns.example", "ca", 0, TLS_OK },
		{ "good", "ca.pem", "dns.example", "other", 0, TLS_WRONG_PIN },
		{ "self", NULL, NULL, "self", 0, TLS_OK },
		{ "expired", NULL, NULL, "expired", 0, TLS_OK },
		{ "good", NULL, NULL, "ca", 0, TLS_WRONG_PIN }, /* nobody checked that */
		{ "self", NULL, NULL, "good", 0, TLS_WRONG_PIN },
		{ "self", NULL, NULL, NULL, 0, TLS_OK }, /* opportunistic */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_server *server = certificates_server(cases[i].server, NULL);
		struct tls_trust *trust = cases[i].ca ? certificates_trust(cases[i].ca) : NULL;
		struct tls_time time = midway;
		struct tls_pin pin = { .kind = TLS_PIN_KEY };
		struct tls_client *client;
		enum tls_error why;

		time.early_until_s = cases[i].early_until_s;
		if (cases[i].pin) {
			pin = read_pin(cases[i].pin);
		}
		client = make_client(trust, cases[i].name, &pin, cases[i].pin ? 1 : 0);
		tls_trust_free(trust);
		why = try_connect(client, &time, server, NULL);
		ck_assert_msg(why == cases[i].why, "case %zu: %s instead of %s", i,
			      tls_error_word(why), tls_error_word(cases[i].why));
		tls_client_free(client);
		tls_server_free(server);
	}
}
END_TEST

START_TEST(test_other_trust)
{
	struct tls_server *server = certificates_server("stranger", NULL);
	struct tls_trust *trust = certificates_trust("ca.pem");
	struct tls_client *client = make_client(trust, "dns.example", NULL, 0);

	tls_trust_free(trust);
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_UNTRUSTED);
	trust = certificates_trust("elsewhere.pem");
	tls_client_set_trust(client, trust);
	tls_trust_free(trust);
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_OK);
	tls_client_free(client);
	tls_server_free(server);
}
END_TEST

START_TEST(test_resumption)
{
	struct tls_server *server = certificates_server("good", NULL);
	struct tls_trust *trust = certificates_trust("ca.pem");
	struct tls_client *client = make_client(trust, "dns.example", NULL, 0);
	bool resumed = true;

	ck_assert_int_eq(try_connect(client, &midway, server, &resumed), TLS_OK);
	ck_assert(!resumed);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(try_connect(client, &midway, server, &resumed), TLS_OK);
		ck_assert(resumed);
	}
	tls_client_set_trust(client, trust);
	ck_assert_int_eq(try_connect(client, &midway, server, &resumed), TLS_OK);
	ck_assert(!resumed);
	tls_client_free(client);
	tls_trust_free(trust);
	tls_server_free(server);
}
END_TEST

/* A session does not outlive the certificate that it was begun with. */
START_TEST(test_resumption_after_expiry)
{
	const struct tls_time late = { .unix_s = YEAR_LATE };
	struct tls_server *server = certificates_server("good", NULL);
	struct tls_trust *trust = certificates_trust("ca.pem");
	struct tls_client *client = make_client(trust, "dns.example", NULL, 0);
	struct tls_pin pin = read_pin("good");
	bool resumed = true;

	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_OK);
	ck_assert_int_eq(try_connect(client, &late, server, NULL), TLS_EXPIRED);
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_OK);
	tls_client_free(client);
	/* Where the time does not count it does not count here. */
	client = make_client(NULL, NULL, &pin, 1);
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_OK);
	ck_assert_int_eq(try_connect(client, &late, server, &resumed), TLS_OK);
	ck_assert(resumed);
	tls_client_free(client);
	tls_trust_free(trust);
	tls_server_free(server);
}
END_TEST

START_TEST(test_alpn)
{
	struct tls_client_config config = { .alpn = "h2", .alpn_required = true };
	struct tls_server *with = certificates_server("good", "h2");
	struct tls_server *other = certificates_server("good", "dot");
	struct tls_server *without = certificates_server("good", NULL);
	struct tls_client *client = tls_client_new(&config);
	struct pair pair;

	ck_assert_int_eq(try_connect(client, &midway, with, NULL), TLS_OK);
	ck_assert_int_eq(try_connect(client, &midway, without, NULL), TLS_NO_ALPN);
	ck_assert_int_eq(try_connect(client, &midway, other, NULL), TLS_PROTOCOL);
	pair_init(&pair, tls_connect(client, &midway), tls_accept(with));
	RUN_UNTIL(&pair, pair.client.opened && pair.server.opened);
	ck_assert_str_eq(tls_alpn(pair.client.tls), "h2");
	ck_assert_str_eq(tls_alpn(pair.server.tls), "h2");
	ck_assert_str_eq(tls_version(pair.server.tls), "TLSv1.3");
	ck_assert(!tls_is_early(pair.client.tls));
	pair_done(&pair);
	tls_client_free(client);
	tls_server_free(with);
	tls_server_free(other);
	tls_server_free(without);
}
END_TEST

/* --- bytes -------------------------------------------------------------------------------------
 */

static void fill(uint8_t *bytes, size_t len)
{
	uint32_t x = 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(x >> 24);
	}
}

/* Whoever loaded the server lets go of it, as on a reload, before the client has said a word. */
START_TEST(test_server_gone)
{
	static const char *const alpn[] = { NULL, "dot" };

	for (size_t i = 0; i < ARRAY_SIZE(alpn); i++) {
		struct tls_server *server = certificates_server("good", alpn[i]);
		struct tls_trust *trust = certificates_trust("ca.pem");
		struct tls_client *client = make_client(trust, "dns.example", NULL, 0);
		struct pair pair;

		tls_trust_free(trust);
		pair_init(&pair, tls_connect(client, &midway), tls_accept(server));
		tls_server_free(server);
		RUN_UNTIL(&pair, pair.client.opened && pair.server.opened);
		ck_assert_str_eq(tls_alpn(pair.server.tls), alpn[i] ? alpn[i] : "");
		pair_done(&pair);
		tls_client_free(client);
	}
}
END_TEST

/* The same with the client: its checks are made all the same. */
START_TEST(test_client_gone)
{
	static const enum tls_error whys[] = { TLS_OK, TLS_WRONG_NAME };

	for (size_t i = 0; i < ARRAY_SIZE(whys); i++) {
		struct tls_server *server = certificates_server(i ? "other" : "good", "dot");
		struct tls_trust *trust = certificates_trust("ca.pem");
		struct tls_client *client = make_client(trust, "dns.example", NULL, 0);
		struct pair pair;

		tls_trust_free(trust);
		pair_init(&pair, tls_connect(client, &midway), tls_accept(server));
		tls_client_free(client);
		RUN_UNTIL(&pair, pair.client.opened || pair.client.failed);
		ck_assert_int_eq(pair.client.why, whys[i]);
		pair_done(&pair);
		tls_server_free(server);
	}
}
END_TEST

/* A reader that stands still for a while: nothing is lost, and the writer is told. */
START_TEST(test_much)
{
	struct tls_server *server = certificates_server("good", NULL);
	struct tls_client *client = make_client(NULL, NULL, NULL, 0);
	uint8_t *bytes = malloc(MUCH);
	struct pair pair;

	fill(bytes, MUCH);
	for (int with_tls = 0; with_tls < 2; with_tls++) {
		pair_init(&pair, with_tls ? tls_connect(client, &midway) : NULL,
			  with_tls ? tls_accept(server) : NULL);
		pair.client.leave_unread = true;
		RUN_UNTIL(&pair, pair.client.opened && pair.server.opened);
		ck_assert_int_eq(stream_write(&pair.server.stream, bytes, MUCH), 0);
		stream_flush(&pair.server.stream);
		ck_assert(stream_is_blocked(&pair.server.stream));
		for (int i = 0; i < 20; i++) {
			loop_turn(pair.loop, 5);
		}
		ck_assert_uint_eq(pair.client.in_len, 0);
		ck_assert_uint_gt(stream_unsent_bytes(&pair.server.stream), 0);
		pair.client.leave_unread = false;
		stream_set_reading(&pair.client.stream, true);
		RUN_UNTIL(&pair, pair.client.in_len == MUCH);
		ck_assert(memcmp(pair.client.in, bytes, MUCH) == 0);
		ck_assert_uint_eq(pair.server.drained_count, 1);
		ck_assert(!stream_is_blocked(&pair.server.stream));
		/* An idle stream keeps no buffer. */
		ck_assert_ptr_null(pair.server.stream.out);
		stream_close(&pair.server.stream);
		RUN_UNTIL(&pair, pair.client.reading_ended);
		ck_assert_int_eq(pair.client.error, 0);
		pair_done(&pair);
	}
	free(bytes);
	tls_client_free(client);
	tls_server_free(server);
}
END_TEST

/* Records that came together are read without another event of the socket. */
START_TEST(test_pending)
{
	struct tls_server *server = certificates_server("good", NULL);
	struct tls_client *client = make_client(NULL, NULL, NULL, 0);
	struct pair pair;

	pair_init(&pair, tls_connect(client, &midway), tls_accept(server));
	RUN_UNTIL(&pair, pair.client.opened && pair.server.opened);
	pair.server.leave_unread = true;
	for (int i = 0; i < 100; i++) {
		stream_write(&pair.client.stream, "0123456789", 10);
		stream_flush(&pair.client.stream);
	}
	for (int i = 0; i < 10; i++) {
		loop_turn(pair.loop, 2);
	}
	pair.server.leave_unread = false;
	stream_set_reading(&pair.server.stream, true);
	RUN_UNTIL(&pair, pair.server.in_len == 1000);
	/* Nobody turns in circles when there is nothing to do. */
	for (int i = 0; i < 5; i++) {
		uint64_t before_ms = loop_now_ms(pair.loop);

		loop_turn(pair.loop, 10);
		ck_assert_uint_ge(loop_now_ms(pair.loop), before_ms + 8);
	}
	pair_done(&pair);
	tls_client_free(client);
	tls_server_free(server);
}
END_TEST

/* No TLS at the other end. */
START_TEST(test_plain_peer)
{
	struct tls_server *server = certificates_server("good", NULL);
	struct tls_client *client = make_client(NULL, NULL, NULL, 0);
	struct pair pair;

	pair_init(&pair, tls_connect(client, &midway), NULL);
	stream_write(&pair.server.stream, "SSH-2.0-OpenSSH_9.2\r\n", 21);
	stream_flush(&pair.server.stream);
	RUN_UNTIL(&pair, pair.client.failed);
	ck_assert_int_eq(pair.client.error, EPROTO);
	ck_assert_int_eq(pair.client.why, TLS_PROTOCOL);
	pair_done(&pair);

	pair_init(&pair, NULL, tls_accept(server));
	stream_write(&pair.client.stream, "GET / HTTP/1.0\r\n\r\n", 18);
	RUN_UNTIL(&pair, pair.server.failed);
	ck_assert_int_eq(pair.server.error, EPROTO);
	ck_assert_int_eq(pair.server.why, TLS_PROTOCOL);
	pair_done(&pair);

	/* Hung up in the middle of the handshake: nothing is wrong with TLS. */
	pair_init(&pair, tls_connect(client, &midway), NULL);
	RUN_UNTIL(&pair, pair.server.in_len > 0);
	stream_close(&pair.server.stream);
	RUN_UNTIL(&pair, pair.client.failed);
	ck_assert_int_eq(pair.client.error, ECONNRESET);
	ck_assert_int_eq(pair.client.why, TLS_OK);
	pair_done(&pair);
	tls_client_free(client);
	tls_server_free(server);
}
END_TEST

/* --- files -------------------------------------------------------------------------------------
 */

START_TEST(test_server_files)
{
	char certificate[CERTIFICATES_PATH_MAX];
	char key[CERTIFICATES_PATH_MAX];
	char other[CERTIFICATES_PATH_MAX];
	char name[TLS_NAME_MAX];
	struct tls_server *server;
	const char *path;
	const char *why;

	certificates_copy("good.pem", "a.pem");
	certificates_copy("good.key", "a.key");
	certificates_path("a.pem", certificate);
	certificates_path("a.key", key);
	certificates_path("other.key", other);

	server = tls_server_load(certificate, key, NULL, 0, &path, &why);
	ck_assert_ptr_nonnull(server);
	ck_assert(tls_server_name(server, name));
	ck_assert_str_eq(name, "dns.example");
	ck_assert_str_eq(tls_server_path(server), certificate);
	tls_server_free(server);

	chmod(key, 0604);
	ck_assert_ptr_null(tls_server_load(certificate, key, NULL, 0, &path, &why));
	ck_assert_ptr_eq(path, key);
	ck_assert_ptr_nonnull(strstr(why, "everyone"));
	chmod(key, 0640);
	ck_assert_ptr_null(tls_server_load(certificate, other, NULL, 0, &path, &why));
	ck_assert_ptr_eq(path, other);
	ck_assert_ptr_null(tls_server_load(key, key, NULL, 0, &path, &why));
	ck_assert_ptr_eq(path, key);
	ck_assert_ptr_null(tls_server_load(certificate, certificate, NULL, 0, &path, &why));
	ck_assert_ptr_null(tls_server_load("/nowhere", key, NULL, 0, &path, &why));
	ck_assert_str_eq(path, "/nowhere");
	ck_assert_str_eq(why, "no such file");
}
END_TEST

START_TEST(test_server_reload)
{
	struct tls_trust *trust = certificates_trust("ca.pem");
	struct tls_client *client = make_client(trust, "dns.example", NULL, 0);
	struct tls_server *server;
	const char *path;
	const char *why;

	certificates_copy("good.pem", "a.pem");
	certificates_copy("good.key", "a.key");
	server = certificates_server("a", NULL);
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_OK);
	ck_assert_int_eq(tls_server_reload(server, &path, &why), TLS_RELOAD_SAME);
	certificates_copy("other.pem", "a.pem");
	/* In the middle of the change: the old one stays. */
	ck_assert_int_eq(tls_server_reload(server, &path, &why), TLS_RELOAD_FAILED);
	ck_assert_ptr_nonnull(strstr(path, "a.key"));
	ck_assert_int_eq(tls_server_reload(server, &path, &why), TLS_RELOAD_SAME);
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_OK);
	certificates_copy("other.key", "a.key");
	ck_assert_int_eq(tls_server_reload(server, &path, &why), TLS_RELOAD_DONE);
	tls_client_set_trust(client, trust); /* no resumption */
	ck_assert_int_eq(try_connect(client, &midway, server, NULL), TLS_WRONG_NAME);
	tls_server_free(tls_server_ref(server));
	tls_server_free(server);
	tls_client_free(client);
	tls_trust_free(trust);
}
END_TEST

START_TEST(test_trust_files)
{
	char path[CERTIFICATES_PATH_MAX];
	struct tls_trust *trust;

	ck_assert_ptr_null(tls_trust_load("/nowhere"));
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_ptr_null(tls_trust_load(certificates_path("good.pin", path)));
	ck_assert_int_eq(errno, EINVAL);
	trust = tls_trust_load(NULL);
	ck_assert_ptr_nonnull(trust);
	tls_trust_free(trust);
}
END_TEST

START_TEST(test_pins)
{
	static const char good[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	static const char *const bad[] = {
		"",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8A",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd!h8=",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd h8=",
	};
	struct tls_pin pin;

	ck_assert(tls_pin_parse(good, &pin));
	ck_assert_int_eq(pin.kind, TLS_PIN_KEY);
	for (unsigned i = 0; i < TLS_PIN_BYTES; i++) {
		ck_assert_uint_eq(pin.sha256[i], i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_msg(!tls_pin_parse(bad[i], &pin), "%s", bad[i]);
	}
}
END_TEST

CERTIFICATES_MAIN("tls", NULL, test_judgement, test_other_trust, test_resumption,
		  test_resumption_after_expiry, test_alpn, test_much, test_pending, test_plain_peer,
		  test_server_files, test_server_reload, test_server_gone, test_client_gone,
		  test_trust_files, test_pins)
