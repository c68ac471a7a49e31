/* SPDX-License-Identifier: ISC */
#include "socksd/rules/egress.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

const struct addr *egress_address(const struct egress *egress, int family)
{
	const struct addr *a = family == AF_INET ? &egress->ipv4 : &egress->ipv6;

	return a->sa.sa_family == family ? a : NULL;
}

bool egress_has_family(const struct egress *egress, int family)
{
	bool any = egress->ipv4.sa.sa_family == AF_UNSPEC && egress->ipv6.sa.sa_family == AF_UNSPEC;

	return any || egress_address(egress, family);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool egress_equal(const struct egress *a, const struct egress *b)
{
	return same_text(a->name, b->name) && addr_equal(&a->ipv4, &b->ipv4) &&
	       addr_equal(&a->ipv6, &b->ipv6) && same_text(a->interface, b->interface) &&
	       a->fwmark == b->fwmark;
}

static int bind_address(const struct addr *a, int fd)
{
	const int on = 1;

	/* An option of the IP level for both families. */
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0 ||
	    bind(fd, &a->sa, addr_len(a)) < 0) {
		return -errno;
	}
	return 0;
}

int egress_mark(const struct egress *egress, int fd, int family)
{
	if (!egress_has_family(egress, family)) {
		return -ENETUNREACH;
	}
	if (egress->interface && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, egress->interface,
					    (socklen_t)strlen(egress->interface)) < 0) {
		return -errno;
	}
	if (egress->fwmark != 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &egress->fwmark, sizeof egress->fwmark) < 0) {
		return -errno;
	}
	return 0;
}

int egress_apply(const struct egress *egress, int fd, int family)
{
	const struct addr *a = egress_address(egress, family);
	int r = egress_mark(egress, fd, family);

	return r == 0 && a ? bind_address(a, fd) : r;
}

void egress_fast_open(const struct egress *egress, int fd)
{
	const int on = 1;

	if (egress->fast_open) {
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
	}
}
