/* SPDX-License-Identifier: ISC */
/* What socks5.c understands; test_socks5_answers.c tests what it says. */
#include "common/container.h"
#include "socksd/protocol/socks5.h"

#include "tests/unit/suite.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes with NULs in them, and their number. */
#define B(literal) (literal), sizeof(literal) - 1

/* What a parser made of a message, as text: "more", "invalid FAULT", or "LEN: result". */
struct outcome {
	char text[512];
};

typedef void (*parse_fn)(const uint8_t *buf, size_t len, struct outcome *ret_outcome);

static void outcome_set(struct outcome *o, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void outcome_set(struct outcome *o, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(o->text, sizeof o->text, format, args);
	va_end(args);
}

/* The two results that need no detail; false for PARSE_DONE. */
static bool outcome_undone(struct outcome *o, enum parse_result result, enum socks5_fault fault)
{
	if (result == PARSE_NEED_MORE) {
		outcome_set(o, "more");
	} else if (result == PARSE_INVALID) {
		outcome_set(o, "invalid %s", socks5_fault_name(fault));
	}
	return result != PARSE_DONE;
}

static void parse_greeting(const uint8_t *buf, size_t len, struct outcome *ret_outcome)
{
	struct socks5_greeting g = { 0 };
	size_t consumed = SIZE_MAX;
	enum socks5_fault fault = SOCKS5_FAULT_PORT_ZERO;
	enum parse_result result = socks5_parse_greeting(buf, len, &g, &consumed, &fault);

	if (outcome_undone(ret_outcome, result, fault)) {
		ck_assert(!g.offers_none && !g.offers_password && consumed == SIZE_MAX);
		return;
	}
	outcome_set(ret_outcome, "%zu:%s%s", consumed, g.offers_none ? " none" : "",
		    g.offers_password ? " password" : "");
}

static void parse_auth(const uint8_t *buf, size_t len, struct outcome *ret_outcome)
{
	struct socks5_credentials c = { 0 };
	size_t consumed = SIZE_MAX;
	enum socks5_fault fault = SOCKS5_FAULT_PORT_ZERO;
	enum parse_result result = socks5_parse_auth(buf, len, &c, &consumed, &fault);

	if (outcome_undone(ret_outcome, result, fault)) {
		ck_assert(!c.name && !c.password && consumed == SIZE_MAX);
		return;
	}
	ck_assert_ptr_eq(c.name, buf + 2);
	ck_assert_ptr_eq(c.password, buf + 3 + c.name_len);
	outcome_set(ret_outcome, "%zu: %u '%.*s' %u '%.*s'", consumed, c.name_len,
		    c.name_len > 20 ? 2 : c.name_len, (const char *)c.name, c.password_len,
		    c.password_len > 20 ? 2 : c.password_len, (const char *)c.password);
}

static void parse_request(const uint8_t *buf, size_t len, struct outcome *ret_outcome)
{
	struct socks5_request request;
	struct socks5_request untouched;
	size_t consumed = SIZE_MAX;
	enum socks5_fault fault = SOCKS5_FAULT_HTTP;
	enum parse_result result;
	char text[ADDR_TEXT_MAX];

	memset(&request, 0xa5, sizeof request);
	untouched = request;
	result = socks5_parse_request(buf, len, &request, &consumed, &fault);
	if (outcome_undone(ret_outcome, result, fault)) {
		ck_assert_mem_eq(&request, &untouched, sizeof request);
		ck_assert(consumed == SIZE_MAX);
		return;
	}
	if (request.target.addr.sa.sa_family == AF_UNSPEC) {
		outcome_set(ret_outcome, "%zu: %s name %s:%u", consumed,
			    socks5_command_name(request.command), request.target.name,
			    request.target.port);
		return;
	}
	ck_assert_uint_eq(addr_port(&request.target.addr), request.target.port);
	ck_assert_str_eq(request.target.name, "");
	outcome_set(ret_outcome, "%zu: %s %s", consumed, socks5_command_name(request.command),
		    addr_format(&request.target.addr, text, sizeof text));
}

/* Parse from a copy of exactly that size, so that a sanitizer sees each byte read past the end. */
static void parse_copy(parse_fn parse, const void *bytes, size_t len, struct outcome *ret_outcome)
{
	uint8_t *copy = malloc(len + 1);

	ck_assert_ptr_nonnull(copy);
	copy = realloc(copy, len ? len : 1);
	ck_assert_ptr_nonnull(copy);
	if (len) {
		memcpy(copy, bytes, len);
	}
	parse(copy, len, ret_outcome);
	free(copy);
}

/* The whole message gives `expected`; so does the message with something behind it; every prefix
 * shorter than decided_at gives "more", and longer ones the same as the whole. */
static void check_message(parse_fn parse, const void *bytes, size_t len, size_t decided_at,
			  const char *expected)
{
	uint8_t longer[SOCKS5_MESSAGE_MAX + 64];
	struct outcome o;

	memset(longer, 0x05, sizeof longer);
	memcpy(longer, bytes, len);
	parse_copy(parse, longer, sizeof longer, &o);
	ck_assert_str_eq(o.text, expected);
	for (size_t n = 0; n <= len; n++) {
		parse_copy(parse, bytes, n, &o);
		ck_assert_msg(strcmp(o.text, n < decided_at ? "more" : expected) == 0,
			      "%zu of %zu bytes: '%s', not '%s'", n, len, o.text, expected);
	}
}

static const struct {
	const char *bytes;
	size_t len;
	size_t decided_at;
	const char *expected;
} greeting_cases[] = {
	{ B("\x05\x01\x00"), 3, "3: none" },
	{ B("\x05\x01\x02"), 3, "3: password" },
	{ B("\x05\x02\x00\x02"), 4, "4: none password" },
	{ B("\x05\x02\x02\x00"), 4, "4: none password" },
	{ B("\x05\x04\x02\x02\x00\x00"), 6, "6: none password" },
	{ B("\x05\x01\x01"), 3, "3:" },
	{ B("\x05\x03\x03\x80\xfe"), 5, "5:" },
	{ B("\x05\x04\xfe\x01\x80\x02"), 6, "6: password" },
	{ B("\x05\x00"), 2, "invalid no_methods" },
	{ B("\x04\x01\x00\x50\x7f\x00\x00\x01\x00"), 1, "invalid bad_version" },
	{ B("\x00\x01\x00"), 1, "invalid bad_version" },
	{ B("\x06\x01\x00"), 1, "invalid bad_version" },
	{ B("\xff\x01\x00"), 1, "invalid bad_version" },
	{ B("\x16\x03\x01\x02\x00"), 1, "invalid bad_version" },
	{ B("\r\n\r\n\0\r\nQUIT\n"), 1, "invalid bad_version" },
	{ B("PROXY TCP4 192.0.2.1"), 5, "invalid bad_version" },
	{ B("PROPFIND / HTTP/1.1"), 4, "invalid http" },
	{ B("POST / HTTP/1.1"), 2, "invalid http" },
	{ B("CONNECT a:443 HTTP/1.1"), 1, "invalid http" },
	{ B("GET http://a/ HTTP/1.1"), 1, "invalid http" },
	{ B("HEAD / HTTP/1.1"), 1, "invalid http" },
	{ B("OPTIONS * HTTP/1.1"), 1, "invalid http" },
	{ B("DELETE / HTTP/1.1"), 1, "invalid http" },
	{ B("TRACE / HTTP/1.1"), 1, "invalid http" },
	{ B("get / HTTP/1.1"), 1, "invalid bad_version" },
};

START_TEST(test_greeting)
{
	uint8_t most[SOCKS5_GREETING_MAX] = { 0x05, 0xff };

	for (size_t i = 0; i < ARRAY_SIZE(greeting_cases); i++) {
		check_message(parse_greeting, greeting_cases[i].bytes, greeting_cases[i].len,
			      greeting_cases[i].decided_at, greeting_cases[i].expected);
	}
	memset(most + 2, 0x80, 255);
	check_message(parse_greeting, most, sizeof most, sizeof most, "257:");
	most[256] = 0x00;
	check_message(parse_greeting, most, sizeof most, sizeof most, "257: none");
	memset(most + 2, 0x02, 255);
	check_message(parse_greeting, most, sizeof most, sizeof most, "257: password");
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	size_t decided_at;
	const char *expected;
} auth_cases[] = {
	{ B("\x01\x01"
	    "a\x02"
	    "bc"),
	  6, "6: 1 'a' 2 'bc'" },
	{ B("\x01\x00\x00"), 3, "3: 0 '' 0 ''" },
	{ B("\x01\x00\x01x"), 4, "4: 0 '' 1 'x'" },
	{ B("\x01\x01x\x00"), 4, "4: 1 'x' 0 ''" },
	{ B("\x01\x02\r\n\x02\xff\xfe"), 7, "7: 2 '\r\n' 2 '\xff\xfe'" },
	{ B("\x05\x01"
	    "a\x01"
	    "b"),
	  1, "invalid bad_auth_version" },
	{ B("\x00\x00\x00"), 1, "invalid bad_auth_version" },
};

START_TEST(test_auth)
{
	uint8_t longest[SOCKS5_AUTH_MAX];
	struct socks5_credentials c;
	size_t consumed;
	enum socks5_fault fault;

	for (size_t i = 0; i < ARRAY_SIZE(auth_cases); i++) {
		check_message(parse_auth, auth_cases[i].bytes, auth_cases[i].len,
			      auth_cases[i].decided_at, auth_cases[i].expected);
	}
	memset(longest, 'n', sizeof longest);
	longest[0] = 0x01;
	longest[1] = 0xff;
	longest[257] = 0xff;
	memset(longest + 258, 'p', 255);
	check_message(parse_auth, longest, sizeof longest, sizeof longest,
		      "513: 255 'nn' 255 'pp'");
	/* NUL is a byte like any other. */
	ck_assert_int_eq(socks5_parse_auth((const uint8_t *)"\x01\x03"
							    "a\0b\x02\0p",
					   8, &c, &consumed, &fault),
			 PARSE_DONE);
	ck_assert_uint_eq(c.name_len, 3);
	ck_assert_mem_eq(c.name, "a\0b", 3);
	ck_assert_uint_eq(c.password_len, 2);
	ck_assert_mem_eq(c.password, "\0p", 2);
}
END_TEST

#define V4   "\x01\xc0\x00\x02\x01"
#define V6   "\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define PORT "\x00\x50"

static const struct {
	const char *bytes;
	size_t len;
	size_t decided_at;
	const char *expected;
} request_cases[] = {
	{ B("\x05\x01\x00" V4 PORT), 10, "10: connect 192.0.2.1:80" },
	{ B("\x05\x02\x00" V4 PORT), 10, "10: bind 192.0.2.1:80" },
	{ B("\x05\x03\x00" V4 PORT), 10, "10: udp 192.0.2.1:80" },
	{ B("\x05\x01\x00" V6 "\xff\xff"), 22, "22: connect [2001:db8::1]:65535" },
	{ B("\x05\x01\x00\x03\x01"
	    "a" PORT),
	  8, "8: connect name a:80" },
	/* version, RSV, command, address type: what comes first on the wire decides */
	{ B("\x04\x01\x00" V4 PORT), 1, "invalid bad_request_version" },
	{ B("\x00\xff\x00\xff"), 1, "invalid bad_request_version" },
	{ B("\x05\x01\xff" V4 PORT), 10, "10: connect 192.0.2.1:80" },
	{ B("\x05\x00\x00" V4 PORT), 2, "invalid unknown_command" },
	{ B("\x05\x04\x00" V4 PORT), 2, "invalid unknown_command" },
	{ B("\x05\x05\x00" V4 PORT), 2, "invalid unknown_command" },
	{ B("\x05\xf0\x00\x03\x01"
	    "a" PORT),
	  2, "invalid unknown_command" },
	{ B("\x05\xf1\x00" V4 PORT), 2, "invalid unknown_command" },
	{ B("\x05\xff\x00\xff"), 2, "invalid unknown_command" },
	{ B("\x05\x01\x00\x00" PORT), 4, "invalid unknown_address_type" },
	{ B("\x05\x01\x00\x02" PORT), 4, "invalid unknown_address_type" },
	{ B("\x05\x02\x00\x05" PORT), 4, "invalid unknown_address_type" },
	{ B("\x05\x03\x00\xff" PORT), 4, "invalid unknown_address_type" },
	/* empty name */
	{ B("\x05\x01\x00\x03\x00" PORT), 5, "invalid bad_name" },
	{ B("\x05\x02\x00\x03\x00" PORT), 5, "invalid bad_name" },
	{ B("\x05\x03\x00\x03\x00" PORT), 7, "7: udp 0.0.0.0:80" },
	/* port 0 */
	{ B("\x05\x01\x00" V4 "\0\0"), 10, "invalid port_zero" },
	{ B("\x05\x01\x00\x03\x01"
	    "a\0\0"),
	  8, "invalid port_zero" },
	{ B("\x05\x02\x00" V4 "\0\0"), 10, "10: bind 192.0.2.1:0" },
	{ B("\x05\x03\x00" V4 "\0\0"), 10, "10: udp 192.0.2.1:0" },
	{ B("\x05\x03\x00\x01\0\0\0\0\0\0"), 10, "10: udp 0.0.0.0:0" },
	{ B("\x05\x01\x00\x01\0\0\0\0" PORT), 10, "10: connect 0.0.0.0:80" },
	/* one form of an address: mapped is folded, embedded stays for the guard to see */
	{ B("\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01" PORT), 22,
	  "22: connect 127.0.0.1:80" },
	{ B("\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\x7f\0\0\x01" PORT), 22,
	  "22: connect [::127.0.0.1]:80" },
	{ B("\x05\x01\x00\x04\0\x64\xff\x9b\0\0\0\0\0\0\0\0\x7f\0\0\x01" PORT), 22,
	  "22: connect [64:ff9b::7f00:1]:80" },
	/* link-local without an interface */
	{ B("\x05\x01\x00\x04\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" PORT), 22,
	  "invalid no_scope" },
	{ B("\x05\x02\x00\x04\xfe\xbf\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" PORT), 22,
	  "invalid no_scope" },
	{ B("\x05\x03\x00\x04\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" PORT), 22,
	  "22: udp [fe80::1]:80" },
	{ B("\x05\x01\x00\x04\xfe\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" PORT), 22,
	  "22: connect [fec0::1]:80" },
	{ B("\x05\x01\x00\x01\xa9\xfe\0\x01" PORT), 10, "10: connect 169.254.0.1:80" },
};

START_TEST(test_request)
{
	for (size_t i = 0; i < ARRAY_SIZE(request_cases); i++) {
		check_message(parse_request, request_cases[i].bytes, request_cases[i].len,
			      request_cases[i].decided_at, request_cases[i].expected);
	}
}
END_TEST

#define L63 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-012345678"
#define L61 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-0123456"

/* What stands in the domain form, and what it must come out as. */
static const struct {
	const char *text;
	size_t len;
	const char *expected;
} name_cases[] = {
	{ B("example.com"), "name example.com:80" },
	{ B("localhost"), "name localhost:80" },
	{ B("EXAMPLE.Com"), "name example.com:80" },
	{ B("example.com."), "name example.com:80" },
	{ B("_sip._tcp.example"), "name _sip._tcp.example:80" },
	{ B("xn--bcher-KVA.example"), "name xn--bcher-kva.example:80" },
	{ B("-a-.b-"), "name -a-.b-:80" },
	{ B(L63 "." L63 "." L63 "." L61), "name " L63 "." L63 "." L63 "." L61 ":80" },
	{ B(L63 "." L63 "." L63 "." L61 "."), "name " L63 "." L63 "." L63 "." L61 ":80" },
	/* too long, empty labels */
	{ B(L63 "." L63 "." L63 "." L61 "a"), "invalid bad_name" },
	{ B(L63 "." L63 "." L63 "." L61 "aa"), "invalid bad_name" },
	{ B(L63 "a.example"), "invalid bad_name" },
	{ B("example." L63 "a"), "invalid bad_name" },
	{ B("."), "invalid bad_name" },
	{ B(".."), "invalid bad_name" },
	{ B("a.."), "invalid bad_name" },
	{ B(".a"), "invalid bad_name" },
	{ B("a..b"), "invalid bad_name" },
	/* bytes that two readers would take differently */
	{ B("a\0b"), "invalid bad_name" },
	{ B("example.com\0"), "invalid bad_name" },
	{ B("127.0.0.1\0.example.com"), "invalid bad_name" },
	{ B("\0"), "invalid bad_name" },
	{ B("a b"), "invalid bad_name" },
	{ B(" example.com"), "invalid bad_name" },
	{ B("example.com\n"), "invalid bad_name" },
	{ B("example\x01.com"), "invalid bad_name" },
	{ B("example\x7f.com"), "invalid bad_name" },
	{ B("a/b"), "invalid bad_name" },
	{ B("user@example.com"), "invalid bad_name" },
	{ B("a%41"), "invalid bad_name" },
	{ B("a\\b"), "invalid bad_name" },
	{ B("*.example.com"), "invalid bad_name" },
	{ B("b\xc3\xbc"
	    "cher.example"),
	  "invalid bad_name" },
	{ B("\xff\xfe"), "invalid bad_name" },
	{ B("example.com:80"), "invalid bad_name" },
	/* addresses */
	{ B("192.0.2.1"), "192.0.2.1:80" },
	{ B("192.0.2.1."), "192.0.2.1:80" },
	{ B("255.255.255.255"), "255.255.255.255:80" },
	{ B("2001:db8::1"), "[2001:db8::1]:80" },
	{ B("2001:DB8::A"), "[2001:db8::a]:80" },
	{ B("[2001:db8::1]"), "[2001:db8::1]:80" },
	{ B("::"), "[::]:80" },
	{ B("[::1]"), "[::1]:80" },
	{ B("::ffff:127.0.0.1"), "127.0.0.1:80" },
	{ B("[::FFFF:7f00:1]"), "127.0.0.1:80" },
	{ B("0:0:0:0:0:ffff:192.168.100.100"), "192.168.100.100:80" },
	{ B("2001:0db8:0000:0000:0000:0000:192.168.100.100"), "[2001:db8::c0a8:6464]:80" },
	{ B("[192.0.2.1]"), "invalid bad_name" },
	{ B("[2001:db8::1"), "invalid bad_name" },
	{ B("2001:db8::1]"), "invalid bad_name" },
	{ B("[2001:db8::1]:80"), "invalid bad_name" },
	{ B("[[::1]]"), "invalid bad_name" },
	{ B("[::1].example"), "invalid bad_name" },
	{ B("::1."), "invalid bad_name" },
	{ B("::1\0x"), "invalid bad_name" },
	{ B("::g"), "invalid bad_name" },
	{ B(":"), "invalid bad_name" },
	{ B("[]"), "invalid bad_name" },
	{ B("0000000:00000000:00000000:00000000:00000000:0000"), "invalid bad_name" },
	/* zones would need a look at the interfaces */
	{ B("fe80::1%lo"), "invalid no_scope" },
	{ B("[fe80::1%eth0]"), "invalid no_scope" },
	{ B("fe80::1%"), "invalid no_scope" },
	{ B("fe80::1"), "invalid no_scope" },
	{ B("2001:db8::1%lo"), "invalid no_scope" },
	{ B("fe80::g%lo"), "invalid bad_name" },
	{ B("192.0.2.1%lo"), "invalid bad_name" },
	/* looks like a number, is a name: never to reach inet_aton() */
	{ B("127.1"), "name 127.1:80" },
	{ B("127.0.1"), "name 127.0.1:80" },
	{ B("2130706433"), "name 2130706433:80" },
	{ B("0x7f.1"), "name 0x7f.1:80" },
	{ B("0X7F000001"), "name 0x7f000001:80" },
	{ B("0177.0.0.1"), "name 0177.0.0.1:80" },
	{ B("127.0.0.01"), "name 127.0.0.01:80" },
	{ B("256.0.0.1"), "name 256.0.0.1:80" },
	{ B("1.2.3.4.5"), "name 1.2.3.4.5:80" },
};

START_TEST(test_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(name_cases); i++) {
		uint8_t message[SOCKS5_REQUEST_MAX] = { 0x05, 0x01, 0x00, 0x03,
							(uint8_t)name_cases[i].len };
		size_t len = 5 + name_cases[i].len + 2;
		char expected[SOCKS5_NAME_MAX + 64];

		memcpy(message + 5, name_cases[i].text, name_cases[i].len);
		message[len - 1] = 80;
		if (strncmp(name_cases[i].expected, "invalid", 7) == 0) {
			snprintf(expected, sizeof expected, "%s", name_cases[i].expected);
		} else {
			snprintf(expected, sizeof expected, "%zu: connect %s", len,
				 name_cases[i].expected);
		}
		check_message(parse_request, message, len, len, expected);
	}
}
END_TEST

/* Each byte by itself: what is allowed in a name and what is not. */
START_TEST(test_name_bytes)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	for (unsigned c = 0; c < 256; c++) {
		uint8_t message[] = { 0x05, 0x01, 0x00, 0x03, 3, 'x', (uint8_t)c, 'y', 0, 80 };
		struct outcome o;
		bool good = (c && strchr(allowed, (int)c)) || c == '.';

		parse_copy(parse_request, message, sizeof message, &o);
		ck_assert_msg((strncmp(o.text, "10: connect name x", 18) == 0) == good,
			      "byte %02x: %s", c, o.text);
	}
}
END_TEST

/* The longest request there is, and one byte count more than fits in a name. */
START_TEST(test_request_longest)
{
	uint8_t message[SOCKS5_REQUEST_MAX] = { 0x05, 0x01, 0x00, 0x03, 0xff };

	memset(message + 5, 'a', 255);
	message[SOCKS5_REQUEST_MAX - 1] = 80;
	check_message(parse_request, message, sizeof message, sizeof message, "invalid bad_name");
}
END_TEST

/* --- whole handshakes --- */

/* A session reduced to its parsers. The transcript holds what each message gave, then the early
 * data. */
struct conversation {
	enum {
		GREETING,
		AUTH,
		REQUEST,
		EARLY_DATA,
		REFUSED
	} state;
	enum socks5_auth_policy policy;
	uint8_t pending[1024];
	size_t pending_len;
	char transcript[512];
};

static void conversation_note(struct conversation *c, const char *what, size_t len)
{
	size_t used = strlen(c->transcript);

	ck_assert_uint_lt(used + len + 1, sizeof c->transcript);
	memcpy(c->transcript + used, what, len);
	c->transcript[used + len] = '\0';
}

/* One step; false when more bytes are needed. */
static bool conversation_step(struct conversation *c)
{
	static const parse_fn parsers[] = {
		[GREETING] = parse_greeting,
		[AUTH] = parse_auth,
		[REQUEST] = parse_request,
	};
	struct outcome o;
	size_t consumed;

	if (c->state == EARLY_DATA || c->state == REFUSED) {
		return false;
	}
	parse_copy(parsers[c->state], c->pending, c->pending_len, &o);
	if (strcmp(o.text, "more") == 0) {
		return false;
	}
	conversation_note(c, o.text, strlen(o.text));
	conversation_note(c, "; ", 2);
	if (strncmp(o.text, "invalid", 7) == 0) {
		c->state = REFUSED;
		return false;
	}
	consumed = (size_t)atoi(o.text);
	c->pending_len -= consumed;
	memmove(c->pending, c->pending + consumed, c->pending_len);
	if (c->state == GREETING) {
		c->state = c->policy == SOCKS5_AUTH_REQUIRED ? AUTH : REQUEST;
	} else {
		c->state = c->state == AUTH ? REQUEST : EARLY_DATA;
	}
	return true;
}

static void conversation_feed(struct conversation *c, const char *bytes, size_t len)
{
	memcpy(c->pending + c->pending_len, bytes, len);
	c->pending_len += len;
	while (conversation_step(c)) {
	}
}

static void conversation_check(struct conversation *c, const char *expected)
{
	if (c->state == EARLY_DATA) {
		conversation_note(c, (const char *)c->pending, c->pending_len);
	}
	ck_assert_str_eq(c->transcript, expected);
}

static const struct {
	enum socks5_auth_policy policy;
	const char *bytes;
	size_t len;
	const char *expected;
} handshake_cases[] = {
	{ SOCKS5_AUTH_NONE, B("\x05\x01\x00\x05\x01\x00" V4 PORT),
	  "3: none; 10: connect 192.0.2.1:80; " },
	{ SOCKS5_AUTH_NONE, B("\x05\x01\x00\x05\x01\x00" V4 PORT "GET / HTTP/1.0\r\n\r\n"),
	  "3: none; 10: connect 192.0.2.1:80; GET / HTTP/1.0\r\n\r\n" },
	{ SOCKS5_AUTH_NONE,
	  B("\x05\x02\x00\x02\x05\x01\x00\x03\x0b"
	    "example.com\x01\xbbtail"),
	  "4: none password; 18: connect name example.com:443; tail" },
	{ SOCKS5_AUTH_NONE, B("\x05\x01\x00\x05\x02\x00" V6 PORT),
	  "3: none; 22: bind [2001:db8::1]:80; " },
	{ SOCKS5_AUTH_NONE, B("\x05\x01\x00\x05\x03\x00\x03\x00\0\0"),
	  "3: none; 7: udp 0.0.0.0:0; " },
	{ SOCKS5_AUTH_REQUIRED, B("\x05\x01\x02\x01\x04user\x04pass\x05\x01\x00" V4 PORT "early"),
	  "3: password; 11: 4 'user' 4 'pass'; 10: connect 192.0.2.1:80; early" },
	{ SOCKS5_AUTH_REQUIRED,
	  B("\x05\x02\x00\x02\x01\x00\x00\x05\x01\x00\x03\x03"
	    "127"
	    "\x00\x16SSH-2.0-x\r\n"),
	  "4: none password; 3: 0 '' 0 ''; 10: connect name 127:22; SSH-2.0-x\r\n" },
	{ SOCKS5_AUTH_REQUIRED,
	  B("\x05\x01\x02\x05\x01"
	    "a\x01"
	    "b\x05\x01\x00" V4 PORT),
	  "3: password; invalid bad_auth_version; " },
	{ SOCKS5_AUTH_NONE, B("\x05\x01\x00\x05\x09\x00" V4 PORT "early"),
	  "3: none; invalid unknown_command; " },
	{ SOCKS5_AUTH_NONE, B("\x05\x01\x00\x05\x01\x00\x09 unknown length"),
	  "3: none; invalid unknown_address_type; " },
	{ SOCKS5_AUTH_NONE, B("\x05\x00\x05\x01\x00" V4 PORT), "invalid no_methods; " },
	{ SOCKS5_AUTH_NONE, B("\x16\x03\x01\x00\xa5\x01"), "invalid bad_version; " },
};

/* All in one piece, byte by byte, and in two pieces cut at every place. */
START_TEST(test_handshake_splits)
{
	for (size_t i = 0; i < ARRAY_SIZE(handshake_cases); i++) {
		const char *bytes = handshake_cases[i].bytes;
		size_t len = handshake_cases[i].len;
		const struct conversation fresh = { .policy = handshake_cases[i].policy };
		struct conversation c = fresh;

		for (size_t n = 0; n < len; n++) {
			conversation_feed(&c, bytes + n, 1);
		}
		conversation_check(&c, handshake_cases[i].expected);
		for (size_t cut = 0; cut <= len; cut++) {
			c = fresh;
			conversation_feed(&c, bytes, cut);
			conversation_feed(&c, bytes + cut, len - cut);
			conversation_check(&c, handshake_cases[i].expected);
		}
	}
}
END_TEST

SUITE_MAIN("socks5", test_greeting, test_auth, test_request, test_name, test_name_bytes,
	   test_request_longest, test_handshake_splits)
