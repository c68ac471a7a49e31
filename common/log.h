/* SPDX-License-Identifier: ISC */
/*
 * One line an event: "info session-end client=192.168.1.7 bytes_up=120". The event is a fixed word;
 * everything that varies is a field, escaped where needed, so no peer can forge a line or a field.
 * Lines go to stderr with one write() each: with a time stamp, or with sd-daemon(3) prefixes when
 * stderr is the journal.
 *
 * Thread: any. The level and the sink are the process's only logging state.
 * Who logs: the one place that decides what an error means. Modules below return errors and are
 * silent.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr;

/* Values are syslog(3) severities. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

enum log_field_type {
	LOG_FIELD_TEXT,  /* NUL-terminated; NULL prints as "-" */
	LOG_FIELD_BYTES, /* length-delimited, from a peer */
	LOG_FIELD_UINT,
	LOG_FIELD_INT,
	LOG_FIELD_ADDR,  /* with port */
	LOG_FIELD_IP,    /* without */
	LOG_FIELD_ERRNO, /* positive errno as its text */
};

struct log_field {
	const char *key;
	enum log_field_type type;
	size_t len; /* LOG_FIELD_BYTES */
	union {
		const char *text;
		const void *bytes;
		uint64_t uint;
		int64_t sint;
		const struct addr *addr;
	};
};

#define KV_TEXT(k, v)                                           \
	{                                                       \
		.key = (k), .type = LOG_FIELD_TEXT, .text = (v) \
	}
#define KV_BYTES(k, v, n)                                                     \
	{                                                                     \
		.key = (k), .type = LOG_FIELD_BYTES, .bytes = (v), .len = (n) \
	}
#define KV_UINT(k, v)                                           \
	{                                                       \
		.key = (k), .type = LOG_FIELD_UINT, .uint = (v) \
	}
#define KV_INT(k, v)                                           \
	{                                                      \
		.key = (k), .type = LOG_FIELD_INT, .sint = (v) \
	}
#define KV_ADDR(k, v)                                           \
	{                                                       \
		.key = (k), .type = LOG_FIELD_ADDR, .addr = (v) \
	}
#define KV_IP(k, v)                                           \
	{                                                     \
		.key = (k), .type = LOG_FIELD_IP, .addr = (v) \
	}
#define KV_ERRNO(k, v)                                           \
	{                                                        \
		.key = (k), .type = LOG_FIELD_ERRNO, .sint = (v) \
	}

/* Find out what stderr is. Before it, lines get time stamps. Call once, early in main(). */
void log_init(void);

/* Lines above this level are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
bool log_wanted(enum log_level level);

/* Write one line, whatever the level allows: that is log_event()'s question. Too long a line is cut
 * at 4,095 bytes. errno is preserved. */
void log_write(enum log_level level, const char *event, const struct log_field *fields,
	       size_t count);

/* log_event(LOG_LEVEL_INFO, "listening", KV_ADDR("address", &a)); with at least one field */
#define log_event(level, event, ...)                                            \
	do {                                                                    \
		if (log_wanted(level)) {                                        \
			const struct log_field log_fields_[] = { __VA_ARGS__ }; \
			log_write(level, event, log_fields_,                    \
				  sizeof log_fields_ / sizeof log_fields_[0]);  \
		}                                                               \
	} while (0)

/* Format one line into buf without prefix and newline; the part of log_write() that tests look at.
 * Returns its length, always < cap. */
size_t log_format(char *buf, size_t cap, const char *event, const struct log_field *fields,
		  size_t count);

/* At most `burst` lines per period; embedded by whoever may be flooded. All-zero means 5 lines a
 * minute. */
struct log_limit {
	uint64_t period_start_ms;
	uint32_t in_period;
	uint32_t suppressed;
};

/* Whether a line may be written now; *ret_suppressed then tells how many were not since the last
 * one. */
bool log_limit_ok(struct log_limit *limit, uint64_t now_ms, uint32_t *ret_suppressed);

#endif
