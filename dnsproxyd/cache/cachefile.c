/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cachefile.h"

#include "common/crypto.h"
#include "common/wire.h"

#include "dnsproxyd/message/dnsreply.h"

#include <stdlib.h>
#include <string.h>

#define VERSION      2
#define RECORD_LEN   8 /* length of the message, group, flags, age */

#define RECORD_DO    1
#define RECORD_CD    2

#define CAP_MIN      65536

/* Stands for the place in the header's checksum. */
#define HEADER_PLACE UINT32_MAX

/* What is older is of no use, however long it was good for and may be stale. */
#define AGE_MAX_MS   (UINT64_C(31) * 24 * 3600 * 1000)

static const uint8_t magic[8] = { 'S', 'T', 'I', 'L', 'E', 'D', 'N', 'S' };

static void put_u64(struct wire_writer *w, uint64_t value)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof bytes; i++) {
		bytes[i] = (uint8_t)(value >> (56 - 8 * i));
	}
	wire_put(w, bytes, sizeof bytes);
}

static uint64_t get_u64(struct wire_reader *r)
{
	uint64_t high = wire_u32(r);

	return high << 32 | wire_u32(r);
}

/* Of these octets at this place of the file that was begun at this time. There is no secret in it:
 * it is against accidents, and who can write the file can forge it. */
static uint64_t checksum(const void *bytes, size_t len, uint32_t place, uint64_t wall_ms)
{
	struct crypto_key key;
	struct wire_writer w = wire_writer(key.bytes, sizeof key.bytes);

	wire_put_u32(&w, place);
	wire_put_u32(&w, (uint32_t)len);
	put_u64(&w, wall_ms);
	return crypto_siphash(&key, bytes, len);
}

/* --- header ---------------------------------------------------------------------------------- */

void cachefile_write_header(uint8_t buf[CACHEFILE_HEADER_LEN],
			    const struct cachefile_header *header)
{
	struct wire_writer w = wire_writer(buf, CACHEFILE_HEADER_LEN);

	wire_put(&w, magic, sizeof magic);
	wire_put_u32(&w, VERSION);
	wire_put_u32(&w, 0);
	put_u64(&w, header->wall_ms);
	wire_put(&w, header->hash_key.bytes, sizeof header->hash_key.bytes);
	put_u64(&w, checksum(buf, CACHEFILE_HEADER_LEN - 8, HEADER_PLACE, header->wall_ms));
}

bool cachefile_is_ours(const uint8_t buf[CACHEFILE_HEADER_LEN])
{
	return memcmp(buf, magic, sizeof magic) == 0;
}

bool cachefile_read_header(const uint8_t buf[CACHEFILE_HEADER_LEN],
			   struct cachefile_header *ret_header)
{
	struct wire_reader r = wire_reader(buf, CACHEFILE_HEADER_LEN);
	const uint8_t *key;
	bool is_ours;

	wire_take(&r, sizeof magic);
	is_ours = cachefile_is_ours(buf) && wire_u32(&r) == VERSION;
	wire_u32(&r);
	ret_header->wall_ms = get_u64(&r);
	key = wire_take(&r, sizeof ret_header->hash_key.bytes);
	if (key) {
		memcpy(ret_header->hash_key.bytes, key, sizeof ret_header->hash_key.bytes);
	}
	return is_ours && get_u64(&r) == checksum(buf, CACHEFILE_HEADER_LEN - 8, HEADER_PLACE,
						  ret_header->wall_ms);
}

/* --- saving ---------------------------------------------------------------------------------- */

/* Make room for `more` octets. */
static bool reserve(struct cachefile_block *block, size_t more)
{
	size_t wanted = block->len + more;
	size_t cap = block->cap ? block->cap : CAP_MIN;
	uint8_t *bytes;

	if (wanted > CACHEFILE_BLOCK_LEN + CACHEFILE_BLOCK_MAX) {
		return false;
	}
	while (cap < wanted) {
		cap *= 2;
	}
	if (cap > block->cap) {
		bytes = realloc(block->bytes, cap);
		if (!bytes) {
			return false;
		}
		block->bytes = bytes;
		block->cap = cap;
	}
	return true;
}

/* Leave room for what stands before the records. */
static bool begin(struct cachefile_block *block)
{
	if (block->len == 0) {
		if (!reserve(block, CACHEFILE_BLOCK_LEN)) {
			return false;
		}
		block->len = CACHEFILE_BLOCK_LEN;
	}
	return true;
}

void cachefile_add_group(struct cachefile_block *block, const char *name)
{
	size_t len = strnlen(name, UINT8_MAX);

	if (!begin(block) || !reserve(block, 1 + len)) {
		block->failed = true;
		return;
	}
	block->bytes[block->len++] = (uint8_t)len;
	memcpy(block->bytes + block->len, name, len);
	block->len += len;
	block->records++;
}

void cachefile_add(struct cachefile_block *block, const struct cache_item *item)
{
	uint64_t age_s = (item->age_ms + 999) / 1000;
	struct wire_writer w;

	if (!begin(block) || !reserve(block, RECORD_LEN + item->len)) {
		block->failed = true;
		return;
	}
	w = wire_writer(block->bytes + block->len, RECORD_LEN + item->len);
	wire_put_u16(&w, (uint16_t)item->len);
	wire_put_u8(&w, item->group);
	wire_put_u8(&w, (uint8_t)((item->dnssec_ok ? RECORD_DO : 0) |
				  (item->checking_disabled ? RECORD_CD : 0)));
	wire_put_u32(&w, age_s > UINT32_MAX ? UINT32_MAX : (uint32_t)age_s);
	wire_put(&w, item->msg, item->len);
	block->len += wire_written(&w);
	block->records++;
}

size_t cachefile_finish(struct cachefile_block *block, uint32_t place, uint64_t wall_ms)
{
	struct wire_writer w;
	size_t len;

	if (!begin(block)) {
		return 0;
	}
	len = block->len - CACHEFILE_BLOCK_LEN;
	w = wire_writer(block->bytes, CACHEFILE_BLOCK_LEN);
	wire_put_u32(&w, (uint32_t)len);
	wire_put_u32(&w, place);
	put_u64(&w, checksum(block->bytes + CACHEFILE_BLOCK_LEN, len, place, wall_ms));
	return block->len;
}

void cachefile_clear(struct cachefile_block *block)
{
	block->len = 0;
	block->records = 0;
	block->failed = false;
}

void cachefile_done(struct cachefile_block *block)
{
	free(block->bytes);
	*block = (struct cachefile_block){ .bytes = NULL };
}

/* --- loading --------------------------------------------------------------------------------- */

bool cachefile_read_length(const uint8_t buf[CACHEFILE_BLOCK_LEN], size_t *ret_len)
{
	struct wire_reader r = wire_reader(buf, CACHEFILE_BLOCK_LEN);

	*ret_len = wire_u32(&r);
	return *ret_len <= CACHEFILE_BLOCK_MAX;
}

/* One message that was saved. False when it is none that a cache can hold. */
static bool load_message(struct cachefile_load *load, const uint8_t *msg, size_t len,
			 unsigned group, unsigned flags, uint64_t age_ms)
{
	struct dnsreply_body body;
	struct cache_answer answer;
	struct dnsreply reply;
	struct cache_key key;
	const uint8_t *question = msg + DNSMSG_HEADER_LEN;
	size_t name_len = 0;

	if (len > DNSMSG_HEADER_LEN) {
		name_len = dnsname_len(question, len - DNSMSG_HEADER_LEN);
	}
	if (name_len == 0 || len - DNSMSG_HEADER_LEN < name_len + 4 ||
	    dnsreply_check(msg, len, 0, question, name_len + 4, &reply) != DNSREPLY_OK ||
	    reply.kind == DNSREPLY_OTHER || reply.kind == DNSREPLY_TRUNCATED ||
	    dnsreply_normalize(msg, &reply, flags & RECORD_DO, load->scratch, DNSMSG_MAX, &body) <
		    0) {
		return false;
	}
	cache_key_init(&key, load->cache, question, name_len + 4, flags & RECORD_DO,
		       flags & RECORD_CD, (uint8_t)group);
	answer = (struct cache_answer){
		.msg = load->scratch,
		.len = body.len,
		.ttl_offsets = body.ttl_offsets,
		.ttl_count = body.ttl_count,
		.ttl_s = body.ttl_s,
		.negative = reply.kind != DNSREPLY_POSITIVE,
		.age_ms = age_ms,
		.reason = &reply.reason,
	};
	/* What the configuration of today does not want kept is left out. */
	load->loaded += cache_put_saved(load->cache, &key, &answer, &load->ttls, load->now_ms,
					load->flush_count) == 0;
	return true;
}

/* What stands before a block's records is right. The reader comes to stand at them. */
static bool read_block_head(struct wire_reader *r, const uint8_t *block, size_t records_len,
			    uint32_t place, uint64_t wall_ms)
{
	*r = wire_reader(block, CACHEFILE_BLOCK_LEN + records_len);
	return wire_u32(r) == records_len && wire_u32(r) == place &&
	       get_u64(r) == checksum(block + CACHEFILE_BLOCK_LEN, records_len, place, wall_ms);
}

bool cachefile_read_groups(const uint8_t *block, size_t records_len, uint64_t wall_ms,
			   const char *const *names, size_t count,
			   struct cachefile_groups *ret_groups)
{
	struct wire_reader r;

	memset(ret_groups, 0, sizeof *ret_groups);
	if (!read_block_head(&r, block, records_len, 0, wall_ms)) {
		return false;
	}
	for (size_t i = 0; wire_left(&r) > 0; i++) {
		size_t len = wire_u8(&r);
		const uint8_t *name = wire_take(&r, len);

		if (!name || i > UINT8_MAX) {
			return false;
		}
		for (size_t k = 0; k < count && k <= UINT8_MAX; k++) {
			if (strnlen(names[k], UINT8_MAX) == len &&
			    memcmp(names[k], name, len) == 0) {
				ret_groups->today[i] = (uint16_t)(k + 1);
			}
		}
	}
	return true;
}

bool cachefile_load_block(struct cachefile_load *load, const uint8_t *block, size_t records_len,
			  uint32_t place)
{
	struct wire_reader r;

	if (!read_block_head(&r, block, records_len, place, load->wall_ms)) {
		return false;
	}
	while (wire_left(&r) > 0) {
		uint16_t len = wire_u16(&r);
		unsigned group = load->groups->today[wire_u8(&r)];
		unsigned flags = wire_u8(&r);
		uint64_t age_ms = (uint64_t)wire_u32(&r) * 1000;
		const uint8_t *msg = wire_take(&r, len);
		bool is_wanted;

		age_ms += load->passed_ms;
		is_wanted = age_ms < AGE_MAX_MS && group > 0;
		if (!msg ||
		    (is_wanted && !load_message(load, msg, len, group - 1, flags, age_ms))) {
			return false;
		}
	}
	return true;
}
