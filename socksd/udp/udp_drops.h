/* SPDX-License-Identifier: ISC */
/*
 * Why a datagram goes no further: D(X, name, "help"). The name is the one word for it, in the log
 * (session-end, `dropped`), in the counter udp_drop_NAME and in tests. A drop costs this datagram
 * only, never the association.
 */
#ifndef SOCKSD_UDP_UDP_DROPS_H
#define SOCKSD_UDP_UDP_DROPS_H

#define UDP_DROPS(D, X)                                                                     \
	D(X, stranger, "Datagrams dropped: not from the client of the association.")        \
	D(X, malformed, "Datagrams dropped: no header that leads anywhere.")                \
	D(X, fragment, "Datagrams dropped: fragments out of place, too late, or unwanted.") \
	D(X, denied, "Datagrams dropped: the rules or the guard.")                          \
	D(X, unresolved, "Datagrams dropped: their name has no address.")                   \
	D(X, queue, "Datagrams dropped: too many waited for names.")                        \
	D(X, unreachable, "Datagrams dropped: no route, or no address to leave from.")      \
	D(X, too_big, "Datagrams dropped: too big to be sent.")                             \
	D(X, filtered, "Datagrams dropped: udp-filtering, the client had not sent there.")  \
	D(X, rate, "Datagrams dropped: udp-rate.")                                          \
	D(X, sockets, "Datagrams dropped: no descriptor or memory for what they needed.")   \
	D(X, send, "Datagrams dropped: the kernel did not take them.")                      \
	D(X, receive, "Datagrams that the kernel dropped for a full receive buffer.")

#define UDP_DROP_ENUM(X, name, help) UDP_DROP_##name,
enum udp_drop {
	UDP_DROPS(UDP_DROP_ENUM, ) UDP_DROP_COUNT,
};
#undef UDP_DROP_ENUM

#endif
