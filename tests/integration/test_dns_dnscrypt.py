# SPDX-License-Identifier: ISC
"""dnsproxyd asking by DNSCrypt: against dnsdist, and what comes of servers that are not what they should be."""

import socket
import time

import dns_message as dns
import harness
from dns_message import Message, query_bytes
from encrypted_peers import Dnsdist, Link, dnscrypt_stamp
from flow import Flow
from harness import expect, wait_until
from peers import ask_tcp, ask_udp
from scripted_dns import ScriptedServer

QUICK = "upstream default.timeout=500ms"


def answer(query):
    """Good answers; a long one for names that begin with "long"."""
    if query.name.startswith("long") and query.transport == "udp":
        query.reply(query.message.answer_bytes(flags=dns.TC))
    elif query.name.startswith("long"):
        text = b"".join(b"\xff" + b"x" * 255 for _ in range(12))
        query.reply(query.message.answer_bytes([dns.Record(query.message.name, dns.TXT, 1, 300, text)]))
    else:
        query.reply(query.good())


def ask(daemon, name, kind=dns.A, by=ask_udp):
    return Message(by(query_bytes(name, kind, opt=dns.opt_record()), daemon.port))


def addresses(reply):
    return [socket.inet_ntoa(record.rdata) for record in reply.answers if record.type == dns.A]


def test_ciphers():
    """Questions go by both ciphers, many on one certificate."""
    for cipher in ("XChaCha20Poly1305", "XSalsa20Poly1305"):
        server = Dnsdist(answer)
        if "XSalsa" in cipher:
            server.stop()
            server.cipher = cipher
            server.start()
        daemon = harness.dnsproxyd(server.stamp(), "server.workers=1")
        for number in range(50):
            expect(addresses(ask(daemon, f"n{number}.example")), ["192.0.2.7"], f"answer by {cipher}")
        counters = daemon.counters()
        expect(counters["upstream_dnscrypt_certs"], 1, "certificates")
        expect(counters["upstream_sends"], 50, "sends")
        expect(counters["upstream_tcp"], 0, "answers by TCP")
        daemon.stop()
        server.close()


def test_truncated():
    """What does not fit goes by TCP, a connection for each question."""
    server = Dnsdist(answer)
    daemon = harness.dnsproxyd(server.stamp(), "server.workers=1")
    for number in range(3):
        reply = ask(daemon, f"long{number}.example", dns.TXT, by=ask_tcp)
        expect(len(reply.answers[0].rdata), 12 * 256, "length of the answer")
    expect(daemon.counters()["upstream_tcp"], 3, "answers by TCP")
    daemon.stop()
    server.close()


def refused(stamp, server, why):
    """Nothing is asked of a server without a good certificate; another one takes over; the log says it once."""
    other = ScriptedServer(answer)
    daemon = harness.dnsproxyd(f"{stamp},{other.address}", "upstream default.strategy=failover", "server.workers=1", QUICK)
    for number in range(5):
        expect(addresses(ask(daemon, f"r{number}.example")), ["192.0.2.7"], "answer of the other server")
    expect(len(server.backend.of(".example")), 0, "questions to the server")
    expect(daemon.log().count(" upstream-refused "), 1, "log lines")
    daemon.wait_log(f"upstream-refused .*{why}")
    expect(daemon.counters()["upstream_dnscrypt_refused"] >= 1, True, "counted")
    daemon.stop()
    other.close()


def test_wrong_key():
    """A server whose certificates another provider has signed gets no question."""
    server = Dnsdist(answer)
    key = bytes([server.key()[0] ^ 1]) + server.key()[1:]
    refused(dnscrypt_stamp(f"127.0.0.1:{server.dnscrypt_port}", key), server, "not signed")
    server.close()


def test_expired():
    """A server whose certificate has expired gets no question."""
    server = Dnsdist(answer)
    server.stop()
    server.lifetime = (-7200, -3600)
    server.start()
    refused(server.stamp(), server, "no certificate")  # dnsdist does not even show it
    server.close()


def test_rotation():
    """A server that comes back with another certificate is used again within a few seconds."""
    server = Dnsdist(answer)
    daemon = harness.dnsproxyd(server.stamp(), "server.workers=1", QUICK)
    expect(addresses(ask(daemon, "before.example")), ["192.0.2.7"], "answer")
    server.stop()
    server.start()
    began = time.monotonic()
    wait_until(lambda: addresses(ask(daemon, f"after{time.monotonic_ns()}.example")) == ["192.0.2.7"], 15, "answer")
    expect(daemon.counters()["upstream_dnscrypt_certs"], 2, "certificates")
    expect(time.monotonic() - began < 10, True, "that it took less than 10 s")
    daemon.stop()
    server.close()


def test_hostile():
    """Datagrams in clear text, cut, or with boxes of others do not end the wait, and crash nothing."""
    server = Dnsdist(answer)
    stray = [b"", b"r6fnvWj8", b"r6fnvWj8" + bytes(200), bytes(300)]

    def script(query):
        for wire in stray:
            query.reply(wire)
        if query.message.type == dns.TXT:
            query.reply(query.message.answer_bytes([dns.Record(query.message.name, dns.TXT, 1, 60, b"\x7cDNSC" + bytes(120))]))
        query.reply(query.good())

    fake = ScriptedServer(script)
    daemon = harness.dnsproxyd(f"{dnscrypt_stamp(fake.address, server.key())},{server.stamp()}", QUICK,
                               "upstream default.strategy=failover")
    for number in range(5):
        expect(addresses(ask(daemon, f"h{number}.example")), ["192.0.2.7"], "answer of the good server")
    expect([query.name for query in fake.seen if query.message.type != dns.TXT], [], "questions in clear text")
    daemon.stop()
    fake.close()
    server.close()


@harness.limit(60)
def test_cut():
    """With 50 questions a second: back within 2 s when the way to the only server was cut and is mended."""
    server = Dnsdist(answer)
    link = Link(server.dnscrypt_port)
    daemon = harness.dnsproxyd(dnscrypt_stamp(f"127.0.0.1:{link.port}", server.key()))
    flow = Flow(daemon)
    time.sleep(1)
    link.cut()
    time.sleep(3)
    mended = time.monotonic()
    link.mend()
    time.sleep(3)
    flow.stop()
    expect(all(rcode == dns.NOERROR for began, _took, rcode in flow.results if began > mended + 2), True,
           "that all is well two seconds later")
    expect(flow.first_success_after(mended) < 2, True, "that the first answer came within 2 s")
    daemon.stop()
    link.close()
    server.close()


if __name__ == "__main__":
    harness.run(globals(), tries=2)
