/* SPDX-License-Identifier: ISC */
#include "common/freelist.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

static bool keeps(const struct freelist *list)
{
#ifdef __SANITIZE_ADDRESS__
	/* The list is looked at all the same, so that one that is no more is seen. */
	return *(const volatile size_t *)&list->kept > list->keep_max;
#else
	return list->kept < list->keep_max;
#endif
}

/* A kept object begins with a pointer to the next; it need not be aligned for one. */
void *freelist_take(struct freelist *list)
{
	void *object = list->first;

	if (!object) {
		return malloc(list->object_bytes);
	}
	memcpy(&list->first, object, sizeof list->first);
	list->kept--;
	return object;
}

void freelist_give(struct freelist *list, void *object)
{
	if (!keeps(list)) {
		free(object);
		return;
	}
	memcpy(object, &list->first, sizeof list->first);
	list->first = object;
	list->kept++;
}

void freelist_clear(struct freelist *list)
{
	while (list->first) {
		void *object = list->first;

		memcpy(&list->first, object, sizeof list->first);
		free(object);
	}
	list->kept = 0;
}
