/* SPDX-License-Identifier: ISC */
#include "common/clock.h"
#include "common/container.h"
#include "socksd/target/dial.h"
#include "socksd/relay/relay.h"

#include "tests/unit/common/fake_dns.h"
#include "tests/unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	TYPE_A = 1,
	TYPE_AAAA = 28,
	NXDOMAIN = 3,
	PATIENCE_MS = 5000,
};

/* Where to connect to: a port on both loopback addresses. */
struct place {
	int fd; /* -1: nobody listens */
	int fillers[3];
};

struct fixture {
	struct loop *loop;
	struct fake_dns dns;
	struct addr_list servers;
	struct dns_params params;
	struct resolver *resolver;
	struct dial_config config;
	struct place ipv6;
	struct place ipv4;
	uint16_t port;
	/* what the DNS server says */
	uint8_t rcode;
	bool hold_aaaa;
	uint8_t held[512];
	struct fake_query held_query; /* bytes: NULL when none */
	/* what is allowed, and what was asked */
	int deny_family;
	const struct egress *egress;
	unsigned asked;
	unsigned egress_failures;
	/* what came of it */
	unsigned done;
	struct dial_result result;
};

/* --- places ---------------------------------------------------------------------------------- */

static struct addr loopback(int family, uint16_t port)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(family == AF_INET ? "127.0.0.1" : "[::1]", 1, &a), 0);
	addr_set_port(&a, port);
	return a;
}

static struct place place_open(int family, uint16_t *port, int backlog)
{
	struct addr a = loopback(family, *port);
	socklen_t len = sizeof a;
	struct place place = { .fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0),
			       .fillers = { -1, -1, -1 } };

	ck_assert_int_eq(bind(place.fd, &a.sa, addr_len(&a)), 0);
	ck_assert_int_eq(listen(place.fd, backlog), 0);
	ck_assert_int_eq(getsockname(place.fd, &a.sa, &len), 0);
	*port = addr_port(&a);
	return place;
}

/* From now on connections to it hang: the kernel drops SYNs that there is no room for. */
static void place_fill(struct place *place)
{
	struct addr a = { 0 };
	socklen_t len = sizeof a;

	ck_assert_int_eq(listen(place->fd, 0), 0);
	ck_assert_int_eq(getsockname(place->fd, &a.sa, &len), 0);
	for (size_t i = 0; i < ARRAY_SIZE(place->fillers); i++) {
		place->fillers[i] = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(place->fillers[i], &a.sa, addr_len(&a));
	}
}

static void place_close(struct place *place)
{
	for (size_t i = 0; i < ARRAY_SIZE(place->fillers); i++) {
		if (place->fillers[i] >= 0) {
			close(place->fillers[i]);
		}
	}
	if (place->fd >= 0) {
		close(place->fd);
	}
	place->fd = -1;
}

/* --- DNS ------------------------------------------------------------------------------------- */

static void reply(const struct fake_query *query, uint8_t rcode)
{
	static const uint8_t ipv4[4] = { 127, 0, 0, 1 };
	static const uint8_t ipv6[16] = { [15] = 1 };
	uint16_t type = fake_dns_type(query);
	uint8_t buf[1024];
	size_t len = fake_dns_answer(query, rcode, buf);

	if (rcode == 0) {
		len = fake_dns_add_record(buf, len, type, 300, type == TYPE_A ? ipv4 : ipv6,
					  type == TYPE_A ? 4 : 16);
	}
	fake_dns_send(query, buf, len);
}

static void on_query(const struct fake_query *query)
{
	struct fixture *f = query->server->arg;

	if (f->hold_aaaa && fake_dns_type(query) == TYPE_AAAA) {
		ck_assert_uint_le(query->len, sizeof f->held);
		memcpy(f->held, query->bytes, query->len);
		f->held_query = *query;
		f->held_query.bytes = f->held;
		return;
	}
	reply(query, f->rcode);
}

/* --- the dial -------------------------------------------------------------------------------- */

static bool is_allowed(void *arg, const struct addr *a, const struct egress **ret_egress,
		       const char **ret_why)
{
	struct fixture *f = arg;

	f->asked++;
	ck_assert_uint_eq(addr_port(a), f->port);
	*ret_egress = f->egress;
	*ret_why = "because";
	return a->sa.sa_family != f->deny_family;
}

static void on_egress_failed(void *arg, const struct egress *egress, int error)
{
	struct fixture *f = arg;

	ck_assert_ptr_eq(egress, f->egress);
	ck_assert_int_gt(error, 0);
	f->egress_failures++;
}

/* The watch is not taken over, so the connection is closed again. */
static void on_done(void *arg, const struct dial_result *result)
{
	struct fixture *f = arg;

	f->done++;
	f->result = *result;
	f->result.watch = NULL;
	ck_assert_int_eq(result->watch != NULL, result->reply == SOCKS5_SUCCEEDED);
}

static void set_up(struct fixture *f)
{
	memset(f, 0, sizeof *f);
	f->ipv6 = (struct place){ .fd = -1, .fillers = { -1, -1, -1 } };
	f->loop = loop_new();
	fake_dns_start(&f->dns, f->loop, "127.0.0.1", on_query);
	f->dns.arg = f;
	f->servers = (struct addr_list){ .items = &f->dns.addr, .count = 1 };
	f->params = (struct dns_params){ .servers = f->servers, .cache_names = 16 };
	f->resolver = resolver_new(f->loop, NULL, &f->params);
	ck_assert_ptr_nonnull(f->resolver);
	f->ipv4 = place_open(AF_INET, &f->port, 16);
	f->config = (struct dial_config){ .loop = f->loop,
					  .resolver = f->resolver,
					  .allowed = is_allowed,
					  .egress_failed = on_egress_failed };
}

/* The same with somebody at [::1]; false without IPv6. */
static bool set_up_both(struct fixture *f)
{
	struct addr a = loopback(AF_INET6, 0);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool have = fd >= 0 && bind(fd, &a.sa, addr_len(&a)) == 0;

	if (fd >= 0) {
		close(fd);
	}
	if (have) {
		set_up(f);
		f->ipv6 = place_open(AF_INET6, &f->port, 16);
	}
	return have;
}

static void tear_down(struct fixture *f)
{
	place_close(&f->ipv6);
	place_close(&f->ipv4);
	resolver_free(f->resolver);
	fake_dns_stop(&f->dns);
	loop_turn(f->loop, 0);
	loop_free(f->loop);
}

static struct dial *start_name(struct fixture *f)
{
	struct socks5_target target = { .port = f->port, .name = "target.example" };

	return dial_start(&f->config, &target, on_done, f);
}

static struct dial *start_address(struct fixture *f, int family)
{
	struct socks5_target target = { .port = f->port, .addr = loopback(family, 0) };

	return dial_start(&f->config, &target, on_done, f);
}

/* Wait for the result. How long it took. */
static uint64_t finish(struct fixture *f, enum socks5_reply wanted, const char *why)
{
	uint64_t began_ms = clock_mono_ms();

	ck_assert_uint_eq(f->done, 0);
	ck_assert(run_until(f->loop, &f->done, 1, PATIENCE_MS));
	ck_assert_int_eq(f->result.reply, wanted);
	ck_assert_str_eq(f->result.why, why);
	run_for(f->loop, 20);
	ck_assert_uint_eq(f->done, 1);
	return clock_mono_ms() - began_ms;
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir)) {
		count++;
	}
	closedir(dir);
	return count;
}

static bool was_connected(const struct place *place)
{
	int fd = accept(place->fd, NULL, NULL);

	if (fd >= 0) {
		close(fd);
	}
	return fd >= 0;
}

/* --- addresses ------------------------------------------------------------------------------- */

START_TEST(test_an_address_is_connected_to)
{
	struct addr wanted;
	struct fixture f;
	unsigned before;

	set_up(&f);
	before = open_descriptors();
	wanted = loopback(AF_INET, f.port);
	ck_assert_ptr_nonnull(start_address(&f, AF_INET));
	finish(&f, SOCKS5_SUCCEEDED, "connected");
	ck_assert(addr_equal(&f.result.remote, &wanted));
	ck_assert_int_eq(f.result.local.sa.sa_family, AF_INET);
	ck_assert_uint_ne(addr_port(&f.result.local), 0);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert_uint_eq(f.dns.udp_count, 0);
	ck_assert(was_connected(&f.ipv4));
	ck_assert_uint_eq(open_descriptors(), before);
	tear_down(&f);
}
END_TEST

START_TEST(test_failures_say_why)
{
	const struct egress broken = { .name = "broken", .interface = "none0" };
	const struct egress other = { .name = "other", .ipv6 = loopback(AF_INET6, 0) };
	struct fixture f;

	set_up(&f);
	f.deny_family = AF_INET;
	start_address(&f, AF_INET);
	finish(&f, SOCKS5_NOT_ALLOWED, "because");
	ck_assert(!was_connected(&f.ipv4));

	f.done = 0;
	f.deny_family = 0;
	f.egress = &broken;
	start_address(&f, AF_INET);
	finish(&f, SOCKS5_GENERAL_FAILURE, "egress_failed");
	ck_assert_uint_eq(f.egress_failures, 1);

	f.done = 0;
	f.egress = &other;
	start_address(&f, AF_INET);
	finish(&f, SOCKS5_NETWORK_UNREACHABLE, "no_egress_address");
	ck_assert_uint_eq(f.egress_failures, 1);
	ck_assert(!was_connected(&f.ipv4));

	f.done = 0;
	f.egress = NULL;
	place_close(&f.ipv4);
	start_address(&f, AF_INET);
	finish(&f, SOCKS5_CONNECTION_REFUSED, socks5_reply_name(SOCKS5_CONNECTION_REFUSED));
	tear_down(&f);
}
END_TEST

START_TEST(test_a_cancelled_dial_is_silent)
{
	struct fixture f;
	struct dial *dial;
	unsigned before;

	set_up(&f);
	place_fill(&f.ipv4);
	before = open_descriptors();
	/* Before it begins; while it connects; while it resolves. */
	dial_cancel(start_address(&f, AF_INET));
	dial = start_address(&f, AF_INET);
	run_for(f.loop, 20);
	ck_assert_uint_eq(open_descriptors(), before + 1);
	dial_cancel(dial);
	f.hold_aaaa = true;
	f.config.family = AF_INET6;
	dial = start_name(&f);
	run_for(f.loop, 20);
	ck_assert_ptr_nonnull(f.held_query.bytes);
	dial_cancel(dial);
	reply(&f.held_query, 0);
	run_for(f.loop, 50);
	ck_assert_uint_eq(f.done, 0);
	ck_assert_uint_eq(open_descriptors(), before);
	tear_down(&f);
}
END_TEST

/* --- names ----------------------------------------------------------------------------------- */

START_TEST(test_a_name_is_connected_to_by_ipv6_first)
{
	struct fixture f;

	if (!set_up_both(&f)) {
		return;
	}
	start_name(&f);
	finish(&f, SOCKS5_SUCCEEDED, "connected");
	ck_assert_int_eq(f.result.remote.sa.sa_family, AF_INET6);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert(was_connected(&f.ipv6));
	ck_assert(!was_connected(&f.ipv4));
	/* From the cache, and one family only. */
	for (int i = 0; i < 2; i++) {
		const int family = i == 0 ? AF_INET6 : AF_INET;

		f.done = 0;
		f.config.family = family;
		start_name(&f);
		finish(&f, SOCKS5_SUCCEEDED, "connected");
		ck_assert_int_eq(f.result.remote.sa.sa_family, family);
	}
	ck_assert_uint_eq(f.dns.udp_count, 2);
	tear_down(&f);
}
END_TEST

START_TEST(test_a_family_that_hangs_costs_a_quarter_second)
{
	struct fixture f;
	uint64_t took_ms;

	if (!set_up_both(&f)) {
		return;
	}
	place_fill(&f.ipv6);
	start_name(&f);
	took_ms = finish(&f, SOCKS5_SUCCEEDED, "connected");
	ck_assert_int_eq(f.result.remote.sa.sa_family, AF_INET);
	ck_assert_uint_ge(took_ms, 240);
	ck_assert_uint_lt(took_ms, 1000);
	tear_down(&f);
}
END_TEST

START_TEST(test_a_family_that_refuses_costs_nothing)
{
	struct fixture f;

	if (!set_up_both(&f)) {
		return;
	}
	place_close(&f.ipv6);
	start_name(&f);
	ck_assert_uint_lt(finish(&f, SOCKS5_SUCCEEDED, "connected"), 240);
	ck_assert_int_eq(f.result.remote.sa.sa_family, AF_INET);
	/* Nor does one that is denied. */
	f.done = 0;
	f.deny_family = AF_INET6;
	start_name(&f);
	ck_assert_uint_lt(finish(&f, SOCKS5_SUCCEEDED, "connected"), 240);
	ck_assert_uint_eq(f.asked, 4);
	/* The more telling failure is reported. */
	f.done = 0;
	place_close(&f.ipv4);
	start_name(&f);
	finish(&f, SOCKS5_CONNECTION_REFUSED, socks5_reply_name(SOCKS5_CONNECTION_REFUSED));
	tear_down(&f);
}
END_TEST

START_TEST(test_an_address_that_comes_late_is_tried_while_another_hangs)
{
	struct fixture f;

	if (!set_up_both(&f)) {
		return;
	}
	place_fill(&f.ipv4);
	f.hold_aaaa = true;
	start_name(&f);
	run_for(f.loop, 500);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert_ptr_nonnull(f.held_query.bytes);
	reply(&f.held_query, 0);
	ck_assert_uint_lt(finish(&f, SOCKS5_SUCCEEDED, "connected"), 240);
	ck_assert_int_eq(f.result.remote.sa.sa_family, AF_INET6);
	tear_down(&f);
}
END_TEST

START_TEST(test_a_slow_answer_is_not_waited_for)
{
	struct fixture f;
	uint64_t took_ms;

	set_up(&f);
	f.hold_aaaa = true;
	start_name(&f);
	took_ms = finish(&f, SOCKS5_SUCCEEDED, "connected");
	ck_assert_int_eq(f.result.remote.sa.sa_family, AF_INET);
	ck_assert_uint_ge(took_ms, 45);
	ck_assert_uint_lt(took_ms, 240);
	tear_down(&f);
}
END_TEST

START_TEST(test_a_name_that_does_not_exist)
{
	struct fixture f;

	set_up(&f);
	f.rcode = NXDOMAIN;
	start_name(&f);
	finish(&f, SOCKS5_HOST_UNREACHABLE, ares_io_status_text(ARES_IO_NO_NAME));
	ck_assert_uint_eq(f.asked, 0);
	tear_down(&f);
}
END_TEST

SUITE_MAIN("dial", test_an_address_is_connected_to, test_failures_say_why,
	   test_a_cancelled_dial_is_silent, test_a_name_is_connected_to_by_ipv6_first,
	   test_a_family_that_hangs_costs_a_quarter_second,
	   test_a_family_that_refuses_costs_nothing,
	   test_an_address_that_comes_late_is_tried_while_another_hangs,
	   test_a_slow_answer_is_not_waited_for, test_a_name_that_does_not_exist)
