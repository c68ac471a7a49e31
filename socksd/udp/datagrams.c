/* SPDX-License-Identifier: ISC */
#include "socksd/udp/datagrams.h"

#include "common/container.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	/* The longest datagram, and what keeps neighbours from the same places of a processor's
	 * cache. */
	SLOT_BYTES = 65536 + 192,
	OUT_MAX = 64,      /* messages of one sendmmsg() */
	PIECES_MAX = 1024, /* heads and bytes of these; the most that one message may have */
	SEGMENTS_MAX = 64, /* datagrams in one message: UDP_MAX_SEGMENTS */
	MESSAGE_BYTES_MAX = 65000,
	SOCKET_BUFFER_BYTES = 4 << 20,
};

union segment_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
};

union gro_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

struct inbox {
	struct mmsghdr msgs[DATAGRAMS_BATCH];
	struct iovec iovs[DATAGRAMS_BATCH];
	struct addr from[DATAGRAMS_BATCH];
	union gro_control control[DATAGRAMS_BATCH];
	uint8_t bytes[DATAGRAMS_BATCH][SLOT_BYTES];
};

/* A message on its way out: one datagram, or several of one length, the last one at most as long.
 */
struct out {
	struct addr to;
	int fd;
	bool full;       /* nothing can be added */
	unsigned count;  /* of datagrams */
	unsigned pieces; /* of the first datagram, which all have */
	size_t segment;  /* length of the first */
	size_t len;      /* of all */
	size_t payload;  /* of all, without heads */
	struct iovec *iov;
	union segment_control control;
};

struct datagrams {
	struct inbox in;
	struct mmsghdr msgs[OUT_MAX];
	struct out outs[OUT_MAX];
	unsigned out_count;
	struct iovec iovs[PIECES_MAX];
	uint8_t heads[PIECES_MAX][DATAGRAMS_HEAD_BYTES_MAX];
	unsigned iov_count;
	unsigned head_count;
	size_t last_head_len;
	size_t segment_max; /* longer datagrams are sent one by one; 0: all are */
	struct datagrams_result result;
};

struct datagrams *datagrams_new(void)
{
	struct datagrams *d = calloc(1, sizeof *d);

	if (!d) {
		return NULL;
	}
	d->segment_max = MESSAGE_BYTES_MAX;
	for (size_t i = 0; i < DATAGRAMS_BATCH; i++) {
		struct msghdr *hdr = &d->in.msgs[i].msg_hdr;

		d->in.iovs[i] = (struct iovec){ d->in.bytes[i], sizeof d->in.bytes[i] };
		hdr->msg_iov = &d->in.iovs[i];
		hdr->msg_iovlen = 1;
		hdr->msg_name = &d->in.from[i];
		hdr->msg_namelen = sizeof d->in.from[i];
		hdr->msg_control = &d->in.control[i];
		hdr->msg_controllen = sizeof d->in.control[i];
	}
	return d;
}

void datagrams_free(struct datagrams *d)
{
	free(d);
}

void datagrams_prepare(int fd, int family)
{
	const int on = 1;
	const int bytes = SOCKET_BUFFER_BYTES;
	const int fragment = IP_PMTUDISC_DONT;
	bool v6 = family == AF_INET6;

	setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
		   &fragment, sizeof fragment);
}

/* --- in -------------------------------------------------------------------------------------- */

/* How long the datagrams are that the kernel put together; the message's length if it did not. */
static size_t segment_of(struct msghdr *hdr, size_t len)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int segment;

			memcpy(&segment, CMSG_DATA(c), sizeof segment);
			return segment > 0 ? (size_t)segment : len;
		}
	}
	return len;
}

static void take_apart(const struct addr *from, uint8_t *bytes, size_t len, size_t segment,
		       datagrams_fn fn, void *arg)
{
	do {
		size_t n = len < segment ? len : segment;

		fn(arg, from, bytes, n);
		bytes += n;
		len -= n;
	} while (len > 0);
}

unsigned datagrams_receive(struct datagrams *d, int fd, datagrams_fn fn, void *arg)
{
	struct inbox *in = &d->in;
	int n = recvmmsg(fd, in->msgs, DATAGRAMS_BATCH, MSG_DONTWAIT, NULL);

	for (int i = 0; i < n; i++) {
		struct msghdr *hdr = &in->msgs[i].msg_hdr;
		size_t len = in->msgs[i].msg_len;

		take_apart(&in->from[i], in->bytes[i], len, segment_of(hdr, len), fn, arg);
		hdr->msg_namelen = sizeof in->from[i];
		hdr->msg_controllen = sizeof in->control[i];
		hdr->msg_flags = 0;
	}
	return n > 0 ? (unsigned)n : 0;
}

/* --- out ------------------------------------------------------------------------------------- */

/* The message that the kernel is to be given. */
static void fill_header(struct msghdr *hdr, struct out *o)
{
	*hdr = (struct msghdr){
		.msg_name = &o->to,
		.msg_namelen = addr_len(&o->to),
		.msg_iov = o->iov,
		.msg_iovlen = o->pieces * o->count,
	};
	if (o->count > 1) {
		uint16_t segment = (uint16_t)o->segment;
		struct cmsghdr *c;

		hdr->msg_control = &o->control;
		hdr->msg_controllen = sizeof o->control;
		c = CMSG_FIRSTHDR(hdr);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof segment);
		memcpy(CMSG_DATA(c), &segment, sizeof segment);
	}
}

static void note_error(struct datagrams *d, int error)
{
	switch (error) {
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EINVAL:
	case EACCES:
	case EPERM:
		d->result.unreachable++;
		break;
	case EMSGSIZE:
		d->result.too_big++;
		break;
	default:
		d->result.refused++;
	}
}

/* The datagrams of a message that the kernel did not take as a whole, one by one. */
static void send_singly(struct datagrams *d, struct out *o, int error)
{
	bool sent_first = false;

	for (unsigned i = 0; i < o->count; i++) {
		struct msghdr hdr = {
			.msg_name = &o->to,
			.msg_namelen = addr_len(&o->to),
			.msg_iov = o->iov + (size_t)i * o->pieces,
			.msg_iovlen = o->pieces,
		};

		if (sendmsg(o->fd, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			note_error(d, errno);
		} else {
			d->result.sent++;
			d->result.bytes += hdr.msg_iov[o->pieces - 1].iov_len;
			sent_first = sent_first || i == 0;
		}
	}
	/* Taken alone, and together not: longer than this path has it, or not at all. */
	if (sent_first && (error == EINVAL || error == EMSGSIZE)) {
		d->segment_max = o->segment - 1;
	} else if (sent_first && error == EIO) {
		/* What Linux answers where it cannot: without checksum offload, through IPsec.
		 * Other errors, such as a firewall's EPERM, pass. */
		d->segment_max = 0;
	}
}

/* The kernel stopped at this message. */
static void on_refused(struct datagrams *d, struct out *o, int error)
{
	if (o->count > 1) {
		send_singly(d, o, error);
	} else {
		note_error(d, error);
	}
}

/* Successive messages from one socket, from `first` on; returns how many there were. */
static unsigned flush_socket(struct datagrams *d, unsigned first)
{
	int fd = d->outs[first].fd;
	unsigned end = first;
	unsigned done = first;

	while (end < d->out_count && d->outs[end].fd == fd) {
		fill_header(&d->msgs[end].msg_hdr, &d->outs[end]);
		end++;
	}
	while (done < end) {
		int n = sendmmsg(fd, d->msgs + done, end - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			on_refused(d, &d->outs[done], errno);
			n = 1;
		} else {
			for (int i = 0; i < n; i++) {
				d->result.sent += d->outs[done + (unsigned)i].count;
				d->result.bytes += d->outs[done + (unsigned)i].payload;
			}
		}
		done += (unsigned)n;
	}
	return end - first;
}

static void send_all(struct datagrams *d)
{
	unsigned done = 0;

	while (done < d->out_count) {
		done += flush_socket(d, done);
	}
	d->out_count = 0;
	d->iov_count = 0;
	d->head_count = 0;
}

struct datagrams_result datagrams_flush(struct datagrams *d)
{
	struct datagrams_result result;

	send_all(d);
	result = d->result;
	d->result = (struct datagrams_result){ 0 };
	return result;
}

/* The message that a datagram can be added to, or NULL. */
static struct out *joinable(struct datagrams *d, int fd, const struct addr *to, unsigned pieces,
			    size_t len)
{
	struct out *o = d->out_count > 0 ? &d->outs[d->out_count - 1] : NULL;

	if (!o || o->full || o->fd != fd || o->pieces != pieces || len == 0 || len > o->segment ||
	    o->segment > d->segment_max || o->len + len > MESSAGE_BYTES_MAX ||
	    o->count == SEGMENTS_MAX || !addr_equal(&o->to, to)) {
		return NULL;
	}
	return o;
}

/* Where the head is kept until it is sent; mostly it is the same as the last one. */
static uint8_t *keep_head(struct datagrams *d, const uint8_t *head, size_t len)
{
	uint8_t *last = d->heads[d->head_count ? d->head_count - 1 : 0];

	if (d->head_count > 0 && len == d->last_head_len && memcmp(last, head, len) == 0) {
		return last;
	}
	d->last_head_len = len;
	return memcpy(d->heads[d->head_count++], head, len);
}

void datagrams_send(struct datagrams *d, int fd, const struct addr *to, const uint8_t *head,
		    size_t head_len, const uint8_t *bytes, size_t len)
{
	unsigned pieces = head_len > 0 ? 2 : 1;
	size_t whole = head_len + len;
	struct out *o;

	if (d->iov_count + pieces > PIECES_MAX) {
		send_all(d);
	}
	o = joinable(d, fd, to, pieces, whole);
	if (!o) {
		if (d->out_count == OUT_MAX) {
			send_all(d);
		}
		o = &d->outs[d->out_count++];
		*o = (struct out){ .to = *to, .fd = fd, .pieces = pieces, .segment = whole };
		o->iov = &d->iovs[d->iov_count];
	}
	if (head_len > 0) {
		d->iovs[d->iov_count++] = (struct iovec){ keep_head(d, head, head_len), head_len };
	}
	d->iovs[d->iov_count++] = (struct iovec){ (void *)(uintptr_t)bytes, len };
	o->count++;
	o->len += whole;
	o->payload += len;
	o->full = whole < o->segment;
}
