/* SPDX-License-Identifier: ISC */
/*
 * How much of people the log shows: [log] clients and destinations. Every line about a session
 * writes its client with privacy_client() and its destination with privacy_destination().
 *
 * One exception: the client of a line "auth-failed" is written by privacy_culprit(), in full unless
 * clients = none, since fail2ban and its like must be able to ban it and nobody else. Pure.
 */
#ifndef SOCKSD_PRIVACY_H
#define SOCKSD_PRIVACY_H

#include "common/addr.h"

enum privacy_clients {
	PRIVACY_CLIENTS_FULL,    /* 192.168.1.7:50000 */
	PRIVACY_CLIENTS_NETWORK, /* 192.168.1.0/24, 2001:db8:1::/48 */
	PRIVACY_CLIENTS_NONE,    /* - */
};

enum privacy_destinations {
	PRIVACY_DESTINATIONS_FULL,
	PRIVACY_DESTINATIONS_NONE,
};

/* The client as the log may show it; with its port when it is shown in full. A v4-mapped address is
 * folded. Returns buf. */
const char *privacy_client(enum privacy_clients level, const struct addr *client,
			   char buf[ADDR_TEXT_MAX]);

/* The same without port. */
const char *privacy_client_ip(enum privacy_clients level, const struct addr *client,
			      char buf[ADDR_TEXT_MAX]);

/* The client that guessed a password, without port. Returns buf. */
const char *privacy_culprit(enum privacy_clients level, const struct addr *client,
			    char buf[ADDR_TEXT_MAX]);

/* The text, or NULL, which the log shows as "-". */
const char *privacy_destination(enum privacy_destinations level, const char *text);

#endif
