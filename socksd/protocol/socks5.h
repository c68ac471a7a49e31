/* SPDX-License-Identifier: ISC */
/*
 * The bytes of SOCKS5 (RFC 1928) and of its password method (RFC 1929): three incremental parsers,
 * the answers, and the choice of answers. Pure: no descriptor, memory, clock or log; what to do
 * with a request is decided elsewhere.
 *
 * A parser is given all bytes received and not consumed yet, each time from the start of its
 * message. It takes exactly one message; the bytes behind it belong to the next one or are early
 * data for the target. It never asks for more than the longest message holds, so a buffer of
 * SOCKS5_MESSAGE_MAX bytes always suffices.
 */
#ifndef SOCKSD_PROTOCOL_SOCKS5_H
#define SOCKSD_PROTOCOL_SOCKS5_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest messages in bytes: client's, then ours. */
#define SOCKS5_GREETING_MAX 257
#define SOCKS5_AUTH_MAX     513
#define SOCKS5_REQUEST_MAX  262
#define SOCKS5_MESSAGE_MAX  SOCKS5_AUTH_MAX
#define SOCKS5_REPLY_MAX    22
#define SOCKS5_ADDRESS_MAX  19

/* Longest host name, without a final dot (RFC 1035, section 2.3.4). */
#define SOCKS5_NAME_MAX     253

/* X(name, value, "token"). The token is the one word for it in rules, logs, counters and tests. */

#define SOCKS5_COMMANDS(X)          \
	X(CONNECT, 0x01, "connect") \
	X(BIND, 0x02, "bind")       \
	X(ASSOCIATE, 0x03, "udp")

/* RFC 1928, section 6. */
#define SOCKS5_REPLIES(X)                                       \
	X(SUCCEEDED, 0x00, "succeeded")                         \
	X(GENERAL_FAILURE, 0x01, "general_failure")             \
	X(NOT_ALLOWED, 0x02, "not_allowed")                     \
	X(NETWORK_UNREACHABLE, 0x03, "network_unreachable")     \
	X(HOST_UNREACHABLE, 0x04, "host_unreachable")           \
	X(CONNECTION_REFUSED, 0x05, "connection_refused")       \
	X(TTL_EXPIRED, 0x06, "ttl_expired")                     \
	X(COMMAND_NOT_SUPPORTED, 0x07, "command_not_supported") \
	X(ADDRESS_TYPE_NOT_SUPPORTED, 0x08, "address_type_not_supported")

#define SOCKS5_ENUM(name, value, token) SOCKS5_##name = (value),
enum socks5_command {
	SOCKS5_COMMANDS(SOCKS5_ENUM)
};
enum socks5_reply {
	SOCKS5_REPLIES(SOCKS5_ENUM)
};
#undef SOCKS5_ENUM

enum socks5_method {
	SOCKS5_METHOD_NONE = 0x00,
	SOCKS5_METHOD_PASSWORD = 0x02,
	SOCKS5_METHOD_UNACCEPTABLE = 0xff,
};

/* What can be wrong with a client's message: X(name, "token", answer). Each fault has one answer:
 *
 *	NOTHING      the client speaks something else
 *	HTTP_501     a page for people who have configured an HTTP proxy
 *	NO_METHOD    05 FF
 *	AUTH_FAILED  01 01
 *	REPLY_nn     the ten bytes of a failed request, REP nn
 */
#define SOCKS5_FAULTS(X)                                                                      \
	X(BAD_VERSION, "bad_version", NOTHING)                                                \
	X(HTTP, "http", HTTP_501)                                                             \
	X(NO_METHODS, "no_methods", NO_METHOD)                                                \
	X(BAD_AUTH_VERSION, "bad_auth_version", AUTH_FAILED)                                  \
	X(BAD_REQUEST_VERSION, "bad_request_version", REPLY_01)                               \
	X(UNKNOWN_COMMAND, "unknown_command", REPLY_07)                                       \
	X(UNKNOWN_ADDRESS_TYPE, "unknown_address_type", REPLY_08)                             \
	X(BAD_NAME, "bad_name", REPLY_01) /* no host name and no address */                   \
	X(NO_SCOPE, "no_scope", REPLY_08) /* link-local, and on which interface is unknown */ \
	X(PORT_ZERO, "port_zero", REPLY_01)

#define SOCKS5_FAULT_ENUM(name, token, answer) SOCKS5_FAULT_##name,
enum socks5_fault {
	SOCKS5_FAULTS(SOCKS5_FAULT_ENUM)
};
#undef SOCKS5_FAULT_ENUM

enum parse_result {
	PARSE_NEED_MORE, /* so far valid; each proper prefix of a valid message gives this */
	PARSE_DONE,      /* results are written, and the message's length to *ret_consumed */
	PARSE_INVALID,   /* *reterr_fault is written; more bytes would not change it */
};

/* Which of the methods that we know the client offers (RFC 1928, section 3). */
struct socks5_greeting {
	bool offers_none;
	bool offers_password;
};

/* Both length-delimited, of any bytes and possibly empty; valid as long as the parsed buffer. The
 * password must be wiped together with that buffer. */
struct socks5_credentials {
	const uint8_t *name;
	const uint8_t *password;
	uint8_t name_len;
	uint8_t password_len;
};

/* Where to. Either an address (with the port; v4-mapped ones are folded) or, when addr is
 * AF_UNSPEC, a name: lower case, without final dot, of letters, digits, '-', '_' and '.' only, its
 * labels 1 to 63 bytes long, and never the text of an address. It may look like a number ("127.1",
 * "0x7f.1"): nothing but DNS may resolve it. */
struct socks5_target {
	struct addr addr;
	uint16_t port;
	char name[SOCKS5_NAME_MAX + 1];
};

struct socks5_request {
	enum socks5_command command;
	struct socks5_target target;
};

/* --- from the client --- */

/* All parsers borrow buf and write results only as said at enum parse_result. */

/* Version and methods: the first message. */
enum parse_result socks5_parse_greeting(const uint8_t *buf, size_t len,
					struct socks5_greeting *ret_greeting, size_t *ret_consumed,
					enum socks5_fault *reterr_fault);

/* User name and password (RFC 1929, section 2), after SOCKS5_METHOD_PASSWORD was chosen. */
enum parse_result socks5_parse_auth(const uint8_t *buf, size_t len,
				    struct socks5_credentials *ret_credentials,
				    size_t *ret_consumed, enum socks5_fault *reterr_fault);

/* The request (RFC 1928, section 4). ASSOCIATE with an empty name means 0.0.0.0, and may have a
 * link-local address without scope: it names the client's side, which is known anyway. */
enum parse_result socks5_parse_request(const uint8_t *buf, size_t len,
				       struct socks5_request *ret_request, size_t *ret_consumed,
				       enum socks5_fault *reterr_fault);

/* ATYP, address and port alone, as they stand in front of datagrams too (section 5). */
enum parse_result socks5_parse_target(const uint8_t *buf, size_t len,
				      struct socks5_target *ret_target, size_t *ret_consumed,
				      enum socks5_fault *reterr_fault);

/* --- to the client --- */

/* What a listener wants of a client's address. */
enum socks5_auth_policy {
	SOCKS5_AUTH_NONE,        /* there are no users */
	SOCKS5_AUTH_OPTIONAL,    /* a client that offers a password is asked for it */
	SOCKS5_AUTH_PREFER_NONE, /* only a client that offers nothing else is asked */
	SOCKS5_AUTH_REQUIRED,
};

/* The server's preference decides, not the order of the offers. */
enum socks5_method socks5_method_choose(const struct socks5_greeting *offers,
					enum socks5_auth_policy policy);

/* The answer that belongs to a fault: *ret_len bytes, possibly 0, valid for ever. The connection is
 * then closed, lingering, so that the answer arrives. */
const uint8_t *socks5_fault_answer(enum socks5_fault fault, size_t *ret_len);

void socks5_encode_method(enum socks5_method method, uint8_t ret_bytes[2]);
void socks5_encode_auth(bool success, uint8_t ret_bytes[2]);

/* Write a reply and return its length. `bound` is folded if v4-mapped; it is looked at for success
 * only, where NULL or AF_UNSPEC stands for 0.0.0.0:0. Failures are always ten bytes with 0.0.0.0:0.
 */
size_t socks5_encode_reply(enum socks5_reply reply, const struct addr *bound,
			   uint8_t ret_bytes[SOCKS5_REPLY_MAX]);

/* Write ATYP, address and port of an IPv4 or IPv6 address and return their length. */
size_t socks5_encode_address(const struct addr *a, uint8_t ret_bytes[SOCKS5_ADDRESS_MAX]);

/* --- replies for reasons --- */

/* For the result of connect() and friends; err is an errno, negative or not, and 0 is success.
 * EINVAL is taken for a missing scope. */
enum socks5_reply socks5_reply_from_errno(int err);

/* Of two attempts to reach one name, the outcome that tells the client more. Success is best; then
 * 05, 06, 04, 03, 08, 01. An attempt that was forbidden (02) counts only when there was no other.
 */
enum socks5_reply socks5_reply_best(enum socks5_reply a, enum socks5_reply b);

const char *socks5_command_name(enum socks5_command command);
const char *socks5_reply_name(enum socks5_reply reply);
const char *socks5_fault_name(enum socks5_fault fault);

#endif
