/* SPDX-License-Identifier: ISC */
/*
 * "did you mean ...?": finds the known name nearest to a mistyped word, and lists the known names
 * for when none is near. Offer all names, then ask for the text. Pure; allocates nothing.
 */
#ifndef COMMON_SUGGEST_H
#define COMMON_SUGGEST_H

#include <stddef.h>

struct suggest {
	const char *word; /* borrowed */
	const char *best; /* the nearest name so far, or NULL; borrowed */
	size_t best_len;
	size_t best_distance;
	char known[160]; /* the names offered, with commas; cut with "..." */
	char text[256];
};

void suggest_init(struct suggest *s, const char *word);

/* Offer the name of len bytes, which must stay valid as long as s. A name is near when a third of
 * the word's letters (at least one), or fewer, were changed, added, left out or swapped; case is
 * ignored. */
void suggest_offer(struct suggest *s, const char *name, size_t len);

/* `did you mean "NAME"?`, or, when nothing is near, `BEFORE a, b, cAFTER`. Valid as long as s. */
const char *suggest_text(struct suggest *s, const char *before, const char *after);

#endif
