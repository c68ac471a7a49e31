/* SPDX-License-Identifier: ISC */
/* What a client sends through an association: datagrams, each behind two bytes of length and one
 * that says after how many tenths of a second. Their headers are parsed, fragments put together. */
#include "socksd/protocol/fragments.h"
#include "socksd/protocol/udp_header.h"

#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What has been kept, by a simpler rule: the sequence as it should be. */
struct model {
	unsigned count;
	size_t len;
	uint64_t began_ms;
	uint8_t bytes[1 << 20];
};

static void check_name(const struct udp_header *h)
{
	size_t len = strlen(h->name);
	struct addr a;

	assert(len > 0 && len <= SOCKS5_NAME_MAX && h->name[0] != '.' && h->name[len - 1] != '.');
	assert(strspn(h->name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len);
	assert(addr_parse_ip(h->name, &a) < 0);
}

/* An address goes out as it came in, and back. */
static void check_address(const struct udp_header *h)
{
	uint8_t bytes[UDP_HEADER_BYTES_MAX];
	size_t len = udp_header_encode(&h->addr, bytes);
	struct udp_header again;

	assert(h->name[0] == '\0' && addr_port(&h->addr) == h->port);
	assert(len == (h->addr.sa.sa_family == AF_INET ? 10 : 22));
	assert(udp_header_parse(bytes, len, &again));
	assert(again.len == len && again.fragment == 0 && addr_equal(&again.addr, &h->addr));
	for (size_t cut = 0; cut < len; cut++) {
		assert(!udp_header_parse(bytes, cut, &again));
	}
}

static void check_header(const struct udp_header *h, const uint8_t *bytes, size_t len)
{
	assert(h->len <= len && h->port != 0 && bytes[0] == 0 && bytes[1] == 0);
	assert(h->fragment == bytes[2]);
	if (h->addr.sa.sa_family == AF_UNSPEC) {
		check_name(h);
	} else {
		check_address(h);
	}
}

static void add_fragment(struct fragments **f, struct model *m, const struct udp_header *h,
			 const uint8_t *bytes, size_t len, uint64_t now_ms)
{
	unsigned place = h->fragment & 0x7f;
	const uint8_t *whole = NULL;
	size_t whole_len = 0;
	unsigned lost;
	unsigned before = m->count;

	if (place == 1) {
		m->count = 0;
		m->len = 0;
		m->began_ms = now_ms;
	}
	switch (fragments_add(f, h, bytes, len, now_ms, &whole, &whole_len, &lost)) {
	case FRAGMENTS_MORE:
	case FRAGMENTS_DONE:
		assert(place == m->count + 1 && now_ms < m->began_ms + FRAGMENTS_MS);
		assert(lost == (place == 1 ? before : 0));
		memcpy(m->bytes + m->len, bytes, len);
		m->len += len;
		m->count++;
		assert(m->len <= FRAGMENTS_BYTES_MAX);
		if (h->fragment & 0x80) {
			assert(whole_len == m->len && memcmp(whole, m->bytes, m->len) == 0);
			assert(fragments_due_ms(*f) == 0);
			m->count = 0;
		} else {
			assert(fragments_due_ms(*f) == m->began_ms + FRAGMENTS_MS);
		}
		break;
	case FRAGMENTS_LOST:
		assert(!*f && lost == before + 1);
		m->count = 0;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fragments *f = NULL;
	struct model *m = calloc(1, sizeof *m);
	uint64_t now_ms = 1;

	assert(m);
	while (size >= 3) {
		size_t len = (size_t)data[0] << 8 | data[1];
		struct udp_header h;
		uint8_t *copy;

		now_ms += data[2] * 100u;
		data += 3;
		size -= 3;
		len = len < size ? len : size;
		/* Of exactly that size: what is read past its end is found. */
		copy = malloc(len ? len : 1);
		assert(copy);
		memcpy(copy, data, len);
		if (udp_header_parse(copy, len, &h)) {
			check_header(&h, copy, len);
			if (h.fragment != 0) {
				add_fragment(&f, m, &h, copy + h.len, len - h.len, now_ms);
			} else {
				assert(fragments_drop(&f) == m->count);
				m->count = 0;
			}
		}
		free(copy);
		data += len;
		size -= len;
	}
	assert(fragments_drop(&f) == m->count);
	free(m);
	return 0;
}
