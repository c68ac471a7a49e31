/* SPDX-License-Identifier: ISC */
#include "common/dns/ares_io.h"
#include "common/container.h"

#include "tests/unit/common/ares_bench.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* "192.0.2.1=300" */
static const char *address_text(const struct ares_io_address *address)
{
	static char text[ADDR_TEXT_MAX + 16];
	char ip[ADDR_TEXT_MAX];

	ck_assert_uint_eq(addr_port(&address->addr), 0);
	snprintf(text, sizeof text, "%s=%u", addr_format_ip(&address->addr, ip, sizeof ip),
		 address->ttl_s);
	return text;
}

static bool outcome_has(const struct outcome *outcome, const char *text)
{
	for (size_t i = 0; i < outcome->count; i++) {
		if (strcmp(address_text(&outcome->addresses[i]), text) == 0) {
			return true;
		}
	}
	return false;
}

/* What the server of a case does with one type of query. */
enum behaviour {
	GIVE,
	GIVE_NOTHING,
	GIVE_MAPPED,
	GIVE_MANY,
	GARBLED,
	SILENT,
	RCODE_BASE = 100
};

static enum behaviour reply_a;
static enum behaviour reply_aaaa;

static void reply_address(const struct fake_query *query)
{
	static const uint8_t ipv4[4] = { 192, 0, 2, 1 };
	static const uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };
	enum behaviour behaviour = fake_dns_type(query) == TYPE_A ? reply_a : reply_aaaa;
	uint8_t buf[2048];
	size_t len = fake_dns_answer(
		query, behaviour >= RCODE_BASE ? (uint8_t)(behaviour - RCODE_BASE) : 0, buf);
	uint16_t type = fake_dns_type(query);

	switch (behaviour) {
	case SILENT:
		return;
	case GIVE:
		len = fake_dns_add_record(buf, len, type, 300, type == TYPE_A ? ipv4 : ipv6,
					  type == TYPE_A ? 4 : 16);
		break;
	case GIVE_MAPPED:
		len = fake_dns_add_record(buf, len, type, 0x80000001u, mapped, 16);
		break;
	case GIVE_MANY:
		for (uint8_t i = 0; i < 24; i++) {
			const uint8_t one[4] = { 192, 0, 2, i };

			len = fake_dns_add_record(buf, len, type, 5, type == TYPE_A ? one : ipv6,
						  type == TYPE_A ? 4 : 16);
		}
		break;
	case GARBLED:
		buf[7] = 1; /* an answer that is not there */
		break;
	default:
		break;
	}
	if (len > 512 && !query->conn) {
		len = fake_dns_answer(query, 0, buf);
		buf[2] |= FLAG_TC;
	}
	fake_dns_send(query, buf, len);
}

static const struct {
	int family;
	enum behaviour a;
	enum behaviour aaaa;
	enum ares_io_status status;
	const char *addresses[3];
	unsigned queries; /* exactly so many */
} lookup_cases[] = {
	{ AF_INET, GIVE, GIVE, ARES_IO_OK, { "192.0.2.1=300" }, 1 },
	{ AF_INET6, GIVE, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 1 },
	{ AF_UNSPEC, GIVE, GIVE, ARES_IO_OK, { "192.0.2.1=300", "2001:db8::1=300" }, 2 },
	{ AF_UNSPEC, GIVE, GIVE_NOTHING, ARES_IO_OK, { "192.0.2.1=300" }, 2 },
	{ AF_UNSPEC, GIVE_NOTHING, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 2 },
	{ AF_UNSPEC, GIVE, RCODE_BASE + SERVFAIL, ARES_IO_OK, { "192.0.2.1=300" }, 2 },
	{ AF_UNSPEC, RCODE_BASE + SERVFAIL, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 2 },
	{ AF_UNSPEC, GIVE, SILENT, ARES_IO_OK, { "192.0.2.1=300" }, 2 },
	{ AF_UNSPEC, SILENT, GIVE, ARES_IO_OK, { "2001:db8::1=300" }, 2 },
	{ AF_INET6, GIVE, GIVE_MAPPED, ARES_IO_OK, { "192.0.2.7=0" }, 1 },
	{ AF_UNSPEC, RCODE_BASE + NXDOMAIN, RCODE_BASE + NXDOMAIN, ARES_IO_NO_NAME, { NULL }, 2 },
	{ AF_INET, GIVE_NOTHING, GIVE, ARES_IO_NO_DATA, { NULL }, 1 },
	{ AF_UNSPEC, GIVE_NOTHING, GIVE_NOTHING, ARES_IO_NO_DATA, { NULL }, 2 },
	{ AF_UNSPEC, GIVE_NOTHING, RCODE_BASE + SERVFAIL, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_UNSPEC, RCODE_BASE + SERVFAIL, GIVE_NOTHING, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_UNSPEC, RCODE_BASE + REFUSED, RCODE_BASE + REFUSED, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_UNSPEC, RCODE_BASE + FORMERR, RCODE_BASE + NOTIMP, ARES_IO_SERVFAIL, { NULL }, 2 },
	{ AF_INET, GARBLED, GIVE, ARES_IO_SERVFAIL, { NULL }, 1 },
	{ AF_UNSPEC, SILENT, GIVE_NOTHING, ARES_IO_TIMEOUT, { NULL }, 2 },
	{ AF_UNSPEC, GIVE_NOTHING, SILENT, ARES_IO_TIMEOUT, { NULL }, 2 },
};

START_TEST(test_lookup)
{
	for (size_t i = 0; i < ARRAY_SIZE(lookup_cases); i++) {
		struct bench *bench =
			bench_start(reply_address, (struct ares_io_config){ .timeout_ms = 150 });
		struct outcome outcome;
		size_t count = 0;

		reply_a = lookup_cases[i].a;
		reply_aaaa = lookup_cases[i].aaaa;
		bench_lookup(bench, &outcome, "www.example", lookup_cases[i].family);
		ck_assert_uint_eq(ares_io_open_count(bench->io), 1);
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 2000));
		ck_assert_msg(outcome.status == lookup_cases[i].status, "case %zu: %s", i,
			      ares_io_status_text(outcome.status));
		for (; lookup_cases[i].addresses[count]; count++) {
			ck_assert_msg(outcome_has(&outcome, lookup_cases[i].addresses[count]),
				      "case %zu: no %s", i, lookup_cases[i].addresses[count]);
		}
		ck_assert_uint_eq(outcome.count, count);
		ck_assert_msg(bench->servers[0].udp_count == lookup_cases[i].queries,
			      "case %zu: %u queries", i, bench->servers[0].udp_count);
		ck_assert_uint_eq(ares_io_open_count(bench->io), 0);
		bench_stop(bench);
	}
}
END_TEST

/* c-ares 1.18 combines the families so that one garbled answer spoils both, hence they are asked
 * for one by one. From 1.28 on it hangs up on a server that sends such things, which may cost the
 * other answer. */
START_TEST(test_lookup_with_one_answer_garbled)
{
	for (unsigned a_garbled = 0; a_garbled <= 1; a_garbled++) {
		struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });
		struct outcome outcome;

		reply_a = a_garbled ? GARBLED : GIVE;
		reply_aaaa = a_garbled ? GIVE : GARBLED;
		bench_lookup(bench, &outcome, "www.example", AF_UNSPEC);
		ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
		if (outcome.status == ARES_IO_OK) {
			ck_assert(outcome_has(&outcome,
					      a_garbled ? "2001:db8::1=300" : "192.0.2.1=300"));
			ck_assert_uint_eq(outcome.count, 1);
		} else {
			ck_assert_int_eq(outcome.status, ARES_IO_SERVFAIL);
		}
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_lookup_returns_so_many_addresses)
{
	struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });
	struct outcome outcome;

	reply_a = GIVE_MANY;
	reply_aaaa = GIVE_MANY;
	bench_lookup(bench, &outcome, "www.example", AF_UNSPEC);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_uint_eq(outcome.count, ARES_IO_ADDRESSES_MAX);
	ck_assert_uint_gt(bench->servers[0].tcp_count, 0); /* the datagram was truncated */
	bench_stop(bench);
}
END_TEST

/* www.example -> x.example with 20 s, x.example A with 300 s */
static void reply_cname(const struct fake_query *query)
{
	static const uint8_t target[] = "\1x\7example";
	static const uint8_t address[] = "\1x\7example\0\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1";
	uint8_t buf[512];
	size_t len = fake_dns_answer(query, 0, buf);

	len = fake_dns_add_record(buf, len, TYPE_CNAME, 20, target, sizeof target);
	memcpy(buf + len, address, sizeof address - 1);
	buf[7]++;
	fake_dns_send(query, buf, len + sizeof address - 1);
}

START_TEST(test_lookup_follows_cname_with_its_ttl)
{
	struct bench *bench = bench_start(reply_cname, (struct ares_io_config){ 0 });
	struct outcome outcome;

	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert_uint_eq(outcome.count, 1);
	ck_assert(outcome_has(&outcome, "192.0.2.1=20"));
	bench_stop(bench);
}
END_TEST

static void first_fails_second_gives(const struct fake_query *query)
{
	struct bench *bench = query->server->arg;

	if (query->server == &bench->servers[0]) {
		fake_dns_reply(query, SERVFAIL);
	} else {
		reply_address(query);
	}
}

START_TEST(test_lookup_asks_the_next_server_after_servfail)
{
	struct bench *bench =
		bench_start(first_fails_second_gives, (struct ares_io_config){ .server_count = 2 });
	struct outcome outcome;

	reply_a = GIVE;
	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	ck_assert_uint_eq(bench->servers[1].udp_count, 1);
	bench_stop(bench);
}
END_TEST

START_TEST(test_lookup_asks_the_next_server_after_an_icmp_error)
{
	struct bench *bench = bench_new(reply_address);
	struct outcome outcome;

	close(bench->servers[0].udp_fd);
	bench->servers[0].udp_fd = -1;
	bench->servers[0].udp_watch.loop = NULL;
	bench_open(bench, (struct ares_io_config){ .server_count = 2 });
	reply_a = GIVE;
	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	bench_stop(bench);
}
END_TEST

static void first_is_silent(const struct fake_query *query)
{
	struct bench *bench = query->server->arg;

	if (query->server != &bench->servers[0]) {
		reply_address(query);
	}
}

START_TEST(test_lookup_asks_the_next_server_after_silence)
{
	struct bench *bench = bench_start(
		first_is_silent, (struct ares_io_config){ .server_count = 2, .timeout_ms = 100 });
	struct outcome outcome;

	reply_a = GIVE;
	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 1000));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	bench_stop(bench);
}
END_TEST

static void always_servfail(const struct fake_query *query)
{
	fake_dns_reply(query, SERVFAIL);
}

START_TEST(test_lookup_that_fails_everywhere)
{
	struct bench *bench = bench_start(always_servfail,
					  (struct ares_io_config){ .server_count = 2, .tries = 3 });
	struct outcome outcome;

	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert_int_eq(outcome.status, ARES_IO_SERVFAIL);
	ck_assert_uint_le(bench->servers[0].udp_count, 3);
	ck_assert_uint_le(bench->servers[1].udp_count, 3);
	bench_stop(bench);
}
END_TEST

/* c-ares by itself asks its only server again at once, as often as `tries` says. */
START_TEST(test_lookup_asks_an_only_server_once_that_fails)
{
	struct bench *bench = bench_start(always_servfail, (struct ares_io_config){ .tries = 3 });
	struct outcome outcome;

	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert_int_eq(outcome.status, ARES_IO_SERVFAIL);
	ck_assert_uint_eq(bench->servers[0].udp_count, 1);
	bench_stop(bench);
}
END_TEST

START_TEST(test_lookup_with_no_server_there)
{
	struct bench *bench = bench_new(NULL);
	struct outcome outcome;

	for (unsigned i = 0; i < BENCH_SERVERS; i++) {
		close(bench->servers[i].udp_fd);
		bench->servers[i].udp_fd = -1;
		bench->servers[i].udp_watch.loop = NULL;
	}
	for (size_t server_count = 1; server_count <= BENCH_SERVERS; server_count++) {
		bench_open(bench, (struct ares_io_config){ .server_count = server_count });
		bench_lookup(bench, &outcome, "www.example", AF_INET);
		ck_assert(
			run_until(bench->loop, &bench->answer_count, (unsigned)server_count, 500));
		ck_assert_int_eq(outcome.status, ARES_IO_UNREACHABLE);
		ares_io_free(bench->io);
		bench->io = NULL;
	}
	bench_stop(bench);
}
END_TEST

START_TEST(test_lookup_tries_again_after_silence)
{
	struct bench *bench =
		bench_start(NULL, (struct ares_io_config){ .timeout_ms = 60, .tries = 3 });
	struct outcome outcome;

	bench_lookup(bench, &outcome, "www.example", AF_INET);
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 3000));
	ck_assert_int_eq(outcome.status, ARES_IO_TIMEOUT);
	ck_assert_uint_eq(bench->servers[0].udp_count, 3);
	bench_stop(bench);
}
END_TEST

/* The last name of a line, but for localhost, which is not looked for there. False: it has none. */
static bool parse_hosts_line(char *line, struct addr *ret_addr, char **ret_name)
{
	char *save = NULL;
	char *word = strtok_r(line, " \t\r\n", &save);

	if (!word || addr_parse_ip(word, ret_addr) < 0 || strchr(word, '%')) {
		return false;
	}
	*ret_name = NULL;
	while ((word = strtok_r(NULL, " \t\r\n", &save)) && word[0] != '#') {
		if (strcasecmp(word, "localhost") != 0) {
			*ret_name = word;
		}
	}
	return *ret_name != NULL;
}

START_TEST(test_lookup_in_the_hosts_file)
{
	struct bench *bench =
		bench_start(reply_address, (struct ares_io_config){ .hosts_file = true });
	FILE *file = fopen("/etc/hosts", "re");
	struct outcome outcome;
	char line[1024];

	while (file && fgets(line, sizeof line, file)) {
		struct ares_io_address expected = { 0 };
		char *name;

		if (!parse_hosts_line(line, &expected.addr, &name)) {
			continue;
		}
		bench_lookup(bench, &outcome, name, expected.addr.sa.sa_family);
		ck_assert_uint_eq(outcome.calls, 1);
		ck_assert_msg(outcome_has(&outcome, address_text(&expected)), "%s", name);
	}
	if (file) {
		fclose(file);
	}
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	reply_a = GIVE;
	bench->answer_count = 0;
	bench_lookup(bench, &outcome, "www.example", AF_INET); /* not in the file */
	ck_assert(run_until(bench->loop, &bench->answer_count, 1, 500));
	ck_assert(outcome_has(&outcome, "192.0.2.1=300"));
	bench_stop(bench);
}
END_TEST

static const struct {
	int family;
	const char *addresses[3]; /* in this order */
} localhost_cases[] = {
	{ AF_INET, { "127.0.0.1=0" } },
	{ AF_INET6, { "::1=0" } },
	{ AF_UNSPEC, { "::1=0", "127.0.0.1=0" } },
};

/* Whatever the hosts file has, so that neither c-ares nor a server has to be asked. */
START_TEST(test_localhost_is_this_host)
{
	static const char *const names[] = { "localhost", "localhost.", "LOCALHOST", "LocalHost." };

	for (size_t i = 0; i < ARRAY_SIZE(names) * 2; i++) {
		struct bench *bench = bench_start(
			reply_address, (struct ares_io_config){ .hosts_file = i % 2 == 1 });

		for (size_t k = 0; k < ARRAY_SIZE(localhost_cases); k++) {
			const char *const *expected = localhost_cases[k].addresses;
			struct outcome outcome;
			size_t count = 0;

			bench_lookup(bench, &outcome, names[i / 2], localhost_cases[k].family);
			ck_assert_uint_eq(outcome.calls, 1);
			ck_assert_int_eq(outcome.status, ARES_IO_OK);
			for (; expected[count]; count++) {
				ck_assert_uint_lt(count, outcome.count);
				ck_assert_str_eq(address_text(&outcome.addresses[count]),
						 expected[count]);
			}
			ck_assert_uint_eq(outcome.count, count);
		}
		ck_assert_uint_eq(ares_io_open_count(bench->io), 0);
		ck_assert_uint_eq(bench->servers[0].udp_count, 0);
		bench_stop(bench);
	}
}
END_TEST

START_TEST(test_names_like_localhost_are_asked_for)
{
	static const char *const names[] = { "localhost.example", "localhosts", "xlocalhost",
					     "localhos" };
	struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });

	reply_a = GIVE;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct outcome outcome;

		bench_lookup(bench, &outcome, names[i], AF_INET);
		ck_assert(run_until(bench->loop, &bench->answer_count, i + 1, 500));
		ck_assert_msg(outcome_has(&outcome, "192.0.2.1=300"), "%s", names[i]);
	}
	ck_assert_uint_eq(bench->servers[0].udp_count, ARRAY_SIZE(names));
	bench_stop(bench);
}
END_TEST

/* The same rules as for every lookup that ends at once. */
START_TEST(test_free_within_the_callback_of_localhost)
{
	struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });
	struct outcome outcome;

	bench->free_in_callback = true;
	bench_lookup(bench, &outcome, "localhost", AF_UNSPEC);
	ck_assert_uint_eq(outcome.calls, 1);
	ck_assert_uint_eq(outcome.count, 2);
	ck_assert_ptr_null(bench->io);
	bench_stop(bench);
}
END_TEST

START_TEST(test_lookup_of_a_name_that_cannot_be)
{
	static const char *const names[] = { "a..example", "", "x.onion" };
	struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });
	char longest[400];

	for (size_t i = 0; i <= ARRAY_SIZE(names); i++) {
		struct outcome outcome;

		memset(longest, 'x', sizeof longest - 1);
		longest[sizeof longest - 1] = '\0';
		reply_a = RCODE_BASE + NXDOMAIN; /* the root may be asked for */
		bench_lookup(bench, &outcome, i < ARRAY_SIZE(names) ? names[i] : longest, AF_INET);
		ck_assert(run_until(bench->loop, &bench->answer_count, (unsigned)i + 1, 500));
		ck_assert_msg(outcome.status == ARES_IO_NO_NAME, "case %zu: %s", i,
			      ares_io_status_text(outcome.status));
	}
	bench_stop(bench);
}
END_TEST

START_TEST(test_lookup_of_numbers_is_no_address)
{
	static const char *const names[] = { "127.0.0.01", "0177.0.0.1", "127.0.0.1" };
	struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });

	reply_a = GIVE;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct outcome outcome;

		bench_lookup(bench, &outcome, names[i], AF_INET);
		ck_assert_uint_eq(bench->answer_count, i + 1);
		ck_assert_int_eq(outcome.status, ARES_IO_NO_NAME);
	}
	ck_assert_uint_eq(bench->servers[0].udp_count, 0);
	bench_stop(bench);
}
END_TEST

START_TEST(test_free_within_a_lookup_callback)
{
	struct bench *bench = bench_start(reply_address, (struct ares_io_config){ 0 });
	struct outcome outcomes[5];

	reply_a = GIVE;
	reply_aaaa = GIVE;
	bench->free_in_callback = true;
	for (unsigned i = 0; i < 5; i++) {
		bench_lookup(bench, &outcomes[i], "www.example", AF_UNSPEC);
	}
	ck_assert(run_until(bench->loop, &bench->answer_count, 5, 1000));
	ck_assert_uint_eq(bench->status_count[ARES_IO_OK], 1);
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 4);
	bench_stop(bench);
}
END_TEST

START_TEST(test_free_with_open_lookups)
{
	struct bench *bench = bench_start(NULL, (struct ares_io_config){ 0 });
	struct outcome outcomes[5];

	for (unsigned i = 0; i < 5; i++) {
		bench_lookup(bench, &outcomes[i], "www.example", AF_UNSPEC);
	}
	run_for(bench->loop, 20);
	ares_io_free(bench->io);
	bench->io = NULL;
	ck_assert_uint_eq(bench->status_count[ARES_IO_CANCELLED], 5);
	bench_stop(bench);
}
END_TEST

SUITE_MAIN("ares_io_lookup", test_lookup, test_lookup_with_one_answer_garbled,
	   test_lookup_returns_so_many_addresses, test_lookup_follows_cname_with_its_ttl,
	   test_lookup_asks_the_next_server_after_servfail,
	   test_lookup_asks_the_next_server_after_an_icmp_error,
	   test_lookup_asks_the_next_server_after_silence, test_lookup_that_fails_everywhere,
	   test_lookup_asks_an_only_server_once_that_fails, test_lookup_with_no_server_there,
	   test_lookup_tries_again_after_silence, test_lookup_in_the_hosts_file,
	   test_localhost_is_this_host, test_names_like_localhost_are_asked_for,
	   test_free_within_the_callback_of_localhost, test_lookup_of_a_name_that_cannot_be,
	   test_lookup_of_numbers_is_no_address, test_free_within_a_lookup_callback,
	   test_free_with_open_lookups)
