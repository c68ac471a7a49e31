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
    # Far less than the second or two after which a question is asked again.
    expect(took[-1] < 0.5, True, f"that the slowest of {what} ({took[-1]:.3f} s) took less than 0.5 s")


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


def check_waiting(proxy, names, wanted_rep, least, most):
    """Sessions that wait for the names get the reply in that time, and others go on as before."""
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
    expect({rep for rep, _took in results}, {wanted_rep}, "REP")
    slowest = max(took for _rep, took in results)
    print(f"# those who waited got their replies after {min(took for _rep, took in results):.1f} to {slowest:.1f} s")
    for _rep, took in results:
        expect(least < took < most, True, f"that {took:.1f} s are between {least} and {most} s")
    expect_all_gone(proxy, before)


def test_silent_resolver():
    """50 sessions wait for a DNS server that is silent: REP 04 when it is given up; nobody else is delayed"""
    proxy = harness.socksd(f"dns.server={server().address}", "server.workers=1")
    check_waiting(proxy, [b"name%d.silent.example" % i for i in range(WAITING)], 4, 1.5, 12)
    expect(len(proxy.log().split("why=timeout")) - 1 >= WAITING, True, "that the log says why")
    # A name that has failed is not asked for again at once.
    began = time.monotonic()
    with ask(proxy, b"name1.silent.example") as sock:
        expect(reply_of(sock, began)[0], 4, "REP")
    expect(time.monotonic() - began < 0.5, True, "that the failure is remembered")
    proxy.stop()


def test_silent_resolver_one_name():
    """50 sessions that wait for the same name wait for one lookup"""
    proxy = harness.socksd(f"dns.server={server().address}", "server.workers=1")
    asked = server().names().count("same.silent.example")
    check_waiting(proxy, [b"same.silent.example"] * WAITING, 4, 1.5, 12)
    asked = server().names().count("same.silent.example") - asked
    expect(2 <= asked <= 8, True, f"that {asked} questions are those of one lookup")
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
    for how in ("reset", "half-close"):
        with harness.closing_all() as waiting:
            waiting += [ask(proxy, b"%s%d.silent.example" % (how.encode(), i)) for i in range(WAITING)]
            harness.wait_until(lambda: proxy.counters()["sessions_now"] >= WAITING, what="sessions that wait")
            for sock in waiting:
                if how == "reset":
                    reset_on_close(sock)
                    sock.close()
                else:
                    sock.shutdown(socket.SHUT_WR)
            if how == "reset":
                harness.wait_until(lambda: proxy.counters()["sessions_now"] == 0, 3, "end of the sessions at once")
            else:
                # Whoever has only finished sending still wants the reply.
                expect({reply_of(sock, 0)[0] for sock in waiting}, {4}, "REP after a FIN")
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
