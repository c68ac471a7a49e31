/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/config/ini.h"

#include "tests/unit/suite.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the callbacks saw: "[section]@line" and "key=value@line", separated by blanks. */
struct seen {
	char text[4096];
	bool refuse;
};

static int on_section(void *arg, const char *section, unsigned line, struct ini_error *reterr)
{
	struct seen *seen = arg;
	size_t used = strlen(seen->text);

	(void)reterr;
	snprintf(seen->text + used, sizeof seen->text - used, "%s[%s]@%u", used ? " " : "", section,
		 line);
	return 0;
}

static int on_line(void *arg, const char *section, const char *key, const char *value,
		   unsigned line, struct ini_error *reterr)
{
	struct seen *seen = arg;
	size_t used = strlen(seen->text);

	ck_assert_str_ne(section, "");
	if (seen->refuse) {
		ini_fail(reterr, "x", line, NULL, "refused");
		return -1;
	}
	snprintf(seen->text + used, sizeof seen->text - used, " %s=%s@%u", key, value, line);
	return 0;
}

#define BYTES(literal) (literal), sizeof(literal) - 1

static const struct {
	const char *bytes;
	size_t len;
	const char *seen;
} good_cases[] = {
	{ BYTES(""), "" },
	{ BYTES("\n\n"), "" },
	{ BYTES("[a]\nk = v\n"), "[a]@1 k=v@2" },
	{ BYTES("[a]\nk = v"), "[a]@1 k=v@2" },
	{ BYTES("[a]\r\nk = v\r\n"), "[a]@1 k=v@2" },
	{ BYTES("\xef\xbb\xbf[a]\nk=v\n"), "[a]@1 k=v@2" },
	{ BYTES("[a]\nk = 1\n  j = 2\n\tk = 3\n"), "[a]@1 k=1@2 j=2@3 k=3@4" },
	{ BYTES("  [ a\tb ]  ; why\n k=v ; not this\n"), "[a\tb]@1 k=v@2" },
	{ BYTES("; c\n# c\n\n[a]\n  ; c\n  # c\nk=v\n"), "[a]@4 k=v@7" },
	{ BYTES("[a]\nk =\nj = ;c\n"), "[a]@1 k=@2 j=@3" },
	{ BYTES("[a]\nk =;v\nk = a;b\n"), "[a]@1 k=;v@2 k=a;b@3" },
	{ BYTES("[a]\nk = x#y # z\n"), "[a]@1 k=x#y # z@2" },
	{ BYTES("[a]\nk = tls://9.9.9.9#n\n"), "[a]@1 k=tls://9.9.9.9#n@2" },
	{ BYTES("[a]\nk = b = c\n"), "[a]@1 k=b = c@2" },
	{ BYTES("[a]\nk = [v]\n"), "[a]@1 k=[v]@2" },
	{ BYTES("[a]\nk = \xc3\xa9\n"), "[a]@1 k=\xc3\xa9@2" },
	{ BYTES("[a]\n[b]\n[a]\n"), "[a]@1 [b]@2 [a]@3" },
	{ BYTES("[0123456789012345678901234567890123456789012345678]\n"),
	  "[0123456789012345678901234567890123456789012345678]@1" },
};

START_TEST(test_good)
{
	for (size_t i = 0; i < ARRAY_SIZE(good_cases); i++) {
		struct seen seen = { "" };
		struct ini_error err = { "" };
		int r = ini_read_bytes("f", good_cases[i].bytes, good_cases[i].len, on_section,
				       on_line, &seen, &err);

		ck_assert_msg(r == 0, "case %zu: %s", i, err.text);
		ck_assert_str_eq(seen.text, good_cases[i].seen);
	}
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	const char *error;
} bad_cases[] = {
	{ BYTES("[a]\nk\n"),
	  "f:2: line \"k\" has no \"=\" after a key (key = value or [section] was expected)" },
	{ BYTES("[a]\n  more\n"),
	  "f:2: line \"more\" has no \"=\" after a key (key = value or [section] was expected)" },
	{ BYTES("[a]\nk ; = v\n"),
	  "f:2: line \"k\" has no \"=\" after a key (key = value or [section] was expected)" },
	{ BYTES("[a]\nk: v\n"),
	  "f:2: line \"k: v\" has no \"=\" after a key (key = value or [section] was expected)" },
	{ BYTES("[a]\nk: v = w\n"),
	  "f:2: line \"k: v = w\" has no \"=\" after a key (key = value or [section] was "
	  "expected)" },
	{ BYTES("[a]\n = v\n"), "f:2: line \"= v\" has no key (key = value was expected)" },
	{ BYTES("k = v\n[a]\n"),
	  "f:1: line \"k = v\" is in no section (a [section] header was expected first)" },
	{ BYTES("[a\nk = v\n"),
	  "f:1: section header \"[a\" has no \"]\" ([section] was expected)" },
	{ BYTES("[a ;]\nk = v\n"),
	  "f:1: section header \"[a\" has no \"]\" ([section] was expected)" },
	{ BYTES("[]\n"), "f:1: section header has no name ([section] was expected)" },
	{ BYTES("[ \t]\n"), "f:1: section header has no name ([section] was expected)" },
	{ BYTES("[a] b\n"),
	  "f:1: text after section header \"[a] b\" (only a comment may follow \"]\")" },
	{ BYTES("[a]]\n"),
	  "f:1: text after section header \"[a]]\" (only a comment may follow \"]\")" },
	{ BYTES("[a] # b\n"),
	  "f:1: text after section header \"[a] # b\" (only a comment may follow \"]\")" },
	{ BYTES("[01234567890123456789012345678901234567890123456789]\n"),
	  "f:1: section name \"01234567890123456789012345678901234567890123456789\" is longer "
	  "than 49 bytes (a shorter name was expected)" },
	{ BYTES("[a]\nk = v\0w\n"),
	  "f:2: control character 0x00 in column 6 (plain text was expected)" },
	{ BYTES("\0"), "f:1: control character 0x00 in column 1 (plain text was expected)" },
	{ BYTES("; \x1b[31m\n"),
	  "f:1: control character 0x1b in column 3 (plain text was expected)" },
	{ BYTES("[a]\rk = v\n"),
	  "f:1: control character 0x0d in column 4 (plain text was expected)" },
	{ BYTES("[a]\r"), "f:1: control character 0x0d in column 4 (plain text was expected)" },
	{ BYTES("[a]\n\x7f\n"),
	  "f:2: control character 0x7f in column 1 (plain text was expected)" },
	{ BYTES("[a]\n\xef\xbb\xbf\n"), "f:2: line \"\\xef\\xbb\\xbf\" has no \"=\" after a key "
					"(key = value or [section] was expected)" },
	{ BYTES("[a]\n\"\\\n"), "f:2: line \"\\\"\\\\\" has no \"=\" after a key (key = value or "
				"[section] was expected)" },
};

START_TEST(test_bad)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		struct seen seen = { "" };
		struct ini_error err = { "" };
		int r = ini_read_bytes("f", bad_cases[i].bytes, bad_cases[i].len, on_section,
				       on_line, &seen, &err);

		ck_assert_int_eq(r, -1);
		ck_assert_str_eq(err.text, bad_cases[i].error);
	}
}
END_TEST

/* Fill buf with "[a]\nk=vvv", the second line of line_len bytes, then `tail`. */
static size_t long_line(char *buf, size_t line_len, const char *tail)
{
	memcpy(buf, "[a]\nk=", 6);
	memset(buf + 6, 'v', line_len - 2);
	memcpy(buf + 4 + line_len, tail, strlen(tail) + 1);
	return 4 + line_len + strlen(tail);
}

START_TEST(test_line_length)
{
	static const char *const tails[] = { "", "\n", "\r\n", "\nj=w\n", "   ; no part of it\n" };
	size_t max = ini_line_max();
	char bytes[8192];
	char expected[200];

	ck_assert_uint_ge(max, 100);
	ck_assert_uint_lt(max, 4000);
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		struct seen seen = { "" };
		struct ini_error err = { "" };
		size_t len = long_line(bytes, max, tails[i]);

		ck_assert_int_eq(ini_read_bytes("f", bytes, len, NULL, on_line, &seen, &err), 0);
		ck_assert_ptr_eq(strchr(seen.text, '@'), seen.text + 1 + max);
		len = long_line(bytes, max + 1, tails[i]);
		ck_assert_int_eq(ini_read_bytes("f", bytes, len, NULL, on_line, &seen, &err), -1);
		snprintf(expected, sizeof expected,
			 "f:2: line is longer than %zu bytes (split a list over repeated keys)",
			 max);
		ck_assert_str_eq(err.text, expected);
	}
}
END_TEST

START_TEST(test_long_comment)
{
	char bytes[8192];
	struct seen seen = { "" };
	struct ini_error err = { "" };

	memset(bytes, ' ', sizeof bytes);
	memcpy(bytes, "[a] ;", 5);
	bytes[4000] = '\n';
	bytes[4001] = '#';
	bytes[8000] = '\n';
	memcpy(bytes + 8100, "k=v", 3);
	ck_assert_int_eq(ini_read_bytes("f", bytes, sizeof bytes, on_section, on_line, &seen, &err),
			 0);
	ck_assert_str_eq(seen.text, "[a]@1 k=v@3");
}
END_TEST

START_TEST(test_callback_stops)
{
	struct seen seen = { .refuse = true };
	struct ini_error err = { "" };

	ck_assert_int_eq(
		ini_read_bytes("f", BYTES("[a]\n\nk=v\n[b]\n"), on_section, on_line, &seen, &err),
		-1);
	ck_assert_str_eq(err.text, "x:3: refused");
	ck_assert_str_eq(seen.text, "[a]@1");
}
END_TEST

START_TEST(test_fail_is_bounded)
{
	char text[3000];
	struct ini_error err;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	ini_fail(&err, text, 4294967295u, text, "%s", text);
	ck_assert_uint_lt(strlen(err.text), sizeof err.text);
	ck_assert_ptr_nonnull(strstr(err.text, "x...:4294967295: xxx"));
	ck_assert_ptr_nonnull(strstr(err.text, "x... (xxx"));
	ck_assert_str_eq(err.text + strlen(err.text) - 5, "x...)");
	memset(text, '\n', sizeof text - 1);
	ini_fail(&err, "f\n", 1, text, "%s", text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_int_eq(strncmp(err.text, "f\\x0a:1: \\x0a\\x0a", 17), 0);
	ck_assert_str_eq(err.text + strlen(err.text) - 8, "\\x0a...)");
}
END_TEST

START_TEST(test_quote)
{
	struct ini_quoted buf;
	char text[300];

	ck_assert_str_eq(INI_QUOTE(""), "\"\"");
	ck_assert_str_eq(INI_QUOTE("a \"b\" \\ \t\xff"), "\"a \\\"b\\\" \\\\ \\x09\\xff\"");
	ck_assert_str_eq(ini_quote(&buf, "a\0b", 3), "\"a\\x00b\"");
	for (size_t len = 0; len < sizeof text; len++) {
		memset(text, 'y', len);
		ini_quote(&buf, text, len);
		ck_assert_uint_lt(strlen(buf.text), sizeof buf.text);
		ck_assert_int_eq(strstr(buf.text, "...\"") != NULL, len > 97);
	}
}
END_TEST

static const struct {
	const char *path;
	const char *error;
} path_cases[] = {
	{ "./no-such-file", "./no-such-file:0: cannot open: No such file or directory (a readable "
			    "configuration file was expected)" },
	{ ".", ".:0: is a directory (a readable configuration file was expected)" },
	{ "/dev/null",
	  "/dev/null:0: is a special file (a readable configuration file was expected)" },
	{ "test_ini.fifo",
	  "test_ini.fifo:0: is a special file (a readable configuration file was expected)" },
	{ "/proc/self/mem", "/proc/self/mem:0: cannot read: Input/output error (a readable "
			    "configuration file was expected)" },
	{ "", ":0: cannot open: No such file or directory (a readable configuration file was "
	      "expected)" },
};

START_TEST(test_paths)
{
	unlink("test_ini.fifo");
	ck_assert_int_eq(mkfifo("test_ini.fifo", 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(path_cases); i++) {
		struct seen seen = { "" };
		struct ini_error err = { "" };

		ck_assert_int_eq(ini_read(path_cases[i].path, NULL, on_line, &seen, &err), -1);
		ck_assert_str_eq(err.text, path_cases[i].error);
	}
	unlink("test_ini.fifo");
}
END_TEST

/* A file of `len` bytes: a section and key, then a comment. */
static void write_file(const char *path, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs("[a]\nk = v\n;", f);
	for (size_t i = 11; i < len; i++) {
		fputc('c', f);
	}
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(test_file)
{
	struct seen seen = { "" };
	struct ini_error err = { "" };

	write_file("test_ini.conf", INI_FILE_MAX_BYTES);
	ck_assert_int_eq(ini_read("test_ini.conf", on_section, on_line, &seen, &err), 0);
	ck_assert_str_eq(seen.text, "[a]@1 k=v@2");
	write_file("test_ini.conf", INI_FILE_MAX_BYTES + 1);
	ck_assert_int_eq(ini_read("test_ini.conf", on_section, on_line, &seen, &err), -1);
	ck_assert_str_eq(err.text, "test_ini.conf:0: is longer than 1048576 bytes (a readable "
				   "configuration file was expected)");
	if (geteuid() != 0) {
		ck_assert_int_eq(chmod("test_ini.conf", 0), 0);
		ck_assert_int_eq(ini_read("test_ini.conf", on_section, on_line, &seen, &err), -1);
		ck_assert_str_eq(err.text, "test_ini.conf:0: cannot open: Permission denied (a "
					   "readable configuration file was expected)");
	}
	unlink("test_ini.conf");
}
END_TEST

SUITE_MAIN("ini", test_good, test_bad, test_line_length, test_long_comment, test_callback_stops,
	   test_fail_is_bounded, test_quote, test_paths, test_file)
