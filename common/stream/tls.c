/* SPDX-License-Identifier: ISC */
#include "common/stream/tls.h"

#include "common/container.h"
#include "common/stream/tls_private.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	TICKETS = 1, /* given to a client by the server */
};

/* TLS 1.2; those of 1.3 are all good. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

/* What a file looked like; all zero: not looked at. */
struct file_mark {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

struct tls_server {
	pthread_mutex_t lock; /* of owner_count and ctx */
	unsigned owner_count;
	SSL_CTX *ctx;
	char *certificate_path;
	char *key_path;
	struct file_mark certificate_mark;
	struct file_mark key_mark;
	uint8_t alpn[TLS_ALPN_MAX * TLS_ALPN_TEXT_MAX]; /* as on the wire */
	unsigned alpn_len;
};

/* --- contexts -------------------------------------------------------------------------------- */

/* What both ends have in common. NULL when out of memory. */
static SSL_CTX *make_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx) {
		return NULL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	/* DNS messages say how long they are, so nothing can be cut off by a missing close_notify.
	 */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/* One read of the socket for several records, instead of two for each. */
	SSL_CTX_set_read_ahead(ctx, 1);
	if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* --- sessions of a client -------------------------------------------------------------------- */

static void forget_sessions(struct tls_client *client)
{
	while (client->session_count > 0) {
		SSL_SESSION_free(client->sessions[--client->session_count]);
	}
}

/* Called by OpenSSL: the server has given a ticket. 1: it is ours now. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (!client) {
		return 0; /* freed before its last connection */
	}
	if (client->session_count == TLS_SESSIONS_MAX) {
		SSL_SESSION_free(client->sessions[0]);
		client->session_count--;
		memmove(client->sessions, client->sessions + 1,
			client->session_count * sizeof client->sessions[0]);
	}
	client->sessions[client->session_count++] = session;
	return 1;
}

/* Whether the certificate that the session was begun with is not valid any more. */
static bool has_expired(SSL_SESSION *session, int64_t unix_s)
{
	X509 *certificate = SSL_SESSION_get0_peer(session);
	time_t now = (time_t)unix_s;

	return !certificate || X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0;
}

/* A ticket of TLS 1.3 is used once, so that nobody can tell connections of one client by it (RFC
 * 8446 appendix C.4). Certificates are checked when a session begins only, and each brings tickets
 * for the next, so whether they are valid still is looked at here. */
static void resume_session(struct tls_client *client, SSL *ssl, int64_t unix_s)
{
	SSL_SESSION *session;

	if (client->session_count == 0) {
		return;
	}
	session = client->sessions[client->session_count - 1];
	if (client->checks_chain && has_expired(session, unix_s)) {
		forget_sessions(client);
		return;
	}
	SSL_set_session(ssl, session);
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
		SSL_SESSION_free(session);
		client->session_count--;
	}
}

/* --- clients --------------------------------------------------------------------------------- */

static bool set_alpn(SSL_CTX *ctx, const char *alpn)
{
	uint8_t wire[1 + UINT8_MAX];
	size_t len = strlen(alpn);

	if (len == 0 || len > UINT8_MAX) {
		return false;
	}
	wire[0] = (uint8_t)len;
	memcpy(wire + 1, alpn, len);
	return SSL_CTX_set_alpn_protos(ctx, wire, (unsigned)len + 1) == 0;
}

/* False when out of memory. */
static bool client_init(struct tls_client *client, const struct tls_client_config *config)
{
	client->address = config->address;
	client->checks_chain = config->trust != NULL;
	client->alpn_required = config->alpn_required;
	client->name = config->name ? strdup(config->name) : NULL;
	client->ctx = make_ctx(TLS_client_method());
	client->pins = calloc(config->pin_count + 1, sizeof *client->pins);
	if (!client->ctx || !client->pins || (config->name && !client->name)) {
		return false;
	}
	for (size_t i = 0; i < config->pin_count; i++) {
		client->pins[client->pin_count++] = config->pins[i];
	}
	SSL_CTX_set_app_data(client->ctx, client);
	SSL_CTX_set_verify(client->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(client->ctx, tls_check_certificate, NULL);
	SSL_CTX_set_session_cache_mode(client->ctx,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client->ctx, on_session);
	if (config->trust) {
		SSL_CTX_set1_cert_store(client->ctx, config->trust->store);
		if (!tls_set_identity(client, client->ctx)) {
			return false;
		}
	}
	return !config->alpn || set_alpn(client->ctx, config->alpn);
}

struct tls_client *tls_client_new(const struct tls_client_config *config)
{
	struct tls_client *client = calloc(1, sizeof *client);

	if (client) {
		client->owner_count = 1;
	}
	if (!client || !client_init(client, config)) {
		ERR_clear_error();
		tls_client_free(client);
		errno = ENOMEM;
		return NULL;
	}
	return client;
}

void tls_client_free(struct tls_client *client)
{
	if (!client || --client->owner_count > 0) {
		return;
	}
	forget_sessions(client);
	if (client->ctx) {
		SSL_CTX_set_app_data(client->ctx, NULL);
		SSL_CTX_free(client->ctx);
	}
	free(client->pins);
	free(client->name);
	free(client);
}

void tls_client_set_trust(struct tls_client *client, const struct tls_trust *trust)
{
	SSL_CTX_set1_cert_store(client->ctx, trust->store);
	forget_sessions(client);
}

/* --- servers --------------------------------------------------------------------------------- */

static bool mark_file(const char *path, struct file_mark *ret_mark)
{
	struct stat st;

	*ret_mark = (struct file_mark){ .size = 0 };
	if (stat(path, &st) < 0) {
		return false;
	}
	ret_mark->dev = st.st_dev;
	ret_mark->ino = st.st_ino;
	ret_mark->size = st.st_size;
	ret_mark->changed = st.st_mtim;
	return true;
}

static bool same_mark(const struct file_mark *a, const struct file_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Called by OpenSSL: choose one of the client's protocols. */
static int choose_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
		       const unsigned char *in, unsigned in_len, void *arg)
{
	const struct tls_server *server = arg;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, ret_len, server->alpn, server->alpn_len, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED) {
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static const char *key_problem(SSL_CTX *ctx, const char *path)
{
	FILE *file = fopen(path, "re");
	const char *why = NULL;
	EVP_PKEY *key = NULL;
	struct stat st;

	if (!file) {
		return errno == ENOENT ? "no such file" : "cannot be read";
	}
	if (fstat(fileno(file), &st) < 0) {
		why = "cannot be read";
	} else if (st.st_mode & S_IRWXO) {
		why = "the key can be read or changed by everyone: chmod o= it";
	} else {
		/* The empty passphrase, so that OpenSSL asks nobody for one. */
		static char empty[] = "";

		key = PEM_read_PrivateKey(file, NULL, NULL, empty);
		if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1) {
			why = "no private key without passphrase in PEM form, or not the "
			      "certificate's";
		}
	}
	EVP_PKEY_free(key);
	fclose(file);
	return why;
}

/* A context with what the files hold now. NULL with the two results set. */
static SSL_CTX *load_ctx(struct tls_server *server, const char **reterr_path,
			 const char **reterr_why)
{
	SSL_CTX *ctx = make_ctx(TLS_server_method());
	struct stat st;
	const char *why = NULL;

	*reterr_path = server->certificate_path;
	if (!ctx) {
		why = "out of memory";
	} else if (stat(server->certificate_path, &st) < 0) {
		why = errno == ENOENT ? "no such file" : "cannot be read";
	} else if (SSL_CTX_use_certificate_chain_file(ctx, server->certificate_path) != 1) {
		why = "no certificate in PEM form";
	} else {
		*reterr_path = server->key_path;
		why = key_problem(ctx, server->key_path);
	}
	ERR_clear_error();
	if (why) {
		SSL_CTX_free(ctx);
		*reterr_why = why;
		return NULL;
	}
	/* Tickets hold the session, nothing is kept here. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, TICKETS);
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	if (server->alpn_len > 0) {
		SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, server);
	}
	return ctx;
}

static void add_alpn(struct tls_server *server, const char *protocol)
{
	size_t len = strlen(protocol);

	if (server->alpn_len + 1 + len <= sizeof server->alpn) {
		server->alpn[server->alpn_len] = (uint8_t)len;
		memcpy(server->alpn + server->alpn_len + 1, protocol, len);
		server->alpn_len += 1 + (unsigned)len;
	}
}

struct tls_server *tls_server_load(const char *certificate_path, const char *key_path,
				   const char *const *alpn, size_t alpn_count,
				   const char **reterr_path, const char **reterr_why)
{
	struct tls_server *server = calloc(1, sizeof *server);

	*reterr_path = certificate_path;
	*reterr_why = "out of memory";
	if (!server) {
		return NULL;
	}
	pthread_mutex_init(&server->lock, NULL);
	server->owner_count = 1;
	server->certificate_path = strdup(certificate_path);
	server->key_path = strdup(key_path);
	for (size_t i = 0; i < alpn_count; i++) {
		add_alpn(server, alpn[i]);
	}
	if (server->certificate_path && server->key_path) {
		mark_file(certificate_path, &server->certificate_mark);
		mark_file(key_path, &server->key_mark);
		server->ctx = load_ctx(server, reterr_path, reterr_why);
	}
	if (!server->ctx) {
		/* The paths in here go with it. */
		*reterr_path = *reterr_path == server->key_path ? key_path : certificate_path;
		tls_server_free(server);
		return NULL;
	}
	return server;
}

struct tls_server *tls_server_ref(struct tls_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->owner_count++;
	pthread_mutex_unlock(&server->lock);
	return server;
}

void tls_server_free(struct tls_server *server)
{
	bool last;

	if (!server) {
		return;
	}
	pthread_mutex_lock(&server->lock);
	last = --server->owner_count == 0;
	pthread_mutex_unlock(&server->lock);
	if (last) {
		SSL_CTX_free(server->ctx);
		pthread_mutex_destroy(&server->lock);
		free(server->certificate_path);
		free(server->key_path);
		free(server);
	}
}

bool tls_server_name(struct tls_server *server, char ret_name[TLS_NAME_MAX])
{
	bool found;

	pthread_mutex_lock(&server->lock);
	found = tls_certificate_name(SSL_CTX_get0_certificate(server->ctx), ret_name);
	pthread_mutex_unlock(&server->lock);
	return found;
}

const char *tls_server_path(const struct tls_server *server)
{
	return server->certificate_path;
}

enum tls_reload tls_server_reload(struct tls_server *server, const char **reterr_path,
				  const char **reterr_why)
{
	struct file_mark certificate_mark;
	struct file_mark key_mark;
	SSL_CTX *ctx;

	mark_file(server->certificate_path, &certificate_mark);
	mark_file(server->key_path, &key_mark);
	if (same_mark(&certificate_mark, &server->certificate_mark) &&
	    same_mark(&key_mark, &server->key_mark)) {
		return TLS_RELOAD_SAME;
	}
	server->certificate_mark = certificate_mark;
	server->key_mark = key_mark;
	ctx = load_ctx(server, reterr_path, reterr_why);
	if (!ctx) {
		return TLS_RELOAD_FAILED;
	}
	pthread_mutex_lock(&server->lock);
	SSL_CTX_free(server->ctx);
	server->ctx = ctx;
	pthread_mutex_unlock(&server->lock);
	return TLS_RELOAD_DONE;
}

/* --- connections ----------------------------------------------------------------------------- */

struct tls *tls_of(struct stream_layer *layer)
{
	return container_of(layer, struct tls, layer);
}

struct stream_layer *tls_layer(struct tls *tls)
{
	return &tls->layer;
}

/* What a call of OpenSSL that returned r <= 0 came to: 0 for the end, -EAGAIN or -errno. */
static int step_result(struct tls *tls, int r)
{
	int saved = errno;

	switch (SSL_get_error(tls->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		tls->wants_write = false;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		tls->wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		tls->is_over = true;
		return saved ? -saved : -ECONNRESET;
	default:
		tls->is_over = true;
		if (tls->error == TLS_OK) {
			const char *reason = ERR_reason_error_string(ERR_peek_error());

			tls->error = TLS_PROTOCOL;
			tls->detail = reason ? reason : "";
		}
		return -EPROTO;
	}
}

static int layer_attach(struct stream_layer *layer, int fd)
{
	return SSL_set_fd(tls_of(layer)->ssl, fd) == 1 ? 0 : -ENOMEM;
}

/* The server's choice among the protocols. */
static void take_alpn(struct tls *tls)
{
	const unsigned char *alpn;
	unsigned len;

	SSL_get0_alpn_selected(tls->ssl, &alpn, &len);
	if (len < sizeof tls->alpn) {
		memcpy(tls->alpn, alpn ? (const char *)alpn : "", len);
		tls->alpn[len] = '\0';
	}
}

static int layer_handshake(struct stream_layer *layer)
{
	struct tls *tls = tls_of(layer);
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(tls->ssl);
	if (r <= 0) {
		r = step_result(tls, r);
		/* The peer has hung up in the middle of it. */
		return r == 0 ? -ECONNRESET : r;
	}
	take_alpn(tls);
	if (tls->client && tls->client->alpn_required && tls->alpn[0] == '\0') {
		tls->error = TLS_NO_ALPN;
		tls->detail = "";
		return -EPROTO;
	}
	tls_client_free(tls->client);
	tls->client = NULL;
	return 0;
}

static ssize_t layer_read(struct stream_layer *layer, void *buf, size_t cap)
{
	struct tls *tls = tls_of(layer);
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_read(tls->ssl, buf, cap > INT_MAX ? INT_MAX : (int)cap);
	tls->is_drained = r <= 0;
	return r > 0 ? r : step_result(tls, r);
}

static ssize_t layer_write(struct stream_layer *layer, const void *buf, size_t len)
{
	struct tls *tls = tls_of(layer);
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_write(tls->ssl, buf, len > INT_MAX ? INT_MAX : (int)len);
	if (r > 0) {
		return r;
	}
	r = step_result(tls, r);
	return r == 0 ? -EPIPE : r;
}

static bool layer_wants_write(struct stream_layer *layer)
{
	return tls_of(layer)->wants_write;
}

static bool layer_has_pending(struct stream_layer *layer)
{
	const struct tls *tls = tls_of(layer);

	return !tls->is_drained && SSL_has_pending(tls->ssl);
}

static void layer_close(struct stream_layer *layer)
{
	struct tls *tls = tls_of(layer);

	/* After a failed handshake OpenSSL has sent its alert already. */
	if (!tls->is_over && tls->error == TLS_OK && SSL_is_init_finished(tls->ssl)) {
		SSL_shutdown(tls->ssl);
	}
	ERR_clear_error();
	SSL_free(tls->ssl);
	tls_client_free(tls->client);
	tls_server_free(tls->server);
	free(tls);
}

static const struct stream_layer_ops layer_ops = {
	.attach = layer_attach,
	.handshake = layer_handshake,
	.read = layer_read,
	.write = layer_write,
	.wants_write = layer_wants_write,
	.has_pending = layer_has_pending,
	.close = layer_close,
};

/* Returns owned, or NULL with errno ENOMEM. */
static struct tls *tls_new(SSL_CTX *ctx)
{
	struct tls *tls = calloc(1, sizeof *tls);

	if (!tls) {
		return NULL;
	}
	tls->layer.ops = &layer_ops;
	tls->detail = "";
	tls->ssl = SSL_new(ctx);
	if (!tls->ssl) {
		ERR_clear_error();
		free(tls);
		errno = ENOMEM;
		return NULL;
	}
	SSL_set_app_data(tls->ssl, tls);
	return tls;
}

struct tls *tls_connect(struct tls_client *client, const struct tls_time *time)
{
	struct tls *tls = tls_new(client->ctx);

	if (!tls) {
		return NULL;
	}
	tls->client = client;
	client->owner_count++;
	tls->early_until_s = time->early_until_s;
	X509_VERIFY_PARAM_set_time(SSL_get0_param(tls->ssl), (time_t)time->unix_s);
	/* An address is no name to send (RFC 6066 section 3). */
	if (client->name && SSL_set_tlsext_host_name(tls->ssl, client->name) != 1) {
		layer_close(&tls->layer);
		errno = ENOMEM;
		return NULL;
	}
	resume_session(client, tls->ssl, time->unix_s);
	SSL_set_connect_state(tls->ssl);
	return tls;
}

struct tls *tls_accept(struct tls_server *server)
{
	struct tls *tls;

	pthread_mutex_lock(&server->lock);
	tls = tls_new(server->ctx);
	server->owner_count += tls != NULL;
	pthread_mutex_unlock(&server->lock);
	if (tls) {
		tls->server = server;
		SSL_set_accept_state(tls->ssl);
	}
	return tls;
}

enum tls_error tls_error(const struct tls *tls)
{
	return tls->error;
}

const char *tls_error_detail(const struct tls *tls)
{
	return tls->detail;
}

const char *tls_alpn(const struct tls *tls)
{
	return tls->alpn;
}

bool tls_resumed(const struct tls *tls)
{
	return SSL_session_reused(tls->ssl) == 1;
}

const char *tls_version(const struct tls *tls)
{
	return SSL_get_version(tls->ssl);
}

bool tls_is_early(const struct tls *tls)
{
	return tls->is_early;
}
