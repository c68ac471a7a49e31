# SPDX-License-Identifier: ISC
"""What dnsproxyd does with a client's question, seen from the client and from the servers it asks: coalescing, stale
answers, remembered failures, prefetching, names and types that never go upstream, limits, the query log."""

import concurrent.futures
import functools
import hmac
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import dns_message as dns
import harness
from dns_message import Message, Record, a_record, query_bytes, soa_record
from harness import expect
from peers import DnsServer, ask_tcp, ask_udp, read_tcp_message

EDE, KEEPALIVE = 15, 11
SRV_TYPE, HINFO, SVCB, DS, ANY = 33, 13, 64, 43, 255


class Switch(DnsServer):
    """A server whose behaviour the test changes: .mode is "answer", "silent", "servfail" or "refused". Any name has one
    A record, 192.0.2.N with N the number of queries so far; names that begin with "no" do not exist; .ttl and .delay."""

    def __init__(self, ttl=300, delay=0.0):
        self.mode = "answer"
        self.ttl = ttl
        self.delay = delay
        super().__init__(self._reply)

    def _reply(self, message, _transport):
        time.sleep(self.delay)
        number = len(self.seen)
        if self.mode == "silent":
            return None
        if self.mode in ("servfail", "refused"):
            return message.answer_bytes(rcode=dns.SERVFAIL if self.mode == "servfail" else dns.REFUSED)
        if message.name.lower().startswith("no"):
            return message.answer_bytes(authority=[soa_record("example", self.ttl, self.ttl)], rcode=dns.NXDOMAIN)
        return message.answer_bytes([a_record(message.name, f"192.0.2.{number % 250}", self.ttl)])


def ask(port, name, kind=dns.A, seconds=10, opt=True, **more):
    wire = query_bytes(name, kind, opt=dns.opt_record() if opt else None, **more)
    return Message(ask_udp(wire, port, seconds))


def ede_of(message):
    """The info code of the EDE option, or None."""
    data = message.options.get(EDE)
    return struct.unpack(">H", data[:2])[0] if data else None


def timed(function, *arguments, **more):
    began = time.monotonic()
    result = function(*arguments, **more)
    return result, time.monotonic() - began


@functools.lru_cache(maxsize=None)
def server():
    return Switch()


@functools.lru_cache(maxsize=None)
def proxy():
    return harness.dnsproxyd(server().address, "server.workers=2")


# --- coalescing -----------------------------------------------------------------------------------


def test_coalescing():
    """50 identical concurrent queries of 50 clients: one upstream query; each gets its own ID, case and EDNS"""
    slow = Switch(delay=0.5)
    daemon = harness.dnsproxyd(slow.address, "server.workers=4")

    def one(index):
        letters = "".join(letter.upper() if index >> place % 6 & 1 else letter
                          for place, letter in enumerate("together.example"))
        opt = dns.opt_record(512 + index) if index % 2 else None
        wire = query_bytes(letters, ident=1000 + index, opt=opt)
        reply = Message((ask_tcp if index % 5 == 0 else ask_udp)(wire, daemon.port))
        expect((reply.ident, reply.name), (1000 + index, letters), "ID and name")
        expect(reply.opt is not None, opt is not None, "that there is an OPT")
        expect([record.rdata for record in reply.answers], [socket.inet_aton("192.0.2.1")], "the answer")

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(one, range(50)))
    expect(len(slow.seen), 1, "the number of queries the upstream saw")
    counters = daemon.counters()
    expect(counters["queries_coalesced"] + counters["cache_hits"], 49, "queries that needed no query of their own")
    expect(counters["queries_open_now"], 0, "the number of open queries")
    daemon.stop()
    slow.close()


def test_coalescing_uncacheable():
    """Those who wait together get one answer also when it has TTL 0, and a failure too"""
    for mode, rcode in (("answer", dns.NOERROR), ("refused", dns.REFUSED)):
        slow = Switch(ttl=0, delay=0.9)
        slow.mode = mode
        daemon = harness.dnsproxyd(slow.address, "server.workers=2")
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(lambda _: ask(daemon.port, "zero.example"), range(20)))
        expect({reply.rcode for reply in replies}, {rcode}, "the RCODEs")
        expect(len(slow.seen) <= 3, True, f"that {len(slow.seen)} queries are one question's")
        if mode == "answer":
            expect(len(slow.seen), 1, "the number of queries the upstream saw")
            ask(daemon.port, "zero.example")
            expect(len(slow.seen), 2, "the number of queries after one more")
        daemon.stop()
        slow.close()


def test_coalescing_leader_leaves():
    """When the client that asked first goes away, those who wait with it are still answered"""
    slow = Switch(delay=0.5)
    daemon = harness.dnsproxyd(slow.address, "server.workers=2")
    wire = query_bytes("left.example", ident=1)
    leader = socket.create_connection(("127.0.0.1", daemon.port), timeout=5)
    leader.sendall(struct.pack(">H", len(wire)) + wire)
    harness.wait_until(lambda: slow.seen, what="query upstream")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, daemon.port, "left.example") for _ in range(8)]
        time.sleep(0.1)
        leader.close()
        expect({len(item.result().answers) for item in waiting}, {1}, "the numbers of answers")
    expect(len(slow.seen), 1, "the number of queries the upstream saw")
    daemon.stop()
    slow.close()


def test_coalescing_by_flags():
    """DO and CD make another question"""
    slow = Switch(delay=0.3)
    daemon = harness.dnsproxyd(slow.address)
    kinds = [{}, {"opt": dns.opt_record(flags=0x8000)}, {"flags": dns.RD | dns.CD}]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda more: ask_udp(query_bytes("flags.example", **more), daemon.port), kinds * 2))
    expect(len(slow.seen), 3, "the number of queries the upstream saw")
    seen = {(bool(item.message.opt.ttl & 0x8000), bool(item.message.flags & dns.CD)) for item in slow.seen}
    expect(seen, {(False, False), (True, False), (False, True)}, "DO and CD upstream")
    daemon.stop()
    slow.close()


def test_waiting_limit():
    """More than max-waiting-per-question get SERVFAIL with EDE at once"""
    slow = Switch(delay=1)
    daemon = harness.dnsproxyd(slow.address, "limits.max-waiting-per-question=4")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda _: ask(daemon.port, "crowd.example"), range(10)))
    expect(sorted(reply.rcode for reply in replies), [dns.NOERROR] * 4 + [dns.SERVFAIL] * 6, "the RCODEs")
    expect({ede_of(reply) for reply in replies if reply.rcode}, {0}, "the EDE codes")
    expect(daemon.counters()["queries_overload"], 6, "queries_overload")
    daemon.stop()
    slow.close()


def test_drain_with_followers():
    """SIGTERM while many wait for one question: all are answered, then the daemon ends"""
    slow = Switch(delay=1)
    daemon = harness.dnsproxyd(slow.address, "server.workers=4")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(ask, daemon.port, "drain.example") for _ in range(20)]
        harness.wait_until(lambda: slow.seen, what="query upstream")
        time.sleep(0.2)
        daemon.stop()
        expect({len(item.result().answers) for item in waiting}, {1}, "the numbers of answers")
    slow.close()


def test_drain_of_connections():
    """SIGTERM: a connection that has not asked yet gets an answer, one that has had one is closed at once"""
    upstream = Switch()
    daemon = harness.dnsproxyd(upstream.address, "server.workers=1")
    wire = query_bytes("first.example")
    message = struct.pack(">H", len(wire)) + wire
    used, fresh, silent = (socket.create_connection(("127.0.0.1", daemon.port), timeout=10) for _ in range(3))
    with used, fresh, silent:
        used.sendall(message)
        read_tcp_message(used.makefile("rb"))
        harness.wait_until(lambda: daemon.counters()["tcp_now"] == 3, what="three connections")
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_log("draining")
        expect(used.recv(1), b"", "what the connection gets that was used")
        fresh.sendall(message)
        expect(len(Message(read_tcp_message(fresh.makefile("rb"))).answers), 1, "answers to the fresh one")
        expect(silent.recv(1), b"", "what the silent one gets")
        daemon.stop()
        expect(time.monotonic() - began < 3, True, "that nobody else was waited for")
    upstream.close()


# --- failures and stale answers -------------------------------------------------------------------


def test_failure_cache():
    """A question that failed is not asked again for a second, then for two; the reply says so (EDE 13)"""
    failing = Switch()
    failing.mode = "servfail"
    daemon = harness.dnsproxyd(failing.address)
    reply = ask(daemon.port, "bad.example")
    expect((reply.rcode, reply.opt is not None), (dns.SERVFAIL, True), "RCODE and OPT")
    expect(ede_of(reply) is not None, True, "that there is an EDE")
    asked = len(failing.seen)
    expect(asked <= 3, True, f"that {asked} sends are at most 3")
    for _ in range(20):
        reply = ask(daemon.port, "bad.example")
        expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 13), "RCODE and EDE code")
    expect(len(failing.seen), asked, "the number of queries the upstream saw")
    expect(daemon.counters()["failures_known"], 20, "failures_known")
    # Another question is asked all the same.
    ask(daemon.port, "other.example")
    expect(len(failing.seen) > asked, True, "that another question was asked")
    time.sleep(1.1)
    asked = len(failing.seen)
    ask(daemon.port, "bad.example")
    expect(len(failing.seen) > asked, True, "that it was asked again after a second")
    time.sleep(1.2)
    asked = len(failing.seen)
    expect(ede_of(ask(daemon.port, "bad.example")), 13, "the EDE code 1.2 s later: it is two seconds now")
    expect(len(failing.seen), asked, "the number of queries the upstream saw")
    time.sleep(1)
    failing.mode = "answer"
    expect(ask(daemon.port, "bad.example").rcode, dns.NOERROR, "the RCODE after the server's return")
    daemon.stop()
    failing.close()


def test_failure_ttl_key():
    """failure-ttl bounds how long a failure is remembered"""
    failing = Switch()
    failing.mode = "refused"
    daemon = harness.dnsproxyd(failing.address, "cache.failure-ttl=1s")
    for _ in range(3):
        before = len(failing.seen)
        expect(ask(daemon.port, "again.example").rcode, dns.REFUSED, "the RCODE")
        expect(len(failing.seen) > before, True, "that the upstream was asked")
        time.sleep(1.1)
    daemon.stop()
    failing.close()


def test_upstream_ede():
    """The server's own reason for SERVFAIL reaches the client"""
    def bogus(message, _transport):
        return message.answer_bytes(rcode=dns.SERVFAIL, additional=[
            dns.opt_record(options=dns.option_bytes(EDE, struct.pack(">H", 6) + b"bogus"))])

    validator = DnsServer(bogus)
    daemon = harness.dnsproxyd(validator.address)
    expect(ede_of(ask(daemon.port, "bogus.example")), 6, "the EDE code")
    expect(ask(daemon.port, "bogus2.example", opt=False).opt, None, "the OPT for a client without")
    daemon.stop()
    validator.close()


def test_serve_stale():
    """When the server falls silent an expired answer comes after 1.8 s, later ones at once; TTL 30, EDE 3 or 19"""
    flaky = Switch(ttl=1)
    daemon = harness.dnsproxyd(flaky.address)
    for name in ("warm.example", "nowarm.example"):
        ask(daemon.port, name)
    time.sleep(1.5)
    flaky.mode = "silent"
    reply, took = timed(ask, daemon.port, "warm.example")
    expect(1.6 < took < 3.5, True, f"that {took:.2f} s are 1.8 s")
    expect((reply.rcode, [record.ttl for record in reply.answers], ede_of(reply)), (dns.NOERROR, [30], 3),
           "RCODE, TTLs and EDE code")
    expect(reply.answers[0].rdata, socket.inet_aton("192.0.2.1"), "the old address")
    reply, took = timed(ask, daemon.port, "nowarm.example")
    expect((reply.rcode, [record.type for record in reply.authority], [record.ttl for record in reply.authority],
            ede_of(reply)), (dns.NXDOMAIN, [dns.SOA], [30], 19), "RCODE, authority, TTLs and EDE code")
    # Without OPT no EDE.
    expect(ask(daemon.port, "nowarm.example", opt=False).opt, None, "the OPT for a client without")
    # The first fetch has failed by now: those who come after do not wait.
    time.sleep(4)
    reply, took = timed(ask, daemon.port, "warm.example")
    expect(took < 1.5, True, f"that {took:.2f} s are no wait")
    expect(([record.ttl for record in reply.answers], ede_of(reply)), ([30], 3), "TTLs and EDE code")
    expect(daemon.counters()["cache_stale"] >= 4, True, "cache_stale")
    # The server returns; what was stale is fetched in the background.
    flaky.mode = "answer"
    flaky.ttl = 300

    def is_fresh():
        time.sleep(0.1)
        return ask(daemon.port, "warm.example").answers[0].ttl > 200

    harness.wait_until(is_fresh, 8, "fresh answer")
    daemon.stop()
    flaky.close()


def test_outage():
    """Upstream dead, then back: no failure with the cache warm, SERVFAIL within 5 s with it cold, all well after a second

    And never more than three sends for a question."""
    flaky = Switch(ttl=1)
    daemon = harness.dnsproxyd(flaky.address, "server.workers=2")
    warm = [f"warm{index}.example" for index in range(10)]
    for name in warm:
        ask(daemon.port, name)
    time.sleep(1.2)
    flaky.mode = "silent"
    before = len(flaky.seen)
    ends = time.monotonic() + 8
    cold = 0

    def keep_asking(name):
        while time.monotonic() < ends:
            expect(ask(daemon.port, name).rcode, dns.NOERROR, f"the RCODE for {name}")
            time.sleep(0.2)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(keep_asking, name) for name in warm]
        while time.monotonic() < ends:
            reply, took = timed(ask, daemon.port, f"cold{cold}.example")
            cold += 1
            expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 22), "RCODE and EDE of a cold name")
            expect(took < 5, True, f"that {took:.1f} s are less than five")
        for item in waiting:
            item.result()
    counts = {}
    for name in flaky.names()[before:]:
        counts[name] = counts.get(name, 0) + 1
    expect(all(counts[f"cold{index}.example"] <= 3 for index in range(cold)), True, f"sends for cold names: {counts}")
    flaky.mode = "answer"
    time.sleep(1)
    for name in ("new.example", "cold0.example", "warm3.example"):
        reply, took = timed(ask, daemon.port, name)
        expect((reply.rcode, took < 1), (dns.NOERROR, True), f"RCODE and haste of {name} after the return")
    expect(ask(daemon.port, f"cold{cold - 1}.example").rcode, dns.NOERROR, "the RCODE of the name that failed last")
    daemon.stop()
    flaky.close()


def test_forward_overrules_special():
    """A domain of [forward] is asked there though it is special"""
    corp = Switch()
    daemon = harness.dnsproxyd(server().address, f"upstream corp.server={corp.address}", "forward corp.upstream=corp",
                               "forward corp.domain=168.192.in-addr.arpa, internal")
    for name, kind in (("1.1.168.192.in-addr.arpa", dns.PTR), ("nas.internal", dns.A)):
        expect((len(ask(daemon.port, name, kind).answers), corp.names()[-1]), (1, name), "answers, and who was asked")
    expect(ask(daemon.port, "1.1.16.172.in-addr.arpa", dns.PTR).rcode, dns.NXDOMAIN, "the RCODE of another zone")
    expect(len(corp.seen), 2, "the number of queries that server saw")
    daemon.stop()
    corp.close()


def test_serve_stale_after_servfail():
    """SERVFAIL is no reason to lose an answer either"""
    flaky = Switch(ttl=1)
    daemon = harness.dnsproxyd(flaky.address)
    ask(daemon.port, "kept.example")
    time.sleep(1.3)
    flaky.mode = "servfail"
    for _ in range(3):
        reply, took = timed(ask, daemon.port, "kept.example")
        expect((reply.rcode, ede_of(reply)), (dns.NOERROR, 3), "RCODE and EDE code")
        expect(took < 1.5, True, f"that {took:.2f} s are no wait")
    daemon.stop()
    flaky.close()


def test_serve_stale_keys():
    """serve-stale = 0 serves nothing stale; serve-stale = 1s nothing older"""
    for value, rcode in (("0", dns.SERVFAIL), ("1s", dns.SERVFAIL), ("1h", dns.NOERROR)):
        flaky = Switch(ttl=1)
        daemon = harness.dnsproxyd(flaky.address, f"cache.serve-stale={value}")
        ask(daemon.port, "limit.example")
        time.sleep(2.5)
        flaky.mode = "servfail"
        expect(ask(daemon.port, "limit.example").rcode, rcode, f"the RCODE with serve-stale = {value}")
        daemon.stop()
        flaky.close()


def test_prefetch():
    """A name that is asked for is fetched ahead of its end; one that is not is left alone"""
    source = Switch(ttl=6)
    daemon = harness.dnsproxyd(source.address, "cache.prefetch=50%")
    for _ in range(4):
        ask(daemon.port, "popular.example")
    ask(daemon.port, "lonely.example")
    expect(len(source.seen), 2, "the number of queries the upstream saw")
    time.sleep(3.3)
    for name in ("lonely.example", "popular.example"):
        expect(ask(daemon.port, name).answers[0].ttl in (1, 2, 3), True, f"that {name} is answered from the cache")
    # Asked again it starts no second fetch, whether the first has ended by now or not.
    ask(daemon.port, "popular.example")
    harness.wait_until(lambda: len(source.seen) == 3, what="prefetch")
    expect(source.names()[-1], "popular.example", "the name that was fetched")
    harness.wait_until(lambda: ask(daemon.port, "popular.example").answers[0].ttl > 3, 5, "the new answer")
    expect(daemon.counters()["refreshes"], 1, "refreshes")
    daemon.stop()
    source.close()


def test_prefetch_off():
    """prefetch = 0% fetches nothing ahead"""
    source = Switch(ttl=5)
    daemon = harness.dnsproxyd(source.address, "cache.prefetch=0%")
    for _ in range(5):
        ask(daemon.port, "popular.example")
        time.sleep(0.6)
    expect(len(source.seen), 1, "the number of queries the upstream saw")
    daemon.stop()
    source.close()


# --- the cache file -------------------------------------------------------------------------------


def cache_path(name):
    """A path in a directory that a daemon which dropped its privileges can write to."""
    directory = harness.temporary_path(f"cache-{name}")
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    return os.path.join(directory, "cache")


def test_cache_file():
    """Answers outlive a restart, with less TTL, and are saved for their owner only"""
    source = Switch()
    path = cache_path("kept")
    daemon = harness.dnsproxyd(source.address, f"cache.file={path}")
    for index in range(200):
        ask(daemon.port, f"kept{index}.example")
    ask(daemon.port, "nothing.example")
    daemon.stop()
    expect(os.stat(path).st_mode & 0o777, 0o600, "the file's mode")
    expect(os.listdir(os.path.dirname(path)), ["cache"], "the files there")
    seen = len(source.seen)
    time.sleep(1.5)
    daemon = harness.dnsproxyd(source.address, f"cache.file={path}")
    expect(int(daemon.wait_log(r"cache-loaded .*answers=(\d+)").group(1)), 201, "the answers loaded")
    for index in range(200):
        reply = ask(daemon.port, f"KEPT{index}.example")
        expect(reply.answers[0].rdata, socket.inet_aton(f"192.0.2.{(index + 1) % 250}"), "the address")
        expect(290 < reply.answers[0].ttl < 300, True, f"that the TTL {reply.answers[0].ttl} has gone down")
    reply = ask(daemon.port, "nothing.example")
    expect((reply.rcode, len(reply.authority)), (dns.NXDOMAIN, 1), "RCODE and the length of the authority section")
    expect(len(source.seen), seen, "the number of queries the upstream saw")
    daemon.stop()
    source.close()


def test_cache_file_refused():
    """A damaged file leaves the cache empty, with one log line; what was never a cache file is not written over"""
    source = Switch()
    path = cache_path("damaged")
    daemon = harness.dnsproxyd(source.address, f"cache.file={path}")
    for index in range(50):
        ask(daemon.port, f"a{index}.example")
    daemon.stop()
    with open(path, "rb") as file:
        whole = file.read()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    future = struct.pack(">8sII", b"STILEDNS", 9, 0) + whole[16:]
    table = (("a flipped bit", bytes(flipped), True), ("a file cut short", whole[:-20], True),
             ("a missing end", whole[:-16], True), ("another version", future, True),
             ("a letter", b"Dear diary, today I changed the path.\n" * 9, False))
    for what, content, is_ours in table:
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o666)
        daemon = harness.dnsproxyd(source.address, f"cache.file={path}")
        daemon.wait_log("cache-file-refused .*why=")
        expect(len(re.findall("cache-(?:file|loaded)", daemon.log())), 1, f"the log lines about {what}")
        seen = len(source.seen)
        ask(daemon.port, "a1.example")
        expect(len(source.seen), seen + 1, f"the number of queries the upstream saw with {what}")
        daemon.stop()
        with open(path, "rb") as file:
            expect(file.read() == content, not is_ours, f"that {what} is left alone")
    with open(path, "wb"):
        pass
    daemon = harness.dnsproxyd(source.address, f"cache.file={path}")
    ask(daemon.port, "a1.example")
    daemon.stop()
    expect("cache-file-refused" in daemon.log(), False, "that an empty file is refused")
    with open(path, "rb") as file:
        expect(file.read(8), b"STILEDNS", "what an empty file has become")
    source.close()


# --- why an answer is as it is --------------------------------------------------------------------


def test_reason_is_passed_on():
    """The EDE of a server's answer reaches clients that sent OPT: fresh, from the cache, after a restart, on errors"""
    def answer(message, _transport):
        name = message.name.lower()
        text = b"" if name.startswith("plain") else "blocked by the ministry".encode()
        options = struct.pack(">HHH", EDE, 2 + len(text), 17) + text + struct.pack(">HHH", EDE, 2, 4)
        if name.startswith("broken"):
            return message.answer_bytes(rcode=dns.SERVFAIL, additional=[dns.opt_record(options=options)])
        if name.startswith("no"):
            return message.answer_bytes(authority=[soa_record("example", 300, 300)], rcode=dns.NXDOMAIN,
                                        additional=[dns.opt_record(options=options)])
        return message.answer_bytes([a_record(message.name, "192.0.2.1", 300)], additional=[dns.opt_record(options=options)])

    source = DnsServer(answer)
    path = cache_path("reasons")
    for round_number in range(2):
        daemon = harness.dnsproxyd(source.address, f"cache.file={path}")
        if round_number:
            daemon.wait_log("cache-loaded")
        for name, text in (("blocked.example", b"blocked by the ministry"), ("plain.example", b""),
                           ("no.example", b"blocked by the ministry")):
            for _ in range(2):
                reply = ask(daemon.port, name)
                expect(reply.options[EDE], b"\0\x11" + text, f"the EDE of {name}")
                expect(reply.opt.rdata.count(struct.pack(">H", EDE) + b"\0"), 1, "the number of EDE options")
                reply = ask(daemon.port, name, opt=False)
                expect(reply.opt, None, f"the OPT of {name} without one in the query")
        expect(len(source.seen), 3, "the number of queries the upstream saw")
        if round_number:
            reply = ask(daemon.port, "broken.example")
            expect((reply.rcode, reply.options[EDE]), (dns.SERVFAIL, b"\0\x11blocked by the ministry"),
                   "RCODE and EDE of an error")
        daemon.stop()
    source.close()


# --- special names and types ----------------------------------------------------------------------


def check_local(name, kind, rcode, answers, soa=None):
    """Answered without the upstream: RCODE, the types in the answer section, the owner of the SOA."""
    before = len(server().seen)
    reply = ask(proxy().port, name, kind)
    expect(reply.rcode, rcode, f"the RCODE for {name}")
    expect([record.type for record in reply.answers], answers, f"the types in the answer for {name}")
    expect([(record.type, record.name.lower()) for record in reply.authority], [] if soa is None else [(dns.SOA, soa)],
           f"the authority section for {name}")
    expect(bool(reply.flags & dns.AD), False, "AD")
    expect(bool(reply.flags & dns.RA), True, "RA")
    expect(ede_of(reply), 29, f"the EDE code for {name}")
    expect(len(server().seen), before, f"what the upstream saw of {name}")
    return reply


def test_special_names():
    """Special names are answered here, each with a SOA when there is nothing, and EDE 29"""
    reply = check_local("LocalHost", dns.A, dns.NOERROR, [dns.A])
    expect(reply.answers[0].rdata, socket.inet_aton("127.0.0.1"), "the address")
    reply = check_local("foo.localhost", dns.AAAA, dns.NOERROR, [dns.AAAA])
    expect(reply.answers[0].rdata, socket.inet_pton(socket.AF_INET6, "::1"), "the address")
    check_local("localhost", dns.MX, dns.NOERROR, [], "localhost")
    for name in ("invalid", "test", "onion", "alt", "local", "internal"):
        check_local(f"www.{name}", dns.A, dns.NXDOMAIN, [], name)
        check_local(name, dns.A, dns.NXDOMAIN, [], "")
    check_local("nas.home.arpa", dns.A, dns.NXDOMAIN, [], "home.arpa")
    check_local("home.arpa", dns.SOA, dns.NOERROR, [dns.SOA])
    check_local("home.arpa", dns.NS, dns.NOERROR, [dns.NS])
    check_local("_dns.resolver.arpa", SVCB, dns.NOERROR, [], "resolver.arpa")


def test_reverse_zones():
    """The reverse zones of RFC 6303: SOA and NS at the apex, NXDOMAIN below, PTR of 127.0.0.1"""
    zones = ["10", "0", "127", "254.169", "168.192", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255",
             *(f"{octet}.172" for octet in range(16, 32)), "64.100", "100.100", "127.100"]
    zones = [f"{zone}.in-addr.arpa" for zone in zones]
    zones += [f"{zone}.ip6.arpa" for zone in ("d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "8.b.d.0.1.0.0.2",
                                              ".".join("0" * 32), ".".join("1" + "0" * 31))]
    for zone in zones:
        check_local(zone, dns.SOA, dns.NOERROR, [dns.SOA])
        check_local(zone, dns.NS, dns.NOERROR, [dns.NS])
        check_local(f"9.{zone}", dns.PTR, dns.NXDOMAIN, [], zone)
    reply = check_local("1.0.0.127.in-addr.arpa", dns.PTR, dns.NOERROR, [dns.PTR])
    expect(reply.answers[0].rdata, dns.name_bytes("localhost"), "the PTR")


def test_not_special():
    """Neighbours of special names go upstream, and so do ipv4only.arpa and DS of an empty zone"""
    for name, kind in (("ipv4only.arpa", dns.AAAA), ("10.in-addr.arpa", DS), ("15.172.in-addr.arpa", dns.PTR),
                       ("32.172.in-addr.arpa", dns.PTR), ("1.169.192.in-addr.arpa", dns.PTR), ("mylocal", dns.A),
                       ("local.example", dns.A), ("c.e.f.ip6.arpa", dns.PTR)):
        before = len(server().seen)
        ask(proxy().port, name, kind)
        expect(len(server().seen), before + 1, f"the number of queries the upstream saw after {name}")


def test_local_zones_off():
    """local-zones = off asks upstream about what a network may use for itself, never about localhost"""
    source = Switch()
    daemon = harness.dnsproxyd(source.address, "server.local-zones=off")
    for name in ("nas.home.arpa", "printer.local", "x.internal", "x.test", "1.1.168.192.in-addr.arpa"):
        ask(daemon.port, name)
    expect(len(source.seen), 5, "the number of queries the upstream saw")
    for name in ("localhost", "x.onion", "x.invalid", "x.alt", "_dns.resolver.arpa"):
        ask(daemon.port, name)
    expect(len(source.seen), 5, "the number of queries the upstream saw")
    daemon.stop()
    source.close()


def test_any():
    """ANY by UDP is answered with HINFO (RFC 8482), by TCP it is asked upstream"""
    before = len(server().seen)
    reply = ask(proxy().port, "any.example", ANY)
    expect([(record.type, record.rdata) for record in reply.answers], [(HINFO, b"\x07RFC8482\x00")], "the answer")
    expect(len(server().seen), before, "the number of queries the upstream saw")
    reply = Message(ask_tcp(query_bytes("any.example", ANY), proxy().port))
    expect([record.type for record in reply.answers], [dns.A], "the answer by TCP")


def test_conduct():
    """What we do not do is refused, with EDE when the client has OPT"""
    table = (
        ("two questions", dns.FORMERR, 0, struct.pack(">HHHHHH", 7, dns.RD, 2, 0, 0, 1) +
         (dns.name_bytes("a.example") + struct.pack(">HH", 1, 1)) * 2 + dns.record_bytes(dns.opt_record())),
        ("AXFR", dns.NOTIMP, 21, query_bytes("conduct.example", 252, ident=7, opt=dns.opt_record())),
        ("IXFR", dns.NOTIMP, 21, query_bytes("conduct.example", 251, ident=7, opt=dns.opt_record())),
        ("TKEY", dns.NOTIMP, 21, query_bytes("conduct.example", 249, ident=7, opt=dns.opt_record())),
        ("type OPT", dns.NOTIMP, 21, query_bytes("conduct.example", 41, ident=7, opt=dns.opt_record())),
    )
    before = len(server().seen)
    for what, rcode, code, wire in table:
        for ask_it in (ask_udp, ask_tcp):
            reply = Message(ask_it(wire, proxy().port))
            expect((reply.ident, reply.rcode, ede_of(reply)), (7, rcode, code), f"ID, RCODE and EDE for {what}")
            expect(bool(reply.flags & dns.QR), True, "QR")
    # DSO (RFC 8490) has opcode 6 and no question; it must not end the connection.
    dso = struct.pack(">HHHHHH", 9, 6 << 11, 0, 0, 0, 0) + struct.pack(">HHII", 1, 8, 15000, 15000)
    with socket.create_connection(("127.0.0.1", proxy().port), timeout=5) as sock:
        stream = sock.makefile("rb")
        for wire, rcode in ((dso, dns.NOTIMP), (query_bytes("localhost", ident=9), dns.NOERROR)):
            sock.sendall(struct.pack(">H", len(wire)) + wire)
            reply = Message(read_tcp_message(stream))
            expect((reply.ident, reply.rcode), (9, rcode), "ID and RCODE")
    expect(len(server().seen), before, "the number of queries the upstream saw")


TSIG_KEY, TSIG_NAME, TSIG_TIME = b"sixteen octets..", "key.example", b"\0\0\x65\0\0\0"


def tsig_sign(wire, request_mac=b""):
    """The message with a TSIG record (RFC 8945), and its MAC."""
    algorithm = dns.name_bytes("hmac-sha256")
    fudge = struct.pack(">H", 300)
    covered = (struct.pack(">H", len(request_mac)) + request_mac if request_mac else b"") + wire
    covered += dns.name_bytes(TSIG_NAME) + struct.pack(">HI", 255, 0) + algorithm + TSIG_TIME + fudge + bytes(4)
    mac = hmac.new(TSIG_KEY, covered, "sha256").digest()
    rdata = algorithm + TSIG_TIME + fudge + struct.pack(">H", len(mac)) + mac + wire[:2] + bytes(4)
    count = struct.unpack(">H", wire[10:12])[0]
    return wire[:10] + struct.pack(">H", count + 1) + wire[12:] + dns.record_bytes(
        Record(TSIG_NAME, 250, 255, 0, rdata)), mac


def tsig_verify(message, request_mac=b""):
    """Whether the last record is a TSIG that fits; returns the MAC."""
    tsig = message.additional[-1]
    expect(tsig.type, 250, "the last record's type")
    whole = message.wire[:-len(dns.record_bytes(tsig))]
    original = tsig.rdata[-6:-4]
    count = struct.unpack(">H", message.wire[10:12])[0]
    unsigned = original + whole[2:10] + struct.pack(">H", count - 1) + whole[12:]
    signed, mac = tsig_sign(unsigned, request_mac)
    expect(dns.record_bytes(tsig), dns.record_bytes(Message(signed).additional[-1]), "the TSIG record")
    return mac


def test_signed_queries():
    """A signed query reaches the server as it is, and the signed answer the client (RFC 5625 section 4.5, RFC 8945)"""
    def answer(message, _transport):
        mac = tsig_verify(message)
        reply = message_bytes_of(message)
        return tsig_sign(reply, mac)[0]

    def message_bytes_of(message):
        if message.name.lower().startswith("large"):
            return message.answer_bytes([Record(message.name, 16, 1, 5, b"\xff" + b"x" * 255)] * 8)
        return message.answer_bytes([a_record(message.name, f"192.0.2.{len(source.seen)}", 300)],
                                    additional=[dns.opt_record(options=struct.pack(">HH4s", 10, 4, b"abcd"))])

    source = DnsServer(answer)
    daemon = harness.dnsproxyd(source.address, "server.workers=1")
    for number, ask_it in enumerate((ask_udp, ask_tcp, ask_udp), 1):
        plain = query_bytes("SiGned.Example", ident=40 + number, opt=dns.opt_record(700, b"\xfe\xff\0\2hi"))
        wire, mac = tsig_sign(plain)
        reply = Message(ask_it(wire, daemon.port))
        tsig_verify(reply, mac)
        expect(reply.ident, 40 + number, "the ID")
        expect([record.rdata for record in reply.answers], [bytes((192, 0, 2, number))], "the answer, not a kept one")
        expect(source.seen[-1].message.wire[2:], wire[2:], "the query upstream but for its ID")
        expect(source.seen[-1].transport, "tcp" if ask_it is ask_tcp else "udp", "how it went")
    expect(daemon.counters()["queries_signed"], 3, "signed queries")
    # What a signed query brought is for nobody else.
    expect(Message(ask_udp(tsig_sign(query_bytes("localhost", ident=3))[0], daemon.port)).rcode, dns.NOERROR, "RCODE")
    expect(len(source.seen), 3, "the number of queries the upstream saw with a name that is never forwarded")
    wire, mac = tsig_sign(query_bytes("large.example", ident=9, opt=dns.opt_record(4096)))
    reply = Message(ask_udp(wire, daemon.port))
    expect((bool(reply.flags & dns.TC), len(reply.answers)), (True, 0), "TC and answers of what is too long")
    reply = Message(ask_tcp(wire, daemon.port))
    tsig_verify(reply, mac)
    expect(len(reply.answers), 8, "the number of answers by TCP")
    source.answer = lambda *_: None
    began = time.monotonic()
    reply = Message(ask_udp(tsig_sign(query_bytes("silent.example", ident=3, opt=dns.opt_record()))[0], daemon.port))
    expect((reply.rcode, ede_of(reply), time.monotonic() - began < 5), (dns.SERVFAIL, 22, True),
           "RCODE, EDE and time when nobody answers")
    daemon.stop()
    source.close()


def test_ad_and_cd():
    """AD goes to clients that ask for it (AD or DO), CD is passed on and returned (RFC 6840 section 5.7 and 5.8)"""
    def validated(message, _transport):
        return message.answer_bytes([a_record(message.name, "192.0.2.1")], flags=dns.AD | message.flags & dns.CD)

    source = DnsServer(validated)
    daemon = harness.dnsproxyd(source.address)
    table = (({}, False), ({"flags": dns.RD | dns.AD}, True), ({"opt": dns.opt_record(flags=0x8000)}, True),
             ({"opt": dns.opt_record()}, False))
    for turn in range(2):
        for more, wanted in table:
            reply = Message(ask_udp(query_bytes("ad.example", **more), daemon.port))
            expect(bool(reply.flags & dns.AD), wanted, f"AD of answer {turn} to {more}")
            if more.get("opt"):
                expect(reply.opt.ttl & 0x8000, more["opt"].ttl & 0x8000, "DO in the reply")
    for item in source.seen:
        expect(bool(item.message.flags & dns.AD), True, "AD upstream")
    reply = Message(ask_udp(query_bytes("cd.example", flags=dns.RD | dns.CD), daemon.port))
    expect(bool(reply.flags & dns.CD), True, "CD in the reply")
    expect(bool(source.seen[-1].message.flags & dns.CD), True, "CD upstream")
    daemon.stop()
    source.close()


# --- limits ---------------------------------------------------------------------------------------


def test_rate_limit():
    """Over the limit a client hears TC=1, far over it nothing; TCP still works; others are not touched"""
    options = ("limits.rate-limit=1", "limits.rate-limit-burst=20", "limits.rate-limit-exempt=127.0.0.9",
               "listen test.clients=any")
    daemon = harness.dnsproxyd(server().address, *options)
    ask_from(daemon.port, "127.0.0.9", 1)  # warms the cache

    replies = ask_from(daemon.port, "127.0.0.5", 100)
    whole = sum(not reply.flags & dns.TC for reply in replies)
    cut = sum(bool(reply.flags & dns.TC) for reply in replies)
    expect(20 <= whole <= 24, True, f"that {whole} whole answers are the burst")
    expect(20 <= cut <= 24, True, f"that {cut} truncated answers are as many again")
    for reply in replies:
        expect(len(reply.answers), 0 if reply.flags & dns.TC else 1, "the number of answers")
    expect(len(Message(ask_tcp(query_bytes("rate.example"), daemon.port)).answers), 1, "the answers by TCP")
    expect(len(ask_from(daemon.port, "127.0.0.6", 10)), 10, "the replies to another client")
    expect(len(ask_from(daemon.port, "127.0.0.9", 100)), 100, "the replies to an exempt client")
    counters = daemon.counters()
    expect(counters["queries_truncated"], cut, "queries_truncated")
    expect(counters["queries_limited"], 100 - whole - cut, "queries_limited")
    daemon.stop()


def ask_from(port, address, count):
    """The replies to this many queries from an address of loopback."""
    replies = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((address, 0))
        sock.connect(("127.0.0.1", port))
        for ident in range(count):
            sock.send(query_bytes("rate.example", ident=ident))
        while select.select([sock], [], [], 0.5)[0]:
            replies.append(Message(sock.recv(65535)))
    return replies


def test_tcp_keepalive():
    """The keepalive option is answered on TCP, not on UDP, and only to those who send it (RFC 7828)"""
    daemon = harness.dnsproxyd(server().address, "limits.tcp-idle-timeout=7s")
    wanting = query_bytes("localhost", opt=dns.opt_record(options=dns.option_bytes(KEEPALIVE, b"")))
    reply = Message(ask_tcp(wanting, daemon.port))
    expect(reply.options.get(KEEPALIVE), struct.pack(">H", 70), "the keepalive option")
    wanting = query_bytes("keep.example", opt=dns.opt_record(options=dns.option_bytes(KEEPALIVE, b"")))
    for _ in range(2):
        expect(Message(ask_tcp(wanting, daemon.port)).options.get(KEEPALIVE), struct.pack(">H", 70), "the option")
    expect(KEEPALIVE in Message(ask_udp(wanting, daemon.port)).options, False, "that UDP has it")
    plain = query_bytes("keep.example", opt=dns.opt_record())
    expect(KEEPALIVE in Message(ask_tcp(plain, daemon.port)).options, False, "that others get it")
    daemon.stop()


def closed_after(sock, seconds):
    """How long until the peer closes, or None."""
    began = time.monotonic()
    sock.settimeout(seconds)
    try:
        return time.monotonic() - began if sock.recv(100) == b"" else None
    except TimeoutError:
        return None
    except ConnectionResetError:
        return time.monotonic() - began


def test_tcp_idle():
    """An idle connection is closed in time, and so is one that sends its query byte by byte for ever"""
    daemon = harness.dnsproxyd(server().address, "limits.tcp-idle-timeout=1s")
    with socket.create_connection(("127.0.0.1", daemon.port)) as sock:
        took = closed_after(sock, 5)
        expect(took is not None and 0.8 < took < 4, True, f"that {took} s are one second")
    with socket.create_connection(("127.0.0.1", daemon.port)) as sock:
        stop = threading.Event()

        def drip():
            for byte in b"\x00\x40" + bytes(60):
                try:
                    sock.send(bytes([byte]))
                except OSError:
                    return
                if stop.wait(0.2):
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        took = closed_after(sock, 6)
        stop.set()
        thread.join()
        expect(took is not None and took < 5, True, f"that {took} s are one second")
    expect(daemon.counters()["tcp_idle"], 2, "tcp_idle")
    daemon.stop()


def test_tcp_per_client():
    """A client has at most max-tcp-per-client connections; others are not touched"""
    daemon = harness.dnsproxyd(server().address, "limits.max-tcp-per-client=3", "server.workers=1",
                               "listen test.clients=any")
    wire = query_bytes("localhost", ident=3)

    def works(source):
        sock = socket.create_connection(("127.0.0.1", daemon.port), timeout=5, source_address=(source, 0))
        try:
            sock.sendall(struct.pack(">H", len(wire)) + wire)
            return sock if sock.recv(100) else sock.close()
        except ConnectionResetError:
            return sock.close()

    with harness.closing_all() as open_ones:
        for count in range(5):
            sock = works("127.0.0.5")
            expect(sock is not None, count < 3, f"that connection {count} works")
            if sock:
                open_ones.append(sock)
        open_ones.append(works("127.0.0.6"))
        expect(open_ones[-1] is not None, True, "that another client's connection works")
        open_ones.pop(0).close()
        harness.wait_until(lambda: daemon.counters()["tcp_now"] == 3, what="end of the connection")
        open_ones.append(works("127.0.0.5"))
        expect(open_ones[-1] is not None, True, "that there is room again")
    expect(daemon.counters()["tcp_refused"], 2, "tcp_refused")
    daemon.stop()


def test_tcp_slow_reader():
    """A client that asks and does not read is closed; others go on"""
    source = DnsServer(lambda message, _: message.answer_bytes(
        [Record(message.name, dns.TXT, 1, 300, b"\xff" + b"x" * 255) for _ in range(100)]))
    daemon = harness.dnsproxyd(source.address, "limits.tcp-idle-timeout=2s")
    wire = query_bytes("big.example", dns.TXT)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", daemon.port))
        sock.settimeout(1)
        try:
            for _ in range(3000):
                sock.sendall(struct.pack(">H", len(wire)) + wire)
        except OSError:
            pass
        expect(len(Message(ask_tcp(wire, daemon.port)).answers), 100, "the answers to another client")
        harness.wait_until(lambda: daemon.counters()["tcp_now"] == 0, 6, "end of the slow reader")
    expect(daemon.counters()["tcp_slow"], 1, "tcp_slow")
    daemon.stop()
    source.close()


def large_answer(message, _transport):
    """200 records, 50 KB."""
    return message.answer_bytes([Record(message.name, dns.TXT, 1, 300, b"\xff" + b"x" * 255) for _ in range(187)])


def read_replies(sock, count, piece=65536, pause=0.0):
    """The IDs of that many replies, read so many octets at a time with a pause before each."""
    data, found = b"", []
    while len(found) < count:
        time.sleep(pause)
        news = sock.recv(piece)
        if not news:
            raise AssertionError(f"the connection ended after {len(found)} of {count} replies")
        data += news
        while len(data) >= 2 and len(data) >= 2 + struct.unpack(">H", data[:2])[0]:
            length = struct.unpack(">H", data[:2])[0]
            found.append(struct.unpack(">H", data[2:4])[0])
            expect(length > 49_000, True, f"that a reply has {length} octets")
            data = data[2 + length:]
    return found


def test_tcp_many_large_answers():
    """A client that asks for many large answers before it reads gets them all, fresh and from the cache"""
    source = DnsServer(large_answer)
    daemon = harness.dnsproxyd(f"tcp://{source.address}", "server.workers=1", "limits.tcp-idle-timeout=3s")
    before = daemon.rss_bytes()
    for _ in range(2):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.settimeout(20)
            sock.connect(("127.0.0.1", daemon.port))
            for number in range(200):
                wire = query_bytes(f"large{number}.example", dns.TXT, ident=number)
                sock.sendall(struct.pack(">H", len(wire)) + wire)
            time.sleep(1)
            expect(sorted(read_replies(sock, 200)), list(range(200)), "the IDs of the replies")
    counters = daemon.counters()
    expect((counters["tcp_slow"], counters["queries_tcp"]), (0, 400), "tcp_slow and queries_tcp")
    if not harness.SANITIZED:
        # The cache takes 10 MB of it.
        grown = daemon.rss_bytes() - before
        expect(grown < 32 << 20, True, f"that memory grew by {grown >> 20} MiB only")
    daemon.stop()
    source.close()


def test_tcp_steady_reader():
    """A client that reads slowly, but steadily, is not closed: some 16 KiB in each tcp-idle-timeout are enough"""
    source = DnsServer(large_answer)
    daemon = harness.dnsproxyd(f"tcp://{source.address}", "server.workers=1", "limits.tcp-idle-timeout=1s")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", daemon.port))
        for number in range(20):
            wire = query_bytes(f"large{number}.example", dns.TXT, ident=number)
            sock.sendall(struct.pack(">H", len(wire)) + wire)
        began = time.monotonic()
        read_replies(sock, 20, 65536, 0.02)
        # No reply was held back so long that nothing had to wait: then this would prove nothing.
        expect(time.monotonic() - began > 2, True, "that it took longer than the timeout")
    expect(daemon.counters()["tcp_slow"], 0, "tcp_slow")
    daemon.stop()
    source.close()


# --- the log --------------------------------------------------------------------------------------


def test_query_log():
    """query-log = on writes one line a query; the privacy levels leave out what they say"""
    daemon = harness.dnsproxyd(server().address, "log.query-log=on")
    ask(daemon.port, "Logged.example")
    line = daemon.wait_log(r"query client=.*").group()
    for field in ("client=127.0.0.1", "by=udp", "name=Logged.example", "type=A", "rcode=0", "from=upstream"):
        expect(field in line, True, f"that {field} is in {line}")
    ask(daemon.port, "logged.example")
    daemon.wait_log(r"query client=.* name=logged.example .* from=cache")
    ask_tcp(query_bytes("x.invalid", dns.AAAA), daemon.port)
    daemon.wait_log(r"query client=.* by=tcp name=x.invalid type=AAAA rcode=3 .* from=local")
    expect(len(re.findall(r"query client=", daemon.log())), 3, "the number of lines")
    daemon.stop()

    daemon = harness.dnsproxyd(server().address, "log.query-log=on", "log.clients=network", "log.names=none")
    ask(daemon.port, "secret.example")
    line = daemon.wait_log(r"query client=.*").group()
    expect("client=127.0.0.0/24" in line and "name=- " in line, True, f"that {line} hides client and name")
    daemon.stop()
    expect("secret" in daemon.log(), False, "that the name is in the log")

    daemon = harness.dnsproxyd(server().address)
    ask(daemon.port, "quiet.example")
    daemon.stop()
    expect("quiet" in daemon.log(), False, "that the name is in the log without query-log")


# --- keys -----------------------------------------------------------------------------------------


def test_ranges():
    """Values out of range are refused, with the key's name; those at the ends are not"""
    table = (("cache.failure-ttl", "999ms", "1s"), ("cache.failure-ttl", "301s", "5m"), ("cache.serve-stale", "8d", "7d"),
             ("cache.prefetch", "51%", "50%"), ("cache.file", "relative", "/tmp/cache"),
             ("limits.max-waiting-per-question", "0", "1"), ("limits.max-tcp-per-client", "0", "1"),
             ("limits.rate-limit", "1000001", "1000000"), ("limits.rate-limit-burst", "0", "1"),
             ("limits.rate-limit-exempt", "10.0.0.1/8", "10.0.0.0/8"), ("server.local-zones", "maybe", "off"),
             ("log.query-log", "2", "on"), ("log.clients", "some", "network"), ("log.names", "some", "none"))
    program = harness.program_path("dnsproxyd")
    for key, bad, good in table:
        process = harness.start([program, "-t", "-o", f"{key}={bad}"], stderr=subprocess.PIPE)
        complaint = process.communicate(timeout=20)[1].decode()
        expect((process.returncode, key.split(".")[1] in complaint), (2, True), f"status, and {complaint} for {key}={bad}")
        harness.output_of(program, "-t", "-o", f"{key}={good}")


if __name__ == "__main__":
    harness.run(globals())
