/* SPDX-License-Identifier: ISC */
#include "common/daemon/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void ports_init(struct ports *ports, const struct ports_ops *ops, void *owner)
{
	*ports = (struct ports){ .ops = ops, .owner = owner };
}

static void close_port(struct ports *ports, struct port **link)
{
	struct port *port = *link;

	*link = port->next;
	ports->ops->close(port);
	free(port);
}

static struct port **find_port(struct ports *ports, const struct listen_want *want)
{
	struct port **link = &ports->first;

	while (*link && ((*link)->want.type != want->type ||
			 !addr_equal(&(*link)->want.addr, &want->addr))) {
		link = &(*link)->next;
	}
	return link;
}

static int open_port(struct ports *ports, const struct listen_want *want, int fd)
{
	struct port *port = calloc(1, sizeof *port);

	if (!port) {
		close(fd);
		return -ENOMEM;
	}
	port->want = *want;
	port->owner = ports->owner;
	port->front = ports->ops->open(port, fd);
	if (!port->front) {
		free(port);
		return -errno;
	}
	port->next = ports->first;
	ports->first = port;
	return 0;
}

int ports_update(struct ports *ports, struct listen_set *set, unsigned worker)
{
	int result = 0;

	for (size_t i = 0; i < set->count; i++) {
		const struct listen_want *want = &set->sockets[i].want;
		int r = 0;
		int fd;

		if (set->sockets[i].gone) {
			struct port **link = find_port(ports, want);

			if (*link) {
				close_port(ports, link);
			}
			continue;
		}
		fd = listen_set_take(set, i, worker);
		if (fd >= 0) {
			r = open_port(ports, want, fd);
		}
		result = result < 0 ? result : r;
	}
	return result;
}

void ports_done(struct ports *ports)
{
	while (ports->first) {
		close_port(ports, &ports->first);
	}
}
