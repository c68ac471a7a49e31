/* SPDX-License-Identifier: ISC */
#include "socksd/session/slots.h"

enum {
	PER_SESSION = 2,
	/* Half of what is there, within these bounds, is not given to sessions: while its name is
	 * looked up, a session takes two more for a moment. */
	SPARE_PART = 2,
	SPARE_MIN = 16,
	SPARE_MAX = 512,
};

size_t slots_per_worker(size_t descriptor_limit, size_t descriptors_in_use, unsigned workers)
{
	size_t left =
		descriptor_limit > descriptors_in_use ? descriptor_limit - descriptors_in_use : 0;
	size_t spare = left / SPARE_PART;
	size_t slots;

	spare = spare < SPARE_MIN ? SPARE_MIN : spare;
	spare = spare > SPARE_MAX ? SPARE_MAX : spare;
	slots = left > spare ? (left - spare) / PER_SESSION / workers : 0;
	return slots > 0 ? slots : 1;
}
