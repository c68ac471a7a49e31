/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/certificates.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static char certs_dir[] = "/tmp/stile-certs-XXXXXX";

bool certificates_make(void)
{
	char command[1024];

	if (system("command -v openssl >/dev/null") != 0) {
		return false;
	}
	if (!mkdtemp(certs_dir)) {
		abort();
	}
	snprintf(command, sizeof command, "'%s/tests/certs/make-certs' '%s'", TOP_SRCDIR,
		 certs_dir);
	if (system(command) != 0) {
		fprintf(stderr, "%s failed\n", command);
		abort();
	}
	return true;
}

void certificates_remove(void)
{
	char command[64];

	snprintf(command, sizeof command, "rm -rf '%s'", certs_dir);
	if (system(command) != 0) {
		abort();
	}
}

const char *certificates_path(const char *file, char buf[CERTIFICATES_PATH_MAX])
{
	snprintf(buf, CERTIFICATES_PATH_MAX, "%s/%s", certs_dir, file);
	return buf;
}

void certificates_copy(const char *from, const char *to)
{
	char command[2 * CERTIFICATES_PATH_MAX + 32];
	char a[CERTIFICATES_PATH_MAX];
	char b[CERTIFICATES_PATH_MAX];

	snprintf(command, sizeof command, "cp -p '%s' '%s'", certificates_path(from, a),
		 certificates_path(to, b));
	if (system(command) != 0) {
		abort();
	}
}
