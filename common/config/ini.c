/* SPDX-License-Identifier: ISC */
#include "common/config/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The parts of an error line; together with punctuation they fit struct ini_error. */
#define FILE_TEXT_MAX     256
#define WHAT_TEXT_MAX     416
#define EXPECTED_TEXT_MAX 320

static const char readable_file[] = "a readable configuration file was expected";

/* --- errors -------------------------------------------------------------------------------- */

/* One byte as it may be printed. Returns its length. */
static size_t printable(unsigned char c, bool quoted, char ret_text[5])
{
	if (c < 0x20 || c > 0x7e) {
		return (size_t)snprintf(ret_text, 5, "\\x%02x", c);
	}
	if (quoted && (c == '"' || c == '\\')) {
		return (size_t)snprintf(ret_text, 5, "\\%c", c);
	}
	return (size_t)snprintf(ret_text, 5, "%c", c);
}

/* Write text[0..len) printable into buf, at most cap - 1 bytes, ending in "..." when cut. Returns
 * the number of bytes written. */
static size_t put_printable(char *buf, size_t cap, const char *text, size_t len, bool quoted)
{
	static const char cut_mark[] = "...";
	size_t used = 0;
	size_t cut_at = 0; /* where the mark would go: the last place that leaves it room */

	for (size_t i = 0; i < len; i++) {
		char piece[5];
		size_t n = printable((unsigned char)text[i], quoted, piece);

		if (used + n >= cap) {
			memcpy(buf + cut_at, cut_mark, sizeof cut_mark);
			return cut_at + sizeof cut_mark - 1;
		}
		memcpy(buf + used, piece, n);
		used += n;
		if (used + sizeof cut_mark <= cap) {
			cut_at = used;
		}
	}
	buf[used] = '\0';
	return used;
}

void ini_fail(struct ini_error *err, const char *file, unsigned line, const char *expected,
	      const char *format, ...)
{
	char file_text[FILE_TEXT_MAX];
	char what[WHAT_TEXT_MAX * 2];
	char what_text[WHAT_TEXT_MAX];
	char expected_text[EXPECTED_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	put_printable(file_text, sizeof file_text, file, strlen(file), false);
	put_printable(what_text, sizeof what_text, what, strlen(what), false);
	if (!expected) {
		snprintf(err->text, sizeof err->text, "%s:%u: %s", file_text, line, what_text);
		return;
	}
	put_printable(expected_text, sizeof expected_text, expected, strlen(expected), false);
	snprintf(err->text, sizeof err->text, "%s:%u: %s (%s)", file_text, line, what_text,
		 expected_text);
}

const char *ini_quote(struct ini_quoted *buf, const char *text, size_t len)
{
	size_t used;

	buf->text[0] = '"';
	used = 1 + put_printable(buf->text + 1, sizeof buf->text - 2, text, len, true);
	buf->text[used] = '"';
	buf->text[used + 1] = '\0';
	return buf->text;
}

/* --- lines --------------------------------------------------------------------------------- */

struct span {
	const char *text;
	size_t len;
};

/* What inih's line source and handler share. */
struct reader {
	const char *name;
	const char *next;
	const char *end;
	unsigned line;
	bool in_section;
	bool failed; /* *err is filled; nothing more is read */
	ini_section_fn on_section;
	ini_line_fn on_line;
	void *arg;
	struct ini_error *err;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span span_strip(struct span s)
{
	while (s.len > 0 && is_blank(s.text[0])) {
		s.text++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.text[s.len - 1])) {
		s.len--;
	}
	return s;
}

/* The next line without its end and, at the start of the file, without the byte order mark. */
static struct span reader_take_line(struct reader *r)
{
	const char *start = r->next;
	size_t left = (size_t)(r->end - start);
	const char *newline = memchr(start, '\n', left);
	struct span s = { start, newline ? (size_t)(newline - start) : left };

	r->next += s.len + (newline ? 1 : 0);
	r->line++;
	if (r->line == 1 && s.len >= 3 && memcmp(s.text, "\xef\xbb\xbf", 3) == 0) {
		s.text += 3;
		s.len -= 3;
	}
	if (newline && s.len > 0 && s.text[s.len - 1] == '\r') {
		s.len--;
	}
	return s;
}

static int reader_check_bytes(struct reader *r, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.text[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f) {
			ini_fail(r->err, r->name, r->line, "plain text was expected",
				 "control character 0x%02x in column %zu", c, i + 1);
			return -1;
		}
	}
	return 0;
}

/* Drop the comment and the outer blanks. inih would drop them as well; done here, a long comment
 * does not make a line too long, and an indented line is not taken for a continuation. */
static struct span span_content(struct span s)
{
	s = span_strip(s);
	if (s.len > 0 && s.text[0] == '#') {
		s.len = 0;
	}
	for (size_t i = 0; i < s.len; i++) {
		if (s.text[i] == ';' && (i == 0 || is_blank(s.text[i - 1]))) {
			s.len = i;
		}
	}
	return span_strip(s);
}

/* Check `[name]`, tell the caller, and hand inih the header without inner blanks. */
static int reader_take_header(struct reader *r, struct span s, struct span *ret_name)
{
	const char *close = memchr(s.text, ']', s.len);
	struct ini_quoted quoted;
	char section[INI_SECTION_MAX_BYTES + 1];
	struct span name;

	ini_quote(&quoted, s.text, s.len);
	if (!close) {
		ini_fail(r->err, r->name, r->line, "[section] was expected",
			 "section header %s has no \"]\"", quoted.text);
		return -1;
	}
	if (close != s.text + s.len - 1) {
		ini_fail(r->err, r->name, r->line, "only a comment may follow \"]\"",
			 "text after section header %s", quoted.text);
		return -1;
	}
	name = span_strip((struct span){ s.text + 1, s.len - 2 });
	if (name.len == 0) {
		ini_fail(r->err, r->name, r->line, "[section] was expected",
			 "section header has no name");
		return -1;
	}
	if (name.len > INI_SECTION_MAX_BYTES) {
		ini_fail(r->err, r->name, r->line, "a shorter name was expected",
			 "section name %s is longer than %d bytes",
			 ini_quote(&quoted, name.text, name.len), INI_SECTION_MAX_BYTES);
		return -1;
	}
	memcpy(section, name.text, name.len);
	section[name.len] = '\0';
	r->in_section = true;
	*ret_name = name;
	return r->on_section ? r->on_section(r->arg, section, r->line, r->err) : 0;
}

/* inih would also take "key: value", and would ignore a line without either. */
static int reader_check_key_line(struct reader *r, struct span s)
{
	const char *equals = memchr(s.text, '=', s.len);
	const char *colon = memchr(s.text, ':', s.len);
	struct ini_quoted quoted;

	ini_quote(&quoted, s.text, s.len);
	if (!equals || (colon && colon < equals)) {
		ini_fail(r->err, r->name, r->line, "key = value or [section] was expected",
			 "line %s has no \"=\" after a key", quoted.text);
		return -1;
	}
	if (equals == s.text) {
		ini_fail(r->err, r->name, r->line, "key = value was expected", "line %s has no key",
			 quoted.text);
		return -1;
	}
	if (!r->in_section) {
		ini_fail(r->err, r->name, r->line, "a [section] header was expected first",
			 "line %s is in no section", quoted.text);
		return -1;
	}
	return 0;
}

/* Write one line as inih is to see it. 0, or -1 with the error filled. */
static int reader_write_line(struct reader *r, char *buf, size_t cap)
{
	struct span s = reader_take_line(r);
	const char *before = "";
	const char *after = "\n";

	if (reader_check_bytes(r, s) < 0) {
		return -1;
	}
	s = span_content(s);
	if (s.len > 0 && s.text[0] == '[') {
		before = "[";
		after = "]\n";
		if (reader_take_header(r, s, &s) < 0) {
			return -1;
		}
	} else if (s.len > 0 && reader_check_key_line(r, s) < 0) {
		return -1;
	}
	if ((size_t)snprintf(buf, cap, "%s%.*s%s", before, (int)s.len, s.text, after) >= cap) {
		ini_fail(r->err, r->name, r->line, "split a list over repeated keys",
			 "line is longer than %zu bytes", cap - 2);
		return -1;
	}
	return 0;
}

/* inih's line source: fgets() as inih would like it. */
static char *reader_gets(char *buf, int cap, void *stream)
{
	struct reader *r = stream;

	if (r->failed || r->next == r->end) {
		return NULL;
	}
	if (reader_write_line(r, buf, (size_t)cap) < 0) {
		r->failed = true;
		return NULL;
	}
	return buf;
}

/* inih's callback; 0 is its word for an error. */
static int reader_on_line(void *arg, const char *section, const char *key, const char *value)
{
	struct reader *r = arg;

	if (r->on_line(r->arg, section, key, value, r->line, r->err) < 0) {
		r->failed = true;
		return 0;
	}
	return 1;
}

int ini_read_bytes(const char *name, const void *bytes, size_t len, ini_section_fn on_section,
		   ini_line_fn on_line, void *arg, struct ini_error *reterr)
{
	struct reader r = {
		.name = name,
		.next = bytes,
		.end = len > 0 ? (const char *)bytes + len : bytes,
		.on_section = on_section,
		.on_line = on_line,
		.arg = arg,
		.err = reterr,
	};
	int status;

	if (len > INI_FILE_MAX_BYTES) {
		ini_fail(reterr, name, 0, readable_file, "is longer than %u bytes",
			 INI_FILE_MAX_BYTES);
		return -1;
	}
	if (len == 0) {
		return 0;
	}
	status = ini_parse_stream(reader_gets, &r, reader_on_line, &r);
	if (r.failed) {
		return -1;
	}
	if (status != 0) {
		/* Only an inih built to put its line on the heap, and out of memory, gets here. */
		ini_fail(reterr, name, r.line, NULL, "cannot be parsed (inih says %d)", status);
		return -1;
	}
	return 0;
}

/* A line source without lines, to learn how much inih takes. */
static char *probe_gets(char *buf, int cap, void *stream)
{
	size_t *cap_seen = stream;

	(void)buf;
	*cap_seen = (size_t)cap;
	return NULL;
}

static int probe_on_line(void *arg, const char *section, const char *key, const char *value)
{
	(void)arg;
	(void)section;
	(void)key;
	(void)value;
	return 1;
}

size_t ini_line_max(void)
{
	size_t cap = 2;

	ini_parse_stream(probe_gets, &cap, probe_on_line, NULL);
	return cap - 2; /* the newline and the NUL */
}

/* --- files --------------------------------------------------------------------------------- */

/* Read all of fd, at most cap bytes. The number read, or a negative errno. */
static ssize_t read_all(int fd, char *buf, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = read(fd, buf + len, cap - len);

		if (n == 0) {
			break;
		}
		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		len += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)len;
}

/* Open a regular file. The fd, or -1 with *reterr. */
static int open_regular(const char *path, struct ini_error *reterr)
{
	/* O_NONBLOCK: a fifo must not stop us before it can be refused. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		ini_fail(reterr, path, 0, readable_file, "cannot open: %s", strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		ini_fail(reterr, path, 0, readable_file, "is %s",
			 S_ISDIR(st.st_mode) ? "a directory" : "a special file");
		goto fail;
	}
	return fd;
fail:
	if (fd >= 0) {
		close(fd);
	}
	return -1;
}

int ini_read(const char *path, ini_section_fn on_section, ini_line_fn on_line, void *arg,
	     struct ini_error *reterr)
{
	int fd = open_regular(path, reterr);
	char *bytes = NULL;
	ssize_t len;
	int r = -1;

	if (fd < 0) {
		return -1;
	}
	/* One byte more than allowed, so that ini_read_bytes() sees what is too long. */
	bytes = malloc(INI_FILE_MAX_BYTES + 1);
	if (!bytes) {
		ini_fail(reterr, path, 0, NULL, "out of memory");
		goto out;
	}
	len = read_all(fd, bytes, INI_FILE_MAX_BYTES + 1);
	if (len < 0) {
		ini_fail(reterr, path, 0, readable_file, "cannot read: %s", strerror((int)-len));
		goto out;
	}
	r = ini_read_bytes(path, bytes, (size_t)len, on_section, on_line, arg, reterr);
out:
	free(bytes);
	close(fd);
	return r;
}
