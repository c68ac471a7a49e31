/* SPDX-License-Identifier: ISC */
/*
 * dnsproxyd as a service: what its workers share (the cache and its file, open questions, failures,
 * rate limits), and what each of them holds (fronts, upstream servers, open queries). Plugs into
 * common/daemon/service.h.
 */
#ifndef DNSPROXYD_SERVER_H
#define DNSPROXYD_SERVER_H

#include "common/daemon/service.h"

extern const struct service_ops server_ops;

#endif
