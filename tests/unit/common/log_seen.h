/* SPDX-License-Identifier: ISC */
/*
 * What a program under test has logged: a test that is linked with LOG_SEEN_WRAP gets the lines
 * instead of stderr. Any thread may log.
 */
#ifndef TESTS_UNIT_COMMON_LOG_SEEN_H
#define TESTS_UNIT_COMMON_LOG_SEEN_H

#define LOG_SEEN_LINE_MAX 1024

/* Forget all lines. */
void log_seen_forget(void);

/* How many lines of this event there were. */
unsigned log_seen_count(const char *event);

/* Assert that the last line of all holds this text. */
void log_seen_expect(const char *text);

#endif
