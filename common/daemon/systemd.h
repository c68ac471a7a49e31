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

/* The listening sockets that were passed, at most `max`, each made non-blocking and close-on-exec;
 * whatever else was passed is closed. Returns how many. Call it once, before there are threads: it
 * takes the variables out of the environment. */
size_t systemd_take_sockets(struct listen_inherited *ret_sockets, size_t max);

#endif
