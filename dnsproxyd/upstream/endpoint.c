/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/endpoint.h"

#include "common/container.h"

#include "dnsproxyd/message/dnsname.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	DNS_PORT = 53,
	TLS_PORT = 853,
	HTTPS_PORT = 443,
	PORT_MAX = 65535,
};

static const struct scheme {
	const char *prefix;
	enum endpoint_protocol protocol;
	uint16_t port;
	bool has_names;
	bool has_path;
} schemes[] = {
	{ "tcp://", ENDPOINT_TCP, DNS_PORT, false, false },
	{ "tls://", ENDPOINT_TLS, TLS_PORT, true, false },
	{ "https://", ENDPOINT_HTTPS, HTTPS_PORT, true, true },
};

static const char stamp_prefix[] = "sdns://";
static const char default_path[] = "/dns-query";

/* A host name of len octets, as certificates have them: letters, digits, hyphens and underscores,
 * at least one letter in the last label. 0 or -EINVAL. */
static int parse_name(const char *text, size_t len, char ret_name[ENDPOINT_NAME_MAX])
{
	uint8_t wire[DNSNAME_MAX];
	size_t wire_len;
	const char *last;

	if (len == 0 || len >= ENDPOINT_NAME_MAX) {
		return -EINVAL;
	}
	memcpy(ret_name, text, len);
	ret_name[len] = '\0';
	if (strspn(ret_name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "0123456789-_.") != len ||
	    ret_name[len - 1] == '.' || dnsname_parse(ret_name, wire, &wire_len) < 0) {
		return -EINVAL;
	}
	last = strrchr(ret_name, '.');
	last = last ? last + 1 : ret_name;
	return last[strspn(last, "0123456789")] == '\0' ? -EINVAL : 0;
}

/* Decimal digits to the end of the text. 0 or -EINVAL. */
static int parse_port(const char *text, uint16_t *ret_port)
{
	unsigned port = 0;

	if (*text == '\0' || strlen(text) > 5 || text[strspn(text, "0123456789")] != '\0') {
		return -EINVAL;
	}
	for (; *text; text++) {
		port = port * 10 + (unsigned)(*text - '0');
	}
	if (port == 0 || port > PORT_MAX) {
		return -EINVAL;
	}
	*ret_port = (uint16_t)port;
	return 0;
}

/* NAME or NAME:PORT. */
static int parse_by_name(const char *text, struct endpoint *ret)
{
	size_t len = strcspn(text, ":");
	int r = parse_name(text, len, ret->name);

	if (r == 0 && text[len] == ':') {
		r = parse_port(text + len + 1, &ret->port);
	}
	return r;
}

/* ADDRESS[:PORT], where names are known also ADDRESS[:PORT]#NAME or NAME[:PORT]. */
static int parse_server(const char *text, const struct scheme *scheme, struct endpoint *ret)
{
	char host[ADDR_TEXT_MAX];
	size_t len = scheme->has_names ? strcspn(text, "#") : strlen(text);
	int r = -EINVAL;

	ret->port = scheme->port;
	if (len < sizeof host) {
		memcpy(host, text, len);
		host[len] = '\0';
		r = addr_parse(host, scheme->port, &ret->addr);
	}
	if (r == 0) {
		ret->port = addr_port(&ret->addr);
		return text[len] == '#'
			       ? parse_name(text + len + 1, strlen(text + len + 1), ret->name)
			       : 0;
	}
	memset(&ret->addr, 0, sizeof ret->addr);
	if (r == -EINVAL && scheme->has_names && text[len] == '\0') {
		r = parse_by_name(text, ret);
	}
	return r;
}

/* The path of a server by HTTPS, between "/" and "#", is cut out; the rest is like that of others.
 */
static int parse_with_path(const char *text, const struct scheme *scheme, struct endpoint *ret)
{
	char rest[ENDPOINT_TEXT_MAX];
	size_t host_len = strcspn(text, "/#");
	size_t path_len = strcspn(text + host_len, "#");
	const char *path = text + host_len;

	if (strlen(text) >= sizeof rest || path_len >= sizeof ret->path) {
		return -EINVAL;
	}
	for (size_t i = 0; i < path_len; i++) {
		if (path[i] <= ' ' || path[i] > '~') {
			return -EINVAL;
		}
	}
	memcpy(rest, text, host_len);
	memcpy(rest + host_len, path + path_len, strlen(path + path_len) + 1);
	if (path_len > 0) {
		memcpy(ret->path, path, path_len);
	} else {
		memcpy(ret->path, default_path, sizeof default_path);
	}
	return parse_server(rest, scheme, ret);
}

static int parse_stamp(const char *text, struct endpoint *ret)
{
	static const enum endpoint_protocol protocols[] = {
		[STAMP_DNSCRYPT] = ENDPOINT_DNSCRYPT,
		[STAMP_HTTPS] = ENDPOINT_HTTPS,
		[STAMP_TLS] = ENDPOINT_TLS,
	};
	struct stamp stamp;
	int r = stamp_parse(text, &stamp);

	if (r < 0) {
		return r;
	}
	ret->protocol = protocols[stamp.kind];
	ret->addr = stamp.addr;
	ret->port = stamp.port;
	ret->hash_count = stamp.hash_count;
	memcpy(ret->path, stamp.path, sizeof ret->path);
	memcpy(ret->key, stamp.key, sizeof ret->key);
	memcpy(ret->hashes, stamp.hashes, sizeof ret->hashes);
	if (stamp.kind == STAMP_DNSCRYPT) {
		/* Not a host's; the stamp has checked it. */
		snprintf(ret->name, sizeof ret->name, "%.*s", ENDPOINT_NAME_MAX - 1, stamp.name);
		return 0;
	}
	return parse_name(stamp.name, strlen(stamp.name), ret->name);
}

static int parse(const char *text, struct endpoint *ret_endpoint)
{
	static const struct scheme plain = { "", ENDPOINT_UDP, DNS_PORT, false, false };
	const struct scheme *scheme = &plain;

	*ret_endpoint = (struct endpoint){ .protocol = ENDPOINT_UDP };
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
			scheme = &schemes[i];
		}
	}
	if (strncmp(text, stamp_prefix, sizeof stamp_prefix - 1) == 0) {
		return parse_stamp(text, ret_endpoint);
	}
	if (scheme == &plain && strstr(text, "://")) {
		return -EPROTONOSUPPORT;
	}
	ret_endpoint->protocol = scheme->protocol;
	text += strlen(scheme->prefix);
	return scheme->has_path ? parse_with_path(text, scheme, ret_endpoint)
				: parse_server(text, scheme, ret_endpoint);
}

int endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
	int r = parse(text, ret_endpoint);

	if (r < 0) {
		return r;
	}
	ret_endpoint->addr = addr_unmap(&ret_endpoint->addr);
	return addr_is_unicast(&ret_endpoint->addr) ? 0 : -EADDRNOTAVAIL;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->protocol == b->protocol && a->port == b->port && addr_equal(&a->addr, &b->addr) &&
	       strcasecmp(a->name, b->name) == 0 && strcmp(a->path, b->path) == 0 &&
	       memcmp(a->key, b->key, sizeof a->key) == 0 && a->hash_count == b->hash_count &&
	       memcmp(a->hashes, b->hashes, sizeof a->hashes) == 0;
}

const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX])
{
	const char *prefix = endpoint->protocol == ENDPOINT_DNSCRYPT ? "dnscrypt://" : "";
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (schemes[i].protocol == endpoint->protocol) {
			prefix = schemes[i].prefix;
		}
	}
	if (endpoint_needs_address(endpoint)) {
		snprintf(buf, ENDPOINT_TEXT_MAX, "%s%s:%u%s", prefix, endpoint->name,
			 (unsigned)endpoint->port, endpoint->path);
	} else {
		snprintf(buf, ENDPOINT_TEXT_MAX, "%s%s%s%s%s", prefix,
			 addr_format(&endpoint->addr, text, sizeof text), endpoint->path,
			 endpoint->name[0] ? "#" : "", endpoint->name);
	}
	return buf;
}
