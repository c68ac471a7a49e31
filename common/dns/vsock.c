/* SPDX-License-Identifier: ISC */
#include "common/dns/vsock.h"

#include "common/container.h"
#include "common/dns/asked.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_HANDLE = 1 << 30, /* far above any descriptor, so that a mix-up fails at once */
	DNS_PORT = 53,
	RCODE_SERVFAIL = 2,
};

/* A message that could not be sent; c-ares is told at the end of the turn. */
struct failure {
	struct failure *next;
	int error;
	struct asked asked;
};

/* What c-ares takes for a socket. */
struct vsock {
	struct vsock *next;
	struct vsock_set *set; /* NULL once c-ares has closed it */
	int handle;
	int type; /* SOCK_DGRAM or SOCK_STREAM */
	struct transport *transport;
	struct in_addr peer; /* the server's number */

	/* Inbound: what is being shown to c-ares; on a stream with its length before it. */
	uint8_t prefix[2];
	const uint8_t *in;
	size_t in_len; /* with prefix */
	size_t in_pos;
	bool ended; /* the transport is dead: end_error */
	int end_error;

	/* Outbound. */
	uint8_t *out; /* start of a message of a stream */
	size_t out_len;
	bool want_write; /* c-ares has queued something */
	bool want_flush; /* the transport has */
	struct failure *failures;
	struct failure **failures_tail;
	struct deferred deferred;
};

static void set_on_task(struct task *task);

static void set_run_task(struct vsock_set *set)
{
	loop_run_task(set->loop, &set->task, set_on_task);
}

/* --- virtual sockets: what comes in ---------------------------------------------------------- */

/* Make c-ares read what lies ready. It takes one step a call: a stream's length, then its body. */
static void vsock_drain(struct vsock *vsock)
{
	size_t before;

	do {
		before = vsock->in_pos;
		vsock->set->process(vsock->set, vsock->handle, VSOCK_NONE);
	} while (vsock->set && vsock->in_pos > before && vsock->in_pos < vsock->in_len);
}

/* Have c-ares read a message. */
static void vsock_show(struct vsock *vsock, const struct vsock_message *message)
{
	struct vsock_set *set = vsock->set;
	struct asked asked;
	uint8_t stub[ASKED_MAX];
	size_t prefix_len = vsock->type == SOCK_STREAM ? sizeof vsock->prefix : 0;
	size_t len = message->len;

	assert(!set->shown);
	vsock->in = message->bytes;
	if (set->stubs) {
		if (asked_set(&asked, message->bytes, message->len) < 0) {
			return;
		}
		/* From 1.32 on c-ares shortens its timeout to a few times what good answers have
		 * taken. */
		len = asked_make_answer(&asked, RCODE_SERVFAIL, stub);
		vsock->in = stub;
	}
	vsock->prefix[0] = (uint8_t)(len >> 8);
	vsock->prefix[1] = (uint8_t)len;
	vsock->in_len = prefix_len + len;
	vsock->in_pos = 0;
	set->shown = message;
	vsock_drain(vsock);
	set->shown = NULL;
	vsock->in_len = 0;
	vsock->in_pos = 0;
}

static void vsock_on_message(void *user, const uint8_t *msg, size_t len)
{
	struct vsock *vsock = user;
	const struct vsock_message message = { .bytes = msg,
					       .len = len,
					       .stream = vsock->type == SOCK_STREAM };

	vsock_show(vsock, &message);
}

/* No answer can come: c-ares gets a SERVFAIL in its stead, which makes lookups go on with the next
 * server. */
static void vsock_on_failed(void *user, const uint8_t *query, size_t len, int error)
{
	struct vsock *vsock = user;
	uint8_t answer[ASKED_MAX];
	struct vsock_message message = { .bytes = answer,
					 .error = error,
					 .stream = vsock->type == SOCK_STREAM };
	struct asked asked;

	if (asked_set(&asked, query, len) == 0) {
		message.len = asked_make_answer(&asked, RCODE_SERVFAIL, answer);
		vsock_show(vsock, &message);
	}
}

/* c-ares reads the end of the stream, closes the socket and sends what is open again, on a new one.
 */
static void vsock_on_closed(void *user, int error)
{
	struct vsock *vsock = user;

	vsock->ended = true;
	vsock->end_error = error;
	vsock_drain(vsock);
}

static void vsock_on_dropped(void *user, const uint8_t *query, size_t len, bool other_case)
{
	struct vsock *vsock = user;

	if (vsock->set->on_dropped) {
		vsock->set->on_dropped(vsock->set, query, len, other_case);
	}
}

static const struct transport_user vsock_upcalls = {
	.on_dropped = vsock_on_dropped,
	.on_message = vsock_on_message,
	.on_failed = vsock_on_failed,
	.on_closed = vsock_on_closed,
};

/* --- virtual sockets: what c-ares calls ------------------------------------------------------ */

uint32_t vsock_server_number(size_t index)
{
	return htonl(0xc0000201u + (uint32_t)index);
}

uint64_t vsock_set_dropped_count(const struct vsock_set *set)
{
	uint64_t count = set->dropped_count;

	for (const struct vsock *vsock = set->vsocks; vsock; vsock = vsock->next) {
		count += vsock->transport ? vsock->transport->dropped_count : 0;
	}
	return count;
}

void vsock_set_done(struct vsock_set *set)
{
	task_cancel(&set->task);
}

static struct vsock *set_find_stream(const struct vsock_set *set)
{
	struct vsock *vsock = set->vsocks;

	while (vsock && (vsock->type != SOCK_STREAM || !vsock->transport || vsock->ended)) {
		vsock = vsock->next;
	}
	return vsock;
}

void vsock_set_break_streams(struct vsock_set *set)
{
	struct vsock *vsock;

	/* The callbacks may change the list. */
	while ((vsock = set_find_stream(set)) != NULL) {
		vsock_on_closed(vsock, ENETRESET);
	}
}

static struct vsock *vsock_find(const struct vsock_set *set, int handle)
{
	struct vsock *vsock = set->vsocks;

	while (vsock && vsock->handle != handle) {
		vsock = vsock->next;
	}
	return vsock;
}

/* One that c-ares has not closed. */
static struct vsock *vsock_get(const struct vsock_set *set, int handle)
{
	struct vsock *vsock = vsock_find(set, handle);

	assert(vsock);
	return vsock;
}

int vsock_open(int domain, int type, int protocol, void *user)
{
	struct vsock_set *set = user;
	struct vsock *vsock = calloc(1, sizeof *vsock);

	(void)domain;
	(void)protocol;
	if (!vsock) {
		return VSOCK_NONE;
	}
	if (set->last_handle < FIRST_HANDLE || set->last_handle == INT_MAX) {
		set->last_handle = FIRST_HANDLE;
	}
	vsock->handle = ++set->last_handle;
	vsock->set = set;
	vsock->type = type;
	vsock->failures_tail = &vsock->failures;
	vsock->next = set->vsocks;
	set->vsocks = vsock;
	return vsock->handle;
}

int vsock_connect(int handle, const struct sockaddr *sa, socklen_t sa_len, void *user)
{
	struct vsock_set *set = user;
	struct vsock *vsock = vsock_get(set, handle);
	const struct addr number = addr_from_sockaddr(sa);
	const struct transport_ops *ops = vsock->type == SOCK_STREAM ? set->stream : set->datagram;
	size_t index = ntohl(number.in4.sin_addr.s_addr) - ntohl(vsock_server_number(0));
	struct transport_config config = { .loop = set->loop,
					   .timeout_ms = set->timeout_ms,
					   .max_open = set->max_open,
					   .peer = set->peer,
					   .route = set->route };

	(void)sa_len;
	assert(index < set->server_count);
	config.server = set->servers[index];
	vsock->peer = number.in4.sin_addr;
	vsock->transport = ops->open(&config, &vsock_upcalls, vsock);
	return vsock->transport ? 0 : -1;
}

static void vsock_free(struct deferred *deferred)
{
	free(container_of(deferred, struct vsock, deferred));
}

/* c-ares calls it from within anything, so the memory stays until the end of the turn. */
int vsock_close(int handle, void *user)
{
	struct vsock_set *set = user;
	struct vsock *vsock = vsock_get(set, handle);
	struct vsock **slot = &set->vsocks;

	while (*slot != vsock) {
		slot = &(*slot)->next;
	}
	*slot = vsock->next;
	vsock->set = NULL;
	if (vsock->transport) {
		set->dropped_count += vsock->transport->dropped_count;
		vsock->transport->ops->close(vsock->transport);
	}
	while (vsock->failures) {
		struct failure *failure = vsock->failures;

		vsock->failures = failure->next;
		free(failure);
	}
	free(vsock->out);
	loop_free_later(set->loop, &vsock->deferred, vsock_free);
	return 0;
}

ssize_t vsock_recvfrom(int handle, void *buf, size_t cap, int flags, struct sockaddr *from,
		       socklen_t *from_len, void *user)
{
	struct vsock *vsock = vsock_get(user, handle);
	size_t prefix_len = vsock->type == SOCK_STREAM ? sizeof vsock->prefix : 0;
	size_t n = 0;

	(void)flags;
	if (vsock->in_pos == vsock->in_len) {
		errno = vsock->ended ? ECONNRESET : EAGAIN;
		return vsock->ended && vsock->end_error == 0 ? 0 : -1;
	}
	while (n < cap && vsock->in_pos < prefix_len) {
		((uint8_t *)buf)[n++] = vsock->prefix[vsock->in_pos++];
	}
	cap = cap - n < vsock->in_len - vsock->in_pos ? cap - n : vsock->in_len - vsock->in_pos;
	memcpy((uint8_t *)buf + n, vsock->in + vsock->in_pos - prefix_len, cap);
	vsock->in_pos += cap;
	if (vsock->type == SOCK_DGRAM) {
		vsock->in_pos = vsock->in_len; /* what does not fit is cut off, as by the kernel */
	}
	if (from && from_len && *from_len >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in peer = { .sin_family = AF_INET,
						  .sin_addr = vsock->peer,
						  .sin_port = htons(DNS_PORT) };

		memcpy(from, &peer, sizeof peer);
		*from_len = sizeof peer;
	}
	return (ssize_t)(n + cap);
}

/* Pass one message to the transport. c-ares is never told of an error, which it would take for one
 * of the whole socket, but later gets an answer that says so. (When even that cannot be stored the
 * request times out.) */
static void vsock_submit(struct vsock *vsock, const uint8_t *msg, size_t len)
{
	const struct transport_ops *ops = vsock->transport->ops;
	int r = ops->send(vsock->transport, msg, len);
	struct failure *failure;

	if (r == 0) {
		if (ops->flush) {
			vsock->want_flush = true;
			set_run_task(vsock->set);
		}
		return;
	}
	failure = malloc(sizeof *failure);
	if (!failure || asked_set(&failure->asked, msg, len) < 0) {
		free(failure);
		return;
	}
	failure->error = -r;
	failure->next = NULL;
	*vsock->failures_tail = failure;
	vsock->failures_tail = &failure->next;
	set_run_task(vsock->set);
}

/* Take bytes of a stream and submit the messages that are complete. 0 or -ENOMEM. */
static int vsock_write_stream(struct vsock *vsock, const uint8_t *bytes, size_t len)
{
	size_t pos = 0;
	uint8_t *out = realloc(vsock->out, vsock->out_len + len);

	if (!out) {
		return -ENOMEM;
	}
	memcpy(out + vsock->out_len, bytes, len);
	vsock->out = out;
	vsock->out_len += len;
	while (vsock->out_len - pos >= 2) {
		size_t msg_len = (size_t)(out[pos] << 8 | out[pos + 1]);

		if (vsock->out_len - pos - 2 < msg_len) {
			break;
		}
		vsock_submit(vsock, out + pos + 2, msg_len);
		pos += 2 + msg_len;
	}
	vsock->out_len -= pos;
	memmove(out, out + pos, vsock->out_len);
	return 0;
}

ssize_t vsock_sendv(int handle, const struct iovec *iov, int iov_count, void *user)
{
	struct vsock *vsock = vsock_get(user, handle);
	ssize_t total = 0;

	for (int i = 0; i < iov_count; i++) {
		if (vsock->type == SOCK_DGRAM) {
			/* c-ares has a datagram in one piece. */
			vsock_submit(vsock, iov[i].iov_base, iov[i].iov_len);
		} else if (iov[i].iov_len > 0 &&
			   vsock_write_stream(vsock, iov[i].iov_base, iov[i].iov_len) < 0) {
			errno = ENOMEM;
			return total > 0 ? total : -1;
		}
		total += (ssize_t)iov[i].iov_len;
	}
	return total;
}

/* c-ares tells what it wants to do with a socket. It may be in the middle of changing its lists, so
 * this only takes note; reading needs no invitation. */
void vsock_on_state(void *user, int handle, int readable, int writable)
{
	struct vsock_set *set = user;
	struct vsock *vsock = vsock_find(set, handle);

	(void)readable;
	if (vsock) {
		vsock->want_write = writable != 0;
		if (writable) {
			set_run_task(set);
		}
	}
}

/* --- the end of a turn ----------------------------------------------------------------------- */

static void vsock_run(struct vsock *vsock)
{
	if (vsock->want_write) {
		vsock->want_write = false;
		vsock->set->process(vsock->set, VSOCK_NONE, vsock->handle);
	}
	if (vsock->set && vsock->want_flush) {
		vsock->want_flush = false;
		vsock->transport->ops->flush(vsock->transport);
	}
	while (vsock->set && vsock->failures) {
		struct failure *failure = vsock->failures;

		vsock->failures = failure->next;
		if (!vsock->failures) {
			vsock->failures_tail = &vsock->failures;
		}
		vsock_on_failed(vsock, failure->asked.bytes, failure->asked.len, failure->error);
		free(failure);
	}
}

static struct vsock *set_find_busy(const struct vsock_set *set)
{
	struct vsock *vsock = set->vsocks;

	while (vsock && !vsock->want_write && !vsock->want_flush && !vsock->failures) {
		vsock = vsock->next;
	}
	return vsock;
}

/* Write out what the requests of this turn have queued, all at once, and report what could not be
 * sent. The callbacks may change the list, so it is searched anew each time. */
static void set_on_task(struct task *task)
{
	struct vsock_set *set = container_of(task, struct vsock_set, task);
	struct vsock *vsock;

	while ((vsock = set_find_busy(set)) != NULL) {
		vsock_run(vsock);
	}
}
