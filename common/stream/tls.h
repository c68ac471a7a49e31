/* SPDX-License-Identifier: ISC */
/*
 * TLS 1.2 and 1.3, both ends. The only user of OpenSSL. No renegotiation, no compression, no early
 * data, forward secrecy always. A connection is a layer of a struct stream
 * (common/stream/stream.h).
 *
 * Who a server is (RFC 8310): the certificate must be for its name, or its address when it has no
 * name, and signed by somebody trusted; its key may be pinned besides, or instead (RFC 7858 section
 * 4.2). What is wrong comes as a word of TLS_ERRORS, the same in logs, counters and tests.
 *
 * Thread: a connection belongs to one thread, and so does a tls_client; tls_trust and tls_server
 * may be used by all. Memory is counted by reference inside: freeing a client, a trust or a server
 * does not end connections that were made with them.
 */
#ifndef COMMON_STREAM_TLS_H
#define COMMON_STREAM_TLS_H

#include "common/addr.h"
#include "common/stream/stream.h"
#include "common/stream/tls_time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What can be wrong: X(NAME, word, "meaning"). */
#define TLS_ERRORS(X)                                                                             \
	X(WRONG_NAME, wrong_name, "the certificate is for another name or address")               \
	X(EXPIRED, expired, "the certificate has expired")                                        \
	X(NOT_YET_VALID, not_yet_valid, "the certificate is not valid yet, or the clock is slow") \
	X(SELF_SIGNED, self_signed, "the certificate is signed by itself only")                   \
	X(UNTRUSTED, untrusted, "the certificate is signed by nobody who is trusted")             \
	X(WRONG_PIN, wrong_pin, "none of the pinned keys is the server's")                        \
	X(NO_ALPN, no_alpn, "the peer does not speak the protocol that was asked for")            \
	X(PROTOCOL, protocol, "the peer speaks no TLS that we accept, or broke off")

enum tls_error {
	TLS_OK,
#define X(name, word, meaning) TLS_##name,
	TLS_ERRORS(X)
#undef X
};

/* The word, "ok" for TLS_OK. */
const char *tls_error_word(enum tls_error error);
/* The meaning; "" for TLS_OK. */
const char *tls_error_meaning(enum tls_error error);

/* --- whom to trust ---------------------------------------------------------------------------- */

struct tls_trust;

/* The authorities in a PEM file, or the system's (path NULL). Reads the file now. Returns owned, or
 * NULL with errno (EINVAL: it holds no certificate). */
struct tls_trust *tls_trust_load(const char *path);
/* NULL is fine. */
void tls_trust_free(struct tls_trust *trust);

/* A hash that the server's certificates must show. */
enum tls_pin_kind {
	TLS_PIN_KEY,  /* of a public key (SubjectPublicKeyInfo): the server's, or any in its chain
			 if that is checked */
	TLS_PIN_CERT, /* of the signed part (tbsCertificate) of any certificate in the chain, as
			 DNS stamps have it */
};
#define TLS_PIN_BYTES 32
struct tls_pin {
	enum tls_pin_kind kind;
	uint8_t sha256[TLS_PIN_BYTES];
};

/* A key's pin in base64, 44 characters, as RFC 7858 has it. False when it is none. Pure. */
bool tls_pin_parse(const char *text, struct tls_pin *ret_pin);

/* --- client ----------------------------------------------------------------------------------- */

/* Everything is copied, or counted by reference. */
struct tls_client_config {
	const struct tls_trust *trust; /* NULL: the chain is not checked; then there must be pins,
					  or nothing at all is checked (opportunistic privacy, RFC
					  8310 section 5) */
	const char *name;    /* of the server, told to it (SNI) and checked; NULL: its address is
				checked */
	struct addr address; /* without name and with trust: must be in the certificate */
	const struct tls_pin *pins; /* one of them must be there; of several kinds one of each */
	size_t pin_count;
	const char *alpn;   /* protocol to ask for ("dot", "h2") */
	bool alpn_required; /* the server must agree to it */
};

struct tls_client;

/* Returns owned, or NULL with errno. */
struct tls_client *tls_client_new(const struct tls_client_config *config);
/* NULL is fine. */
void tls_client_free(struct tls_client *client);

/* Trust others from the next connection on (the configuration was loaded again). Sessions that were
 * kept are forgotten. Not for a client that was made without trust. */
void tls_client_set_trust(struct tls_client *client, const struct tls_trust *trust);

struct tls;

/* A connection to be made, for stream_connect(), certificates judged as of `time`; resumes a
 * session of the client if there is one. Returns owned, or NULL with errno ENOMEM. */
struct tls *tls_connect(struct tls_client *client, const struct tls_time *time);

/* --- server ----------------------------------------------------------------------------------- */

struct tls_server;

#define TLS_ALPN_MAX 4

/* Certificate chain and key, PEM files; the key must not be readable by everyone. `alpn` lists
 * protocols in order of preference, at most TLS_ALPN_MAX; a client that offers others only is
 * refused, one that offers none is not. Returns owned, or NULL with *reterr_why, a static string,
 * and *reterr_path, the path of the two that it is about. */
struct tls_server *tls_server_load(const char *certificate_path, const char *key_path,
				   const char *const *alpn, size_t alpn_count,
				   const char **reterr_path, const char **reterr_why);
/* One more owner of the same server. */
struct tls_server *tls_server_ref(struct tls_server *server);
/* One owner less. NULL is fine. */
void tls_server_free(struct tls_server *server);

/* The first name that its certificate is for, wildcards aside; ret_name has room for TLS_NAME_MAX
 * bytes. False when there is none. */
#define TLS_NAME_MAX 256
bool tls_server_name(struct tls_server *server, char ret_name[TLS_NAME_MAX]);

/* Where its certificate is; valid while the server is. */
const char *tls_server_path(const struct tls_server *server);

/* What a look at the files may bring. */
enum tls_reload {
	TLS_RELOAD_SAME,
	TLS_RELOAD_DONE,
	TLS_RELOAD_FAILED, /* the old ones stay; said once for each change of the files */
};

/* If the files have changed since they were looked at last, load them again for connections to
 * come. Reads files: not on a loop. One thread at a time. On FAILED the two results are as in
 * tls_server_load(). */
enum tls_reload tls_server_reload(struct tls_server *server, const char **reterr_path,
				  const char **reterr_why);

/* A connection that was accepted, for stream_accept(): one more owner of the server, until it is
 * closed. Returns owned, or NULL with errno ENOMEM. */
struct tls *tls_accept(struct tls_server *server);

/* --- a connection ----------------------------------------------------------------------------- */

/* What to give to stream_connect() or stream_accept(), which take ownership. */
struct stream_layer *tls_layer(struct tls *tls);
/* The way back. */
struct tls *tls_of(struct stream_layer *layer);

/* Why the connection failed, TLS_OK if it did not. */
enum tls_error tls_error(const struct tls *tls);
/* OpenSSL's own words for it; static, may be "". */
const char *tls_error_detail(const struct tls *tls);

/* After the handshake: */

/* The protocol agreed on; "" when none was. Valid while the connection is. */
const char *tls_alpn(const struct tls *tls);
/* Whether a session was resumed. */
bool tls_resumed(const struct tls *tls);
/* "TLSv1.3". */
const char *tls_version(const struct tls *tls);
/* Whether the certificate was taken although it is not valid yet (early_until_s). */
bool tls_is_early(const struct tls *tls);

#endif
