/* SPDX-License-Identifier: ISC */
#include "common/container.h"
#include "common/netfacts.h"

#include "tests/unit/suite.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

enum {
	ETH = 2,
	PPP = 3,
};

/* --- messages as the kernel writes them ------------------------------------------------------ */

struct datagram {
	size_t len;
	uint8_t bytes[512];
};

static void put(struct datagram *d, const void *buf, size_t len)
{
	memcpy(d->bytes + d->len, buf, len);
	d->len += (len + 3) & ~(size_t)3;
}

/* Begin a message at the end of the datagram; returns where. */
static size_t begin(struct datagram *d, uint16_t type, uint16_t flags)
{
	const struct nlmsghdr head = { .nlmsg_type = type, .nlmsg_flags = flags };
	size_t at = d->len;

	put(d, &head, sizeof head);
	return at;
}

static void end(struct datagram *d, size_t at)
{
	uint32_t len = (uint32_t)(d->len - at);

	memcpy(d->bytes + at, &len, sizeof len);
}

static void put_attribute(struct datagram *d, uint16_t type, const void *buf, size_t len)
{
	const struct rtattr head = { .rta_len = (uint16_t)(sizeof head + len), .rta_type = type };

	put(d, &head, sizeof head);
	put(d, buf, len);
}

static void put_link(struct datagram *d, uint16_t type, uint16_t flags, int index,
		     unsigned link_flags)
{
	const struct ifinfomsg body = { .ifi_index = index, .ifi_flags = link_flags };
	size_t at = begin(d, type, flags);

	put(d, &body, sizeof body);
	end(d, at);
}

static size_t parse_ip(const char *text, uint8_t buf[16])
{
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	ck_assert_int_eq(inet_pton(family, text, buf), 1);
	return family == AF_INET6 ? 16 : 4;
}

struct address_spec {
	uint16_t type;
	uint16_t flags;
	const char *ip;
	unsigned index;
	uint8_t scope;
	uint32_t address_flags;
	uint32_t lifetime; /* in the cache info */
};

static void put_address(struct datagram *d, const struct address_spec *spec)
{
	const struct ifa_cacheinfo info = { .ifa_valid = spec->lifetime };
	uint8_t ip[16];
	size_t ip_len = parse_ip(spec->ip, ip);
	const struct ifaddrmsg body = { .ifa_family = ip_len == 16 ? AF_INET6 : AF_INET,
					.ifa_prefixlen = 24,
					.ifa_flags = (uint8_t)spec->address_flags,
					.ifa_scope = spec->scope,
					.ifa_index = spec->index };
	size_t at = begin(d, spec->type, spec->flags);

	put(d, &body, sizeof body);
	put_attribute(d, IFA_ADDRESS, ip, ip_len);
	put_attribute(d, IFA_CACHEINFO, &info, sizeof info);
	put_attribute(d, IFA_FLAGS, &spec->address_flags, sizeof spec->address_flags);
	end(d, at);
}

struct route_spec {
	uint16_t type;
	uint16_t flags;
	const char *dst; /* NULL: everywhere */
	uint8_t dst_len;
	const char *gateway;
	uint32_t oif;
	uint32_t table; /* 0: main */
	uint8_t kind;   /* 0: unicast */
	uint32_t expires;
};

static void put_route(struct datagram *d, const struct route_spec *spec)
{
	const struct rta_cacheinfo info = { .rta_expires = (int)spec->expires };
	uint32_t table = spec->table ? spec->table : RT_TABLE_MAIN;
	const char *ip_text = spec->dst ? spec->dst : spec->gateway;
	uint8_t ip[16];
	size_t at = begin(d, spec->type, spec->flags);
	const struct rtmsg body = { .rtm_family = parse_ip(ip_text, ip) == 16 ? AF_INET6 : AF_INET,
				    .rtm_dst_len = spec->dst_len,
				    .rtm_table = (uint8_t)table,
				    .rtm_type = spec->kind ? spec->kind : RTN_UNICAST };

	put(d, &body, sizeof body);
	put_attribute(d, RTA_TABLE, &table, sizeof table);
	if (spec->dst) {
		put_attribute(d, RTA_DST, ip, parse_ip(spec->dst, ip));
	}
	if (spec->gateway) {
		put_attribute(d, RTA_GATEWAY, ip, parse_ip(spec->gateway, ip));
	}
	if (spec->oif) {
		put_attribute(d, RTA_OIF, &spec->oif, sizeof spec->oif);
	}
	put_attribute(d, RTA_CACHEINFO, &info, sizeof info);
	end(d, at);
}

static unsigned take(struct netfacts *facts, struct datagram *d)
{
	unsigned result = netfacts_take(facts, d->bytes, d->len);

	d->len = 0;
	return result;
}

static unsigned take_link(struct netfacts *facts, uint16_t type, int index, unsigned flags)
{
	struct datagram d = { 0 };

	put_link(&d, type, 0, index, flags);
	return take(facts, &d);
}

static unsigned take_address(struct netfacts *facts, const struct address_spec *spec)
{
	struct datagram d = { 0 };

	put_address(&d, spec);
	return take(facts, &d);
}

static unsigned take_route(struct netfacts *facts, const struct route_spec *spec)
{
	struct datagram d = { 0 };

	put_route(&d, spec);
	return take(facts, &d);
}

/* --- tests ----------------------------------------------------------------------------------- */

START_TEST(test_links)
{
	struct netfacts facts = { 0 };

	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, ETH, 0), 0);
	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, ETH, IFF_UP), 0);
	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, ETH, IFF_UP | IFF_RUNNING),
			  NETFACTS_CHANGED);
	/* The kernel repeats itself for anything, for instance a new MTU or statistics. */
	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, ETH, IFF_UP | IFF_RUNNING | IFF_PROMISC),
			  0);
	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, ETH, IFF_UP), NETFACTS_CHANGED);
	ck_assert_uint_eq(take_link(&facts, RTM_DELLINK, ETH, IFF_UP), 0);
	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, PPP, IFF_UP | IFF_RUNNING),
			  NETFACTS_CHANGED);
	ck_assert_uint_eq(take_link(&facts, RTM_DELLINK, PPP, IFF_UP | IFF_RUNNING),
			  NETFACTS_CHANGED);
	ck_assert_uint_eq(take_link(&facts, RTM_NEWLINK, 1, IFF_UP | IFF_RUNNING | IFF_LOOPBACK),
			  0);
	ck_assert_uint_eq(facts.count, 0);
}
END_TEST

START_TEST(test_ports_of_bridges)
{
	const struct ifinfomsg body = { .ifi_index = ETH, .ifi_flags = IFF_UP | IFF_RUNNING };
	const uint32_t bridge = 9;
	struct netfacts facts = { 0 };
	struct datagram d = { 0 };
	size_t at = begin(&d, RTM_NEWLINK, 0);

	put(&d, &body, sizeof body);
	put_attribute(&d, IFLA_MASTER, &bridge, sizeof bridge);
	end(&d, at);
	ck_assert_uint_eq(take(&facts, &d), 0);
	ck_assert_uint_eq(facts.count, 0);
}
END_TEST

START_TEST(test_addresses)
{
	static const struct {
		struct address_spec spec;
		bool changes;
	} steps[] = {
		{ { RTM_NEWADDR, 0, "192.0.2.1", ETH, 0, 0, 100 }, true },
		/* a lease or a router advertisement renewed */
		{ { RTM_NEWADDR, 0, "192.0.2.1", ETH, 0, 0, 200 }, false },
		{ { RTM_NEWADDR, 0, "192.0.2.2", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWADDR, 0, "192.0.2.1", PPP, 0, 0, 0 }, true },
		{ { RTM_DELADDR, 0, "192.0.2.2", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWADDR, 0, "192.0.2.2", ETH, 0, 0, 0 }, true },
		/* IPv6: only when it is known to be nobody else's; not when it gets out of use */
		{ { RTM_NEWADDR, 0, "2001:db8::1", ETH, 0, IFA_F_TENTATIVE, 0 }, false },
		{ { RTM_NEWADDR, 0, "2001:db8::1", ETH, 0, 0, 100 }, true },
		{ { RTM_NEWADDR, 0, "2001:db8::1", ETH, 0, IFA_F_DEPRECATED, 0 }, false },
		{ { RTM_NEWADDR, 0, "2001:db8::1", ETH, 0, IFA_F_DADFAILED, 0 }, true },
		{ { RTM_NEWADDR, 0, "2001:db8::2", ETH, 0, IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, 0 },
		  true },
		/* of no interest */
		{ { RTM_NEWADDR, 0, "fe80::1", ETH, RT_SCOPE_LINK, 0, 0 }, false },
		{ { RTM_NEWADDR, 0, "127.0.0.2", 1, RT_SCOPE_HOST, 0, 0 }, false },
		{ { RTM_NEWADDR, 0, "198.51.100.1", 1, 0, 0, 0 }, false },
	};
	struct netfacts facts = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		ck_assert_msg((take_address(&facts, &steps[i].spec) == NETFACTS_CHANGED) ==
				      steps[i].changes,
			      "step %zu", i);
	}
}
END_TEST

START_TEST(test_routes)
{
	static const struct {
		struct route_spec spec;
		bool changes;
	} steps[] = {
		{ { RTM_NEWROUTE, 0, NULL, 0, "192.0.2.9", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWROUTE, 0, NULL, 0, "192.0.2.9", ETH, 0, 0, 500 }, false },
		/* another gateway beside it, then in its place */
		{ { RTM_NEWROUTE, 0, NULL, 0, "192.0.2.8", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWROUTE, 0, NULL, 0, "192.0.2.9", ETH, 0, 0, 0 }, false },
		{ { RTM_NEWROUTE, NLM_F_REPLACE, NULL, 0, "192.0.2.7", PPP, 0, 0, 0 }, true },
		{ { RTM_NEWROUTE, NLM_F_REPLACE, NULL, 0, "192.0.2.7", PPP, 0, 0, 0 }, false },
		{ { RTM_NEWROUTE, 0, NULL, 0, "192.0.2.9", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWROUTE, 0, "198.51.100.0", 24, "192.0.2.9", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWROUTE, 0, "198.51.100.0", 25, "192.0.2.9", ETH, 0, 0, 0 }, true },
		{ { RTM_NEWROUTE, 0, "198.51.100.0", 25, "192.0.2.9", ETH, 51820, 0, 0 }, true },
		{ { RTM_DELROUTE, 0, "198.51.100.0", 25, "192.0.2.9", ETH, 51820, 0, 0 }, true },
		{ { RTM_NEWROUTE, 0, "203.0.113.0", 24, NULL, 0, 0, RTN_UNREACHABLE, 0 }, true },
		{ { RTM_NEWROUTE, 0, "2001:db8::", 32, "fe80::1", ETH, 0, 0, 100 }, true },
		{ { RTM_NEWROUTE, 0, "2001:db8::", 32, "fe80::1", ETH, 0, 0, 99 }, false },
		/* of no interest */
		{ { RTM_NEWROUTE, 0, "192.0.2.1", 32, NULL, ETH, RT_TABLE_LOCAL, RTN_LOCAL, 0 },
		  false },
		{ { RTM_NEWROUTE, 0, "192.0.2.255", 32, NULL, ETH, 0, RTN_BROADCAST, 0 }, false },
		{ { RTM_NEWROUTE, 0, "198.18.0.0", 15, NULL, 1, 0, 0, 0 }, false },
		{ { RTM_NEWROUTE, 0, "fe80::", 64, NULL, ETH, 0, 0, 0 }, false },
		{ { RTM_NEWROUTE, 0, "febf::", 64, NULL, ETH, 0, 0, 0 }, false },
		{ { RTM_NEWROUTE, 0, "ff00::", 8, NULL, ETH, 0, 0, 0 }, false },
		{ { RTM_NEWROUTE, 0, "fec0::", 64, NULL, ETH, 0, 0, 0 }, true },
	};
	struct netfacts facts = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		ck_assert_msg((take_route(&facts, &steps[i].spec) == NETFACTS_CHANGED) ==
				      steps[i].changes,
			      "step %zu", i);
	}
}
END_TEST

START_TEST(test_learning)
{
	static const struct address_spec address = {
		RTM_NEWADDR, NLM_F_MULTI, "192.0.2.1", ETH, 0, 0, 0,
	};
	static const struct address_spec gone = { RTM_DELADDR, 0, "192.0.2.1", ETH, 0, 0, 0 };
	static const struct address_spec strange = { RTM_DELADDR, 0, "192.0.2.5", ETH, 0, 0, 0 };
	static const struct route_spec route = {
		RTM_NEWROUTE, NLM_F_MULTI, NULL, 0, "192.0.2.9", ETH, 0, 0, 0,
	};
	struct netfacts facts = { 0 };
	struct datagram d = { 0 };

	put_link(&d, RTM_NEWLINK, NLM_F_MULTI, ETH, IFF_UP | IFF_RUNNING);
	put_address(&d, &address);
	put_route(&d, &route);
	ck_assert_uint_eq(take(&facts, &d), 0);
	ck_assert_uint_eq(facts.count, 3);
	end(&d, begin(&d, NLMSG_DONE, NLM_F_MULTI));
	ck_assert_uint_eq(take(&facts, &d), NETFACTS_DUMPED);
	end(&d, begin(&d, NLMSG_ERROR, 0));
	ck_assert_uint_eq(take(&facts, &d), NETFACTS_DUMPED);
	/* Until all is known, anything that goes may have mattered. */
	ck_assert_uint_eq(take_address(&facts, &strange), NETFACTS_CHANGED);
	facts.is_complete = true;
	ck_assert_uint_eq(take_address(&facts, &strange), 0);
	ck_assert_uint_eq(take_address(&facts, &gone), NETFACTS_CHANGED);
	netfacts_forget(&facts);
	ck_assert_uint_eq(facts.count, 0);
	ck_assert_uint_eq(take_address(&facts, &gone), NETFACTS_CHANGED);
}
END_TEST

START_TEST(test_several_in_one)
{
	struct netfacts facts = { 0 };
	struct datagram d = { 0 };

	put_link(&d, RTM_NEWLINK, 0, ETH, IFF_UP);
	end(&d, begin(&d, RTM_NEWNEIGH, 0));
	put_link(&d, RTM_NEWLINK, 0, PPP, IFF_UP | IFF_RUNNING);
	ck_assert_uint_eq(take(&facts, &d), NETFACTS_CHANGED);
}
END_TEST

/* A router that knows the whole Internet: of its routes only those to everywhere are looked at. */
START_TEST(test_crowded)
{
	struct netfacts facts = { .is_complete = true };
	struct route_spec route = {
		RTM_NEWROUTE, NLM_F_MULTI, NULL, 24, "192.0.2.9", ETH, 0, 0, 0
	};
	static const struct address_spec address = { RTM_NEWADDR, 0, "192.0.2.1", ETH, 0, 0, 0 };
	static const struct address_spec gone = { RTM_DELADDR, 0, "192.0.2.1", ETH, 0, 0, 0 };
	char text[32];

	for (unsigned i = 0; i < NETFACTS_MAX + 10; i++) {
		snprintf(text, sizeof text, "10.%u.%u.0", i / 256, i % 256);
		route.dst = text;
		ck_assert_uint_eq(take_route(&facts, &route), 0);
	}
	ck_assert_uint_eq(facts.count, NETFACTS_MAX);
	ck_assert(facts.is_crowded);
	for (size_t i = 1; i < facts.count; i++) {
		ck_assert_uint_lt(facts.items[i - 1], facts.items[i]);
	}
	route.flags = 0;
	ck_assert_uint_eq(take_route(&facts, &route), 0);
	route.type = RTM_DELROUTE;
	ck_assert_uint_eq(take_route(&facts, &route), 0);
	ck_assert_uint_eq(take_address(&facts, &address), NETFACTS_CHANGED);
	ck_assert_uint_eq(take_address(&facts, &gone), NETFACTS_CHANGED);
	route = (struct route_spec){ RTM_NEWROUTE, 0, NULL, 0, "192.0.2.9", ETH, 0, 0, 0 };
	ck_assert_uint_eq(take_route(&facts, &route), NETFACTS_CHANGED);
	route.type = RTM_DELROUTE;
	ck_assert_uint_eq(take_route(&facts, &route), NETFACTS_CHANGED);
}
END_TEST

/* Every prefix of a message, and lengths that lie. */
START_TEST(test_broken)
{
	static const struct route_spec route = {
		RTM_NEWROUTE, 0, NULL, 0, "192.0.2.9", ETH, 0, 0, 0,
	};
	struct netfacts facts = { 0 };
	struct datagram d = { 0 };
	struct nlmsghdr head;

	put_route(&d, &route);
	for (size_t len = 0; len < d.len; len++) {
		uint8_t *copy = malloc(len ? len : 1);

		memcpy(copy, d.bytes, len);
		ck_assert_uint_eq(netfacts_take(&facts, copy, len), 0);
		free(copy);
	}
	memcpy(&head, d.bytes, sizeof head);
	for (uint32_t lie = 0; lie < sizeof head; lie++) {
		head.nlmsg_len = lie;
		memcpy(d.bytes, &head, sizeof head);
		ck_assert_uint_eq(netfacts_take(&facts, d.bytes, d.len), 0);
	}
	head.nlmsg_len = UINT32_MAX;
	memcpy(d.bytes, &head, sizeof head);
	ck_assert_uint_eq(netfacts_take(&facts, d.bytes, d.len), 0);
	ck_assert_uint_eq(facts.count, 0);
}
END_TEST

SUITE_MAIN("netfacts", test_links, test_ports_of_bridges, test_addresses, test_routes,
	   test_learning, test_several_in_one, test_crowded, test_broken)
