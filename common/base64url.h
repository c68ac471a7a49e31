/* SPDX-License-Identifier: ISC */
/*
 * Base64 with the URL alphabet and without padding (RFC 4648 section 5), as DNS stamps and the GET
 * form of DNS over HTTPS (RFC 8484 section 4.1.1) have it. Pure.
 */
#ifndef COMMON_BASE64URL_H
#define COMMON_BASE64URL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Characters for len bytes, without a final NUL. */
#define BASE64URL_CHARS(len) (((len)*4 + 2) / 3)

/* Decode len characters. Strict: no padding, no space, no bits that carry nothing. Returns how many
 * bytes there are, -EINVAL (that is no such text) or -EMSGSIZE (more than cap). */
ssize_t base64url_decode(const char *text, size_t len, uint8_t *ret_bytes, size_t cap);

/* Encode to ret_text, which has room for BASE64URL_CHARS(len) and a NUL. Returns its length. */
size_t base64url_encode(const uint8_t *bytes, size_t len, char *ret_text);

#endif
