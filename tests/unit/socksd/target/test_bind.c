/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "socksd/target/bind.h"

#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What one bind was told and has told. */
struct fixture {
	struct loop *loop;
	struct bind *bind;
	const char *forbidden; /* an address that `allowed` forbids, or NULL */
	const struct egress *egress;
	bool cancel_on_listening;
	bool cancel_on_stranger;
	unsigned asked;
	unsigned egress_failures;
	unsigned listened;
	struct addr announced;
	unsigned strangers;
	char stranger_why[32];
	unsigned ended;
	struct bind_result result;
};

static struct addr parsed(const char *text)
{
	struct addr a;

	ck_assert_msg(addr_parse(text, 1, &a) == 0, "%s", text);
	return a;
}

static bool allowed(void *arg, const struct addr *a, const struct egress **ret_egress,
		    const char **ret_why)
{
	struct fixture *f = arg;
	char text[ADDR_TEXT_MAX];

	f->asked++;
	*ret_egress = f->egress;
	*ret_why = "forbidden";
	return !f->forbidden || strcmp(addr_format_ip(a, text, sizeof text), f->forbidden) != 0;
}

static void egress_failed(void *arg, const struct egress *egress, int error)
{
	struct fixture *f = arg;

	ck_assert_ptr_eq(egress, f->egress);
	ck_assert_int_gt(error, 0);
	f->egress_failures++;
}

static void listening(void *arg, const struct addr *announced)
{
	struct fixture *f = arg;

	f->listened++;
	f->announced = *announced;
	if (f->cancel_on_listening) {
		bind_cancel(f->bind);
	}
}

static void stranger(void *arg, const struct addr *peer, const char *why)
{
	struct fixture *f = arg;

	ck_assert_int_ne(peer->sa.sa_family, AF_UNSPEC);
	f->strangers++;
	strncpy(f->stranger_why, why, sizeof f->stranger_why - 1);
	if (f->cancel_on_stranger) {
		bind_cancel(f->bind);
	}
}

static void done(void *arg, const struct bind_result *result)
{
	struct fixture *f = arg;

	f->ended++;
	f->result = *result;
	f->bind = NULL;
}

static const struct bind_ops ops = {
	.allowed = allowed,
	.egress_failed = egress_failed,
	.listening = listening,
	.stranger = stranger,
	.done = done,
};

static void set_up(struct fixture *f)
{
	signal(SIGPIPE, SIG_IGN);
	*f = (struct fixture){ .loop = loop_new(), .result = { .fd = -1 } };
	ck_assert_ptr_nonnull(f->loop);
}

static void tear_down(struct fixture *f)
{
	bind_cancel(f->bind);
	if (f->result.fd >= 0) {
		close(f->result.fd);
	}
	loop_turn(f->loop, 0);
	loop_free(f->loop);
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(loop_turn(f->loop, 20), 0);
	}
}

static void start(struct fixture *f, const char *expected, struct bind_config config)
{
	struct socks5_target target = { .addr = parsed(expected) };

	target.port = addr_port(&target.addr);
	config.loop = f->loop;
	if (config.client_side.sa.sa_family == AF_UNSPEC) {
		config.client_side = parsed("127.0.0.1");
	}
	f->bind = bind_start(&config, &target, &ops, f);
	ck_assert_ptr_nonnull(f->bind);
	ck_assert_uint_eq(f->listened + f->ended, 0);
	turn(f);
}

/* A peer that connects from there to where the bind listens. */
static int connect_from(const struct fixture *f, const char *source)
{
	struct addr from = parsed(source);
	int fd = socket(from.sa.sa_family, SOCK_STREAM, 0);

	addr_set_port(&from, 0);
	ck_assert_int_eq(bind(fd, &from.sa, addr_len(&from)), 0);
	if (connect(fd, &f->announced.sa, addr_len(&f->announced)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* What a blocking read says: bytes, 0, or -errno. */
static int end_seen_by(int fd)
{
	char byte;
	const struct timeval patience = { .tv_sec = 5 };
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	n = read(fd, &byte, 1);
	return n < 0 ? -errno : (int)n;
}

START_TEST(test_peer)
{
	struct fixture f;
	struct addr peer = { 0 };
	socklen_t len = sizeof peer;
	int fd;

	set_up(&f);
	start(&f, "127.0.0.9:21", (struct bind_config){ 0 });
	ck_assert_uint_eq(f.listened, 1);
	ck_assert_uint_ne(addr_port(&f.announced), 0);
	ck_assert_int_eq(addr_scope(&f.announced), ADDR_LOOPBACK);
	fd = connect_from(&f, "127.0.0.9");
	ck_assert_int_ge(fd, 0);
	turn(&f);
	ck_assert_uint_eq(f.ended, 1);
	ck_assert_int_eq(f.result.outcome, BIND_CONNECTED);
	ck_assert_int_eq(f.result.reply, SOCKS5_SUCCEEDED);
	ck_assert_int_eq(getsockname(fd, &peer.sa, &len), 0);
	ck_assert(addr_equal(&f.result.peer, &peer));
	ck_assert_int_eq(write(f.result.fd, "x", 1), 1);
	ck_assert_int_eq(end_seen_by(fd), 1);
	/* the listening socket is gone */
	ck_assert_int_eq(connect_from(&f, "127.0.0.9"), -1);
	close(fd);
	tear_down(&f);
}
END_TEST

START_TEST(test_strangers)
{
	struct fixture f;
	int fds[40];
	int fd;

	set_up(&f);
	start(&f, "127.0.0.9:21", (struct bind_config){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connect_from(&f, "127.0.0.8");
		ck_assert_int_ge(fds[i], 0);
		turn(&f);
	}
	ck_assert_uint_eq(f.strangers, ARRAY_SIZE(fds));
	ck_assert_str_eq(f.stranger_why, "unexpected");
	ck_assert_uint_eq(f.ended, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		ck_assert_int_eq(end_seen_by(fds[i]), -ECONNRESET);
		close(fds[i]);
	}
	fd = connect_from(&f, "127.0.0.9");
	turn(&f);
	ck_assert_int_eq(f.result.outcome, BIND_CONNECTED);
	ck_assert_uint_eq(f.ended, 1);
	close(fd);
	tear_down(&f);
}
END_TEST

START_TEST(test_anybody)
{
	struct fixture f;
	int stranger_fd;
	int fd;

	set_up(&f);
	f.egress = &(const struct egress){ .name = "loop", .ipv4 = parsed("127.0.0.3") };
	start(&f, "0.0.0.0", (struct bind_config){ 0 });
	ck_assert_uint_eq(f.listened, 1);
	ck_assert(addr_same_ip(&f.announced, &f.egress->ipv4));
	f.forbidden = "127.0.0.8";
	stranger_fd = connect_from(&f, "127.0.0.8");
	turn(&f);
	ck_assert_uint_eq(f.strangers, 1);
	ck_assert_str_eq(f.stranger_why, "forbidden");
	ck_assert_int_eq(end_seen_by(stranger_fd), -ECONNRESET);
	fd = connect_from(&f, "127.0.0.7");
	turn(&f);
	ck_assert_int_eq(f.result.outcome, BIND_CONNECTED);
	close(stranger_fd);
	close(fd);
	tear_down(&f);
}
END_TEST

/* Without an egress address the announced one is never 0.0.0.0, whatever the routes are. */
START_TEST(test_anybody_is_told_an_address)
{
	struct fixture f;

	set_up(&f);
	start(&f, "0.0.0.0", (struct bind_config){ 0 });
	ck_assert_uint_eq(f.listened, 1);
	ck_assert_int_ne(addr_scope(&f.announced), ADDR_UNSPECIFIED);
	ck_assert_uint_ne(addr_port(&f.announced), 0);
	tear_down(&f);
}
END_TEST

START_TEST(test_denied)
{
	static const char *const expected[] = { "127.0.0.9:21", "0.0.0.0" };
	static const char *const forbidden[] = { "127.0.0.9", "0.0.0.0" };

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct fixture f;

		set_up(&f);
		f.forbidden = forbidden[i];
		start(&f, expected[i], (struct bind_config){ 0 });
		ck_assert_uint_eq(f.listened, 0);
		ck_assert_uint_eq(f.ended, 1);
		ck_assert_int_eq(f.result.outcome, BIND_DENIED);
		ck_assert_int_eq(f.result.reply, SOCKS5_NOT_ALLOWED);
		ck_assert_str_eq(f.result.why, "forbidden");
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_public_address)
{
	struct fixture f;
	struct bind_config config = {
		.public_ipv4 = parsed("203.0.113.7"),
		.public_ipv6 = parsed("[2001:db8::7]"),
	};

	set_up(&f);
	start(&f, "127.0.0.9:21", config);
	ck_assert(addr_same_ip(&f.announced, &config.public_ipv4));
	ck_assert_uint_gt(addr_port(&f.announced), 1);
	tear_down(&f);
	/* that of the other family does not count */
	set_up(&f);
	config.public_ipv4 = (struct addr){ 0 };
	start(&f, "127.0.0.9:21", config);
	ck_assert_int_eq(addr_scope(&f.announced), ADDR_LOOPBACK);
	tear_down(&f);
}
END_TEST

START_TEST(test_port_range)
{
	const struct bind_config config = { .first_port = 28461, .last_port = 28464 };
	struct fixture f[5];
	unsigned ports = 0;

	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		set_up(&f[i]);
		start(&f[i], "127.0.0.9:21", config);
		if (i < 4) {
			uint16_t port = addr_port(&f[i].announced);

			ck_assert_uint_eq(f[i].listened, 1);
			ck_assert(port >= 28461 && port <= 28464);
			ports |= 1u << (port - 28461);
		}
	}
	ck_assert_uint_eq(ports, 0xf);
	ck_assert_uint_eq(f[4].listened, 0);
	ck_assert_int_eq(f[4].result.outcome, BIND_NO_SOCKET);
	ck_assert_int_eq(f[4].result.reply, SOCKS5_GENERAL_FAILURE);
	ck_assert_str_eq(f[4].result.why, "no_port");
	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		tear_down(&f[i]);
	}
}
END_TEST

/* A port whose last connection is in TIME_WAIT is used again. */
START_TEST(test_port_again)
{
	const struct bind_config config = { .first_port = 28465, .last_port = 28465 };

	for (int i = 0; i < 3; i++) {
		struct fixture f;
		int fd;

		set_up(&f);
		start(&f, "127.0.0.9:21", config);
		ck_assert_uint_eq(f.listened, 1);
		fd = connect_from(&f, "127.0.0.9");
		turn(&f);
		ck_assert_int_eq(f.result.outcome, BIND_CONNECTED);
		shutdown(f.result.fd, SHUT_WR);
		ck_assert_int_eq(end_seen_by(fd), 0);
		close(fd);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_egress)
{
	static const struct {
		const char *address;
		const char *interface;
		const char *why;
		enum socks5_reply reply;
		unsigned failures;
	} cases[] = {
		{ "192.0.2.77", NULL, "egress_failed", SOCKS5_GENERAL_FAILURE, 1 },
		{ NULL, "no-such-if0", "egress_failed", SOCKS5_GENERAL_FAILURE, 1 },
		{ "[2001:db8::1]", NULL, "no_egress_address", SOCKS5_NETWORK_UNREACHABLE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct egress egress = { .name = "e", .interface = cases[i].interface };
		struct fixture f;

		if (cases[i].address) {
			struct addr a = parsed(cases[i].address);

			*(a.sa.sa_family == AF_INET ? &egress.ipv4 : &egress.ipv6) = a;
		}
		set_up(&f);
		f.egress = &egress;
		start(&f, "127.0.0.9:21", (struct bind_config){ 0 });
		ck_assert_uint_eq(f.listened, 0);
		ck_assert_int_eq(f.result.outcome, BIND_NO_SOCKET);
		ck_assert_int_eq(f.result.reply, cases[i].reply);
		ck_assert_str_eq(f.result.why, cases[i].why);
		ck_assert_uint_eq(f.egress_failures, cases[i].failures);
		tear_down(&f);
	}
}
END_TEST

START_TEST(test_cancel)
{
	struct fixture f;
	int fd;

	/* before anything has happened */
	set_up(&f);
	f.bind = bind_start(&(const struct bind_config){ .loop = f.loop },
			    &(const struct socks5_target){ .addr = parsed("127.0.0.9:21") }, &ops,
			    &f);
	bind_cancel(f.bind);
	f.bind = NULL;
	turn(&f);
	ck_assert_uint_eq(f.asked + f.listened + f.ended, 0);
	tear_down(&f);

	/* from within: nothing listens afterwards */
	set_up(&f);
	f.cancel_on_listening = true;
	start(&f, "127.0.0.9:21", (struct bind_config){ 0 });
	f.bind = NULL;
	ck_assert_uint_eq(f.listened, 1);
	ck_assert_int_eq(connect_from(&f, "127.0.0.9"), -1);
	turn(&f);
	ck_assert_uint_eq(f.ended, 0);
	tear_down(&f);

	set_up(&f);
	f.cancel_on_stranger = true;
	start(&f, "127.0.0.9:21", (struct bind_config){ 0 });
	fd = connect_from(&f, "127.0.0.8");
	turn(&f);
	f.bind = NULL;
	ck_assert_uint_eq(f.strangers, 1);
	ck_assert_uint_eq(f.ended, 0);
	close(fd);
	tear_down(&f);
	bind_cancel(NULL);
}
END_TEST

START_TEST(test_no_descriptors)
{
	struct fixture f;
	struct rlimit limit;
	struct rlimit low;
	int fd;

	set_up(&f);
	start(&f, "127.0.0.9:21", (struct bind_config){ 0 });
	fd = connect_from(&f, "127.0.0.9");
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	turn(&f);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(f.ended, 1);
	ck_assert_int_eq(f.result.outcome, BIND_LOST);
	ck_assert_int_eq(f.result.reply, SOCKS5_GENERAL_FAILURE);
	ck_assert_int_eq(f.result.fd, -1);
	close(fd);
	tear_down(&f);
}
END_TEST

/* --- names ----------------------------------------------------------------------------------- */

enum {
	TYPE_A = 1,
	NXDOMAIN = 3,
	PATIENCE_MS = 5000,
};

/* A DNS server that says 127.0.0.1 and ::1, or what it is told to. */
struct names {
	struct fake_dns dns;
	struct dns_params params;
	struct resolver *resolver;
	uint8_t rcode;
	bool unspecified; /* 0.0.0.0 and :: */
	bool silent;
};

static void on_query(const struct fake_query *query)
{
	const struct names *names = query->server->arg;
	const uint8_t ipv4[4] = { names->unspecified ? 0 : 127, 0, 0, !names->unspecified };
	const uint8_t ipv6[16] = { [15] = !names->unspecified };
	bool is_a = fake_dns_type(query) == TYPE_A;
	uint8_t buf[1024];
	size_t len = fake_dns_answer(query, names->rcode, buf);

	if (names->rcode == 0) {
		len = fake_dns_add_record(buf, len, fake_dns_type(query), 300, is_a ? ipv4 : ipv6,
					  is_a ? sizeof ipv4 : sizeof ipv6);
	}
	if (!names->silent) {
		fake_dns_send(query, buf, len);
	}
}

static void names_set_up(struct names *names, struct fixture *f)
{
	set_up(f);
	*names = (struct names){ 0 };
	fake_dns_start(&names->dns, f->loop, "127.0.0.1", on_query);
	names->dns.arg = names;
	names->params.servers = (struct addr_list){ .items = &names->dns.addr, .count = 1 };
	names->resolver = resolver_new(f->loop, NULL, &names->params);
	ck_assert_ptr_nonnull(names->resolver);
}

static void names_tear_down(struct names *names, struct fixture *f)
{
	bind_cancel(f->bind);
	f->bind = NULL;
	resolver_free(names->resolver);
	fake_dns_stop(&names->dns);
	tear_down(f);
}

static void start_name(struct names *names, struct fixture *f, const char *client_side, int family)
{
	const struct socks5_target target = { .port = 21, .name = "peer.example" };
	const struct bind_config config = {
		.loop = f->loop,
		.resolver = names->resolver,
		.client_side = parsed(client_side),
		.family = family,
	};

	f->bind = bind_start(&config, &target, &ops, f);
	ck_assert_ptr_nonnull(f->bind);
}

static bool have_ipv6(void)
{
	struct addr a = parsed("[::1]");
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool have;

	addr_set_port(&a, 0);
	have = fd >= 0 && bind(fd, &a.sa, addr_len(&a)) == 0;
	if (fd >= 0) {
		close(fd);
	}
	return have;
}

/* Which family is listened for, of the two that the name has. */
START_TEST(test_name_family)
{
	const struct egress only4 = { .name = "4", .ipv4 = parsed("127.0.0.1") };
	const struct egress only6 = { .name = "6", .ipv6 = parsed("[::1]") };
	const struct {
		const char *client_side;
		int family;
		const char *forbidden;
		const struct egress *egress;
		const char *announced;
		const char *stranger;
	} cases[] = {
		{ "127.0.0.1", AF_UNSPEC, NULL, NULL, "127.0.0.1", "127.0.0.8" },
		{ "[::1]", AF_INET, NULL, NULL, "127.0.0.1", "127.0.0.8" },
		{ "[::1]", AF_UNSPEC, "::1", NULL, "127.0.0.1", "127.0.0.8" },
		{ "[::1]", AF_UNSPEC, NULL, &only4, "127.0.0.1", "127.0.0.8" },
		{ "[::1]", AF_UNSPEC, NULL, NULL, "::1", NULL },
		{ "127.0.0.1", AF_INET6, NULL, NULL, "::1", NULL },
		{ "127.0.0.1", AF_UNSPEC, "127.0.0.1", NULL, "::1", NULL },
		{ "127.0.0.1", AF_UNSPEC, NULL, &only6, "::1", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct names names;
		struct fixture f;
		char text[ADDR_TEXT_MAX];
		int fd;

		if (!cases[i].stranger && !have_ipv6()) {
			continue;
		}
		names_set_up(&names, &f);
		f.forbidden = cases[i].forbidden;
		f.egress = cases[i].egress;
		start_name(&names, &f, cases[i].client_side, cases[i].family);
		ck_assert_msg(run_until(f.loop, &f.listened, 1, PATIENCE_MS), "%zu", i);
		ck_assert_str_eq(addr_format_ip(&f.announced, text, sizeof text),
				 cases[i].announced);
		if (cases[i].stranger) {
			close(connect_from(&f, cases[i].stranger));
			ck_assert(run_until(f.loop, &f.strangers, 1, PATIENCE_MS));
		}
		fd = connect_from(&f, cases[i].stranger ? "127.0.0.1" : "[::1]");
		ck_assert(run_until(f.loop, &f.ended, 1, PATIENCE_MS));
		ck_assert_int_eq(f.result.outcome, BIND_CONNECTED);
		ck_assert_uint_eq(f.listened, 1);
		close(fd);
		names_tear_down(&names, &f);
	}
}
END_TEST

START_TEST(test_name_in_vain)
{
	static const struct {
		uint8_t rcode;
		bool unspecified;
		const char *forbidden;
		enum bind_outcome outcome;
		enum socks5_reply reply;
		const char *why;
	} cases[] = {
		{ NXDOMAIN, false, NULL, BIND_UNRESOLVED, SOCKS5_HOST_UNREACHABLE, "nxdomain" },
		{ 0, true, NULL, BIND_DENIED, SOCKS5_NOT_ALLOWED, "unspecified" },
		{ 0, false, "127.0.0.1", BIND_DENIED, SOCKS5_NOT_ALLOWED, "forbidden" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct names names;
		struct fixture f;

		names_set_up(&names, &f);
		names.rcode = cases[i].rcode;
		names.unspecified = cases[i].unspecified;
		f.forbidden = cases[i].forbidden;
		start_name(&names, &f, "127.0.0.1", AF_INET);
		ck_assert(run_until(f.loop, &f.ended, 1, PATIENCE_MS));
		ck_assert_uint_eq(f.listened, 0);
		ck_assert_int_eq(f.result.outcome, cases[i].outcome);
		ck_assert_int_eq(f.result.reply, cases[i].reply);
		ck_assert_str_eq(f.result.why, cases[i].why);
		names_tear_down(&names, &f);
	}
}
END_TEST

/* Cancelled while DNS is being asked, it never calls back, whatever comes then. */
START_TEST(test_name_cancelled)
{
	struct names names;
	struct fixture f;

	names_set_up(&names, &f);
	names.silent = true;
	start_name(&names, &f, "127.0.0.1", AF_UNSPEC);
	ck_assert(run_until(f.loop, &names.dns.udp_count, 2, PATIENCE_MS));
	bind_cancel(f.bind);
	f.bind = NULL;
	run_for(f.loop, 50);
	names_tear_down(&names, &f);
	ck_assert_uint_eq(f.asked + f.listened + f.ended, 0);
}
END_TEST

START_TEST(test_outcome_names)
{
	ck_assert_str_eq(bind_outcome_name(BIND_CONNECTED), "connected");
	ck_assert_str_eq(bind_outcome_name(BIND_LOST), "lost");
}
END_TEST

SUITE_MAIN("bind", test_peer, test_strangers, test_anybody, test_anybody_is_told_an_address,
	   test_denied, test_public_address, test_port_range, test_port_again, test_egress,
	   test_cancel, test_no_descriptors, test_name_family, test_name_in_vain,
	   test_name_cancelled, test_outcome_names)
