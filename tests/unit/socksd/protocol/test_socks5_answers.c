/* SPDX-License-Identifier: ISC */
/* What socks5.c says to clients; test_socks5.c tests what it understands. */
#include "common/container.h"
#include "socksd/protocol/socks5.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

/* Bytes with NULs in them, and their number. */
#define B(literal) (literal), sizeof(literal) - 1

#define V6         "\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define PORT       "\x00\x50"

static const struct {
	bool none;
	bool password;
	/* for policies none, optional, prefer-none, required */
	enum socks5_method chosen[4];
} method_cases[] = {
	{ false, false, { 0xff, 0xff, 0xff, 0xff } },
	{ true, false, { 0x00, 0x00, 0x00, 0xff } },
	{ false, true, { 0xff, 0x02, 0x02, 0x02 } },
	{ true, true, { 0x00, 0x02, 0x00, 0x02 } },
};

START_TEST(test_method_choose)
{
	for (size_t i = 0; i < ARRAY_SIZE(method_cases); i++) {
		const struct socks5_greeting g = { method_cases[i].none, method_cases[i].password };

		for (int policy = SOCKS5_AUTH_NONE; policy <= SOCKS5_AUTH_REQUIRED; policy++) {
			ck_assert_int_eq(socks5_method_choose(&g, (enum socks5_auth_policy)policy),
					 method_cases[i].chosen[policy]);
		}
	}
}
END_TEST

#define FAILED(rep) "\x05" rep "\0\x01\0\0\0\0\0\0"

static const struct {
	enum socks5_fault fault;
	const char *bytes;
	size_t len;
} answer_cases[] = {
	{ SOCKS5_FAULT_BAD_VERSION, B("") },
	{ SOCKS5_FAULT_NO_METHODS, B("\x05\xff") },
	{ SOCKS5_FAULT_BAD_AUTH_VERSION, B("\x01\x01") },
	{ SOCKS5_FAULT_BAD_REQUEST_VERSION, B(FAILED("\x01")) },
	{ SOCKS5_FAULT_UNKNOWN_COMMAND, B(FAILED("\x07")) },
	{ SOCKS5_FAULT_UNKNOWN_ADDRESS_TYPE, B(FAILED("\x08")) },
	{ SOCKS5_FAULT_BAD_NAME, B(FAILED("\x01")) },
	{ SOCKS5_FAULT_NO_SCOPE, B(FAILED("\x08")) },
	{ SOCKS5_FAULT_PORT_ZERO, B(FAILED("\x01")) },
};

START_TEST(test_fault_answer)
{
	const uint8_t *answer;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(answer_cases); i++) {
		answer = socks5_fault_answer(answer_cases[i].fault, &len);
		ck_assert_uint_eq(len, answer_cases[i].len);
		ck_assert_msg(memcmp(answer, answer_cases[i].bytes, len) == 0, "%s",
			      socks5_fault_name(answer_cases[i].fault));
	}
	answer = socks5_fault_answer(SOCKS5_FAULT_HTTP, &len);
	ck_assert_uint_gt(len, 100);
	ck_assert_int_eq(strncmp((const char *)answer, "HTTP/1.0 501 ", 13), 0);
	ck_assert_ptr_nonnull(strstr((const char *)answer, "\r\n\r\n"));
}
END_TEST

static const struct {
	enum socks5_reply reply;
	const char *bound; /* NULL: none */
	const char *bytes;
	size_t len;
} reply_cases[] = {
	{ SOCKS5_SUCCEEDED, "192.0.2.1:1080", B("\x05\0\0\x01\xc0\0\x02\x01\x04\x38") },
	{ SOCKS5_SUCCEEDED, "[2001:db8::1]:65535", B("\x05\0\0" V6 "\xff\xff") },
	{ SOCKS5_SUCCEEDED, "[::ffff:192.0.2.1]:80", B("\x05\0\0\x01\xc0\0\x02\x01" PORT) },
	{ SOCKS5_SUCCEEDED, NULL, B("\x05\0\0\x01\0\0\0\0\0\0") },
	{ SOCKS5_GENERAL_FAILURE, "192.0.2.1:1080", B(FAILED("\x01")) },
	{ SOCKS5_NOT_ALLOWED, "[2001:db8::1]:1080", B(FAILED("\x02")) },
	{ SOCKS5_NETWORK_UNREACHABLE, NULL, B(FAILED("\x03")) },
	{ SOCKS5_HOST_UNREACHABLE, NULL, B(FAILED("\x04")) },
	{ SOCKS5_CONNECTION_REFUSED, NULL, B(FAILED("\x05")) },
	{ SOCKS5_TTL_EXPIRED, NULL, B(FAILED("\x06")) },
	{ SOCKS5_COMMAND_NOT_SUPPORTED, NULL, B(FAILED("\x07")) },
	{ SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED, NULL, B(FAILED("\x08")) },
};

START_TEST(test_encode)
{
	const struct addr none = { .sa = { .sa_family = AF_UNSPEC } };
	uint8_t bytes[SOCKS5_REPLY_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(reply_cases); i++) {
		struct addr bound = none;

		if (reply_cases[i].bound) {
			ck_assert_int_eq(addr_parse(reply_cases[i].bound, 0, &bound), 0);
		}
		ck_assert_uint_eq(socks5_encode_reply(reply_cases[i].reply, &bound, bytes),
				  reply_cases[i].len);
		ck_assert_mem_eq(bytes, reply_cases[i].bytes, reply_cases[i].len);
	}
	ck_assert_uint_eq(socks5_encode_reply(SOCKS5_SUCCEEDED, NULL, bytes), 10);
	ck_assert_mem_eq(bytes, "\x05\0\0\x01\0\0\0\0\0\0", 10);
	socks5_encode_method(SOCKS5_METHOD_PASSWORD, bytes);
	ck_assert_mem_eq(bytes, "\x05\x02", 2);
	socks5_encode_method(SOCKS5_METHOD_UNACCEPTABLE, bytes);
	ck_assert_mem_eq(bytes, "\x05\xff", 2);
	socks5_encode_auth(true, bytes);
	ck_assert_mem_eq(bytes, "\x01\x00", 2);
	socks5_encode_auth(false, bytes);
	ck_assert_mem_eq(bytes, "\x01\x01", 2);
}
END_TEST

static const struct {
	int err;
	enum socks5_reply reply;
} errno_cases[] = {
	{ 0, SOCKS5_SUCCEEDED },
	{ ECONNREFUSED, SOCKS5_CONNECTION_REFUSED },
	{ ECONNRESET, SOCKS5_CONNECTION_REFUSED },
	{ ENETUNREACH, SOCKS5_NETWORK_UNREACHABLE },
	{ ENETDOWN, SOCKS5_NETWORK_UNREACHABLE },
	{ ENONET, SOCKS5_NETWORK_UNREACHABLE },
	{ EHOSTUNREACH, SOCKS5_HOST_UNREACHABLE },
	{ EHOSTDOWN, SOCKS5_HOST_UNREACHABLE },
	{ ETIMEDOUT, SOCKS5_TTL_EXPIRED },
	{ EACCES, SOCKS5_NOT_ALLOWED },
	{ EPERM, SOCKS5_NOT_ALLOWED },
	{ EAFNOSUPPORT, SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED },
	{ EPFNOSUPPORT, SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED },
	{ EPROTONOSUPPORT, SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED },
	{ EINVAL, SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED },
	{ EADDRNOTAVAIL, SOCKS5_GENERAL_FAILURE },
	{ EADDRINUSE, SOCKS5_GENERAL_FAILURE },
	{ EMFILE, SOCKS5_GENERAL_FAILURE },
	{ ENFILE, SOCKS5_GENERAL_FAILURE },
	{ ENOMEM, SOCKS5_GENERAL_FAILURE },
	{ ENOBUFS, SOCKS5_GENERAL_FAILURE },
	{ EAGAIN, SOCKS5_GENERAL_FAILURE },
	{ EINTR, SOCKS5_GENERAL_FAILURE },
	{ 9999, SOCKS5_GENERAL_FAILURE },
};

START_TEST(test_reply_from_errno)
{
	for (size_t i = 0; i < ARRAY_SIZE(errno_cases); i++) {
		ck_assert_int_eq(socks5_reply_from_errno(errno_cases[i].err), errno_cases[i].reply);
		ck_assert_int_eq(socks5_reply_from_errno(-errno_cases[i].err),
				 errno_cases[i].reply);
	}
}
END_TEST

START_TEST(test_reply_best)
{
	static const enum socks5_reply ranking[] = { 0x00, 0x05, 0x06, 0x04, 0x03,
						     0x08, 0x01, 0x02, 0x07 };

	for (size_t i = 0; i < ARRAY_SIZE(ranking); i++) {
		for (size_t j = i; j < ARRAY_SIZE(ranking); j++) {
			ck_assert_int_eq(socks5_reply_best(ranking[i], ranking[j]), ranking[i]);
			ck_assert_int_eq(socks5_reply_best(ranking[j], ranking[i]), ranking[i]);
		}
	}
}
END_TEST

START_TEST(test_names)
{
	ck_assert_str_eq(socks5_command_name(SOCKS5_CONNECT), "connect");
	ck_assert_str_eq(socks5_command_name(SOCKS5_BIND), "bind");
	ck_assert_str_eq(socks5_command_name(SOCKS5_ASSOCIATE), "udp");
	ck_assert_str_eq(socks5_reply_name(SOCKS5_SUCCEEDED), "succeeded");
	ck_assert_str_eq(socks5_reply_name(SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED),
			 "address_type_not_supported");
}
END_TEST

SUITE_MAIN("socks5_answers", test_method_choose, test_fault_answer, test_encode,
	   test_reply_from_errno, test_reply_best, test_names)
