# SPDX-License-Identifier: ISC
"""UDP ASSOCIATE (RFC 1928 sections 4, 6 and 7): the association, its datagrams both ways, whom it listens to, and what
must not end it."""

import ipaddress
import socket
import struct
import time

from context import BAD_COMMAND, SUCCEEDED, address_bytes, blob, request_bytes, show
from engine import Failed, Skipped, case

RFC = "RFC 1928 4"
HEADER = "RFC 1928 7"
SOURCE = f"{HEADER}: datagrams from elsewhere must be dropped"
LIFE = f"{HEADER}: the association ends with the TCP connection"
UDP = 3
QUIET = 0.35  # seconds after which a datagram that has not come will not come
STRANGER = "127.0.0.9"


# --- the two ends ---------------------------------------------------------------------------------


def udp_socket(t, host, port=0):
    sock = t.keep(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    sock.bind((host, port))
    return sock


def receive_from(t, sock, what, seconds=None):
    """(bytes, (host, port)) of one datagram."""
    sock.settimeout(max(0.01, t.left() if seconds is None else seconds))
    try:
        data, source = sock.recvfrom(1 << 17)
    except TimeoutError:
        raise Failed(f"no {what} has come") from None
    return data, source[:2]


def expect_nothing(sock, what, seconds=QUIET):
    sock.settimeout(seconds)
    try:
        data, source = sock.recvfrom(1 << 17)
    except TimeoutError:
        return
    raise Failed(f"{what}: {show(data)} from {source[0]}:{source[1]}")


def header_bytes(host, port, fragment=0, reserved=0):
    return struct.pack(">HB", reserved, fragment) + address_bytes(host) + struct.pack(">H", port)


class Datagram:
    """What came out of the relay."""

    def __init__(self, raw):
        self.raw = raw
        if len(raw) < 10 or raw[3] not in (1, 4):
            raise Failed(f"the header of the answer begins {show(raw)}")
        size = 4 if raw[3] == 1 else 16
        self.kind = raw[3]
        self.head = raw[:3]
        self.host = str(ipaddress.ip_address(raw[4:4 + size]))
        self.port = struct.unpack_from(">H", raw, 4 + size)[0]
        self.data = raw[6 + size:]


class Peer:
    """A socket behind the server."""

    def __init__(self, t, host=None):
        self.t = t
        self.host = host or t.server.targets
        self.sock = udp_socket(t, self.host)
        self.port = self.sock.getsockname()[1]
        self.seen = None  # where the last datagram came from

    def expect(self, data, seconds=None):
        got, self.seen = receive_from(self.t, self.sock, "datagram for the target", seconds)
        if got != data:
            raise Failed(f"the target got {show(got)}, not {show(data)}")

    def expect_nothing(self):
        expect_nothing(self.sock, "the target got what it should not")

    def answer(self, data):
        self.sock.sendto(data, self.seen)


class Association:
    """The client's part: a TCP connection and a socket."""

    def __init__(self, t, host="0.0.0.0", port=0, own_port=False, behind=b""):
        self.t = t
        self.conn = t.ready()
        self.address = self.conn.sock.getsockname()[0]
        self.sock = udp_socket(t, self.address)
        if own_port:
            host, port = self.sock.getsockname()[:2]
        self.conn.send(request_bytes(host, port, UDP) + behind)
        self.reply = t.reply(self.conn)
        if self.reply.rep == BAD_COMMAND:
            t.lacks("udp")
        t.equal("REP", self.reply.rep, SUCCEEDED)
        self.relay = (self.reply.host, self.reply.port)
        if isinstance(self.reply.host, str) and ipaddress.ip_address(self.reply.host).is_unspecified:
            self.relay = (t.server.host, self.reply.port)

    def send(self, peer, data, host=None, **header):
        self.sock.sendto(header_bytes(host or peer.host, peer.port, **header) + data, self.relay)

    def receive(self):
        raw, source = receive_from(self.t, self.sock, "answer for the client")
        self.t.equal("where the answer comes from", source, self.relay)
        return Datagram(raw)

    def expect(self, peer, data):
        """The answer of a peer, with its address."""
        answer = self.receive()
        self.t.equal("RSV and FRAG of the answer", answer.head, b"\0\0\0")
        self.t.equal("the source in the answer", (answer.host, answer.port), (peer.host, peer.port))
        if answer.data != data:
            raise Failed(f"the client got {show(answer.data)}, not {show(data)}")
        return answer

    def expect_nothing(self):
        expect_nothing(self.sock, "the client got what it should not")

    def expect_works(self, peer=None, data=b"there", back=b"and back"):
        """A datagram passes, and its answer."""
        peer = peer or Peer(self.t)
        self.send(peer, data)
        peer.expect(data)
        peer.answer(back)
        return self.expect(peer, back)


def need_loopback(t):
    if not t.server.host.startswith("127."):
        raise Skipped("strangers are sent from other addresses of loopback")


# --- the reply ------------------------------------------------------------------------------------


@case("udp/reply", RFC, "00")
def reply_code(t):
    Association(t)


@case("udp/reply-address", f"{RFC}: where to send to", "BND.ADDR is no 0.0.0.0 or ::, BND.PORT no 0")
def reply_address(t):
    reply = Association(t).reply
    t.true(not ipaddress.ip_address(reply.host).is_unspecified, f"BND.ADDR {reply.host}")
    t.true(reply.port, "BND.PORT 0")


@case("udp/reply-family", f"{RFC}: the client must be able to send there", "an address of the family of the TCP "
      "connection, not a name")
def reply_family(t):
    reply = Association(t).reply
    t.equal("the ATYP of BND.ADDR", reply.kind, 4 if ":" in t.server.host else 1)


@case("udp/reply-reached", f"{RFC}; RFC 1122 4.1.3.5", "datagrams go to BND.ADDR and answers come from there")
def reply_reached(t):
    Association(t).expect_works()


def requested(name, expect, make, level="must", **more):
    """DST of the request is what the client will send from, as far as it knows."""

    @case(f"udp/request-{name}", f"{RFC}: DST is where the client will send from, 0 if not known", expect, level)
    def run(t):
        Association(t, *make(t), **more).expect_works()


requested("own-address", "the client's own address and port are fine", lambda t: (), own_port=True)
requested("zero-ipv6", ":: and port 0 are fine", lambda t: ("::", 0))
requested("empty-name", "an empty name stands for an address not known yet", lambda t: (b"", 0), "should")
requested("lan-address", "an address of the client's LAN, as it is seen behind NAT, does no harm",
          lambda t: ("10.11.12.13", 4321), "should")
requested("name", "nor does a name", lambda t: (t.name("10.11.12.13"), 4321), "should")


@case("udp/two-associations", RFC, "two of one client have ports of their own and are not mixed up")
def two_associations(t):
    one, two = Association(t), Association(t)
    t.true(one.relay != two.relay, "both have the same port")
    peer = Peer(t)
    one.send(peer, b"one")
    peer.expect(b"one")
    first = peer.seen
    two.send(peer, b"two")
    peer.expect(b"two")
    t.true(first != peer.seen, "the target sees both from one port")
    peer.answer(b"to two")
    two.expect(peer, b"to two")
    peer.sock.sendto(b"to one", first)
    one.expect(peer, b"to one")


# --- datagrams both ways --------------------------------------------------------------------------


@case("udp/ipv6", HEADER, "to an IPv6 target and back, ATYP 04")
def ipv6(t):
    answer = Association(t).expect_works(Peer(t, t.need_ipv6()))
    t.equal("the ATYP of the answer", answer.kind, 4)


@case("udp/both-families", HEADER, "IPv4, IPv6 and IPv4 again in one association")
def both_families(t):
    link, four, six = Association(t), Peer(t), Peer(t, t.need_ipv6())
    for peer in (four, six, four, six):
        link.expect_works(peer)


@case("udp/mapped", HEADER, "a v4-mapped target is the IPv4 target, its answers have ATYP 01", "should")
def mapped(t):
    link, peer = Association(t), Peer(t)
    link.send(peer, b"mapped", host="::ffff:" + peer.host)
    peer.expect(b"mapped")
    peer.answer(b"yes")
    t.equal("the ATYP of the answer", link.expect(peer, b"yes").kind, 1)


@case("udp/name", HEADER, "a name is resolved; the answer has the address it came from")
def name(t):
    link, peer = Association(t), Peer(t)
    link.send(peer, b"by name", host=t.name(peer.host))
    peer.expect(b"by name")
    peer.answer(b"hello")
    link.expect(peer, b"hello")


@case("udp/name-is-address", "RFC 1928 5", "an address written as a name is an address", "should")
def name_is_address(t):
    link, peer = Association(t), Peer(t)
    link.send(peer, b"literal", host=peer.host.encode())
    peer.expect(b"literal")


@case("udp/name-many", HEADER, "ten datagrams for one name, sent before it is resolved, all arrive", "should")
def name_many(t):
    link, peer = Association(t), Peer(t)
    wanted = t.name(peer.host)
    for number in range(10):
        link.send(peer, b"%d" % number, host=wanted)
    got = {receive_from(t, peer.sock, "datagram for the target")[0] for _ in range(10)}
    t.equal("the datagrams", got, {b"%d" % number for number in range(10)})


@case("udp/many-targets", HEADER, "20 targets in one association; each answer has the address of its sender")
def many_targets(t):
    link, peers = Association(t), [Peer(t) for _ in range(20)]
    for number, peer in enumerate(peers):
        link.send(peer, b"to %d" % number)
    for number, peer in enumerate(peers):
        peer.expect(b"to %d" % number)
    for number, peer in reversed(list(enumerate(peers))):
        peer.answer(b"from %d" % number)
        link.expect(peer, b"from %d" % number)


@case("udp/same-port-for-all", "RFC 4787 4.1: endpoint-independent mapping", "all targets see the same port", "should")
def same_port_for_all(t):
    link, one, two = Association(t), Peer(t), Peer(t)
    link.expect_works(one)
    link.expect_works(two)
    t.equal("what the second target sees", two.seen, one.seen)


@case("udp/answer-from-elsewhere", "RFC 4787 5: endpoint-independent filtering", "what somebody else sends to that port "
      "reaches the client, with their address", "should")
def answer_from_elsewhere(t):
    link, one, two = Association(t), Peer(t), Peer(t)
    link.expect_works(one)
    two.seen = one.seen
    two.answer(b"from elsewhere")
    link.expect(two, b"from elsewhere")


# --- sizes ----------------------------------------------------------------------------------------


def size_of(size, level="must"):
    @case(f"udp/size-{size}", f"{HEADER}; RFC 768", f"{size} bytes arrive both ways, bit-identical", level)
    def run(t):
        link = Association(t)
        link.expect_works(data=blob(size, 1), back=blob(size, 2))


for _size in (0, 1, 1200, 1472, 1500, 9000, 32768):
    size_of(_size)
size_of(65000, "should")


@case("udp/size-largest", f"{HEADER}; RFC 768", "the largest that the header leaves room for, 65,497 bytes, both ways",
      "should")
def size_largest(t):
    Association(t).expect_works(data=blob(65497, 3), back=blob(65497, 4))


@case("udp/sizes-0-to-2000", f"{HEADER}; RFC 768", "every size from 0 to 2,000 bytes arrives both ways, bit-identical",
      seconds=30)
def sizes(t):
    link, peer = Association(t), Peer(t)
    for size in range(2001):
        link.expect_works(peer, blob(size, size), blob(size, size + 7))


@case("udp/burst", HEADER, "64 datagrams of 1,200 bytes sent at once arrive, in order, and 64 answers")
def burst(t):
    link, peer = Association(t), Peer(t)
    data = [blob(1200, number) for number in range(64)]
    for piece in data:
        link.send(peer, piece)
    for piece in data:
        peer.expect(piece)
    for piece in reversed(data):
        peer.answer(piece)
    for piece in reversed(data):
        link.expect(peer, piece)


# --- whom it listens to ---------------------------------------------------------------------------


@case("udp/stranger", SOURCE, "what another address sends does not reach the target")
def stranger(t):
    need_loopback(t)
    link, peer, other = Association(t), Peer(t), udp_socket(t, STRANGER)
    link.expect_works(peer)
    other.sendto(header_bytes(peer.host, peer.port) + b"evil", link.relay)
    peer.expect_nothing()


@case("udp/stranger-first", SOURCE, "nor does it when it comes first; the owner is served then")
def stranger_first(t):
    need_loopback(t)
    link, peer, other = Association(t), Peer(t), udp_socket(t, STRANGER)
    other.sendto(header_bytes(peer.host, peer.port) + b"evil", link.relay)
    peer.expect_nothing()
    link.expect_works(peer)


@case("udp/stranger-does-not-redirect", SOURCE, "answers still go to the owner after a stranger has sent something")
def stranger_does_not_redirect(t):
    need_loopback(t)
    link, peer, other = Association(t), Peer(t), udp_socket(t, STRANGER)
    link.expect_works(peer)
    other.sendto(header_bytes(peer.host, peer.port) + b"evil", link.relay)
    time.sleep(0.1)
    peer.answer(b"for the owner")
    link.expect(peer, b"for the owner")
    expect_nothing(other, "the stranger got an answer", 0.2)


@case("udp/stranger-flood", f"{SOURCE}; robustness", "2,000 of their datagrams do not cost the owner one", seconds=12)
def stranger_flood(t):
    need_loopback(t)
    link, peer, other = Association(t), Peer(t), udp_socket(t, STRANGER)
    link.expect_works(peer)
    for number in range(2000):
        other.sendto(header_bytes(peer.host, peer.port) + b"evil", link.relay)
        if number % 100 == 99:
            time.sleep(0.01)
            link.expect_works(peer)


@case("udp/declared-port", f"{RFC}: DST limits access", "a client that has said its port is served on that port only",
      "should")
def declared_port(t):
    link, peer = Association(t, own_port=True), Peer(t)
    other = udp_socket(t, link.address)
    other.sendto(header_bytes(peer.host, peer.port) + b"other port", link.relay)
    peer.expect_nothing()
    link.expect_works(peer)


@case("udp/target-is-no-client", SOURCE, "a target that sends something with a header to BND is not obeyed")
def target_is_no_client(t):
    need_loopback(t)
    link, peer, other = Association(t), Peer(t, STRANGER), Peer(t)
    link.expect_works(peer)
    peer.sock.sendto(header_bytes(other.host, other.port) + b"relay this", link.relay)
    other.expect_nothing()
    link.expect_works(other)


# --- what must not end it -------------------------------------------------------------------------


def survives(name, cite, expect, make, level="must"):
    """make(t, peer): datagrams of which none reaches the target; the association lives on."""

    @case(f"udp/{name}", cite, expect, level)
    def run(t):
        link, peer = Association(t), Peer(t)
        link.expect_works(peer)
        for raw in make(t, peer):
            link.sock.sendto(raw, link.relay)
        peer.expect_nothing()
        link.expect_works(peer)


BAD = "is dropped, and nothing else happens"
survives("bad-reserved", HEADER, f"RSV 0001 {BAD}",
         lambda t, peer: [header_bytes(peer.host, peer.port, reserved=1) + b"bad"], "should")
survives("bad-short", f"{HEADER}; robustness", f"what is shorter than a header {BAD}",
         lambda t, peer: [header_bytes(peer.host, peer.port)[:size] for size in range(10)])
survives("bad-type", f"{HEADER}; robustness", f"an unknown ATYP {BAD}",
         lambda t, peer: [b"\0\0\0" + bytes([kind]) + bytes(20) for kind in (0, 2, 5, 0xFF)])
survives("bad-port", f"{HEADER}; robustness", f"port 0 {BAD}",
         lambda t, peer: [header_bytes(peer.host, 0) + b"bad"])
survives("bad-name-length", f"{HEADER}; robustness", f"a name longer than the datagram {BAD}",
         lambda t, peer: [b"\0\0\0\x03\xff" + b"a" * 20, b"\0\0\0\x03\x00\x00\x50"])
survives("bad-name", "RFC 1035 2.3.4; robustness", f"a name that is none {BAD}",
         lambda t, peer: [header_bytes(b"a..b", peer.port) + b"x", header_bytes(b"a\0b", peer.port) + b"x"])
survives("bad-name-unknown", f"{HEADER}; robustness", f"a name that nobody has {BAD}",
         lambda t, peer: [t.need_dns() and header_bytes(f"none-{t.number}.conform.example".encode(), peer.port) + b"x"])
survives("denied", "policy: nothing a client could not reach itself", f"what is for 0.0.0.0, multicast or broadcast {BAD}",
         lambda t, peer: [header_bytes(host, peer.port) + b"x" for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255")],
         "should")
survives("unreachable", f"{HEADER}; robustness", f"what the routes have no way for {BAD}",
         lambda t, peer: [header_bytes(host, 9) + b"x" for host in ("240.0.0.1", "2001:db8::1")])
survives("fragment-alone", f"{HEADER}: FRAG", "a fragment is never sent on as if it were a datagram",
         lambda t, peer: [header_bytes(peer.host, peer.port, fragment=1) + b"half"])
survives("fragment-in-the-middle", f"{HEADER}: FRAG", "nor is one whose beginning is missing",
         lambda t, peer: [header_bytes(peer.host, peer.port, fragment=number) + b"half" for number in (2, 0x83)])
survives("fragments-out-of-order", f"{HEADER}: FRAG", "nor are those in the wrong order",
         lambda t, peer: [header_bytes(peer.host, peer.port, fragment=number) + b"part" for number in (2, 1, 0x83)])


@case("udp/fragments", f"{HEADER}: FRAG", "three fragments arrive as one datagram, or not at all")
def fragments(t):
    link, peer = Association(t), Peer(t)
    for number, piece in ((1, b"one, "), (2, b"two, "), (0x83, b"three")):
        link.send(peer, piece, fragment=number)
    peer.sock.settimeout(QUIET)
    try:
        t.equal("what the target got", peer.sock.recv(4096), b"one, two, three")
    except TimeoutError:
        pass
    link.expect_works(peer)


@case("udp/fragments-joined", f"{HEADER}: FRAG, a queue and a timer", "three fragments arrive as one datagram", "should")
def fragments_joined(t):
    link, peer = Association(t), Peer(t)
    for number, piece in ((1, b"one, "), (2, b"two, "), (0x83, b"three")):
        link.send(peer, piece, fragment=number)
    peer.expect(b"one, two, three", 2)


@case("udp/fragments-given-up", f"{HEADER}: FRAG, a queue and a timer", "a datagram in one piece ends a queue that waits "
      "for the rest", "should")
def fragments_given_up(t):
    link, peer = Association(t), Peer(t)
    link.send(peer, b"one, ", fragment=1)
    link.send(peer, b"whole")
    peer.expect(b"whole")
    link.send(peer, b"two", fragment=0x82)
    peer.expect_nothing()
    link.expect_works(peer)


@case("udp/one-bad-in-100", f"{HEADER}; robustness", "of 300 datagrams the 3 bad ones are lost, and no other")
def one_bad_in_100(t):
    link, peer = Association(t), Peer(t)
    for number in range(300):
        if number % 100 == 50:
            link.sock.sendto(b"\0\0\0\x09bad", link.relay)
        else:
            link.send(peer, b"%d" % number)
        if number % 30 == 29:
            time.sleep(0.005)
    for number in range(300):
        if number % 100 != 50:
            peer.expect(b"%d" % number)


@case("udp/port-unreachable", "RFC 1122 4.1.3.3; robustness", "a target that is not there (ICMP) ends nothing")
def port_unreachable(t):
    link, peer, gone = Association(t), Peer(t), Peer(t)
    gone.sock.close()
    for _ in range(3):
        link.send(gone, b"anybody there?")
        time.sleep(0.05)
    link.expect_works(peer)
    link.send(gone, b"still not?")
    time.sleep(0.05)
    link.expect_works(peer)


@case("udp/slow-name", f"{HEADER}; robustness", "a name that DNS does not answer does not hold up others", "should")
def slow_name(t):
    link, peer = Association(t), Peer(t)
    link.send(peer, b"lost", host=t.name(silent=True, word="slow"))
    began = time.monotonic()
    link.expect_works(peer)
    t.true(time.monotonic() - began < 1, "it took longer than 1 s")


@case("udp/client-unreachable", "RFC 1122 4.1.3.3; robustness", "answers that the client does not take (ICMP) end "
      "nothing", "should")
def client_unreachable(t):
    link, peer = Association(t), Peer(t)
    link.expect_works(peer)
    port = link.sock.getsockname()[1]
    link.sock.close()
    for _ in range(3):
        peer.answer(b"nobody takes this")
        time.sleep(0.05)
    link.sock = udp_socket(t, link.address, port)
    link.expect_works(peer)


# --- its life -------------------------------------------------------------------------------------


def ended(name, expect, end):
    @case(f"udp/{name}", LIFE, expect)
    def run(t):
        link, peer = Association(t), Peer(t)
        link.expect_works(peer)
        end(link.conn)
        time.sleep(0.5)
        try:
            link.send(peer, b"too late")
            peer.expect_nothing()
            peer.answer(b"too late")
            link.expect_nothing()
        except ConnectionRefusedError:
            pass


def close_with_data(conn):
    conn.send(b"x")
    conn.close()


ended("control-fin", "the client's FIN ends it", lambda conn: conn.fin())
ended("control-reset", "so does RST", lambda conn: conn.reset())
ended("control-closed-with-data", "so does FIN behind a byte", close_with_data)


@case("udp/control-stays", LIFE, "the server keeps the TCP connection, silently")
def control_stays(t):
    link = Association(t)
    link.expect_works()
    link.conn.expect_silence(1)
    link.expect_works()


@case("udp/control-data", "robustness", "bytes on the TCP connection say nothing", "should")
def control_data(t):
    link = Association(t, behind=b"behind the request")
    link.conn.send(b"what is this?")
    link.expect_works()
    link.conn.expect_silence(0.2)
    link.expect_works()


@case("timers/udp-idle", "RFC 4787 4.3", "an association without datagrams ends after the idle time, and its TCP "
      "connection, so that the client notices", "should", 20)
def idle(t):
    timeout = t.server.udp_idle_timeout
    t.need(timeout, "the server's idle timeout of UDP was not said (--udp-idle-timeout)")
    link = Association(t)
    link.expect_works()
    began = time.monotonic()
    link.conn.expect_end()
    took = time.monotonic() - began
    t.true(timeout - 1.1 <= took <= timeout + 3, f"after {took:.1f} s")


@case("timers/udp-idle-kept", "RFC 4787 4.3", "datagrams keep it alive", "should", 20)
def idle_kept(t):
    timeout = t.server.udp_idle_timeout
    t.need(timeout, "the server's idle timeout of UDP was not said (--udp-idle-timeout)")
    link, peer = Association(t), Peer(t)
    began = time.monotonic()
    while time.monotonic() - began < timeout * 1.6:
        link.expect_works(peer)
        time.sleep(timeout / 6)
    link.expect_works(peer)
