/* SPDX-License-Identifier: ISC */
/*
 * Bounded cursors over wire-format bytes, big-endian. Both have a sticky error: parse or write
 * straight through and test `failed` once at the end; after a failure every read returns 0 and
 * every write does nothing. Pure; borrows the buffer it was started on.
 */
#ifndef COMMON_WIRE_H
#define COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_reader {
	const uint8_t *start;
	const uint8_t *pos;
	const uint8_t *end;
	bool failed;
};

struct wire_writer {
	uint8_t *start;
	uint8_t *pos;
	uint8_t *end;
	bool failed;
};

static inline struct wire_reader wire_reader(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	return (struct wire_reader){ .start = p, .pos = p, .end = p + len };
}

/* Bytes not read yet. */
static inline size_t wire_left(const struct wire_reader *r)
{
	return (size_t)(r->end - r->pos);
}

/* Bytes read so far. */
static inline size_t wire_offset(const struct wire_reader *r)
{
	return (size_t)(r->pos - r->start);
}

/* The next `len` bytes, valid as long as the buffer; NULL (and failed) when there are fewer. */
static inline const uint8_t *wire_take(struct wire_reader *r, size_t len)
{
	const uint8_t *p = r->pos;

	if (r->failed || wire_left(r) < len) {
		r->failed = true;
		return NULL;
	}
	r->pos += len;
	return p;
}

static inline uint8_t wire_u8(struct wire_reader *r)
{
	const uint8_t *p = wire_take(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t wire_u16(struct wire_reader *r)
{
	const uint8_t *p = wire_take(r, 2);

	return (uint16_t)(p ? p[0] << 8 | p[1] : 0);
}

static inline uint32_t wire_u32(struct wire_reader *r)
{
	const uint8_t *p = wire_take(r, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline struct wire_writer wire_writer(void *buf, size_t cap)
{
	uint8_t *p = buf;

	return (struct wire_writer){ .start = p, .pos = p, .end = p + cap };
}

/* Bytes written so far. */
static inline size_t wire_written(const struct wire_writer *w)
{
	return (size_t)(w->pos - w->start);
}

/* Room for `len` bytes, to be filled by the caller; NULL (and failed) when they do not fit. */
static inline uint8_t *wire_room(struct wire_writer *w, size_t len)
{
	uint8_t *p = w->pos;

	if (w->failed || (size_t)(w->end - w->pos) < len) {
		w->failed = true;
		return NULL;
	}
	w->pos += len;
	return p;
}

static inline void wire_put(struct wire_writer *w, const void *bytes, size_t len)
{
	uint8_t *p = wire_room(w, len);

	if (p && len) {
		memcpy(p, bytes, len);
	}
}

static inline void wire_put_u8(struct wire_writer *w, uint8_t v)
{
	uint8_t *p = wire_room(w, 1);

	if (p) {
		p[0] = v;
	}
}

static inline void wire_put_u16(struct wire_writer *w, uint16_t v)
{
	uint8_t *p = wire_room(w, 2);

	if (p) {
		p[0] = (uint8_t)(v >> 8);
		p[1] = (uint8_t)v;
	}
}

static inline void wire_put_u32(struct wire_writer *w, uint32_t v)
{
	uint8_t *p = wire_room(w, 4);

	if (p) {
		p[0] = (uint8_t)(v >> 24);
		p[1] = (uint8_t)(v >> 16);
		p[2] = (uint8_t)(v >> 8);
		p[3] = (uint8_t)v;
	}
}

#endif
