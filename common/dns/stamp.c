/* SPDX-License-Identifier: ISC */
#include "common/dns/stamp.h"

#include "common/base64url.h"
#include "common/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	BINARY_MAX = 1536,
	DNS_PORT = 53,
	DNSCRYPT_PORT = 443,
	HTTPS_PORT = 443,
	TLS_PORT = 853,
	PORT_DIGITS = 5,
	PROPERTIES_BYTES = 8,
	MORE = 0x80, /* in the length of an item: another one follows */
	NAME_MAX_CHARS = 253,
};

static const char scheme[] = "sdns://";

/* --- reading --------------------------------------------------------------------------------- */

static uint64_t take_properties(struct wire_reader *r)
{
	const uint8_t *p = wire_take(r, PROPERTIES_BYTES);
	uint64_t properties = 0;

	for (unsigned i = 0; p && i < PROPERTIES_BYTES; i++) {
		properties |= (uint64_t)p[i] << (8 * i);
	}
	return properties;
}

/* A text with its length before it, without control characters, spaces and what is not ASCII. */
static void take_text(struct wire_reader *r, char ret_text[STAMP_TEXT_MAX])
{
	size_t len = wire_u8(r);
	const uint8_t *p = wire_take(r, len);

	for (size_t i = 0; p && i < len; i++) {
		if (p[i] <= ' ' || p[i] > '~') {
			r->failed = true;
		}
	}
	if (r->failed) {
		len = 0;
	} else {
		memcpy(ret_text, p, len);
	}
	ret_text[len] = '\0';
}

/* 0 or -EINVAL. */
static int parse_port(const char *text, uint16_t *ret_port)
{
	unsigned port = 0;
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > PORT_DIGITS || text[len] != '\0') {
		return -EINVAL;
	}
	for (size_t i = 0; i < len; i++) {
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	*ret_port = (uint16_t)port;
	return port >= 1 && port <= UINT16_MAX ? 0 : -EINVAL;
}

/* "IP", "IP:PORT", ":PORT" or nothing. */
static int parse_addr(const char *text, uint16_t default_port, struct stamp *stamp)
{
	int r;

	stamp->port = default_port;
	if (text[0] == '\0') {
		return 0;
	}
	if (text[0] == ':' && parse_port(text + 1, &stamp->port) == 0) {
		return 0;
	}
	r = addr_parse(text, default_port, &stamp->addr);
	stamp->port = r < 0 ? 0 : addr_port(&stamp->addr);
	return r < 0 || stamp->port == 0 ? -EINVAL : 0;
}

static bool is_name(const char *name)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t len = strlen(name);

	return len > 0 && len <= NAME_MAX_CHARS && strspn(name, letters) == len && name[0] != '.' &&
	       !strstr(name, "..");
}

/* A host name; newer stamps may have the port here. */
static int parse_host(struct stamp *stamp)
{
	char *colon = strchr(stamp->name, ':');

	if (colon) {
		if (parse_port(colon + 1, &stamp->port) < 0) {
			return -EINVAL;
		}
		*colon = '\0';
		if (stamp->addr.sa.sa_family != AF_UNSPEC) {
			addr_set_port(&stamp->addr, stamp->port);
		}
	}
	return is_name(stamp->name) ? 0 : -EINVAL;
}

static void take_hashes(struct wire_reader *r, struct stamp *stamp)
{
	uint8_t len;

	do {
		const uint8_t *p;

		len = wire_u8(r);
		p = wire_take(r, len & ~(unsigned)MORE);
		if (!p || (len & ~(unsigned)MORE) == 0) {
			continue; /* one of no length: the list is empty */
		}
		if ((len & ~(unsigned)MORE) != STAMP_KEY_BYTES ||
		    stamp->hash_count == STAMP_HASHES_MAX) {
			r->failed = true;
			return;
		}
		memcpy(stamp->hashes[stamp->hash_count++], p, STAMP_KEY_BYTES);
	} while (!r->failed && len & MORE);
}

static void take_bootstraps(struct wire_reader *r, struct stamp *stamp)
{
	uint8_t len;

	do {
		char text[MORE];
		const uint8_t *p;

		len = wire_u8(r);
		p = wire_take(r, len & ~(unsigned)MORE);
		if (!p || (len & ~(unsigned)MORE) == 0) {
			continue;
		}
		memcpy(text, p, len & ~(unsigned)MORE);
		text[len & ~(unsigned)MORE] = '\0';
		if (stamp->bootstrap_count < STAMP_BOOTSTRAPS_MAX &&
		    addr_parse(text, DNS_PORT, &stamp->bootstraps[stamp->bootstrap_count++]) < 0) {
			r->failed = true;
		}
	} while (!r->failed && len & MORE);
}

static int parse_dnscrypt(struct wire_reader *r, struct stamp *stamp)
{
	char addr[STAMP_TEXT_MAX];
	const uint8_t *key;
	uint8_t key_len;

	take_text(r, addr);
	key_len = wire_u8(r);
	key = wire_take(r, key_len);
	take_text(r, stamp->name);
	if (r->failed || key_len != STAMP_KEY_BYTES) {
		return -EINVAL;
	}
	memcpy(stamp->key, key, STAMP_KEY_BYTES);
	if (parse_addr(addr, DNSCRYPT_PORT, stamp) < 0 || stamp->addr.sa.sa_family == AF_UNSPEC) {
		return -EINVAL;
	}
	return is_name(stamp->name) ? 0 : -EINVAL;
}

static int parse_encrypted(struct wire_reader *r, struct stamp *stamp)
{
	char addr[STAMP_TEXT_MAX];

	take_text(r, addr);
	take_hashes(r, stamp);
	take_text(r, stamp->name);
	if (stamp->kind == STAMP_HTTPS) {
		take_text(r, stamp->path);
	}
	if (wire_left(r) > 0) {
		take_bootstraps(r, stamp);
	}
	if (r->failed ||
	    parse_addr(addr, stamp->kind == STAMP_HTTPS ? HTTPS_PORT : TLS_PORT, stamp) < 0) {
		return -EINVAL;
	}
	if (stamp->kind == STAMP_HTTPS && stamp->path[0] != '/') {
		return -EINVAL;
	}
	return parse_host(stamp);
}

int stamp_parse(const char *text, struct stamp *ret_stamp)
{
	uint8_t bytes[BINARY_MAX];
	struct wire_reader r;
	ssize_t len;
	int error;

	if (strncmp(text, scheme, sizeof scheme - 1) != 0) {
		return -EINVAL;
	}
	text += sizeof scheme - 1;
	len = base64url_decode(text, strlen(text), bytes, sizeof bytes);
	if (len < 1) {
		return -EINVAL;
	}
	r = wire_reader(bytes, (size_t)len);
	*ret_stamp = (struct stamp){ .kind = (enum stamp_kind)wire_u8(&r) };
	if (ret_stamp->kind < STAMP_DNSCRYPT || ret_stamp->kind > STAMP_TLS) {
		return -EPROTONOSUPPORT;
	}
	ret_stamp->properties = take_properties(&r);
	error = ret_stamp->kind == STAMP_DNSCRYPT ? parse_dnscrypt(&r, ret_stamp)
						  : parse_encrypted(&r, ret_stamp);
	return error == 0 && wire_left(&r) == 0 ? 0 : -EINVAL;
}

/* --- writing --------------------------------------------------------------------------------- */

static void put_item(struct wire_writer *w, const void *bytes, size_t len, bool more)
{
	wire_put_u8(w, (uint8_t)(len | (more ? MORE : 0)));
	wire_put(w, bytes, len);
}

static void put_text(struct wire_writer *w, const char *text)
{
	put_item(w, text, strlen(text), false);
}

static void put_addr(struct wire_writer *w, const struct stamp *stamp)
{
	char text[ADDR_TEXT_MAX];

	if (stamp->addr.sa.sa_family == AF_UNSPEC) {
		snprintf(text, sizeof text, ":%u", stamp->port);
		put_text(w, text);
	} else {
		put_text(w, addr_format(&stamp->addr, text, sizeof text));
	}
}

static void put_encrypted(struct wire_writer *w, const struct stamp *stamp)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < stamp->hash_count; i++) {
		put_item(w, stamp->hashes[i], STAMP_KEY_BYTES, i + 1 < stamp->hash_count);
	}
	if (stamp->hash_count == 0) {
		wire_put_u8(w, 0);
	}
	put_text(w, stamp->name);
	if (stamp->kind == STAMP_HTTPS) {
		put_text(w, stamp->path);
	}
	for (size_t i = 0; i < stamp->bootstrap_count; i++) {
		addr_format(&stamp->bootstraps[i], text, sizeof text);
		put_item(w, text, strlen(text), i + 1 < stamp->bootstrap_count);
	}
}

void stamp_format(const struct stamp *stamp, char ret_text[STAMP_FORMAT_MAX])
{
	uint8_t bytes[BINARY_MAX];
	struct wire_writer w = wire_writer(bytes, sizeof bytes);

	wire_put_u8(&w, (uint8_t)stamp->kind);
	for (unsigned i = 0; i < PROPERTIES_BYTES; i++) {
		wire_put_u8(&w, (uint8_t)(stamp->properties >> (8 * i)));
	}
	put_addr(&w, stamp);
	if (stamp->kind == STAMP_DNSCRYPT) {
		put_item(&w, stamp->key, STAMP_KEY_BYTES, false);
		put_text(&w, stamp->name);
	} else {
		put_encrypted(&w, stamp);
	}
	memcpy(ret_text, scheme, sizeof scheme - 1);
	base64url_encode(bytes, wire_written(&w), ret_text + sizeof scheme - 1);
}
