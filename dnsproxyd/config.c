/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/config.h"

#include "common/ares_io.h"
#include "common/container.h"
#include "common/listener.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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
	SECTION_ROW("limits", struct limits_params, limits_rows, "What clients can use up."),
	SECTION_ROW_NAMED("listen", struct listen_params, listen_rows, listen_builtin,
			  "Where clients ask."),
	SECTION_ROW_NAMED("upstream", struct upstream_params, upstream_rows, upstream_builtin,
			  "Who is asked; there is one, named default."),
};

const struct params_schema config_schema = { sections, ARRAY_SIZE(sections) };

/* Whether an address of an earlier section, or an earlier one of this, is `a`. */
static bool listens_on(const struct config *config, const struct addr *a, const struct addr *except)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		const struct addr_list *list = &config->listens[i].params->addresses;

		for (size_t k = 0; k < list->count && &list->items[k] != except; k++) {
			if (addr_equal(&list->items[k], a)) {
				return true;
			}
		}
	}
	return false;
}

static int add_listen(struct config *config, const struct section *section,
		      struct ini_error *reterr)
{
	struct listen_config *listen = &config->listens[config->listen_count++];
	const struct addr_list *list;

	listen->name = section->name;
	listen->params = section->values;
	list = &listen->params->addresses;
	if (list->count == 0) {
		params_fail(reterr, section, offsetof(struct listen_params, addresses),
			    "address = IP:PORT", "[listen %s] has no address", section->name);
		return -1;
	}
	for (size_t i = 0; i < list->count; i++) {
		char text[ADDR_TEXT_MAX];

		if (listens_on(config, &list->items[i], &list->items[i])) {
			addr_format(&list->items[i], text, sizeof text);
			params_fail(reterr, section, offsetof(struct listen_params, addresses),
				    "each address once", "address %s is given twice", text);
			return -1;
		}
	}
	return 0;
}

static int add_listens(struct config *config, const struct params *params, struct ini_error *reterr)
{
	const struct section *section = NULL;
	size_t count = 0;

	while ((section = params_next(params, "listen", section)) != NULL) {
		count++;
	}
	config->listens = calloc(count, sizeof *config->listens);
	if (!config->listens) {
		ini_fail(reterr, "dnsproxyd", 0, "free memory", "cannot allocate memory");
		return -1;
	}
	while ((section = params_next(params, "listen", section)) != NULL) {
		if (add_listen(config, section, reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

/* A server that is one of our own listeners would be asked by ourselves, for ever. */
static bool is_own_listener(const struct config *config, const struct addr *server)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		const struct addr_list *list = &config->listens[i].params->addresses;

		for (size_t k = 0; k < list->count; k++) {
			if (listener_reaches(&list->items[k], server)) {
				return true;
			}
		}
	}
	return false;
}

static void add_system_servers(struct config *config)
{
	struct addr servers[CONFIG_SERVERS_MAX];
	size_t count = ares_io_system_servers("/etc/resolv.conf", servers, CONFIG_SERVERS_MAX);

	for (size_t i = 0; i < count; i++) {
		/* The host itself may be set to ask us. */
		if (!is_own_listener(config, &servers[i])) {
			config->servers[config->server_count++] = servers[i];
		}
	}
}

static int add_upstream(struct config *config, const struct section *section,
			struct ini_error *reterr)
{
	const struct upstream_params *p = section->values;

	if (strcmp(section->name, "default") != 0) {
		params_fail(reterr, section, offsetof(struct upstream_params, servers),
			    "[upstream default]", "[upstream %s] would never be asked",
			    section->name);
		return -1;
	}
	if (p->servers.count > CONFIG_SERVERS_MAX) {
		params_fail(reterr, section, offsetof(struct upstream_params, servers),
			    "at most 16", "%zu servers", p->servers.count);
		return -1;
	}
	for (size_t i = 0; i < p->servers.count; i++) {
		char text[ADDR_TEXT_MAX];

		if (is_own_listener(config, &p->servers.items[i])) {
			addr_format(&p->servers.items[i], text, sizeof text);
			params_fail(reterr, section, offsetof(struct upstream_params, servers),
				    "another server", "server %s is our own listening address",
				    text);
			return -1;
		}
		config->servers[config->server_count++] = p->servers.items[i];
	}
	config->timeout_ms = (uint32_t)p->timeout_ms;
	return 0;
}

static int add_upstreams(struct config *config, const struct params *params,
			 struct ini_error *reterr)
{
	const struct section *section = NULL;

	while ((section = params_next(params, "upstream", section)) != NULL) {
		if (add_upstream(config, section, reterr) < 0) {
			return -1;
		}
	}
	if (config->server_count == 0) {
		add_system_servers(config);
	}
	return 0;
}

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
	if (check_cache(config, params, reterr) < 0 || add_listens(config, params, reterr) < 0 ||
	    add_upstreams(config, params, reterr) < 0) {
		config_free(config);
		return NULL;
	}
	return config;
}

void config_free(struct config *config)
{
	if (config) {
		free(config->listens);
		free(config);
	}
}

const struct listen_config *config_find_listen(const struct config *config, const struct addr *a)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		const struct addr_list *list = &config->listens[i].params->addresses;

		for (size_t k = 0; k < list->count; k++) {
			if (addr_equal(&list->items[k], a)) {
				return &config->listens[i];
			}
		}
	}
	return NULL;
}
