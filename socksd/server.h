/* SPDX-License-Identifier: ISC */
/*
 * socksd as a service: what its workers share (logins, counts of sessions, who is connected to
 * whom), and what each of them holds (listeners, resolver, sessions). Plugs into
 * common/daemon/service.h.
 */
#ifndef SOCKSD_SERVER_H
#define SOCKSD_SERVER_H

#include "common/daemon/service.h"

extern const struct service_ops server_ops;

#endif
