/* SPDX-License-Identifier: ISC */
#include "socksd/protocol/socks5.h"

#include "common/container.h"
#include "common/wire.h"

#include <errno.h>
#include <string.h>

#define VERSION           0x05
#define AUTH_VERSION      0x01
#define AUTH_SUCCESS      0x00
#define AUTH_FAILURE      0x01

#define ADDRESS_TYPE_IPV4 0x01
#define ADDRESS_TYPE_NAME 0x03
#define ADDRESS_TYPE_IPV6 0x04

#define LABEL_MAX         63

static enum parse_result invalid(enum socks5_fault fault, enum socks5_fault *reterr_fault)
{
	*reterr_fault = fault;
	return PARSE_INVALID;
}

/* --- greeting --- */

/* A first byte that is no SOCKS5. Methods of HTTP begin with these letters; so does the line "PROXY
 * ..." of a load balancer, which gets silence as all other protocols do. */
static enum parse_result parse_foreign(const uint8_t *buf, size_t len,
				       enum socks5_fault *reterr_fault)
{
	static const char proxy[] = "PROXY";
	size_t proxy_len = strlen(proxy);

	if (memcmp(buf, proxy, len < proxy_len ? len : proxy_len) == 0) {
		return len < proxy_len ? PARSE_NEED_MORE
				       : invalid(SOCKS5_FAULT_BAD_VERSION, reterr_fault);
	}
	if (memchr("CDGHOPT", buf[0], 7)) {
		return invalid(SOCKS5_FAULT_HTTP, reterr_fault);
	}
	return invalid(SOCKS5_FAULT_BAD_VERSION, reterr_fault);
}

enum parse_result socks5_parse_greeting(const uint8_t *buf, size_t len,
					struct socks5_greeting *ret_greeting, size_t *ret_consumed,
					enum socks5_fault *reterr_fault)
{
	size_t count;

	if (len < 1) {
		return PARSE_NEED_MORE;
	}
	if (buf[0] != VERSION) {
		return parse_foreign(buf, len, reterr_fault);
	}
	if (len < 2) {
		return PARSE_NEED_MORE;
	}
	count = buf[1];
	if (count == 0) {
		return invalid(SOCKS5_FAULT_NO_METHODS, reterr_fault);
	}
	if (len < 2 + count) {
		return PARSE_NEED_MORE;
	}
	*ret_greeting = (struct socks5_greeting){
		.offers_none = memchr(buf + 2, SOCKS5_METHOD_NONE, count),
		.offers_password = memchr(buf + 2, SOCKS5_METHOD_PASSWORD, count),
	};
	*ret_consumed = 2 + count;
	return PARSE_DONE;
}

/* --- password --- */

enum parse_result socks5_parse_auth(const uint8_t *buf, size_t len,
				    struct socks5_credentials *ret_credentials,
				    size_t *ret_consumed, enum socks5_fault *reterr_fault)
{
	struct wire_reader r = wire_reader(buf, len);
	struct socks5_credentials c;
	uint8_t version = wire_u8(&r);

	if (!r.failed && version != AUTH_VERSION) {
		return invalid(SOCKS5_FAULT_BAD_AUTH_VERSION, reterr_fault);
	}
	c.name_len = wire_u8(&r);
	c.name = wire_take(&r, c.name_len);
	c.password_len = wire_u8(&r);
	c.password = wire_take(&r, c.password_len);
	if (r.failed) {
		return PARSE_NEED_MORE;
	}
	*ret_credentials = c;
	*ret_consumed = wire_offset(&r);
	return PARSE_DONE;
}

/* --- request --- */

static bool name_byte_allowed(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* Check labels, fold case, strip one final dot. */
static bool name_normalise(const uint8_t *text, size_t len, char ret_name[SOCKS5_NAME_MAX + 1])
{
	size_t label_len = 0;

	if (len > 0 && text[len - 1] == '.') {
		len--;
	}
	if (len > SOCKS5_NAME_MAX) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		uint8_t c = text[i];

		if (c == '.') {
			if (label_len == 0) {
				return false;
			}
			label_len = 0;
		} else if (!name_byte_allowed(c) || ++label_len > LABEL_MAX) {
			return false;
		}
		ret_name[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	ret_name[len] = '\0';
	return label_len > 0;
}

/* An IPv6 address as text, bare or in brackets. A zone ("%eth0") is recognised but not looked up.
 * Returns false with *reterr_fault. */
static bool target_from_ipv6_text(const uint8_t *text, size_t len, struct addr *ret_addr,
				  enum socks5_fault *reterr_fault)
{
	char ip[INET6_ADDRSTRLEN];
	const uint8_t *zone;

	*reterr_fault = SOCKS5_FAULT_BAD_NAME;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	zone = memchr(text, '%', len);
	if (zone) {
		len = (size_t)(zone - text);
	}
	if (len >= sizeof ip || memchr(text, '\0', len)) {
		return false;
	}
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (addr_parse_ip(ip, ret_addr) < 0) {
		return false;
	}
	*reterr_fault = SOCKS5_FAULT_NO_SCOPE;
	return !zone;
}

/* The domain form of a target; many clients put addresses there too. Returns false with
 * *reterr_fault. */
static bool target_from_text(const uint8_t *text, size_t len, struct socks5_target *ret_target,
			     enum socks5_fault *reterr_fault)
{
	if (memchr(text, ':', len)) {
		return target_from_ipv6_text(text, len, &ret_target->addr, reterr_fault);
	}
	if (!name_normalise(text, len, ret_target->name)) {
		*reterr_fault = SOCKS5_FAULT_BAD_NAME;
		return false;
	}
	if (addr_parse_ip(ret_target->name, &ret_target->addr) == 0) {
		ret_target->name[0] = '\0';
	}
	return true;
}

static bool command_known(uint8_t command)
{
	return command >= SOCKS5_CONNECT && command <= SOCKS5_ASSOCIATE;
}

/* As socks5_parse_target(); of commands only ASSOCIATE may leave the name empty. */
static enum parse_result parse_target(struct wire_reader *r, enum socks5_command command,
				      struct socks5_target *ret_target,
				      enum socks5_fault *reterr_fault)
{
	struct socks5_target t = { .name = "" };
	uint8_t type = wire_u8(r);
	size_t host_len = 0;
	const uint8_t *host;

	if (r->failed) {
		return PARSE_NEED_MORE;
	}
	switch (type) {
	case ADDRESS_TYPE_IPV4:
		host_len = 4;
		break;
	case ADDRESS_TYPE_IPV6:
		host_len = 16;
		break;
	case ADDRESS_TYPE_NAME:
		host_len = wire_u8(r);
		if (!r->failed && host_len == 0 && command != SOCKS5_ASSOCIATE) {
			return invalid(SOCKS5_FAULT_BAD_NAME, reterr_fault);
		}
		break;
	default:
		return invalid(SOCKS5_FAULT_UNKNOWN_ADDRESS_TYPE, reterr_fault);
	}
	host = wire_take(r, host_len);
	t.port = wire_u16(r);
	if (r->failed) {
		return PARSE_NEED_MORE;
	}
	if (type == ADDRESS_TYPE_IPV4) {
		t.addr = addr_from_ipv4(host, 0);
	} else if (type == ADDRESS_TYPE_IPV6) {
		t.addr = addr_from_ipv6(host, 0);
	} else if (host_len == 0) {
		t.addr = addr_from_ipv4((const uint8_t[4]){ 0 }, 0);
	} else if (!target_from_text(host, host_len, &t, reterr_fault)) {
		return PARSE_INVALID;
	}
	if (t.addr.sa.sa_family != AF_UNSPEC) {
		t.addr = addr_unmap(&t.addr);
		addr_set_port(&t.addr, t.port);
	}
	*ret_target = t;
	return PARSE_DONE;
}

enum parse_result socks5_parse_target(const uint8_t *buf, size_t len,
				      struct socks5_target *ret_target, size_t *ret_consumed,
				      enum socks5_fault *reterr_fault)
{
	struct wire_reader r = wire_reader(buf, len);
	enum parse_result result = parse_target(&r, SOCKS5_CONNECT, ret_target, reterr_fault);

	if (result == PARSE_DONE) {
		*ret_consumed = wire_offset(&r);
	}
	return result;
}

enum parse_result socks5_parse_request(const uint8_t *buf, size_t len,
				       struct socks5_request *ret_request, size_t *ret_consumed,
				       enum socks5_fault *reterr_fault)
{
	struct wire_reader r = wire_reader(buf, len);
	struct socks5_request request;
	enum parse_result result;
	uint8_t version = wire_u8(&r);
	uint8_t command;

	if (!r.failed && version != VERSION) {
		return invalid(SOCKS5_FAULT_BAD_REQUEST_VERSION, reterr_fault);
	}
	command = wire_u8(&r);
	/* Before ATYP, and though the length of the rest may be unknown: CMD comes first on the
	 * wire. */
	if (!r.failed && !command_known(command)) {
		return invalid(SOCKS5_FAULT_UNKNOWN_COMMAND, reterr_fault);
	}
	request.command = command;
	wire_u8(&r); /* RSV: clients are not consistent about it */
	result = parse_target(&r, request.command, &request.target, reterr_fault);
	if (result != PARSE_DONE) {
		return result;
	}
	if (request.command == SOCKS5_CONNECT && request.target.port == 0) {
		return invalid(SOCKS5_FAULT_PORT_ZERO, reterr_fault);
	}
	if (request.command != SOCKS5_ASSOCIATE && request.target.addr.sa.sa_family == AF_INET6 &&
	    addr_scope(&request.target.addr) == ADDR_LINK_LOCAL) {
		return invalid(SOCKS5_FAULT_NO_SCOPE, reterr_fault);
	}
	*ret_request = request;
	*ret_consumed = wire_offset(&r);
	return PARSE_DONE;
}

/* --- answers --- */

enum socks5_method socks5_method_choose(const struct socks5_greeting *offers,
					enum socks5_auth_policy policy)
{
	bool take_none = offers->offers_none && policy != SOCKS5_AUTH_REQUIRED;
	bool take_password = offers->offers_password && policy != SOCKS5_AUTH_NONE;

	if (take_none && (!take_password || policy == SOCKS5_AUTH_PREFER_NONE)) {
		return SOCKS5_METHOD_NONE;
	}
	return take_password ? SOCKS5_METHOD_PASSWORD : SOCKS5_METHOD_UNACCEPTABLE;
}

#define ANSWER_NOTHING     ""
#define ANSWER_NO_METHOD   "\x05\xff"
#define ANSWER_AUTH_FAILED "\x01\x01"
#define ANSWER_REPLY_01    "\x05\x01\0\x01\0\0\0\0\0\0"
#define ANSWER_REPLY_07    "\x05\x07\0\x01\0\0\0\0\0\0"
#define ANSWER_REPLY_08    "\x05\x08\0\x01\0\0\0\0\0\0"
#define ANSWER_HTTP_501                                       \
	"HTTP/1.0 501 Not Implemented\r\n"                    \
	"Content-Type: text/plain; charset=utf-8\r\n"         \
	"Connection: close\r\n"                               \
	"\r\n"                                                \
	"This is a SOCKS5 proxy, and it was asked in HTTP.\n" \
	"Enter it as SOCKS5 proxy (socks5h://...) in the settings of your client.\n"

#define FAULT_ANSWER(name, token, answer) { ANSWER_##answer, sizeof(ANSWER_##answer) - 1 },

const uint8_t *socks5_fault_answer(enum socks5_fault fault, size_t *ret_len)
{
	static const struct {
		const char *bytes;
		size_t len;
	} answers[] = { SOCKS5_FAULTS(FAULT_ANSWER) };

	*ret_len = answers[fault].len;
	return (const uint8_t *)answers[fault].bytes;
}

void socks5_encode_method(enum socks5_method method, uint8_t ret_bytes[2])
{
	ret_bytes[0] = VERSION;
	ret_bytes[1] = (uint8_t)method;
}

void socks5_encode_auth(bool success, uint8_t ret_bytes[2])
{
	ret_bytes[0] = AUTH_VERSION;
	ret_bytes[1] = success ? AUTH_SUCCESS : AUTH_FAILURE;
}

size_t socks5_encode_address(const struct addr *a, uint8_t ret_bytes[SOCKS5_ADDRESS_MAX])
{
	uint16_t port = addr_port(a);
	size_t len = 1;

	if (a->sa.sa_family == AF_INET6) {
		ret_bytes[0] = ADDRESS_TYPE_IPV6;
		memcpy(ret_bytes + len, &a->in6.sin6_addr, 16);
		len += 16;
	} else {
		ret_bytes[0] = ADDRESS_TYPE_IPV4;
		memcpy(ret_bytes + len, &a->in4.sin_addr, 4);
		len += 4;
	}
	ret_bytes[len++] = (uint8_t)(port >> 8);
	ret_bytes[len++] = (uint8_t)port;
	return len;
}

size_t socks5_encode_reply(enum socks5_reply reply, const struct addr *bound,
			   uint8_t ret_bytes[SOCKS5_REPLY_MAX])
{
	struct addr a = { .in4 = { .sin_family = AF_INET } };

	if (reply == SOCKS5_SUCCEEDED && bound && bound->sa.sa_family != AF_UNSPEC) {
		a = addr_unmap(bound);
	}
	ret_bytes[0] = VERSION;
	ret_bytes[1] = (uint8_t)reply;
	ret_bytes[2] = 0;
	return 3 + socks5_encode_address(&a, ret_bytes + 3);
}

/* --- replies for reasons --- */

enum socks5_reply socks5_reply_from_errno(int err)
{
	switch (err < 0 ? -err : err) {
	case 0:
		return SOCKS5_SUCCEEDED;
	case ECONNREFUSED:
	case ECONNRESET:
		return SOCKS5_CONNECTION_REFUSED;
	case ENETUNREACH:
	case ENETDOWN:
	case ENONET:
		return SOCKS5_NETWORK_UNREACHABLE;
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return SOCKS5_HOST_UNREACHABLE;
	case ETIMEDOUT:
		return SOCKS5_TTL_EXPIRED;
	case EACCES:
	case EPERM:
		return SOCKS5_NOT_ALLOWED;
	case EAFNOSUPPORT:
	case EPFNOSUPPORT:
	case EPROTONOSUPPORT:
	case EINVAL:
		return SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED;
	default:
		return SOCKS5_GENERAL_FAILURE;
	}
}

enum socks5_reply socks5_reply_best(enum socks5_reply a, enum socks5_reply b)
{
	static const uint8_t worth[] = {
		[SOCKS5_COMMAND_NOT_SUPPORTED] = 0,
		[SOCKS5_NOT_ALLOWED] = 1,
		[SOCKS5_GENERAL_FAILURE] = 2,
		[SOCKS5_ADDRESS_TYPE_NOT_SUPPORTED] = 3,
		[SOCKS5_NETWORK_UNREACHABLE] = 4,
		[SOCKS5_HOST_UNREACHABLE] = 5,
		[SOCKS5_TTL_EXPIRED] = 6,
		[SOCKS5_CONNECTION_REFUSED] = 7,
		[SOCKS5_SUCCEEDED] = 8,
	};

	return worth[a] >= worth[b] ? a : b;
}

#define NAME_AT_VALUE(name, value, token) [value] = (token),
#define FAULT_NAME(name, token, answer)   (token),

const char *socks5_command_name(enum socks5_command command)
{
	static const char *const names[] = { SOCKS5_COMMANDS(NAME_AT_VALUE) };

	return names[command];
}

const char *socks5_reply_name(enum socks5_reply reply)
{
	static const char *const names[] = { SOCKS5_REPLIES(NAME_AT_VALUE) };

	return names[reply];
}

const char *socks5_fault_name(enum socks5_fault fault)
{
	static const char *const names[] = { SOCKS5_FAULTS(FAULT_NAME) };

	return names[fault];
}
