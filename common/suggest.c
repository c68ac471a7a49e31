/* SPDX-License-Identifier: ISC */
#include "common/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Longer words and names are near nothing. */
#define WORD_MAX 40

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* The number of letters to change, add, leave out or swap with their neighbour to get from a to b
 * (optimal string alignment). Both lengths are at most WORD_MAX. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= a_len; i++) {
		for (size_t j = 0; j <= b_len; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = min(d[i - 1][j], d[i][j - 1]) + 1;
			d[i][j] = min(d[i][j], d[i - 1][j - 1] + !same_letter(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
			    same_letter(a[i - 2], b[j - 1])) {
				d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1);
			}
		}
	}
	return d[a_len][b_len];
}

void suggest_init(struct suggest *s, const char *word)
{
	*s = (struct suggest){ .word = word };
}

static void add_known(struct suggest *s, const char *name, size_t len)
{
	static const char cut_mark[] = ", ...";
	size_t used = strlen(s->known);

	if (used >= sizeof cut_mark && strcmp(s->known + used - 5, cut_mark) == 0) {
		return;
	}
	if (used + len + 2 + sizeof cut_mark > sizeof s->known) {
		memcpy(s->known + used, cut_mark, sizeof cut_mark);
		return;
	}
	snprintf(s->known + used, sizeof s->known - used, "%s%.*s", used ? ", " : "", (int)len,
		 name);
}

void suggest_offer(struct suggest *s, const char *name, size_t len)
{
	size_t word_len = strlen(s->word);
	size_t limit = word_len < 6 ? 1 : word_len / 3;
	size_t n;

	add_known(s, name, len);
	if (word_len == 0 || word_len > WORD_MAX || len > WORD_MAX) {
		return;
	}
	n = distance(s->word, word_len, name, len);
	/* A word of which nothing is left resembles no name. */
	if (n <= limit && n < len && (!s->best || n < s->best_distance)) {
		s->best = name;
		s->best_len = len;
		s->best_distance = n;
	}
}

const char *suggest_text(struct suggest *s, const char *before, const char *after)
{
	if (s->best) {
		snprintf(s->text, sizeof s->text, "did you mean \"%.*s\"?", (int)s->best_len,
			 s->best);
	} else {
		snprintf(s->text, sizeof s->text, "%s %s%s", before, s->known, after);
	}
	return s->text;
}
