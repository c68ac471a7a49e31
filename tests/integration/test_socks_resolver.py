# SPDX-License-Identifier: ISC
"""socksd with a DNS server that does not answer: those who need it wait, and nobody else."""

import concurrent.futures
import functools
import socket
import threading
import time

import harness
import socks_client as socks
from dns_message import a_record
from harness import expect
from peers import DnsServer, TcpTarget, echo, reset_on_close

WAITING = 50
OTHERS = 100


@functools.lru_cache(maxsize=None)
def echo_target():
    return TcpTarget(echo)


@functools.lru_cache(maxsize=None)
def server():
    """Knows names under good.example, and is silent about all others."""

    def answer(message, _transport):
        if not message.name.lower().endswith(".good.example"):
            return None
        return message.answer_bytes([a_record(message.name, "127.0.0.1")] if message.type == 1 else [])

    return DnsServer(answer)


def ask(proxy, host):
    """Ask for a name; returns the connection, before any reply."""
    sock = socks.open_proxy(proxy.port)
    sock.sendall(socks.GREETING_OPEN)
    expect(socks.receive(sock, 2), b"\x05\x00", "the method")
    sock.sendall(socks.request_bytes(host, echo_target().port))
    return sock


def session_seconds(proxy, host):
    """How long a whole session takes, with an echo."""
    began = time.monotonic()
    with socks.connect(proxy.port, host, echo_target().port) as sock:
        sock.sendall(b"hello")
        expect(socks.receive(sock, 5), b"hello", "the echo")
    return time.monotonic() - began


def expect_quick(took, what):
    took.sort()
    print(f"# {what}: half took {took[len(took) // 2] * 1000:.1f} ms, the slowest {took[-1] * 1000:.1f} ms")
    # A question is asked again after 2 s.
    expect(took[-1] < 1, True, f"that the slowest of {what} ({took[-1]:.3f} s) took less than 1 s")


def reply_of(sock, began):
    """The reply code of one that waits, and after how long it came."""
    rep, host, port = socks.receive_reply(sock)
    expect((host, port), ("0.0.0.0", 0), "the address of a refusal")
    expect(sock.recv(1), b"", "what follows a refusal")
    return rep, time.monotonic() - began


def expect_all_gone(proxy, before):
    """Neither sessions nor descriptors are left."""
    harness.wait_until(lambda: proxy.counters()["sessions_now"] == 0, what="end of all sessions")
    harness.wait_until(lambda: proxy.descriptor_count() <= before, what="closing of all descriptors")


def test_silent_resolver():
    """50 sessions wait for a DNS server that is silent: REP 04 when it is given up; nobody else is delayed"""
    proxy = harness.socksd(f"dns.server={server().address}", "server.workers=1")
    # 20 more wait for the same name.
    names = [b"name%d.silent.example" % i for i in range(WAITING)] + [b"same.silent.example"] * 20
    # The first session opens what stays open.
    session_seconds(proxy, b"warm.good.example")
    before = proxy.descriptor_count()
    idle = [session_seconds(proxy, "127.0.0.1") for _ in range(OTHERS)]
    began = time.monotonic()
    with harness.closing_all() as waiting, concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        waiting += [ask(proxy, name) for name in names]
        harness.wait_until(lambda: proxy.counters()["sessions_now"] >= len(names), what="sessions that wait")
        replies = [pool.submit(reply_of, sock, began) for sock in waiting]
        expect_quick(idle, "sessions to an address, before")
        expect_quick([session_seconds(proxy, "127.0.0.1") for _ in range(OTHERS)], "sessions to an address")
        expect_quick([session_seconds(proxy, b"warm.good.example") for _ in range(OTHERS)], "sessions to a known name")
        expect_quick([session_seconds(proxy, b"new%d.good.example" % i) for i in range(OTHERS)],
                     "sessions to new names that are answered")
        expect(any(reply.done() for reply in replies), False, "that any of those that wait has its reply by now")
        results = [reply.result(30) for reply in replies]
    expect({rep for rep, _took in results}, {4}, "REP")
    times = [took for _rep, took in results]
    print(f"# those who waited got their replies after {min(times):.1f} to {max(times):.1f} s")
    expect(min(times) > 1.5 and max(times) < 12, True, "that this is when the DNS server is given up")
    expect_all_gone(proxy, before)
    expect(proxy.log().count("why=timeout"), len(names), "the sessions whose log line says why")
    asked = server().names().count("same.silent.example")
    expect(2 <= asked <= 8, True, f"that {asked} questions are those of one lookup")
    # A name that has failed is not asked for again at once.
    began = time.monotonic()
    with ask(proxy, b"name1.silent.example") as sock:
        expect(reply_of(sock, began)[0], 4, "REP")
    expect(time.monotonic() - began < 0.5, True, "that the failure is remembered")
    proxy.stop()


def test_connect_timeout_while_resolving():
    """connect-timeout ends the wait for a name earlier: REP 06"""
    proxy = harness.socksd(f"dns.server={server().address}", "server.workers=1", "limits.connect-timeout=1s")
    session_seconds(proxy, b"warm.good.example")
    before = proxy.descriptor_count()
    began = time.monotonic()
    with harness.closing_all() as waiting:
        waiting += [ask(proxy, b"slow%d.silent.example" % i) for i in range(WAITING)]
        for sock in waiting:
            rep, took = reply_of(sock, began)
            expect(rep, 6, "REP")
            expect(0.8 < took < 4, True, f"that {took:.1f} s is about connect-timeout")
    expect_all_gone(proxy, before)
    expect(proxy.counters()["dial_timeout"], WAITING, "dial_timeout")
    proxy.stop()


def test_clients_that_leave():
    """Clients that go away while their names are looked up leave nothing behind"""
    proxy = harness.socksd(f"dns.server={server().address}", "server.workers=1")
    session_seconds(proxy, b"warm.good.example")
    before = proxy.descriptor_count()
    with harness.closing_all() as waiting:
        waiting += [ask(proxy, b"left%d.silent.example" % i) for i in range(2 * WAITING)]
        harness.wait_until(lambda: proxy.counters()["sessions_now"] >= 2 * WAITING, what="sessions that wait")
        for sock in waiting[:WAITING]:
            reset_on_close(sock)
            sock.close()
        for sock in waiting[WAITING:]:
            sock.shutdown(socket.SHUT_WR)
        harness.wait_until(lambda: proxy.counters()["sessions_now"] == WAITING, 3, "end of those that were reset")
        # Whoever has only finished sending still wants the reply.
        expect({reply_of(sock, 0)[0] for sock in waiting[WAITING:]}, {4}, "REP after a FIN")
    expect_all_gone(proxy, before)
    proxy.stop()


def test_resolver_comes_back():
    """What waits is answered as soon as the DNS server speaks again"""
    speaks = threading.Event()

    def answer(message, _transport):
        if not speaks.is_set():
            return None
        return message.answer_bytes([a_record(message.name, "127.0.0.1")] if message.type == 1 else [])

    late = DnsServer(answer)
    proxy = harness.socksd(f"dns.server={late.address}", "server.workers=1")
    with ask(proxy, b"patience.example") as sock:
        time.sleep(0.3)
        speaks.set()
        expect(socks.receive_reply(sock)[0], 0, "REP")
    proxy.stop()
    late.close()


if __name__ == "__main__":
    harness.run(globals(), tries=2)
