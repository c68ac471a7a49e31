/* SPDX-License-Identifier: ISC */
/*
 * Reads the input as a client's query, and (after two octets that choose settings) as an upstream
 * server's reply to the question it holds itself. What is made of them must read back, and say the
 * same.
 */
#include "common/crypto.h"
#include "dnsproxyd/cache/cache.h"
#include "dnsproxyd/message/dnsmsg.h"
#include "dnsproxyd/message/dnsreply.h"
#include "dnsproxyd/message/special.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds) {
		abort();
	}
}

/* --- queries --- */

static void check_error(const struct dnsmsg_query *query, unsigned rcode)
{
	const struct dnsmsg_ede ede = { DNS_EDE_OTHER, "a text that may be left out" };
	uint8_t buf[DNSMSG_UDP_MIN];
	size_t len = dnsmsg_error(query, rcode, &ede, buf, sizeof buf);
	struct dnsmsg_query again;

	require(len <= sizeof buf && (buf[2] & 0x80));
	require(!query->pad_reply || !query->has_opt || query->question_len == 0 ||
		len % DNSMSG_REPLY_BLOCK == 0 || len == sizeof buf);
	buf[2] &= 0x07; /* read it as a query, for it is shaped like one */
	if (query->question_len > 0) {
		require(dnsmsg_parse_query(buf, len, &again) == DNSMSG_OK);
		require(again.id == query->id && again.has_opt == query->has_opt &&
			again.dnssec_ok == query->dnssec_ok);
	}
}

/* What we answer ourselves must be a sound answer to this question, and say what it may. */
static void check_special(const struct dnsmsg_query *query)
{
	uint8_t buf[SPECIAL_ANSWER_MAX];
	struct dnsmsg_ede ede = { 0, NULL };
	struct dnsreply reply;
	size_t len = special_answer(query, SPECIAL_LOCAL, buf, &ede);

	for (int i = 0; i < 2; i++) {
		if (len > 0) {
			require(dnsreply_check(buf, len, 0, query->question, query->question_len,
					       &reply) == DNSREPLY_OK);
			require(reply.end == len && !reply.authenticated);
			require(i == 1 || (reply.kind != DNSREPLY_OTHER && ede.text));
			len = dnsmsg_answer(buf, len, query, &ede, sizeof buf);
			require(len <= sizeof buf);
		}
		len = special_answer_any(query, buf);
		require(len > 0);
	}
}

static void fuzz_query(const uint8_t *data, size_t size)
{
	struct dnsmsg_query query;
	struct dnsmsg_query again;
	uint8_t buf[DNSMSG_QUERY_MAX];
	char text[DNSNAME_TEXT_MAX];
	uint8_t name[DNSNAME_MAX];
	enum dnsmsg_verdict verdict = dnsmsg_parse_query(data, size, &query);
	size_t len;

	if (verdict == DNSMSG_DROP) {
		return;
	}
	check_error(&query, verdict == DNSMSG_OK ? DNS_RCODE_SERVFAIL : (unsigned)verdict);
	query.pad_reply = query.is_padded;
	check_error(&query, verdict == DNSMSG_OK ? DNS_RCODE_SERVFAIL : (unsigned)verdict);
	if (query.question_len == 0) {
		return;
	}
	require(dnsname_parse(dnsname_format(query.question, text), name, &len) == 0);
	require(len == query.question_len - 4u && memcmp(name, query.question, len) == 0);
	check_special(&query);
	len = dnsmsg_build_query(&query, 77, DNSMSG_SEND_EDNS | DNSMSG_SEND_DO, buf);
	require(dnsmsg_parse_query(buf, len, &again) == DNSMSG_OK);
	require(again.id == 77 && again.dnssec_ok && again.question_len == query.question_len);
	require(memcmp(again.question, query.question, query.question_len) == 0);
	len = dnsmsg_build_query(&query, 77,
				 DNSMSG_SEND_EDNS | DNSMSG_SEND_TRAIL | DNSMSG_SEND_KEEPALIVE |
					 DNSMSG_SEND_PADDING,
				 buf);
	require(len % DNSMSG_QUERY_BLOCK == 0 && len <= sizeof buf);
	require(dnsmsg_parse_query(buf, len, &again) == DNSMSG_OK);
	require(again.is_padded && again.wants_keepalive);
}

/* --- replies --- */

/* The settings of a client that asks what the reply answers. */
static struct dnsmsg_query client_of(const uint8_t *msg, size_t question_len, unsigned settings)
{
	struct dnsmsg_query query = { .id = 0x4242, .question_len = (uint16_t)question_len };

	memcpy(query.question, msg + DNSMSG_HEADER_LEN, question_len);
	dnsname_lower(query.question, query.question, question_len - 4);
	query.flags = (uint16_t)((settings & 1 ? DNSMSG_RD : 0) | (settings & 2 ? DNSMSG_CD : 0) |
				 (settings & 4 ? DNSMSG_AD : 0));
	query.has_opt = settings & 8;
	query.dnssec_ok = query.has_opt && (settings & 16);
	query.payload =
		query.has_opt ? (uint16_t)(DNSMSG_UDP_MIN + (settings >> 5) * 31) : DNSMSG_UDP_MIN;
	return query;
}

static bool name_is_same(const uint8_t *a, size_t a_len, size_t a_offset, const uint8_t *b,
			 size_t b_len, size_t b_offset)
{
	uint8_t names[2][DNSNAME_MAX];
	size_t lens[2];

	require(dnsname_expand(a, a_len, a_offset, names[0], &lens[0]) > 0);
	require(dnsname_expand(b, b_len, b_offset, names[1], &lens[1]) > 0);
	return lens[0] == lens[1] && memcmp(names[0], names[1], lens[0]) == 0;
}

/* The normalized message has the reply's records: the same owners, types, and data where they hold
 * no names. */
static void check_same_records(const uint8_t *msg, const struct dnsreply *reply, const uint8_t *out,
			       const struct dnsreply_body *body, bool dnssec_ok)
{
	size_t start = (size_t)DNSMSG_HEADER_LEN + reply->question_len;
	unsigned qtype = (unsigned)(msg[start - 4] << 8 | msg[start - 3]);
	size_t offset = start;
	size_t count = 0;
	uint32_t least_ttl = UINT32_MAX;
	struct dnsmsg_rr old;
	struct dnsmsg_rr new;

	for (size_t at = start; at < reply->end;) {
		at = dnsmsg_read_rr(msg, reply->end, at, &old);
		require(at > 0);
		if (old.type != DNS_TYPE_OPT) {
			old.ttl = old.ttl > 0x7fffffff ? 0 : old.ttl;
			least_ttl = old.ttl < least_ttl ? old.ttl : least_ttl;
		}
	}
	for (size_t at = start; at < reply->end;) {
		at = dnsmsg_read_rr(msg, reply->end, at, &old);
		require(at > 0);
		if (old.type == DNS_TYPE_OPT) {
			continue;
		}
		if (!dnssec_ok && qtype != DNS_TYPE_ANY && old.type != qtype &&
		    (old.type == DNS_TYPE_RRSIG || old.type == DNS_TYPE_NSEC ||
		     old.type == DNS_TYPE_NSEC3 || old.type == DNS_TYPE_DS ||
		     old.type == DNS_TYPE_DNSKEY)) {
			continue;
		}
		offset = dnsmsg_read_rr(out, body->len, offset, &new);
		require(offset > 0);
		require(new.type == old.type &&new.class == old.class);
		/* The least of its RRset. */
		require(new.ttl <= (old.ttl > 0x7fffffff ? 0 : old.ttl));
		require(new.ttl >= least_ttl);
		require(name_is_same(msg, reply->end, old.owner, out, body->len, new.owner));
		if (old.type == DNS_TYPE_CNAME) {
			require(name_is_same(msg, reply->end, old.rdata, out, body->len,
					     new.rdata));
		}
		if (old.type == DNS_TYPE_A || old.type == DNS_TYPE_AAAA) {
			require(memcmp(msg + old.rdata, out + new.rdata, old.end - old.rdata) == 0);
		}
		if (count < DNSREPLY_RECORDS_MAX) {
			require(body->ttl_offsets[count] == new.ttl_offset);
		}
		count++;
	}
	require(count == body->ttl_count && offset == body->len);
}

/* Make the client's reply of a normalized message and read that. */
static void check_answer(uint8_t *buf, size_t len, const struct dnsmsg_query *query, size_t limit)
{
	const struct dnsmsg_ede ede = { DNS_EDE_STALE_ANSWER, "stale" };
	struct dnsreply reply;

	len = dnsmsg_answer(buf, len, query, &ede, limit);
	require(len <= limit);
	require(dnsreply_check(buf, len, query->id, query->question, query->question_len, &reply) ==
		DNSREPLY_OK);
	require(reply.same_case);
	if (reply.kind != DNSREPLY_TRUNCATED) {
		require(reply.has_opt == query->has_opt && !reply.must_write);
	}
	if (reply.authenticated) {
		require((query->flags & DNSMSG_AD) || query->dnssec_ok);
	}
}

static uint64_t hash_nothing(const struct crypto_key *key, const void *buf, size_t len)
{
	(void)buf;
	return key->bytes[0] + len;
}

/* Keep it for a while, then hand it out. */
static void check_cached(const struct dnsreply *reply, const uint8_t *msg,
			 const struct dnsreply_body *body, const struct dnsmsg_query *query,
			 uint8_t *buf)
{
	const struct crypto_key hash_key = { { 1 } };
	const struct cache_ttls ttls = { .min_s = 0, .max_s = 3600, .negative_max_s = 3600 };
	struct cache *cache = cache_new(CACHE_BYTES_MIN * 8, hash_nothing, &hash_key);
	struct cache_answer answer = { msg,
				       body->len,
				       body->ttl_offsets,
				       body->ttl_count,
				       body->ttl_s,
				       reply->kind != DNSREPLY_POSITIVE };
	uint64_t age_ms = (uint64_t)(body->ttl_s > 3600 ? 3600 : body->ttl_s) * 1000 - 1;
	struct cache_result result;
	struct cache_key key;

	require(cache);
	cache_key_init(&key, cache, query->question, query->question_len, query->dnssec_ok, false,
		       0);
	if (cache_put(cache, &key, &answer, &ttls, 0) == 0) {
		require(cache_get(cache, &key, age_ms, buf, DNSMSG_MAX, &result) == CACHE_HIT);
		require(result.len == body->len && result.ttl_s == 1);
		check_answer(buf, result.len, query, DNSMSG_MAX);
		require(cache_get(cache, &key, age_ms + 1, buf, DNSMSG_MAX, &result) ==
			CACHE_EXPIRED);
	}
	cache_free(cache);
}

static void fuzz_reply(const uint8_t *data, size_t size, unsigned settings)
{
	static uint8_t out[DNSMSG_MAX];
	static uint8_t buf[DNSMSG_MAX];
	static struct dnsreply_body body;
	size_t name_len = size > DNSMSG_HEADER_LEN
				  ? dnsname_len(data + DNSMSG_HEADER_LEN, size - DNSMSG_HEADER_LEN)
				  : 0;
	struct dnsmsg_query query;
	struct dnsreply reply;
	uint16_t id;

	if (name_len == 0 || size < DNSMSG_HEADER_LEN + name_len + 4 || size > DNSMSG_MAX) {
		return;
	}
	id = (uint16_t)(data[0] << 8 | data[1]);
	query = client_of(data, name_len + 4, settings);
	if (dnsreply_check(data, size, id, query.question, query.question_len, &reply) !=
		    DNSREPLY_OK ||
	    dnsreply_normalize(data, &reply, query.dnssec_ok, out, sizeof out, &body) < 0) {
		return;
	}
	check_same_records(data, &reply, out, &body, query.dnssec_ok);
	if (body.ttl_s > 0) {
		check_cached(&reply, out, &body, &query, buf);
	}
	memcpy(buf, out, body.len);
	check_answer(buf, body.len, &query, dnsmsg_udp_limit(&query, DNSMSG_UDP_PAYLOAD));
	memcpy(buf, out, body.len);
	check_answer(buf, body.len, &query, DNSMSG_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2) {
		return 0;
	}
	fuzz_query(data + 2, size - 2);
	fuzz_reply(data + 2, size - 2, (unsigned)(data[0] << 8 | data[1]));
	return 0;
}
