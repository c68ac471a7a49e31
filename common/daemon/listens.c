/* SPDX-License-Identifier: ISC */
#include "common/daemon/listens.h"

#include "common/container.h"
#include "common/daemon/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static size_t count_sections(const struct params *params)
{
	const struct section *section = NULL;
	size_t count = 0;

	while ((section = params_next(params, "listen", section)) != NULL) {
		count++;
	}
	return count;
}

/* The last item against those before it and against itself. */
static int check_item(const struct listens *listens, size_t offset, struct ini_error *reterr)
{
	const struct listens_item *item = &listens->items[listens->count - 1];
	const struct addr_list *list = item->addresses;
	const struct listens before = { listens->items, listens->count - 1 };

	if (list->count == 0) {
		params_fail(reterr, item->section, offset, "address = IP:PORT",
			    "[listen %s] has no address", item->section->name);
		return -1;
	}
	for (size_t i = 0; i < list->count; i++) {
		bool taken = listens_find(&before, &list->items[i]) >= 0;

		for (size_t k = 0; k < i; k++) {
			taken = taken || addr_equal(&list->items[k], &list->items[i]);
		}
		if (taken) {
			char text[ADDR_TEXT_MAX];

			addr_format(&list->items[i], text, sizeof text);
			params_fail(reterr, item->section, offset, "each address once",
				    "address %s is given twice", text);
			return -1;
		}
	}
	return 0;
}

int listens_load(struct listens *listens, const struct params *params, size_t addresses_offset,
		 unsigned kinds, struct ini_error *reterr)
{
	const struct section *section = NULL;

	*listens = (struct listens){ .items = calloc(count_sections(params) + 1,
						     sizeof *listens->items) };
	if (!listens->items) {
		ini_fail(reterr, "listen", 0, "free memory", "cannot allocate memory");
		return -1;
	}
	while ((section = params_next(params, "listen", section)) != NULL) {
		const void *addresses = (const char *)section->values + addresses_offset;

		listens->items[listens->count++] =
			(struct listens_item){ section, addresses, kinds };
		if (check_item(listens, addresses_offset, reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

void listens_done(struct listens *listens)
{
	free(listens->items);
	*listens = (struct listens){ 0 };
}

int listens_find(const struct listens *listens, const struct addr *a)
{
	for (size_t i = 0; i < listens->count; i++) {
		const struct addr_list *list = listens->items[i].addresses;

		for (size_t k = 0; k < list->count; k++) {
			if (addr_equal(&list->items[k], a)) {
				return (int)i;
			}
		}
	}
	return -1;
}

bool listens_reached_by(const struct listens *listens, const struct addr *a)
{
	for (size_t i = 0; i < listens->count; i++) {
		const struct addr_list *list = listens->items[i].addresses;

		for (size_t k = 0; k < list->count; k++) {
			if (listener_reaches(&list->items[k], a)) {
				return true;
			}
		}
	}
	return false;
}

int listens_sockets(const struct listens *listens, struct listen_want **ret_wants,
		    size_t *ret_count)
{
	static const struct {
		unsigned kind;
		int type;
	} kinds[] = { { LISTENS_DATAGRAM, SOCK_DGRAM }, { LISTENS_STREAM, SOCK_STREAM } };
	struct listen_want *wants;
	size_t count = 0;

	for (size_t i = 0; i < listens->count; i++) {
		count += ARRAY_SIZE(kinds) * listens->items[i].addresses->count;
	}
	wants = calloc(count + 1, sizeof *wants);
	if (!wants) {
		return -ENOMEM;
	}
	count = 0;
	for (size_t i = 0; i < listens->count; i++) {
		const struct listens_item *item = &listens->items[i];

		for (size_t k = 0; k < item->addresses->count * ARRAY_SIZE(kinds); k++) {
			size_t which = k % ARRAY_SIZE(kinds);

			if (item->kinds & kinds[which].kind) {
				wants[count++] = (struct listen_want){
					item->addresses->items[k / ARRAY_SIZE(kinds)],
					kinds[which].type
				};
			}
		}
	}
	*ret_wants = wants;
	*ret_count = count;
	return 0;
}
