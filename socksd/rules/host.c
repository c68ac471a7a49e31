/* SPDX-License-Identifier: ISC */
#include "socksd/rules/host.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whether this host has the address, by what bind() says. With ip_nonlocal_bind it says yes to
 * every address: the guard is then stricter than it need be, for one port. */
static bool has_address(const struct addr *a)
{
	struct addr probe = *a;
	int fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has;

	if (fd < 0) {
		return true; /* as strict as can be */
	}
	addr_set_port(&probe, 0);
	has = bind(fd, &probe.sa, addr_len(&probe)) == 0;
	close(fd);
	return has;
}

static bool wildcard_has_port(const struct guard_context *guard, uint16_t port)
{
	for (size_t i = 0; i < guard->listener_count; i++) {
		struct addr listener = addr_unmap(&guard->listeners[i]);

		if (addr_port(&listener) == port && addr_scope(&listener) == ADDR_UNSPECIFIED) {
			return true;
		}
	}
	return false;
}

void host_note_local(struct guard_context *guard, const struct addr *destination,
		     struct addr *local)
{
	struct addr folded = addr_unmap(destination);
	struct addr inner;

	*local = (struct addr){ 0 };
	guard->local = local;
	if (folded.sa.sa_family == AF_UNSPEC || !wildcard_has_port(guard, addr_port(&folded))) {
		return;
	}
	if (has_address(&folded)) {
		*local = folded;
	} else if (guard_embedded_ipv4(&folded, &inner) && has_address(&inner)) {
		*local = inner;
	}
}
