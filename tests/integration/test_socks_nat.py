# SPDX-License-Identifier: ISC
"""socksd behind NAT: a client and a target outside, a router that translates, the proxy inside with a private address.
Four network namespaces; needs root."""

import contextlib
import functools
import ipaddress
import socket

import harness
import socks_client as socks
from harness import expect
from namespaces import Network

PUBLIC, CLIENT, TARGET = "203.0.113.1", "203.0.113.10", "203.0.113.20"
PRIVATE, ROUTER = "10.9.0.2", "10.9.0.1"
PUBLIC6, CLIENT6, TARGET6, PRIVATE6, ROUTER6 = ("2001:db8:1::1", "2001:db8:1::10", "2001:db8:1::20", "fd09::2", "fd09::1")
UDP_PORTS, BIND_PORTS = range(40000, 40100), range(41000, 41100)
CONNECT, BIND, UDP = 1, 2, 3

NAT = """
table inet nat {
	chain in {
		type nat hook prerouting priority dstnat;
		iifname "outside" meta nfproto ipv4 tcp dport { 1080, 41000-41099 } dnat ip to %(PRIVATE)s
		iifname "outside" meta nfproto ipv4 udp dport 40000-40099 dnat ip to %(PRIVATE)s
		iifname "outside" meta nfproto ipv6 tcp dport { 1080, 41000-41099 } dnat ip6 to %(PRIVATE6)s
		iifname "outside" meta nfproto ipv6 udp dport 40000-40099 dnat ip6 to %(PRIVATE6)s
	}
	chain out {
		type nat hook postrouting priority srcnat;
		oifname "outside" masquerade
	}
}
"""


@functools.lru_cache(maxsize=None)
def network():
    net = Network("client", "router", "proxy", "target")
    net.ip("router", "link add outside type bridge")
    net.ip("router", "link set outside up")
    for name, four, six in (("client", CLIENT, CLIENT6), ("target", TARGET, TARGET6)):
        net.join("router", name, f"to-{name}", "eth0")
        net.ip("router", f"link set to-{name} master outside up")
        address(net, name, "eth0", four, six)
        net.ip(name, f"route add default via {PUBLIC}")
    net.join("router", "proxy", "inside", "eth0")
    address(net, "router", "outside", PUBLIC, PUBLIC6)
    address(net, "router", "inside", ROUTER, ROUTER6)
    address(net, "proxy", "eth0", PRIVATE, PRIVATE6)
    net.ip("proxy", f"route add default via {ROUTER}")
    net.ip("proxy", f"-6 route add default via {ROUTER6}")
    net.sysctl("router", "net/ipv4/ip_forward", 1)
    net.sysctl("router", "net/ipv6/conf/all/forwarding", 1)
    try:
        net.nft("router", NAT % globals())
    except AssertionError as error:
        raise harness.Skip(f"no NAT here: {error}") from None
    return net


def address(net, name, interface, four, six):
    net.ip(name, f"link set {interface} up")
    net.ip(name, f"address add {four}/24 dev {interface}")
    net.ip(name, f"address add {six}/64 dev {interface} nodad")


@functools.lru_cache(maxsize=None)
def proxy(*options):
    return harness.Daemon("socksd", 1080, [
        f"listen nat.address={PRIVATE}:1080, [{PRIVATE6}]:1080", "listen nat.clients=any", "listen nat.open-proxy=yes",
        f"listen nat.udp-port-range={UDP_PORTS[0]}-{UDP_PORTS[-1]}",
        f"listen nat.bind-port-range={BIND_PORTS[0]}-{BIND_PORTS[-1]}", "rule bind.action=allow",
        "rule bind.command=bind", *options], wrapper=network().wrapper("proxy"))


def public_proxy():
    return proxy(f"listen nat.udp-public-address={PUBLIC}, {PUBLIC6}")


def request(command, host, port=0, server=PUBLIC):
    """(connection, reply) of the client outside."""
    with network().inside("client"):
        sock = socket.create_connection((server, 1080), timeout=20)
    sock.sendall(socks.GREETING_OPEN)
    socks.receive(sock, 2)
    sock.sendall(socks.request_bytes(host, port, command))
    return sock, socks.receive_reply(sock)


def udp_socket(name, host):
    with network().inside(name):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
    sock.settimeout(10)
    return sock


def expect_public(host, wanted):
    expect(host, wanted, "the address in the reply")
    is_private = ipaddress.ip_address(host) in (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    expect((is_private, ipaddress.ip_address(host).is_unspecified), (False, False), f"private, unspecified ({host})")


def check_udp(server, client, target):
    public_proxy()
    control, (code, host, port) = request(UDP, "::" if ":" in server else "0.0.0.0", server=server)
    with control, udp_socket("client", client) as ours, udp_socket("target", target) as theirs:
        expect(code, 0, "REP")
        expect_public(host, server)
        expect(port in UDP_PORTS, True, f"that port {port} is in the range")
        header = b"\0\0\0" + socks.address_bytes(target) + theirs.getsockname()[1].to_bytes(2, "big")
        for size in (1, 1200, 8000):
            ours.sendto(header + b"q" * size, (host, port))
            data, seen = theirs.recvfrom(65536)
            expect((data == b"q" * size, seen[0]), (True, server), f"{size} bytes, and from where, at the target")
            theirs.sendto(b"a" * size, seen)
            data, seen = ours.recvfrom(65536)
            expect((data == header + b"a" * size, seen[:2]), (True, (host, port)), f"{size} bytes of answer, and from where")


def test_udp():
    """UDP through NAT: the reply names udp-public-address, datagrams pass both ways"""
    check_udp(PUBLIC, CLIENT, TARGET)


def test_udp_ipv6():
    """The same by IPv6"""
    check_udp(PUBLIC6, CLIENT6, TARGET6)


def check_bind(server, target, stranger):
    public_proxy()
    control, (code, host, port) = request(BIND, target, server=server)
    with control:
        expect(code, 0, "REP")
        expect_public(host, server)
        expect(port in BIND_PORTS, True, f"that port {port} is in the range")
        with contextlib.suppress(ConnectionResetError), network().inside("client"):
            other = socket.create_connection((host, port), timeout=20, source_address=(stranger, 0))
            raise AssertionError(f"a stranger reads {other.recv(1)!r}")
        with network().inside("target"):
            peer = socket.create_connection((host, port), timeout=20)
        expect(socks.receive_reply(control), (0, *peer.getsockname()[:2]), "the second reply")
        peer.sendall(b"hello from outside")
        expect(socks.receive(control, 18), b"hello from outside", "what the client got")
        control.sendall(b"and back")
        expect(socks.receive(peer, 8), b"and back", "what the peer got")
        peer.close()


def test_bind():
    """BIND through NAT: the reply names udp-public-address, the peer comes in there, a stranger is reset"""
    check_bind(PUBLIC, TARGET, CLIENT)


def test_bind_ipv6():
    """The same by IPv6"""
    check_bind(PUBLIC6, TARGET6, CLIENT6)


def test_bind_anybody():
    """BIND for whoever comes names it, too"""
    public_proxy()
    control, (code, host, port) = request(BIND, "0.0.0.0")
    with control:
        expect(code, 0, "REP")
        expect_public(host, PUBLIC)
        with network().inside("target"):
            peer = socket.create_connection((host, port), timeout=20)
        expect(socks.receive_reply(control), (0, *peer.getsockname()), "the second reply")
        peer.close()


def test_without_the_key():
    """Without the key the replies name the private address: that is what the key is for"""
    public_proxy().stop()
    proxy()
    for command, target in ((UDP, "0.0.0.0"), (BIND, TARGET), (BIND, "0.0.0.0")):
        control, (code, host, _port) = request(command, target)
        control.close()
        expect((code, host), (0, PRIVATE), f"the reply to command {command}")


if __name__ == "__main__":
    harness.run(globals())
