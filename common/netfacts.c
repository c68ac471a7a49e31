/* SPDX-License-Identifier: ISC */
#include "common/netfacts.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

enum {
	LOOPBACK_INDEX = 1, /* in every network namespace */
	ATTRIBUTES = 32,    /* those with higher numbers are of no interest */

	/* of the identity a fact's hash begins with */
	KIND_LINK = 1,
	KIND_ADDRESS = 2,
	KIND_ROUTE = 3,
};

/* Bytes not read yet. */
struct span {
	const uint8_t *pos;
	size_t left;
};

/* The next `len` bytes into `to`. False when there are fewer. */
static bool span_take(struct span *s, void *to, size_t len)
{
	if (s->left < len) {
		return false;
	}
	memcpy(to, s->pos, len);
	s->pos += len;
	s->left -= len;
	return true;
}

static void span_skip(struct span *s, size_t len)
{
	len = len < s->left ? len : s->left;
	s->pos += len;
	s->left -= len;
}

/* Messages and attributes begin at multiples of four. */
static size_t padded(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

/* --- facts ----------------------------------------------------------------------------------- */

/* FNV-1a, twice: what the fact is about, and how it is. */
struct fact {
	uint32_t what;
	uint32_t how;
	bool is_minor; /* a route to somewhere */
};

static uint32_t hash(uint32_t h, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;

	for (size_t i = 0; i < len; i++) {
		h = (h ^ bytes[i]) * UINT32_C(16777619);
	}
	return h;
}

static struct fact fact_begin(uint8_t kind)
{
	return (struct fact){ .what = hash(UINT32_C(2166136261), &kind, sizeof kind),
			      .how = UINT32_C(2166136261) };
}

/* Index of the first item that is not below. */
static size_t facts_find(const struct netfacts *facts, uint64_t item)
{
	size_t low = 0;
	size_t high = facts->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (facts->items[middle] < item) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static void facts_cut(struct netfacts *facts, size_t begin, size_t end)
{
	memmove(facts->items + begin, facts->items + end,
		(facts->count - end) * sizeof facts->items[0]);
	facts->count -= end - begin;
}

/* All that is known of one thing. */
static void facts_cut_all(struct netfacts *facts, uint32_t what)
{
	size_t begin = facts_find(facts, (uint64_t)what << 32);
	size_t end = begin;

	while (end < facts->count && facts->items[end] >> 32 == what) {
		end++;
	}
	facts_cut(facts, begin, end);
}

static uint64_t fact_item(const struct fact *fact)
{
	return (uint64_t)fact->what << 32 | fact->how;
}

static bool facts_has(const struct netfacts *facts, uint64_t item, size_t *ret_index)
{
	*ret_index = facts_find(facts, item);
	return *ret_index < facts->count && facts->items[*ret_index] == item;
}

/* The fact holds from now on; `replaces`: nothing else does of the same thing. Whether that is
 * news. */
static bool facts_add(struct netfacts *facts, const struct fact *fact, bool replaces)
{
	uint64_t item = fact_item(fact);
	size_t index;

	if (facts_has(facts, item, &index)) {
		return false;
	}
	if (replaces) {
		facts_cut_all(facts, fact->what);
		index = facts_find(facts, item);
	}
	if (facts->count == NETFACTS_MAX) {
		facts->is_crowded = facts->is_crowded || fact->is_minor;
		return !fact->is_minor;
	}
	memmove(facts->items + index + 1, facts->items + index,
		(facts->count - index) * sizeof facts->items[0]);
	facts->items[index] = item;
	facts->count++;
	return true;
}

/* The fact does not hold any more. Whether it did. */
static bool facts_remove(struct netfacts *facts, const struct fact *fact)
{
	size_t index;

	if (facts_has(facts, fact_item(fact), &index)) {
		facts_cut(facts, index, index + 1);
		return true;
	}
	return false;
}

/* The same, of something that the kernel says has gone: it may have been there before we looked. */
static bool facts_end(struct netfacts *facts, const struct fact *fact)
{
	return facts_remove(facts, fact) ||
	       (facts->is_crowded ? !fact->is_minor : !facts->is_complete);
}

/* --- messages -------------------------------------------------------------------------------- */

struct attributes {
	struct span items[ATTRIBUTES];
};

/* The attributes that make up the rest of a message; of those that come twice the last. */
static void read_attributes(struct span rest, struct attributes *ret)
{
	struct rtattr head;

	memset(ret, 0, sizeof *ret);
	while (span_take(&rest, &head, sizeof head)) {
		size_t len = head.rta_len;
		size_t type = (uint16_t)(head.rta_type & NLA_TYPE_MASK);

		if (len < sizeof head || len - sizeof head > rest.left) {
			return;
		}
		len -= sizeof head;
		if (type < ATTRIBUTES) {
			ret->items[type] = (struct span){ rest.pos, len };
		}
		span_skip(&rest, padded(len));
	}
}

static uint32_t attribute_u32(const struct attributes *a, unsigned type, uint32_t otherwise)
{
	struct span s = a->items[type];
	uint32_t value;

	return s.left == sizeof value && span_take(&s, &value, sizeof value) ? value : otherwise;
}

/* With its number and length, so that no two sequences of attributes are the same bytes. */
static uint32_t hash_attribute(uint32_t h, const struct attributes *a, uint8_t type)
{
	const struct span *s = &a->items[type];
	const uint16_t len = (uint16_t)s->left;

	h = hash(h, &type, sizeof type);
	h = hash(h, &len, sizeof len);
	return hash(h, s->pos, s->left);
}

static bool take_link(struct netfacts *facts, bool is_new, struct span body)
{
	struct fact fact = fact_begin(KIND_LINK);
	struct attributes attributes;
	struct ifinfomsg link;

	if (!span_take(&body, &link, sizeof link) || (link.ifi_flags & IFF_LOOPBACK)) {
		return false;
	}
	read_attributes(body, &attributes);
	/* A port of a bridge, as a container's link is: its addresses and routes are the bridge's.
	 */
	if (attribute_u32(&attributes, IFLA_MASTER, 0) != 0) {
		return false;
	}
	fact.what = hash(fact.what, &link.ifi_index, sizeof link.ifi_index);
	if (is_new && (link.ifi_flags & IFF_UP) && (link.ifi_flags & IFF_RUNNING)) {
		return facts_add(facts, &fact, false);
	}
	return facts_remove(facts, &fact);
}

static bool take_address(struct netfacts *facts, bool is_new, struct span body)
{
	struct fact fact = fact_begin(KIND_ADDRESS);
	struct attributes attributes;
	struct ifaddrmsg address;
	uint32_t flags;

	if (!span_take(&body, &address, sizeof address) || address.ifa_scope >= RT_SCOPE_LINK ||
	    address.ifa_index == LOOPBACK_INDEX ||
	    (address.ifa_family != AF_INET && address.ifa_family != AF_INET6)) {
		return false;
	}
	read_attributes(body, &attributes);
	fact.what = hash(fact.what, &address.ifa_family, sizeof address.ifa_family);
	fact.what = hash(fact.what, &address.ifa_prefixlen, sizeof address.ifa_prefixlen);
	fact.what = hash(fact.what, &address.ifa_index, sizeof address.ifa_index);
	fact.what = hash_attribute(fact.what, &attributes, IFA_ADDRESS);
	fact.what = hash_attribute(fact.what, &attributes, IFA_LOCAL);
	if (!is_new) {
		return facts_end(facts, &fact);
	}
	/* Until it is known that no other machine has it, an address is not used. */
	flags = attribute_u32(&attributes, IFA_FLAGS, address.ifa_flags);
	if ((flags & IFA_F_DADFAILED) ||
	    ((flags & IFA_F_TENTATIVE) && !(flags & IFA_F_OPTIMISTIC))) {
		return facts_remove(facts, &fact);
	}
	return facts_add(facts, &fact, false);
}

/* Within fe80::/10 or ff00::/8. */
static bool is_near(const struct rtmsg *route, const struct span *dst)
{
	return route->rtm_family == AF_INET6 && dst->left == 16 &&
	       (dst->pos[0] == 0xff || (dst->pos[0] == 0xfe && (dst->pos[1] & 0xc0) == 0x80));
}

/* Whether the way to other machines may depend on it. */
static bool route_matters(const struct rtmsg *route, const struct attributes *a, uint32_t table)
{
	switch (route->rtm_type) {
	case RTN_UNICAST:
		if (attribute_u32(a, RTA_OIF, 0) == LOOPBACK_INDEX) {
			return false;
		}
		break;
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		break;
	default:
		return false;
	}
	return table != RT_TABLE_LOCAL && !(route->rtm_flags & RTM_F_CLONED) &&
	       (route->rtm_family == AF_INET || route->rtm_family == AF_INET6) &&
	       !is_near(route, &a->items[RTA_DST]);
}

static bool take_route(struct netfacts *facts, bool is_new, bool replaces, struct span body)
{
	static const uint8_t identity[] = { RTA_DST, RTA_PRIORITY };
	static const uint8_t manner[] = { RTA_SRC,     RTA_OIF, RTA_GATEWAY,
					  RTA_PREFSRC, RTA_VIA, RTA_MULTIPATH };
	struct fact fact = fact_begin(KIND_ROUTE);
	struct attributes attributes;
	struct rtmsg route;
	uint32_t table;

	if (!span_take(&body, &route, sizeof route)) {
		return false;
	}
	read_attributes(body, &attributes);
	table = attribute_u32(&attributes, RTA_TABLE, route.rtm_table);
	if (!route_matters(&route, &attributes, table)) {
		return false;
	}
	fact.what = hash(fact.what, &table, sizeof table);
	fact.what = hash(fact.what, &route.rtm_family, sizeof route.rtm_family);
	fact.what = hash(fact.what, &route.rtm_dst_len, sizeof route.rtm_dst_len);
	fact.what = hash(fact.what, &route.rtm_tos, sizeof route.rtm_tos);
	for (size_t i = 0; i < sizeof identity; i++) {
		fact.what = hash_attribute(fact.what, &attributes, identity[i]);
	}
	fact.how = hash(fact.how, &route.rtm_type, sizeof route.rtm_type);
	for (size_t i = 0; i < sizeof manner; i++) {
		fact.how = hash_attribute(fact.how, &attributes, manner[i]);
	}
	fact.is_minor = route.rtm_dst_len > 0;
	return is_new ? facts_add(facts, &fact, replaces) : facts_end(facts, &fact);
}

static unsigned take_message(struct netfacts *facts, const struct nlmsghdr *head, struct span body)
{
	/* What the kernel tells because we asked for it is not news. */
	const unsigned changed = head->nlmsg_flags & NLM_F_MULTI ? 0 : NETFACTS_CHANGED;
	const bool replaces =
		!(head->nlmsg_flags & NLM_F_MULTI) && (head->nlmsg_flags & NLM_F_REPLACE);

	switch (head->nlmsg_type) {
	case NLMSG_DONE:
	case NLMSG_ERROR:
		return NETFACTS_DUMPED;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return take_link(facts, head->nlmsg_type == RTM_NEWLINK, body) ? changed : 0;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return take_address(facts, head->nlmsg_type == RTM_NEWADDR, body) ? changed : 0;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return take_route(facts, head->nlmsg_type == RTM_NEWROUTE, replaces, body) ? changed
											   : 0;
	default:
		return 0;
	}
}

unsigned netfacts_take(struct netfacts *facts, const void *buf, size_t len)
{
	struct span rest = { buf, len };
	struct nlmsghdr head;
	unsigned result = 0;

	while (span_take(&rest, &head, sizeof head)) {
		size_t body_len = head.nlmsg_len;

		if (body_len < sizeof head || body_len - sizeof head > rest.left) {
			break;
		}
		body_len -= sizeof head;
		result |= take_message(facts, &head, (struct span){ rest.pos, body_len });
		span_skip(&rest, padded(body_len));
	}
	return result;
}

void netfacts_forget(struct netfacts *facts)
{
	facts->count = 0;
	facts->is_complete = false;
	facts->is_crowded = false;
}
