/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/daemon/listener.h"
#include "common/daemon/unserved.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	TCP,
	UDP,
};

/* Two passed sockets that no section has. */
struct fixture {
	struct loop *loop;
	struct listen_set set;
	struct unserved *unserved;
};

static void set_up(struct fixture *f)
{
	const uint8_t ip[4] = { 127, 0, 0, 1 };
	const struct addr any_port = addr_from_ipv4(ip, 0);

	*f = (struct fixture){ .loop = loop_new(), .set = { .workers = 1, .inherited_count = 2 } };
	ck_assert_int_eq(listener_bind_tcp(&any_port, &f->set.inherited[TCP].fd), 0);
	ck_assert_int_eq(listener_bind_udp(&any_port, &f->set.inherited[UDP].fd), 0);
	f->set.inherited[TCP].want.type = SOCK_STREAM;
	f->set.inherited[UDP].want.type = SOCK_DGRAM;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(
			listener_local_addr(f->set.inherited[i].fd, &f->set.inherited[i].want.addr),
			0);
	}
	f->unserved = unserved_new(f->loop, &f->set);
	ck_assert_ptr_nonnull(f->unserved);
	unserved_update(f->unserved);
}

static void tear_down(struct fixture *f)
{
	unserved_free(f->unserved);
	listen_set_done(&f->set);
	loop_free(f->loop);
}

/* A client's socket, connected to the passed one. */
static int client_of(const struct fixture *f, int index)
{
	const struct listen_want *want = &f->set.inherited[index].want;
	int fd = socket(AF_INET, want->type, 0);

	ck_assert_int_eq(connect(fd, &want->addr.sa, addr_len(&want->addr)), 0);
	ck_assert_int_eq(send(fd, "hello", 5, 0), 5);
	return fd;
}

static void want_both(struct fixture *f, size_t count)
{
	const struct listen_want wants[] = { f->set.inherited[TCP].want,
					     f->set.inherited[UDP].want };
	struct addr failed;

	ck_assert_int_eq(listen_set_update(&f->set, wants, count, &failed), 0);
	listen_set_sweep(&f->set);
	unserved_update(f->unserved);
}

static void turns(struct fixture *f)
{
	for (int i = 0; i < 5; i++) {
		loop_turn(f->loop, 10);
	}
}

START_TEST(test_who_is_not_served_is_told)
{
	struct fixture f;
	int tcp;
	int udp;
	char c;

	set_up(&f);
	tcp = client_of(&f, TCP);
	udp = client_of(&f, UDP);
	turns(&f);
	ck_assert_uint_eq(unserved_count(f.unserved), 2);
	ck_assert_int_eq(recv(tcp, &c, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	/* The datagram does not wait for a section that comes later. */
	ck_assert_int_eq(recv(f.set.inherited[UDP].fd, &c, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(tcp);
	close(udp);
	tear_down(&f);
}
END_TEST

START_TEST(test_who_is_served_is_left_alone)
{
	struct fixture f;
	int clients[2];
	int ours[2];
	int accepted;
	char bytes[8];

	set_up(&f);
	want_both(&f, 2);
	for (int i = 0; i < 2; i++) {
		ours[i] = listen_set_take(&f.set, (size_t)i, 0);
		clients[i] = client_of(&f, i);
	}
	turns(&f);
	ck_assert_uint_eq(unserved_count(f.unserved), 0);
	accepted = accept(ours[TCP], NULL, NULL);
	ck_assert_int_ge(accepted, 0);
	ck_assert_int_eq(recv(ours[UDP], bytes, sizeof bytes, MSG_DONTWAIT), 5);
	/* Their sections go. */
	close(ours[TCP]);
	close(ours[UDP]);
	want_both(&f, 0);
	close(clients[TCP]);
	clients[TCP] = client_of(&f, TCP);
	turns(&f);
	ck_assert_uint_eq(unserved_count(f.unserved), 1);
	ck_assert_int_eq(recv(clients[TCP], bytes, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	/* And come back. */
	want_both(&f, 1);
	close(clients[TCP]);
	clients[TCP] = client_of(&f, TCP);
	turns(&f);
	ck_assert_uint_eq(unserved_count(f.unserved), 1);
	ck_assert_int_eq(recv(clients[TCP], bytes, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(accepted);
	close(clients[TCP]);
	close(clients[UDP]);
	tear_down(&f);
}
END_TEST

SUITE_MAIN("unserved", test_who_is_not_served_is_told, test_who_is_served_is_left_alone)
