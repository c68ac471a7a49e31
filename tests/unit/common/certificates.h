/* SPDX-License-Identifier: ISC */
/*
 * The certificates of tests/certs/make-certs, made once by a test program in a folder of its own.
 */
#ifndef TESTS_UNIT_COMMON_CERTIFICATES_H
#define TESTS_UNIT_COMMON_CERTIFICATES_H

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

#endif
