/* SPDX-License-Identifier: ISC */
/*
 * DNS over HTTPS (RFC 8484) as far as it is neither HTTP/2 (h2.h) nor DNS: which request holds
 * which message, and how the freshness of one and of the other go together. Pure.
 */
#ifndef COMMON_DNS_DOH_H
#define COMMON_DNS_DOH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOH_PATH         "/dns-query"
#define DOH_CONTENT_TYPE "application/dns-message"
/* Longest question taken. */
#define DOH_QUERY_MAX    4096

enum doh_status {
	DOH_OK = 200,
	DOH_BAD_REQUEST = 400,
	DOH_NOT_FOUND = 404,
	DOH_BAD_METHOD = 405,
	DOH_TOO_LARGE = 413,
	DOH_PATH_TOO_LONG = 414,
	DOH_BAD_TYPE = 415,
};

struct doh_request {
	const char *method;
	const char *path; /* with what is behind the "?" */
	const char *content_type;
	const uint8_t *body;
	size_t body_len;
};

/* Find the DNS message of a request: the body of a POST, or the parameter "dns" of a GET, decoded
 * to buf (DOH_QUERY_MAX bytes). On OK *ret_msg points to the body or to buf. Whether it is a DNS
 * message is not looked at. */
enum doh_status doh_find_query(const struct doh_request *request, uint8_t *buf,
			       const uint8_t **ret_msg, size_t *ret_len);

/* Whether a Content-Type is that of DNS messages, with or without parameters. */
bool doh_is_message_type(const char *content_type);

/* Shorten all TTLs of a message by its time in HTTP caches (section 5.1), to 0 at least. A message
 * that is broken is left as it is from there on; it is for others to find out. */
void doh_age(uint8_t *msg, size_t len, uint32_t age_s);

/* How long HTTP caches may keep a message: the shortest TTL of its answers; of a negative answer
 * that of its SOA record, or its MINIMUM if that is less. 0 when there is none, or on an error. */
uint32_t doh_max_age_s(const uint8_t *msg, size_t len);

#endif
