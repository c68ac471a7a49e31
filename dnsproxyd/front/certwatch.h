/* SPDX-License-Identifier: ISC */
/*
 * Certificates of listeners are loaded again when their files change, without a reload of the
 * configuration: whoever renews them need not know of us. Every few seconds a helper thread looks
 * at the files. What cannot be loaded is logged, and the old certificate stays.
 *
 * Thread: that of the loop; one for the daemon.
 */
#ifndef DNSPROXYD_FRONT_CERTWATCH_H
#define DNSPROXYD_FRONT_CERTWATCH_H

#include "common/helpers.h"
#include "common/loop.h"

#include "dnsproxyd/config.h"

/* How often the files are looked at. */
#define CERTWATCH_MS 2000

struct certwatch;

/* Watches nothing yet. Borrows both. Returns owned, or NULL with errno. */
struct certwatch *certwatch_new(struct loop *loop, struct helpers *helpers);

/* Watch the certificates of this configuration, which need not live on. 0 or -ENOMEM (then nothing
 * is watched). */
int certwatch_set(struct certwatch *watch, const struct config *config);

/* NULL is fine. */
void certwatch_free(struct certwatch *watch);

#endif
