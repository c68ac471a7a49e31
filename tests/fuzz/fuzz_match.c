/* SPDX-License-Identifier: ISC */
/*
 * A list, then a line "?", then what to look up, one a line. The set must agree with a matcher that
 * compares entry by entry.
 */
#include "common/match.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#undef NDEBUG
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	ENTRIES_MAX = 200,
	LOOKUPS_MAX = 200,
};

static struct match_entry entries[ENTRIES_MAX];
static size_t entry_count;

/* --- the other matcher ----------------------------------------------------------------------- */

static bool plain_has_name(const char *name)
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.') {
		len--;
	}
	if (len > MATCH_NAME_MAX) {
		return false;
	}
	for (size_t i = 0; i < entry_count; i++) {
		const char *own = entries[i].name;
		size_t own_len = strlen(own);
		const char *tail = name + len - own_len;

		if (entries[i].kind == MATCH_NET || own_len > len ||
		    strncasecmp(tail, own, own_len) != 0) {
			continue;
		}
		if (own_len == len || (entries[i].kind == MATCH_SUFFIX && tail[-1] == '.')) {
			return true;
		}
	}
	return false;
}

static bool plain_has_addr(const struct addr *a)
{
	for (size_t i = 0; i < entry_count; i++) {
		if (entries[i].kind == MATCH_NET && prefix_contains(&entries[i].net, a)) {
			return true;
		}
	}
	return false;
}

/* --- both ------------------------------------------------------------------------------------ */

static void check_entry(const struct match *m, const struct match_entry *entry)
{
	char below[MATCH_NAME_MAX + 1];

	switch (entry->kind) {
	case MATCH_NET:
		assert(match_has_addr(m, &entry->net.base));
		break;
	case MATCH_SUFFIX:
		if (strlen(entry->name) + 2 <= MATCH_NAME_MAX) {
			memcpy(below, "x.", 2);
			strcpy(below + 2, entry->name);
			assert(match_has_name(m, below));
		}
		assert(match_has_name(m, entry->name));
		break;
	case MATCH_NAME:
		assert(match_has_name(m, entry->name));
		break;
	}
}

static void look_up(const struct match *m, const char *text, size_t len)
{
	char name[300];
	struct addr a;

	if (len >= sizeof name || memchr(text, '\0', len) || memchr(text, '\1', len)) {
		return;
	}
	memcpy(name, text, len);
	name[len] = '\0';
	assert(match_has_name(m, name) == plain_has_name(name));
	if (addr_parse_ip(name, &a) == 0) {
		assert(match_has_addr(m, &a) == plain_has_addr(&a));
	}
}

static void look_up_all(const struct match *m, struct match_list *list)
{
	const char *item;
	size_t len;

	for (size_t i = 0; i < LOOKUPS_MAX && match_list_next(list, &item, &len); i++) {
		look_up(m, item, len);
	}
	for (size_t i = 0; i < entry_count; i++) {
		check_entry(m, &entries[i]);
		look_up(m, entries[i].name, strlen(entries[i].name));
		if (entries[i].kind == MATCH_NET) {
			struct addr a = entries[i].net.base;
			uint8_t *last = a.sa.sa_family == AF_INET ? (uint8_t *)&a.in4.sin_addr + 3
								  : a.in6.sin6_addr.s6_addr + 15;

			/* The neighbours of its first address. */
			++*last;
			assert(match_has_addr(m, &a) == plain_has_addr(&a));
			*last = (uint8_t)(*last - 2);
			assert(match_has_addr(m, &a) == plain_has_addr(&a));
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct match_list list = { .text = (const char *)data, .len = size };
	struct match *m = match_new();
	const char *item;
	const char *why;
	size_t len;

	assert(m);
	entry_count = 0;
	while (entry_count < ENTRIES_MAX && match_list_next(&list, &item, &len)) {
		struct match_entry *entry = &entries[entry_count];

		assert(len > 0 && !memchr(item, '\n', len));
		if (len == 1 && item[0] == '?') {
			break;
		}
		why = NULL;
		memset(entry, 0, sizeof *entry);
		if (match_parse(item, len, entry, &why) == 0) {
			assert(match_add(m, entry) == 0);
			entry_count++;
		} else {
			assert(why);
		}
	}
	match_seal(m);
	look_up_all(m, &list);
	match_free(m);
	return 0;
}
