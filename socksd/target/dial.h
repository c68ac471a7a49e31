/* SPDX-License-Identifier: ISC */
/*
 * Connects to a target: resolves its name without blocking, asks for each address whether and from
 * where it may be connected to, and connects in the order and at the times that eyeballs.h says.
 * Only addresses that were checked are connected to.
 *
 * Thread: the worker's. There is no timer for the whole: the owner cancels.
 */
#ifndef SOCKSD_TARGET_DIAL_H
#define SOCKSD_TARGET_DIAL_H

#include "common/addr.h"
#include "common/loop.h"

#include "socksd/protocol/socks5.h"
#include "socksd/rules/egress.h"
#include "socksd/target/resolver.h"

#include <stdbool.h>

struct dial;

struct dial_config {
	struct loop *loop;
	struct resolver *resolver;
	int family;    /* which addresses of a name to use: AF_UNSPEC, AF_INET or AF_INET6 */
	bool has_data; /* there is something to write as soon as a connection is made */
	/* Whether the address may be connected to; if not, *ret_why gets a static token.
	 * *ret_egress is NULL at the call; what it is set to is used at once and not kept. */
	bool (*allowed)(void *arg, const struct addr *a, const struct egress **ret_egress,
			const char **ret_why);
	/* The egress cannot be used: `error` is a positive errno. The attempt has failed; others
	 * are still made. */
	void (*egress_failed)(void *arg, const struct egress *egress, int error);
};

struct dial_result {
	enum socks5_reply reply; /* SOCKS5_SUCCEEDED: connected */
	const char *why; /* static token: "connected", "connection_refused", "nxdomain", a guard's
			    verdict, ... */
	struct watch *watch; /* connected: watched for RELAY_EVENTS; move it away before returning,
				or it is closed */
	struct addr remote;  /* connected: the address */
	struct addr local;   /* connected: our end */
};

/* Called once, never from within dial_start(), unless the dial is cancelled before; the dial is
 * gone after it. */
typedef void (*dial_done_fn)(void *arg, const struct dial_result *result);

/* Begin. The target is copied. Returns a handle that is valid until done is called, or NULL when
 * out of memory. */
struct dial *dial_start(const struct dial_config *config, const struct socks5_target *target,
			dial_done_fn done, void *arg);

/* Give up; done is not called. NULL is fine. */
void dial_cancel(struct dial *dial);

#endif
