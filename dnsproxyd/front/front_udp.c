/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/front_udp.h"

#include "common/container.h"
#include "common/freelist.h"

#include "dnsproxyd/metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BATCH = 32,           /* datagrams a system call */
	BATCHES_PER_TURN = 8, /* before others get their turn */
	QUERY_BYTES = 2048,   /* longest query taken; a real one is under 600 bytes */
	REPLY_BYTES = DNSMSG_UDP_MAX,
	SOCKET_BUFFER_BYTES = 4 << 20, /* the default loses datagrams at some 250 outstanding */
	CONTROL_BYTES = 64,            /* for one packet info of either family */
	SPARE_QUERIES_MAX = 1024,
};

/* Where a question came from and to; how its reply goes back. */
struct path {
	struct addr peer;
	/* the packet info as received, or nothing */
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
	uint8_t control_len;
};

/* A question that waits for an upstream server. */
struct udp_query {
	struct query query;
	struct front_udp *front;
	struct udp_query *next;
	struct udp_query *prev;
	struct path path;
};

/* Replies on their way out. */
struct outbox {
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];
	struct path paths[BATCH];
	uint8_t bytes[BATCH][REPLY_BYTES];
	unsigned count;
};

struct inbox {
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];
	struct path paths[BATCH];
	uint8_t bytes[BATCH][QUERY_BYTES];
};

struct front_udp {
	struct query_context *context;
	const struct netset *clients;
	int fd;
	bool wildcard; /* the local address has to be asked for and given back */
	struct watch watch;
	struct task flush_task;
	struct udp_query open; /* ring head */
	struct freelist spare;
	struct inbox in;
	struct outbox out;
	struct deferred deferred;
};

static void count(struct front_udp *f, enum dnsproxyd_metric metric, int64_t amount)
{
	metrics_add(f->context->metrics, metric, amount);
}

/* --- replies --------------------------------------------------------------------------------- */

/* Send what is in the outbox. A datagram that the kernel does not take is lost, as any datagram may
 * be. */
static void flush(struct front_udp *f)
{
	struct outbox *out = &f->out;
	unsigned done = 0;

	while (done < out->count) {
		int n = sendmmsg(f->fd, out->msgs + done, out->count - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			/* The first of the rest is the one in the way. */
			count(f, METRIC_udp_send_lost, 1);
			done++;
		} else {
			done += (unsigned)n;
		}
	}
	out->count = 0;
}

static void on_flush(struct task *task)
{
	flush(container_of(task, struct front_udp, flush_task));
}

/* The next free place of the outbox. */
static uint8_t *reserve_reply(struct front_udp *f)
{
	if (f->out.count == BATCH) {
		flush(f);
	}
	return f->out.bytes[f->out.count];
}

/* The reply in the reserved place goes out at the end of the turn. */
static void commit_reply(struct front_udp *f, const struct path *path, size_t len)
{
	struct outbox *out = &f->out;
	unsigned i = out->count++;
	struct msghdr *hdr = &out->msgs[i].msg_hdr;

	out->paths[i] = *path;
	out->iovs[i] = (struct iovec){ out->bytes[i], len };
	*hdr = (struct msghdr){
		.msg_name = &out->paths[i].peer.sa,
		.msg_namelen = addr_len(&path->peer),
		.msg_iov = &out->iovs[i],
		.msg_iovlen = 1,
		.msg_control = path->control_len ? out->paths[i].control : NULL,
		.msg_controllen = path->control_len,
	};
	loop_run_task(f->context->loop, &f->flush_task, on_flush);
}

/* --- open questions -------------------------------------------------------------------------- */

static struct udp_query *take_query(struct front_udp *f)
{
	struct udp_query *q = freelist_take(&f->spare);

	if (q) {
		q->front = f;
		q->prev = f->open.prev;
		q->next = &f->open;
		f->open.prev->next = q;
		f->open.prev = q;
	}
	return q;
}

static void give_query(struct udp_query *q)
{
	struct front_udp *f = q->front;

	q->prev->next = q->next;
	q->next->prev = q->prev;
	freelist_give(&f->spare, q);
}

static void on_done(struct query *query, const uint8_t *reply, size_t len)
{
	struct udp_query *q = container_of(query, struct udp_query, query);
	struct front_udp *f = q->front;

	/* query.c keeps to what the client takes, which is no more than fits here. */
	memcpy(reserve_reply(f), reply, len);
	commit_reply(f, &q->path, len);
	give_query(q);
}

static void start_query(struct front_udp *f, const struct path *path,
			const struct query_draft *draft)
{
	const struct query_origin origin = { &path->peer, QUERY_BY_UDP };
	struct udp_query *q = take_query(f);
	size_t len;

	if (!q) {
		count(f, METRIC_queries_overload, 1);
		return;
	}
	q->path = *path;
	len = query_start(&q->query, f->context, &origin, draft, on_done, reserve_reply(f),
			  REPLY_BYTES);
	if (len > 0) {
		commit_reply(f, path, len);
		give_query(q);
	}
}

/* --- questions ------------------------------------------------------------------------------- */

static void take_datagram(struct front_udp *f, const struct path *path, const uint8_t *msg,
			  size_t len)
{
	const struct query_origin origin = { &path->peer, QUERY_BY_UDP };
	struct query_draft draft;
	size_t reply_len;

	/* Port 0 cannot be answered. */
	if (addr_port(&path->peer) == 0 || !f->clients ||
	    !netset_contains(f->clients, &path->peer)) {
		count(f, METRIC_queries_dropped, 1);
		return;
	}
	switch (query_try(f->context, &origin, msg, len, &draft, reserve_reply(f), REPLY_BYTES,
			  &reply_len)) {
	case QUERY_DROPPED:
		break;
	case QUERY_ANSWERED:
		commit_reply(f, path, reply_len);
		break;
	case QUERY_PENDING:
		start_query(f, path, &draft);
		break;
	}
}

/* Turn the received packet info into the one that makes the reply leave from where the question
 * went. The kernel takes ipi_spec_dst for the source and, but for link-local addresses, the route
 * should choose the interface. */
static void keep_packet_info(struct path *path, struct msghdr *hdr)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);

	path->control_len = 0;
	if (!c || hdr->msg_controllen > sizeof path->control) {
		return;
	}
	if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		struct in_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof info);
		info.ipi_spec_dst = info.ipi_addr;
		info.ipi_ifindex = 0;
		memcpy(CMSG_DATA(c), &info, sizeof info);
		path->control_len = (uint8_t)CMSG_SPACE(sizeof info);
	} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof info);
		if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) {
			info.ipi6_ifindex = 0;
		}
		memcpy(CMSG_DATA(c), &info, sizeof info);
		path->control_len = (uint8_t)CMSG_SPACE(sizeof info);
	}
}

static void prepare_inbox(struct front_udp *f)
{
	struct inbox *in = &f->in;

	for (unsigned i = 0; i < BATCH; i++) {
		in->iovs[i] = (struct iovec){ in->bytes[i], QUERY_BYTES };
		in->msgs[i].msg_hdr = (struct msghdr){
			.msg_name = &in->paths[i].peer.sa,
			.msg_namelen = sizeof in->paths[i].peer,
			.msg_iov = &in->iovs[i],
			.msg_iovlen = 1,
			.msg_control = f->wildcard ? in->paths[i].control : NULL,
			.msg_controllen = f->wildcard ? CONTROL_BYTES : 0,
		};
	}
}

/* One batch; returns how many datagrams there were. */
static unsigned take_batch(struct front_udp *f)
{
	struct inbox *in = &f->in;
	int n;

	n = recvmmsg(f->fd, in->msgs, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct msghdr *hdr = &in->msgs[i].msg_hdr;
		struct path *path = &in->paths[i];

		count(f, METRIC_queries_udp, 1);
		path->control_len = 0;
		if (f->wildcard) {
			keep_packet_info(path, hdr);
		}
		if (hdr->msg_flags & MSG_TRUNC) {
			count(f, METRIC_queries_dropped, 1);
		} else {
			take_datagram(f, path, in->bytes[i], in->msgs[i].msg_len);
		}
		hdr->msg_namelen = sizeof path->peer;
		hdr->msg_controllen = f->wildcard ? CONTROL_BYTES : 0;
		hdr->msg_flags = 0;
	}
	return n > 0 ? (unsigned)n : 0;
}

static void on_readable(struct watch *watch, uint32_t events)
{
	struct front_udp *f = container_of(watch, struct front_udp, watch);

	(void)events;
	for (int i = 0; i < BATCHES_PER_TURN; i++) {
		unsigned n = take_batch(f);

		flush(f);
		if (n < BATCH) {
			break;
		}
	}
}

/* --- life ------------------------------------------------------------------------------------ */

static bool is_wildcard(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr)
					   : a->in4.sin_addr.s_addr == htonl(INADDR_ANY);
}

/* 0 or -errno. */
static int set_options(struct front_udp *f, const struct addr *addr)
{
	const int bytes = SOCKET_BUFFER_BYTES;
	const int on = 1;
	const int omit = IP_PMTUDISC_OMIT;
	bool v6 = addr->sa.sa_family == AF_INET6;
	int r = 0;

	if (setsockopt(f->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) {
		setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	}
	/* Never believe ICMP about the path's MTU: that is how fragments are forged (RFC 9715
	 * section 3.1). */
	setsockopt(f->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
		   &omit, sizeof omit);
	f->wildcard = is_wildcard(addr);
	if (f->wildcard) {
		r = v6 ? setsockopt(f->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on)
		       : setsockopt(f->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
	}
	return r < 0 ? -errno : 0;
}

struct front_udp *front_udp_new(struct query_context *context, int fd, const struct addr *addr)
{
	struct front_udp *f = calloc(1, sizeof *f);
	int r;

	if (!f) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	f->context = context;
	f->fd = fd;
	f->open.next = &f->open;
	f->open.prev = &f->open;
	f->spare = (struct freelist){ .object_bytes = sizeof(struct udp_query),
				      .keep_max = SPARE_QUERIES_MAX };
	r = set_options(f, addr);
	prepare_inbox(f);
	if (r == 0) {
		r = watch_start(&f->watch, context->loop, fd, LOOP_READ, on_readable);
	}
	if (r < 0) {
		close(fd);
		free(f);
		errno = -r;
		return NULL;
	}
	return f;
}

void front_udp_set_clients(struct front_udp *f, const struct netset *clients)
{
	f->clients = clients;
}

void front_udp_stop(struct front_udp *f)
{
	watch_stop(&f->watch);
}

static void free_front(struct deferred *deferred)
{
	free(container_of(deferred, struct front_udp, deferred));
}

void front_udp_free(struct front_udp *f)
{
	if (!f) {
		return;
	}
	while (f->open.next != &f->open) {
		struct udp_query *q = f->open.next;

		query_cancel(&q->query);
		give_query(q);
	}
	flush(f);
	task_cancel(&f->flush_task);
	watch_stop(&f->watch);
	close(f->fd);
	freelist_clear(&f->spare);
	loop_free_later(f->context->loop, &f->deferred, free_front);
}
