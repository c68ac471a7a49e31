/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/config.h"

#include "common/container.h"
#include "tests/unit/common/certificates.h"
#include "tests/unit/common/config_text.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define A   "[listen a]\naddress = 127.0.0.1:5353\n"
#define U   "[upstream default]\n"
#define L   "[listen t]\naddress = 127.0.0.1:8853\nprotocol = tls\n"
#define PIN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

/* The configuration that the text makes, @ standing for the folder of the certificates; or NULL
 * with *reterr. */
static struct config *make(const char *text, struct params **ret_params, struct ini_error *reterr)
{
	char bytes[2048];
	char dir[CERTIFICATES_PATH_MAX];
	size_t len = 0;

	certificates_path("", dir);
	for (; *text; text++) {
		if (*text == '@') {
			len += (size_t)snprintf(bytes + len, sizeof bytes - len, "%s", dir);
		} else {
			bytes[len++] = *text;
		}
		ck_assert_uint_lt(len, sizeof bytes);
	}
	bytes[len] = '\0';
	return config_text_make(bytes, ret_params, reterr);
}

START_TEST(test_faults)
{
	static const struct {
		const char *text;
		const char *error; /* part of it; NULL: none */
	} table[] = {
		{ A U "server = tls://192.0.2.1\n", NULL },
		{ A U "server = tls://192.0.2.1#a.example\nca = @ca.pem\npin = " PIN "\n", NULL },
		{ A U
		  "server = tls://a.example\nbootstrap = 192.0.2.1, tls://192.0.2.2#b.example\n",
		  NULL },
		{ A U "server = tls://a.example\n", "test.conf:4: nobody knows the address of" },
		{ A U "server = tls://a.example\nbootstrap = tls://b.example\n",
		  "test.conf:5: \"tls://b.example\" cannot be asked" },
		{ A U "server = tls://a.example\nbootstrap = ff02::1\n",
		  "test.conf:5: \"ff02::1\" cannot be asked" },
		{ A U "server = 192.0.2.1\nproxy = socks5://224.0.0.1\n",
		  "test.conf:5: that is no proxy" },
		{ A U "server = tls://a.example\nbootstrap = quic://192.0.2.1\n",
		  "cannot be asked" },
		{ A U "server = 192.0.2.1\nbootstrap = 192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,"
		      "192.0.2.5\n",
		  "test.conf:5: 5 servers" },
		{ A U "server = tls://192.0.2.1\npin = x\n", "test.conf:5: \"x\" is no pin" },
		{ A U "server = tls://192.0.2.1\npin = " PIN "\nauthentication = opportunistic\n",
		  "test.conf:5: pins are of no use" },
		{ A U "server = 192.0.2.1\npin = " PIN "\n",
		  "test.conf:5: no server of [upstream default] has a certificate" },
		{ A U "pin = " PIN "\n", "test.conf:4: no server of [upstream default] has" },
		{ A U "server = tls://192.0.2.1\nca = /nowhere\n", "/nowhere: No such file" },
		{ A U "server = 192.0.2.1\nca = @good.pin\n", "good.pin: no certificate in it" },
		{ L "certificate = @good.pem\nkey = @good.key\n" U, NULL },
		{ L U, "[listen t] has no certificate" },
		{ L "certificate = @good.pem\n" U, "[listen t] has no key" },
		{ L "certificate = @good.pem\nkey = @other.key\n" U, "other.key: no private key" },
		{ L "certificate = @none.pem\nkey = @good.key\n" U, "none.pem: no such file" },
		{ L "certificate = @good.pem\nkey = @open.key\n" U,
		  "open.key: the key can be read" },
		{ "[listen t]\naddress = 127.0.0.1\nprotocol = tls\ncertificate = @good.pem\n"
		  "key = @good.key\n" U,
		  "test.conf:2: port 53 is for DNS without" },
		{ A "certificate = @good.pem\n" U, "does not encrypt" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct ini_error error = { "" };
		struct params *params;
		struct config *config = make(table[i].text, &params, &error);

		ck_assert_msg((config == NULL) == (table[i].error != NULL), "%s: %s", table[i].text,
			      error.text);
		ck_assert_msg(config || strstr(error.text, table[i].error), "%s: %s", table[i].text,
			      error.text);
		config_free(config);
		params_free(params);
	}
}
END_TEST

START_TEST(test_values)
{
	struct ini_error error = { "" };
	struct params *params;
	struct config *config =
		make(L "certificate = @good.pem\nkey = @good.key\n" A
		       "[upstream default]\nserver = tls://192.0.2.1:85#a.example\npin = " PIN "\n"
		       "[upstream b]\nserver = tls://b.example\nbootstrap = tcp://192.0.2.9\n"
		       "ca = @ca.pem\n"
		       "[upstream c]\nserver = 192.0.2.2\n"
		       "[upstream d]\nserver = tls://192.0.2.3\nauthentication = opportunistic\n",
		     &params, &error);
	const struct group_config *g;

	ck_assert_msg(config != NULL, "%s", error.text);
	ck_assert_ptr_nonnull(config->listen_configs[0].tls);
	ck_assert_ptr_null(config->listen_configs[1].tls);
	ck_assert_uint_eq(config->listens.items[0].kinds, LISTENS_STREAM);
	ck_assert_uint_eq(config->listens.items[1].kinds, LISTENS_STREAM | LISTENS_DATAGRAM);
	g = &config->groups[0];
	ck_assert_uint_eq(g->security.pin_count, 1);
	ck_assert_uint_eq(g->security.pins[0].sha256[31], 31);
	ck_assert(!g->security.has_ca && !g->security.is_opportunistic && g->security.trust);
	g = &config->groups[1];
	ck_assert(g->security.has_ca && g->security.trust);
	ck_assert_uint_eq(g->bootstrap_count, 1);
	ck_assert_int_eq(g->bootstrap[0].protocol, ENDPOINT_TCP);
	ck_assert_ptr_null(config->groups[2].security.trust);
	ck_assert(config->groups[3].security.is_opportunistic);
	config_free(config);
	params_free(params);
}
END_TEST

static void prepare(void)
{
	char path[CERTIFICATES_PATH_MAX];

	certificates_copy("good.key", "open.key");
	chmod(certificates_path("open.key", path), 0644);
}

CERTIFICATES_MAIN("config_security", prepare, test_faults, test_values)
