# SPDX-License-Identifier: ISC
"""What ends by the clock. These need a server with short timers that we were told about."""

import time

from context import EXPIRED, HOST_UNREACHABLE, MIB, request_bytes, stall
from engine import case

SLACK = 3  # seconds a timer may be late


def timed(name, cite, expect, option, level="should"):
    """function(t, timeout) for servers whose timer we know."""

    def register(function):
        @case(f"timers/{name}", cite, expect, level, 20)
        def run(t):
            timeout = getattr(t.server, option)
            t.need(timeout, f"the server's {option.replace('_', ' ')} was not said (--{option.replace('_', '-')})")
            function(t, timeout)

        return function

    return register


def expect_between(t, began, timeout):
    took = time.monotonic() - began
    t.true(timeout - 1.1 <= took <= timeout + SLACK, f"after {took:.1f} s")


@timed("silent-client", "robustness", "a client that says nothing is closed after the handshake's time",
       "handshake_timeout")
def silent_client(t, timeout):
    began = time.monotonic()
    t.open().expect_end()
    expect_between(t, began, timeout)


@timed("half-request", "robustness", "half a request is closed after the handshake's time", "handshake_timeout")
def half_request(t, timeout):
    began = time.monotonic()
    conn = t.ready()
    conn.send(b"\x05\x01\x00")
    conn.end()
    expect_between(t, began, timeout)


@timed("trickle", "robustness: one deadline for all", "a byte every 0.2 s does not extend the handshake's time",
       "handshake_timeout")
def trickle(t, timeout):
    conn = t.ready()
    began = time.monotonic()
    for byte in b"\x05\x01\x00\x03\xff" + b"a" * 250:
        try:
            conn.sock.send(bytes([byte]))
            conn.expect_silence(0.2)
        except Exception:  # pylint: disable=broad-except
            break
        t.true(time.monotonic() - began < timeout + SLACK, f"still open after {timeout + SLACK} s")


@timed("trickled-methods", "robustness: one deadline for all", "nor does it in the greeting", "handshake_timeout")
def trickled_methods(t, timeout):
    conn = t.open()
    began = time.monotonic()
    for byte in b"\x05\xff" + b"\x80" * 253:
        try:
            conn.sock.send(bytes([byte]))
            conn.expect_silence(0.2)
        except Exception:  # pylint: disable=broad-except
            break
        t.true(time.monotonic() - began < timeout + SLACK, f"still open after {timeout + SLACK} s")


@timed("connect", "RFC 1928 6: TTL expired", "REP 06 when the target does not answer in the server's time",
       "connect_timeout",
       "must")
def connect(t, timeout):
    target = t.slow_target()
    conn = t.ready()
    began = time.monotonic()
    conn.send(request_bytes(target.host, target.port))
    t.expect_reply(conn, EXPIRED)
    expect_between(t, began, timeout)
    conn.expect_end()


@timed("dns", "RFC 1928 6: host unreachable, or TTL expired", "REP 04 or 06 when DNS does not answer",
       "connect_timeout")
def dns(t, _timeout):
    t.expect_refusal(request_bytes(t.name(silent=True), 80), HOST_UNREACHABLE, EXPIRED)


@timed("idle", "RFC 5382 5 (REQ-5)", "a session without a byte ends after the idle time, both sides see it",
       "idle_timeout")
def idle(t, timeout):
    client, target = t.pair()
    client.expect_open_both_ways(target)
    began = time.monotonic()
    client.expect_end()
    expect_between(t, began, timeout)
    target.expect_end()


@timed("idle-kept-by-bytes", "RFC 5382 5 (REQ-5)", "a byte now and then keeps a session beyond the idle time",
       "idle_timeout")
def idle_kept_by_bytes(t, timeout):
    client, target = t.pair()
    began = time.monotonic()
    while time.monotonic() - began < timeout * 1.6:
        client.send(b"x")
        target.expect(b"x")
        time.sleep(timeout / 6)
    client.expect_open_both_ways(target)


@timed("half-close", "RFC 1122 4.2.2.13",
       "after one FIN and without a byte the session ends after the half-close time",
       "half_close_timeout")
def half_close(t, timeout):
    client, target = t.pair()
    client.fin()
    target.expect_end("FIN")
    began = time.monotonic()
    client.expect_end()
    expect_between(t, began, timeout)


@timed("half-close-kept-by-bytes", "RFC 1122 4.2.2.13", "bytes in the open direction keep it alive",
       "half_close_timeout")
def half_close_kept_by_bytes(t, timeout):
    client, target = t.pair()
    client.fin()
    target.expect_end("FIN")
    began = time.monotonic()
    while time.monotonic() - began < timeout * 1.6:
        target.send(b"x")
        client.expect(b"x")
        time.sleep(timeout / 6)
    target.fin()
    client.expect_end("FIN")


def _late_reader_sees(conn):
    """Read up to the end: "FIN" or "RST". A kernel that gives up a peer with a closed window does so without a word;
    the peer learns of it when it says something."""
    conn.sock.settimeout(1)
    try:
        while conn.sock.recv(1 << 18):
            pass
        return "FIN"
    except ConnectionResetError:
        return "RST"
    except TimeoutError:
        conn.send_anyway(b"?")
        return conn.end()[1]


def stalled(name, expect, first, second):
    @timed(name, "robustness", expect, "stall_timeout")
    def run(t, timeout):
        client, target = t.pair()
        ends = {"client": client, "target": target}
        stall(ends[first], 64 * MIB)
        began = time.monotonic()
        ends[first].expect_end()
        took = time.monotonic() - began
        t.true(took <= timeout + SLACK, f"after {took:.1f} s")
        # What it did not read must not look like all there was.
        t.equal("the end", _late_reader_sees(ends[second]), "RST")


stalled("stalled-client", "a client that never reads is given up after the stall time, by RST", "target", "client")
stalled("stalled-target", "a target that never reads is given up after the stall time, by RST", "client", "target")


@timed("connecting", "robustness", "the handshake's time does not count while the target is being connected to",
       "handshake_timeout")
def connecting(t, timeout):
    conn = t.ready()
    target = t.slow_target()
    conn.send(request_bytes(target.host, target.port))
    t.need(t.server.connect_timeout > timeout + 1, "the connect timeout is not longer than the handshake's")
    conn.expect_silence(timeout + 0.5)
