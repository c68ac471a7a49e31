# SPDX-License-Identifier: ISC
"""UDP ASSOCIATE: what passes, what is dropped and counted, when an association ends."""

import functools
import os
import random
import re
import signal
import socket
import struct
import time

import harness
import socks_client as socks
from dns_message import AAAA, NXDOMAIN, A, a_record, Record
from harness import expect
from peers import DnsServer
from udp_client import Association, Echo, header_bytes, udp_socket

FLOOD = 20000
CHURN = 1500


@functools.lru_cache(maxsize=None)
def proxy():
    """One for all cases that are content with the defaults."""
    return harness.socksd()


@functools.lru_cache(maxsize=None)
def echo(host="127.0.0.1"):
    return Echo(host)


def drops(daemon):
    """The drop counters that are not 0."""
    return {name[9:]: value for name, value in daemon.counters().items() if name.startswith("udp_drop_") and value}


def drops_since(daemon, before):
    return {name: value - before.get(name, 0) for name, value in drops(daemon).items() if value != before.get(name, 0)}


def expect_echo(association, payload, target=None, host=None):
    """A datagram goes through and comes back; `host`: what the client calls the target."""
    target = target or echo()
    association.send(payload, host or target.host, target.port)
    got_host, got_port, got = association.receive()
    expect((got_host, got_port), (target.host, target.port), "the source of the answer")
    if got != payload:
        raise AssertionError(f"{len(payload)} bytes came back as {len(got)} others")


def udp_sockets(process):
    """The local ports of a process's UDP sockets."""
    inodes = set()
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        try:
            inodes.add(re.sub(r"socket:\[(\d+)\]", r"\1", os.readlink(f"/proc/{process.pid}/fd/{fd}")))
        except OSError:
            pass
    ports = set()
    for table in ("udp", "udp6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        ports |= {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[9] in inodes}
    return ports


# --- what passes ----------------------------------------------------------------------------------


def test_sizes():
    """Every size from 0 to 2,000 bytes passes both ways, bit for bit"""
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        payloads = [random.randbytes(size) for size in range(2001)]
        for first in range(0, len(payloads), 20):
            batch = payloads[first:first + 20]
            for payload in batch:
                association.send(payload, "127.0.0.1", echo().port)
            expect([association.receive()[2] == payload for payload in batch], [True] * len(batch), f"sizes from {first}")


def test_large():
    """65,000 bytes pass both ways, and the longest datagram there is; one that its header makes too long costs itself"""
    before = drops(proxy())
    with harness.closing_all() as things:
        association = Association(proxy().port)
        target = udp_socket()
        things += [association, target]
        for size in (65000, 65497):
            expect_echo(association, random.randbytes(size))
        association.send(b"where are you?", *target.getsockname())
        back = target.recvfrom(70000)[1]
        target.sendto(bytes(65507), back)
        target.sendto(b"small", back)
        expect(association.receive()[2], b"small", "what follows the one that is too long")
    expect(drops_since(proxy(), before), {"too_big": 1}, "the drops")


def test_burst():
    """Datagrams of one size and of several, sent at once, come back in order"""
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        for sizes in ((1200,), (1200, 1200, 40), (1, 2, 3, 0), (9000, 100)):
            payloads = [struct.pack(">H", number) + bytes(sizes[number % len(sizes)]) for number in range(100)]
            for payload in payloads:
                association.send(payload, "127.0.0.1", echo().port)
            for payload in payloads:
                expect(association.receive()[2] == payload, True, "the next datagram")


def test_segments():
    """Datagrams that the sender leaves to the kernel to cut up (UDP_SEGMENT) arrive one by one"""
    udp_segment = 103
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        try:
            association.socket.setsockopt(socket.IPPROTO_UDP, udp_segment, 1210)
        except OSError as error:
            raise harness.Skip(f"UDP_SEGMENT: {error}") from None
        header = header_bytes("127.0.0.1", echo().port)
        payloads = [random.randbytes(1200) for _ in range(20)] + [random.randbytes(7)]
        association.send_raw(b"".join(header + payload for payload in payloads))
        expect([association.receive()[2] for _ in payloads] == payloads, True, "that all came back")


def test_families():
    """One association reaches IPv4, IPv6 and names, from one address and port each"""
    if not harness.have_ipv6():
        raise harness.Skip("no IPv6 on loopback")
    records = {"four.example": {A: "127.0.0.1"}, "six.example": {AAAA: "::1"}, "both.example": {A: "127.0.0.1", AAAA: "::1"}}
    daemon, server = socksd_with_names(records)
    with harness.closing_all() as things:
        things.append(server)
        four, six = Echo(), Echo("::1")
        for host in ("127.0.0.1", "::1"):
            four.sources.clear()
            six.sources.clear()
            association = Association(daemon.port, host)
            things.append(association)
            for _ in range(3):
                expect_echo(association, b"4", four)
                expect_echo(association, b"6", six)
                expect_echo(association, b"n4", four, "four.example")
                expect_echo(association, b"n6", six, "SIX.example.")
                expect_echo(association, b"nb", four, "both.example")
                expect_echo(association, b"text", four, b"127.0.0.1")
                expect_echo(association, b"mapped", four, "::ffff:127.0.0.1")
            expect((len(set(four.sources)), len(set(six.sources))), (1, 1), "the sources that the targets saw")
    expect(drops(daemon), {}, "the drops")
    daemon.stop()


# --- where the client is told to send -------------------------------------------------------------


def test_address():
    """The reply names the address that the client came to"""
    port = harness.free_port()
    daemon = harness.Daemon("socksd", port, [f"listen test.address=0.0.0.0:{port}, [::]:{port}"
                                             if harness.have_ipv6() else f"listen test.address=0.0.0.0:{port}"])
    for host in ("127.0.0.1", "127.9.8.7", "::1"):
        if ":" in host and not harness.have_ipv6():
            continue
        association = Association(port, host, source="::1" if ":" in host else "127.0.0.1")
        expect(association.relay[0], host, "BND.ADDR")
        expect_echo(association, b"hello")
        association.close()
    daemon.stop()


def test_public_address():
    """udp-public-address is told instead, and no address that leads nowhere; ports are from udp-port-range"""
    port = harness.free_port()
    first = harness.free_port()
    daemon = harness.Daemon("socksd", port, [
        f"listen test.address={harness.listen_addresses(port)}", "listen test.udp-public-address=203.0.113.7",
        f"listen test.udp-port-range={first}-{first + 2}"])
    with harness.closing_all() as things:
        for _ in range(3):
            things.append(Association(port))
            expect(things[-1].relay[0], "203.0.113.7", "BND.ADDR")
        expect(sorted(thing.relay[1] for thing in things), [first, first + 1, first + 2], "the ports")
        try:
            Association(port)
            raise AssertionError("a fourth association of three ports")
        except socks.Refused as refused:
            expect(refused.rep, 1, "REP without a port left")
        daemon.wait_log(r"session-end .*command=udp .*why=no_port")
        # It is this host all the same.
        things[0].relay = ("127.0.0.1", things[0].relay[1])
        expect_echo(things[0], b"hello")
        things.pop().close()
        harness.wait_until(lambda: daemon.counters()["udp_associations_now"] == 2, what="end of an association")
        things.append(Association(port))
        if harness.have_ipv6():
            try:
                Association(port, "::1")
                raise AssertionError("::1 was told to a client beside a public IPv4 address")
            except socks.Refused as refused:
                expect(refused.rep, 1, "REP where no address is of use")
    daemon.stop()


# --- who may send ---------------------------------------------------------------------------------


def test_strangers():
    """Datagrams from elsewhere are dropped, also before the first one of the client, and redirect nothing"""
    before = drops(proxy())
    with harness.closing_all() as things:
        association = Association(proxy().port)
        other_address, other_port = udp_socket("127.0.0.2"), udp_socket()
        things += [association, other_address, other_port]
        association.send(b"me first", "127.0.0.1", echo().port, sock=other_address)
        expect_echo(association, b"hello")
        for stranger in (other_address, other_port):
            association.send(b"me too", "127.0.0.1", echo().port, sock=stranger)
            association.send_raw(b"not even a header", stranger)
            expect_echo(association, b"still here")
        for stranger in (other_address, other_port):
            stranger.settimeout(0.2)
            try:
                raise AssertionError(f"a stranger got {stranger.recv(100)}")
            except TimeoutError:
                pass
    expect(drops_since(proxy(), before), {"stranger": 5}, "the drops")


def test_first_valid():
    """The first valid datagram settles the port; one that is no datagram of SOCKS does not"""
    with harness.closing_all() as things:
        association = Association(proxy().port)
        other = udp_socket()
        things += [association, other]
        association.send_raw(b"\0\0\0\1\x7f\0\0\1\0\0port 0", other)
        association.send_raw(b"\1\0\0\1\x7f\0\0\1\0\7rsv", other)
        association.send_raw(b"short", other)
        expect_echo(association, b"hello")
        association.send(b"too late", "127.0.0.1", echo().port, sock=other)
        expect(association.is_silent(), True, "that nothing more comes")


def test_said_address():
    """DST of the request counts when it is the client's own address; any other is taken for that of a NATed client"""
    with harness.closing_all() as things:
        own = udp_socket()
        things.append(own)
        association = Association(proxy().port, said=own.getsockname())
        things.append(association)
        association.send(b"from another port than said", "127.0.0.1", echo().port)
        expect(association.is_silent(), True, "that nothing comes back")
        association.send(b"from the port it said", "127.0.0.1", echo().port, sock=own)
        expect(own.recv(100)[10:], b"from the port it said", "the echo")
        for said in (("192.168.7.7", 4000), ("0.0.0.0", 4000), ("127.0.0.1", 0), (b"", 0), (b"a.example", 53),
                     ("2001:db8::1", 99)):
            association = Association(proxy().port, said=said)
            things.append(association)
            expect_echo(association, b"hello")


def test_source():
    """udp-source: the client's address, its network, or anywhere"""
    for source, near, far in (("address", False, False), ("network", True, False), ("any", True, True)):
        daemon = harness.socksd(f"listen test.udp-source={source}")
        expect("udp-source-any" in daemon.log(), source == "any", "that the log warns")
        for host, works in (("127.0.0.99", near), ("127.0.9.1", far)):
            association = Association(daemon.port, source=host)
            association.send(b"hello", "127.0.0.1", echo().port)
            expect(association.is_silent(0.2), not works, f"udp-source = {source}: silence for {host}")
            if works:
                # And from then on only it.
                other = udp_socket("127.0.0.99")
                association.send(b"hello", "127.0.0.1", echo().port, sock=other)
                expect(association.is_silent(0.2), True, "silence for the second")
                other.close()
            association.close()
        daemon.stop()


def test_flood():
    """A stranger's flood changes nothing for the client, and is counted to the last datagram"""
    before = drops(proxy())
    with harness.closing_all() as things:
        association = Association(proxy().port)
        stranger = udp_socket()
        things += [association, stranger]
        expect_echo(association, b"hello")
        datagram = header_bytes("127.0.0.1", echo().port) + b"flood"
        for number in range(FLOOD):
            stranger.sendto(datagram, association.relay)
            if number % 100 == 0:
                expect_echo(association, struct.pack(">I", number))
    harness.wait_until(lambda: proxy().counters()["udp_associations_now"] == 0, what="end of the association")
    expect(drops_since(proxy(), before), {"stranger": FLOOD}, "the drops")


def test_bad_among_good():
    """One bad datagram in a hundred costs only itself"""
    bad = (b"", b"\0", b"\0\0\0", b"\0\0\0\1\x7f\0\0", b"\0\1\0\1\x7f\0\0\1\0\7x", b"\0\0\0\2\x7f\0\0\1\0\7x",
           b"\0\0\0\1\x7f\0\0\1\0\0x", b"\0\0\0\3\0\0\7x", b"\0\0\0\3\3a b\0\7x", os.urandom(3) + b"\xff" * 40)
    before = drops(proxy())
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        for round_ in range(50):
            for number in range(20):
                if number == 7 and round_ % 5 == 0:
                    association.send_raw(bad[round_ // 5])
                association.send(struct.pack(">HH", round_, number), "127.0.0.1", echo().port)
            for number in range(20):
                expect(association.receive()[2], struct.pack(">HH", round_, number), "the next datagram")
    expect(drops_since(proxy(), before), {"malformed": 10}, "the drops")


def test_no_listener():
    """Targets where nobody listens, or that no route leads to, end nothing"""
    before = drops(proxy())
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        closed = harness.free_port()
        for _ in range(5):
            association.send(b"anybody?", "127.0.0.1", closed)
            if harness.have_ipv6():
                association.send(b"anybody?", "::1", closed)
            expect_echo(association, b"hello")
    expect(drops_since(proxy(), before), {}, "the drops")


# --- fragments ------------------------------------------------------------------------------------


def test_fragments():
    """Fragments in order are put together; those out of order are dropped, and nothing else is"""
    before = drops(proxy())
    target = ("127.0.0.1", echo().port)
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        whole = random.randbytes(60000)
        for place in range(60):
            association.send(whole[place * 1000:place * 1000 + 1000], *target, fragment=place + 1 | (0x80 if place == 59 else 0))
        expect(association.receive()[2] == whole, True, "the datagram of 60 fragments")
        association.send(b"alone", *target, fragment=0x81)
        expect(association.receive()[2], b"alone", "the datagram of one fragment")
        expect(drops_since(proxy(), before), {}, "the drops")
        association.send(b"a", *target, fragment=1)
        association.send(b"c", *target, fragment=3)
        association.send(b"b", *target, fragment=0x82)
        # A datagram on its own ends a sequence.
        association.send(b"a", *target, fragment=1)
        expect_echo(association, b"on its own")
        association.send(b"b", *target, fragment=0x82)
        association.send(b"x", *target, fragment=1)
        association.send(b"y", *target, fragment=0x82)
        expect(association.receive()[2], b"xy", "the next sequence")
    expect(drops_since(proxy(), before), {"fragment": 5}, "the drops")


def test_fragments_late():
    """Fragments that are not completed within 5 s are dropped; udp-fragments = no drops all"""
    before = drops(proxy())
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        association.send(b"a", "127.0.0.1", echo().port, fragment=1)
        association.send(b"b", "127.0.0.1", echo().port, fragment=2)
        start = time.monotonic()
        harness.wait_until(lambda: drops_since(proxy(), before) == {"fragment": 2}, 8, "drop of the fragments")
        expect(time.monotonic() - start > 4.5, True, "that they were kept for 5 s")
    daemon = harness.socksd("listen test.udp-fragments=no")
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things.append(association)
        association.send(b"a", "127.0.0.1", echo().port, fragment=0x81)
        expect_echo(association, b"whole")
    expect(drops(daemon), {"fragment": 1}, "the drops")
    daemon.stop()


# --- filtering, rules -----------------------------------------------------------------------------


def check_filtering(mode, from_port, from_address):
    daemon = harness.socksd(f"listen test.udp-filtering={mode}")
    with harness.closing_all() as things:
        association = Association(daemon.port)
        target, same_address, other_address = udp_socket(), udp_socket(), udp_socket("127.0.0.77")
        things += [association, target, same_address, other_address]
        association.send(b"hello", *target.getsockname())
        mapped = target.recvfrom(100)[1]
        for sock, passes in ((target, True), (same_address, from_port), (other_address, from_address)):
            sock.sendto(b"answer", mapped)
            if passes:
                expect(association.receive(), (*sock.getsockname(), b"answer"), f"{mode}: what comes in")
            else:
                expect(association.is_silent(0.2), True, f"{mode}: silence")
        # Sent to, each of them may answer, and sees the same source.
        for sock in (same_address, other_address):
            association.send(b"hello", *sock.getsockname())
            expect(sock.recvfrom(100)[1], mapped, "the source that another target sees")
            sock.sendto(b"answer", mapped)
            expect(association.receive()[2], b"answer", "the answer")
    filtered = (not from_port) + (not from_address)
    expect(drops(daemon), {"filtered": filtered} if filtered else {}, "the drops")
    daemon.stop()


def test_filtering():
    """udp-filtering"""
    for mode, from_port, from_address in (("endpoint-independent", True, True), ("address", True, False),
                                          ("address-and-port", False, False)):
        yield f"udp-filtering = {mode}", functools.partial(check_filtering, mode, from_port, from_address)


def test_rules():
    """Rules and guard are asked about each target, and about who writes unasked; a reload counts at once"""
    port = harness.free_port()
    targets = [Echo(), Echo(), Echo("127.0.0.66")]
    base = f"[listen test]\naddress = 127.0.0.1:{port}\n"
    rules = (f"[rule a]\naction = deny\ncommand = udp\nport = {targets[1].port}\n"
             "[rule b]\naction = deny\ncommand = udp\ndestination = 127.0.0.66\n")
    path = harness.temporary_file("udp-rules.conf", base + rules)
    daemon = harness.Daemon("socksd", port, config=path)
    with harness.closing_all() as things:
        association = Association(port)
        things.append(association)
        for _ in range(3):
            for target in targets[1:]:
                association.send(b"denied", target.host, target.port)
            expect_echo(association, b"allowed", targets[0])
        expect(drops(daemon), {"denied": 6}, "the drops")
        # What may not be sent to may not write either.
        targets[2].socket.sendto(b"unasked", targets[0].sources[0])
        expect(association.is_silent(0.2), True, "silence")
        # The guard: metadata, link-local, our own listener (by TCP, but who knows).
        for host, number in (("169.254.169.254", 80), ("0.0.0.0", 53), ("224.0.0.251", 5353), ("127.0.0.1", port)):
            association.send(b"guarded", host, number)
        expect_echo(association, b"allowed", targets[0])
        expect(drops(daemon), {"denied": 11}, "the drops")
        # The other way round after a reload, while the association is open.
        before = len(daemon.log())
        harness.temporary_file("udp-rules.conf", base + f"[rule a]\naction = deny\nport = {targets[0].port}\n")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded", before)
        association.send(b"denied now", "127.0.0.1", targets[0].port)
        expect_echo(association, b"allowed now", targets[1])
        expect_echo(association, b"allowed now", targets[2])
        expect(drops(daemon), {"denied": 12}, "the drops")
    for target in targets:
        target.socket.close()
    daemon.stop()


def test_egress():
    """A rule's egress is where the datagrams leave from, and only there"""
    port = harness.free_port()
    base = f"[listen test]\naddress = 127.0.0.1:{port}\n"
    egress = "[egress e]\naddress = 127.0.0.44\n[rule a]\naction = allow\ndestination = 127.0.0.66\negress = e\n"
    path = harness.temporary_file("udp-egress.conf", base + egress)
    daemon = harness.Daemon("socksd", port, config=path)
    plain, special = Echo(), Echo("127.0.0.66")
    with harness.closing_all() as things:
        association = Association(port)
        things.append(association)
        for _ in range(2):
            expect_echo(association, b"plain", plain)
            expect_echo(association, b"special", special)
        expect({host for host, _ in plain.sources}, {"127.0.0.1"}, "the source without egress")
        expect({host for host, _ in special.sources}, {"127.0.0.44"}, "the source by the egress")
        expect((len(set(plain.sources)), len(set(special.sources))), (1, 1), "the sources")
        # Unchanged by a reload, the socket stays; changed, there is another one.
        for text, source in ((egress, "127.0.0.44"), (egress.replace(".44", ".45"), "127.0.0.45")):
            before = len(daemon.log())
            harness.temporary_file("udp-egress.conf", base + text)
            daemon.send_signal(signal.SIGHUP)
            daemon.wait_log("reloaded", before)
            expect_echo(association, b"special", special)
            expect(special.sources[-1][0], source, "the source after a reload")
            expect(special.sources[-1] == special.sources[0], source == "127.0.0.44", "that the port is the same")
            expect_echo(association, b"plain", plain)
            expect(plain.sources[-1], plain.sources[0], "the source without egress")
    daemon.stop()


def test_egress_of_name():
    """A name's egress holds for its datagrams, also where others have sent to the same address by another way"""
    daemon, server = socksd_with_names(
        {"one.example": {A: "127.0.0.66"}, "two.example": {A: "127.0.0.66"}}, "egress e.address=127.0.0.44",
        "rule a.action=allow", "rule a.destination=one.example", "rule a.egress=e",
        "listen test.udp-filtering=endpoint-independent")
    target, other = Echo("127.0.0.66"), Echo("127.0.0.66")
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things += [server, association]
        for name, source in (("127.0.0.66", "127.0.0.1"), ("one.example", "127.0.0.44"), ("two.example", "127.0.0.1"),
                             ("one.example", "127.0.0.44"), ("127.0.0.66", "127.0.0.1")):
            expect_echo(association, b"a datagram", target, name)
            expect(target.sources[-1][0], source, f"the source for {name}")
        # Nor does it matter that the target was let in before it was sent to.
        association = Association(daemon.port)
        things.append(association)
        expect_echo(association, b"by the egress first", target, "one.example")
        other.socket.sendto(b"unasked", target.sources[-1])
        expect(association.receive()[1:], (other.port, b"unasked"), "what came unasked")
        for name in ("two.example", "127.0.0.66", "one.example"):
            expect_echo(association, b"a datagram", other, name)
        expect([host for host, _ in other.sources], ["127.0.0.1", "127.0.0.1", "127.0.0.44"], "the sources")
    daemon.stop()


# --- names ----------------------------------------------------------------------------------------


def socksd_with_names(records, *options, delays=None):
    """socksd that asks a DNS server with these records, {name: {type: address}}, and TTL 1; and that server.
    A name whose addresses are None gets no answer."""

    def answer(message, _transport):
        name = message.name.lower()
        time.sleep((delays or {}).get(name, 0))
        if name not in records:
            return message.answer_bytes(rcode=NXDOMAIN)
        if records[name] is None:
            return None
        address = records[name].get(message.type)
        if not address:
            return message.answer_bytes()
        if message.type == A:
            return message.answer_bytes([a_record(message.name, address, 1)])
        return message.answer_bytes([Record(message.name, AAAA, 1, 1, socket.inet_pton(socket.AF_INET6, address))])

    server = DnsServer(answer)
    return harness.socksd(f"dns.server={server.address}", *options), server


def test_names():
    """What waits for a name is sent in order; what cannot wait, or has no address, is dropped, and holds up nobody"""
    records = {"slow.example": {A: "127.0.0.1"}}
    daemon, server = socksd_with_names(records, delays={"slow.example": 0.5})
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things += [server, association]
        for number in range(20):
            association.send(b"%d" % number, "slow.example", echo().port)
        start = time.monotonic()
        expect_echo(association, b"fast")
        expect(time.monotonic() - start < 0.4, True, "that nobody waits for a name but who needs it")
        expect([association.receive()[2] for _ in range(16)], [b"%d" % number for number in range(16)], "what waited")
        expect(drops(daemon), {"queue": 4}, "the drops")
        expect_echo(association, b"known by now", host="slow.example")
        association.send(b"nowhere", "missing.example", 53)
        harness.wait_until(lambda: drops(daemon) == {"queue": 4, "unresolved": 1}, what="drop of a name without address")
        # One question for all.
        expect(server.names().count("slow.example"), 1, "questions for the name")
        # Gone while a lookup is under way.
        association.send(b"never mind", "slow.example", 9)
        records["later.example"] = {A: "127.0.0.1"}
    daemon.wait_log(r"session-end .*command=udp .*dropped=unresolved:1,queue:4 .*end=finished")
    daemon.stop()


def test_names_move():
    """A conversation with a name stays with its address as long as DNS gives that, and no longer than its TTL"""
    records = {"move.example": {A: "127.0.0.1"}}
    daemon, server = socksd_with_names(records)
    port = harness.free_port()
    here, _there = Echo("127.0.0.1", port), Echo("127.0.0.66", port)
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things += [server, association]
        expect_echo(association, b"first", here, "move.example")
        records["move.example"] = {A: "127.0.0.66"}
        expect_echo(association, b"still", here, "move.example")

        def has_moved():
            association.send(b"and now?", "move.example", here.port)
            return association.receive()[0] == "127.0.0.66"

        harness.wait_until(has_moved, 6, "move to the other address")
        # Without an answer it stays where it is.
        records["move.example"] = None
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            expect(has_moved(), True, "the address in use")
            time.sleep(0.2)
    daemon.stop()


def test_names_denied():
    """A name that is denied is not asked for; addresses of names are judged like others"""
    records = {"inside.example": {A: "169.254.169.254"}, "good.example": {A: "127.0.0.1"}}
    daemon, server = socksd_with_names(
        records, "rule ads.action=deny", "rule ads.destination=.ads.example", "rule names.action=allow",
        "rule names.destination=good.example", "rule rest.action=deny", "rule rest.destination=127.0.0.0/8")
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things += [server, association]
        association.send(b"no", "x.ads.example", 53)
        association.send(b"no", "inside.example", 53)
        association.send(b"no", "127.0.0.1", echo().port)
        expect_echo(association, b"yes", host="good.example")
        # What was allowed by its name is not allowed by its address.
        association.send(b"no", "127.0.0.1", echo().port)
        expect_echo(association, b"yes", host="good.example")
        expect("x.ads.example" in server.names(), False, "that DNS heard of it")
        # The one to inside.example, once DNS has answered.
        harness.wait_until(lambda: drops(daemon) == {"denied": 4}, what="the fourth drop")
    daemon.stop()


def test_names_reload():
    """What waits for a name at a reload with other name servers is judged by the new rules, whatever the old ones say"""
    if not harness.have_ipv6():
        raise harness.Skip("no IPv6")

    def answer(message, _transport):
        if message.type == A:
            return None
        return message.answer_bytes([Record(message.name, AAAA, 1, 60, socket.inet_pton(socket.AF_INET6, "::1"))])

    def write(server, rules):
        with open(path, "w", encoding="ascii") as file:
            file.write(f"[server]\nworkers = 1\n[listen test]\naddress = 127.0.0.1:{port}\n[dns]\n"
                       f"server = {server.address}\n[egress e]\naddress = ::1\n{rules}")

    def reload(server, rules):
        before = len(daemon.log())
        write(server, rules)
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded", before)

    allow = "[rule a]\naction = allow\ndestination = one.example\negress = e\n"
    deny = "[rule a]\naction = deny\ndestination = ::1/128\n"
    servers = [DnsServer(answer), DnsServer(answer)]
    path, port = harness.temporary_path("udp-names.conf"), harness.free_port()
    write(servers[0], allow)
    daemon = harness.Daemon("socksd", port, config=path)
    with harness.closing_all() as things, socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        association, target = Association(port), Echo("::1")
        # The IPv6 address gets into the cache, and the question for others is on its way.
        things += [association, socks.connect(port, "one.example", listener.getsockname()[1])]
        association.send(b"too late", "one.example", target.port)
        expect_echo(association, b"fence")
        reload(servers[1], deny)
        harness.wait_until(lambda: drops(daemon) == {"denied": 1}, what="drop of what waited")
        expect(target.sources, [], "what the target got")
        reload(servers[1], allow)
        expect_echo(association, b"still there")
    daemon.stop()


# --- limits, and the end --------------------------------------------------------------------------


def expect_refused(rep, daemon, **more):
    try:
        Association(daemon.port, **more).close()
    except socks.Refused as refused:
        expect(refused.rep, rep, "REP")
    else:
        raise AssertionError(f"an association, instead of REP {rep:02x}")


def test_refused():
    """udp = no is REP 07, a rule 02, max-udp-per-client 02, no descriptors 01"""
    daemon = harness.socksd("listen test.udp=no")
    expect_refused(7, daemon)
    daemon.stop()
    daemon = harness.socksd("rule x.action=deny", "rule x.command=udp")
    expect_refused(2, daemon)
    daemon.wait_log(r"session-end .*command=udp .*end=denied why=rule rule=x")
    daemon.stop()
    daemon = harness.socksd("limits.max-udp-per-client=3", "server.workers=2")
    with harness.closing_all() as things:
        things += [Association(daemon.port) for _ in range(3)]
        expect_refused(2, daemon)
        things.pop().close()
        harness.wait_until(lambda: daemon.counters()["udp_associations_now"] == 2, what="end of an association")
        things.append(Association(daemon.port))
        expect(daemon.counters()["udp_refused_per_client"], 1, "udp_refused_per_client")
    daemon.stop()


def test_few_descriptors():
    """With few descriptors, associations wait or are refused before they would be unable to send"""
    daemon = harness.socksd("server.workers=1", wrapper=("prlimit", "--nofile=80"))
    with harness.closing_all() as things:
        # One connection that takes half of what an association takes.
        things.append(socks.open_proxy(daemon.port))
        associations = []
        try:
            for _ in range(40):
                associations.append(Association(daemon.port))
                things.append(associations[-1])
        except socks.Refused as refused:
            expect(refused.rep, 1, "REP")
        else:
            raise AssertionError("40 associations with 80 descriptors")
        daemon.wait_log(r"session-end .*command=udp .*why=descriptors")
        expect(len(associations) > 3, True, "that there is room for some")
        for association in associations:
            expect_echo(association, b"4")
            if harness.have_ipv6():
                expect_echo(association, b"6", echo("::1"))
        expect(drops(daemon), {}, "the drops")
    harness.wait_until(lambda: daemon.counters()["udp_associations_now"] == 0, what="end of all associations")
    with harness.closing_all() as things:
        things += [Association(daemon.port) for _ in associations]
    daemon.stop()


def test_rate():
    """udp-rate and udp-bandwidth hold each association to its rate"""
    daemon = harness.socksd("limits.udp-rate=50")
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things.append(association)
        for _ in range(200):
            association.send(b"hello", "127.0.0.1", echo().port)
        received = 0
        while not association.is_silent(0.3):
            received += 1
        expect(5 <= received <= 20, True, f"that some of 200 pass ({received})")
        expect_echo(association, b"later")
    found = drops(daemon)
    expect((list(found), found["rate"]), (["rate"], 200 - received), "the drops")
    daemon.stop()


def test_end():
    """The end of the connection, orderly or not, frees both sockets within 100 ms"""
    daemon = harness.socksd("server.workers=1")
    idle = udp_sockets(daemon.process)
    for reset in (False, True):
        association = Association(daemon.port)
        expect_echo(association, b"hello")
        expect(len(udp_sockets(daemon.process) - idle), 2, "sockets of an association")
        if reset:
            association.control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        start = time.monotonic()
        association.control.close()
        while udp_sockets(daemon.process) != idle:
            if time.monotonic() - start > 0.1:
                raise AssertionError("sockets are open 100 ms after the connection")
        association.socket.close()
    daemon.wait_log(r"session-end .*command=udp .*bytes_up=5 bytes_down=5 datagrams_up=1 datagrams_down=1 dropped=- "
                    r".*end=finished")
    daemon.wait_log(r"session-end .*command=udp .*end=client_reset")
    daemon.stop()


def test_idle():
    """udp-idle-timeout ends an association and its connection; datagrams of either side put it off, strangers do not"""
    daemon = harness.socksd("limits.udp-idle-timeout=700ms")
    with harness.closing_all() as things:
        busy, idle, flooded = (Association(daemon.port) for _ in range(3))
        stranger, talker = udp_socket("127.0.0.2"), udp_socket()
        things += [busy, idle, flooded, stranger, talker]
        busy.send(b"hello", *talker.getsockname())
        mapped = talker.recvfrom(100)[1]
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            talker.sendto(b"more", mapped)
            flooded.send(b"?", "127.0.0.1", echo().port, sock=stranger)
            expect(busy.receive()[2], b"more", "what the target sends")
            time.sleep(0.05)
        for association in (idle, flooded):
            association.control.settimeout(0.01)
            try:
                expect(association.control.recv(1), b"", "what an idle connection says")
            except ConnectionResetError:
                pass
        expect(daemon.counters()["idle_timeout"], 2, "idle_timeout")
        busy.control.settimeout(3)
        try:
            expect(busy.control.recv(1), b"", "what the connection says in the end")
        except ConnectionResetError:
            pass
    daemon.stop()


def test_control_bytes():
    """What is said on the connection is ignored, up to 64 KiB"""
    with harness.closing_all() as things:
        association = Association(proxy().port)
        things.append(association)
        association.control.sendall(bytes(60000))
        expect_echo(association, b"hello")
        association.control.sendall(bytes(10000))
        proxy().wait_log(r"session-end .*command=udp .*end=invalid why=control_bytes")


def test_drain():
    """SIGTERM lets associations go on until they end"""
    daemon = harness.socksd("server.workers=2")
    with harness.closing_all() as things:
        association = Association(daemon.port)
        things.append(association)
        expect_echo(association, b"before")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_log("draining")
        expect_echo(association, b"while it drains")
        start = time.monotonic()
    daemon.stopping = True
    expect(daemon.process.wait(5), 0, "the exit status")
    expect(time.monotonic() - start < 2, True, "that it ended with the last association")
    # A second signal does not wait.
    daemon = harness.socksd()
    with harness.closing_all() as things:
        things.append(Association(daemon.port))
        expect_echo(things[0], b"hello")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_log("draining")
        daemon.send_signal(signal.SIGTERM)
        daemon.stopping = True
        expect(daemon.process.wait(5), 0, "the exit status")


def test_password():
    """An association of a user who is removed ends with a reload"""
    port = harness.free_port()
    users = harness.temporary_path("udp-users")
    for user in ("alice", "bob"):
        harness.output_of(harness.program_path("socksd-passwd"), users, user, text_in=b"secret\n")
    harness.let_daemons_read(users)
    daemon = harness.Daemon("socksd", port, [f"listen test.address=127.0.0.1:{port}", "listen test.auth=password",
                                             f"listen test.users={users}", "rule b.action=deny", "rule b.user=bob",
                                             "rule b.command=udp", f"rule b.port={echo().port}"])
    with harness.closing_all() as things:
        associations = {}
        for user in ("alice", "bob"):
            control = socks.open_proxy(port)
            control.sendall(socks.GREETING_PASSWORD + socks.password_bytes(user, "secret"))
            expect(socks.receive(control, 4), b"\5\2\1\0", "the answers")
            associations[user] = Association(port, control=control)
            things.append(associations[user])
        expect_echo(associations["alice"], b"hello")
        associations["bob"].send(b"hello", "127.0.0.1", echo().port)
        expect(associations["bob"].is_silent(0.2), True, "silence for bob")
        with open(users, encoding="ascii") as file:
            lines = file.readlines()
        with open(users, "w", encoding="ascii") as file:
            file.writelines(line for line in lines if not line.startswith("alice:"))
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log(r"session-end .*user=alice command=udp .*end=revoked why=user_removed")
        other = Echo()
        expect_echo(associations["bob"], b"still here", other)
    daemon.stop()


@harness.limit(300)
def test_churn():
    """Associations that come and go leave descriptors and memory as they were"""
    daemon = harness.socksd("server.workers=1", "log.level=notice")

    def open_and_close(count):
        for number in range(count):
            association = Association(daemon.port)
            if number % 3:
                expect_echo(association, b"hello")
            if number % 10 == 1:
                association.send(b"a", "127.0.0.1", echo().port, fragment=1)
            association.close()

    def count_files():
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    files = count_files()
    open_and_close(CHURN)
    memory = daemon.rss_bytes()
    open_and_close(CHURN)
    harness.wait_until(lambda: daemon.counters()["sessions_now"] == 0, what="end of all sessions")
    expect(count_files(), files, "descriptors")
    if not harness.SANITIZED:
        expect(daemon.rss_bytes() - memory < 256 << 10, True, "that the second half left the memory as it was")
    daemon.stop()


harness.run(globals())
