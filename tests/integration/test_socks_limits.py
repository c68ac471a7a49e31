# SPDX-License-Identifier: ISC
"""socksd's limits: sessions of all and of one client, unfinished handshakes, descriptors."""

import functools
import socket
import threading
import time

import harness
import socks_client as socks
from dns_message import a_record
from harness import expect
from peers import DnsServer, TcpTarget, echo

CLIENTS = 500


@functools.lru_cache(maxsize=None)
def echo_target():
    return TcpTarget(echo)


def open_from(source, proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=30, source_address=(source, 0))


def is_served(sock):
    """Whether the greeting is answered; False when the connection is closed instead."""
    try:
        sock.sendall(socks.GREETING_OPEN)
        return socks.receive(sock, 2) == b"\x05\x00"
    except (ConnectionError, EOFError):
        return False


def expect_session(sock, host="127.0.0.1"):
    """Go through with a request, and see that it works."""
    sock.sendall(socks.request_bytes(host, echo_target().port) + b"hello")
    expect(socks.receive_reply(sock)[0], 0, "REP")
    expect(socks.receive(sock, 5), b"hello", "the echo")


def open_many(sessions, source, proxy, count):
    """Open so many, see who is served, keep those; how many."""
    served = 0
    for _ in range(count):
        sock = open_from(source, proxy)
        if is_served(sock):
            sessions.append(sock)
            served += 1
        else:
            sock.close()
    return served


def test_per_client():
    """max-sessions-per-client is exact over four workers, and leaves other clients alone"""
    proxy = harness.socksd("limits.max-sessions-per-client=10", "server.workers=4")
    with harness.closing_all() as sessions:
        expect(open_many(sessions, "127.0.0.2", proxy, 25), 10, "sessions of a client")
        expect(open_many(sessions, "127.0.0.3", proxy, 5), 5, "sessions of another")
        expect(proxy.counters()["refused_per_client"], 15, "refused_per_client")
        for sock in sessions[:4]:
            sock.close()
        harness.wait_until(lambda: proxy.counters()["sessions_now"] == 11, what="end of four sessions")
        expect(open_many(sessions, "127.0.0.2", proxy, 10), 4, "sessions in place of four")
        for sock in sessions[4:]:
            expect_session(sock)
    proxy.wait_log(r"refused why=max-sessions-per-client client=127\.0\.0\.2 ")
    harness.wait_until(lambda: proxy.counters()["sessions_now"] == 0, what="end of all sessions")
    proxy.stop()


def test_per_network():
    """The addresses of an IPv6 network are one client"""
    if not harness.have_ipv6():
        raise harness.Skip("no IPv6 on loopback")
    proxy = harness.socksd("limits.max-sessions-per-client=2")
    with harness.closing_all() as sessions:
        for _ in range(3):
            sessions.append(socket.create_connection(("::1", proxy.port), timeout=20))
        expect([is_served(sock) for sock in sessions].count(True), 2, "the number of sessions")
    proxy.stop()


def test_fair_share():
    """A client that takes all it gets leaves room for others"""
    proxy = harness.socksd("limits.max-sessions=40")
    with harness.closing_all() as sessions:
        expect(open_many(sessions, "127.0.0.2", proxy, 60), 35, "sessions of the greedy one")
        expect(open_many(sessions, "127.0.0.3", proxy, 3), 3, "sessions of a second")
        expect(open_many(sessions, "127.0.0.4", proxy, 3), 2, "sessions of a third")
    counters = proxy.counters()
    expect((counters["refused_fair_share"], counters["refused_limit"]), (25, 1), "refused_fair_share and refused_limit")
    proxy.wait_log("refused why=fair-share client=127.0.0.2 ")
    proxy.wait_log("refused why=max-sessions client=127.0.0.4 ")
    proxy.stop()


def test_half_open():
    """Connections that say nothing are dropped early and at random; clients that speak get in"""
    proxy = harness.socksd("limits.half-open-start=20", "limits.half-open-rate=50%", "limits.max-half-open=60",
                           "limits.handshake-timeout=10m")
    with harness.closing_all() as silent:
        before = proxy.counters()["sessions_accepted"]
        for _ in range(400):
            silent.append(open_from("127.0.0.2", proxy))
        harness.wait_until(lambda: proxy.counters()["sessions_accepted"] == before + 400, what="accepting all")
        counters = proxy.counters()
        held, dropped = counters["sessions_now"], counters["refused_half_open"]
        expect(held + dropped, 400, "those held and those dropped")
        expect(30 <= held <= 53, True, f"that {held} were held, of 60, of which 7 are kept")
        # Others come through one after the other, as their requests are complete soon.
        with harness.closing_all() as sessions:
            for _ in range(100):
                sock = open_from("127.0.0.3", proxy)
                sessions.append(sock)
                expect(is_served(sock), True, "that a client that speaks is served")
                expect_session(sock)
    proxy.wait_log("refused why=max-half-open client=127.0.0.2 ")
    proxy.stop()


def few_descriptors(*options):
    """socksd with 64 descriptors."""
    return harness.socksd(*options, wrapper=("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"))


def check_few_descriptors(proxy, host):
    """All of CLIENTS are served in turn, and those that wait cost nothing."""
    errors = []
    gate = threading.Event()

    def serve(sock):
        try:
            expect(is_served(sock), True, "that the client is served")
            expect_session(sock, host)
            gate.wait(30)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(repr(error))
        finally:
            sock.close()

    sessions = [open_from("127.0.0.1", proxy) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=serve, args=(sock,)) for sock in sessions]
    for thread in threads:
        thread.start()
    harness.wait_until(lambda: proxy.counters()["sessions_relaying_now"] >= 8, what="eight sessions at once")
    time.sleep(0.5)
    before = proxy.cpu_seconds()
    time.sleep(2)
    used = proxy.cpu_seconds() - before
    counters = proxy.counters()
    gate.set()
    for thread in threads:
        thread.join(60)
    expect(errors, [], "the errors of clients")
    print(f"# {counters['sessions_relaying_now']} at once; {used:.2f} s of CPU in 2 s of waiting")
    if not harness.SANITIZED:
        expect(used < 0.1, True, f"that {used} s of CPU in 2 s of waiting are less than 5 %")
    counters = proxy.counters()
    expect(counters["sessions_established"], CLIENTS, "sessions_established")
    expect(counters["accept_waited"] > 0, True, "that accepting waited")
    expect((counters["accept_paused"], counters["accept_shed"], counters["dial_failed"]), (0, 0, 0), "the failures")
    proxy.wait_log("few-descriptors limit=64 ")
    proxy.wait_log("accept-waiting why=descriptors ")
    proxy.stop()


def test_few_descriptors():
    """With 64 descriptors, 500 clients are served in turn, and waiting costs no CPU"""
    check_few_descriptors(few_descriptors(), "127.0.0.1")


def test_few_descriptors_names():
    """The same when names are asked for, which takes descriptors too"""
    server = DnsServer(lambda message, _transport: message.answer_bytes(
        [a_record(message.name, "127.0.0.1")] if message.type == 1 else []))
    check_few_descriptors(few_descriptors(f"dns.server={server.address}"), b"good.example")


if __name__ == "__main__":
    harness.run(globals(), tries=2)
