/* SPDX-License-Identifier: ISC */
/*
 * The certificates of tests/certs/make-certs, made once by a test program in a folder of its own.
 */
#ifndef TESTS_UNIT_COMMON_CERTIFICATES_H
#define TESTS_UNIT_COMMON_CERTIFICATES_H

#include "common/stream/tls.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#define CERTIFICATES_PATH_MAX 256

/* Make them. False when the openssl program is not there. Any other trouble ends the test. */
bool certificates_make(void);
/* Remove the folder. */
void certificates_remove(void);

/* "DIR/FILE"; returns buf. */
const char *certificates_path(const char *file, char buf[CERTIFICATES_PATH_MAX]);

/* Another file with the content and mode of the first. */
void certificates_copy(const char *from, const char *to);

/* A server with NAME.pem and NAME.key; alpn may be NULL. Returns owned, never NULL. */
struct tls_server *certificates_server(const char *name, const char *alpn);

/* Those that this file trusts. Returns owned, never NULL. */
struct tls_trust *certificates_trust(const char *file);

/* What main() returns: make the certificates, call prepare (may be NULL), run the tests, remove.
 * All is skipped when the openssl program is not there. */
int certificates_run(const char *name, void (*prepare)(void), const TTest *const *tests,
		     size_t count);

/* SUITE_MAIN() of suite.h with certificates. */
#define CERTIFICATES_MAIN(name, prepare, ...)                                                \
	int main(void)                                                                       \
	{                                                                                    \
		const TTest *const tests[] = { __VA_ARGS__ };                                \
                                                                                             \
		return certificates_run(name, prepare, tests, sizeof tests / sizeof *tests); \
	}

#endif
