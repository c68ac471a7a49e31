# SPDX-License-Identifier: ISC
"""dnsproxyd and the servers it asks: what the client sees, and what is sent, when they misbehave."""

import collections
import contextlib
import functools
import math
import re
import signal
import socket
import struct
import time

import dns_message as dns
import harness
from dns_message import Message, a_record, query_bytes
from harness import expect, wait_until
from peers import ask_tcp, ask_udp
from scripted_dns import ScriptedServer

EDE = 15
QUICK = "upstream default.timeout=300ms"


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


# --- one server, table by table -------------------------------------------------------------------


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


OK = (dns.NOERROR, ["192.0.2.7"])
FAIL = (dns.SERVFAIL, [])

# what, script, what the client sees, the EDE code or None, how many messages are sent by UDP and TCP
ONE_SERVER = (
    ("answers", good, OK, None, (1, 0)),
    ("is silent", drop, FAIL, 22, (3, 0)),
    ("loses the first query", nth(drop, good), OK, None, (2, 0)),
    ("loses two queries", nth(drop, drop, good), OK, None, (3, 0)),
    ("answers three times", duplicate, OK, None, (1, 0)),
    ("is slow", lambda query: query.reply(query.good(), after=0.2), OK, None, (1, 0)),
    ("is slower than the timeout", lambda query: query.reply(query.good(), after=0.5), FAIL, 22, (3, 0)),
    ("is overtaken by a wrong id", both(wrong_id, good), OK, None, (1, 0)),
    ("only sends wrong ids", wrong_id, FAIL, 22, (3, 0)),
    ("is overtaken from another port", both(wrong_port, good), OK, None, (1, 0)),
    ("only answers from another port", wrong_port, FAIL, 22, (3, 0)),
    ("is overtaken by another name", both(wrong_name, good), OK, None, (1, 0)),
    ("only answers about another name", wrong_name, FAIL, 22, (3, 0)),
    ("is overtaken by another type", both(wrong_type, good), OK, None, (1, 0)),
    ("only answers about another type", wrong_type, FAIL, 22, (3, 0)),
    ("only answers in another case", wrong_case, FAIL, 22, (3, 0)),
    ("sends our query back first", both(query_back, good), OK, None, (1, 0)),
    ("sends garbage first", both(garbage, good), OK, None, (1, 0)),
    ("only sends garbage", garbage, FAIL, 22, (3, 0)),
    ("sends empty and short datagrams first", both(short_datagram, good), OK, None, (1, 0)),
    ("says SERVFAIL", with_rcode(dns.SERVFAIL), FAIL, 0, (1, 0)),
    ("says SERVFAIL with OPT", with_rcode(dns.SERVFAIL, opt=True), FAIL, 0, (1, 0)),
    ("says REFUSED", with_rcode(dns.REFUSED), (dns.REFUSED, []), 0, (1, 0)),
    ("says NOTIMP with OPT", with_rcode(dns.NOTIMP, opt=True), (dns.NOTIMP, []), 0, (1, 0)),
    ("says FORMERR with OPT", with_rcode(dns.FORMERR, opt=True), (dns.FORMERR, []), 0, (1, 0)),
    ("says FORMERR to EDNS", no_edns(with_rcode(dns.FORMERR)), OK, None, (2, 0)),
    ("says NOTIMP to EDNS", no_edns(with_rcode(dns.NOTIMP)), OK, None, (2, 0)),
    ("says FORMERR to EDNS with nothing but a header", no_edns(header_only(dns.FORMERR)), OK, None, (2, 0)),
    ("says FORMERR to everything", with_rcode(dns.FORMERR), (dns.FORMERR, []), 0, (2, 0)),
    ("says SERVFAIL with nothing but a header", header_only(dns.SERVFAIL), FAIL, 0, (1, 0)),
    ("says REFUSED with nothing but a header", header_only(dns.REFUSED), (dns.REFUSED, []), 0, (1, 0)),
    ("truncates", truncated, OK, None, (1, 1)),
    ("truncates by TCP too", truncated_always, FAIL, 24, (1, 1)),
    ("sends a broken record", broken_record, FAIL, 24, (1, 0)),
    ("sends half an answer", cut_answer, FAIL, 24, (1, 0)),
)


def check_one_server(number, script, seen, ede, sends):
    with running(script, options=[QUICK]) as (daemon, server):
        name = f"case{number}.abcdefghijklmnop.example"
        reply, took = timed_ask(daemon, name, ident=4711)
        expect((reply.rcode, addresses(reply)), seen, "what the client sees")
        expect((reply.ident, reply.name), (4711, name), "ID and name of the reply")
        expect(ede_of(reply), ede, "the EDE code")
        expect_between(0, took, 4.9, "the time it took")
        time.sleep(0.05)
        queries = server.of(name)
        expect(tuple(sum(query.transport == kind for query in queries) for kind in ("udp", "tcp")), sends,
               "the messages sent by UDP and TCP")
        udp = [query for query in queries if query.transport == "udp"]
        expect(len({query.message.ident for query in queries}), len(queries), "the number of different IDs")
        expect(len({query.port for query in udp}), len(udp), "the number of different ports")


def test_one_server():
    for number, (what, script, seen, ede, sends) in enumerate(ONE_SERVER):
        yield (f"A server that {what}",
               functools.partial(check_one_server, number, script, seen, ede, sends))


def test_no_edns_is_remembered():
    """That a server cannot do EDNS is remembered"""
    with running(no_edns(header_only(dns.FORMERR))) as (daemon, server):
        for number in range(3):
            expect(addresses(ask(daemon, f"n{number}.old.example")), ["192.0.2.7"], "the answer")
        expect([query.message.opt is not None for query in server.seen], [True, False, False, False],
               "which queries had OPT")


def test_refused_port():
    """A server that is not there is asked three times, with pauses"""
    port = harness.free_port()
    daemon = harness.dnsproxyd(f"127.0.0.1:{port}")
    reply, took = timed_ask(daemon, "nobody.example")
    expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 22), "RCODE and EDE")
    expect_between(0.3, took, 3, "the time it took")
    expect(daemon.counters()["upstream_sends"], 3, "the messages sent")
    daemon.stop()


def test_long_answer():
    """An answer of 64 KiB comes through TCP whole, and is truncated for UDP"""
    texts = [dns.Record("", dns.TXT, 1, 60, bytes([250]) + bytes([i % 256]) * 250) for i in range(240)]

    def script(query):
        if query.transport == "udp":
            query.reply(query.message.answer_bytes(flags=dns.TC))
        else:
            query.reply(query.message.answer_bytes([record._replace(name=query.message.name) for record in texts]))

    with running(script) as (daemon, server):
        reply = ask(daemon, "l.example", kind=dns.TXT)
        expect((bool(reply.flags & dns.TC), reply.answers), (True, []), "TC and answers over UDP")
        reply = ask(daemon, "l.example", kind=dns.TXT, by=ask_tcp)
        expect(len(reply.answers), 240, "the number of answers over TCP")
        expect([record.rdata for record in reply.answers], [record.rdata for record in texts], "the texts")
        expect([query.transport for query in server.seen][:2], ["udp", "tcp"], "how the server was asked")


# --- case -----------------------------------------------------------------------------------------

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_random_case():
    """Names go out in random case and come back as the client wrote them"""
    with running(good) as (daemon, server):
        for number in range(40):
            name = f"{LETTERS}.n{number}.case.example"
            reply = ask(daemon, name)
            expect((reply.name, addresses(reply)), (name, ["192.0.2.7"]), "the reply")
            expect(reply.answers[0].name.lower(), name, "the owner")
        seen = [query.message.name for query in server.seen]
        expect(len({name[:26] for name in seen}), 40, "the number of different cases")
        for position in range(26):
            upper = sum(name[position].isupper() for name in seen)
            expect_between(5, upper, 35, f"how often letter {position} of 40 names was large")


def test_random_case_off():
    """randomize-case = off leaves names as they are"""
    with running(good, options=["privacy.randomize-case=off"]) as (daemon, server):
        for name in ("www.plain.example", "WwW.Plain2.example"):
            expect(addresses(ask(daemon, name)), ["192.0.2.7"], "the answer")
        expect([query.message.name for query in server.seen], ["www.plain.example", "WwW.Plain2.example"],
               "the names sent")


def has_random_case(query):
    return query.message.name != query.message.name.lower()


def test_folding_server():
    """A server that folds case is asked plainly, and the client hardly notices"""
    def fold(query):
        plain = Message(query_bytes(query.name, ident=query.message.ident))
        query.reply(plain.answer_bytes([a_record(plain.name, "192.0.2.7")]))

    with running(fold) as (daemon, server):
        for number in range(6):
            name = f"{LETTERS}{number}.fold.example"
            reply, took = timed_ask(daemon, name)
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect_between(0, took, 1, "the time it took")
            expect_between(1, len(server.of(name)), 2, "the messages sent")
        mixed = [has_random_case(query) for query in server.seen]
        expect(mixed, [True] + [False] * 6, "which names had random case")
        counters = daemon.counters()
        expect(counters["upstream_case_off"], 1, "upstream_case_off")
        expect(counters["upstream_wrong_case"], 1, "upstream_wrong_case")


def test_server_deaf_to_case():
    """A server that answers plain names only is found out, and asked plainly from then on"""
    def script(query):
        if not has_random_case(query):
            good(query)

    with running(script, options=["upstream default.timeout=400ms"]) as (daemon, server):
        for number in range(5):
            reply, took = timed_ask(daemon, f"{LETTERS}{number}.deaf.example")
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect_between(0, took, 1.5, "the time it took")
        expect([has_random_case(query) for query in server.seen], [True, False, True, False] + [False] * 3,
               "which names had random case")
        expect(daemon.counters()["upstream_case_off"], 1, "upstream_case_off")


def test_case_overtaken():
    """An answer in the wrong case does not end the wait for the right one"""
    def script(query):
        wrong_case(query)
        query.reply(query.good(), after=0.1)

    with running(script) as (daemon, _server):
        reply = ask(daemon, f"{LETTERS}.overtaken.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")


def test_no_case_by_tcp():
    """Over TCP names go out plain"""
    with running(good, scheme="tcp://") as (daemon, server):
        expect(addresses(ask(daemon, f"{LETTERS}.stream.example")), ["192.0.2.7"], "the answer")
        expect([query.message.name for query in server.seen], [f"{LETTERS}.stream.example"], "the names sent")


# --- forgers --------------------------------------------------------------------------------------


def test_burst_of_wrong_ids():
    """After a burst of wrong IDs the server is asked by TCP, this question included"""
    def script(query):
        if query.transport == "udp":
            for ident in range(1, 40):
                query.reply(forged(query, ident=ident))
            query.reply(query.good("192.0.2.66"), after=0.3)  # a forger who knows the port guesses right at last
        else:
            good(query)

    with running(script) as (daemon, server):
        for number in range(5):
            reply = ask(daemon, f"burst{number}.example")
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect([query.transport for query in server.seen], ["udp"] + ["tcp"] * 5, "how the server was asked")
        counters = daemon.counters()
        expect(counters["upstream_bursts"], 1, "upstream_bursts")
        expect_between(10, counters["upstream_wrong_answers"], 40, "upstream_wrong_answers")
        expect(bool(re.search("forged-answers", daemon.log())), True, "that the log says so")


def test_burst_without_tcp():
    """A server that cannot do TCP is asked by UDP all the same"""
    def script(query):
        if query.name.startswith("burst"):
            for ident in range(1, 40):
                query.reply(forged(query, ident=ident))
        query.reply(query.good(), after=0.05)

    server = ScriptedServer(script, tcp=False)
    with running(servers=[server], options=[QUICK]) as (daemon, _server):
        for name in ("burst.notcp.example", "a.notcp.example", "burst2.notcp.example", "b.notcp.example"):
            reply = ask(daemon, name)
            expect((reply.rcode, addresses(reply)), OK, f"what the client sees of {name}")
            expect_between(1, len(server.of(name)), 2, "the datagrams sent")


def test_chi_square():
    """10,000 ports and IDs pass a chi-square test"""
    with running(good) as (daemon, server):
        total = 10000
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", daemon.port))
            for start in range(0, total, 50):
                for number in range(start, start + 50):
                    sock.send(query_bytes(f"n{number}.chi.example", ident=number))
                for _ in range(50):
                    sock.recv(65535)
        queries = server.of(".chi.example")
        expect(len(queries), total, "the number of queries")
        ports = [query.port for query in queries]
        idents = [query.message.ident for query in queries]
        first, last = local_ports()
        expect(min(ports) >= first and max(ports) <= last, True, f"that ports, {min(ports)} to {max(ports)}, are local ones")
        expect(len(set(idents)) > 9000, True, f"that {len(set(idents))} different IDs are many")
        check_uniform([ident >> 8 for ident in idents], 256, "high octets of IDs")
        check_uniform([ident & 255 for ident in idents], 256, "low octets of IDs")
        check_uniform([(b - a) % 65536 >> 8 for a, b in zip(idents, idents[1:])], 256, "steps between IDs")
        check_uniform([(port - first) * 64 // (last + 1 - first) for port in ports], 64, "ranges of ports")
        check_uniform([port & 63 for port in ports], 64, "low bits of ports")


def local_ports():
    """First and last of those that the kernel gives to outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        return tuple(int(word) for word in file.read().split())


def check_uniform(values, buckets, what):
    """Chi-square: at most one in ten million uniform samples lies beyond the limit."""
    wanted = len(values) / buckets
    counts = collections.Counter(values)
    chi2 = sum((counts[bucket] - wanted) ** 2 / wanted for bucket in range(buckets))
    freedom = buckets - 1
    # Wilson and Hilferty's approximation of the quantile.
    limit = freedom * (1 - 2 / (9 * freedom) + 5.2 * math.sqrt(2 / (9 * freedom))) ** 3
    expect(chi2 < limit, True, f"that chi-square of the {what}, {chi2:.0f}, is below {limit:.0f}")


# --- several servers ------------------------------------------------------------------------------


def strategy(word):
    return f"upstream default.strategy={word}"


FAILOVER = strategy("failover")


def test_refusals_are_failures():
    """SERVFAIL, REFUSED and broken answers of one server make the next be asked"""
    scripts = (with_rcode(dns.SERVFAIL), with_rcode(dns.REFUSED), with_rcode(dns.NOTIMP, opt=True), broken_record,
               header_only(dns.SERVFAIL))
    for number, script in enumerate(scripts):
        with running(script, good, options=[FAILOVER]) as (daemon, first, second):
            reply, took = timed_ask(daemon, f"next{number}.example")
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect_between(0, took, 0.3, "the time it took")
            expect((len(first.seen), len(second.seen)), (1, 1), "the messages sent to each")


def test_all_refuse():
    """When all servers refuse, each is asked once and the first refusal is passed on"""
    with running(with_rcode(dns.REFUSED), with_rcode(dns.SERVFAIL), options=[FAILOVER]) as (daemon, first, second):
        expect(ask(daemon, "refused.example").rcode, dns.REFUSED, "the RCODE")
        expect((len(first.seen), len(second.seen)), (1, 1), "the messages sent to each")


def test_never_more_than_three():
    """With four servers that fail in every way, three messages are sent for a question"""
    scripts = (drop, with_rcode(dns.SERVFAIL), wrong_id, truncated_always)
    for word in ("fastest", "failover", "roundrobin", "leastconn", "race"):
        with running(*scripts, options=[strategy(word), QUICK]) as (daemon, *servers):
            names = [f"n{number}.three.example" for number in range(8)]
            for name in names:
                expect(ask(daemon, name).rcode, dns.SERVFAIL, "the RCODE")
            time.sleep(0.1)
            for name in names:
                sent = sum(len(server.of(name)) for server in servers)
                expect_between(1, sent, 3, f"the number of messages for {name} with {word}")


def test_failover():
    """failover asks the second server only while the first is away, and returns to the first"""
    with running(good, good, options=[FAILOVER, QUICK]) as (daemon, first, second):
        def turn(count, tag):
            """Questions, one after the other; how many messages each server got for them."""
            for number in range(count):
                expect(addresses(ask(daemon, f"n{number}.{tag}.example")), ["192.0.2.7"], "the answer")
            return len(first.of(f".{tag}.example")), len(second.of(f".{tag}.example"))

        expect(turn(20, "before"), (20, 0), "the messages sent while both are well")
        first.script = drop
        to_first, to_second = turn(100, "away")
        expect(to_second, 100, "the messages sent to the second while the first is away")
        expect_between(1, to_first, 16, "the messages sent to the first while it is away")
        first.script = good
        wait_until(lambda: turn(1, f"back{time.monotonic()}")[1] == 0, 5, "return to the first server")
        expect(turn(20, "after"), (20, 0), "the messages sent when the first is back")
        expect(daemon.counters()["upstream_down"], 1, "upstream_down")
        expect([bool(re.search(f"{event} server={first.address}", daemon.log())) for event in
                ("upstream-down", "upstream-up")], [True, True], "that the log tells of both changes")


def test_broken_domain_takes_no_server_down():
    """A domain that one server cannot resolve does not take that server down"""
    def script(query):
        (with_rcode(dns.SERVFAIL) if query.name == "broken.example" else good)(query)

    with running(script, lambda query: query.reply(query.good(ttl=0)), options=[FAILOVER]) as (daemon, first, second):
        for _ in range(30):
            expect(addresses(ask(daemon, "broken.example")), ["192.0.2.7"], "the answer about the broken domain")
        expect(len(first.of("broken.example")), 30, "how often the first was asked about it")
        expect(addresses(ask(daemon, "fine.example")), ["192.0.2.7"], "the answer about another")
        expect((len(first.of("fine.example")), len(second.of("fine.example"))), (1, 0), "who was asked about it")
        expect(daemon.counters()["upstream_down"], 0, "upstream_down")


def test_server_that_refuses_everything():
    """A server that refuses what others answer is found to be down"""
    with running(with_rcode(dns.REFUSED), good, options=[FAILOVER]) as (daemon, first, _second):
        for number in range(30):
            expect(addresses(ask(daemon, f"n{number}.refuse.example")), ["192.0.2.7"], "the answer")
        expect_between(3, len(first.seen), 5, "how often the first was asked")
        expect(daemon.counters()["upstream_down"], 1, "upstream_down")


def test_roundrobin():
    """roundrobin asks each server as often"""
    with running(good, good, good, options=[strategy("roundrobin")]) as (daemon, *servers):
        for number in range(30):
            ask(daemon, f"n{number}.turn.example")
        expect([len(server.seen) for server in servers], [10, 10, 10], "the messages sent to each")


def test_leastconn():
    """leastconn asks the server that has less to do"""
    def slow(query):
        query.reply(query.good(), after=0.6)

    with running(slow, good, options=[strategy("leastconn")]) as (daemon, busy, free):
        for start in range(0, 40, 4):
            ask_all(daemon, [f"n{start + number}.least.example" for number in range(4)])
        expect(len(free.seen) > 2 * len(busy.seen) / 1.5, True,
               f"that {len(free.seen)} messages to the free server are more than {len(busy.seen)} to the busy one")


def test_fastest():
    """fastest finds the fast server, and finds out when that changes"""
    def after(seconds):
        return lambda query: query.reply(query.good(), after=seconds)

    with running(after(0.08), after(0.01), options=[strategy("fastest")]) as (daemon, first, second):
        for number in range(30):
            expect(addresses(ask(daemon, f"n{number}.fast.example")), ["192.0.2.7"], "the answer")
        expect_between(1, len(first.seen), 3, "the messages sent to the slow server")
        expect(len(second.seen), 30, "the messages sent to the fast server")
        second.script = after(0.3)
        for number in range(30):
            ask(daemon, f"m{number}.fast.example")
        last = [len(server.of(f"m{number}.fast.example")) for server in (first, second) for number in range(25, 30)]
        expect(last[:5], [1] * 5, "the last messages to the server that is fast now")


def test_race():
    """race takes the first answer that is one"""
    def after(seconds, script):
        return lambda query: query.later(seconds, lambda: script(query))

    scripts = (with_rcode(dns.SERVFAIL), after(0.1, with_rcode(dns.REFUSED)), after(0.3, good))
    with running(*scripts, options=[strategy("race")]) as (daemon, *servers):
        reply, took = timed_ask(daemon, "race.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect_between(0.29, took, 0.6, "the time it took")
        expect([len(server.seen) for server in servers], [1, 1, 1], "the messages sent to each")
    scripts = (after(0.3, good), after(0.05, lambda query: query.reply(query.message.answer_bytes(rcode=dns.NXDOMAIN))))
    with running(*scripts, options=[strategy("race")]) as (daemon, *_servers):
        reply, took = timed_ask(daemon, "race2.example")
        expect(reply.rcode, dns.NXDOMAIN, "the RCODE")
        expect_between(0.04, took, 0.25, "the time it took")


def test_race_without_winner():
    """In a race, an error is passed on only when all have failed"""
    def late(query):
        query.later(0.25, lambda: with_rcode(dns.REFUSED)(query))

    with running(with_rcode(dns.SERVFAIL), late, options=[strategy("race")]) as (daemon, *servers):
        reply, took = timed_ask(daemon, "nowinner.example")
        expect(reply.rcode, dns.SERVFAIL, "the RCODE, that of the first")
        expect_between(0.24, took, 0.6, "the time it took")
        expect([len(server.seen) for server in servers], [1, 1], "the messages sent to each")


def test_hedge():
    """When the first server gets slow, the second is asked after the 95th percentile, not after the timeout"""
    with running(good, good, options=[FAILOVER]) as (daemon, first, second):
        for number in range(20):
            ask(daemon, f"n{number}.hedge.example")
        expect(len(second.seen), 0, "the messages sent to the second while the first is fast")
        first.script = lambda query: query.reply(query.good(), after=1)
        reply, took = timed_ask(daemon, "slow.hedge.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect_between(0.015, took, 0.3, "the time it took")
        expect((len(first.of("slow.hedge.example")), len(second.of("slow.hedge.example"))), (1, 1),
               "the messages sent to each")
        expect(daemon.counters()["upstream_hedges"], 1, "upstream_hedges")


def test_hedge_while_the_other_is_down():
    """A lost datagram is sent to the same server again when the other one is down"""
    with running(with_rcode(dns.REFUSED), drop, options=[FAILOVER]) as (daemon, first, second):
        ask(daemon, "a.lost.example")
        daemon.wait_log(f"upstream-down server={second.address}")
        first.script = nth(drop, good)
        reply, took = timed_ask(daemon, "b.lost.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect_between(1, took, 1.9, "the time it took")
        expect((len(first.of("b.lost.example")), len(second.of("b.lost.example"))), (2, 0), "the messages sent to each")


def test_hedges_are_few():
    """When all servers get slow, one question in ten is sent twice"""
    with running(good, good, options=[FAILOVER]) as (daemon, *servers):
        for number in range(20):
            ask(daemon, f"n{number}.few.example")
        for server in servers:
            server.script = lambda query: query.reply(query.good(), after=0.25)
        for start in range(0, 200, 50):
            ask_all(daemon, [f"m{start + number}.few.example" for number in range(50)])
        sent = sum(len(server.seen) for server in servers) - 20
        expect_between(201, sent, 200 + 10 + 20 + 2, "the messages for 200 questions")


def test_dead_and_back():
    """A dead server: SERVFAIL with EDE within 5 s, three messages at most; service within 1 s of its return"""
    with running(drop) as (daemon, server):
        reply, took = timed_ask(daemon, "cold.dead.example")
        expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 22), "RCODE and EDE")
        expect_between(0, took, 5, "the time it took")
        replies = ask_all(daemon, [f"n{number}.dead.example" for number in range(50)])
        expect({reply.rcode for reply in replies}, {dns.SERVFAIL}, "the RCODEs")
        for number in range(50):
            expect_between(1, len(server.of(f"n{number}.dead.example")), 3, "the messages for one question")
        server.script = good
        reply, took = timed_ask(daemon, "warm.dead.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees when the server is back")
        expect_between(0, took, 1, "the time it took")
        expect(len(server.of("warm.dead.example")), 1, "the messages sent for it")


def test_server_counters():
    """SIGUSR1 logs a line about each server"""
    with running(with_rcode(dns.SERVFAIL), good, options=[FAILOVER]) as (daemon, first, second):
        for number in range(2):
            ask(daemon, f"n{number}.count.example")
        daemon.counters()
        for server, numbers in ((first, "sends=2 answers=0 errors=2 failures=0"),
                                (second, "sends=2 answers=2 errors=0 failures=0")):
            daemon.wait_log(f"upstream-counters worker=0 group=default server={server.address} state=up {numbers} ")


# --- which servers --------------------------------------------------------------------------------


def test_forward():
    """[forward] picks the servers by the longest domain, each with answers of its own"""
    def with_address(address):
        return lambda query: query.reply(query.good(address))

    default, corp, lab = (ScriptedServer(with_address(f"192.0.2.{number}")) for number in (1, 2, 3))
    options = [f"upstream corp.server={corp.address}", f"upstream lab.server={lab.address}",
               "forward corp.domain=corp.example, 10.in-addr.arpa", "forward corp.upstream=corp",
               "forward lab.domain=.Lab.Corp.example", "forward lab.upstream=lab",
               "forward back.domain=public.corp.example", "forward back.upstream=default"]
    with running(servers=[default], options=options) as (daemon, _server):
        table = (("www.example", 1), ("corp.example", 2), ("www.CORP.example", 2), ("notcorp.example", 1),
                 ("lab.corp.example", 3), ("a.b.lab.corp.example", 3), ("1.0.10.in-addr.arpa", 2),
                 ("public.corp.example", 1), ("www.public.corp.example", 1), ("example", 1))
        for _ in range(2):
            for name, number in table:
                expect(addresses(ask(daemon, name)), [f"192.0.2.{number}"], f"the answer about {name}")
        seen = [len(server.seen) for server in (default, corp, lab)]
        expect(seen, [5, 3, 2], "the messages sent to each, once for each name")
    corp.close()
    lab.close()


def test_reload():
    """SIGHUP changes servers and domains; open questions are answered by the servers they were sent to"""
    def with_address(address, after=0):
        return lambda query: query.reply(query.good(address), after=after)

    first, second = ScriptedServer(with_address("192.0.2.1", after=0.5)), ScriptedServer(with_address("192.0.2.2"))
    port = harness.free_port()
    listen = f"[listen test]\naddress = 127.0.0.1:{port}\n"
    plain = listen + f"[upstream default]\nserver = {first.address}\n"
    split = plain + f"[upstream corp]\nserver = {second.address}\n[forward c]\ndomain = corp.example\nupstream = corp\n"
    path = harness.temporary_file("reload-upstream.conf", plain)
    daemon = harness.Daemon("dnsproxyd", port, config=path)

    def reload(content):
        before = len(daemon.log())
        harness.temporary_file("reload-upstream.conf", content)
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log("reloaded", before)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", port))
        client.send(query_bytes("open.corp.example"))
        wait_until(lambda: first.of("open.corp.example"), what="query at the first server")
        reload(split)
        expect(addresses(Message(client.recv(4096))), ["192.0.2.1"], "the answer to the open question")
    expect(addresses(ask(daemon, "new.corp.example")), ["192.0.2.2"], "the answer after the reload")
    expect(addresses(ask(daemon, "open.corp.example")), ["192.0.2.2"], "the answer that was cached from another server")
    reload(split.replace("[upstream default]", "[upstream default]\nstrategy = race"))
    expect(addresses(ask(daemon, "new.corp.example")), ["192.0.2.2"], "the answer after another strategy was set")
    expect(len(second.of("new.corp.example")), 1, "how often the server was asked: the cache was kept")
    reload(plain)
    expect(addresses(ask(daemon, "new.corp.example")), ["192.0.2.1"], "the answer when the forward is gone")
    daemon.stop()
    first.close()
    second.close()


def check_refused(text, *words):
    path = harness.temporary_file("upstream.conf", text)
    process = harness.start([harness.program_path("dnsproxyd"), "-t", "-c", path], stderr=-1, stdout=-1)
    complaint = process.communicate(timeout=20)[1].decode()
    expect(process.returncode, 2, "the exit status")
    for word in words:
        expect(word in complaint, True, f"that {complaint!r} has {word!r}")


WRONG = (
    ("an unknown group", "[upstream default]\nserver = 127.0.0.9\n[forward a]\ndomain = a.example\nupstream = nobody\n",
     ":5:", "[upstream nobody]"),
    ("a domain twice", "[upstream u]\nserver = 127.0.0.9\n[forward a]\ndomain = a.example, A.example\nupstream = u\n",
     ":4:", "twice"),
    ("a domain that is none", "[upstream u]\nserver = 127.0.0.9\n[forward a]\ndomain = a..example\nupstream = u\n",
     ":4:", "a..example"),
    ("no domain", "[upstream u]\nserver = 127.0.0.9\n[forward a]\nupstream = u\n", "no domain"),
    ("no upstream", "[forward a]\ndomain = a.example\n", "whom to ask"),
    ("a group without server", "[upstream u]\ntimeout = 1s\n", "no server"),
    ("another strategy", "[upstream default]\nstrategy = best\n", ":2:", "fastest"),
    ("another scheme", "[upstream default]\nserver = quic://127.0.0.9\n", ":2:", "tcp://"),
    ("an interface that is not there", "[upstream default]\nserver = fe80::1%nosuch0\n", ":2:", "interface"),
    ("our own listener", "[listen a]\naddress = 127.0.0.1:5300\n[upstream default]\nserver = 127.0.0.1:5300\n",
     ":4:", "our own"),
    ("our own listener by TCP", "[listen a]\naddress = 127.0.0.1:5300\n[upstream u]\nserver = tcp://127.0.0.1:5300\n",
     ":4:", "our own"),
    ("ourselves behind a wildcard", "[listen a]\naddress = 0.0.0.0:5300\n[upstream default]\nserver = 127.3.2.1:5300\n",
     ":4:", "our own"),
)


def test_wrong_configurations():
    for what, text, *words in WRONG:
        yield f"A configuration with {what} is refused", functools.partial(check_refused, text, *words)


def test_link_local_server():
    """A server at fe80::…%if is asked through that interface"""
    with open("/proc/net/if_inet6", encoding="ascii") as file:
        lines = [line.split() for line in file]
    found = [(line[0], line[5]) for line in lines if line[0].startswith("fe80") and line[5] != "lo"]
    if not found:
        raise harness.Skip("no interface with a link-local address")
    text, interface = found[0]
    address = ":".join(text[i:i + 4] for i in range(0, 32, 4))
    port = harness.free_port()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind((address, port, 0, socket.if_nametoindex(interface)))
        server.settimeout(5)
        daemon = harness.dnsproxyd(f"[{address}%{interface}]:{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", daemon.port))
            client.send(query_bytes("link.example"))
            wire, peer = server.recvfrom(4096)
            query = Message(wire)
            server.sendto(query.answer_bytes([a_record(query.name, "192.0.2.7")]), peer)
            expect(addresses(Message(client.recv(4096))), ["192.0.2.7"], "the answer")
        daemon.stop()


def test_loop():
    """Our own question coming back to us, as by a redirection of all DNS, is noticed at once"""
    def script(query):
        query.reply(ask_udp(query.message.wire, daemon.port))

    for option in ("privacy.randomize-case=on", "privacy.randomize-case=off"):
        with running(script, options=[option]) as (daemon, server):
            reply, took = timed_ask(daemon, f"{LETTERS}.loop.example")
            expect(reply.rcode, dns.SERVFAIL, "the RCODE")
            expect_between(0, took, 1, "the time it took")
            expect(len(server.seen), 1, "the messages sent")
            expect(daemon.counters()["loops"], 1, "loops")


def test_ring():
    """Two daemons that ask each other send a question round once, not for ever"""
    ports = [harness.free_port(), harness.free_port()]
    daemons = [harness.Daemon("dnsproxyd", port, [f"listen test.address=127.0.0.1:{port}",
                                                  f"upstream default.server=127.0.0.1:{other}"])
               for port, other in zip(ports, reversed(ports))]
    reply, took = timed_ask(daemons[0], f"{LETTERS}.ring.example")
    expect(reply.rcode, dns.SERVFAIL, "the RCODE")
    expect_between(0, took, 4.9, "the time it took")
    time.sleep(2)
    sent = sum(daemon.counters()["upstream_sends"] for daemon in daemons)
    expect_between(2, sent, 6, "the messages sent by both")
    for daemon in daemons:
        daemon.stop()


# --- TCP ------------------------------------------------------------------------------------------


def test_tcp_only():
    """tcp://: one connection, many questions at a time, answers in any order"""
    def script(query):
        query.reply(query.good(), after=0.01 * (7 * len(query.name) % 13))

    with running(script, scheme="tcp://") as (daemon, server):
        names = [f"{'x' * (number % 40)}n{number}.pipe.example" for number in range(200)]
        replies = ask_all(daemon, names)
        for name, reply in zip(names, replies):
            expect((reply.name, addresses(reply)), (name, ["192.0.2.7"]), "the reply")
        expect(server.connection_count, 1, "the number of connections")
        expect({query.transport for query in server.seen}, {"tcp"}, "how the server was asked")
        expect(len(server.seen), 200, "the messages sent")
        idents = [query.message.ident for query in server.seen]
        expect(len(set(idents)), 200, "the number of different IDs")


def test_tcp_idle_is_closed():
    """An idle connection is closed by us, and another made when needed"""
    with running(good, scheme="tcp://", options=["upstream default.timeout=100ms"]) as (daemon, server):
        ask(daemon, "a.idle.example")
        wait_until(lambda: not server.open_connections, 3, "end of the idle connection")
        expect(addresses(ask(daemon, "b.idle.example")), ["192.0.2.7"], "the answer")
        expect(server.connection_count, 2, "the number of connections")


def test_tcp_closed_by_the_server():
    """A server that closes after each answer is asked on new connections; no question is lost"""
    def script(query):
        good(query)
        query.close()

    with running(script, scheme="tcp://") as (daemon, server):
        for number in range(10):
            reply, took = timed_ask(daemon, f"n{number}.closing.example")
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect_between(0, took, 1, "the time it took")
        expect_between(10, len(server.seen), 20, "the messages sent")


def test_tcp_reset_after_query():
    """A server that resets after each query: SERVFAIL soon, three messages"""
    with running(lambda query: query.reset(), scheme="tcp://") as (daemon, server):
        reply, took = timed_ask(daemon, "reset.example")
        expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 22), "RCODE and EDE")
        expect_between(0, took, 2, "the time it took")
        expect(len(server.seen), 3, "the messages sent")


def test_tcp_reset_once():
    """A question survives a reset"""
    with running(nth(lambda query: query.reset(), good), scheme="tcp://") as (daemon, server):
        reply, took = timed_ask(daemon, "once.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect_between(0, took, 1, "the time it took")
        expect((len(server.seen), server.connection_count), (2, 2), "messages and connections")


def test_tcp_silent_stream():
    """A connection that falls silent is replaced within 2 s, and the question answered on the next"""
    silent = {1}

    def script(query):
        if query.connection not in silent:
            good(query)

    with running(script, scheme="tcp://") as (daemon, server):
        silent.clear()
        expect(addresses(ask(daemon, "a.silent.example")), ["192.0.2.7"], "the answer while it lives")
        silent.add(1)
        began = time.monotonic()
        replies = ask_all(daemon, [f"n{number}.silent.example" for number in range(20)])
        took = time.monotonic() - began
        expect({(reply.rcode, *addresses(reply)) for reply in replies}, {(dns.NOERROR, "192.0.2.7")},
               "what the clients see")
        expect_between(1, took, 2, "the time it took")
        expect(server.connection_count, 2, "the number of connections")
        for number in range(20):
            expect(len(server.of(f"n{number}.silent.example")), 2, "the messages for one question")
        reply, took = timed_ask(daemon, "after.silent.example")
        expect(addresses(reply), ["192.0.2.7"], "the answer after that")
        expect_between(0, took, 0.3, "the time it took")


def test_tcp_dead_server():
    """A TCP server that is not there: SERVFAIL with EDE, soon"""
    daemon = harness.dnsproxyd(f"tcp://127.0.0.1:{harness.free_port()}")
    reply, took = timed_ask(daemon, "nobody.example")
    expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 22), "RCODE and EDE")
    expect_between(0, took, 3, "the time it took")
    daemon.stop()


def test_queue_bound():
    """max-outstanding bounds what waits for a TCP server that does not answer; the rest fails fast"""
    with running(drop, scheme="tcp://", options=["limits.max-outstanding=50"]) as (daemon, server):
        began = time.monotonic()
        replies = ask_all(daemon, [f"n{number}.bound.example" for number in range(200)])
        expect({reply.rcode for reply in replies}, {dns.SERVFAIL}, "the RCODEs")
        expect_between(0, time.monotonic() - began, 5, "the time it took")
        asked = {query.name for query in server.seen}
        expect_between(1, len(asked), 50, "the questions the server saw")
        expect(daemon.counters()["queries_overload"], 150, "queries_overload")


if __name__ == "__main__":
    harness.run(globals(), tries=2)
