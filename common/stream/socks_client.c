/* SPDX-License-Identifier: ISC */
#include "common/stream/socks_client.h"

#include "common/container.h"
#include "common/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
	SOCKS_PORT = 1080,
	VERSION = 5,
	AUTH_VERSION = 1,
	METHOD_NONE = 0,
	METHOD_PASSWORD = 2,
	METHOD_UNACCEPTABLE = 0xff,
	COMMAND_CONNECT = 1,
	TYPE_IPV4 = 1,
	TYPE_NAME = 3,
	TYPE_IPV6 = 4,
	REPLY_HEAD_LEN = 5, /* up to the first byte of the address, which may be a length */
	TEXT_MAX = SOCKS_TEXT_MAX - 1,
};

static const char scheme[] = "socks5://";

/* --- configuration --------------------------------------------------------------------------- */

static int take_text(const char *text, size_t len, char ret_text[SOCKS_TEXT_MAX])
{
	if (len == 0 || len > TEXT_MAX) {
		return -EINVAL;
	}
	memcpy(ret_text, text, len);
	ret_text[len] = '\0';
	return 0;
}

int socks_proxy_parse(const char *text, struct socks_proxy *ret_proxy)
{
	const char *at;
	int r;

	*ret_proxy = (struct socks_proxy){ 0 };
	if (strncmp(text, scheme, sizeof scheme - 1) != 0) {
		return -EINVAL;
	}
	text += sizeof scheme - 1;
	at = strrchr(text, '@');
	if (at) {
		const char *colon = memchr(text, ':', (size_t)(at - text));

		if (!colon || take_text(text, (size_t)(colon - text), ret_proxy->user) < 0 ||
		    take_text(colon + 1, (size_t)(at - colon - 1), ret_proxy->password) < 0) {
			return -EINVAL;
		}
		text = at + 1;
	}
	r = addr_parse(text, SOCKS_PORT, &ret_proxy->addr);
	if (r < 0) {
		return r;
	}
	ret_proxy->addr = addr_unmap(&ret_proxy->addr);
	return addr_is_unicast(&ret_proxy->addr) ? 0 : -EADDRNOTAVAIL;
}

bool socks_proxy_equal(const struct socks_proxy *a, const struct socks_proxy *b)
{
	return addr_equal(&a->addr, &b->addr) && strcmp(a->user, b->user) == 0 &&
	       strcmp(a->password, b->password) == 0;
}

/* --- what is sent ---------------------------------------------------------------------------- */

static void end_out(struct socks_client *c, const struct wire_writer *w)
{
	assert(!w->failed);
	c->out_len = wire_written(w);
}

static void put_text(struct wire_writer *w, const char *text)
{
	wire_put_u8(w, (uint8_t)strlen(text));
	wire_put(w, text, strlen(text));
}

static void await(struct socks_client *c, enum socks_client_state state, size_t len)
{
	c->state = state;
	c->in_len = 0;
	c->in_want = len;
}

/* Without a password only to do without is offered, so that none is asked for in vain. */
void socks_client_init(struct socks_client *c, const struct socks_route *route)
{
	struct wire_writer w;
	bool has_password = route->proxy.user[0] != '\0';

	c->route = route;
	w = wire_writer(c->out, sizeof c->out);
	wire_put_u8(&w, VERSION);
	wire_put_u8(&w, 1);
	wire_put_u8(&w, has_password ? METHOD_PASSWORD : METHOD_NONE);
	end_out(c, &w);
	await(c, SOCKS_CLIENT_METHOD, 2);
}

static void send_auth(struct socks_client *c)
{
	struct wire_writer w = wire_writer(c->out, sizeof c->out);

	wire_put_u8(&w, AUTH_VERSION);
	put_text(&w, c->route->proxy.user);
	put_text(&w, c->route->proxy.password);
	end_out(c, &w);
	await(c, SOCKS_CLIENT_AUTH, 2);
}

static void send_request(struct socks_client *c)
{
	const struct addr *addr = &c->route->addr;
	struct wire_writer w = wire_writer(c->out, sizeof c->out);

	wire_put_u8(&w, VERSION);
	wire_put_u8(&w, COMMAND_CONNECT);
	wire_put_u8(&w, 0);
	switch (addr->sa.sa_family) {
	case AF_INET:
		wire_put_u8(&w, TYPE_IPV4);
		wire_put(&w, &addr->in4.sin_addr, sizeof addr->in4.sin_addr);
		break;
	case AF_INET6:
		wire_put_u8(&w, TYPE_IPV6);
		wire_put(&w, &addr->in6.sin6_addr, sizeof addr->in6.sin6_addr);
		break;
	default:
		wire_put_u8(&w, TYPE_NAME);
		put_text(&w, c->route->name);
		break;
	}
	wire_put_u16(&w, c->route->port);
	end_out(c, &w);
	await(c, SOCKS_CLIENT_REPLY, REPLY_HEAD_LEN);
}

void socks_client_sent(struct socks_client *c, size_t len)
{
	assert(len <= c->out_len);
	c->out_len -= len;
	memmove(c->out, c->out + len, c->out_len);
}

/* --- what comes ------------------------------------------------------------------------------ */

static int take_method(struct socks_client *c)
{
	if (c->in[0] != VERSION) {
		return -EPROTO;
	}
	if (c->in[1] == METHOD_UNACCEPTABLE) {
		return -EACCES;
	}
	if (c->in[1] == METHOD_PASSWORD && c->route->proxy.user[0]) {
		send_auth(c);
		return 0;
	}
	if (c->in[1] == METHOD_NONE && !c->route->proxy.user[0]) {
		send_request(c);
		return 0;
	}
	return -EPROTO;
}

static int take_auth(struct socks_client *c)
{
	if (c->in[0] != AUTH_VERSION) {
		return -EPROTO;
	}
	if (c->in[1] != 0) {
		return -EACCES;
	}
	send_request(c);
	return 0;
}

/* RFC 1928 section 6. */
static int take_reply(struct socks_client *c)
{
	static const int errors[] = {
		0,          -ECONNABORTED, -EACCES, -ENETUNREACH, -EHOSTUNREACH, -ECONNREFUSED,
		-ETIMEDOUT, -EPROTO,       -EPROTO
	};
	size_t rest; /* of address and port */

	if (c->in[0] != VERSION || c->in[1] >= ARRAY_SIZE(errors)) {
		return -EPROTO;
	}
	if (c->in[1] != 0) {
		return errors[c->in[1]];
	}
	switch (c->in[3]) {
	case TYPE_IPV4:
		rest = 3 + 2;
		break;
	case TYPE_IPV6:
		rest = 15 + 2;
		break;
	case TYPE_NAME:
		rest = (size_t)c->in[4] + 2;
		break;
	default:
		return -EPROTO;
	}
	await(c, SOCKS_CLIENT_ADDRESS, rest);
	return 0;
}

int socks_client_take(struct socks_client *c, const uint8_t *bytes, size_t len)
{
	assert(len <= socks_client_want(c));
	memcpy(c->in + c->in_len, bytes, len);
	c->in_len += len;
	if (c->in_len < c->in_want) {
		return 0;
	}
	switch (c->state) {
	case SOCKS_CLIENT_METHOD:
		return take_method(c);
	case SOCKS_CLIENT_AUTH:
		return take_auth(c);
	case SOCKS_CLIENT_REPLY:
		return take_reply(c);
	case SOCKS_CLIENT_ADDRESS:
		c->state = SOCKS_CLIENT_DONE;
		return 0;
	case SOCKS_CLIENT_DONE:
		break;
	}
	return 0;
}
