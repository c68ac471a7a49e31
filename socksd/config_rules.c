/* SPDX-License-Identifier: ISC */
#include "socksd/config_rules.h"

#include "common/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- [egress] -------------------------------------------------------------------------------- */

static int set_egress_address(struct egress *egress, const struct section *section,
			      const struct addr *a, struct ini_error *reterr)
{
	struct addr *slot = a->sa.sa_family == AF_INET ? &egress->ipv4 : &egress->ipv6;
	char text[ADDR_TEXT_MAX];

	addr_format_ip(a, text, sizeof text);
	if (slot->sa.sa_family != AF_UNSPEC) {
		params_fail(reterr, section, offsetof(struct egress_params, addresses),
			    "at most one address of each family", "second address %s", text);
		return -1;
	}
	if (addr_scope(a) == ADDR_UNSPECIFIED) {
		params_fail(reterr, section, offsetof(struct egress_params, addresses),
			    "an address of this host", "nothing can be sent from %s", text);
		return -1;
	}
	*slot = *a;
	return 0;
}

static int load_egress(struct egress *egress, const struct section *section,
		       struct ini_error *reterr)
{
	const struct egress_params *p = section->values;

	*egress = (struct egress){
		.name = section->name,
		.interface = p->interface,
		.fwmark = (uint32_t)p->fwmark,
		.fast_open = p->fast_open,
	};
	if (p->interface && (strlen(p->interface) >= IFNAMSIZ || strpbrk(p->interface, "/ \t"))) {
		params_fail(reterr, section, offsetof(struct egress_params, interface),
			    "the name of an interface", "bad interface %s",
			    INI_QUOTE(p->interface));
		return -1;
	}
	for (size_t i = 0; i < p->addresses.count; i++) {
		if (set_egress_address(egress, section, &p->addresses.items[i], reterr) < 0) {
			return -1;
		}
	}
	if (p->addresses.count == 0 && !p->interface && p->fwmark == 0 && !p->fast_open) {
		params_fail(reterr, section, offsetof(struct egress_params, addresses),
			    "address, interface, fwmark or tcp-fast-open",
			    "[egress %s] changes nothing", section->name);
		return -1;
	}
	return 0;
}

static size_t count_sections(const struct params *params, const char *kind)
{
	const struct section *section = NULL;
	size_t count = 0;

	while ((section = params_next(params, kind, section)) != NULL) {
		count++;
	}
	return count;
}

static int fail_memory(struct ini_error *reterr)
{
	ini_fail(reterr, "socksd", 0, "free memory", "cannot allocate memory");
	return -1;
}

int config_load_egresses(struct config *config, const struct params *params,
			 struct ini_error *reterr)
{
	const struct section *section = NULL;

	config->egresses = calloc(count_sections(params, "egress") + 1, sizeof *config->egresses);
	if (!config->egresses) {
		return fail_memory(reterr);
	}
	while ((section = params_next(params, "egress", section)) != NULL) {
		struct egress *egress = &config->egresses[config->egress_count++];

		if (load_egress(egress, section, reterr) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- lists ----------------------------------------------------------------------------------- */

struct list_text {
	char *bytes;
	size_t len;
};

static int fail_list(const struct section *section, const char *path, const char *why,
		     struct ini_error *reterr)
{
	params_fail(reterr, section, offsetof(struct rule_params, destinations),
		    "a list that can be read", "%s: %s", INI_QUOTE(path), why);
	return -1;
}

/* Read an open regular file of a size that is known, but may change meanwhile. 0 or a positive
 * errno. */
static int read_all(int fd, size_t size, struct list_text *text)
{
	text->bytes = malloc(size + 1);
	text->len = 0;
	if (!text->bytes) {
		return ENOMEM;
	}
	while (text->len < size) {
		ssize_t n = read(fd, text->bytes + text->len, size - text->len);

		if (n < 0 && errno != EINTR) {
			return errno;
		}
		if (n == 0) {
			break;
		}
		text->len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* 0 with *ret_text owned by the caller, or -1 with *reterr. */
static int read_list(const struct section *section, const char *path, struct list_text *ret_text,
		     struct ini_error *reterr)
{
	struct list_text text = { NULL, 0 };
	struct stat st;
	/* O_NONBLOCK: opening a fifo must not wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int error;

	if (fd < 0) {
		return fail_list(section, path, strerror(errno), reterr);
	}
	error = fstat(fd, &st) < 0 ? errno : 0;
	if (error == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		return fail_list(section, path, "not a regular file", reterr);
	}
	if (error == 0 && (size_t)st.st_size > CONFIG_LIST_MAX_BYTES) {
		close(fd);
		return fail_list(section, path, "more than 16 MiB", reterr);
	}
	if (error == 0) {
		error = read_all(fd, (size_t)st.st_size, &text);
	}
	close(fd);
	if (error != 0) {
		free(text.bytes);
		return fail_list(section, path, strerror(error), reterr);
	}
	*ret_text = text;
	return 0;
}

/* --- [rule] ---------------------------------------------------------------------------------- */

/* Where an item came from, and what is wrong with it: r is the result of a rule_add_*(). */
static int fail_item(const char *file, unsigned line, int r, const char *what, const char *item,
		     size_t len, const char *why, struct ini_error *reterr)
{
	struct ini_quoted quoted;

	if (r == -ENOMEM) {
		return fail_memory(reterr);
	}
	if (r == -E2BIG) {
		ini_fail(reterr, file, line, "fewer entries", "too many destinations in a rule");
	} else {
		ini_fail(reterr, file, line, why, "bad %s %s", what, ini_quote(&quoted, item, len));
	}
	return -1;
}

/* The same for an item that stands in the configuration itself. */
static int fail_key(const struct section *section, size_t offset, int r, const char *what,
		    const char *item, const char *why, struct ini_error *reterr)
{
	const struct param_origin at = params_origin(section, offset);

	return fail_item(at.file, at.line, r, what, item, strlen(item), why, reterr);
}

static int add_list(struct rule *rule, const struct section *section, const char *path,
		    struct ini_error *reterr)
{
	struct list_text text;
	struct match_list list = { 0 };
	const char *item;
	const char *why = NULL;
	size_t len;
	int r = 0;

	if (path[0] != '/') {
		return fail_list(section, path, "the path after \"@\" is not absolute", reterr);
	}
	if (read_list(section, path, &text, reterr) < 0) {
		return -1;
	}
	list.text = text.bytes;
	list.len = text.len;
	while (r == 0 && match_list_next(&list, &item, &len)) {
		r = rule_add_destination(rule, item, len, &why);
		if (r < 0) {
			fail_item(path, list.line, r, "destination", item, len, why, reterr);
		}
	}
	free(text.bytes);
	return r < 0 ? -1 : 0;
}

static int add_destinations(struct rule *rule, const struct section *section,
			    struct ini_error *reterr)
{
	const struct rule_params *p = section->values;

	for (size_t i = 0; i < p->destinations.count; i++) {
		const char *item = p->destinations.items[i];
		const char *why = NULL;
		int r;

		if (item[0] == '@') {
			if (add_list(rule, section, item + 1, reterr) < 0) {
				return -1;
			}
			continue;
		}
		r = rule_add_destination(rule, item, strlen(item), &why);
		if (r < 0) {
			return fail_key(section, offsetof(struct rule_params, destinations), r,
					"destination", item, why, reterr);
		}
	}
	/* Lists that are empty for now match nothing, not everything. */
	if (p->destinations.count > 0 && !rule->destinations) {
		rule->destinations = match_new();
	}
	return p->destinations.count > 0 && !rule->destinations ? fail_memory(reterr) : 0;
}

static int add_commands_and_ports(struct rule *rule, const struct section *section,
				  struct ini_error *reterr)
{
	const struct rule_params *p = section->values;
	const char *why = NULL;

	for (size_t i = 0; i < p->commands.count; i++) {
		int r = rule_add_command(rule, p->commands.items[i], &why);

		if (r < 0) {
			return fail_key(section, offsetof(struct rule_params, commands), r,
					"command", p->commands.items[i], why, reterr);
		}
	}
	for (size_t i = 0; i < p->ports.count; i++) {
		int r = rule_add_ports(rule, p->ports.items[i], &why);

		if (r < 0) {
			return fail_key(section, offsetof(struct rule_params, ports), r, "port",
					p->ports.items[i], why, reterr);
		}
	}
	return 0;
}

static int set_egress(struct rule *rule, const struct config *config, const struct section *section,
		      struct ini_error *reterr)
{
	const struct rule_params *p = section->values;
	struct suggest s;

	if (!p->egress) {
		return 0;
	}
	if (!rule->allow) {
		params_fail(reterr, section, offsetof(struct rule_params, egress),
			    "action = allow beside it", "egress in a rule that denies");
		return -1;
	}
	suggest_init(&s, p->egress);
	for (size_t i = 0; i < config->egress_count; i++) {
		const char *name = config->egresses[i].name;

		if (strcmp(name, p->egress) == 0) {
			rule->egress = &config->egresses[i];
			return 0;
		}
		suggest_offer(&s, name, strlen(name));
	}
	params_fail(reterr, section, offsetof(struct rule_params, egress),
		    config->egress_count ? suggest_text(&s, "known:", "") : "an [egress] section",
		    "unknown egress %s", INI_QUOTE(p->egress));
	return -1;
}

static int load_rule(struct rule *rule, const struct config *config, const struct section *section,
		     struct ini_error *reterr)
{
	const struct rule_params *p = section->values;

	if (!params_is_set(section, offsetof(struct rule_params, action))) {
		params_fail(reterr, section, offsetof(struct rule_params, action),
			    "action = allow or action = deny", "[rule %s] has no action",
			    section->name);
		return -1;
	}
	rule->name = section->name;
	rule->file = section->origin.file;
	rule->line = section->origin.line;
	rule->allow = p->action == RULE_ACTION_ALLOW;
	rule->clients =
		params_is_set(section, offsetof(struct rule_params, clients)) ? &p->clients : NULL;
	rule->users = p->users.items;
	rule->user_count = p->users.count;
	if (add_commands_and_ports(rule, section, reterr) < 0 ||
	    set_egress(rule, config, section, reterr) < 0) {
		return -1;
	}
	return add_destinations(rule, section, reterr);
}

int config_load_rules(struct config *config, const struct params *params, struct ini_error *reterr)
{
	const struct section *section = NULL;
	size_t i = 0;

	if (rules_init(&config->rules, count_sections(params, "rule")) < 0) {
		return fail_memory(reterr);
	}
	while ((section = params_next(params, "rule", section)) != NULL) {
		if (load_rule(&config->rules.items[i++], config, section, reterr) < 0) {
			return -1;
		}
	}
	rules_seal(&config->rules);
	return 0;
}
