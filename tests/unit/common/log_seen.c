/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/log_seen.h"

#include "common/log.h"

#include <check.h>
#include <pthread.h>
#include <string.h>

enum {
	LINES_MAX = 64,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static char lines[LINES_MAX][LOG_SEEN_LINE_MAX];
static unsigned line_count;

/* Called in the place of log_write(); the linker has it so. */
void __wrap_log_write(enum log_level level, const char *event, const struct log_field *fields,
		      size_t count);

void __wrap_log_write(enum log_level level, const char *event, const struct log_field *fields,
		      size_t count)
{
	(void)level;
	pthread_mutex_lock(&lock);
	ck_assert_uint_lt(line_count, LINES_MAX);
	log_format(lines[line_count++], LOG_SEEN_LINE_MAX, event, fields, count);
	pthread_mutex_unlock(&lock);
}

void log_seen_forget(void)
{
	pthread_mutex_lock(&lock);
	line_count = 0;
	pthread_mutex_unlock(&lock);
}

unsigned log_seen_count(const char *event)
{
	size_t len = strlen(event);
	unsigned count = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < line_count; i++) {
		count += strncmp(lines[i], event, len) == 0 && lines[i][len] == ' ';
	}
	pthread_mutex_unlock(&lock);
	return count;
}

void log_seen_expect(const char *text)
{
	pthread_mutex_lock(&lock);
	ck_assert_uint_gt(line_count, 0);
	ck_assert_msg(strstr(lines[line_count - 1], text) != NULL, "no %s in %s", text,
		      lines[line_count - 1]);
	pthread_mutex_unlock(&lock);
}
