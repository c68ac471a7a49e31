/* SPDX-License-Identifier: ISC */
#include "socksd/config.h"

#include "common/container.h"
#include "common/daemon/privileges.h"

#include "socksd/auth/users_file.h"
#include "socksd/config_rules.h"
#include "socksd/config_udp.h"

#include <errno.h>
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
#define PARAM_STRUCT struct limits_params
static const struct param_row limits_rows[] = PARAM_ROWS(LIMITS_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct dns_params
static const struct param_row dns_rows[] = PARAM_ROWS(DNS_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct egress_params
static const struct param_row egress_rows[] = PARAM_ROWS(EGRESS_PARAMS);
#undef PARAM_STRUCT
#define PARAM_STRUCT struct rule_params
static const struct param_row rule_rows[] = PARAM_ROWS(RULE_PARAMS);
#undef PARAM_STRUCT

static const char *const listen_builtin[] = { "local.address=127.0.0.1:1080, [::1]:1080", NULL };

static const struct section_row sections[] = {
	SECTION_ROW("server", struct server_params, server_rows, "The process."),
	SECTION_ROW("log", struct log_params, log_rows, "What is logged."),
	SECTION_ROW("limits", struct limits_params, limits_rows, "What clients can use up."),
	SECTION_ROW("dns", struct dns_params, dns_rows, "How names are resolved."),
	SECTION_ROW_NAMED("listen", struct listen_params, listen_rows, listen_builtin,
			  "Where clients connect to."),
	SECTION_ROW_NAMED("egress", struct egress_params, egress_rows, NULL,
			  "Where connections leave from, when a rule says so."),
	SECTION_ROW_NAMED("rule", struct rule_params, rule_rows, NULL,
			  "Who may reach what; the first rule that matches decides."),
};

const struct params_schema config_schema = { sections, ARRAY_SIZE(sections) };

/* The keys of one [listen] against each other. */
static int check_listen(const struct section *section, struct ini_error *reterr)
{
	const struct listen_params *p = section->values;

	if (p->auth == LISTEN_AUTH_PASSWORD && !p->users_file) {
		params_fail(reterr, section, offsetof(struct listen_params, auth),
			    "users = FILE beside it", "auth = password without a users file");
		return -1;
	}
	if (p->users_world_readable && !p->users_file) {
		params_fail(reterr, section, offsetof(struct listen_params, users_world_readable),
			    "users = FILE beside it", "users-world-readable without a users file");
		return -1;
	}
	if (p->auth == LISTEN_AUTH_NONE && p->users_file) {
		params_fail(reterr, section, offsetof(struct listen_params, users_file),
			    "auth = password beside it",
			    "a users file that auth = none would ignore");
		return -1;
	}
	if (p->auth == LISTEN_AUTH_NONE && p->clients.any && !p->open_proxy) {
		params_fail(reterr, section, offsetof(struct listen_params, clients),
			    "auth = password, fewer clients, or open-proxy = yes",
			    "auth = none with clients = any is an open proxy");
		return -1;
	}
	return 0;
}

/* Read the users file of a [listen]; one that cannot be read is a fault of the line that names it.
 */
static int load_users(struct listen_config *listen, const struct section *section,
		      struct ini_error *reterr)
{
	struct ini_error why;
	int r = users_file_load(listen->params->users_file, listen->params->users_world_readable,
				&listen->users, &why);

	if (r == -EINVAL) {
		*reterr = why;
	} else if (r == -EPERM) {
		params_fail(reterr, section, offsetof(struct listen_params, users_file),
			    "chmod o-rw, or users-world-readable = yes for reading", "%s",
			    why.text);
	} else if (r < 0) {
		params_fail(reterr, section, offsetof(struct listen_params, users_file),
			    "a users file that can be read", "%s", why.text);
	}
	return r < 0 ? -1 : 0;
}

static int load_bind_ports(struct listen_config *listen, const struct section *section,
			   struct ini_error *reterr)
{
	const char *text = listen->params->bind_port_range;
	const char *why;

	if (text && rule_parse_ports(text, &listen->bind_ports, &why) < 0) {
		params_fail(reterr, section, offsetof(struct listen_params, bind_port_range),
			    "FIRST-LAST", "%s", why);
		return -1;
	}
	return 0;
}

static int add_listen(struct listen_config *listen, const struct section *section,
		      struct ini_error *reterr)
{
	listen->name = section->name;
	listen->params = section->values;
	if (check_listen(section, reterr) < 0 || config_load_udp(listen, section, reterr) < 0 ||
	    load_bind_ports(listen, section, reterr) < 0) {
		return -1;
	}
	if (listen->params->auth == LISTEN_AUTH_PASSWORD) {
		return load_users(listen, section, reterr);
	}
	return 0;
}

static int add_listens(struct config *config, const struct params *params, struct ini_error *reterr)
{
	struct listens *listens = &config->listens;

	if (listens_load(listens, params, offsetof(struct listen_params, addresses), LISTENS_STREAM,
			 reterr) < 0) {
		return -1;
	}
	config->listen_configs = calloc(listens->count, sizeof *config->listen_configs);
	if (!config->listen_configs) {
		ini_fail(reterr, "socksd", 0, "free memory", "cannot allocate memory");
		return -1;
	}
	for (size_t i = 0; i < listens->count; i++) {
		if (add_listen(&config->listen_configs[i], listens->items[i].section, reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

struct config *config_new(const struct params *params, struct ini_error *reterr)
{
	struct config *config = calloc(1, sizeof *config);

	if (!config) {
		ini_fail(reterr, "socksd", 0, "free memory", "cannot allocate memory");
		return NULL;
	}
	config->params = params;
	config->server = params_section(params, "server");
	config->log = params_section(params, "log");
	config->limits = params_section(params, "limits");
	config->dns = params_section(params, "dns");
	if (add_listens(config, params, reterr) < 0 ||
	    config_load_egresses(config, params, reterr) < 0 ||
	    config_load_rules(config, params, reterr) < 0) {
		config_free(config);
		return NULL;
	}
	return config;
}

void config_free(struct config *config)
{
	if (!config) {
		return;
	}
	for (size_t i = 0; config->listen_configs && i < config->listens.count; i++) {
		users_free(config->listen_configs[i].users);
	}
	free(config->listen_configs);
	listens_done(&config->listens);
	rules_done(&config->rules);
	free(config->egresses);
	free(config);
}

const struct egress *config_same_egress(const struct config *config, const struct egress *egress)
{
	for (size_t i = 0; i < config->egress_count; i++) {
		if (egress_equal(&config->egresses[i], egress)) {
			return &config->egresses[i];
		}
	}
	return NULL;
}

unsigned config_capabilities(const struct config *config)
{
	unsigned capabilities = 0;

	for (size_t i = 0; i < config->egress_count; i++) {
		capabilities |= config->egresses[i].fwmark != 0 ? PRIVILEGES_NET_ADMIN : 0u;
		/* Needed before Linux 5.7 only. */
		capabilities |= config->egresses[i].interface ? PRIVILEGES_NET_RAW : 0u;
	}
	return capabilities;
}

const struct listen_config *config_find_listen(const struct config *config, const struct addr *a)
{
	int i = listens_find(&config->listens, a);

	return i < 0 ? NULL : &config->listen_configs[i];
}

const struct listen_config *config_follow_listen(const struct config *config, const struct addr *a,
						 const struct listen_config *old)
{
	const struct listen_config *same_users = NULL;
	const struct listen_config *found = config_find_listen(config, a);

	for (size_t i = 0; i < config->listens.count && !found; i++) {
		const struct listen_config *listen = &config->listen_configs[i];

		if (strcmp(listen->name, old->name) == 0) {
			found = listen;
		} else if (listen->users && old->users &&
			   strcmp(listen->params->users_file, old->params->users_file) == 0) {
			same_users = listen;
		}
	}
	return found ? found : same_users;
}
