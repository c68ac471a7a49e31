/* SPDX-License-Identifier: ISC */
/*
 * What a service manager and a daemon tell each other through the environment: sd_notify(3)
 * messages, the watchdog, and sockets passed at start (sd_listen_fds(3)). The protocols are three
 * variables and a datagram, promised to be stable, and not worth a library.
 *
 * Thread: main. Outside of a service manager everything here does nothing.
 */
#ifndef COMMON_DAEMON_SYSTEMD_H
#define COMMON_DAEMON_SYSTEMD_H

#include "common/daemon/listen_set.h"

#include <stddef.h>
#include <stdint.h>

/* Send one or more lines, such as "READY=1\nSTATUS=serving". What cannot be sent is lost: the
 * manager is free to go away. */
void systemd_notify(const char *lines);

/* Tell that the configuration is being read again; READY=1 must follow. */
void systemd_notify_reloading(void);

/* How often WATCHDOG=1 is expected, in ms; 0: never. */
uint64_t systemd_watchdog_ms(void);

/* The listening sockets that were passed, *ret_count of them and at most `max`, each made
 * non-blocking and close-on-exec; whatever else was passed is closed. 0, or -EBADF when LISTEN_FDS
 * counts a descriptor that nobody can have passed, as with sd_listen_fds(3): one that is not open,
 * or is a later one of ours (close-on-exec). Then all of them stay as they are. Call it once,
 * before there are threads, and before anything else is opened: a descriptor that should have been
 * passed and was not is the next one's to get. It takes the variables out of the environment. */
int systemd_take_sockets(struct listen_inherited *ret_sockets, size_t max, size_t *ret_count);

#endif
