# SPDX-License-Identifier: ISC
"""dnsproxyd and the servers it asks: whom it asks, how often, and how it guards itself. What becomes of each kind of answer is
in test_dns_answers.py."""

import collections
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
from dns_scripts import (MARKS, OK, addresses, ask, ask_all, broken_record, drop, ede_of, expect_between, forged, good,
                         header_only, no_edns, nth, running, timed_ask, truncated_always, with_rcode, wrong_case, wrong_id)
from harness import expect, wait_until
from peers import ask_tcp, ask_udp
from scripted_dns import ScriptedServer

QUICK = "upstream default.timeout=700ms"

def test_refused_port():
    """A server that is not there is asked three times, with pauses"""
    port = harness.free_port()
    daemon = harness.dnsproxyd(f"127.0.0.1:{port}")
    reply, took = timed_ask(daemon, "nobody.example")
    expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 22), "RCODE and EDE")
    expect_between(0.3, took, 3, "the time it took")
    expect(daemon.counters()["upstream_sends"], 3, "the messages sent")
    daemon.stop()


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
            expect_between(0, took, 1.9, "the time it took")
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

    with running(script, options=[QUICK]) as (daemon, server):
        for number in range(5):
            reply, took = timed_ask(daemon, f"{LETTERS}{number}.deaf.example")
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect_between(0, took, 4, "the time it took")
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
        expect(len(queries), total + hedges(daemon), "the number of queries")
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


def hedges(daemon):
    """Messages that were sent only because an answer was slow to come, as any may be on a busy machine."""
    return daemon.counters()["upstream_hedges"]


def test_refusals_are_failures():
    """SERVFAIL, REFUSED and broken answers of one server make the next be asked"""
    scripts = (with_rcode(dns.SERVFAIL), with_rcode(dns.REFUSED), with_rcode(dns.NOTIMP, opt=True), broken_record,
               header_only(dns.SERVFAIL))
    for number, script in enumerate(scripts):
        with running(script, good, options=[FAILOVER]) as (daemon, first, second):
            reply, took = timed_ask(daemon, f"next{number}.example")
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect_between(0, took, 1.9, "the time it took")
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
            expect({reply.rcode for reply in ask_all(daemon, names)}, {dns.SERVFAIL}, "the RCODEs")
            time.sleep(0.1)
            for name in names:
                sent = sum(len(server.of(name)) for server in servers)
                expect_between(1, sent, 3, f"the number of messages for {name} with {word}")


def test_failover():
    """failover asks the second server only while the first is away, and returns to the first"""
    with running(good, good, options=[FAILOVER, QUICK]) as (daemon, first, second):
        def turn(count, tag):
            """Questions, one after the other; how many messages each server got for them, hedges not counted."""
            before = hedges(daemon)
            for number in range(count):
                expect(addresses(ask(daemon, f"n{number}.{tag}.example")), ["192.0.2.7"], "the answer")
            return len(first.of(f".{tag}.example")), len(second.of(f".{tag}.example")) - hedges(daemon) + before

        expect(turn(20, "before"), (20, 0), "the messages sent while both are well")
        first.script = drop
        wait_until(lambda: turn(1, f"found{time.monotonic()}") and "upstream-down" in daemon.log(), 10, "first server down")
        to_first, to_second = turn(100, "away")
        expect(to_second, 100, "the messages sent to the second while the first is away")
        expect_between(0, to_first, 16, "the messages sent to the first while it is away")
        first.script = good
        wait_until(lambda: turn(1, f"back{time.monotonic()}")[1] == 0, 8, "return to the first server")
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
        expect(len(first.of("fine.example")), 1, "the messages to the first about it")
        expect(len(second.seen), 30 + len(second.of("fine.example")), "the messages to the second")
        expect_between(0, len(second.of("fine.example")), hedges(daemon), "the messages to the second about it")
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
        seen = [len(server.seen) for server in servers]
        expect(sum(seen), 30 + hedges(daemon), "the messages sent")
        expect_between(10, min(seen), 10 + hedges(daemon), "the messages to who got the fewest")


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
        expect_between(1, len(first.seen), 3 + hedges(daemon), "the messages sent to the slow server")
        expect_between(30, len(second.seen), 30 + hedges(daemon), "the messages sent to the fast server")
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
        expect_between(0.29, took, 1.9, "the time it took")
        expect([len(server.seen) for server in servers], [1, 1, 1], "the messages sent to each")
    scripts = (after(0.3, good), after(0.05, lambda query: query.reply(query.message.answer_bytes(rcode=dns.NXDOMAIN))))
    with running(*scripts, options=[strategy("race")]) as (daemon, *_servers):
        reply, took = timed_ask(daemon, "race2.example")
        expect(reply.rcode, dns.NXDOMAIN, "the RCODE")
        expect_between(0.04, took, 1.9, "the time it took")


def test_race_without_winner():
    """In a race, an error is passed on only when all have failed"""
    def late(query):
        query.later(0.25, lambda: with_rcode(dns.REFUSED)(query))

    with running(with_rcode(dns.SERVFAIL), late, options=[strategy("race")]) as (daemon, *servers):
        reply, took = timed_ask(daemon, "nowinner.example")
        expect(reply.rcode, dns.SERVFAIL, "the RCODE, that of the first")
        expect_between(0.24, took, 1.9, "the time it took")
        expect([len(server.seen) for server in servers], [1, 1], "the messages sent to each")


def test_hedge():
    """When the first server gets slow, the second is asked after the 95th percentile, not after the timeout"""
    with running(good, good, options=[FAILOVER]) as (daemon, first, second):
        for number in range(20):
            ask(daemon, f"n{number}.hedge.example")
        before = hedges(daemon)
        expect(len(second.seen), before, "the messages sent to the second while the first is fast")
        first.script = lambda query: query.reply(query.good(), after=1.9)
        reply, took = timed_ask(daemon, "slow.hedge.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect_between(0.015, took, 1.8, "the time it took")
        expect((len(first.of("slow.hedge.example")), len(second.of("slow.hedge.example"))), (1, 1),
               "the messages sent to each")
        expect(hedges(daemon), before + 1, "upstream_hedges")


def test_hedge_while_the_other_is_down():
    """A lost datagram is sent to the same server again when the other one is down"""
    with running(with_rcode(dns.REFUSED), drop, options=[FAILOVER]) as (daemon, first, second):
        ask(daemon, "a.lost.example")
        daemon.wait_log(f"upstream-down server={second.address}")
        first.script = nth(drop, good)
        reply, took = timed_ask(daemon, "b.lost.example")
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect_between(1, took, 3, "the time it took")
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
        sent = sum(len(server.seen) for server in servers)
        expect(sent, 20 + 200 + hedges(daemon), "the messages for 220 questions")
        expect_between(1, hedges(daemon), 10 + 22, "upstream_hedges")


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


def test_reload_keeps_knowledge():
    """A reload that changes other servers leaves what is known of these: no EDNS, no random case, down, times, counters"""
    def fold(query):
        plain = Message(query_bytes(query.name, ident=query.message.ident))
        query.reply(plain.answer_bytes([a_record(plain.name, "192.0.2.7")]))

    scripts = {"old": no_edns(header_only(dns.FORMERR)), "fold": fold, "away": drop, "slow": lambda query: query.reply(
        query.good(), after=0.1), "new": good}
    servers = {word: ScriptedServer(script) for word, script in scripts.items()}
    port = harness.free_port()

    def content(*words):
        lines = [f"[server]\nworkers = 1\n[listen test]\naddress = 127.0.0.1:{port}\n"
                 f"[upstream default]\nserver = {servers[words[-1]].address}\n"]
        lines += [f"[upstream {word}]\nserver = {servers[word].address}\ntimeout = 300ms\n"
                  f"[forward {word}]\ndomain = {word}.example\nupstream = {word}\n" for word in words]
        return "".join(lines)

    path = harness.temporary_file("knowledge.conf", content("old", "fold", "away", "slow"))
    daemon = harness.Daemon("dnsproxyd", port, config=path)
    for word in ("old", "fold", "away", "slow"):
        for number in range(2):
            ask(daemon, f"{LETTERS}{number}.{word}.example")
            time.sleep(0.15)
    daemon.wait_log(f"upstream-down server={servers['away'].address}")
    seen = {word: len(server.seen) for word, server in servers.items()}
    before = len(daemon.log())
    harness.temporary_file("knowledge.conf", content("fold", "old", "slow", "away", "new"))
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_log("reloaded", before)
    for word in ("old", "fold", "new"):
        reply = ask(daemon, f"{LETTERS}9.{word}.example")
        expect((reply.rcode, addresses(reply)), OK, f"what the client sees of {word}")
    expect([query.message.opt for query in servers["old"].seen[seen["old"]:]], [None], "the OPT sent to the old server")
    expect([has_random_case(query) for query in servers["fold"].seen[seen["fold"]:]], [False], "random case for the other")
    expect([has_random_case(query) for query in servers["new"].seen], [True], "random case for the new one")
    before = len(daemon.log())
    daemon.counters()

    def line(word):
        return daemon.wait_log(f"upstream-counters worker=0 group={word} server={servers[word].address} (.*)", before).group(1)

    expect(line("away").split()[0] in ("state=down", "state=due"), True, f"that {line('away')} says it is down")
    expect(re.search(r"sends=(\d+)", line("slow")).group(1), str(seen["slow"]), "the sends to the slow server")
    expect(int(re.search(r"rtt-ms=(\d+)", line("slow")).group(1)) >= 90, True, f"that {line('slow')} tells of 100 ms")
    expect(re.search("sends=1 ", line("new")) is not None, True, f"that {line('new')} tells of one message")
    daemon.stop()
    for server in servers.values():
        server.close()


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

    for options in (["privacy.randomize-case=on"], ["privacy.randomize-case=off"], ["server.workers=4"]):
        with running(script, options=options) as (daemon, server):
            reply, took = timed_ask(daemon, f"{LETTERS}.loop.example")
            expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 0), "RCODE and EDE")
            expect_between(0, took, 1.9, "the time it took")
            expect(len(server.seen), 1, "the messages sent")
            expect(daemon.counters()["loops"], 1, "loops")
            expect(re.findall("forwarding-loop group=default server=([0-9.:]+)", daemon.log()), [server.address],
                   "the servers that the log names")


def ring_of(count, *options):
    """Daemons of which each asks the next, the last one the first."""
    ports = [harness.free_port() for _ in range(count)]
    return [harness.Daemon("dnsproxyd", port, [f"listen test.address=127.0.0.1:{port}",
                                               f"upstream default.server=127.0.0.9:{ports[0]}",
                                               f"upstream next.server=127.0.0.1:{ports[(index + 1) % count]}",
                                               "forward next.domain=example", "forward next.upstream=next", *options])
            for index, port in enumerate(ports)]


def check_ring(count, workers, options):
    daemons = ring_of(count, f"server.workers={workers}", *options)
    for number, by in enumerate((ask_udp, ask_tcp)):
        reply, took = timed_ask(daemons[0], f"n{number}.{LETTERS}.ring.example", by=by)
        expect((reply.rcode, ede_of(reply)), (dns.SERVFAIL, 0), "RCODE and EDE")
        expect_between(0, took, 1.9, "the time it took")
    counters = [daemon.counters() for daemon in daemons]
    expect([item["upstream_sends"] for item in counters], [2] * count, "the messages each has sent")
    expect([item["loops"] for item in counters], [2] + [0] * (count - 1), "loops")
    found = re.findall("forwarding-loop group=next server=([0-9.:]+) back-from=127.0.0.1", daemons[0].log())
    expect_between(1, len(found), min(2, workers), "the number of lines about it")
    expect(set(found), {f"127.0.0.1:{daemons[1].port}"}, "the servers they name")
    for daemon in daemons:
        daemon.stop()


def test_ring():
    for count, workers, options in ((2, 1, ()), (3, 1, ()), (4, 1, ()), (2, 4, ()), (3, 4, ()),
                                    (2, 1, ("privacy.randomize-case=off",)),
                                    (2, 1, ("upstream next.strategy=race", "cache.failure-ttl=1s"))):
        yield (f"A ring of {count} daemons with {workers} workers is noticed by the first, at once {' '.join(options)}",
               functools.partial(check_ring, count, workers, options))


def test_ring_of_strangers():
    """In a ring with a forwarder that knows nothing of marks a question goes round once, not for ever"""
    def script(query):
        # As other forwarders do: an id and a case of its own, no options.
        wire = query_bytes(query.name, opt=dns.opt_record())
        try:
            query.reply(query.message.answer_bytes(rcode=Message(ask_udp(wire, daemon.port, 10)).rcode))
        except OSError:
            pass  # the daemon has been stopped

    with running(script, options=["server.workers=2"]) as (daemon, server):
        reply, took = timed_ask(daemon, f"{LETTERS}.strange.example")
        expect(reply.rcode, dns.SERVFAIL, "the RCODE")
        expect_between(0, took, 4.9, "the time it took")
        expect_between(1, len(server.seen), 3, "the messages sent")


def test_marks():
    """Only servers in this network get marks, no two alike; what a client sends along is passed on, as far as it fits"""
    with running(good) as (daemon, server):
        for count in (0, 1, 3, 4, 5, 20):
            sent = bytes(range(16)) * count
            opt = dns.opt_record(options=dns.option_bytes(MARKS, sent))
            reply = Message(ask_udp(query_bytes(f"marks{count}.example", opt=opt), daemon.port))
            expect((reply.rcode, addresses(reply)), OK, "what the client sees")
            expect(MARKS in reply.options, False, "that it gets marks")
            passed = server.seen[-1].message.options[MARKS]
            expect(passed[:len(sent[:64])], sent[:64], "the marks that were there")
            expect(len(passed), min(64, len(sent) + 16), "the octets of marks")
        own = [query.message.options[MARKS][-16:] for query in server.seen[:3]]
        expect(len(set(own)), 3, "the number of different marks")
        # Overheard, and sent along with another question: nothing happens.
        opt = dns.opt_record(options=dns.option_bytes(MARKS, b"".join(own)))
        reply = Message(ask_udp(query_bytes("overheard.example", opt=opt), daemon.port))
        expect((reply.rcode, addresses(reply)), OK, "what the client sees")
        expect(daemon.counters()["loops"], 0, "loops")


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
            expect_between(0, took, 1.9, "the time it took")
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
        expect_between(0, took, 1.9, "the time it took")
        expect((len(server.seen), server.connection_count), (2, 2), "messages and connections")


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
    harness.run(globals())
