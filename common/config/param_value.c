/* SPDX-License-Identifier: ISC */
#include "common/config/param_value.h"
#include "common/container.h"
#include "common/suggest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: the first that divides a value without rest is the one it is printed in. */
static const struct unit duration_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit size_units[] = {
	{ "G", 1u << 30 },
	{ "M", 1u << 20 },
	{ "K", 1u << 10 },
	{ "", 1 },
};
static const struct unit percent_units[] = { { "%", 1 } };
static const struct unit plain_units[] = { { "", 1 } };

static const struct {
	const char *word;
	bool value;
} bool_words[] = {
	{ "on", true },  { "off", false }, { "yes", true },
	{ "no", false }, { "true", true }, { "false", false },
};

/* --- problems ------------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static int problem(struct param_problem *reterr,
							 const char *expected, const char *format,
							 ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reterr->what, sizeof reterr->what, format, args);
	va_end(args);
	snprintf(reterr->expected, sizeof reterr->expected, "%s", expected);
	return -EINVAL;
}

static int problem_bad(const struct param_row *row, const char *text, const char *expected,
		       struct param_problem *reterr)
{
	return problem(reterr, expected, "bad value %s for \"%s\"", INI_QUOTE(text), row->key);
}

/* --- numbers ------------------------------------------------------------------------------- */

static const struct unit *units_of(enum param_type type, size_t *ret_count)
{
	switch (type) {
	case PARAM_DURATION:
		*ret_count = ARRAY_SIZE(duration_units);
		return duration_units;
	case PARAM_SIZE:
		*ret_count = ARRAY_SIZE(size_units);
		return size_units;
	case PARAM_PERCENT:
		*ret_count = ARRAY_SIZE(percent_units);
		return percent_units;
	default:
		*ret_count = ARRAY_SIZE(plain_units);
		return plain_units;
	}
}

static const char *number_format(enum param_type type, uint64_t value,
				 char buf[PARAM_ITEM_TEXT_MAX])
{
	size_t count;
	const struct unit *units = units_of(type, &count);
	size_t i = 0;

	if (type == PARAM_WORKERS && value == 0) {
		return "auto";
	}
	if (value == 0 && type != PARAM_PERCENT) {
		return "0";
	}
	if (type == PARAM_MARK) {
		snprintf(buf, PARAM_ITEM_TEXT_MAX, "0x%" PRIx64, value);
		return buf;
	}
	while (i < count - 1 && value % units[i].factor != 0) {
		i++;
	}
	snprintf(buf, PARAM_ITEM_TEXT_MAX, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
	return buf;
}

/* The value of a digit, or `base` when it is none. */
static unsigned digit_value(char c, unsigned base)
{
	unsigned value = base;

	if (c >= '0' && c <= '9') {
		value = (unsigned)(c - '0');
	} else if (c >= 'a' && c <= 'f') {
		value = (unsigned)(c - 'a') + 10;
	} else if (c >= 'A' && c <= 'F') {
		value = (unsigned)(c - 'A') + 10;
	}
	return value < base ? value : base;
}

/* Digits. Returns what follows them, NULL when there are none; *fits: into 64 bits. */
static const char *digits_parse(const char *text, unsigned base, uint64_t *ret_value, bool *fits)
{
	const char *s;

	*ret_value = 0;
	*fits = true;
	for (s = text; digit_value(*s, base) < base; s++) {
		*fits = *fits && !__builtin_mul_overflow(*ret_value, base, ret_value) &&
			!__builtin_add_overflow(*ret_value, digit_value(*s, base), ret_value);
	}
	return s > text ? s : NULL;
}

/* Decimal digits and a unit of the type; a mark may be hexadecimal. 0, -EINVAL, or -ERANGE when it
 * does not fit 64 bits. */
static int number_parse(enum param_type type, const char *text, uint64_t *ret_value)
{
	size_t count;
	const struct unit *units = units_of(type, &count);
	bool hex = type == PARAM_MARK && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	bool fits;
	uint64_t value;
	const char *s = digits_parse(hex ? text + 2 : text, hex ? 16 : 10, &value, &fits);

	/* ip(8) takes a mark that begins with 0 for octal. */
	if (!s || (type == PARAM_MARK && !hex && text[0] == '0' && text[1] != '\0')) {
		return -EINVAL;
	}
	if (*s == '\0' && fits && value == 0 && type == PARAM_DURATION) {
		*ret_value = 0;
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (strcmp(s, units[i].name) == 0) {
			fits = fits && !__builtin_mul_overflow(value, units[i].factor, ret_value);
			return fits ? 0 : -ERANGE;
		}
	}
	return -EINVAL;
}

static int parse_number(const struct param_row *row, const char *text, uint64_t *ret_value,
			struct param_problem *reterr)
{
	static const char *const kinds[] = {
		[PARAM_COUNT] = "a number",
		[PARAM_WORKERS] = "auto or a number",
		[PARAM_MARK] = "a number",
		[PARAM_PERCENT] = "a percentage",
		[PARAM_DURATION] = "a duration with its unit,",
		[PARAM_SIZE] = "a size",
	};
	char min[PARAM_ITEM_TEXT_MAX];
	char max[PARAM_ITEM_TEXT_MAX];
	char range[2 * PARAM_ITEM_TEXT_MAX];
	char expected[sizeof range + 64];
	uint64_t value;
	int r;

	if (row->type == PARAM_WORKERS && strcmp(text, "auto") == 0) {
		*ret_value = 0;
		return 0;
	}
	r = number_parse(row->type, text, &value);
	if (r == 0 && value >= row->min && value <= row->max) {
		*ret_value = value;
		return 0;
	}
	snprintf(range, sizeof range, "%s to %s", number_format(row->type, row->min, min),
		 number_format(row->type, row->max, max));
	if (r == -EINVAL) {
		snprintf(expected, sizeof expected, "%s from %s was expected", kinds[row->type],
			 range);
		return problem_bad(row, text, expected, reterr);
	}
	snprintf(expected, sizeof expected, "%s was expected", range);
	return problem(reterr, expected, "value %s of \"%s\" is out of range", INI_QUOTE(text),
		       row->key);
}

/* --- words --------------------------------------------------------------------------------- */

static int parse_bool(const struct param_row *row, const char *text, bool *ret_value,
		      struct param_problem *reterr)
{
	for (size_t i = 0; i < ARRAY_SIZE(bool_words); i++) {
		if (strcmp(text, bool_words[i].word) == 0) {
			*ret_value = bool_words[i].value;
			return 0;
		}
	}
	return problem_bad(row, text, "on or off was expected", reterr);
}

/* The word number `index` of "a|b|c"; NULL past the last. */
static const char *choice_word(const char *choices, size_t index, size_t *ret_len)
{
	const char *word = choices;

	for (size_t i = 0; word && i < index; i++) {
		word = strchr(word, '|');
		word = word ? word + 1 : NULL;
	}
	*ret_len = word ? strcspn(word, "|") : 0;
	return word;
}

static int parse_choice(const struct param_row *row, const char *text, int *ret_index,
			struct param_problem *reterr)
{
	struct suggest s;
	const char *word;
	size_t len;

	suggest_init(&s, text);
	for (size_t i = 0; (word = choice_word(row->choices, i, &len)); i++) {
		if (strlen(text) == len && memcmp(text, word, len) == 0) {
			*ret_index = (int)i;
			return 0;
		}
		suggest_offer(&s, word, len);
	}
	return problem_bad(row, text, suggest_text(&s, "one of", " was expected"), reterr);
}

/* --- texts --------------------------------------------------------------------------------- */

/* Whether the text, written as a `key = value` line, reads back as it is. From a file nearly every
 * text does; from the command line anything may come. */
static int check_text(const struct param_row *row, const char *text, struct param_problem *reterr)
{
	for (const char *s = text; *s; s++) {
		if (*s == ';' && (s == text || s[-1] == ' ' || s[-1] == '\t')) {
			return problem_bad(row, text, "\";\" there would start a comment", reterr);
		}
		if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f) {
			return problem_bad(row, text, "no control character was expected", reterr);
		}
	}
	if (strlen(row->key) + strlen(" = ") + strlen(text) > ini_line_max()) {
		return problem(reterr, "a shorter value was expected",
			       "value %s of \"%s\" makes a line longer than %zu bytes",
			       INI_QUOTE(text), row->key, ini_line_max());
	}
	return 0;
}

/* PARAM_TEXT and PARAM_PATH. */
static int parse_text(const struct param_row *row, const char *text, char **field,
		      struct param_problem *reterr)
{
	int r = check_text(row, text, reterr);
	char *copy;

	if (r < 0) {
		return r;
	}
	if (row->type == PARAM_PATH && text[0] != '/') {
		return problem_bad(row, text, "an absolute path was expected", reterr);
	}
	copy = strdup(text);
	if (!copy) {
		return -ENOMEM;
	}
	free(*field);
	*field = copy;
	return 0;
}

/* --- lists --------------------------------------------------------------------------------- */

/* Room for one more item: it doubles whenever it is used up, that is at each power of two. Returns
 * the array, perhaps moved, or NULL. */
static void *list_grow(void *items, size_t count, size_t item_size)
{
	if ((count & (count - 1)) != 0) {
		return items;
	}
	return reallocarray(items, count ? 2 * count : 1, item_size);
}

static int add_addr(const struct param_row *row, const char *text, struct addr_list *list,
		    struct param_problem *reterr)
{
	const char *expected = row->type == PARAM_IPS ? "an address without port was expected"
			       : row->min == 0        ? "address:port was expected"
						      : "address or address:port was expected";
	struct addr *grown;
	struct addr a;
	int r = row->type == PARAM_IPS ? addr_parse_ip(text, &a)
				       : addr_parse(text, (uint16_t)row->min, &a);

	if (r < 0) {
		expected = r == -ENODEV ? "an interface of this machine was expected after \"%\""
					: expected;
		return problem_bad(row, text, expected, reterr);
	}
	if (!addr_is_unicast(&a)) {
		return problem_bad(
			row, text,
			"an address of one host, not multicast or broadcast, was expected", reterr);
	}
	grown = list_grow(list->items, list->count, sizeof *list->items);
	if (!grown) {
		return -ENOMEM;
	}
	list->items = grown;
	/* One address has one form here: sockets of ours that are for IPv6 take nothing else. */
	list->items[list->count++] = addr_unmap(&a);
	return 0;
}

static int add_net(const struct param_row *row, const char *text, struct netset *set,
		   struct param_problem *reterr)
{
	const char *why;
	int r = netset_add(set, text, &why);

	if (r == -EINVAL) {
		return problem(reterr, "any, local, an address or a network was expected",
			       "bad value %s for \"%s\": %s", INI_QUOTE(text), row->key, why);
	}
	return r;
}

static int add_text(const struct param_row *row, const char *text, struct text_list *list,
		    struct param_problem *reterr)
{
	int r = check_text(row, text, reterr);
	char **grown;
	char *copy;

	if (r < 0) {
		return r;
	}
	grown = list_grow(list->items, list->count, sizeof *list->items);
	if (!grown) {
		return -ENOMEM;
	}
	list->items = grown;
	copy = strdup(text);
	if (!copy) {
		return -ENOMEM;
	}
	list->items[list->count++] = copy;
	return 0;
}

static int add_item(const struct param_row *row, const char *item, void *field,
		    struct param_problem *reterr)
{
	if (item[0] == '\0') {
		return problem(reterr, "a value before, between and after commas was expected",
			       "empty item in the list of \"%s\"", row->key);
	}
	switch (row->type) {
	case PARAM_NETS:
		return add_net(row, item, field, reterr);
	case PARAM_TEXTS:
		return add_text(row, item, field, reterr);
	default:
		return add_addr(row, item, field, reterr);
	}
}

static int parse_list(const struct param_row *row, const char *text, void *field,
		      struct param_problem *reterr)
{
	char *copy = strdup(text);
	char *rest = copy;
	char *item;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && (item = strsep(&rest, ","))) {
		r = add_item(row, param_strip(item), field, reterr);
	}
	free(copy);
	return r;
}

/* --- all types ----------------------------------------------------------------------------- */

char *param_strip(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
		len--;
	}
	text[len] = '\0';
	return text;
}

bool param_is_list(enum param_type type)
{
	return type == PARAM_ADDRS || type == PARAM_IPS || type == PARAM_NETS ||
	       type == PARAM_TEXTS;
}

int param_value_parse(const struct param_row *row, const char *text, void *field,
		      struct param_problem *reterr)
{
	if (text[0] == '\0') {
		return problem(reterr, "a value was expected after \"=\"", "empty value for \"%s\"",
			       row->key);
	}
	switch (row->type) {
	case PARAM_BOOL:
		return parse_bool(row, text, field, reterr);
	case PARAM_COUNT:
	case PARAM_MARK:
	case PARAM_WORKERS:
	case PARAM_PERCENT:
	case PARAM_DURATION:
	case PARAM_SIZE:
		return parse_number(row, text, field, reterr);
	case PARAM_CHOICE:
		return parse_choice(row, text, field, reterr);
	case PARAM_TEXT:
	case PARAM_PATH:
		return parse_text(row, text, field, reterr);
	case PARAM_ADDRS:
	case PARAM_IPS:
	case PARAM_NETS:
	case PARAM_TEXTS:
		return parse_list(row, text, field, reterr);
	}
	abort();
}

size_t param_value_count(const struct param_row *row, const void *field)
{
	switch (row->type) {
	case PARAM_TEXT:
	case PARAM_PATH:
		return *(char *const *)field ? 1 : 0;
	case PARAM_ADDRS:
	case PARAM_IPS:
		return ((const struct addr_list *)field)->count;
	case PARAM_NETS: {
		const struct netset *set = field;

		return (size_t)set->any + (size_t)set->local + set->count;
	}
	case PARAM_TEXTS:
		return ((const struct text_list *)field)->count;
	default:
		return 1;
	}
}

/* "any" and "local" first, then the networks. */
static const char *net_format(const struct netset *set, size_t index, char buf[PARAM_ITEM_TEXT_MAX])
{
	if (set->any && index == 0) {
		return "any";
	}
	index -= set->any ? 1 : 0;
	if (set->local && index == 0) {
		return "local";
	}
	index -= set->local ? 1 : 0;
	return prefix_format(&set->prefixes[index], buf, PARAM_ITEM_TEXT_MAX);
}

const char *param_value_format(const struct param_row *row, const void *field, size_t index,
			       char buf[PARAM_ITEM_TEXT_MAX])
{
	const struct addr_list *addrs = field;
	const int *choice = field;
	const char *word;
	size_t len;

	switch (row->type) {
	case PARAM_BOOL:
		return *(const bool *)field ? "on" : "off";
	case PARAM_CHOICE:
		word = choice_word(row->choices, (size_t)*choice, &len);
		snprintf(buf, PARAM_ITEM_TEXT_MAX, "%.*s", (int)len, word);
		return buf;
	case PARAM_TEXT:
	case PARAM_PATH:
		return *(char *const *)field;
	case PARAM_ADDRS:
		return addr_format(&addrs->items[index], buf, PARAM_ITEM_TEXT_MAX);
	case PARAM_IPS:
		return addr_format_ip(&addrs->items[index], buf, PARAM_ITEM_TEXT_MAX);
	case PARAM_NETS:
		return net_format(field, index, buf);
	case PARAM_TEXTS:
		return ((const struct text_list *)field)->items[index];
	default:
		return number_format(row->type, *(const uint64_t *)field, buf);
	}
}

bool param_value_equal(const struct param_row *row, const void *a, const void *b)
{
	size_t count = param_value_count(row, a);

	if (count != param_value_count(row, b)) {
		return false;
	}
	/* The texts are exact, so equal texts are equal values. */
	for (size_t i = 0; i < count; i++) {
		char a_buf[PARAM_ITEM_TEXT_MAX];
		char b_buf[PARAM_ITEM_TEXT_MAX];

		if (strcmp(param_value_format(row, a, i, a_buf),
			   param_value_format(row, b, i, b_buf)) != 0) {
			return false;
		}
	}
	return true;
}

bool param_value_is_none(const struct param_row *row, const void *field)
{
	switch (row->type) {
	case PARAM_BOOL:
		return !*(const bool *)field;
	case PARAM_CHOICE:
		return *(const int *)field == 0;
	case PARAM_COUNT:
	case PARAM_MARK:
	case PARAM_WORKERS:
	case PARAM_PERCENT:
	case PARAM_DURATION:
	case PARAM_SIZE:
		return *(const uint64_t *)field == 0;
	default:
		return param_value_count(row, field) == 0;
	}
}

void param_value_done(const struct param_row *row, void *field)
{
	struct addr_list *addrs = field;
	struct text_list *texts = field;
	char **text = field;

	switch (row->type) {
	case PARAM_TEXT:
	case PARAM_PATH:
		free(*text);
		*text = NULL;
		break;
	case PARAM_ADDRS:
	case PARAM_IPS:
		free(addrs->items);
		*addrs = (struct addr_list){ 0 };
		break;
	case PARAM_NETS:
		netset_done(field);
		break;
	case PARAM_TEXTS:
		for (size_t i = 0; i < texts->count; i++) {
			free(texts->items[i]);
		}
		free(texts->items);
		*texts = (struct text_list){ 0 };
		break;
	default:
		break; /* owns nothing; the first value parsed replaces it */
	}
}
