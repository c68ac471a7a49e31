/* SPDX-License-Identifier: ISC */
/*
 * The client's side of SOCKS5 (RFC 1928, RFC 1929): CONNECT to an address or a name, with or
 * without a password. Pure; the caller moves the bytes.
 */
#ifndef COMMON_STREAM_SOCKS_CLIENT_H
#define COMMON_STREAM_SOCKS_CLIENT_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest name, user and password, with the final NUL. */
#define SOCKS_TEXT_MAX 256

/* A proxy. */
struct socks_proxy {
	struct addr addr;
	char user[SOCKS_TEXT_MAX]; /* "": no password */
	char password[SOCKS_TEXT_MAX];
};

/* Parse "socks5://[USER:PASSWORD@]IP[:PORT]"; the port is 1080 if none is given. What is before the
 * last "@" is user and password, which the first ":" parts. An IPv4 address that is written as an
 * IPv6 one becomes what it is. 0, -EINVAL, -ENODEV (unknown interface) or -EADDRNOTAVAIL (a
 * multicast or reserved address). */
int socks_proxy_parse(const char *text, struct socks_proxy *ret_proxy);

bool socks_proxy_equal(const struct socks_proxy *a, const struct socks_proxy *b);

/* The way to a server through a proxy. */
struct socks_route {
	struct socks_proxy proxy;
	struct addr addr; /* of the server; AF_UNSPEC: the proxy is to look up the name */
	char name[SOCKS_TEXT_MAX];
	uint16_t port;
};

/* The talk with the proxy, on one connection. */
enum socks_client_state {
	SOCKS_CLIENT_METHOD, /* waits for the method */
	SOCKS_CLIENT_AUTH,
	SOCKS_CLIENT_REPLY,
	SOCKS_CLIENT_ADDRESS, /* of the reply, which nobody needs */
	SOCKS_CLIENT_DONE,
};

struct socks_client {
	const struct socks_route *route; /* borrowed */
	enum socks_client_state state;
	uint8_t out[3 + 2 * SOCKS_TEXT_MAX];
	size_t out_len; /* to be sent */
	uint8_t in[SOCKS_TEXT_MAX + 2];
	size_t in_len;
	size_t in_want; /* what is read at the moment has so many bytes */
};

void socks_client_init(struct socks_client *client, const struct socks_route *route);

/* `len` bytes of out were sent. */
void socks_client_sent(struct socks_client *client, size_t len);

/* How many bytes may be read now: what comes after the talk is not the proxy's. 0 when it is over.
 */
static inline size_t socks_client_want(const struct socks_client *client)
{
	return client->state == SOCKS_CLIENT_DONE ? 0 : client->in_want - client->in_len;
}

/* Take bytes, as many as wanted at most. 0, or what is wrong: -EPROTO (that is no SOCKS5), -EACCES
 * (the proxy wants another password, or any, or does not allow it), -ENETUNREACH, -EHOSTUNREACH,
 * -ECONNREFUSED, -ETIMEDOUT or -ECONNABORTED (as the proxy says). */
int socks_client_take(struct socks_client *client, const uint8_t *bytes, size_t len);

static inline bool socks_client_is_done(const struct socks_client *client)
{
	return client->state == SOCKS_CLIENT_DONE;
}

#endif
