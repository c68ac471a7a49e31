/* SPDX-License-Identifier: ISC */
#include "common/match.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a dot is in a key: below all other letters, so that all names under a suffix stand directly
 * behind it. */
#define KEY_DOT '\1'

/* Names from their last letter to their first. */
struct name_keys {
	uint32_t *offsets; /* of keys in the set's texts, each ended by NUL */
	size_t count;
};

/* Addresses from first to last, in network order; IPv4 uses four bytes. */
struct range {
	uint8_t first[16];
	uint8_t last[16];
};

struct ranges {
	struct range *items;
	size_t count;
};

struct match {
	char *texts;
	size_t texts_len;
	size_t texts_cap;
	struct name_keys names;
	struct name_keys suffixes;
	struct ranges ipv4;
	struct ranges ipv6;
};

/* --- entries --------------------------------------------------------------------------------- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_name_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static const char *label_fault(const char *label, size_t len)
{
	if (len == 0) {
		return "an empty part between dots";
	}
	if (len > 63) {
		return "a part of more than 63 letters";
	}
	for (size_t i = 0; i < len; i++) {
		if (label[i] == '*') {
			return "\"*\" has no meaning here: \".example.com\" stands for all names "
			       "below";
		}
		if (!is_name_letter(label[i])) {
			return "names are made of letters, digits, \"-\", \"_\" and dots";
		}
	}
	return NULL;
}

/* What is wrong with a lower-case name, or NULL. */
static const char *name_fault(const char *name)
{
	const char *label = name;
	const char *fault = NULL;

	while (!fault) {
		size_t len = strcspn(label, ".");

		fault = label_fault(label, len);
		if (label[len] == '\0') {
			break;
		}
		label += len + 1;
	}
	/* No top-level domain is a number; "10.0.0" is an address with a part missing. */
	if (!fault && label[strspn(label, "0123456789")] == '\0') {
		fault = "neither an address nor a name";
	}
	return fault;
}

/* ::ffff:192.0.2.0/120 as 192.0.2.0/24, since addresses are folded before they are looked up. */
static struct prefix unmap_prefix(struct prefix p)
{
	if (p.base.sa.sa_family == AF_INET6 && p.bits >= 96 &&
	    IN6_IS_ADDR_V4MAPPED(&p.base.in6.sin6_addr)) {
		p.base = addr_unmap(&p.base);
		p.bits = (uint8_t)(p.bits - 96);
	}
	return p;
}

static int parse_name(const char *text, size_t len, struct match_entry *entry,
		      const char **reterr_why)
{
	entry->kind = text[0] == '.' ? MATCH_SUFFIX : MATCH_NAME;
	if (entry->kind == MATCH_SUFFIX) {
		text++;
		len--;
	}
	if (len > 0 && text[len - 1] == '.') {
		len--;
	}
	if (len > MATCH_NAME_MAX) {
		*reterr_why = "a name of more than 253 letters";
		return -EINVAL;
	}
	for (size_t i = 0; i < len; i++) {
		/* A NUL would hide what stands behind it. */
		entry->name[i] = text[i] ? lower(text[i]) : ' ';
	}
	entry->name[len] = '\0';
	*reterr_why = name_fault(entry->name);
	return *reterr_why ? -EINVAL : 0;
}

int match_parse(const char *text, size_t len, struct match_entry *ret_entry,
		const char **reterr_why)
{
	struct match_entry entry = { .kind = MATCH_NET };
	char copy[ADDR_TEXT_MAX];
	bool is_net = false;

	if (len == 0) {
		*reterr_why = "nothing there";
		return -EINVAL;
	}
	if (len < sizeof copy && !memchr(text, '\0', len)) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		is_net = prefix_parse(copy, &entry.net, reterr_why) == 0;
		if (!is_net && (strpbrk(copy, ":/") || copy[strspn(copy, "0123456789.")] == 0)) {
			return -EINVAL;
		}
	}
	if (is_net) {
		entry.net = unmap_prefix(entry.net);
	} else if (parse_name(text, len, &entry, reterr_why) < 0) {
		return -EINVAL;
	}
	*ret_entry = entry;
	return 0;
}

/* --- building -------------------------------------------------------------------------------- */

struct match *match_new(void)
{
	return calloc(1, sizeof(struct match));
}

void match_free(struct match *m)
{
	if (!m) {
		return;
	}
	free(m->texts);
	free(m->names.offsets);
	free(m->suffixes.offsets);
	free(m->ipv4.items);
	free(m->ipv6.items);
	free(m);
}

/* Room for one more: it doubles whenever it is used up, that is at each power of two. Returns the
 * array, perhaps moved, or NULL. */
static void *grow(void *items, size_t count, size_t item_size)
{
	if ((count & (count - 1)) != 0) {
		return items;
	}
	return reallocarray(items, count ? 2 * count : 1, item_size);
}

/* A name as a key: reversed, dots replaced. len is at most MATCH_NAME_MAX. */
static void make_key(const char *name, size_t len, char ret_key[MATCH_NAME_MAX + 1])
{
	for (size_t i = 0; i < len; i++) {
		char c = name[len - 1 - i];

		ret_key[i] = c == '.' ? KEY_DOT : lower(c);
	}
	ret_key[len] = '\0';
}

static int add_name(struct match *m, struct name_keys *keys, const char *name)
{
	size_t len = strlen(name);
	uint32_t *offsets = grow(keys->offsets, keys->count, sizeof *offsets);

	if (!offsets) {
		return -ENOMEM;
	}
	keys->offsets = offsets;
	if (m->texts_cap - m->texts_len < len + 1) {
		size_t cap = m->texts_cap ? 2 * m->texts_cap : 1024;
		char *texts = realloc(m->texts, cap);

		if (!texts) {
			return -ENOMEM;
		}
		m->texts = texts;
		m->texts_cap = cap;
	}
	make_key(name, len, m->texts + m->texts_len);
	keys->offsets[keys->count++] = (uint32_t)m->texts_len;
	m->texts_len += len + 1;
	return 0;
}

/* The address's bytes; how many. */
static size_t address_bytes(const struct addr *a, uint8_t ret_bytes[16])
{
	if (a->sa.sa_family == AF_INET) {
		memcpy(ret_bytes, &a->in4.sin_addr, 4);
		return 4;
	}
	memcpy(ret_bytes, &a->in6.sin6_addr, 16);
	return 16;
}

static int add_net(struct ranges *ranges, const struct prefix *net)
{
	struct range *items = grow(ranges->items, ranges->count, sizeof *items);
	struct range *range;
	size_t len;

	if (!items) {
		return -ENOMEM;
	}
	ranges->items = items;
	range = &items[ranges->count++];
	*range = (struct range){ 0 };
	len = address_bytes(&net->base, range->first);
	memcpy(range->last, range->first, sizeof range->last);
	for (size_t bit = net->bits; bit < 8 * len; bit++) {
		range->last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	}
	return 0;
}

int match_add(struct match *m, const struct match_entry *entry)
{
	if (m->names.count + m->suffixes.count + m->ipv4.count + m->ipv6.count >=
	    MATCH_ENTRIES_MAX) {
		return -E2BIG;
	}
	switch (entry->kind) {
	case MATCH_NAME:
		return add_name(m, &m->names, entry->name);
	case MATCH_SUFFIX:
		return add_name(m, &m->suffixes, entry->name);
	case MATCH_NET:
		break;
	}
	return add_net(entry->net.base.sa.sa_family == AF_INET ? &m->ipv4 : &m->ipv6, &entry->net);
}

/* --- sealing --------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b, void *arg)
{
	const char *texts = arg;

	return strcmp(texts + *(const uint32_t *)a, texts + *(const uint32_t *)b);
}

/* Whether `key` is the suffix or a name below it. */
static bool suffix_covers(const char *suffix, const char *key)
{
	size_t len = strlen(suffix);

	return strncmp(suffix, key, len) == 0 && (key[len] == '\0' || key[len] == KEY_DOT);
}

static bool same_key(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Sort, and keep only what no kept key before it covers. */
static void seal_names(struct match *m, struct name_keys *keys,
		       bool (*covers)(const char *a, const char *b))
{
	size_t kept = 0;

	if (keys->count == 0) {
		return;
	}
	qsort_r(keys->offsets, keys->count, sizeof *keys->offsets, compare_keys, m->texts);
	for (size_t i = 1; i < keys->count; i++) {
		if (!covers(m->texts + keys->offsets[kept], m->texts + keys->offsets[i])) {
			keys->offsets[++kept] = keys->offsets[i];
		}
	}
	keys->count = kept + 1;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a;
	const struct range *y = b;
	int order = memcmp(x->first, y->first, sizeof x->first);

	/* The wider one first. */
	return order != 0 ? order : memcmp(y->last, x->last, sizeof x->last);
}

/* Networks are apart or one lies within the other. */
static void seal_ranges(struct ranges *ranges)
{
	size_t kept = 0;

	if (ranges->count == 0) {
		return;
	}
	qsort(ranges->items, ranges->count, sizeof *ranges->items, compare_ranges);
	for (size_t i = 1; i < ranges->count; i++) {
		if (memcmp(ranges->items[i].first, ranges->items[kept].last, 16) > 0) {
			ranges->items[++kept] = ranges->items[i];
		}
	}
	ranges->count = kept + 1;
}

/* The array at its exact size; when there is no memory for that it stays as it is. */
static void *shrink(void *items, size_t count, size_t item_size)
{
	void *exact = count ? reallocarray(items, count, item_size) : NULL;

	return exact ? exact : items;
}

void match_seal(struct match *m)
{
	seal_names(m, &m->names, same_key);
	seal_names(m, &m->suffixes, suffix_covers);
	seal_ranges(&m->ipv4);
	seal_ranges(&m->ipv6);
	m->texts = shrink(m->texts, m->texts_len, 1);
	m->texts_cap = m->texts_len;
	m->names.offsets = shrink(m->names.offsets, m->names.count, sizeof *m->names.offsets);
	m->suffixes.offsets =
		shrink(m->suffixes.offsets, m->suffixes.count, sizeof *m->suffixes.offsets);
	m->ipv4.items = shrink(m->ipv4.items, m->ipv4.count, sizeof *m->ipv4.items);
	m->ipv6.items = shrink(m->ipv6.items, m->ipv6.count, sizeof *m->ipv6.items);
}

size_t match_bytes(const struct match *m)
{
	return sizeof *m + m->texts_cap +
	       (m->names.count + m->suffixes.count) * sizeof *m->names.offsets +
	       (m->ipv4.count + m->ipv6.count) * sizeof *m->ipv4.items;
}

/* --- looking up ------------------------------------------------------------------------------ */

/* The last key that is not behind `key`, or NULL. */
static const char *key_before(const struct match *m, const struct name_keys *keys, const char *key)
{
	size_t low = 0;
	size_t high = keys->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(m->texts + keys->offsets[middle], key) <= 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low > 0 ? m->texts + keys->offsets[low - 1] : NULL;
}

bool match_has_name(const struct match *m, const char *name)
{
	char key[MATCH_NAME_MAX + 1];
	size_t len = strlen(name);
	const char *before;

	if (len > 0 && name[len - 1] == '.') {
		len--;
	}
	if (len > MATCH_NAME_MAX) {
		return false;
	}
	make_key(name, len, key);
	before = key_before(m, &m->names, key);
	if (before && same_key(before, key)) {
		return true;
	}
	before = key_before(m, &m->suffixes, key);
	return before && suffix_covers(before, key);
}

bool match_has_addr(const struct match *m, const struct addr *a)
{
	struct addr folded = addr_unmap(a);
	const struct ranges *ranges = folded.sa.sa_family == AF_INET ? &m->ipv4 : &m->ipv6;
	uint8_t bytes[16] = { 0 };
	size_t low = 0;
	size_t high = ranges->count;

	if (folded.sa.sa_family == AF_UNSPEC) {
		return false;
	}
	address_bytes(&folded, bytes);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(ranges->items[middle].first, bytes, 16) <= 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low > 0 && memcmp(bytes, ranges->items[low - 1].last, 16) <= 0;
}

/* --- lists ----------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

bool match_list_next(struct match_list *list, const char **ret_item, size_t *ret_len)
{
	while (list->offset < list->len) {
		const char *line = list->text + list->offset;
		size_t left = list->len - list->offset;
		const char *newline = memchr(line, '\n', left);
		size_t len = newline ? (size_t)(newline - line) : left;
		const char *comment = memchr(line, '#', len);

		list->offset += newline ? len + 1 : len;
		list->line++;
		len = comment ? (size_t)(comment - line) : len;
		while (len > 0 && is_blank(*line)) {
			line++;
			len--;
		}
		while (len > 0 && is_blank(line[len - 1])) {
			len--;
		}
		if (len > 0) {
			*ret_item = line;
			*ret_len = len;
			return true;
		}
	}
	return false;
}
