/* SPDX-License-Identifier: ISC */
#include "common/dns/ares_io.h"

#include "common/container.h"
#include "common/dns/ares_io_private.h"
#include "common/dns/asked.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TICK_MS = 50, /* how often c-ares looks for timeouts while requests are open */
	STREAM_TRIES = 2,
	EDNS_SIZE = 4096, /* queries up to this size go by datagram */
	TRANSPORT_TIMEOUT_MAX_MS = 60000,
	FLAGS_TC = 0x02, /* in byte 2 of a header */
	SPARE_REQUESTS_MAX = 256,
};

/* A raw exchange. */
struct request {
	struct ares_io *io;
	ares_io_answer_fn fn;
	void *arg;
	bool kept;        /* with a copy of the query */
	size_t query_len; /* 0: it is on the stream and needs no copy */
	uint8_t query[];
};

const char *ares_io_status_text(enum ares_io_status status)
{
	static const char *const texts[] = {
#define X(id, text) [ARES_IO_##id] = text,
		ARES_IO_STATUS(X)
#undef X
	};

	return texts[status];
}

int ares_io_global_init(void)
{
	return ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS ? 0 : -EIO;
}

void ares_io_global_done(void)
{
	ares_library_cleanup();
}

static enum ares_io_status status_from_errno(int error)
{
	switch (error) {
	case ENOBUFS:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:        /* of connect(): no port is free */
	case EADDRNOTAVAIL: /* the same, of TCP */
		return ARES_IO_REFUSED;
	default:
		return ARES_IO_UNREACHABLE;
	}
}

enum ares_io_status ares_io_status_from_ares(int status, const struct vsock_message *shown)
{
	switch (status) {
	case ARES_SUCCESS:
		return ARES_IO_OK;
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		return ARES_IO_NO_NAME;
	case ARES_ENODATA:
		return ARES_IO_NO_DATA;
	case ARES_ETIMEOUT:
		return ARES_IO_TIMEOUT;
	case ARES_ENOMEM:
		return ARES_IO_REFUSED;
	case ARES_EDESTRUCTION:
	case ARES_ECANCELLED:
		return ARES_IO_CANCELLED;
	default:
		break;
	}
	if (!shown) {
		return ARES_IO_UNREACHABLE;
	}
	return shown->error ? status_from_errno(shown->error) : ARES_IO_SERVFAIL;
}

/* --- channels -------------------------------------------------------------------------------- */

static void channel_process(struct vsock_set *set, int readable, int writable)
{
	struct channel *channel = container_of(set, struct channel, set);

	channel->io->inside++;
	ares_process_fd(channel->ares, readable, writable);
	channel->io->inside--;
}

static void channel_on_dropped(struct vsock_set *set, const uint8_t *query, size_t len,
			       bool other_case)
{
	const struct ares_io_config *config = &container_of(set, struct channel, set)->io->config;

	if (config->on_dropped) {
		config->on_dropped(config->on_dropped_arg, query + ASKED_HEADER_LEN,
				   len - ASKED_HEADER_LEN, other_case);
	}
}

static const struct ares_socket_functions channel_socket_functions = {
	.asocket = vsock_open,
	.aclose = vsock_close,
	.aconnect = vsock_connect,
	.arecvfrom = vsock_recvfrom,
	.asendv = vsock_sendv,
};

/* Until the last attempt is over; c-ares doubles the time each round. */
static uint32_t lookup_timeout_ms(const struct ares_io_config *config)
{
	uint64_t timeout_ms = config->timeout_ms;

	for (uint32_t i = 1; i < config->tries && timeout_ms < TRANSPORT_TIMEOUT_MAX_MS; i++) {
		timeout_ms *= 2;
	}
	return timeout_ms < TRANSPORT_TIMEOUT_MAX_MS ? (uint32_t)timeout_ms
						     : TRANSPORT_TIMEOUT_MAX_MS;
}

static void channel_init(struct ares_io *io, enum channel_kind kind)
{
	struct channel *channel = &io->channels[kind];
	bool lookups = kind == CHANNEL_DNS;

	channel->io = io;
	channel->set = (struct vsock_set){
		.loop = io->config.loop,
		.servers = io->servers,
		.server_count = lookups ? io->config.server_count : 1,
		.datagram = io->config.datagram,
		.stream = io->config.stream,
		.peer = io->config.peer,
		.route = io->config.route,
		.timeout_ms = lookups ? lookup_timeout_ms(&io->config) : io->config.timeout_ms,
		/* A lookup asks twice, and some slots wait for answers that nobody wants any more.
		 */
		.max_open = io->config.max_open * 2,
		.stubs = !lookups,
		.on_dropped = lookups ? NULL : channel_on_dropped,
		.process = channel_process,
	};
}

/* Exchanges: every error is an answer; keep sockets; no retries by c-ares but on a new connection.
 * Truncation cannot show in stubs. EDNS only tells c-ares that datagrams may be longer than 512
 * bytes. Lookups: an error makes c-ares try the next server. With one server it would ask the same
 * at once again, as often as `tries` says, so errors are passed through then. */
static int channel_flags(const struct ares_io *io, enum channel_kind kind)
{
	int flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;

	if (kind == CHANNEL_DATAGRAM || kind == CHANNEL_STREAM) {
		flags |= ARES_FLAG_NOCHECKRESP | ARES_FLAG_STAYOPEN | ARES_FLAG_EDNS;
	} else if (io->config.server_count == 1) {
		flags |= ARES_FLAG_NOCHECKRESP;
	}
	if (kind == CHANNEL_STREAM || (kind == CHANNEL_DNS && io->config.stream_only)) {
		flags |= ARES_FLAG_USEVC;
	}
	return flags;
}

static int channel_tries(const struct ares_io *io, enum channel_kind kind)
{
	switch (kind) {
	case CHANNEL_DATAGRAM:
		return 1;
	case CHANNEL_STREAM:
		return (int)(io->config.stream_tries ? io->config.stream_tries : STREAM_TRIES);
	default:
		return (int)(io->config.tries ? io->config.tries : 1);
	}
}

/* Every option is given, so that c-ares looks for none in files and environment. */
ares_channel ares_io_channel(struct ares_io *io, enum channel_kind kind)
{
	struct channel *channel = &io->channels[kind];
	struct in_addr servers[ARES_IO_SERVERS_MAX];
	char lookups[] = { kind == CHANNEL_HOSTS ? 'f' : 'b', '\0' };
	struct ares_options options = {
		.flags = channel_flags(io, kind),
		.timeout = (int)io->config.timeout_ms,
		.tries = channel_tries(io, kind),
		.ndots = 1,
		.udp_port = ARES_IO_PORT,
		.tcp_port = ARES_IO_PORT,
		.servers = servers,
		.nservers = (int)channel->set.server_count,
		.ndomains = 0,
		.lookups = lookups,
		.sock_state_cb = vsock_on_state,
		.sock_state_cb_data = &channel->set,
		.nsort = 0,
		.ednspsz = EDNS_SIZE,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
		   ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT | ARES_OPT_SERVERS | ARES_OPT_DOMAINS |
		   ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_SORTLIST |
		   ARES_OPT_NOROTATE | ARES_OPT_EDNSPSZ;

	if (channel->ares) {
		return channel->ares;
	}
	for (size_t i = 0; i < channel->set.server_count; i++) {
		servers[i].s_addr = vsock_server_number(i);
	}
#ifdef ARES_OPT_QUERY_CACHE /* 1.23; on by default since 1.31 */
	options.qcache_max_ttl = 0;
	mask |= ARES_OPT_QUERY_CACHE;
#endif
#ifdef ARES_OPT_SERVER_FAILOVER /* 1.29: no probing of servers by c-ares */
	options.server_failover_opts.retry_chance = 0;
	mask |= ARES_OPT_SERVER_FAILOVER;
#endif
	if (ares_init_options(&channel->ares, &options, mask) != ARES_SUCCESS) {
		channel->ares = NULL;
		return NULL;
	}
	ares_set_socket_functions(channel->ares, &channel_socket_functions, &channel->set);
	return channel->ares;
}

/* --- life ------------------------------------------------------------------------------------ */

static void io_on_tick(struct timer *timer);

void ares_io_arm_tick(struct ares_io *io)
{
	if (io->open_count > 0 && !io->dying && !timer_active(&io->tick)) {
		timer_start(&io->tick, io->config.loop, loop_now_ms(io->config.loop) + TICK_MS,
			    io_on_tick);
	}
}

static void io_on_tick(struct timer *timer)
{
	struct ares_io *io = container_of(timer, struct ares_io, tick);

	for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
		if (io->channels[kind].ares) {
			channel_process(&io->channels[kind].set, VSOCK_NONE, VSOCK_NONE);
		}
	}
	ares_io_arm_tick(io);
}

struct ares_io *ares_io_new(const struct ares_io_config *config)
{
	struct ares_io *io;

	if (config->server_count == 0 || config->timeout_ms == 0 ||
	    config->timeout_ms > INT32_MAX) {
		errno = EINVAL;
		return NULL;
	}
	io = calloc(1, sizeof *io);
	if (!io) {
		return NULL;
	}
	io->config = *config;
	io->spare_requests = (struct freelist){ .object_bytes = sizeof(struct request),
						.keep_max = SPARE_REQUESTS_MAX };
	if (io->config.server_count > ARES_IO_SERVERS_MAX) {
		io->config.server_count = ARES_IO_SERVERS_MAX;
	}
	memcpy(io->servers, config->servers, io->config.server_count * sizeof io->servers[0]);
	io->config.servers = io->servers;
	io->config.datagram = config->datagram ? config->datagram : &transport_udp;
	io->config.stream = config->stream ? config->stream : &transport_tcp;
	io->config.max_open = config->max_open ? config->max_open : ARES_IO_MAX_OPEN;
	for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
		channel_init(io, kind);
	}
	return io;
}

static void io_destroy(struct ares_io *io)
{
	for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
		struct channel *channel = &io->channels[kind];

		if (channel->ares) {
			ares_destroy(channel->ares);
		}
		vsock_set_done(&channel->set);
	}
	freelist_clear(&io->spare_requests);
	free(io);
}

static void io_destroy_later(struct deferred *deferred)
{
	io_destroy(container_of(deferred, struct ares_io, deferred));
}

void ares_io_free(struct ares_io *io)
{
	if (!io) {
		return;
	}
	assert(!io->dying);
	io->dying = true;
	timer_stop(&io->tick);
	if (io->inside > 0) {
		loop_free_later(io->config.loop, &io->deferred, io_destroy_later);
	} else {
		io_destroy(io);
	}
}

size_t ares_io_open_count(const struct ares_io *io)
{
	return io->open_count;
}

uint64_t ares_io_dropped_count(const struct ares_io *io)
{
	uint64_t count = 0;

	for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
		count += vsock_set_dropped_count(&io->channels[kind].set);
	}
	return count;
}

void ares_io_break_streams(struct ares_io *io)
{
	assert(io->inside == 0);
	for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
		vsock_set_break_streams(&io->channels[kind].set);
	}
}

enum ares_io_status ares_io_admit(const struct ares_io *io)
{
	if (io->dying) {
		return ARES_IO_CANCELLED;
	}
	return io->open_count >= io->config.max_open ? ARES_IO_REFUSED : ARES_IO_OK;
}

/* --- raw exchanges --------------------------------------------------------------------------- */

static uint16_t exchange_send(struct request *request, enum channel_kind kind, const uint8_t *query,
			      size_t len);

static void exchange_end(struct request *request, enum ares_io_status status,
			 const struct vsock_message *answer)
{
	struct ares_io *io = request->io;
	ares_io_answer_fn fn = request->fn;
	void *arg = request->arg;

	if (request->kept) {
		free(request);
	} else {
		freelist_give(&io->spare_requests, request);
	}
	io->open_count--;
	if (io->dying) {
		status = ARES_IO_CANCELLED;
	}
	if (status == ARES_IO_OK) {
		fn(arg, status, answer->bytes, answer->len, answer->stream);
	} else {
		fn(arg, status, NULL, 0, false);
	}
}

/* The answer is not what c-ares presents (it was given a stub) but what it is being shown. */
static void exchange_done(struct request *request, int status, const struct vsock_message *shown)
{
	if (status != ARES_SUCCESS) {
		exchange_end(request, ares_io_status_from_ares(status, NULL), NULL);
	} else if (!shown || shown->error) {
		exchange_end(request, status_from_errno(shown ? shown->error : 0), NULL);
	} else if ((shown->bytes[2] & FLAGS_TC) && request->query_len > 0 && !request->io->dying) {
		size_t len = request->query_len;

		request->query_len = 0;
		(void)exchange_send(request, CHANNEL_STREAM, request->query, len);
	} else {
		exchange_end(request, ARES_IO_OK, shown);
	}
}

static void exchange_done_by(struct request *request, enum channel_kind kind, int status)
{
	exchange_done(request, status, request->io->channels[kind].set.shown);
}

/* From 1.28 on c-ares asks with an id of its own, and tells it only to callers of another function.
 * Both call back before they return when the query cannot even be sent. */
#if ARES_VERSION >= 0x011c00
static void exchange_on_datagram(void *arg, ares_status_t status, size_t timeouts,
				 const ares_dns_record_t *answer)
{
	(void)timeouts;
	(void)answer;
	exchange_done_by(arg, CHANNEL_DATAGRAM, (int)status);
}

static void exchange_on_stream(void *arg, ares_status_t status, size_t timeouts,
			       const ares_dns_record_t *answer)
{
	(void)timeouts;
	(void)answer;
	exchange_done_by(arg, CHANNEL_STREAM, (int)status);
}

static uint16_t channel_send(ares_channel ares, const uint8_t *query, size_t len,
			     ares_callback_dnsrec callback, struct request *request)
{
	ares_dns_record_t *record;
	unsigned short id = 0;

	if (ares_dns_parse(query, len, 0, &record) != ARES_SUCCESS) {
		exchange_end(request, ARES_IO_UNREACHABLE, NULL);
		return 0;
	}
	ares_send_dnsrec(ares, record, callback, request, &id);
	ares_dns_record_destroy(record);
	return id;
}
#else
static void exchange_on_datagram(void *arg, int status, int timeouts, unsigned char *answer,
				 int len)
{
	(void)timeouts;
	(void)answer;
	(void)len;
	exchange_done_by(arg, CHANNEL_DATAGRAM, status);
}

static void exchange_on_stream(void *arg, int status, int timeouts, unsigned char *answer, int len)
{
	(void)timeouts;
	(void)answer;
	(void)len;
	exchange_done_by(arg, CHANNEL_STREAM, status);
}

static uint16_t channel_send(ares_channel ares, const uint8_t *query, size_t len,
			     ares_callback callback, struct request *request)
{
	ares_send(ares, query, (int)len, callback, request);
	return (uint16_t)(query[0] << 8 | query[1]);
}
#endif

/* Returns the id that the query has on its way. */
static uint16_t exchange_send(struct request *request, enum channel_kind kind, const uint8_t *query,
			      size_t len)
{
	struct ares_io *io = request->io;
	ares_channel ares = ares_io_channel(io, kind);
	uint16_t id;

	if (!ares) {
		exchange_end(request, ARES_IO_REFUSED, NULL);
		return 0;
	}
	io->inside++;
	id = channel_send(ares, query, len,
			  kind == CHANNEL_STREAM ? exchange_on_stream : exchange_on_datagram,
			  request);
	io->inside--;
	return id;
}

void ares_io_send(struct ares_io *io, const uint8_t *query, size_t len, ares_io_answer_fn fn,
		  void *arg)
{
	(void)ares_io_send_via(io, io->config.stream_only ? ARES_IO_VIA_STREAM : ARES_IO_VIA_BOTH,
			       query, len, fn, arg);
}

uint16_t ares_io_send_via(struct ares_io *io, enum ares_io_via via, const uint8_t *query,
			  size_t len, ares_io_answer_fn fn, void *arg)
{
	enum ares_io_status status = ares_io_admit(io);
	bool keep = via == ARES_IO_VIA_BOTH; /* for the stream, after truncation */
	struct request *request;

	if (status == ARES_IO_OK && (len > UINT16_MAX || asked_question_end(query, len) == 0)) {
		status = ARES_IO_UNREACHABLE; /* no server would understand it */
	}
	if (status != ARES_IO_OK) {
		fn(arg, status, NULL, 0, false);
		return 0;
	}
	request = keep ? malloc(sizeof *request + len) : freelist_take(&io->spare_requests);
	if (!request) {
		fn(arg, ARES_IO_REFUSED, NULL, 0, false);
		return 0;
	}
	request->io = io;
	request->fn = fn;
	request->arg = arg;
	request->kept = keep;
	request->query_len = keep ? len : 0;
	memcpy(request->query, query, request->query_len);
	io->open_count++;
	ares_io_arm_tick(io);
	return exchange_send(request, via == ARES_IO_VIA_STREAM ? CHANNEL_STREAM : CHANNEL_DATAGRAM,
			     query, len);
}
