/* SPDX-License-Identifier: ISC */
#ifndef COMMON_CONTAINER_H
#define COMMON_CONTAINER_H

#include <stddef.h>

/* The structure of `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_SIZE(array)               (sizeof(array) / sizeof((array)[0]))

#endif
