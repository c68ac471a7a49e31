/* SPDX-License-Identifier: ISC */
/*
 * Passed sockets (struct listen_inherited) that the configuration has no section for, at start or
 * after a reload. The service manager holds them open as well, so clients still get through to
 * them, and would wait for ever in a queue that nobody empties. Here they are told at once: TCP
 * connections are reset, datagrams are thrown away.
 *
 * Thread: the main thread's loop, which owns no sessions.
 */
#ifndef COMMON_DAEMON_UNSERVED_H
#define COMMON_DAEMON_UNSERVED_H

#include "common/daemon/listen_set.h"
#include "common/loop.h"

struct unserved;

/* Returns owned, or NULL with errno. `set` is borrowed. */
struct unserved *unserved_new(struct loop *loop, const struct listen_set *set);

/* Look at the set again: after an update, when what is gone has been swept, and the workers have
 * taken their sockets. */
void unserved_update(struct unserved *unserved);

/* Connections reset and datagrams thrown away so far. */
uint64_t unserved_count(const struct unserved *unserved);

/* NULL is fine. Before listen_set_done(). */
void unserved_free(struct unserved *unserved);

#endif
