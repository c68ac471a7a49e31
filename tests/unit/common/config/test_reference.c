/* SPDX-License-Identifier: ISC */
#include "common/config/reference.h"

#include "tests/sample_schema.h"
#include "tests/unit/suite.h"

#include <stdlib.h>
#include <string.h>

/* Returns owned. */
static char *print_sample(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	ck_assert_int_eq(reference_print_sample(&sample_schema, "sampled", out), 0);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

/* Returns owned. */
static char *print_man(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	ck_assert_int_eq(reference_print_man(&sample_schema, out), 0);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

/* What a configuration file comes to, as --print-config shows it. Returns owned. */
static char *print_effective(const char *file)
{
	struct params *p = params_new(&sample_schema);
	struct ini_error err = { "" };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	ck_assert_msg(params_read_bytes(p, "f", file, strlen(file), &err) == 0, "%s", err.text);
	ck_assert_int_eq(params_finish(p, &err), 0);
	params_print(p, out);
	ck_assert_int_eq(fclose(out), 0);
	params_free(p);
	return text;
}

START_TEST(sample_says_nothing)
{
	char *sample = print_sample();
	char *with = print_effective(sample);
	char *without = print_effective("");

	ck_assert_str_eq(with, without);
	free(sample);
	free(with);
	free(without);
}
END_TEST

/* The lines behind ";" that hold a section or a value, without what no default has. */
static char *uncomment(const char *sample)
{
	char *text = calloc(1, strlen(sample) + 1);
	char *to = text;

	while (*sample) {
		size_t len = strcspn(sample, "\n");

		if (*sample == ';' && sample[len - 1] != '=') {
			memcpy(to, sample + 1, len);
			to += len;
		}
		sample += len + 1;
	}
	return text;
}

START_TEST(sample_without_its_marks_is_the_default)
{
	static const char *const lines[] = {
		"\nworkers = auto ",
		"\nidle-timeout = 2h ",
		"\nmin-ttl = 0 ",
		"\nsize = 32M ",
		"\nprefetch = 10% ",
		"\naddress = 127.0.0.1:1080\n",
		"\nserver = 192.0.2.53:53",
		"\n; mark =\n",
		"\n; users =\n",
	};
	char *sample = print_sample();
	char *file = uncomment(sample);
	char *text = print_effective(file);

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		size_t len = strlen(lines[i]);

		/* What was set is not marked as a default. */
		len -= lines[i][len - 1] == ' ' ? 1 : 0;
		ck_assert_msg(memmem(text, strlen(text), lines[i], len) != NULL, "no %s in\n%s",
			      lines[i], text);
	}
	ck_assert_ptr_null(strstr(text, "listen ipv6"));
	free(sample);
	free(file);
	free(text);
}
END_TEST

START_TEST(man_tells_each_key)
{
	static const char *const texts[] = {
		".SS [server]\nThe process\n.TP\n.B workers\nNumber of threads\n"
		"(auto, number from 1 to 256; default auto; changes with a restart)\n",
		".B idle\\-timeout\nSilence\n(duration from 1s to 7d; default 2h)\n",
		".B mark\nPacket mark\n(number from 1 to 4294967295)\n",
		".SS [listen \\fINAME\\fP]\nDoors\n",
		"[listen ipv4]\naddress = 127.0.0.1:1080\n"
		"[listen ipv6]\naddress = [::1]:1080, [::1]:1081\npadding = off\n.fi\n",
		".B auth\nWho may\n(none, password; default none)\n",
		"(list of IP or IP:PORT, port 53 if not given; default 192.0.2.53, "
		"[2001:db8::53]:5353)\n",
	};
	char *man = print_man();

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		ck_assert_msg(strstr(man, texts[i]) != NULL, "no %s in\n%s", texts[i], man);
	}
	free(man);
}
END_TEST

SUITE_MAIN("reference", sample_says_nothing, sample_without_its_marks_is_the_default,
	   man_tells_each_key)
