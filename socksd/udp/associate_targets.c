/* SPDX-License-Identifier: ISC */
#include "socksd/udp/associate_private.h"

#include "socksd/privacy.h"
#include "socksd/rules/host.h"
#include "socksd/udp/associate_sockets.h"

#include <errno.h>
#include <unistd.h>

enum {
	TARGETS_PER_SLOT = 2, /* as many descriptors as a slot of the server stands for */
};

/* --- who may reach whom ---------------------------------------------------------------------- */

static struct rules_request request_for(const struct associate *a, const char *name, uint16_t port)
{
	return (struct rules_request){
		.command = SOCKS5_ASSOCIATE,
		.client = a->client,
		.user = a->user,
		.user_len = a->user_len,
		.name = name,
		.port = port,
	};
}

static void log_denied(const struct associate *a, const char *name, const struct addr *far,
		       const char *why, const struct rule *rule)
{
	const struct log_params *log = a->context->config->log;
	char client[ADDR_TEXT_MAX];
	char text[ADDR_TEXT_MAX];

	addr_format(far, text, sizeof text);
	log_event(LOG_LEVEL_DEBUG, "udp-denied",
		  KV_TEXT("client",
			  privacy_client((enum privacy_clients)log->clients, a->client, client)),
		  KV_TEXT("name",
			  privacy_destination((enum privacy_destinations)log->destinations, name)),
		  KV_TEXT("address",
			  privacy_destination((enum privacy_destinations)log->destinations, text)),
		  KV_TEXT("why", why), KV_TEXT("rule", rule ? rule->name : NULL));
}

/* Ask rules and guard. */
bool associate_is_allowed(const struct associate *a, const char *name, const struct addr *far,
			  const struct egress **ret_egress)
{
	const struct rules_request request = request_for(a, name, addr_port(far));
	struct addr local;
	struct guard_context guard = {
		.client = a->client,
		.listeners = a->context->own,
		.listener_count = a->context->own_count,
	};
	struct rules_verdict verdict;

	host_note_local(&guard, far, &local);
	verdict = rules_check(&a->context->config->rules, &request, far, &guard);
	*ret_egress = verdict.egress;
	if (!verdict.allowed) {
		log_denied(a, name, far, rules_verdict_name(&verdict), verdict.rule);
	}
	return verdict.allowed;
}

/* --- the sockets towards targets ------------------------------------------------------------- */

static void note_egress_failed(struct associate *a, const struct egress *egress, int error)
{
	uint32_t suppressed;

	metrics_add(a->context->metrics, METRIC_dial_egress_failed, 1);
	if (log_limit_ok(&a->context->egress_log, associate_now_ms(a), &suppressed)) {
		log_event(LOG_LEVEL_WARNING, "egress-failed", KV_TEXT("egress", egress->name),
			  KV_ERRNO("error", error), KV_UINT("suppressed", suppressed));
	}
}

static unsigned count_targets(const struct associate *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ASSOCIATE_TARGETS_MAX; i++) {
		n += watch_active(&a->targets[i].port.watch);
	}
	return n;
}

/* A slot is claimed with the association, and one more when its two are used up. */
bool associate_have_slot(struct associate *a)
{
	if (count_targets(a) < a->slots * TARGETS_PER_SLOT) {
		return true;
	}
	if (!a->context->claim_slot(a->context)) {
		return false;
	}
	a->slots++;
	return true;
}

static enum udp_drop drop_for(struct associate *a, const struct egress *egress, int error)
{
	switch (error) {
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
	case -ENOBUFS:
		return UDP_DROP_sockets;
	case -ENETUNREACH:
		break;
	default:
		if (egress) {
			note_egress_failed(a, egress, -error);
		}
	}
	return UDP_DROP_unreachable;
}

/* Fill a free place. UDP_DROP_COUNT, or why there is no socket. */
static enum udp_drop open_target(struct associate *a, struct associate_target *target, int family,
				 const struct egress *egress)
{
	int fd;

	if (!associate_have_slot(a)) {
		return UDP_DROP_sockets;
	}
	fd = associate_open_target(family, egress);
	if (fd < 0) {
		return drop_for(a, egress, fd);
	}
	if (watch_start(&target->port.watch, a->context->loop, fd, LOOP_READ,
			associate_on_target_ready) < 0) {
		close(fd);
		return UDP_DROP_sockets;
	}
	target->port.drops = 0;
	target->associate = a;
	target->family = family;
	target->egress = egress;
	return UDP_DROP_COUNT;
}

/* The socket for a family and egress: *ret_index. UDP_DROP_COUNT, or why there is none. */
static enum udp_drop find_target(struct associate *a, int family, const struct egress *egress,
				 uint8_t *ret_index)
{
	int free_index = -1;

	for (int i = ASSOCIATE_TARGETS_MAX - 1; i >= 0; i--) {
		const struct associate_target *target = &a->targets[i];

		*ret_index = (uint8_t)i;
		if (!watch_active(&target->port.watch)) {
			free_index = i;
		} else if (target->family == family && target->egress == egress) {
			return UDP_DROP_COUNT;
		}
	}
	if (free_index < 0) {
		return UDP_DROP_sockets;
	}
	*ret_index = (uint8_t)free_index;
	return open_target(a, &a->targets[free_index], family, egress);
}

/* --- to a target -------------------------------------------------------------------------- */

/* The entry of a far end that the client may send to, or NULL: the datagram is dropped. */
static struct udp_peer *admit(struct associate *a, const struct addr *to)
{
	const struct egress *egress;
	struct udp_peer *peer;
	enum udp_drop why;
	uint8_t target;

	if (!associate_is_allowed(a, NULL, to, &egress)) {
		associate_drop(a, UDP_DROP_denied);
		peer = udp_peers_add(a->peers, to, false, associate_now_ms(a));
		if (peer) {
			peer->verdict = UDP_VERDICT_DENIED;
		}
		return NULL;
	}
	why = find_target(a, to->sa.sa_family, egress, &target);
	if (why != UDP_DROP_COUNT) {
		associate_drop(a, why);
		return NULL;
	}
	peer = udp_peers_add(a->peers, to, true, associate_now_ms(a));
	peer->socket = target;
	peer->verdict = UDP_VERDICT_ALLOWED;
	return peer;
}

static void send_by(struct associate *a, struct udp_peer *peer, uint8_t socket,
		    const struct addr *to, const uint8_t *bytes, size_t len)
{
	udp_peers_contact(a->peers, peer, associate_now_ms(a));
	datagrams_send(a->context->datagrams, a->targets[socket].port.watch.fd, to, NULL, 0, bytes,
		       len);
}

/* What a name was judged by does not hold for the address alone. */
void associate_send(struct associate *a, const struct addr *to, const uint8_t *bytes, size_t len)
{
	struct udp_peer *peer = udp_peers_find(a->peers, to, associate_now_ms(a));

	if (peer && peer->verdict == UDP_VERDICT_DENIED) {
		associate_drop(a, UDP_DROP_denied);
		return;
	}
	if (!peer || !peer->contacted || peer->verdict != UDP_VERDICT_ALLOWED) {
		peer = admit(a, to);
	}
	if (peer) {
		send_by(a, peer, peer->socket, to, bytes, len);
	}
}

/* --- names ----------------------------------------------------------------------------------- */

static int family_of(const struct config *config)
{
	static const int families[] = { [DNS_FAMILY_ANY] = AF_UNSPEC,
					[DNS_FAMILY_IPV4] = AF_INET,
					[DNS_FAMILY_IPV6] = AF_INET6 };

	return families[config->dns->family];
}

static bool may_ask(void *arg, const char *name, uint16_t port)
{
	struct associate *a = arg;
	const struct rules_request request = request_for(a, name, port);
	const struct rule *rule;

	return !rules_deny_name(&a->context->config->rules, &request, &rule);
}

static enum udp_drop choose(void *arg, const char *name, const struct addr *addresses, size_t count,
			    struct addr *chosen, uint8_t *ret_socket)
{
	struct associate *a = arg;
	const struct egress *egress;
	enum udp_drop why = UDP_DROP_denied;
	const struct addr *best = NULL;
	const struct egress *best_egress = NULL;

	for (size_t i = 0; i < count && !(best && addr_equal(best, chosen)); i++) {
		if (!associate_is_allowed(a, name, &addresses[i], &egress)) {
			continue;
		}
		why = UDP_DROP_unreachable;
		if (egress ? !egress_has_family(egress, addresses[i].sa.sa_family)
			   : !associate_has_route(&addresses[i])) {
			continue;
		}
		if (!best || addr_equal(&addresses[i], chosen)) {
			best = &addresses[i];
			best_egress = egress;
		}
	}
	if (!best) {
		return why;
	}
	why = find_target(a, best->sa.sa_family, best_egress, ret_socket);
	if (why == UDP_DROP_COUNT) {
		*chosen = *best;
	}
	return why;
}

/* To an address that was chosen for its name, and so has been judged. */
static void send_to_chosen(struct associate *a, const struct addr *to, uint8_t socket,
			   const uint8_t *bytes, size_t len)
{
	struct udp_peer *peer = udp_peers_add(a->peers, to, true, associate_now_ms(a));

	if (!peer->contacted) {
		/* It was let in; where to send to it as an address is still to be asked. */
		peer->verdict = UDP_VERDICT_NONE;
	}
	send_by(a, peer, socket, to, bytes, len);
}

static void on_name_ready(void *arg, const struct addr *to, uint8_t socket, enum udp_drop why,
			  const uint8_t *bytes, size_t len)
{
	struct associate *a = arg;

	if (to) {
		send_to_chosen(a, to, socket, bytes, len);
		associate_flush_up(a);
	} else {
		associate_drop(a, why);
	}
}

static const struct udp_names_ops names_ops = { .may_ask = may_ask,
						.choose = choose,
						.ready = on_name_ready };

void associate_send_to_name(struct associate *a, const char *name, uint16_t port,
			    const uint8_t *bytes, size_t len)
{
	enum udp_drop why;
	struct addr to;
	uint8_t socket;

	if (!a->names) {
		a->names = udp_names_new(a->context->resolver, a->context->loop,
					 family_of(a->context->config), &names_ops, a);
	}
	if (!a->names) {
		associate_drop(a, UDP_DROP_sockets);
		return;
	}
	switch (udp_names_find(a->names, name, port, bytes, len, &to, &socket, &why)) {
	case UDP_NAMES_KNOWN:
		send_to_chosen(a, &to, socket, bytes, len);
		break;
	case UDP_NAMES_WAIT:
		break;
	case UDP_NAMES_DROP:
		associate_drop(a, why);
		break;
	}
}

/* --- a reload -------------------------------------------------------------------------------- */

void associate_reconfigure_targets(struct associate *a, const struct config *next)
{
	for (unsigned i = 0; i < ASSOCIATE_TARGETS_MAX; i++) {
		struct associate_target *target = &a->targets[i];

		if (watch_active(&target->port.watch) && target->egress) {
			target->egress = config_same_egress(next, target->egress);
			if (!target->egress) {
				watch_close(&target->port.watch);
			}
		}
	}
	if (a->names) {
		udp_names_reset(a->names, family_of(next));
	}
}
