/* SPDX-License-Identifier: ISC */
#include "common/freelist.h"

#include "tests/unit/suite.h"

#include <stdint.h>
#include <string.h>

enum {
	OBJECT_BYTES = 40,
	KEEP_MAX = 4,
	OBJECTS = 10,
};

static struct freelist new_list(void)
{
	return (struct freelist){ .object_bytes = OBJECT_BYTES, .keep_max = KEEP_MAX };
}

START_TEST(test_objects_are_whole_and_apart)
{
	struct freelist list = new_list();
	uint8_t *objects[OBJECTS];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < OBJECTS; i++) {
			objects[i] = freelist_take(&list);
			ck_assert_ptr_nonnull(objects[i]);
			memset(objects[i], i, OBJECT_BYTES);
		}
		for (int i = 0; i < OBJECTS; i++) {
			for (int k = 0; k < OBJECT_BYTES; k++) {
				ck_assert_uint_eq(objects[i][k], (unsigned)i);
			}
			freelist_give(&list, objects[i]);
			ck_assert_uint_le(list.kept, KEEP_MAX);
		}
	}
	freelist_clear(&list);
}
END_TEST

START_TEST(test_what_came_last_is_used_first)
{
	struct freelist list = new_list();
	void *a = freelist_take(&list);
	void *b = freelist_take(&list);

	freelist_give(&list, a);
	freelist_give(&list, b);
	/* With AddressSanitizer nothing is kept. */
	if (list.kept > 0) {
		ck_assert_uint_eq(list.kept, 2);
		ck_assert_ptr_eq(freelist_take(&list), b);
		ck_assert_ptr_eq(freelist_take(&list), a);
		freelist_give(&list, a);
		freelist_give(&list, b);
	}
	freelist_clear(&list);
	ck_assert_uint_eq(list.kept, 0);
	ck_assert_ptr_null(list.first);
}
END_TEST

SUITE_MAIN("freelist", test_objects_are_whole_and_apart, test_what_came_last_is_used_first)
