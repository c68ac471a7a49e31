/* SPDX-License-Identifier: ISC */
#include "common/dns/ares_io_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct lookup {
	struct ares_io *io;
	ares_io_lookup_fn fn;
	void *arg;
	int family;
	unsigned waiting_count; /* of the families, those without answer yet */
	enum ares_io_status status;
	size_t count;
	struct ares_io_address addresses[ARES_IO_ADDRESSES_MAX];
	char name[];
};

/* --- lookups --------------------------------------------------------------------------------- */

static void lookup_end(struct lookup *lookup)
{
	struct ares_io *io = lookup->io;
	enum ares_io_status status = lookup->count > 0 ? ARES_IO_OK : lookup->status;

	io->open_count--;
	if (io->dying) {
		status = ARES_IO_CANCELLED;
	}
	if (status == ARES_IO_OK) {
		lookup->fn(lookup->arg, status, lookup->addresses, lookup->count);
	} else {
		lookup->fn(lookup->arg, status, NULL, 0);
	}
	free(lookup);
}

static void lookup_add(struct lookup *lookup, const struct ares_addrinfo *found)
{
	int chain_ttl_s = INT32_MAX;

	for (const struct ares_addrinfo_cname *cname = found->cnames; cname; cname = cname->next) {
		chain_ttl_s = cname->ttl < chain_ttl_s ? cname->ttl : chain_ttl_s;
	}
	for (const struct ares_addrinfo_node *node = found->nodes; node; node = node->ai_next) {
		int ttl_s = node->ai_ttl < chain_ttl_s ? node->ai_ttl : chain_ttl_s;
		struct addr addr = addr_from_sockaddr(node->ai_addr);

		if (lookup->count == ARES_IO_ADDRESSES_MAX) {
			break;
		}
		addr = addr_unmap(&addr);
		addr_set_port(&addr, 0);
		lookup->addresses[lookup->count].addr = addr;
		lookup->addresses[lookup->count].ttl_s =
			ttl_s > 0 ? (uint32_t)ttl_s : 0; /* RFC 2181 section 8 */
		lookup->count++;
	}
}

/* Takes ownership of found, which may be NULL. */
static void lookup_take(struct lookup *lookup, int status, struct ares_addrinfo *found,
			const struct vsock_message *shown)
{
	size_t count_before = lookup->count;
	enum ares_io_status outcome = ares_io_status_from_ares(status, shown);

	if (found) {
		lookup_add(lookup, found);
		ares_freeaddrinfo(found);
	}
	if (outcome == ARES_IO_OK && lookup->count == count_before) {
		outcome = ARES_IO_NO_DATA;
	}
	if (outcome > lookup->status) {
		lookup->status = outcome;
	}
}

static void lookup_on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	struct lookup *lookup = arg;

	(void)timeouts;
	lookup_take(lookup, status, found, lookup->io->channels[CHANNEL_DNS].set.shown);
	if (--lookup->waiting_count == 0) {
		lookup_end(lookup);
	}
}

static void lookup_on_hosts(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	(void)timeouts;
	lookup_take(arg, status, found, NULL);
}

static void lookup_ask(struct lookup *lookup, ares_channel ares, int family,
		       ares_addrinfo_callback callback)
{
	const struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT,
						   .ai_family = family };
	struct ares_io *io = lookup->io;

	io->inside++;
	ares_getaddrinfo(ares, lookup->name, NULL, &hints, callback, lookup);
	io->inside--;
}

/* The hosts file holds both families of a name or none, as getaddrinfo(3) has it. c-ares calls back
 * before it returns, for no server is asked. */
static void lookup_ask_hosts(struct lookup *lookup)
{
	ares_channel ares = ares_io_channel(lookup->io, CHANNEL_HOSTS);

	if (ares) {
		lookup_ask(lookup, ares, lookup->family, lookup_on_hosts);
		lookup->status = ARES_IO_OK;
	}
}

/* Each family by itself: in c-ares' own combination of the two the last answer decides, so that "no
 * data" for one hides that the other timed out. */
static void lookup_ask_servers(struct lookup *lookup)
{
	ares_channel ares = ares_io_channel(lookup->io, CHANNEL_DNS);
	int family = lookup->family;

	if (!ares) {
		lookup->status = ARES_IO_REFUSED;
		lookup_end(lookup);
		return;
	}
	lookup->waiting_count = family == AF_UNSPEC ? 2 : 1;
	if (family == AF_UNSPEC) {
		lookup_ask(lookup, ares, AF_INET6, lookup_on_answer);
		family = AF_INET;
	}
	lookup_ask(lookup, ares, family, lookup_on_answer);
}

/* c-ares answers names of this form itself, as addresses and leading zeros and all. No such name
 * exists: top-level domains are no numbers. */
static bool looks_like_ipv4(const char *name)
{
	size_t dots = 0;

	if (name[strspn(name, "0123456789.")] != '\0') {
		return false;
	}
	for (; *name; name++) {
		if (*name == '.') {
			dots++;
		}
	}
	return dots == 3;
}

/* The names below it are left to the hosts file and c-ares. */
static bool is_localhost(const char *name)
{
	static const char localhost[] = "localhost";
	const size_t len = sizeof localhost - 1;

	return strncasecmp(name, localhost, len) == 0 &&
	       (name[len] == '\0' || strcmp(name + len, ".") == 0);
}

/* c-ares 1.18 loses memory with each lookup of a localhost that the hosts file has not got for the
 * family, and strangers choose how often that is. So neither is asked. */
static void answer_localhost(int family, ares_io_lookup_fn fn, void *arg)
{
	struct ares_io_address addresses[2] = { 0 };
	size_t count = 0;

	if (family != AF_INET) {
		addr_parse_ip("::1", &addresses[count++].addr);
	}
	if (family != AF_INET6) {
		addr_parse_ip("127.0.0.1", &addresses[count++].addr);
	}
	fn(arg, ARES_IO_OK, addresses, count);
}

void ares_io_lookup(struct ares_io *io, const char *name, int family, ares_io_lookup_fn fn,
		    void *arg)
{
	enum ares_io_status status = ares_io_admit(io);
	size_t name_len = strlen(name);
	struct lookup *lookup;

	if (status == ARES_IO_OK && looks_like_ipv4(name)) {
		status = ARES_IO_NO_NAME;
	}
	if (status != ARES_IO_OK) {
		fn(arg, status, NULL, 0);
		return;
	}
	if (is_localhost(name)) {
		answer_localhost(family, fn, arg);
		return;
	}
	lookup = malloc(sizeof *lookup + name_len + 1);
	if (!lookup) {
		fn(arg, ARES_IO_REFUSED, NULL, 0);
		return;
	}
	*lookup = (struct lookup){ .io = io, .fn = fn, .arg = arg, .family = family };
	memcpy(lookup->name, name, name_len + 1);
	io->open_count++;
	ares_io_arm_tick(io);
	if (io->config.hosts_file) {
		lookup_ask_hosts(lookup);
	}
	if (lookup->count > 0) {
		lookup_end(lookup);
	} else {
		lookup_ask_servers(lookup);
	}
}

/* --- system configuration -------------------------------------------------------------------- */

/* The address of a "nameserver ADDRESS" line, as resolv.conf(5) has it: the keyword begins the
 * line, the rest of the line after the address is ignored. */
static bool parse_server_line(char *line, struct addr *ret_server)
{
	static const char keyword[] = "nameserver";
	const size_t keyword_len = sizeof keyword - 1;
	char *save = NULL;
	char *address;

	if (strncmp(line, keyword, keyword_len) != 0 ||
	    (line[keyword_len] != ' ' && line[keyword_len] != '\t')) {
		return false;
	}
	address = strtok_r(line + keyword_len, " \t\r\n", &save);
	if (!address || addr_parse_ip(address, ret_server) < 0 || !addr_is_unicast(ret_server)) {
		return false;
	}
	*ret_server = addr_unmap(ret_server);
	addr_set_port(ret_server, ARES_IO_PORT);
	return true;
}

size_t ares_io_system_servers(const char *path, struct addr *ret_servers, size_t max)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	size_t count = 0;

	if (!file) {
		return 0;
	}
	while (count < max && getline(&line, &cap, file) >= 0) {
		if (parse_server_line(line, &ret_servers[count])) {
			count++;
		}
	}
	free(line);
	fclose(file);
	return count;
}
