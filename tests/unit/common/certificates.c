/* SPDX-License-Identifier: ISC */
#include "tests/unit/common/certificates.h"

#include "tests/unit/suite.h"

#include <signal.h>
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

struct tls_server *certificates_server(const char *name, const char *alpn)
{
	char certificate[CERTIFICATES_PATH_MAX];
	char key[CERTIFICATES_PATH_MAX];
	char file[64];
	const char *path = NULL;
	const char *why = NULL;
	struct tls_server *server;

	snprintf(file, sizeof file, "%s.pem", name);
	certificates_path(file, certificate);
	snprintf(file, sizeof file, "%s.key", name);
	certificates_path(file, key);
	server = tls_server_load(certificate, key, &alpn, alpn ? 1 : 0, &path, &why);
	ck_assert_msg(server != NULL, "%s: %s", path, why);
	return server;
}

struct tls_trust *certificates_trust(const char *file)
{
	char path[CERTIFICATES_PATH_MAX];
	struct tls_trust *trust = tls_trust_load(certificates_path(file, path));

	ck_assert_ptr_nonnull(trust);
	return trust;
}

int certificates_run(const char *name, void (*prepare)(void), const TTest *const *tests,
		     size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (!certificates_make()) {
		puts("1..0 # SKIP the openssl program is not installed");
		return EXIT_SUCCESS;
	}
	if (prepare) {
		prepare();
	}
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < count; i++) {
		tcase_add_test(tcase, tests[i]);
	}
	suite_add_tcase(suite, tcase);
	r = suite_run(suite);
	certificates_remove();
	return r;
}
