/* SPDX-License-Identifier: ISC */
#include "common/metrics.h"

#include <stdlib.h>

struct metrics *metrics_new(size_t count)
{
	struct metrics *m = calloc(1, sizeof *m + count * sizeof m->values[0]);

	if (m) {
		m->count = count;
	}
	return m;
}
