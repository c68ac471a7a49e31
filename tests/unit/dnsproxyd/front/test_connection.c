/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/front/connection.h"

#include "common/container.h"

#include "tests/unit/dnsproxyd/client.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONNECTIONS = 3,
	TAGS = 4,
	IDLE_MS = 3000,
};

#define CONFIG "[upstream default]\nserver = $0\n[limits]\ntcp-idle-timeout = 3s\n"

struct room;

/* A protocol without a word: what its operations were called for. */
struct talk {
	struct connection base;
	struct room *room;
	int fd; /* the client's end */
	unsigned idle_count;
	unsigned stop_count;
	unsigned end_count;
	unsigned free_count;
	unsigned open_at_end;
	unsigned replies[TAGS]; /* by their tags */
	bool close_when_told;   /* by whichever operation comes */
};

struct room {
	struct client client;
	struct connections connections;
	struct talk talks[CONNECTIONS];
	char tags[TAGS];
	unsigned reply_count;
	unsigned closed_count;
	uint16_t closed_port; /* of the last one */
};

static struct talk *talk_of(struct connection *base)
{
	return container_of(base, struct talk, base);
}

static void end_if_told(struct talk *talk)
{
	if (talk->close_when_told) {
		connection_close(&talk->base);
	}
}

static void on_idle(struct connection *base)
{
	talk_of(base)->idle_count++;
	end_if_told(talk_of(base));
}

static void on_reply(struct connection *base, void *tag, const uint8_t *reply, size_t len)
{
	struct talk *talk = talk_of(base);
	size_t which = (size_t)((char *)tag - talk->room->tags);

	ck_assert_uint_lt(which, TAGS);
	ck_assert_uint_gt(len, 12);
	ck_assert_uint_eq(reply[1], which); /* the id of the question */
	talk->replies[which]++;
	talk->room->reply_count++;
	end_if_told(talk);
}

static void on_stop(struct connection *base)
{
	talk_of(base)->stop_count++;
	end_if_told(talk_of(base));
}

static void on_end(struct connection *base)
{
	talk_of(base)->end_count++;
	talk_of(base)->open_at_end = base->open_count;
}

static void on_free(struct connection *base)
{
	talk_of(base)->free_count++;
}

static void on_readable(struct stream *stream)
{
	stream_set_reading(stream, false);
}

static void on_failed(struct stream *stream, int error)
{
	(void)stream;
	ck_abort_msg("a stream has failed: %d", error);
}

static const struct connection_ops ops = {
	.stream = { .on_readable = on_readable, .on_failed = on_failed },
	.idle = on_idle,
	.reply = on_reply,
	.stop = on_stop,
	.end = on_end,
	.free = on_free,
};

static void on_closed(void *arg, const struct addr *peer)
{
	struct room *room = arg;

	room->closed_count++;
	room->closed_port = addr_port(peer);
}

/* The address of a client: its number is the port. */
static struct addr peer_of(unsigned number)
{
	char text[32];
	struct addr peer;

	snprintf(text, sizeof text, "127.0.0.1:%u", number);
	ck_assert_int_eq(addr_parse(text, 0, &peer), 0);
	return peer;
}

static void start(struct room *room)
{
	*room = (struct room){ .closed_count = 0 };
	client_start(&room->client, CONFIG);
	room->connections = (struct connections){ .context = &room->client.context,
						  .on_closed = on_closed,
						  .arg = room };
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct talk *talk = &room->talks[i];
		struct addr peer = peer_of(i + 1);
		int fds[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		talk->room = room;
		talk->fd = fds[0];
		ck_assert(connection_open(&talk->base, &room->connections, fds[1], &peer,
					  QUERY_BY_TCP, NULL, &ops));
	}
}

/* However it went: all have ended once, and nothing of them is left. */
static void stop(struct room *room)
{
	connections_close(&room->connections);
	clock_settle(room->client.bench.loop);
	ck_assert_ptr_null(room->connections.first);
	ck_assert_uint_eq(room->closed_count, CONNECTIONS);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		ck_assert_uint_eq(room->talks[i].end_count, 1);
		ck_assert_uint_eq(room->talks[i].free_count, 1);
		ck_assert_uint_eq(room->talks[i].open_at_end, 0);
		close(room->talks[i].fd);
	}
	client_stop(&room->client);
}

/* Ask for a name; the tag is the id of the question. */
static enum connection_step ask(struct talk *talk, unsigned id, const char *name, size_t *ret_len,
				struct open_query **ret_open)
{
	uint8_t query[512];
	size_t len = fake_dns_query(query, (uint16_t)id, name, DNS_TYPE_A, true);

	return connection_ask(&talk->base, query, len, &talk->room->tags[id], ret_len, ret_open);
}

static struct open_query *ask_and_wait(struct talk *talk, unsigned id, const char *name)
{
	struct open_query *open = NULL;
	size_t len;

	ck_assert_int_eq(ask(talk, id, name, &len, &open), CONNECTION_WAITING);
	ck_assert_ptr_nonnull(open);
	return open;
}

START_TEST(test_at_once)
{
	struct room room;
	struct talk *talk = &room.talks[0];
	struct open_query *open;
	size_t len = 0;

	start(&room);
	ck_assert_int_eq(
		connection_ask(&talk->base, (const uint8_t *)"rubbish", 7, NULL, &len, &open),
		CONNECTION_DROPPED);
	ck_assert_int_eq(ask(talk, 3, "localhost", &len, &open), CONNECTION_ANSWERED);
	ck_assert_uint_gt(len, 12);
	ck_assert_uint_eq(room.client.context.message[1], 3);
	ck_assert_uint_eq(talk->base.open_count, 0);
	ck_assert_uint_eq(room.reply_count, 0);
	stop(&room);
}
END_TEST

/* Known only when the question is open: that it has just failed. */
START_TEST(test_at_once_after_all)
{
	struct room room;
	struct talk *talk = &room.talks[0];
	struct open_query *open;
	size_t len = 0;

	start(&room);
	room.client.bench.servers[0].mode = BENCH_SERVFAIL;
	ask_and_wait(talk, 1, "www.example");
	for (unsigned i = 0; i < 1000 && room.reply_count == 0; i++) {
		clock_pass(room.client.bench.loop, 10);
	}
	ck_assert_uint_eq(room.reply_count, 1);
	ck_assert_int_eq(ask(talk, 2, "www.example", &len, &open), CONNECTION_ANSWERED);
	ck_assert_uint_gt(len, 12);
	ck_assert_uint_eq(room.client.context.message[1], 2);
	ck_assert_uint_eq(talk->base.open_count, 0);
	ck_assert_uint_eq(room.reply_count, 1);
	stop(&room);
}
END_TEST

START_TEST(test_each_reply_has_its_tag)
{
	static const char *const names[TAGS] = { "a.example", "b.example", "c.example",
						 "d.example" };
	struct room room;

	start(&room);
	for (unsigned i = 0; i < TAGS; i++) {
		ask_and_wait(&room.talks[i % 2], i, names[i]);
	}
	ck_assert_uint_eq(room.talks[0].base.open_count, 2);
	ck_assert_uint_eq(room.client.context.open_count, TAGS);
	ck_assert(clock_reach(room.client.bench.loop, &room.reply_count, TAGS));
	for (unsigned i = 0; i < TAGS; i++) {
		ck_assert_uint_eq(room.talks[i % 2].replies[i], 1);
		ck_assert_uint_eq(room.talks[(i + 1) % 2].replies[i], 0);
	}
	ck_assert_uint_eq(room.talks[0].base.open_count, 0);
	ck_assert_uint_eq(room.client.context.open_count, 0);
	stop(&room);
}
END_TEST

/* The first, the last, and one between others. */
START_TEST(test_cancelled)
{
	for (unsigned which = 0; which < CONNECTIONS; which++) {
		struct room room;
		struct talk *talk = &room.talks[0];
		struct open_query *open[CONNECTIONS];

		start(&room);
		open[0] = ask_and_wait(talk, 0, "a.example");
		open[1] = ask_and_wait(talk, 1, "b.example");
		open[2] = ask_and_wait(talk, 2, "c.example");
		open_query_cancel(open[which]);
		ck_assert_uint_eq(talk->base.open_count, 2);
		ck_assert(clock_reach(room.client.bench.loop, &room.reply_count, 2));
		clock_settle(room.client.bench.loop);
		for (unsigned i = 0; i < CONNECTIONS; i++) {
			ck_assert_uint_eq(talk->replies[i], i != which);
		}
		stop(&room);
	}
}
END_TEST

/* Neither reply nor timer finds a connection that is closed; others are not concerned. */
START_TEST(test_closed_while_waiting)
{
	struct room room;

	start(&room);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		ask_and_wait(&room.talks[i], i, "www.example");
	}
	connection_close(&room.talks[1].base);
	ck_assert_uint_eq(room.closed_count, 1);
	ck_assert_uint_eq(room.closed_port, 2);
	ck_assert_uint_eq(room.talks[1].free_count, 0); /* it may be on the stack */
	connection_close(&room.talks[1].base);
	ck_assert_uint_eq(room.closed_count, 1);
	ck_assert_uint_eq(room.client.context.open_count, 2);
	ck_assert(clock_reach(room.client.bench.loop, &room.reply_count, 2));
	clock_settle(room.client.bench.loop);
	ck_assert_uint_eq(room.talks[1].replies[1], 0);
	ck_assert_uint_eq(room.talks[1].free_count, 1);
	clock_pass(room.client.bench.loop, IDLE_MS);
	ck_assert_uint_eq(room.talks[0].idle_count, 1);
	ck_assert_uint_eq(room.talks[1].idle_count, 0);
	stop(&room);
}
END_TEST

START_TEST(test_closed_within_a_reply)
{
	struct room room;
	struct talk *talk = &room.talks[1];

	start(&room);
	talk->close_when_told = true;
	ask_and_wait(talk, 0, "a.example");
	ask_and_wait(talk, 1, "b.example");
	ck_assert(clock_reach(room.client.bench.loop, &room.reply_count, 1));
	clock_settle(room.client.bench.loop);
	ck_assert_uint_eq(room.reply_count, 1);
	ck_assert_uint_eq(room.closed_count, 1);
	stop(&room);
}
END_TEST

START_TEST(test_idle)
{
	struct room room;
	struct loop *loop;

	start(&room);
	loop = room.client.bench.loop;
	room.talks[0].close_when_told = true;
	clock_pass(loop, 1000);
	connection_wait_idle(&room.talks[1].base);
	connection_wait_idle_ms(&room.talks[2].base, 500);
	clock_pass(loop, 499);
	ck_assert_uint_eq(room.talks[2].idle_count, 0);
	clock_pass(loop, 1);
	ck_assert_uint_eq(room.talks[2].idle_count, 1);
	clock_pass(loop, IDLE_MS - 1501);
	ck_assert_uint_eq(room.talks[0].idle_count, 0);
	clock_pass(loop, 1);
	ck_assert_uint_eq(room.talks[0].idle_count, 1);
	ck_assert_uint_eq(room.closed_port, 1);
	clock_pass(loop, 999);
	ck_assert_uint_eq(room.talks[1].idle_count, 0);
	clock_pass(loop, 1);
	ck_assert_uint_eq(room.talks[1].idle_count, 1);
	/* Once each, unless it is begun anew. */
	clock_pass(loop, 2 * IDLE_MS);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		ck_assert_uint_eq(room.talks[i].idle_count, 1);
	}
	ck_assert_uint_eq(room.closed_count, 1);
	stop(&room);
}
END_TEST

/* All are told, also when some end by it. */
START_TEST(test_stop)
{
	struct room room;

	start(&room);
	ck_assert(!room.connections.stopped);
	room.talks[0].close_when_told = true;
	room.talks[2].close_when_told = true;
	connections_stop(&room.connections);
	ck_assert(room.connections.stopped);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		ck_assert_uint_eq(room.talks[i].stop_count, 1);
	}
	ck_assert_uint_eq(room.closed_count, 2);
	ck_assert_ptr_eq(room.connections.first, &room.talks[1].base);
	stop(&room);
}
END_TEST

/* What no loop can watch. */
START_TEST(test_not_opened)
{
	struct connection c = { .all = NULL };
	struct addr peer = peer_of(9);
	struct room room;
	struct connection *first;
	int fd = open("/dev/null", O_RDWR);

	start(&room);
	first = room.connections.first;
	ck_assert(!connection_open(&c, &room.connections, fd, &peer, QUERY_BY_TCP, NULL, &ops));
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(errno, EBADF);
	ck_assert_ptr_eq(room.connections.first, first);
	stop(&room);
}
END_TEST

SUITE_MAIN("connection", test_at_once, test_at_once_after_all, test_each_reply_has_its_tag,
	   test_cancelled, test_closed_while_waiting, test_closed_within_a_reply, test_idle,
	   test_stop, test_not_opened)
