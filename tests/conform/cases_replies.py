# SPDX-License-Identifier: ISC
"""Replies (RFC 1928 section 6): which code for which failure, their bytes, and what a success says."""

import errno
import time

from context import (BAD_COMMAND, BAD_TYPE, DENIED, FAILURE, HOST_UNREACHABLE, NET_UNREACHABLE, REFUSED, SUCCEEDED,
                     address_without_route, request_bytes)
from engine import Failed, case
from fake_dns import REFUSED as DNS_REFUSED
from fake_dns import FORMERR, NOTIMP, SERVFAIL

RFC = "RFC 1928 6"


# --- success --------------------------------------------------------------------------------------


def bound(name, expect, host, target_host=None, kind=1):
    @case(f"replies/bound-{name}", f"{RFC}: BND.ADDR", expect, "should")
    def run(t):
        target = t.listen(t.need_ipv6() if target_host else None)
        conn, reply = t.answer(request_bytes(host(t), target.port))
        t.equal("REP", reply.rep, SUCCEEDED)
        t.equal("the ATYP of BND.ADDR", reply.kind, kind)
        target.accept()
        seen = target.peer[0], target.peer[1]
        t.equal("BND.ADDR and BND.PORT", (reply.host, reply.port), (t.server.bind or seen[0], seen[1]))
        conn.expect_silence(0.05)


bound("ipv4", "the address and port the target sees", lambda t: t.server.targets)
bound("ipv6", "the address and port the target sees, ATYP 04", lambda t: t.server.targets6, "ipv6", 4)
bound("name", "an address, not a name", lambda t: t.name(t.server.targets))
bound("mapped", "folded to ATYP 01", lambda t: "::ffff:" + t.server.targets)


@case("replies/success-bytes", RFC, "ten bytes, RSV 00, for an IPv4 target")
def success_bytes(t):
    target = t.listen()
    _conn, reply = t.answer(request_bytes(target.host, target.port))
    t.equal("the first four bytes", reply.raw[:4], b"\x05\x00\x00\x01")
    t.equal("the length", len(reply.raw), 10)


@case("replies/success-after-connect", RFC, "no reply before the target has answered; then 00", seconds=14)
def success_after_connect(t):
    target = t.slow_target()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port))
    conn.expect_silence(0.8)
    target.drain()
    t.expect_reply(conn, SUCCEEDED)
    conn.expect_open_both_ways(target.accept())


@case("replies/first-word-of-target", RFC, "what the target says at once comes right behind the reply")
def first_word_of_target(t):
    target = t.listen()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port))
    target.accept().send(b"220 conform ready\r\n")
    t.expect_reply(conn, SUCCEEDED)
    conn.expect(b"220 conform ready\r\n", "greeting of the target")


# --- failures -------------------------------------------------------------------------------------


def failure(name, cite, expect, request, *reps, level="must", seconds=8):
    @case(f"replies/{name}", cite, expect, level, seconds)
    def run(t):
        t.expect_refusal(request(t), *reps)


failure("refused", RFC, "REP 05: the target refuses",
        lambda t: request_bytes(t.server.targets, t.closed_port()), REFUSED)
failure("refused-ipv6", RFC, "REP 05: the target refuses, over IPv6",
        lambda t: request_bytes(t.need_ipv6(), t.closed_port(t.server.targets6)), REFUSED)
failure("refused-name", RFC, "REP 05: the only address of the name refuses",
        lambda t: request_bytes(t.name(t.server.targets), t.closed_port()), REFUSED)
failure("no-network", RFC, "REP 03: ENETUNREACH",
        lambda t: request_bytes(address_without_route(errno.ENETUNREACH), 80),
        NET_UNREACHABLE)
failure("no-network-name", RFC, "REP 03: ENETUNREACH for the only address of a name",
        lambda t: request_bytes(t.name(address_without_route(errno.ENETUNREACH)), 80), NET_UNREACHABLE)
failure("no-host", RFC, "REP 04: EHOSTUNREACH",
        lambda t: request_bytes(address_without_route(errno.EHOSTUNREACH), 80),
        HOST_UNREACHABLE)
failure("not-permitted", f"{RFC}: not allowed by ruleset", "REP 02: EACCES, as a packet filter gives",
        lambda t: request_bytes(address_without_route(errno.EACCES), 80), DENIED, level="should")
failure("dns-nxdomain", f"{RFC}: host unreachable", "REP 04: the name does not exist",
        lambda t: t.need_dns() and request_bytes(f"none-{t.number}.conform.example".encode(), 80), HOST_UNREACHABLE,
        level="should")
failure("dns-nodata", f"{RFC}: host unreachable", "REP 04: the name has no address",
        lambda t: request_bytes(t.name(), 80), HOST_UNREACHABLE, level="should")
failure("dns-servfail", f"{RFC}: host unreachable", "REP 04: the DNS server fails",
        lambda t: request_bytes(t.name(rcode=SERVFAIL), 80), HOST_UNREACHABLE, level="should", seconds=20)
failure("dns-refused", f"{RFC}: host unreachable", "REP 04: the DNS server refuses",
        lambda t: request_bytes(t.name(rcode=DNS_REFUSED), 80), HOST_UNREACHABLE, level="should", seconds=20)
for _word, _rcode in (("formerr", FORMERR), ("notimp", NOTIMP)):
    failure(f"dns-{_word}", f"{RFC}: host unreachable", "REP 04: the DNS server cannot answer",
            lambda t, _rcode=_rcode: request_bytes(t.name(rcode=_rcode), 80), HOST_UNREACHABLE, level="should",
            seconds=20)
BEST = f"{RFC}; several addresses: the code that tells most"
failure("best-refused-denied", BEST, "REP 05: one address refuses, the others are forbidden or unreachable",
        lambda t: request_bytes(t.name("240.0.0.1", t.server.targets, "224.0.0.1"), t.closed_port()), REFUSED,
        level="should")
failure("best-refused-no-network", BEST, "REP 05: one address refuses, one has no route",
        lambda t: request_bytes(t.name(address_without_route(errno.ENETUNREACH), t.server.targets), t.closed_port()),
        REFUSED, level="should")
failure("best-no-host-no-network", BEST, "REP 04: one address is unreachable, one has no route",
        lambda t: request_bytes(t.name(address_without_route(errno.ENETUNREACH),
                                       address_without_route(errno.EHOSTUNREACH)), 80),
        HOST_UNREACHABLE, level="should")

failure("best-refused-no-host", BEST, "REP 05: one address refuses, one is unreachable",
        lambda t: request_bytes(t.name(address_without_route(errno.EHOSTUNREACH), t.server.targets), t.closed_port()),
        REFUSED, level="should")
failure("best-no-host-denied", BEST, "REP 04: one address is unreachable, one is forbidden",
        lambda t: request_bytes(t.name("240.0.0.1", address_without_route(errno.EHOSTUNREACH)), 80), HOST_UNREACHABLE,
        level="should")
failure("best-no-network-denied", BEST, "REP 03: one address has no route, one is forbidden",
        lambda t: request_bytes(t.name("240.0.0.1", address_without_route(errno.ENETUNREACH)), 80), NET_UNREACHABLE,
        level="should")


def after_fin(name, expect, request, *reps):
    @case(f"replies/{name}", f"{RFC}; RFC 9293 3.6", expect)
    def run(t):
        conn = t.ready()
        conn.send(request(t) + b"early data")
        conn.fin()
        t.expect_reply(conn, *reps)
        conn.expect_end("FIN")


after_fin("refused-after-fin", "a client that has sent its FIN still gets REP 05",
          lambda t: request_bytes(t.server.targets, t.closed_port()), REFUSED)
after_fin("denied-after-fin", "a client that has sent its FIN still gets a refusal",
          lambda t: request_bytes("240.0.0.1", 80), DENIED, NET_UNREACHABLE, HOST_UNREACHABLE, FAILURE)
after_fin("dns-after-fin", "a client that has sent its FIN still gets the reply to a name nobody has",
          lambda t: t.need_dns() and request_bytes(f"gone-{t.number}.conform.example".encode(), 80), HOST_UNREACHABLE,
          FAILURE)


@case("replies/refused-quickly", "robustness", "a refusal by the target is passed on within 1 s", "should")
def refused_quickly(t):
    port, conn = t.closed_port(), t.ready()
    began = time.monotonic()
    conn.send(request_bytes(t.server.targets, port))
    t.expect_reply(conn, REFUSED)
    t.true(time.monotonic() - began < 1, "it took longer")


@case("replies/refused-50-times", "robustness", "50 refusals at the same time are all told apart from success")
def refused_50_times(t):
    port = t.closed_port()
    conns = [t.ready() for _ in range(50)]
    for conn in conns:
        conn.send(request_bytes(t.server.targets, port))
    for conn in conns:
        t.expect_reply(conn, REFUSED)


# --- the bytes of a failure -----------------------------------------------------------------------


def failure_bytes(name, request, rep, level="should"):
    """05 REP 00 01, 0.0.0.0:0; then FIN."""

    @case(f"replies/bytes-{name}", f"{RFC}: a failure has no address",
          "exactly ten bytes with 0.0.0.0:0, then the end",
          level)
    def run(t):
        conn = t.ready()
        conn.send(request(t))
        conn.expect(bytes([5, rep, 0, 1, 0, 0, 0, 0, 0, 0]), "bytes of the reply")
        conn.expect_end()


failure_bytes("refused", lambda t: request_bytes(t.server.targets, t.closed_port()), REFUSED)
failure_bytes("refused-ipv6", lambda t: request_bytes(t.need_ipv6(), t.closed_port(t.server.targets6)), REFUSED)
failure_bytes("command", lambda t: request_bytes("127.0.0.1", 9, command=0x77), BAD_COMMAND)
failure_bytes("type", lambda t: b"\x05\x01\x00\x77\x7f\x00\x00\x01\x00\x50", BAD_TYPE)
failure_bytes("name", lambda t: request_bytes(b"a..b", 80), FAILURE)
failure_bytes("denied", lambda t: request_bytes("0.0.0.0", 80), DENIED)
failure_bytes("dns", lambda t: t.need_dns() and request_bytes(f"no-{t.number}.conform.example".encode(), 80),
              HOST_UNREACHABLE)


def failure_arrives(name, expect, request, behind=bytes(16384)):
    """The reply, whatever its code, arrives, and FIN behind it."""

    @case(f"replies/{name}", f"{RFC}; RFC 1122 4.2.2.13", expect)
    def run(t):
        conn = t.ready()
        conn.send(request(t) + behind)
        t.true(t.reply(conn).rep != SUCCEEDED, "REP 00")
        conn.expect_gentle_end()


failure_arrives("refused-16k", "reply and FIN, though 16 KiB of early data came before a refusal",
                lambda t: request_bytes(t.server.targets, t.closed_port()))
failure_arrives("refused-early-byte", "reply and FIN, though a byte of early data came before a refusal",
                lambda t: request_bytes(t.server.targets, t.closed_port()), b"x")
failure_arrives("dns-16k", "reply and FIN, though 16 KiB of early data came with a name nobody has",
                lambda t: t.need_dns() and request_bytes(f"nil-{t.number}.conform.example".encode(), 80))


# --- a target that resets -------------------------------------------------------------------------


@case("replies/target-resets-at-once", f"{RFC}; RFC 9293 3.5.3",
      "a target that accepts and resets: 00 and RST, or 05; not an orderly end")
def target_resets_at_once(t):
    target = t.listen()
    conn = t.ready()
    conn.send(request_bytes(target.host, target.port))
    target.accept().reset()
    try:
        reply = t.reply(conn)
    except Failed as error:
        if str(error).startswith("RST"):
            return
        raise
    if reply.rep == SUCCEEDED:
        data, how = conn.end()
        t.equal("what came behind the reply", (data, how), (b"", "RST"))
    else:
        t.equal("REP", reply.rep, REFUSED)
