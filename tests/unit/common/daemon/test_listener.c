/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/daemon/listener.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- helpers --------------------------------------------------------------------------------- */

static struct addr loopback(uint16_t port)
{
	const uint8_t ip[4] = { 127, 0, 0, 1 };

	return addr_from_ipv4(ip, port);
}

static int connect_to(const struct addr *a)
{
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, &a->sa, addr_len(a)), 0);
	return fd;
}

struct log_of_accepts {
	int accepted;
	int paused;
	int resumed;
	int last_error;
	int fds[64];
	bool keep; /* hold the connections open */
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct log_of_accepts *log = arg;

	ck_assert_int_eq(addr_scope(peer), ADDR_LOOPBACK);
	if (log->keep) {
		log->fds[log->accepted] = fd;
	} else {
		close(fd);
	}
	log->accepted++;
}

static void on_event(void *arg, enum listener_event event, int error)
{
	struct log_of_accepts *log = arg;

	log->paused += event == LISTENER_PAUSED;
	log->resumed += event == LISTENER_RESUMED;
	log->last_error = error ? error : log->last_error;
}

static const struct listener_ops log_ops = { .on_accept = on_accept, .on_event = on_event };

/* --- tests ----------------------------------------------------------------------------------- */

START_TEST(test_pause_leaves_clients_in_the_queue)
{
	struct loop *loop = loop_new();
	struct log_of_accepts log = { 0 };
	struct addr a = loopback(0);
	struct listener *l;
	int clients[3];
	int fd;

	ck_assert_int_eq(listener_bind_tcp(&a, &fd), 0);
	ck_assert_int_eq(listener_local_addr(fd, &a), 0);
	l = listener_start(loop, fd, &log_ops, &log);
	ck_assert_ptr_nonnull(l);
	listener_pause(l);
	for (int i = 0; i < 3; i++) {
		clients[i] = connect_to(&a);
	}
	loop_turn(loop, 20);
	ck_assert_int_eq(log.accepted, 0);
	listener_resume(l);
	loop_turn(loop, 1000);
	ck_assert_int_eq(log.accepted, 3);
	for (int i = 0; i < 3; i++) {
		close(clients[i]);
	}
	listener_free(l);
	loop_free(loop);
}
END_TEST

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* Whoever has made the listening socket. */
START_TEST(test_what_connections_inherit)
{
	struct loop *loop = loop_new();
	struct log_of_accepts log = { .keep = true };
	struct addr a = loopback(0);
	struct listener *l;
	int client;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_eq(bind(fd, &a.sa, addr_len(&a)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(listener_local_addr(fd, &a), 0);
	l = listener_start(loop, fd, &log_ops, &log);
	client = connect_to(&a);
	loop_turn(loop, 1000);
	ck_assert_int_eq(log.accepted, 1);
	ck_assert_int_eq(option_of(log.fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
	ck_assert_int_eq(option_of(log.fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
	close(log.fds[0]);
	close(client);
	listener_free(l);
	loop_free(loop);
}
END_TEST

START_TEST(test_running_out_of_descriptors_pauses_and_recovers)
{
	struct loop *loop = loop_new();
	struct log_of_accepts log = { .keep = true };
	struct addr a = loopback(0);
	struct listener *l;
	struct rlimit saved;
	struct rlimit tight;
	int clients[4];
	int turns = 0;
	int fd;

	ck_assert_int_eq(listener_bind_tcp(&a, &fd), 0);
	ck_assert_int_eq(listener_local_addr(fd, &a), 0);
	l = listener_start(loop, fd, &log_ops, &log);
	for (int i = 0; i < 4; i++) {
		clients[i] = connect_to(&a);
	}
	/* Room for two more descriptors. */
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(fd);
	getrlimit(RLIMIT_NOFILE, &saved);
	tight = saved;
	tight.rlim_cur = (rlim_t)fd + 2;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	loop_turn(loop, 1000);
	ck_assert_int_eq(log.accepted, 2);
	ck_assert_int_eq(log.paused, 1);
	ck_assert_int_eq(log.last_error, EMFILE);
	/* Retries are 100 ms apart: no spinning. */
	for (uint64_t start = loop_now_ms(loop); loop_now_ms(loop) < start + 350; turns++) {
		loop_turn(loop, 50);
	}
	ck_assert_int_le(turns, 20);
	ck_assert_int_eq(log.paused, 1);
	close(log.fds[0]);
	close(log.fds[1]);
	listener_fd_freed(l);
	loop_turn(loop, 1000);
	ck_assert_int_eq(log.accepted, 4);
	ck_assert_int_eq(log.resumed, 1);
	setrlimit(RLIMIT_NOFILE, &saved);
	for (int i = 0; i < 4; i++) {
		close(clients[i]);
		if (i >= 2) {
			close(log.fds[i]);
		}
	}
	listener_free(l);
	loop_free(loop);
}
END_TEST

START_TEST(test_a_pause_while_out_of_descriptors_ends)
{
	struct loop *loop = loop_new();
	struct log_of_accepts log = { 0 };
	struct addr a = loopback(0);
	struct listener *l;
	struct rlimit saved;
	struct rlimit tight;
	int client;
	int fd;

	ck_assert_int_eq(listener_bind_tcp(&a, &fd), 0);
	ck_assert_int_eq(listener_local_addr(fd, &a), 0);
	l = listener_start(loop, fd, &log_ops, &log);
	client = connect_to(&a);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &saved), 0);
	tight = saved;
	tight.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	loop_turn(loop, 1000);
	ck_assert_int_eq(log.paused, 1);
	listener_pause(l);
	for (int i = 0; i < 10; i++) {
		loop_turn(loop, 20);
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &saved), 0);
	listener_resume(l);
	for (int i = 0; i < 10 && log.accepted == 0; i++) {
		loop_turn(loop, 50);
	}
	ck_assert_int_eq(log.accepted, 1);
	ck_assert_int_eq(log.resumed, 1);
	close(client);
	listener_free(l);
	loop_free(loop);
}
END_TEST

START_TEST(test_probe_finds_another_daemon)
{
	struct addr a = loopback(0);
	int tcp;
	int udp;

	ck_assert_int_eq(listener_bind_tcp(&a, &tcp), 0);
	ck_assert_int_eq(listener_local_addr(tcp, &a), 0);
	ck_assert_int_eq(listener_probe(&a, SOCK_STREAM), -EADDRINUSE);
	ck_assert_int_eq(listener_bind_udp(&a, &udp), 0);
	ck_assert_int_eq(listener_probe(&a, SOCK_DGRAM), -EADDRINUSE);
	close(tcp);
	close(udp);
	ck_assert_int_eq(listener_probe(&a, SOCK_STREAM), 0);
	ck_assert_int_eq(listener_probe(&a, SOCK_DGRAM), 0);
}
END_TEST

START_TEST(test_an_address_that_comes_later_can_be_bound)
{
	/* TEST-NET-1: no interface has it. */
	const uint8_t ip[4] = { 192, 0, 2, 213 };
	struct addr a = addr_from_ipv4(ip, 0);
	int fd;

	ck_assert_int_eq(listener_bind_udp(&a, &fd), LISTENER_LATE);
	close(fd);
}
END_TEST

START_TEST(test_reaches)
{
	static const struct {
		const char *listener;
		const char *address;
		bool reaches;
	} table[] = {
		{ "127.0.0.1:53", "127.0.0.1:53", true },
		{ "127.0.0.1:53", "127.0.0.1:54", false },
		{ "127.0.0.1:53", "127.0.0.2:53", false },
		{ "0.0.0.0:53", "127.0.0.2:53", true },
		{ "0.0.0.0:53", "127.0.0.2:54", false },
		{ "0.0.0.0:53", "192.0.2.1:53", false }, /* of no host: RFC 5737 */
		{ "0.0.0.0:53", "[::1]:53", false },
		{ "[::]:53", "127.0.0.1:53", false },
		{ "[::]:53", "[2001:db8::1]:53", false },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct addr listener;
		struct addr address;

		ck_assert_int_eq(addr_parse(table[i].listener, 1, &listener), 0);
		ck_assert_int_eq(addr_parse(table[i].address, 1, &address), 0);
		ck_assert_msg(listener_reaches(&listener, &address) == table[i].reaches, "%s, %s",
			      table[i].listener, table[i].address);
	}
}
END_TEST

SUITE_MAIN("listener", test_pause_leaves_clients_in_the_queue, test_what_connections_inherit,
	   test_running_out_of_descriptors_pauses_and_recovers,
	   test_a_pause_while_out_of_descriptors_ends, test_probe_finds_another_daemon,
	   test_an_address_that_comes_later_can_be_bound, test_reaches)
