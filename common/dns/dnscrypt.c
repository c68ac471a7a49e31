/* SPDX-License-Identifier: ISC */
#include "common/dns/dnscrypt.h"

#include "common/container.h"
#include "common/dns/asked.h"
#include "common/wire.h"

#include <errno.h>
#include <string.h>

enum {
	ES_XSALSA20 = 1,
	ES_XCHACHA20 = 2,
	SIGNED_OFFSET = 72, /* magic, versions, signature */
	PAD_MARK = 0x80,    /* ISO/IEC 7816-4: this, then zeros */
	PAD_RANDOM_STEPS = DNSCRYPT_PAD_MAX / DNSCRYPT_PAD_BYTES,
	TYPE_TXT = 16,
	CLASS_IN = 1,
	LABEL_MAX = 63,
	NAME_MAX_BYTES = 255,
	FLAG_RD = 0x0100,
	POINTER = 0xc0,
};

static const uint8_t cert_magic[] = { 'D', 'N', 'S', 'C' };
static const uint8_t resolver_magic[DNSCRYPT_MAGIC_BYTES] = {
	'r', '6', 'f', 'n', 'v', 'W', 'j', '8'
};

static const char *const verdict_texts[] = {
#define X(id, text) [DNSCRYPT_##id] = text,
	DNSCRYPT_VERDICTS(X)
#undef X
};

const char *dnscrypt_verdict_text(enum dnscrypt_verdict verdict)
{
	return verdict_texts[verdict];
}

/* --- certificates ---------------------------------------------------------------------------- */

static void take_bytes(struct wire_reader *r, uint8_t *ret_bytes, size_t len)
{
	const uint8_t *p = wire_take(r, len);

	if (p) {
		memcpy(ret_bytes, p, len);
	}
}

enum dnscrypt_verdict dnscrypt_cert_check(const uint8_t *bytes, size_t len,
					  const uint8_t provider_key[CRYPTO_PUBLIC_BYTES],
					  const struct tls_time *time,
					  struct dnscrypt_cert *ret_cert)
{
	struct wire_reader r = wire_reader(bytes, len);
	const uint8_t *magic = wire_take(&r, sizeof cert_magic);
	uint16_t es_version = wire_u16(&r);
	uint16_t minor_version = wire_u16(&r);
	const uint8_t *signature = wire_take(&r, CRYPTO_SIGNATURE_BYTES);

	/* Extensions may follow. */
	if (len < DNSCRYPT_CERT_BYTES || memcmp(magic, cert_magic, sizeof cert_magic) != 0) {
		return DNSCRYPT_NO_CERT;
	}
	if ((es_version != ES_XSALSA20 && es_version != ES_XCHACHA20) || minor_version != 0) {
		return DNSCRYPT_UNKNOWN;
	}
	if (!crypto_signed_by(provider_key, signature, bytes + SIGNED_OFFSET,
			      len - SIGNED_OFFSET)) {
		return DNSCRYPT_FORGED;
	}
	ret_cert->cipher = es_version == ES_XCHACHA20 ? CRYPTO_XCHACHA20 : CRYPTO_XSALSA20;
	take_bytes(&r, ret_cert->resolver_key, sizeof ret_cert->resolver_key);
	take_bytes(&r, ret_cert->client_magic, sizeof ret_cert->client_magic);
	ret_cert->serial = wire_u32(&r);
	ret_cert->start_s = wire_u32(&r);
	ret_cert->end_s = wire_u32(&r);
	if (time->unix_s < ret_cert->start_s && ret_cert->start_s >= time->early_until_s) {
		return DNSCRYPT_EARLY;
	}
	return time->unix_s > ret_cert->end_s ? DNSCRYPT_EXPIRED : DNSCRYPT_OK;
}

static bool is_better(const struct dnscrypt_cert *a, const struct dnscrypt_cert *b)
{
	return a->serial > b->serial || (a->serial == b->serial && a->cipher == CRYPTO_XCHACHA20);
}

/* Step over a name, compressed or not. */
static void skip_name(struct wire_reader *r)
{
	uint8_t len;

	do {
		len = wire_u8(r);
		if ((len & POINTER) == POINTER) {
			wire_take(r, 1);
			return;
		}
		wire_take(r, len);
	} while (len > 0 && !r->failed);
}

/* Join the strings of a TXT record. Returns how many bytes they are, 0 when the record is malformed
 * or holds more than cap. */
static size_t join_strings(const uint8_t *rdata, size_t len, uint8_t *ret_bytes, size_t cap)
{
	struct wire_reader r = wire_reader(rdata, len);
	struct wire_writer w = wire_writer(ret_bytes, cap);

	while (wire_left(&r) > 0 && !r.failed && !w.failed) {
		size_t string_len = wire_u8(&r);
		const uint8_t *string = wire_take(&r, string_len);

		if (string) {
			wire_put(&w, string, string_len);
		}
	}
	return r.failed || w.failed ? 0 : wire_written(&w);
}

/* Read one record. Of a TXT record of class IN the joined strings go to ret_bytes, and *ret_len is
 * how many bytes that are; of any other it is 0, too short for a certificate. False when the
 * message is cut off. */
static bool read_txt(struct wire_reader *r, uint8_t *ret_bytes, size_t cap, size_t *ret_len)
{
	const uint8_t *rdata;
	size_t rdata_len;
	uint16_t type;
	uint16_t class;

	skip_name(r);
	type = wire_u16(r);
	class = wire_u16(r);
	wire_u32(r);
	rdata_len = wire_u16(r);
	rdata = wire_take(r, rdata_len);
	if (!rdata) {
		return false;
	}
	*ret_len = type == TYPE_TXT && class == CLASS_IN
			   ? join_strings(rdata, rdata_len, ret_bytes, cap)
			   : 0;
	return true;
}

enum dnscrypt_verdict dnscrypt_cert_choose(const uint8_t *msg, size_t len,
					   const uint8_t provider_key[CRYPTO_PUBLIC_BYTES],
					   const struct tls_time *time,
					   struct dnscrypt_cert *ret_cert)
{
	struct wire_reader r = wire_reader(msg, len);
	enum dnscrypt_verdict best = DNSCRYPT_NO_CERT;
	size_t question_end = asked_question_end(msg, len);
	unsigned count;

	if (question_end == 0) {
		return DNSCRYPT_NO_CERT;
	}
	wire_take(&r, 6);
	count = wire_u16(&r);
	r.pos = msg + question_end;
	for (; count > 0; count--) {
		uint8_t bytes[512];
		size_t cert_len;
		struct dnscrypt_cert cert;
		enum dnscrypt_verdict verdict;

		if (!read_txt(&r, bytes, sizeof bytes, &cert_len)) {
			break;
		}
		verdict = dnscrypt_cert_check(bytes, cert_len, provider_key, time, &cert);
		if (verdict == DNSCRYPT_OK && (best != DNSCRYPT_OK || is_better(&cert, ret_cert))) {
			*ret_cert = cert;
			best = DNSCRYPT_OK;
		} else if (best != DNSCRYPT_OK && verdict > best) {
			best = verdict;
		}
	}
	return best;
}

size_t dnscrypt_cert_query(const char *provider_name, uint16_t id, uint8_t *buf, size_t cap)
{
	struct wire_writer w = wire_writer(buf, cap);
	size_t name_len = 1;

	wire_put_u16(&w, id);
	wire_put_u16(&w, FLAG_RD);
	wire_put_u16(&w, 1);
	for (int i = 0; i < 3; i++) {
		wire_put_u16(&w, 0);
	}
	while (*provider_name) {
		size_t len = strcspn(provider_name, ".");

		name_len += 1 + len;
		if (len == 0 || len > LABEL_MAX || name_len > NAME_MAX_BYTES) {
			return 0;
		}
		wire_put_u8(&w, (uint8_t)len);
		wire_put(&w, provider_name, len);
		provider_name += len + (provider_name[len] == '.');
	}
	wire_put_u8(&w, 0);
	wire_put_u16(&w, TYPE_TXT);
	wire_put_u16(&w, CLASS_IN);
	return w.failed ? 0 : wire_written(&w);
}

/* --- messages -------------------------------------------------------------------------------- */

int dnscrypt_session_init(struct dnscrypt_session *session, const struct dnscrypt_cert *cert)
{
	struct crypto_secret secret;
	int r;

	session->cert = *cert;
	crypto_pair(session->client_key, &secret);
	r = crypto_agree(cert->cipher, &secret, cert->resolver_key, &session->shared);
	crypto_wipe(&secret, sizeof secret);
	return r;
}

/* The next multiple of DNSCRYPT_PAD_BYTES that has room for a mark. */
static size_t padded_len(size_t len, size_t min_len)
{
	if (min_len == 0) {
		len += DNSCRYPT_PAD_BYTES * crypto_random_below(PAD_RANDOM_STEPS);
	}
	len = len + DNSCRYPT_PAD_BYTES - len % DNSCRYPT_PAD_BYTES;
	return len > min_len ? len : min_len;
}

size_t dnscrypt_seal(const struct dnscrypt_session *session, const uint8_t *msg, size_t len,
		     size_t min_len, uint8_t ret_nonce[DNSCRYPT_NONCE_BYTES], uint8_t *ret_sealed)
{
	uint8_t nonce[CRYPTO_NONCE_BYTES] = { 0 };
	size_t plain_len = padded_len(len, min_len);
	uint8_t *pos = ret_sealed;

	crypto_random(ret_nonce, DNSCRYPT_NONCE_BYTES);
	memcpy(nonce, ret_nonce, DNSCRYPT_NONCE_BYTES);
	memcpy(pos, session->cert.client_magic, DNSCRYPT_MAGIC_BYTES);
	pos += DNSCRYPT_MAGIC_BYTES;
	memcpy(pos, session->client_key, CRYPTO_PUBLIC_BYTES);
	pos += CRYPTO_PUBLIC_BYTES;
	memcpy(pos, nonce, DNSCRYPT_NONCE_BYTES);
	pos += DNSCRYPT_NONCE_BYTES;
	memcpy(pos, msg, len);
	pos[len] = PAD_MARK;
	memset(pos + len + 1, 0, plain_len - len - 1);
	crypto_lock(&session->shared, nonce, pos, plain_len, pos);
	return DNSCRYPT_QUERY_HEADER_BYTES + plain_len;
}

const uint8_t *dnscrypt_answer_nonce(const uint8_t *bytes, size_t len)
{
	if (len < DNSCRYPT_MAGIC_BYTES + CRYPTO_NONCE_BYTES + CRYPTO_BOX_BYTES ||
	    memcmp(bytes, resolver_magic, DNSCRYPT_MAGIC_BYTES) != 0) {
		return NULL;
	}
	return bytes + DNSCRYPT_MAGIC_BYTES;
}

int dnscrypt_open(const struct dnscrypt_session *session, uint8_t *bytes, size_t len,
		  const uint8_t **ret_msg, size_t *ret_len)
{
	const size_t offset = DNSCRYPT_MAGIC_BYTES + CRYPTO_NONCE_BYTES;
	const uint8_t *nonce = dnscrypt_answer_nonce(bytes, len);
	uint8_t *msg = bytes + offset;

	if (!nonce || crypto_unlock(&session->shared, nonce, msg, len - offset, msg) < 0) {
		return -EBADMSG;
	}
	len -= offset + CRYPTO_BOX_BYTES;
	while (len > 0 && msg[len - 1] == 0) {
		len--;
	}
	if (len == 0 || msg[len - 1] != PAD_MARK) {
		return -EBADMSG;
	}
	*ret_msg = msg;
	*ret_len = len - 1;
	return 0;
}
