/* SPDX-License-Identifier: ISC */
#include "common/dns/doh.h"

#include "common/base64url.h"
#include "common/wire.h"

#include <string.h>
#include <strings.h>

enum {
	POINTER = 0xc0,
	TYPE_SOA = 6,
	TYPE_OPT = 41,
	RCODE_MASK = 0x0f,
	RCODE_NXDOMAIN = 3,
	SOA_NUMBERS_LEN = 20, /* at the end of its data; the last of them is MINIMUM */
};

/* --- requests -------------------------------------------------------------------------------- */

bool doh_is_message_type(const char *content_type)
{
	static const char type[] = DOH_CONTENT_TYPE;
	const char *rest = content_type + sizeof type - 1;

	if (strncasecmp(content_type, type, sizeof type - 1) != 0) {
		return false;
	}
	rest += strspn(rest, " \t");
	return *rest == '\0' || *rest == ';';
}

/* The value of the parameter "dns", which must be there once. */
static const char *find_parameter(const char *parameters, size_t *ret_len)
{
	const char *found = NULL;

	while (*parameters) {
		size_t len = strcspn(parameters, "&");

		if (strncmp(parameters, "dns=", 4) == 0) {
			if (found) {
				return NULL;
			}
			found = parameters + 4;
			*ret_len = len - 4;
		}
		parameters += len + (parameters[len] == '&');
	}
	return found;
}

static enum doh_status decode_get(const char *path, uint8_t *buf, size_t *ret_len)
{
	const char *mark = strchr(path, '?');
	size_t text_len;
	const char *text = mark ? find_parameter(mark + 1, &text_len) : NULL;
	ssize_t len;

	if (!text) {
		return DOH_BAD_REQUEST;
	}
	if (text_len > BASE64URL_CHARS(DOH_QUERY_MAX)) {
		return DOH_TOO_LARGE;
	}
	len = base64url_decode(text, text_len, buf, DOH_QUERY_MAX);
	if (len <= 0) {
		return DOH_BAD_REQUEST;
	}
	*ret_len = (size_t)len;
	return DOH_OK;
}

enum doh_status doh_find_query(const struct doh_request *request, uint8_t *buf,
			       const uint8_t **ret_msg, size_t *ret_len)
{
	size_t path_len = strcspn(request->path, "?");

	if (path_len != sizeof DOH_PATH - 1 || memcmp(request->path, DOH_PATH, path_len) != 0) {
		return DOH_NOT_FOUND;
	}
	if (strcmp(request->method, "GET") == 0) {
		*ret_msg = buf;
		return decode_get(request->path, buf, ret_len);
	}
	if (strcmp(request->method, "POST") != 0) {
		return DOH_BAD_METHOD;
	}
	if (!doh_is_message_type(request->content_type)) {
		return DOH_BAD_TYPE;
	}
	if (request->body_len > DOH_QUERY_MAX) {
		return DOH_TOO_LARGE;
	}
	if (request->body_len == 0) {
		return DOH_BAD_REQUEST;
	}
	*ret_msg = request->body;
	*ret_len = request->body_len;
	return DOH_OK;
}

/* --- freshness ------------------------------------------------------------------------------- */

/* The records of a message, one after the other. */
struct records {
	struct wire_reader r;
	unsigned left[3]; /* answers, authorities, additional records to come */
	uint8_t rcode;
};

struct record {
	unsigned section; /* index in left */
	uint16_t type;
	size_t ttl_offset;
	uint32_t ttl_s;
	const uint8_t *data;
	size_t len;
};

static void skip_name(struct wire_reader *r)
{
	uint8_t len;

	do {
		len = wire_u8(r);
		if ((len & POINTER) == POINTER) {
			wire_take(r, 1);
			return;
		}
		wire_take(r, len);
	} while (len > 0 && !r->failed);
}

static struct records records_of(const uint8_t *msg, size_t len)
{
	struct records records = { .r = wire_reader(msg, len) };
	struct wire_reader *r = &records.r;
	unsigned questions;

	wire_take(r, 3);
	records.rcode = wire_u8(r) & RCODE_MASK;
	questions = wire_u16(r);
	for (unsigned i = 0; i < 3; i++) {
		records.left[i] = wire_u16(r);
	}
	for (; questions > 0 && !r->failed; questions--) {
		skip_name(r);
		wire_take(r, 4);
	}
	return records;
}

/* False at the end, or where the message is broken. */
static bool records_next(struct records *records, struct record *ret_record)
{
	struct wire_reader *r = &records->r;
	unsigned section = 0;

	while (section < 3 && records->left[section] == 0) {
		section++;
	}
	if (section == 3) {
		return false;
	}
	records->left[section]--;
	skip_name(r);
	ret_record->section = section;
	ret_record->type = wire_u16(r);
	wire_u16(r);
	ret_record->ttl_offset = wire_offset(r);
	ret_record->ttl_s = wire_u32(r);
	if (ret_record->ttl_s > INT32_MAX) {
		ret_record->ttl_s = 0; /* RFC 2181 section 8 */
	}
	ret_record->len = wire_u16(r);
	ret_record->data = wire_take(r, ret_record->len);
	return !r->failed;
}

void doh_age(uint8_t *msg, size_t len, uint32_t age_s)
{
	struct records records = records_of(msg, len);
	struct record record;

	while (age_s > 0 && records_next(&records, &record)) {
		uint32_t ttl_s = record.ttl_s > age_s ? record.ttl_s - age_s : 0;
		struct wire_writer w =
			wire_writer(msg + record.ttl_offset, len - record.ttl_offset);

		/* What stands there in an OPT record is no time. */
		if (record.type != TYPE_OPT) {
			wire_put_u32(&w, ttl_s);
		}
	}
}

static uint32_t soa_ttl_s(const struct record *record)
{
	struct wire_reader r;
	uint32_t minimum_s;

	if (record->len < SOA_NUMBERS_LEN) {
		return 0;
	}
	r = wire_reader(record->data + record->len - 4, 4);
	minimum_s = wire_u32(&r);
	return minimum_s < record->ttl_s ? minimum_s : record->ttl_s;
}

uint32_t doh_max_age_s(const uint8_t *msg, size_t len)
{
	struct records records = records_of(msg, len);
	bool has_answers = records.left[0] > 0;
	uint32_t min_s = UINT32_MAX;
	struct record record;

	if (records.rcode != 0 && records.rcode != RCODE_NXDOMAIN) {
		return 0;
	}
	while (records_next(&records, &record) && record.section < 2) {
		uint32_t ttl_s = record.ttl_s;

		if (record.section == 1) {
			if (has_answers || record.type != TYPE_SOA) {
				continue;
			}
			ttl_s = soa_ttl_s(&record);
		}
		min_s = ttl_s < min_s ? ttl_s : min_s;
	}
	return records.r.failed || min_s == UINT32_MAX ? 0 : min_s;
}
