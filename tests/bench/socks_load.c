/* SPDX-License-Identifier: ISC */
/*
 * Load for TCP through a SOCKS5 server, or through a plain relay:
 *
 *   socks_load bulk|sessions|ping|idle --proxy IP:PORT [--target IP:PORT] [--targets N]
 *              [--login USER:PASSWORD] [--connections N] [--ms N]
 *
 * bulk: all connections read what `target source` sends. sessions: each connection sends 100 octets
 * to `target echo`, has them back, closes, and is followed by the next. ping: 64 octets there and
 * back, for ever. idle: connections that do nothing. Without --target the proxy is a plain relay.
 * With --targets the connections ask in turn for N addresses, from the target's on: to a single one
 * a proxy would run out of ports, and its kernel would search for them long before.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS = 256,
	SESSION_BYTES = 100,
	PING_BYTES = 64,
	READ_BYTES = LOAD_PATTERN_RUN,
	STEP_BYTES = 256,
	STEPS_MAX = 4,
	CONNECT_SECONDS = 20,
};

enum mode {
	BULK,
	SESSIONS,
	PING,
	IDLE,
	MODES
};

static const char *const mode_names[MODES] = { "bulk", "sessions", "ping", "idle" };

/* Octets to send, then octets to be had. */
struct step {
	uint8_t out[STEP_BYTES];
	size_t out_len;
	size_t in_len;
	int first;  /* that must come first, or -1 */
	int second; /* and then */
	bool echo;  /* what comes is what was sent */
};

struct connection {
	int fd;
	size_t step;
	size_t got; /* octets of this step */
	uint8_t in[STEP_BYTES];
	uint64_t began_ns; /* of the session, or of the round trip */
	uint64_t bytes;
	bool ready; /* all steps are done */
};

struct load {
	enum mode mode;
	struct addr proxy;
	int epoll;
	struct step steps[STEPS_MAX];
	size_t step_count;
	struct step *request; /* of the handshake; NULL for a plain relay */
	struct addr target;
	uint32_t targets, next_target;
	struct connection *connections;
	size_t count;
	size_t ready_count;
	uint64_t run_ms;
	uint64_t units; /* octets, sessions or round trips */
	struct load_histogram times;
	uint32_t next_source;
	bool running;
	uint8_t buffer[READ_BYTES];
};

/* --- what is said ---------------------------------------------------------------------------- */

static struct step *add_step(struct load *load, size_t in_len, int first, int second)
{
	struct step *step = &load->steps[load->step_count++];

	step->in_len = in_len;
	step->first = first;
	step->second = second;
	return step;
}

static void say(struct step *step, const void *bytes, size_t len)
{
	memcpy(step->out + step->out_len, bytes, len);
	step->out_len += len;
}

static void say_byte(struct step *step, unsigned byte)
{
	step->out[step->out_len++] = (uint8_t)byte;
}

static void add_handshake(struct load *load, const struct addr *target, const char *login)
{
	struct step *step = add_step(load, 2, 5, login ? 2 : 0);
	const char *colon = login ? strchr(login, ':') : NULL;

	say(step, login ? "\x05\x01\x02" : "\x05\x01\x00", 3);
	if (login) {
		if (!colon || strlen(login) > 100) {
			load_die("--login USER:PASSWORD");
		}
		step = add_step(load, 2, 1, 0);
		say_byte(step, 1);
		say_byte(step, (unsigned)(colon - login));
		say(step, login, (size_t)(colon - login));
		say_byte(step, (unsigned)strlen(colon + 1));
		say(step, colon + 1, strlen(colon + 1));
	}
	load->target = *target;
	load->request = add_step(load, 10, 5, 0);
}

/* The request for the next target. */
static void renew_request(struct load *load)
{
	uint32_t address = ntohl(load->target.in4.sin_addr.s_addr) + load->next_target;
	uint32_t in_order = htonl(address);

	load->next_target = (load->next_target + 1) % load->targets;
	load->request->out_len = 0;
	say(load->request, "\x05\x01\x00\x01", 4);
	say(load->request, &in_order, 4);
	say(load->request, &load->target.in4.sin_port, 2);
}

static void add_echo(struct load *load, size_t bytes)
{
	struct step *step = add_step(load, bytes, -1, -1);

	say(step, load_pattern(0), bytes);
	step->echo = true;
}

/* --- a connection ---------------------------------------------------------------------------- */

/* Each from another loopback address, so that there are ports enough. */
static void bind_source(struct load *load, int fd)
{
	uint32_t i = load->next_source++ % 64000;
	const int one = 1;
	struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f010001u + (i / 250) * 256 + i % 250),
	};

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) {
		load_die_errno("bind");
	}
}

static void say_step(struct load *load, struct connection *c)
{
	const struct step *step = &load->steps[c->step];

	if (step == load->request) {
		renew_request(load);
	}
	c->got = 0;
	if (send(c->fd, step->out, step->out_len, MSG_NOSIGNAL) != (ssize_t)step->out_len) {
		load_die_errno("send");
	}
}

static void open_connection(struct load *load, struct connection *c)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = c };
	const int one = 1;

	*c = (struct connection){ .began_ns = load_now_ns() };
	c->fd = socket(load->proxy.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		load_die_errno("socket");
	}
	/* Between namespaces there are few connections, and no other addresses. */
	if (load->proxy.sa.sa_family == AF_INET &&
	    ntohl(load->proxy.in4.sin_addr.s_addr) >> 24 == 127) {
		bind_source(load, c->fd);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(c->fd, &load->proxy.sa, addr_len(&load->proxy)) < 0 && errno != EINPROGRESS) {
		load_die_errno("connect");
	}
	if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) {
		load_die_errno("epoll_ctl");
	}
}

static void on_connected(struct load *load, struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	socklen_t len = sizeof errno;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errno, &len);
	if (errno || epoll_ctl(load->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0) {
		load_die_errno("connect");
	}
	c->step = 0;
	if (load->step_count > 0) {
		say_step(load, c);
	}
}

static void finish_round(struct load *load, struct connection *c)
{
	uint64_t now = load_now_ns();

	if (load->running) {
		load_record(&load->times, now - c->began_ns);
		load->units++;
	}
	c->began_ns = now;
	if (load->mode == PING) {
		say_step(load, c);
	} else {
		close(c->fd);
		open_connection(load, c);
	}
}

static void check_step(const struct step *step, const struct connection *c)
{
	if ((step->first >= 0 && c->in[0] != step->first) ||
	    (step->second >= 0 && c->in[1] != step->second)) {
		load_die("answer %u %u instead of %d %d", c->in[0], c->in[1], step->first,
			 step->second);
	}
	if (step->echo && memcmp(c->in, step->out, step->in_len) != 0) {
		load_die("the echo is not what was sent");
	}
}

/* The last step of ping is repeated. */
static void next_step(struct load *load, struct connection *c)
{
	bool last = c->step + 1 == load->step_count;

	check_step(&load->steps[c->step], c);
	if (last && (load->mode == PING || load->mode == SESSIONS)) {
		load->ready_count += !c->ready;
		c->ready = true;
		finish_round(load, c);
	} else if (last) {
		load->ready_count++;
		c->ready = true;
	} else {
		c->step++;
		say_step(load, c);
	}
}

static void read_step(struct load *load, struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->got, load->steps[c->step].in_len - c->got, 0);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		load_die("closed by the proxy in step %zu: %s", c->step,
			 n < 0 ? strerror(errno) : "end");
	}
	c->got += n > 0 ? (size_t)n : 0;
	if (c->got == load->steps[c->step].in_len) {
		next_step(load, c);
	}
}

static void read_bulk(struct load *load, struct connection *c)
{
	ssize_t n = recv(c->fd, load->buffer, sizeof load->buffer, 0);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		load_die("the stream ended: %s", n < 0 ? strerror(errno) : "end");
	}
	if (n < 0) {
		return;
	}
	if (memcmp(load->buffer, load_pattern(c->bytes), (size_t)n) != 0) {
		load_die("wrong octets around %llu", (unsigned long long)c->bytes);
	}
	c->bytes += (uint64_t)n;
	load->units += load->running ? (uint64_t)n : 0;
}

/* --- the run --------------------------------------------------------------------------------- */

static void serve(struct load *load, const struct epoll_event *event)
{
	struct connection *c = event->data.ptr;

	if (event->events & EPOLLOUT) {
		on_connected(load, c);
		/* A plain relay has nothing to say first. */
		if (load->step_count == 0) {
			c->ready = true;
			load->ready_count++;
		}
	} else if (load->mode == BULK && c->ready) {
		read_bulk(load, c);
	} else if (c->ready && load->mode == IDLE) {
		load_die("an idle connection was closed");
	} else {
		read_step(load, c);
	}
}

static void turn(struct load *load, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(load->epoll, events, EVENTS, timeout_ms);

	for (int i = 0; i < n; i++) {
		serve(load, &events[i]);
	}
}

/* A thousand at a time, as listening queues are short. */
static void open_all(struct load *load)
{
	uint64_t end_ns = load_now_ns() + CONNECT_SECONDS * NS_PER_S;
	size_t opened = 0;

	while (load->ready_count < load->count) {
		while (opened < load->count && opened < load->ready_count + 500) {
			open_connection(load, &load->connections[opened++]);
		}
		turn(load, 100);
		if (load_now_ns() > end_ns) {
			load_die("%zu of %zu connections after 20 s", load->ready_count,
				 load->count);
		}
	}
}

static void report(const struct load *load, uint64_t ns)
{
	printf("{\"units\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       (unsigned long long)load->units, (double)ns / (double)NS_PER_S,
	       load_percentile_us(&load->times, 50), load_percentile_us(&load->times, 99));
	fflush(stdout);
}

static void run(struct load *load)
{
	uint64_t began_ns, end_ns;

	open_all(load);
	load_wait_for_go();
	load->running = true;
	began_ns = load_now_ns();
	end_ns = began_ns + load->run_ms * NS_PER_MS;
	while (load_now_ns() < end_ns) {
		turn(load, 100);
	}
	report(load, load_now_ns() - began_ns);
}

static void add_steps(struct load *load, const char *target, const char *login)
{
	if (target) {
		struct addr a = load_addr(target);

		if (a.sa.sa_family != AF_INET) {
			load_die("--target is an IPv4 address");
		}
		add_handshake(load, &a, login);
	}
	if (load->mode == SESSIONS || load->mode == PING) {
		add_echo(load, load->mode == PING ? PING_BYTES : SESSION_BYTES);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "proxy", required_argument, NULL, 'p' },
		{ "target", required_argument, NULL, 't' },
		{ "targets", required_argument, NULL, 'm' },
		{ "login", required_argument, NULL, 'l' },
		{ "connections", required_argument, NULL, 'n' },
		{ "ms", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	struct load *load = calloc(1, sizeof *load);
	const char *proxy = NULL, *target = NULL, *login = NULL;
	int option;

	if (!load) {
		load_die_errno("memory");
	}
	load->count = 1;
	load->run_ms = 1000;
	load->targets = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			proxy = optarg;
			break;
		case 't':
			target = optarg;
			break;
		case 'm':
			load->targets = (uint32_t)load_number(optarg);
			break;
		case 'l':
			login = optarg;
			break;
		case 'n':
			load->count = load_number(optarg);
			break;
		case 's':
			load->run_ms = load_number(optarg);
			break;
		default:
			return 2;
		}
	}
	while (optind < argc && load->mode < MODES &&
	       strcmp(mode_names[load->mode], argv[optind]) != 0) {
		load->mode++;
	}
	if (optind + 1 != argc || load->mode == MODES || !proxy) {
		load_die("usage: socks_load bulk|sessions|ping|idle --proxy IP:PORT ...");
	}
	load_pattern_init();
	load->proxy = load_addr(proxy);
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	load->connections = calloc(load->count, sizeof *load->connections);
	if (load->epoll < 0 || !load->connections) {
		load_die_errno("memory");
	}
	add_steps(load, target, login);
	run(load);
	return 0;
}
