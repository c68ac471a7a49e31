# SPDX-License-Identifier: ISC
"""What the RFCs ask of a forwarder and no other file here covers, as its clients see it."""

import functools
import socket
import struct
import threading
import time

import dns_message as dns
import harness
from dns_message import Message, Record, a_record, query_bytes, soa_record
from harness import expect
from peers import DnsServer, ask_tcp, ask_udp

EDE, COOKIE, SUBNET = 15, 10, 8
NS, TXT, CH = 2, 16, 3


@functools.lru_cache(maxsize=None)
def server():
    return DnsServer(lambda message, _transport: message.answer_bytes([a_record(message.name, "192.0.2.1")]))


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.dnsproxyd(server().address, "server.workers=2")


def served_by(answer, *options):
    source = DnsServer(answer)
    return source, harness.dnsproxyd(source.address, "server.workers=1", *options)


def both(wire, port):
    """The replies by UDP and TCP."""
    return [Message(ask_it(wire, port)) for ask_it in (ask_udp, ask_tcp)]


def test_header():
    """Replies: ID, opcode and RD of the query, QR and RA set, AA and Z clear, whatever the query has (RFC 1035 4.1.1)"""
    opcodes = (0, 1, 2, 3, 4, 5, 6, 15)
    for flags in (0, dns.RD, dns.AA, dns.TC, dns.RA, 0x0040, dns.AD, dns.CD, 0x000f, 0x07ff):
        for opcode in opcodes:
            wire = query_bytes("flags.example", ident=0xbeef, flags=opcode << 11 | flags)
            for turn in range(2):
                reply = Message(ask_udp(wire, proxy().port))
                what = f"of the reply to opcode {opcode}, flags {flags:#06x}, turn {turn}"
                expect(reply.ident, 0xbeef, "ID " + what)
                expect(reply.flags & 0x7800, opcode << 11, "the opcode " + what)
                expect(reply.flags & (dns.QR | dns.RA | dns.AA | 0x0040 | dns.TC), dns.QR | dns.RA, "QR RA AA Z TC " + what)
                expect(reply.flags & dns.RD, flags & dns.RD, "RD " + what)
                expect(reply.rcode, dns.NOERROR if opcode == 0 else dns.NOTIMP, "RCODE " + what)


def test_any_octets():
    """Labels hold any octets (RFC 2181 section 11), are as long as 63 and names as long as 255"""
    odd = b"\x05\x00.\xff A\x01*"
    longest = b"".join(b"\x3f" + bytes([letter]) * 63 for letter in b"abc") + b"\x3d" + b"d" * 61
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.bind(("127.0.0.1", 0))
    daemon = harness.dnsproxyd(f"127.0.0.1:{source.getsockname()[1]}", "privacy.randomize-case=off")

    def serve():
        while True:
            wire, peer = source.recvfrom(4096)
            question = wire[12:wire.index(b"\0\x63\0\1", 12) + 4]
            source.sendto(wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + b"\xc0\x0c\0\x63\0\1\0\0\1\0\0\1!", peer)

    threading.Thread(target=serve, daemon=True).start()
    for name in (odd, longest, b"\x3f" + bytes(range(63)), b""):
        wire = struct.pack(">HHHHHH", 77, dns.RD, 1, 0, 0, 0) + name + b"\0" + struct.pack(">HH", 99, 1)
        for turn in range(2):
            reply = ask_udp(wire, daemon.port)
            expect(reply[:2] + reply[12:len(wire)], wire[:2] + wire[12:], f"ID and question, turn {turn}")
            expect((reply[3] & 15, reply[7], reply[-1:]), (dns.NOERROR, 1, b"!"), "RCODE, answers and data")
    too_long = longest[:-62] + b"\x3e" + b"d" * 62
    wire = struct.pack(">HHHHHH", 77, dns.RD, 1, 0, 0, 0) + too_long + b"\0" + struct.pack(">HH", 99, 1)
    expect(ask_udp(wire, daemon.port)[3] & 15, dns.FORMERR, "the RCODE for a name of 256 octets")
    daemon.stop()


def test_other_classes():
    """Other classes are passed on and kept apart (RFC 3597)"""
    def answer(message, _transport):
        cls = struct.unpack(">H", message.wire[message.wire.index(b"\0", 12) + 3:][:2])[0]
        wire = message.answer_bytes([Record(message.name, TXT, cls, 300, b"\x01" + bytes([64 + cls % 64]))])
        end = message.wire.index(b"\0", 12) + 5
        return wire[:end - 2] + struct.pack(">H", cls) + wire[end:]

    source, daemon = served_by(answer)
    for cls in (1, CH, 4, 65280):
        wire = query_bytes("version.server", TXT)
        wire = wire[:-2] + struct.pack(">H", cls)
        for _ in range(2):
            reply = Message(ask_udp(wire, daemon.port))
            expect([(record.cls, record.rdata) for record in reply.answers], [(cls, b"\x01" + bytes([64 + cls % 64]))],
                   f"the answer in class {cls}")
    expect(len(source.seen), 4, "the number of queries the upstream saw")
    daemon.stop()
    source.close()


def test_rrset_ttls():
    """The TTLs of an RRset are made equal, to the least of them (RFC 2181 section 5.2)"""
    source, daemon = served_by(lambda message, _: message.answer_bytes(
        [a_record(message.name, f"192.0.2.{index}", ttl) for index, ttl in enumerate((300, 50, 70))]))
    for turn in range(2):
        reply = Message(ask_udp(query_bytes("uneven.example"), daemon.port))
        expect({record.ttl for record in reply.answers} <= {49, 50}, True, f"the TTLs of answer {turn}")
        expect(len({record.ttl for record in reply.answers}), 1, "the number of TTLs")
    daemon.stop()
    source.close()


def test_alias_that_leads_nowhere():
    """NXDOMAIN at the end of a CNAME chain: the alias and the SOA stay, and it is kept as long as the least TTL says"""
    def answer(message, _transport):
        return message.answer_bytes([Record(message.name, dns.CNAME, 1, 2, dns.name_bytes("gone.example"))],
                                    [soa_record("example", 300, 300)], rcode=dns.NXDOMAIN)

    source, daemon = served_by(answer, "cache.serve-stale=0")
    for _ in range(2):
        reply = Message(ask_udp(query_bytes("alias.example"), daemon.port))
        expect((reply.rcode, [record.type for record in reply.answers], [record.type for record in reply.authority]),
               (dns.NXDOMAIN, [dns.CNAME], [dns.SOA]), "RCODE, answer and authority section")
    expect(reply.authority[0].ttl <= 2, True, "that clients keep what we kept no longer than we do")
    expect(len(source.seen), 1, "the number of queries the upstream saw")
    time.sleep(2.3)
    ask_udp(query_bytes("alias.example"), daemon.port)
    expect(len(source.seen), 2, "the number of queries the upstream saw after the alias's TTL")
    # It says nothing about other types of the name that does not exist, which nobody asked for.
    ask_udp(query_bytes("gone.example"), daemon.port)
    expect(len(source.seen), 3, "the number of queries the upstream saw")
    daemon.stop()
    source.close()


def test_what_replaces_stale_answers():
    """Any valid answer replaces one that has expired, NXDOMAIN and NODATA too (RFC 8767 section 4)"""
    state = {"reply": "good"}

    def answer(message, _transport):
        if state["reply"] == "good":
            return message.answer_bytes([a_record(message.name, "192.0.2.1", 1)])
        return message.answer_bytes(authority=[soa_record("example", 300, 300)],
                                    rcode=dns.NXDOMAIN if state["reply"] == "nxdomain" else dns.NOERROR)

    source, daemon = served_by(answer, "cache.prefetch=0%")
    for kind, rcode in (("nxdomain", dns.NXDOMAIN), ("nodata", dns.NOERROR)):
        state["reply"] = "good"
        name = f"{kind}.example"
        expect(len(Message(ask_udp(query_bytes(name), daemon.port)).answers), 1, "answers")
        time.sleep(1.3)
        state["reply"] = kind
        for _ in range(2):
            reply = Message(ask_udp(query_bytes(name), daemon.port))
            expect((reply.rcode, len(reply.answers), len(reply.authority)), (rcode, 0, 1), f"what has come of {name}")
    daemon.stop()
    source.close()


def test_subtree_and_neighbours():
    """NXDOMAIN of a name says nothing about what is below it (RFC 8020 needs validation for that)"""
    def answer(message, _transport):
        if message.name.lower() == "top.example":
            return message.answer_bytes(authority=[soa_record("example")], rcode=dns.NXDOMAIN)
        return message.answer_bytes([a_record(message.name, "192.0.2.1")])

    source, daemon = served_by(answer)
    expect(Message(ask_udp(query_bytes("top.example"), daemon.port)).rcode, dns.NXDOMAIN, "the RCODE")
    expect(Message(ask_udp(query_bytes("sub.top.example"), daemon.port)).rcode, dns.NOERROR, "the RCODE below it")
    daemon.stop()
    source.close()


def test_opt_of_clients():
    """One OPT, of the root, in the additional section; sizes below 512 count as 512; unknown options are ignored"""
    question = ("opt.example", dns.A)
    good = dns.opt_record()
    table = (
        ("two OPT records", dns.FORMERR, {"additional": [good, good]}),
        ("an OPT with a name", dns.FORMERR, {"additional": [Record("a", dns.OPT, 1232, 0, b"")]}),
        ("an OPT as answer", dns.FORMERR, {"answers": [good]}),
        ("an option that is cut", dns.FORMERR, {"additional": [dns.opt_record(options=b"\0\x0a\0\x08abc")]}),
        ("a size of 0", dns.NOERROR, {"additional": [dns.opt_record(0)]}),
        ("unknown options", dns.NOERROR, {"additional": [dns.opt_record(options=dns.option_bytes(65001, b"x") * 9)]}),
        ("a cookie and a subnet", dns.NOERROR, {"additional": [dns.opt_record(
            options=dns.option_bytes(COOKIE, b"12345678") + dns.option_bytes(SUBNET, b"\0\1\x18\0\xc0\0\2"))]}),
        ("unknown flags", dns.NOERROR, {"additional": [dns.opt_record(flags=0x7fff)]}),
    )
    for what, rcode, sections in table:
        for reply in both(dns.message_bytes(5, dns.RD, question, **sections), proxy().port):
            expect((reply.ident, reply.full_rcode), (5, rcode), f"ID and RCODE for {what}")
            if rcode == dns.NOERROR:
                expect((reply.opt.cls, reply.opt.ttl & 0xffff7fff, set(reply.options)), (1232, 0, set()),
                       f"size, flags and options of our OPT for {what}")
    for item in server().seen:
        if item.message.name.lower() == "opt.example":
            expect(set(item.message.options) & {COOKIE, SUBNET, 65001}, set(), "options of the client upstream")


def test_no_question():
    """QDCOUNT 0 and above 1 are FORMERR (RFC 9619), by TCP too, and the connection goes on"""
    for count in (0, 2, 65535):
        wire = struct.pack(">HHHHHH", 6, dns.RD, count, 0, 0, 0)
        wire += (dns.name_bytes("a.example") + struct.pack(">HH", 1, 1)) * min(count, 2)
        for reply in both(wire, proxy().port):
            expect((reply.ident, reply.rcode), (6, dns.FORMERR), f"ID and RCODE for QDCOUNT {count}")


def test_clients():
    """Who is not among the clients hears nothing by UDP and is closed by TCP"""
    daemon = harness.dnsproxyd(server().address, "listen test.clients=192.0.2.0/24")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect(("127.0.0.1", daemon.port))
        sock.send(query_bytes("stranger.example"))
        try:
            expect(sock.recv(4096), None, "a reply")
        except TimeoutError:
            pass
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as sock:
        try:
            expect(sock.recv(1), b"", "what the connection brings")
        except ConnectionResetError:
            pass
    counters = daemon.counters()
    expect((counters["queries_dropped"], counters["tcp_refused"]), (1, 1), "the counters")
    daemon.stop()


def test_referrals_and_lame_answers():
    """Neither a referral nor an answer without SOA is kept; both are passed on"""
    def answer(message, _transport):
        if message.name.lower().startswith("referral"):
            return message.answer_bytes(authority=[Record("example", NS, 1, 300, dns.name_bytes("ns.example"))])
        return message.answer_bytes()

    source, daemon = served_by(answer)
    for name, count in (("referral.example", 1), ("empty.example", 0)):
        before = len(source.seen)
        for turn in range(2):
            reply = Message(ask_udp(query_bytes(name), daemon.port))
            expect((reply.rcode, len(reply.authority)), (dns.NOERROR, count), f"RCODE and authority of {name}")
            expect(len(source.seen) > before + turn, True, f"that question {turn} about {name} went upstream")
    daemon.stop()
    source.close()


def test_service_records():
    """SVCB and HTTPS pass octet by octet, well-formed or not in their parameters (RFC 9460)"""
    good = b"\0\1\0" + b"\0\1\0\3\2h2" + b"\0\4\0\4\xc0\0\2\1" + b"\xff\0\0\1x"
    table = (good, b"\0\0" + dns.name_bytes("svc.example"), b"\0\1\0\0\1\xff\xff", b"\0\1\0" + b"\0\1\0\0" * 300)
    for kind in (64, 65):
        for number, rdata in enumerate(table):
            source, daemon = served_by(lambda message, _, k=kind, r=rdata: message.answer_bytes(
                [Record(message.name, k, 1, 300, r)]), "server.watch-network=off")
            for _ in range(2):
                reply = Message(ask_tcp(query_bytes(f"svc{number}.example", kind), daemon.port))
                expect([record.rdata for record in reply.answers], [rdata], f"record {number} of type {kind}")
            daemon.stop()
            source.close()


def test_tcp_messages():
    """By TCP: length and message leave together, an empty message ends the connection, a split one is put together"""
    with socket.create_connection(("127.0.0.1", proxy().port), timeout=5) as sock:
        wire = query_bytes("whole.example", ident=1)
        for octet in struct.pack(">H", len(wire)) + wire:
            sock.sendall(bytes([octet]))
            time.sleep(0.002)
        first = sock.recv(65535)
        expect(len(first), 2 + struct.unpack(">H", first[:2])[0], "the octets of the first segment")
        sock.sendall(b"\0\0")
        try:
            expect(sock.recv(1), b"", "what comes after an empty message")
        except ConnectionResetError:
            pass


harness.run(globals())
