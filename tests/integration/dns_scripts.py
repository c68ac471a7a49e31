# SPDX-License-Identifier: ISC
"""What tests of dnsproxyd's way upstream share: asking, a daemon before servers, and what servers do with a query."""

import contextlib
import socket
import struct
import time

import dns_message as dns
import harness
from dns_message import Message, a_record, query_bytes
from harness import expect
from peers import ask_udp
from scripted_dns import ScriptedServer

EDE, MARKS = 15, 65313
OK = (dns.NOERROR, ["192.0.2.7"])
FAIL = (dns.SERVFAIL, [])


def expect_between(low, value, high, what):
    expect(low <= value <= high, True, f"that {what}, {value}, is from {low} to {high}")


def ask(daemon, name, kind=dns.A, by=ask_udp, **more):
    return Message(by(query_bytes(name, kind, opt=dns.opt_record(), **more), daemon.port))


def timed_ask(daemon, name, **more):
    began = time.monotonic()
    reply = ask(daemon, name, **more)
    return reply, time.monotonic() - began


def addresses(reply):
    return [socket.inet_ntoa(record.rdata) for record in reply.answers if record.type == dns.A]


def ede_of(reply):
    data = reply.options.get(EDE)
    return struct.unpack(">H", data[:2])[0] if data else None


def ask_all(daemon, names, seconds=10):
    """Send them all at once; returns the replies in the order of the names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(seconds)
        sock.connect(("127.0.0.1", daemon.port))
        for ident, name in enumerate(names):
            sock.send(query_bytes(name, ident=ident, opt=dns.opt_record()))
        replies = {}
        while len(replies) < len(names):
            reply = Message(sock.recv(65535))
            replies[reply.ident] = reply
    return [replies[ident] for ident in range(len(names))]


@contextlib.contextmanager
def running(*scripts, options=(), scheme="", servers=None, workers=1):
    """A daemon before servers with these scripts. Gives (daemon, server, ...)."""
    servers = servers or [ScriptedServer(script) for script in scripts]
    value = ",".join(scheme + server.address for server in servers)
    daemon = harness.dnsproxyd(value, f"server.workers={workers}", *options)
    try:
        yield (daemon, *servers)
        daemon.stop()
    finally:
        for server in servers:
            server.close()


# --- what a server does with a query --------------------------------------------------------------


def drop(_query):
    pass


def good(query):
    query.reply(query.good())


def nth(*steps):
    """A script whose steps are one for each query, the last for all that follow."""
    left = list(steps)

    def script(query):
        (left.pop(0) if len(left) > 1 else left[0])(query)

    return script


def forged(query, **changes):
    """An answer with the address 192.0.2.66, changed."""
    wire = bytearray(query.good("192.0.2.66"))
    if "ident" in changes:
        wire[0:2] = struct.pack(">H", query.message.ident ^ changes["ident"])
    return bytes(wire)


def duplicate(query):
    for _ in range(3):
        query.reply(query.good())


def wrong_id(query):
    query.reply(forged(query, ident=0x5500))


def wrong_port(query):
    query.reply_from_elsewhere(forged(query))


def wrong_name(query):
    other = Message(query_bytes("else.example", ident=query.message.ident))
    query.reply(other.answer_bytes([a_record("else.example", "192.0.2.66")]))


def wrong_type(query):
    other = Message(query_bytes(query.message.name, dns.AAAA, ident=query.message.ident))
    query.reply(other.answer_bytes())


def wrong_case(query):
    other = Message(query_bytes(query.message.name.swapcase(), ident=query.message.ident))
    query.reply(other.answer_bytes([a_record(other.name, "192.0.2.66")]))


def both(*scripts):
    def script(query):
        for one in scripts:
            one(query)

    return script


def header_only(rcode):
    def script(query):
        query.reply(struct.pack(">HHHHHH", query.message.ident, dns.QR | dns.RA | rcode, 0, 0, 0, 0))

    return script


def with_rcode(rcode, opt=False):
    def script(query):
        query.reply(query.message.answer_bytes(rcode=rcode, additional=[dns.opt_record()] if opt else []))

    return script


def no_edns(answer):
    """FORMERR to whoever sends OPT, else a good answer."""
    def script(query):
        (answer if query.message.opt else good)(query)

    return script


def truncated(query):
    if query.transport == "udp":
        query.reply(query.message.answer_bytes(flags=dns.TC))
    else:
        good(query)


def truncated_always(query):
    query.reply(query.message.answer_bytes(flags=dns.TC))


def short_datagram(query):
    query.reply(b"")
    query.reply(query.good()[:11])


def garbage(query):
    query.reply(bytes((7 * i + 13) % 256 for i in range(600)))


def broken_record(query):
    """An A record of three octets."""
    query.reply(query.message.answer_bytes([dns.Record(query.message.name, dns.A, 1, 60, b"abc")]))


def cut_answer(query):
    query.reply(query.good()[:-2])


def query_back(query):
    """Our query itself, QR and all."""
    query.reply(query.message.wire)
