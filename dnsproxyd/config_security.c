/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/config_security.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
	DNS_PORT = 53,
};

/* --- upstream servers ------------------------------------------------------------------------ */

static bool has_tls(const struct endpoint *endpoints, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (endpoint_has_tls(&endpoints[i])) {
			return true;
		}
	}
	return false;
}

static int add_pins(struct security_config *security, const struct section *section,
		    struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;
	const size_t field = offsetof(struct upstream_params, pins);

	if (p->pins.count > CONFIG_PINS_MAX) {
		params_fail(reterr, section, field, "at most 16", "%zu pins", p->pins.count);
		return -1;
	}
	for (size_t i = 0; i < p->pins.count; i++) {
		if (!tls_pin_parse(p->pins.items[i], &security->pins[i])) {
			params_fail(reterr, section, field,
				    "SHA-256 of a public key in base64, 44 characters",
				    "\"%s\" is no pin", p->pins.items[i]);
			return -1;
		}
	}
	security->pin_count = p->pins.count;
	if (security->pin_count > 0 && security->is_opportunistic) {
		params_fail(reterr, section, field, "authentication = strict",
			    "pins are of no use when nothing is checked");
		return -1;
	}
	return 0;
}

static int add_bootstrap(struct group_config *group, const struct section *section,
			 struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;
	const size_t field = offsetof(struct upstream_params, bootstrap);

	if (p->bootstrap.count > CONFIG_BOOTSTRAP_MAX) {
		params_fail(reterr, section, field, "at most 4", "%zu servers", p->bootstrap.count);
		return -1;
	}
	for (size_t i = 0; i < p->bootstrap.count; i++) {
		struct endpoint *server = &group->bootstrap[i];

		if (endpoint_parse(p->bootstrap.items[i], server) < 0 ||
		    endpoint_needs_address(server) || server->protocol > ENDPOINT_TLS) {
			params_fail(reterr, section, field,
				    "IP[:PORT], tcp://IP[:PORT] or tls://IP[:PORT][#NAME]",
				    "\"%s\" cannot be asked for addresses", p->bootstrap.items[i]);
			return -1;
		}
	}
	group->bootstrap_count = p->bootstrap.count;
	return 0;
}

/* A name that nobody is to be asked about is never found. */
static int check_names(const struct group_config *group, const struct section *section,
		       struct ini_error *reterr)
{
	for (size_t i = 0; i < group->server_count; i++) {
		if (endpoint_needs_address(&group->servers[i]) && group->bootstrap_count == 0 &&
		    !group->has_proxy) {
			params_fail(reterr, section, offsetof(struct upstream_params, servers),
				    "bootstrap = ADDRESS, or an address before #NAME",
				    "nobody knows the address of server %s",
				    group->servers[i].name);
			return -1;
		}
	}
	return 0;
}

/* Nothing of the group is to leave but through its proxy. */
static int check_proxy(const struct group_config *group, const struct section *section,
		       struct ini_error *reterr)
{
	const size_t field = offsetof(struct upstream_params, proxy);

	if (group->server_count == 0) {
		params_fail(reterr, section, field, "server = ADDRESS",
			    "[upstream %s] has a proxy, but no server", section->name);
		return -1;
	}
	if (((const struct upstream_params *)section->values)->bootstrap.count > 0) {
		params_fail(reterr, section, field, "no bootstrap",
			    "the proxy looks up names, bootstrap servers would be asked directly");
		return -1;
	}
	for (size_t i = 0; i < group->server_count; i++) {
		if (group->servers[i].protocol == ENDPOINT_DNSCRYPT) {
			params_fail(reterr, section, field, "servers by TCP, TLS or HTTPS",
				    "DNSCrypt servers cannot be asked through a proxy");
			return -1;
		}
	}
	return 0;
}

int config_load_proxy(struct group_config *group, const struct section *section,
		      struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;

	if (!p->proxy) {
		return 0;
	}
	if (socks_proxy_parse(p->proxy, &group->proxy) < 0) {
		params_fail(reterr, section, offsetof(struct upstream_params, proxy),
			    "socks5://[USER:PASSWORD@]IP[:PORT], the address of one host",
			    "that is no proxy");
		return -1;
	}
	group->has_proxy = true;
	for (size_t i = 0; i < group->server_count; i++) {
		if (group->servers[i].protocol == ENDPOINT_UDP) {
			group->servers[i].protocol = ENDPOINT_TCP;
		}
	}
	return check_proxy(group, section, reterr);
}

static int load_trust(struct security_config *security, const struct section *section,
		      struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;

	security->has_ca = p->ca != NULL;
	security->trust = tls_trust_load(p->ca);
	if (!security->trust) {
		params_fail(reterr, section, offsetof(struct upstream_params, ca),
			    "a file with certificates in PEM form", "%s: %s",
			    p->ca ? p->ca : "the system's authorities",
			    errno == EINVAL ? "no certificate in it" : strerror(errno));
		return -1;
	}
	return 0;
}

int config_load_security(struct group_config *group, const struct section *section,
			 struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;
	struct security_config *security = &group->security;
	bool uses_tls;

	/* In the order of "strict|opportunistic". */
	security->is_opportunistic = p->authentication == 1;
	if (add_pins(security, section, reterr) < 0 || add_bootstrap(group, section, reterr) < 0 ||
	    check_names(group, section, reterr) < 0) {
		return -1;
	}
	uses_tls = has_tls(group->servers, group->server_count) ||
		   has_tls(group->bootstrap, group->bootstrap_count);
	if (!uses_tls && security->pin_count > 0) {
		/* Who has pins believes that nobody can read along. */
		params_fail(reterr, section, offsetof(struct upstream_params, pins),
			    "server = tls://ADDRESS or https://ADDRESS",
			    "no server of [upstream %s] has a certificate", section->name);
		return -1;
	}
	if (!uses_tls && !p->ca) {
		return 0;
	}
	return load_trust(security, section, reterr);
}

void config_drop_security(struct group_config *group)
{
	tls_trust_free(group->security.trust);
}

/* --- listeners ------------------------------------------------------------------------------- */

/* Port 53 is for clear text (RFC 7858 section 3.1), and what an address without port means. */
static int check_ports(const struct listen_params *p, const struct section *section,
		       struct ini_error *reterr)
{
	for (size_t i = 0; i < p->addresses.count; i++) {
		if (addr_port(&p->addresses.items[i]) == DNS_PORT) {
			params_fail(reterr, section, offsetof(struct listen_params, addresses),
				    p->protocol == LISTEN_HTTPS ? "ADDRESS:443, or another port"
								: "ADDRESS:853, or another port",
				    "port 53 is for DNS without encryption");
			return -1;
		}
	}
	return 0;
}

int config_load_certificate(struct listen_config *listen, const struct section *section,
			    struct ini_error *reterr)
{
	static const char *const dot[] = { "dot" };
	static const char *const https[] = { "h2" };
	const struct listen_params *p = section->values;
	const char *path = NULL;
	const char *why = NULL;

	if (p->protocol == LISTEN_DNS) {
		if (p->certificate || p->key) {
			params_fail(reterr, section, offsetof(struct listen_params, protocol),
				    "protocol = tls or https",
				    "[listen %s] has a certificate, but does not encrypt",
				    section->name);
			return -1;
		}
		return 0;
	}
	if (!p->certificate || !p->key) {
		params_fail(reterr, section, offsetof(struct listen_params, protocol),
			    "certificate = FILE and key = FILE", "[listen %s] has no %s",
			    section->name, p->certificate ? "key" : "certificate");
		return -1;
	}
	if (check_ports(p, section, reterr) < 0) {
		return -1;
	}
	listen->tls = tls_server_load(p->certificate, p->key,
				      p->protocol == LISTEN_HTTPS ? https : dot, 1, &path, &why);
	if (!listen->tls) {
		params_fail(reterr, section,
			    path == p->key ? offsetof(struct listen_params, key)
					   : offsetof(struct listen_params, certificate),
			    "a PEM file", "%s: %s", path, why);
		return -1;
	}
	return 0;
}
