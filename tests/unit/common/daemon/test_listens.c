/* SPDX-License-Identifier: ISC */
#include "common/daemon/listens.h"

#include "tests/unit/suite.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LISTEN_PARAMS(P, PC) P(ADDRS, addresses, "address", NULL, 53, 0, RELOAD, "Addresses.")
PARAM_DECLARE(listen_params, LISTEN_PARAMS);

#define PARAM_STRUCT struct listen_params
static const struct param_row rows[] = PARAM_ROWS(LISTEN_PARAMS);
#undef PARAM_STRUCT

static const struct section_row sections[] = {
	SECTION_ROW_NAMED("listen", struct listen_params, rows, NULL, "Where."),
};
static const struct params_schema schema = { sections, 1 };

/* What the text says; *ret_params to be freed after it. */
static int load(const char *text, struct listens *listens, unsigned kinds,
		struct params **ret_params, struct ini_error *reterr)
{
	*ret_params = params_new(&schema);
	ck_assert_ptr_nonnull(*ret_params);
	ck_assert_int_eq(params_read_bytes(*ret_params, "t", text, strlen(text), reterr), 0);
	ck_assert_int_eq(params_finish(*ret_params, reterr), 0);
	return listens_load(listens, *ret_params, offsetof(struct listen_params, addresses), kinds,
			    reterr);
}

static struct addr addr_of(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(text, 53, &a), 0);
	return a;
}

START_TEST(test_faults)
{
	static const struct {
		const char *text;
		const char *error; /* beginning */
	} table[] = {
		{ "[listen a]\n", "t:1: [listen a] has no address" },
		{ "[listen a]\naddress = ::1, ::1\n", "t:2: address [::1]:53 is given twice" },
		{ "[listen a]\naddress = ::1\n[listen b]\naddress = 127.0.0.1\naddress = "
		  "[::1]:53\n",
		  "t:4: address [::1]:53 is given twice" },
		{ "[listen a]\naddress = 127.0.0.1, [::ffff:127.0.0.1]:53\n",
		  "t:2: address 127.0.0.1:53 is given twice" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct ini_error error = { "" };
		struct listens listens;
		struct params *params;

		ck_assert_int_eq(load(table[i].text, &listens, LISTENS_STREAM, &params, &error),
				 -1);
		ck_assert_msg(strncmp(error.text, table[i].error, strlen(table[i].error)) == 0,
			      "%s", error.text);
		listens_done(&listens);
		params_free(params);
	}
}
END_TEST

#define TWO                                               \
	"[listen a]\naddress = 127.0.0.1, 127.0.0.1:54\n" \
	"[listen b]\naddress = [::]:55\n"

START_TEST(test_find_and_reach)
{
	static const struct {
		const char *addr;
		int found;
		bool reached;
	} table[] = {
		{ "127.0.0.1:53", 0, true }, { "127.0.0.1:54", 0, true },
		{ "[::]:55", 1, true },      { "127.0.0.2:53", -1, false },
		{ "[::1]:55", -1, true },    { "[::1]:53", -1, false },
	};
	struct ini_error error;
	struct listens listens;
	struct params *params;

	ck_assert_int_eq(load(TWO, &listens, LISTENS_STREAM, &params, &error), 0);
	ck_assert_uint_eq(listens.count, 2);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct addr a = addr_of(table[i].addr);

		ck_assert_msg(listens_find(&listens, &a) == table[i].found, "%s", table[i].addr);
		ck_assert_msg(listens_reached_by(&listens, &a) == table[i].reached, "%s",
			      table[i].addr);
	}
	listens_done(&listens);
	params_free(params);
}
END_TEST

START_TEST(test_sockets)
{
	static const struct {
		unsigned kinds;
		size_t count;
		int types[2]; /* of the first two */
	} table[] = {
		{ LISTENS_STREAM, 3, { SOCK_STREAM, SOCK_STREAM } },
		{ LISTENS_DATAGRAM, 3, { SOCK_DGRAM, SOCK_DGRAM } },
		{ LISTENS_STREAM | LISTENS_DATAGRAM, 6, { SOCK_DGRAM, SOCK_STREAM } },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct addr first = addr_of("127.0.0.1:53");
		struct listen_want *wants;
		struct ini_error error;
		struct listens listens;
		struct params *params;
		size_t count;

		ck_assert_int_eq(load(TWO, &listens, table[i].kinds, &params, &error), 0);
		ck_assert_int_eq(listens_sockets(&listens, &wants, &count), 0);
		ck_assert_uint_eq(count, table[i].count);
		ck_assert(addr_equal(&wants[0].addr, &first));
		ck_assert_int_eq(wants[0].type, table[i].types[0]);
		ck_assert_int_eq(wants[1].type, table[i].types[1]);
		free(wants);
		listens_done(&listens);
		params_free(params);
	}
}
END_TEST

SUITE_MAIN("listens", test_faults, test_find_and_reach, test_sockets)
