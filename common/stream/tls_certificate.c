/* SPDX-License-Identifier: ISC */
#include "common/stream/tls_private.h"

#include "common/container.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	PIN_TEXT_LEN = 44,      /* 32 bytes in base64 */
	PIN_DECODED_BYTES = 33, /* the same decoded, with what stands for the padding */
};

const char *tls_error_word(enum tls_error error)
{
	static const char *const words[] = { [TLS_OK] = "ok",
#define X(name, word, meaning) [TLS_##name] = #word,
					     TLS_ERRORS(X)
#undef X
	};

	return words[error];
}

const char *tls_error_meaning(enum tls_error error)
{
	static const char *const meanings[] = { [TLS_OK] = "",
#define X(name, word, meaning) [TLS_##name] = meaning,
						TLS_ERRORS(X)
#undef X
	};

	return meanings[error];
}

/* --- whom to trust --------------------------------------------------------------------------- */

struct tls_trust *tls_trust_load(const char *path)
{
	struct tls_trust *trust = calloc(1, sizeof *trust);
	int error = EINVAL;
	struct stat st;

	if (!trust) {
		return NULL;
	}
	trust->store = X509_STORE_new();
	if (!trust->store) {
		error = ENOMEM;
	} else if (!path) {
		error = X509_STORE_set_default_paths(trust->store) == 1 ? 0 : ENOENT;
	} else if (stat(path, &st) < 0) {
		error = errno;
	} else if (X509_STORE_load_file(trust->store, path) == 1) {
		error = 0;
	}
	ERR_clear_error();
	if (error) {
		tls_trust_free(trust);
		errno = error;
		return NULL;
	}
	return trust;
}

void tls_trust_free(struct tls_trust *trust)
{
	if (trust) {
		X509_STORE_free(trust->store);
		free(trust);
	}
}

bool tls_pin_parse(const char *text, struct tls_pin *ret_pin)
{
	unsigned char decoded[PIN_DECODED_BYTES];
	EVP_ENCODE_CTX *ctx;
	int len = 0;
	int rest = 0;
	bool ok;

	/* EVP forgives spaces and what follows the padding. */
	if (strlen(text) != PIN_TEXT_LEN || strcspn(text, " \t\r\n-=") != PIN_TEXT_LEN - 1) {
		return false;
	}
	ctx = EVP_ENCODE_CTX_new();
	if (!ctx) {
		return false;
	}
	EVP_DecodeInit(ctx);
	ok = EVP_DecodeUpdate(ctx, decoded, &len, (const unsigned char *)text, PIN_TEXT_LEN) >= 0 &&
	     EVP_DecodeFinal(ctx, decoded + len, &rest) == 1 && len + rest == TLS_PIN_BYTES;
	EVP_ENCODE_CTX_free(ctx);
	if (ok) {
		ret_pin->kind = TLS_PIN_KEY;
		memcpy(ret_pin->sha256, decoded, TLS_PIN_BYTES);
	}
	return ok;
}

/* --- judging a certificate ------------------------------------------------------------------- */

static enum tls_error error_from_x509(int error)
{
	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_WRONG_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_NOT_YET_VALID;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		return TLS_SELF_SIGNED;
	default:
		return TLS_UNTRUSTED;
	}
}

static struct tls *tls_of_store(X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	return SSL_get_app_data(ssl);
}

/* Asked by X509_verify_cert() about each problem: whether to go on. */
static int forgive(int ok, X509_STORE_CTX *store)
{
	struct tls *tls = tls_of_store(store);
	time_t until_s = (time_t)tls->early_until_s;

	if (!ok && until_s != 0 &&
	    X509_STORE_CTX_get_error(store) == X509_V_ERR_CERT_NOT_YET_VALID &&
	    X509_cmp_time(X509_get0_notBefore(X509_STORE_CTX_get_current_cert(store)), &until_s) <
		    0) {
		tls->is_early = true;
		return 1;
	}
	return ok;
}

static bool has_hash(X509 *cert, enum tls_pin_kind kind, uint8_t ret_hash[TLS_PIN_BYTES])
{
	unsigned char *der = NULL;
	unsigned hash_len = 0;
	int der_len = kind == TLS_PIN_KEY ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der)
					  : i2d_re_X509_tbs(cert, &der);
	bool ok = der_len > 0 &&
		  EVP_Digest(der, (size_t)der_len, ret_hash, &hash_len, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	return ok && hash_len == TLS_PIN_BYTES;
}

/* Whether one of the certificates has a hash among the pins of this kind. */
static bool fits_pins(const struct tls_client *client, STACK_OF(X509) * certs, int cert_count,
		      enum tls_pin_kind kind)
{
	for (int i = 0; i < cert_count; i++) {
		uint8_t hash[TLS_PIN_BYTES];

		if (!has_hash(sk_X509_value(certs, i), kind, hash)) {
			continue;
		}
		for (size_t k = 0; k < client->pin_count; k++) {
			if (client->pins[k].kind == kind &&
			    memcmp(client->pins[k].sha256, hash, sizeof hash) == 0) {
				return true;
			}
		}
	}
	return false;
}

static bool has_pins(const struct tls_client *client, enum tls_pin_kind kind)
{
	for (size_t i = 0; i < client->pin_count; i++) {
		if (client->pins[i].kind == kind) {
			return true;
		}
	}
	return false;
}

/* The certificates that count: those of the chain that was built, whose signatures are checked, or
 * the server's own, whose key it has proved to have. */
static bool check_pins(const struct tls_client *client, X509_STORE_CTX *store)
{
	static const enum tls_pin_kind kinds[] = { TLS_PIN_KEY, TLS_PIN_CERT };
	STACK_OF(X509) *own = NULL;
	STACK_OF(X509) * certs;
	bool ok = true;

	if (client->checks_chain) {
		certs = X509_STORE_CTX_get0_chain(store);
	} else {
		own = sk_X509_new_null();
		if (!own || !sk_X509_push(own, X509_STORE_CTX_get0_cert(store))) {
			sk_X509_free(own);
			return false;
		}
		certs = own;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (has_pins(client, kinds[i])) {
			ok = ok && fits_pins(client, certs, sk_X509_num(certs), kinds[i]);
		}
	}
	sk_X509_free(own);
	return ok;
}

int tls_check_certificate(X509_STORE_CTX *store, void *arg)
{
	struct tls *tls = tls_of_store(store);
	const struct tls_client *client = tls->client;

	(void)arg;
	if (client->checks_chain) {
		X509_STORE_CTX_set_verify_cb(store, forgive);
		if (X509_verify_cert(store) <= 0) {
			int error = X509_STORE_CTX_get_error(store);

			tls->error = error_from_x509(error);
			tls->detail = X509_verify_cert_error_string(error);
			return 0;
		}
	}
	if (client->pin_count > 0 && !check_pins(client, store)) {
		tls->error = TLS_WRONG_PIN;
		tls->detail = "";
		X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
		return 0;
	}
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

bool tls_set_identity(const struct tls_client *client, SSL_CTX *ctx)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
	const struct addr *a = &client->address;

	/* Names stand in the extension made for them, and nowhere else (RFC 8310 section 8.1). */
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
						       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (client->name) {
		return X509_VERIFY_PARAM_set1_host(param, client->name, 0) == 1;
	}
	if (a->sa.sa_family == AF_INET) {
		return X509_VERIFY_PARAM_set1_ip(param, (const uint8_t *)&a->in4.sin_addr,
						 sizeof a->in4.sin_addr) == 1;
	}
	return X509_VERIFY_PARAM_set1_ip(param, (const uint8_t *)&a->in6.sin6_addr,
					 sizeof a->in6.sin6_addr) == 1;
}

/* Whether a name of the certificate is one to tell: no wildcard, no NUL in it. */
static bool take_name(const GENERAL_NAME *general, char ret_name[TLS_NAME_MAX])
{
	const unsigned char *text;
	size_t len;

	if (general->type != GEN_DNS) {
		return false;
	}
	text = ASN1_STRING_get0_data(general->d.dNSName);
	len = (size_t)ASN1_STRING_length(general->d.dNSName);
	if (len == 0 || len >= TLS_NAME_MAX || text[0] == '*' || memchr(text, '\0', len)) {
		return false;
	}
	memcpy(ret_name, text, len);
	ret_name[len] = '\0';
	return true;
}

bool tls_certificate_name(X509 *certificate, char ret_name[TLS_NAME_MAX])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && !found; i++) {
		found = take_name(sk_GENERAL_NAME_value(names, i), ret_name);
	}
	GENERAL_NAMES_free(names);
	return found;
}
