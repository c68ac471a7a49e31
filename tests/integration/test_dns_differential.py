# SPDX-License-Identifier: ISC
"""20,000 mixed questions, to a knot through dnsproxyd and to the same knot directly, answered alike: RCODE, answer
section, TTL, TC, AD, and the SOA of denials.

What differs, and why, so that it is not compared:
  AA         an answer that was passed on is not authoritative (RFC 1035 section 4.1.1)
  RA         knot does not recurse, we do
  OPT        is made anew on each hop (RFC 6891 section 6.2.6)
  ANY        by UDP is answered with HINFO (RFC 8482); the questions here have no ANY
  TTL        may be lower by the time that the answer was in the cache, never higher; the aliases that lead to a denial
             are kept no longer than the denial
  size       by UDP we never send more than 1232 bytes; no client here takes more
"""

import collections
import functools
import random
import socket
import struct
import time

import dns_message as dns
import harness
from dns_message import Message, query_bytes
from harness import expect
from peers import Knot

DOMAIN = "mixed.example"
SRV, DS, DNSKEY, RRSIG, HTTPS, CAA = 33, 43, 48, 46, 65, 257
KINDS = [dns.A, dns.AAAA, dns.MX, dns.TXT, dns.NS, dns.SOA, dns.PTR, SRV, CAA, HTTPS, DNSKEY, dns.CNAME, 65280]
HOSTS = 300
QUESTIONS = 20000
WINDOW = 64

Question = collections.namedtuple("Question", "name kind dnssec size by_tcp")


def zone():
    lines = [f"$ORIGIN {DOMAIN}.", "$TTL 600", "@ SOA ns admin 1 3600 600 86400 300", "@ NS ns", "@ NS ns2",
             "@ MX 10 mail", '@ TXT "v=spf1 -all"', '@ CAA 0 issue "ca.example"', "@ HTTPS 1 . alpn=h2",
             "ns A 127.0.0.1", "ns2 A 127.0.0.2", "mail A 192.0.2.25", "*.wild A 192.0.2.77", "deep.empty.nodes A 192.0.2.78",
             "_sip._tcp SRV 1 2 5060 mail", "loop1 CNAME loop2", "loop2 CNAME host0", "away CNAME nowhere",
             "out CNAME www.elsewhere.example.", "ptr PTR host1", "zero 0 A 192.0.2.90", "odd TYPE65280 \\# 3 010203"]
    for index in range(HOSTS):
        lines.append(f"host{index} {60 + index} A 192.0.2.{index % 250}")
        if index % 2:
            lines.append(f"host{index} {90 + index} AAAA 2001:db8::{index:x}")
        if index % 3 == 0:
            lines.append(f"alias{index} CNAME host{index}")
        if index % 10 == 0:
            texts = " ".join(f'"{chr(97 + part % 26) * (100 + index // 2)}"' for part in range(1 + index // 30))
            lines.append(f"long{index} TXT {texts}")
            lines += [f"many{index} A 198.51.100.{part}" for part in range(1 + index // 4)]
    return "\n".join(lines) + "\n"


def mixed_case(chance, name):
    return "".join(letter.upper() if chance.random() < 0.3 else letter for letter in name)


def questions():
    chance = random.Random(20)
    names = ["", "ns", "mail", "nobody", "x.wild", "y.x.wild", "wild", "empty.nodes", "nodes", "deep.empty.nodes", "_sip._tcp",
             "loop1", "away", "out", "ptr", "zero", "odd", "host0.host0"]
    names += [f"{kind}{index}" for kind in ("host", "alias", "long", "many") for index in range(HOSTS)]
    chance.shuffle(names)
    weights = [1 / (rank + 1) for rank in range(len(names))]
    for name in chance.choices(names, weights, k=QUESTIONS):
        full = f"{name}.{DOMAIN}" if name else DOMAIN
        kind = chance.choices(KINDS, [8, 4] + [1] * (len(KINDS) - 2))[0]
        size = chance.choice([None, 512, 900, 1232, 1232])
        yield Question(mixed_case(chance, full), kind, size is not None and chance.random() < 0.4, size,
                       chance.random() < 0.2)


def wire_of(question, ident):
    opt = None
    if question.size is not None:
        opt = dns.opt_record(question.size, flags=0x8000 if question.dnssec else 0)
    return query_bytes(question.name, question.kind, ident=ident, opt=opt)


class Asker:
    """Asks one server, by UDP and by TCP, many questions at a time."""

    def __init__(self, port):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.settimeout(10)
        self.udp.connect(("127.0.0.1", port))
        self.port = port

    def ask(self, batch):
        """The replies, in the questions' order, and when the last had come."""
        replies = [None] * len(batch)
        streamed = [index for index, question in enumerate(batch) if question.by_tcp]
        for index, question in enumerate(batch):
            if not question.by_tcp:
                self.udp.send(wire_of(question, index))
        for _ in range(len(batch) - len(streamed)):
            self._take(replies, self.udp.recv(65535))
        if streamed:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                stream = sock.makefile("rb")
                wires = [wire_of(batch[index], index) for index in streamed]
                sock.sendall(b"".join(struct.pack(">H", len(wire)) + wire for wire in wires))
                for _ in streamed:
                    self._take(replies, stream.read(struct.unpack(">H", stream.read(2))[0]))
        return replies

    @staticmethod
    def _take(replies, wire):
        message = Message(wire)
        expect(replies[message.ident], None, "an earlier reply with this ID")
        replies[message.ident] = message

    def close(self):
        self.udp.close()


def plain(records):
    """Without TTLs and case. RRSIGs are made anew whenever knot signs, so only what they cover is compared."""
    return sorted((record.name.lower(), record.type, record.rdata[:2] if record.type == RRSIG else record.rdata)
                  for record in records)


def differences(question, direct, proxied, age):
    """What is wrong with the proxied reply, as texts."""
    found = []

    def compare(what, wanted, got):
        if wanted != got:
            found.append(f"{what}: {wanted!r} directly, {got!r} through the proxy")

    compare("question", (question.name, question.kind), (proxied.name, proxied.type))
    compare("RCODE", direct.rcode, proxied.rcode)
    compare("TC", bool(direct.flags & dns.TC), bool(proxied.flags & dns.TC))
    compare("AD", bool(direct.flags & dns.AD), bool(proxied.flags & dns.AD))
    compare("OPT", direct.opt is not None, proxied.opt is not None)
    if direct.flags & dns.TC or proxied.flags & dns.TC:
        return found
    compare("answers", plain(direct.answers), plain(proxied.answers))
    is_denial = any(record.type == dns.SOA for record in direct.authority)
    for section in ("answers", "authority"):
        ttls = {(record.name.lower(), record.type): record.ttl for record in direct.answers + direct.authority}
        for record in getattr(proxied, section):
            wanted = ttls.get((record.name.lower(), record.type), -1)
            least = min(ttls.values()) if is_denial else wanted
            if not max(least - age - 1, 0) <= record.ttl <= wanted:
                found.append(f"TTL of {record.name} {record.type} is {record.ttl}, directly {wanted}, {age:.0f} s old")
    compare("SOA of the denial", [record.name.lower() for record in direct.authority if record.type == dns.SOA],
            [record.name.lower() for record in proxied.authority if record.type == dns.SOA])
    return found


@functools.lru_cache(maxsize=None)
def direct_key(question):
    return question._replace(name=question.name.lower())


def check(signed):
    knot = Knot(DOMAIN, zone(), signed)
    daemon = harness.dnsproxyd(f"127.0.0.1:{knot.port}", "limits.rate-limit=0")
    known = {}
    direct, proxied = Asker(knot.port), Asker(daemon.port)
    everything = list(questions())
    began = time.monotonic()
    wrong = []
    for start in range(0, len(everything), WINDOW):
        batch = everything[start:start + WINDOW]
        unknown = list({direct_key(question): question for question in batch
                        if direct_key(question) not in known}.values())
        known.update(zip(map(direct_key, unknown), direct.ask(unknown)))
        replies = proxied.ask(batch)
        age = time.monotonic() - began
        for question, reply in zip(batch, replies):
            wrong += [f"{question}: {text}" for text in differences(question, known[direct_key(question)], reply, age)]
    expect(wrong[:5], [], f"{len(wrong)} differences, of which the first")
    counters = daemon.counters()
    expect(counters["cache_hits"] > QUESTIONS / 3, True, f"that {counters['cache_hits']} hits are many")
    expect(counters["answers_failed"], 0, "answers_failed")
    for asker in (direct, proxied):
        asker.close()
    daemon.stop()
    knot.close()


@harness.limit(240)
def test_unsigned():
    """20,000 questions about a plain zone"""
    check(False)


@harness.limit(240)
def test_signed():
    """20,000 questions about a signed zone"""
    check(True)


if __name__ == "__main__":
    harness.run(globals())
