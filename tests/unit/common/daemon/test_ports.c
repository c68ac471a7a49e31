/* SPDX-License-Identifier: ISC */
#include "common/daemon/listener.h"
#include "common/daemon/ports.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What a daemon would do with its ports: count them. */
struct owner {
	int opened;
	int closed;
	int refused; /* error of the next open(), or 0 */
};

static void *open_port(struct port *port, int fd)
{
	struct owner *owner = port->owner;
	int *front;

	if (owner->refused != 0) {
		close(fd);
		errno = owner->refused;
		owner->refused = 0;
		return NULL;
	}
	front = malloc(sizeof *front);
	*front = fd;
	owner->opened++;
	return front;
}

static void close_port(struct port *port)
{
	struct owner *owner = port->owner;

	close(*(int *)port->front);
	free(port->front);
	owner->closed++;
}

static const struct ports_ops ops = { .open = open_port, .close = close_port };

static struct listen_want free_want(int type)
{
	const uint8_t ip[4] = { 127, 0, 0, 1 };
	struct addr a = addr_from_ipv4(ip, 0);
	int fd;

	ck_assert_int_eq(listener_bind_tcp(&a, &fd), 0);
	ck_assert_int_eq(listener_local_addr(fd, &a), 0);
	close(fd);
	return (struct listen_want){ a, type };
}

static void update(struct listen_set *set, const struct listen_want *wants, size_t count)
{
	struct addr bad;

	ck_assert_int_eq(listen_set_update(set, wants, count, &bad), 0);
}

START_TEST(test_each_worker_serves_each_socket)
{
	const struct listen_want wants[2] = { free_want(SOCK_STREAM), free_want(SOCK_DGRAM) };
	struct listen_set set = { .workers = 2 };
	struct owner owners[2] = { { 0 }, { 0 } };
	struct ports ports[2];

	update(&set, wants, 2);
	for (unsigned w = 0; w < 2; w++) {
		ports_init(&ports[w], &ops, &owners[w]);
		ck_assert_int_eq(ports_update(&ports[w], &set, w), 0);
		ck_assert_int_eq(ports_update(&ports[w], &set, w), 0);
		ck_assert_int_eq(owners[w].opened, 2);
	}
	update(&set, &wants[1], 1);
	for (unsigned w = 0; w < 2; w++) {
		ck_assert_int_eq(ports_update(&ports[w], &set, w), 0);
		ck_assert_int_eq(owners[w].closed, 1);
		ck_assert_ptr_nonnull(ports[w].first);
		ck_assert_int_eq(ports[w].first->want.type, SOCK_DGRAM);
		ck_assert_ptr_null(ports[w].first->next);
	}
	listen_set_sweep(&set);
	for (unsigned w = 0; w < 2; w++) {
		ports_done(&ports[w]);
		ck_assert_int_eq(owners[w].closed, 2);
	}
	listen_set_done(&set);
}
END_TEST

START_TEST(test_one_that_fails_does_not_stop_the_others)
{
	const struct listen_want wants[2] = { free_want(SOCK_STREAM), free_want(SOCK_STREAM) };
	struct listen_set set = { .workers = 1 };
	struct owner owner = { .refused = EMFILE };
	struct ports ports;

	update(&set, wants, 2);
	ports_init(&ports, &ops, &owner);
	ck_assert_int_eq(ports_update(&ports, &set, 0), -EMFILE);
	ck_assert_int_eq(owner.opened, 1);
	ports_done(&ports);
	ck_assert_int_eq(owner.closed, 1);
	listen_set_done(&set);
}
END_TEST

SUITE_MAIN("ports", test_each_worker_serves_each_socket,
	   test_one_that_fails_does_not_stop_the_others)
