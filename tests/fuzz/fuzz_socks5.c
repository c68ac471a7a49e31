/* SPDX-License-Identifier: ISC */
/* The first byte chooses the parser, the rest is what a client sent. */
#include "socksd/protocol/socks5.h"

#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	enum parse_result result;
	size_t consumed;
	enum socks5_fault fault;
	struct socks5_greeting greeting;
	struct socks5_credentials credentials;
	struct socks5_request request;
};

static enum parse_result parse(uint8_t parser, const uint8_t *buf, size_t len,
			       struct outcome *ret_outcome)
{
	struct outcome *o = ret_outcome;

	memset(o, 0, sizeof *o);
	switch (parser % 3) {
	case 0:
		o->result = socks5_parse_greeting(buf, len, &o->greeting, &o->consumed, &o->fault);
		break;
	case 1:
		o->result = socks5_parse_auth(buf, len, &o->credentials, &o->consumed, &o->fault);
		break;
	default:
		o->result = socks5_parse_request(buf, len, &o->request, &o->consumed, &o->fault);
		break;
	}
	return o->result;
}

/* Parse a copy of exactly that size: bytes read past the end are found. */
static struct outcome parse_copy(uint8_t parser, const uint8_t *buf, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct outcome o;

	assert(copy);
	if (len) {
		memcpy(copy, buf, len);
	}
	if (parse(parser, copy, len, &o) == PARSE_DONE && parser % 3 == 1) {
		const struct socks5_credentials *c = &o.credentials;

		assert(c->name == copy + 2 && c->password == c->name + c->name_len + 1);
		assert(o.consumed == 3u + c->name_len + c->password_len);
		/* Results that point into the buffer are compared by their place in it. */
		o.credentials.name = buf + (c->name - copy);
		o.credentials.password = buf + (c->password - copy);
	}
	free(copy);
	return o;
}

static bool same_outcome(const struct outcome *a, const struct outcome *b)
{
	const struct socks5_target *ta = &a->request.target;
	const struct socks5_target *tb = &b->request.target;

	return a->result == b->result && a->consumed == b->consumed && a->fault == b->fault &&
	       a->greeting.offers_none == b->greeting.offers_none &&
	       a->greeting.offers_password == b->greeting.offers_password &&
	       a->credentials.name == b->credentials.name &&
	       a->credentials.name_len == b->credentials.name_len &&
	       a->credentials.password == b->credentials.password &&
	       a->credentials.password_len == b->credentials.password_len &&
	       a->request.command == b->request.command && ta->port == tb->port &&
	       addr_equal(&ta->addr, &tb->addr) && strcmp(ta->name, tb->name) == 0;
}

static void check_target(const struct socks5_request *request)
{
	const struct socks5_target *t = &request->target;
	size_t len = strlen(t->name);
	struct addr a;

	assert(request->command != SOCKS5_CONNECT || t->port != 0);
	if (t->addr.sa.sa_family != AF_UNSPEC) {
		a = addr_unmap(&t->addr);
		assert(len == 0 && addr_equal(&a, &t->addr) && addr_port(&t->addr) == t->port);
		return;
	}
	assert(len > 0 && len <= SOCKS5_NAME_MAX && t->name[0] != '.' && t->name[len - 1] != '.');
	assert(strspn(t->name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len);
	assert(!strstr(t->name, ".."));
	assert(addr_parse_ip(t->name, &a) < 0);
}

/* What a target came out as goes in again, and comes out the same. */
static void check_again(const struct socks5_request *request)
{
	uint8_t message[SOCKS5_REQUEST_MAX] = { 0x05, (uint8_t)request->command, 0x00, 0x03 };
	const struct socks5_target *t = &request->target;
	char text[ADDR_TEXT_MAX];
	const char *host = t->name;
	size_t host_len;
	struct outcome o;

	if (t->addr.sa.sa_family != AF_UNSPEC) {
		host = addr_format_ip(&t->addr, text, sizeof text);
	}
	host_len = strlen(host);
	message[4] = (uint8_t)host_len;
	memcpy(message + 5, host, host_len);
	message[5 + host_len] = (uint8_t)(t->port >> 8);
	message[6 + host_len] = (uint8_t)t->port;
	assert(parse(2, message, 7 + host_len, &o) == PARSE_DONE);
	assert(o.request.command == request->command && o.request.target.port == t->port);
	assert(addr_equal(&o.request.target.addr, &t->addr));
	assert(strcmp(o.request.target.name, t->name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole;
	struct outcome first;
	size_t answer_len;
	size_t n = 0;

	if (size < 1 || size > 1 + SOCKS5_MESSAGE_MAX + 16) {
		return 0;
	}
	whole = parse_copy(data[0], data + 1, size - 1);
	/* Byte by byte: "more" until it is decided, with the verdict that the whole gets. */
	do {
		first = parse_copy(data[0], data + 1, n);
	} while (first.result == PARSE_NEED_MORE && n++ < size - 1);
	assert(same_outcome(&first, &whole));
	switch (whole.result) {
	case PARSE_NEED_MORE:
		assert(size - 1 < SOCKS5_MESSAGE_MAX);
		break;
	case PARSE_DONE:
		assert(n == whole.consumed);
		if (data[0] % 3 == 2) {
			check_target(&whole.request);
			check_again(&whole.request);
		}
		break;
	case PARSE_INVALID:
		assert(socks5_fault_answer(whole.fault, &answer_len) &&
		       *socks5_fault_name(whole.fault));
		break;
	}
	return 0;
}
