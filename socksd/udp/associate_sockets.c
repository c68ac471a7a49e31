/* SPDX-License-Identifier: ISC */
#include "socksd/udp/associate_sockets.h"

#include "common/crypto.h"

#include "socksd/udp/datagrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BIND_TRIES_MAX = 1024,
};

/* Bind to one of the ports, at random, so that they are no easier to guess than the kernel's. 0 or
 * -errno. */
static int bind_in_range(int fd, struct addr *addr, const struct rule_ports *ports)
{
	uint32_t count = (uint32_t)(ports->last - ports->first) + 1;
	uint32_t start = crypto_random_below(count);
	uint32_t tries = count < BIND_TRIES_MAX ? count : BIND_TRIES_MAX;
	int r = -EADDRINUSE;

	for (uint32_t i = 0; i < tries && r == -EADDRINUSE; i++) {
		addr_set_port(addr, (uint16_t)(ports->first + (start + i) % count));
		r = bind(fd, &addr->sa, addr_len(addr)) < 0 ? -errno : 0;
	}
	return r;
}

/* The socket for the client. Returns the descriptor, with its *ret_address, or -errno. */
static int open_client_socket(const struct listen_config *listen, const struct addr *local,
			      struct addr *ret_address)
{
	struct addr addr = *local;
	socklen_t len = sizeof addr;
	int fd = socket(addr.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0) {
		return -errno;
	}
	datagrams_prepare(fd, addr.sa.sa_family);
	addr_set_port(&addr, 0);
	if (listen->udp_ports.first != 0) {
		r = bind_in_range(fd, &addr, &listen->udp_ports);
	} else {
		r = bind(fd, &addr.sa, addr_len(&addr)) < 0 ? -errno : 0;
	}
	if (r == 0 && getsockname(fd, &addr.sa, &len) < 0) {
		r = -errno;
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_address = addr;
	return fd;
}

/* What the client is told: where this host is reached from outside, if that is another address. An
 * address that means nothing there is never told instead. */
static bool tell_public(const struct listen_config *listen, struct addr *address)
{
	const struct addr *public = address->sa.sa_family == AF_INET6 ? &listen->udp_public_ipv6
								      : &listen->udp_public_ipv4;
	uint16_t port = addr_port(address);

	if (listen->params->udp_public_addresses.count == 0) {
		return true;
	}
	if (public->sa.sa_family == AF_UNSPEC) {
		return addr_scope(address) == ADDR_GLOBAL;
	}
	*address = *public;
	addr_set_port(address, port);
	return true;
}

int associate_open_client(const struct listen_config *listen, const struct addr *local,
			  struct addr *ret_address, const char **reterr_why)
{
	int fd = open_client_socket(listen, local, ret_address);

	*reterr_why = fd == -EADDRINUSE ? "no_port" : "no_socket";
	if (fd >= 0 && !tell_public(listen, ret_address)) {
		*reterr_why = "no_public_address";
		close(fd);
		return -EADDRNOTAVAIL;
	}
	return fd;
}

int associate_open_target(int family, const struct egress *egress)
{
	const int on = 1;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0) {
		return -errno;
	}
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	}
	datagrams_prepare(fd, family);
	r = egress ? egress_apply(egress, fd, family) : 0;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

bool associate_has_route(const struct addr *to)
{
	int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has = fd < 0 || connect(fd, &to->sa, addr_len(to)) == 0;

	if (fd >= 0) {
		close(fd);
	}
	return has;
}
