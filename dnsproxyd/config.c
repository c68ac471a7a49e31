/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/config.h"

#include "common/container.h"
#include "common/dns/ares_io.h"
#include "common/dns/doh.h"

#include "dnsproxyd/config_security.h"
#include "dnsproxyd/message/dnsname.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	DEFAULT_TIMEOUT_MS = 2000, /* when there is no [upstream default] */
};

static const char default_group[] = "default";

#define PARAM_STRUCT struct server_params
static const struct param_row server_rows[] = PARAM_ROWS(SERVER_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct log_params
static const struct param_row log_rows[] = PARAM_ROWS(LOG_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct listen_params
static const struct param_row listen_rows[] = PARAM_ROWS(LISTEN_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct upstream_params
static const struct param_row upstream_rows[] = PARAM_ROWS(UPSTREAM_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct forward_params
static const struct param_row forward_rows[] = PARAM_ROWS(FORWARD_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct privacy_params
static const struct param_row privacy_rows[] = PARAM_ROWS(PRIVACY_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct cache_params
static const struct param_row cache_rows[] = PARAM_ROWS(CACHE_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct limits_params
static const struct param_row limits_rows[] = PARAM_ROWS(LIMITS_PARAMS);
#undef PARAM_STRUCT

static const char *const listen_builtin[] = { "local.address=127.0.0.1:53, [::1]:53", NULL };
static const char *const upstream_builtin[] = { "default.timeout=2s", NULL };

static const struct section_row sections[] = {
	SECTION_ROW("server", struct server_params, server_rows, "The process."),
	SECTION_ROW("log", struct log_params, log_rows, "What is logged."),
	SECTION_ROW("cache", struct cache_params, cache_rows, "How answers are kept."),
	SECTION_ROW("privacy", struct privacy_params, privacy_rows,
		    "What others can learn or forge."),
	SECTION_ROW("limits", struct limits_params, limits_rows, "What clients can use up."),
	SECTION_ROW_NAMED("listen", struct listen_params, listen_rows, listen_builtin,
			  "Where clients ask."),
	SECTION_ROW_NAMED("upstream", struct upstream_params, upstream_rows, upstream_builtin,
			  "Who is asked; about everything that no [forward] names, the one named "
			  "default."),
	SECTION_ROW_NAMED("forward", struct forward_params, forward_rows, NULL,
			  "Domains whose questions go to other servers."),
};

const struct params_schema config_schema = { sections, ARRAY_SIZE(sections) };

/* Have clients told of an encrypted listener, if its certificate has a name to call it by. */
static void announce(struct config *config, const struct listen_config *listen)
{
	const struct addr_list *addresses = &listen->params->addresses;
	char name[TLS_NAME_MAX];

	if (!tls_server_name(listen->tls, name)) {
		return;
	}
	for (size_t i = 0; i < addresses->count; i++) {
		bool is_https = listen->params->protocol == LISTEN_HTTPS;

		(void)ddr_add(&config->ddr, name, is_https ? "h2" : "dot", &addresses->items[i],
			      is_https ? DOH_PATH "{?dns}" : NULL);
	}
}

static int add_listens(struct config *config, const struct params *params, struct ini_error *reterr)
{
	struct listens *listens = &config->listens;

	if (listens_load(listens, params, offsetof(struct listen_params, addresses),
			 LISTENS_STREAM | LISTENS_DATAGRAM, reterr) < 0) {
		return -1;
	}
	config->listen_configs = calloc(listens->count, sizeof *config->listen_configs);
	if (!config->listen_configs) {
		ini_fail(reterr, "dnsproxyd", 0, "free memory", "cannot allocate memory");
		return -1;
	}
	for (size_t i = 0; i < listens->count; i++) {
		struct listens_item *item = &listens->items[i];
		struct listen_config *listen = &config->listen_configs[i];

		listen->name = item->section->name;
		listen->params = item->section->values;
		if (config_load_certificate(listen, item->section, reterr) < 0) {
			return -1;
		}
		if (listen->tls) {
			item->kinds = LISTENS_STREAM;
			announce(config, listen);
		}
	}
	return 0;
}

/* --- upstream servers ------------------------------------------------------------------------ */

static void add_servers_of(const struct config *config, const char *path,
			   struct group_config *group)
{
	struct addr servers[CONFIG_SERVERS_MAX];
	size_t count = ares_io_system_servers(path, servers, CONFIG_SERVERS_MAX);

	for (size_t i = 0; i < count; i++) {
		/* The host itself may be set to ask us, who would ask ourselves for ever. */
		if (!listens_reached_by(&config->listens, &servers[i])) {
			group->servers[group->server_count++] =
				(struct endpoint){ .protocol = ENDPOINT_UDP,
						   .addr = servers[i],
						   .port = addr_port(&servers[i]) };
		}
	}
}

static void add_system_servers(const struct config *config, struct group_config *group)
{
	const struct text_list *paths = &config->server->resolv_conf;

	for (size_t i = 0; i < paths->count && group->server_count == 0; i++) {
		add_servers_of(config, paths->items[i], group);
	}
}

static int check_resolv_conf(const struct config *config, const struct params *params,
			     struct ini_error *reterr)
{
	const struct text_list *paths = &config->server->resolv_conf;

	for (size_t i = 0; i < paths->count; i++) {
		if (paths->items[i][0] != '/') {
			params_fail(reterr, params_section_object(params, "server"),
				    offsetof(struct server_params, resolv_conf), "an absolute path",
				    "\"%s\" is none", paths->items[i]);
			return -1;
		}
	}
	return 0;
}

static int add_server(const struct config *config, struct group_config *group,
		      const struct section *section, const char *text, struct ini_error *reterr)
{
	const size_t field = offsetof(struct upstream_params, servers);
	struct endpoint *server = &group->servers[group->server_count];
	int r = endpoint_parse(text, server);

	if (r == -ENODEV) {
		params_fail(reterr, section, field, "an interface of this host",
			    "server \"%s\" names an unknown interface", text);
		return -1;
	}
	if (r == -EADDRNOTAVAIL) {
		params_fail(reterr, section, field,
			    "an address of one host, not multicast or broadcast",
			    "\"%s\" can be no server", text);
		return -1;
	}
	if (r < 0) {
		params_fail(reterr, section, field,
			    "IP[:PORT], tcp://IP[:PORT], tls://IP[:PORT][#NAME], "
			    "tls://NAME[:PORT], https://IP[:PORT]/PATH[#NAME], "
			    "https://NAME[:PORT]/PATH or sdns://STAMP",
			    "\"%s\" is no server", text);
		return -1;
	}
	if (listens_reached_by(&config->listens, &server->addr)) {
		params_fail(reterr, section, field, "another server",
			    "server %s is our own listening address", text);
		return -1;
	}
	group->server_count++;
	return 0;
}

static int add_group(struct config *config, struct group_config *group,
		     const struct section *section, struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;
	const size_t field = offsetof(struct upstream_params, servers);

	group->name = section->name;
	group->strategy = (enum balance_strategy)p->strategy;
	group->timeout_ms = (uint32_t)p->timeout_ms;
	if (p->servers.count > CONFIG_SERVERS_MAX) {
		params_fail(reterr, section, field, "at most 16", "%zu servers", p->servers.count);
		return -1;
	}
	if (p->servers.count == 0 && group != &config->groups[0]) {
		params_fail(reterr, section, field, "server = IP[:PORT]",
			    "[upstream %s] has no server", section->name);
		return -1;
	}
	for (size_t i = 0; i < p->servers.count; i++) {
		if (add_server(config, group, section, p->servers.items[i], reterr) < 0) {
			return -1;
		}
	}
	if (config_load_proxy(group, section, reterr) < 0) {
		return -1;
	}
	return config_load_security(group, section, reterr);
}

static bool is_default(const struct section *section)
{
	return strcmp(section->name, default_group) == 0;
}

static int add_groups(struct config *config, const struct params *params, struct ini_error *reterr)
{
	const struct section *section = NULL;
	size_t count = 1;

	while ((section = params_next(params, "upstream", section)) != NULL) {
		count += !is_default(section);
		if (count > CONFIG_GROUPS_MAX) {
			params_fail(reterr, section, offsetof(struct upstream_params, servers),
				    "at most 255", "too many [upstream] sections");
			return -1;
		}
	}
	config->groups = calloc(count, sizeof *config->groups);
	if (!config->groups) {
		ini_fail(reterr, "dnsproxyd", 0, "free memory", "cannot allocate memory");
		return -1;
	}
	config->group_count = 1;
	config->groups[0].name = default_group;
	config->groups[0].timeout_ms = DEFAULT_TIMEOUT_MS;
	while ((section = params_next(params, "upstream", section)) != NULL) {
		struct group_config *group = is_default(section)
						     ? &config->groups[0]
						     : &config->groups[config->group_count++];

		if (add_group(config, group, section, reterr) < 0) {
			return -1;
		}
	}
	if (config->groups[0].server_count == 0) {
		add_system_servers(config, &config->groups[0]);
	}
	return 0;
}

/* --- conditional forwarding ------------------------------------------------------------------ */

static int find_group(const struct config *config, const struct section *section,
		      unsigned *ret_index, struct ini_error *reterr)
{
	const struct forward_params *p = section->values;
	const size_t field = offsetof(struct forward_params, upstream);

	if (!p->upstream) {
		params_fail(reterr, section, field, "upstream = NAME",
			    "[forward %s] does not say whom to ask", section->name);
		return -1;
	}
	for (size_t i = 0; i < config->group_count; i++) {
		if (strcmp(config->groups[i].name, p->upstream) == 0) {
			*ret_index = (unsigned)i;
			return 0;
		}
	}
	params_fail(reterr, section, field, "the name of an [upstream] section",
		    "there is no [upstream %s]", p->upstream);
	return -1;
}

static int add_domain(struct config *config, const struct section *section, const char *domain,
		      unsigned group, struct ini_error *reterr)
{
	const size_t field = offsetof(struct forward_params, domains);
	/* A leading dot is how other programs say "and everything below". */
	const char *text = domain[0] == '.' && domain[1] != '\0' ? domain + 1 : domain;
	uint8_t name[DNSNAME_MAX];
	size_t len;
	int r;

	if (dnsname_parse(text, name, &len) < 0) {
		params_fail(reterr, section, field, "a domain name", "\"%s\" is no domain", domain);
		return -1;
	}
	r = suffixes_add(config->forwards, name, len, group);
	if (r == -EEXIST) {
		params_fail(reterr, section, field, "each domain once", "domain %s is given twice",
			    domain);
	} else if (r < 0) {
		ini_fail(reterr, "dnsproxyd", 0, "free memory", "cannot allocate memory");
	}
	return r < 0 ? -1 : 0;
}

static int add_forward(struct config *config, const struct section *section,
		       struct ini_error *reterr)
{
	const struct forward_params *p = section->values;
	unsigned group;

	if (p->domains.count == 0) {
		params_fail(reterr, section, offsetof(struct forward_params, domains),
			    "domain = NAME", "[forward %s] has no domain", section->name);
		return -1;
	}
	if (find_group(config, section, &group, reterr) < 0) {
		return -1;
	}
	for (size_t i = 0; i < p->domains.count; i++) {
		if (add_domain(config, section, p->domains.items[i], group, reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

static int add_forwards(struct config *config, const struct params *params,
			struct ini_error *reterr)
{
	const struct section *section = NULL;

	config->forwards = suffixes_new();
	if (!config->forwards) {
		ini_fail(reterr, "dnsproxyd", 0, "free memory", "cannot allocate memory");
		return -1;
	}
	while ((section = params_next(params, "forward", section)) != NULL) {
		if (add_forward(config, section, reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

unsigned config_find_group(const struct config *config, const uint8_t *name, size_t len)
{
	return suffixes_find(config->forwards, name, len, 0);
}

static bool same_group(const struct group_config *a, const struct group_config *b)
{
	for (size_t i = 0; i < a->server_count && i < b->server_count; i++) {
		if (!endpoint_equal(&a->servers[i], &b->servers[i])) {
			return false;
		}
	}
	return strcmp(a->name, b->name) == 0 && a->server_count == b->server_count;
}

bool config_same_upstreams(const struct config *a, const struct config *b)
{
	for (size_t i = 0; i < a->group_count && i < b->group_count; i++) {
		if (!same_group(&a->groups[i], &b->groups[i])) {
			return false;
		}
	}
	return a->group_count == b->group_count;
}

/* --- the whole ------------------------------------------------------------------------------- */

static int check_cache(const struct config *config, const struct params *params,
		       struct ini_error *reterr)
{
	const struct cache_params *p = config->cache;

	if (p->min_ttl_ms > p->max_ttl_ms) {
		params_fail(reterr, params_section_object(params, "cache"),
			    offsetof(struct cache_params, min_ttl_ms), "at most max-ttl",
			    "min-ttl is longer than max-ttl");
		return -1;
	}
	return 0;
}

struct config *config_new(const struct params *params, struct ini_error *reterr)
{
	struct config *config = calloc(1, sizeof *config);

	if (!config) {
		ini_fail(reterr, "dnsproxyd", 0, "free memory", "cannot allocate memory");
		return NULL;
	}
	config->server = params_section(params, "server");
	config->log = params_section(params, "log");
	config->cache = params_section(params, "cache");
	config->limits = params_section(params, "limits");
	config->privacy = params_section(params, "privacy");
	if (check_cache(config, params, reterr) < 0 ||
	    check_resolv_conf(config, params, reterr) < 0 ||
	    add_listens(config, params, reterr) < 0 || add_groups(config, params, reterr) < 0 ||
	    add_forwards(config, params, reterr) < 0) {
		config_free(config);
		return NULL;
	}
	return config;
}

void config_free(struct config *config)
{
	if (config) {
		for (size_t i = 0; config->listen_configs && i < config->listens.count; i++) {
			tls_server_free(config->listen_configs[i].tls);
		}
		free(config->listen_configs);
		listens_done(&config->listens);
		for (size_t i = 0; i < config->group_count; i++) {
			config_drop_security(&config->groups[i]);
		}
		free(config->groups);
		suffixes_free(config->forwards);
		free(config);
	}
}

const struct listen_config *config_find_listen(const struct config *config, const struct addr *a)
{
	int i = listens_find(&config->listens, a);

	return i < 0 ? NULL : &config->listen_configs[i];
}
