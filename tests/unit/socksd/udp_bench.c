/* SPDX-License-Identifier: ISC */
#include "tests/unit/socksd/udp_bench.h"

#include "common/container.h"

#include "socksd/protocol/udp_header.h"
#include "socksd/udp/udp_drops.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	TEXT_MAX = 4096,
};

struct addr udp_bench_addr(const char *text)
{
	struct addr a;

	ck_assert_msg(addr_parse_ip(text, &a) == 0 || addr_parse(text, 1, &a) == 0, "%s", text);
	return a;
}

int udp_bench_socket(const char *ip, struct addr *ret_addr)
{
	socklen_t len = sizeof *ret_addr;
	int fd;

	*ret_addr = udp_bench_addr(ip);
	fd = socket(ret_addr->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, &ret_addr->sa, addr_len(ret_addr)), 0);
	ck_assert_int_eq(getsockname(fd, &ret_addr->sa, &len), 0);
	return fd;
}

void udp_bench_settle(struct udp_bench *b)
{
	clock_settle(b->base.context.loop);
}

static const char *whole_text(const struct udp_bench *b, const char *text, char whole[TEXT_MAX])
{
	char server[ADDR_TEXT_MAX];

	snprintf(whole, TEXT_MAX, "%s%s\n%sserver = %s\n", UDP_BENCH_LISTEN, text,
		 strstr(text, "[dns]") ? "" : "[dns]\n",
		 addr_format(&b->dns.dns.addr, server, sizeof server));
	return whole;
}

void udp_bench_reload(struct udp_bench *b, const char *text)
{
	char whole[TEXT_MAX];
	struct params *params;
	struct config *config = session_bench_config(whole_text(b, text, whole), &params);

	if (b->a) {
		associate_reconfigure(b->a, config);
	}
	b->base.context.config = config;
	ck_assert_int_eq(resolver_configure(b->base.context.resolver, config->dns), 0);
	config_free(b->base.config);
	params_free(b->base.params);
	b->base.config = config;
	b->base.params = params;
}

void udp_bench_start(struct udp_bench *b, const char *text, const struct addr *said)
{
	struct socks5_target request = { 0 };
	struct addr local = udp_bench_addr("127.0.0.1");
	struct associate_config config;

	memset(b, 0, sizeof *b);
	clock_stop();
	session_bench_start(&b->base, UDP_BENCH_LISTEN);
	fake_names_start(&b->dns, b->base.context.loop);
	udp_bench_reload(b, text);
	b->fd = udp_bench_socket("127.0.0.1", &b->client);
	addr_set_port(&b->client, 1); /* that of a connection is another one */
	if (said) {
		request.addr = *said;
		addr_set_port(&request.addr, 0);
		request.port = addr_port(said);
	}
	config = (struct associate_config){
		.context = &b->base.context,
		.listen = &b->base.config->listen_configs[0],
		.client = &b->client,
		.local = &local,
		.request = &request,
	};
	b->start = associate_start(&config, &b->a, &b->to, &b->why);
}

void udp_bench_stop(struct udp_bench *b)
{
	associate_free(b->a);
	close(b->fd);
	fake_names_stop(&b->dns);
	session_bench_stop(&b->base);
	clock_go_on();
}

/* --- datagrams ------------------------------------------------------------------------------- */

void udp_bench_raw(struct udp_bench *b, int fd, const struct addr *to, const void *bytes,
		   size_t len)
{
	ck_assert_int_eq(sendto(fd, bytes, len, 0, &to->sa, addr_len(to)), (ssize_t)len);
	udp_bench_settle(b);
}

void udp_bench_send(struct udp_bench *b, int fd, uint8_t fragment, const struct addr *to,
		    const char *name, uint16_t port, const void *bytes, size_t len)
{
	static uint8_t datagram[65536];
	size_t pos;

	if (to) {
		pos = udp_header_encode(to, datagram);
	} else {
		pos = 5 + strlen(name);
		memset(datagram, 0, 3);
		datagram[3] = 3;
		datagram[4] = (uint8_t)strlen(name);
		memcpy(datagram + 5, name, strlen(name));
		datagram[pos++] = (uint8_t)(port >> 8);
		datagram[pos++] = (uint8_t)port;
	}
	datagram[2] = fragment;
	ck_assert_uint_le(pos + len, sizeof datagram);
	memcpy(datagram + pos, bytes, len);
	udp_bench_raw(b, fd, &b->to, datagram, pos + len);
}

void udp_bench_up(struct udp_bench *b, const struct addr *to, char byte)
{
	udp_bench_send(b, b->fd, 0, to, NULL, 0, &byte, 1);
}

void udp_bench_up_name(struct udp_bench *b, const char *name, uint16_t port, char byte)
{
	udp_bench_send(b, b->fd, 0, NULL, name, port, &byte, 1);
}

bool udp_bench_quiet(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

bool udp_bench_got(int fd, char byte, struct addr *ret_from)
{
	struct addr from;
	socklen_t len = sizeof from;
	char buf[2];
	ssize_t n = recvfrom(fd, buf, sizeof buf, MSG_DONTWAIT, &from.sa, &len);

	if (n >= 0 && ret_from) {
		*ret_from = from;
	}
	return n == 1 && buf[0] == byte && udp_bench_quiet(fd);
}

bool udp_bench_down(struct udp_bench *b, char byte, const struct addr *from)
{
	struct udp_header header;
	uint8_t buf[64];
	struct addr sender;
	socklen_t len = sizeof sender;
	ssize_t n = recvfrom(b->fd, buf, sizeof buf, MSG_DONTWAIT, &sender.sa, &len);

	return n > 0 && addr_equal(&sender, &b->to) && udp_header_parse(buf, (size_t)n, &header) &&
	       header.fragment == 0 && addr_equal(&header.addr, from) &&
	       header.len + 1 == (size_t)n && buf[header.len] == (uint8_t)byte &&
	       udp_bench_quiet(b->fd);
}

void udp_bench_dropped(struct udp_bench *b, const char *text)
{
#define NAME(X, name, help) #name,
	static const char *const names[] = { UDP_DROPS(NAME, ) };
#undef NAME
	char buf[ASSOCIATE_DROPS_TEXT_MAX];
	char counted[ASSOCIATE_DROPS_TEXT_MAX] = "-";
	size_t len = 0;

	ck_assert_str_eq(associate_drops(b->a, buf), text);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		int64_t n = session_bench_metric(
			&b->base, (enum socksd_metric)(METRIC_udp_drop_stranger + i));

		if (n > 0) {
			len += (size_t)snprintf(counted + len, sizeof counted - len,
						"%s%s:%" PRId64, len ? "," : "", names[i], n);
		}
	}
	ck_assert_str_eq(counted, text);
}
