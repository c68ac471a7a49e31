/* SPDX-License-Identifier: ISC */
#include "socksd/protocol/fragments.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_CAP = 2048,
};

struct fragments {
	unsigned count; /* kept; the next one has place count + 1 */
	bool done;
	uint64_t due_ms;
	struct addr addr; /* of the target, or its name */
	uint16_t port;
	char name[SOCKS5_NAME_MAX + 1];
	size_t len;
	size_t cap;
	uint8_t *bytes;
};

unsigned fragments_drop(struct fragments **f)
{
	struct fragments *old = *f;
	unsigned lost = old && !old->done ? old->count : 0;

	if (old) {
		free(old->bytes);
		free(old);
	}
	*f = NULL;
	return lost;
}

uint64_t fragments_due_ms(const struct fragments *f)
{
	return f && !f->done ? f->due_ms : 0;
}

static struct fragments *begin(const struct udp_header *header, uint64_t now_ms)
{
	struct fragments *f = calloc(1, sizeof *f);

	if (f) {
		f->due_ms = now_ms + FRAGMENTS_MS;
		f->addr = header->addr;
		f->port = header->port;
		memcpy(f->name, header->name, strlen(header->name) + 1);
	}
	return f;
}

static bool is_next(const struct fragments *f, const struct udp_header *header, unsigned place,
		    uint64_t now_ms)
{
	return !f->done && place == f->count + 1 && now_ms < f->due_ms && header->port == f->port &&
	       addr_equal(&header->addr, &f->addr) && strcmp(header->name, f->name) == 0;
}

/* False: too long, or out of memory. */
static bool append(struct fragments *f, const uint8_t *bytes, size_t len)
{
	size_t cap = f->cap ? f->cap : FIRST_CAP;

	if (len > FRAGMENTS_BYTES_MAX - f->len) {
		return false;
	}
	while (cap < f->len + len) {
		cap *= 2;
	}
	if (cap > f->cap) {
		uint8_t *grown = realloc(f->bytes, cap);

		if (!grown) {
			return false;
		}
		f->bytes = grown;
		f->cap = cap;
	}
	if (len > 0) {
		memcpy(f->bytes + f->len, bytes, len);
	}
	f->len += len;
	f->count++;
	return true;
}

enum fragments_result fragments_add(struct fragments **f, const struct udp_header *header,
				    const uint8_t *bytes, size_t len, uint64_t now_ms,
				    const uint8_t **ret_bytes, size_t *ret_len, unsigned *ret_lost)
{
	unsigned place = header->fragment & ~(unsigned)UDP_HEADER_LAST_FRAGMENT;

	*ret_lost = 0;
	if (*f && !is_next(*f, header, place, now_ms)) {
		*ret_lost = fragments_drop(f);
	}
	if (!*f && place == 1) {
		*f = begin(header, now_ms);
	}
	if (!*f || !append(*f, bytes, len)) {
		*ret_lost += fragments_drop(f) + 1;
		return FRAGMENTS_LOST;
	}
	if ((header->fragment & UDP_HEADER_LAST_FRAGMENT) == 0) {
		return FRAGMENTS_MORE;
	}
	(*f)->done = true;
	*ret_bytes = (*f)->bytes;
	*ret_len = (*f)->len;
	return FRAGMENTS_DONE;
}
