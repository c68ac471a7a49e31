# SPDX-License-Identifier: ISC
"""dnsproxyd with the clients people use and a knot behind it, and seen byte by byte between servers of the test's own."""

import collections
import functools
import re
import socket
import struct
import time

import dns_message as dns
import harness
from dns_message import Message, a_record, query_bytes
from harness import expect, needs, output_of
from peers import DnsServer, Knot, ask_tcp, ask_udp, read_tcp_message, relay_to

LONG_TEXT = [str(digit) * 250 for digit in range(10)] + ["x" * 250, "y" * 250]
ZONE = f"""
$ORIGIN house.example.
$TTL 300
@       SOA ns admin 1 3600 600 86400 120
        NS ns
ns      A 127.0.0.1
www     A 192.0.2.1
www     A 192.0.2.2
www     AAAA 2001:db8::1
alias   CNAME www
@       MX 10 mail
mail    A 192.0.2.25
long    TXT {" ".join(LONG_TEXT)}
odd     TYPE65280 \\# 5 0102030405
nodata  A 192.0.2.8
brief   0 A 192.0.2.9
"""


@functools.lru_cache(maxsize=None)
def upstream():
    """A knot, behind a relay that sees each query."""
    return DnsServer(relay_to(Knot("house.example", ZONE).port))


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.dnsproxyd(upstream().address)


def dig(*arguments):
    needs("dig")
    return output_of("dig", "@127.0.0.1", "-p", str(proxy().port), "+tries=1", "+time=8", *arguments).decode()


def dig_short(*arguments):
    return sorted(dig("+short", *arguments).splitlines())


def count_upstream(name):
    return upstream().names().count(name)


# --- dig, and knot --------------------------------------------------------------------------------


def test_dig_a():
    """dig A"""
    expect(dig_short("www.house.example", "A"), ["192.0.2.1", "192.0.2.2"], "the answer")


def test_dig_aaaa():
    """dig AAAA"""
    expect(dig_short("www.house.example", "AAAA"), ["2001:db8::1"], "the answer")


def test_dig_mx():
    """dig MX"""
    expect(dig_short("house.example", "MX"), ["10 mail.house.example."], "the answer")


def test_dig_cname():
    """dig of an alias"""
    expect(dig_short("alias.house.example", "A"), ["192.0.2.1", "192.0.2.2", "www.house.example."], "the answer")


def test_dig_unknown_type():
    """dig TYPE65280"""
    expect(dig_short("odd.house.example", "TYPE65280"), ["\\# 5 0102030405"], "the answer")


def test_dig_long_txt():
    """dig TXT of 3,000 bytes: truncated over UDP, whole over TCP"""
    wanted = " ".join(f'"{text}"' for text in LONG_TEXT)
    truncated = dig("+ignore", "long.house.example", "TXT")
    expect(bool(re.search("flags:[^;]* tc[ ;]", truncated)), True, "that the UDP answer is truncated")
    whole = dig("long.house.example", "TXT")
    expect("retrying in TCP" in whole, True, "that dig went on to TCP")
    expect(wanted in whole, True, "that the text is whole")
    expect(dig_short("+tcp", "long.house.example", "TXT"), [wanted], "the answer over TCP")
    expect(dig_short("+bufsize=4096", "+notcp", "long.house.example", "TXT"), [wanted], "what dig +bufsize=4096 shows")
    expect(count_upstream("long.house.example") <= 2, True, "that the upstream was asked once by UDP and once by TCP")


def test_dig_flags():
    """an answer has RA and not AA, the first time and from the cache"""
    for _ in range(2):
        flags = re.search("flags: ([^;]*);", dig("mail.house.example", "A")).group(1).split()
        expect("ra" in flags and "aa" not in flags, True, f"that {flags} hold ra and not aa")


def test_kdig_ipv6():
    """kdig over IPv6, by UDP and TCP"""
    needs("kdig")
    if not harness.have_ipv6():
        raise harness.Skip("no IPv6 on loopback")
    for option in ("+notcp", "+tcp"):
        printed = output_of("kdig", "@::1", "-p", str(proxy().port), "+short", option, "mail.house.example")
        expect(printed.decode().split(), ["192.0.2.25"], "the answer")


# --- the cache ------------------------------------------------------------------------------------


def ask(name, kind=dns.A, **more):
    return Message(ask_udp(query_bytes(name, kind, **more), proxy().port))


def expect_cached(first, second, name, section, seconds=2):
    """The second answer equals the first, but for TTLs that have gone down; the upstream saw one query."""
    expect(second.rcode, first.rcode, "the second RCODE")
    records = [getattr(message, section) for message in (first, second)]
    expect(len(records[0]) > 0, True, f"that there is an {section} section")
    plain = [sorted(record._replace(ttl=0, name=record.name.lower()) for record in part) for part in records]
    expect(plain[1], plain[0], "the records of the second answer")
    before, after = (min(record.ttl for record in part) for part in records)
    expect(before - seconds - 3 <= after <= before - seconds + 1, True, f"that the TTL went from {before} to {after}")
    expect(count_upstream(name), 1, "the number of queries the upstream saw")


def check_cached(name, kind, rcode, section):
    first = ask(name, kind)
    expect(first.rcode, rcode, "the RCODE")
    time.sleep(2)
    expect_cached(first, ask(name.swapcase(), kind), name, section)
    return first


def test_cache():
    """Asked twice, the upstream sees one query, and the TTL has gone down"""
    check_cached("ns.house.example", dns.A, dns.NOERROR, "answers")


def test_cache_nxdomain():
    """NXDOMAIN is cached with its SOA"""
    first = check_cached("nobody.house.example", dns.A, dns.NXDOMAIN, "authority")
    expect([record.type for record in first.authority], [dns.SOA], "the authority section's types")
    expect(first.authority[0].ttl <= 120, True, "that the TTL is at most the SOA's minimum")


def test_cache_nodata():
    """NODATA is cached with its SOA"""
    first = check_cached("nodata.house.example", dns.MX, dns.NOERROR, "authority")
    expect(first.answers, [], "the answer section")
    expect([record.type for record in first.authority], [dns.SOA], "the authority section's types")


def test_cache_ttl_zero():
    """TTL 0 is not cached"""
    for _ in range(2):
        expect([record.ttl for record in ask("brief.house.example").answers], [0], "the TTLs")
    expect(count_upstream("brief.house.example"), 2, "the number of queries the upstream saw")


def test_cache_tcp():
    """What came by UDP is served by TCP from the cache"""
    first = ask("a.cache-tcp.house.example")
    second = Message(ask_tcp(query_bytes("a.cache-tcp.house.example"), proxy().port))
    expect(second.rcode, first.rcode, "the RCODE over TCP")
    expect(count_upstream("a.cache-tcp.house.example"), 1, "the number of queries the upstream saw")


def test_case_and_id():
    """An answer has the question's case and ID, also from the cache"""
    for name in ("wWw.HOUSE.example", "WWW.house.EXAMPLE"):
        reply = ask(name, ident=0x1234)
        expect((reply.name, reply.ident), (name, 0x1234), "name and ID")


# --- what goes upstream ---------------------------------------------------------------------------


def plain_answer(message, _transport):
    """Any name is 192.0.2.7, after 1 s if it begins with "slow"."""
    if message.name.lower().startswith("slow"):
        time.sleep(1)
    return message.answer_bytes([a_record(message.name, "192.0.2.7")])


@functools.lru_cache(maxsize=None)
def plain_server():
    return DnsServer(plain_answer)


@functools.lru_cache(maxsize=None)
def plain_proxy():
    return harness.dnsproxyd(plain_server().address)


def seen_of(server, suffix):
    return [seen for seen in server.seen if seen.message.name.lower().endswith(suffix)]


def test_ports_and_ids():
    """200 concurrent queries leave from more than 150 ports with random IDs"""
    # What takes a busy machine longer than 1.2 s is asked again: that is counted, and nothing else is.
    daemon = harness.dnsproxyd(plain_server().address, "upstream default.timeout=4s")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", daemon.port))
        for ident in range(200):
            sock.send(query_bytes(f"slow{ident}.ports.example", ident=ident))
        replies = [Message(sock.recv(65535)) for _ in range(200)]
    expect(sorted(reply.ident for reply in replies), list(range(200)), "the IDs of the answers")
    for reply in replies:
        expect(reply.name, f"slow{reply.ident}.ports.example", "the name of the answer")
    seen = seen_of(plain_server(), ".ports.example")
    expect(len({item.message.name.lower() for item in seen}), 200, "the number of questions the upstream saw")
    counters = daemon.counters()
    expect(len(seen), 200 + counters["upstream_hedges"], "the number of queries the upstream saw")
    expect(len(seen), counters["upstream_sends"], "the number of queries sent")
    daemon.stop()
    ports = {item.port for item in seen}
    idents = [item.message.ident for item in seen]
    expect(len(ports) > 150, True, f"that {len(ports)} ports are more than 150")
    expect(len(set(idents)) > 190, True, f"that {len(set(idents))} different IDs are more than 190")
    expect(sum(ident < 256 for ident in idents) < 20, True, "that the IDs are not the client's")
    steps = collections.Counter((b - a) % 65536 for a, b in zip(idents, idents[1:]))
    expect(steps.most_common(1)[0][1] < 10, True, "that the IDs do not go in steps")
    for bit in range(16):
        ones = sum(ident >> bit & 1 for ident in idents)
        expect(60 < ones < 140, True, f"that bit {bit}, set in {ones} of 200 IDs, is random")


def test_edns_hop_by_hop():
    """EDNS is hop by hop: options of the client stay here, and OPT goes to those who sent one"""
    cookie = dns.option_bytes(10, b"\x01\x02\x03\x04\x05\x06\x07\x08")
    secret = dns.option_bytes(65001, b"for the proxy only")
    subnet = dns.option_bytes(8, b"\x00\x01\x18\x00\xc0\x00\x02")
    opt = dns.opt_record(4096, cookie + secret + subnet)
    for turn in range(2):
        reply = Message(ask_udp(query_bytes("edns.example", opt=opt), plain_proxy().port))
        expect(reply.opt is not None, True, f"that answer {turn} to a client with OPT has one")
        expect(65001 in reply.options, False, "that the unknown option is echoed")
        reply = Message(ask_udp(query_bytes("edns.example"), plain_proxy().port))
        expect(reply.opt, None, f"the OPT of answer {turn} to a client without")
    (seen,) = seen_of(plain_server(), "edns.example")
    expect(seen.message.opt is not None, True, "that the proxy uses EDNS upstream")
    expect([code for code in (10, 65001) if seen.message.options.get(code) in
            (b"\x01\x02\x03\x04\x05\x06\x07\x08", b"for the proxy only")], [], "the client's options seen upstream")
    expect(8 in seen.message.options, False, "that the client's subnet is seen upstream")


def test_edns_version():
    """EDNS version 1 is answered with BADVERS"""
    reply = Message(ask_udp(query_bytes("version.example", opt=dns.opt_record(version=1)), plain_proxy().port))
    expect(reply.full_rcode, dns.BADVERS, "the RCODE")
    expect(reply.answers, [], "the answer section")


def test_answer_opt_upstream_without():
    """An upstream that knows no EDNS is asked without"""
    def answer(message, _transport):
        if message.opt:
            return struct.pack(">HHHHHH", message.ident, dns.QR | dns.FORMERR, 0, 0, 0, 0)
        return plain_answer(message, _transport)

    server = DnsServer(answer)
    old = harness.dnsproxyd(server.address)
    reply = Message(ask_udp(query_bytes("old.example", opt=dns.opt_record()), old.port))
    expect((reply.rcode, len(reply.answers)), (dns.NOERROR, 1), "RCODE and number of answers")
    old.stop()
    server.close()


# --- sizes and TCP --------------------------------------------------------------------------------


def test_truncation():
    """An answer is cut to what the client takes: 512 bytes without EDNS, its size with"""
    for size, opt in ((512, None), (512, dns.opt_record(512)), (512, dns.opt_record(100)),
                      (1232, dns.opt_record(1232))):
        wire = ask_udp(query_bytes("long.house.example", dns.TXT, opt=opt), proxy().port)
        reply = Message(wire)
        expect(bool(reply.flags & dns.TC), True, f"that TC is set for {size} bytes")
        expect(len(wire) <= size, True, f"that {len(wire)} bytes are at most {size}")
        expect(reply.opt is not None, opt is not None, "that there is an OPT")


def test_tcp_pipelining():
    """Queries of one TCP connection are answered out of order: the slow name last"""
    queries = [query_bytes("slow.pipeline.example", ident=1), query_bytes("quick1.pipeline.example", ident=2),
               query_bytes("quick2.pipeline.example", ident=3)]
    with socket.create_connection(("127.0.0.1", plain_proxy().port), timeout=10) as sock:
        sock.sendall(b"".join(struct.pack(">H", len(query)) + query for query in queries))
        stream = sock.makefile("rb")
        idents = [Message(read_tcp_message(stream)).ident for _ in queries]
        expect(idents[2], 1, "the ID of the last answer")
        expect(sorted(idents), [1, 2, 3], "the IDs of the answers")
        # The connection is still good, byte by byte too.
        for byte in struct.pack(">H", len(queries[1])) + queries[1]:
            sock.sendall(bytes([byte]))
            time.sleep(0.002)
        expect(Message(read_tcp_message(stream)).ident, 2, "the ID of one more answer")


def test_tcp_half_close():
    """A TCP client that sends its query and FIN gets its answer"""
    query = query_bytes("slow.fin.example", ident=9)
    with socket.create_connection(("127.0.0.1", plain_proxy().port), timeout=10) as sock:
        sock.sendall(struct.pack(">H", len(query)) + query)
        sock.shutdown(socket.SHUT_WR)
        stream = sock.makefile("rb")
        expect(Message(read_tcp_message(stream)).ident, 9, "the ID of the answer")
        expect(stream.read(), b"", "what follows")


# --- what goes wrong ------------------------------------------------------------------------------


def check_servfail(address):
    lonely = harness.dnsproxyd(address)
    began = time.monotonic()
    reply = Message(ask_udp(query_bytes("nobody.answers.example"), lonely.port))
    took = time.monotonic() - began
    expect(reply.rcode, dns.SERVFAIL, "the RCODE")
    expect(took < 5, True, f"that it took less than 5 s ({took:.1f} s)")
    lonely.stop()


def test_upstream_dead():
    """SERVFAIL within 5 s when no upstream listens"""
    check_servfail(f"127.0.0.1:{harness.free_port()}")


def test_upstream_silent():
    """SERVFAIL within 5 s when the upstream is silent"""
    server = DnsServer(lambda *_: None)
    check_servfail(server.address)
    expect(1 <= len(server.seen) <= 6, True, f"that {len(server.seen)} attempts are some and not many")
    server.close()


def test_upstream_second():
    """A second upstream answers when the first is silent"""
    silent = DnsServer(lambda *_: None)
    both = harness.dnsproxyd(f"{silent.address},{plain_server().address}")
    reply = Message(ask_udp(query_bytes("second.example"), both.port))
    expect((reply.rcode, len(reply.answers)), (dns.NOERROR, 1), "RCODE and number of answers")
    both.stop()
    silent.close()


def test_wrong_answers_ignored():
    """Answers with a wrong ID, another question or from another port do not count"""
    def answer(message, transport):
        wrong = bytearray(message.answer_bytes([a_record(message.name, "192.0.2.66")]))
        wrong[0] ^= 0x55
        peer = ("127.0.0.1", server.seen[-1].port)
        other = Message(query_bytes("else.example", ident=message.ident))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(message.answer_bytes([a_record(message.name, "192.0.2.66")]), peer)
        server.send_udp(bytes(wrong), peer)
        server.send_udp(other.answer_bytes([a_record("else.example", "192.0.2.66")]), peer)
        time.sleep(0.1)
        return plain_answer(message, transport)

    server = DnsServer(answer)
    careful = harness.dnsproxyd(server.address)
    reply = Message(ask_udp(query_bytes("spoof.example"), careful.port))
    expect([record.rdata for record in reply.answers], [socket.inet_aton("192.0.2.7")], "the answer")
    careful.stop()
    server.close()


def rcode_of(wire):
    reply = ask_udp(wire, plain_proxy().port)
    ident, flags = struct.unpack(">HH", reply[:4])
    expect(ident, struct.unpack(">H", wire[:2])[0], "the ID")
    expect(bool(flags & dns.QR), True, "that QR is set")
    return flags & 15


def test_conduct():
    """NOTIMP and FORMERR where they belong"""
    question = dns.name_bytes("conduct.example") + struct.pack(">HH", 1, 1)
    table = (
        ("opcode 1", dns.NOTIMP, struct.pack(">HHHHHH", 7, 1 << 11, 1, 0, 0, 0) + question),
        ("opcode NOTIFY", dns.NOTIMP, struct.pack(">HHHHHH", 7, 4 << 11, 1, 0, 0, 0) + question),
        ("opcode UPDATE", dns.NOTIMP, struct.pack(">HHHHHH", 7, 5 << 11, 1, 0, 0, 0) + question),
        ("no question", dns.FORMERR, struct.pack(">HHHHHH", 7, dns.RD, 0, 0, 0, 0)),
        ("two questions", dns.FORMERR, struct.pack(">HHHHHH", 7, dns.RD, 2, 0, 0, 0) + question * 2),
        ("a question that is cut", dns.FORMERR, struct.pack(">HHHHHH", 7, dns.RD, 1, 0, 0, 0) + question[:-3]),
        ("a name that points to itself", dns.FORMERR,
         struct.pack(">HHHHHH", 7, dns.RD, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01"),
        ("two OPT records", dns.FORMERR,
         dns.message_bytes(7, dns.RD, ("conduct.example", 1), additional=[dns.opt_record()] * 2)),
    )
    for what, rcode, wire in table:
        expect(rcode_of(wire), rcode, f"the RCODE for {what}")


def test_silence():
    """Responses, and datagrams too short to be queries, are not answered"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", plain_proxy().port))
        sock.send(query_bytes("quiet.example", flags=dns.QR | dns.RD))
        for wire in (b"", b"\x00", b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00"):
            sock.send(wire)
        try:
            expect(sock.recv(65535), None, "an answer")
        except TimeoutError:
            pass
    expect(seen_of(plain_server(), "quiet.example"), [], "what the upstream saw")


def test_negative_without_soa():
    """NXDOMAIN without SOA is passed on and not cached"""
    server = DnsServer(lambda message, _transport: message.answer_bytes(rcode=dns.NXDOMAIN))
    daemon = harness.dnsproxyd(server.address)
    for count in (1, 2):
        reply = Message(ask_udp(query_bytes("bare.example"), daemon.port))
        expect(reply.rcode, dns.NXDOMAIN, "the RCODE")
        expect(len(server.seen), count, "the number of queries the upstream saw")
    daemon.stop()
    server.close()


def test_many():
    """2,000 queries over UDP, every one answered"""
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", plain_proxy().port))
        for batch in range(40):
            for ident in range(50):
                sock.send(query_bytes(f"n{ident}.b{batch % 4}.many.example", ident=batch * 50 + ident))
            for _ in range(50):
                reply = Message(sock.recv(65535))
                expect((reply.rcode, len(reply.answers)), (dns.NOERROR, 1), "RCODE and number of answers")
                answered += 1
    expect(answered, 2000, "the number of answers")
    expect(len(seen_of(plain_server(), ".many.example")), 200, "the number of queries the upstream saw")


if __name__ == "__main__":
    harness.run(globals())
