/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/querylog.h"

#include "common/container.h"

#include <stdio.h>
#include <string.h>

/* The order of the choices in config.h. */
enum {
	CLIENTS_FULL,
	CLIENTS_NETWORK,
	CLIENTS_NONE,
};
enum {
	NAMES_FULL,
	NAMES_NONE,
};

enum {
	IPV4_NETWORK_BITS = 24,
	IPV6_NETWORK_BITS = 48,
	TYPE_TEXT_MAX = 16,
};

static const char *const source_names[] = {
#define X(name, token) [QUERY_FROM_##name] = token,
	QUERY_SOURCES(X)
#undef X
};

static const struct {
	uint16_t type;
	const char *name;
} type_names[] = {
	{ 1, "A" },      { 2, "NS" },     { 5, "CNAME" },   { 6, "SOA" },   { 12, "PTR" },
	{ 15, "MX" },    { 16, "TXT" },   { 28, "AAAA" },   { 33, "SRV" },  { 35, "NAPTR" },
	{ 43, "DS" },    { 46, "RRSIG" }, { 48, "DNSKEY" }, { 52, "TLSA" }, { 64, "SVCB" },
	{ 65, "HTTPS" }, { 255, "ANY" },  { 257, "CAA" },
};

static const char *type_text(uint16_t type, char buf[TYPE_TEXT_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
		if (type_names[i].type == type) {
			return type_names[i].name;
		}
	}
	snprintf(buf, TYPE_TEXT_MAX, "TYPE%u", type);
	return buf;
}

bool querylog_wanted(const struct log_params *params)
{
	return log_wanted(params->query_log ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
}

const char *querylog_client(const struct log_params *params, const struct addr *client,
			    char buf[ADDR_TEXT_MAX])
{
	struct prefix prefix = { .base = addr_unmap(client) };

	if (params->clients == CLIENTS_NONE) {
		strcpy(buf, "-");
		return buf;
	}
	if (params->clients == CLIENTS_FULL) {
		return addr_format_ip(&prefix.base, buf, ADDR_TEXT_MAX);
	}
	if (prefix.base.sa.sa_family == AF_INET6) {
		memset(prefix.base.in6.sin6_addr.s6_addr + IPV6_NETWORK_BITS / 8, 0,
		       16 - IPV6_NETWORK_BITS / 8);
		prefix.base.in6.sin6_scope_id = 0;
		prefix.bits = IPV6_NETWORK_BITS;
	} else {
		prefix.base.in4.sin_addr.s_addr &= htonl(UINT32_MAX << (32 - IPV4_NETWORK_BITS));
		prefix.bits = IPV4_NETWORK_BITS;
	}
	return prefix_format(&prefix, buf, ADDR_TEXT_MAX);
}

void querylog_write(const struct log_params *params, const struct addr *client, const char *by,
		    const struct dnsmsg_query *query, const uint8_t *reply, size_t reply_len,
		    enum query_source source, uint64_t took_ms)
{
	char client_text[ADDR_TEXT_MAX];
	char type_buf[TYPE_TEXT_MAX];
	char name[DNSNAME_TEXT_MAX] = "-";
	struct dnsmsg_header header = { .flags = 0 };

	if (query->question_len > 0 && params->names == NAMES_FULL) {
		dnsname_format(query->question, name);
	}
	dnsmsg_read_header(reply, reply_len, &header);
	log_event(params->query_log ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "query",
		  KV_TEXT("client", querylog_client(params, client, client_text)),
		  KV_TEXT("by", by), KV_TEXT("name", name),
		  KV_TEXT("type", type_text(query->qtype, type_buf)),
		  KV_UINT("rcode", header.flags & DNSMSG_RCODE), KV_UINT("answers", header.ancount),
		  KV_UINT("bytes", reply_len), KV_TEXT("from", source_names[source]),
		  KV_UINT("ms", took_ms));
}
