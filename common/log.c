/* SPDX-License-Identifier: ISC */
#include "common/log.h"

#include "common/addr.h"
#include "common/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 4096,
	LIMIT_BURST = 5,
	LIMIT_PERIOD_MS = 60000,
};

/* The allowed statics: set in main() before there are threads, but for the level, which a reload
 * may change. */
static atomic_int log_level = LOG_LEVEL_INFO;
static bool log_to_journal;

struct line {
	char *buf;
	size_t cap;
	size_t len;
};

static void line_char(struct line *line, char c)
{
	if (line->len + 1 < line->cap) {
		line->buf[line->len++] = c;
	}
}

static void line_text(struct line *line, const char *text)
{
	while (*text) {
		line_char(line, *text++);
	}
}

/* Bytes that may stand without quotes. */
static bool is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

/* Foreign bytes: plain as they are, otherwise in quotes with \xHH for all that is not printable
 * ASCII. */
static void line_escaped(struct line *line, const unsigned char *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	bool quote = len == 0;

	for (size_t i = 0; i < len && !quote; i++) {
		quote = !is_plain(bytes[i]);
	}
	if (quote) {
		line_char(line, '"');
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = bytes[i];

		if (c == '"' || c == '\\') {
			line_char(line, '\\');
			line_char(line, (char)c);
		} else if (c >= ' ' && c < 0x7f) {
			line_char(line, (char)c);
		} else {
			const char escaped[] = { '\\', 'x', hex[c >> 4], hex[c & 15], '\0' };

			line_text(line, escaped);
		}
	}
	if (quote) {
		line_char(line, '"');
	}
}

static void line_field(struct line *line, const struct log_field *field)
{
	char text[ADDR_TEXT_MAX];

	line_char(line, ' ');
	line_text(line, field->key);
	line_char(line, '=');
	switch (field->type) {
	case LOG_FIELD_TEXT:
		line_escaped(line, (const unsigned char *)(field->text ? field->text : "-"),
			     strlen(field->text ? field->text : "-"));
		break;
	case LOG_FIELD_BYTES:
		line_escaped(line, field->bytes, field->len);
		break;
	case LOG_FIELD_UINT:
		snprintf(text, sizeof text, "%" PRIu64, field->uint);
		line_text(line, text);
		break;
	case LOG_FIELD_INT:
		snprintf(text, sizeof text, "%" PRId64, field->sint);
		line_text(line, text);
		break;
	case LOG_FIELD_ADDR:
		line_text(line, addr_format(field->addr, text, sizeof text));
		break;
	case LOG_FIELD_IP:
		line_text(line, addr_format_ip(field->addr, text, sizeof text));
		break;
	case LOG_FIELD_ERRNO: {
		const char *why = strerrordesc_np((int)field->sint);

		why = why ? why : "unknown error";
		line_escaped(line, (const unsigned char *)why, strlen(why));
		break;
	}
	}
}

size_t log_format(char *buf, size_t cap, const char *event, const struct log_field *fields,
		  size_t count)
{
	struct line line = { .buf = buf, .cap = cap };

	line_text(&line, event);
	for (size_t i = 0; i < count; i++) {
		line_field(&line, &fields[i]);
	}
	buf[line.len] = '\0';
	return line.len;
}

/* Whether stderr is the stream that systemd connected to the journal (systemd.exec(5),
 * $JOURNAL_STREAM). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev;
	uintmax_t ino;
	struct stat st;

	if (!stream || sscanf(stream, "%ju:%ju", &dev, &ino) != 2 ||
	    fstat(STDERR_FILENO, &st) < 0) {
		return false;
	}
	return st.st_dev == dev && st.st_ino == ino;
}

void log_init(void)
{
	log_to_journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool log_wanted(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_NOTICE:
		return "notice";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		return "debug";
	}
	return "?";
}

static size_t format_prefix(char *buf, size_t cap, enum log_level level)
{
	uint64_t now_ms = clock_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;
	char stamp[32];

	if (log_to_journal) {
		return (size_t)snprintf(buf, cap, "<%d>", (int)level);
	}
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	return (size_t)snprintf(buf, cap, "%s.%03uZ %s ", stamp, (unsigned)(now_ms % 1000),
				level_name(level));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
	       size_t count)
{
	int saved = errno;
	char buf[LINE_MAX_BYTES];
	size_t len;

	len = format_prefix(buf, sizeof buf, level);
	len += log_format(buf + len, sizeof buf - len - 1, event, fields, count);
	buf[len++] = '\n';
	/* A log that cannot be written has no one left to be told. */
	(void)!write(STDERR_FILENO, buf, len);
	errno = saved;
}

bool log_limit_ok(struct log_limit *limit, uint64_t now_ms, uint32_t *ret_suppressed)
{
	if (limit->period_start_ms == 0 || now_ms - limit->period_start_ms >= LIMIT_PERIOD_MS) {
		limit->period_start_ms = now_ms;
		limit->in_period = 0;
	}
	if (limit->in_period >= LIMIT_BURST) {
		limit->suppressed++;
		return false;
	}
	limit->in_period++;
	*ret_suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}
